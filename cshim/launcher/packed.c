/* The Python modules are packed by zstd, each by itself, with a dictionary that all have in common: any one can be
 * unpacked alone, and together they are as small as if they were one. What this needs of memory is the process's own. */
#include "launcher.h"

#include <stdint.h>
#include <sys/mman.h>

#define ZSTD_STATIC_LINKING_ONLY
#include <zstd.h>

/* From embedded.S: the dictionary, packed. */
extern const unsigned char stele_dictionary_start[], stele_dictionary_end[];

static void *dictionary; /* and behind it what ZSTD works in */
static size_t dictionary_size;
static ZSTD_DCtx *context;

static bool prepare(void)
{
	size_t packed = (size_t)(stele_dictionary_end - stele_dictionary_start);
	unsigned long long size = ZSTD_getFrameContentSize(stele_dictionary_start, packed);
	size_t work = ZSTD_estimateDCtxSize();
	if (size > UINT32_MAX)
		return false;
	char *room = mmap(NULL, ((size_t)size + 63) / 64 * 64 + work, PROT_READ | PROT_WRITE,
			  MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (room == MAP_FAILED)
		return false;
	context = ZSTD_initStaticDCtx(room + ((size_t)size + 63) / 64 * 64, work);
	dictionary_size =
		context ? ZSTD_decompressDCtx(context, room, (size_t)size, stele_dictionary_start, packed) : 0;
	dictionary = context && dictionary_size == size ? room : NULL;
	return dictionary;
}

/* Unpacks a module into room that is as large as it; false if it cannot be. Under Python's lock. */
bool packed_module(const void *from, size_t size, void *to, size_t room)
{
	if (!dictionary && !prepare())
		return false;
	return ZSTD_decompress_usingDict(context, to, room, from, size, dictionary, dictionary_size) == room;
}
