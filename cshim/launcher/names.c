/* Looks up names of hosts, users and groups without plug-ins.  *  * libc asks the services that /etc/nsswitch.conf
 * names, and loads a shared library of the host for each one that is not  * built in: code for another libc than
 * this static one, and a way into a privileged process. Python's calls are renamed  * to these functions
 * (build-aux/link.py), which use only the built-in services: files and DNS. */
#include "launcher.h"

#include <grp.h>
#include <netdb.h>
#include <nss.h>
#include <pwd.h>
#include <stdatomic.h>

static void built_in_only(void)
{
	static atomic_bool done;
	if (atomic_load(&done))
		return;
	static const struct {
		const char *database, *services;
	} lines[] = {
		{ "hosts", "files dns" }, { "services", "files" }, { "protocols", "files" }, { "networks", "files" },
		{ "passwd", "files" },    { "group", "files" },    { "shadow", "files" },    { "initgroups", "files" },
	};
	for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++)
		__nss_configure_lookup(lines[i].database, lines[i].services);
	atomic_store(&done, true);
}

#define INSTEAD(result, name, parameters, arguments) \
	result stele_##name parameters;              \
	result stele_##name parameters               \
	{                                            \
		built_in_only();                     \
		return name arguments;               \
	}

INSTEAD(int, getaddrinfo, (const char *node, const char *service, const struct addrinfo *hints, struct addrinfo **ret),
	(node, service, hints, ret))
INSTEAD(int, getnameinfo,
	(const struct sockaddr *address, socklen_t length, char *host, socklen_t host_size, char *service,
	 socklen_t service_size, int flags),
	(address, length, host, host_size, service, service_size, flags))
INSTEAD(int, gethostbyname_r,
	(const char *name, struct hostent *host, char *buffer, size_t size, struct hostent **ret, int *error),
	(name, host, buffer, size, ret, error))
INSTEAD(int, gethostbyaddr_r,
	(const void *address, socklen_t length, int type, struct hostent *host, char *buffer, size_t size,
	 struct hostent **ret, int *error),
	(address, length, type, host, buffer, size, ret, error))
INSTEAD(struct servent *, getservbyname, (const char *name, const char *protocol), (name, protocol))
INSTEAD(struct servent *, getservbyport, (int port, const char *protocol), (port, protocol))
INSTEAD(struct protoent *, getprotobyname, (const char *name), (name))
INSTEAD(int, getpwnam_r, (const char *name, struct passwd *user, char *buffer, size_t size, struct passwd **ret),
	(name, user, buffer, size, ret))
INSTEAD(int, getpwuid_r, (uid_t id, struct passwd *user, char *buffer, size_t size, struct passwd **ret),
	(id, user, buffer, size, ret))
INSTEAD(void, setpwent, (void), ())
INSTEAD(struct passwd *, getpwent, (void), ())
INSTEAD(int, getgrnam_r, (const char *name, struct group *group, char *buffer, size_t size, struct group **ret),
	(name, group, buffer, size, ret))
INSTEAD(int, getgrgid_r, (gid_t id, struct group *group, char *buffer, size_t size, struct group **ret),
	(id, group, buffer, size, ret))
INSTEAD(void, setgrent, (void), ())
INSTEAD(struct group *, getgrent, (void), ())
INSTEAD(int, getgrouplist, (const char *user, gid_t group, gid_t *groups, int *count), (user, group, groups, count))
INSTEAD(int, initgroups, (const char *user, gid_t group), (user, group))
