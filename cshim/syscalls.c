#include "syscalls.h"

#include <errno.h>
#include <linux/seccomp.h>
#include <seccomp.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

int stele_syscall(uint32_t arch, const char *name)
{
	return seccomp_syscall_resolve_name_arch(arch, name);
}

int stele_syscall_name(uint32_t arch, int number, char *ret_name, int size)
{
	char *name = seccomp_syscall_resolve_num_arch(arch, number);
	if (!name)
		return -1;
	size_t length = strlen(name);
	int result = -1;
	if (length < (size_t)size) {
		memcpy(ret_name, name, length + 1);
		result = (int)length;
	}
	free(name);
	return result;
}

uint32_t stele_native_arch(void)
{
	return seccomp_arch_native();
}

uint32_t stele_seccomp_version(void)
{
	const struct scmp_version *v = seccomp_version();
	return v->major << 16 | v->minor << 8 | v->micro;
}

int stele_seccomp_has_action(uint32_t action)
{
	return syscall(SYS_seccomp, SECCOMP_GET_ACTION_AVAIL, 0, &action) == 0;
}

/* Loading a filter at address 0 always fails: with EFAULT if the flags are supported, with EINVAL if not. */
int stele_seccomp_has_flag(uint32_t flag)
{
	/* WAIT_KILLABLE_RECV is valid only with a listener. */
	if (flag == SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV)
		flag |= SECCOMP_FILTER_FLAG_NEW_LISTENER;
	return syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, flag, NULL) < 0 && errno == EFAULT;
}
