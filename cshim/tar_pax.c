#include "tar_parts.h"

#include <errno.h>
#include <string.h>

/* Seconds, such as "-1.25". Digits beyond nanoseconds are dropped, rounding towards the past. */
static int timestamp(struct stele_tar *t, const char *at, size_t size, struct numbers *n)
{
	bool negative = size && at[0] == '-';
	const char *point = memchr(at, '.', size);
	size_t whole = point ? (size_t)(point - at) : size;
	uint64_t seconds, ns = 0, digit = 100000000;
	bool finer = false;
	if (tar_decimal(t, at + negative, whole - negative, "mtime", &seconds) < 0)
		return -EBADMSG;
	for (size_t i = whole + 1; i < size; i++, digit /= 10) {
		if (at[i] < '0' || at[i] > '9')
			return tar_bad(t, "its PAX record mtime is not a number in range");
		ns += (uint64_t)(at[i] - '0') * digit;
		finer |= !digit && at[i] != '0';
	}
	ns += negative && finer;
	n->mtime = negative ? -(int64_t)seconds - (ns > 0) : (int64_t)seconds;
	n->mtime_ns = (uint32_t)(negative && ns ? 1000000000 - ns : ns);
	return 0;
}

/* The map of sparse format 0.1: offset,size,offset,size... */
static int map_01(struct stele_tar *t, const char *at, size_t size)
{
	uint64_t pair[2];
	for (unsigned which = 0; size; which ^= 1) {
		const char *comma = memchr(at, ',', size);
		size_t length = comma ? (size_t)(comma - at) : size;
		if (tar_decimal(t, at, length, "GNU.sparse.map", &pair[which]) < 0)
			return -EBADMSG;
		if (which && tar_add_region(t, pair[0], pair[1]) < 0)
			return -ENOMEM;
		if (!comma && !which)
			return tar_bad(t, "its sparse map ends in the middle of a pair");
		size -= length + (comma != NULL);
		at += length + (comma != NULL);
	}
	return 0;
}

/* Sparse format 0.0: a pair of records for each region. */
static int half_00(struct stele_tar *t, bool offset, const char *at, size_t size)
{
	uint64_t value;
	if (tar_decimal(t, at, size, "GNU.sparse", &value) < 0)
		return -EBADMSG;
	if (offset == t->sparse_half)
		return tar_bad(t, "its sparse map has no pairs");
	t->sparse_half = offset;
	if (offset)
		return tar_add_region(t, value, 0);
	t->regions[t->entry.n_regions - 1].size = value;
	return 0;
}

static const struct key {
	const char *name;
	enum seen bit;
} KEYS[] = {
	{ "path", PATH },
	{ "linkpath", LINK },
	{ "size", SIZE },
	{ "uid", UID },
	{ "gid", GID },
	{ "mtime", MTIME },
	{ "GNU.sparse.name", SPARSE_NAME },
	{ "GNU.sparse.realsize", SPARSE_SIZE },
	{ "GNU.sparse.size", SPARSE_SIZE },
	{ "GNU.sparse.map", SPARSE_MAP },
	{ "GNU.sparse.major", SPARSE_MAJOR },
	{ "GNU.sparse.minor", SPARSE_MINOR },
};

static int id_record(struct stele_tar *t, const char *at, size_t size, const char *what, int64_t *ret_id)
{
	uint64_t value;
	if (tar_decimal(t, at, size, what, &value) < 0)
		return -EBADMSG;
	*ret_id = (int64_t)value;
	return 0;
}

/* A record without a value: the header's own field applies again, whatever came before. */
static int delete (struct stele_tar *t, struct numbers *n, unsigned bit, bool global)
{
	int64_t none = global ? UNSET : DELETED;
	if (!global)
		t->seen &= ~bit;
	if (bit == UID)
		n->uid = none;
	else if (bit == GID)
		n->gid = none;
	else if (bit == MTIME)
		n->mtime = none;
	return 0;
}

static int record(struct stele_tar *t, bool global, char *key, size_t key_size, const char *value, size_t size)
{
	static const char xattr[] = "SCHILY.xattr.";
	if (memchr(key, '\0', key_size))
		return tar_bad(t, "a PAX record's name has a NUL in it");
	if (!strncmp(key, xattr, sizeof(xattr) - 1)) {
		struct stele_entry *e = &t->entry;
		if (global || e->n_xattrs == STELE_XATTRS_MAX)
			return tar_bad(t, global ? "a global header has extended attributes"
						 : "it has more than 512 attributes");
		e->xattrs[e->n_xattrs++] =
			(struct stele_xattr){ key + sizeof(xattr) - 1, (const uint8_t *)value, size };
		return 0;
	}
	struct numbers *n = global ? &t->global : &t->local;
	unsigned bit = 0;
	for (size_t i = 0; i < sizeof(KEYS) / sizeof(*KEYS) && !bit; i++)
		if (!strcmp(key, KEYS[i].name))
			bit = KEYS[i].bit;
	bool offset = !strcmp(key, "GNU.sparse.offset");
	if (global && size && ((bit & ~(unsigned)(UID | GID | MTIME)) || !strncmp(key, "GNU.sparse", 10)))
		return tar_bad(t, "a global header has the record %.40s, which is one entry's", key);
	if (!global && (t->seen & bit & SPARSE))
		return tar_bad(t, "it has two PAX records for %.40s", key);
	if (bit && !(bit & SPARSE) && size == 0)
		return delete (t, n, bit, global);
	if (!global)
		t->seen |= bit; /* of two records for one field the later one applies, POSIX pax */
	uint64_t unsigned_size;
	int result;
	switch (bit) {
	case PATH:
		if (t->seen & SPARSE_NAME)
			return 0;
		return tar_copy_name(t, t->entry.path, value, size, t->long_name, "name");
	case SPARSE_NAME:
		return tar_copy_name(t, t->entry.path, value, size, t->long_name, "name");
	case LINK:
		return tar_copy_name(t, t->entry.link, value, size, t->long_link, "link's target");
	case SIZE:
		result = tar_decimal(t, value, size, key, &unsigned_size);
		t->size = result < 0 ? 0 : (int64_t)unsigned_size;
		return result;
	case UID:
		return id_record(t, value, size, key, &n->uid);
	case GID:
		return id_record(t, value, size, key, &n->gid);
	case MTIME:
		return timestamp(t, value, size, n);
	case SPARSE_SIZE:
		return tar_decimal(t, value, size, key, &t->sparse_size);
	case SPARSE_MAP:
		return map_01(t, value, size);
	case SPARSE_MAJOR:
		return tar_decimal(t, value, size, key, &t->sparse_major);
	case SPARSE_MINOR:
		return tar_decimal(t, value, size, key, &t->sparse_minor);
	default:
		if (offset || !strcmp(key, "GNU.sparse.numbytes"))
			return half_00(t, offset, value, size);
		if (!strcmp(key, "SCHILY.realsize"))
			return tar_bad(t, "it is a sparse file in star's format, which is not known here");
		return 0; /* atime, ctime, uname, comment, ...: images do not keep them */
	}
}

int tar_records(struct stele_tar *t, bool global, char *at, size_t size)
{
	while (size) {
		size_t length = 0, i = 0;
		for (; i < size && i < 8 && at[i] >= '0' && at[i] <= '9'; i++)
			length = length * 10 + (size_t)(at[i] - '0');
		if (i == 0 || i == size || at[i] != ' ' || length > size || length < i + 4 || at[length - 1] != '\n')
			return tar_bad(t, "a PAX record is not \"length name=value\"");
		char *key = at + i + 1, *equals = memchr(key, '=', length - i - 2);
		if (!equals || equals == key)
			return tar_bad(t, "a PAX record has no name");
		size_t key_size = (size_t)(equals - key);
		*equals = '\0';
		int result = record(t, global, key, key_size, equals + 1, length - i - 3 - key_size);
		if (result < 0)
			return result;
		at += length;
		size -= length;
	}
	return 0;
}
