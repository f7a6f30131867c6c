/* Runs programs and tells what each cost. A small static program of its own, because a child's peak memory counts
 * from the memory of the process that started it (exec_mmap in the kernel's fs/exec.c), and Python's is large.
 *
 * stdin: for each run a 4-byte length, then that many bytes: the argv, each word ending with NUL.
 * stdout: for each run six 8-byte numbers: wall ns, user us, system us, peak KiB, wait status, 0.
 * The programs' own input and output are /dev/null, their errors are ours.
 */
#include <errno.h>
#include <fcntl.h>
#include <spawn.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

extern char **environ;

static void whole(int fd, char *to, size_t size)
{
	while (size > 0) {
		ssize_t got = read(fd, to, size);
		if (got == 0)
			exit(0);
		if (got < 0 && errno != EINTR)
			exit(2);
		if (got > 0) {
			to += got;
			size -= (size_t)got;
		}
	}
}

static uint64_t now_ns(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static uint64_t micros(struct timeval t)
{
	return (uint64_t)t.tv_sec * 1000000u + (uint64_t)t.tv_usec;
}

int main(void)
{
	static char words[65536];
	static char *argv[1024];
	posix_spawn_file_actions_t actions;

	posix_spawn_file_actions_init(&actions);
	posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
	posix_spawn_file_actions_addopen(&actions, 1, "/dev/null", O_WRONLY, 0);
	for (;;) {
		uint32_t size;
		whole(0, (char *)&size, sizeof(size));
		if (size > sizeof(words))
			return 2;
		whole(0, words, size);
		size_t count = 0;
		for (size_t i = 0; i < size && count < 1023; i++)
			if (i == 0 || words[i - 1] == '\0')
				argv[count++] = words + i;
		argv[count] = NULL;

		struct rusage use = {0};
		int status = 0;
		pid_t pid;
		uint64_t begin = now_ns();
		if (posix_spawn(&pid, argv[0], &actions, NULL, argv, environ) != 0)
			return 2;
		while (wait4(pid, &status, 0, &use) < 0 && errno == EINTR)
			;
		uint64_t told[6] = { now_ns() - begin, micros(use.ru_utime), micros(use.ru_stime),
				     (uint64_t)use.ru_maxrss, (uint64_t)status, 0 };
		if (write(1, told, sizeof(told)) != (ssize_t)sizeof(told))
			return 2;
	}
}
