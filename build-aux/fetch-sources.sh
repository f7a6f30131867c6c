#!/bin/sh
# Fetches what the executable is built from beside Debian's binary packages, into build/sources; nothing if it is there.
#
# Usage: build-aux/fetch-sources.sh
#   Python-3.11*/Modules   C modules of the standard library that the static libpython lacks: from Debian's source
#                          package, through apt-get with lists of its own (nothing in /etc changes, root is not needed)
#   cffi-*                 cffi's C half, of the version in build/venv, through pip, which checks it against the hash in the lock file
set -eu

cd "$(dirname "$0")/.."
out=build/sources
venv=build/venv
cffi=$($venv/bin/python -c 'import cffi; print(cffi.__version__)')
# CPython 3.13's sources come with build-aux/sysroot.py.
if [ "${STELE_PYTHON:-3.11}" = 3.11 ]; then
	python=Python-$($venv/bin/python -c 'import platform; print(platform.python_version())')
else
	python=.
fi
if [ -d "$out/$python" ] && [ -d "$out/cffi-$cffi" ]; then
	exit 0
fi
mkdir -p $out/apt/lists/partial $out/apt/cache/archives/partial
work=$PWD/$out/apt

# Debian's source lists, made of the binary lists that this machine uses.
keyring=/usr/share/keyrings/debian-archive-keyring.gpg
[ -e $keyring ] && signed="[signed-by=$keyring] " || signed=
# shellcheck disable=SC2016  # apt-get's variables
apt-get indextargets --format '$(ORIGIN) $(REPO_URI) $(RELEASE) $(COMPONENT)' 'Created-By: Packages' |
	sed -n "s|^Debian |deb-src $signed|p" | sort -u >"$work/sources.list"
if ! [ -s "$work/sources.list" ]; then
	echo "$0: apt knows no list of Debian's; run apt-get update as root" >&2
	exit 1
fi
private="-q -o Dir::Etc::sourcelist=$work/sources.list -o Dir::Etc::sourceparts=/dev/null -o Dir::State::lists=$work/lists
	-o Dir::Cache=$work/cache -o Debug::NoLocking=1 -o APT::Sandbox::User="
if ! [ -d "$out/$python" ]; then
	# shellcheck disable=SC2086  # a list of words
	apt-get $private update
	# apt checks both archives against Debian's signed index. Upstream's is used as it is, so Debian's changes must not
	# touch what link.py compiles of it: a security update might.
	# shellcheck disable=SC2086
	(cd "$work" && apt-get $private source --download-only --tar-only python3.11)
	# shellcheck disable=SC2086
	if (cd "$work" && apt-get $private source --download-only --diff-only python3.11); then
		mkdir "$work/debian"
		tar -xf "$work"/python3.11_*.debian.tar.* -C "$work/debian" debian/patches
		modules=$($venv/bin/python -c 'import sys; sys.path.insert(0, "build-aux"); import cpython; print(*cpython.EXTENSIONS, sep="|")')
		patches=$work/debian/debian/patches
		sed '/^#/d; s/[ 	].*//' "$patches/series" | while read -r patch; do
			! grep -qsE "^\+\+\+ [^/]+/Modules/(clinic/)?($modules)\\.[ch]" "$patches/$patch" || echo "  $patch"
		done >"$work/changed"
		if [ -s "$work/changed" ]; then
			echo "$0: Debian changes C modules that are compiled here from upstream's source; apply these patches first:" >&2
			cat "$work/changed" >&2
			exit 1
		fi
	else
		echo "$0: warning: the mirror does not have Debian's patches to CPython; whether they touch the modules compiled here is not known" >&2
	fi
	tar -xzf "$work"/python3.11_*.orig.tar.gz -C $out --wildcards '*/Modules/*' '*/LICENSE'
fi
if ! [ -d "$out/cffi-$cffi" ]; then
	# Of the lock file its entry for cffi, whose hashes are also those of the source.
	awk '/^[^ #]/ { ours = /^cffi==/ } ours' build-aux/requirements-run.txt >"$work/cffi.txt"
	$venv/bin/python -m pip download --quiet --disable-pip-version-check --no-deps --no-binary cffi --require-hashes \
		--no-build-isolation -d "$work" -r "$work/cffi.txt"
	tar -xzf "$work/cffi-$cffi.tar.gz" -C $out
fi
rm -rf "$work"
