/* SPDX-License-Identifier: MIT */
/*
 * clean.c - write dirty pages before anybody has to wait for that
 *
 * Above dirty_target the background thread writes, above dirty_limit who wants to dirty more.  Both go on from where the
 * last of them stopped, in page order, round the cache, and pass over pages that are pinned for writing or that the log
 * does not allow to be written: they never wait for a page.
 */
#include "lib/vm/cache/cache.h"
#include "lib/vm/call.h"

#define ROUNDS 8u          /* batches of one cache, in one round of the background thread */
#define HELP 32u           /* pages that one get writes */
#define LOOKS (1u << 18)   /* page words looked at for one batch */
#define WAKE_EVERY 16u     /* pages dirtied above the target between two wakes */

/* Pages that may be dirty. */
static uint64_t allowed(const struct hmm_cache *cache, uint32_t percent)
{
	uint64_t bytes = hmm__peek(&cache->space->budget) << HMM__PAGE_SHIFT_MIN;

	return bytes * percent / 100 / cache->pool->stride;
}

static bool too_many(struct hmm_cache *cache, uint32_t percent)
{
	return percent && atomic_load_explicit(&cache->dirty, memory_order_relaxed) > allowed(cache, percent);
}

/* Would the log rule refuse it, and nobody could flush the log? */
static bool must_wait(const struct hmm_cache *cache, uint64_t flushed, uint64_t w)
{
	if (!cache->log_flushed || cache->flush_log || hmm__word_state(w) != HMM__MAPPED || !(w & HMM__DIRTY))
		return false;
	return atomic_load_explicit(&cache->cached[hmm__word_frame(w)].last, memory_order_relaxed) > flushed;
}

/* Claim up to n pages from where the last one stopped. */
static void claim(struct hmm_cache *cache, struct hmm__batch *b, unsigned n)
{
	uint64_t flushed = cache->log_flushed && !cache->flush_log ? cache->log_flushed(cache->log_arg) : 0;
	uint64_t from = atomic_load(&cache->sweep), page = from, end = cache->npages, w;
	bool round = false;

	for (uint32_t looks = 0; b->n < n && looks < LOOKS; looks++, page++) {
		page = hmm__cache_next(cache, page);
		if (page >= end) {
			if (round || !from)
				break;
			round = true;
			end = from;
			page = hmm__cache_next(cache, 0);
			if (page >= end)
				break;
		}
		w = atomic_load_explicit(&cache->words[page], memory_order_relaxed);
		if (!(w & HMM__DIRTY) || must_wait(cache, flushed, w) || !hmm__cache_claim_dirty(cache, page, &w))
			continue;
		b->items[b->n++] = (struct hmm__item){ .region = cache->region, .page = page, .word = w,
			                               .frame = hmm__word_frame(w) };
	}
	atomic_store(&cache->sweep, page < cache->npages ? page : 0);
}

/* Write up to n dirty pages.  Returns how many the store took. */
static unsigned clean_some(struct hmm_cache *cache, unsigned n)
{
	struct hmm_space *space = cache->space;
	unsigned written = 0;
	struct hmm__batch *b;

	hmm__lock(&space->lock);
	b = hmm__batch_get(space);
	hmm__unlock(&space->lock);
	if (!b)
		return 0;
	claim(cache, b, HMM__MIN(n, HMM__BATCH_MAX));
	if (b->n)
		hmm__cache_write(space, b);
	for (unsigned i = 0; i < b->n; i++)
		written += !b->items[i].error;
	hmm__cache_batch_done(space, b);
	return written;
}

void hmm__cache_throttle(struct hmm_cache *cache)
{
	struct hmm__call call;

	if (HMM__LIKELY(!too_many(cache, cache->dirty_limit)))
		return;
	if (hmm__call_begin_space(&call, cache->space))
		return;
	if (!atomic_load(&cache->dead))
		clean_some(cache, HELP);
	hmm__call_end(&call);
}

void hmm__cache_dirtied(struct hmm_cache *cache)
{
	uint64_t dirty, target;

	if (HMM__LIKELY(!cache->dirty_target))
		return;
	dirty = atomic_load_explicit(&cache->dirty, memory_order_relaxed);
	target = allowed(cache, cache->dirty_target);
	if (dirty > target && (dirty == target + 1 || dirty % WAKE_EVERY == 0) &&
	    atomic_load(&cache->space->reclaimer_idle))
		hmm__reclaimer_wake(cache->space);
}

/* The nth of the space's caches that have too many dirty pages, held; NULL: there are not so many. */
static struct hmm_cache *over_target(struct hmm_space *space, unsigned n)
{
	struct hmm_cache *cache;

	hmm__spaces_enter();
	for (cache = space->caches; cache; cache = cache->next) {
		if (!cache->writable || !too_many(cache, cache->dirty_target))
			continue;
		if (n)
			n--;
		else if (hmm__region_hold_inside(cache->region))
			break;
	}
	hmm__spaces_leave();
	return cache;
}

void hmm__cache_work(struct hmm_space *space)
{
	struct hmm_cache *cache;

	/* one that came below its target is not counted any more: the next one has its place */
	for (unsigned n = 0; (cache = over_target(space, n)) != NULL;) {
		for (unsigned i = 0; i < ROUNDS && too_many(cache, cache->dirty_target); i++) {
			if (!clean_some(cache, HMM__BATCH_MAX))
				break;
		}
		n += too_many(cache, cache->dirty_target);
		hmm__region_put(cache->region);
	}
}
