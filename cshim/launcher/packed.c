/* The Python modules are each compressed with zstd, with a dictionary that all of them share: any one can be
 * decompressed by itself, and together they are as small as a single archive. The memory for this belongs to the
 * process. */
#include "launcher.h"

#include <stdint.h>
#include <sys/mman.h>

#define ZSTD_STATIC_LINKING_ONLY
#include <zstd.h>

/* From embedded.S: the compressed dictionary. */
extern const unsigned char stele_dictionary_start[], stele_dictionary_end[];

static void *dictionary; /* followed by zstd's working memory */
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

/* Decompresses a module into a buffer of its size; false on failure. Under Python's lock. */
bool packed_module(const void *from, size_t size, void *to, size_t room)
{
	if (!dictionary && !prepare())
		return false;
	return ZSTD_decompress_usingDict(context, to, room, from, size, dictionary, dictionary_size) == room;
}
