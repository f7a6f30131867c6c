#include "seccomp_filter.h"

#include <errno.h>
#include <linux/seccomp.h>
#include <seccomp.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#define MAX_ARGS 6
#define MAX_CALL 1024 /* above every number of the architectures that have such calls */

static int refused(struct stele_filter *f, const char *what, uint32_t index, int error)
{
	f->failed = what;
	f->failed_index = index;
	return error;
}

static int add_rule(scmp_filter_ctx ctx, const struct stele_filter *f, const struct stele_rule *rule)
{
	struct scmp_arg_cmp args[MAX_ARGS];
	if (rule->count > MAX_ARGS)
		return -EINVAL;
	for (uint32_t i = 0; i < rule->count; i++) {
		const struct stele_condition *c = &f->conditions[rule->first + i];
		args[i] = (struct scmp_arg_cmp){ .arg = c->index, .op = (enum scmp_compare)c->op,
						 .datum_a = c->value, .datum_b = c->value_two };
	}
	int r = seccomp_rule_add_array(ctx, rule->action, rule->syscall, rule->count, args);
	/* The same call and conditions with another action: runtime/plan/seccomp_head.py decides on it. */
	return r == -EEXIST ? 0 : r;
}

/* The action for a foreign architecture (SCMP_FLTATR_ACT_BADARCH) stays as libseccomp has it: the thread is killed. */
static int fill(scmp_filter_ctx ctx, struct stele_filter *f)
{
	int r = seccomp_attr_set(ctx, SCMP_FLTATR_CTL_OPTIMIZE, (uint32_t)f->optimize);
	if (r < 0)
		return refused(f, "optimize", 0, r);
	for (uint32_t i = 0; i < f->n_archs; i++) {
		r = seccomp_arch_add(ctx, f->archs[i]);
		if (r < 0 && r != -EEXIST)
			return refused(f, "architectures", i, r);
	}
	for (uint32_t i = 0; i < f->n_rules; i++) {
		r = add_rule(ctx, f, &f->rules[i]);
		if (r < 0)
			return refused(f, "syscalls", i, r);
	}
	return 0;
}

int stele_seccomp_compile(struct stele_filter *f)
{
	f->failed = NULL;
	scmp_filter_ctx ctx = seccomp_init(f->default_action);
	if (!ctx)
		return refused(f, "defaultAction", 0, -EINVAL);
	int r = fill(ctx, f);
	int fd = -1;
	if (r == 0) {
		fd = memfd_create("stele-seccomp", MFD_CLOEXEC);
		r = fd < 0 ? refused(f, "memfd", 0, -errno) : seccomp_export_bpf(ctx, fd);
	}
	seccomp_release(ctx);
	if (r == 0)
		return fd;
	if (fd >= 0)
		close(fd);
	return f->failed ? r : refused(f, "program", 0, r);
}

int stele_syscall(uint32_t arch, const char *name)
{
	return seccomp_syscall_resolve_name_arch(arch, name);
}

int stele_direct_syscall(uint32_t arch, const char *name)
{
	int found = -1;
	for (int number = 0; number < MAX_CALL && found < 0; number++) {
		char *other = seccomp_syscall_resolve_num_arch(arch, number);
		if (other && strcmp(other, name) == 0)
			found = number;
		free(other);
	}
	return found;
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

/* A filter at address 0 can never be loaded: EFAULT tells that the flag before it was good, EINVAL that it was not. */
int stele_seccomp_has_flag(uint32_t flag)
{
	/* WAIT_KILLABLE_RECV is only good with a listener. */
	if (flag == SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV)
		flag |= SECCOMP_FILTER_FLAG_NEW_LISTENER;
	return syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, flag, NULL) < 0 && errno == EFAULT;
}
