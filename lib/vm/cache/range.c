/* SPDX-License-Identifier: MIT */
/*
 * range.c - pages are dropped, get another number, or are spoken of
 *
 * A page that is to go is waited for while somebody loads or writes it, and taken to ABSENT under the space's lock (C1).
 * A change of number owns both words first, so nothing has happened where it fails: the old one by LOADING with frame and
 * pin in it, which nobody else makes, the new one by LOADING as a load does.
 */
#include <errno.h>

#include "lib/store/store.h"
#include "lib/vm/cache/hazard.h"
#include "lib/vm/call.h"

static int begin(struct hmm__call *call, struct hmm_cache *cache)
{
	int r;

	if (!cache)
		return -EINVAL;
	r = hmm__call_begin_space(call, cache->space);
	if (r)
		return r;
	if (!atomic_load(&cache->dead))
		return 0;
	hmm__call_end(call);
	return -ENODEV;
}

static bool range_fits(const struct hmm_cache *cache, uint64_t page, uint64_t npages)
{
	return page < cache->npages && npages <= cache->npages - page;
}

static bool any_pinned(struct hmm_cache *cache, uint64_t page, uint64_t end)
{
	if (page < end && hmm__hazard_any(&cache->words[page], end - page))
		return true;
	for (; (page = hmm__cache_next(cache, page)) < end; page++) {
		if (atomic_load(&cache->words[page]) & HMM__PIN_MASK)
			return true;
	}
	return false;
}

/* Under the lock: the page is ours, LOADING.  *pins: some were taken away. */
static enum hmm__close close_by_force(struct hmm_cache *cache, uint64_t page, uint64_t *w, bool *pins)
{
	if (!hmm__word_cas(&cache->words[page], w, hmm__word_with_state(*w & ~HMM__DUE, HMM__LOADING) | HMM__AHEAD))
		return HMM__CLOSE_CHANGED;
	*pins = hmm__hazard_clear(&cache->words[page], 1) > 0 || *w & HMM__PIN_MASK;
	return HMM__CLOSED;
}

/* force: pins and all.  clean: -EBUSY if it is dirty. */
static int drop(struct hmm_cache *cache, uint64_t page, bool force, bool clean)
{
	struct hmm_space *space = cache->space;
	hmm__word *word = &cache->words[page];

	for (;;) {
		uint64_t w = atomic_load(word);
		enum hmm__close closed;
		bool pins = false;

		if (hmm__word_state(w) == HMM__ABSENT)
			return 0;
		if (w & HMM__PIN_MASK && !force)
			return -EBUSY;
		if (hmm__word_busy(w) || w & HMM__WRITEBACK) {
			hmm__page_wait(cache->region, word, w);
			continue;
		}
		if (clean && w & HMM__DIRTY)
			return -EBUSY;
		hmm__lock(&space->lock);
		closed = force ? close_by_force(cache, page, &w, &pins) : hmm__cache_close(cache->region, page, &w);
		if (closed == HMM__CLOSED)
			hmm__cache_gone(cache, page, w, false, force ? HMM_REMOVED_UNMAPPED : HMM_REMOVED_DISCARDED);
		hmm__unlock(&space->lock);
		if (closed == HMM__CLOSE_CHANGED)
			continue;
		if (pins)
			hmm__pins_gone(cache, page);
		return closed == HMM__CLOSED ? 0 : -EBUSY;
	}
}

int hmm__cache_drop(struct hmm_cache *cache, uint64_t page, bool force)
{
	return drop(cache, page, force, false);
}

static int drop_all(struct hmm_cache *cache, uint64_t page, uint64_t end, bool force, bool clean)
{
	int first = 0;

	hmm__lock(&cache->space->lock);
	hmm__cache_touch_flush(cache->space);
	hmm__unlock(&cache->space->lock);
	for (; (page = hmm__cache_next(cache, page)) < end; page++) {
		int r = drop(cache, page, force, clean);

		first = first ? first : r;
	}
	if (atomic_load(&cache->space->frame_waiters))
		hmm__frames_changed(cache->space);
	return first;
}

int hmm_cache_discard(struct hmm_cache *cache, uint64_t page, uint64_t npages)
{
	struct hmm__call call;
	int r = begin(&call, cache);

	if (r)
		return r;
	if (!range_fits(cache, page, npages))
		r = -ERANGE;
	else if (any_pinned(cache, page, page + npages))
		r = -EBUSY;
	else
		r = drop_all(cache, page, page + npages, false, false);
	if (!r && npages && cache->region->store && cache->writable)
		r = hmm__store_discard(cache->region->store, cache->region->offset + page * cache->page_size,
		                       npages * cache->page_size);
	hmm__call_end(&call);
	return r;
}

int hmm_cache_truncate(struct hmm_cache *cache, uint64_t npages, unsigned flags)
{
	bool force = flags & HMM_CACHE_FORCE;
	struct hmm__call call;
	int r;

	if (flags & ~(unsigned)HMM_CACHE_FORCE)
		return -EINVAL;
	r = begin(&call, cache);
	if (r)
		return r;
	if (!force && any_pinned(cache, npages, cache->npages))
		r = -EBUSY;
	else
		r = drop_all(cache, npages, cache->npages, force, false);
	hmm__call_end(&call);
	return r;
}

static bool any_dirty(struct hmm_cache *cache, uint64_t page, uint64_t end)
{
	for (; (page = hmm__cache_next(cache, page)) < end; page++) {
		if (atomic_load(&cache->words[page]) & HMM__DIRTY)
			return true;
	}
	return false;
}

int hmm_cache_invalidate(struct hmm_cache *cache, uint64_t page, uint64_t npages, unsigned flags)
{
	bool clean = !(flags & HMM_INVALIDATE_DIRTY);
	struct hmm__call call;
	int r;

	if (flags & ~(unsigned)HMM_INVALIDATE_DIRTY)
		return -EINVAL;
	r = begin(&call, cache);
	if (r)
		return r;
	if (!npages && page < cache->npages)
		npages = cache->npages - page;
	if (!cache->region->store)
		r = -EINVAL;
	else if (!range_fits(cache, page, npages))
		r = -ERANGE;
	else if (any_pinned(cache, page, page + npages) || (clean && any_dirty(cache, page, page + npages)))
		r = -EBUSY;
	else
		r = drop_all(cache, page, page + npages, false, clean);
	hmm__call_end(&call);
	return r;
}

/* Own the page that is to be moved: LOADING, with its frame and its only pin.  *ret_word: as it was. */
static int own_from(struct hmm_cache *cache, uint64_t from, uint64_t *ret_word)
{
	hmm__word *word = &cache->words[from];

	for (;;) {
		uint64_t w = atomic_load(word);

		/* our pin may be in a slot, and somebody about to find it there */
		if (!hmm__word_pins(w) && hmm__hazard_absorb(cache, from))
			continue;
		if (hmm__word_state(w) != HMM__MAPPED || !hmm__word_pins(w))
			return -EINVAL;
		if (hmm__word_pins(w) > 1)
			return -EBUSY;
		if (w & HMM__WRITEBACK) {
			hmm__page_wait(cache->region, word, w);
			continue;
		}
		switch (hmm__cache_close(cache->region, from, &w)) {
		case HMM__CLOSED:
			*ret_word = w;
			return 0;
		case HMM__CLOSE_PINNED:
			return -EBUSY;
		case HMM__CLOSE_CHANGED:
			break;
		}
	}
}

/* Own the number that it gets: LOADING.  *ret_word: as it was, with the page that will be dropped, or ABSENT. */
static int own_to(struct hmm_cache *cache, uint64_t to, uint64_t *ret_word)
{
	hmm__word *word = &cache->words[to];

	hmm__page_touched(cache->region, to);
	hmm__cache_reached(cache, to);
	for (;;) {
		uint64_t w = atomic_load(word);
		enum hmm__close closed;

		/* also while it is LOADING by another rekey, which may want our page's number */
		if (w & HMM__PIN_MASK)
			return -EBUSY;
		if (hmm__word_busy(w) || w & HMM__WRITEBACK) {
			hmm__page_wait(cache->region, word, w); /* who is busy with it does not wait for our page */
			continue;
		}
		if (hmm__word_state(w) == HMM__ABSENT)
			closed = hmm__word_cas(word, &w, HMM__LOADING | HMM__AHEAD) ? HMM__CLOSED : HMM__CLOSE_CHANGED;
		else
			closed = hmm__cache_close(cache->region, to, &w);
		if (closed == HMM__CLOSED) {
			*ret_word = w;
			return 0;
		}
		if (closed == HMM__CLOSE_PINNED)
			return -EBUSY;
	}
}

/* Both words are ours.  w, old: as they were. */
static void move(struct hmm_cache *cache, uint64_t from, uint64_t to, uint64_t w, uint64_t old)
{
	struct hmm_space *space = cache->space;
	struct hmm_region *region = cache->region;
	struct hmm_placement placement = { .size = sizeof(placement), .region = region->id, .access = HMM_ACCESS_PIN };
	uint32_t number = hmm__word_frame(w);

	hmm__lock(&space->lock);
	if (hmm__word_state(old) == HMM__MAPPED)
		hmm__cache_forget(cache, to, hmm__word_frame(old), false, HMM_REMOVED_DISCARDED);
	hmm__policy_removed(space->policy, number, hmm__page_id(region, from), HMM_REMOVED_UNMAPPED);
	space->frames[number].page = to;
	space->frames[number].proposed = 0;
	hmm__cache_changed(space, number);
	hmm__policy_miss(space->policy, hmm__page_id(region, to), HMM_ACCESS_PIN);
	hmm__policy_placed(space->policy, number, hmm__page_id(region, to), &placement);
	hmm__unlock(&space->lock);
	if (old & HMM__DIRTY)
		atomic_fetch_sub_explicit(&cache->dirty, 1, memory_order_relaxed);
	hmm__cache_leave(region, to, w);
	hmm__cache_leave(region, from, HMM__ABSENT);
}

int hmm_cache_rekey(struct hmm_cache *cache, uint64_t from, uint64_t to)
{
	struct hmm__call call;
	uint64_t w, old;
	int r = begin(&call, cache);

	if (r)
		return r;
	if (!range_fits(cache, from, 1) || !range_fits(cache, to, 1))
		r = -ERANGE;
	else
		r = own_from(cache, from, &w);
	if (!r) {
		r = from != to ? own_to(cache, to, &old) : 0;
		if (r || from == to) {
			hmm__cache_leave(cache->region, from, w);
		} else {
			hmm__pins_moved(cache, from, to);
			move(cache, from, to, w, old);
		}
	}
	hmm__call_end(&call);
	return r;
}

/* One page goes, or is claimed to be written and then to go.  Returns whether it went. */
static bool shrink_page(struct hmm_cache *cache, struct hmm__batch *b, uint64_t page)
{
	struct hmm_space *space = cache->space;
	uint64_t w = atomic_load(&cache->words[page]);
	bool gone;

	if (hmm__word_state(w) != HMM__MAPPED || w & (HMM__PIN_MASK | HMM__WRITEBACK))
		return false;
	if (w & HMM__DIRTY) {
		if (!hmm__region_hold_inside(cache->region))
			return false;
		if (hmm__cache_claim_dirty(cache, page, &w))
			b->items[b->n++] = (struct hmm__item){ .region = cache->region, .page = page, .word = w,
				                               .frame = hmm__word_frame(w) };
		else
			hmm__region_put(cache->region);
		return false;
	}
	hmm__lock(&space->lock);
	gone = hmm__cache_close(cache->region, page, &w) == HMM__CLOSED;
	if (gone)
		hmm__cache_gone(cache, page, w, true, HMM_REMOVED_UNMAPPED);
	hmm__unlock(&space->lock);
	return gone;
}

int64_t hmm_cache_shrink(struct hmm_cache *cache, uint64_t n)
{
	struct hmm__batch *b;
	struct hmm__call call;
	int64_t gone = 0, r = begin(&call, cache);
	uint64_t page = 0;

	if (r)
		return r;
	b = hmm__cache_batch(cache->space);
	while ((uint64_t)gone < n && (page = hmm__cache_next(cache, page)) < cache->npages) {
		gone += shrink_page(cache, b, page++);
		if (b->n == HMM__BATCH_MAX || (uint64_t)gone + b->n >= n ||
		    hmm__cache_next(cache, page) >= cache->npages) {
			int64_t written = hmm__cache_evict_dirty(cache->space, b);

			gone += written > 0 ? written : 0;
			r = written < 0 && !r ? written : r;
		}
	}
	hmm__cache_batch_done(cache->space, b);
	hmm__frames_changed(cache->space);
	hmm__call_end(&call);
	return gone ? gone : r;
}

int hmm_cache_hint(struct hmm_cache *cache, uint64_t page, uint64_t npages, enum hmm_hint hint, int64_t value)
{
	struct hmm__call call;
	int r;

	if (!hmm__hint_known(hint, value))
		return -EINVAL;
	r = begin(&call, cache);
	if (r)
		return r;
	if (range_fits(cache, page, npages))
		hmm__hint_pages(cache->region, page, npages, hint, value);
	else
		r = -ERANGE;
	hmm__call_end(&call);
	return r;
}
