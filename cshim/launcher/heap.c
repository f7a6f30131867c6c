/* The memory of Python and the libraries under it.  *  * In the builder's process that takes the snapshot (it has
 * one thread) all memory comes from an arena at a fixed address.  * In every other process there are two allocators.
 * Calls that do not hold Python's lock go to libc. Python's own, under  * its lock, are packed densely in order of
 * allocation, because a short process pays for each page it touches and not  * for bytes. Blocks of the snapshot may
 * be read, written, reallocated and freed like any other.  *  * A given command never touches most of a snapshot, so
 * what common commands touch is placed side by side: see learn.c.  * A block is identified by the number of its
 * allocation, because the same start makes the same allocations; where a  * start may differ, numbering begins anew
 * (heap_mark).  *  * The same executable takes the same snapshot, byte for byte. So no address of a kept block
 * depends on temporary  * blocks, whose sizes vary with pids, clocks and counters of the kernel. */
#include "launcher.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define PY_SSIZE_T_CLEAN
#include <Python.h>

/* The allocation calls in the snapshot's archives are renamed to these (build-aux/link.py). */
void *stele_malloc(size_t size);
void *stele_calloc(size_t count, size_t size);
void *stele_realloc(void *block, size_t size);
void stele_free(void *block);
char *stele_strdup(const char *text);
int stele_pthread_key_create(pthread_key_t *ret_key, void (*destructor)(void *));

#define SMALL 512UL
#define LISTS (SMALL / 16 + 2)
#define CHUNK (1UL << 20)
#define IDLE_MAX (16UL << 10)
#define NUMBERED 112UL
#define ROOM (1UL << 20) /* after the arena, for the first blocks of a later process */

/* Memory is allocated from the start. Freed blocks are kept by size in units of 16 bytes; [0] has the large ones. */
struct region {
	char *at, *end;
	void *free[LISTS];
};

/* Part n holds what COMMANDS_MAX - n commands write, so that what they need is close together; no command writes what
 * is in READ. GONE is not in the snapshot: blocks freed before the dump, which no lesson knows. */
enum part { READ = COMMANDS_MAX, REST, ADDED, GONE, PARTS };

/* A small block in GONE has an address that depends on its number alone, so that it is the same in each recording,
 * whatever the sizes of earlier blocks: CPython's cache of attributes keeps names by their addresses. */
struct passing {
	uint32_t size; /* as requested */
	uint32_t live; /* 0: freed or never allocated */
	struct head head;
	char block[NUMBERED];
};
_Static_assert(sizeof(struct passing) % 16 == 0, "blocks are aligned to 16 bytes");

static enum { RUNNING, LEARNING, RECORDING } mode;
static struct region running;      /* under Python's lock */
static struct region parts[PARTS]; /* of the arena, side by side; GONE is far after all kept blocks */
static char *gone_start;
static struct passing *passing; /* LESSONS_MAX of them, before gone_start */
static uint64_t number;         /* of the last allocation, from 1 */
static struct lesson *lessons;
static bool known;                                           /* whether there are lessons */
static void *(*learning_take)(uint64_t number, size_t size); /* while LEARNING */
/* Up to its top only: the kernel puts brk right after the last segment, which is the arena. */
static size_t arena_size;

static bool in_arena(const void *block)
{
	return (uintptr_t)block - ARENA_BASE < arena_size;
}

/* ---- regions ---- */

static size_t stride_of(const void *block)
{
	return head_of((void *)(uintptr_t)block)->size + sizeof(struct head);
}

/* Joins a block of the list of large ones with the next if they touch. */
static void join(char *before, char *behind)
{
	if (before + stride_of(before) != behind)
		return;
	*(void **)before = *(void **)behind;
	head_of(before)->size += stride_of(behind);
	*(void **)behind = NULL;
	head_of(behind)->size = 0;
}

/* Large free blocks are kept in order of address and joined, so that the snapshot has few holes. */
static void region_give(struct region *to, void *block)
{
	size_t list = stride_of(block) / 16;
	void **link = &to->free[list < LISTS ? list : 0], *before = NULL;
	if (link == &to->free[0])
		for (; *link && *link < block; link = *link)
			before = *link;
	*(void **)block = *link;
	*link = block;
	if (link == &to->free[0] || before) {
		if (*(void **)block)
			join(block, *(void **)block);
		if (before)
			join(before, block);
	}
}

/* The first large free block that fits; the rest of it stays free. */
static void *large_take(struct region *from, size_t stride)
{
	void **link = &from->free[0];
	while (*link && stride_of(*link) < stride)
		link = *link;
	char *block = *link;
	if (!block)
		return NULL;
	void *next = *(void **)block;
	*(void **)block = NULL;
	size_t rest = stride_of(block) - stride;
	if (rest < 2 * SMALL) {
		*link = next;
	} else {
		head_of(block)->size = stride - sizeof(struct head);
		head_of(block + stride)->size = rest - sizeof(struct head);
		*(void **)(block + stride) = next;
		*link = block + stride;
	}
	return block;
}

static void *region_take(struct region *from, size_t size)
{
	size_t stride = (size + sizeof(struct head) + 15) & ~15UL;
	size_t list = stride / 16 < LISTS ? stride / 16 : 0;
	void *block = list ? from->free[list] : large_take(from, stride);
	if (block) {
		if (list) {
			from->free[list] = *(void **)block;
			*(void **)block = NULL;
		}
		return block;
	}
	if (stride > (size_t)(from->end - from->at))
		return NULL;
	/* Regions start 8 bytes before a multiple of 16. */
	block = from->at + sizeof(struct head);
	from->at += stride;
	head_of(block)->size = stride - sizeof(struct head);
	return block;
}

static char *region_start(char *at)
{
	return (char *)(((uintptr_t)at + 15) & ~15UL) + 8;
}

/* ---- the arena ---- */

static enum part known_part(const struct lesson *lesson)
{
	if (lesson->written)
		return (enum part)(COMMANDS_MAX - lesson->written);
	return lesson->read ? READ : lesson->kept == KEPT ? REST : ADDED;
}

static enum part part_of(const void *block)
{
	enum part part = 0;
	while (part < GONE && (const char *)block >= parts[part].end)
		part++;
	return part;
}

/* At the end of a block in GONE, after the link of free blocks; zeroed when it is freed. */
struct tail {
	uint32_t number, size;
};

static struct tail *tail_of(void *block)
{
	return (struct tail *)((char *)block + head_of(block)->size) - 1;
}

static void *gone_take(size_t size)
{
	if (size <= NUMBERED) {
		struct passing *place = &passing[number];
		*place = (struct passing){ .size = (uint32_t)size, .live = 1, .head = { NUMBERED } };
		return place->block;
	}
	void *block = region_take(&parts[GONE], size + sizeof(void *) + sizeof(struct tail));
	if (block)
		*tail_of(block) = (struct tail){ .number = (uint32_t)number, .size = (uint32_t)size };
	return block;
}

static void *arena_take(size_t size)
{
	void *block = NULL;
	struct lesson *lesson = ++number < LESSONS_MAX ? &lessons[number] : NULL;
	if (lesson && (!lesson->kept || lesson->size != size))
		block = gone_take(size);
	else if (lesson && mode == LEARNING)
		block = learning_take(number, size);
	else if (lesson) {
		lesson->place |= TAKEN;
		block = region_take(&parts[known_part(lesson)], size);
	}
	if (!block)
		errno = ENOMEM;
	return block;
}

static void arena_give(void *block)
{
	if (mode == RUNNING)
		return;
	/* So that no stale pointer gets into the snapshot, and blocks are zero when they are allocated. */
	memset(block, 0, head_of(block)->size);
	if ((char *)block >= (char *)passing && (char *)block < gone_start)
		((struct passing *)((char *)block - offsetof(struct passing, block)))->live = 0;
	else if (mode == RECORDING || (char *)block > gone_start)
		region_give(&parts[part_of(block)], block);
}

static int map_arena(size_t size, int fd)
{
	void *at =
		mmap((void *)ARENA_BASE, size, PROT_READ | PROT_WRITE,
		     MAP_NORESERVE | MAP_FIXED_NOREPLACE | (fd < 0 ? MAP_PRIVATE | MAP_ANONYMOUS : MAP_SHARED), fd, 0);
	return at == (void *)ARENA_BASE ? 0 : -1;
}

static void open_gone(size_t arena)
{
	passing = (struct passing *)(ARENA_BASE + arena / 4);
	gone_start = region_start((char *)ARENA_BASE + arena / 2);
	parts[GONE] = (struct region){ .at = gone_start, .end = (char *)ARENA_BASE + arena };
}

/* Opens the arena; the lessons decide where blocks go. 0 or -1. */
int heap_record(struct lesson *all)
{
	if (map_arena(ARENA_MAX, -1) < 0)
		return -1;
	size_t sizes[PARTS] = { 0 };
	uint8_t most = 1;
	for (const struct lesson *lesson = all; lesson < all + LESSONS_MAX; lesson++) {
		if (!lesson->kept)
			continue;
		known = true;
		sizes[known_part(lesson)] += (lesson->size + sizeof(struct head) + 15) & ~15UL;
		if (lesson->written > most)
			most = lesson->written;
	}
	char *at = (char *)(ARENA + 1);
	for (enum part part = 0; part < GONE; part++) {
		parts[part].at = region_start(at);
		at = parts[part].end = parts[part].at + sizes[part];
		if (COMMANDS_MAX - (int)part > most * 2 / 3)
			ARENA->hot = at;
	}
	open_gone(ARENA_MAX);
	arena_size = ARENA_MAX;
	lessons = all;
	mode = RECORDING;
	return 0;
}

/* Opens the arena on the file; `take` puts each kept block on pages of its own. 0 or -1. */
int heap_learn(struct lesson *all, int fd, void *(*take)(uint64_t number, size_t size))
{
	if (map_arena(LEARN_MAX, fd) < 0)
		return -1;
	open_gone(LEARN_MAX);
	parts[REST].end = gone_start;
	arena_size = LEARN_MAX;
	lessons = all;
	known = true;
	learning_take = take;
	mode = LEARNING;
	return 0;
}

/* The next allocation's number no longer depends on how many allocations were made since the last mark, if these were
 * fewer than `most`. */
void heap_mark(uint64_t most)
{
	number = (number / most + 1) * most;
}

/* Drops lessons of blocks that this recording did not allocate. Returns whether the places kept for them are a waste. A
 * lesson that was dropped and comes back stays, so that this comes to an end. */
static bool drop_idle(void)
{
	size_t idle = 0;
	for (struct lesson *lesson = lessons; lesson < lessons + LESSONS_MAX; lesson++) {
		if (lesson->kept && !lesson->place) {
			idle += lesson->size;
			*lesson = (struct lesson){ .place = DROPPED };
		}
		lesson->place &= DROPPED;
	}
	return idle > IDLE_MAX;
}

/* Closes the arena: no block comes from it any more. Returns how many blocks are still allocated although the lessons
 * said they would be freed, and corrects the lessons. The first recording has no lessons, so it returns many; a later
 * one may return some, because in another layout objects hashed by address are visited in another order. */
uint64_t heap_close(void)
{
	uint64_t surprises = mode == RECORDING && known && drop_idle();
	uint8_t kept = mode == RECORDING && known ? LATE : KEPT;
	for (uint64_t i = 0; i <= number; i++)
		if (passing[i].live) {
			lessons[i] =
				(struct lesson){ .size = passing[i].size, .kept = kept, .place = lessons[i].place };
			surprises++;
		}
	for (char *block = gone_start + sizeof(struct head); block < parts[GONE].at; block += stride_of(block)) {
		const struct tail *tail = tail_of(block);
		if (tail->number) {
			struct lesson *lesson = &lessons[tail->number];
			*lesson = (struct lesson){ .size = tail->size, .kept = kept, .place = lesson->place };
			surprises++;
		}
	}
	if (mode == RECORDING) {
		ARENA->top = (char *)(((uintptr_t)parts[ADDED].at + PAGE - 1) & ~(PAGE - 1));
		ARENA->room = ROOM;
		arena_size = (size_t)(ARENA->top - (char *)ARENA_BASE);
	}
	mode = RUNNING;
	return surprises;
}

/* In a process revived from a snapshot. */
void heap_revive(void)
{
	arena_size = (size_t)(ARENA->top - (char *)ARENA_BASE);
	running.at = region_start(ARENA->top);
	running.end = ARENA->top + ARENA->room;
}

/* ---- calls that need no lock ---- */

void *stele_malloc(size_t size)
{
	return mode == RUNNING ? malloc(size) : arena_take(size);
}

void *stele_calloc(size_t count, size_t size)
{
	if (mode == RUNNING)
		return calloc(count, size);
	size_t all;
	if (__builtin_mul_overflow(count, size, &all)) {
		errno = ENOMEM;
		return NULL;
	}
	return arena_take(all);
}

void stele_free(void *block)
{
	if (in_arena(block))
		arena_give(block);
	else
		free(block);
}

void *stele_realloc(void *block, size_t size)
{
	if (!block)
		return stele_malloc(size);
	if (!in_arena(block))
		return realloc(block, size); /* libc's blocks stay libc's, also while recording */
	void *moved = stele_malloc(size);
	if (moved) {
		size_t had = head_of(block)->size;
		memcpy(moved, block, had < size ? had : size);
		arena_give(block);
	}
	return moved;
}

char *stele_strdup(const char *text)
{
	size_t size = strlen(text) + 1;
	char *copy = stele_malloc(size);
	return copy ? memcpy(copy, text, size) : NULL;
}

/* libc numbers thread-specific keys per process; those made by the snapshot's code are made again, in order. */
int stele_pthread_key_create(pthread_key_t *ret_key, void (*destructor)(void *))
{
	int err = pthread_key_create(ret_key, destructor);
	if (err || mode == RUNNING)
		return err;
	if (ARENA->keys == KEYS_MAX)
		return EAGAIN;
	ARENA->key[ARENA->keys++] = (struct key){ .index = *ret_key, .destructor = destructor };
	return 0;
}

/* 0, or -1 if libc numbers keys differently here than where the snapshot was taken. */
int heap_restore_keys(void)
{
	for (uint32_t i = 0; i < ARENA->keys; i++) {
		pthread_key_t key;
		if (pthread_key_create(&key, ARENA->key[i].destructor) || key != ARENA->key[i].index)
			return -1;
	}
	return 0;
}

/* ---- Python's own, under its lock ---- */

/* Sizes above SMALL come from libc, after a head that says so; sizes in heads are even. */
#define LIBC 1UL

static void *big_take(size_t size)
{
	size = (size + 1) & ~1UL;
	char *at = size > PTRDIFF_MAX - 16 ? NULL : malloc(size + 16);
	if (!at)
		return NULL;
	head_of(at + 16)->size = size | LIBC;
	return at + 16;
}

static void *python_malloc(void *context, size_t size)
{
	(void)context;
	if (mode != RUNNING)
		return arena_take(size);
	if (size > SMALL)
		return big_take(size);
	void *block = region_take(&running, size);
	if (block)
		return block;
	char *chunk = mmap(NULL, CHUNK, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (chunk == MAP_FAILED)
		return NULL;
	running.at = region_start(chunk);
	running.end = chunk + CHUNK;
	return region_take(&running, size);
}

static void *python_calloc(void *context, size_t count, size_t size)
{
	size_t all;
	if (__builtin_mul_overflow(count, size, &all))
		return NULL;
	void *block = python_malloc(context, all);
	return block && mode == RUNNING ? memset(block, 0, all) : block;
}

static void python_free(void *context, void *block)
{
	(void)context;
	if (!block)
		return;
	if (mode != RUNNING)
		arena_give(block);
	else if (head_of(block)->size & LIBC)
		free((char *)block - 16);
	else if (head_of(block)->size <= SMALL)
		region_give(&running, block); /* larger ones are from the snapshot and are not reused */
}

static void *python_realloc(void *context, void *block, size_t size)
{
	if (!block)
		return python_malloc(context, size);
	size_t had = head_of(block)->size;
	if (mode == RUNNING && had & LIBC && size > SMALL) {
		size = (size + 1) & ~1UL;
		char *at = size > PTRDIFF_MAX - 16 ? NULL : realloc((char *)block - 16, size + 16);
		if (!at)
			return NULL;
		head_of(at + 16)->size = size | LIBC;
		return at + 16;
	}
	had &= ~LIBC;
	if (mode == RUNNING && size <= had && size >= had / 2)
		return block;
	void *moved = python_malloc(context, size);
	if (moved) {
		memcpy(moved, block, had < size ? had : size);
		python_free(context, block);
	}
	return moved;
}

/* For the stacks of frames. Python's own allocator of small objects is not used. */
static void *pages_take(void *context, size_t size)
{
	(void)context;
	if (mode != RUNNING)
		return arena_take(size);
	void *at = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	return at == MAP_FAILED ? NULL : at;
}

static void pages_give(void *context, void *at, size_t size)
{
	(void)context;
	if (in_arena(at))
		arena_give(at);
	else
		munmap(at, size);
}

/* Call before Python starts. */
void heap_python(void)
{
	PyMemAllocatorEx blocks = {
		.malloc = python_malloc,
		.calloc = python_calloc,
		.realloc = python_realloc,
		.free = python_free,
	};
	PyMem_SetAllocator(PYMEM_DOMAIN_OBJ, &blocks);
	PyMem_SetAllocator(PYMEM_DOMAIN_MEM, &blocks);
	PyObjectArenaAllocator pages = { .alloc = pages_take, .free = pages_give };
	PyObject_SetArenaAllocator(&pages);
}
