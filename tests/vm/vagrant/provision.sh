#!/bin/sh
# In the virtual machine, at each start: makes a test host of it where it is none yet, and installs stele. /tmp/stele
# holds stele.raw, vm-agent and packages (build/vagrant of the project).
set -eu
cd /tmp/stele

# An ordinary Debian: the callers come from its mirror; then / becomes read-only, but for what must be writable.
if ! findmnt -no OPTIONS / | tr , '\n' | grep -qx ro; then
	export DEBIAN_FRONTEND=noninteractive
	words=$(sed 's/#.*//' packages | tr ' ' '\n' | grep -v '^linux-image')
	missing=
	for package in $words; do
		dpkg-query -W -f '${db:Status-Status}\n' "$package" 2>/dev/null | grep -qx installed || missing="$missing $package"
	done
	if [ -n "$missing" ]; then
		apt-get -q update
		# shellcheck disable=SC2086  # a list of words
		apt-get -q -y install --no-install-recommends $missing
		systemctl disable --now docker.service docker.socket containerd.service 2>/dev/null || true
	fi
	for folder in /var /home /tmp; do
		mountpoint -q $folder || mount --bind $folder $folder
	done
	mount -o remount,bind,ro /
fi
echo "+hugetlb +rdma +misc" >/sys/fs/cgroup/cgroup.subtree_control
install -m 755 vm-agent /var/lib/vm-agent
mkdir -p /run/extensions
mv stele.raw /run/extensions/
systemd-sysext refresh
echo "/ is $(findmnt -no FSTYPE,OPTIONS /); cgroups are $(stat -fc %T /sys/fs/cgroup); $(stele --version | head -1)"
cd /
rm -rf /tmp/stele
