/* The steps of init. Generated from runtime/plan/steps.py by `make init`: do not edit.
 *
 * A step's integers are read by `INTS(step_name, s)->field`, its strings by their place, STEP_NAME_FIELD; a place with
 * the comment "list" is the first of a list that takes all strings from there on. */
/* clang-format off */
#ifndef STELE_STEPS_H
#define STELE_STEPS_H

#include <stdint.h>

#define PLAN_MAGIC 1279611987u
#define PLAN_ABI 1u
#define PLAN_MAX 8388608u
#define NO_SLOT 4294967295u
#define LISTENER_SLOT 0u
#define SYNC_ATTACHED 1u
#define SYNC_MAPPED 2u
#define SYNC_HOOKS 3u
#define SYNC_NET_DEVICES 4u
#define SYNC_RESCTRL 5u
#define SYNC_TERMINAL 6u
#define UPPER_NONE 0u
#define UPPER_TMPFS 1u
#define UPPER_DIRECTORY 2u
#define PIVOT 0u
#define MOVE 1u
#define CHROOT 2u

/* X(NAME, name, number, integers, strings, has a list of strings, bit mask of strings that may contain NUL) */
#define STEPS(X) \
	X(SYNC, sync, 1, 1, 0, 0, 0) \
	X(READY, ready, 2, 1, 0, 0, 0) \
	X(JOIN_NAMESPACE, join_namespace, 3, 2, 0, 0, 0) \
	X(UNSHARE, unshare, 4, 1, 0, 0, 0) \
	X(FORK, fork, 5, 0, 0, 0, 0) \
	X(TIME_OFFSETS, time_offsets, 6, 0, 1, 0, 0) \
	X(BECOME_ROOT, become_root, 7, 1, 0, 0, 0) \
	X(SESSION, session, 8, 1, 0, 0, 0) \
	X(LOOPBACK_UP, loopback_up, 9, 0, 0, 0, 0) \
	X(HOSTNAME, hostname, 10, 0, 1, 0, 0) \
	X(DOMAINNAME, domainname, 11, 0, 1, 0, 0) \
	X(SYSCTL, sysctl, 12, 0, 2, 0, 0) \
	X(PROPAGATION, propagation, 13, 1, 0, 0, 0) \
	X(ROOTFS, rootfs, 14, 2, 1, 0, 0) \
	X(PRIVATE_LAYER, private_layer, 15, 1, 0, 1, 0) \
	X(BIND_MOUNT, bind_mount, 16, 10, 2, 0, 0) \
	X(NEW_MOUNT, new_mount, 17, 6, 4, 1, 0) \
	X(DEVICE, device, 18, 6, 1, 0, 0) \
	X(SYMLINK, symlink, 19, 0, 2, 0, 0) \
	X(CONSOLE, console, 20, 4, 0, 0, 0) \
	X(MASK_PATH, mask_path, 21, 0, 1, 1, 0) \
	X(READONLY_PATH, readonly_path, 22, 0, 1, 0, 0) \
	X(HOOK, hook, 23, 2, 3, 1, 0) \
	X(ENTER_ROOT, enter_root, 24, 1, 0, 0, 0) \
	X(ROOT_ATTRIBUTES, root_attributes, 25, 2, 0, 0, 0) \
	X(FIND_PROGRAM, find_program, 26, 2, 2, 0, 0) \
	X(RLIMIT, rlimit, 27, 3, 0, 0, 0) \
	X(OOM_SCORE, oom_score, 28, 2, 0, 0, 0) \
	X(SCHEDULER, scheduler, 29, 7, 0, 0, 0) \
	X(IO_PRIORITY, io_priority, 30, 1, 0, 0, 0) \
	X(AFFINITY, affinity, 31, 0, 1, 0, 1) \
	X(MEMORY_POLICY, memory_policy, 32, 1, 1, 0, 1) \
	X(PERSONALITY, personality, 33, 1, 0, 0, 0) \
	X(UMASK, umask, 34, 1, 0, 0, 0) \
	X(LABEL, label, 35, 0, 2, 0, 0) \
	X(NO_NEW_PRIVS, no_new_privs, 36, 0, 0, 0, 0) \
	X(SECCOMP, seccomp, 37, 2, 1, 0, 1) \
	X(CREDENTIALS, credentials, 38, 8, 1, 0, 1) \
	X(WORKING_DIRECTORY, working_directory, 39, 1, 1, 0, 0) \
	X(EXECUTE, execute, 40, 2, 1, 1, 0) \
	X(MOUNT_ATTRIBUTES, mount_attributes, 41, 1, 1, 0, 0) \
	X(TRACE, trace, 42, 1, 0, 0, 0) \
	X(LAYERED_ROOT, layered_root, 43, 6, 3, 1, 0) \
	X(DIRECTORY, directory, 44, 0, 1, 0, 0) \
	X(STREAMS, streams, 45, 1, 0, 0, 0)

struct sync_ints {
	uint64_t what;
};

struct ready_ints {
	uint64_t listen;
};

struct join_namespace_ints {
	uint64_t slot;
	uint64_t flags;
};

struct unshare_ints {
	uint64_t flags;
};

enum {
	TIME_OFFSETS_OFFSETS,
};

struct become_root_ints {
	uint64_t groups;
};

struct session_ints {
	uint64_t keyring;
};

enum {
	HOSTNAME_NAME,
};

enum {
	DOMAINNAME_NAME,
};

enum {
	SYSCTL_KEY,
	SYSCTL_VALUE,
};

struct propagation_ints {
	uint64_t flags;
};

struct rootfs_ints {
	uint64_t slot;
	uint64_t bind;
};
enum {
	ROOTFS_PATH,
};

struct private_layer_ints {
	uint64_t readonly;
};
enum {
	PRIVATE_LAYER_TARGETS, /* list */
};

struct bind_mount_ints {
	uint64_t slot;
	uint64_t recursive;
	uint64_t nofollow;
	uint64_t attr_set;
	uint64_t attr_clear;
	uint64_t rec_set;
	uint64_t rec_clear;
	uint64_t propagation;
	uint64_t copy_link;
	uint64_t target_nofollow;
};
enum {
	BIND_MOUNT_SOURCE,
	BIND_MOUNT_TARGET,
};

struct new_mount_ints {
	uint64_t attr_set;
	uint64_t rec_set;
	uint64_t propagation;
	uint64_t strict;
	uint64_t copy_up;
	uint64_t copy_mode;
};
enum {
	NEW_MOUNT_FSTYPE,
	NEW_MOUNT_SOURCE,
	NEW_MOUNT_TARGET,
	NEW_MOUNT_LABEL,
	NEW_MOUNT_OPTIONS, /* list */
};

struct device_ints {
	uint64_t mode;
	uint64_t major;
	uint64_t minor;
	uint64_t uid;
	uint64_t gid;
	uint64_t bind;
};
enum {
	DEVICE_PATH,
};

enum {
	SYMLINK_CONTENT,
	SYMLINK_PATH,
};

struct console_ints {
	uint64_t mount;
	uint64_t columns;
	uint64_t rows;
	uint64_t uid;
};

enum {
	MASK_PATH_PATH,
	MASK_PATH_OPTIONS, /* list */
};

enum {
	READONLY_PATH_PATH,
};

struct hook_ints {
	uint64_t timeout;
	uint64_t n_args;
};
enum {
	HOOK_PATH,
	HOOK_STATE_HEAD,
	HOOK_STATE_TAIL,
	HOOK_WORDS, /* list */
};

struct enter_root_ints {
	uint64_t how;
};

struct root_attributes_ints {
	uint64_t readonly;
	uint64_t propagation;
};

struct find_program_ints {
	uint64_t home;
	uint64_t uid;
};
enum {
	FIND_PROGRAM_PROGRAM,
	FIND_PROGRAM_PATH,
};

struct rlimit_ints {
	uint64_t resource;
	uint64_t soft;
	uint64_t hard;
};

struct oom_score_ints {
	uint64_t score;
	uint64_t lenient;
};

struct scheduler_ints {
	uint64_t policy;
	uint64_t nice;
	uint64_t priority;
	uint64_t flags;
	uint64_t runtime;
	uint64_t deadline;
	uint64_t period;
};

struct io_priority_ints {
	uint64_t value;
};

enum {
	AFFINITY_MASK,
};

struct memory_policy_ints {
	uint64_t mode;
};
enum {
	MEMORY_POLICY_NODES,
};

struct personality_ints {
	uint64_t persona;
};

struct umask_ints {
	uint64_t umask;
};

enum {
	LABEL_FILE,
	LABEL_LABEL,
};

struct seccomp_ints {
	uint64_t flags;
	uint64_t notify;
};
enum {
	SECCOMP_PROGRAM,
};

struct credentials_ints {
	uint64_t uid;
	uint64_t gid;
	uint64_t bounding;
	uint64_t permitted;
	uint64_t effective;
	uint64_t inheritable;
	uint64_t ambient;
	uint64_t groups;
};
enum {
	CREDENTIALS_GIDS,
};

struct working_directory_ints {
	uint64_t last;
};
enum {
	WORKING_DIRECTORY_PATH,
};

struct execute_ints {
	uint64_t n_args;
	uint64_t keep_fds;
};
enum {
	EXECUTE_PATH,
	EXECUTE_WORDS, /* list */
};

struct mount_attributes_ints {
	uint64_t attr_set;
};
enum {
	MOUNT_ATTRIBUTES_PATH,
};

struct trace_ints {
	uint64_t on;
};

struct layered_root_ints {
	uint64_t slot;
	uint64_t append;
	uint64_t upper;
	uint64_t attributes;
	uint64_t device;
	uint64_t inode;
};
enum {
	LAYERED_ROOT_PLACE,
	LAYERED_ROOT_SIZE,
	LAYERED_ROOT_DIRECTORY,
	LAYERED_ROOT_LAYERS, /* list */
};

enum {
	DIRECTORY_PATH,
};

struct streams_ints {
	uint64_t uid;
};

#endif
