#!/bin/sh
# Makes an image for systemd-sysext of the executable, its units, man pages, completion files and notices:
# build-aux/sysext.sh BINARY SHARE NOTICES OUT.raw (SHARE: what manual.py wrote; NOTICES: THIRD-PARTY)
# Put it into /var/lib/extensions or /run/extensions of the host and call `systemd-sysext merge`. It is an erofs without
# compression, so that the executable's pages are mapped as they are; it fits any distribution.
set -eu
binary=${1:?the executable}
share=${2:?the folder with man pages and completion files}
notices=${3:?the file with the notices}
out=${4:?the image to write}
name=$(basename "$out" .raw)
tree=$(mktemp -d)
trap 'rm -rf "$tree"' EXIT
mkdir -p "$tree/usr/bin" "$tree/usr/lib/extension-release.d" "$tree/usr/share/doc/$name"
install -m 755 "$binary" "$tree/usr/bin/$name"
cp -r "$share"/. "$tree/usr/share"
rm -f "$tree/usr/share/stamp"
install -m 644 "$notices" LICENSE "$tree/usr/share/doc/$name"
units="$tree/usr/lib/systemd/system"
mkdir -p "$units/multi-user.target.wants"
install -m 644 build-aux/units/*.service "$units"
for unit in build-aux/units/*.service; do
	ln -s "../$(basename "$unit")" "$units/multi-user.target.wants/"
done
printf 'ID=_any\n' >"$tree/usr/lib/extension-release.d/extension-release.$name"
chmod -R u=rwX,go=rX "$tree"
mkfs.erofs --quiet --all-root -T 0 -U 00000000-0000-0000-0000-000000000000 "$out.part" "$tree"
mv "$out.part" "$out"
