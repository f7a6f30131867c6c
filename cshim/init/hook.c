/* Hooks that run in the container's namespaces. They get the hook's own environment, never the image's
 * (CVE-2025-23266). */
#include "init.h"

#include <asm/poll.h>
#include <linux/memfd.h>
#include <linux/mman.h>
#include <linux/sched.h>
#include <linux/signal.h>
#include <linux/time_types.h>
#include <linux/wait.h>

#define TAIL 160 /* how much of the hook's stderr is quoted in the error */
#define PIPE_SIZE (1 << 16)

struct tail {
	char text[TAIL];
	uint32_t length;
};

/* Keep the last TAIL - 1 bytes. */
static void keep_tail(struct tail *t, const char *bytes, uint32_t n)
{
	for (uint32_t i = 0; i < n; i++) {
		if (t->length == TAIL - 1) {
			for (uint32_t k = 1; k < t->length; k++)
				t->text[k - 1] = t->text[k];
			t->length--;
		}
		t->text[t->length++] = bytes[i];
	}
	t->text[t->length] = '\0';
}

static const char **vector(const struct init *in, const struct step *s, uint32_t first, uint32_t count)
{
	long at = SYS(__NR_mmap, NULL, 8ul * (count + 1), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (at < 0 && at > -4096)
		fail(in, at, "memory");
	const char **v = (const char **)at;
	for (uint32_t i = 0; i < count; i++)
		v[i] = step_string(s, first + i, NULL);
	v[count] = NULL;
	return v;
}

__attribute__((noreturn)) static void child(const struct init *in, const struct step *s, int input, int output)
{
	uint32_t n_args = (uint32_t)INTS(hook, s)->n_args, n_words = s->n_strs - HOOK_WORDS;
	SYS(__NR_setsid);
	SYS(__NR_dup3, input, 0, 0);
	SYS(__NR_dup3, output, 1, 0);
	SYS(__NR_dup3, output, 2, 0);
	SYS(__NR_close_range, 3, ~0u, 0); /* before execve(2) resolves a name that the image may control */
	const char **args = vector(in, s, HOOK_WORDS, n_args),
		   **env = vector(in, s, HOOK_WORDS + n_args, n_words - n_args);
	const char *path = step_string(s, HOOK_PATH, NULL), *none[2] = { path, NULL };
	long r = SYS(__NR_execve, path, n_args ? args : none, env);
	char text[64];
	char *at = append(text, text + sizeof(text), "it could not be executed, errno ");
	at = append_number(at, text + sizeof(text), (uint64_t)-r);
	SYS(__NR_write, 2, text, at - text);
	quit(127);
}

static int64_t now_ms(void)
{
	struct __kernel_timespec t;
	SYS(__NR_clock_gettime, 1 /* CLOCK_MONOTONIC */, &t);
	return t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

/* Read the hook's output until it ends. Returns 0 on timeout. Other processes may hold the output open and keep
 * writing: after the hook's end, no more is read than a pipe holds. */
static int wait_for(int pidfd, int output, int64_t timeout_ms, struct tail *tail)
{
	int64_t end = now_ms() + timeout_ms;
	char bytes[512];
	for (size_t after = 0;;) {
		struct {
			int fd;
			short events, revents;
		} polled[2] = { { pidfd, POLLIN, 0 }, { output, POLLIN, 0 } };
		int64_t left = end - now_ms();
		struct __kernel_timespec t = { left > 0 ? left / 1000 : 0, left > 0 ? left % 1000 * 1000000 : 0 };
		SYS(__NR_ppoll, polled, 2, timeout_ms ? &t : NULL, NULL, 8);
		long got = polled[1].revents ? SYS(__NR_read, output, bytes, sizeof(bytes)) : 0;
		if (got > 0)
			keep_tail(tail, bytes, (uint32_t)got);
		if (polled[0].revents && (got <= 0 || (after += (size_t)got) > PIPE_SIZE))
			return 1;
		if (!polled[0].revents && timeout_ms && left <= 0)
			return 0;
		if (polled[1].revents && got == 0)
			output = -1;
	}
}

/* The state document in a memfd, as for hooks on the host: a hook need not read it, and it can exceed a pipe's
 * capacity. */
static int state_file(const struct init *in, const struct step *s)
{
	char number[24];
	/* Ask the kernel for our pid in this namespace. */
	append_number(number, number + sizeof(number), (uint64_t)SYS(__NR_getpid));
	const char *parts[3] = { step_string(s, HOOK_STATE_HEAD, NULL), number, step_string(s, HOOK_STATE_TAIL, NULL) };
	int fd = (int)SYS(__NR_memfd_create, "state", MFD_CLOEXEC);
	must(in, fd, "state");
	for (int i = 0; i < 3; i++) {
		size_t n = strlen(parts[i]);
		while (n > 0) {
			long w = SYS(__NR_write, fd, parts[i], n);
			must(in, w, "state");
			parts[i] += w;
			n -= (size_t)w;
		}
	}
	must(in, SYS(__NR_lseek, fd, 0, 0 /* SEEK_SET */), "state");
	return fd;
}

void do_hook(struct init *in, const struct step *s)
{
	const char *path = step_string(s, HOOK_PATH, NULL);
	int output[2], pidfd = -1;
	if (INTS(hook, s)->n_args > s->n_strs - HOOK_WORDS)
		fail(in, -EINVAL, path);
	int input = state_file(in, s);
	must(in, SYS(__NR_pipe2, output, O_CLOEXEC), path);
	/* Our end only: the hook's end blocks, as programs expect. */
	must(in, SYS(__NR_fcntl, output[0], F_SETFL, O_NONBLOCK), path);
	struct clone_args args = { .flags = CLONE_PIDFD, .pidfd = (uint64_t)&pidfd, .exit_signal = SIGCHLD };
	long pid = SYS(__NR_clone3, &args, sizeof(args));
	if (pid == -ENOSYS || pid == -EPERM) /* refused by a seccomp filter, which cannot inspect its arguments */
		pid = SYS(__NR_clone, CLONE_PIDFD | SIGCHLD, 0, &pidfd, 0, 0);
	must(in, pid, path);
	if (pid == 0)
		child(in, s, input, output[1]);
	SYS(__NR_close, input);
	SYS(__NR_close, output[1]);
	struct tail tail = { .length = 0 };
	int ended = wait_for(pidfd, output[0], (int64_t)INTS(hook, s)->timeout * 1000, &tail);
	if (!ended) {
		SYS(__NR_kill, pid, SIGKILL); /* it may not have called setsid(2) yet */
		SYS(__NR_kill, -pid, SIGKILL);
	}
	int status = 0;
	while (SYS(__NR_wait4, pid, &status, 0, NULL) == -EINTR)
		;
	SYS(__NR_close, pidfd);
	SYS(__NR_close, output[0]);
	if (ended && status == 0)
		return;
	if (!ended)
		fail(in, -ETIME, tail.text);
	char text[240];
	char *end = text + sizeof(text), *at = append(text, end, status & 0x7f ? "signal " : "exit status ");
	at = append_number(at, end, (uint64_t)(status & 0x7f ? status & 0x7f : status >> 8));
	if (tail.length)
		at = append(append(at, end, ": "), end, tail.text);
	fail(in, -ECHILD, at ? text : tail.text);
}
