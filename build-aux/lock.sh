#!/bin/sh
# Writes build-aux/requirements-run.txt and build-aux/requirements-test.txt: each Python package that the build and the
# tests install, with its version and the hashes of its files. install-deps.sh installs nothing else.
#
# Usage: build-aux/lock.sh [--upgrade | --upgrade-package NAME]
#   Versions that are locked stay, unless they no longer satisfy pyproject.toml or an option asks for newer ones.
# pip-compile (pip-tools) runs in an environment of its own, below build.
set -eu

cd "$(dirname "$0")/.."
tools=build/lock
[ -x $tools/bin/pip-compile ] || {
	/usr/bin/python3 -m venv $tools
	$tools/bin/python -m pip install --quiet --disable-pip-version-check "pip-tools>=7.4"
}
lock() { # lock OUTPUT OPTION...
	out=$1
	shift
	# Where the packages come from is the machine's business, so no address gets into the file.
	CUSTOM_COMPILE_COMMAND=build-aux/lock.sh $tools/bin/pip-compile --quiet --generate-hashes --allow-unsafe --strip-extras \
		--no-emit-index-url --no-emit-trusted-host --no-emit-find-links --no-emit-options --all-build-deps \
		--output-file "$out" "$@" pyproject.toml
}
lock build-aux/requirements-run.txt "$@"
lock build-aux/requirements-test.txt --extra dev --constraint build-aux/requirements-run.txt "$@"
