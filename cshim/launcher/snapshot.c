/* Taking the snapshot in the builder's process, and living on from it in each later one. */
#include "launcher.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define PY_SSIZE_T_CLEAN
#define Py_BUILD_CORE
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wconversion"
#pragma GCC diagnostic ignored "-Wshadow"
#include <Python.h>
#include <internal/pycore_interp.h>
#include <internal/pycore_pystate.h>
#include <internal/pycore_runtime.h>
#pragma GCC diagnostic pop

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

/* Gives fds 0, 1 and 2 pipes, so that Python's streams are made neither seekable nor a terminal's. */
static int plain_streams(void)
{
	int in[2], out[2];
	if (pipe(in) < 0 || pipe(out) < 0)
		return -1;
	return dup2(in[0], 0) < 0 || dup2(out[1], 1) < 0 || dup2(out[1], 2) < 0 ? -1 : 0;
}

/* Starts Python in the arena, warms it and writes pydata, pybss and the arena to the file, in this order. */
int snapshot_dump(const char *path, unsigned long hash_seed)
{
	int messages = dup(2);
	int file = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
	char *name = (char[]){"stele"};
	char *argv[] = {name, NULL};
	if (messages < 0 || file < 0 || heap_open() < 0 || plain_streams() < 0)
		return -1;
	int failed = interpreter_start(1, argv, &hash_seed);
	PyObject *start = failed ? NULL : PyImport_ImportModule("stele_start");
	PyObject *main_function = start ? PyObject_CallMethod(start, "warm", "i", messages) : NULL;
	if (!main_function) {
		dup2(messages, 2);
		if (!failed)
			PyErr_Print();
		return -1;
	}
	struct sigaction old;
	sigaction(SIGINT, NULL, &old);
	ARENA->interrupt = old.sa_handler;
	ARENA->main = main_function;
	ARENA->start = start;
	ARENA->thread = PyThreadState_Get();
	heap_close();
	char *end = (char *)(((uintptr_t)ARENA->top + 4095) & ~4095UL);
	return write_all(file, stele_pydata_start, stele_pydata_end) < 0 ||
	       write_all(file, stele_pybss_start, stele_pybss_end) < 0 || write_all(file, (char *)ARENA, end) < 0
		? -1 : 0;
}

/* A caller may close 0, 1 or 2; a file opened later must not be taken for one of them. */
static int fill_streams(void)
{
	for (int fd = 0; fd < 3; fd++) {
		if (fcntl(fd, F_GETFD) >= 0)
			continue;
		int got = open("/dev/null", O_RDWR);
		if (got < 0)
			got = memfd_create("null", 0);
		if (got != fd)
			return -1;
	}
	return 0;
}

static void set_signal(int number, void (*handler)(int))
{
	struct sigaction action = {.sa_handler = handler};
	sigaction(number, &action, NULL);
}

/* As signal_install_handlers of CPython does at a start. */
static void set_signals(void)
{
	struct sigaction old;
	set_signal(SIGPIPE, SIG_IGN);
	set_signal(SIGXFSZ, SIG_IGN);
	if (!sigaction(SIGINT, NULL, &old) && old.sa_handler == SIG_DFL)
		set_signal(SIGINT, ARENA->interrupt);
}

/* The kernel has mapped the snapshot as part of the executable. Gives it this process's threads, keys, signals,
   arguments and environment. False if it does not belong to this executable or libc counts differently. */
bool snapshot_revive(int argc, char **argv)
{
	if (memcmp(ARENA->id, (const uint8_t *)stele_seal.id, ID_SIZE) || heap_restore_keys() < 0 || fill_streams() < 0)
		return false;
	PyThreadState *thread = ARENA->thread;
	Py_tss_t *current = &_PyRuntime.gilstate.autoTSSkey;
	if (pthread_setspecific((pthread_key_t)current->_key, thread))
		return false;
	_PyRuntime.main_thread = thread->thread_id = PyThread_get_thread_ident();
	thread->native_thread_id = PyThread_get_thread_native_id();
	set_signals();
	if (interpreter_renew(argc, argv) < 0) {
		PyErr_Print();
		_exit(1);
	}
	return true;
}

/* Puts Python's variables back to what the linker gave them, for a cold start. */
void snapshot_forget(void)
{
	memcpy(stele_pydata_start, stele_seal.pristine, (size_t)(stele_pydata_end - stele_pydata_start));
	memset(stele_pybss_start, 0, (size_t)(stele_pybss_end - stele_pybss_start));
}
