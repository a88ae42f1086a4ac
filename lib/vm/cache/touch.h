/* SPDX-License-Identifier: MIT */
/*
 * touch.h - what a thread does at each hit: note the frame
 */
#ifndef HMM_VM_CACHE_TOUCH_H
#define HMM_VM_CACHE_TOUCH_H

#include "lib/vm/cache/cache.h"

#define HMM__TOUCHES 64u
#define HMM__TOUCH_WRITE (UINT32_C(1) << 31) /* frame numbers are below it */

/* One thread's touches of pages of one space.  The space may be gone: serial says which one is meant. */
struct hmm__touches {
	struct hmm_space *space;
	uint64_t serial;
	uint32_t n;
	uint32_t looks; /* optimistic reads, of which one in 16 is noted */
	uint32_t frames[HMM__TOUCHES];
};

/* Two a thread, for programs that use two spaces in turn; [0] is that of the space used last. */
extern _Thread_local struct hmm__touches hmm__touches[2];

/* Make room in [0] for a touch of this space: deliver what is there, or the other buffer becomes the first. */
void hmm__touches_turn(struct hmm_space *space, bool inside);

/* inside: within a call, which a fork waits for already. */
static inline void hmm__touch(struct hmm_space *space, uint32_t touch, bool inside)
{
	struct hmm__touches *t = &hmm__touches[0];

	if (HMM__UNLIKELY(t->n == HMM__TOUCHES || t->space != space || t->serial != space->serial))
		hmm__touches_turn(space, inside);
	t->frames[t->n++] = touch;
}

#endif
