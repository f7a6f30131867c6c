/* The record of the end: JSON with the fields of runtime.container.state.ExitInfo, written as a whole or not at all. */
#include "waiter.h"

#include <linux/errno.h>
#include <linux/fcntl.h>
#include <linux/time.h>

#define RECORD "exit"
#define FRESH ".exit.new" /* as runtime.host.files.temporary */

static char *append_digits(char *to, const char *end, uint64_t n, int digits)
{
	char text[24];
	if (!to)
		return NULL;
	text[digits] = '\0';
	while (digits--) {
		text[digits] = (char)('0' + n % 10);
		n /= 10;
	}
	return append(to, end, text);
}

/* RFC 3339 in UTC. Years are counted from March, so that the leap day is the last of its year; 400 years have 146097 days. */
static char *append_time(char *to, const char *end, uint64_t seconds, uint64_t nanoseconds)
{
	uint64_t days = seconds / 86400 + 719468, second = seconds % 86400; /* since 0000-03-01 */
	uint64_t era = days / 146097, day = days % 146097;
	uint64_t year = (day - day / 1460 + day / 36524 - day / 146096) / 365;
	day -= 365 * year + year / 4 - year / 100;
	uint64_t month = (5 * day + 2) / 153; /* 0 is March */
	day -= (153 * month + 2) / 5;
	const struct {
		uint64_t n;
		int digits;
		const char *then;
	} parts[] = {
		{ era * 400 + year + (month >= 10), 4, "-" },
		{ month < 10 ? month + 3 : month - 9, 2, "-" },
		{ day + 1, 2, "T" },
		{ second / 3600, 2, ":" },
		{ second / 60 % 60, 2, ":" },
		{ second % 60, 2, "." },
		{ nanoseconds, 9, "Z" },
	};
	for (size_t i = 0; i < sizeof(parts) / sizeof(*parts); i++)
		to = append(append_digits(to, end, parts[i].n, parts[i].digits), end, parts[i].then);
	return to;
}

char *append_now(char *to, const char *end)
{
	struct {
		int64_t seconds, nanoseconds;
	} now;
	SYS(__NR_clock_gettime, CLOCK_REALTIME, &now);
	return append_time(to, end, (uint64_t)now.seconds, (uint64_t)now.nanoseconds);
}

long write_all(int fd, const char *text, size_t length)
{
	while (length) {
		long n = SYS(__NR_write, fd, text, length);
		if (n == -EINTR)
			continue;
		if (n < 0)
			return n;
		text += n;
		length -= (size_t)n;
	}
	return 0;
}

/* 0, or -1 if the directory is gone, as the container is then, or cannot be written. */
int write_record(const struct waiter *w)
{
	char text[256];
	const char *end = text + sizeof(text);
	int number = w->status & 0x7f, code = number ? 128 + number : w->status >> 8 & 0xff;
	char *to = append(text, end, "{\"status\": ");
	to = append(append_number(to, end, (uint64_t)code), end, ", \"signal\": ");
	to = append(append_number(to, end, (uint64_t)number), end, ", \"oom\": ");
	to = append(append(to, end, w->oom_kills ? "true" : "false"), end, ", \"time\": \"");
	to = append(append_now(to, end), end, "\"}\n");
	if (!to)
		return -1;
	SYS(__NR_unlinkat, w->directory, FRESH, 0);
	long fd = SYS(__NR_openat, w->directory, FRESH, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd < 0)
		return -1;
	long written = write_all((int)fd, text, (size_t)(to - text));
	if (!written)
		written = SYS(__NR_fsync, fd);
	SYS(__NR_close, fd);
	if (!written)
		written = SYS(__NR_renameat2, w->directory, FRESH, w->directory, RECORD, 0);
	if (written)
		SYS(__NR_unlinkat, w->directory, FRESH, 0);
	else
		SYS(__NR_fsync, w->directory);
	return written ? -1 : 0;
}
