#include "confined.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/mount.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

/* ---- fds and the root ---- */

/* Make the directory a mount of its own, without devices: a device node in the archive must not open the host's
 * disk. */
static int without_devices(int directory)
{
	struct mount_attr attr = { .attr_set = MOUNT_ATTR_NODEV | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NOEXEC };
	/* Include mounts below it: then an entry there is refused, and not written beneath the mount. */
	unsigned whole = AT_EMPTY_PATH | AT_RECURSIVE;
	int tree = (int)syscall(SYS_open_tree, directory, "", OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | whole);
	if (tree < 0)
		return directory;
	if (syscall(SYS_mount_setattr, tree, "", whole, &attr, sizeof(attr)) < 0) {
		close(tree);
		return directory;
	}
	return tree;
}

/* Make the directory the root, so that no path and no ".." leads out, and reopen it there. */
static int enter(int directory)
{
	if (fchdir(without_devices(directory)) < 0 || (chroot(".") < 0 && errno != EPERM))
		return -errno;
	int fd = open(".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	/* Held until the child is dead: whoever removes the directory waits for it. Not every file system supports
	 * locks. */
	(void)flock(fd, LOCK_SH);
	return fd;
}

#define FDS 6

/* Keep the fds of confined.h and nothing else; 0 to 2 lead to /dev/null. */
static int keep_fds(const struct confined *c)
{
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);
	if (null < 0)
		return -errno;
	int directory = c->directory >= 0 ? enter(c->directory) : null;
	if (directory < 0)
		return directory;
	int from[] = { null, null, null, c->input, directory, c->output >= 0 ? c->output : null };
	/* First copy them above all target numbers, so that none is overwritten before it is copied. */
	for (int i = 0; i < FDS; i++)
		if ((from[i] = fcntl(from[i], F_DUPFD_CLOEXEC, FDS)) < 0)
			return -errno;
	for (int i = 0; i < FDS; i++)
		if (dup2(from[i], i) < 0)
			return -errno;
	return syscall(SYS_close_range, (unsigned)FDS, ~0U, 0U) < 0 ? -errno : 0;
}

/* ---- Landlock ---- */

/* Fields and bits of <linux/landlock.h> that older headers lack. */
struct landlock_ruleset {
	uint64_t files, network, scoped;
};
struct __attribute__((packed)) landlock_beneath {
	uint64_t allowed;
	int32_t parent;
};
#define LANDLOCK_EXECUTE (1ULL << 0)
#define LANDLOCK_MAKE_SOCK (1ULL << 9)
#define LANDLOCK_IOCTL_DEV (1ULL << 15)

/* Only what is below the directory can be opened, made and removed. Before its second version Landlock forbids links
   between directories, which archives have. */
static int confine_files(int directory)
{
	long version = syscall(SYS_landlock_create_ruleset, NULL, 0, 1U);
	if (version < 2)
		return 0; /* not supported or not enabled in this kernel */
	struct landlock_ruleset rules = {
		.files = version >= 5   ? 0xffff
			 : version >= 3 ? 0x7fff
					: 0x3fff,
		.network = version >= 4 ? 3 : 0,
		.scoped = version >= 6 ? 3 : 0,
	};
	size_t size = version >= 6 ? 24 : version >= 4 ? 16 : 8;
	int fd = (int)syscall(SYS_landlock_create_ruleset, &rules, size, 0U);
	if (fd < 0)
		return -errno;
	struct landlock_beneath beneath = {
		.allowed = rules.files & ~(LANDLOCK_EXECUTE | LANDLOCK_MAKE_SOCK | LANDLOCK_IOCTL_DEV),
		.parent = directory,
	};
	int result = 0;
	if (directory >= 0 && syscall(SYS_landlock_add_rule, fd, 1, &beneath, 0U) < 0)
		result = -errno;
	if (result == 0 && syscall(SYS_landlock_restrict_self, fd, 0U) < 0)
		result = -errno;
	close(fd);
	return result;
}

/* ---- capabilities ---- */

static int drop_capabilities(uint64_t keep)
{
	struct __user_cap_header_struct header = { _LINUX_CAPABILITY_VERSION_3, 0 };
	struct __user_cap_data_struct data[2];
	for (unsigned long bit = 0; prctl(PR_CAPBSET_DROP, bit, 0, 0, 0) == 0; bit++)
		;
	if (syscall(SYS_capget, &header, data) < 0)
		return -errno;
	for (int i = 0; i < 2; i++) {
		data[i].permitted &= (uint32_t)(keep >> 32 * i);
		data[i].effective = data[i].permitted;
		data[i].inheritable = 0; /* this also clears the ambient set */
	}
	return syscall(SYS_capset, &header, data) < 0 ? -errno : 0;
}

/* ---- system calls ---- */

/* clang-format off */

/* For memory, threads and reading the input. */
static const int always[] = {
	SYS_brk, SYS_clock_gettime, SYS_close, SYS_exit, SYS_exit_group, SYS_futex, SYS_getpid, SYS_getrandom, SYS_gettid,
	SYS_madvise, SYS_mmap, SYS_mprotect, SYS_mremap, SYS_munmap, SYS_pread64, SYS_restart_syscall, SYS_rseq,
	SYS_rt_sigaction, SYS_rt_sigprocmask, SYS_rt_sigreturn, SYS_sched_getaffinity, SYS_sched_yield,
	SYS_set_robust_list, SYS_sigaltstack, SYS_write, SYS_writev,
};

/* For creating files. */
static const int files[] = {
	SYS_dup, SYS_fchdir, SYS_fcntl, SYS_getdents64, SYS_readlinkat, SYS_renameat, SYS_fchmod, SYS_fchmodat, SYS_fchown, SYS_fchownat, SYS_fremovexattr, SYS_fsetxattr,
	SYS_fstat, SYS_ftruncate, SYS_linkat, SYS_lseek, SYS_lsetxattr, SYS_mkdirat, SYS_mknodat, SYS_newfstatat,
	SYS_openat, SYS_openat2, SYS_symlinkat, SYS_syncfs, SYS_unlinkat, SYS_utimensat,
};

/* clang-format on */

/* libc may try these; it works without them. */
static const int refused[] = { SYS_prctl, SYS_prlimit64, SYS_sysinfo };

#define COUNT(array) (sizeof(array) / sizeof(*(array)))

/* The flags of pthread_create(3). Without them, clone would create a process. */
#define THREAD (CLONE_VM | CLONE_SIGHAND | CLONE_THREAD)
#define NAMESPACES 0x7e020000U

#if defined(__x86_64__)
#define ARCHITECTURE AUDIT_ARCH_X86_64
#elif defined(__aarch64__)
#define ARCHITECTURE AUDIT_ARCH_AARCH64
#endif

static size_t answer(struct sock_filter *to, int number, uint32_t result)
{
	to[0] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (uint32_t)number, 0, 1);
	to[1] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, result);
	return 2;
}

/* Any other call kills the child, including those of the processor's other system call tables. */
static int confine_calls(bool with_files)
{
	struct sock_filter program[20 + 2 * (COUNT(always) + COUNT(files) + COUNT(refused))];
	const struct sock_filter begin[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, arch)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, ARCHITECTURE, 1, 0),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
	};
	const struct sock_filter end[] = {
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_tgkill, 0, 3), /* abort(3) */
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (uint32_t)getpid(), 5, 0),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_clone, 0, 4),
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args)),
		BPF_STMT(BPF_ALU | BPF_AND | BPF_K, THREAD | NAMESPACES),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, THREAD, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
	};
	size_t n = COUNT(begin);
	memcpy(program, begin, sizeof(begin));
	for (size_t i = 0; i < COUNT(always); i++)
		n += answer(program + n, always[i], SECCOMP_RET_ALLOW);
	for (size_t i = 0; with_files && i < COUNT(files); i++)
		n += answer(program + n, files[i], SECCOMP_RET_ALLOW);
	for (size_t i = 0; i < COUNT(refused); i++)
		n += answer(program + n, refused[i], SECCOMP_RET_ERRNO | EPERM);
	/* clone3's flags are in memory, where a filter cannot see them; libc then falls back to clone. */
	n += answer(program + n, SYS_clone3, SECCOMP_RET_ERRNO | ENOSYS);
	memcpy(program + n, end, sizeof(end));
	n += COUNT(end);
	struct sock_fprog whole = { (unsigned short)n, program };
	if (syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0U, &whole) < 0 && errno != ENOSYS && errno != EINVAL)
		return -errno;
	return 0;
}

/* ---- the child ---- */

static int confine(const struct confined *c)
{
	struct rlimit none = { 0, 0 };
	int result = keep_fds(c);
	if (result == 0 && (setrlimit(RLIMIT_CORE, &none) < 0 || prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0 ||
			    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0))
		result = -errno;
	if (result == 0)
		result = confine_files(c->directory < 0 ? -1 : CONFINED_DIRECTORY);
	if (result == 0)
		result = drop_capabilities(c->capabilities);
	return result < 0 ? result : confine_calls(c->directory >= 0);
}

pid_t confined_start(const struct confined *c)
{
	struct sigaction now, before;
	sigset_t all, saved;
	memset(&now, 0, sizeof(now));
	now.sa_handler = SIG_DFL;
	/* If our caller ignores SIGCHLD, the kernel reaps children itself, and their exit status is lost. */
	if (sigaction(SIGCHLD, NULL, &before) == 0 && before.sa_handler == SIG_IGN)
		sigaction(SIGCHLD, &now, NULL);
	pid_t parent = getpid();
	/* The signal handlers are Python's and must not run in the child: it keeps all signals blocked. */
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &saved);
	pid_t pid = fork();
	if (pid == 0) {
		int result = prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) < 0 ? -errno : 0;
		if (getppid() != parent)
			_exit(ESRCH);
		if (result == 0)
			result = confine(c);
		_exit(-(result < 0 ? result : c->work(c->context)));
	}
	int error = errno;
	pthread_sigmask(SIG_SETMASK, &saved, NULL);
	return pid < 0 ? -error : pid;
}

void confined_wait(pid_t pid)
{
	siginfo_t info;
	while (waitid(P_PID, (id_t)pid, &info, WEXITED | WNOWAIT) < 0 && errno == EINTR)
		;
}

int confined_reap(pid_t pid, char *ret_problem, size_t size)
{
	int status;
	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			return -errno;
	if (WIFEXITED(status))
		return -WEXITSTATUS(status);
	int number = WTERMSIG(status);
	if (number == SIGKILL) {
		snprintf(ret_problem, size, "the process that reads it was killed, perhaps for lack of memory");
		return -ENOMEM;
	}
	if (number == SIGSYS)
		snprintf(ret_problem, size,
			 "the process that reads it was stopped at a forbidden system call; it may be hostile");
	else
		snprintf(ret_problem, size, "the process that reads it crashed (%s); it may be hostile",
			 strsignal(number));
	return -EBADMSG;
}
