/* Functions that libraries refer to and nobody here calls, in place of the libraries' own, which are 0.8 megabytes:
 * zstd's compressor, with which OpenSSL would compress certificates, and its decoders for the formats before 2016; and
 * functions of angles, each in four variants, which Python's math then reports as ValueError. */
#include <math.h>
#include <stddef.h>

#define NOTHING(name)                                            \
	void *name(void);                                        \
	void *name(void)                                         \
	{                                                        \
		return NULL; /* out of memory, for the caller */ \
	}
#define FAILURE(name)                                         \
	size_t name(void);                                    \
	size_t name(void)                                     \
	{                                                     \
		return (size_t)-1; /* zstd's error GENERIC */ \
	}

NOTHING(ZSTD_createCStream_advanced)
FAILURE(ZSTD_CStreamInSize)
FAILURE(ZSTD_compress)
FAILURE(ZSTD_compressStream2)
FAILURE(ZSTD_endStream)
FAILURE(ZSTD_flushStream)
FAILURE(ZSTD_freeCStream)
FAILURE(ZSTD_initCStream)

#define FORMAT(version)                                                                             \
	NOTHING(ZBUFF##version##_createDCtx)                                                        \
	FAILURE(ZBUFF##version##_decompressContinue)                                                \
	FAILURE(ZBUFF##version##_decompressInitDictionary)                                          \
	FAILURE(ZBUFF##version##_freeDCtx)                                                          \
	NOTHING(ZSTD##version##_createDCtx)                                                         \
	FAILURE(ZSTD##version##_decompress_usingDict)                                               \
	FAILURE(ZSTD##version##_freeDCtx)                                                           \
	FAILURE(ZSTD##version##_getFrameParams)                                                     \
	void ZSTD##version##_findFrameSizeInfoLegacy(const void *from, size_t size, size_t *packed, \
						     unsigned long long *unpacked);                 \
	void ZSTD##version##_findFrameSizeInfoLegacy(const void *from, size_t size, size_t *packed, \
						     unsigned long long *unpacked)                  \
	{                                                                                           \
		(void)from, (void)size;                                                             \
		*packed = (size_t)-1;                                                               \
		*unpacked = (unsigned long long)-2; /* ZSTD_CONTENTSIZE_ERROR */                    \
	}
FORMAT(v05)
FORMAT(v06)
FORMAT(v07)

double asin(double x)
{
	return x - x + NAN;
}

double acos(double x)
{
	return x - x + NAN;
}

double tan(double x)
{
	return x - x + NAN;
}

double atan(double x)
{
	return x - x + NAN;
}

double atan2(double y, double x)
{
	return y - x + NAN;
}
