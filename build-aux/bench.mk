# The table against runc and crun; BENCH holds options for `python -m tests.bench`, such as --only run --scale 0.5.
bench:
	@build-aux/install-deps.sh test
	@$(MAKE) --no-print-directory build
	@$(PY) -m tests.bench $(BENCH)
