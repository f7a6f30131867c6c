/* Finds out which blocks of the snapshot common commands write, and which they only read.  *  * Each block is put on
 * pages of its own in a memory file, so far from the next that the kernel, which maps up to 64 KiB  * around a page
 * that is read (filemap_map_pages), maps no neighbour. A command then runs in a child with a private  * mapping of
 * that file, and /proc/self/pagemap shows which pages it has touched and which it has copied. */
#include "launcher.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#define SLOT (64UL << 10)
#define PRESENT (1ULL << 63)
#define OF_FILE (1ULL << 61)

/* At the start of a slot, before the block's own head. */
struct slot {
	uint64_t number;
	struct head head;
};
_Static_assert(sizeof(struct slot) == 16, "blocks are aligned to 16 bytes");

static int memory = -1;
static char *slots_end;
static struct lesson *lessons; /* shared with the children */
static uint8_t *pages_written; /* also shared: for each page of pydata, then pybss */

static size_t pages_between(const char *start, const char *end)
{
	return (size_t)(end - start) / PAGE;
}

/* How many commands write each page of pydata, then of pybss. */
const uint8_t *learn_pages(size_t *ret_count)
{
	*ret_count =
		pages_between(stele_pydata_start, stele_pydata_end) + pages_between(stele_pybss_start, stele_pybss_end);
	return pages_written;
}

/* Memory for block `number` while learning, on pages of its own. */
static void *take(uint64_t number, size_t size)
{
	size_t all = (size + sizeof(struct slot) + SLOT - 1) & ~(SLOT - 1);
	if (all > LEARN_MAX / 2 - (size_t)(slots_end - (char *)ARENA_BASE))
		return NULL;
	struct slot *slot = (struct slot *)slots_end;
	slots_end += all;
	slot->number = number;
	slot->head.size = (size + 7) & ~7UL;
	return slot + 1;
}

/* known: the lessons to add to, in shared memory. 0 or -1. */
int learn_open(struct lesson *known)
{
	size_t count;
	learn_pages(&count);
	pages_written = mmap(NULL, count, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	memory = memfd_create("learn", MFD_CLOEXEC);
	if (pages_written == MAP_FAILED || memory < 0 || ftruncate(memory, LEARN_MAX) < 0)
		return -1;
	lessons = known;
	slots_end = (char *)ARENA_BASE + SLOT;
	return heap_learn(known, memory, take);
}

/* In the child: replaces these pages by a private mapping of a copy, so that writes can be detected. */
static int copy_pages(char *start, const char *end)
{
	int copy = memfd_create("pages", MFD_CLOEXEC);
	size_t size = (size_t)(end - start);
	if (copy < 0 || ftruncate(copy, (off_t)size) < 0)
		return -1;
	for (size_t at = 0; at < size;) {
		ssize_t n = pwrite(copy, start + at, size - at, (off_t)at);
		if (n <= 0)
			return -1;
		at += (size_t)n;
	}
	void *at = mmap(start, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_FIXED, copy, 0);
	close(copy);
	return at == start ? 0 : -1;
}

static int note_pages(int pagemap, const char *start, const char *end, uint8_t *counts)
{
	for (const char *at = start; at < end; at += PAGE, counts++) {
		uint64_t page;
		if (pread(pagemap, &page, sizeof(page), (off_t)((uintptr_t)at / PAGE * 8)) != sizeof(page))
			return -1;
		*counts = (uint8_t)(*counts + (page & PRESENT && !(page & OF_FILE)));
	}
	return 0;
}

/* In the child: makes private mappings, none of them touched yet. 0 or -1. */
static int learn_start(void)
{
	if (copy_pages(stele_pydata_start, stele_pydata_end) < 0 || copy_pages(stele_pybss_start, stele_pybss_end) < 0)
		return -1;
	void *at = mmap((void *)ARENA_BASE, LEARN_MAX, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_NORESERVE | MAP_FIXED,
			memory, 0);
	return at == (void *)ARENA_BASE ? 0 : -1;
}

/* In the child, at its end: records what was touched. 0 or -1. */
static int learn_note(void)
{
	int pagemap = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
	if (pagemap < 0)
		return -1;
	for (char *at = (char *)ARENA_BASE + SLOT, *next; at < slots_end; at = next) {
		/* Check the slot's page first: reading its head touches it. */
		uint64_t pages[SLOT / PAGE];
		bool touched = false, written = false;
		size_t looked = 0, length = SLOT;
		do {
			if (pread(pagemap, pages, sizeof(pages), (off_t)((uintptr_t)(at + looked) / PAGE * 8)) !=
			    sizeof(pages))
				return -1;
			for (size_t i = 0; i < SLOT / PAGE; i++) {
				touched |= !!(pages[i] & PRESENT);
				written |= pages[i] & PRESENT && !(pages[i] & OF_FILE);
			}
			looked += SLOT;
			length = (((struct slot *)at)->head.size + sizeof(struct slot) + SLOT - 1) & ~(SLOT - 1);
		} while (looked < length);
		next = at + length;
		struct lesson *lesson = &lessons[((struct slot *)at)->number];
		lesson->read = (uint8_t)(lesson->read + touched);
		lesson->written = (uint8_t)(lesson->written + written);
	}
	size_t first = pages_between(stele_pydata_start, stele_pydata_end);
	int noted = note_pages(pagemap, stele_pydata_start, stele_pydata_end, pages_written);
	noted |= note_pages(pagemap, stele_pybss_start, stele_pybss_end, pages_written + first);
	close(pagemap);
	return noted;
}

/* Runs one command in a child to learn what it touches. -1 if that cannot be found out, or if it must succeed and
 * fails. */
int learn_from(int argc, char **argv, bool must, int (*command)(int, char **))
{
	pid_t child = fork();
	if (child < 0)
		return -1;
	if (child == 0) {
		if (learn_start() < 0)
			_exit(1);
		bool failed = command(argc, argv) != 0;
		_exit(learn_note() < 0 || (must && failed));
	}
	int status;
	while (waitpid(child, &status, 0) < 0)
		if (errno != EINTR)
			return -1;
	return WIFEXITED(status) && !WEXITSTATUS(status) ? 0 : -1;
}
