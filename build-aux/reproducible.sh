#!/bin/sh
# Builds two clones of HEAD, in folders of different names and depth, and compares their executables; removes them again.
#
# Usage: build-aux/reproducible.sh
#   The packages and sources that `make build` fetched for this working copy serve both. Exit status 1: the executables differ.
set -eu

cd "$(dirname "$0")/.."
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
for folder in "$work/one" "$work/another/one/below"; do
	git clone --quiet . "$folder"
	mkdir -p "$folder/build"
	cp -r build/sources build/packages "$folder/build"
	make --no-print-directory --silent -C "$folder" build >"$work/log" 2>&1 || {
		cat "$work/log" >&2
		exit 1
	}
	sha256sum <"$folder/build/bin/stele"
done
if ! cmp "$work/one/build/bin/stele" "$work/another/one/below/build/bin/stele"; then
	echo "$0: two builds of $(git rev-parse --short HEAD) differ" >&2
	exit 1
fi
echo "two builds of $(git rev-parse --short HEAD) are the same"
