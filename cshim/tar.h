/* A reader of tar archives: ustar, GNU and PAX, as one strict reader of all three. Where two readers could see
 * different archives (sizes that disagree, bytes after the end, records for all entries that belong to one), it
 * refuses. Source: POSIX pax, "ustar Interchange Format" and "pax Header Block"; GNU tar's manual, "Basic Tar
 * Format" and "Storing Sparse Files"; tar(5). Bound by cffi for the tests; used by unpack.c. */
#ifndef STELE_TAR_H
#define STELE_TAR_H

#include <stdint.h>

/* cdef: begin */
#define STELE_PATH_MAX 4096
#define STELE_XATTRS_MAX 512

struct stele_xattr {
	const char *name;
	const uint8_t *value;
	uint64_t size;
};

struct stele_region {
	uint64_t offset, size;
};

struct stele_entry {
	int type; /* '0' file, '1' hard link, '2' symlink, '3' char, '4' block, '5' directory, '6' fifo */
	uint32_t mode, uid, gid, major, minor;
	int64_t mtime;
	uint32_t mtime_ns;
	uint64_t size;                      /* of the file */
	uint64_t stored;                    /* its bytes in the archive */
	const struct stele_region *regions; /* of a sparse file, ascending; together `stored` bytes */
	uint32_t n_regions;
	int sparse;
	uint32_t n_xattrs;
	struct stele_xattr xattrs[STELE_XATTRS_MAX];
	char path[STELE_PATH_MAX];
	char link[STELE_PATH_MAX];
};

/* The limits of an archive; beyond them: -EFBIG, or -EOVERFLOW for the ratio. */
struct stele_tar_limits {
	uint64_t bytes;  /* of the plain archive */
	uint64_t ratio;  /* uncompressed to compressed, from 64 MiB on */
	uint64_t header; /* of one PAX header, long name or sparse map */
	uint64_t file;   /* size of one file, holes included */
};

struct stele_tar;

/* Open an archive, compressed or not. The caller keeps the fd. NULL with errno. */
struct stele_tar *stele_tar_open(int fd, const struct stele_tar_limits *limits);

/* Read the next entry: 1, 0 at the end, or -errno. -EBADMSG: not a tar archive, see stele_tar_problem. */
int stele_tar_next(struct stele_tar *t, const struct stele_entry **ret_entry);

/* The next stored bytes of the entry: 0 after the last, or -errno. They are valid until the next call. */
int64_t stele_tar_data(struct stele_tar *t, const uint8_t **ret_at);

/* A description of the error; "" if errno is enough. */
const char *stele_tar_problem(const struct stele_tar *t);

/* SHA-256 of the uncompressed archive, after its end. */
void stele_tar_digest(const struct stele_tar *t, uint8_t ret_digest[32]);

void stele_tar_close(struct stele_tar *t);
/* cdef: end */

#endif
