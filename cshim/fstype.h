/* The type of a file system: Python's os module has only statvfs(3), which lacks it. */
#ifndef STELE_FSTYPE_H
#define STELE_FSTYPE_H

#include <stdint.h>

/* cdef: begin */
/* f_type of the file system that `fd` is on (statfs(2)), or -errno. */
int64_t stele_fs_type(int fd);
/* cdef: end */

#endif
