# stele: the commands a person or CI gives. What each does is in build-aux/*.mk.
#   make run     install what is missing, build, make the hello bundle, run it
#   make test    install what the tests need, check the source, run all tests
#   make build   build/bin/stele and all it needs (as root or not, once the packages are there)
#   make bundle NAME=redis    build/bundles/redis and build/images/redis (NAME: a folder of bundles/)
#   make bench   compare with runc and crun
.DEFAULT_GOAL := build
PY := build/venv/bin/python
.PHONY: run test lint bundle bench clean

# What other fragments offer is asked for by name where it is needed: shim, build, c-test, vm-test.
-include build-aux/*.mk

clean:
	rm -rf build
