/* Runs a command and interferes at its n-th system call (ptrace(2)); its children run free. Or it runs free, and what is
 * interfered with are its children, and theirs, until they execute another program than init.
 *
 *   driver count  LOG CALLS CMD...         write to LOG how many calls it makes
 *   driver kill   LOG CALLS N CMD...       SIGKILL at the entry of call N
 *   driver signal LOG CALLS N SIGNAL CMD...  another signal there
 *   driver fail   LOG CALLS N ERRNO CMD... the call is not made, and gives -ERRNO
 *   driver count-init LOG CALLS PID CMD...   the children's calls; those of process PID too, if it is not 0
 *   driver kill-init  LOG CALLS N PID CMD... SIGKILL at the entry of call N, for the child that makes it
 *   driver names      LOG CALLS PID CMD...   write to LOG what the children have open at each call, once they are in the
 *                                          container's root (see `look`)
 *
 * CALLS: "all", or the numbers of the calls that count, as 1,74,82. Exit code: the command's, 128 + n for signal n. */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <linux/ptrace.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

static char counted[1024];

static void read_calls(const char *text)
{
	if (!strcmp(text, "all")) {
		memset(counted, 1, sizeof(counted));
		return;
	}
	for (const char *at = text; at && *at; at = strchr(at, ',') ? strchr(at, ',') + 1 : NULL)
		counted[strtoul(at, NULL, 10) % sizeof(counted)] = 1;
}

static int started(char **command, pid_t *ret_pid)
{
	int status;
	*ret_pid = fork();
	if (*ret_pid == 0) {
		ptrace(PTRACE_TRACEME, 0, 0, 0);
		raise(SIGSTOP);
		execvp(command[0], command);
		_exit(127);
	}
	waitpid(*ret_pid, &status, 0);
	return status;
}

static int finish(const char *path, long calls, long hit, int status)
{
	FILE *log = fopen(path, "w");
	if (log) {
		fprintf(log, "%ld %ld\n", calls, hit);
		fclose(log);
	}
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

/* Whether the process executes init, not another program. */
static int is_init(pid_t pid)
{
	char path[64], target[64] = "";
	snprintf(path, sizeof(path), "/proc/%d/exe", pid);
	return readlink(path, target, sizeof(target) - 1) > 0 && strstr(target, "stele-init") != NULL;
}

/* Whether it is a thread of the other. */
static int is_thread(pid_t pid, pid_t of)
{
	char path[64];
	snprintf(path, sizeof(path), "/proc/%d/task/%d", of, pid);
	return access(path, F_OK) == 0;
}

/* The name that a call of its is about: its first argument, or the second after a directory's fd. */
static void read_name(pid_t pid, const struct __ptrace_syscall_info *info, char *name, size_t size)
{
	static const unsigned plain[] = { SYS_open, SYS_stat, SYS_lstat, SYS_execve, SYS_chdir, SYS_readlink, SYS_chroot };
	int second = 1;
	for (unsigned i = 0; i < sizeof(plain) / sizeof(*plain); i++)
		second = second && info->entry.nr != plain[i];
	struct iovec to = { name, size - 1 }, from = { (void *)(uintptr_t)info->entry.args[second], size - 1 };
	for (ssize_t n = -1; n < 0 && from.iov_len; from.iov_len--) /* less of it, where memory ends */
		n = process_vm_readv(pid, &to, 1, &from, 1, 0);
	name[size - 1] = '\0';
	for (char *at = name; *at; at++)
		if (*at == '\n')
			*at = '?';
}

/* Write to `log` what the process could reach by its fds, its working directory and its root: "at CALL PID NAME", then lines
 * "fd N MOUNT TARGET", "cwd 0 MOUNT TARGET", "root 0 MOUNT TARGET", and "mount ID" for each mount that it sees. */
static void look(FILE *log, pid_t pid, const struct __ptrace_syscall_info *info)
{
	char path[96], target[4096] = "", line[4096];
	struct statx st;
	read_name(pid, info, target, 256);
	fprintf(log, "at %llu %d %s\n", (unsigned long long)info->entry.nr, pid, target);
	snprintf(path, sizeof(path), "/proc/%d/fd", pid);
	DIR *fds = opendir(path);
	for (struct dirent *e; fds && (e = readdir(fds));) {
		snprintf(path, sizeof(path), "/proc/%d/fd/%.16s", pid, e->d_name);
		ssize_t n = readlink(path, target, sizeof(target) - 1);
		if (n < 0 || statx(AT_FDCWD, path, 0, STATX_MNT_ID, &st) < 0)
			continue;
		target[n] = '\0';
		fprintf(log, "fd %s %llu %s\n", e->d_name, (unsigned long long)st.stx_mnt_id, target);
	}
	if (fds)
		closedir(fds);
	for (const char *const *name = (const char *const[]){ "cwd", "root", NULL }; *name; name++) {
		snprintf(path, sizeof(path), "/proc/%d/%s", pid, *name);
		ssize_t n = readlink(path, target, sizeof(target) - 1);
		target[n < 0 ? 0 : n] = '\0';
		if (statx(AT_FDCWD, path, 0, STATX_MNT_ID, &st) == 0)
			fprintf(log, "%s 0 %llu %s\n", *name, (unsigned long long)st.stx_mnt_id, target);
	}
	snprintf(path, sizeof(path), "/proc/%d/mountinfo", pid);
	FILE *mounts = fopen(path, "r");
	while (mounts && fgets(line, sizeof(line), mounts))
		fprintf(log, "mount %lu\n", strtoul(line, NULL, 10));
	if (mounts)
		fclose(mounts);
}

/* Whether its root is another directory than ours. */
static int has_entered(pid_t pid)
{
	char path[64];
	struct stat own, its;
	snprintf(path, sizeof(path), "/proc/%d/root", pid);
	return stat("/", &own) == 0 && stat(path, &its) == 0 && (own.st_dev != its.st_dev || own.st_ino != its.st_ino);
}

/* Tracees that live when we end are let go, and go on: a created container's init waits for longer than we do. */
static int children(const char *log, FILE *names, long n, pid_t other, char **command)
{
	const long options = PTRACE_O_TRACESYSGOOD | PTRACE_O_TRACEEXEC | PTRACE_O_TRACEFORK | PTRACE_O_TRACEVFORK | PTRACE_O_TRACECLONE;
	pid_t command_pid, pid;
	int status = started(command, &command_pid), ended = 0;
	long calls = 0, hit = -1;
	ptrace(PTRACE_SETOPTIONS, command_pid, 0, options);
	if (other && (ptrace(PTRACE_SEIZE, other, 0, options) < 0 || ptrace(PTRACE_INTERRUPT, other, 0, 0) < 0))
		return 2;
	ptrace(PTRACE_CONT, command_pid, 0, 0);
	while ((pid = waitpid(-1, &status, __WALL)) > 0) {
		if (!WIFSTOPPED(status)) {
			if (pid != command_pid)
				continue;
			ended = 1;
			break;
		}
		int sig = WSTOPSIG(status), event = status >> 16, pass = 0;
		int own = pid == command_pid || is_thread(pid, command_pid);
		if (event == PTRACE_EVENT_EXEC && !own && !is_init(pid)) {
			ptrace(PTRACE_DETACH, pid, 0, 0);
			continue;
		}
		if (sig == (SIGTRAP | 0x80)) {
			struct __ptrace_syscall_info info;
			ptrace(PTRACE_GET_SYSCALL_INFO, pid, sizeof(info), &info);
			if (info.op == PTRACE_SYSCALL_INFO_ENTRY && info.entry.nr < sizeof(counted) && counted[info.entry.nr]) {
				if (names && is_init(pid) && has_entered(pid))
					look(names, pid, &info);
				if (++calls == n) {
					hit = (long)info.entry.nr;
					kill(pid, SIGKILL);
				}
			}
		} else if (!event && sig != SIGTRAP && sig != SIGSTOP) {
			pass = sig;
		}
		ptrace(own ? PTRACE_CONT : PTRACE_SYSCALL, pid, 0, pass);
	}
	return finish(log, calls, hit, ended ? status : 2 << 8);
}

int main(int argc, char **argv)
{
	if (argc < 5)
		return 2;
	const char *mode = argv[1];
	read_calls(argv[3]);
	if (!strcmp(mode, "count-init"))
		return children(argv[2], NULL, 0, (pid_t)atol(argv[4]), argv + 5);
	if (!strcmp(mode, "kill-init"))
		return children(argv[2], NULL, atol(argv[4]), (pid_t)atol(argv[5]), argv + 6);
	if (!strcmp(mode, "names")) {
		FILE *names = fopen(argv[2], "w");
		int code = names ? children("/dev/null", names, 0, (pid_t)atol(argv[4]), argv + 5) : 2;
		return names && fclose(names) == 0 ? code : 2;
	}
	int with_n = strcmp(mode, "count") != 0, with_value = !strcmp(mode, "fail") || !strcmp(mode, "signal");
	long n = with_n ? atol(argv[4]) : 0, value = with_value ? atol(argv[5]) : SIGKILL;
	char **command = argv + 4 + with_n + with_value;
	pid_t pid;
	int status = started(command, &pid), entered = 0, fail = 0;
	long calls = 0, hit = -1;
	ptrace(PTRACE_SETOPTIONS, pid, 0, PTRACE_O_TRACESYSGOOD | PTRACE_O_EXITKILL | PTRACE_O_TRACEEXEC);
	ptrace(PTRACE_SYSCALL, pid, 0, 0);
	while (waitpid(pid, &status, __WALL) == pid && WIFSTOPPED(status)) {
		int sig = WSTOPSIG(status), pass = 0;
		if (sig == (SIGTRAP | 0x80)) {
			struct user_regs_struct regs;
			ptrace(PTRACE_GETREGS, pid, 0, &regs);
			entered = !entered;
			if (entered && regs.orig_rax < sizeof(counted) && counted[regs.orig_rax]) {
				calls++;
				if (with_n && calls == n) {
					hit = (long)regs.orig_rax;
					if (!strcmp(mode, "fail")) {
						regs.orig_rax = (unsigned long)-1;
						ptrace(PTRACE_SETREGS, pid, 0, &regs);
						fail = 1;
					} else {
						kill(pid, (int)value);
					}
				}
			} else if (!entered && fail) {
				regs.rax = (unsigned long)-value;
				ptrace(PTRACE_SETREGS, pid, 0, &regs);
				fail = 0;
			}
		} else if (sig != SIGTRAP && sig != SIGSTOP) {
			pass = sig;
		}
		ptrace(PTRACE_SYSCALL, pid, 0, pass);
	}
	return finish(argv[2], calls, hit, status);
}
