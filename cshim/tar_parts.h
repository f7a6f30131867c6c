/* Shared by tar.c, tar_pax.c, tar_sparse.c and tar_fields.c; each uses only those after it. */
#ifndef STELE_TAR_PARTS_H
#define STELE_TAR_PARTS_H

#include "tar.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define BLOCK 512U
#define UNSET INT64_MIN
#define DELETED (INT64_MIN + 1) /* by a PAX record without a value: not even the global header's counts */

/* Fields that a PAX record can set once; for all entries if it is in a global header. */
struct numbers {
	int64_t uid, gid, mtime;
	uint32_t mtime_ns;
};

enum seen {
	PATH = 1,
	LINK = 2,
	SIZE = 4,
	UID = 8,
	GID = 16,
	MTIME = 32,
	SPARSE_NAME = 64,
	SPARSE_SIZE = 128,
	SPARSE_MAP = 256,
	SPARSE_MAJOR = 512,
	SPARSE_MINOR = 1024,
	SPARSE = SPARSE_NAME | SPARSE_SIZE | SPARSE_MAP | SPARSE_MAJOR | SPARSE_MINOR,
};

struct stele_tar {
	struct stele_stream *stream;
	struct stele_tar_limits limits;
	struct stele_entry entry;
	struct numbers global, local;
	unsigned seen; /* of enum seen, in the headers before the entry */
	int64_t size;  /* PAX */
	uint64_t sparse_size, sparse_major, sparse_minor, sparse_sum;
	bool sparse_half;          /* an offset was read, its size not yet */
	bool long_name, long_link; /* GNU */
	bool entries;              /* at least one was read */
	bool pax;                  /* a PAX header was read, for any entry */
	int64_t linked;            /* size of the last entry if that was a hard link: its data may follow or not */
	char *records;             /* of the local PAX header; xattrs point into it */
	char *text;                /* of other headers */
	struct stele_region *regions;
	uint32_t regions_room;
	uint64_t left, padding; /* of the entry's data */
	uint64_t taken;         /* of the bytes peeked at */
	char problem[200];
};

/* Describe what is wrong with the archive. Returns -EBADMSG. */
__attribute__((format(printf, 2, 3))) int tar_bad(struct stele_tar *t, const char *words, ...);

/* The next bytes: 1; 0 if the archive ends before the first of them; or -errno. */
int tar_take(struct stele_tar *t, void *ret_data, size_t size);

/* All of the next bytes: 1 (also for none), or -errno. */
int tar_take_all(struct stele_tar *t, void *ret_data, size_t size);

/* The padding after data of this size, up to the next block. */
uint64_t tar_padded(uint64_t size);

/* A field of octal digits surrounded by blanks and NULs, or of base 256 if its first bit is set; empty is 0. */
int tar_field(struct stele_tar *t, const uint8_t *at, size_t size, const char *what, int64_t *ret_value);

/* Decimal digits only, below 2^63. */
int tar_decimal(struct stele_tar *t, const char *at, size_t size, const char *what, uint64_t *ret_value);

int tar_copy_path(struct stele_tar *t, char to[STELE_PATH_MAX], const char *at, size_t size, const char *what);

/* The same, if another header may have given it already (`given`): then the two must agree. */
int tar_copy_name(struct stele_tar *t, char to[STELE_PATH_MAX], const char *at, size_t size, bool given,
		  const char *what);

/* All records of a PAX header: "17 path=some/where\n", the length counts itself. They are changed in place: names get
   their NUL. */
int tar_records(struct stele_tar *t, bool global, char *at, size_t size);

/* A region of the entry's sparse map. */
int tar_add_region(struct stele_tar *t, uint64_t offset, uint64_t size);

/* The map of the old GNU format, in the header `block` and in blocks after it. */
int tar_old_sparse(struct stele_tar *t, uint8_t *block);

/* Call after all headers: reads the entry's map if it precedes the data, and checks that it fits. */
int tar_check_sparse(struct stele_tar *t);

#endif
