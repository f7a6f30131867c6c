/* What init reads of the image: /etc/passwd, the head of a program that does not execute, numbers (cshim/init). */
#define memcpy own_memcpy
#define memset own_memset
#define strlen own_strlen
#include TEXT
#include PROCESS
#undef memcpy
#undef memset
#undef strlen

extern void abort(void);
extern void *malloc(size_t), free(void *);
extern int memfd_create(const char *, unsigned);
extern long write(int, const void *, size_t), syscall(long, ...);
extern int close(int), snprintf(char *, size_t, const char *, ...);

void fail(const struct init *in, long error, const char *detail) { (void)in; (void)error; (void)detail; abort(); }
void must(const struct init *in, long result, const char *detail) { (void)in; (void)result; (void)detail; }
void tell(const struct init *in, const char *detail, uint32_t length, int fd) { (void)in; (void)detail; (void)length; (void)fd; }
const char *step_string(const struct step *s, uint32_t i, uint32_t *length) { (void)s; (void)i; (void)length; return ""; }
const char *string_after(const char *s) { return s; }

static void passwd(const char *text, size_t size)
{
	static struct init in;
	for (const char *line = text, *end = text + size; line < end;) {
		const char *stop = line;
		while (stop < end && *stop != '\n')
			stop++;
		in.home[0] = '\0';
		take_home(&in, line, stop, 1000);
		if (own_strlen(in.home) >= sizeof(in.home))
			abort();
		uint64_t number;
		if (parse_number(line, stop, &number)) {
			char again[32];
			if (!append_number(again, again + sizeof(again), number))
				abort();
		}
		line = stop + 1;
	}
}

static void program(const uint8_t *data, size_t size)
{
	char name[128];
	int fd = memfd_create("program", 0);
	if (write(fd, data, size) < 0 || lseek(fd, 0, 0) < 0)
		abort();
	diagnose(fd, name, sizeof(name));
	if (own_strlen(name) >= sizeof(name))
		abort();
	close(fd);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size < 2)
		return 0;
	char *copy = malloc(size);
	own_memcpy(copy, data, size);
	if (data[0] & 1)
		passwd(copy + 1, size - 1);
	else
		program((uint8_t *)copy + 1, size - 1);
	free(copy);
	return 0;
}
