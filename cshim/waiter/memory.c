/* How often the OOM killer struck in the container's cgroup.
 *
 * systemd removes a scope's cgroup as soon as it is empty, maybe before we have read it a last time. The counts of the
 * cgroup above include it and stay: what they gained since we last could read the container's own is the container's, but
 * for what happened to others in between. We look at both at each change, so that this is some milliseconds. */
#include "waiter.h"

#define KEY "oom_kill "

/* 0 if there is nothing to read, as after the cgroup was removed. */
static int read_kills(int fd, uint64_t *ret_kills)
{
	char text[512];
	long n = fd < 0 ? -1 : SYS(__NR_pread64, fd, text, sizeof(text) - 1, 0);
	if (n <= 0)
		return 0;
	text[n] = '\0';
	for (const char *line = text; *line;) {
		const char *stop = line;
		while (*stop && *stop != '\n')
			stop++;
		if (starts_with(line, KEY) && parse_number(line + sizeof(KEY) - 1, stop, ret_kills))
			return 1;
		line = *stop ? stop + 1 : stop;
	}
	return 0;
}

/* Returns 0 if the container's cgroup is gone. */
int read_memory(struct waiter *w)
{
	uint64_t above = w->kills_above, own;
	read_kills(w->memory_above, &above); /* first: what happens until we read the other is in both */
	if (read_kills(w->memory, &own)) {
		w->oom_kills = own;
		w->kills_above = above;
		return 1;
	}
	if (above > w->kills_above && !w->oom_kills)
		w->oom_kills = above - w->kills_above;
	return 0;
}
