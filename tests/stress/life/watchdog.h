/* SPDX-License-Identifier: MIT */
/*
 * watchdog.h - who makes no progress any more, on which page, and who owns it
 *
 * Each thread of a test has a *beat*: what it is doing, at which address, and how many steps it has made.  The watchdog is a
 * thread that looks at all beats.  When one stands still for longer than any machine may take, it prints to standard error
 * every beat, the word of the page that each is at with its owner (builds with -Dchecks=true know it, see lib/vm/owner.h),
 * the stack of each thread that takes signals and what the others wait for in the kernel, and aborts the process.
 */
#ifndef TESTS_STRESS_WATCHDOG_H
#define TESTS_STRESS_WATCHDOG_H

#include <stdatomic.h>
#include <stdint.h>
#include <sys/types.h>

struct beat {
	const char *name;
	_Atomic pid_t tid;
	_Atomic uint64_t steps;
	_Atomic(const char *) doing;   /* a constant text */
	_Atomic(const void *) address; /* of the region that it is about to touch; NULL: none */
	_Atomic pid_t child;           /* that it waits for; 0: none */
};

/* From now on this beat is looked after; the calling thread is its thread.  At most 64 at a time. */
void beat_begin(struct beat *beat, const char *name);
void beat_end(struct beat *beat);

static inline void beat_step(struct beat *beat, const char *doing, const void *address)
{
	atomic_store_explicit(&beat->doing, doing, memory_order_relaxed);
	atomic_store_explicit(&beat->address, address, memory_order_relaxed);
	atomic_fetch_add_explicit(&beat->steps, 1, memory_order_relaxed);
}

/* patience: seconds on the reference machine that a beat may stand still. */
void watchdog_start(unsigned patience);
void watchdog_stop(void);

#endif
