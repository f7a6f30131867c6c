/* The last steps: the user's ids, the seccomp filter, the program. */
#include "init.h"

#include <linux/audit.h>
#include <linux/capability.h>
#include <linux/elf.h>
#include <linux/filter.h>
#include <linux/mman.h>
#include <linux/openat2.h>
#include <linux/prctl.h>
#include <linux/seccomp.h>
#include <linux/stat.h>

#define PASSWD_MAX (1 << 20)

/* --- finding the program --- */

/* 0 if `path` is a file that somebody may execute, else -errno. */
static long executable(const char *path)
{
	struct statx st;
	long r = SYS(__NR_statx, AT_FDCWD, path, 0, STATX_BASIC_STATS, &st);
	if (r < 0)
		return r;
	if (S_ISDIR(st.stx_mode))
		return -EISDIR;
	return S_ISREG(st.stx_mode) && (st.stx_mode & 0111) ? 0 : -EACCES;
}

/* Call `try` on each candidate for `program`, as execvp(3) would. Returns its first success, or the most informative
 * failure. */
static long search(const char *program, const char *path, long (*try)(const char *, void *), void *context)
{
	for (const char *c = program; *c; c++)
		if (*c == '/')
			return try(program, context);
	long result = -ENOENT;
	while (*path && *program) {
		char candidate[PATH_MAX];
		size_t n = 0;
		while (path[n] && path[n] != ':')
			n++;
		if (n + 1 < sizeof(candidate)) {
			char *end = candidate + sizeof(candidate);
			memcpy(candidate, path, n);
			candidate[n] = '\0';
			if (append(append(candidate + n, end, n ? "/" : "./"), end, program)) {
				long r = try(candidate, context);
				if (r >= 0)
					return r;
				if (r != -ENOENT && r != -ENOTDIR && r != -EISDIR)
					result = r;
			}
		}
		path += n + (path[n] == ':');
	}
	return result;
}

static long try_executable(const char *path, void *context)
{
	(void)context;
	return executable(path);
}

/* --- HOME --- */

/* The start of a field in a line "name:x:UID:gid:gecos:home:shell", or NULL. */
static const char *field_of(const char *line, const char *end, int number, const char **ret_end)
{
	for (; number > 0; number--) {
		while (line < end && *line != ':')
			line++;
		if (line == end)
			return NULL;
		line++;
	}
	const char *stop = line;
	while (stop < end && *stop != ':')
		stop++;
	*ret_end = stop;
	return line;
}

static int take_home(struct init *in, const char *line, const char *end, uint64_t uid)
{
	const char *stop, *at = field_of(line, end, 2, &stop);
	uint64_t n;
	if (!at || !parse_number(at, stop, &n) || n != uid)
		return 0;
	at = field_of(line, end, 5, &stop);
	if (!at || stop == at || (size_t)(stop - at) > sizeof(in->home) - 6)
		return 1;
	memcpy(in->home, "HOME=", 5);
	memcpy(in->home + 5, at, (size_t)(stop - at));
	in->home[5 + (stop - at)] = '\0';
	return 1;
}

/* Open a regular file of the container for reading; or -errno. Its type is checked before the open, because opening
 * can have effects: it may start a device or wake the writer of a FIFO. It is checked again after the open, because
 * the file may have been exchanged. So nothing blocks, and no terminal becomes our controlling terminal. */
static int open_regular(const char *path, struct statx *ret)
{
	struct open_how how = { .flags = O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC,
				.resolve = RESOLVE_NO_MAGICLINKS };
	long r = SYS(__NR_statx, AT_FDCWD, path, 0, STATX_BASIC_STATS, ret);
	if (r < 0 || !S_ISREG(ret->stx_mode))
		return r < 0 ? (int)r : -EACCES;
	int fd = (int)SYS(__NR_openat2, AT_FDCWD, path, &how, sizeof(how));
	if (fd < 0 || (SYS(__NR_statx, fd, "", AT_EMPTY_PATH, STATX_BASIC_STATS, ret) == 0 && S_ISREG(ret->stx_mode)))
		return fd;
	SYS(__NR_close, fd);
	return -EACCES;
}

/* /etc/passwd belongs to the image: unless it is a regular file of bounded size, it is ignored (CVE-2026-47262). */
static void find_home(struct init *in, uint64_t uid)
{
	append(in->home, in->home + sizeof(in->home), "HOME=/");
	struct statx st;
	int fd = open_regular("/etc/passwd", &st);
	if (fd < 0)
		return;
	if (st.stx_size > 0 && st.stx_size <= PASSWD_MAX) {
		long memory =
			SYS(__NR_mmap, NULL, st.stx_size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		long n = memory < 0 && memory > -4096 ? 0 : SYS(__NR_read, fd, memory, st.stx_size);
		const char *line = (const char *)memory, *end = line + (n > 0 ? n : 0);
		while (line < end) {
			const char *stop = line;
			while (stop < end && *stop != '\n')
				stop++;
			if (take_home(in, line, stop, uid))
				break;
			line = stop + 1;
		}
		SYS(__NR_munmap, memory, st.stx_size);
	}
	SYS(__NR_close, fd);
}

void do_find_program(struct init *in, const struct step *s)
{
	const char *program = step_string(s, FIND_PROGRAM_PROGRAM, NULL);
	if (INTS(find_program, s)->home)
		find_home(in, INTS(find_program, s)->uid);
	long r = search(program, step_string(s, FIND_PROGRAM_PATH, NULL), try_executable, NULL);
	if (r != -EACCES || program[0] == '/') /* the user may have rights that we lack here */
		must(in, r, program);
	must(in, SYS(__NR_chdir, "/"), "/");
}

/* --- identity --- */

/* Programs reopen /dev/stdout and the like by name, which only the owner may do. Devices are left alone: they belong
 * to the host, and others use them too. So are input files: nobody expects their owner to change. Where we lack the
 * right, so does the user, and the open will fail. */
void do_streams(struct init *, const struct step *s)
{
	uint64_t uid = INTS(streams, s)->uid;
	struct statx st;
	for (int fd = 0; fd < 3; fd++) {
		if (SYS(__NR_statx, fd, "", AT_EMPTY_PATH, STATX_BASIC_STATS, &st) < 0 || st.stx_uid == uid)
			continue;
		if (S_ISFIFO(st.stx_mode) || S_ISSOCK(st.stx_mode) || (S_ISREG(st.stx_mode) && fd > 0))
			SYS(__NR_fchown, fd, uid, -1);
	}
}

void do_credentials(struct init *in, const struct step *s)
{
	const struct credentials_ints *v = INTS(credentials, s);
	uint32_t n;
	const char *gids = step_string(s, CREDENTIALS_GIDS, &n);
	for (uint64_t cap = 0; cap < 64; cap++) {
		if (v->bounding >> cap & 1)
			continue;
		long r = SYS(__NR_prctl, PR_CAPBSET_DROP, cap, 0, 0, 0);
		if (r == -EINVAL)
			break; /* above the kernel's highest capability */
		must(in, r, "bounding set");
	}
	SYS(__NR_prctl, PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
	if (v->groups)
		must(in, SYS(__NR_setgroups, n / 4, gids), "setgroups");
	must(in, SYS(__NR_prctl, PR_SET_KEEPCAPS, 1, 0, 0, 0), "keep capabilities");
	must(in, SYS(__NR_setresgid, v->gid, v->gid, v->gid), "setresgid");
	must(in, SYS(__NR_setresuid, v->uid, v->uid, v->uid), "setresuid");
	struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct data[2] = {
		{ (uint32_t)v->effective, (uint32_t)v->permitted, (uint32_t)v->inheritable },
		{ (uint32_t)(v->effective >> 32), (uint32_t)(v->permitted >> 32), (uint32_t)(v->inheritable >> 32) },
	};
	must(in, SYS(__NR_capset, &header, data), "capability sets");
	for (uint64_t cap = 0; cap < 64; cap++)
		if (v->ambient >> cap & 1)
			must(in, SYS(__NR_prctl, PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, cap, 0, 0), "ambient set");
	SYS(__NR_prctl, PR_SET_KEEPCAPS, 0, 0, 0, 0);
}

void do_no_new_privs(struct init *in, const struct step *)
{
	must(in, SYS(__NR_prctl, PR_SET_NO_NEW_PRIVS, 1), "");
}

void do_seccomp(struct init *in, const struct step *s)
{
	const struct seccomp_ints *v = INTS(seccomp, s);
	uint32_t n;
	const char *program = step_string(s, SECCOMP_PROGRAM, &n);
	/* copy_from_user needs no alignment, so neither does the filter. */
	struct sock_fprog filter = { .len = (unsigned short)(n / sizeof(struct sock_filter)),
				     .filter = (struct sock_filter *)(uintptr_t)program };
	long fd = SYS(__NR_seccomp, SECCOMP_SET_MODE_FILTER,
		      v->flags | (v->notify ? SECCOMP_FILTER_FLAG_NEW_LISTENER : 0), &filter);
	must(in, fd, "seccomp");
	if (v->notify) {
		tell(in, "", 0, (int)fd);
		SYS(__NR_close, fd);
	}
}

/* Outside the root (through a leaked fd of the host), getcwd(2) returns a path that does not begin with '/'. */
void do_working_directory(struct init *in, const struct step *s)
{
	char cwd[PATH_MAX];
	const char *path = step_string(s, WORKING_DIRECTORY_PATH, NULL);
	if (INTS(working_directory, s)->last && in->arrived) /* the user may not be allowed to go there */
		return;
	long r = SYS(__NR_chdir, path);
	in->arrived = r == 0;
	if (r == -EACCES && !INTS(working_directory, s)->last)
		return;
	must(in, r, path);
	r = SYS(__NR_getcwd, cwd, sizeof(cwd));
	must(in, r, path);
	if (cwd[0] != '/')
		fail(in, -EXDEV, path);
}

/* --- the end of init --- */

struct execution {
	const char **args, **env;
	char tried[PATH_MAX]; /* the last existing file that could not be executed */
};

static long try_execve(const char *path, void *context)
{
	struct execution *e = context;
	long r = SYS(__NR_execve, path, e->args, e->env);
	if (r != -ENOENT || executable(path) == 0)
		append(e->tried, e->tried + sizeof(e->tried), path);
	return r;
}

static int this_machine(uint16_t machine)
{
#if defined(__x86_64__)
	return machine == EM_X86_64 || machine == EM_386;
#else
	return machine == EM_AARCH64;
#endif
}

/* Find out why an existing file cannot be executed. Returns one letter for the stele process, and a name: i: the
 * script's interpreter is missing; c: its #! line ends in CR; l: the dynamic loader is missing; a: built for another
 * machine; f: unknown format. */
static char diagnose(int fd, char *ret_name, size_t size)
{
	char head[1024];
	ret_name[0] = '\0';
	long n = fd < 0 ? 0 : SYS(__NR_read, fd, head, sizeof(head) - 1);
	if (n <= 2)
		return 'f';
	head[n] = '\0';
	if (head[0] == '#' && head[1] == '!') {
		char *at = head + 2, *stop;
		while (*at == ' ' || *at == '\t')
			at++;
		for (stop = at; *stop && *stop != '\n' && *stop != ' ' && *stop != '\t' && *stop != '\r'; stop++)
			;
		int cr = *stop == '\r';
		*stop = '\0';
		append(ret_name, ret_name + size, at);
		return cr ? 'c' : 'i';
	}
	const struct elf64_hdr *elf = (const struct elf64_hdr *)head;
	if (!starts_with(head, "\177ELF") || n < (long)sizeof(*elf))
		return 'f';
	if (!this_machine(elf->e_machine))
		return 'a';
	struct elf64_phdr program;
	for (uint64_t i = 0; i < elf->e_phnum && i < 64 && elf->e_ident[EI_CLASS] == ELFCLASS64; i++) {
		if (SYS(__NR_pread64, fd, &program, sizeof(program), elf->e_phoff + i * sizeof(program)) !=
		    sizeof(program))
			break;
		if (program.p_type != PT_INTERP || program.p_filesz >= size)
			continue;
		n = SYS(__NR_pread64, fd, ret_name, program.p_filesz, program.p_offset);
		ret_name[n > 0 ? n : 0] = '\0';
		return 'l';
	}
	return 'f';
}

#define ST_NOEXEC_ 8

__attribute__((noreturn)) static void fail_execution(const struct init *in, long error, const char *program,
						     const struct execution *e)
{
	char text[240], name[128];
	char *end = text + sizeof(text);
	char *at = append(text, end, e->tried[0] ? e->tried : program);
	struct {
		long type, sizes[9], flags, rest[4];
	} fs; /* struct statfs */
	if (at && error == -EACCES && e->tried[0] && SYS(__NR_statfs, e->tried, &fs) == 0 && fs.flags & ST_NOEXEC_)
		append(at, end, "\nn");
	else if (at && e->tried[0] && (error == -ENOENT || error == -ENOEXEC || error == -ELIBBAD)) {
		struct statx st;
		char why[3] = { '\n', diagnose(open_regular(e->tried, &st), name, sizeof(name)), '\0' };
		append(append(at, end, why), end, name);
	}
	fail(in, error, at ? text : "the program");
}

/* Close-on-exec is too late: execve(2) resolves the path, a script's interpreter and the ELF loader while these fds
 * are still open, and the container may name them as /proc/self/fd/N. */
static void close_all_but_talk(const struct init *in, int first)
{
	if (in->report_fd > first)
		SYS(__NR_close_range, first, in->report_fd - 1, 0);
	SYS(__NR_close_range, in->report_fd + 1, ~0u, 0);
}

void do_execute(struct init *in, const struct step *s)
{
	uint32_t n_args = (uint32_t)INTS(execute, s)->n_args, n_words = s->n_strs - EXECUTE_WORDS;
	const char *path = step_string(s, EXECUTE_PATH, NULL);
	static struct execution e;
	if (n_args == 0 || n_args > n_words)
		fail(in, -EINVAL, "args");
	uint32_t n_env = n_words - n_args;
	long at = SYS(__NR_mmap, NULL, 8ul * (n_words + 4), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (at < 0 && at > -4096)
		fail(in, at, "memory for args and env");
	const char **words = (const char **)at;
	const char *word = path;
	e.args = words;
	for (uint32_t i = 0; i < n_args; i++)
		words[i] = word = string_after(word);
	words[n_args] = NULL;
	e.env = words + n_args + 1;
	for (uint32_t i = 0; i < n_env; i++)
		e.env[i] = word = string_after(word);
	if (in->home[0])
		e.env[n_env++] = in->home;
	e.env[n_env] = NULL;
	/* The report socket is closed when the program starts; the stele process sees that as success. */
	close_all_but_talk(in, 3 + (int)INTS(execute, s)->keep_fds);
	long r = search(e.args[0], path, try_execve, &e);
	fail_execution(in, r, e.args[0], &e);
}
