/* SPDX-License-Identifier: MIT */
/*
 * lazy.c - discard lazily: garbage from now on, unless it is written
 *
 * Z1  A page with the mark FREE is write-protected, so that a write takes the mark off.
 * Z4  A page that was written may be pinned for a device: SUSPECT, so that it goes only when the kernel has let go of it.
 * Z2  Resident neighbours are protected in one call: a call for each would interrupt the other CPUs each time.
 * Z3  While a run is claimed nothing is waited for (P7).
 */
#include <errno.h>

#include "lib/vm/record.h"
#include "lib/vm/vm.h"

static bool is_marked(uint64_t w)
{
	return w & HMM__FREE && !(w & HMM__DIRTY);
}

/* Claim resident pages from `page` on, as far as they are in a row; returns how many. */
static uint64_t claim_run(struct hmm_region *region, uint64_t page, uint64_t end)
{
	uint64_t n = 0;

	for (; n < HMM__BATCH_MAX && page + n < end; n++) {
		hmm__word *word = &region->words[page + n];
		uint64_t w = atomic_load(word);

		if (hmm__word_state(w) != HMM__MAPPED || hmm__word_held(w) || is_marked(w) ||
		    !hmm__word_cas(word, &w, hmm__word_with_state(w, HMM__LOADING)))
			break;
	}
	return n;
}

/* Garbage already, and not written since: the policy is told again. */
static uint64_t marked_run(struct hmm_region *region, uint64_t page, uint64_t end)
{
	uint64_t n = 0;

	while (n < HMM__BATCH_MAX && page + n < end) {
		uint64_t w = atomic_load(&region->words[page + n]);

		if (hmm__word_state(w) != HMM__MAPPED || !is_marked(w))
			break;
		n++;
	}
	return n;
}

static void protect_run(struct hmm_region *region, uint64_t page, uint64_t n)
{
	struct hmm_span span = { hmm__page_address(region, page), n << region->shift };
	int r = region->engine->ops->write_protect(region->engine->backend, &span, 1, 1);

	for (uint64_t i = 0; i < n; i++) {
		uint64_t held = atomic_load(&region->words[page + i]) & HMM__DIRTY ? HMM__SUSPECT : 0;

		hmm__page_leave(region, page + i, HMM__MAPPED, r ? 0 : HMM__DIRTY, r ? 0 : HMM__FREE | held);
	}
}

static void tell_policy(struct hmm_region *region, uint64_t page, uint64_t n)
{
	struct hmm_space *space = region->space;

	hmm__lock(&space->lock);
	for (uint64_t i = page; i < page + n; i++) {
		uint64_t w = atomic_load(&region->words[i]);
		struct hmm_page_range range = { hmm__page_id(region, i), 1 };

		if (hmm__word_state(w) != HMM__MAPPED || !is_marked(w))
			continue;
		hmm__record_discard(region, i);
		if (!space->frames[hmm__word_frame(w)].proposed)
			hmm__policy_hint(space->policy, hmm__word_frame(w), range, HMM_HINT_DISCARD, 0);
	}
	hmm__unlock(&space->lock);
}

/* A page that is not resident loses its stored contents at once; returns false if it has to be looked at again. */
static bool drop_stored(struct hmm_region *region, uint64_t page)
{
	uint64_t w = atomic_load(&region->words[page]);

	if (hmm__word_busy(w)) {
		hmm__page_wait(region, &region->words[page], w);
		return false;
	}
	if (hmm__word_state(w) == HMM__AVAILABLE ||
	    (hmm__word_state(w) == HMM__ABSENT && w & (HMM__STORED | HMM__POISONED)))
		(void)!hmm__discard(region, page, 1, HMM__DISCARD_RANGE);
	return hmm__word_state(w) != HMM__MAPPED || hmm__word_held(w);
}

int hmm__lazy_free(struct hmm_region *region, uint64_t page, uint64_t npages)
{
	struct hmm_page_range range = { hmm__page_id(region, page), npages };
	struct hmm_space *space = region->space;
	uint64_t end = page + npages;

	if (region->flags & HMM_REGION_SHARED)
		return -EINVAL; /* others may see the store */
	hmm__lock(&space->lock);
	hmm__policy_hint(space->policy, UINT32_MAX, range, HMM_HINT_DISCARD, 0);
	hmm__unlock(&space->lock);
	while ((page = hmm__page_next_touched(region, page)) < end) {
		uint64_t n = claim_run(region, page, end);

		if (n)
			protect_run(region, page, n);
		else
			n = marked_run(region, page, end);
		if (n)
			tell_policy(region, page, n);
		else
			n = drop_stored(region, page);
		page += n;
	}
	return 0;
}
