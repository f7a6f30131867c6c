/* The bytes of a file as they were before gzip or zstd packed them, and their SHA-256. A thread of its own reads and
 * unpacks ahead, so that one layer keeps two processors busy. Used by tar.c; not for Python. */
#ifndef STELE_STREAM_H
#define STELE_STREAM_H

#include <stddef.h>
#include <stdint.h>

struct stele_stream;

/* Read `fd` from its start with pread(2); the fd stays the caller's. What it is packed with is told by its first bytes.
 * At most `most` bytes are given, and `ratio` times what was read once that is more than 64 MiB.
 * NULL with errno: EPROTONOSUPPORT for a packer that is not known here. */
struct stele_stream *stele_stream_open(int fd, uint64_t most, uint64_t ratio);

/* What is next: at least 1 byte, 0 at the end, or -errno. -EBADMSG: damaged. -ENODATA: it ends too early.
 * -EFBIG: more than `most`. -EOVERFLOW: packed tighter than `ratio`. */
int64_t stele_stream_peek(struct stele_stream *s, const uint8_t **ret_at);

/* Go on behind `size` of the bytes that were peeked at. */
void stele_stream_skip(struct stele_stream *s, size_t size);

/* Of what was peeked at so far: all, once there was the end. */
void stele_stream_digest(const struct stele_stream *s, uint8_t ret_digest[32]);

void stele_stream_close(struct stele_stream *s);

#endif
