/* Settings that the kernel keeps for each process: limits, priorities, masks, labels. */
#include "init.h"

#include <linux/sched/types.h>

void do_rlimit(struct init *in, const struct step *s)
{
	const struct rlimit_ints *v = INTS(rlimit, s);
	uint64_t limit[2] = { v->soft, v->hard };
	must(in, SYS(__NR_prlimit64, 0, v->resource, limit, NULL), "");
}

void do_oom_score(struct init *in, const struct step *s)
{
	char text[32];
	char *end = text + sizeof(text), *at = text;
	int64_t score = (int64_t)INTS(oom_score, s)->score - 1000;
	if (score < 0)
		at = append(at, end, "-");
	append_number(at, end, (uint64_t)(score < 0 ? -score : score));
	long r = write_proc("self/oom_score_adj", text);
	if (!((r == -EACCES || r == -EPERM) && INTS(oom_score, s)->lenient))
		must(in, r, text);
}

void do_scheduler(struct init *in, const struct step *s)
{
	const struct scheduler_ints *v = INTS(scheduler, s);
	struct sched_attr attr = {
		.size = sizeof(attr),
		.sched_policy = (uint32_t)v->policy,
		.sched_nice = (int32_t)v->nice - 20,
		.sched_priority = (uint32_t)v->priority,
		.sched_flags = v->flags,
		.sched_runtime = v->runtime,
		.sched_deadline = v->deadline,
		.sched_period = v->period,
	};
	must(in, SYS(__NR_sched_setattr, 0, &attr, 0), "");
}

void do_io_priority(struct init *in, const struct step *s)
{
	must(in, SYS(__NR_ioprio_set, 1, 0, INTS(io_priority, s)->value), "");
}

/* Strings in the plan lie at 4 mod 8. The kernel copies masks byte by byte, so they are aligned enough. */
void do_affinity(struct init *in, const struct step *s)
{
	uint32_t n;
	const char *mask = step_string(s, AFFINITY_MASK, &n);
	must(in, SYS(__NR_sched_setaffinity, 0, n, mask), "");
}

void do_memory_policy(struct init *in, const struct step *s)
{
	uint32_t n;
	const char *nodes = step_string(s, MEMORY_POLICY_NODES, &n);
	must(in, SYS(__NR_set_mempolicy, INTS(memory_policy, s)->mode, n ? nodes : NULL, n ? 8ul * n + 1 : 0), "");
}

void do_personality(struct init *in, const struct step *s)
{
	must(in, SYS(__NR_personality, INTS(personality, s)->persona), "");
}

void do_umask(struct init *, const struct step *s)
{
	SYS(__NR_umask, INTS(umask, s)->umask);
}

void do_label(struct init *in, const struct step *s)
{
	char path[64];
	const char *file = step_string(s, LABEL_FILE, NULL), *label = step_string(s, LABEL_LABEL, NULL);
	char *at = append(path, path + sizeof(path), "self/attr/");
	if (!append(at, path + sizeof(path), file))
		fail(in, -ENAMETOOLONG, file);
	must(in, write_proc(path, label), label);
}
