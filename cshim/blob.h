/* The executables of init and of the waiter, carried inside whatever holds the shim, so that no file of the host is ever
 * executed for them. */
#ifndef STELE_BLOB_H
#define STELE_BLOB_H

#include <stddef.h>
#include <stdint.h>

/* cdef: begin */
extern const uint8_t stele_init_blob[];
extern const size_t stele_init_blob_size; /* 0 where the shim was built before init */
extern const uint8_t stele_waiter_blob[];
extern const size_t stele_waiter_blob_size; /* 0 where the shim was built before the waiter */
/* cdef: end */

#endif
