/* Reports to the stele process, and the end of init. */
#include "init.h"

#define SOL_SOCKET_ 1
#define SCM_RIGHTS_ 1
#define MSG_NOSIGNAL_ 0x4000

struct iov {
	const void *base;
	size_t length;
};
struct control {
	size_t length;
	int level, type;
	int fd;
	int pad;
};
struct message {
	void *name;
	uint32_t name_length;
	struct iov *iov;
	size_t n_iov;
	void *control;
	size_t control_length;
	int flags;
};

/* Send one report, with an fd unless that is -1. If the peer is gone, ignore the error: there is nobody to tell. */
static void report(const struct init *in, int32_t error, const char *detail, uint32_t length, int fd)
{
	struct report r = { .err = error };
	if (in->step) {
		r.step = in->step->kind;
		r.index = in->step->index;
	}
	if (length > sizeof(r.detail) - 1)
		length = sizeof(r.detail) - 1;
	memcpy(r.detail, detail, length);
	struct iov iov = { &r, sizeof(r) };
	struct control c = { .length = 20, .level = SOL_SOCKET_, .type = SCM_RIGHTS_, .fd = fd };
	struct message m = { .iov = &iov, .n_iov = 1 };
	if (fd >= 0) {
		m.control = &c;
		m.control_length = sizeof(c);
	}
	while (SYS(__NR_sendmsg, in->report_fd, &m, MSG_NOSIGNAL_) == -EINTR)
		;
}

void fail(const struct init *in, long error, const char *detail)
{
	report(in, (int32_t)-error, detail, (uint32_t)strlen(detail), -1);
	quit(1);
}

void must(const struct init *in, long result, const char *detail)
{
	if (result < 0)
		fail(in, result, detail);
}

void tell(const struct init *in, const char *detail, uint32_t length, int fd)
{
	report(in, 0, detail, length, fd);
}
