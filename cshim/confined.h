/* A child process that reads untrusted bytes. It is a fork of this process that gives up everything the work does
 * not need before it reads the first byte. So a fault in a parser neither runs as root nor offers a way out.
 *
 * It keeps the input, read-only; one directory, which is its root and has no devices; and the write end of a pipe or an
 * empty memfd. It has no other fd and no network, can execute no program and reach no other process. */
#ifndef STELE_CONFINED_H
#define STELE_CONFINED_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* Fds in the child. */
#define CONFINED_INPUT 3
#define CONFINED_DIRECTORY 4
#define CONFINED_OUTPUT 5

struct confined {
	int input;
	int directory;              /* or -1 */
	int output;                 /* or -1 */
	uint64_t capabilities;      /* the capabilities to keep, by bit, if the caller has them */
	int (*work)(void *context); /* 0 or -errno, which becomes the child's exit status */
	void *context;
};

/* Start the child. Returns its pid or -errno. It dies with the calling thread. */
pid_t confined_start(const struct confined *c);

/* Wait until the child has ended. It stays a zombie, so that its pid can still be signalled. */
void confined_wait(pid_t pid);

/* Reap the child. Returns the result of its work; if it died, -errno with a sentence in `ret_problem`. */
int confined_reap(pid_t pid, char *ret_problem, size_t size);

#endif
