#include "tar.h"

#include "stream.h"

#include <errno.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BLOCK 512U
#define USTAR_SIZE_MAX 077777777777LL /* what 11 octal digits hold */
#define UNSET INT64_MIN

/* Fields that a PAX record can tell once; for all entries if they come in a global header. */
struct numbers {
	int64_t uid, gid, mtime;
	uint32_t mtime_ns;
};

enum seen {
	PATH = 1, LINK = 2, SIZE = 4, UID = 8, GID = 16, MTIME = 32, SPARSE_NAME = 64, SPARSE_SIZE = 128, SPARSE_MAP = 256,
	SPARSE_MAJOR = 512, SPARSE_MINOR = 1024,
};

struct stele_tar {
	struct stele_stream *stream;
	struct stele_tar_limits limits;
	struct stele_entry entry;
	struct numbers global, local;
	unsigned seen;             /* of enum seen, in the headers before the entry */
	int64_t size;              /* PAX */
	uint64_t sparse_size, sparse_major, sparse_minor, sparse_sum;
	bool sparse_half;          /* an offset came, its size not yet */
	bool long_name, long_link; /* GNU */
	char *records;             /* of the local PAX header; xattrs point into it */
	struct stele_region *regions;
	uint32_t regions_room;
	uint64_t left, padding;    /* of the entry's data */
	uint64_t taken;            /* of what was peeked at */
	char problem[200];
};

__attribute__((format(printf, 2, 3))) static int bad(struct stele_tar *t, const char *words, ...)
{
	va_list arguments;
	va_start(arguments, words);
	vsnprintf(t->problem, sizeof(t->problem), words, arguments);
	va_end(arguments);
	return -EBADMSG;
}

/* ---- bytes ---- */

/* 1, or 0 if the archive ends before the first byte; -errno. */
static int take(struct stele_tar *t, void *ret_data, size_t size)
{
	for (size_t done = 0; done < size;) {
		const uint8_t *at;
		int64_t n = stele_stream_peek(t->stream, &at);
		if (n < 0)
			return (int)n;
		if (n == 0)
			return done ? bad(t, "it ends in the middle of a header or of a file") : 0;
		size_t part = (size_t)n < size - done ? (size_t)n : size - done;
		memcpy((uint8_t *)ret_data + done, at, part);
		stele_stream_skip(t->stream, part);
		done += part;
	}
	return 1;
}

static int take_all(struct stele_tar *t, void *ret_data, size_t size)
{
	int got = take(t, ret_data, size);
	return got == 0 && size ? bad(t, "it ends in the middle of a header or of a file") : got;
}

int64_t stele_tar_data(struct stele_tar *t, const uint8_t **ret_at)
{
	stele_stream_skip(t->stream, t->taken);
	t->taken = 0;
	if (!t->left)
		return 0;
	int64_t n = stele_stream_peek(t->stream, ret_at);
	if (n <= 0)
		return n < 0 ? n : bad(t, "it ends in the middle of a file");
	t->taken = (uint64_t)n < t->left ? (uint64_t)n : t->left;
	t->left -= t->taken;
	return (int64_t)t->taken;
}

/* Go on behind the entry's data. */
static int skip_data(struct stele_tar *t)
{
	const uint8_t *at;
	int64_t n;
	while ((n = stele_tar_data(t, &at)) > 0)
		;
	if (n < 0)
		return (int)n;
	uint8_t padding[BLOCK];
	int got = take_all(t, padding, t->padding);
	t->padding = 0;
	return got < 0 ? got : 0;
}

static uint64_t padded(uint64_t size)
{
	return (BLOCK - size % BLOCK) % BLOCK;
}

/* ---- numbers ---- */

/* A field of octal digits between blanks, or of base 256 if its first bit is set; empty is 0. */
static int field(struct stele_tar *t, const uint8_t *at, size_t size, const char *what, int64_t *ret_value)
{
	int64_t value = 0;
	if (at[0] & 0x80) {
		value = at[0] & 0x40 ? -1 : 0;
		value = value * 64 + (at[0] & 0x3f);
		for (size_t i = 1; i < size; i++)
			if (__builtin_mul_overflow(value, 256, &value) || __builtin_add_overflow(value, at[i], &value))
				return bad(t, "its %s is out of range", what);
		*ret_value = value;
		return 0;
	}
	size_t i = 0;
	while (i < size && at[i] == ' ')
		i++;
	for (; i < size && at[i] >= '0' && at[i] <= '7'; i++)
		value = value * 8 + (at[i] - '0'); /* at most 12 digits */
	for (; i < size; i++)
		if (at[i] != ' ' && at[i] != '\0')
			return bad(t, "its %s is no octal number", what);
	*ret_value = value;
	return 0;
}

/* Decimal digits and nothing else, below 2^63. */
static int decimal(struct stele_tar *t, const char *at, size_t size, const char *what, uint64_t *ret_value)
{
	int64_t value = 0;
	for (size_t i = 0; i < size; i++)
		if (at[i] < '0' || at[i] > '9' || __builtin_mul_overflow(value, 10, &value) ||
		    __builtin_add_overflow(value, at[i] - '0', &value))
			return bad(t, "its PAX record %s is no number in range", what);
	if (!size)
		return bad(t, "its PAX record %s is empty", what);
	*ret_value = (uint64_t)value;
	return 0;
}

/* Seconds, "-1.25" too; what is finer than nanoseconds is dropped, towards the past. */
static int timestamp(struct stele_tar *t, const char *at, size_t size, struct numbers *n)
{
	bool negative = size && at[0] == '-';
	const char *point = memchr(at, '.', size);
	size_t whole = point ? (size_t)(point - at) : size;
	uint64_t seconds, ns = 0, digit = 100000000;
	bool finer = false;
	if (decimal(t, at + negative, whole - negative, "mtime", &seconds) < 0)
		return -EBADMSG;
	for (size_t i = whole + 1; i < size; i++, digit /= 10) {
		if (at[i] < '0' || at[i] > '9')
			return bad(t, "its PAX record mtime is no number in range");
		ns += (uint64_t)(at[i] - '0') * digit;
		finer |= !digit && at[i] != '0';
	}
	ns += negative && finer;
	n->mtime = negative ? -(int64_t)seconds - (ns > 0) : (int64_t)seconds;
	n->mtime_ns = (uint32_t)(negative && ns ? 1000000000 - ns : ns);
	return 0;
}

/* ---- PAX ---- */

static int add_region(struct stele_tar *t, uint64_t offset, uint64_t size)
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

static int copy_path(struct stele_tar *t, char to[STELE_PATH_MAX], const char *at, size_t size, const char *what)
{
	if (size == 0 || size >= STELE_PATH_MAX)
		return bad(t, "its %s is %s", what, size ? "longer than 4095 bytes" : "empty");
	if (memchr(at, '\0', size))
		return bad(t, "its %s has a NUL in it", what);
	memcpy(to, at, size);
	to[size] = '\0';
	return 0;
}

/* The map of sparse format 0.1: offset,size,offset,size... */
static int map_01(struct stele_tar *t, const char *at, size_t size)
{
	uint64_t pair[2];
	for (unsigned which = 0; size; which ^= 1) {
		const char *comma = memchr(at, ',', size);
		size_t length = comma ? (size_t)(comma - at) : size;
		if (decimal(t, at, length, "GNU.sparse.map", &pair[which]) < 0)
			return -EBADMSG;
		if (which && add_region(t, pair[0], pair[1]) < 0)
			return -ENOMEM;
		if (!comma && !which)
			return bad(t, "its sparse map ends in the middle of a pair");
		size -= length + (comma != NULL);
		at += length + (comma != NULL);
	}
	return 0;
}

/* Sparse format 0.0 has a pair of records for each region. */
static int half_00(struct stele_tar *t, bool offset, const char *at, size_t size)
{
	uint64_t value;
	if (decimal(t, at, size, "GNU.sparse", &value) < 0)
		return -EBADMSG;
	if (offset == t->sparse_half)
		return bad(t, "its sparse map has no pairs");
	t->sparse_half = offset;
	if (offset)
		return add_region(t, value, 0);
	t->regions[t->entry.n_regions - 1].size = value;
	return 0;
}

static const struct key {
	const char *name;
	enum seen bit;
} KEYS[] = {
	{ "path", PATH }, { "linkpath", LINK }, { "size", SIZE }, { "uid", UID }, { "gid", GID }, { "mtime", MTIME },
	{ "GNU.sparse.name", SPARSE_NAME }, { "GNU.sparse.realsize", SPARSE_SIZE }, { "GNU.sparse.size", SPARSE_SIZE },
	{ "GNU.sparse.map", SPARSE_MAP }, { "GNU.sparse.major", SPARSE_MAJOR }, { "GNU.sparse.minor", SPARSE_MINOR },
};

static int id_record(struct stele_tar *t, const char *at, size_t size, const char *what, int64_t *ret_id)
{
	uint64_t value;
	if (decimal(t, at, size, what, &value) < 0)
		return -EBADMSG;
	*ret_id = (int64_t)value;
	return 0;
}

static int record(struct stele_tar *t, bool global, char *key, size_t key_size, const char *value, size_t size)
{
	static const char xattr[] = "SCHILY.xattr.";
	if (memchr(key, '\0', key_size))
		return bad(t, "a PAX record's name has a NUL in it");
	if (!strncmp(key, xattr, sizeof(xattr) - 1)) {
		struct stele_entry *e = &t->entry;
		if (global || e->n_xattrs == STELE_XATTRS_MAX)
			return bad(t, global ? "a global header has extended attributes" : "it has more than 512 attributes");
		e->xattrs[e->n_xattrs++] = (struct stele_xattr){ key + sizeof(xattr) - 1, (const uint8_t *)value, size };
		return 0;
	}
	struct numbers *n = global ? &t->global : &t->local;
	unsigned bit = 0;
	for (size_t i = 0; i < sizeof(KEYS) / sizeof(*KEYS) && !bit; i++)
		if (!strcmp(key, KEYS[i].name))
			bit = KEYS[i].bit;
	bool offset = !strcmp(key, "GNU.sparse.offset");
	if (global && ((bit & ~(unsigned)(UID | GID | MTIME)) || !strncmp(key, "GNU.sparse", 10)))
		return bad(t, "a global header has the record %.40s, which is one entry's", key);
	if (!global && (t->seen & bit))
		return bad(t, "it has two PAX records for %.40s", key);
	if (!global)
		t->seen |= bit;
	uint64_t unsigned_size;
	int result;
	switch (bit) {
	case PATH:
		return t->seen & SPARSE_NAME ? 0 : copy_path(t, t->entry.path, value, size, "name");
	case SPARSE_NAME:
		return copy_path(t, t->entry.path, value, size, "name");
	case LINK:
		return copy_path(t, t->entry.link, value, size, "link's target");
	case SIZE:
		result = decimal(t, value, size, key, &unsigned_size);
		t->size = result < 0 ? 0 : (int64_t)unsigned_size;
		return result;
	case UID:
		return id_record(t, value, size, key, &n->uid);
	case GID:
		return id_record(t, value, size, key, &n->gid);
	case MTIME:
		return timestamp(t, value, size, n);
	case SPARSE_SIZE:
		return decimal(t, value, size, key, &t->sparse_size);
	case SPARSE_MAP:
		return map_01(t, value, size);
	case SPARSE_MAJOR:
		return decimal(t, value, size, key, &t->sparse_major);
	case SPARSE_MINOR:
		return decimal(t, value, size, key, &t->sparse_minor);
	default:
		if (offset || !strcmp(key, "GNU.sparse.numbytes"))
			return half_00(t, offset, value, size);
		if (!strcmp(key, "SCHILY.realsize"))
			return bad(t, "it is a sparse file in star's format, which is not known here");
		return 0; /* atime, ctime, uname, comment, ...: nothing that an image keeps */
	}
}

/* "17 path=some/where\n": the length counts itself. Records are changed in place: names get their NUL. */
static int records(struct stele_tar *t, bool global, char *at, size_t size)
{
	while (size) {
		size_t length = 0, i = 0;
		for (; i < size && i < 8 && at[i] >= '0' && at[i] <= '9'; i++)
			length = length * 10 + (size_t)(at[i] - '0');
		if (i == 0 || i == size || at[i] != ' ' || length > size || length < i + 4 || at[length - 1] != '\n')
			return bad(t, "a PAX record is not \"length name=value\"");
		char *key = at + i + 1, *equals = memchr(key, '=', length - i - 2);
		if (!equals || equals == key)
			return bad(t, "a PAX record has no name");
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

/* ---- headers ---- */

/* Reads the data of a header that is about the next one, into `records`. */
static int body(struct stele_tar *t, int64_t size)
{
	if (size < 0 || (uint64_t)size > t->limits.header)
		return bad(t, "a header of %lld bytes is more than the %llu allowed", (long long)size,
		           (unsigned long long)t->limits.header);
	free(t->records);
	uint64_t all = (uint64_t)size + padded((uint64_t)size);
	t->records = malloc(all + 1);
	if (!t->records)
		return -ENOMEM;
	int got = take_all(t, t->records, all);
	t->records[size] = '\0';
	return got < 0 ? got : 0;
}

/* GNU's long name or link target: text, and one or more NULs. */
static int long_text(struct stele_tar *t, int64_t size, char to[STELE_PATH_MAX], bool *seen, const char *what)
{
	if (*seen || t->seen)
		return bad(t, "two headers tell its %s", what);
	*seen = true;
	int result = body(t, size);
	if (result < 0)
		return result;
	size_t length = strlen(t->records);
	for (size_t i = length; i < (size_t)size; i++)
		if (t->records[i])
			return bad(t, "its %s has a NUL in it", what);
	return copy_path(t, to, t->records, length, what);
}

static bool all_zero(const uint8_t *at, size_t size)
{
	return size == 0 || (at[0] == 0 && !memcmp(at, at + 1, size - 1));
}

/* Behind the end there may only be zeros: else other readers may see more entries. */
static int drain(struct stele_tar *t)
{
	for (;;) {
		const uint8_t *at;
		int64_t n = stele_stream_peek(t->stream, &at);
		if (n <= 0)
			return (int)n;
		if (!all_zero(at, (size_t)n))
			return bad(t, "there is something behind its end");
		stele_stream_skip(t->stream, (size_t)n);
	}
}

static int checksum(struct stele_tar *t, const uint8_t *header)
{
	int64_t told, with_signs = 8 * ' ', without = 8 * ' ';
	if (field(t, header + 148, 8, "checksum", &told) < 0)
		return -EBADMSG;
	for (size_t i = 0; i < BLOCK; i++) {
		bool own = i >= 148 && i < 156;
		without += own ? 0 : header[i];
		with_signs += own ? 0 : (int8_t)header[i];
	}
	return told == without || told == with_signs ? 0 : bad(t, "a header's checksum is wrong");
}

/* The name of a header without PAX or GNU long name: NUL-terminated unless it fills its field; ustar has a prefix. */
static int short_name(struct stele_tar *t, const uint8_t *header)
{
	char whole[156 + 1 + 101] = "";
	size_t prefix = memcmp(header + 257, "ustar\0", 6) ? 0 : strnlen((const char *)header + 345, 155);
	memcpy(whole, header + 345, prefix);
	if (prefix)
		whole[prefix++] = '/';
	size_t name = strnlen((const char *)header, 100);
	memcpy(whole + prefix, header, name);
	return copy_path(t, t->entry.path, whole, prefix + name, "name");
}

static int id_field(struct stele_tar *t, int64_t local, int64_t global, const uint8_t *at, const char *what, uint32_t *ret)
{
	int64_t id = local != UNSET ? local : global;
	if (id == UNSET && field(t, at, 8, what, &id) < 0)
		return -EBADMSG;
	if (id < 0 || id >= UINT32_MAX) /* 2^32-1 means "leave it" to chown(2) */
		return bad(t, "its %s %lld is out of range", what, (long long)id);
	*ret = (uint32_t)id;
	return 0;
}

/* ---- sparse files ---- */

/* The old GNU format keeps pairs in the header and in blocks behind it. */
static int old_sparse(struct stele_tar *t, uint8_t *block)
{
	int64_t size;
	if (field(t, block + 483, 12, "real size", &size) < 0)
		return -EBADMSG;
	t->sparse_size = (uint64_t)size;
	size_t at = 386, pairs = 4;
	bool more = block[482];
	for (;;) {
		for (size_t i = 0; i < pairs && block[at + 24 * i]; i++) {
			int64_t offset, length;
			if (field(t, block + at + 24 * i, 12, "sparse map", &offset) < 0 ||
			    field(t, block + at + 24 * i + 12, 12, "sparse map", &length) < 0)
				return -EBADMSG;
			if (add_region(t, (uint64_t)offset, (uint64_t)length) < 0)
				return -ENOMEM;
		}
		if (!more)
			return 0;
		if (t->entry.n_regions * sizeof(struct stele_region) > t->limits.header)
			return bad(t, "its sparse map is larger than the %llu bytes allowed", (unsigned long long)t->limits.header);
		int got = take_all(t, block, BLOCK);
		if (got < 0)
			return got;
		at = 0;
		pairs = 21;
		more = block[504];
	}
}

/* A line of the map of sparse format 1.0, which precedes the file's data. */
static int map_line(struct stele_tar *t, uint64_t *used, uint64_t *ret_value)
{
	char line[24];
	for (size_t n = 0; n < sizeof(line); n++) {
		if (*used == t->left || *used == t->limits.header)
			return bad(t, "its sparse map is too long");
		int got = take_all(t, line + n, 1);
		if (got < 0)
			return got;
		++*used;
		if (line[n] == '\n')
			return decimal(t, line, n, "GNU.sparse.map", ret_value);
	}
	return bad(t, "its sparse map has a line that is no number");
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
			result = add_region(t, offset, size);
	}
	if (result < 0)
		return result;
	uint8_t rest[BLOCK];
	if (used + padded(used) > t->left)
		return bad(t, "its sparse map is longer than its data");
	result = take_all(t, rest, padded(used));
	t->left -= used + padded(used);
	return result < 0 ? result : 0;
}

static int check_sparse(struct stele_tar *t)
{
	struct stele_entry *e = &t->entry;
	if (t->seen & SPARSE_MAJOR) {
		if (t->sparse_major != 1 || t->sparse_minor != 0 || e->n_regions)
			return bad(t, "it is a sparse file of a format that is not known here");
		int result = map_10(t);
		if (result < 0)
			return result;
	}
	uint64_t end = 0, sum = 0;
	for (uint32_t i = 0; i < e->n_regions; i++) {
		const struct stele_region *r = &t->regions[i];
		if (r->offset < end || r->size > t->left || __builtin_add_overflow(r->offset, r->size, &end) ||
		    end > t->sparse_size)
			return bad(t, "its sparse map overlaps or leads out of the file");
		sum += r->size;
		if (sum > t->left)
			break;
	}
	if (sum != t->left || t->sparse_half || t->sparse_size > t->limits.file)
		return bad(t, "its sparse map does not fit its sizes");
	e->regions = t->regions;
	e->sparse = 1;
	e->size = t->sparse_size;
	return 0;
}

/* ---- entries ---- */

static int finish(struct stele_tar *t, uint8_t *header, int type, int64_t size)
{
	struct stele_entry *e = &t->entry;
	int64_t mode, mtime, major = 0, minor = 0;
	if (t->seen & SIZE) {
		/* CVE-2025-62518: readers that believe one or the other go on at different places. */
		if (size != t->size && t->size <= USTAR_SIZE_MAX)
			return bad(t, "its header and its PAX record tell different sizes");
		size = t->size;
	}
	if (field(t, header + 100, 8, "mode", &mode) < 0 || field(t, header + 136, 12, "time", &mtime) < 0)
		return -EBADMSG;
	if (id_field(t, t->local.uid, t->global.uid, header + 108, "uid", &e->uid) < 0 ||
	    id_field(t, t->local.gid, t->global.gid, header + 116, "gid", &e->gid) < 0)
		return -EBADMSG;
	if (!(t->seen & (PATH | SPARSE_NAME)) && !t->long_name && short_name(t, header) < 0)
		return -EBADMSG;
	size_t length = strlen(e->path);
	if ((type == '\0' || type == '0') && e->path[length - 1] == '/')
		type = '5'; /* before ustar, that told a directory */
	if (type == '\0' || type == '7')
		type = '0';
	if ((type == '1' || type == '2') && !(t->seen & LINK) && !t->long_link &&
	    copy_path(t, e->link, (const char *)header + 157, strnlen((const char *)header + 157, 100), "link's target") < 0)
		return -EBADMSG;
	if ((type == '3' || type == '4') && (field(t, header + 329, 8, "device number", &major) < 0 ||
	                                     field(t, header + 337, 8, "device number", &minor) < 0))
		return -EBADMSG;
	if (major < 0 || major > 0xfff || minor < 0 || minor > 0xfffff)
		return bad(t, "its device number %lld:%lld is out of range", (long long)major, (long long)minor);
	if (size < 0 || (type != '0' && type != 'S' && size != 0))
		return bad(t, size < 0 ? "its size is negative" : "it has data, which an entry of its type cannot have");
	if ((uint64_t)size > t->limits.file)
		return bad(t, "it is a file of more than the %llu bytes allowed", (unsigned long long)t->limits.file);
	const struct numbers *n = t->local.mtime != UNSET ? &t->local : &t->global;
	e->mtime = n->mtime != UNSET ? n->mtime : mtime;
	e->mtime_ns = n->mtime != UNSET ? n->mtime_ns : 0;
	e->mode = (uint32_t)mode & 07777;
	e->major = (uint32_t)major;
	e->minor = (uint32_t)minor;
	e->size = (uint64_t)size;
	t->left = (uint64_t)size;
	t->padding = padded((uint64_t)size);
	int result = type == 'S' ? old_sparse(t, header) : 0;
	if (result == 0 && (type == 'S' || t->seen & (SPARSE_SIZE | SPARSE_MAP | SPARSE_MAJOR) || e->n_regions))
		result = type == 'S' || type == '0' ? check_sparse(t) : bad(t, "it has a sparse map, but is no file");
	e->type = type == 'S' ? '0' : type;
	e->stored = t->left;
	return result < 0 ? result : 1;
}

static int next(struct stele_tar *t)
{
	struct stele_entry *e = &t->entry;
	int result = skip_data(t);
	if (result < 0)
		return result;
	e->n_xattrs = e->n_regions = 0;
	e->sparse = 0;
	e->path[0] = e->link[0] = '\0';
	t->seen = 0;
	t->long_name = t->long_link = t->sparse_half = false;
	t->local = (struct numbers){ UNSET, UNSET, UNSET, 0 };
	t->sparse_size = t->sparse_major = t->sparse_minor = 0;
	bool about_next = false, pax = false;
	for (;;) {
		uint8_t header[BLOCK];
		int64_t size;
		result = take(t, header, BLOCK);
		if (result < 0 || (result == 0 && !about_next))
			return result;
		if (result == 0 || all_zero(header, BLOCK))
			return about_next ? bad(t, "it ends behind a header that is about a next entry") : drain(t);
		if (checksum(t, header) < 0 || field(t, header + 124, 12, "size", &size) < 0)
			return -EBADMSG;
		int type = header[156];
		switch (type) {
		case 'x':
			if (pax || t->long_name || t->long_link)
				return bad(t, "two headers are about one entry");
			pax = true;
			result = body(t, size);
			if (result == 0)
				result = records(t, false, t->records, (size_t)size);
			break;
		case 'g':
			if (about_next)
				return bad(t, "a global header is between an entry and its own");
			result = body(t, size);
			if (result == 0)
				result = records(t, true, t->records, (size_t)size);
			break;
		case 'L':
			result = pax ? bad(t, "two headers are about one entry") : long_text(t, size, e->path, &t->long_name, "name");
			break;
		case 'K':
			result = pax ? bad(t, "two headers are about one entry")
				     : long_text(t, size, e->link, &t->long_link, "link's target");
			break;
		case '\0': case '0': case '1': case '2': case '3': case '4': case '5': case '6': case '7': case 'S':
			return finish(t, header, type, size);
		default:
			return bad(t, "an entry has the unknown type 0x%02x", (unsigned)type);
		}
		if (result < 0)
			return result;
		about_next = type != 'g';
	}
}

int stele_tar_next(struct stele_tar *t, const struct stele_entry **ret_entry)
{
	t->problem[0] = '\0';
	int result = next(t);
	*ret_entry = &t->entry;
	return result;
}

struct stele_tar *stele_tar_open(int fd, const struct stele_tar_limits *limits)
{
	struct stele_tar *t = calloc(1, sizeof(*t));
	if (!t)
		return NULL;
	t->limits = *limits;
	t->global = (struct numbers){ UNSET, UNSET, UNSET, 0 };
	t->stream = stele_stream_open(fd, limits->bytes, limits->ratio);
	if (t->stream)
		return t;
	int error = errno;
	free(t);
	errno = error;
	return NULL;
}

const char *stele_tar_problem(const struct stele_tar *t)
{
	return t->problem;
}

void stele_tar_digest(const struct stele_tar *t, uint8_t ret_digest[32])
{
	stele_stream_digest(t->stream, ret_digest);
}

void stele_tar_close(struct stele_tar *t)
{
	stele_stream_close(t->stream);
	free(t->records);
	free(t->regions);
	free(t);
}
