/* The mounts of a container, by fds only: created detached, given their attributes, then moved to a target that was
 * resolved once (open_tree(2), fsopen(2), mount_setattr(2), move_mount(2); Linux 5.12). */
#include "init.h"

#include <linux/mount.h>
#include <linux/openat2.h>
#include <linux/stat.h>

#define MNT_DETACH 2

static void set_propagation(const struct init *in, int fd, uint64_t flags, const char *detail)
{
	must(in, set_attributes(fd, 0, 0, flags & ~(uint64_t)MS_REC, (flags & MS_REC) != 0), detail);
}

void do_propagation(struct init *in, const struct step *s)
{
	must(in, SYS(__NR_mount, NULL, "/", NULL, INTS(propagation, s)->flags, NULL), "/");
}

void do_rootfs(struct init *in, const struct step *s)
{
	const struct rootfs_ints *v = INTS(rootfs, s);
	const char *path = step_string(s, ROOTFS_PATH, NULL);
	if (!v->bind) {
		in->root = v->slot == NO_SLOT
				   ? (int)SYS(__NR_openat, AT_FDCWD, path, OPEN_PATH | O_DIRECTORY | O_CLOEXEC, 0)
				   : slot_fd(in, v->slot);
		must(in, in->root, path);
		return;
	}
	int tree = v->slot == NO_SLOT ? clone_tree(AT_FDCWD, path, 1) : slot_fd(in, v->slot);
	must(in, tree, path);
	if (!is_directory(tree))
		fail(in, -ENOTDIR, path);
	/* Any place will do: the bundle's path may be inaccessible from a new user namespace. */
	int place = (int)SYS(__NR_openat, AT_FDCWD, path, OPEN_PATH | O_DIRECTORY | O_CLOEXEC, 0);
	if (place == -EACCES)
		place = (int)SYS(__NR_openat, AT_FDCWD, "/", OPEN_PATH | O_DIRECTORY | O_CLOEXEC, 0);
	must(in, place, path);
	must(in, move_tree(tree, place), path);
	SYS(__NR_close, place);
	if (v->slot != NO_SLOT) /* a copy made on the host still propagates there */
		set_propagation(in, tree, MS_SLAVE | MS_REC, path);
	in->root = tree;
}

/* For proc and sysfs: with a symbolic link in the path, the image would choose where they are mounted
 * (CVE-2019-19921). */
static int target_of(const struct init *in, const char *path, int directory, int strict)
{
	if (!strict)
		return open_target(in, path, directory);
	int fd = open_in_root(in, path, OPEN_PATH | O_NOFOLLOW, RESOLVE_NO_SYMLINKS);
	if (fd == -ENOENT) {
		fd = open_target(in, path, 1);
		if (fd < 0)
			return fd;
		SYS(__NR_close, fd);
		fd = open_in_root(in, path, OPEN_PATH | O_NOFOLLOW, RESOLVE_NO_SYMLINKS);
	}
	if (fd >= 0 && !is_directory(fd))
		return -ENOTDIR;
	return fd;
}

/* A mount on the root itself covers what becomes the container's root, which would be without it. With a link to "/"
 * the image could do that to a volume, a mask or a read-only path. */
static void must_not_be_root(const struct init *in, int target, const char *path)
{
	struct statx st, root;
	must(in, stat_fd(target, &st), path);
	must(in, stat_fd(in->root, &root), path);
	if (st.stx_ino == root.stx_ino && mount_id(in, target) == mount_id(in, in->root))
		fail(in, -ELOOP, path);
}

/* Nor may a link of the image lead the target into a procfs, to hide what the kernel reports (CVE-2015-3630). */
static void attach(const struct init *in, int tree, int target, uint64_t propagation, const char *path)
{
	must(in, target, path);
	must_not_be_root(in, target, path);
	if (is_proc(target) && !starts_with(path, "/proc/") && !same(path, "/proc"))
		fail(in, -ELOOP, path);
	must(in, move_tree(tree, target), path);
	if (propagation)
		set_propagation(in, tree, propagation, path);
	SYS(__NR_close, target);
}

/* The index of own_places that the path is; -1 for none. */
static int place_at(const char *path)
{
	const char *rest;
	int place = own_place(path, &rest);
	return place >= 0 && !*rest ? place : -1;
}

/* Close the fd of a mount attached at `path`. If that is one of own_places, keep it there instead. */
static void release(struct init *in, int tree, const char *path)
{
	int place = place_at(path);
	if (place >= 0 && is_directory(tree)) {
		int covered = in->own[place];
		in->own[place] = tree;
		tree = covered;
	}
	if (tree)
		SYS(__NR_close, tree);
}

/* Create at `target` the same symbolic link as `source`; returns 0 if that is not a link. */
static int copy_link(const struct init *in, int source, const char *target)
{
	char wanted[PATH_MAX], there[PATH_MAX];
	const char *name;
	long n = SYS(__NR_readlinkat, source, "", wanted, sizeof(wanted) - 1);
	if (n < 0)
		return 0;
	wanted[n] = '\0';
	int parent = open_parent(in, target, &name);
	must(in, parent, target);
	long r = SYS(__NR_symlinkat, wanted, parent, name);
	if (r == -EEXIST) {
		n = SYS(__NR_readlinkat, parent, name, there, sizeof(there) - 1);
		if (n >= 0) {
			there[n] = '\0';
			r = same(wanted, there) ? 0 : -EEXIST;
		}
	}
	must(in, r, target);
	SYS(__NR_close, parent);
	return 1;
}

void do_bind_mount(struct init *in, const struct step *s)
{
	const struct bind_mount_ints *v = INTS(bind_mount, s);
	const char *source = step_string(s, BIND_MOUNT_SOURCE, NULL), *target = step_string(s, BIND_MOUNT_TARGET, NULL);
	int tree;
	if (v->slot != NO_SLOT) {
		tree = slot_fd(in, v->slot);
	} else {
		struct open_how how = { .flags = OPEN_PATH | O_CLOEXEC | (v->nofollow ? O_NOFOLLOW : 0) };
		int from = (int)SYS(__NR_openat2, AT_FDCWD, source, &how, sizeof(how));
		must(in, from, source);
		tree = clone_tree(from, "", v->recursive != 0);
		SYS(__NR_close, from);
	}
	must(in, tree, source);
	if (v->copy_link && copy_link(in, tree, target)) {
		SYS(__NR_close, tree);
		return;
	}
	must(in, set_attributes(tree, v->rec_set, v->rec_clear, 0, 1), source);
	must(in, set_attributes(tree, v->attr_set, v->attr_clear, 0, 0), source);
	int at = v->target_nofollow ? open_in_root(in, target, OPEN_PATH | O_NOFOLLOW, 0) : -ENOENT;
	if (at == -ENOENT)
		at = target_of(in, target, is_directory(tree), 0);
	attach(in, tree, at, v->propagation, target);
	release(in, tree, target);
}

/* For file systems that do not accept the option context=. */
static void label_root(const struct init *in, int tree, const char *label, const char *path)
{
	if (!*label)
		return;
	int root = (int)SYS(__NR_openat, tree, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);
	must(in, root, path);
	must(in, SYS(__NR_fsetxattr, root, "security.selinux", label, strlen(label) + 1, 0), path);
	SYS(__NR_close, root);
}

/* A sysfs shows the devices of a network namespace, so only the owner of ours may mount one. Another user namespace
 * gets a copy of the caller's mount; -1 if a new one can be mounted. */
static int callers_sysfs(const struct init *in, const char *type, uint64_t attributes)
{
	if (!same(type, "sysfs"))
		return -1;
	int fs = (int)SYS(__NR_fsopen, type, FSOPEN_CLOEXEC);
	if (fs >= 0)
		SYS(__NR_close, fs);
	if (fs != -EPERM)
		return -1;
	int tree = clone_tree(AT_FDCWD, "/sys", 1);
	must(in, tree, "/sys");
	must(in, set_attributes(tree, attributes, attributes & MOUNT_ATTR__ATIME ? MOUNT_ATTR__ATIME : 0, 0, 1),
	     "/sys");
	return tree;
}

void do_new_mount(struct init *in, const struct step *s)
{
	const struct new_mount_ints *v = INTS(new_mount, s);
	const char *type = step_string(s, NEW_MOUNT_FSTYPE, NULL), *target = step_string(s, NEW_MOUNT_TARGET, NULL);
	uint64_t attributes = v->attr_set | v->rec_set;
	struct statx st;
	int fd = v->copy_up || v->copy_mode ? open_in_root(in, target, OPEN_PATH | O_DIRECTORY, 0) : -ENOENT,
	    copied = fd >= 0;
	if (fd == -ENOENT)
		fd = target_of(in, target, 1, v->strict != 0);
	must(in, fd, target);
	int tree = callers_sysfs(in, type, attributes);
	if (tree < 0)
		tree = new_file_system(in, type, step_string(s, NEW_MOUNT_SOURCE, NULL), s, NEW_MOUNT_OPTIONS,
				       copied ? 0 : attributes);
	label_root(in, tree, step_string(s, NEW_MOUNT_LABEL, NULL), target);
	if (copied && v->copy_up) {
		int from = open_in_root(in, target, O_RDONLY | O_DIRECTORY, 0);
		must(in, from, target);
		must(in, copy_tree(from, tree, 0), target);
		SYS(__NR_close, from);
	} else if (copied) {
		must(in, stat_fd(fd, &st), target);
		must(in, SYS(__NR_fchmodat, tree, ".", st.stx_mode & 07777), target);
	}
	if (copied) /* only now: it had to be writable until here */
		must(in, set_attributes(tree, attributes, attributes & MOUNT_ATTR__ATIME ? MOUNT_ATTR__ATIME : 0, 0, 0),
		     target);
	attach(in, tree, fd, v->propagation, target);
	release(in, tree, target);
}

static int is_null_device(int fd)
{
	struct statx st;
	return stat_fd(fd, &st) == 0 && S_ISCHR(st.stx_mode) && st.stx_rdev_major == 1 && st.stx_rdev_minor == 3;
}

static int null_device(struct init *in)
{
	if (in->null < 0) {
		in->null = (int)SYS(__NR_openat, AT_FDCWD, "/dev/null", OPEN_PATH | O_NOFOLLOW | O_CLOEXEC, 0);
		must(in, in->null, "/dev/null");
		if (!is_null_device(in->null)) /* CVE-2025-31133 */
			fail(in, -ENODEV, "/dev/null");
	}
	return in->null;
}

static int is_missing(long r)
{
	return r == -ENOENT || r == -ENOTDIR || r == -EACCES;
}

/* All masked directories share one empty tmpfs: file systems are slow to free. */
void do_mask_path(struct init *in, const struct step *s)
{
	const char *path = step_string(s, MASK_PATH_PATH, NULL);
	int target = open_in_root(in, path, OPEN_PATH, 0), tree;
	if (is_missing(target))
		return;
	must(in, target, path);
	must_not_be_root(in, target, path);
	if (!is_directory(target)) {
		tree = clone_tree(null_device(in), "", 0);
	} else if (in->mask >= 0) {
		tree = clone_tree(in->mask, "", 0);
	} else {
		tree = in->mask = new_file_system(in, "tmpfs", "tmpfs", s, MASK_PATH_OPTIONS,
						  MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV);
	}
	must(in, tree, path);
	must(in, move_tree(tree, target), path);
	SYS(__NR_close, target);
	if (tree == in->mask && place_at(path) < 0)
		return;
	release(in, tree == in->mask ? (int)SYS(__NR_fcntl, tree, F_DUPFD_CLOEXEC, 0) : tree, path);
}

void do_readonly_path(struct init *in, const struct step *s)
{
	const char *path = step_string(s, READONLY_PATH_PATH, NULL);
	int target = open_in_root(in, path, OPEN_PATH, 0);
	if (is_missing(target))
		return;
	must(in, target, path);
	must_not_be_root(in, target, path);
	int tree = clone_tree(target, "", 1);
	must(in, tree, path);
	must(in, set_attributes(tree, MOUNT_ATTR_RDONLY, 0, 0, 1), path);
	must(in, move_tree(tree, target), path);
	SYS(__NR_close, target);
	release(in, tree, path);
}

/* Create a directory with its parents unless it exists; an existing mount point of any kind is kept. A directory
 * that we may not see (a user's own on NFS, for example) may be visible to the user, and nothing is created through
 * a magic link. Changing to the working directory reports the error later. */
void do_directory(struct init *in, const struct step *s)
{
	const char *path = step_string(s, DIRECTORY_PATH, NULL);
	int fd = open_target(in, path, 1);
	if (fd == -EACCES || fd == -EPERM || fd == -ELOOP)
		return;
	must(in, fd, path);
	SYS(__NR_close, fd);
}

void do_mount_attributes(struct init *in, const struct step *s)
{
	const char *path = step_string(s, MOUNT_ATTRIBUTES_PATH, NULL);
	int target = open_in_root(in, path, OPEN_PATH, 0);
	must(in, target, path);
	must(in, set_attributes(target, INTS(mount_attributes, s)->attr_set, 0, 0, 0), path);
	SYS(__NR_close, target);
}

/* pivot_root(".", ".") puts the old root on top of the new one, where it is unmounted (pivot_root(2), NOTES). */
static void pivot(const struct init *in)
{
	int old = (int)SYS(__NR_openat, AT_FDCWD, "/", OPEN_PATH | O_DIRECTORY | O_CLOEXEC, 0);
	must(in, old, "/");
	must(in, SYS(__NR_fchdir, in->root), "fchdir");
	must(in, SYS(__NR_pivot_root, ".", "."), "pivot_root");
	must(in, SYS(__NR_fchdir, old), "fchdir");
	must(in, SYS(__NR_mount, NULL, ".", NULL, MS_SLAVE | MS_REC, NULL), "old root");
	must(in, SYS(__NR_umount2, ".", MNT_DETACH), "old root");
	SYS(__NR_close, old);
}

/* The container must see at own_places what was mounted there: another process may have exchanged the directory, and
 * a hook may have mounted over it. */
static void check_places(struct init *in)
{
	for (int i = 0; i < OWN_PLACES; i++) {
		if (!in->own[i])
			continue;
		int seen = open_by_name(in, own_places[i], OPEN_PATH, 0);
		if (seen < 0 || mount_id(in, seen) != mount_id(in, in->own[i]))
			fail(in, -ESTALE, own_places[i]);
		SYS(__NR_close, seen);
		SYS(__NR_close, in->own[i]);
		in->own[i] = 0;
	}
}

void do_enter_root(struct init *in, const struct step *s)
{
	check_places(in);
	switch (INTS(enter_root, s)->how) {
	case PIVOT:
		pivot(in);
		break;
	case MOVE:
		hide_kernel_mounts(in);
		must(in, SYS(__NR_fchdir, in->root), "fchdir");
		must(in, SYS(__NR_mount, ".", "/", NULL, MS_MOVE, NULL), "move");
		must(in, SYS(__NR_chroot, "."), "chroot");
		break;
	case CHROOT:
		must(in, SYS(__NR_fchdir, in->root), "fchdir");
		must(in, SYS(__NR_chroot, "."), "chroot");
		break;
	default:
		fail(in, -EINVAL, "way to enter the root");
	}
	must(in, SYS(__NR_chdir, "/"), "/");
	leave_host(in);
}

void do_root_attributes(struct init *in, const struct step *s)
{
	int root = (int)SYS(__NR_openat, AT_FDCWD, "/", OPEN_PATH | O_DIRECTORY | O_CLOEXEC, 0);
	must(in, root, "/");
	if (INTS(root_attributes, s)->readonly || in->root_readonly)
		must(in, set_attributes(root, MOUNT_ATTR_RDONLY, 0, 0, 0), "/");
	if (INTS(root_attributes, s)->propagation)
		set_propagation(in, root, INTS(root_attributes, s)->propagation, "/");
	SYS(__NR_close, root);
}
