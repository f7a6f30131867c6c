# stele: the commands a person or CI gives; `make help` lists them. What each does is in build-aux/*.mk.
.DEFAULT_GOAL := build
PY := build/venv/bin/python
.PHONY: run test lint bundle bench clean help

# What other fragments offer is asked for by name where it is needed: shim, build, c-test, vm-test.
-include build-aux/*.mk

clean: ## remove build/
	rm -rf build

# What follows ## on the line of a target is its help.
help: ## this list
	@sed -nE 's/^([a-z-]+):[^#]*## (.*)/\1\t\2/p' Makefile build-aux/*.mk | sort | while IFS="$$(printf '\t')" read -r name text; do \
		printf '  %-14s %s\n' "$$name" "$$text"; done
