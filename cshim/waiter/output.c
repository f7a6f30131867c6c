/* The container's output: read as it comes, cut into lines, and given to the log. Reading never blocks, and what cannot be
 * logged is dropped: the container must not wait for us longer than for one write to a file. */
#include "waiter.h"

#include <linux/errno.h>
#include <linux/fcntl.h>

#define DRAIN_MAX 256 /* reads at the end: more than a pipe holds, but no more than that of who goes on writing */

void open_output(struct waiter *w)
{
	const struct entry *e = NULL;
	for (int i = 0; i < STREAMS; i++) {
		w->streams[i].fd = -1;
		e = i && !e ? NULL : table_find(w->table, ENTRY_OUTPUT, e);
		if (!e)
			continue;
		w->streams[i].fd = e->fd;
		w->streams[i].number = e->number == 2 ? 2 : 1;
		SYS(__NR_fcntl, e->fd, F_SETFL, SYS(__NR_fcntl, e->fd, F_GETFL) | O_NONBLOCK);
	}
}

/* fresh: where what was read last begins; no line ends before it, so a writer of single bytes costs no more. */
static void log_lines(struct waiter *w, struct stream *s, uint32_t fresh)
{
	uint32_t begin = 0;
	for (uint32_t at = fresh; at < s->used; at++)
		if (s->line[at] == '\n') {
			log_line(&w->log, s->number, s->line + begin, at - begin, 1);
			begin = at + 1;
		}
	if (!begin && s->used == LINE_MAX) {
		log_line(&w->log, s->number, s->line, s->used, 0);
		begin = s->used;
	}
	for (uint32_t at = begin; begin && at < s->used; at++) /* the beginning of a line stays for the next time */
		s->line[at - begin] = s->line[at];
	s->used -= begin;
}

static void end_output(struct waiter *w, struct stream *s)
{
	if (s->used)
		log_line(&w->log, s->number, s->line, s->used, 0);
	SYS(__NR_close, s->fd);
	s->fd = -1;
	s->used = 0;
}

/* Read once. A terminal's master says EIO when its last slave is closed; then another may be opened later. */
static int read_once(struct waiter *w, struct stream *s)
{
	long n = SYS(__NR_read, s->fd, s->line + s->used, LINE_MAX - s->used);
	if (n > 0) {
		uint32_t fresh = s->used;
		s->used += (uint32_t)n;
		log_lines(w, s, fresh);
		return 1;
	}
	if (n != -EAGAIN && n != -EINTR)
		end_output(w, s);
	return n == -EINTR;
}

void read_output(struct waiter *w, struct stream *s)
{
	if (s->fd >= 0)
		read_once(w, s);
	flush_log(&w->log);
}

/* The container has ended: what it wrote before is still in the pipes. */
void drain_output(struct waiter *w)
{
	for (int i = 0; i < STREAMS; i++) {
		struct stream *s = &w->streams[i];
		for (int more = DRAIN_MAX; s->fd >= 0 && more && read_once(w, s); more--)
			;
		if (s->fd >= 0)
			end_output(w, s);
	}
	flush_log(&w->log);
}
