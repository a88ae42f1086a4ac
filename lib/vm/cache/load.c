/* SPDX-License-Identifier: MIT */
/*
 * load.c - gets that find the page absent, in transition, or being written out
 *
 * L1  A page is LOADING and ours from before it has a frame until it is MAPPED, or ABSENT again.
 * L2  Contents are read into the page slot itself, without a lock.
 */
#include <errno.h>
#include <string.h>

#include "lib/base/clock.h"
#include "lib/store/store.h"
#include "lib/vm/cache/touch.h"
#include "lib/vm/call.h"

void hmm__cache_leave(struct hmm_region *region, uint64_t page, uint64_t to)
{
	hmm__word *word = &region->words[page];
	uint64_t w = atomic_load(word);

	while (!hmm__word_cas(word, &w, to & ~HMM__WAITERS))
		;
	if (w & HMM__WAITERS)
		hmm__page_wake(region, page);
}

static int read_page(struct hmm_cache *cache, struct hmm__cache_want *k)
{
	struct hmm_space *space = cache->space;
	struct hmm_region *region = cache->region;
	struct hmm_store_vec vec = { .offset = region->offset + k->page * cache->page_size, .data = k->data,
		                     .length = cache->page_size };
	int r = hmm__store_read(region->store, &vec, 1);

	if (r) {
		HMM__COUNT(space, load_errors, 1);
		return r;
	}
	HMM__COUNT(space, loads, 1);
	HMM__COUNT(space, bytes_read, vec.length);
	return 0;
}

/* What a page has in its slot when somebody gets to see it. */
static int fill(struct hmm_cache *cache, struct hmm__cache_want *k)
{
	int r = 0;

	if (!(k->mode & HMM_CACHE_CREATE))
		r = read_page(cache, k);
	else if (cache->region->store)
		memset(k->data, 0, cache->page_size);
	if (!r && cache->extra)
		memset(k->data + cache->page_size, 0, cache->extra);
	return r;
}

/* The page is LOADING and ours: bring it in, pinned.  1: created. */
static int bring_in(struct hmm_cache *cache, struct hmm__call *call, uint64_t page, unsigned mode, void **ret_data)
{
	struct hmm__cache_want k = { .cache = cache, .call = call, .page = page, .mode = mode,
		                     .access = mode & HMM_CACHE_WRITE ? HMM_ACCESS_WRITE : HMM_ACCESS_READ };
	uint64_t w = HMM__MAPPED + HMM__PIN_ONE + (mode & HMM_CACHE_WRITE ? HMM__WRITER_ONE : 0);
	int r = hmm__cache_place(&k);

	if (!r) {
		r = fill(cache, &k);
		if (r)
			hmm__cache_unplace(&k);
	}
	if (r) {
		hmm__cache_leave(cache->region, page, HMM__ABSENT);
		return r;
	}
	*ret_data = k.data;
	hmm__cache_leave(cache->region, page, hmm__word_with_frame(w, k.frame));
	return mode & HMM_CACHE_CREATE ? 1 : 0;
}

/* What there is to be done with a page that is not there; -EAGAIN, -ENOENT: nothing. */
static int may_bring_in(const struct hmm_cache *cache, unsigned mode)
{
	if (mode & HMM_CACHE_RESIDENT)
		return -ENOENT;
	if (mode & HMM_CACHE_CREATE)
		return 0;
	if (!cache->region->store)
		return -ENOENT;
	return mode & HMM_CACHE_NOWAIT ? -EAGAIN : 0;
}

/* C14: let a flush have its turn.  *until: 0, or when we have waited for long enough, ns.  A fork need not wait for us. */
static void stand_back(struct hmm_cache *cache, struct hmm__call *call, hmm__word *word, uint64_t w, uint64_t *until)
{
	uint64_t now = hmm__now_ns();

	if (!*until)
		*until = now + (uint64_t)atomic_load(&cache->hold_ms) * 1000000;
	if (now >= *until)
		return;
	hmm__call_block(call);
	atomic_fetch_sub(&cache->space->inside, 1);
	hmm__page_wait_for(cache->region, word, w, HMM__MIN(*until - now, HMM__CACHE_NAP_NS));
	hmm__call_reenter(cache->space);
}

/* One look at the word.  HMM__AGAIN: it has changed, or *until has come. */
static int look(struct hmm_cache *cache, struct hmm__call *call, uint64_t page, unsigned mode, uint64_t *until, void **ret_data)
{
	hmm__word *word = &cache->words[page];
	uint64_t w;
	int r;

	switch (hmm__cache_pin(cache, page, mode, *until && hmm__now_ns() >= *until, &w)) {
	case HMM__PINNED:
		*ret_data = hmm__cache_enter(cache, w, mode);
		hmm__touch(cache->space, hmm__word_frame(w) | (mode & HMM_CACHE_WRITE ? HMM__TOUCH_WRITE : 0), true);
		return 0;
	case HMM__PIN_TOO_MANY:
		return -EOVERFLOW;
	default:
		break;
	}
	if (hmm__word_state(w) != HMM__ABSENT) {
		if (mode & HMM_CACHE_NOWAIT)
			return -EAGAIN;
		if (w & HMM__DUE && !(w & HMM__WRITEBACK))
			stand_back(cache, call, word, w, until);
		else
			hmm__page_wait(cache->region, word, w);
		return HMM__CACHE_AGAIN;
	}
	r = may_bring_in(cache, mode);
	if (r)
		return r;
	hmm__page_touched(cache->region, page);
	hmm__cache_reached(cache, page);
	if (!hmm__word_cas(word, &w, HMM__LOADING))
		return HMM__CACHE_AGAIN;
	return bring_in(cache, call, page, mode, ret_data);
}

int hmm__cache_load(struct hmm_cache *cache, uint64_t page, unsigned mode, void **ret_data)
{
	struct hmm__call call;
	uint64_t until = 0;
	int r;

	if (mode & HMM_CACHE_RESIDENT && hmm__word_state(atomic_load(&cache->words[page])) == HMM__ABSENT)
		return atomic_load_explicit(&cache->dead, memory_order_relaxed) ? -ENODEV : -ENOENT;
	r = hmm__call_begin_light(&call, cache->space);
	if (r)
		return r;
	do
		r = atomic_load_explicit(&cache->dead, memory_order_relaxed) ? -ENODEV
		                                                             : look(cache, &call, page, mode, &until, ret_data);
	while (r == HMM__CACHE_AGAIN);
	if (!(mode & HMM_CACHE_NOWAIT))
		hmm__reclaim_poke(cache->space);
	hmm__call_end(&call);
	return r;
}
