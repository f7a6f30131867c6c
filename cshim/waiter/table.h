/* The waiter's table: its fds, and what it is to do. runtime/plan/waiter.py writes it; a test compares the two.
 *
 * A header, then entries, each a multiple of 8 bytes. The table is the stele process's, so it is trusted; it is checked
 * all the same, as init checks its plan. */
#ifndef STELE_TABLE_H
#define STELE_TABLE_H

#include <stddef.h>
#include <stdint.h>

#define TABLE_MAGIC 0x49415753u /* "SWAI" in memory */
#define TABLE_ABI 1
#define TABLE_MAX 65536
#define FD_FIRST 3 /* where the waiter finds its table; its other fds follow */
#define FD_LIMIT 32

/* name, number, must have an fd, must have a text */
#define ENTRIES(X)                                                                                                    \
	X(CHILD, 1, 0, 0)       /* number: the pid of the container's init, our child */                              \
	X(STARTER, 2, 1, 0)     /* a pipe: one byte tells the command that started us that we are ready */            \
	X(DIRECTORY, 3, 1, 0)   /* the container's state directory; its lock comes with it and is released */         \
	X(NULL_DEVICE, 4, 1, 0) /* for our standard streams */                                                        \
	X(MEMORY, 5, 1, 0)      /* the memory.events of the container's cgroup */                                     \
	X(OUTPUT, 6, 1, 0) /* what the container writes, a pipe or a terminal's master; number: 1 stdout, 2 stderr */ \
	X(LOG, 7, 0, 1)    /* text: the file's name in the state directory; number: its largest size, in bytes */     \
	X(LOG_FILES, 8, 0, 0) /* number: how many files are kept, with the current one */                             \
	X(JOURNAL, 9, 1, 1)   /* a datagram socket; text: the address of journald's */                                \
	X(FIELDS, 10, 0, 1)   /* text: the fields of each message in the journal, each with a line feed */            \
	X(ABOVE, 11, 1, 0)    /* memory.events of the cgroup above, where the container's own may vanish */

#define X(name, number, fd, text) ENTRY_##name = number,
enum { ENTRIES(X) ENTRY_COUNT };
#undef X

struct table {
	uint32_t magic, abi, length, entries;
};

struct entry {
	uint16_t kind;
	int16_t fd;      /* -1 for none */
	uint32_t length; /* of the whole entry */
	uint64_t number;
	char text[]; /* with a NUL, and more up to a multiple of 8 */
};

int table_valid(const void *bytes, uint64_t length);
const struct entry *table_find(const void *bytes, uint16_t kind, const struct entry *after);

#endif
