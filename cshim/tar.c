#include "tar.h"

#include "stream.h"
#include "tar_parts.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#define USTAR_SIZE_MAX 077777777777LL /* the largest number of 11 octal digits */

int64_t stele_tar_data(struct stele_tar *t, const uint8_t **ret_at)
{
	stele_stream_skip(t->stream, t->taken);
	t->taken = 0;
	if (!t->left)
		return 0;
	int64_t n = stele_stream_peek(t->stream, ret_at);
	if (n <= 0)
		return n < 0 ? n : tar_bad(t, "it ends in the middle of a file");
	t->taken = (uint64_t)n < t->left ? (uint64_t)n : t->left;
	t->left -= t->taken;
	return (int64_t)t->taken;
}

/* Skip the rest of the entry's data. */
static int skip_data(struct stele_tar *t)
{
	const uint8_t *at;
	int64_t n;
	while ((n = stele_tar_data(t, &at)) > 0)
		;
	if (n < 0)
		return (int)n;
	/* The last file's padding may be missing, as may the end of the archive. */
	while (t->padding && (n = stele_stream_peek(t->stream, &at)) > 0) {
		uint64_t part = (uint64_t)n < t->padding ? (uint64_t)n : t->padding;
		stele_stream_skip(t->stream, part);
		t->padding -= part;
	}
	t->padding = 0;
	return n < 0 ? (int)n : 0;
}

/* Read the data of a header that describes the next one. Frees `*ret_text` first; the data gets a NUL at its end. */
static int body(struct stele_tar *t, int64_t size, char **ret_text)
{
	if (size < 0 || (uint64_t)size > t->limits.header)
		return tar_bad(t, "a header of %lld bytes is more than the %llu allowed", (long long)size,
			       (unsigned long long)t->limits.header);
	free(*ret_text);
	uint64_t all = (uint64_t)size + tar_padded((uint64_t)size);
	*ret_text = malloc(all + 1);
	if (!*ret_text)
		return -ENOMEM;
	int got = tar_take_all(t, *ret_text, all);
	(*ret_text)[size] = '\0';
	return got < 0 ? got : 0;
}

/* GNU's long name or link target: text that ends at a NUL. A PAX header may repeat it. */
static int long_text(struct stele_tar *t, int64_t size, char to[STELE_PATH_MAX], bool *seen, unsigned pax,
		     const char *what)
{
	bool given = *seen || t->seen & pax;
	*seen = true;
	int result = body(t, size, &t->text);
	return result < 0 ? result : tar_copy_name(t, to, t->text, strlen(t->text), given, what);
}

static bool all_zero(const uint8_t *at, size_t size)
{
	return size == 0 || (at[0] == 0 && !memcmp(at, at + 1, size - 1));
}

/* Bytes after the end are part of the digest and otherwise ignored. */
static int drain(struct stele_tar *t, bool zeros)
{
	for (;;) {
		const uint8_t *at;
		int64_t n = stele_stream_peek(t->stream, &at);
		if (n <= 0)
			return (int)n;
		if (zeros && !all_zero(at, (size_t)n))
			return tar_bad(t, "there is something behind its end");
		stele_stream_skip(t->stream, (size_t)n);
	}
}

/* The end is two blocks of zeros, of which one is read. What follows a single one is read by some readers and not by
   others; the same goes for what follows a hard link whose data may begin with zeros. */
static int finish_archive(struct stele_tar *t)
{
	uint8_t second[BLOCK];
	for (size_t got = 0; got < BLOCK;) {
		const uint8_t *at;
		int64_t n = stele_stream_peek(t->stream, &at);
		if (n <= 0)
			return (int)n;
		size_t part = (size_t)n < BLOCK - got ? (size_t)n : BLOCK - got;
		memcpy(second + got, at, part);
		if (!all_zero(second + got, part))
			return tar_bad(t, "there is something behind a single block of zeros");
		stele_stream_skip(t->stream, part);
		got += part;
	}
	/* Without any entry, it is more likely a file system image than an archive with something appended. */
	return drain(t, t->linked > 0 || !t->entries);
}

static int checksum(struct stele_tar *t, const uint8_t *header)
{
	int64_t told, with_signs = 8 * ' ', without = 8 * ' ';
	if (tar_field(t, header + 148, 8, "checksum", &told) < 0)
		return -EBADMSG;
	for (size_t i = 0; i < BLOCK; i++) {
		bool own = i >= 148 && i < 156;
		without += own ? 0 : header[i];
		with_signs += own ? 0 : (int8_t)header[i];
	}
	return told == without || told == with_signs ? 0 : tar_bad(t, "a header's checksum is wrong");
}

/* The length of the prefix that ustar has for long names. GNU has two times in its place; but what Go wrote until 2016
   has GNU's magic and the prefix, which then is not a number. star's prefix is shorter, with times behind it. */
static size_t prefix_length(struct stele_tar *t, const uint8_t *header)
{
	const uint8_t *prefix = header + 345;
	size_t size = strnlen((const char *)prefix, memcmp(header + 508, "tar", 4) ? 155 : 131);
	if (!memcmp(header + 257, "ustar\0", 6))
		return size;
	int64_t time;
	if (memcmp(header + 257, "ustar  ", 8) || !size ||
	    (tar_field(t, prefix, 12, "", &time) == 0 && tar_field(t, prefix + 12, 12, "", &time) == 0))
		return 0;
	t->problem[0] = '\0';
	for (size_t i = 0; i < size; i++)
		if (prefix[i] & 0x80)
			return 0;
	return size;
}

/* The name of a header without PAX or GNU long name: NUL-terminated unless it fills its field. */
static int short_name(struct stele_tar *t, const uint8_t *header)
{
	char whole[156 + 1 + 101] = "";
	size_t prefix = prefix_length(t, header);
	memcpy(whole, header + 345, prefix);
	if (prefix)
		whole[prefix++] = '/';
	size_t name = strnlen((const char *)header, 100);
	memcpy(whole + prefix, header, name);
	return tar_copy_path(t, t->entry.path, whole, prefix + name, "name");
}

static int id_field(struct stele_tar *t, int64_t local, int64_t global, const uint8_t *at, const char *what,
		    uint32_t *ret)
{
	int64_t id = local != UNSET ? local : global;
	if ((id == UNSET || id == DELETED) && tar_field(t, at, 8, what, &id) < 0)
		return -EBADMSG;
	if (id < 0 || id >= UINT32_MAX) /* 2^32-1 means "unchanged" to chown(2) */
		return tar_bad(t, "its %s %lld is out of range", what, (long long)id);
	*ret = (uint32_t)id;
	return 0;
}

/* ---- entries ---- */

static int finish(struct stele_tar *t, uint8_t *header, int type, int64_t size)
{
	struct stele_entry *e = &t->entry;
	t->entries = true;
	int64_t mode, mtime, major = 0, minor = 0;
	bool file = type == '\0' || type == '0' || type == '7' || type == 'S';
	if (!file) {
		/* Of a directory the size is a hint, of others it means nothing (POSIX pax): writers leave a file's there. Only
		   of a hard link may data follow; readers of layers expect none. */
		t->linked = type == '1' && t->pax ? (t->seen & SIZE ? t->size : size) : 0;
		size = 0;
	} else if (t->seen & SIZE) {
		/* CVE-2025-62518: readers that believe one or the other continue at different places. */
		if (size != t->size && t->size <= USTAR_SIZE_MAX)
			return tar_bad(t, "its header and its PAX record tell different sizes");
		size = t->size;
	}
	if (tar_field(t, header + 100, 8, "mode", &mode) < 0 || tar_field(t, header + 136, 12, "time", &mtime) < 0)
		return -EBADMSG;
	if (id_field(t, t->local.uid, t->global.uid, header + 108, "uid", &e->uid) < 0 ||
	    id_field(t, t->local.gid, t->global.gid, header + 116, "gid", &e->gid) < 0)
		return -EBADMSG;
	if (!(t->seen & (PATH | SPARSE_NAME)) && !t->long_name && short_name(t, header) < 0)
		return -EBADMSG;
	size_t length = strlen(e->path);
	if ((type == '\0' || type == '0') && e->path[length - 1] == '/' && size == 0)
		type = '5'; /* before ustar, this marked a directory */
	if (type == '\0' || type == '7')
		type = '0';
	if ((type == '1' || type == '2') && !(t->seen & LINK) && !t->long_link &&
	    tar_copy_path(t, e->link, (const char *)header + 157, strnlen((const char *)header + 157, 100),
			  "link's target") < 0)
		return -EBADMSG;
	if ((type == '3' || type == '4') && (tar_field(t, header + 329, 8, "device number", &major) < 0 ||
					     tar_field(t, header + 337, 8, "device number", &minor) < 0))
		return -EBADMSG;
	if (major < 0 || major > 0xfff || minor < 0 || minor > 0xfffff)
		return tar_bad(t, "its device number %lld:%lld is out of range", (long long)major, (long long)minor);
	if (size < 0)
		return tar_bad(t, "its size is negative");
	if ((uint64_t)size > t->limits.file)
		return tar_bad(t, "it is a file of more than the %llu bytes allowed",
			       (unsigned long long)t->limits.file);
	const struct numbers *n = t->local.mtime != UNSET ? &t->local : &t->global;
	bool told = n->mtime != UNSET && n->mtime != DELETED;
	e->mtime = told ? n->mtime : mtime;
	e->mtime_ns = told ? n->mtime_ns : 0;
	e->mode = (uint32_t)mode & 07777;
	e->major = (uint32_t)major;
	e->minor = (uint32_t)minor;
	e->size = (uint64_t)size;
	t->left = (uint64_t)size;
	t->padding = tar_padded((uint64_t)size);
	int result = type == 'S' ? tar_old_sparse(t, header) : 0;
	if (result == 0 && (type == 'S' || t->seen & (SPARSE_SIZE | SPARSE_MAP | SPARSE_MAJOR) || e->n_regions))
		result = type == 'S' || type == '0' ? tar_check_sparse(t)
						    : tar_bad(t, "it has a sparse map, but is not a file");
	e->type = type == 'S' ? '0' : type;
	e->stored = t->left;
	return result < 0 ? result : 1;
}

/* Read a block. Returns 1, or 0 if the archive ends there; the blocks of zeros may be missing. */
static int take_header(struct stele_tar *t, uint8_t header[BLOCK])
{
	memset(header, 0, BLOCK);
	int result = tar_take(t, header, BLOCK);
	if (result == -EBADMSG && *t->problem && all_zero(header, BLOCK)) {
		t->problem[0] = '\0'; /* truncated in the zeros at its end */
		return 0;
	}
	return result;
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
		result = take_header(t, header);
		if (result <= 0)
			return result;
		if (all_zero(header, BLOCK))
			return finish_archive(t);
		if (checksum(t, header) < 0) {
			if (t->linked <= 0)
				return -EBADMSG;
			t->left = t->linked > BLOCK ? (uint64_t)t->linked - BLOCK : 0;
			t->padding = t->linked > BLOCK ? tar_padded((uint64_t)t->linked) : 0;
			t->linked = 0;
			t->problem[0] = '\0';
			result = skip_data(t);
			if (result < 0)
				return result;
			continue;
		}
		t->linked = 0;
		if (tar_field(t, header + 124, 12, "size", &size) < 0)
			return -EBADMSG;
		int type = header[156];
		switch (type) {
		case 'x':
			if (pax)
				return tar_bad(t, "two PAX headers are about one entry");
			pax = t->pax = true;
			result = body(t, size, &t->records);
			if (result == 0)
				result = tar_records(t, false, t->records, (size_t)size);
			break;
		case 'g':
			if (about_next)
				return tar_bad(t, "a global header is between an entry and its own");
			t->pax = true;
			result = body(t, size, &t->text);
			if (result == 0)
				result = tar_records(t, true, t->text, (size_t)size);
			break;
		case 'L':
			result = long_text(t, size, e->path, &t->long_name, PATH | SPARSE_NAME, "name");
			break;
		case 'K':
			result = long_text(t, size, e->link, &t->long_link, LINK, "link's target");
			break;
		case '\0':
		case '0':
		case '1':
		case '2':
		case '3':
		case '4':
		case '5':
		case '6':
		case '7':
		case 'S':
			return finish(t, header, type, size);
		default:
			return tar_bad(t, "an entry has the unknown type 0x%02x", (unsigned)type);
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
	t->stream = stele_stream_open(fd, limits->bytes, limits->ratio, 0);
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
	free(t->text);
	free(t->regions);
	free(t);
}
