#include "tar_parts.h"

#include <errno.h>
#include <stdlib.h>

int tar_add_region(struct stele_tar *t, uint64_t offset, uint64_t size)
{
	uint32_t n = t->entry.n_regions;
	if (n == t->regions_room) {
		uint32_t room = n ? n * 2 : 64;
		void *more = realloc(t->regions, room * sizeof(*t->regions));
		if (!more)
			return -ENOMEM;
		t->regions = more;
		t->regions_room = room;
	}
	t->regions[n] = (struct stele_region){ offset, size };
	t->entry.n_regions = n + 1;
	return 0;
}

int tar_old_sparse(struct stele_tar *t, uint8_t *block)
{
	int64_t size;
	if (tar_field(t, block + 483, 12, "real size", &size) < 0)
		return -EBADMSG;
	t->sparse_size = (uint64_t)size;
	size_t at = 386, pairs = 4;
	bool more = block[482];
	for (;;) {
		for (size_t i = 0; i < pairs && block[at + 24 * i]; i++) {
			int64_t offset, length;
			if (tar_field(t, block + at + 24 * i, 12, "sparse map", &offset) < 0 ||
			    tar_field(t, block + at + 24 * i + 12, 12, "sparse map", &length) < 0)
				return -EBADMSG;
			if (tar_add_region(t, (uint64_t)offset, (uint64_t)length) < 0)
				return -ENOMEM;
		}
		if (!more)
			return 0;
		if (t->entry.n_regions * sizeof(struct stele_region) > t->limits.header)
			return tar_bad(t, "its sparse map is larger than the %llu bytes allowed",
				       (unsigned long long)t->limits.header);
		int got = tar_take_all(t, block, BLOCK);
		if (got < 0)
			return got;
		at = 0;
		pairs = 21;
		more = block[504];
	}
}

/* A line of the map in sparse format 1.0, which precedes the file's data. */
static int map_line(struct stele_tar *t, uint64_t *used, uint64_t *ret_value)
{
	char line[24];
	for (size_t n = 0; n < sizeof(line); n++) {
		if (*used == t->left || *used == t->limits.header)
			return tar_bad(t, "its sparse map is too long");
		int got = tar_take_all(t, line + n, 1);
		if (got < 0)
			return got;
		++*used;
		if (line[n] == '\n')
			return tar_decimal(t, line, n, "GNU.sparse.map", ret_value);
	}
	return tar_bad(t, "its sparse map has a line that is not a number");
}

static int map_10(struct stele_tar *t)
{
	uint64_t used = 0, count, offset, size;
	int result = map_line(t, &used, &count);
	for (uint64_t i = 0; i < count && result == 0; i++) {
		result = map_line(t, &used, &offset);
		if (result == 0)
			result = map_line(t, &used, &size);
		if (result == 0)
			result = tar_add_region(t, offset, size);
	}
	if (result < 0)
		return result;
	uint8_t rest[BLOCK];
	if (used + tar_padded(used) > t->left)
		return tar_bad(t, "its sparse map is longer than its data");
	result = tar_take_all(t, rest, tar_padded(used));
	t->left -= used + tar_padded(used);
	return result < 0 ? result : 0;
}

int tar_check_sparse(struct stele_tar *t)
{
	struct stele_entry *e = &t->entry;
	if (t->seen & SPARSE_MAJOR && (t->sparse_major || t->sparse_minor > 1)) {
		if (t->sparse_major != 1 || t->sparse_minor != 0 || e->n_regions)
			return tar_bad(t, "it is a sparse file of a format that is not known here");
		int result = map_10(t);
		if (result < 0)
			return result;
	}
	uint64_t end = 0, sum = 0;
	for (uint32_t i = 0; i < e->n_regions; i++) {
		const struct stele_region *r = &t->regions[i];
		if (r->offset < end || r->size > t->left || __builtin_add_overflow(r->offset, r->size, &end) ||
		    end > t->sparse_size)
			return tar_bad(t, "its sparse map overlaps or leads out of the file");
		sum += r->size;
		if (sum > t->left)
			break;
	}
	if (sum != t->left || t->sparse_half || t->sparse_size > t->limits.file)
		return tar_bad(t, "its sparse map does not fit its sizes");
	e->regions = t->regions;
	e->sparse = 1;
	e->size = t->sparse_size;
	return 0;
}
