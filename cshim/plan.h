/* The plan as bytes: the contract between runtime/plan/wire.py and cshim/init.
 *
 *   header  u32 magic "STEL", u32 ABI, u32 total length, u32 number of steps
 *   step    u16 kind, u16 integers, u32 strings, u32 index, u32 length of the step
 *           u64 integers..., then for each string u32 length, its bytes, one NUL, padding to 8
 *
 * Little-endian; every step starts at a multiple of 8. What each step contains is in steps.h. */
#ifndef STELE_PLAN_H
#define STELE_PLAN_H

#include "steps.h"

#include <stdint.h>

#define X(NAME, name, number, ints, strs, list, binary) STEP_##NAME = number,
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

/* The integers of a step of the kind `name`. */
#define INTS(name, s) ((const struct name##_ints *)(s)->ints)

/* What init reports: a failure (err is an errno) or an event (err 0), one message on a SEQPACKET socket. */
struct report {
	uint32_t step;
	uint32_t index;
	int32_t err;
	char detail[244]; /* the object; NUL-terminated, cut if longer */
};
_Static_assert(sizeof(struct report) == 256, "runtime/plan/wire.py reads 256 bytes");

/* The detail of a TRACE report: when a step began and ended. The report's index is the step's place in the plan, from 0. */
struct timing {
	uint64_t begin, end; /* ns of CLOCK_REALTIME, which no namespace shifts; end 0: it is about to begin */
	uint64_t kind;
};

/* 1 if this is a whole, well-formed plan, else 0. The functions below need no further checks after that. */
int plan_valid(const void *bytes, uint64_t length);
const struct step *plan_first(const void *bytes);
const struct step *step_after(const struct step *s);

/* String i of the step; *length (may be NULL) receives its length without the NUL. */
const char *step_string(const struct step *s, uint32_t i, uint32_t *length);
const char *string_after(const char *string);

#endif
