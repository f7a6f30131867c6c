/* What libc would bring to init and to the waiter; gcc calls the first three by itself. */
#ifndef STELE_TEXT_H
#define STELE_TEXT_H

#include <stddef.h>
#include <stdint.h>

void *memcpy(void *to, const void *from, size_t n);
void *memset(void *to, int c, size_t n);
size_t strlen(const char *s);
int starts_with(const char *s, const char *prefix);
int same(const char *a, const char *b);
char *append(char *to, const char *end, const char *s); /* NULL if it does not fit */
char *append_number(char *to, const char *end, uint64_t n);
int parse_number(const char *s, const char *end, uint64_t *ret_n);

#endif
