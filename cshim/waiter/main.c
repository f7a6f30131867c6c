#include "waiter.h"

#include <linux/close_range.h>
#include <linux/errno.h>
#include <linux/eventpoll.h>
#include <linux/fcntl.h>
#include <linux/mman.h>
#include <linux/prctl.h>
#include <linux/signal.h>
#include <linux/time.h>
#include <linux/wait.h>

#define LOCK_UN_ 8
#define SIGNALFD_FLAGS (02000000 | 04000) /* SFD_CLOEXEC | SFD_NONBLOCK */
#define EPOLL_CLOEXEC_ 02000000
#define MASK(number) (1ull << ((number)-1))
#define LEAVE_AFTER 5000 /* ms between TERM and our end, if the container does not end by itself */
#define WATCH_PAUSE 100  /* ms: a container at its limit changes memory.events all the time */

enum { SOURCE_SIGNALS, SOURCE_MEMORY, SOURCE_OUTPUT };

static int64_t now_ms(void)
{
	struct {
		int64_t seconds, nanoseconds;
	} now;
	SYS(__NR_clock_gettime, CLOCK_MONOTONIC, &now);
	return now.seconds * 1000 + now.nanoseconds / 1000000;
}

/* --- getting ready --- */

static const void *map_table(void)
{
	long length = SYS(__NR_lseek, FD_FIRST, 0, 2 /* SEEK_END */);
	if (length <= 0)
		quit(2);
	long at = SYS(__NR_mmap, NULL, length, PROT_READ, MAP_PRIVATE, FD_FIRST, 0);
	if ((at < 0 && at > -4096) || !table_valid((const void *)at, (uint64_t)length))
		quit(2);
	SYS(__NR_close, FD_FIRST);
	return (const void *)at;
}

static int fd_of(const struct waiter *w, uint16_t kind)
{
	const struct entry *e = table_find(w->table, kind, NULL);
	return e ? e->fd : -1;
}

/* No signal ends us but KILL: all that can be blocked are, and those of interest are read from an fd. */
static void take_signals(struct waiter *w)
{
	struct {
		void *handler;
		unsigned long flags;
		void *restorer;
		uint64_t mask;
	} plain = { 0 };
	uint64_t all = ~0ull, taken = MASK(SIGCHLD) | MASK(SIGTERM);
	SYS(__NR_rt_sigprocmask, 2 /* SIG_SETMASK */, &all, NULL, 8);
	SYS(__NR_rt_sigaction, SIGCHLD, &plain, NULL, 8); /* ignored, the kernel would reap the child */
	w->signals = (int)SYS(__NR_signalfd4, -1, &taken, 8, SIGNALFD_FLAGS);
	if (w->signals < 0)
		quit(2);
}

static void watch(const struct waiter *w, int fd, uint32_t events, uint64_t source)
{
	struct epoll_event event = { .events = events, .data = source };
	if (SYS(__NR_epoll_ctl, w->epoll, EPOLL_CTL_ADD, fd, &event) < 0)
		quit(2);
}

static void set_up(struct waiter *w)
{
	w->table = map_table();
	const struct entry *child = table_find(w->table, ENTRY_CHILD, NULL);
	int null = fd_of(w, ENTRY_NULL_DEVICE);
	w->directory = fd_of(w, ENTRY_DIRECTORY);
	w->memory = fd_of(w, ENTRY_MEMORY);
	w->memory_above = fd_of(w, ENTRY_ABOVE);
	if (!child || !child->number || child->number > 0x7fffffff || w->directory < 0 || null < 0)
		quit(2);
	w->pid = (int)child->number;
	SYS(__NR_close_range, FD_LIMIT, ~0u, 0);
	SYS(__NR_prctl, PR_SET_NAME, "stele-waiter");
	SYS(__NR_prctl, PR_SET_DUMPABLE, 0);
	SYS(__NR_prctl, PR_SET_PDEATHSIG, 0);
	SYS(__NR_chdir, "/");
	SYS(__NR_umask, 077);
	for (int fd = 0; fd < 3; fd++)
		SYS(__NR_dup3, null, fd, 0);
	SYS(__NR_close, null);
	take_signals(w);
	w->epoll = (int)SYS(__NR_epoll_create1, EPOLL_CLOEXEC_);
	watch(w, w->signals, EPOLLIN, SOURCE_SIGNALS);
	if (w->memory_above >= 0) {
		read_memory(w); /* from here on its count is known */
		watch(w, w->memory_above, EPOLLPRI, SOURCE_MEMORY);
	}
	open_log(&w->log, w->table, w->directory);
	open_output(w);
	for (int i = 0; i < STREAMS; i++)
		if (w->streams[i].fd >= 0)
			watch(w, w->streams[i].fd, EPOLLIN, SOURCE_OUTPUT + (uint64_t)i);
}

/* --- what happens --- */

static void reap(struct waiter *w)
{
	for (;;) {
		int status;
		long pid = SYS(__NR_wait4, -1, &status, WNOHANG, NULL);
		if (pid == -EINTR)
			continue;
		if (pid == -ECHILD && !w->ended)
			quit(3); /* it never was our child */
		if (pid <= 0)
			return;
		if (pid == w->pid) {
			w->ended = 1;
			w->status = status;
		}
	}
}

static void read_signals(struct waiter *w)
{
	struct {
		uint32_t number;
		char rest[124];
	} one;
	while (SYS(__NR_read, w->signals, &one, sizeof(one)) == (long)sizeof(one))
		if (one.number == SIGTERM && !w->leave_at)
			w->leave_at = now_ms() + LEAVE_AFTER;
	reap(w);
}

/* memory.events is left alone for a while after a change, and for good once the container's cgroup is removed. */
static void memory_changed(struct waiter *w)
{
	SYS(__NR_epoll_ctl, w->epoll, EPOLL_CTL_DEL, w->memory_above, NULL);
	if (read_memory(w))
		w->watch_at = now_ms() + WATCH_PAUSE;
}

/* How long to wait for an event, in ms; -1: for ever. */
static int patience(const struct waiter *w)
{
	int64_t at = w->leave_at;
	if (w->watch_at && (!at || w->watch_at < at))
		at = w->watch_at;
	if (!at)
		return -1;
	int64_t left = at - now_ms();
	return left > 0 ? (int)left : 0;
}

static void wait_for_event(struct waiter *w)
{
	struct epoll_event event;
	long n = SYS(__NR_epoll_pwait, w->epoll, &event, 1, patience(w), NULL, 8);
	if (n > 0 && event.data == SOURCE_SIGNALS)
		read_signals(w);
	if (n > 0 && event.data == SOURCE_MEMORY)
		memory_changed(w);
	if (n > 0 && event.data >= SOURCE_OUTPUT)
		read_output(w,
			    &w->streams[event.data - SOURCE_OUTPUT]); /* closed at its end, it leaves the epoll set */
	int64_t now = now_ms();
	if (w->watch_at && now >= w->watch_at) {
		w->watch_at = 0;
		watch(w, w->memory_above, EPOLLPRI, SOURCE_MEMORY);
	}
	if (w->leave_at && now >= w->leave_at)
		quit(0);
}

/* The starter may go once its waiter can no longer fail. */
static void be_ready(const struct waiter *w)
{
	int starter = fd_of(w, ENTRY_STARTER);
	SYS(__NR_flock, w->directory, LOCK_UN_);
	SYS(__NR_write, starter, "R", 1);
	SYS(__NR_close, starter);
}

__attribute__((noreturn)) void waiter_main(void);

__attribute__((used)) void waiter_main(void)
{
	static struct waiter w;
	set_up(&w);
	reap(&w); /* it may have ended before we began */
	be_ready(&w);
	while (!w.ended)
		wait_for_event(&w);
	read_memory(&w);
	drain_output(&w);
	quit(write_record(&w) < 0);
}

#if defined(__x86_64__)
__asm__(".globl _start\n_start:\n\txor %ebp, %ebp\n\tand $-16, %rsp\n\tcall waiter_main\n\thlt\n");
#else
__asm__(".globl _start\n_start:\n\tmov x29, #0\n\tbl waiter_main\n\tbrk #0\n");
#endif
