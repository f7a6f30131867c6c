#include "blob.h"

/* Embed a file of the build as a read-only object `name`, and its size as `name`_size. */
#define CARRY(name, file)                                 \
	__asm__(".section .rodata\n"                      \
		".balign 4096\n"                          \
		".global " name "\n" name ":\n"           \
		".incbin \"" file "\"\n"                  \
		".L" name "_end:\n"                       \
		".balign 8\n"                             \
		".global " name "_size\n" name "_size:\n" \
		".quad .L" name "_end - " name "\n"       \
		".text\n")

/* STELE_INIT, STELE_WAITER: the paths of build/lib/init and build/lib/waiter as strings, set by the build. */
#ifdef STELE_INIT
#if __has_include(STELE_INIT)
#define HAS_INIT
#endif
#endif
#ifdef HAS_INIT
CARRY("stele_init_blob", STELE_INIT);
#else
const uint8_t stele_init_blob[1] = { 0 };
const size_t stele_init_blob_size = 0;
#endif

#ifdef STELE_WAITER
#if __has_include(STELE_WAITER)
#define HAS_WAITER
#endif
#endif
#ifdef HAS_WAITER
CARRY("stele_waiter_blob", STELE_WAITER);
#else
const uint8_t stele_waiter_blob[1] = { 0 };
const size_t stele_waiter_blob_size = 0;
#endif
