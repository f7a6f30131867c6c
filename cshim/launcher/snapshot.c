/* Taking the snapshot in the builder's process, and living on from it in each later one. */
#include "launcher.h"

#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <stdlib.h>
#include <unistd.h>
#include <zlib.h>

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#define FRESH (16 * PAGE) /* that every command allocates */
#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23
#endif

#define WORDS_MAX 32
/* Bounds of how many allocations a command makes, and sharing the constants of all code. */
#define COMMAND (1UL << 14)
#define ALL_CODE (1UL << 18)
#define ROUNDS 12 /* CPython specialises a function at its eighth call */

/* The usual commands, to exercise and to learn from; of those that must succeed a failure teaches nothing. */
struct commands {
	int count;
	bool must[COMMANDS_MAX];
	int argc[COMMANDS_MAX];
	char *argv[COMMANDS_MAX][WORDS_MAX];
};

static int write_all(int fd, const char *from, const char *to)
{
	while (from < to) {
		ssize_t n = write(fd, from, (size_t)(to - from));
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return -1;
		from += n;
	}
	return 0;
}

/* Reads commands: one word a line, before them a line "must" or "may" succeed, an empty line behind. 0 or -1. */
static int read_commands(const char *path, struct commands *ret)
{
	static char text[1 << 16];
	int file = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t length = file < 0 ? -1 : read(file, text, sizeof(text) - 1);
	if (length < 0)
		return -1;
	close(file);
	bool start = true;
	for (char *line = text, *end; (end = strchr(line, '\n')); line = end + 1) {
		*end = 0;
		if (ret->count == COMMANDS_MAX || ret->argc[ret->count] == WORDS_MAX)
			return -1;
		if (!*line)
			ret->count++;
		else if (!start)
			ret->argv[ret->count][ret->argc[ret->count]++] = line;
		else
			ret->must[ret->count] = !strcmp(line, "must");
		start = !*line;
	}
	return 0;
}

/* Gives fds 0, 1 and 2 pipes, so that Python's streams are made neither seekable nor a terminal's. */
static int plain_streams(void)
{
	int in[2], out[2];
	if (pipe(in) < 0 || pipe(out) < 0)
		return -1;
	return dup2(in[0], 0) < 0 || dup2(out[1], 1) < 0 || dup2(out[1], 2) < 0 ? -1 : 0;
}

/* Gives fds 0, 1 and 2 nothing to say. 0 or -1. */
static int silence(void)
{
	int nothing = open("/dev/null", O_RDWR);
	if (nothing < 0 || dup2(nothing, 0) < 0 || dup2(nothing, 1) < 0 || dup2(nothing, 2) < 0)
		return -1;
	return close(nothing);
}

/* Runs the usual commands over and over: CPython then has specialised their code and filled its caches, and what they
   import late is there. 0 or -1. */
static int exercise(const struct commands *commands)
{
	for (int i = 0; i < ROUNDS * commands->count; i++) {
		int which = i % commands->count;
		if (!which)
			PyType_ClearCache(); /* so in the end it holds what these commands look for, and nothing of the imports */
		heap_mark(COMMAND);
		PyObject *words = arguments(commands->argc[which] - 1, commands->argv[which] + 1);
		PyObject *done = words ? PyObject_CallMethod(ARENA->start, "exercise", "N", words) : NULL;
		if (!done)
			return -1;
		Py_DECREF(done);
	}
	heap_mark(COMMAND);
	return 0;
}

/* Starts Python and warms the application, while the heap records. Leaves in ARENA what a later process needs. */
static int prepare(const char *seed, const struct commands *commands)
{
	static char name[] = "stele";
	char *argv[] = {name, NULL};
	unsigned long hash_seed = strtoul(seed, NULL, 10);
	mallopt(M_MMAP_THRESHOLD, 0); /* libc's blocks get addresses that no other number looks like */
	int messages = fcntl(2, F_DUPFD_CLOEXEC, 3);
	if (messages < 0 || plain_streams() < 0)
		return -1;
	if (interpreter_start(1, argv, &hash_seed) == 0) {
		ARENA->start = PyImport_ImportModule("stele_start");
		ARENA->main = ARENA->start ? PyObject_CallMethod(ARENA->start, "warm", NULL) : NULL;
		PyObject *posix = ARENA->main ? PyImport_ImportModule("posix") : NULL;
		ARENA->environment = posix ? PyDict_GetItemString(PyModule_GetDict(posix), "environ") : NULL;
	}
	if (ARENA->environment && (silence() < 0 || exercise(commands) < 0 || !PyObject_CallMethod(ARENA->start, "settle", NULL)))
		ARENA->environment = NULL;
	dup2(messages, 1);
	dup2(messages, 2);
	close(messages);
	if (!ARENA->environment) {
		if (PyErr_Occurred())
			PyErr_Print();
		return -1;
	}
	struct sigaction old;
	sigaction(SIGINT, NULL, &old);
	ARENA->interrupt = old.sa_handler;
	heap_mark(ALL_CODE);
	PyObject *functions = PyObject_CallMethod(ARENA->start, "functions", NULL);
	int failed = functions ? share_constants(functions) : -1;
	Py_XDECREF(functions);
	PyGC_Collect(); /* empties the lists of free objects, of what was exchanged too: what comes is always allocated */
	heap_mark(ALL_CODE);
	if (failed || internals_pack() < 0) {
		PyErr_Print();
		return -1;
	}
	PyGC_Collect();
	ARENA->thread = PyThreadState_Get();
	internals_clean(ARENA->thread);
	return 0;
}

static int create(const char *path)
{
	return open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
}

static int one_command(int argc, char **argv)
{
	if (silence() < 0)
		return -1;
	return internals_revive(ARENA->thread) < 0 || interpreter_renew(argc, argv) < 0 ? -1 : interpreter_run(ARENA->main, ARENA->start, argc, argv);
}

/* The file of lessons, which grows as numbers are used; NULL if it cannot be. */
static struct lesson *open_lessons(const char *path)
{
	size_t size = LESSONS_MAX * sizeof(struct lesson);
	int file = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0644);
	if (file < 0 || ftruncate(file, (off_t)size) < 0)
		return NULL;
	void *at = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
	close(file);
	return at == MAP_FAILED ? NULL : at;
}

/* Adds to the lessons what the commands touch, and writes into the file, one byte for each page of pydata and pybss, how
   many of them write it. 0, -1, or 2 if the lessons were wrong: they are corrected, and the same call may succeed. */
int snapshot_learn(const char *path, const char *seed, const char *commands, const char *lessons)
{
	static struct commands usual;
	struct lesson *known = open_lessons(lessons);
	int file = create(path);
	if (!known || file < 0 || read_commands(commands, &usual) < 0 || learn_open(known) < 0 || prepare(seed, &usual) < 0)
		return -1;
	if (heap_close())
		return 2;
	for (int i = 0; i < usual.count; i++)
		if (learn_from(usual.argc[i], usual.argv[i], usual.must[i], one_command) < 0) {
			fprintf(stderr, "stele: cannot learn from the usual command %s (%d)\n", usual.argv[i][1], i);
			return -1;
		}
	size_t count;
	const char *pages = (const char *)learn_pages(&count);
	return write_all(file, pages, pages + count);
}

/* Writes this process's memory map beside the file, for build-aux/seal.py to check pointers by. brk holds nothing but
   what libc made before main, as the thread's own block, which gets a line of its own. */
static int copy_maps(const char *path)
{
	char text[4096], name[4096];
	int length = snprintf(name, sizeof(name), "%s.maps", path);
	int from = open("/proc/self/maps", O_RDONLY | O_CLOEXEC), to = length < (int)sizeof(name) ? create(name) : -1;
	ssize_t n = -1;
	while (from >= 0 && to >= 0 && (n = read(from, text, sizeof(text))) > 0)
		if (write_all(to, text, text + n) < 0)
			return -1;
	n = n < 0 ? n : dprintf(to, "%lx-%lx rw-p 0 00:00 0 [thread]\n", pthread_self(), pthread_self() + 1);
	return n < 0 ? -1 : 0;
}

/* Writes pydata, pybss and the arena, in this order. lessons: what snapshot_learn left, or a file that is not there yet.
   0, -1, or 2 as above. */
int snapshot_dump(const char *path, const char *seed, const char *commands, const char *lessons)
{
	static struct commands usual;
	struct lesson *known = open_lessons(lessons);
	int file = create(path);
	if (!known || file < 0 || read_commands(commands, &usual) < 0 || heap_record(known) < 0 || prepare(seed, &usual) < 0)
		return -1;
	if (heap_close())
		return 2;
	if (copy_maps(path) < 0)
		return -1;
	return write_all(file, stele_pydata_start, stele_pydata_end) < 0 ||
	       write_all(file, stele_pybss_start, stele_pybss_end) < 0 || write_all(file, (char *)ARENA, ARENA->top) < 0
		? -1 : 0;
}

static void set_signal(int number, void (*handler)(int))
{
	struct sigaction action = {.sa_handler = handler};
	sigaction(number, &action, NULL);
}

/* As signal_install_handlers of CPython does at a start. SIGINT comes last: until then it ends us, as nothing is made
   yet, and afterwards it is Python's KeyboardInterrupt. */
static void ignore_signals(void)
{
	set_signal(SIGPIPE, SIG_IGN);
	set_signal(SIGXFSZ, SIG_IGN);
}

static void heed_interrupt(void)
{
	struct sigaction old;
	if (!sigaction(SIGINT, NULL, &old) && old.sa_handler == SIG_DFL)
		set_signal(SIGINT, ARENA->interrupt);
}

/* What the caller has us ignore: Python's own table of these is the builder's, where none was. 0 or -1. */
static int heed_ignored(void)
{
	static const int asked[] = {SIGHUP, SIGINT, SIGTERM};
	for (size_t i = 0; i < sizeof(asked) / sizeof(asked[0]); i++) {
		struct sigaction old;
		if (sigaction(asked[i], NULL, &old) || old.sa_handler != SIG_IGN)
			continue;
		PyObject *module = PyImport_ImportModule("_signal");
		PyObject *was = module ? PyObject_CallMethod(module, "signal", "il", asked[i], (long)SIG_IGN) : NULL;
		Py_XDECREF(module);
		Py_XDECREF(was);
		if (!was)
			return -1;
	}
	return 0;
}

/* Copies pages at once that will be written, from the start of the kernel's page, which may be larger than ours. */
static void populate(uint64_t start, uint64_t length)
{
	uint64_t before = start % (uint64_t)getpagesize();
	madvise((void *)(start - before), length + before, MADV_POPULATE_WRITE);
}

/* For what nearly each command writes: a fault for each page costs half as much again. Before Linux 5.14, and where memory
   is short, the faults do it. */
static void populate_hot(void)
{
	populate(ARENA_BASE, (uint64_t)(ARENA->hot - (char *)ARENA_BASE) & ~(PAGE - 1));
	populate((uint64_t)ARENA->top, FRESH);
	for (int i = 0; i < HOT_MAX && stele_seal.hot[i].length; i++)
		populate(stele_seal.hot[i].start, stele_seal.hot[i].length);
}

/* The kernel has mapped the snapshot as part of the executable. Gives it this process's threads, keys, signals,
   arguments and environment. False if it does not belong to this executable or libc counts differently. */
bool snapshot_revive(int argc, char **argv)
{
	if (memcmp(ARENA->id, (const uint8_t *)stele_seal.id, ID_SIZE) || heap_restore_keys() < 0 ||
	    internals_revive(ARENA->thread) < 0)
		return false;
	ignore_signals();
	populate_hot();
	heap_revive();
	if (interpreter_renew(argc, argv) < 0 || heed_ignored() < 0) {
		PyErr_Print();
		_exit(1);
	}
	heed_interrupt();
	return true;
}

/* Puts Python's variables back to what the linker gave them, for a cold start. */
bool snapshot_forget(void)
{
	unsigned long size = (unsigned long)(stele_pydata_end - stele_pydata_start), got = size;
	/* zlib has no variables of its own, so it may be used while they are replaced. */
	int err = uncompress((unsigned char *)stele_pydata_start, &got, stele_seal.pristine, stele_seal.pristine_size);
	memset(stele_pybss_start, 0, (size_t)(stele_pybss_end - stele_pybss_start));
	return err == Z_OK && got == size;
}
