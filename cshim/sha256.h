/* SHA-256 (FIPS 180-4) of streams, using the processor's SHA instructions if it has them. Every byte of an image is
 * hashed twice; with Python's portable code that would take most of the time. Bound by cffi
 * (runtime/host/hashing.py). */
#ifndef STELE_SHA256_H
#define STELE_SHA256_H

#include <stddef.h>
#include <stdint.h>

/* cdef: begin */
struct stele_sha256 {
	uint32_t state[8];
	uint64_t length;     /* bytes so far */
	int fast;            /* the processor has the instructions */
	uint8_t pending[64]; /* length % 64 of them */
};

void stele_sha256_init(struct stele_sha256 *h);
void stele_sha256_update(struct stele_sha256 *h, const void *data, size_t size);

/* The digest of all bytes so far; h may be updated further. */
void stele_sha256_digest(const struct stele_sha256 *h, uint8_t ret_digest[32]);
/* cdef: end */

#endif
