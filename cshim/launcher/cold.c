/* OpenSSL, of which most commands need nothing: it is packed in the executable, and put where it was linked
 * (snapshot.ld) when Python first imports _ssl or _hashlib.
 *
 * It comes from a sealed memfd: no page of it is ever writable and executable, and no code can be exchanged. */
#include "launcher.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/crypto.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include <lzma.h>

#define PY_SSIZE_T_CLEAN
#include <Python.h>

/* From snapshot.ld, side by side: code, constants, variables, and variables that begin as zero. */
extern char stele_coldtext_start[], stele_coldtext_end[], stele_coldconst_start[], stele_coldconst_end[];
extern char stele_colddata_start[], stele_colddata_end[], stele_coldbss_start[], stele_coldbss_end[];

/* libcrypto's own; asks the processor what it can do. It would run at each start, were it not cut off by link.py. */
extern void OPENSSL_cpuid_setup(void);

PyMODINIT_FUNC PyInit__ssl(void);
PyMODINIT_FUNC PyInit__hashlib(void);

/* A sealed memfd with all but the zeros; -1 with errno. */
static int unpacked(size_t size)
{
	int fd = memfd_create("stele-cold", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	if (fd < 0)
		return -1;
	void *room = MAP_FAILED;
	if (ftruncate(fd, (off_t)size) == 0)
		room = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (room != MAP_FAILED) {
		uint64_t limit = UINT64_MAX;
		size_t from = 0, got = 0;
		lzma_ret done = lzma_stream_buffer_decode(&limit, 0, NULL, stele_seal.cold, &from, stele_seal.cold_size,
							  room, &got, size);
		munmap(room, size);
		bool whole = done == LZMA_OK && got == size;
		if (whole && fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE | F_SEAL_GROW | F_SEAL_SHRINK | F_SEAL_SEAL) == 0)
			return fd;
		if (!whole)
			errno = EBADMSG;
	}
	int saved = errno;
	close(fd);
	errno = saved;
	return -1;
}

/* 0 or -1 with errno. fd: -1 for zeros. */
static int map_part(int fd, char *start, const char *end, int protection)
{
	if (start == end)
		return 0;
	int flags = MAP_PRIVATE | MAP_FIXED_NOREPLACE | (fd < 0 ? MAP_ANONYMOUS : 0);
	off_t offset = fd < 0 ? 0 : start - stele_coldtext_start;
	return mmap(start, (size_t)(end - start), protection, flags, fd, offset) == start ? 0 : -1;
}

static int map_all(int fd)
{
	if (map_part(fd, stele_coldtext_start, stele_coldtext_end, PROT_READ | PROT_EXEC) < 0 ||
	    map_part(fd, stele_coldconst_start, stele_coldconst_end, PROT_READ) < 0 ||
	    map_part(fd, stele_colddata_start, stele_colddata_end, PROT_READ | PROT_WRITE) < 0 ||
	    map_part(-1, stele_coldbss_start, stele_coldbss_end, PROT_READ | PROT_WRITE) < 0)
		return -1;
	return 0;
}

/* Under Python's lock. 0, or -1 with a Python exception. */
static int wake(void)
{
	static bool awake;
	if (awake)
		return 0;
	if (stele_seal.sealed) { /* else the kernel has mapped them with the rest */
		int fd = unpacked((size_t)(stele_colddata_end - stele_coldtext_start));
		if (fd < 0 || map_all(fd) < 0) {
			PyErr_Format(PyExc_ImportError, "OpenSSL cannot be put in memory: %s", strerror(errno));
			if (fd >= 0)
				close(fd);
			return -1;
		}
		close(fd);
	}
	awake = true;
	OPENSSL_cpuid_setup();
	/* The host's openssl.cnf is for the host's libraries, and may name some to load. */
	OPENSSL_init_crypto(OPENSSL_INIT_NO_LOAD_CONFIG, NULL);
	return 0;
}

/* What the table of built-in modules has for _ssl and _hashlib. */
PyObject *cold_ssl(void)
{
	return wake() < 0 ? NULL : PyInit__ssl();
}

PyObject *cold_hashlib(void)
{
	return wake() < 0 ? NULL : PyInit__hashlib();
}
