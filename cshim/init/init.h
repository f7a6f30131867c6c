/* init: our only code that runs in a container. It does the plan's steps in order and makes no decisions.  *  * File
 * descriptors at start: 0-2 stdio; 3.. those kept for the user's process; then, from the number in argv[1]: the  *
 * socket to the stele process, the plan (a sealed memfd), and one fd for each slot of the plan. */
#ifndef STELE_INIT_H
#define STELE_INIT_H

#include "../plan.h"
#include "sys.h"
#include "text.h"

#include <linux/errno.h>
#include <linux/fcntl.h>
#include <linux/limits.h>

#define OPEN_PATH 010000000 /* O_PATH */
#ifndef AT_EMPTY_PATH
#define AT_EMPTY_PATH 0x1000
#endif

enum { OWN_PROC, OWN_SYS, OWN_DEV, OWN_PLACES };

struct init {
	int report_fd; /* receives reports: the stele process, later `start` */
	int slots;     /* fd of slot 0 */
	uint32_t n_slots;
	int own[OWN_PLACES];       /* the mount on each of own_places, until the root is entered; 0 for none */
	int root;                  /* the container's root file system; -1 before ROOTFS */
	int mask;                  /* an empty directory, bound over masked directories; -1 until needed */
	int null;                  /* the host's null device, checked; -1 until needed */
	int traced;                /* report the time of each step; set by TRACE */
	int arrived;               /* the last WORKING_DIRECTORY succeeded */
	int root_readonly;         /* PRIVATE_LAYER saw that the root's file system is read-only */
	uint64_t root_attributes;  /* MOUNT_ATTR_* of the overlay on the root */
	const struct step *layers; /* the LAYERED_ROOT step, if there was one */
	const struct step *step;   /* the step being done */
	char home[PATH_MAX];       /* "HOME=..." for the user's process, or "" */
};

/* A seccomp filter may forbid even exit_group(2). Then only a trap ends the process. */
__attribute__((noreturn)) static inline void quit(int status)
{
	SYS(__NR_exit_group, status);
	__builtin_trap();
}

/* report.c */
__attribute__((noreturn)) void fail(const struct init *in, long error, const char *detail);
void must(const struct init *in, long result, const char *detail); /* calls fail if result < 0 */
void tell(const struct init *in, const char *detail, uint32_t length, int fd);

/* slots.c */
int slot_fd(const struct init *in, uint64_t slot);
void leave_host(struct init *in); /* close every fd that leads to the host */

/* Each step of the plan is done by one function, do_NAME. */
#define X(NAME, name, ...) void do_##name(struct init *in, const struct step *s);
STEPS(X)
#undef X
__attribute__((noreturn)) void do_execute(struct init *in, const struct step *s);

/* paths.c: resolves every path in the root file system, inside the root and once */
extern const char *const own_places[OWN_PLACES];
int own_place(const char *path, const char **ret_rest);
int open_by_name(const struct init *in, const char *path, uint64_t flags, uint64_t resolve);
int open_in_root(const struct init *in, const char *path, uint64_t flags, uint64_t resolve);
int open_target(const struct init *in, const char *path, int directory);
int open_parent(const struct init *in, const char *path, const char **ret_name);
int is_proc(int fd); /* whether fd is on a procfs */
long write_proc(const char *path, const char *value);
long write_sysctl(const struct init *in, const char *path, const char *value);

/* trees.c */
struct statx;
int stat_fd(int fd, struct statx *ret);
int is_directory(int fd);
int clone_tree(int fd, const char *path, int recursive);
int move_tree(int tree, int target);
long set_attributes(int fd, uint64_t set, uint64_t clear, uint64_t propagation, int recursive);
uint64_t mount_id(const struct init *in, int fd);

/* hide.c */
void hide_kernel_mounts(const struct init *in);

/* layer.c */
__attribute__((noreturn)) void fail_fs(const struct init *in, int fs, long error, const char *detail);
long copy_tree(int from, int to, int depth);
int new_file_system(const struct init *in, const char *type, const char *source, const struct step *s, uint32_t first,
		    uint64_t attributes);
int new_tmpfs(const struct init *in, const char *mode, const char *size);

#endif
