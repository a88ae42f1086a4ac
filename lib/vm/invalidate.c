/* SPDX-License-Identifier: MIT */
/*
 * invalidate.c - others have written to a region's store: drop copies of it, so that the next access reads it anew
 *
 * What is asked for first is only a look, so that nothing is dropped where the answer is -EBUSY anyway; what counts is the
 * word of each page when it is claimed (D3 in discard.c).  A page that somebody is loading is waited for and then dropped:
 * its contents may have been read before the caller's reason to ask for this.
 */
#include <errno.h>

#include "lib/vm/call.h"
#include "lib/vm/vm.h"

/* A page that may not be dropped. */
static bool in_the_way(const struct hmm_region *region, uint64_t w, unsigned flags)
{
	if (hmm__word_held(w))
		return true;
	return !(flags & HMM_INVALIDATE_DIRTY) && region->flags & HMM_REGION_SHARED && w & HMM__DIRTY;
}

static bool any_in_the_way(struct hmm_region *region, uint64_t page, uint64_t end, unsigned flags)
{
	for (; (page = hmm__page_next_touched(region, page)) < end; page++) {
		hmm__word *word = &region->words[page];
		uint64_t w;

		/* a write that the caller has seen done may still be on its way into the word */
		while (hmm__word_busy(w = atomic_load(word)))
			hmm__page_wait(region, word, w);
		if (in_the_way(region, w, flags))
			return true;
	}
	return false;
}

int hmm_region_invalidate(struct hmm_region *region, void *address, size_t length, unsigned flags)
{
	struct hmm__call call;
	uint64_t page, npages;
	int r;

	if (flags & ~(unsigned)HMM_INVALIDATE_DIRTY)
		return -EINVAL;
	r = hmm__call_range(&call, region, address, length, &page, &npages);
	if (r)
		return r;
	if (!region->store)
		r = -EINVAL;
	else if (any_in_the_way(region, page, page + npages, flags))
		r = -EBUSY;
	else
		r = hmm__discard(region, page, npages,
		                 flags & HMM_INVALIDATE_DIRTY ? HMM__DISCARD_RANGE : HMM__DISCARD_CLEAN);
	hmm__call_end(&call);
	return r;
}
