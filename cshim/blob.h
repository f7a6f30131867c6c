/* The executables of init and the waiter, embedded in the shim, so that no file of the host is executed for them. */
#ifndef STELE_BLOB_H
#define STELE_BLOB_H

#include <stddef.h>
#include <stdint.h>

/* cdef: begin */
extern const uint8_t stele_init_blob[];
extern const size_t stele_init_blob_size; /* 0 if the shim was built before init */
extern const uint8_t stele_waiter_blob[];
extern const size_t stele_waiter_blob_size; /* 0 if the shim was built before the waiter */
/* cdef: end */

#endif
