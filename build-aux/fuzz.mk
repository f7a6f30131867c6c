# Random input for all that reads what others wrote. FUZZ_SECONDS is for each of the large targets; documents of images take
# a third of it, small parsers an eighth. What the C targets find is kept in build/fuzz/found.
.PHONY: fuzz c-test
FUZZ_SECONDS ?= 120
fuzz: ## random input for every parser; FUZZ_SECONDS=3600 for an hour of each
	@build-aux/install-deps.sh test
	@$(MAKE) --no-print-directory shim
	FUZZ_SECONDS=$(FUZZ_SECONDS) $(PY) -m pytest --durations=0 tests/fuzz
	STELE_EXAMPLES=$$(( $(FUZZ_SECONDS) * 20 )) $(PY) -m pytest tests/unit/test_seccomp_program.py

# init's parsers under the sanitizers, for a second each.
c-test:
	FUZZ_SECONDS=1 $(PY) -m pytest tests/fuzz/test_c.py -k finds_nothing
