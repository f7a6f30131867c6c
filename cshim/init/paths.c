/* Paths in the root file system. The image is hostile, and others may change it while we work. So each path is
 * resolved once, inside the root, to an fd, and missing components are created on their parent's fd (openat2(2),
 * CVE-2021-30465). */
#include "init.h"

#include <linux/magic.h>
#include <linux/openat2.h>
#include <linux/stat.h>

#define RENAME_RETRIES 1024 /* openat2 returns EAGAIN during renames: a racer can delay us, but not win */
#define SYMLINKS_MAX 40
#define PROC_ROOT_INO_ 1

struct statfs_head {
	long type;
	long rest[32];
};

/* Mount points of the kernel's file systems. The mount on each is kept by its fd until the root is entered: whoever
 * can write to the root file system may rename these directories at any time, and the mounts move with them. */
const char *const own_places[OWN_PLACES] = { "/proc", "/sys", "/dev" };

/* The index of the place that contains the path, and the rest of the path; -1 if it is in none. Paths with "..",
 * which may also lead there, are not recognized. */
int own_place(const char *path, const char **ret_rest)
{
	for (int i = 0; i < OWN_PLACES; i++) {
		const char *at = path, *name = own_places[i] + 1;
		while (*at == '/' || (at[0] == '.' && at[1] == '/'))
			at++;
		while (*name && *at == *name)
			at++, name++;
		if (*name || (*at && *at != '/'))
			continue;
		while (*at == '/' || (at[0] == '.' && (at[1] == '/' || !at[1])))
			at++;
		*ret_rest = at;
		return i;
	}
	return -1;
}

static int open_below(int base, const char *path, uint64_t flags, uint64_t resolve)
{
	struct open_how how = { .flags = flags | O_CLOEXEC, .resolve = RESOLVE_NO_MAGICLINKS | resolve };
	long fd = -EAGAIN;
	for (int i = 0; fd == -EAGAIN && i < RENAME_RETRIES; i++)
		fd = SYS(__NR_openat2, base, path, &how, sizeof(how));
	return (int)fd;
}

/* Resolve by name alone, whatever is mounted there by now. */
int open_by_name(const struct init *in, const char *path, uint64_t flags, uint64_t resolve)
{
	return open_below(in->root, path, flags, RESOLVE_IN_ROOT | resolve);
}

/* Resolve a path. In a place whose mount we keep, it is resolved below that mount; a link may lead out of it. */
int open_in_root(const struct init *in, const char *path, uint64_t flags, uint64_t resolve)
{
	const char *rest;
	int place = own_place(path, &rest);
	if (place >= 0 && in->own[place]) {
		int fd = open_below(in->own[place], *rest ? rest : ".", flags, RESOLVE_BENEATH | resolve);
		if (fd != -EXDEV)
			return fd;
	}
	return open_by_name(in, path, flags, resolve);
}

/* Replace the symbolic link at path[..name_end) by its target and keep the rest. Returns 0 or -errno. */
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

/* Open the deepest existing directory of `path`. Returns its fd and the name that follows it, or -errno. */
static int open_deepest(const struct init *in, char *path, char **ret_name)
{
	char *name = path + strlen(path);
	int fd = -ENOENT;
	while (fd == -ENOENT && name > path) {
		while (name > path && name[-1] == '/')
			name--;
		while (name > path && name[-1] != '/')
			name--;
		char saved = *name;
		*name = '\0';
		fd = open_in_root(in, name > path ? path : "/", OPEN_PATH | O_DIRECTORY, 0);
		*name = saved;
	}
	*ret_name = name;
	return fd;
}

/* Create one entry in a directory. Returns 0, also if it exists; -ELOOP if it is a symbolic link; or -errno. */
static long make_name(int parent, const char *name, int directory)
{
	char link[8];
	long r;
	if (directory)
		r = SYS(__NR_mkdirat, parent, name, 0755);
	else
		r = SYS(__NR_mknodat, parent, name, S_IFREG | 0644, 0);
	if (r == -EEXIST)
		r = SYS(__NR_readlinkat, parent, name, link, sizeof(link)) >= 0 ? -ELOOP : 0;
	return r;
}

/* Create the missing components of `path`, each on its parent's fd, so that a deep path takes a few calls per
 * component. Returns 0 or -errno; 1 if a dangling link was replaced by its target, so that the path must be looked
 * up again. */
static int make_missing(const struct init *in, char *path, int directory)
{
	char *name, *next;
	int parent = open_deepest(in, path, &name), below;
	if (parent < 0)
		return parent;
	for (; *name; name = next) {
		char *name_end = name;
		while (*name_end && *name_end != '/')
			name_end++;
		next = name_end;
		while (*next == '/')
			next++;
		char saved = *name_end;
		*name_end = '\0';
		int up = same(name, "..") || same(name, ".");
		long r = up ? 0 : make_name(parent, name, *next || directory);
		if (r == 0 && !up) /* we created it, or another process did meanwhile */
			below = *next ? (int)SYS(__NR_openat, parent, name,
						 OPEN_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC, 0)
				      : 0;
		else if (r == 0 || r == -ELOOP) /* an existing target: the same as without the link */
			below = open_in_root(in, path, OPEN_PATH | (*next ? O_DIRECTORY : 0), 0);
		else
			below = (int)r;
		*name_end = saved;
		SYS(__NR_close, parent);
		if (below == -ENOENT && r == -ELOOP) {
			below = expand_link(in, path, name, name_end);
			return below < 0 ? below : 1;
		}
		if (below < 0)
			return below;
		parent = below;
	}
	if (parent)
		SYS(__NR_close, parent);
	return 0;
}

/* Open the directory or file `path` in the root with O_PATH; create it and its parents if missing. Or -errno. */
int open_target(const struct init *in, const char *wanted, int directory)
{
	int fd = open_in_root(in, wanted, OPEN_PATH, 0), links = 0, r = 1;
	if (fd != -ENOENT || !*wanted)
		return fd;
	char path[PATH_MAX];
	if (!append(path, path + sizeof(path), wanted))
		return -ENAMETOOLONG;
	while (r == 1) {
		r = links++ > SYMLINKS_MAX ? -ELOOP : make_missing(in, path, directory);
		if (r >= 0)
			fd = open_in_root(in, path, OPEN_PATH, 0);
		if (fd >= 0 || (r == 1 && fd != -ENOENT))
			return fd;
	}
	return r < 0 ? r : fd;
}

/* Open the directory of the last component of `path`, for *at calls; create it if missing. Or -errno. */
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

/* Open a file of a procfs, never one that was mounted over it (CVE-2019-16884, CVE-2025-52881). */
static int open_in_proc(int proc, const char *path)
{
	struct open_how how = { .flags = O_WRONLY | O_CLOEXEC,
				.resolve = RESOLVE_BENEATH | RESOLVE_NO_XDEV | RESOLVE_NO_MAGICLINKS };
	long fd = SYS(__NR_openat2, proc, path, &how, sizeof(how));
	if (fd >= 0 && !is_proc((int)fd)) {
		SYS(__NR_close, fd);
		return -EXDEV;
	}
	return (int)fd;
}

/* Open a file of the procfs on /proc as we see it now, the host's. It is opened for this one file and closed at
 * once: with a directory of it, the container could reach the host. So all steps that need it come before the root
 * is entered, and before exec joins the container's namespaces. */
static int open_proc(const char *path)
{
	struct statx st;
	int proc = (int)SYS(__NR_openat, AT_FDCWD, "/proc", OPEN_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC, 0),
	    fd = -EXDEV;
	if (proc < 0)
		return proc;
	/* Its root directory, not another of its directories bound there. */
	if (SYS(__NR_statx, proc, "", AT_EMPTY_PATH, STATX_INO, &st) == 0 && st.stx_ino == PROC_ROOT_INO_)
		fd = open_in_proc(proc, path);
	SYS(__NR_close, proc);
	return fd;
}

static long write_all_and_close(int fd, const char *value)
{
	if (fd < 0)
		return fd;
	size_t n = strlen(value);
	long r = SYS(__NR_write, fd, value, n);
	SYS(__NR_close, fd);
	return r < 0 ? r : (size_t)r == n ? 0 : -EIO;
}

long write_proc(const char *path, const char *value)
{
	return write_all_and_close(open_proc(path), value);
}

/* Write to sys/... of the procfs that was mounted for the container; to the host's if there is none, or if it is
 * read-only or contains only processes. Which namespaces change depends on the writer alone. */
long write_sysctl(const struct init *in, const char *path, const char *value)
{
	int proc = in->own[OWN_PROC], fd = proc && is_proc(proc) ? open_in_proc(proc, path) : -ENOENT;
	return fd == -ENOENT || fd == -EROFS ? write_proc(path, value) : write_all_and_close(fd, value);
}
