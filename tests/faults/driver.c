/* Runs a command and interferes at its n-th system call (ptrace(2)); its children run free.
 *
 *   driver count  LOG CALLS CMD...         write to LOG how many calls it makes
 *   driver kill   LOG CALLS N CMD...       SIGKILL at the entry of call N
 *   driver signal LOG CALLS N SIGNAL CMD...  another signal there
 *   driver fail   LOG CALLS N ERRNO CMD... the call is not made, and gives -ERRNO
 *
 * CALLS: "all", or the numbers of the calls that count, as 1,74,82. Exit code: the command's, 128 + n for signal n. */
#define _GNU_SOURCE
#include <errno.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
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

int main(int argc, char **argv)
{
	if (argc < 5)
		return 2;
	const char *mode = argv[1];
	int with_n = strcmp(mode, "count") != 0, with_value = !strcmp(mode, "fail") || !strcmp(mode, "signal");
	long n = with_n ? atol(argv[4]) : 0, value = with_value ? atol(argv[5]) : SIGKILL;
	char **command = argv + 4 + with_n + with_value;
	read_calls(argv[3]);
	pid_t pid = fork();
	if (pid == 0) {
		ptrace(PTRACE_TRACEME, 0, 0, 0);
		raise(SIGSTOP);
		execvp(command[0], command);
		_exit(127);
	}
	int status, entered = 0, fail = 0;
	long calls = 0, hit = -1;
	waitpid(pid, &status, 0);
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
	FILE *log = fopen(argv[2], "w");
	if (log) {
		fprintf(log, "%ld %ld\n", calls, hit);
		fclose(log);
	}
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}
