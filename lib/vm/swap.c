/* SPDX-License-Identifier: MIT */
/*
 * swap.c - the swap store of a space: made when first needed, slots given out and taken back
 */
#include <errno.h>
#include <sched.h>

#include "lib/store/store.h"
#include "lib/vm/vm.h"

/* Slots are 32-bit numbers of system pages: 16 TiB, and one more for "none". */
#define SLOTS_MAX (UINT64_C(1) << 32)
/* Discarding tiny pieces costs more than it gives back: the slots are reused soon. */
#define DISCARD_MIN 64u

int hmm__swap_ready(struct hmm_space *space)
{
	struct hmm_swap_options options = { .size = sizeof(options) };
	struct hmm__slots *slots;
	struct hmm_store *store = NULL;
	int r = 0;

	hmm__lock(&space->engine_lock); /* may sleep: opens a file */
	if (space->swap_slots)
		goto out;
	r = hmm__slots_create(SLOTS_MAX - 1, &slots);
	if (r)
		goto out;
	if (!space->swap) {
		r = hmm_store_swap(&options, &store);
		if (r) {
			hmm__slots_destroy(slots);
			goto out;
		}
		space->swap = store;
	}
	hmm__lock(&space->swap_lock);
	space->swap_slots = slots;
	hmm__swap_ceiling_start(space, HMM__MIN(hmm__store_capacity(space->swap) >> HMM__PAGE_SHIFT_MIN, SLOTS_MAX - 1));
	hmm__unlock(&space->swap_lock);
	hmm__lock(&space->lock);
	hmm__space_watermarks(space); /* Z1: loads leave frames from now on */
	hmm__unlock(&space->lock);
out:
	hmm__unlock(&space->engine_lock);
	return r;
}

void hmm__swap_free(struct hmm_space *space, uint32_t slot, uint32_t npages)
{
	/* a large page's room is worth giving back to the file system, before another takes the slots */
	if (npages >= DISCARD_MIN)
		(void)!hmm__store_discard(space->swap, (uint64_t)slot << HMM__PAGE_SHIFT_MIN,
		                          (uint64_t)npages << HMM__PAGE_SHIFT_MIN);
	hmm__lock(&space->swap_lock);
	hmm__slots_free(space->swap_slots, slot, npages);
	hmm__unlock(&space->swap_lock);
}
