/* Roots made of layers: an image's root, and the private layer over a read-only root. They are mounted in the
 * container's own mount namespace, so nothing is left to unmount when the container ends. */
#include "init.h"

#include <linux/mount.h>
#include <linux/stat.h>

#define ST_RDONLY_ 1
#define MOUNT_DATA_MAX 4096 /* one page, mount(2) */

static const char *const OPTIONS[][2] = {
	/* Extended attributes of the image must not lead from one layer's directory to another. */
	{ "index", "off" },
	{ "metacopy", "off" },
	{ "redirect_dir", "nofollow" },
};

/* Mount options, and the directories of an upper layer for them. */
static const char *const OWN[2][2] = { { "upperdir", "upper" }, { "workdir", "work" } };

static int is_read_only(int fd)
{
	struct {
		long type, bsize, blocks, bfree, bavail, files, ffree, fsid, namelen, frsize, flags, spare[4];
	} fs;
	return SYS(__NR_fstatfs, fd, &fs) == 0 && (fs.flags & ST_RDONLY_);
}

static int any_missing(const struct init *in, const struct step *s)
{
	for (uint32_t i = PRIVATE_LAYER_TARGETS; i < s->n_strs; i++) {
		int fd = open_in_root(in, step_string(s, i, NULL), OPEN_PATH, 0);
		if (fd == -ENOENT)
			return 1;
		if (fd >= 0)
			SYS(__NR_close, fd);
	}
	return 0;
}

static char *append_fd(char *at, const char *end, int fd)
{
	return append_number(append(at, end, "/proc/self/fd/"), end, (uint64_t)fd);
}

/* Set an option to the path of an fd in the host's /proc: nothing of the image is mounted over it yet. */
static void option_fd(const struct init *in, int fs, const char *key, int fd)
{
	char path[64];
	append_fd(path, path + sizeof(path), fd);
	long r = SYS(__NR_fsconfig, fs, FSCONFIG_SET_STRING, key, path, 0);
	if (r < 0)
		fail_fs(in, fs, r, key);
}

static int open_directory(const struct init *in, const char *path)
{
	int fd = (int)SYS(__NR_openat, AT_FDCWD, path, OPEN_PATH | O_DIRECTORY | O_CLOEXEC, 0);
	must(in, fd, path);
	return fd;
}

/* Open a directory of the upper layer. The layer's owner may have placed a symbolic link there, which would redirect
 * all that the container writes; overlayfs follows links. */
static int open_in_upper(const struct init *in, int upper, const char *name)
{
	int fd = (int)SYS(__NR_openat, upper, name, OPEN_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC, 0);
	must(in, fd, name);
	return fd;
}

static void close_own(const int own[2])
{
	for (int i = 0; i < 2; i++)
		if (own[i] >= 0)
			SYS(__NR_close, own[i]);
}

static uint32_t count_layers(const struct step *s)
{
	return s->n_strs - LAYERED_ROOT_LAYERS;
}

/* Open layer `i` of a LAYERED_ROOT step, highest first. After the last comes the empty directory that the root is
 * mounted on: an overlay without an upper layer needs two layers. */
static int open_layer(const struct init *in, const struct step *s, uint32_t i)
{
	return open_directory(in,
			      step_string(s, i < count_layers(s) ? LAYERED_ROOT_LAYERS + i : LAYERED_ROOT_PLACE, NULL));
}

static uint32_t lowest_layer(const struct step *s, int upper)
{
	return count_layers(s) == 1 && upper < 0 ? 2 : count_layers(s);
}

/* Before Linux 6.5 all layers go into one string, of which fsconfig(2) accepts only 255 bytes. So use mount(2), with
 * paths of fds, which are short. The mount is attached at once. Returns its fd. */
static int overlay_by_mount(const struct init *in, const struct step *layers, int upper)
{
	char data[MOUNT_DATA_MAX];
	const char *end = data + sizeof(data), *place = step_string(layers, LAYERED_ROOT_PLACE, NULL);
	char target[64], *at = data;
	for (size_t i = 0; i < sizeof(OPTIONS) / sizeof(OPTIONS[0]); i++)
		at = append(append(append(append(at, end, OPTIONS[i][0]), end, "="), end, OPTIONS[i][1]), end, ",");
	at = append(at, end, "lowerdir=");
	int fds[MOUNT_DATA_MAX / sizeof("/proc/self/fd/")];
	uint32_t n = lowest_layer(layers, upper);
	for (uint32_t i = 0; at && i < n; i++) {
		fds[i] = open_layer(in, layers, i);
		at = append_fd(append(at, end, i ? ":" : ""), end, fds[i]);
	}
	int own[2] = { -1, -1 };
	for (int i = 0; upper >= 0 && i < 2; i++) {
		own[i] = open_in_upper(in, upper, OWN[i][1]);
		at = append_fd(append(append(append(at, end, ","), end, OWN[i][0]), end, "="), end, own[i]);
	}
	if (!at)
		fail(in, -E2BIG, "more layers than this kernel takes");
	int over = open_directory(in, place);
	append_fd(target, target + sizeof(target), over);
	must(in, SYS(__NR_mount, "overlay", target, "overlay", 0, data), "overlay");
	while (n)
		SYS(__NR_close, fds[--n]);
	close_own(own);
	int tree = open_directory(in, place);
	must(in, set_attributes(tree, in->root_attributes, 0, 0, 0), place);
	SYS(__NR_close, over);
	return tree;
}

/* Mount an overlay on `over`: of the image's layers, or of the directory `over` itself if there are none. `upper`
 * contains the directories upper and work, or is -1. Returns the overlay's fd. */
static int overlay(const struct init *in, int over, int upper)
{
	const struct step *layers = in->layers;
	if (layers && !INTS(layered_root, layers)->append)
		return overlay_by_mount(in, layers, upper);
	int fs = (int)SYS(__NR_fsopen, "overlay", FSOPEN_CLOEXEC);
	must(in, fs, "overlay");
	if (layers) {
		for (size_t i = 0; i < sizeof(OPTIONS) / sizeof(OPTIONS[0]); i++) {
			long r = SYS(__NR_fsconfig, fs, FSCONFIG_SET_STRING, OPTIONS[i][0], OPTIONS[i][1], 0);
			if (r < 0)
				fail_fs(in, fs, r, OPTIONS[i][0]);
		}
		for (uint32_t i = 0; i < lowest_layer(layers, upper); i++) {
			int layer = open_layer(in, layers, i);
			option_fd(in, fs, "lowerdir+", layer);
			SYS(__NR_close, layer);
		}
	} else {
		option_fd(in, fs, "lowerdir", over);
	}
	int own[2] = { -1, -1 };
	for (int i = 0; upper >= 0 && i < 2; i++) {
		own[i] = open_in_upper(in, upper, OWN[i][1]);
		option_fd(in, fs, OWN[i][0], own[i]);
	}
	long r = SYS(__NR_fsconfig, fs, FSCONFIG_CMD_CREATE, NULL, NULL, 0);
	if (r < 0)
		fail_fs(in, fs, r, "overlay");
	close_own(own); /* not earlier: until Linux 6.5 the paths are resolved only now */
	int tree = (int)SYS(__NR_fsmount, fs, FSMOUNT_CLOEXEC, in->root_attributes);
	if (tree < 0)
		fail_fs(in, fs, tree, "overlay");
	must(in, move_tree(tree, upper >= 0 ? upper : over), "overlay");
	SYS(__NR_close, fs);
	return tree;
}

/* Mount a tmpfs on `over` with the directories of an upper layer. The merged root has the owner and mode of "upper",
 * so they are copied from `like`. */
static int tmpfs_upper(const struct init *in, int over, int like, const char *size)
{
	struct statx st;
	must(in, SYS(__NR_statx, like, "", AT_EMPTY_PATH, STATX_BASIC_STATS, &st), "rootfs");
	int tmpfs = new_tmpfs(in, "0700", size);
	must(in, SYS(__NR_mkdirat, tmpfs, "upper", 0755), "upper");
	must(in, SYS(__NR_mkdirat, tmpfs, "work", 0700), "work");
	must(in, SYS(__NR_fchownat, tmpfs, "upper", st.stx_uid, st.stx_gid, 0), "upper");
	must(in, SYS(__NR_fchmodat, tmpfs, "upper", st.stx_mode & 07777), "upper");
	must(in, move_tree(tmpfs, over), "private layer");
	return tmpfs;
}

static void change_root(struct init *in, int root)
{
	if (in->root >= 0)
		SYS(__NR_close, in->root);
	in->root = root;
}

/* Use a host directory as the upper layer. It is cloned, so that the overlay can be mounted on it. It must be the
 * directory that the stele process checked: no other container writes to that one. */
static int directory_upper(const struct init *in, const char *path, int over, const struct layered_root_ints *v)
{
	struct statx st;
	int directory = open_directory(in, path);
	must(in, SYS(__NR_statx, directory, "", AT_EMPTY_PATH, STATX_BASIC_STATS, &st), path);
	if (((uint64_t)st.stx_dev_major << 32 | st.stx_dev_minor) != v->device || st.stx_ino != v->inode)
		fail(in, -ESTALE, path);
	int tree = clone_tree(directory, "", 0);
	must(in, tree, path);
	must(in, move_tree(tree, over), path);
	SYS(__NR_close, directory);
	return tree;
}

void do_layered_root(struct init *in, const struct step *s)
{
	const char *size = step_string(s, LAYERED_ROOT_SIZE, NULL);
	const char *directory = step_string(s, LAYERED_ROOT_DIRECTORY, NULL);
	const struct layered_root_ints *v = INTS(layered_root, s);
	int over = open_directory(in, step_string(s, LAYERED_ROOT_PLACE, NULL)), upper = -1;
	int like = over;
	in->root_attributes = v->attributes;
	if (v->slot != NO_SLOT) {
		int tree = slot_fd(in, v->slot);
		must(in, move_tree(tree, over), "root");
		change_root(in, tree);
		SYS(__NR_close, over);
		over = like = in->root;
	} else {
		in->layers = s;
		like = open_layer(in, s, 0);
	}
	if (v->upper == UPPER_TMPFS)
		upper = tmpfs_upper(in, over, like, size);
	else if (v->upper == UPPER_DIRECTORY)
		upper = directory_upper(in, directory, over, v);
	if (like != over)
		SYS(__NR_close, like);
	if (in->root >= 0 && upper < 0)
		return;
	int root = overlay(in, over, upper);
	if (upper >= 0)
		SYS(__NR_close, upper);
	if (over != in->root)
		SYS(__NR_close, over);
	change_root(in, root);
}

void do_private_layer(struct init *in, const struct step *s)
{
	int fixed = is_read_only(in->root);
	if ((!INTS(private_layer, s)->readonly && !fixed) || !any_missing(in, s))
		return;
	int upper = tmpfs_upper(in, in->root, in->root, "");
	int root = overlay(in, in->root, upper);
	SYS(__NR_close, upper);
	change_root(in, root);
	in->root_readonly = fixed;
}
