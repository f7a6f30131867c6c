#!/bin/sh
# Installs what is missing on a Debian 12 machine, as root, and makes build/venv. Does nothing when all is present.
#
# Usage: build-aux/install-deps.sh [run|test|vagrant]
#   run   what `make run` needs: compiler, headers, static libraries, busybox-static, the locked Python packages
#   test  that, and what the tests need: the other runtimes, conmon, the checkers, QEMU
#   vagrant  that, and what `make box` and `make vagrant-test` need: Vagrant, libvirt, a boot loader
# Packages come from Debian's mirror (apt-get) and the Python package index (pip), both as the machine has set them up.
set -eu

cd "$(dirname "$0")/.."
goal=${1:-run}
case $goal in
run | test | vagrant) ;;
*)
	echo "usage: $0 [run|test|vagrant]" >&2
	exit 2
	;;
esac

# What building and running need. The -dev packages hold the static
# libraries (lib*.a) that the executable is linked from: it is static and needs nothing on its host but the kernel.
packages="gcc libc6-dev make patch binutils pkg-config python3 python3-venv python3.11-dev libpython3.11-dev
	libseccomp-dev libffi-dev libssl-dev zlib1g-dev libzstd-dev zstd libexpat1-dev libbz2-dev liblzma-dev
	busybox-static ca-certificates xz-utils"
# What the tests add: the peers to compare with, the monitor that Podman runs, the sanitizers' and tools' packages; and
# what makes and boots the virtual machine of tests/vm.
if [ "$goal" != run ]; then
	packages="$packages runc crun conmon procps util-linux iproute2 uidmap strace valgrind umoci podman skopeo buildah docker-registry
		shellcheck libcap-dev mandoc patchelf apache2-utils openssl bzip2
		qemu-system-x86 qemu-utils mmdebstrap debian-archive-keyring e2fsprogs erofs-utils cpio kmod checkpolicy clang clang-format libclang-rt-14-dev"
fi
if [ "$goal" = vagrant ]; then
	packages="$packages vagrant vagrant-libvirt libvirt-daemon-system libvirt-clients dnsmasq-base openssh-client
		extlinux syslinux-common fdisk"
fi

missing=
for package in $packages; do
	dpkg-query -W -f '${db:Status-Status}\n' "$package" 2>/dev/null | grep -qx installed || missing="$missing $package"
done
if [ -n "$missing" ]; then
	if [ "$(id -u)" != 0 ]; then
		echo "$0: these packages are missing and only root can install them:$missing" >&2
		exit 1
	fi
	echo "installing from Debian:$missing"
	export DEBIAN_FRONTEND=noninteractive
	# A third party's list that cannot be fetched is not our concern; a package of ours that is not found is, below.
	apt-get -q update || echo "$0: apt-get update failed for some list; going on with the others" >&2
	# shellcheck disable=SC2086  # a list of words
	apt-get -q -y -o Dpkg::Use-Pty=0 install --no-install-recommends $missing
fi

venv=build/venv
# What is locked in build-aux/requirements-*.txt (see build-aux/lock.sh), and only files with these hashes. The copy of
# the file tells the next call that all is there, so that nothing is asked of the network when nothing is new.
if [ ! -x $venv/bin/python ]; then
	echo "making $venv"
	mkdir -p build
	/usr/bin/python3 -m venv $venv
fi
install_locked() { # install_locked run|test
	locked=build-aux/requirements-$1.txt
	if ! cmp -s "$locked" "$venv/stele-$1"; then
		echo "installing into $venv: $locked"
		# What comes as source (python-prctl) is built with the locked setuptools, which is installed first.
		$venv/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes --no-deps --no-build-isolation \
			-r "$locked"
		cp "$locked" "$venv/stele-$1"
	fi
}
install_locked run
[ "$goal" = run ] || install_locked test
touch $venv/stele-installed
# The working tree and the compiled shim are importable, nothing is copied into the venv.
site=$($venv/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
printf '%s\n%s\n' "$PWD" "$PWD/build/lib" >"$site/stele-dev.pth"
