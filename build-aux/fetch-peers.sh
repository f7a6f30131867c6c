#!/bin/sh
# Fetches the newest crun and runc that Debian has in any suite into build/peers, for the benchmark; the host is not changed.
#
# Usage: build-aux/fetch-peers.sh
# The packages and the libraries they need are unpacked below build/peers, and the two programs are patched to use that
# loader and those libraries. apt uses the mirrors and keys of this machine, with lists of its own.
set -eu

cd "$(dirname "$0")/.."
out=$PWD/build/peers
suite=sid
if [ -e "$out/stamp" ]; then
	exit 0
fi
rm -rf "$out"
mkdir -p "$out/apt/lists/partial" "$out/apt/cache/archives/partial" "$out/root"

keyring=/usr/share/keyrings/debian-archive-keyring.gpg
[ -e $keyring ] && signed="[signed-by=$keyring] " || signed=
# shellcheck disable=SC2016  # apt-get's variables
mirror=$(apt-get indextargets --format '$(ORIGIN) $(REPO_URI)' 'Created-By: Packages' | sed -n 's/^Debian //p' | grep -v security | head -n 1)
if [ -z "$mirror" ]; then
	echo "$0: apt knows no list of Debian's; run apt-get update as root" >&2
	exit 1
fi
echo "deb $signed$mirror $suite main" >"$out/apt/sources.list"
options="-q -o Dir::Etc::sourcelist=$out/apt/sources.list -o Dir::Etc::sourceparts=/dev/null -o Dir::State::lists=$out/apt/lists
	-o Dir::State::status=/dev/null -o Dir::Cache=$out/apt/cache -o Debug::NoLocking=1 -o APT::Sandbox::User="
# shellcheck disable=SC2086  # a list of words
apt-get $options update
# Not what a package recommends, nor what only its scripts need.
# shellcheck disable=SC2086
packages=$(apt-cache $options depends --recurse --no-recommends --no-suggests --no-conflicts --no-breaks --no-replaces \
	--no-enhances --no-pre-depends crun runc | grep -E '^(crun|runc|lib[a-z0-9.+-]+)$' | sort -u)
# shellcheck disable=SC2086
(cd "$out/apt" && apt-get $options download $packages)
for package in "$out"/apt/*.deb; do
	dpkg-deb --extract "$package" "$out/root"
done

libraries=$out/root/usr/lib/$(gcc -print-multiarch)
loader=$(find "$libraries" -name 'ld-linux*' | head -n 1)
for peer in crun runc; do
	program=$(find "$out/root" -path "*bin/$peer" -type f)
	version=$("$loader" --library-path "$libraries" "$program" --version | sed -n "1s/^$peer version \([0-9.]*\).*/\1/p")
	cp "$program" "$out/$peer-$version"
	patchelf --set-interpreter "$loader" --set-rpath "$libraries" "$out/$peer-$version"
	"$out/$peer-$version" --version | head -n 1
done
touch "$out/stamp"
