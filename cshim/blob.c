#include "blob.h"

/* STELE_INIT: the path of build/lib/init as a string, from the build. */
#if defined(STELE_INIT) && __has_include(STELE_INIT)
__asm__(".section .rodata\n"
	".balign 4096\n"
	".global stele_init_blob\n"
	"stele_init_blob:\n"
	".incbin \"" STELE_INIT "\"\n"
	".Lstele_init_end:\n"
	".balign 8\n"
	".global stele_init_blob_size\n"
	"stele_init_blob_size:\n"
	".quad .Lstele_init_end - stele_init_blob\n"
	".text\n");
#else
const uint8_t stele_init_blob[1] = { 0 };
const size_t stele_init_blob_size = 0;
#endif
