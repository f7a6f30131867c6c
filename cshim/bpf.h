/* bpf(2) for the programs that decide on devices in a cgroup (BPF_PROG_TYPE_CGROUP_DEVICE).
 * Results are the kernel's, or -errno. Bound by cffi (runtime/host/bpf.py). */
#ifndef STELE_BPF_H
#define STELE_BPF_H

#include <stddef.h>
#include <stdint.h>

/* cdef: begin */
/* Load `count` instructions (struct bpf_insn) under a name of at most 15 characters; the fd is the caller's.
 * With a log, the verifier's words are in it after a refusal, NUL-terminated. */
int stele_bpf_load(const void *instructions, uint32_t count, const char *name, char *log, uint32_t log_size);

/* Ids of the programs attached to the cgroup itself: 0, with *ret_count of at most `capacity` ids written. */
int stele_bpf_query(int cgroup, uint32_t *ids, uint32_t capacity, uint32_t *ret_count);

/* A program by its id; the fd is the caller's. */
int stele_bpf_open(uint32_t id);

/* The program's name, NUL-terminated. */
int stele_bpf_name(int program, char ret_name[16]);

/* Attach beside other programs (all of them must allow), or in the place of program `old` if that is not -1. */
int stele_bpf_attach(int cgroup, int program, int old);
/* cdef: end */

#endif
