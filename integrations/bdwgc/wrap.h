/* SPDX-License-Identifier: MIT */
/*
 * wrap.h - to define a function in place of the C library's, and to hold memory of the heap for a system call
 *
 * Under inline delivery the kernel can't wait for a page: a system call that meets one which is not resident fails with
 * EFAULT, and a futex that does ends the process.  So the wrappers pin what lies in the heap while the call runs.
 *
 * B1  What does not lie in the heap costs a comparison.
 * B2  A thread that is cancelled in the call unpins: its stack is unwound (-fexceptions).
 * B3  Where the budget does not let a range be pinned: read and write and their kin transfer less, as they may; other
 *     calls go ahead, and may fail.  Both are counted.
 */
#ifndef HMM_INTEGRATIONS_BDWGC_WRAP_H
#define HMM_INTEGRATIONS_BDWGC_WRAP_H

#include <dlfcn.h>
#include <pthread.h>
#include <string.h>

#include "heap.h"

/*
 * At file scope: finds the next definition after ours, which is the C library's.  When the library is loaded, because
 * hurd-mm itself reads and writes in a signal handler; but some are called before that.
 */
#define NEXT(name) \
	static __typeof__(name) *next_##name; \
	__attribute__((constructor)) static void find_##name(void) \
	{ \
		void *found = dlsym(RTLD_NEXT, #name); \
		memcpy(&next_##name, &found, sizeof(found)); \
	}

/* The function itself. */
#define REAL(name) (next_##name ? next_##name : (find_##name(), next_##name))

struct hmm__hold {
	void *from;
	size_t length; /* 0: nothing is held */
};

enum hmm__use { HMM__IS_READ, HMM__IS_WRITTEN };

/* hold.c.  use: what the call does to it.  Returns how many bytes from `address` on may be used: length, or less. */
size_t hmm__hold(struct hmm__hold *hold, uintptr_t address, size_t length, enum hmm__use use);
void hmm__hold_string(struct hmm__hold *hold, const char *string);
void hmm__hold_end(struct hmm__hold *hold);

/* A hold that ends with its scope: built with -fexceptions, that is also where a cancelled thread leaves it. */
#define HOLD(name) __attribute__((cleanup(hmm__hold_end))) struct hmm__hold name = { NULL, 0 }

#endif
