/* Device nodes, symbolic links in /dev, and the terminal. */
#include "init.h"

#include <asm/ioctls.h>
#include <asm/termios.h>
#include <linux/magic.h>
#include <linux/mount.h>
#include <linux/stat.h>

static uint64_t device_number(uint64_t major, uint64_t minor)
{
	return ((major & 0xfffull) << 8) | (minor & 0xffull) | ((minor & 0xfff00ull) << 12); /* new_encode_dev() */
}

static int same_node(int parent, const char *name, uint64_t mode, uint64_t major, uint64_t minor)
{
	struct statx st;
	if (SYS(__NR_statx, parent, name, AT_SYMLINK_NOFOLLOW, STATX_BASIC_STATS, &st) < 0)
		return 0;
	if ((st.stx_mode & S_IFMT) != (mode & S_IFMT))
		return 0;
	return S_ISFIFO(st.stx_mode) || (st.stx_rdev_major == major && st.stx_rdev_minor == minor);
}

/* Device nodes cannot be created in a user namespace: bind the host's node instead, if it has the right type and
 * number. */
static void bind_device(const struct init *in, const struct step *s, int parent, const char *name)
{
	const struct device_ints *v = INTS(device, s);
	const char *path = step_string(s, DEVICE_PATH, NULL);
	int node = (int)SYS(__NR_openat, AT_FDCWD, path, OPEN_PATH | O_NOFOLLOW | O_CLOEXEC, 0);
	must(in, node, path);
	struct statx st;
	must(in, SYS(__NR_statx, node, "", AT_EMPTY_PATH, STATX_BASIC_STATS, &st), path);
	if ((st.stx_mode & S_IFMT) != (v->mode & S_IFMT) || st.stx_rdev_major != v->major ||
	    st.stx_rdev_minor != v->minor)
		fail(in, -ENODEV, path);
	long r = SYS(__NR_mknodat, parent, name, S_IFREG | 0644, 0);
	if (r != -EEXIST)
		must(in, r, path);
	int target = (int)SYS(__NR_openat, parent, name, OPEN_PATH | O_NOFOLLOW | O_CLOEXEC, 0);
	must(in, target, path);
	int tree = clone_tree(node, "", 0);
	must(in, tree, path);
	must(in, set_attributes(tree, MOUNT_ATTR_NOSUID | MOUNT_ATTR_NOEXEC, 0, 0, 0), path);
	must(in, move_tree(tree, target), path);
	SYS(__NR_close, tree);
	SYS(__NR_close, target);
	SYS(__NR_close, node);
}

void do_device(struct init *in, const struct step *s)
{
	const struct device_ints *v = INTS(device, s);
	const char *path = step_string(s, DEVICE_PATH, NULL), *name;
	int parent = open_parent(in, path, &name);
	must(in, parent, path);
	if (v->bind) {
		bind_device(in, s, parent, name);
	} else {
		long r = SYS(__NR_mknodat, parent, name, v->mode, device_number(v->major, v->minor));
		if (!(r == -EEXIST && same_node(parent, name, v->mode, v->major, v->minor))) {
			must(in, r, path);
			must(in, SYS(__NR_fchownat, parent, name, v->uid, v->gid, AT_SYMLINK_NOFOLLOW), path);
		}
	}
	SYS(__NR_close, parent);
}

void do_symlink(struct init *in, const struct step *s)
{
	const char *path = step_string(s, SYMLINK_PATH, NULL), *name;
	int parent = open_parent(in, path, &name);
	must(in, parent, path);
	long r = SYS(__NR_symlinkat, step_string(s, SYMLINK_CONTENT, NULL), parent, name);
	if (r != -EEXIST)
		must(in, r, path);
	SYS(__NR_close, parent);
}

static int is_devpts(int fd)
{
	struct {
		long type;
		long rest[32];
	} fs;
	return SYS(__NR_fstatfs, fd, &fs) == 0 && fs.type == DEVPTS_SUPER_MAGIC;
}

/* Bind the terminal on /dev/console by its fd: the image can forge its name in /dev/pts (CVE-2025-52565). */
static void mount_console(const struct init *in, int slave)
{
	int dev = open_in_root(in, "/dev", OPEN_PATH | O_DIRECTORY, 0);
	must(in, dev, "/dev");
	long r = SYS(__NR_mknodat, dev, "console", S_IFREG | 0600, 0);
	if (r != -EEXIST)
		must(in, r, "/dev/console");
	int target = (int)SYS(__NR_openat, dev, "console", OPEN_PATH | O_NOFOLLOW | O_CLOEXEC, 0);
	must(in, target, "/dev/console");
	struct statx st;
	must(in, SYS(__NR_statx, target, "", AT_EMPTY_PATH, STATX_BASIC_STATS, &st), "/dev/console");
	if (S_ISLNK(st.stx_mode)) /* CVE-2026-88264 */
		fail(in, -ELOOP, "/dev/console");
	int tree = clone_tree(slave, "", 0);
	must(in, tree, "/dev/console");
	must(in, move_tree(tree, target), "/dev/console");
	SYS(__NR_close, tree);
	SYS(__NR_close, target);
	SYS(__NR_close, dev);
}

void do_console(struct init *in, const struct step *s)
{
	const struct console_ints *v = INTS(console, s);
	int unlock = 0, entered = in->root < 0;
	if (entered) {
		in->root = (int)SYS(__NR_openat, AT_FDCWD, "/", OPEN_PATH | O_DIRECTORY | O_CLOEXEC, 0);
		must(in, in->root, "/");
	}
	int master = open_in_root(in, "/dev/pts/ptmx", O_RDWR | O_NOCTTY, 0);
	must(in, master, "/dev/pts/ptmx");
	if (!is_devpts(master))
		fail(in, -ENOTTY, "/dev/pts/ptmx");
	must(in, SYS(__NR_ioctl, master, TIOCSPTLCK, &unlock), "/dev/pts/ptmx");
	int slave = (int)SYS(__NR_ioctl, master, TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC);
	must(in, slave, "/dev/pts/ptmx");
	if (entered) {
		SYS(__NR_close, in->root);
		in->root = -1;
	}
	if (v->columns || v->rows) {
		struct winsize size = { .ws_col = (unsigned short)v->columns, .ws_row = (unsigned short)v->rows };
		must(in, SYS(__NR_ioctl, slave, TIOCSWINSZ, &size), "console size");
	}
	must(in, SYS(__NR_fchown, slave, v->uid, -1), "terminal owner");
	if (v->mount)
		mount_console(in, slave);
	tell(in, "", 0, master);
	SYS(__NR_close, master);
	must(in, SYS(__NR_ioctl, slave, TIOCSCTTY, 0), "controlling terminal");
	for (int fd = 0; fd < 3; fd++)
		must(in, SYS(__NR_dup3, slave, fd, 0), "stdio");
	SYS(__NR_close, slave);
}
