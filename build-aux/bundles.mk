# Bundles of the recipes in bundles/, and the newcomer's first container.
bundle: ## build/bundles/NAME and build/images/NAME, of a recipe in bundles/: NAME=redis
	@if [ -z "$(NAME)" ]; then echo "make bundle NAME=..., one of:"; $(PY) -m bundles --list; exit 2; fi
	@$(PY) -m bundles $(NAME)

run: ## install what is missing, build, make the hello bundle, run it
	@build-aux/timed "install what is missing" build-aux/install-deps.sh run
	@build-aux/timed "build build/bin/stele" $(MAKE) --no-print-directory build
	@build-aux/timed "make the bundle and image of hello" $(MAKE) --no-print-directory bundle NAME=hello
	@build-aux/timed "stele run --bundle build/bundles/hello hello" \
		build-aux/with-cgroup2 build/bin/stele run --bundle build/bundles/hello hello
