/* SPDX-License-Identifier: MIT */
/*
 * pool.c - the slots of one stride: which extents suit it, and who shares them
 */
#include <errno.h>

#include "lib/base/arena.h"
#include "lib/vm/cache/cache.h"

#define EXTENT_SHIFT_MAX 19 /* 512 KiB */
#define SLOTS_MOST 64u      /* page slots an extent: one word */
#define LEAST_GAIN 128u     /* a larger extent must save so much of itself: 1/128 */

static uint32_t frames_of(unsigned shift)
{
	return 1u << (shift - HMM__PAGE_SHIFT_MIN);
}

/* The smallest extent that loses little.  0: none fits the budget. */
static unsigned choose_shift(uint32_t stride, uint64_t budget)
{
	uint64_t best_lost = UINT64_MAX;
	unsigned best = 0;

	for (unsigned shift = HMM__PAGE_SHIFT_MIN; shift <= EXTENT_SHIFT_MAX; shift++) {
		uint64_t size = UINT64_C(1) << shift, per = HMM__MIN(size / stride, (uint64_t)SLOTS_MOST), lost;

		if (!per)
			continue;
		/* the first that holds a page may be a little larger than the others */
		if (frames_of(shift) > (best ? budget / 8 : budget / 4))
			break;
		lost = ((size - per * stride) << 20) >> shift; /* of a million */
		if (!best || lost + (1u << 20) / LEAST_GAIN < best_lost) {
			best = shift;
			best_lost = lost;
		}
	}
	return best;
}

static void free_pool(struct hmm__cache_pool *pool)
{
	uint32_t nslots = pool->window ? pool->window->map.nslots : 0;

	if (pool->extents)
		hmm__sparse_free(pool->extents, nslots * sizeof(pool->extents[0]));
	if (pool->frames)
		hmm__sparse_free(pool->frames, (size_t)nslots * pool->per * sizeof(pool->frames[0]));
	hmm__free(pool, sizeof(*pool));
}

static int make_pool(struct hmm_space *space, uint32_t engine_number, uint32_t stride, struct hmm__cache_pool **ret_pool)
{
	unsigned shift = choose_shift(stride, hmm__peek(&space->budget));
	struct hmm__cache_pool *pool = shift ? hmm__alloc(sizeof(*pool)) : NULL;
	struct hmm__engine *engine;
	int r;

	if (!shift)
		return -EINVAL;
	if (!pool)
		return -ENOMEM;
	pool->stride = stride;
	pool->per = (uint32_t)HMM__MIN((1u << shift) / stride, SLOTS_MOST);
	pool->weight = frames_of(shift);
	pool->unit = (uint32_t)__builtin_ctz(stride);
	pool->partly = HMM__NO_SLOT;
	r = hmm__engine_open(space, engine_number, &engine);
	if (!r)
		r = hmm__pool_open(engine, shift, &pool->window);
	if (!r) {
		uint32_t nslots = pool->window->map.nslots;

		/* places are 32 bits: 256 GiB, where pages have odd sizes */
		if ((uint64_t)nslots << shift >> pool->unit > UINT32_MAX)
			r = -EINVAL;
		pool->extents = hmm__sparse_alloc(nslots * sizeof(pool->extents[0]));
		pool->frames = hmm__sparse_alloc((size_t)nslots * pool->per * sizeof(pool->frames[0]));
		r = r ? r : pool->extents && pool->frames ? 0 : -ENOMEM;
	}
	if (r)
		free_pool(pool);
	else
		*ret_pool = pool;
	return r;
}

/* Under the lock: one with this stride, with one user more. */
static struct hmm__cache_pool *find_pool(struct hmm_space *space, uint32_t engine_number, uint32_t stride)
{
	struct hmm__cache_pool *pool = space->cache_pools;

	while (pool && (pool->stride != stride || pool->window->engine != &space->engines[engine_number]))
		pool = pool->next;
	if (pool)
		pool->users++;
	return pool;
}

int hmm__cache_pool_open(struct hmm_space *space, uint32_t engine_number, uint32_t stride,
                         struct hmm__cache_pool **ret_pool)
{
	struct hmm__cache_pool *fresh, *pool;
	int r;

	hmm__lock(&space->lock);
	pool = find_pool(space, engine_number, stride);
	hmm__unlock(&space->lock);
	if (!pool) {
		r = make_pool(space, engine_number, stride, &fresh);
		if (r)
			return r;
		hmm__lock(&space->lock);
		pool = find_pool(space, engine_number, stride); /* another thread may have been first */
		if (!pool) {
			pool = fresh;
			fresh = NULL;
			pool->users = 1;
			pool->next = space->cache_pools;
			space->cache_pools = pool;
			/* victims are asked for one by one where pages are larger than frames */
			space->largest = HMM__MAX(space->largest, stride >> HMM__PAGE_SHIFT_MIN);
			hmm__space_policy_size(space);
		}
		hmm__unlock(&space->lock);
		if (fresh)
			free_pool(fresh);
	}
	*ret_pool = pool;
	return 0;
}

void hmm__cache_pool_close(struct hmm_space *space, struct hmm__cache_pool *pool)
{
	struct hmm__cache_pool **link;
	bool last;

	hmm__lock(&space->lock);
	last = --pool->users == 0;
	if (last) {
		for (link = &space->cache_pools; *link != pool; link = &(*link)->next)
			;
		*link = pool->next;
		assert(!pool->nextents);
		hmm__space_policy_size(space);
	}
	hmm__unlock(&space->lock);
	if (last)
		free_pool(pool);
}

/* Under the lock, for statistics: what is touched of the tables, about. */
uint64_t hmm__cache_pool_bytes(const struct hmm_space *space)
{
	uint64_t bytes = 0;

	for (const struct hmm__cache_pool *pool = space->cache_pools; pool; pool = pool->next)
		bytes += sizeof(*pool) + pool->nextents * (sizeof(pool->extents[0]) + pool->per * sizeof(pool->frames[0]));
	return bytes;
}
