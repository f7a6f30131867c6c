/* Of which kind a file system is; Python's os module has statvfs(3) only, which does not tell. */
#ifndef STELE_FSTYPE_H
#define STELE_FSTYPE_H

#include <stdint.h>

/* cdef: begin */
/* f_type of the file system that `fd` is on (statfs(2)), or -errno. */
int64_t stele_fs_type(int fd);
/* cdef: end */

#endif
