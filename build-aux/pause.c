/* What runs in the containers of build-aux/recording.py: waits for ever, or ends when it has an argument, but not before who
 * started it waits for that: what stele does would differ from time to time. */
#include "../cshim/init/sys.h"

#include <linux/time_types.h>

void begin(const long *stack);

#if defined(__x86_64__)
__asm__(".global _start\n_start:\n\tmov %rsp, %rdi\n\tand $-16, %rsp\n\tcall begin\n");
#else
__asm__(".global _start\n_start:\n\tmov x0, sp\n\tbl begin\n");
#endif

void begin(const long *stack)
{
	static const struct __kernel_timespec a_moment = { .tv_nsec = 30000000 };
	while (stack[0] < 2)
		SYS(__NR_ppoll, NULL, 0, NULL, NULL, 0);
	SYS(__NR_nanosleep, &a_moment, NULL);
	SYS(__NR_exit, 0);
}
