/* The start of the executable: from its snapshot, or cold if there is none or STELE_NO_SNAPSHOT is set. */
#include "launcher.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define PY_SSIZE_T_CLEAN
#include <Python.h>

static int start_cold(int argc, char **argv)
{
	if (interpreter_start(argc, argv, NULL) < 0)
		return 1;
	PyObject *start = PyImport_ImportModule("stele_start");
	PyObject *main_function = start ? PyObject_CallMethod(start, "cold", NULL) : NULL;
	if (!main_function) {
		PyErr_Print();
		return 1;
	}
	return interpreter_run(main_function, start, argc, argv);
}

/* A page of the executable could not be read: it was cut short, or its disk fails. */
static void damaged(int number)
{
	static const char message[] =
		"stele: the executable is damaged, or was changed while it ran; install it again\n";
	(void)number;
	if (write(2, message, sizeof(message) - 1) < 0)
		_exit(2);
	_exit(1);
}

int main(int argc, char **argv)
{
	if (!stele_seal.sealed) {
		/* Only in the builder, before it is sealed: signals ignored there (in a shell's background job) must
		 * not be recorded. */
		for (int number = 1; number < _NSIG; number++)
			signal(number, SIG_DFL);
		if (argc == 6 && !strcmp(argv[1], "--learn"))
			return abs(snapshot_learn(argv[2], argv[3], argv[4], argv[5]));
		if (argc == 6 && !strcmp(argv[1], "--dump"))
			return abs(snapshot_dump(argv[2], argv[3], argv[4], argv[5]));
	}
	struct sigaction at_damage = { .sa_handler = damaged };
	sigaction(SIGBUS, &at_damage, NULL);
	if (stele_seal.sealed)
		/* Read the end of the file: if it is cut short, fail before anything is done. */
		(void)*(volatile char *)(ARENA->top - 1);
	if (fill_streams() < 0)
		_exit(1);
	if (stele_seal.sealed && !getenv("STELE_NO_SNAPSHOT") && snapshot_revive(argc, argv))
		_exit(interpreter_run(ARENA->main, ARENA->start, argc, argv));
	if (stele_seal.sealed && !snapshot_forget())
		_exit(1);
	_exit(start_cold(argc, argv));
}
