/* Runs a command of build-aux/recording.py in surroundings that are the same each time, as far as it may.
 *
 * Usage: alone FOLDER COMMAND ARGUMENT...
 *   COMMAND is a path below FOLDER, which is its working folder. No signal is blocked, the stack has 8 MiB, and
 *   addresses are not randomised where that is allowed.
 *   As root FOLDER is also its root: a mount namespace with nothing in it but that, /proc, /sys/fs/cgroup and /dev/null,
 *   and process ids begin at 1. (Not a chroot: a container made in one has all of the host below its root.)
 *   The exit status is the command's; 125 with a message if it cannot be started so. */
#define _GNU_SOURCE
#include <err.h>
#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/personality.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define FAILED 125
#define STACK (8UL << 20)

static void must(int result, const char *what)
{
	if (result < 0)
		err(FAILED, "alone: %s", what);
}

static void enter(void)
{
	must(mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL), "mount namespace");
	must(mount(".", ".", NULL, MS_BIND, NULL), "bind the folder");
	char folder[4096];
	if (!getcwd(folder, sizeof(folder)))
		err(FAILED, "alone: getcwd");
	must(chdir(folder), "the folder"); /* the mount on it, no longer what is below */
	must(mount("none", "proc", "proc", 0, NULL), "mount proc");
	must(mount("none", "sys/fs/cgroup", "cgroup2", 0, NULL), "mount cgroup2");
	must(mount("/dev/null", "dev/null", NULL, MS_BIND, NULL), "bind /dev/null");
	must((int)syscall(SYS_pivot_root, ".", "."), "pivot_root");
	must(umount2(".", MNT_DETACH), "umount");
	must(chdir("/"), "chdir");
}

int main(int argc, char **argv)
{
	if (argc < 3)
		errx(FAILED, "usage: alone FOLDER COMMAND ARGUMENT...");
	must(chdir(argv[1]), argv[1]);
	sigset_t none;
	sigemptyset(&none);
	must(sigprocmask(SIG_SETMASK, &none, NULL), "sigprocmask");
	struct rlimit stack;
	must(getrlimit(RLIMIT_STACK, &stack), "getrlimit");
	stack.rlim_cur = stack.rlim_max < STACK ? stack.rlim_max
						: STACK; /* the kernel lays out memory by it, and make lifts it */
	must(setrlimit(RLIMIT_STACK, &stack), "setrlimit");
	personality(ADDR_NO_RANDOMIZE); /* a container's seccomp filter may refuse it */
	if (geteuid() == 0) {
		must(unshare(CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWCGROUP), "unshare");
		pid_t child = fork();
		must(child, "fork");
		if (child > 0) {
			int status;
			while (waitpid(child, &status, 0) < 0)
				if (errno != EINTR)
					return FAILED;
			return WIFEXITED(status) ? WEXITSTATUS(status) : FAILED;
		}
		must(prctl(PR_SET_PDEATHSIG, SIGKILL), "prctl");
		enter();
	}
	execv(argv[2], argv + 2);
	err(FAILED, "alone: %s", argv[2]);
}
