/* What the launcher changes in CPython's own structures, which are other ones in each version. */
#include "launcher.h"

#include <string.h>

#define PY_SSIZE_T_CLEAN
#define Py_BUILD_CORE
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wconversion"
#pragma GCC diagnostic ignored "-Wshadow"
#pragma GCC diagnostic ignored "-Wunused-parameter"
#include <Python.h>
#include <internal/pycore_interp.h>
#include <internal/pycore_pystate.h>
#include <internal/pycore_runtime.h>
#pragma GCC diagnostic pop

#if PY_VERSION_HEX < 0x030D0000
#define TYPE_CACHE(python) (&(python)->type_cache)
#define CURRENT_THREAD_KEY (_PyRuntime.gilstate.autoTSSkey)
#else
#define TYPE_CACHE(python) (&(python)->types.type_cache)
#define CURRENT_THREAD_KEY (_PyRuntime.autoTSSkey)
#endif

#define WIPE(list, used) memset(&(list)[used], 0, sizeof(list) - (size_t)(used) * sizeof(*(list)))

/* CPython's cache of attributes keeps names that nobody else has any more, so nobody can ask for them again. Which ones
   they are depends on addresses, and so would the layout, which depends on what is kept. */
static void drop_names(PyInterpreterState *python)
{
	struct type_cache *cache = TYPE_CACHE(python);
	for (size_t i = 0; i < sizeof(cache->hashtable) / sizeof(*cache->hashtable); i++) {
		struct type_cache_entry *entry = &cache->hashtable[i];
		if (!entry->name || Py_REFCNT(entry->name) != 1)
			continue;
		entry->version = 0;
		entry->value = NULL;
		Py_SETREF(entry->name, Py_NewRef(Py_None));
	}
}

/* What was there before in places that are free now: behind the ends of Python's lists of free objects and on its stack
   of frames. Nobody would read it, but it differs each time. */
static void wipe_rests(PyThreadState *thread)
{
#if PY_VERSION_HEX < 0x030D0000
	PyInterpreterState *python = thread->interp;
	WIPE(python->list.free_list, python->list.numfree);
	WIPE(python->dict_state.free_list, python->dict_state.numfree);
	WIPE(python->dict_state.keys_free_list, python->dict_state.keys_numfree);
	WIPE(python->async_gen.value_freelist, python->async_gen.value_numfree);
	WIPE(python->async_gen.asend_freelist, python->async_gen.asend_numfree);
#else
	struct _Py_object_freelists *lists = &thread->interp->object_state.freelists;
	WIPE(lists->lists.items, lists->lists.numfree);
	WIPE(lists->dicts.items, lists->dicts.numfree);
	WIPE(lists->dictkeys.items, lists->dictkeys.numfree);
	WIPE(lists->async_gens.items, lists->async_gens.numfree);
	WIPE(lists->async_gen_asends.items, lists->async_gen_asends.numfree);
#endif
	memset(thread->datastack_top, 0, (size_t)((char *)thread->datastack_limit - (char *)thread->datastack_top));
}

/* The table of interned strings grows when it is full, also of those that are gone, so its size says little of what is in
   it. 0, or -1 with an exception. */
int internals_pack(void)
{
#if PY_VERSION_HEX >= 0x030D0000
	PyObject **table = &PyInterpreterState_Get()->cached_objects.interned_strings;
	PyObject *packed = PyDict_New();
	if (!packed || PyDict_Update(packed, *table) < 0) {
		Py_XDECREF(packed);
		return -1;
	}
	Py_SETREF(*table, packed); /* references of the table are not counted, neither the old one's nor these */
#endif
	return 0;
}

/* Takes the builder's thread, and what a later process must not find, out of the state that is recorded */
void internals_clean(void *main_thread)
{
	PyThreadState *thread = main_thread;
	_PyRuntime.main_thread = thread->thread_id = thread->native_thread_id = 0; /* internals_revive sets them */
	drop_names(thread->interp);
	wipe_rests(thread);
#if PY_VERSION_HEX >= 0x030D0000
	thread->interp->obmalloc = NULL; /* of the allocator that is not used */
	make_immortal(&thread->interp->gc.permanent_generation.head);
#endif
}

/* Makes this thread the interpreter's main thread. 0 or -1. */
int internals_revive(void *main_thread)
{
	PyThreadState *thread = main_thread;
	if (pthread_setspecific((pthread_key_t)CURRENT_THREAD_KEY._key, thread))
		return -1;
#if PY_VERSION_HEX >= 0x030D0000
	_Py_tss_tstate = thread;
#endif
	_PyRuntime.main_thread = thread->thread_id = PyThread_get_thread_ident();
	thread->native_thread_id = PyThread_get_thread_native_id();
	return 0;
}
