#!/bin/sh
# Makes an image of one executable for systemd-sysext: build-aux/sysext.sh BINARY OUT.raw
# Put it into /var/lib/extensions or /run/extensions of the host and call `systemd-sysext merge`. It is an erofs without
# compression, so that the executable's pages are mapped as they are; it fits any distribution.
set -eu
binary=${1:?the executable}
out=${2:?the image to write}
name=$(basename "$out" .raw)
tree=$(mktemp -d)
trap 'rm -rf "$tree"' EXIT
mkdir -p "$tree/usr/bin" "$tree/usr/lib/extension-release.d"
install -m 755 "$binary" "$tree/usr/bin/$name"
printf 'ID=_any\n' >"$tree/usr/lib/extension-release.d/extension-release.$name"
chmod 755 "$tree"
mkfs.erofs --quiet --all-root -T 0 -U 00000000-0000-0000-0000-000000000000 "$out.part" "$tree"
mv "$out.part" "$out"
