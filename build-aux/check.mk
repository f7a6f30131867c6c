# The checks: `make test` is all of them, each by its own name for daily work.
.PHONY: check-python check-rooms check-c check-shell check-man check-man test-unit test-sanitized test-kernel test-images test-attacks offered-c-test offered-vm-test

# All steps run, also after one has failed, so that one run tells everything; the last line says which did.
CHECKS = check-python check-rooms check-c check-shell test-unit test-sanitized test-kernel test-images test-attacks test-faults test-fuzz offered-vm-test
test: ## install what the tests need, check the source, run all tests
	@build-aux/timed "install what tests need" build-aux/install-deps.sh test
	@build-aux/timed "build" $(MAKE) --no-print-directory build
	@failed=; for check in $(CHECKS); do \
		build-aux/timed $$check $(MAKE) --no-print-directory $$check || failed="$$failed $$check"; \
	done; \
	if [ -n "$$failed" ]; then echo "make test: failed:$$failed"; exit 1; fi; echo "make test: all is well"

lint: check-python check-rooms check-c check-shell check-man ## the checks of the source alone: ruff, mypy, order of imports, gcc, shellcheck, man pages

check-python:
	build/venv/bin/ruff check .
	build/venv/bin/ruff format --check .
	build/venv/bin/mypy
	build/venv/bin/mypy -p bundles -p tests.bench -p tests.vm -p tests.callers -p tests.attacks -p tests.faults -p tests.fuzz -p tests.mutants

# No import of a room above, and no circle of Python or C files.
check-rooms: init
	build/venv/bin/python build-aux/rooms.py

# Every C file by itself, optimised so that the flow warnings work. init is freestanding: no libc, kernel headers only.
C_WARNINGS = -Wall -Wextra -Werror -Wshadow -Wconversion -Wmissing-prototypes -Wswitch-enum -Wvla
C_FILES = $(shell find cshim -name '*.c' | sort)
# Files that are still to be formatted; it only gets shorter.
UNFORMATTED = cshim/launcher/interpreter.c cshim/launcher/snapshot.c cshim/launcher/launcher.h
check-c:
	@clang-format --dry-run -Werror $(filter-out $(UNFORMATTED),$(sort $(shell git ls-files 'cshim/*.[ch]')))
	@set -e; for file in $(C_FILES); do \
		case $$file in cshim/init/*|cshim/waiter/*) own=-ffreestanding ;; *) own="-D_GNU_SOURCE -DSTELE_INIT=\"build/lib/init\" -DSTELE_WAITER=\"build/lib/waiter\" $$(/usr/bin/python3.11-config --includes | sed s/-I/-isystem/g)" ;; esac; \
		gcc -std=gnu11 -O2 $(C_WARNINGS) $$own -c -o /dev/null $$file; \
	done; echo "$(words $(C_FILES)) C files compile without a warning"
	@$(MAKE) --no-print-directory offered-c-test

# All files that begin as a shell script.
check-shell:
	@files=$$(git ls-files | while read -r file; do head -c 64 "$$file" 2>/dev/null | grep -qaE '^#!/bin/(ba)?sh' && echo "$$file"; done); \
		shellcheck -x $$files && echo "shellcheck: $$(echo $$files | wc -w) scripts"

check-man: build/share/stamp
	@for page in build/share/man/man*/*; do mandoc -T lint -W warning "$$page" || exit 1; done; echo "mandoc: man pages are well formed"

# A test that hangs is told, with every thread's stack, and ends the run.
PYTEST = $(PY) -m pytest --durations=5 -o faulthandler_timeout=600 -o faulthandler_exit_on_timeout=true
test-unit: ## the tests that need no root
	$(PYTEST) tests/unit

# The unit tests that call C, with the shim built for the address and undefined-behaviour sanitizers. Python itself is
# not, so its runtime is loaded first, and what Python never frees is not counted as a leak.
SANITIZE = -fsanitize=address,undefined -fno-sanitize-recover=all
test-sanitized: init
	@CFLAGS="$(SANITIZE) -fno-omit-frame-pointer -g" LDFLAGS="$(SANITIZE)" $(PY) cshim/build_shim.py build/sanitized
	LD_PRELOAD="$$(gcc -print-file-name=libasan.so) $$(gcc -print-file-name=libubsan.so)" ASAN_OPTIONS=detect_leaks=0 \
		PYTHONPATH=build/sanitized $(PYTEST) $$(grep -lrE 'stele_shim|runtime[. ].*host' tests/unit --include='test_*.py')

test-kernel: ## the tests on this kernel, as root
	$(PYTEST) tests/kernel tests/callers_local

# Images in and out: against Debian's registry on loopback, and the other tools' archives and layouts.
test-images: ## the tests of images, with a registry on loopback
	$(PYTEST) tests/images

# Attacks on stele and on doubles of it with the fault planted; `make attacks` has the table with the other runtimes.
test-attacks: ## a sample of the attacks
	$(PYTEST) tests/attacks

# A failing host: a sample of what `make faults` tries.
test-faults: ## a sample of the faults
	$(PYTEST) tests/faults

# A few seconds of each target of `make fuzz`.
test-fuzz: ## a few seconds of fuzzing
	$(PYTEST) tests/fuzz

# c-test (build-aux/build.mk: the C code's own tests under ASan and UBSan) and vm-test (build-aux/vm.mk) where offered.
offered-c-test offered-vm-test: offered-%:
	@if grep -qs '^$*:' build-aux/*.mk; then $(MAKE) --no-print-directory $*; else echo "$*: not offered here"; fi
