/* How often the OOM killer struck in the container's cgroup. */
#include "waiter.h"

#define KEY "oom_kill "

/* Keep the highest count seen. Returns 0 if there is nothing to read, as after the cgroup was removed. */
int read_memory(struct waiter *w)
{
	char text[512];
	long n = w->memory < 0 ? -1 : SYS(__NR_pread64, w->memory, text, sizeof(text) - 1, 0);
	if (n <= 0)
		return 0;
	text[n] = '\0';
	for (const char *line = text; *line;) {
		const char *stop = line;
		uint64_t kills;
		while (*stop && *stop != '\n')
			stop++;
		if (starts_with(line, KEY) && parse_number(line + sizeof(KEY) - 1, stop, &kills) &&
		    kills > w->oom_kills)
			w->oom_kills = kills;
		line = *stop ? stop + 1 : stop;
	}
	return 1;
}
