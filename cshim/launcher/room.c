/* Before libc: checks that there is memory to start with. Under a limit that allows no allocation, libc crashes
 * before main(). Nothing of libc works here yet: no errno, no stack protector, no relocated functions. */
#include "launcher.h"

#include <stdbool.h>
#include <sys/mman.h>
#include <sys/resource.h>

#include "../init/sys.h"

#define ROOM_TO_START (2UL << 20) /* with less, the first allocations of libc or Python fail */
#define NO_LIBC __attribute__((used, no_stack_protector))

#define TEXT(name, words) static const char name[] = "stele: the limit on " words " are enough for most commands\n"
TEXT(space, "address space (ulimit -v) is too low to start; 24 MiB");
TEXT(data, "data (ulimit -d) is too low to start; 16 MiB");

NO_LIBC static bool limited(int resource)
{
	struct rlimit limit;
	return SYS(__NR_prlimit64, 0, resource, NULL, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY;
}

NO_LIBC static bool mappable(int protection)
{
	long at = SYS(__NR_mmap, NULL, ROOM_TO_START, protection, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (at < 0 && at > -4096)
		return false;
	SYS(__NR_munmap, at, ROOM_TO_START);
	return true;
}

/* If the limit does not even cover the executable, execve(2) kills the process and nothing here runs. */
NO_LIBC void require_room(void)
{
	bool data_limited = limited(RLIMIT_DATA);
	if ((!data_limited && !limited(RLIMIT_AS)) || mappable(PROT_READ | PROT_WRITE))
		return;
	/* A read-only mapping counts as address space only. */
	if (data_limited && mappable(PROT_READ))
		SYS(__NR_write, 2, data, sizeof(data) - 1);
	else
		SYS(__NR_write, 2, space, sizeof(space) - 1);
	SYS(__NR_exit_group, 1);
}

/* The executable's entry point. The stack, and the register that libc's _start expects, stay as the kernel set them. */
#if defined(__x86_64__)
__asm__(".pushsection .text\n"
	".globl launcher_entry\n"
	"launcher_entry:\n"
	"	push %rdx\n"
	"	mov %rsp, %rbx\n"
	"	and $-16, %rsp\n"
	"	call require_room\n"
	"	mov %rbx, %rsp\n"
	"	pop %rdx\n"
	"	xor %ebx, %ebx\n"
	"	jmp _start\n"
	".popsection\n");
#else
__asm__(".pushsection .text\n"
	".globl launcher_entry\n"
	"launcher_entry:\n"
	"	mov x19, x0\n"
	"	bl require_room\n"
	"	mov x0, x19\n"
	"	b _start\n"
	".popsection\n");
#endif
