/* What runs in the containers of build-aux/seal.py: waits for ever, or ends at once when it has an argument. */
#include <asm/unistd.h>

void begin(const long *stack);

__asm__(".global _start\n"
	"_start:\n"
	"mov %rsp, %rdi\n"
	"and $-16, %rsp\n"
	"call begin\n");

static void call(long number, long value)
{
	long result;
	__asm__ volatile("syscall" : "=a"(result) : "a"(number), "D"(value) : "rcx", "r11", "memory");
}

void begin(const long *stack)
{
	while (stack[0] < 2)
		call(__NR_pause, 0);
	call(__NR_exit, 0);
}
