/* The plan decoder. It makes no system call and uses no memory but the plan, so that it can be fuzzed by itself. */
#include "../plan.h"

struct shape {
	uint16_t known, n_ints, n_strs, list, binary;
};

#define X(NAME, name, number, ints, strs, list, binary) [number] = { 1, ints, strs, list, binary },
static const struct shape shapes[STEP_COUNT] = { STEPS(X) };
#undef X

/* The size of an encoded string: its length, its bytes and at least one NUL, padded to a multiple of 8. */
static uint64_t string_size(uint32_t length)
{
	return 4 + (uint64_t)length + (8 - (4 + (uint64_t)length) % 8);
}

static int has_nul(const char *s, uint32_t length)
{
	for (uint32_t i = 0; i < length; i++)
		if (s[i] == '\0')
			return 1;
	return 0;
}

static int step_valid(const struct step *s, uint64_t room)
{
	if (room < sizeof(*s) || s->length < sizeof(*s) || s->length > room || s->length % 8)
		return 0;
	if (s->kind >= STEP_COUNT || !shapes[s->kind].known)
		return 0;
	const struct shape *shape = &shapes[s->kind];
	if (s->n_ints != shape->n_ints || s->n_strs < shape->n_strs || (!shape->list && s->n_strs != shape->n_strs))
		return 0;
	uint64_t at = sizeof(*s) + 8ull * s->n_ints;
	for (uint32_t i = 0; i < s->n_strs; i++) {
		if (at + 8 > s->length)
			return 0;
		const char *base = (const char *)s + at;
		uint32_t length;
		__builtin_memcpy(&length, base, sizeof(length));
		uint64_t size = string_size(length);
		if (size > s->length - at || base[4 + (uint64_t)length] != '\0')
			return 0;
		int binary = i < 16 && (shape->binary >> i) & 1;
		if (!binary && has_nul(base + 4, length))
			return 0;
		at += size;
	}
	return at == s->length;
}

int plan_valid(const void *bytes, uint64_t length)
{
	const struct plan_header *h = bytes;
	if (length < sizeof(*h) || length > PLAN_MAX || (uintptr_t)bytes % 8)
		return 0;
	if (h->magic != PLAN_MAGIC || h->abi != PLAN_ABI || h->length != length)
		return 0;
	uint64_t at = sizeof(*h);
	for (uint32_t i = 0; i < h->steps; i++) {
		const struct step *s = (const struct step *)((const char *)bytes + at);
		if (!step_valid(s, length - at))
			return 0;
		at += s->length;
	}
	return at == length;
}

const struct step *plan_first(const void *bytes)
{
	return (const struct step *)((const char *)bytes + sizeof(struct plan_header));
}

const struct step *step_after(const struct step *s)
{
	return (const struct step *)((const char *)s + s->length);
}

const char *step_string(const struct step *s, uint32_t i, uint32_t *length)
{
	const char *at = (const char *)s + sizeof(*s) + 8ull * s->n_ints;
	uint32_t n;
	for (;; i--) {
		__builtin_memcpy(&n, at, sizeof(n));
		if (i == 0)
			break;
		at += string_size(n);
	}
	if (length)
		*length = n;
	return at + 4;
}

/* The string after one returned by step_string. There must be one. */
const char *string_after(const char *string)
{
	uint32_t n;
	__builtin_memcpy(&n, string - 4, sizeof(n));
	return string - 4 + string_size(n) + 4;
}
