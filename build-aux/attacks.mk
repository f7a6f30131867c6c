# What stele must withstand: published attacks. ATTACKS holds options for
# `python -m tests.attacks`, such as --only B3 --details.
.PHONY: attacks
attacks:
	@build-aux/install-deps.sh test
	@$(MAKE) --no-print-directory build
	@$(PY) -m tests.attacks $(ATTACKS)
