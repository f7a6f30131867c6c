# What stele must withstand. The tests in `make test` try a sample; these try all, which takes ten minutes and half an hour.
.PHONY: attacks faults

# Published attacks; ATTACKS holds options for `python -m tests.attacks`, such as --only B3 --details.
attacks: ## published attacks against stele, runc and crun, as a table; ATTACKS="--only B3 --details"
	@build-aux/install-deps.sh test
	@$(MAKE) --no-print-directory build
	@$(PY) -m tests.attacks $(ATTACKS)

# kill -9 and failing calls at every system call, wrecked state, crowds.
faults: ## kill -9 and failing calls at every system call: half an hour
	@build-aux/install-deps.sh test
	@$(MAKE) --no-print-directory build
	FAULTS=all $(PY) -m pytest --durations=5 tests/faults
