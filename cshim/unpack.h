/* Unpacks a layer below one directory. Each path of the archive is resolved by openat2(2) inside that directory, to
 * an fd. Entries are created (O_EXCL) on the fd of their parent; nothing that existed before is opened. Source: OCI
 * image-spec 1.1, layer.md; the kernel's Documentation/filesystems/overlayfs.rst. Bound by cffi
 * (runtime/host/unpack.py). A child process that can do nothing else does the work (confined.h). */
#ifndef STELE_UNPACK_H
#define STELE_UNPACK_H

#include "tar.h"

#include <stdint.h>

/* cdef: begin */
#define STELE_FORM_OVERLAY 0      /* whiteouts as 0:0 devices, opaque directories by trusted.overlay.opaque */
#define STELE_FORM_OVERLAY_USER 1 /* the same with user.overlay.opaque, for a user namespace */
#define STELE_FORM_LOWEST 2       /* no whiteouts: there is no layer below that they could hide */

struct stele_unpack {
	int blob; /* the layer; the caller keeps both fds */
	int directory;
	int form;
	int skip_devices; /* skip device nodes, which cannot be created in a user namespace */
	int durable;      /* return after everything is on disk, syncfs(2) */
	int implied;      /* an empty memfd for the paths of directories that no entry describes, each with its NUL */
	struct stele_tar_limits limits;
	uint64_t most_entries;
	int stop, child; /* used by stele_unpack_stop */
	/* results */
	uint64_t entries;                   /* created, including implied directories */
	uint64_t whiteouts;                 /* including opaque directories */
	uint64_t left_out;                  /* extended attributes that could not be set or must not be */
	char left_out_name[64];             /* the first of them */
	char left_out_path[STELE_PATH_MAX]; /* and its entry */
	uint8_t digest[32];                 /* SHA-256 of the uncompressed archive */
	char path[STELE_PATH_MAX];          /* the entry at fault, as named in the archive; "" if it is the archive */
	char problem[200];                  /* a description of the error; "" if errno is enough */
};

/* Create all entries: 0 or -errno. On an error, entries created so far are left. */
int stele_unpack(struct stele_unpack *u);

/* Call from another thread: stele_unpack soon returns -ECANCELED. */
void stele_unpack_stop(struct stele_unpack *u);
/* cdef: end */

#endif
