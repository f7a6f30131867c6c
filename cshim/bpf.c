#include "bpf.h"

#include <errno.h>
#include <linux/bpf.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

static int bpf(int command, union bpf_attr *attr)
{
	long r = syscall(SYS_bpf, command, attr, sizeof(*attr));
	return r < 0 ? -errno : (int)r;
}

/* The kernel expects fds and addresses as unsigned numbers, and zero in all unused fields of the union (bpf(2)). */
static uint64_t address(const void *p)
{
	return (uint64_t)(uintptr_t)p;
}

int stele_bpf_load(const void *instructions, uint32_t count, const char *name, char *log, uint32_t log_size)
{
	union bpf_attr attr;
	memset(&attr, 0, sizeof(attr));
	attr.prog_type = BPF_PROG_TYPE_CGROUP_DEVICE;
	attr.insns = address(instructions);
	attr.insn_cnt = count;
	attr.license = address("Apache-2.0");
	if (log_size) {
		log[0] = '\0';
		attr.log_buf = address(log);
		attr.log_size = log_size;
		attr.log_level = 1;
	}
	strncpy(attr.prog_name, name, sizeof(attr.prog_name) - 1);
	return bpf(BPF_PROG_LOAD, &attr);
}

int stele_bpf_query(int cgroup, uint32_t *ids, uint32_t capacity, uint32_t *ret_count)
{
	union bpf_attr attr;
	memset(&attr, 0, sizeof(attr));
	attr.query.target_fd = (uint32_t)cgroup;
	attr.query.attach_type = BPF_CGROUP_DEVICE;
	attr.query.prog_ids = address(ids);
	attr.query.prog_cnt = capacity;
	int r = bpf(BPF_PROG_QUERY, &attr);
	if (r == 0)
		*ret_count = attr.query.prog_cnt;
	return r;
}

int stele_bpf_open(uint32_t id)
{
	union bpf_attr attr;
	memset(&attr, 0, sizeof(attr));
	attr.prog_id = id;
	return bpf(BPF_PROG_GET_FD_BY_ID, &attr);
}

int stele_bpf_name(int program, char ret_name[16])
{
	_Static_assert(BPF_OBJ_NAME_LEN == 16, "bpf.h says 16");
	struct bpf_prog_info info;
	union bpf_attr attr;
	memset(&info, 0, sizeof(info));
	memset(&attr, 0, sizeof(attr));
	attr.info.bpf_fd = (uint32_t)program;
	attr.info.info = address(&info);
	attr.info.info_len = sizeof(info);
	int r = bpf(BPF_OBJ_GET_INFO_BY_FD, &attr);
	if (r == 0)
		memcpy(ret_name, info.name, sizeof(info.name));
	return r;
}

int stele_bpf_attach(int cgroup, int program, int old)
{
	union bpf_attr attr;
	memset(&attr, 0, sizeof(attr));
	attr.target_fd = (uint32_t)cgroup;
	attr.attach_bpf_fd = (uint32_t)program;
	attr.attach_type = BPF_CGROUP_DEVICE;
	attr.attach_flags = BPF_F_ALLOW_MULTI;
	if (old >= 0) {
		attr.attach_flags |= BPF_F_REPLACE;
		attr.replace_bpf_fd = (uint32_t)old;
	}
	return bpf(BPF_PROG_ATTACH, &attr);
}
