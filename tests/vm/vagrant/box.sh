#!/bin/sh
# A Vagrant box (libvirt) of the test host, from the images that QEMU boots directly: box.sh IMAGE-FOLDER
# It is kept beside the images under the hash of this recipe; its path is the last line printed. Its disk has two partitions: the root, mounted read-only, with a boot loader; and /var. The user vagrant takes the key
# that every Vagrant has.
set -eu
images=${1:?the folder of images}
out=$images/$(sha256sum "$0" | cut -c1-16).box
if [ -e "$out" ]; then
	echo "$out"
	exit
fi
key=$(dpkg -L vagrant | grep 'keys/vagrant.pub$')
work=$(mktemp -d "$out.XXXXXX")
mounted=
trap 'if [ -n "$mounted" ]; then umount "$work/mnt"; fi; rm -rf "$work"' EXIT
mkdir "$work/mnt"

cp --sparse=always "$images/root.ext4" "$work/root"
mount -o loop "$work/root" "$work/mnt"
mounted=yes
mkdir -p "$work/mnt/boot/extlinux"
cp "$images/vmlinuz" "$images/initrd.img" "$work/mnt/boot/"
cat >"$work/mnt/boot/extlinux/extlinux.conf" <<'END'
DEFAULT stele
PROMPT 0
TIMEOUT 0
LABEL stele
 KERNEL /boot/vmlinuz
 INITRD /boot/initrd.img
 APPEND ro console=tty0 console=ttyS0 no_timer_check quiet loglevel=3 mitigations=off random.trust_cpu=on cryptomgr.notests systemd.show_status=false
END
extlinux --install "$work/mnt/boot/extlinux" >/dev/null 2>&1
umount "$work/mnt"
mounted=

cp --sparse=always "$images/var.ext4" "$work/var"
mount -o loop "$work/var" "$work/mnt"
mounted=yes
install -d -m 700 -o 1000 -g 1000 "$work/mnt/home/vagrant/.ssh"
install -m 600 -o 1000 -g 1000 "$key" "$work/mnt/home/vagrant/.ssh/authorized_keys"
umount "$work/mnt"
mounted=

root=$(($(stat -c %s "$work/root") >> 20)) # MiB
var=$(($(stat -c %s "$work/var") >> 20))
truncate -s $((1 + root + var + 1))M "$work/disk"
printf 'label: dos\nstart=2048, size=%d, type=83, bootable\nstart=%d, size=%d, type=83\n' \
	$((root * 2048)) $((2048 + root * 2048)) $((var * 2048)) | sfdisk -q "$work/disk"
dd if=/usr/lib/EXTLINUX/mbr.bin of="$work/disk" bs=440 count=1 conv=notrunc status=none
dd if="$work/root" of="$work/disk" bs=1M seek=1 conv=notrunc,sparse status=none
dd if="$work/var" of="$work/disk" bs=1M seek=$((1 + root)) conv=notrunc,sparse status=none
rm "$work/root" "$work/var"
qemu-img convert -O qcow2 "$work/disk" "$work/box.img"
printf '{"provider": "libvirt", "format": "qcow2", "virtual_size": %d}\n' $(((root + var) / 1024 + 1)) >"$work/metadata.json"
printf 'Vagrant.configure("2") { |config| config.ssh.insert_key = false }\n' >"$work/Vagrantfile"
tar -cf "$work/box" -C "$work" metadata.json Vagrantfile box.img
mv "$work/box" "$out"
echo "$out"
