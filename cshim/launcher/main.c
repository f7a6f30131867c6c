/* Where the executable starts: from its snapshot, or cold when there is none or STELE_NO_SNAPSHOT is set. */
#include "launcher.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define PY_SSIZE_T_CLEAN
#include <Python.h>

volatile struct seal stele_seal = {.sealed = 0, .id = {1}};

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

int main(int argc, char **argv)
{
	if (!stele_seal.sealed) {
		/* Only as linked, in the builder's hands: stele --dump FILE SEED. */
		if (argc == 4 && !strcmp(argv[1], "--dump"))
			return snapshot_dump(argv[2], strtoul(argv[3], NULL, 10)) < 0;
	} else if (!getenv("STELE_NO_SNAPSHOT") && snapshot_revive(argc, argv)) {
		_exit(interpreter_run(ARENA->main, ARENA->start, argc, argv));
	} else {
		snapshot_forget();
	}
	_exit(start_cold(argc, argv));
}
