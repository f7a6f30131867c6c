/* Mounts by their file descriptors: copied, moved, changed and compared. */
#include "init.h"

#include <linux/mount.h>
#include <linux/stat.h>

#define AT_RECURSIVE_ 0x8000

int stat_fd(int fd, struct statx *ret)
{
	return (int)SYS(__NR_statx, fd, "", AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW, STATX_BASIC_STATS, ret);
}

int is_directory(int fd)
{
	struct statx st;
	return stat_fd(fd, &st) == 0 && S_ISDIR(st.stx_mode);
}

/* A detached copy of the mount at fd + path, or of the whole tree below it; or -errno. */
int clone_tree(int fd, const char *path, int recursive)
{
	return (int)SYS(__NR_open_tree, fd, path,
			OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_EMPTY_PATH | (recursive ? AT_RECURSIVE_ : 0));
}

int move_tree(int tree, int target)
{
	long r = SYS(__NR_move_mount, tree, "", target, "", MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH);
	/* move_mount(2) returns EINVAL for every failure. Return ENOTDIR as mount(2) would: Docker matches its text. */
	return r == -EINVAL && is_directory(tree) != is_directory(target) ? -ENOTDIR : (int)r;
}

long set_attributes(int fd, uint64_t set, uint64_t clear, uint64_t propagation, int recursive)
{
	struct mount_attr attr = { .attr_set = set, .attr_clr = clear, .propagation = propagation };
	if (!set && !clear && !propagation)
		return 0;
	return SYS(__NR_mount_setattr, fd, "", AT_EMPTY_PATH | (recursive ? AT_RECURSIVE_ : 0), &attr, sizeof(attr));
}

/* Differs for each mount of this namespace, even of the same file system. */
uint64_t mount_id(const struct init *in, int fd)
{
	struct statx st;
	must(in, SYS(__NR_statx, fd, "", AT_EMPTY_PATH, STATX_MNT_ID, &st), "mount");
	return st.stx_mnt_id;
}
