/* Names and numbers of system calls, as libseccomp knows them for every architecture, and the kernel's support of
 * seccomp(2). Bound by cffi (runtime/host/seccomp.py). */
#ifndef STELE_SYSCALLS_H
#define STELE_SYSCALLS_H

#include <stdint.h>

/* cdef: begin */
/* A call's number on an architecture (SCMP_ARCH_*). -1: libseccomp does not know the name. Below -1: on this
 * architecture the call exists only as part of another (-101 to -299, <seccomp-syscalls.h>) or not at all. */
int stele_syscall(uint32_t arch, const char *name);

/* Write the name of a number to a buffer of `size` bytes. Returns its length, or -1 if it is unknown or too long. */
int stele_syscall_name(uint32_t arch, int number, char *ret_name, int size);

uint32_t stele_native_arch(void);

/* libseccomp's version, such as 0x020504. */
uint32_t stele_seccomp_version(void);

/* 1 if the kernel supports the action (SECCOMP_RET_*) or filter flag (SECCOMP_FILTER_FLAG_*), else 0. */
int stele_seccomp_has_action(uint32_t action);
int stele_seccomp_has_flag(uint32_t flag);
/* cdef: end */

#endif
