/* Makes the objects of the snapshot immortal (PEP 683), so that counting references to them writes no page of it.
 *
 * A process of milliseconds frees next to nothing of the snapshot anyway. What asks for a count of one, as the resizing
 * of a tuple in place does, makes a copy instead. Objects that cannot be found this way just stay mortal. */
#include "launcher.h"

#include <stdlib.h>

#define PY_SSIZE_T_CLEAN
#define Py_BUILD_CORE
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wconversion"
#pragma GCC diagnostic ignored "-Wshadow"
#pragma GCC diagnostic ignored "-Wunused-parameter"
#include <Python.h>
#include <internal/pycore_gc.h>
#pragma GCC diagnostic pop

#if PY_VERSION_HEX >= 0x030D0000

/* Objects that were made immortal and whose references are still to be followed. */
struct pending {
	PyObject **objects;
	size_t count, room;
};

/* A visitproc. Immortal ones, as CPython's own, hold nothing that was not reached otherwise. */
static int mark(PyObject *object, void *context)
{
	struct pending *pending = context;
	if (!object || _Py_IsImmortal(object) || PyFrame_Check(object))
		return 0;
	object->ob_refcnt = _Py_IMMORTAL_REFCNT;
	if (pending->count == pending->room) {
		pending->room = pending->room ? 2 * pending->room : 1024;
		pending->objects = realloc(pending->objects, pending->room * sizeof(*pending->objects));
		if (!pending->objects)
			abort();
	}
	pending->objects[pending->count++] = object;
	return 0;
}

/* Code holds objects, but the collector does not know it. */
static void mark_code(const PyCodeObject *code, struct pending *pending)
{
	PyObject *held[] = {
		code->co_consts,          code->co_names,    code->co_exceptiontable, code->co_localsplusnames,
		code->co_localspluskinds, code->co_filename, code->co_name,           code->co_qualname,
		code->co_linetable,
	};
	for (size_t i = 0; i < sizeof(held) / sizeof(*held); i++)
		mark(held[i], pending);
}

/* frozen: the head (PyGC_Head) of the list of objects that gc.freeze() put aside. */
void make_immortal(void *frozen)
{
	struct pending pending = { 0 };
	for (PyGC_Head *at = _PyGCHead_NEXT((PyGC_Head *)frozen); at != frozen; at = _PyGCHead_NEXT(at)) {
		PyObject *object = _Py_FROM_GC(at);
		traverseproc traverse = Py_TYPE(object)->tp_traverse;
		mark(object, &pending);
		traverse(object, mark, &pending); /* also of those that CPython itself made immortal */
	}
	while (pending.count) {
		PyObject *object = pending.objects[--pending.count];
		if (PyCode_Check(object))
			mark_code((PyCodeObject *)object, &pending);
		else if (PyObject_IS_GC(object) && Py_TYPE(object)->tp_traverse)
			Py_TYPE(object)->tp_traverse(object, mark, &pending);
	}
	free(pending.objects);
}

#endif
