/* SPDX-License-Identifier: MIT */
/*
 * sweep.c - a page that could go, when all that the policy named could not
 *
 * A policy proposes what it likes least; where most of that is pinned it may take long until it comes to a page that is
 * not.  Here a hand goes over the frames.
 */
#include "lib/vm/cache/cache.h"

#define LOOKS 1024u /* frames under one hold of the lock */

/* Under the lock: a cache's page that nobody has pinned is dropped, or claimed to be written.  False: it stays. */
static bool take(struct hmm_space *space, struct hmm__batch *b, uint32_t number)
{
	struct hmm__frame *f = &space->frames[number];
	struct hmm_cache *cache = f->region ? f->region->cache : NULL;
	hmm__word *word;
	uint64_t w;

	if (!cache)
		return false;
	word = &cache->words[f->page];
	w = atomic_load(word);
	if (hmm__word_state(w) != HMM__MAPPED || w & (HMM__PIN_MASK | HMM__WRITEBACK))
		return false;
	if (!(w & HMM__DIRTY)) {
		if (hmm__cache_close(f->region, f->page, &w) != HMM__CLOSED)
			return false;
		hmm__cache_gone(cache, f->page, w, true, HMM_REMOVED_UNMAPPED);
		return true;
	}
	if (!b || b->n == HMM__BATCH_MAX || !hmm__region_hold_inside(f->region))
		return false;
	if (!hmm__cache_claim_dirty(cache, f->page, &w)) {
		hmm__region_put(f->region);
		return false;
	}
	b->items[b->n++] = (struct hmm__item){ .region = f->region, .page = f->page, .word = w, .frame = number };
	return true;
}

/* Under the lock: up to *looks frames, until a clean page was dropped (true) or the batch is full. */
static bool look_around(struct hmm_space *space, struct hmm__batch *b, uint32_t *looks)
{
	for (; *looks && space->fresh_frame; --*looks) {
		uint32_t number = space->cache_hand < space->fresh_frame ? space->cache_hand : 0;
		uint32_t before = b ? b->n : 0;

		space->cache_hand = number + 1;
		if (!take(space, b, number))
			continue;
		if (!b || b->n == before)
			return true; /* a clean one */
		if (b->n >= space->batch)
			break;
	}
	return false;
}

/* Once round, or until a page went: where dirty ones are refused by store or log there may be clean ones behind. */
bool hmm__cache_sweep(struct hmm_space *space, bool write)
{
	struct hmm__batch *b;
	bool found = false;
	uint32_t left;

	hmm__lock(&space->lock);
	left = space->fresh_frame;
	b = write ? hmm__batch_get(space) : NULL;
	while (left && !found) {
		uint32_t most = HMM__MIN(left, LOOKS), looks = most;

		found = look_around(space, b, &looks);
		left -= HMM__MAX(most - looks, 1u);
		hmm__unlock(&space->lock);
		if (b && b->n && (found || !left || b->n >= space->batch))
			found = hmm__cache_evict_dirty(space, b) > 0 || found;
		hmm__lock(&space->lock);
	}
	if (b)
		hmm__batch_put(space, b);
	hmm__unlock(&space->lock);
	return found;
}
