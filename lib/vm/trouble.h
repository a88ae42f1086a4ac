/* SPDX-License-Identifier: MIT */
/*
 * trouble.h - a store that refuses what it is given: reported once, and asked again less and less often
 *
 * X1  A state has one event: the first refusal is reported, and no other until a whole batch was accepted.
 * X2  After a refusal nothing is written to the store for a while, which doubles up to LAST_NS: a program whose every
 *     fault fails does not hammer a full disk.  That is less than a fault waits for a frame, so a fault that gives up has
 *     seen a new attempt.
 * X3  Only hints: a wrong look costs a write too many or too late, never contents.
 */
#ifndef HMM_VM_TROUBLE_H
#define HMM_VM_TROUBLE_H

#include <errno.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

struct hmm_space;
struct hmm_region;

struct hmm__trouble {
	_Atomic uint64_t again_ns; /* not before; 0: there is no trouble */
	_Atomic uint32_t step;     /* refusals in a row */
	_Atomic uint32_t told;     /* 1: its event went out */
};

/* Does a store say so because it is full? */
static inline bool hmm__no_room(int error)
{
	return error == -ENOSPC || error == -EDQUOT || error == -EFBIG;
}

/* The swap store's for a page that is kept there, else that of the region's own store. */
struct hmm__trouble *hmm__trouble_of(struct hmm_region *region);
/* Is it too early to try again? */
bool hmm__trouble_waits(struct hmm__trouble *trouble);
/* n pages from `page` on were refused. */
void hmm__trouble_refused(struct hmm_region *region, uint64_t page, uint64_t n, int error);
/* Everything was accepted, or the store is done with. */
void hmm__trouble_over(struct hmm_space *space, struct hmm__trouble *trouble);

#endif
