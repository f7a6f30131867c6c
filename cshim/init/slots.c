/* The file descriptors that the stele process passed to init. */
#include "init.h"

int slot_fd(const struct init *in, uint64_t slot)
{
	if (slot >= in->n_slots)
		fail(in, -EBADF, "a slot that the stele process did not fill");
	return in->slots + (int)slot;
}

/* From here on no fd of ours leads to a file of the host, because names that the container can influence come next.
 * Still open: stdio, the fds kept for the user's process, the report socket, and the listener in slot 0; sockets
 * lead nowhere. */
void leave_host(struct init *in)
{
	must(in, SYS(__NR_close_range, in->report_fd + 1, in->slots - 1, 0), "close_range");
	must(in, SYS(__NR_close_range, in->slots + 1, ~0u, 0), "close_range");
	in->root = in->mask = in->null = -1;
}
