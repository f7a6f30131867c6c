/* What every file of the launcher uses: the seal of the executable, and the standard streams. */
#include "launcher.h"

#include <fcntl.h>
#include <sys/mman.h>

volatile struct seal stele_seal = { .sealed = 0, .id = { 1 } };

/* The caller may have closed 0, 1 or 2; a file opened later must not get such a number. 0 or -1. */
int fill_streams(void)
{
	for (int fd = 0; fd < 3; fd++) {
		if (fcntl(fd, F_GETFD) >= 0)
			continue;
		int got = open("/dev/null", O_RDWR);
		if (got < 0)
			got = memfd_create("null", 0);
		if (got != fd)
			return -1;
	}
	return 0;
}
