/* The memory that a snapshot may hold.
 *
 * The archives of snapshot.ld call stele_malloc and its kin where their source says malloc. While the arena is open
 * (only in the process that makes the snapshot, which has one thread) they get memory at a fixed address. Otherwise
 * they get libc's; blocks from a snapshot are then recognised by their address, may be read, written and
 * reallocated, and are never reused when freed: what a snapshot holds is bounded and the process is short. */
#include "launcher.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define PY_SSIZE_T_CLEAN
#include <Python.h>

void *stele_malloc(size_t size);
void *stele_calloc(size_t count, size_t size);
void *stele_realloc(void *block, size_t size);
void stele_free(void *block);
char *stele_strdup(const char *text);
int stele_key_create(pthread_key_t *ret_key, void (*destructor)(void *));

/* Before each block of the arena: 16 bytes, so that the block is aligned like malloc's. */
struct head {
	size_t size; /* of the block, a multiple of 16 */
	size_t unused;
};
_Static_assert(sizeof(struct head) == 16, "blocks stay aligned to 16 bytes");

#define PAGE 4096UL
#define EXACT 1024 /* free blocks up to 16 KiB are kept by size, larger ones in one list */

static bool is_open;
static void *free_blocks[EXACT + 1];

/* Up to its top only: the kernel puts brk right behind the last segment, which is the arena. */
static bool in_arena(const void *block)
{
	if ((uintptr_t)block - ARENA_BASE >= ARENA_MAX)
		return false;
	return (const char *)block < ARENA->top;
}

static struct head *head_of(void *block)
{
	return (struct head *)((char *)block - sizeof(struct head));
}

/* Maps the arena; 0 or -1. */
int heap_open(void)
{
	void *at = mmap((void *)ARENA_BASE, ARENA_MAX, PROT_READ | PROT_WRITE,
	                MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED_NOREPLACE, -1, 0);
	if (at != (void *)ARENA_BASE)
		return -1;
	ARENA->top = (char *)ARENA_BASE + PAGE;
	is_open = true;
	return 0;
}

void heap_close(void)
{
	is_open = false;
}

static void *bump(size_t size, size_t align)
{
	char *at = (char *)(((uintptr_t)ARENA->top + align - 1) & ~(align - 1));
	if (size > ARENA_MAX || at + size > (char *)ARENA_BASE + ARENA_MAX)
		return NULL;
	ARENA->top = at + size;
	return at;
}

static void *take_free(size_t list, size_t size)
{
	for (void **link = &free_blocks[list]; *link; link = *link) {
		void *block = *link;
		if (head_of(block)->size >= size && head_of(block)->size <= size + size / 8) {
			*link = *(void **)block;
			*(void **)block = NULL;
			return block;
		}
	}
	return NULL;
}

void *stele_malloc(size_t size)
{
	if (!is_open)
		return malloc(size);
	size = size ? (size + 15) & ~15UL : 16;
	size_t list = size / 16 < EXACT ? size / 16 : EXACT;
	void *block = take_free(list, size);
	if (block)
		return block;
	struct head *head = bump(size + sizeof(*head), 16);
	if (!head) {
		errno = ENOMEM;
		return NULL;
	}
	head->size = size;
	return head + 1;
}

void *stele_calloc(size_t count, size_t size)
{
	if (!is_open)
		return calloc(count, size);
	size_t all;
	if (__builtin_mul_overflow(count, size, &all)) {
		errno = ENOMEM;
		return NULL;
	}
	return stele_malloc(all); /* new blocks are zero, and freed ones were wiped */
}

void stele_free(void *block)
{
	if (!in_arena(block)) {
		free(block);
		return;
	}
	if (!is_open)
		return;
	size_t size = head_of(block)->size;
	size_t list = size / 16 < EXACT ? size / 16 : EXACT;
	memset(block, 0, size); /* no stale pointer and no secret gets into the snapshot */
	*(void **)block = free_blocks[list];
	free_blocks[list] = block;
}

void *stele_realloc(void *block, size_t size)
{
	if (!block)
		return stele_malloc(size);
	if (!in_arena(block))
		return realloc(block, size); /* libc's stays libc's, also while the arena is open */
	size_t had = head_of(block)->size;
	if (size <= had && is_open)
		return block;
	void *moved = stele_malloc(size);
	if (!moved)
		return NULL;
	memcpy(moved, block, had < size ? had : size);
	stele_free(block);
	return moved;
}

char *stele_strdup(const char *text)
{
	size_t size = strlen(text) + 1;
	char *copy = stele_malloc(size);
	return copy ? memcpy(copy, text, size) : NULL;
}

/* libc numbers thread-specific keys by process; those that the snapshot's code made are made again, in order. */
int stele_key_create(pthread_key_t *ret_key, void (*destructor)(void *))
{
	int err = pthread_key_create(ret_key, destructor);
	if (err || !is_open)
		return err;
	if (ARENA->keys == KEYS_MAX)
		return EAGAIN;
	ARENA->key[ARENA->keys++] = (struct key){.index = *ret_key, .destructor = destructor};
	return 0;
}

/* 0, or -1 if libc numbers keys differently here than where the snapshot was made. */
int heap_restore_keys(void)
{
	for (uint32_t i = 0; i < ARENA->keys; i++) {
		pthread_key_t key;
		if (pthread_key_create(&key, ARENA->key[i].destructor) || key != ARENA->key[i].index)
			return -1;
	}
	return 0;
}

static void *arena_alloc(void *context, size_t size)
{
	(void)context;
	if (is_open)
		return bump(size, PAGE);
	void *at = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	return at == MAP_FAILED ? NULL : at;
}

static void arena_free(void *context, void *at, size_t size)
{
	(void)context;
	if (!in_arena(at))
		munmap(at, size);
	else if (is_open)
		memset(at, 0, size);
}

/* Python's object allocator gets its arenas from here too. Before Python starts. */
void heap_python(void)
{
	PyObjectArenaAllocator arenas = {.ctx = NULL, .alloc = arena_alloc, .free = arena_free};
	PyObject_SetArenaAllocator(&arenas);
}
