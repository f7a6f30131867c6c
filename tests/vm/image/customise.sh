#!/bin/sh
# Makes the test host of a Debian tree: what is in root/ beside this file, the agent, its users: customise.sh TREE AGENT
set -eu
tree=$(readlink -f "${1:?the Debian tree}")
agent=${2:?the compiled agent}
here=$(dirname "$(readlink -f "$0")")
units=$tree/etc/systemd/system

rm -f "$tree/etc/fstab" "$tree/etc/resolv.conf" "$tree/etc/hostname" # Vagrant edits an fstab where there is one
cp -a "$here/root/." "$tree/"
chown -R 0:0 "$tree/etc"/systemd "$tree/etc"/containers "$tree/etc"/docker "$tree/etc/sudoers.d" "$tree/etc/ssh/sshd_config.d"
chmod 440 "$tree/etc/sudoers.d/vagrant"
rm -f "$tree/etc/cni/net.d/.keep"
install -m 755 "$agent" "$tree/usr/lib/vm-agent"
: >"$tree/etc/machine-id" # empty: on a read-only root systemd makes one in /run
mkdir -p "$tree/var/lib/containers/networks"

# What starts by itself on Debian and would only take time here, or write where nothing can be written. Daemons are
# started by the tests that need them.
for unit in "$units"/default.target.wants/podman* "$units"/multi-user.target.wants/docker.service \
	"$units"/multi-user.target.wants/podman* "$units"/sockets.target.wants/docker.socket \
	"$units"/sockets.target.wants/podman.socket \
	"$units"/multi-user.target.wants/containerd.service "$units"/multi-user.target.wants/e2scrub_reap.service \
	"$units"/timers.target.wants/* "$units"/sysinit.target.wants/systemd-pstore.service "$units"/getty.target.wants/*; do
	rm -f "$unit"
done
for unit in systemd-random-seed.service systemd-update-utmp.service systemd-update-utmp-runlevel.service \
	systemd-journal-flush.service systemd-machine-id-commit.service systemd-firstboot.service \
	systemd-hwdb-update.service ldconfig.service systemd-boot-update.service systemd-rfkill.socket \
	systemd-binfmt.service systemd-quotacheck.service apparmor.service \
	modprobe@drm.service modprobe@dm_mod.service modprobe@configfs.service modprobe@efi_pstore.service \
	sys-kernel-debug.mount sys-kernel-tracing.mount sys-kernel-config.mount proc-sys-fs-binfmt_misc.automount \
	fstrim.timer apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer; do
	ln -sfn /dev/null "$units/$unit"
done
ln -sfn /lib/systemd/system/multi-user.target "$units/default.target"

# Vagrant's user, who is also the ordinary user of the rootless tests: his home is on /var, and he has a systemd of his
# own from boot (linger).
mkdir -p "$tree/var/home" "$tree/var/lib/systemd/linger"
chroot "$tree" useradd --create-home --home-dir /var/home/vagrant --shell /bin/bash --uid 1000 vagrant
chroot "$tree" usermod -p '*' vagrant # no password, but not locked: sshd lets keys in
chroot "$tree" usermod -p '*' root
touch "$tree/var/lib/systemd/linger/vagrant"
# All controllers, so that an ordinary user's containers have limits too
mkdir -p "$units/user@.service.d"
printf '[Service]\nDelegate=cpu cpuset io memory pids\n' >"$units/user@.service.d/delegate.conf"

for name in python3 python gcc cc tcc clang; do
	if [ -e "$tree/usr/bin/$name" ]; then
		echo "$0: the host has $name, and must not" >&2
		exit 1
	fi
done
