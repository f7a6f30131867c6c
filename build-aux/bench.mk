# The table against crun and runc; BENCH holds options for `python -m tests.bench`, such as --only run --scale 0.5.
.PHONY: bench peers
bench: peers ## compare with runc and crun, umoci and Podman; BENCH="--only run"
	@$(MAKE) --no-print-directory build
	@$(PY) -m tests.bench $(BENCH)

# The newest crun and runc that Debian has, below build/peers.
peers: ## the newest crun and runc of Debian, below build/peers
	@build-aux/install-deps.sh test
	@build-aux/fetch-peers.sh
