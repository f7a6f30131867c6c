/* The waiter's decoder (cshim/waiter/table.c): whatever it calls valid can be walked within its bytes. */
#include TABLE
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint8_t *table = aligned_alloc(8, size ? (size + 7) / 8 * 8 : 8);
	volatile uint64_t sum = 0;
	memcpy(table, data, size);
	if (size % 8 == 0 && table_valid(table, size)) {
		for (uint16_t kind = 0; kind < ENTRY_COUNT + 1; kind++) {
			uint32_t seen = 0;
			for (const struct entry *e = table_find(table, kind, NULL); e; e = table_find(table, kind, e)) {
				size_t text = strlen(e->text);
				if (++seen > ((struct table *)table)->entries || sizeof(*e) + text + 1 > e->length)
					abort();
				if (shapes[kind].fd ? e->fd <= FD_FIRST || e->fd >= FD_LIMIT : e->fd != -1)
					abort();
				sum += e->number + text;
			}
		}
	}
	free(table);
	return 0;
}
