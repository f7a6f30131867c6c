/* The archive's bytes, fields and errors: used by all other parts of the tar reader. */
#include "stream.h"
#include "tar_parts.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

int tar_bad(struct stele_tar *t, const char *words, ...)
{
	va_list arguments;
	va_start(arguments, words);
	vsnprintf(t->problem, sizeof(t->problem), words, arguments);
	va_end(arguments);
	return -EBADMSG;
}

int tar_take(struct stele_tar *t, void *ret_data, size_t size)
{
	for (size_t done = 0; done < size;) {
		const uint8_t *at;
		int64_t n = stele_stream_peek(t->stream, &at);
		if (n < 0)
			return (int)n;
		if (n == 0)
			return done ? tar_bad(t, "it ends in the middle of a header or of a file") : 0;
		size_t part = (size_t)n < size - done ? (size_t)n : size - done;
		memcpy((uint8_t *)ret_data + done, at, part);
		stele_stream_skip(t->stream, part);
		done += part;
	}
	return 1;
}

int tar_take_all(struct stele_tar *t, void *ret_data, size_t size)
{
	int got = tar_take(t, ret_data, size);
	return got == 0 && size ? tar_bad(t, "it ends in the middle of a header or of a file") : got;
}

uint64_t tar_padded(uint64_t size)
{
	return (BLOCK - size % BLOCK) % BLOCK;
}

int tar_field(struct stele_tar *t, const uint8_t *at, size_t size, const char *what, int64_t *ret_value)
{
	int64_t value = 0;
	if (at[0] & 0x80) {
		value = at[0] & 0x40 ? -1 : 0;
		value = value * 64 + (at[0] & 0x3f);
		for (size_t i = 1; i < size; i++)
			if (__builtin_mul_overflow(value, 256, &value) || __builtin_add_overflow(value, at[i], &value))
				return tar_bad(t, "its %s is out of range", what);
		*ret_value = value;
		return 0;
	}
	/* Other writers put NULs or blanks before the digits, or leave stale bytes after the NUL that ends them. */
	size_t i = 0;
	while (i < size && (at[i] == ' ' || at[i] == '\0'))
		i++;
	for (; i < size && at[i] >= '0' && at[i] <= '7'; i++)
		value = value * 8 + (at[i] - '0'); /* at most 12 digits */
	for (; i < size && at[i] != '\0'; i++)
		if (at[i] != ' ')
			return tar_bad(t, "its %s is not an octal number", what);
	*ret_value = value;
	return 0;
}

int tar_decimal(struct stele_tar *t, const char *at, size_t size, const char *what, uint64_t *ret_value)
{
	int64_t value = 0;
	for (size_t i = 0; i < size; i++)
		if (at[i] < '0' || at[i] > '9' || __builtin_mul_overflow(value, 10, &value) ||
		    __builtin_add_overflow(value, at[i] - '0', &value))
			return tar_bad(t, "its PAX record %s is not a number in range", what);
	if (!size)
		return tar_bad(t, "its PAX record %s is empty", what);
	*ret_value = (uint64_t)value;
	return 0;
}

int tar_copy_path(struct stele_tar *t, char to[STELE_PATH_MAX], const char *at, size_t size, const char *what)
{
	if (size == 0 || size >= STELE_PATH_MAX)
		return tar_bad(t, "its %s is %s", what, size ? "longer than 4095 bytes" : "empty");
	if (memchr(at, '\0', size))
		return tar_bad(t, "its %s has a NUL in it", what);
	memcpy(to, at, size);
	to[size] = '\0';
	return 0;
}

int tar_copy_name(struct stele_tar *t, char to[STELE_PATH_MAX], const char *at, size_t size, bool given,
		  const char *what)
{
	if (given && (strlen(to) != size || memcmp(to, at, size)))
		return tar_bad(t, "two headers give it different %ss", what);
	return tar_copy_path(t, to, at, size, what);
}
