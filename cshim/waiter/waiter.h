/* The waiter: the one process of stele that stays beside a container. The stele process that started the container becomes
 * it by execve(2), so it is the parent of the container's init and gets its wait status. It has a table of what to do,
 * and no policy. It is in no namespace or cgroup of the container and has no fd that leads into its root.
 *
 * One thread, no heap: what it needs is in `struct waiter`, whose size does not depend on what happens. */
#ifndef STELE_WAITER_H
#define STELE_WAITER_H

#include "../init/sys.h"
#include "../init/text.h"
#include "table.h"

#define LINE_MAX 8192 /* longer lines are cut in parts */
#define STREAMS 2

struct stream {
	int fd;     /* -1 once nobody can write to it */
	int number; /* 1 stdout, 2 stderr */
	uint32_t used;
	char line[LINE_MAX];
};

struct log {
	const struct entry *file, *journal, *fields;
	uint64_t files;
	int directory, fd;   /* of the current file; -1 if it cannot be opened */
	uint64_t size, lost; /* bytes: of the current file; that could not be kept, and of which nothing was said yet */
	uint32_t used;
	char lines[4 * LINE_MAX]; /* to be written to the file at once */
};

struct waiter {
	const void *table;
	int epoll, signals;
	int directory;        /* where the record of the end goes */
	int memory;           /* memory.events, or -1 */
	int memory_above;     /* that of the cgroup above, or -1 */
	uint64_t oom_kills;   /* as last read */
	uint64_t kills_above; /* there, when they were */
	int pid, ended, status;
	struct stream streams[STREAMS];
	struct log log;
	int64_t leave_at; /* ms of CLOCK_MONOTONIC at which we end although the container runs; 0: not asked to */
	int64_t watch_at; /* when to watch memory_above again; 0: it is being watched, or is not to be */
};

__attribute__((noreturn)) static inline void quit(int status)
{
	SYS(__NR_exit_group, status);
	__builtin_trap();
}

/* record.c */
int write_record(const struct waiter *w);
char *append_now(char *to, const char *end);
long write_all(int fd, const char *text, size_t length);

/* output.c: the container's output, cut into lines */
void open_output(struct waiter *w);
void read_output(struct waiter *w, struct stream *s);
void drain_output(struct waiter *w);

/* log.c: where the lines go */
void open_log(struct log *log, const void *table, int directory);
void log_line(struct log *log, int stream, const char *text, uint32_t length, int whole);
void flush_log(struct log *log);

/* memory.c */
int read_memory(struct waiter *w);

#endif
