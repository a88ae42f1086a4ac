/* SPDX-License-Identifier: MIT */
/*
 * evict.c - pages of caches give up their frames
 *
 * A clean page goes under the space's lock, in one compare-and-swap of its word: there is nothing to unmap.  A dirty one
 * is claimed for a write-out, written without the lock, and goes afterwards if nobody has pinned it meanwhile.  It keeps
 * WRITEBACK until then, so its frame is the same page's for as long as the policy waits for our verdict.
 */
#include <errno.h>

#include "lib/vm/cache/cache.h"
#include "lib/vm/record.h"

void hmm__cache_forget(struct hmm_cache *cache, uint64_t page, uint32_t frame, bool evicted, enum hmm_removed why)
{
	struct hmm_space *space = cache->space;
	uint8_t *data = __atomic_load_n(&hmm__cached(space, frame)->data, __ATOMIC_RELAXED);
	uint64_t id = hmm__page_id(cache->region, page);

	hmm__cache_changed(space, frame); /* C6 */
	if (evicted) {
		hmm__policy_evicted(space->policy, frame, id);
		hmm__cache_count(&cache->evictions, 1);
	} else {
		if (why == HMM_REMOVED_DISCARDED)
			hmm__record_discard(cache->region, page);
		hmm__policy_removed(space->policy, frame, id, why);
	}
	hmm__cache_count(&cache->resident, -UINT64_C(1));
	hmm__cache_slot_put(cache->pool, hmm__cache_extent_of(cache->pool, data), data);
	hmm__frame_put(space, frame);
}

/* Under the lock, the word has just gone from w to ABSENT. */
static void gone(struct hmm_cache *cache, uint64_t page, uint64_t w)
{
	hmm__cache_forget(cache, page, hmm__word_frame(w), true, HMM_REMOVED_UNMAPPED);
	if (w & HMM__DIRTY)
		atomic_fetch_sub_explicit(&cache->dirty, 1, memory_order_relaxed);
	if (w & HMM__WAITERS)
		hmm__page_wake(cache->region, page);
}

/* Under the lock: to the batch, with a reference (C11).  w: as seen. */
static void claim_victim(struct hmm_space *space, struct hmm__batch *b, uint32_t number)
{
	struct hmm__frame *f = &space->frames[number];
	uint64_t w;

	if (!b || !f->region->cache->writable) {
		hmm__frame_stays(space, number, HMM_REJECT_WRITE);
		return;
	}
	if (b->n == HMM__BATCH_MAX || !hmm__region_hold_inside(f->region)) {
		hmm__frame_stays(space, number, HMM_REJECT_BUSY);
		return;
	}
	if (!hmm__cache_claim_dirty(f->region->cache, f->page, &w)) {
		hmm__region_put(f->region);
		hmm__frame_stays(space, number, hmm__word_held(w) ? HMM_REJECT_PINNED : HMM_REJECT_BUSY);
		return;
	}
	b->items[b->n++] = (struct hmm__item){ .region = f->region, .page = f->page, .word = w, .frame = number };
}

uint32_t hmm__cache_take_victim(struct hmm_space *space, struct hmm__batch *b, uint32_t number)
{
	struct hmm__frame *f = &space->frames[number];
	struct hmm_region *region = f->region;
	hmm__word *word = &region->words[f->page];
	uint64_t w = atomic_load(word);

	f->proposed = 1;
	for (;;) {
		if (hmm__word_state(w) != HMM__MAPPED || w & (HMM__WRITEBACK | HMM__PIN_MASK)) {
			hmm__frame_stays(space, number, hmm__word_held(w) ? HMM_REJECT_PINNED : HMM_REJECT_BUSY);
			return 0;
		}
		assert(hmm__word_frame(w) == number);
		if (w & HMM__DIRTY && !(w & HMM__FREE)) {
			claim_victim(space, b, number);
			return 0;
		}
		if (hmm__word_cas(word, &w, HMM__ABSENT)) {
			gone(region->cache, f->page, w);
			return region->weight;
		}
	}
}

/* Cache pages to the front; returns how many. */
static unsigned partition(struct hmm__batch *b)
{
	unsigned n = 0;

	for (unsigned i = 0; i < b->n; i++) {
		struct hmm__item it = b->items[i];

		if (!it.region->cache)
			continue;
		b->items[i] = b->items[n];
		b->items[n++] = it;
	}
	return n;
}

/* Under the lock: written, or refused.  Did it go? */
static bool settle(struct hmm_space *space, struct hmm__item *it)
{
	hmm__word *word = &it->region->words[it->page];
	uint64_t w = atomic_load(word);

	while (!it->error && !(w & HMM__PIN_MASK)) {
		if (hmm__word_cas(word, &w, HMM__ABSENT)) {
			hmm__cache_saved(it->region->cache, it);
			gone(it->region->cache, it->page, w);
			return true;
		}
	}
	/* the verdict first: when WRITEBACK has gone the frame may be another page's before we have spoken */
	hmm__frame_stays(space, it->frame, it->error ? HMM_REJECT_WRITE : HMM_REJECT_PINNED);
	hmm__cache_written(it);
	return false;
}

int64_t hmm__cache_evict_dirty(struct hmm_space *space, struct hmm__batch *b)
{
	unsigned all = b->n, n = partition(b);
	int64_t dropped = 0;
	int first;

	if (!n)
		return 0;
	b->n = n;
	first = hmm__cache_write_out(space, b);
	hmm__lock(&space->lock);
	for (unsigned i = 0; i < n; i++)
		dropped += settle(space, &b->items[i]);
	hmm__unlock(&space->lock);
	for (unsigned i = 0; i < n; i++)
		hmm__region_put(b->items[i].region);
	b->n = all - n;
	for (unsigned i = 0; i < b->n && n; i++)
		b->items[i] = b->items[n + i];
	return dropped ? dropped : first;
}
