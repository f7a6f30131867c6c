/* System calls that the stele process needs and Python's os module lacks. Nothing here prints, exits the caller or
 * keeps state. Functions return the kernel's result or -errno. Bound by cffi (runtime/host/shim.py). */
#ifndef STELE_SHIM_H
#define STELE_SHIM_H

#include <stddef.h>
#include <stdint.h>

/* cdef: begin */
#define SHIM_ABI 1

struct stele_spawn {
	uint64_t flags; /* CLONE_NEW* of clone3(2) */
	int cgroup;     /* cgroup directory for CLONE_INTO_CGROUP, or -1 */
	int init;       /* init's executable, a sealed memfd */
	int stdio[3];
	int report;      /* init's end of its SEQPACKET socket; the caller keeps the other end */
	int plan;        /* the plan, a sealed memfd */
	int cwd;         /* working directory, or -1 */
	const int *keep; /* fds that become 3, 4, ... */
	uint32_t n_keep;
	const int *slots; /* one fd for each slot of the plan */
	uint32_t n_slots;
	uint32_t patient; /* keep waiting while the cgroup is frozen, until a signal asks us to end */
	/* results */
	int pidfd;          /* owned by the caller */
	const char *failed; /* the call that failed in the child, or NULL */
};

/* Start init. Returns its pid, or -errno with .failed naming the call. -EINTR: a signal asked us to end before init
 * ran; -ECANCELED: the cgroup is frozen, so init would not run. */
int stele_spawn(struct stele_spawn *s);

/* Execute `program`, a sealed memfd, in place of this process. Its argv is `name` and `argument`, its environment is
 * empty. fds[i] becomes 3 + i; besides these it keeps only the standard streams. Returns only on failure: -errno. */
int stele_become(int program, const char *name, const char *argument, const int *fds, uint32_t n);

int stele_openat2(int dir, const char *path, uint64_t flags, uint64_t mode, uint64_t resolve);
int stele_open_tree(int dir, const char *path, unsigned flags);
/* A detached mount of the file system of `type` in `source`, a file or a block device (fsopen(2), fsmount(2)). */
int stele_mount_source(const char *type, const char *source, uint64_t attributes);
int stele_mount_setattr(int fd, unsigned flags, uint64_t set, uint64_t clear, uint64_t propagation, int userns);
int stele_setns(int fd, int flags);
int stele_prctl(int option, unsigned long a, unsigned long b);

/* Signals are masks: bit n-1 is signal n. Set which signals are blocked; returns the previous mask. */
uint64_t stele_block_signals(uint64_t signals);

/* A signalfd(2) for a mask, close-on-exec and non-blocking; or -errno. */
int stele_signalfd(uint64_t signals);

/* Start a process that holds a new user namespace open until it is killed. Returns its pid or -errno. */
int stele_hold_userns(void);
/* cdef: end */

#endif
