#include "shim.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/close_range.h>
#include <linux/futex.h>
#include <linux/mount.h>
#include <linux/openat2.h>
#include <linux/sched.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define CHILD_STACK 16384

static int result(long r)
{
	return r < 0 ? -errno : (int)r;
}

/* --- spawn --- */

__attribute__((noreturn)) static void child_fails(struct stele_spawn *s, const char *call)
{
	s->failed = call; /* the memory is shared with the parent, which waits and does not touch it */
	_exit(errno & 0xff);
}

/* Until its ids are mapped, we are not uid 0 of a new user namespace, and exec would drop all capabilities. The
 * ambient set survives it (capabilities(7)). */
static int keep_capabilities(void)
{
	struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct data[2];
	if (syscall(SYS_capget, &header, data) < 0)
		return -1;
	data[0].inheritable = data[0].permitted;
	data[1].inheritable = data[1].permitted;
	if (syscall(SYS_capset, &header, data) < 0)
		return -1;
	for (unsigned long cap = 0; cap < 64; cap++)
		if (data[cap / 32].permitted >> (cap % 32) & 1)
			prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, cap, 0, 0);
	return 0;
}

/* Prepared for the child, which shares our memory and so must not allocate. */
struct prepared {
	struct stele_spawn *request;
	int total;   /* fds that init gets */
	int *copies; /* total of them */
	char base[16], slots[16];
};

static int source_fd(const struct stele_spawn *s, int i)
{
	int keep = (int)s->n_keep;
	if (i < 3)
		return s->stdio[i];
	if (i < 3 + keep)
		return s->keep[i - 3];
	if (i == 3 + keep)
		return s->report;
	return i == 4 + keep ? s->plan : s->slots[i - 5 - keep];
}

/* Copy all fds above the target numbers first, then to their targets: so any order of sources works. */
static void place_fds(const struct prepared *p)
{
	for (int i = 0; i < p->total; i++) {
		p->copies[i] = fcntl(source_fd(p->request, i), F_DUPFD_CLOEXEC, p->total);
		if (p->copies[i] < 0)
			child_fails(p->request, "dup");
	}
	for (int i = 0; i < p->total; i++)
		if (dup2(p->copies[i], i) < 0)
			child_fails(p->request, "dup2");
}

__attribute__((noreturn, noinline)) static void child(struct prepared *p)
{
	struct stele_spawn *s = p->request;
	char name[] = "init";
	char *const argv[] = { name, p->base, p->slots, NULL };
	char *const env[] = { NULL };
	if ((s->flags & CLONE_NEWUSER) && keep_capabilities() < 0)
		child_fails(s, "capset");
	int init = fcntl(s->init, F_DUPFD_CLOEXEC, p->total);
	if (init < 0)
		child_fails(s, "dup");
	place_fds(p);
	syscall(SYS_execveat, init, "", argv, env, AT_EMPTY_PATH);
	child_fails(s, "execveat");
}

/* The child runs in our memory, on its own stack, and never returns. */
__attribute__((noinline)) static long clone_child(struct clone_args *args, struct prepared *p)
{
	void (*run)(struct prepared *) = child;
	long pid;
#if defined(__x86_64__)
	__asm__ volatile("syscall\n"
			 "	test %%rax, %%rax\n"
			 "	jnz 1f\n"
			 "	xor %%ebp, %%ebp\n"
			 "	mov %[p], %%rdi\n"
			 "	call *%[run]\n"
			 "1:"
			 : "=a"(pid)
			 : "a"((long)SYS_clone3), "D"(args), "S"(sizeof(*args)), [p] "r"(p), [run] "r"(run)
			 : "rcx", "r11", "memory");
#else
	register long x8 __asm__("x8") = SYS_clone3;
	register long x0 __asm__("x0") = (long)args;
	register long x1 __asm__("x1") = sizeof(*args);
	__asm__ volatile("svc 0\n"
			 "	cbnz x0, 1f\n"
			 "	mov x29, xzr\n"
			 "	mov x0, %[p]\n"
			 "	blr %[run]\n"
			 "1:"
			 : "+r"(x0)
			 : "r"(x8), "r"(x1), [p] "r"(p), [run] "r"(run)
			 : "x30", "memory");
	pid = x0;
#endif
	return pid;
}

/* --- waiting for the child --- */

/* Whether a cgroup or one of its parents is frozen: then a process in it does not run. */
static bool frozen(int cgroup)
{
	int here = openat(cgroup, ".", O_PATH | O_DIRECTORY | O_CLOEXEC);
	bool found = false;
	while (here >= 0 && !found) {
		char flag = 0;
		int file = openat(here, "cgroup.freeze", O_RDONLY | O_CLOEXEC);
		if (file < 0)
			break; /* the root cgroup has no such file */
		found = read(file, &flag, 1) == 1 && flag == '1';
		close(file);
		int above = openat(here, "..", O_PATH | O_DIRECTORY | O_CLOEXEC);
		close(here);
		here = above;
	}
	if (here >= 0)
		close(here);
	return found;
}

/* Whether a signal that asks us to end is pending; all signals are blocked. */
static bool asked_to_end(void)
{
	static const int signals[] = { SIGHUP, SIGINT, SIGQUIT, SIGTERM };
	sigset_t pending;
	struct sigaction action;
	sigpending(&pending);
	for (size_t i = 0; i < sizeof(signals) / sizeof(*signals); i++)
		if (sigismember(&pending, signals[i]) && sigaction(signals[i], NULL, &action) == 0 &&
		    action.sa_handler != SIG_IGN)
			return true;
	return false;
}

/* Wait until the child no longer uses our memory, after execve(2) or its end: the kernel then clears `lives`.
 * vfork(2) would wait uninterruptibly, even for a child that the container froze at birth, in a cgroup that it owns.
 * Returns 0, or -errno if the wait was given up. */
static int wait_for_child(const struct stele_spawn *s, uint32_t *lives)
{
	const struct timespec look = { .tv_nsec = 100000000 };
	uint32_t seen;
	while ((seen = __atomic_load_n(lives, __ATOMIC_ACQUIRE))) {
		if (syscall(SYS_futex, lives, FUTEX_WAIT, seen, &look, NULL, 0) == 0 || errno != ETIMEDOUT)
			continue;
		if (asked_to_end())
			return -EINTR;
		if (s->cgroup >= 0 && !s->patient && frozen(s->cgroup))
			return -ECANCELED;
	}
	return 0;
}

int stele_spawn(struct stele_spawn *s)
{
	struct prepared p = { .request = s, .total = 5 + (int)s->n_keep + (int)s->n_slots };
	sigset_t all, saved;
	int pidfd = -1;
	uint32_t lives = 0;
	_Alignas(16) char stack[CHILD_STACK]; /* the child's */
	struct clone_args args = {
		.flags = s->flags | CLONE_PIDFD | CLONE_VM | CLONE_PARENT_SETTID | CLONE_CHILD_CLEARTID |
			 (s->cgroup >= 0 ? CLONE_INTO_CGROUP : 0),
		.pidfd = (uint64_t)(uintptr_t)&pidfd,
		.parent_tid = (uint64_t)(uintptr_t)&lives,
		.child_tid = (uint64_t)(uintptr_t)&lives,
		.stack = (uint64_t)(uintptr_t)stack,
		.stack_size = sizeof(stack),
		.exit_signal = SIGCHLD,
		.cgroup = s->cgroup >= 0 ? (__u64)s->cgroup : 0,
	};
	s->failed = NULL;
	s->pidfd = -1;
	p.copies = calloc((size_t)p.total, sizeof(int));
	if (!p.copies)
		return -ENOMEM;
	int here = -1;
	if (s->cwd >= 0) {
		/* Change to the child's directory here: in a new user namespace the child may lack the right to
		 * enter it. If our own directory cannot be opened, there is nothing to return to. */
		here = open(".", O_PATH | O_DIRECTORY | O_CLOEXEC);
		if (fchdir(s->cwd) < 0) {
			int error = errno;
			s->failed = "fchdir";
			free(p.copies);
			if (here >= 0)
				close(here);
			return -error;
		}
	}
	snprintf(p.base, sizeof(p.base), "%d", 3 + (int)s->n_keep);
	snprintf(p.slots, sizeof(p.slots), "%d", (int)s->n_slots);
	/* No signal handler may run in the child: it would run in our memory. */
	sigfillset(&all);
	sigprocmask(SIG_SETMASK, &all, &saved);
	long pid = clone_child(&args, &p);
	int given_up = pid > 0 ? wait_for_child(s, &lives) : 0;
	if (given_up) {
		syscall(SYS_pidfd_send_signal, pidfd, SIGKILL, NULL, 0); /* also kills a frozen process */
		waitpid((pid_t)pid, NULL, 0);
		close(pidfd);
	}
	sigprocmask(SIG_SETMASK, &saved, NULL);
	free(p.copies);
	if (here >= 0) {
		int back = fchdir(here);
		(void)back; /* it was removed; relative paths lead nowhere then */
		close(here);
	}
	if (given_up)
		return given_up;
	if (pid < 0)
		s->failed = "clone3";
	if (pid > 0 && s->failed) {
		int status = 0;
		waitpid((pid_t)pid, &status, 0);
		close(pidfd);
		pid = WIFEXITED(status) ? -WEXITSTATUS(status) : -EIO;
	} else if (pid > 0) {
		s->pidfd = pidfd;
	}
	return (int)pid;
}

/* --- becoming the waiter --- */

#define BECOME_MAX 32

int stele_become(int program, const char *name, const char *argument, const int *fds, uint32_t n)
{
	const char *const argv[] = { name, argument, NULL };
	char *const env[] = { NULL };
	int copies[BECOME_MAX], first = 3 + (int)n;
	if (n > BECOME_MAX)
		return -E2BIG;
	int own = fcntl(program, F_DUPFD_CLOEXEC, first);
	if (own < 0)
		return -errno;
	for (uint32_t i = 0; i < n; i++) /* as in place_fds */
		if ((copies[i] = fcntl(fds[i], F_DUPFD_CLOEXEC, first)) < 0)
			return -errno;
	for (uint32_t i = 0; i < n; i++)
		if (dup2(copies[i], 3 + (int)i) < 0)
			return -errno;
	if (close_range((unsigned)first, ~0u, CLOSE_RANGE_CLOEXEC) < 0)
		return -errno;
	syscall(SYS_execveat, own, "", argv, env, AT_EMPTY_PATH);
	return -errno;
}

/* --- single calls --- */

int stele_openat2(int dir, const char *path, uint64_t flags, uint64_t mode, uint64_t resolve)
{
	struct open_how how = { .flags = flags | O_CLOEXEC, .mode = mode, .resolve = resolve };
	return result(syscall(SYS_openat2, dir, path, &how, sizeof(how)));
}

int stele_open_tree(int dir, const char *path, unsigned flags)
{
	return result(syscall(SYS_open_tree, dir, path, flags | OPEN_TREE_CLOEXEC));
}

int stele_mount_source(const char *type, const char *source, uint64_t attributes)
{
	int fs = result(syscall(SYS_fsopen, type, FSOPEN_CLOEXEC));
	if (fs < 0)
		return fs;
	int tree = result(syscall(SYS_fsconfig, fs, FSCONFIG_SET_STRING, "source", source, 0));
	if (tree >= 0)
		tree = result(syscall(SYS_fsconfig, fs, FSCONFIG_SET_FLAG, "ro", NULL, 0));
	if (tree >= 0)
		tree = result(syscall(SYS_fsconfig, fs, FSCONFIG_CMD_CREATE, NULL, NULL, 0));
	if (tree >= 0)
		tree = result(syscall(SYS_fsmount, fs, FSMOUNT_CLOEXEC, attributes));
	close(fs);
	return tree;
}

int stele_mount_setattr(int fd, unsigned flags, uint64_t set, uint64_t clear, uint64_t propagation, int userns)
{
	struct mount_attr attr = {
		.attr_set = set,
		.attr_clr = clear,
		.propagation = propagation,
		.userns_fd = userns >= 0 ? (__u64)userns : 0,
	};
	return result(syscall(SYS_mount_setattr, fd, "", flags | AT_EMPTY_PATH, &attr, sizeof(attr)));
}

int stele_setns(int fd, int flags)
{
	return result(setns(fd, flags));
}

int stele_prctl(int option, unsigned long a, unsigned long b)
{
	return result(prctl(option, a, b, 0, 0));
}

/* The first 8 bytes of glibc's sigset_t are the kernel's. */
static sigset_t signal_set(uint64_t signals)
{
	sigset_t set;
	sigemptyset(&set);
	memcpy(&set, &signals, sizeof(signals));
	return set;
}

uint64_t stele_block_signals(uint64_t signals)
{
	sigset_t now = signal_set(signals), before;
	uint64_t blocked = 0;
	if (sigprocmask(SIG_SETMASK, &now, &before) == 0)
		memcpy(&blocked, &before, sizeof(blocked));
	return blocked;
}

int stele_signalfd(uint64_t signals)
{
	sigset_t set = signal_set(signals);
	return result(signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK));
}

int stele_hold_userns(void)
{
	struct clone_args args = { .flags = CLONE_NEWUSER, .exit_signal = SIGCHLD };
	long pid = syscall(SYS_clone3, &args, sizeof(args));
	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
		for (;;)
			pause();
	}
	return result(pid);
}
