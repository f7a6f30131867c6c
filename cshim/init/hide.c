/* --no-pivot: the root is moved over the host's, so the host's mounts stay below it. As long as a whole procfs or
 * sysfs is among them, the kernel lets a user namespace in the container mount another one without the container's
 * masks (mount_too_revealing() in fs/namespace.c). So they are unmounted. A locked mount cannot be, as in a user
 * namespace; it is covered instead. */
#include "init.h"

#include <linux/mman.h>
#include <linux/mount.h>

#define MNT_DETACH 2
#define TABLE "/proc/self/mountinfo"
#define TABLE_MAX (64ul << 20)

struct mount_line {
	uint64_t id, parent;
	const char *root, *place, *type; /* each ends with a space */
};

static const char *after_space(const char *at)
{
	while (*at && *at != '\n' && *at != ' ')
		at++;
	return *at == ' ' ? at + 1 : at;
}

static int word_is(const char *at, const char *word)
{
	return starts_with(at, word) && (at[strlen(word)] == ' ' || at[strlen(word)] == '\n');
}

/* Parse one line of /proc/self/mountinfo (proc(5)). Returns the start of the next line, NULL after the last. */
static const char *parse_line(const char *at, struct mount_line *ret)
{
	if (!*at)
		return NULL;
	const char *word = at;
	ret->id = ret->parent = 0;
	if (!parse_number(word, after_space(word) - 1, &ret->id))
		return NULL;
	word = after_space(word);
	if (!parse_number(word, after_space(word) - 1, &ret->parent))
		return NULL;
	ret->root = after_space(after_space(word));
	ret->place = after_space(ret->root);
	for (word = after_space(after_space(ret->place)); *word && *word != '\n' && !word_is(word, "-");
	     word = after_space(word))
		;
	ret->type = after_space(word);
	while (*word && *word != '\n')
		word++;
	return *word ? word + 1 : word;
}

static int find_mount(const char *table, uint64_t id, struct mount_line *ret)
{
	for (const char *at = table; (at = parse_line(at, ret));)
		if (ret->id == id)
			return 1;
	return 0;
}

/* Whether the mount is `top`, or below it in the tree of mounts. */
static int is_on(const char *table, struct mount_line line, uint64_t top)
{
	while (line.id != top)
		if (line.id == line.parent || !find_mount(table, line.parent, &line))
			return 0;
	return 1;
}

static int same_word(const char *a, const char *b)
{
	while (*a && *a != ' ' && *a == *b)
		a++, b++;
	return *a == *b;
}

/* Whether another mount covers its root. */
static int is_covered(const char *table, const struct mount_line *line)
{
	struct mount_line other;
	for (const char *at = table; (at = parse_line(at, &other));)
		if (other.parent == line->id && other.id != line->id && same_word(other.place, line->place))
			return 1;
	return 0;
}

/* Undo the kernel's escapes: blanks and backslashes are written as three octal digits. */
static int unescape(const char *from, char to[PATH_MAX])
{
	size_t n = 0;
	for (; *from && *from != ' ' && n < PATH_MAX - 1; from++) {
		to[n] = *from;
		if (*from == '\\' && from[1] && from[2] && from[3]) {
			to[n] = (char)((from[1] - '0') * 64 + (from[2] - '0') * 8 + (from[3] - '0'));
			from += 3;
		}
		n++;
	}
	to[n] = '\0';
	return *from == ' ' ? 0 : -ENAMETOOLONG;
}

/* Returns 1 if the mount is now unmounted or covered, 0 if its path leads to another mount. */
static int hide(const struct init *in, uint64_t id, const char *path)
{
	int fd = (int)SYS(__NR_openat, AT_FDCWD, path, OPEN_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC, 0);
	if (fd < 0)
		return 0;
	int found = mount_id(in, fd) == id;
	if (found) {
		must(in, SYS(__NR_fchdir, fd), path);
		if (SYS(__NR_umount2, ".", MNT_DETACH) < 0) {
			int cover = new_tmpfs(in, "0500", "4096");
			must(in, set_attributes(cover, MOUNT_ATTR_RDONLY, 0, 0, 0), path);
			must(in, move_tree(cover, fd), path);
			SYS(__NR_close, cover);
		}
	}
	SYS(__NR_close, fd);
	return found;
}

/* Read the table again through the same fd: once /proc is unmounted, its name leads nowhere. */
static void read_table(const struct init *in, int fd, char *table)
{
	size_t length = 0;
	long n;
	must(in, SYS(__NR_lseek, fd, 0, 0 /* SEEK_SET */), TABLE);
	while ((n = SYS(__NR_read, fd, table + length, TABLE_MAX - 1 - length)) > 0)
		length += (size_t)n;
	must(in, n, TABLE);
	if (length == TABLE_MAX - 1)
		fail(in, -E2BIG, TABLE);
	table[length] = '\0';
}

/* Hide every such mount that can be reached. Returns how many; *ret_left is one that cannot be reached, or NULL. */
static int hide_some(const struct init *in, const char *table, uint64_t own, const char **ret_left)
{
	struct mount_line line;
	char path[PATH_MAX];
	int hidden = 0;
	*ret_left = NULL;
	for (const char *at = table; (at = parse_line(at, &line));) {
		if (!word_is(line.root, "/") || !(word_is(line.type, "proc") || word_is(line.type, "sysfs")))
			continue;
		if (is_on(table, line, own) || is_covered(table, &line))
			continue;
		must(in, unescape(line.place, path), TABLE);
		if (hide(in, line.id, path))
			hidden++;
		else
			*ret_left = line.place;
	}
	return hidden;
}

void hide_kernel_mounts(const struct init *in)
{
	long memory = SYS(__NR_mmap, NULL, TABLE_MAX, PROT_READ | PROT_WRITE,
			  MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (memory < 0 && memory > -4096)
		fail(in, memory, TABLE);
	int fd = (int)SYS(__NR_openat, AT_FDCWD, TABLE, O_RDONLY | O_CLOEXEC, 0);
	must(in, fd, TABLE);
	if (!is_proc(fd))
		fail(in, -EXDEV, TABLE);
	char *table = (char *)memory, path[PATH_MAX];
	const char *left;
	do /* unmounting a mount uncovers those below it */
		read_table(in, fd, table);
	while (hide_some(in, table, mount_id(in, in->root), &left));
	if (left)
		fail(in, unescape(left, path) < 0 ? -ENAMETOOLONG : -EBUSY, path);
	SYS(__NR_close, fd);
	SYS(__NR_munmap, memory, TABLE_MAX);
}
