/* The plan as bytes: the contract between runtime/plan/wire.py and cshim/init.
 *
 *   header  u32 magic "STEL", u32 ABI, u32 total length, u32 number of steps
 *   step    u16 kind, u16 integers, u32 strings, u32 index, u32 length of the step
 *           u64 integers..., then for each string u32 length, its bytes, one NUL, padding to 8
 *
 * Little-endian; every step starts at a multiple of 8. A test compares STEPS with the Python side. */
#ifndef STELE_PLAN_H
#define STELE_PLAN_H

#include <stdint.h>

#define PLAN_MAGIC 0x4C455453u
#define PLAN_ABI 1u
#define PLAN_MAX (8u << 20)
#define NO_SLOT 0xFFFFFFFFu

/* X(name, number, integers, strings, has a trailing list of strings, strings that may hold NUL: bit mask) */
#define STEPS(X)                      \
	X(SYNC, 1, 1, 0, 0, 0)            \
	X(READY, 2, 1, 0, 0, 0)           \
	X(JOIN_NAMESPACE, 3, 2, 0, 0, 0)  \
	X(UNSHARE, 4, 1, 0, 0, 0)         \
	X(FORK, 5, 0, 0, 0, 0)            \
	X(TIME_OFFSETS, 6, 0, 1, 0, 0)    \
	X(BECOME_ROOT, 7, 1, 0, 0, 0)     \
	X(SESSION, 8, 1, 0, 0, 0)         \
	X(LOOPBACK_UP, 9, 0, 0, 0, 0)     \
	X(HOSTNAME, 10, 0, 1, 0, 0)       \
	X(DOMAINNAME, 11, 0, 1, 0, 0)     \
	X(SYSCTL, 12, 0, 2, 0, 0)         \
	X(PROPAGATION, 13, 1, 0, 0, 0)    \
	X(ROOTFS, 14, 2, 1, 0, 0)         \
	X(PRIVATE_LAYER, 15, 1, 0, 1, 0)  \
	X(BIND_MOUNT, 16, 8, 2, 0, 0)     \
	X(NEW_MOUNT, 17, 6, 4, 1, 0)      \
	X(DEVICE, 18, 6, 1, 0, 0)         \
	X(SYMLINK, 19, 0, 2, 0, 0)        \
	X(CONSOLE, 20, 4, 0, 0, 0)        \
	X(MASK_PATH, 21, 0, 1, 1, 0)      \
	X(READONLY_PATH, 22, 0, 1, 0, 0)  \
	X(HOOK, 23, 2, 3, 1, 0)           \
	X(ENTER_ROOT, 24, 1, 0, 0, 0)     \
	X(ROOT_ATTRIBUTES, 25, 2, 0, 0, 0) \
	X(FIND_PROGRAM, 26, 2, 2, 0, 0)   \
	X(RLIMIT, 27, 3, 0, 0, 0)         \
	X(OOM_SCORE, 28, 2, 0, 0, 0)      \
	X(SCHEDULER, 29, 7, 0, 0, 0)      \
	X(IO_PRIORITY, 30, 1, 0, 0, 0)    \
	X(AFFINITY, 31, 0, 1, 0, 1)       \
	X(MEMORY_POLICY, 32, 1, 1, 0, 1)  \
	X(PERSONALITY, 33, 1, 0, 0, 0)    \
	X(UMASK, 34, 1, 0, 0, 0)          \
	X(LABEL, 35, 0, 2, 0, 0)          \
	X(NO_NEW_PRIVS, 36, 0, 0, 0, 0)   \
	X(SECCOMP, 37, 2, 1, 0, 1)        \
	X(CREDENTIALS, 38, 8, 1, 0, 1)    \
	X(WORKING_DIRECTORY, 39, 1, 1, 0, 0) \
	X(EXECUTE, 40, 2, 1, 1, 0)        \
	X(MOUNT_ATTRIBUTES, 41, 1, 1, 0, 0) \
	X(TRACE, 42, 1, 0, 0, 0)          \
	X(LAYERED_ROOT, 43, 6, 3, 1, 0)   \
	X(DIRECTORY, 44, 0, 1, 0, 0)      \
	X(STREAMS, 45, 1, 0, 0, 0)

#define X(name, number, ints, strs, list, binary) STEP_##name = number,
enum step_kind { STEP_NONE = 0, STEPS(X) STEP_COUNT };
#undef X

struct plan_header {
	uint32_t magic, abi, length, steps;
};

struct step {
	uint16_t kind, n_ints;
	uint32_t n_strs, index, length;
	uint64_t ints[]; /* then the strings */
};

/* What init tells: a failure (err is an errno) or an event (err 0), one message on a SEQPACKET socket. */
struct report {
	uint32_t step;
	uint32_t index;
	int32_t err;
	char detail[244]; /* the object; NUL-terminated, cut if longer */
};
_Static_assert(sizeof(struct report) == 256, "runtime/plan/wire.py reads 256 bytes");

/* The detail of a report of the kind TRACE: when a step was done. Its index is the step's place in the plan, from 0. */
struct timing {
	uint64_t begin, end; /* ns of CLOCK_REALTIME, which no namespace shifts; end 0: it is about to begin */
	uint64_t kind;
};

/* Is this a whole, well-formed plan? 1 or 0. After a yes, the walkers below need no more checks. */
int plan_valid(const void *bytes, uint64_t length);
const struct step *plan_first(const void *bytes);
const struct step *step_after(const struct step *s);

/* String i of the step; *length (may be NULL) receives its length without the NUL. */
const char *step_string(const struct step *s, uint32_t i, uint32_t *length);
const char *string_after(const char *string);

#endif
