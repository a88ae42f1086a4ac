/* SPDX-License-Identifier: MIT */
/*
 * fork.c - what a forked child has of caches (C13)
 *
 * Only the thread that forked runs, and no call of the library was under way, but for gets that wait for a frame: their
 * pages are LOADING, and nobody in the child will bring them in.  Pins of other threads stay, as those threads' memory does.
 */
#include "lib/vm/cache/cache.h"
#include "lib/vm/cache/hazard.h"

/* The words of its pages: absent, but those in nobody's hands any more are found by their frames too late. */
static void forget_words(struct hmm_cache *cache)
{
	for (uint64_t page = 0; (page = hmm__cache_next(cache, page)) < cache->npages; page++)
		atomic_store(&cache->words[page], HMM__ABSENT);
	atomic_store(&cache->resident, 0);
	atomic_store(&cache->dirty, 0);
	atomic_store(&cache->dead, 1);
}

/* Pages without a frame that a get was waiting to load. */
static void forget_loading(struct hmm_cache *cache)
{
	for (uint64_t page = 0; (page = hmm__cache_next(cache, page)) < cache->npages; page++) {
		if (hmm__word_state(atomic_load(&cache->words[page])) == HMM__LOADING)
			atomic_store(&cache->words[page], HMM__ABSENT);
	}
}

static void forget_extents(struct hmm__cache_pool *pool)
{
	uint32_t nslots = pool->window->map.nslots;

	for (uint32_t i = 0; pool->nextents && i < nslots; i++)
		pool->extents[i].free = 0;
	pool->partly = HMM__NO_SLOT;
	pool->nextents = 0;
	pool->nfree = 0;
}

static bool copied(const struct hmm__engine *engine)
{
	return engine == &engine->space->engines[HMM__CACHES_COPIED];
}

static void forget_frames(struct hmm_space *space)
{
	for (uint32_t i = 0; i < space->fresh_frame; i++) {
		struct hmm__frame *f = &space->frames[i];

		if (!f->region || !f->region->cache || hmm__cache_lives_on(f->region->cache))
			continue;
		hmm__policy_removed(space->policy, i, hmm__page_id(f->region, f->page), HMM_REMOVED_UNMAPPED);
		space->owners[i] = 0;
		hmm__frame_put(space, i);
	}
}

static uint64_t free_frames(const struct hmm__engine *engine)
{
	uint64_t n = 0;

	for (unsigned o = 0; o < HMM__ORDERS; o++) {
		const struct hmm__pool *pool = &engine->pools[o];

		if (pool->base)
			n += (uint64_t)hmm__slotmap_count(&pool->map, HMM__POPULATED) * pool->weight;
	}
	return n;
}

struct hmm__cache_kept hmm__cache_forked(struct hmm_space *space)
{
	struct hmm__cache_kept kept = { .free = free_frames(&space->engines[HMM__CACHES_COPIED]) };
	bool waited = atomic_load(&space->frame_waiters) != 0;

	forget_frames(space);
	space->free_packed = 0;
	for (struct hmm_cache *c = space->caches; c; c = c->next) {
		hmm__pins_forked(c);
		if (!hmm__cache_lives_on(c))
			forget_words(c);
		else if (waited)
			forget_loading(c);
	}
	for (struct hmm__cache_pool *p = space->cache_pools; p; p = p->next) {
		if (!copied(p->window->engine)) {
			forget_extents(p);
			continue;
		}
		kept.resident += (uint64_t)p->nextents * p->weight;
		space->free_packed += p->nfree * p->stride;
	}
	hmm__hazards_forked();
	atomic_store(&space->frame_waiters, 0);
	return kept;
}
