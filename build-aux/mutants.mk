# Small faults planted in the source, one at a time, each run against the quick tests that concern it. MUTANTS holds
# options for `python -m tests.mutants`, such as --area plan --limit 20, or --only runtime/plan/compile.py.
.PHONY: mutants
mutants:
	@build-aux/install-deps.sh test
	@$(MAKE) --no-print-directory shim
	@$(PY) -m tests.mutants $(MUTANTS)
