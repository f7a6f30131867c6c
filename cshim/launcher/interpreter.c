/* Python inside the executable: its configuration, its built-in modules, its start and its end. */
#include "launcher.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define PY_SSIZE_T_CLEAN
#include <Python.h>

/* The modules as build-aux/bundle.py laid them out, and a table of the few that start the rest. */
extern const unsigned char stele_modules_start[], stele_modules_end[];
extern const struct _frozen stele_frozen[];

/* Modules that one of the two versions of CPython has. */
#if PY_VERSION_HEX < 0x030C0000
#define VERSION_MODULES(X) X(_sha256) X(_sha512)
#else
#define VERSION_MODULES(X) X(_sha2) X(_suggestions) X(_sysconfig) X(_tokenize)
#endif

/* All C modules there are. This table stands for the one in libpython, which has more than is needed. */
#define MODULES(X)                                                                                                     \
	X(_abc) X(_ast) X(_bisect) X(_blake2) X(_cffi_backend) X(_codecs) X(_collections) X(_contextvars) X(_datetime)     \
	X(_functools) X(_heapq) X(_imp) X(_io) X(_json) X(_locale) X(_md5) X(_opcode) X(_operator) X(_posixsubprocess)     \
	X(_queue) X(_random) X(_sha1) X(_sha3) X(_signal) X(_socket) X(_sre) X(_stat)                \
	X(_stele_modules) X(_stele_shim) X(_string) X(_struct) X(_thread) X(_typing) X(_weakref) X(array) X(atexit)        \
	X(binascii) X(errno) X(faulthandler) X(fcntl) X(gc) X(grp) X(itertools) X(math) X(mmap) X(posix) X(pwd)            \
	X(resource) X(select) X(syslog) X(termios) X(time) X(zlib)

#define DECLARE(name) PyMODINIT_FUNC PyInit_##name(void);
MODULES(DECLARE)
VERSION_MODULES(DECLARE)
PyMODINIT_FUNC PyMarshal_Init(void);
PyMODINIT_FUNC _PyWarnings_Init(void);

#define LIST(name) {#name, PyInit_##name},
extern struct _inittab _PyImport_Inittab[];
struct _inittab _PyImport_Inittab[] = {
	MODULES(LIST)
	VERSION_MODULES(LIST)
	/* These two by their own names; builtins and sys were made before any import. */
	{"marshal", PyMarshal_Init},
	{"_warnings", _PyWarnings_Init},
	{"_ssl", cold_ssl},
	{"_hashlib", cold_hashlib},
	{"builtins", NULL},
	{"sys", NULL},
	{NULL, NULL},
};

/* _stele_modules.unpack(offset, size, room): the bytes of a module, packed at offset in the bundle, unpacked to room. */
static PyObject *unpack(PyObject *module, PyObject *arguments_given)
{
	(void)module;
	Py_ssize_t offset, size, room, all = stele_modules_end - stele_modules_start;
	if (!PyArg_ParseTuple(arguments_given, "nnn", &offset, &size, &room))
		return NULL;
	PyObject *bytes = offset >= 0 && size >= 0 && offset <= all - size ? PyBytes_FromStringAndSize(NULL, room) : NULL;
	if (bytes && packed_module(stele_modules_start + offset, (size_t)size, PyBytes_AS_STRING(bytes), (size_t)room))
		return bytes;
	Py_XDECREF(bytes);
	if (!PyErr_Occurred())
		PyErr_SetString(PyExc_ImportError, "the executable is damaged, or memory is short: a module cannot be unpacked");
	return NULL;
}

/* _stele_modules.bundle: the bundle as a read-only memoryview; nothing is copied. */
PyMODINIT_FUNC PyInit__stele_modules(void)
{
	static PyMethodDef methods[] = {{"unpack", unpack, METH_VARARGS, NULL}, {NULL, NULL, 0, NULL}};
	static struct PyModuleDef definition = {
		PyModuleDef_HEAD_INIT, .m_name = "_stele_modules", .m_size = 0, .m_methods = methods};
	PyObject *module = PyModule_Create(&definition);
	if (!module)
		return NULL;
	union {
		const unsigned char *constant;
		char *variable;
	} start = {.constant = stele_modules_start};
	PyObject *view = PyMemoryView_FromMemory(start.variable, stele_modules_end - stele_modules_start, PyBUF_READ);
	if (!view || PyModule_AddObject(module, "bundle", view) < 0) {
		Py_XDECREF(view);
		Py_DECREF(module);
		return NULL;
	}
	return module;
}

static int complain(const char *what)
{
	fprintf(stderr, "stele: the interpreter cannot start: %s\n", what);
	return -1;
}

/* Starts Python from nothing: no file is read, no variable of the environment is obeyed, no path is searched.
   hash_seed: a fixed one, or NULL for a random one. */
int interpreter_start(int argc, char **argv, const unsigned long *hash_seed)
{
	heap_python();
	PyPreConfig before;
	PyPreConfig_InitIsolatedConfig(&before);
	before.utf8_mode = 1;
	PyStatus status = Py_PreInitialize(&before);
	if (PyStatus_Exception(status))
		return complain(status.err_msg);
	PyImport_FrozenModules = stele_frozen;

	PyConfig config;
	PyConfig_InitIsolatedConfig(&config);
	config.site_import = 0;
	config.pathconfig_warnings = 0;
	config.module_search_paths_set = 1;
	config.install_signal_handlers = 1;
	config.write_bytecode = 0;
	config.use_frozen_modules = 1;
	config.parse_argv = 0;
	if (hash_seed) {
		config.use_hash_seed = 1;
		config.hash_seed = *hash_seed;
	} else {
		config.use_hash_seed = 0;
	}
	const struct {
		wchar_t **field;
		const wchar_t *value;
	} paths[] = {
		{&config.program_name, L"stele"},      {&config.executable, L"/proc/self/exe"},
		{&config.base_executable, L"/proc/self/exe"}, {&config.home, L"/proc/self/exe"},
		{&config.prefix, L"/proc/self/exe"},   {&config.base_prefix, L"/proc/self/exe"},
		{&config.exec_prefix, L"/proc/self/exe"}, {&config.base_exec_prefix, L"/proc/self/exe"},
		{&config.stdlib_dir, L""},  {&config.platlibdir, L"lib"},
	};
	for (size_t i = 0; i < sizeof(paths) / sizeof(paths[0]); i++) {
		status = PyConfig_SetString(&config, paths[i].field, paths[i].value);
		if (PyStatus_Exception(status))
			return complain(status.err_msg);
	}
	status = PyConfig_SetBytesArgv(&config, argc, argv);
	if (!PyStatus_Exception(status))
		status = Py_InitializeFromConfig(&config);
	PyConfig_Clear(&config);
	if (PyStatus_Exception(status))
		return complain(status.err_msg ? status.err_msg : "unknown");
	return 0;
}

/* A new list of str (PyObject), decoded as Python decodes the command line; NULL with an exception. */
void *arguments(int argc, char *const *argv)
{
	PyObject *list = PyList_New(argc);
	for (int i = 0; list && i < argc; i++) {
		PyObject *text = PyUnicode_DecodeFSDefault(argv[i]);
		if (!text) {
			Py_CLEAR(list);
			break;
		}
		PyList_SET_ITEM(list, i, text);
	}
	return list;
}

/* What exit status an exception asks for: SystemExit's own, else 1 after printing it. */
static int status_of_exception(void)
{
	if (PyErr_ExceptionMatches(PyExc_KeyboardInterrupt)) { /* before main could heed it: nothing is made yet */
		PyErr_Clear();
		return 128 + SIGINT;
	}
	if (!PyErr_ExceptionMatches(PyExc_SystemExit)) {
		PyErr_Print();
		return 1;
	}
#if PY_VERSION_HEX < 0x030C0000
	PyObject *type, *value, *trace;
	PyErr_Fetch(&type, &value, &trace);
	PyErr_NormalizeException(&type, &value, &trace);
#else
	PyObject *value = PyErr_GetRaisedException();
#endif
	PyObject *code = value ? PyObject_GetAttrString(value, "code") : NULL;
	if (!code)
		return 1;
	if (code == Py_None)
		return 0;
	if (PyLong_Check(code))
		return (int)(PyLong_AsLongLong(code) & 0xff);
	PyObject *err = PySys_GetObject("stderr");
	if (err && err != Py_None) {
		PyFile_WriteObject(code, err, Py_PRINT_RAW);
		PyFile_WriteString("\n", err);
	}
	PyErr_Clear();
	return 1;
}

/* Calls main(argv[1:]), then what must happen before a process ends; the exit status. */
int interpreter_run(void *main_function, void *start_module, int argc, char **argv)
{
	int status = 1;
	PyObject *list = arguments(argc - 1, argv + 1);
	PyObject *result = list ? PyObject_CallOneArg(main_function, list) : NULL;
	if (result)
		status = result == Py_None ? 0 : (int)(PyLong_AsLongLong(result) & 0xff);
	if (PyErr_Occurred())
		status = status_of_exception();
	PyObject *finished = PyObject_CallMethod(start_module, "finish", "i", status);
	if (finished)
		status = (int)(PyLong_AsLongLong(finished) & 0xff);
	else
		status = status_of_exception();
	return status;
}

static int set_arguments(int argc, char **argv)
{
	PyObject *list = arguments(argc, argv);
	int failed = !list || PySys_SetObject("argv", list) < 0 || PySys_SetObject("orig_argv", list) < 0;
	Py_XDECREF(list);
	return failed ? -1 : 0;
}

static int set_environment(PyObject *variables)
{
	for (char **entry = environ; entry && *entry; entry++) {
		const char *equals = strchr(*entry, '=');
		if (!equals)
			continue;
		PyObject *name = PyBytes_FromStringAndSize(*entry, equals - *entry);
		PyObject *value = PyBytes_FromString(equals + 1);
		bool failed = !name || !value || !PyDict_SetDefault(variables, name, value);
		Py_XDECREF(name);
		Py_XDECREF(value);
		if (failed)
			return -1;
	}
	return 0;
}

/* In a revived interpreter: what a new process has of its own. */
int interpreter_renew(int argc, char **argv)
{
	if (set_arguments(argc, argv) < 0 || set_environment(ARENA->environment) < 0)
		return -1;
	PyObject *done = PyObject_CallMethod(ARENA->start, "renew", NULL);
	Py_XDECREF(done);
	return done ? 0 : -1;
}
