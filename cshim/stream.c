#include "stream.h"

#include "confined.h"
#include "sha256.h"

#include <errno.h>
#include <lzma.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <zlib.h>
#include <zstd.h>
#include <zstd_errors.h>

#define INPUT (256U << 10)
#define PIECE (512U << 10)
#define PIECES 4U
#define RATIO_FREE (64ULL << 20)

#define WINDOW_MAX (128ULL << 20) /* zstd's default limit, and twice that of xz -9 */

enum kind { PLAIN, GZIP, ZSTD, XZ };

struct stele_stream {
	/* the reading thread's */
	int fd;
	enum kind kind;
	uint64_t read, given, most, ratio;
	bool zeros;       /* after the last gzip member */
	bool open, begun; /* open: inside a gzip member, zstd frame or xz stream; begun: at least one has begun */
	size_t in_at, in_held;
	z_stream inflate;
	ZSTD_DCtx *zstd;
	lzma_stream xz;
	/* the consumer's */
	struct stele_sha256 hash;
	size_t at;   /* of the oldest piece */
	bool peeked; /* it has been hashed */
	/* shared, under the lock */
	pthread_t thread;
	pthread_mutex_t lock;
	pthread_cond_t changed;
	unsigned first, count; /* full pieces */
	int end;               /* 1: the end was reached; -errno: it failed */
	bool stop;
	size_t held[PIECES];
	uint8_t input[INPUT];
	uint8_t piece[PIECES][PIECE];
};

/* Read more input: 1, 0 at the end, or -errno. */
static int refill(struct stele_stream *s)
{
	if (s->in_at < s->in_held)
		return 1;
	ssize_t n;
	do
		n = pread(s->fd, s->input, INPUT, (off_t)s->read);
	while (n < 0 && errno == EINTR);
	if (n <= 0)
		return n < 0 ? -errno : 0;
	s->read += (uint64_t)n;
	s->in_at = 0;
	s->in_held = (size_t)n;
	return 1;
}

/* Each decoder consumes input and produces output as far as it can: returns the bytes produced, or -errno if the
 * data is damaged. */
static int64_t step_gzip(struct stele_stream *s, uint8_t *out, size_t room)
{
	if (!s->open && s->begun) {
		/* Zeros that pad a tape's or disk's block are not a member. */
		for (; s->in_at < s->in_held && s->input[s->in_at] == 0; s->in_at++)
			s->zeros = true;
		if (s->in_at == s->in_held)
			return 0;
		if (s->zeros || inflateReset(&s->inflate) != Z_OK)
			return -EBADMSG;
	}
	s->inflate.next_in = s->input + s->in_at;
	s->inflate.avail_in = (uInt)(s->in_held - s->in_at);
	s->inflate.next_out = out;
	s->inflate.avail_out = (uInt)room;
	s->open = s->begun = true;
	int result = inflate(&s->inflate, Z_NO_FLUSH);
	s->in_at = s->in_held - s->inflate.avail_in;
	if (result == Z_STREAM_END)
		s->open = false;
	else if (result != Z_OK && result != Z_BUF_ERROR)
		return result == Z_MEM_ERROR ? -ENOMEM : -EBADMSG;
	return (int64_t)(room - s->inflate.avail_out);
}

static int64_t step_zstd(struct stele_stream *s, uint8_t *out, size_t room)
{
	ZSTD_inBuffer in = { .src = s->input, .size = s->in_held, .pos = s->in_at };
	ZSTD_outBuffer to = { .dst = out, .size = room, .pos = 0 };
	size_t result = ZSTD_decompressStream(s->zstd, &to, &in);
	if (ZSTD_isError(result))
		return ZSTD_getErrorCode(result) == ZSTD_error_frameParameter_windowTooLarge ? -EPROTONOSUPPORT
											     : -EBADMSG;
	s->begun = true;
	s->open = result != 0;
	s->in_at = in.pos;
	return (int64_t)to.pos;
}

/* Its own checks are left out: a SHA-256 is asked of all that comes out. And liblzma asks the processor at the start of the
   process how to reckon them, which a snapshot of that process must not keep. */
static int64_t step_xz(struct stele_stream *s, uint8_t *out, size_t room)
{
	if (!s->open && lzma_stream_decoder(&s->xz, WINDOW_MAX, LZMA_IGNORE_CHECK) != LZMA_OK)
		return -ENOMEM;
	s->xz.next_in = s->input + s->in_at;
	s->xz.avail_in = s->in_held - s->in_at;
	s->xz.next_out = out;
	s->xz.avail_out = room;
	s->open = s->begun = true;
	lzma_ret result = lzma_code(&s->xz, LZMA_RUN);
	s->in_at = s->in_held - s->xz.avail_in;
	if (result == LZMA_STREAM_END)
		s->open = false;
	else if (result == LZMA_MEMLIMIT_ERROR)
		return -EPROTONOSUPPORT;
	else if (result != LZMA_OK && result != LZMA_BUF_ERROR)
		return result == LZMA_MEM_ERROR ? -ENOMEM : -EBADMSG;
	return (int64_t)(room - s->xz.avail_out);
}

static int64_t step_plain(struct stele_stream *s, uint8_t *out, size_t room)
{
	size_t n = s->in_held - s->in_at < room ? s->in_held - s->in_at : room;
	memcpy(out, s->input + s->in_at, n);
	s->in_at += n;
	return (int64_t)n;
}

/* Fill a piece. Returns its bytes, fewer than PIECE only at the end, or -errno. */
static int64_t fill(struct stele_stream *s, uint8_t *out)
{
	size_t held = 0;
	while (held < PIECE) {
		int more = refill(s);
		if (more < 0)
			return more;
		/* At the end of input the decoder may still hold output that did not fit. */
		if (!more && !s->open)
			break;
		size_t in_before = s->in_at;
		int64_t n = s->kind == GZIP   ? step_gzip(s, out + held, PIECE - held)
			    : s->kind == ZSTD ? step_zstd(s, out + held, PIECE - held)
			    : s->kind == XZ   ? step_xz(s, out + held, PIECE - held)
					      : step_plain(s, out + held, PIECE - held);
		if (n < 0)
			return n;
		if (!more && n == 0 && s->in_at == in_before && s->open)
			return -ENODATA;
		held += (size_t)n;
	}
	s->given += held;
	if (s->given > s->most)
		return -EFBIG;
	if (s->given > RATIO_FREE && s->given / s->ratio > s->read)
		return -EOVERFLOW;
	return (int64_t)held;
}

static void *read_ahead(void *context)
{
	struct stele_stream *s = context;
	pthread_mutex_lock(&s->lock);
	while (!s->end) {
		while (s->count == PIECES && !s->stop)
			pthread_cond_wait(&s->changed, &s->lock);
		if (s->stop)
			break;
		unsigned next = (s->first + s->count) % PIECES;
		pthread_mutex_unlock(&s->lock);
		int64_t n = fill(s, s->piece[next]);
		pthread_mutex_lock(&s->lock);
		s->held[next] = n > 0 ? (size_t)n : 0;
		s->count += n > 0;
		if (n < (int64_t)PIECE)
			s->end = n < 0 ? (int)n : 1;
		pthread_cond_signal(&s->changed);
	}
	pthread_mutex_unlock(&s->lock);
	return NULL;
}

static bool begins(const struct stele_stream *s, const char *magic, size_t size)
{
	return s->in_held >= size && memcmp(s->input, magic, size) == 0;
}

/* 0, or an errno. */
static int find_kind(struct stele_stream *s, bool xz)
{
	if (refill(s) < 0)
		return errno;
	if (begins(s, "\x1f\x8b", 2)) {
		s->kind = GZIP;
		return inflateInit2(&s->inflate, 15 + 16) == Z_OK ? 0 : ENOMEM; /* 16: gzip only */
	}
	/* A frame or a skippable frame: RFC 8878, 3.1. */
	if (begins(s, "\x28\xb5\x2f\xfd", 4) ||
	    (s->in_held >= 4 && (s->input[0] & 0xf0) == 0x50 && memcmp(s->input + 1, "\x2a\x4d\x18", 3) == 0)) {
		s->kind = ZSTD;
		return (s->zstd = ZSTD_createDCtx()) ? 0 : ENOMEM;
	}
	if (begins(s,
		   "\xfd"
		   "7zXZ",
		   5)) {
		s->kind = XZ;
		return xz ? 0 : EPROTONOSUPPORT;
	}
	if (begins(s, "BZh", 3))
		return EPROTONOSUPPORT;
	return 0;
}

struct stele_stream *stele_stream_open(int fd, uint64_t most, uint64_t ratio, int xz)
{
	struct stele_stream *s = malloc(sizeof(*s));
	if (!s)
		return NULL;
	memset(s, 0, offsetof(struct stele_stream, input));
	s->fd = fd;
	s->most = most;
	s->ratio = ratio;
	stele_sha256_init(&s->hash);
	pthread_mutex_init(&s->lock, NULL);
	pthread_cond_init(&s->changed, NULL);
	int error = find_kind(s, xz);
	if (!error)
		error = pthread_create(&s->thread, NULL, read_ahead, s);
	if (!error)
		return s;
	s->end = 1; /* there is no thread */
	s->stop = true;
	stele_stream_close(s);
	errno = error;
	return NULL;
}

int64_t stele_stream_peek(struct stele_stream *s, const uint8_t **ret_at)
{
	pthread_mutex_lock(&s->lock);
	if (s->count && s->at == s->held[s->first]) {
		s->first = (s->first + 1) % PIECES;
		s->count--;
		s->at = 0;
		s->peeked = false;
		pthread_cond_signal(&s->changed);
	}
	while (!s->count && !s->end)
		pthread_cond_wait(&s->changed, &s->lock);
	int64_t n = s->count ? (int64_t)(s->held[s->first] - s->at) : s->end < 0 ? s->end : 0;
	pthread_mutex_unlock(&s->lock);
	if (n > 0) {
		*ret_at = s->piece[s->first] + s->at;
		if (!s->peeked)
			stele_sha256_update(&s->hash, *ret_at, (size_t)n);
		s->peeked = true;
	}
	return n;
}

void stele_stream_skip(struct stele_stream *s, size_t size)
{
	s->at += size;
}

void stele_stream_digest(const struct stele_stream *s, uint8_t ret_digest[32])
{
	stele_sha256_digest(&s->hash, ret_digest);
}

void stele_stream_close(struct stele_stream *s)
{
	pthread_mutex_lock(&s->lock);
	bool thread = !s->stop;
	s->stop = true;
	pthread_cond_signal(&s->changed);
	pthread_mutex_unlock(&s->lock);
	if (thread)
		pthread_join(s->thread, NULL);
	if (s->kind == GZIP)
		inflateEnd(&s->inflate);
	ZSTD_freeDCtx(s->zstd);
	lzma_end(&s->xz);
	pthread_mutex_destroy(&s->lock);
	pthread_cond_destroy(&s->changed);
	free(s);
}

/* ---- as a child ---- */

struct wanted {
	uint64_t most, ratio;
};

static int write_out(void *context)
{
	const struct wanted *w = context;
	struct stele_stream *s = stele_stream_open(CONFINED_INPUT, w->most, w->ratio, 1);
	if (!s)
		return -errno;
	const uint8_t *at;
	int64_t n;
	while ((n = stele_stream_peek(s, &at)) > 0) {
		ssize_t written = write(CONFINED_OUTPUT, at, (size_t)n);
		if (written < 0)
			return -errno;
		stele_stream_skip(s, (size_t)written);
	}
	return (int)n;
}

int stele_stream_start(int fd, uint64_t most, uint64_t ratio, int pipe)
{
	struct wanted wanted = { most, ratio };
	const struct confined c = {
		.input = fd, .directory = -1, .output = pipe, .work = write_out, .context = &wanted
	};
	return confined_start(&c);
}

int stele_stream_end(int pid, int kill_it, char ret_problem[200])
{
	if (kill_it)
		kill(pid, SIGKILL);
	return confined_reap(pid, ret_problem, 200);
}
