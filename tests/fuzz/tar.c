/* The reader of layers (cshim/tar.h): any bytes end in order, and what is told of an entry holds. */
#define _GNU_SOURCE
#include "tar.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static void must(int holds)
{
	if (!holds)
		abort();
}

static void check(const struct stele_entry *e, const struct stele_tar_limits *limits)
{
	must(*e->path && strnlen(e->path, STELE_PATH_MAX) < STELE_PATH_MAX);
	must(strnlen(e->link, STELE_PATH_MAX) < STELE_PATH_MAX);
	must(strchr("0123456", e->type) && e->type);
	must(e->uid != UINT32_MAX && e->gid != UINT32_MAX && e->mode <= 07777 && e->mtime_ns < 1000000000);
	must(e->size <= limits->file && (e->type == '0' || (e->size == 0 && e->stored == 0)));
	must((e->type != '1' && e->type != '2') || *e->link);
	uint64_t sum = 0, end = 0;
	for (uint32_t i = 0; e->sparse && i < e->n_regions; i++) {
		must(e->regions[i].offset >= end);
		end = e->regions[i].offset + e->regions[i].size;
		must(end >= e->regions[i].offset && end <= e->size);
		sum += e->regions[i].size;
	}
	must(sum == (e->sparse ? e->stored : 0));
	must(e->sparse || e->stored == e->size);
	uint64_t all = 0;
	for (uint32_t i = 0; i < e->n_xattrs; i++) {
		all += strlen(e->xattrs[i].name);
		for (uint64_t n = 0; n < e->xattrs[i].size; n++)
			all += e->xattrs[i].value[n];
	}
	must(all < UINT64_MAX);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static int fd = -1;
	const struct stele_tar_limits limits = { .bytes = 4 << 20, .ratio = 500, .header = 64 << 10, .file = 1ULL << 40 };
	const struct stele_entry *e;
	const uint8_t *at;
	if (fd < 0)
		fd = memfd_create("layer", 0);
	must(ftruncate(fd, 0) == 0 && pwrite(fd, data, size, 0) == (ssize_t)size);
	struct stele_tar *t = stele_tar_open(fd, &limits);
	if (!t)
		return 0;
	int result;
	while ((result = stele_tar_next(t, &e)) == 1) {
		check(e, &limits);
		uint64_t came = 0;
		int64_t n;
		/* Every third entry's data is left for the reader to skip. */
		while (e->path[0] % 3 && (n = stele_tar_data(t, &at)) > 0)
			for (int64_t i = 0; i < n; i += 64)
				came += at[i] >= 0 ? (uint64_t)(n - i < 64 ? n - i : 64) : 0;
		must(!(e->path[0] % 3) || n < 0 || came == e->stored);
	}
	must(result <= 0);
	stele_tar_close(t);
	return 0;
}

size_t LLVMFuzzerMutate(uint8_t *data, size_t size, size_t most);

/* Headers get their checksum, or nothing behind it would be reached. */
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t most, unsigned seed)
{
	size = LLVMFuzzerMutate(data, size, most);
	for (size_t start = 0; seed % 8 && start + 512 <= size; start += 512) {
		uint8_t *block = data + start;
		unsigned sum = 0;
		char digits[9];
		if (memcmp(block + 257, "ustar", 5))
			continue;
		memset(block + 148, ' ', 8);
		for (size_t i = 0; i < 512; i++)
			sum += block[i];
		snprintf(digits, sizeof(digits), "%06o", sum);
		memcpy(block + 148, digits, 7);
	}
	return size;
}
