/* New file systems, and copying of directory trees (tmpcopyup). */
#include "init.h"

#include <linux/fs.h>
#include <linux/mount.h>
#include <linux/stat.h>

#define COPY_DEPTH_MAX 64

/* Fail with `detail` and the kernel's message about the file system (fsopen(2), "e text"). */
__attribute__((noreturn)) void fail_fs(const struct init *in, int fs, long error, const char *detail)
{
	char text[232], said[160];
	char *end = text + sizeof(text);
	long n = SYS(__NR_read, fs, said, sizeof(said) - 1);
	said[n > 0 ? n : 0] = '\0';
	for (char *c = said; *c; c++)
		if (*c == '\n')
			*c = '\0';
	char *at = append(text, end, detail);
	if (n > 2 && starts_with(said, "e "))
		at = append(append(at, end, ": "), end, said + 2);
	fail(in, error, at ? text : detail);
}

static void set_option(const struct init *in, int fs, const char *option)
{
	char key[256];
	size_t n = 0;
	while (option[n] && option[n] != '=')
		n++;
	if (n >= sizeof(key))
		fail(in, -EINVAL, option);
	memcpy(key, option, n);
	key[n] = '\0';
	long r;
	if (option[n])
		r = SYS(__NR_fsconfig, fs, FSCONFIG_SET_STRING, key, option + n + 1, 0);
	else
		r = SYS(__NR_fsconfig, fs, FSCONFIG_SET_FLAG, key, NULL, 0);
	if (r < 0)
		fail_fs(in, fs, r, option);
}

/* A detached mount of a new file system; its options are the strings of the step from `first` on. */
int new_file_system(const struct init *in, const char *type, const char *source, const struct step *s, uint32_t first,
		    uint64_t attributes)
{
	int fs = (int)SYS(__NR_fsopen, type, FSOPEN_CLOEXEC);
	must(in, fs, type);
	if (*source) {
		long r = SYS(__NR_fsconfig, fs, FSCONFIG_SET_STRING, "source", source, 0);
		if (r < 0)
			fail_fs(in, fs, r, source);
	}
	for (uint32_t i = first; i < s->n_strs; i++)
		set_option(in, fs, step_string(s, i, NULL));
	long r = SYS(__NR_fsconfig, fs, FSCONFIG_CMD_CREATE, NULL, NULL, 0);
	if (r < 0)
		fail_fs(in, fs, r, type);
	int tree = (int)SYS(__NR_fsmount, fs, FSMOUNT_CLOEXEC, attributes);
	if (tree < 0)
		fail_fs(in, fs, tree, type);
	SYS(__NR_close, fs);
	return tree;
}

/* size: an option of tmpfs(5), "" for its default. */
int new_tmpfs(const struct init *in, const char *mode, const char *size)
{
	int fs = (int)SYS(__NR_fsopen, "tmpfs", FSOPEN_CLOEXEC);
	must(in, fs, "tmpfs");
	must(in, SYS(__NR_fsconfig, fs, FSCONFIG_SET_STRING, "mode", mode, 0), "tmpfs");
	if (*size)
		must(in, SYS(__NR_fsconfig, fs, FSCONFIG_SET_STRING, "size", size, 0), "tmpfs");
	must(in, SYS(__NR_fsconfig, fs, FSCONFIG_CMD_CREATE, NULL, NULL, 0), "tmpfs");
	int tree = (int)SYS(__NR_fsmount, fs, FSMOUNT_CLOEXEC, MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV);
	must(in, tree, "tmpfs");
	SYS(__NR_close, fs);
	return tree;
}

/* Copy a regular file. Its type is checked after it is opened: another process may have exchanged it since. */
static long copy_file(int from_dir, int to_dir, const char *name)
{
	struct statx st;
	int from = (int)SYS(__NR_openat, from_dir, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC, 0);
	if (from < 0)
		return from;
	if (SYS(__NR_statx, from, "", AT_EMPTY_PATH, STATX_BASIC_STATS, &st) < 0 || !S_ISREG(st.stx_mode)) {
		SYS(__NR_close, from);
		return -ESTALE;
	}
	int to = (int)SYS(__NR_openat, to_dir, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (to < 0)
		return to;
	long n;
	while ((n = SYS(__NR_sendfile, to, from, NULL, 1 << 20)) > 0)
		;
	if (n == 0)
		n = SYS(__NR_fchown, to, st.stx_uid, st.stx_gid);
	if (n == 0)
		n = SYS(__NR_fchmod, to, st.stx_mode & 07777);
	SYS(__NR_close, from);
	SYS(__NR_close, to);
	return n;
}

static long copy_link(int from_dir, int to_dir, const char *name, const struct statx *st)
{
	char content[PATH_MAX];
	long n = SYS(__NR_readlinkat, from_dir, name, content, sizeof(content) - 1);
	if (n < 0)
		return n;
	content[n] = '\0';
	n = SYS(__NR_symlinkat, content, to_dir, name);
	return n < 0 ? n : SYS(__NR_fchownat, to_dir, name, st->stx_uid, st->stx_gid, AT_SYMLINK_NOFOLLOW);
}

static long copy_directory(int from_dir, int to_dir, const char *name, int depth)
{
	int from = (int)SYS(__NR_openat, from_dir, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC, 0);
	if (from < 0)
		return from;
	long r = SYS(__NR_mkdirat, to_dir, name, 0700);
	if (r < 0)
		return r;
	int to = (int)SYS(__NR_openat, to_dir, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC, 0);
	if (to < 0)
		return to;
	r = copy_tree(from, to, depth + 1);
	SYS(__NR_close, from);
	SYS(__NR_close, to);
	return r;
}

static long copy_entry(int from_dir, int to_dir, const char *name, int depth)
{
	struct statx st;
	long r = SYS(__NR_statx, from_dir, name, AT_SYMLINK_NOFOLLOW, STATX_BASIC_STATS, &st);
	if (r < 0)
		return r;
	if (S_ISDIR(st.stx_mode))
		return copy_directory(from_dir, to_dir, name, depth);
	if (S_ISLNK(st.stx_mode))
		return copy_link(from_dir, to_dir, name, &st);
	if (S_ISREG(st.stx_mode))
		return copy_file(from_dir, to_dir, name);
	return 0; /* sockets, FIFOs and devices of the image are not copied */
}

/* Copy the contents of the directory `from`, its owner and its mode to the empty directory `to`. Returns 0 or
 * -errno. */
long copy_tree(int from, int to, int depth)
{
	char buffer[4096] __attribute__((aligned(8)));
	struct entry {
		uint64_t inode;
		int64_t offset;
		uint16_t length;
		uint8_t type;
		char name[];
	};
	struct statx st;
	if (depth > COPY_DEPTH_MAX)
		return -ELOOP;
	long r = SYS(__NR_statx, from, "", AT_EMPTY_PATH, STATX_BASIC_STATS, &st);
	long n;
	while (r == 0 && (n = SYS(__NR_getdents64, from, buffer, sizeof(buffer))) != 0) {
		if (n < 0)
			return n;
		for (long at = 0; r == 0 && at < n; at += ((struct entry *)(buffer + at))->length) {
			const char *name = ((struct entry *)(buffer + at))->name;
			if (!same(name, ".") && !same(name, ".."))
				r = copy_entry(from, to, name, depth);
		}
	}
	if (r == 0)
		r = SYS(__NR_fchownat, to, "", st.stx_uid, st.stx_gid, AT_EMPTY_PATH);
	if (r == 0) /* `to` may be a mount's fd, like an O_PATH fd: fchmodat(2) of "." works on all */
		r = SYS(__NR_fchmodat, to, ".", st.stx_mode & 07777);
	return r;
}
