/* SPDX-License-Identifier: MIT */
/*
 * ownstack.c - stacks of the library's own, for handlers that the kernel put on a small alternate stack
 *
 * To resolve a fault takes some 4 KiB of stack, and what a store of the program's takes; the frame that the kernel makes for a
 * signal takes up to 3.4 KiB more on a machine with AVX-512.  A thread whose alternate stack is sized by the old constants
 * (SIGSTKSZ is 8 KiB, MINSIGSTKSZ 2 KiB) has no room for both, and what lies below the stack would be overwritten.  There the
 * handler goes on to a stack of ours.  On stacks with room, and without an alternate stack, it stays where it is.
 *
 * O1  Who finds no stack waits, and owns no page meanwhile.  One stack is for the thread that forks: the others may all be in use by
 *     threads that wait until it has forked.
 * O2  Nothing that runs on such a stack unwinds past it: cancellation is off, and comes when the handler is back on its own.
 */
#include "lib/mem/ownstack.h"

#include <errno.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/auxv.h>
#include <sys/mman.h>

#include "lib/base/arena.h"
#include "lib/base/forker.h"
#include "lib/base/futex.h"
#include "lib/base/util.h"
#include "lib/sys/sys.h"

#define STACKS 32u
#define LENGTH ((size_t)64 << 10)
#define GUARD ((size_t)64 << 10)        /* at least a page of any system */
#define ENOUGH ((size_t)16 << 10)       /* so much is left: stay */
#define HANDLER_TAKES ((size_t)640)     /* on its own stack, before it changes: tests/integration/test_altstack.c */

static uint8_t *_Atomic stacks; /* NULL: not made yet, or not for this processor */
static _Atomic uint32_t used[STACKS], given_back, waiting;

#if defined(__x86_64__)
#define CAN_SWITCH 1
__asm__(".text\n"
        ".globl hmm__stack_switch\n"
        ".hidden hmm__stack_switch\n"
        ".type hmm__stack_switch, @function\n"
        "hmm__stack_switch:\n"
        "	.cfi_startproc\n"
        "	pushq %rbp\n"
        "	.cfi_def_cfa_offset 16\n"
        "	.cfi_offset %rbp, -16\n"
        "	movq %rsp, %rbp\n"
        "	.cfi_def_cfa_register %rbp\n"
        "	movq %rdi, %rsp\n"
        "	movq %rdx, %rdi\n"
        "	call *%rsi\n"
        "	movq %rbp, %rsp\n"
        "	popq %rbp\n"
        "	.cfi_def_cfa %rsp, 8\n"
        "	ret\n"
        "	.cfi_endproc\n"
        ".size hmm__stack_switch, .-hmm__stack_switch\n");
#elif defined(__aarch64__)
#define CAN_SWITCH 1
__asm__(".text\n"
        ".globl hmm__stack_switch\n"
        ".hidden hmm__stack_switch\n"
        ".type hmm__stack_switch, %function\n"
        "hmm__stack_switch:\n"
        "	.cfi_startproc\n"
        "	stp x29, x30, [sp, #-16]!\n"
        "	.cfi_def_cfa_offset 16\n"
        "	.cfi_offset 29, -16\n"
        "	.cfi_offset 30, -8\n"
        "	mov x29, sp\n"
        "	.cfi_def_cfa_register 29\n"
        "	mov sp, x0\n"
        "	mov x0, x2\n"
        "	blr x1\n"
        "	mov sp, x29\n"
        "	ldp x29, x30, [sp], #16\n"
        "	.cfi_def_cfa 31, 0\n"
        "	ret\n"
        "	.cfi_endproc\n"
        ".size hmm__stack_switch, .-hmm__stack_switch\n");
#else
#define CAN_SWITCH 0
#endif

#if CAN_SWITCH
/* Call function(arg) with the stack pointer at top, a multiple of 16. */
void hmm__stack_switch(void *top, void (*function)(void *arg), void *arg);
#endif

static size_t frame_of_kernel(void)
{
	size_t size = (size_t)getauxval(AT_MINSIGSTKSZ);

	return size ? size : 2048;
}

/* May the calling thread's handlers run where it lets them?  By its alternate stack, if it has one. */
int hmm__ownstack_check(void)
{
	stack_t now;
	int r = hmm__sys_sigaltstack(&now);

	if (r || now.ss_flags & SS_DISABLE)
		return r;
	return now.ss_size < frame_of_kernel() + (CAN_SWITCH ? HANDLER_TAKES : ENOUGH) ? -ENOBUFS : 0;
}

int hmm__ownstack_prepare(void)
{
	size_t length = STACKS * (GUARD + LENGTH);
	uint8_t *made;
	int r = 0;

	if (!CAN_SWITCH || atomic_load(&stacks))
		return 0;
	made = hmm__sparse_alloc_for_all(length); /* a locked space does not lock what stays after it */
	if (!made)
		return -ENOMEM;
	for (unsigned i = 0; !r && i < STACKS; i++)
		r = hmm__sys_mprotect(made + i * (GUARD + LENGTH), GUARD, PROT_NONE);
	if (r)
		hmm__sparse_free(made, length);
	else
		atomic_store(&stacks, made);
	return r;
}

void hmm__ownstack_forked(void)
{
	for (unsigned i = 0; i < STACKS; i++)
		atomic_store(&used[i], 0);
	atomic_store(&waiting, 0);
}

bool hmm__ownstack_needed(const ucontext_t *uc)
{
	uintptr_t left = (uintptr_t)__builtin_frame_address(0) - (uintptr_t)uc->uc_stack.ss_sp;

	return left < uc->uc_stack.ss_size && left < ENOUGH && atomic_load(&stacks);
}

#if CAN_SWITCH
static bool claim(unsigned *ret_number)
{
	bool forks = hmm__for_forker();

	for (unsigned i = forks ? STACKS - 1 : 0; i < (forks ? STACKS : STACKS - 1); i++) {
		uint32_t expected = 0;

		if (!atomic_load(&used[i]) && atomic_compare_exchange_strong(&used[i], &expected, 1)) {
			*ret_number = i;
			return true;
		}
	}
	return false;
}

static unsigned claim_or_wait(void)
{
	unsigned number;

	while (!claim(&number)) {
		uint32_t seen;

		atomic_fetch_add(&waiting, 1);
		seen = atomic_load(&given_back);
		if (claim(&number)) {
			atomic_fetch_sub(&waiting, 1);
			return number;
		}
		hmm__futex_wait(&given_back, seen, UINT64_MAX);
		atomic_fetch_sub(&waiting, 1);
	}
	return number;
}

static void give_back(unsigned number)
{
	atomic_store(&used[number], 0);
	atomic_fetch_add(&given_back, 1);
	if (atomic_load(&waiting))
		hmm__futex_wake(&given_back, 1);
}

void hmm__ownstack_run(void (*function)(void *arg), void *arg)
{
	unsigned number = claim_or_wait();

	hmm__stack_switch(atomic_load(&stacks) + (number + 1) * (GUARD + LENGTH), function, arg);
	give_back(number);
}
#else
void hmm__ownstack_run(void (*function)(void *arg), void *arg)
{
	function(arg);
}
#endif
