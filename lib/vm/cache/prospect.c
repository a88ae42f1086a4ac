/* SPDX-License-Identifier: MIT */
/*
 * prospect.c - is there anything to wait for, when no page can go at once?
 *
 * Pins go when their holders like, which may be never, so they are waited for no longer than wait_ms.  What the library
 * itself has under way ends: a read, a write-out, a page that is being unmapped.  Then its page can go, or has gone.  A page
 * of a cache that could go already will be found by the next look, unless another get is quicker.  A region's that is mapped
 * may be refused by the kernel, or kept by the program, for ever.
 *
 * S1  Only what ends by itself counts.  A page LOADING with a pin in its word is a rekey's, which may wait for who asks here;
 *     one without a frame is another get's that waits like this one, and is not found among the frames.
 * S2  Write-outs to a store, or by a log, that refuses pages don't count: who waits would see others try, and they him.
 */
#include "lib/vm/cache/hazard.h"

#define LOOKS 1024u /* frames under one hold of the lock */

/* S2: may the page's store and log be hoped to take it? */
static bool hopeful(const struct hmm__frame *f, uint64_t w)
{
	struct hmm_cache *cache = f->region->cache;

	if (atomic_load_explicit(&hmm__trouble_of(f->region)->told, memory_order_relaxed))
		return false;
	if (!cache)
		return true;
	if (!cache->writable)
		return false;
	return !atomic_load_explicit(&cache->log_refuses, memory_order_relaxed) ||
	       atomic_load_explicit(&cache->cached[hmm__word_frame(w)].last, memory_order_relaxed) <=
	               atomic_load_explicit(&cache->flushed, memory_order_relaxed);
}

/* Under the lock. */
static enum hmm__prospect of_frame(const struct hmm__frame *f)
{
	const hmm__word *word = f->region ? &f->region->words[f->page] : NULL;
	uint64_t w = word ? atomic_load(word) : HMM__ABSENT;

	if (hmm__word_held(w))
		return HMM__PROSPECT_NONE;
	switch (hmm__word_state(w)) {
	case HMM__LOADING:
	case HMM__EVICTING:
		return HMM__PROSPECT_BUSY;
	case HMM__LAUNDRY:
		return hopeful(f, w) ? HMM__PROSPECT_BUSY : HMM__PROSPECT_NONE;
	case HMM__MAPPED:
		if ((w & HMM__DIRTY && !(w & HMM__FREE) && !hopeful(f, w)) || (f->region->cache && hmm__hazard_any(word, 1)))
			return HMM__PROSPECT_NONE;
		return w & HMM__WRITEBACK || f->region->cache ? HMM__PROSPECT_BUSY : HMM__PROSPECT_MAPPED;
	default:
		return HMM__PROSPECT_NONE;
	}
}

enum hmm__prospect hmm__cache_prospect(struct hmm_space *space)
{
	enum hmm__prospect best = HMM__PROSPECT_NONE;

	hmm__lock(&space->lock);
	for (uint32_t i = 0; i < space->fresh_frame && best != HMM__PROSPECT_BUSY; i++) {
		if (i && i % LOOKS == 0) {
			hmm__unlock(&space->lock);
			hmm__lock(&space->lock);
		}
		best = HMM__MAX(best, of_frame(&space->frames[i]));
	}
	hmm__unlock(&space->lock);
	return best;
}
