/* The bytes of a file after decompression (gzip, zstd, xz), and their SHA-256. A thread reads and decompresses
 * ahead, so that one layer uses two processors. Used by tar.c; bound by cffi for compressed archives. */
#ifndef STELE_STREAM_H
#define STELE_STREAM_H

#include <stddef.h>
#include <stdint.h>

/* cdef: begin */
struct stele_stream;

/* Read `fd` from its start with pread(2); the fd stays the caller's. Its first bytes say how it is compressed;
 * xz is accepted only if `xz` is not 0: users' own archives may use it, but no registry's layer does.
 * It yields at most `most` bytes, and `ratio` times what was read once that is more than 64 MiB.
 * NULL with errno: EPROTONOSUPPORT if the compression is unknown. */
struct stele_stream *stele_stream_open(int fd, uint64_t most, uint64_t ratio, int xz);

/* The next bytes: at least 1, 0 at the end, or -errno. -EBADMSG: damaged. -ENODATA: truncated. -EFBIG: more than
 * `most`. -EOVERFLOW: compressed more than `ratio`. -EPROTONOSUPPORT: the window is too large. */
int64_t stele_stream_peek(struct stele_stream *s, const uint8_t **ret_at);

/* Skip `size` of the bytes peeked at. */
void stele_stream_skip(struct stele_stream *s, size_t size);

void stele_stream_close(struct stele_stream *s);

/* The same, in a child that can do nothing else (confined.h) and writes the bytes to a pipe. Returns its pid or
 * -errno. The caller closes its own copy of the pipe's write end. */
int stele_stream_start(int fd, uint64_t most, uint64_t ratio, int pipe);

/* Reap that child, after killing it if `kill_it` is not 0: 0, or -errno, with a sentence in `ret_problem` if the
 * child died. */
int stele_stream_end(int pid, int kill_it, char ret_problem[200]);
/* cdef: end */

/* The digest of the bytes peeked at so far; of all bytes after the end. */
void stele_stream_digest(const struct stele_stream *s, uint8_t ret_digest[32]);

#endif
