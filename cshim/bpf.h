/* bpf(2) for the programs that control a cgroup's access to devices (BPF_PROG_TYPE_CGROUP_DEVICE). Functions return
 * the kernel's result or -errno. Bound by cffi (runtime/host/bpf.py). */
#ifndef STELE_BPF_H
#define STELE_BPF_H

#include <stddef.h>
#include <stdint.h>

/* cdef: begin */
/* Load `count` instructions (struct bpf_insn) under a name of at most 15 characters. The caller owns the fd. If the
 * program is refused, the verifier's message is in the log, NUL-terminated. */
int stele_bpf_load(const void *instructions, uint32_t count, const char *name, char *log, uint32_t log_size);

/* Get the ids of the programs attached to the cgroup itself: 0, with *ret_count set and at most `capacity` ids
 * written. */
int stele_bpf_query(int cgroup, uint32_t *ids, uint32_t capacity, uint32_t *ret_count);

/* Open a program by its id. The caller owns the fd. */
int stele_bpf_open(uint32_t id);

/* Get the program's name, NUL-terminated. */
int stele_bpf_name(int program, char ret_name[16]);

/* Attach the program beside others (all of them must allow an access), or instead of program `old` unless that is
 * -1. */
int stele_bpf_attach(int cgroup, int program, int old);
/* cdef: end */

#endif
