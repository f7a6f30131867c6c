/* init: reads the plan and does its steps in order. */
#include "init.h"

#include <linux/close_range.h>
#include <linux/mman.h>
#include <linux/prctl.h>

void do_trace(struct init *in, const struct step *s)
{
	in->traced = (int)INTS(trace, s)->on;
}

static void do_step(struct init *in, const struct step *s)
{
	switch ((enum step_kind)s->kind) {
#define X(NAME, name, ...)        \
	case STEP_##NAME:         \
		do_##name(in, s); \
		break;
		STEPS(X)
#undef X
	case STEP_NONE:
	case STEP_COUNT:
		fail(in, -ENOSYS, "unknown step");
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
	if (s->kind == STEP_EXECUTE) /* it does not return */
		tell_timing(in, s, place, begin, 0);
	do_step(in, s);
	if (in->traced) /* tracing ends before a filter that may forbid these calls */
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
	struct {
		void *handler;
		unsigned long flags;
		void *restorer;
		uint64_t mask;
	} plain = { 0 };
	uint64_t none = 0;
	for (long number = 1; number <= 64; number++) /* the interpreter ignores two signals, the caller perhaps more */
		SYS(__NR_rt_sigaction, number, &plain, NULL, 8);
	SYS(__NR_rt_sigprocmask, 2 /* SIG_SETMASK */, &none, NULL, 8);
}

__attribute__((noreturn)) void init_main(const long *stack);

/* argv: "init", the number of the first own fd, the number of slots */
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
