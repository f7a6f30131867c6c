#include "fstype.h"

#include <errno.h>
#include <sys/vfs.h>

int64_t stele_fs_type(int fd)
{
	struct statfs s;
	return fstatfs(fd, &s) < 0 ? -errno : (int64_t)s.f_type;
}
