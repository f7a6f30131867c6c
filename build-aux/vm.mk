# The read-only test host in a virtual machine (tests/vm), and what is installed there.
.PHONY: vm-image vm-test power-cuts start-storm sysext

# What QEMU boots: made by mmdebstrap, kept under the hash of its recipe.
vm-image:
	@tests/vm/image/build

# stele as an image that systemd-sysext lays over a read-only /usr.
sysext: build/stele.raw ## build/stele.raw: stele as an extension of a read-only /usr
build/stele.raw: build/bin/stele build/share/stamp build/THIRD-PARTY build-aux/sysext.sh $(wildcard build-aux/units/*)
	build-aux/sysext.sh $< build/share build/THIRD-PARTY $@

# Boots the host and drives it from here: there is no Python in it. The exit code is that of the tests. Where all is
# emulated a test may take minutes.
VM_READY = build vm-image sysext
vm-test: $(VM_READY) ## the tests on a read-only host in a virtual machine
	$(PYTEST) -o faulthandler_timeout=1800 --durations=15 tests/vm tests/callers

# Fifty cuts of power instead of the few of vm-test, with quick boots: some 15 minutes.
power-cuts: $(VM_READY) ## cut that host's power fifty times
	STELE_POWER_CUTS=50 $(PY) -m pytest -s tests/vm/test_power_cuts.py

# Ten thousand starts on the host's kernel, instead of the few of vm-test.
start-storm: $(VM_READY) ## start stele ten thousand times there
	STELE_START_ROUNDS=2500 $(PY) -m pytest -s tests/vm/test_starts.py

# For Vagrant: what it copies into the machine, the box made of Debian's packages, and a whole round without network.
.PHONY: box vagrant-files vagrant-test
vagrant-files: $(VM_READY) ## what `vagrant up` needs: build/vagrant
	@mkdir -p build/vagrant
	@cp build/stele.raw tests/vm/image/packages build/vagrant/
	@cp build/vm/image/agent build/vagrant/vm-agent

box: vm-image ## the Vagrant box of that host, from Debian's packages
	@build-aux/install-deps.sh vagrant
	@tests/vm/vagrant/box.sh "$$(readlink -f build/vm/image)"

# STELE_BOX=debian/bookworm64 makes the round with that box from the net instead; the host itself is not judged then.
VAGRANT_TESTS = $(if $(STELE_BOX),,tests/vm/test_host.py) tests/vm/test_stele.py tests/vm/test_writes.py
vagrant-test: $(if $(STELE_BOX),,box) vagrant-files ## the same host by Vagrant and libvirt
	@build-aux/install-deps.sh vagrant
	tests/vm/vagrant/test $(VAGRANT_TESTS)

# The tests of the kernel, of images, of attacks and a sample of the faults, inside an ordinary Debian 12: systemd, a root
# that can be written, all controllers of cgroup v2, all of root's capabilities. TESTS names fewer of them.
.PHONY: vm-ordinary vm-kernel-test
vm-ordinary:
	@tests/vm/ordinary/build

vm-kernel-test: build vm-ordinary ## the tests of kernel, images and attacks inside an ordinary Debian 12; TESTS=... for a part
	$(PY) -m tests.vm.ordinary $(TESTS)

.PHONY: vm-first-run
vm-first-run: vm-ordinary build/venv/bin/python ## the README's first command there, from a clean clone, with this machine's network
	$(PY) -m tests.vm.ordinary.first_run
