#!/bin/sh
# A minimal Debian with the packages of a list, by default the one beside this file, as a tar: base.sh OUT.tar [LIST]
# The mirrors are those that the machine itself uses.
set -eu
out=${1:?the tar to write}
here=$(dirname "$(readlink -f "$0")")
list=${2:-$here/packages}
. /etc/os-release
packages=$(sed 's/#.*//' "$list" | xargs | tr ' ' ,)
sources=/etc/apt/sources.list.d/debian.sources
[ -e $sources ] || sources=/etc/apt/sources.list
# What is never read in a test host is not unpacked: it would be half of the files.
mmdebstrap --variant=minbase --mode=root --include="$packages" --format=tar \
	--aptopt='Acquire::Languages "none"' \
	--dpkgopt='path-exclude=/usr/share/man/*' \
	--dpkgopt='path-exclude=/usr/share/locale/*' \
	--dpkgopt='path-exclude=/usr/share/doc/*' \
	--dpkgopt=force-unsafe-io \
	"$VERSION_CODENAME" "$out.part" "$sources"
mv "$out.part" "$out"
