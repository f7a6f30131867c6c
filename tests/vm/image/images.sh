#!/bin/sh
# The images that the test host boots from: images.sh BASE.tar OUT. OUT is made, whole or not at all.
set -eu
base=${1:?the Debian tar}
out=${2:?the folder to make}
here=$(dirname "$(readlink -f "$0")")
part=$out.part
rm -rf "$part"
mkdir -p "$part/tree"
trap 'rm -rf "$part"' EXIT
tree=$part/tree
tar --extract --file "$base" --directory "$tree" --numeric-owner --xattrs --xattrs-include='*'
gcc -static -O2 -s -D_GNU_SOURCE -Wall -Wextra -Werror -Wshadow -Wconversion -Wmissing-prototypes -Wswitch-enum \
	-Wvla -o "$part/agent" "$here/../agent/agent.c"
"$here/customise.sh" "$tree" "$part/agent"
cp "$tree"/boot/vmlinuz-* "$part/vmlinuz"
"$here/initrd.sh" "$tree" "$part/initrd.img"

# /var goes to a disk of its own, the rest is the root.
mv "$tree/var" "$part/var"
mkdir "$tree/var"
rm -rf "$part/var/cache/apt" "$part/var/lib/apt/lists" "$part"/var/log/* "$tree"/boot/*
size=$(($(du -sm "$tree" | cut -f1) * 115 / 100 + 40))
mke2fs -q -t ext4 -O '^has_journal,^64bit,^metadata_csum' -m 0 -L root -d "$tree" "$part/root.ext4" "${size}M"
mke2fs -q -t ext4 -m 0 -L var -E lazy_itable_init=1,lazy_journal_init=1 -d "$part/var" "$part/var.ext4" 8G
rm -rf "$tree" "$part/var"
mv "$part" "$out"
trap - EXIT
