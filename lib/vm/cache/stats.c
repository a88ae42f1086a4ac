/* SPDX-License-Identifier: MIT */
/*
 * stats.c - a cache's books, for those outside, and what a fork leaves of them
 */
#include <errno.h>
#include <string.h>

#include "lib/vm/cache/hazard.h"
#include "lib/vm/call.h"

static uint64_t count_pinned(const struct hmm_cache *cache)
{
	uint64_t n = hmm__hazard_count(cache->words, cache->npages);

	for (uint64_t page = 0; (page = hmm__cache_next(cache, page)) < cache->npages; page++)
		n += hmm__word_pins(atomic_load_explicit(&cache->words[page], memory_order_relaxed)) != 0;
	return n;
}

static uint64_t get(const _Atomic uint64_t *counter)
{
	return atomic_load_explicit(counter, memory_order_relaxed);
}

int hmm_cache_stats(struct hmm_cache *cache, struct hmm_cache_stats *stats)
{
	struct hmm_cache_stats s = { .size = sizeof(s) };
	struct hmm__call call;
	int r;

	if (!cache || !stats)
		return -EINVAL;
	if (atomic_load(&cache->dead))
		return -ENODEV;
	r = hmm__call_begin_space(&call, cache->space);
	if (r)
		return r;
	hmm__lock(&cache->space->lock);
	hmm__cache_touch_flush(cache->space);
	hmm__unlock(&cache->space->lock);
	s.resident = get(&cache->resident);
	s.pinned = count_pinned(cache);
	s.dirty = get(&cache->dirty);
	s.hits = get(&cache->hits);
	s.misses = get(&cache->misses);
	s.reads = get(&cache->reads);
	s.writes = get(&cache->writes);
	s.write_errors = get(&cache->write_errors);
	s.evictions = get(&cache->evictions);
	s.log_waits = get(&cache->log_waits);
	s.frame_bytes = ((uint64_t)cache->pool->weight << HMM__PAGE_SHIFT_MIN) / cache->pool->per;
	hmm__call_end(&call);
	return hmm__stats_write(stats, &s, sizeof(s));
}

size_t hmm_cache_page_size(const struct hmm_cache *cache)
{
	return cache->page_size;
}

struct hmm_space *hmm_cache_space(const struct hmm_cache *cache)
{
	return cache->space;
}

/* For the space's statistics. */
uint64_t hmm__cache_dirty_frames(struct hmm_space *space)
{
	uint64_t bytes = 0;

	hmm__spaces_enter();
	for (struct hmm_cache *c = space->caches; c; c = c->next)
		bytes += get(&c->dirty) * c->pool->stride;
	hmm__spaces_leave();
	return bytes >> HMM__PAGE_SHIFT_MIN;
}
