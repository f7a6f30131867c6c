/* Two kinds of log: a file in the state directory, in the format of the Kubernetes CRI ("TIME STREAM F|P TEXT", P for a part
 * of a line), which is replaced when it is full; and journald, by its native protocol, a datagram for each line. */
#include "waiter.h"

#include <linux/errno.h>
#include <linux/fcntl.h>

#define HEAD_MAX 64
#define MSG_FLAGS 0x4040 /* MSG_DONTWAIT | MSG_NOSIGNAL */
#define POLLOUT_ 4
#define AF_UNIX_ 1
#define JOURNAL_TRIES 10
#define JOURNAL_PAUSE 100000000 /* ns */
#define FILES_MAX 99

/* --- the file --- */

/* The name of the nth file: the current one is 0, "log", the one before it "log.1". */
static const char *name_of(const struct log *log, char *room, size_t size, uint64_t n)
{
	char *to = append(room, room + size, log->file->text);
	if (n)
		to = append_number(append(to, room + size, "."), room + size, n);
	return to ? room : "log";
}

static void open_file(struct log *log, int flags)
{
	log->fd = (int)SYS(__NR_openat, log->directory, log->file->text,
			   O_WRONLY | O_CREAT | O_APPEND | O_NOFOLLOW | O_CLOEXEC | flags, 0600);
	log->size = 0;
}

/* Rename each file to the next number; the last one is replaced. */
static void rotate(struct log *log)
{
	char from[64], to[64];
	SYS(__NR_close, log->fd);
	for (uint64_t n = log->files - 1; n > 0; n--)
		SYS(__NR_renameat2, log->directory, name_of(log, from, sizeof(from), n - 1), log->directory,
		    name_of(log, to, sizeof(to), n), 0);
	open_file(log, O_TRUNC);
}

void open_log(struct log *log, const void *table, int directory)
{
	const struct entry *files = table_find(table, ENTRY_LOG_FILES, NULL);
	log->file = table_find(table, ENTRY_LOG, NULL);
	log->journal = table_find(table, ENTRY_JOURNAL, NULL);
	log->fields = table_find(table, ENTRY_FIELDS, NULL);
	log->files = files && files->number && files->number <= FILES_MAX ? files->number : 1;
	log->directory = directory;
	log->fd = -1;
	if (log->file)
		open_file(log, 0);
}

/* A full disk costs the lines that come meanwhile, not the container. */
static void write_file(struct log *log)
{
	if (log->size && log->size + log->used > log->file->number)
		rotate(log);
	else if (log->fd < 0)
		open_file(log, 0);
	if (log->fd < 0 || write_all(log->fd, log->lines, log->used) < 0)
		log->lost += log->used;
	else
		log->size += log->used;
}

static void add_line(struct log *log, int stream, const char *text, uint32_t length, int whole)
{
	if (log->used + HEAD_MAX + length + 1 > sizeof(log->lines))
		flush_log(log);
	const char *end = log->lines + sizeof(log->lines);
	char *to = append_now(log->lines + log->used, end);
	to = append(to, end, stream == 2 ? " stderr " : " stdout ");
	to = append(to, end, whole ? "F " : "P ");
	memcpy(to, text, length);
	to[length] = '\n';
	log->used = (uint32_t)(to - log->lines) + length + 1;
}

/* --- the journal --- */

struct iov {
	const void *base;
	size_t length;
};
struct message {
	const void *name;
	uint32_t name_length;
	const struct iov *iov;
	size_t n_iov;
	const void *control;
	size_t control_length;
	int flags;
};
struct address {
	uint16_t family;
	char path[108];
};

static void send_line(struct log *log, int stream, const char *text, uint32_t length, int whole)
{
	const char *fields = log->fields ? log->fields->text : "";
	const char *kind = stream == 2 ? "PRIORITY=3\n" : "PRIORITY=6\n",
		   *part = whole ? "" : "CONTAINER_PARTIAL_MESSAGE=true\n";
	static const char key[] = "MESSAGE\n"; /* its length and bytes follow: it may hold anything */
	uint64_t size = length;
	const struct iov iov[] = { { fields, strlen(fields) },
				   { kind, strlen(kind) },
				   { part, strlen(part) },
				   { key, sizeof(key) - 1 },
				   { &size, sizeof(size) },
				   { text, length },
				   { "\n", 1 } };
	struct address to = { .family = AF_UNIX_ };
	char *path = append(to.path, to.path + sizeof(to.path), log->journal->text);
	const struct message m = {
		.name = &to, .name_length = sizeof(to), .iov = iov, .n_iov = sizeof(iov) / sizeof(*iov)
	};
	for (int tries = JOURNAL_TRIES; path && tries; tries--) {
		long n = SYS(__NR_sendmsg, log->journal->fd, &m, MSG_FLAGS);
		if (n >= 0)
			return;
		if (n != -EAGAIN && n != -EINTR)
			break; /* nobody listens: journald is being restarted, or is not there */
		struct {
			int fd;
			int16_t events, returned;
		} one = { log->journal->fd, POLLOUT_, 0 };
		const struct {
			int64_t seconds, nanoseconds;
		} pause = { 0, JOURNAL_PAUSE };
		SYS(__NR_ppoll, &one, 1, &pause, NULL, 8);
	}
	log->lost += length;
}

/* --- both --- */

static void keep(struct log *log, int stream, const char *text, uint32_t length, int whole)
{
	if (log->file)
		add_line(log, stream, text, length, whole);
	else if (log->journal)
		send_line(log, stream, text, length, whole);
}

void log_line(struct log *log, int stream, const char *text, uint32_t length, int whole)
{
	char notice[96];
	const char *end = notice + sizeof(notice);
	uint64_t lost = log->lost;
	if (lost) { /* told once the log takes something again; if it does not, the notice itself counts as lost */
		char *to = append_number(append(notice, end, "stele: "), end, lost);
		log->lost = 0;
		append(to, end, " bytes of output could not be logged");
		keep(log, 2, notice, (uint32_t)strlen(notice), 1);
		if (log->lost)
			log->lost = lost;
	}
	keep(log, stream, text, length, whole);
}

void flush_log(struct log *log)
{
	if (!log->used)
		return;
	write_file(log);
	log->used = 0;
}
