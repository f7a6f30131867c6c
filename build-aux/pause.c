/* What runs in the containers of build-aux/recording.py: waits for ever, or ends when it has an argument, but not before who
 * started it waits for that: what stele does would differ from time to time. */
#include <asm/unistd.h>
#include <linux/time_types.h>

void begin(const long *stack);

__asm__(".global _start\n"
	"_start:\n"
	"mov %rsp, %rdi\n"
	"and $-16, %rsp\n"
	"call begin\n");

static void call(long number, long first, long second)
{
	long result;
	__asm__ volatile("syscall" : "=a"(result) : "a"(number), "D"(first), "S"(second) : "rcx", "r11", "memory");
}

void begin(const long *stack)
{
	static const struct __kernel_timespec a_moment = {.tv_nsec = 30000000};
	while (stack[0] < 2)
		call(__NR_pause, 0, 0);
	call(__NR_nanosleep, (long)&a_moment, 0);
	call(__NR_exit, 0, 0);
}
