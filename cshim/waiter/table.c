/* The table's decoder: no system calls and no memory but the table's own, so that a fuzzer can have it alone. */
#include "table.h"

struct shape {
	uint8_t known, fd, text;
};

#define X(name, number, fd, text) [number] = { 1, fd, text },
static const struct shape shapes[ENTRY_COUNT] = { ENTRIES(X) };
#undef X

static int entry_valid(const struct entry *e, uint64_t room)
{
	if (room < sizeof(*e) + 8 || e->length < sizeof(*e) + 8 || e->length > room || e->length % 8)
		return 0;
	if (e->kind >= ENTRY_COUNT || !shapes[e->kind].known)
		return 0;
	if (shapes[e->kind].fd ? e->fd <= FD_FIRST || e->fd >= FD_LIMIT : e->fd != -1)
		return 0;
	uint64_t room_for_text = e->length - sizeof(*e), used = 0;
	while (used < room_for_text && e->text[used])
		used++;
	if (!shapes[e->kind].text != !used)
		return 0;
	return used < room_for_text && room_for_text - used <= 8;
}

int table_valid(const void *bytes, uint64_t length)
{
	const struct table *t = bytes;
	if (length < sizeof(*t) || length > TABLE_MAX || (uintptr_t)bytes % 8)
		return 0;
	if (t->magic != TABLE_MAGIC || t->abi != TABLE_ABI || t->length != length)
		return 0;
	uint64_t at = sizeof(*t);
	for (uint32_t i = 0; i < t->entries; i++) {
		const struct entry *e = (const struct entry *)((const char *)bytes + at);
		if (!entry_valid(e, length - at))
			return 0;
		at += e->length;
	}
	return at == length;
}

/* The first entry of a kind, or the next one after `after`; NULL if there is none. */
const struct entry *table_find(const void *bytes, uint16_t kind, const struct entry *after)
{
	const struct table *t = bytes;
	const char *end = (const char *)bytes + t->length;
	const struct entry *e = after ? (const struct entry *)((const char *)after + after->length)
				      : (const struct entry *)((const char *)bytes + sizeof(*t));
	for (; (const char *)e < end; e = (const struct entry *)((const char *)e + e->length))
		if (e->kind == kind)
			return e;
	return NULL;
}
