/* Seccomp rules to a BPF program, by libseccomp; and what the kernel can of seccomp(2). Nothing is loaded here.
 * Bound by cffi (runtime/host/seccomp.py). */
#ifndef STELE_SECCOMP_FILTER_H
#define STELE_SECCOMP_FILTER_H

#include <stdint.h>

/* cdef: begin */
struct stele_condition {
	uint32_t index;       /* argument, 0 to 5 */
	uint32_t op;          /* enum scmp_compare: 1 NE, 2 LT, 3 LE, 4 EQ, 5 GE, 6 GT, 7 MASKED_EQ */
	uint64_t value;       /* the mask, for MASKED_EQ */
	uint64_t value_two;   /* what the masked argument must be */
};

struct stele_rule {
	int32_t syscall;      /* as stele_syscall says for the native architecture */
	uint32_t action;      /* SECCOMP_RET_* with its data */
	uint32_t first;       /* of .conditions; all must hold */
	uint32_t count;       /* 0: always */
};

struct stele_filter {
	uint32_t default_action;
	int optimize;         /* SCMP_FLTATR_CTL_OPTIMIZE: 1 linear, 2 binary tree */
	const uint32_t *archs;        /* beside the native one; SCMP_ARCH_* */
	uint32_t n_archs;
	const struct stele_rule *rules;
	uint32_t n_rules;
	const struct stele_condition *conditions;
	/* results, for a failure: what was refused and, if it is an element, which */
	const char *failed;
	uint32_t failed_index;
};

/* The program, an array of struct sock_filter, in a memfd that is the caller's; or -errno with .failed. */
int stele_seccomp_compile(struct stele_filter *f);

/* A system call's number on an architecture (0: the native one): below -1 where that has not got it as a call of its
 * own, -1 for a name that libseccomp does not know. */
int stele_syscall(uint32_t arch, const char *name);

/* The number of a call of its own where an architecture has it beside one that serves many (socket on x86 beside
 * socketcall), or -1. */
int stele_direct_syscall(uint32_t arch, const char *name);
uint32_t stele_native_arch(void);

/* libseccomp's version, as 0x020504. */
uint32_t stele_seccomp_version(void);

/* 1 if the kernel has the action (SECCOMP_RET_*) or filter flag (SECCOMP_FILTER_FLAG_*), else 0. */
int stele_seccomp_has_action(uint32_t action);
int stele_seccomp_has_flag(uint32_t flag);
/* cdef: end */

#endif
