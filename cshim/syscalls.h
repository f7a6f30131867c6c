/* Names and numbers of system calls, which libseccomp knows for every architecture; and what the kernel can of
 * seccomp(2). Bound by cffi (runtime/host/seccomp.py). */
#ifndef STELE_SYSCALLS_H
#define STELE_SYSCALLS_H

#include <stdint.h>

/* cdef: begin */
/* A call's number on an architecture (SCMP_ARCH_*); -1 for a name that libseccomp does not know, and below that where
 * the architecture has it only as part of another call (-101 to -299, <seccomp-syscalls.h>) or not at all. */
int stele_syscall(uint32_t arch, const char *name);

/* The name of a number, in a buffer of `size` bytes: its length, or -1 if there is none or it is longer. */
int stele_syscall_name(uint32_t arch, int number, char *ret_name, int size);

uint32_t stele_native_arch(void);

/* libseccomp's version, as 0x020504. */
uint32_t stele_seccomp_version(void);

/* 1 if the kernel has the action (SECCOMP_RET_*) or filter flag (SECCOMP_FILTER_FLAG_*), else 0. */
int stele_seccomp_has_action(uint32_t action);
int stele_seccomp_has_flag(uint32_t flag);
/* cdef: end */

#endif
