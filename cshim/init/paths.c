/* Paths in the root file system. The image is hostile and others may change it while we work, so a path is resolved
 * once, in the root, to an fd; what is missing is made on the parent's fd (openat2(2), CVE-2021-30465). */
#include "init.h"

#include <linux/errno.h>
#include <linux/fcntl.h>
#include <linux/magic.h>
#include <linux/openat2.h>
#include <linux/stat.h>

#define RENAME_RETRIES 1024 /* openat2 gives EAGAIN while somebody renames: a racer cannot win, only slow us */
#define SYMLINKS_MAX 40

struct statfs_head {
	long type;
	long rest[32];
};

int open_in_root(const struct init *in, const char *path, uint64_t flags, uint64_t resolve)
{
	struct open_how how = { .flags = flags | O_CLOEXEC, .resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS | resolve };
	long fd = -EAGAIN;
	for (int i = 0; fd == -EAGAIN && i < RENAME_RETRIES; i++)
		fd = SYS(__NR_openat2, in->root, path, &how, sizeof(how));
	return (int)fd;
}

/* The last component of `path` is made; all before it exists. 0, or -errno. */
static int make_last(const struct init *in, char *path, char *name, int directory)
{
	const char *parent_path = "/";
	if (name > path) {
		name[-1] = '\0';
		if (*path)
			parent_path = path;
	}
	int parent = open_in_root(in, parent_path, OPEN_PATH | O_DIRECTORY, 0);
	if (name > path)
		name[-1] = '/';
	if (parent < 0)
		return parent;
	long r;
	if (directory)
		r = SYS(__NR_mkdirat, parent, name, 0755);
	else
		r = SYS(__NR_mknodat, parent, name, S_IFREG | 0644, 0);
	if (r == -EEXIST) { /* made by somebody meanwhile, or a dangling link: the caller looks again */
		char link[8];
		r = SYS(__NR_readlinkat, parent, name, link, sizeof(link)) >= 0 ? -ELOOP : 0;
	}
	SYS(__NR_close, parent);
	return (int)r;
}

/* Replace the link at path[..name_end) by what it says, keeping what follows. 0, or -errno. */
static int expand_link(const struct init *in, char *path, char *name, char *name_end)
{
	char whole[PATH_MAX], link[PATH_MAX];
	char saved = *name_end;
	*name_end = '\0';
	int fd = open_in_root(in, path, OPEN_PATH | O_NOFOLLOW, 0);
	*name_end = saved;
	if (fd < 0)
		return fd;
	long n = SYS(__NR_readlinkat, fd, "", link, sizeof(link) - 1);
	SYS(__NR_close, fd);
	if (n <= 0)
		return n < 0 ? (int)n : -ENOENT;
	link[n] = '\0';
	*name = '\0';
	char *at = whole, *end = whole + sizeof(whole);
	at = append(at, end, link[0] == '/' ? "" : path);
	at = append(at, end, link);
	at = append(at, end, saved ? "/" : "");
	at = append(at, end, saved ? name_end + 1 : "");
	if (!at)
		return -ENAMETOOLONG;
	memcpy(path, whole, (size_t)(at - whole) + 1);
	return 0;
}

/* The directory or file `path` in the root as an O_PATH fd, made with its parents where missing; or -errno. */
int open_target(const struct init *in, const char *wanted, int directory)
{
	int fd = open_in_root(in, wanted, OPEN_PATH, 0);
	if (fd != -ENOENT)
		return fd;
	char path[PATH_MAX];
	if (!append(path, path + sizeof(path), wanted))
		return -ENAMETOOLONG;
	int links = 0;
	char *name = path;
	while (*name == '/')
		name++;
	while (*name) {
		char *name_end = name;
		while (*name_end && *name_end != '/')
			name_end++;
		char saved = *name_end;
		char *next = name_end;
		while (*next == '/')
			next++;
		*name_end = '\0';
		int last = *next == '\0' || saved == '\0';
		fd = open_in_root(in, path, OPEN_PATH, 0);
		int r = 0;
		if (fd == -ENOENT)
			r = make_last(in, path, name, !last || directory);
		else if (fd < 0)
			return fd;
		else
			SYS(__NR_close, fd);
		*name_end = saved;
		if (r == -ELOOP && ++links <= SYMLINKS_MAX) {
			r = expand_link(in, path, name, name_end);
			next = path;
			while (*next == '/')
				next++;
		}
		if (r < 0)
			return r;
		name = next;
	}
	return open_in_root(in, path, OPEN_PATH, 0);
}

/* The directory that holds the last component of `path`, made where missing, as an fd for *at calls; or -errno. */
int open_parent(const struct init *in, const char *path, const char **ret_name)
{
	char parent[PATH_MAX];
	if (!append(parent, parent + sizeof(parent), path))
		return -ENAMETOOLONG;
	size_t n = strlen(path);
	while (n > 0 && path[n - 1] != '/')
		n--;
	*ret_name = path + n;
	parent[n] = '\0';
	if (**ret_name == '\0' || same(*ret_name, "..") || same(*ret_name, "."))
		return -EINVAL;
	return open_target(in, n ? parent : "/", 1);
}

int is_proc(int fd)
{
	struct statfs_head fs;
	return SYS(__NR_fstatfs, fd, &fs) == 0 && fs.type == PROC_SUPER_MAGIC;
}

/* A file of the host's procfs, never one that was mounted over it (CVE-2019-16884, CVE-2025-52881). */
int open_proc(const struct init *in, const char *path, int flags)
{
	struct open_how how = { .flags = (uint32_t)flags | O_CLOEXEC,
				.resolve = RESOLVE_BENEATH | RESOLVE_NO_XDEV | RESOLVE_NO_MAGICLINKS };
	long fd = SYS(__NR_openat2, in->proc, path, &how, sizeof(how));
	if (fd >= 0 && !is_proc((int)fd)) {
		SYS(__NR_close, fd);
		return -EXDEV;
	}
	return (int)fd;
}

long write_proc(const struct init *in, const char *path, const char *value)
{
	int fd = open_proc(in, path, O_WRONLY);
	if (fd < 0)
		return fd;
	size_t n = strlen(value);
	long r = SYS(__NR_write, fd, value, n);
	SYS(__NR_close, fd);
	return r < 0 ? r : (size_t)r == n ? 0 : -EIO;
}
