/* SPDX-License-Identifier: MIT */
/*
 * compact.c - whole frames out of page slots that are free here and there (C8)
 *
 * The extent with the most free page slots gives its pages to others of its pool, one extent for each hold of the lock.
 * A page is copied while its word is LOADING, so nobody has it pinned and who wants it waits; an optimistic reader
 * finds the version changed before its slot has other contents.  A page that must not move is evicted instead (C12).
 */
#include <string.h>

#include "lib/base/futex.h"
#include "lib/vm/cache/cache.h"

#define LOOKS 64u /* extents of the list that are compared */

/* Of the first few on the list that were not tried; HMM__NO_SLOT: the others have no room for its pages. */
static uint32_t emptiest(const struct hmm__cache_pool *pool)
{
	uint32_t best = HMM__NO_SLOT, looks = 0;
	int most = 0;

	if (pool->nfree < pool->per)
		return HMM__NO_SLOT;
	for (uint32_t e = pool->partly; e != HMM__NO_SLOT && looks < LOOKS; e = pool->extents[e].next) {
		int n = __builtin_popcountll(pool->extents[e].free);

		if (pool->extents[e].tried == pool->round)
			continue;
		looks++;
		if (n > most) {
			best = e;
			most = n;
		}
	}
	return best;
}

static bool stable(const struct hmm_region *region)
{
	return region->cache->flags & HMM_CACHE_STABLE;
}

/* Under the lock: could the page leave its slot now, as far as its word tells? */
static bool may_leave(const struct hmm__frame *f, uint64_t w)
{
	if (hmm__word_state(w) != HMM__MAPPED || w & (HMM__PIN_MASK | HMM__WRITEBACK))
		return false;
	return !stable(f->region) || !(w & HMM__DIRTY) || w & HMM__FREE;
}

/* Under the lock: can all of its pages leave, as far as can be told before? */
static bool movable(struct hmm_space *space, struct hmm__cache_pool *pool, uint32_t extent)
{
	for (uint32_t i = 0; i < pool->per; i++) {
		struct hmm__frame *f;

		if (pool->extents[extent].free >> i & 1)
			continue;
		f = &space->frames[pool->frames[(size_t)extent * pool->per + i]];
		if (!may_leave(f, atomic_load(&f->region->words[f->page])))
			return false;
	}
	return true;
}

/* Under the lock: one page to a slot of another extent, or out. */
static bool empty_slot(struct hmm_space *space, struct hmm__cache_pool *pool, uint32_t extent, uint32_t i)
{
	uint32_t number = pool->frames[(size_t)extent * pool->per + i], to;
	struct hmm__frame *f = &space->frames[number];
	hmm__word *word = &f->region->words[f->page];
	uint64_t w = atomic_load(word);
	uint8_t *from = hmm__slot_address(pool->window, extent) + (size_t)i * pool->stride, *data;

	if (!may_leave(f, w) || hmm__cache_close(f->region, f->page, &w) != HMM__CLOSED)
		return false;
	if (stable(f->region)) {
		hmm__cache_gone(f->region->cache, f->page, w, true, HMM_REMOVED_UNMAPPED);
		return true;
	}
	/* a fresh extent would help nobody */
	if (pool->partly == HMM__NO_SLOT || !hmm__cache_slot_take(pool, number, &data, &to)) {
		hmm__cache_leave(f->region, f->page, w);
		return false;
	}
	memcpy(data, from, pool->stride);
	hmm__cache_set_spot(space, number, pool, data);
	hmm__cache_slot_put(pool, extent, from);
	hmm__cache_leave(f->region, f->page, w);
	return true;
}

/* Under the lock.  The extent is off the list meanwhile, so that none of its own slots is taken. */
static bool empty_extent(struct hmm_space *space, struct hmm__cache_pool *pool, uint32_t extent)
{
	struct hmm__extent *e = &pool->extents[extent];
	uint64_t used = ~e->free & (UINT64_MAX >> (64 - pool->per));
	bool all = true;

	hmm__cache_extent_hide(pool, extent);
	for (; used && all; used &= used - 1)
		all = empty_slot(space, pool, extent, (uint32_t)__builtin_ctzll(used));
	hmm__cache_extent_show(pool, extent);
	return all;
}

static uint64_t compact_pool(struct hmm_space *space, struct hmm__cache_pool *pool, uint64_t want)
{
	uint64_t got = 0;

	pool->round++;
	while (got < want && pool->per > 1) {
		uint32_t extent = emptiest(pool);

		if (extent == HMM__NO_SLOT)
			break;
		pool->extents[extent].tried = pool->round;
		if (movable(space, pool, extent) && empty_extent(space, pool, extent))
			got += pool->weight;
		/* let others have the lock between two extents */
		hmm__unlock(&space->lock);
		hmm__lock(&space->lock);
	}
	return got;
}

/* Under the lock: a user more, so that it stays; NULL is accepted. */
static struct hmm__cache_pool *hold(struct hmm__cache_pool *pool)
{
	if (pool)
		pool->users++;
	return pool;
}

bool hmm__cache_stuck(struct hmm_space *space)
{
	bool stuck = false;

	hmm__lock(&space->lock);
	for (struct hmm__cache_pool *pool = space->cache_pools; pool; pool = pool->next)
		stuck = stuck || (pool->per > 1 && pool->nfree >= pool->per && !pool->unmovable);
	hmm__unlock(&space->lock);
	return stuck;
}

uint64_t hmm__cache_compact(struct hmm_space *space, uint64_t want)
{
	struct hmm__cache_pool *pool, *next;
	uint64_t got = 0;

	if (!hmm__peek(&space->free_packed))
		return 0;
	hmm__lock(&space->lock);
	pool = hold(space->cache_pools);
	while (pool) {
		if (got < want)
			got += compact_pool(space, pool, want - got);
		next = hold(pool->next);
		hmm__unlock(&space->lock);
		hmm__cache_pool_close(space, pool);
		pool = next;
		hmm__lock(&space->lock);
	}
	hmm__unlock(&space->lock);
	if (got)
		hmm__frames_changed(space);
	return got;
}
