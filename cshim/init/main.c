#include "init.h"

#include <linux/capability.h>
#include <linux/close_range.h>
#include <linux/errno.h>
#include <linux/fcntl.h>
#include <linux/keyctl.h>
#include <linux/mman.h>
#include <linux/prctl.h>
#include <linux/sched.h>
#include <linux/signal.h>
#include <linux/sockios.h>

#define IFF_UP_ 1
#define AF_INET_ 2
#define SOCK_CLOEXEC_ 02000000

/* Say that it is the stele process's turn and wait for its one byte; its end ends us. */
static void meet(const struct init *in, char what)
{
	char answer;
	tell(in, &what, 1, -1);
	long n;
	while ((n = SYS(__NR_read, in->report_fd, &answer, 1)) == -EINTR)
		;
	if (n != 1)
		SYS(__NR_exit_group, 1);
}

static void do_ready(struct init *in, const struct step *s)
{
	tell(in, "", 0, -1);
	if (!s->ints[0])
		return;
	int listener = slot_fd(in, 0);
	long connection;
	while ((connection = SYS(__NR_accept4, listener, NULL, NULL, SOCK_CLOEXEC_)) < 0)
		if (connection != -EINTR && connection != -ECONNABORTED)
			fail(in, connection, "start socket");
	SYS(__NR_close, listener);
	SYS(__NR_close, in->report_fd);
	in->report_fd = (int)connection;
}

static void do_join_namespace(const struct init *in, const struct step *s)
{
	/* Before anybody in there could trace us or read our fds (CVE-2016-9962). */
	SYS(__NR_prctl, PR_SET_DUMPABLE, 0);
	int fd = slot_fd(in, s->ints[0]);
	must(in, SYS(__NR_setns, fd, s->ints[1]), "");
	SYS(__NR_close, fd);
}

/* The child goes on and is the stele process's child, not ours; but not before that knows its pid: if we are killed in
 * between, nobody could end it. */
static void do_fork(const struct init *in)
{
	int gate[2];
	char answer = 0;
	must(in, SYS(__NR_pipe2, gate, O_CLOEXEC), "");
	struct clone_args args = { .flags = CLONE_PARENT };
	long pid = SYS(__NR_clone3, &args, sizeof(args)), n;
	must(in, pid, "");
	if (pid == 0) {
		SYS(__NR_close, gate[1]);
		while ((n = SYS(__NR_read, gate[0], &answer, 1)) == -EINTR)
			;
		if (n != 1)
			SYS(__NR_exit_group, 1);
		SYS(__NR_close, gate[0]);
		return;
	}
	int32_t number = (int32_t)pid;
	tell(in, (const char *)&number, sizeof(number), -1);
	SYS(__NR_write, gate[1], &answer, 1);
	quit(0);
}

static void do_become_root(const struct init *in, const struct step *s)
{
	if (s->ints[0])
		must(in, SYS(__NR_setgroups, 0, NULL), "setgroups");
	must(in, SYS(__NR_setresgid, 0, 0, 0), "setresgid");
	must(in, SYS(__NR_setresuid, 0, 0, 0), "setresuid");
}

static void do_session(const struct init *in, const struct step *s)
{
	must(in, SYS(__NR_setsid), "setsid");
	if (s->ints[0]) {
		long r = SYS(__NR_keyctl, KEYCTL_JOIN_SESSION_KEYRING, NULL);
		if (r != -ENOSYS) /* a kernel without keyrings has none to separate */
			must(in, r, "keyctl");
	}
}

static void do_loopback_up(const struct init *in)
{
	struct { char name[16]; short flags; char rest[22]; } request = { .name = "lo" }; /* struct ifreq */
	long fd = SYS(__NR_socket, AF_INET_, 2 /* SOCK_DGRAM */ | SOCK_CLOEXEC_, 0);
	must(in, fd, "socket");
	must(in, SYS(__NR_ioctl, fd, SIOCGIFFLAGS, &request), "lo");
	request.flags = (short)(request.flags | IFF_UP_);
	must(in, SYS(__NR_ioctl, fd, SIOCSIFFLAGS, &request), "lo");
	SYS(__NR_close, fd);
}

static void do_sysctl(const struct init *in, const struct step *s)
{
	char path[PATH_MAX];
	const char *key = step_string(s, 0, NULL);
	char *at = append(path, path + sizeof(path), "sys/");
	if (!append(at, path + sizeof(path), key))
		fail(in, -ENAMETOOLONG, key);
	must(in, write_sysctl(in, path, step_string(s, 1, NULL)), key);
}

static void do_oom_score(const struct init *in, const struct step *s)
{
	char text[32];
	char *end = text + sizeof(text), *at = text;
	int64_t score = (int64_t)s->ints[0] - 1000;
	if (score < 0)
		at = append(at, end, "-");
	append_number(at, end, (uint64_t)(score < 0 ? -score : score));
	long r = write_proc("self/oom_score_adj", text);
	if (!((r == -EACCES || r == -EPERM) && s->ints[1]))
		must(in, r, text);
}

static void do_label(const struct init *in, const struct step *s)
{
	char path[64];
	char *at = append(path, path + sizeof(path), "self/attr/");
	if (!append(at, path + sizeof(path), step_string(s, 0, NULL)))
		fail(in, -ENAMETOOLONG, step_string(s, 0, NULL));
	must(in, write_proc(path, step_string(s, 1, NULL)), step_string(s, 1, NULL));
}

static void do_mask(const struct init *in, const struct step *s, int memory)
{
	uint32_t n;
	const char *mask = step_string(s, 0, &n);
	if (memory)
		must(in, SYS(__NR_set_mempolicy, s->ints[0], mask, n ? 8ul * n + 1 : 0), "");
	else
		must(in, SYS(__NR_sched_setaffinity, 0, n, mask), "");
}

/* Strings in the plan lie at 4 mod 8; the kernel copies masks by bytes, so that is aligned enough. */
static void do_step(struct init *in, const struct step *s)
{
	uint32_t n;
	const char *text;
	switch ((enum step_kind)s->kind) {
	case STEP_SYNC: meet(in, (char)s->ints[0]); break;
	case STEP_READY: do_ready(in, s); break;
	case STEP_JOIN_NAMESPACE: do_join_namespace(in, s); break;
	case STEP_UNSHARE: must(in, SYS(__NR_unshare, s->ints[0]), ""); break;
	case STEP_FORK: do_fork(in); break;
	case STEP_TIME_OFFSETS: meet(in, 0); break;
	case STEP_BECOME_ROOT: do_become_root(in, s); break;
	case STEP_SESSION: do_session(in, s); break;
	case STEP_LOOPBACK_UP: do_loopback_up(in); break;
	case STEP_HOSTNAME:
		text = step_string(s, 0, &n);
		must(in, SYS(__NR_sethostname, text, n), text);
		break;
	case STEP_DOMAINNAME:
		text = step_string(s, 0, &n);
		must(in, SYS(__NR_setdomainname, text, n), text);
		break;
	case STEP_SYSCTL: do_sysctl(in, s); break;
	case STEP_PROPAGATION: do_propagation(in, s); break;
	case STEP_ROOTFS: do_rootfs(in, s); break;
	case STEP_PRIVATE_LAYER: do_private_layer(in, s); break;
	case STEP_LAYERED_ROOT: do_layered_root(in, s); break;
	case STEP_DIRECTORY: do_directory(in, s); break;
	case STEP_BIND_MOUNT: do_bind_mount(in, s); break;
	case STEP_NEW_MOUNT: do_new_mount(in, s); break;
	case STEP_DEVICE: do_device(in, s); break;
	case STEP_SYMLINK: do_symlink(in, s); break;
	case STEP_CONSOLE: do_console(in, s); break;
	case STEP_MASK_PATH: do_mask_path(in, s); break;
	case STEP_READONLY_PATH: do_readonly_path(in, s); break;
	case STEP_MOUNT_ATTRIBUTES: do_mount_attributes(in, s); break;
	case STEP_HOOK: do_hook(in, s); break;
	case STEP_ENTER_ROOT: do_enter_root(in, s); break;
	case STEP_ROOT_ATTRIBUTES: do_root_attributes(in, s); break;
	case STEP_FIND_PROGRAM: do_find_program(in, s); break;
	case STEP_RLIMIT: {
		uint64_t limit[2] = { s->ints[1], s->ints[2] };
		must(in, SYS(__NR_prlimit64, 0, s->ints[0], limit, NULL), "");
		break;
	}
	case STEP_OOM_SCORE: do_oom_score(in, s); break;
	case STEP_SCHEDULER: do_scheduler(in, s); break;
	case STEP_IO_PRIORITY: must(in, SYS(__NR_ioprio_set, 1, 0, s->ints[0]), ""); break;
	case STEP_AFFINITY: do_mask(in, s, 0); break;
	case STEP_MEMORY_POLICY: do_mask(in, s, 1); break;
	case STEP_PERSONALITY: must(in, SYS(__NR_personality, s->ints[0]), ""); break;
	case STEP_UMASK: SYS(__NR_umask, s->ints[0]); break;
	case STEP_STREAMS: do_streams(s); break;
	case STEP_LABEL: do_label(in, s); break;
	case STEP_NO_NEW_PRIVS: must(in, SYS(__NR_prctl, PR_SET_NO_NEW_PRIVS, 1), ""); break;
	case STEP_SECCOMP: do_seccomp(in, s); break;
	case STEP_CREDENTIALS: do_credentials(in, s); break;
	case STEP_WORKING_DIRECTORY: do_working_directory(in, s); break;
	case STEP_TRACE: in->traced = (int)s->ints[0]; break;
	case STEP_EXECUTE: do_execute(in, s);
	case STEP_NONE:
	case STEP_COUNT: fail(in, -ENOSYS, "unknown step");
	}
}

static uint64_t now_ns(void)
{
	int64_t t[2] = { 0, 0 }; /* struct timespec */
	SYS(__NR_clock_gettime, 0 /* CLOCK_REALTIME */, t);
	return (uint64_t)t[0] * 1000000000u + (uint64_t)t[1];
}

static void tell_timing(struct init *in, const struct step *s, uint32_t place, uint64_t begin, uint64_t end)
{
	const struct step trace = { .kind = STEP_TRACE, .index = place };
	const struct timing t = { begin, end, s->kind };
	in->step = &trace;
	tell(in, (const char *)&t, sizeof(t), -1);
	in->step = s;
}

static void do_traced_step(struct init *in, const struct step *s, uint32_t place)
{
	uint64_t begin = now_ns();
	if (s->kind == STEP_EXECUTE) /* it does not come back */
		tell_timing(in, s, place, begin, 0);
	do_step(in, s);
	if (in->traced) /* an end of tracing is done before a filter that may forbid these calls */
		tell_timing(in, s, place, begin, now_ns());
}

static const void *map_plan(const struct init *in, int fd, uint64_t *ret_length)
{
	long length = SYS(__NR_lseek, fd, 0, 2 /* SEEK_END */);
	must(in, length, "plan");
	long at = SYS(__NR_mmap, NULL, length, PROT_READ, MAP_PRIVATE, fd, 0);
	if (at < 0 && at > -4096)
		fail(in, at, "plan");
	SYS(__NR_close, fd);
	*ret_length = (uint64_t)length;
	return (const void *)at;
}

static void reset_signals(void)
{
	struct { void *handler; unsigned long flags; void *restorer; uint64_t mask; } plain = { 0 };
	uint64_t none = 0;
	for (long number = 1; number <= 64; number++) /* the interpreter ignores two, the caller perhaps others */
		SYS(__NR_rt_sigaction, number, &plain, NULL, 8);
	SYS(__NR_rt_sigprocmask, 2 /* SIG_SETMASK */, &none, NULL, 8);
}

__attribute__((noreturn)) void init_main(const long *stack);

/* argv: "init", number of the first own fd, number of slots */
__attribute__((used)) void init_main(const long *stack)
{
	char *const *argv = (char *const *)(stack + 1);
	static struct init in;
	uint64_t base, n_slots, length;
	if (stack[0] != 3 || !parse_number(argv[1], argv[1] + strlen(argv[1]), &base) ||
	    !parse_number(argv[2], argv[2] + strlen(argv[2]), &n_slots) || base > 1 << 20 || n_slots > 1 << 16)
		SYS(__NR_exit_group, 2);
	in.report_fd = (int)base;
	in.slots = (int)base + 2;
	in.n_slots = (uint32_t)n_slots;
	in.root = in.mask = in.null = -1;
	reset_signals();
	SYS(__NR_prctl, PR_SET_NAME, "stele-init");
	must(&in, SYS(__NR_close_range, in.slots + (int)n_slots, ~0u, 0), "close_range");
	must(&in, SYS(__NR_close_range, base, ~0u, CLOSE_RANGE_CLOEXEC), "close_range");
	SYS(__NR_umask, 0);
	const void *plan = map_plan(&in, (int)base + 1, &length);
	if (!plan_valid(plan, length))
		fail(&in, -EBADMSG, "the plan is malformed");
	const struct step *s = plan_first(plan);
	for (uint32_t i = 0; i < ((const struct plan_header *)plan)->steps; i++, s = step_after(s)) {
		in.step = s;
		if (in.traced)
			do_traced_step(&in, s, i);
		else
			do_step(&in, s);
	}
	fail(&in, -ENOEXEC, "the plan has no last step");
}

#if defined(__x86_64__)
__asm__(".globl _start\n_start:\n\txor %ebp, %ebp\n\tmov %rsp, %rdi\n\tand $-16, %rsp\n\tcall init_main\n\thlt\n");
#else
__asm__(".globl _start\n_start:\n\tmov x29, #0\n\tmov x0, sp\n\tbl init_main\n\tbrk #0\n");
#endif
