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

struct waiter {
	const void *table;
	int epoll, signals;
	int directory;         /* where the record of the end goes */
	int memory;            /* memory.events, or -1 */
	uint64_t oom_kills;    /* as last read */
	int pid, ended, status;
	int64_t leave_at;      /* ms of CLOCK_MONOTONIC at which we end although the container runs; 0: not asked to */
	int64_t watch_at;      /* when to watch memory.events again; 0: it is being watched, or is not to be */
};

__attribute__((noreturn)) static inline void quit(int status)
{
	SYS(__NR_exit_group, status);
	__builtin_trap();
}

/* record.c */
int write_record(const struct waiter *w);
char *append_time(char *to, const char *end, uint64_t seconds, uint64_t nanoseconds);

/* memory.c */
int read_memory(struct waiter *w);

#endif
