/* Paths in a root that strangers made: init's resolver (cshim/init/paths.c) and the unpacker's, on random trees.
 *
 * Each input is a tree and a path. The tree is made twice: on a tmpfs, and as nodes here, where a resolver of a few lines
 * says what must come out. What is there must be what openat2(RESOLVE_IN_ROOT) finds; what is missing must be made, in
 * the one place where it belongs, and nothing else may change.
 *
 * With STELE_RACE set, the tree is one whose names a thread exchanges for links that lead out, and the input a path:
 * nothing outside may ever be opened, or made. */
#define memcpy own_memcpy
#define memset own_memset
#define strlen own_strlen
#include TEXT
#include PATHS
#undef memcpy
#undef memset
#undef strlen

#include <linux/fs.h>
#include <linux/mount.h>
#include <linux/sched.h>

extern void abort(void), free(void *);
extern void *malloc(size_t);
extern char *getenv(const char *);
extern int printf(const char *, ...), fflush(void *), pthread_create(unsigned long *, const void *, void *(*)(void *), void *);

int unpack_directory(int root, const char *path); /* paths_unpack.c */

#define NODES 96
#define WANTED_MAX (PATH_MAX + 300)
#define LINKS_MOST 120
#define TEXT_MAX (128 << 10)

enum kind { DIRECTORY, FILE_, LINK, WHITEOUT };

struct node {
	int parent, kind;
	char name[256], target[1024];
};

struct input {
	const uint8_t *at, *end;
};

static struct node nodes[NODES];
static int n_nodes, place = -1;
static const char *place_path; /* on the host */

static void check(long holds, const char *what, long value)
{
	if (holds)
		return;
	printf("violated: %s (%ld)\n", what, value);
	fflush(NULL);
	abort();
}

static long done(long result, const char *what)
{
	check(result >= 0, what, result);
	return result;
}

static uint8_t byte(struct input *in)
{
	return in->at < in->end ? *in->at++ : 0;
}

static int open_directory(int fd, const char *name)
{
	return (int)done(SYS(__NR_openat, fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC, 0), name);
}

/* ---- random words ---- */

static char long_name[256], too_long[258];
static const char *const NAMES[] = { "a", "b", "c", "d", long_name, "a b", "proc", "...", "..", ".", "", too_long };

static char *random_path(struct input *in, char *to, const char *end, int most)
{
	int count = 1 + byte(in) % most;
	uint8_t how = byte(in);
	char *at = to;
	*to = '\0';
	if (how & 1) /* as seen from outside: it must lead nowhere but into the root */
		at = append(at, end, how & 2 && how & 8 ? place_path : "");
	for (int i = 0; i < count && at; i++) {
		uint8_t b = byte(in);
		char *next = append(at, end, i || how & 1 ? "/" : "");
		next = append(next, end, NAMES[b < 248 ? b % 10 : b % 12]);
		if (!next) {
			*at = '\0';
			break;
		}
		at = next;
	}
	if (how & 4 && at)
		at = append(at, end, "/");
	return to;
}

/* ---- the model ---- */

static int child_of(int parent, const char *name)
{
	for (int i = 1; i < n_nodes; i++)
		if (nodes[i].parent == parent && nodes[i].kind >= 0 && same(nodes[i].name, name))
			return i;
	return -1;
}

static int add(int parent, const char *name, int kind)
{
	check(n_nodes < NODES, "room for nodes", n_nodes);
	struct node *n = &nodes[n_nodes];
	n->parent = parent;
	n->kind = kind;
	n->target[0] = '\0';
	append(n->name, n->name + sizeof(n->name), name);
	return n_nodes++;
}

struct walk {
	int links;    /* that were followed */
	size_t total; /* bytes of the path, and of all links */
	int make;     /* what to make of a missing last name: DIRECTORY or FILE_ */
	int unpacker; /* replaces a whiteout */
};

/* The node at the path, or -errno; what is missing is made on the way. */
static int resolve(struct walk *w, const char *wanted)
{
	static char buffers[2][TEXT_MAX];
	char *now = buffers[0], *other = buffers[1];
	int at = 0;
	append(now, now + TEXT_MAX, wanted);
	w->total = own_strlen(wanted);
	if (!*now)
		return w->unpacker ? 0 : -ENOENT;
	if (w->total >= PATH_MAX)
		return -ENAMETOOLONG;
	for (;;) {
		int slash = *now == '/';
		while (*now == '/')
			now++;
		if (slash && nodes[at].kind != DIRECTORY)
			return -ENOTDIR;
		if (!*now)
			return w->unpacker && nodes[at].kind != DIRECTORY ? -ENOTDIR : at;
		char *end = now;
		while (*end && *end != '/')
			end++;
		char *rest = end, *more = end;
		while (*more == '/')
			more++;
		char saved = *rest;
		*rest = '\0';
		if (end - now > 255)
			return -ENAMETOOLONG;
		if (same(now, ".") || same(now, "..")) {
			at = same(now, "..") ? nodes[at].parent : at;
			*rest = saved;
			now = rest;
			continue;
		}
		int found = child_of(at, now);
		int hidden = found >= 0 && nodes[found].kind == WHITEOUT && w->unpacker;
		if (hidden) {
			nodes[found].kind = DIRECTORY;
		} else if (found < 0) {
			found = add(at, now, *more ? DIRECTORY : w->make);
		}
		*rest = saved;
		if (nodes[found].kind != LINK) {
			at = found;
			now = rest;
			continue;
		}
		w->total += own_strlen(nodes[found].target) + 1;
		if (++w->links > LINKS_MOST || w->total > TEXT_MAX - PATH_MAX)
			return -ELOOP;
		append(append(other, other + TEXT_MAX, nodes[found].target), other + TEXT_MAX, rest);
		at = *other == '/' ? 0 : at;
		now = other;
		other = now >= buffers[0] && now < buffers[1] ? buffers[1] : buffers[0];
	}
}

/* ---- the tree ---- */

static void fresh_place(void)
{
	if (place >= 0) {
		SYS(__NR_close, place);
		done(SYS(__NR_umount2, place_path, 2 /* MNT_DETACH */), "umount");
	}
	done(SYS(__NR_mount, "tmpfs", place_path, "tmpfs", 0, ""), "mount");
	place = open_directory(AT_FDCWD, place_path);
}

static void make_node(int parent_fd, int number)
{
	struct node *n = &nodes[number];
	if (n->kind == DIRECTORY)
		done(SYS(__NR_mkdirat, parent_fd, n->name, 0755), "mkdir");
	else if (n->kind == FILE_)
		done(SYS(__NR_mknodat, parent_fd, n->name, S_IFREG | 0644, 0), "mknod");
	else if (n->kind == WHITEOUT)
		done(SYS(__NR_mknodat, parent_fd, n->name, S_IFCHR | 0600, 0), "whiteout");
	else
		done(SYS(__NR_symlinkat, n->target, parent_fd, n->name), "symlink");
}

/* Make the children of a node, and theirs. */
static void make_below(int fd, int parent)
{
	for (int i = 1; i < n_nodes; i++) {
		if (nodes[i].parent != parent)
			continue;
		make_node(fd, i);
		if (nodes[i].kind != DIRECTORY)
			continue;
		int below = open_directory(fd, nodes[i].name);
		make_below(below, i);
		SYS(__NR_close, below);
	}
}

static void random_tree(struct input *in)
{
	char target[1024];
	n_nodes = 0;
	add(0, "", DIRECTORY);
	for (int count = byte(in) % 24; count > 0; count--) {
		uint8_t what = byte(in), where = byte(in);
		int parent = where % n_nodes;
		while (nodes[parent].kind != DIRECTORY)
			parent--;
		const char *name = NAMES[byte(in) % 8];
		if (child_of(parent, name) >= 0)
			continue;
		int number = add(parent, name, what % 8 < 3 ? DIRECTORY : what % 8 == 3 ? FILE_ : what % 8 == 4 ? WHITEOUT : LINK);
		random_path(in, target, target + sizeof(target), 4);
		append(nodes[number].target, nodes[number].target + sizeof(target), *target ? target : "b");
	}
}

/* ---- what came out ---- */

struct dirent_head {
	uint64_t inode;
	int64_t offset;
	uint16_t length;
	uint8_t type;
	char name[];
};

static uint32_t type_of(int kind)
{
	return kind == DIRECTORY ? S_IFDIR : kind == FILE_ ? S_IFREG : kind == LINK ? S_IFLNK : S_IFCHR;
}

static struct statx stat_of(int fd)
{
	struct statx st;
	done(SYS(__NR_statx, fd, "", AT_EMPTY_PATH, STATX_BASIC_STATS, &st), "stat");
	return st;
}

static uint64_t inode_of(int fd)
{
	return stat_of(fd).stx_ino;
}

/* The directory holds what the node has, no more and no less; and the same of all below. wanted: a node whose inode is
 * to be found. */
static void compare(int fd, int parent, int wanted, uint64_t *ret_inode)
{
	char buffer[4096] __attribute__((aligned(8)));
	int entries = 0;
	long n;
	struct statx st;
	if (wanted == parent)
		*ret_inode = inode_of(fd);
	while ((n = done(SYS(__NR_getdents64, fd, buffer, sizeof(buffer)), "getdents")) > 0) {
		for (long at = 0; at < n; at += ((struct dirent_head *)(buffer + at))->length) {
			const char *name = ((struct dirent_head *)(buffer + at))->name;
			if (same(name, ".") || same(name, ".."))
				continue;
			int i = child_of(parent, name);
			check(i > 0, "something was made that should not be", parent);
			entries++;
			done(SYS(__NR_statx, fd, name, AT_SYMLINK_NOFOLLOW, STATX_BASIC_STATS, &st), "stat");
			check((st.stx_mode & S_IFMT) == type_of(nodes[i].kind), "it became something else", i);
			if (i == wanted)
				*ret_inode = st.stx_ino;
			if (nodes[i].kind == DIRECTORY) {
				int below = open_directory(fd, name);
				compare(below, i, wanted, ret_inode);
				SYS(__NR_close, below);
			}
		}
	}
	for (int i = 1; i < n_nodes; i++)
		entries -= nodes[i].parent == parent;
	check(entries == 0, "something is gone, or was not made", entries);
}

static long in_root(int root, const char *path, uint64_t flags)
{
	struct open_how how = { .flags = OPEN_PATH | O_CLOEXEC | flags, .resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS };
	return SYS(__NR_openat2, root, path, &how, sizeof(how));
}

/* By `how`: init's target, a directory or a file; init's parent of a name; the unpacker's directory. */
static int call(int root, const char *path, int how)
{
	struct init in = { .root = root, .report_fd = -1 };
	const char *name;
	if (how == 3)
		return unpack_directory(root, path);
	return how == 2 ? open_parent(&in, path, &name) : open_target(&in, path, how == 0);
}

static void judge(int root, const char *path, int how)
{
	struct walk w = { .make = how == 1 ? FILE_ : DIRECTORY, .unpacker = how == 3 };
	char parent[WANTED_MAX];
	const char *resolved = path;
	if (how == 2) {
		size_t n = own_strlen(path);
		while (n && path[n - 1] != '/')
			n--;
		append(parent, parent + sizeof(parent), path);
		parent[n] = '\0';
		resolved = n ? parent : "/";
	}
	int before = n_nodes;
	long plain = in_root(root, how == 3 && !*path ? "." : resolved, how == 3 ? O_DIRECTORY : 0);
	uint64_t inode = 0, there = plain >= 0 ? inode_of((int)plain) : 0;
	if (plain >= 0)
		SYS(__NR_close, plain);
	int fd = call(root, path, how);
	uint64_t got = fd >= 0 ? inode_of(fd) : 0;
	if (fd >= 0)
		SYS(__NR_close, fd);
	if ((fd == -EINVAL && how == 2) || fd == -EAGAIN) /* somebody else on this machine renames things all the time */
		return;
	int expected = resolve(&w, resolved);
	check(plain < 0 || fd >= 0 || w.links > 20, "openat2 finds it, and we do not", fd);
	check(plain < 0 || fd < 0 || got == there, "it is not what openat2 finds", plain);
	/* 20, as the kernel counts links twice when it has to walk again without RCU: not only one's own renames make it. */
	if (w.links > 20 || w.total >= PATH_MAX || own_strlen(path) >= PATH_MAX) { /* the kernel's limits, and ours, count from each call anew */
		if (fd < 0)
			return;
	} else {
		check((fd >= 0) == (expected >= 0), "one finds or makes it, the other does not", fd >= 0 ? expected : fd);
		check(fd >= 0 || fd == expected || how == 3, "another error", fd);
	}
	check(plain < 0 || n_nodes == before, "the model would make what is there", n_nodes);
	int top = open_directory(root, ".");
	compare(top, 0, expected, &inode);
	SYS(__NR_close, top);
	check(fd < 0 || got == inode, "it is another one than it should be", expected);
}

/* As the unpacker's clean() leaves a path: no "", "." or ".." in it. */
static void clean_path(char *path)
{
	char *to = path;
	for (char *at = path; *at;) {
		while (*at == '/')
			at++;
		char *end = at;
		while (*end && *end != '/')
			end++;
		if (end > at && to > path)
			*to++ = '/';
		if (*at == '.' && (end - at == 1 || (end - at == 2 && at[1] == '.')))
			*at = 'a';
		while (at < end)
			*to++ = *at++;
	}
	*to = '\0';
}

static void try_tree(struct input in)
{
	static unsigned number;
	char name[32], path[WANTED_MAX];
	if (++number % 4096 == 0)
		fresh_place();
	append_number(name, name + sizeof(name), number);
	int how = byte(&in) % 4;
	random_tree(&in);
	random_path(&in, path, path + sizeof(path), 20);
	if (how == 3)
		clean_path(path);
	done(SYS(__NR_mkdirat, place, name, 0755), "root");
	int root = open_directory(place, name);
	make_below(root, 0);
	judge(root, path, how);
	SYS(__NR_close, root);
}

/* ---- the racer ----
 *
 * place/root: what is resolved in. place/root/a is exchanged with place/root/b, a link to place/outside, which is a file
 * system of its own and has the same names; a/c with a/d, a link up and out to it; c/d is moved to place/beside and back,
 * so that ".." in it leads to the host. */

static int root_fd, outside_fd, beside_fd, a_fd, c_fd;

static void *racer(void *unused)
{
	for (;;) {
		SYS(__NR_renameat2, root_fd, "a", root_fd, "b", RENAME_EXCHANGE);
		SYS(__NR_renameat2, a_fd, "c", a_fd, "d", RENAME_EXCHANGE);
		SYS(__NR_renameat2, c_fd, "d", beside_fd, "d", 0);
		SYS(__NR_renameat2, root_fd, "a", root_fd, "b", RENAME_EXCHANGE);
		SYS(__NR_renameat2, a_fd, "c", a_fd, "d", RENAME_EXCHANGE);
		SYS(__NR_renameat2, beside_fd, "d", c_fd, "d", 0);
	}
	return unused;
}

static void make_tree(int fd, int depth)
{
	for (int i = 0; i < 4; i++) {
		SYS(__NR_mkdirat, fd, NAMES[i], 0755);
		int below = depth ? open_directory(fd, NAMES[i]) : -1;
		if (depth) {
			make_tree(below, depth - 1);
			SYS(__NR_close, below);
		}
	}
}

static void link_out(int fd, const char *name, const char *target)
{
	done(SYS(__NR_unlinkat, fd, name, AT_REMOVEDIR), "rmdir");
	done(SYS(__NR_symlinkat, target, fd, name), "symlink");
}

static void begin_race(void)
{
	static char path[256];
	unsigned long thread;
	append(append(path, path + sizeof(path), place_path), path + sizeof(path), "/outside");
	for (int i = 0; i < 3; i++)
		done(SYS(__NR_mkdirat, place, i == 0 ? "root" : i == 1 ? "outside" : "beside", 0755), "mkdir");
	done(SYS(__NR_mount, "tmpfs", path, "tmpfs", 0, ""), "mount");
	root_fd = open_directory(place, "root");
	outside_fd = open_directory(place, "outside");
	beside_fd = open_directory(place, "beside");
	make_tree(outside_fd, 2);
	for (int i = 0; i < 4; i++)
		done(SYS(__NR_mkdirat, root_fd, NAMES[i], 0755), "mkdir");
	link_out(root_fd, "b", path);
	a_fd = open_directory(root_fd, "a");
	c_fd = open_directory(root_fd, "c");
	make_tree(a_fd, 0);
	make_tree(c_fd, 0);
	link_out(a_fd, "d", "../../outside");
	check(pthread_create(&thread, NULL, racer, NULL) == 0, "start the racer", 0);
}

/* The number of names in a directory and those below it; the numbered ones are removed. */
static long sweep(int fd)
{
	char buffer[4096] __attribute__((aligned(8)));
	long n, names = 0;
	SYS(__NR_lseek, fd, 0, 0);
	while ((n = done(SYS(__NR_getdents64, fd, buffer, sizeof(buffer)), "getdents")) > 0)
		for (long at = 0; at < n; at += ((struct dirent_head *)(buffer + at))->length) {
			const struct dirent_head *d = (struct dirent_head *)(buffer + at);
			if (same(d->name, ".") || same(d->name, ".."))
				continue;
			names++;
			if (d->name[0] == 'n') {
				SYS(__NR_unlinkat, fd, d->name, d->type == 4 ? AT_REMOVEDIR : 0);
				continue;
			}
			int below = (int)SYS(__NR_openat, fd, d->name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC, 0);
			if (below >= 0) {
				names += sweep(below);
				SYS(__NR_close, below);
			}
		}
	return names;
}

static void try_race(struct input in)
{
	static unsigned number;
	static uint64_t device, forbidden[2];
	static const char *const ways[] = { "a", "b", "c", "d", "d", ".." };
	char path[WANTED_MAX], name[32];
	int how = byte(&in) % 4;
	if (!number++) {
		begin_race();
		device = stat_of(root_fd).stx_dev_minor;
		forbidden[0] = inode_of(place);
		forbidden[1] = inode_of(beside_fd);
	}
	for (int round = 0; round < 16; round++) {
		char *at = path, *end = path + sizeof(path);
		*path = '\0';
		for (int n = 1 + byte(&in) % 5; n > 0; n--)
			at = append(append(at, end, ways[byte(&in) % 6]), end, "/");
		append_number(append(name, name + sizeof(name), "n"), name + sizeof(name), number * 16u + (unsigned)round);
		append(at, end, byte(&in) & 1 ? name : "a");
		if (how == 3)
			clean_path(path);
		int fd = call(root_fd, path, how);
		if (fd >= 0) {
			struct statx st = stat_of(fd);
			check(st.stx_dev_minor == device, "it is outside", st.stx_dev_minor);
			check(st.stx_ino != forbidden[0] && st.stx_ino != forbidden[1], "it is above the root", (long)st.stx_ino);
			SYS(__NR_close, fd);
		}
	}
	if (number % 16 == 0) {
		long names = sweep(outside_fd);
		check(names == 4 + 16 + 64, "something was made outside", names);
	}
	if (number % 1024 == 0)
		sweep(root_fd);
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	(void)argc, (void)argv;
	for (int i = 0; i < 256; i++)
		too_long[i] = 'L';
	own_memcpy(long_name, too_long, 255);
	place_path = getenv("STELE_PLACE");
	done(SYS(__NR_unshare, CLONE_NEWNS), "unshare");
	done(SYS(__NR_mount, "", "/", "", MS_REC | MS_PRIVATE, ""), "make / private");
	SYS(__NR_umask, 0);
	fresh_place();
	return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct input in = { data, data + size };
	if (getenv("STELE_RACE"))
		try_race(in);
	else
		try_tree(in);
	return 0;
}
