#include "unpack.h"

#include "confined.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/openat2.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

#define TRIES 100
#define LINKS_MAX 40 /* as in path_resolution(7) */
#define IMPLIED_MAX (64U << 20)

#define DEFAULT_ACL "system.posix_acl_default"

/* Directories get their times, modes and default ACLs last: whatever is made in them changes the first, may be barred by
   the second, and would inherit the third. */
struct late {
	enum { DESCRIBED, IMPLIED, HIDING } kind;
	ino_t inode;
	int64_t mtime;
	uint32_t mtime_ns;
	mode_t mode;
	uint32_t path_size; /* including its NUL; the path follows, then the ACL */
	uint32_t acl_size;
};

struct work {
	struct stele_unpack *u;
	struct stele_tar *tar;
	const struct stele_entry *e;
	int parent; /* O_PATH fd of the directory `parent_path`, or -1 */
	char parent_path[STELE_PATH_MAX];
	char path[STELE_PATH_MAX]; /* of the entry: no leading, double or trailing "/", no "." */
	char *late;
	size_t late_size, late_room;
};

__attribute__((format(printf, 2, 3))) static int bad(struct work *w, const char *words, ...)
{
	va_list arguments;
	va_start(arguments, words);
	vsnprintf(w->u->problem, sizeof(w->u->problem), words, arguments);
	va_end(arguments);
	return -EBADMSG;
}

/* ---- paths ---- */

/* "/./usr//bin/" becomes "usr/bin", "./" becomes "", "a/../b" and "../b" become "b", whatever a is: other readers of layers
   do the same. Names of whiteouts are left to the caller in the last place, and are not allowed elsewhere. */
static int clean(struct work *w, const char *path, char to[STELE_PATH_MAX], const char *what)
{
	size_t size = 0;
	while (*path) {
		size_t n = strcspn(path, "/");
		bool last = path[n + strspn(path + n, "/")] == '\0';
		if (n == 2 && !memcmp(path, "..", 2)) {
			while (size && to[--size] != '/')
				;
			path += n + strspn(path + n, "/");
			continue;
		}
		if (!last && !strncmp(path, ".wh.", 4) && strncmp(path, ".wh..wh.", 8))
			return bad(w, "its %s leads through a whiteout", what);
		if (n && !(n == 1 && *path == '.')) {
			if (size)
				to[size++] = '/';
			memcpy(to + size, path, n);
			size += n;
		}
		path += n + strspn(path + n, "/");
	}
	to[size] = '\0';
	return 0;
}

static int open_in_root(const struct work *w, const char *path, uint64_t flags)
{
	struct open_how how = {
		.flags = flags | O_CLOEXEC | O_DIRECTORY,
		.resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS | RESOLVE_NO_XDEV,
	};
	int fd = -EAGAIN; /* openat2(2) returns EAGAIN while something is renamed elsewhere */
	for (int i = 0; i < TRIES && fd == -EAGAIN; i++) {
		fd = (int)syscall(SYS_openat2, w->u->directory, *path ? path : ".", &how, sizeof(how));
		fd = fd < 0 ? -errno : fd;
	}
	return fd;
}

static void forget_parent(struct work *w)
{
	if (w->parent >= 0)
		close(w->parent);
	w->parent = -1;
}

static int count(struct work *w)
{
	if (w->u->entries >= w->u->most_entries)
		return bad(w, "the layer has more than the %llu entries allowed",
			   (unsigned long long)w->u->most_entries);
	w->u->entries++;
	return 0;
}

/* ---- attributes ---- */

/* An attribute of `name` in a directory, of the directory itself if that is "". No link is followed: the directory is
   entered by its fd, and the name is in the last place. setxattrat(2) is too new to be relied on. */
static int set_xattr(int directory, const char *name, const char *attribute, const void *value, size_t size)
{
	return fchdir(directory) < 0 || lsetxattr(*name ? name : ".", attribute, value, size, 0) < 0 ? -errno : 0;
}

/* CVE-2021-3493, and also redirect, metacopy and origin: a layer must not control overlayfs. */
static bool steers_overlayfs(const struct stele_xattr *x)
{
	return !strncmp(x->name, "trusted.overlay.", 16) || !strncmp(x->name, "user.overlay.", 13);
}

static void leave_out(struct work *w, const char *attribute)
{
	if (w->u->left_out++)
		return;
	snprintf(w->u->left_out_name, sizeof(w->u->left_out_name), "%s", attribute);
	memcpy(w->u->left_out_path, w->e->path, sizeof(w->u->left_out_path));
}

/* Whether an attribute cannot be here: of another system, of a file system's own, of the host's root, or user.* of what is
   neither a file nor a directory, xattr(7). */
static bool is_foreign(const struct work *w, const struct stele_xattr *x, int error)
{
	char type = (char)w->e->type;
	bool plain = type == '0' || type == '5';
	return error == EOPNOTSUPP ||
	       (error == EPERM && (w->u->skip_devices || (!plain && !strncmp(x->name, "user.", 5))));
}

static int set_xattrs(struct work *w, int parent, const char *name)
{
	for (uint32_t i = 0; i < w->e->n_xattrs; i++) {
		const struct stele_xattr *x = &w->e->xattrs[i];
		/* Security labels and NFS ACLs of another host mean nothing here. */
		if (!strcmp(x->name, "security.selinux") || !strcmp(x->name, "system.nfs4_acl"))
			continue;
		if (!*name && !strcmp(x->name, DEFAULT_ACL))
			continue; /* set late */
		int result = steers_overlayfs(x) ? -EOPNOTSUPP : set_xattr(parent, name, x->name, x->value, x->size);
		if (result < 0 && is_foreign(w, x, -result)) {
			leave_out(w, x->name);
		} else if (result < 0) {
			bad(w, "cannot set its attribute %.60s: %s", x->name, strerror(-result));
			return result;
		}
	}
	return 0;
}

static int set_opaque(struct work *w, int parent, const char *name)
{
	w->u->whiteouts++;
	if (w->u->form == STELE_FORM_LOWEST)
		return 0;
	bool user = w->u->form == STELE_FORM_OVERLAY_USER;
	return set_xattr(parent, name, user ? "user.overlay.opaque" : "trusted.overlay.opaque", "y", 1);
}

/* ---- directories ---- */

static int set_late(struct work *w, int kind, const char *path, ino_t inode, mode_t mode, int64_t mtime,
		    uint32_t mtime_ns, const struct stele_xattr *acl)
{
	struct late late = {
		kind, inode, mtime, mtime_ns, mode, (uint32_t)strlen(path) + 1, acl ? (uint32_t)acl->size : 0
	};
	size_t size = sizeof(late) + late.path_size + late.acl_size;
	if (w->late_size + size > w->late_room) {
		size_t room = w->late_room * 2 + (64 << 10);
		char *more = realloc(w->late, room);
		if (!more)
			return -ENOMEM;
		w->late = more;
		w->late_room = room;
	}
	memcpy(w->late + w->late_size, &late, sizeof(late));
	memcpy(w->late + w->late_size + sizeof(late), path, late.path_size);
	if (late.acl_size)
		memcpy(w->late + w->late_size + sizeof(late) + late.path_size, acl->value, late.acl_size);
	w->late_size += size;
	return 0;
}

static int write_all(int fd, const uint8_t *at, size_t size)
{
	while (size) {
		ssize_t n = write(fd, at, size);
		if (n < 0 && errno != EINTR)
			return -errno;
		at += n > 0 ? n : 0;
		size -= n > 0 ? (size_t)n : 0;
	}
	return 0;
}

static int finish_directory(struct work *w, const struct late *late, const char *path, const char *acl)
{
	int fd = open_in_root(w, path, O_RDONLY | O_NOFOLLOW);
	/* A directory that was replaced meanwhile has its own record. */
	if (fd == -ENOENT || fd == -ENOTDIR || fd == -ELOOP)
		return 0;
	if (fd < 0)
		return fd;
	struct timespec times[2] = { { late->mtime, late->mtime_ns }, { late->mtime, late->mtime_ns } };
	struct stat found;
	int failed = fstat(fd, &found) < 0, same = !failed && found.st_ino == late->inode;
	if (same && late->acl_size && fsetxattr(fd, DEFAULT_ACL, acl, late->acl_size, 0) < 0)
		failed = errno != EOPNOTSUPP;
	if (same && !failed)
		failed = fchmod(fd, late->mode) < 0 || futimens(fd, times) < 0;
	int error = errno;
	close(fd);
	return failed ? -error : same;
}

static int by_inode(const void *a, const void *b)
{
	ino_t x = *(const ino_t *)a, y = *(const ino_t *)b;
	return x < y ? -1 : x > y;
}

/* The directories that an entry describes, or that hide what is below: sorted inodes, to be freed. */
static int describe(const struct work *w, ino_t **ret_inodes, size_t *ret_count)
{
	ino_t *inodes = malloc(w->late_size / sizeof(struct late) * sizeof(*inodes) + sizeof(*inodes));
	if (!inodes)
		return -ENOMEM;
	size_t n = 0;
	struct late late;
	for (size_t at = 0; at < w->late_size; at += sizeof(late) + late.path_size + late.acl_size) {
		memcpy(&late, w->late + at, sizeof(late));
		if (late.kind != IMPLIED)
			inodes[n++] = late.inode;
	}
	qsort(inodes, n, sizeof(*inodes), by_inode);
	*ret_inodes = inodes;
	*ret_count = n;
	return 0;
}

static int finish_directories(struct work *w)
{
	ino_t *described = NULL;
	size_t n = 0;
	int result = describe(w, &described, &n);
	struct late late;
	uint64_t written = 0;
	for (size_t at = 0; result >= 0 && at < w->late_size; at += sizeof(late) + late.path_size + late.acl_size) {
		memcpy(&late, w->late + at, sizeof(late));
		const char *path = w->late + at + sizeof(late);
		if (late.kind == HIDING)
			continue;
		result = finish_directory(w, &late, path, path + late.path_size);
		if (result != 1 || late.kind != IMPLIED ||
		    bsearch(&late.inode, described, n, sizeof(*described), by_inode))
			continue;
		written += late.path_size;
		result = written > IMPLIED_MAX
				 ? bad(w, "the names of directories that no entry describes are more than %u bytes",
				       IMPLIED_MAX)
				 : write_all(CONFINED_OUTPUT, (const uint8_t *)path, late.path_size);
	}
	free(described);
	return result < 0 ? result : 0;
}

static bool is_whiteout(const struct stat *s)
{
	return S_ISCHR(s->st_mode) && s->st_rdev == makedev(0, 0);
}

/* Remove what is in a directory: its files, and its directories once what they hold was moved up here. So neither memory nor
   open files grow with the depth, and no path is used. */
static int empty(int top)
{
	uint64_t moved = 0;
	for (uint64_t next = 0;; next++) {
		char inner_name[40] = ".";
		if (next)
			snprintf(inner_name, sizeof(inner_name), ".wh..wh.%llu", (unsigned long long)next);
		int inner = openat(top, inner_name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
		DIR *entries = inner < 0 ? NULL : fdopendir(inner);
		if (!entries) {
			int error = errno;
			if (inner >= 0)
				close(inner);
			return next && error == ENOENT ? 0 : -error;
		}
		int result = 0;
		const struct dirent *each;
		while (result == 0 && (errno = 0, each = readdir(entries))) {
			const char *name = each->d_name;
			if (!strcmp(name, ".") || !strcmp(name, "..") || !strncmp(name, ".wh..wh.", 8))
				continue;
			if (unlinkat(inner, name, 0) == 0)
				continue;
			char up[40];
			snprintf(up, sizeof(up), ".wh..wh.%llu", (unsigned long long)++moved);
			if (errno != EISDIR || renameat(inner, name, top, up) < 0)
				result = -errno;
		}
		if (result == 0 && errno)
			result = -errno;
		closedir(entries);
		if (result == 0 && next && unlinkat(top, inner_name, AT_REMOVEDIR) < 0)
			result = -errno;
		if (result < 0)
			return result;
	}
}

/* Remove what an earlier entry created under this name. */
static int clear(struct work *w, int parent, const char *name)
{
	forget_parent(w); /* it may be below what is removed; the caller has a copy of the fd */
	if (unlinkat(parent, name, 0) == 0)
		return 0;
	if (errno != EISDIR || unlinkat(parent, name, AT_REMOVEDIR) == 0)
		return errno == EISDIR ? 0 : -errno;
	if (errno != ENOTEMPTY)
		return -errno;
	int top = openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (top < 0)
		return -errno;
	int result = empty(top);
	close(top);
	return result == 0 && unlinkat(parent, name, AT_REMOVEDIR) < 0 ? -errno : result;
}

/* A directory called `name`: 1 if it is new in place of a whiteout or another entry of this layer, and so hides what the
   layers below have there; else 0. */
static int make_directory(struct work *w, int parent, const char *name)
{
	if (mkdirat(parent, name, 0700) == 0)
		return 0;
	struct stat found;
	if (errno != EEXIST || fstatat(parent, name, &found, AT_SYMLINK_NOFOLLOW) < 0)
		return -errno;
	if (S_ISDIR(found.st_mode))
		return 0;
	int result = clear(w, parent, name);
	if (result == 0 && mkdirat(parent, name, 0700) < 0)
		result = -errno;
	if (result == 0)
		result = set_opaque(w, parent, name);
	return result < 0 ? result : 1;
}

/* Put a link's target in the place of the link, which is what `path` has up to `end`. */
static int put_target(struct work *w, char path[STELE_PATH_MAX], size_t end, const char *target)
{
	char whole[STELE_PATH_MAX];
	size_t before = end;
	while (before && path[before - 1] != '/')
		before--;
	int size =
		snprintf(whole, sizeof(whole), "%.*s%s%s", *target == '/' ? 0 : (int)before, path, target, path + end);
	if (size >= STELE_PATH_MAX)
		return bad(w, "its path is too long with the links in it replaced");
	memcpy(path, whole, (size_t)size + 1);
	return 0;
}

/* A directory that no entry describes: root:root, 0755, mtime 0; unless a lower layer has it. If there is a link in its
   place: 1 and its target. */
static int imply_directory(struct work *w, const char *path, char ret_target[STELE_PATH_MAX])
{
	char before[STELE_PATH_MAX];
	const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;
	size_t size = slash ? (size_t)(slash - path) : 0;
	memcpy(before, path, size);
	before[size] = '\0';
	int parent = open_in_root(w, before, O_PATH);
	if (parent < 0)
		return parent;
	struct stat found;
	if (fstatat(parent, name, &found, AT_SYMLINK_NOFOLLOW) == 0 && !is_whiteout(&found)) {
		ssize_t n = S_ISLNK(found.st_mode) ? readlinkat(parent, name, ret_target, STELE_PATH_MAX - 1) : -1;
		close(parent);
		if (n <= 0)
			return bad(w, "its path leads through something that is not a directory");
		ret_target[n] = '\0';
		return 1;
	}
	int result = count(w);
	if (result == 0 && !strncmp(name, ".wh.", 4))
		result = bad(w, "its path leads through a link to a whiteout");
	if (result == 0)
		result = make_directory(w, parent, name);
	int kind = result == 1 ? DESCRIBED : IMPLIED;
	if (result >= 0 && fstatat(parent, name, &found, AT_SYMLINK_NOFOLLOW) < 0)
		result = -errno;
	close(parent);
	return result < 0 ? result : set_late(w, kind, path, found.st_ino, 0755, 0, 0, NULL);
}

/* Open the directory of a path, creating all directories that lead to it, also behind links: a lower layer may have what
   a link of this one leads to. An O_PATH fd, owned by the caller. */
static int open_directory(struct work *w, const char *path)
{
	int fd = open_in_root(w, path, O_PATH);
	if (fd != -ENOENT && fd != -ENOTDIR)
		return fd;
	char whole[STELE_PATH_MAX], part[STELE_PATH_MAX], target[STELE_PATH_MAX];
	memcpy(whole, path, strlen(path) + 1);
	size_t n = strcspn(whole, "/");
	for (unsigned links = 0;;) {
		memcpy(part, whole, n);
		part[n] = '\0';
		fd = open_in_root(w, part, O_PATH);
		if (fd == -ENOENT || fd == -ENOTDIR) {
			int result = imply_directory(w, part, target);
			if (result == 1) {
				result = links++ < LINKS_MAX ? put_target(w, whole, n, target) : -ELOOP;
				n = strcspn(whole, "/");
				if (result == 0)
					continue;
			}
			fd = result < 0 ? result : open_in_root(w, part, O_PATH);
		}
		if (fd < 0 || !whole[n])
			return fd;
		close(fd);
		n += 1 + strcspn(whole + n + 1, "/");
	}
}

/* Open the directory of the entry's path, and find its name there. `w` keeps the fd. */
static int open_parent(struct work *w, const char **ret_name)
{
	char *slash = strrchr(w->path, '/');
	size_t size = slash ? (size_t)(slash - w->path) : 0;
	*ret_name = slash ? slash + 1 : w->path;
	if (w->parent >= 0 && strlen(w->parent_path) == size && !memcmp(w->parent_path, w->path, size))
		return w->parent;
	forget_parent(w);
	memcpy(w->parent_path, w->path, size);
	w->parent_path[size] = '\0';
	int fd = open_directory(w, w->parent_path);
	return w->parent = fd < 0 ? -1 : fd, fd;
}

/* ---- entries ---- */

static int write_data(struct work *w, int fd)
{
	const struct stele_entry *e = w->e;
	const struct stele_region whole = { 0, e->stored }, *region = e->sparse ? e->regions : &whole;
	uint64_t left = e->n_regions || !e->sparse ? region->size : 0;
	const uint8_t *at;
	int64_t n;
	if (left && region->offset && lseek(fd, (off_t)region->offset, SEEK_SET) < 0)
		return -errno;
	while ((n = stele_tar_data(w->tar, &at)) > 0) {
		while (n) {
			while (!left) {
				region++; /* the regions' sum is the stored size */
				left = region->size;
				if (left && lseek(fd, (off_t)region->offset, SEEK_SET) < 0)
					return -errno;
			}
			size_t part = (uint64_t)n < left ? (size_t)n : (size_t)left;
			int result = write_all(fd, at, part);
			if (result < 0)
				return result;
			at += part;
			n -= (int64_t)part;
			left -= part;
		}
	}
	if (n == 0 && e->sparse && ftruncate(fd, (off_t)e->size) < 0)
		return -errno;
	return (int)n;
}

/* Set a file's owner before its attributes and mode: chown(2) clears capabilities and set-user-ID. */
static int make_file(struct work *w, int parent, const char *name)
{
	const struct stele_entry *e = w->e;
	int fd = openat(parent, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd < 0)
		return -errno;
	struct timespec times[2] = { { e->mtime, e->mtime_ns }, { e->mtime, e->mtime_ns } };
	int result = write_data(w, fd);
	if (result == 0 && fchown(fd, e->uid, e->gid) < 0)
		result = -errno;
	if (result == 0)
		result = set_xattrs(w, parent, name);
	if (result == 0 && (fchmod(fd, e->mode) < 0 || futimens(fd, times) < 0))
		result = -errno;
	close(fd);
	return result;
}

static int make_link(struct work *w, int parent, const char *name)
{
	char target[STELE_PATH_MAX];
	int result = clean(w, w->e->link, target, "target");
	if (result < 0)
		return result;
	char *slash = strrchr(target, '/'), *target_name = slash ? slash + 1 : target;
	if (slash)
		*slash = '\0';
	int from = open_in_root(w, slash ? target : "", O_PATH);
	struct stat found;
	if (from < 0 || fstatat(from, target_name, &found, AT_SYMLINK_NOFOLLOW) < 0)
		result = (from < 0 ? from : -errno) == -ENOENT
				 ? bad(w, "it is a hard link to what no earlier entry made")
			 : from < 0 ? from
				    : -errno;
	else if (is_whiteout(&found) || S_ISDIR(found.st_mode))
		result = bad(w, "it is a hard link to %s", S_ISDIR(found.st_mode) ? "a directory" : "a whiteout");
	else if (linkat(from, target_name, parent, name, 0) < 0)
		result = -errno;
	if (from >= 0)
		close(from);
	return result;
}

/* Create anything but a directory; -EEXIST if the name is taken. */
static int make_other(struct work *w, int parent, const char *name)
{
	const struct stele_entry *e = w->e;
	int result;
	switch (e->type) {
	case '0':
		return make_file(w, parent, name);
	case '1':
		return make_link(w, parent, name);
	case '2':
		result = symlinkat(e->link, parent, name);
		break;
	case '6':
		result = mknodat(parent, name, S_IFIFO | 0600, 0);
		break;
	default:
		if (e->type == '3' && e->major == 0 && e->minor == 0)
			return bad(w, "it is the device 0:0, by which it would be a whiteout for overlayfs");
		if (w->u->skip_devices)
			return 0;
		result =
			mknodat(parent, name, (e->type == '3' ? S_IFCHR : S_IFBLK) | 0600, makedev(e->major, e->minor));
	}
	if (result < 0 || fchownat(parent, name, e->uid, e->gid, AT_SYMLINK_NOFOLLOW) < 0)
		return -errno;
	/* A symbolic link has no mode of its own: fchmodat would change its target. */
	if (e->type != '2' && fchmodat(parent, name, e->mode, 0) < 0)
		return -errno;
	struct timespec times[2] = { { e->mtime, e->mtime_ns }, { e->mtime, e->mtime_ns } };
	result = set_xattrs(w, parent, name);
	if (result == 0 && utimensat(parent, name, times, AT_SYMLINK_NOFOLLOW) < 0)
		result = -errno;
	return result;
}

static int apply_directory(struct work *w, int parent, const char *name)
{
	const struct stele_entry *e = w->e;
	int result = *name ? make_directory(w, parent, name) : 0;
	if (result < 0)
		return result;
	result = 0;
	int fd = openat(parent, *name ? name : ".", O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	struct stat found;
	if (fd < 0 || fstat(fd, &found) < 0 || fchown(fd, e->uid, e->gid) < 0)
		result = -errno;
	if (result == 0)
		result = set_xattrs(w, fd, "");
	if (fd >= 0)
		close(fd);
	const struct stele_xattr *acl = NULL;
	for (uint32_t i = 0; i < e->n_xattrs; i++)
		if (!strcmp(e->xattrs[i].name, DEFAULT_ACL))
			acl = &e->xattrs[i];
	return result < 0 ? result : set_late(w, DESCRIBED, w->path, found.st_ino, e->mode, e->mtime, e->mtime_ns, acl);
}

/* ".wh.NAME" hides NAME of the layers below, ".wh..wh..opq" all that they have in the directory. It says nothing about
   this layer's own entries, whichever comes first. */
static int apply_whiteout(struct work *w, int parent, const char *name)
{
	if (!strcmp(name, ".wh..wh..opq"))
		return set_opaque(w, parent, "");
	name += 4;
	if (!*name || !strcmp(name, ".") || !strcmp(name, ".."))
		return bad(w, "it is a whiteout of nothing in its directory");
	if (w->u->form == STELE_FORM_LOWEST)
		return 0;
	w->u->whiteouts++;
	if (mknodat(parent, name, S_IFCHR, makedev(0, 0)) == 0)
		return 0;
	struct stat found;
	if (errno != EEXIST || fstatat(parent, name, &found, AT_SYMLINK_NOFOLLOW) < 0)
		return -errno;
	if (!S_ISDIR(found.st_mode))
		return 0;
	int result = set_late(w, HIDING, "", found.st_ino, 0, 0, 0, NULL);
	return result < 0 ? result : set_opaque(w, parent, name);
}

static int apply(struct work *w)
{
	int result = clean(w, w->e->path, w->path, "name");
	if (result < 0)
		return result;
	if (!*w->path) /* CVE-2021-29136: the root itself would become a link */
		return w->e->type == '5' ? apply_directory(w, w->u->directory, "")
					 : bad(w, "the root must be a directory");
	const char *name = strrchr(w->path, '/') ? strrchr(w->path, '/') + 1 : w->path;
	bool opaque = !strcmp(name, ".wh..wh..opq");
	if (!opaque && (!strncmp(w->path, ".wh..wh.", 8) || strstr(w->path, "/.wh..wh.")))
		return 0; /* aufs's own files */
	result = count(w);
	if (result < 0)
		return result;
	int parent = open_parent(w, &name);
	if (parent < 0)
		return parent;
	if (!strncmp(name, ".wh.", 4))
		return apply_whiteout(w, parent, name);
	parent = dup(parent);
	if (parent < 0)
		return -errno;
	if (w->e->type == '5') {
		result = apply_directory(w, parent, name);
	} else {
		result = make_other(w, parent, name);
		if (result == -EEXIST) {
			result = clear(w, parent, name);
			if (result == 0)
				result = make_other(w, parent, name);
		}
	}
	close(parent);
	return result;
}

/* Default ACLs that the directory inherited, for its entries to inherit. */
static int forget_acls(int directory)
{
	static const char *const acls[] = { DEFAULT_ACL, "system.posix_acl_access" };
	for (size_t i = 0; i < sizeof(acls) / sizeof(*acls); i++)
		if (fremovexattr(directory, acls[i]) < 0 && errno != ENODATA && errno != EOPNOTSUPP)
			return -errno;
	return 0;
}

/* Runs in the child. */
static int unpack(void *context)
{
	struct stele_unpack *u = context;
	u->blob = CONFINED_INPUT;
	u->directory = CONFINED_DIRECTORY;
	struct work w = { .u = u, .parent = -1 };
	w.tar = stele_tar_open(u->blob, &u->limits);
	if (!w.tar)
		return -errno;
	struct stat root;
	int result = fstat(u->directory, &root) < 0 ? -errno : set_late(&w, IMPLIED, "", root.st_ino, 0755, 0, 0, NULL);
	if (result == 0)
		result = forget_acls(u->directory);
	while (result >= 0 && (result = stele_tar_next(w.tar, &w.e)) == 1)
		result = apply(&w);
	if (result < 0) {
		if (w.e)
			memcpy(u->path, w.e->path, sizeof(u->path));
		if (!*u->problem)
			snprintf(u->problem, sizeof(u->problem), "%s", stele_tar_problem(w.tar));
	} else {
		result = finish_directories(&w);
		if (result == 0 && u->durable && syncfs(u->directory) < 0)
			result = -errno;
		stele_tar_digest(w.tar, u->digest);
	}
	forget_parent(&w);
	free(w.late);
	stele_tar_close(w.tar);
	return result;
}

/* ---- the caller's side ---- */

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* protects .stop and .child */

/* For owners, modes, attributes and nodes. trusted.* needs CAP_SYS_ADMIN; the child's filter allows no other use of
 * it. */
#define CAPABILITIES                                                                                                  \
	(1ULL << CAP_CHOWN | 1ULL << CAP_DAC_OVERRIDE | 1ULL << CAP_FOWNER | 1ULL << CAP_FSETID | 1ULL << CAP_MKNOD | \
	 1ULL << CAP_SETFCAP | 1ULL << CAP_SYS_ADMIN)

/* The child's output is not trusted: terminate its strings. */
static void take_results(struct stele_unpack *u, const struct stele_unpack *from)
{
	u->entries = from->entries;
	u->whiteouts = from->whiteouts;
	u->left_out = from->left_out;
	memcpy(u->left_out_name, from->left_out_name, sizeof(u->left_out_name) - 1);
	memcpy(u->left_out_path, from->left_out_path, sizeof(u->left_out_path) - 1);
	memcpy(u->digest, from->digest, sizeof(u->digest));
	memcpy(u->path, from->path, sizeof(u->path) - 1);
	memcpy(u->problem, from->problem, sizeof(u->problem) - 1);
}

int stele_unpack(struct stele_unpack *u)
{
	u->entries = u->whiteouts = u->left_out = 0;
	memset(u->left_out_name, 0, sizeof(u->left_out_name));
	memset(u->left_out_path, 0, sizeof(u->left_out_path));
	memset(u->path, 0, sizeof(u->path));
	memset(u->problem, 0, sizeof(u->problem));
	struct stele_unpack *shared =
		mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (shared == MAP_FAILED)
		return -errno;
	*shared = *u;
	const struct confined c = {
		.input = u->blob,
		.directory = u->directory,
		.output = u->implied,
		.capabilities = CAPABILITIES,
		.work = unpack,
		.context = shared,
	};
	int result = -ECANCELED;
	pthread_mutex_lock(&lock);
	if (!u->stop)
		result = u->child = confined_start(&c);
	pthread_mutex_unlock(&lock);
	if (result > 0) {
		confined_wait(result);
		pthread_mutex_lock(&lock);
		u->child = 0;
		bool stopped = u->stop;
		pthread_mutex_unlock(&lock);
		char problem[sizeof(u->problem)] = "";
		result = confined_reap(result, problem, sizeof(problem));
		take_results(u, shared);
		if (*problem) { /* it died, so its description cannot be trusted */
			u->path[0] = '\0';
			memcpy(u->problem, problem, sizeof(problem));
		}
		if (stopped && result < 0) {
			u->path[0] = u->problem[0] = '\0';
			result = -ECANCELED;
		}
	}
	munmap(shared, sizeof(*shared));
	return result;
}

void stele_unpack_stop(struct stele_unpack *u)
{
	pthread_mutex_lock(&lock);
	u->stop = 1;
	if (u->child > 0)
		kill(u->child, SIGKILL);
	pthread_mutex_unlock(&lock);
}
