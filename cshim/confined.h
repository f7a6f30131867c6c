/* A child process for work on bytes that strangers wrote. It is a fork of this process that has given up, before it reads
 * the first byte, whatever the work does not need: a fault in the parser is then neither root nor a way out.
 *
 * What it keeps: the input, read-only; and either one directory, which is its root and has no devices, or the writing end
 * of a pipe. No other fd, no network, no program to execute, no other process to reach. */
#ifndef STELE_CONFINED_H
#define STELE_CONFINED_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* The fds in the child. */
#define CONFINED_INPUT 3
#define CONFINED_DIRECTORY 4
#define CONFINED_OUTPUT 4

struct confined {
	int input;
	int directory;              /* or -1 */
	int output;                 /* or -1 */
	uint64_t capabilities;      /* those to keep, by bit; of the caller's only */
	int (*work)(void *context); /* 0 or -errno, which becomes the child's exit status */
	void *context;
};

/* Start the child: its pid, or -errno. It dies with the calling thread. */
pid_t confined_start(const struct confined *c);

/* Wait until the child has ended; it stays a zombie, so that its pid can still be signalled. */
void confined_wait(pid_t pid);

/* Reap the child: what its work returned; or what its death means, with a sentence in `ret_problem`. */
int confined_reap(pid_t pid, char *ret_problem, size_t size);

#endif
