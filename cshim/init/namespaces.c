/* Entering namespaces, and what is set in new ones. */
#include "init.h"

#include <linux/keyctl.h>
#include <linux/prctl.h>
#include <linux/sched.h>
#include <linux/sockios.h>

#define IFF_UP_ 1
#define AF_INET_ 2
#define SOCK_DGRAM_ 2
#define SOCK_CLOEXEC_ 02000000

void do_join_namespace(struct init *in, const struct step *s)
{
	/* Before any process in there could trace us or read our fds (CVE-2016-9962). */
	SYS(__NR_prctl, PR_SET_DUMPABLE, 0);
	int fd = slot_fd(in, INTS(join_namespace, s)->slot);
	must(in, SYS(__NR_setns, fd, INTS(join_namespace, s)->flags), "");
	SYS(__NR_close, fd);
}

void do_unshare(struct init *in, const struct step *s)
{
	must(in, SYS(__NR_unshare, INTS(unshare, s)->flags), "");
}

/* Continue in a new process, a child of the stele process. It waits until that process knows its pid; otherwise, if
 * we were killed in between, nothing could end it. */
void do_fork(struct init *in, const struct step *)
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

void do_become_root(struct init *in, const struct step *s)
{
	if (INTS(become_root, s)->groups)
		must(in, SYS(__NR_setgroups, 0, NULL), "setgroups");
	must(in, SYS(__NR_setresgid, 0, 0, 0), "setresgid");
	must(in, SYS(__NR_setresuid, 0, 0, 0), "setresuid");
}

void do_session(struct init *in, const struct step *s)
{
	must(in, SYS(__NR_setsid), "setsid");
	if (INTS(session, s)->keyring) {
		long r = SYS(__NR_keyctl, KEYCTL_JOIN_SESSION_KEYRING, NULL);
		if (r != -ENOSYS) /* without keyrings in the kernel there is nothing to separate */
			must(in, r, "keyctl");
	}
}

void do_loopback_up(struct init *in, const struct step *)
{
	struct {
		char name[16];
		short flags;
		char rest[22];
	} request = { .name = "lo" }; /* struct ifreq */
	long fd = SYS(__NR_socket, AF_INET_, SOCK_DGRAM_ | SOCK_CLOEXEC_, 0);
	must(in, fd, "socket");
	must(in, SYS(__NR_ioctl, fd, SIOCGIFFLAGS, &request), "lo");
	request.flags = (short)(request.flags | IFF_UP_);
	must(in, SYS(__NR_ioctl, fd, SIOCSIFFLAGS, &request), "lo");
	SYS(__NR_close, fd);
}

void do_hostname(struct init *in, const struct step *s)
{
	uint32_t n;
	const char *name = step_string(s, HOSTNAME_NAME, &n);
	must(in, SYS(__NR_sethostname, name, n), name);
}

void do_domainname(struct init *in, const struct step *s)
{
	uint32_t n;
	const char *name = step_string(s, DOMAINNAME_NAME, &n);
	must(in, SYS(__NR_setdomainname, name, n), name);
}

void do_sysctl(struct init *in, const struct step *s)
{
	char path[PATH_MAX];
	const char *key = step_string(s, SYSCTL_KEY, NULL);
	char *at = append(path, path + sizeof(path), "sys/");
	if (!append(at, path + sizeof(path), key))
		fail(in, -ENAMETOOLONG, key);
	must(in, write_sysctl(in, path, step_string(s, SYSCTL_VALUE, NULL)), key);
}
