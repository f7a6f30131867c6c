/* The bytes of a file as they were before gzip, zstd or xz packed them, and their SHA-256. A thread of its own reads and
 * unpacks ahead, so that one layer keeps two processors busy. Used by tar.c; bound by cffi for packed archives. */
#ifndef STELE_STREAM_H
#define STELE_STREAM_H

#include <stddef.h>
#include <stdint.h>

/* cdef: begin */
struct stele_stream;

/* Read `fd` from its start with pread(2); the fd stays the caller's. What it is packed with is told by its first bytes;
 * xz is taken only if `xz` is not 0: users' own archives may be packed by it, no registry's layer is.
 * At most `most` bytes are given, and `ratio` times what was read once that is more than 64 MiB.
 * NULL with errno: EPROTONOSUPPORT for a packer that is not known here. */
struct stele_stream *stele_stream_open(int fd, uint64_t most, uint64_t ratio, int xz);

/* What is next: at least 1 byte, 0 at the end, or -errno. -EBADMSG: damaged. -ENODATA: it ends too early.
 * -EFBIG: more than `most`. -EOVERFLOW: packed tighter than `ratio`. -EPROTONOSUPPORT: with too large a window. */
int64_t stele_stream_peek(struct stele_stream *s, const uint8_t **ret_at);

/* Go on behind `size` of the bytes that were peeked at. */
void stele_stream_skip(struct stele_stream *s, size_t size);

void stele_stream_close(struct stele_stream *s);

/* As above, with the bytes written to a pipe by a child that can do nothing else (confined.h): its pid, or -errno.
 * The caller closes its own copy of the pipe's writing end. */
int stele_stream_start(int fd, uint64_t most, uint64_t ratio, int pipe);

/* Reap that child, killed first if `kill_it` is not 0: 0, or -errno, with a sentence in `ret_problem` if the child died. */
int stele_stream_end(int pid, int kill_it, char ret_problem[200]);
/* cdef: end */

/* Of what was peeked at so far: all, once there was the end. */
void stele_stream_digest(const struct stele_stream *s, uint8_t ret_digest[32]);

#endif
