#include "text.h"

void *memcpy(void *to, const void *from, size_t n)
{
	for (size_t i = 0; i < n; i++)
		((volatile char *)to)[i] = ((const char *)from)[i];
	return to;
}

void *memset(void *to, int c, size_t n)
{
	for (size_t i = 0; i < n; i++)
		((volatile char *)to)[i] = (char)c;
	return to;
}

size_t strlen(const char *s)
{
	size_t n = 0;
	while (((const volatile char *)s)[n])
		n++;
	return n;
}

int starts_with(const char *s, const char *prefix)
{
	while (*prefix)
		if (*s++ != *prefix++)
			return 0;
	return 1;
}

int same(const char *a, const char *b)
{
	while (*a && *a == *b)
		a++, b++;
	return *a == *b;
}

char *append(char *to, const char *end, const char *s)
{
	if (!to)
		return NULL;
	size_t n = strlen(s);
	if ((size_t)(end - to) <= n)
		return NULL;
	memcpy(to, s, n + 1);
	return to + n;
}

char *append_number(char *to, const char *end, uint64_t n)
{
	char digits[24];
	char *d = digits + sizeof(digits) - 1;
	*d = '\0';
	do
		*--d = (char)('0' + n % 10);
	while (n /= 10);
	return append(to, end, d);
}

int parse_number(const char *s, const char *end, uint64_t *ret_n)
{
	uint64_t n = 0;
	if (s == end)
		return 0;
	for (; s < end; s++) {
		if (*s < '0' || *s > '9' || n > UINT64_MAX / 10 - 1)
			return 0;
		n = n * 10 + (uint64_t)(*s - '0');
	}
	*ret_n = n;
	return 1;
}
