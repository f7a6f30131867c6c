#!/bin/sh
# The initrd: busybox and the modules that reach the root disk, for the kernel in TREE: initrd.sh TREE OUT
set -eu
tree=${1:?the Debian tree}
out=${2:?the initrd to write}
here=$(dirname "$(readlink -f "$0")")
kernel=$(ls "$tree/lib/modules")
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir -p "$work/bin" "$work/modules" "$work/dev" "$work/proc" "$work/sys" "$work/newroot"
cp "$tree/bin/busybox" "$work/bin/"
install -m 755 "$here/initrd-init" "$work/init"
depmod -b "$tree" "$kernel"
for module in virtio_pci virtio_blk virtio_console erofs squashfs overlay; do
	modprobe -d "$tree" -S "$kernel" --show-depends "$module" | while read -r verb file _; do
		name=$(basename "$file")
		if [ "$verb" = insmod ] && [ ! -e "$work/modules/$name" ]; then
			cp "$file" "$work/modules/"
			echo "$name" >>"$work/modules/order"
		fi
	done
done
(cd "$work" && find . | cpio --quiet --create --format=newc) | gzip -1 >"$out.part"
mv "$out.part" "$out"
