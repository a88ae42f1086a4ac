/* SPDX-License-Identifier: MIT */
/*
 * slot.c - where pages of caches lie: extents of window slots, divided into page slots of one stride
 *
 * T1  An extent is a window slot of the pool's; it is on the list `partly` exactly while some of its page slots are free
 *     and some are not, or it is hidden: compaction empties it, under one hold of the lock.  One that becomes free goes
 *     back to the window, populated, for whoever wants it.
 * T2  Extents count as resident frames; page slots that are free in them are counted in free_packed (bytes).
 * T3  pool->frames says which frame number a page slot that is in use belongs to.
 */
#include <errno.h>

#include "lib/vm/cache/cache.h"

#define FILL_FRAMES 64u /* populated by one call, where extents are small: a whole group of the window */

static void link_extent(struct hmm__cache_pool *pool, uint32_t extent)
{
	struct hmm__extent *e = &pool->extents[extent];

	e->prev = HMM__NO_SLOT;
	e->next = pool->partly;
	if (e->next != HMM__NO_SLOT)
		pool->extents[e->next].prev = extent;
	pool->partly = extent;
}

static void unlink_extent(struct hmm__cache_pool *pool, uint32_t extent)
{
	struct hmm__extent *e = &pool->extents[extent];

	if (e->prev != HMM__NO_SLOT)
		pool->extents[e->prev].next = e->next;
	else
		pool->partly = e->next;
	if (e->next != HMM__NO_SLOT)
		pool->extents[e->next].prev = e->prev;
}

static uint64_t all_free(const struct hmm__cache_pool *pool)
{
	return UINT64_MAX >> (64 - pool->per);
}

static void count_free(struct hmm__cache_pool *pool, int64_t n)
{
	pool->nfree += (uint64_t)n;
	hmm__bump(&pool->window->engine->space->free_packed, (uint64_t)(n * (int64_t)pool->stride));
}

/* Under the lock: a populated window slot, taken by the caller, is an extent from now on. */
static void extent_begin(struct hmm__cache_pool *pool, uint32_t extent)
{
	struct hmm_space *space = pool->window->engine->space;

	pool->extents[extent].free = all_free(pool);
	link_extent(pool, extent);
	pool->nextents++;
	hmm__bump(&space->resident, pool->weight);
	count_free(pool, pool->per);
}

/* Under the lock: all its page slots are free, and it is not on the list. */
static void extent_end(struct hmm__cache_pool *pool, uint32_t extent)
{
	struct hmm_space *space = pool->window->engine->space;

	pool->nextents--;
	hmm__bump(&space->resident, -(uint64_t)pool->weight);
	count_free(pool, -(int64_t)pool->per);
	hmm__slot_put_populated(pool->window, extent);
}

void hmm__cache_extent_hide(struct hmm__cache_pool *pool, uint32_t extent)
{
	unlink_extent(pool, extent);
	pool->extents[extent].hidden = true;
}

void hmm__cache_extent_show(struct hmm__cache_pool *pool, uint32_t extent)
{
	pool->extents[extent].hidden = false;
	if (pool->extents[extent].free == all_free(pool))
		extent_end(pool, extent);
	else
		link_extent(pool, extent);
}

/* Under the lock: is there an extent with a free page slot now? */
static bool has_slot(struct hmm__cache_pool *pool)
{
	struct hmm_space *space = pool->window->engine->space;
	uint32_t extent;

	if (pool->partly != HMM__NO_SLOT)
		return true;
	if (hmm__frames_free(space) < pool->weight + space->reserve)
		return false;
	extent = hmm__slot_take_populated(pool->window);
	if (extent == HMM__NO_SLOT)
		return false;
	extent_begin(pool, extent);
	return true;
}

bool hmm__cache_slot_ready(struct hmm__cache_pool *pool)
{
	const struct hmm_space *space = pool->window->engine->space;

	return space->numbers_used < space->numbers && has_slot(pool);
}

bool hmm__cache_slot_take(struct hmm__cache_pool *pool, uint32_t frame, uint8_t **ret_data, uint32_t *ret_extent)
{
	struct hmm__extent *e;
	uint32_t extent, i;

	if (!has_slot(pool))
		return false;
	extent = pool->partly;
	e = &pool->extents[extent];
	i = (uint32_t)__builtin_ctzll(e->free);
	e->free &= e->free - 1;
	if (!e->free)
		unlink_extent(pool, extent);
	count_free(pool, -1);
	pool->frames[(size_t)extent * pool->per + i] = frame;
	*ret_data = hmm__slot_address(pool->window, extent) + (size_t)i * pool->stride;
	*ret_extent = extent;
	return true;
}

uint32_t hmm__cache_extent_of(const struct hmm__cache_pool *pool, const uint8_t *data)
{
	return (uint32_t)((size_t)(data - pool->window->base) >> pool->window->shift);
}

void hmm__cache_slot_put(struct hmm__cache_pool *pool, uint32_t extent, uint8_t *data)
{
	struct hmm__extent *e = &pool->extents[extent];
	uint32_t i = pool->per == 1 ? 0 : (uint32_t)(data - hmm__slot_address(pool->window, extent)) / pool->stride;

	assert(!(e->free >> i & 1));
	if (!e->free && !e->hidden)
		link_extent(pool, extent);
	e->free |= UINT64_C(1) << i;
	count_free(pool, 1);
	if (e->free == all_free(pool) && !e->hidden) {
		unlink_extent(pool, extent);
		extent_end(pool, extent);
	}
}

/* Under the lock: a run of empty window slots and the credits to populate it with.  Returns how many. */
static uint32_t take_empty(struct hmm__cache_pool *pool, uint32_t *ret_first)
{
	struct hmm_space *space = pool->window->engine->space;
	struct hmm__slotmap *map = &pool->window->map;
	uint32_t n = HMM__MAX(FILL_FRAMES / pool->weight, 1u);

	while (n && !hmm__credit_take_load(space, (uint64_t)n * pool->weight))
		n /= 2;
	if (!n)
		return 0;
	*ret_first = n > 1 ? hmm__slotmap_take_run(map, HMM__EMPTY, n) : HMM__NO_SLOT;
	if (*ret_first != HMM__NO_SLOT)
		return n;
	hmm__credit_put(space, (uint64_t)(n - 1) * pool->weight);
	*ret_first = hmm__slotmap_take(map, HMM__EMPTY);
	if (*ret_first == HMM__NO_SLOT)
		hmm__credit_put(space, pool->weight);
	return *ret_first != HMM__NO_SLOT;
}

static int populate(struct hmm__cache_pool *pool, uint32_t first, uint32_t n)
{
	struct hmm__pool *window = pool->window;
	struct hmm_space *space = window->engine->space;
	int r = window->engine->ops->fill(window->engine->backend, hmm__slot_address(window, first),
	                                  (size_t)n << window->shift);

	hmm__lock(&space->lock);
	for (uint32_t i = 0; i < n; i++) {
		if (r)
			hmm__slotmap_put(&window->map, HMM__EMPTY, first + i);
		else
			hmm__slot_put_populated(window, first + i);
	}
	if (r)
		hmm__credit_put(space, (uint64_t)n * pool->weight);
	hmm__unlock(&space->lock);
	return r ? -EAGAIN : 0;
}

int hmm__cache_extent_add(struct hmm__cache_pool *pool)
{
	struct hmm_space *space = pool->window->engine->space;
	uint32_t first, n = 0;
	bool ready, room;

	for (unsigned turn = 0; turn < 2; turn++) {
		hmm__lock(&space->lock);
		ready = hmm__cache_slot_ready(pool);
		room = !ready && hmm__may_load(space, pool->weight);
		n = room ? take_empty(pool, &first) : 0;
		hmm__unlock(&space->lock);
		if (ready)
			return 0;
		if (n)
			return populate(pool, first, n);
		/* what is free is behind slots of other windows */
		if (!room || hmm__slots_release(space, pool->weight) < pool->weight)
			break;
	}
	return -EAGAIN;
}
