/* Carries a layer's entries out below one directory. Every path of the archive is resolved by openat2(2) inside that
 * directory, to an fd; everything is made new (O_EXCL) on the fd of its parent; nothing is opened that was there.
 * Source: OCI image-spec 1.1, layer.md; the kernel's Documentation/filesystems/overlayfs.rst. Bound by cffi
 * (runtime/host/unpack.py). The work is done in a child process that can do nothing else (confined.h). */
#ifndef STELE_UNPACK_H
#define STELE_UNPACK_H

#include "tar.h"

#include <stdint.h>

/* cdef: begin */
#define STELE_FORM_OVERLAY 0      /* whiteouts as 0:0 devices, opaque directories by trusted.overlay.opaque */
#define STELE_FORM_OVERLAY_USER 1 /* the same with user.overlay.opaque, for a user namespace */
#define STELE_FORM_LOWEST 2       /* whiteouts are left out: there is nothing below that they could hide */

struct stele_unpack {
	int blob; /* the layer; both fds stay the caller's */
	int directory;
	int form;
	int skip_devices; /* leave out device nodes, which a user namespace may not make */
	int durable;      /* return when all is on disk, syncfs(2) */
	int implied;      /* an empty memfd for the paths of directories that no entry describes, each with its NUL */
	struct stele_tar_limits limits;
	uint64_t most_entries;
	int stop, child; /* stele_unpack_stop's */
	/* results */
	uint64_t entries;                   /* made, implied directories too */
	uint64_t whiteouts;                 /* those and opaque directories */
	uint64_t left_out;                  /* extended attributes that could not be set or must not be */
	char left_out_name[64];             /* the first of them */
	char left_out_path[STELE_PATH_MAX]; /* and its entry */
	uint8_t digest[32];                 /* SHA-256 of the plain archive */
	char path[STELE_PATH_MAX];          /* the entry at fault, as the archive has it; "" if it is the archive */
	char problem[200];                  /* what was wrong, in words; "" if the errno says it all */
};

/* Make all entries: 0 or -errno. On an error what was made is left, and nothing more is made. */
int stele_unpack(struct stele_unpack *u);

/* Called by another thread: stele_unpack soon returns -ECANCELED. */
void stele_unpack_stop(struct stele_unpack *u);
/* cdef: end */

#endif
