/* The unpacker's way to a directory (cshim/unpack.c), for paths.c. */
#include UNPACK

int unpack_directory(int root, const char *path)
{
	struct stele_unpack u = { .directory = root, .most_entries = 1000, .form = STELE_FORM_LOWEST };
	struct work w = { .u = &u, .parent = -1 };
	int fd = open_directory(&w, path);
	free(w.late);
	return fd;
}
