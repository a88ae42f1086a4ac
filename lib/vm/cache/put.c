/* SPDX-License-Identifier: MIT */
/*
 * put.c - giving a pin back where that means more than one count less: dirty, discarded, waited for
 */
#include <errno.h>

#include "lib/vm/cache/hazard.h"
#include "lib/vm/call.h"

/* C4: before the word says DIRTY.  The caller has the page pinned for writing, so nobody resets them. */
static void note_position(struct hmm__cached *c, uint64_t position)
{
	uint64_t first = atomic_load_explicit(&c->first, memory_order_relaxed);
	uint64_t last = atomic_load_explicit(&c->last, memory_order_relaxed);

	if (!position)
		return;
	while (position < first && !atomic_compare_exchange_weak(&c->first, &first, position))
		;
	while (position > last && !atomic_compare_exchange_weak(&c->last, &last, position))
		;
}

/* Of a put or mark of the program's. */
static int checked(int r)
{
#ifdef HMM_DEBUG
	assert(r != -EINVAL && "the page is pinned as it is put or marked");
#endif
	return r;
}

/* Has the word the pin that is spoken of?  sub: it is given back, so one for reading must not be a writer's. */
static bool pinned_so(uint64_t w, unsigned mode, uint64_t sub)
{
	unsigned pins = hmm__word_pins(w), writers = hmm__word_writers(w);

	if (hmm__word_state(w) != HMM__MAPPED)
		return false;
	if (mode & HMM_CACHE_WRITE)
		return pins && writers;
	return sub ? pins > writers : pins;
}

static bool modes_fit(const struct hmm_cache *cache, unsigned mode)
{
	if (mode & ~(unsigned)(HMM_CACHE_WRITE | HMM_CACHE_DIRTY | HMM_CACHE_DISCARD))
		return false;
	if (mode & HMM_CACHE_DIRTY && mode & HMM_CACHE_DISCARD)
		return false;
	return !(mode & HMM_CACHE_DIRTY) || mode & HMM_CACHE_WRITE || cache->flags & HMM_CACHE_VOLATILE;
}

void hmm__cache_drop_free(struct hmm_cache *cache, uint64_t page)
{
	struct hmm_space *space = cache->space;
	hmm__word *word = &cache->words[page];
	struct hmm__call call;

	if (hmm__call_begin_space(&call, space))
		return;
	for (;;) {
		uint64_t w = atomic_load(word);
		enum hmm__close closed;

		if (hmm__word_state(w) == HMM__ABSENT || w & HMM__PIN_MASK || !(w & HMM__FREE))
			break;
		if (hmm__word_busy(w) || w & HMM__WRITEBACK) {
			hmm__page_wait(cache->region, word, w);
			continue;
		}
		hmm__lock(&space->lock);
		closed = hmm__cache_close(cache->region, page, &w);
		if (closed == HMM__CLOSED)
			hmm__cache_gone(cache, page, w, false, HMM_REMOVED_DISCARDED);
		hmm__unlock(&space->lock);
		if (closed != HMM__CLOSE_CHANGED)
			break; /* gone, or the last pin's, which is in a slot */
	}
	hmm__call_end(&call);
}

/* The word after a put or mark: sub is what is given back. */
static uint64_t word_after(uint64_t w, uint64_t sub, unsigned mode)
{
	uint64_t next = w - sub;

	if (mode & HMM_CACHE_DIRTY)
		next = (next | HMM__DIRTY) & ~HMM__FREE;
	if (mode & HMM_CACHE_DISCARD)
		next |= HMM__FREE;
	/* who waits without a write-out being under way waits for the last writer */
	if (sub && !(next & (HMM__WRITER_MASK | HMM__WRITEBACK)))
		next &= ~HMM__WAITERS;
	return next;
}

static int change(struct hmm_cache *cache, uint64_t page, unsigned mode, uint64_t sub, uint64_t position,
                  uint64_t *ret_next)
{
	hmm__word *word = &cache->words[page];
	uint64_t w = atomic_load(word), next;
	bool noted = false;

	if (cache->flags & HMM_CACHE_VOLATILE && mode & HMM_CACHE_DIRTY)
		position = 0;
	do {
		while (!pinned_so(w, mode, sub)) {
			if (mode & HMM_CACHE_WRITE || !hmm__hazard_absorb(cache, page)) /* H3 of hazard.h */
				return -EINVAL;
			w = atomic_load(word);
		}
		if (mode & HMM_CACHE_DIRTY && !noted)
			note_position(&cache->cached[hmm__word_frame(w)], position);
		noted = true;
		next = word_after(w, sub, mode);
		if (cache->flags & HMM_CACHE_VOLATILE)
			next &= ~HMM__DIRTY;
	} while (!atomic_compare_exchange_weak(word, &w, next));
	if (next & HMM__DIRTY && !(w & HMM__DIRTY)) {
		atomic_fetch_add_explicit(&cache->dirty, 1, memory_order_relaxed);
		hmm__cache_dirtied(cache);
	}
	if (w & HMM__WAITERS && !(next & HMM__WAITERS))
		hmm__page_wake(cache->region, page);
	*ret_next = next;
	return 0;
}

int hmm__cache_unpin(struct hmm_cache *cache, uint64_t page, unsigned mode, uint64_t position)
{
	uint64_t next;
	int r;

	if (atomic_load_explicit(&cache->dead, memory_order_relaxed))
		return -ENODEV;
	if (page >= cache->npages || !modes_fit(cache, mode))
		return -EINVAL;
	r = change(cache, page, mode, HMM__PIN_ONE + (mode & HMM_CACHE_WRITE ? HMM__WRITER_ONE : 0), position, &next);
	if (r || next & HMM__PIN_MASK)
		return r;
	if (next & HMM__FREE)
		hmm__cache_drop_free(cache, page);
	if (atomic_load(&cache->space->frame_waiters))
		hmm__frames_changed(cache->space);
	return 0;
}

int hmm__cache_put_slow(struct hmm_cache *cache, uint64_t page, unsigned mode, uint64_t position)
{
	return checked(hmm__cache_unpin(cache, page, mode, position));
}

int hmm_cache_mark(struct hmm_cache *cache, uint64_t page, uint64_t position)
{
	unsigned mode = HMM_CACHE_DIRTY | (cache->flags & HMM_CACHE_VOLATILE ? 0 : HMM_CACHE_WRITE);
	uint64_t next;

	if (atomic_load_explicit(&cache->dead, memory_order_relaxed))
		return -ENODEV;
	return checked(page < cache->npages ? change(cache, page, mode, 0, position, &next) : -EINVAL);
}
