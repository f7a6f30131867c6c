/* The launcher: one executable that holds CPython, the application and a snapshot of its warmed heap.
 *
 * Memory has two owners. All that Python and the libraries under it keep (their .data and .bss, gathered by
 * snapshot.ld into pydata and pybss, and what they allocated while the arena was open) belongs to the snapshot.
 * All else (libc, this launcher, OpenSSL) belongs to the process and is never in it. */
#ifndef STELE_LAUNCHER_H
#define STELE_LAUNCHER_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Far from the executable, brk, mmap and stack on x86-64, and on arm64 where addresses have 42 bits or more. Lower, too much
 * text and too many numbers look like it: see check_pointers of seal.py. Nor does code: CPython uses no opcode 0xf5. */
#define ARENA_BASE 0x2f500000000UL
#define ARENA_MAX (4UL << 30)  /* address space only */
#define LEARN_MAX (64UL << 30) /* the same, where blocks are on pages of their own */
#define PAGE 4096UL
#define ID_SIZE 32
#define KEYS_MAX 8

#define COMMANDS_MAX 64
#define HOT_MAX 40

struct range {
	uint64_t start, length;
};

struct key {
	uint32_t index; /* what pthread_key_create gave */
	void (*destructor)(void *);
};

/* First in the arena; with the rest of the snapshot, all that a later process gets from the builder's. */
struct arena {
	uint8_t id[ID_SIZE];    /* of the executable that was dumped; written by build-aux/seal.py */
	uint64_t room;          /* bytes behind the arena that are zero and free to use; seal.py reads it */
	char *top;              /* end of what is used */
	char *hot;              /* end of what most commands write */
	void *thread;           /* PyThreadState of the main thread */
	void *main;             /* PyObject: runtime.__main__.main */
	void *start;            /* PyObject: the module stele_start */
	void *environment;      /* PyObject: posix.environ */
	void (*interrupt)(int); /* Python's own handler of SIGINT */
	uint32_t keys;
	struct key key[KEYS_MAX];
};
#define ARENA ((struct arena *)ARENA_BASE)

/* Filled in by build-aux/seal.py, which finds it by its symbol. In .data, outside the snapshot. */
struct seal {
	uint32_t sealed;          /* 0: as linked, may be dumped; 1: holds a snapshot, may not */
	uint32_t pristine_size;
	uint8_t id[ID_SIZE];
	const uint8_t *pristine;  /* pydata as it was linked, deflated, for the cold start */
	const uint8_t *cold;      /* what cold.c puts in its place, packed by xz */
	uint64_t cold_size;
	struct range hot[HOT_MAX]; /* of pydata and pybss, what most commands write; a length of 0 ends it */
};
extern volatile struct seal stele_seal;

/* From snapshot.ld: both start and end at page boundaries. */
extern char stele_pydata_start[], stele_pydata_end[], stele_pybss_start[], stele_pybss_end[];

/* Before each block that is not libc's own. The block is aligned to 16 bytes. */
struct head {
	uint64_t size; /* of the block, in bytes */
};
static inline struct head *head_of(void *block)
{
	return (struct head *)((char *)block - sizeof(struct head));
}

/* What is known of an allocation of the recording, by its number. */
struct lesson {
	uint32_t size;
	uint8_t kept;          /* until the end of the recording: KEPT, or LATE if learning did not show it */
	uint8_t written, read; /* by so many of the usual commands */
	uint8_t place;         /* TAKEN by a block of this recording; DROPPED before, as none took it */
};
enum { KEPT = 1, LATE };
enum { TAKEN = 1, DROPPED };
#define LESSONS_MAX (4UL << 20)

/* heap.c */
int heap_record(struct lesson *all);
int heap_learn(struct lesson *all, int fd, void *(*take)(uint64_t number, size_t size));
void heap_mark(uint64_t most);
uint64_t heap_close(void);
void heap_revive(void);
void heap_python(void);
int heap_restore_keys(void);

/* learn.c */
int learn_open(struct lesson *known);
int learn_from(int argc, char **argv, bool must, int (*command)(int, char **));
const uint8_t *learn_pages(size_t *ret_count);

/* interpreter.c */
void *arguments(int argc, char *const *argv);
int interpreter_start(int argc, char **argv, const unsigned long *hash_seed);
int interpreter_renew(int argc, char **argv);
int interpreter_run(void *main_function, void *start_module, int argc, char **argv);

/* internals.c: main_thread is a PyThreadState */
int internals_pack(void);
void internals_clean(void *main_thread);
int internals_revive(void *main_thread);

/* immortal.c, from CPython 3.12 on */
void make_immortal(void *frozen);

/* share.c */
int share_constants(void *functions);

/* snapshot.c */
int snapshot_learn(const char *path, const char *seed, const char *commands, const char *lessons);
int snapshot_dump(const char *path, const char *seed, const char *commands, const char *lessons);
bool snapshot_revive(int argc, char **argv);
bool snapshot_forget(void);

/* cold.c; what they return is a PyObject */
struct _object *cold_ssl(void);
struct _object *cold_hashlib(void);

/* packed.c */
bool packed_module(const void *from, size_t size, void *to, size_t room);

/* room.c */
void require_room(void);

/* process.c, and stele_seal */
int fill_streams(void);

#endif
