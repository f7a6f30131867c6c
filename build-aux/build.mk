# What is built: the virtual environment, init, the shim for development, and the one executable.
.PHONY: venv init shim build reproducible

# It follows the lock files; once it has what the tests need, it keeps that.
venv: build/venv/stele-installed
build/venv/stele-installed: build-aux/requirements-run.txt build-aux/requirements-test.txt build-aux/install-deps.sh
	build-aux/install-deps.sh $(if $(wildcard build/venv/bin/pytest),test,run)
build/venv/bin/python: build/venv/stele-installed

# init is freestanding: no libc, so no heap, no locale and no start-up of its own; a few pages in all.
INIT_FLAGS = -std=gnu11 -Os -ffreestanding -fno-stack-protector -fno-asynchronous-unwind-tables -fno-pie \
	-nostdlib -static -no-pie -Wl,--build-id=none -Wl,-s
init: build/lib/init
build/lib/init: $(sort $(wildcard cshim/init/*.[ch] cshim/plan.h cshim/steps.h))
	@mkdir -p $(@D)
	gcc $(INIT_FLAGS) $(C_WARNINGS) -o $@ $(filter %.c,$^)

# The steps as C sees them. The file is committed; a test compares it.
cshim/steps.h: build-aux/generate_steps.py runtime/plan/steps.py runtime/plan/wire.py
	/usr/bin/python3 build-aux/generate_steps.py

# So is the waiter; it shares init's system calls and text.
.PHONY: waiter
waiter: build/lib/waiter
build/lib/waiter: $(sort $(wildcard cshim/waiter/*.[ch])) cshim/init/text.c cshim/init/text.h cshim/init/sys.h
	@mkdir -p $(@D)
	gcc $(INIT_FLAGS) -ffunction-sections -Wl,--gc-sections $(C_WARNINGS) -o $@ $(filter %.c,$^)

# The same C code as a module for build/venv, so that `python -m runtime` works.
shim: build/lib/_stele_shim.stamp
build/lib/_stele_shim.stamp: build/lib/init build/lib/waiter cshim/build_shim.py $(wildcard cshim/*.[ch]) | build/venv/bin/python
	build/venv/bin/python cshim/build_shim.py build/lib
	@touch $@

build: build/venv/stele-installed shim build/bin/stele ## build/bin/stele and all it needs

# The CPython in the executable: 3.11 is Debian 12's, 3.13 is Debian 13's (on Debian 12 as well).
PYTHON ?= 3.11
export STELE_PYTHON = $(PYTHON)
# So that another choice builds anew.
build/launcher/python-$(PYTHON): $(if $(filter 3.13,$(PYTHON)),build/sysroot/stamp)
	@mkdir -p $(@D)
	@rm -f $(@D)/python-*
	@touch $@

build/sysroot/stamp: build-aux/sysroot.py build-aux/sysroot.lock
	/usr/bin/python3 build-aux/sysroot.py
	@touch $@

build/sources/stamp: build-aux/fetch-sources.sh build/launcher/python-$(PYTHON) | build/venv/bin/python
	build-aux/fetch-sources.sh
	@touch $@

APPLICATION = $(shell find runtime -type f -not -path '*/__pycache__/*')
build/launcher/embedded.S: build/launcher/python-$(PYTHON) build-aux/cpython.py build-aux/bundle.py build-aux/components.py build-aux/compile_schema.py build-aux/requirements-run.txt cshim/launcher/stele_start.py $(APPLICATION) | build/venv/bin/python
	build/venv/bin/python build-aux/compile_schema.py --check
	build/venv/bin/python build-aux/bundle.py build/launcher

build/launcher/stele.bare: build-aux/link.py build-aux/cpython.py build/launcher/embedded.S build/sources/stamp build/lib/_stele_shim.stamp \
		$(wildcard cshim/launcher/*.c cshim/launcher/*.h cshim/launcher/*.ld)
	build/venv/bin/python build-aux/link.py build/launcher $@

build/bin/stele: build/launcher/stele.bare build-aux/seal.py build-aux/recording.py build-aux/alone.c build-aux/pause.c \
		cshim/init/sys.h
	build/venv/bin/python build-aux/seal.py $< $@

# Two clones of HEAD, in folders of different names and depth, must give the same bytes.
reproducible: build/sources/stamp ## build two clones of the commit and compare them, byte for byte
	build-aux/reproducible.sh

# What others' licences ask for, and what scanners read.
.PHONY: sbom relink-kit
sbom: build/THIRD-PARTY ## build/THIRD-PARTY (notices of what is linked in) and build/sbom.spdx.json (SPDX 2.3)
build/THIRD-PARTY: build/bin/stele build-aux/notices.py
	build/venv/bin/python build-aux/notices.py build/bin/stele build/launcher/modules.txt build

relink-kit: sbom ## build/stele-relink.tar.gz: object files and instructions to link with another glibc or libseccomp
	build/venv/bin/python build-aux/relink_kit.py build/launcher build/stele-relink.tar.gz

# Man pages and completion files, from the same records as --help.
.PHONY: man
man: build/share/stamp ## build/share: man pages, completion for bash, zsh and fish
build/share/stamp: build-aux/manual.py runtime/__init__.py $(wildcard runtime/cli/*.py) | build/venv/bin/python
	rm -rf build/share
	build/venv/bin/python build-aux/manual.py build/share
	@touch $@
