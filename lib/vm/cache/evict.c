/* SPDX-License-Identifier: MIT */
/*
 * evict.c - pages of caches give up their frames
 *
 * A clean page goes under the space's lock, in one compare-and-swap of its word: there is nothing to unmap.  A dirty one
 * is claimed for a write-out, written without the lock, and goes afterwards if nobody has pinned it meanwhile.  It keeps
 * WRITEBACK until then, so its frame is the same page's for as long as the policy waits for our verdict.
 */
#include <errno.h>

#include "lib/vm/cache/hazard.h"
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
	space->owners[frame] = 0;
	hmm__frame_put(space, frame);
}

enum hmm__close hmm__cache_close(struct hmm_region *region, uint64_t page, uint64_t *w)
{
	hmm__word *word = &region->words[page];

	assert(hmm__word_state(*w) == HMM__MAPPED);
	if (!atomic_compare_exchange_strong(word, w, hmm__word_with_state(*w & ~HMM__DUE, HMM__LOADING) | HMM__AHEAD))
		return HMM__CLOSE_CHANGED;
	*w &= ~HMM__DUE; /* C14 */
	if (HMM__LIKELY(!hmm__hazard_any(word, 1)))
		return HMM__CLOSED;
	hmm__cache_leave(region, page, *w);
	return HMM__CLOSE_PINNED;
}

void hmm__cache_gone(struct hmm_cache *cache, uint64_t page, uint64_t w, bool evicted, enum hmm_removed why)
{
	hmm__cache_forget(cache, page, hmm__word_frame(w), evicted, why);
	if (w & HMM__DIRTY)
		atomic_fetch_sub_explicit(&cache->dirty, 1, memory_order_relaxed);
	hmm__cache_leave(cache->region, page, HMM__ABSENT);
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
		switch (hmm__cache_close(region, f->page, &w)) {
		case HMM__CLOSED:
			hmm__cache_gone(region->cache, f->page, w, true, HMM_REMOVED_UNMAPPED);
			return region->weight;
		case HMM__CLOSE_PINNED:
			hmm__frame_stays(space, number, HMM_REJECT_PINNED);
			return 0;
		case HMM__CLOSE_CHANGED:
			break;
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
		enum hmm__close closed = hmm__cache_close(it->region, it->page, &w);

		if (closed == HMM__CLOSED) {
			hmm__cache_saved(it->region->cache, it);
			hmm__cache_gone(it->region->cache, it->page, w, true, HMM_REMOVED_UNMAPPED);
			return true;
		}
		if (closed == HMM__CLOSE_PINNED)
			break;
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
