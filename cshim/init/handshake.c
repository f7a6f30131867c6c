/* How init and the stele process take turns. */
#include "init.h"

#define SOCK_CLOEXEC_ 02000000

/* Report that it is the stele process's turn and wait for its one byte. If that process ends, so do we. */
static void hand_over(const struct init *in, char what)
{
	char answer;
	tell(in, &what, 1, -1);
	long n;
	while ((n = SYS(__NR_read, in->report_fd, &answer, 1)) == -EINTR)
		;
	if (n != 1)
		SYS(__NR_exit_group, 1);
}

void do_sync(struct init *in, const struct step *s)
{
	hand_over(in, (char)INTS(sync, s)->what);
}

/* The stele process writes the offsets: a process that has changed its ids may not write its own file. */
void do_time_offsets(struct init *in, const struct step *)
{
	hand_over(in, 0);
}

void do_ready(struct init *in, const struct step *s)
{
	tell(in, "", 0, -1);
	if (!INTS(ready, s)->listen)
		return;
	int listener = slot_fd(in, LISTENER_SLOT);
	long connection;
	while ((connection = SYS(__NR_accept4, listener, NULL, NULL, SOCK_CLOEXEC_)) < 0)
		if (connection != -EINTR && connection != -ECONNABORTED)
			fail(in, connection, "start socket");
	SYS(__NR_close, listener);
	SYS(__NR_close, in->report_fd);
	in->report_fd = (int)connection;
}
