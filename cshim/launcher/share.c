/* Equal constants of the snapshot's code become one object: modules are loaded one by one, and each brings its own. */
#include "launcher.h"

#define PY_SSIZE_T_CLEAN
#define Py_BUILD_CORE
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wconversion"
#pragma GCC diagnostic ignored "-Wshadow"
#pragma GCC diagnostic ignored "-Wunused-parameter"
#include <Python.h>
#include <internal/pycore_code.h>
#pragma GCC diagnostic pop

/* Exchanges what *place refers to for the first object of its type and value. 0 or -1. */
static int share(PyObject *table, PyObject **place)
{
	PyObject *object = *place, *key = object;
	bool nested = PyTuple_CheckExact(object) || PyFrozenSet_CheckExact(object);
	bool text =
		PyUnicode_CheckExact(object) && !PyUnicode_CHECK_INTERNED(object); /* else it is single, and must be */
	if (!nested && !text && !PyBytes_CheckExact(object))
		return 0;
	if (nested)
		key = _PyCode_ConstantKey(object); /* 1, 1.0 and True are not the same */
	PyObject *first = key ? PyDict_SetDefault(table, key, object) : NULL;
	if (nested)
		Py_XDECREF(key);
	if (!first)
		return -1;
	if (first != object)
		Py_SETREF(*place, Py_NewRef(first));
	return 0;
}

static int share_of(PyObject *table, PyCodeObject *code)
{
	PyObject *constants = code->co_consts;
	int failed = 0;
	for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(constants); i++)
		failed |= share(table, &PyTuple_GET_ITEM(constants, i));
	failed |= share(table, &code->co_consts) | share(table, &code->co_names);
	failed |= share(table, &code->co_localsplusnames) | share(table, &code->co_localspluskinds);
	failed |= share(table, &code->co_linetable) | share(table, &code->co_exceptiontable);
	return failed;
}

/* The code of a function, and the code that is among the constants of code. 0 or -1. */
static int share_below(PyObject *table, PyObject *code)
{
	PyObject *constants = ((PyCodeObject *)code)->co_consts;
	for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(constants); i++)
		if (PyCode_Check(PyTuple_GET_ITEM(constants, i)) &&
		    share_below(table, PyTuple_GET_ITEM(constants, i)) < 0)
			return -1;
	return share_of(table, (PyCodeObject *)code);
}

/* functions: a list (PyObject) of all there are. 0, or -1 with an exception. */
int share_constants(void *functions)
{
	PyObject *table = PyDict_New();
	int failed = table ? 0 : -1;
	for (Py_ssize_t i = 0; !failed && i < PyList_GET_SIZE((PyObject *)functions); i++)
		failed = share_below(table, PyFunction_GET_CODE(PyList_GET_ITEM((PyObject *)functions, i)));
	Py_XDECREF(table);
	return failed;
}
