/* SPDX-License-Identifier: MIT */
/*
 * prefetch.c - pages of a list, before they are asked for
 *
 * A batch of absent pages is claimed in the order of their numbers, each gets its frame as a miss would, and all are read
 * in one call: as many as are free, and a quarter of the budget by evicting clean pages.  Claims are made without waiting for anything, so two lists that overlap can't block each other.
 */
#include <errno.h>
#include <string.h>

#include "lib/store/store.h"
#include "lib/vm/cache/cache.h"
#include "lib/vm/call.h"

#define BATCH 64u

/* The next pages in order, without repetition: the least ones from `from` on.  Lists are short: BATCH passes over it. */
static unsigned pick(const struct hmm_cache *cache, const uint64_t *pages, unsigned n, uint64_t from, uint64_t *out)
{
	unsigned count = 0;

	for (unsigned i = 0; i < n; i++) {
		uint64_t page = pages[i];
		unsigned k = count;

		if (page < from || page >= cache->npages || (count == BATCH && page >= out[BATCH - 1]))
			continue;
		while (k > 0 && out[k - 1] > page)
			k--;
		if (k > 0 && out[k - 1] == page)
			continue;
		count -= count == BATCH;
		memmove(&out[k + 1], &out[k], (count - k) * sizeof(out[0]));
		out[k] = page;
		count++;
	}
	return count;
}

/* Claim an absent page and give it a frame.  1: it is there, or somebody brings it. */
static int claim(struct hmm__cache_want *k)
{
	struct hmm_cache *cache = k->cache;
	hmm__word *word = &cache->words[k->page];
	uint64_t w = atomic_load(word);
	int r;

	if (hmm__word_state(w) != HMM__ABSENT)
		return 1;
	hmm__page_touched(cache->region, k->page);
	hmm__cache_reached(cache, k->page);
	if (!hmm__word_cas(word, &w, HMM__LOADING))
		return 1;
	r = hmm__cache_place(k);
	if (r)
		hmm__cache_leave(cache->region, k->page, HMM__ABSENT);
	return r;
}

static void finish(struct hmm_cache *cache, struct hmm__cache_want *k, int error)
{
	uint64_t w = HMM__MAPPED | HMM__AHEAD;

	if (error) {
		hmm__cache_unplace(k);
		hmm__cache_leave(cache->region, k->page, HMM__ABSENT);
		return;
	}
	if (cache->extra)
		memset(k->data + cache->page_size, 0, cache->extra);
	hmm__cache_leave(cache->region, k->page, hmm__word_with_frame(w, k->frame));
}

/* Pages that one call reads at most: those that were read first shall still be there when it returns. */
static uint64_t room(const struct hmm_cache *cache)
{
	struct hmm_space *space = cache->space;
	uint64_t frames;

	hmm__lock(&space->lock);
	frames = hmm__frames_free(space) + space->budget / 4;
	frames += (space->free_packed >> HMM__PAGE_SHIFT_MIN);
	hmm__unlock(&space->lock);
	return (frames << HMM__PAGE_SHIFT_MIN) / cache->pool->stride;
}

/* Returns how many were read; *full: no more frames can be had.  *error: of the store. */
static unsigned load(struct hmm_cache *cache, struct hmm__call *call, const uint64_t *pages, unsigned n, unsigned mode, bool *full, int *error)
{
	struct hmm_space *space = cache->space;
	struct hmm__cache_want wants[BATCH];
	struct hmm_store_vec vecs[BATCH];
	unsigned count = 0, read = 0;

	for (unsigned i = 0; i < n && !*full; i++) {
		struct hmm__cache_want *k = &wants[count];
		int r;

		*k = (struct hmm__cache_want){ .cache = cache, .call = call, .page = pages[i],
			                       .access = HMM_ACCESS_PREFETCH,
			                       .mode = (mode & ~0xffu) | HMM_CACHE_NOWAIT };
		r = claim(k);
		*full = r < 0;
		if (r)
			continue;
		vecs[count++] = (struct hmm_store_vec){ .offset = cache->region->offset + k->page * cache->page_size,
			                                .data = k->data, .length = cache->page_size };
	}
	if (count)
		hmm__store_read(cache->region->store, vecs, count);
	for (unsigned i = 0; i < count; i++) {
		finish(cache, &wants[i], vecs[i].error);
		read += !vecs[i].error;
		if (vecs[i].error && vecs[i].error != -ENXIO && !*error)
			*error = vecs[i].error;
	}
	HMM__COUNT(space, prefetches, read);
	HMM__COUNT(space, bytes_read, read * cache->page_size);
	return read;
}

int64_t hmm_cache_prefetch(struct hmm_cache *cache, const uint64_t *pages, unsigned n, unsigned mode)
{
	uint64_t batch[BATCH + 1], from = 0, most;
	struct hmm__call call;
	bool full = false;
	int64_t total = 0;
	int error = 0;
	unsigned count;

	if (!cache || (n && !pages) || mode & 0xff)
		return -EINVAL;
	if (!cache->region->store)
		return 0;
	error = hmm__call_begin_space(&call, cache->space);
	if (error)
		return error;
	if (atomic_load(&cache->dead)) {
		hmm__call_end(&call);
		return -ENODEV;
	}
	for (most = room(cache); !full && most && (count = pick(cache, pages, n, from, batch)); most -= count) {
		count = (unsigned)HMM__MIN(count, most);
		total += load(cache, &call, batch, count, mode, &full, &error);
		from = batch[count - 1] + 1;
	}
	hmm__call_end(&call);
	return total ? total : error;
}
