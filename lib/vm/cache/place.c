/* SPDX-License-Identifier: MIT */
/*
 * place.c - a frame number and a page slot for a page that is about to come in
 *
 * A miss holds the space's lock once, as a rule: in it the policy hears of the miss, names a victim where no page slot is
 * free, and hears of the page that takes the place (M1).  What takes longer - populating a window slot, writing victims,
 * compaction, waiting for a pin to go - is done without it, and then it is tried again.
 *
 * M1  miss, choose, evicted and placed come in this order and, if the first victim is clean, in one hold: so a single
 *     thread's pages are those that the simulator says.  Victims are written in batches.
 * M2  The version changes once more after the frame got its slot and before the page is MAPPED (C6): a reader that saw the
 *     version from before may have seen the slot from before, too.
 * M3  Frames of regions' pages that were evicted come back by the available list, dirty ones always, once they are written.
 *     Who needs a frame gives up pages of that list: the policy has named them, and will not name them again.
 * M4  wait_ms is for pins and for stores that refuse.  While pages that nobody has pinned are on their way in or out it
 *     does not run, and it begins anew whenever something came free; but in all a get waits PATIENCE times as long at most.
 */
#include <errno.h>

#include "lib/base/clock.h"
#include "lib/base/futex.h"
#include "lib/vm/cache/touch.h"
#include "lib/vm/call.h"
#include "lib/vm/record.h"

#define PATIENCE 120u

/* When a get gives up, ns; 0: not known yet. */
struct patience {
	uint64_t until; /* while there is nothing to hope for */
	uint64_t end;   /* whatever there is */
};

static struct hmm_placement placement_of(const struct hmm__cache_want *k)
{
	return (struct hmm_placement){
		.size = sizeof(struct hmm_placement),
		.region = k->cache->region->id,
		.access = k->access,
		.page_class = k->mode >> 8 & 0xff,
		.stream = k->mode >> 16,
	};
}

static void announce(struct hmm__cache_want *k)
{
	struct hmm_region *region = k->cache->region;

	if (k->told)
		return;
	k->told = true;
	hmm__record_access(region, k->page, k->access == HMM_ACCESS_WRITE);
	hmm__policy_miss(k->cache->space->policy, hmm__page_id(region, k->page), k->access);
}

/* Under the lock, with a page slot to be had: the page gets it. */
static void settle(struct hmm__cache_want *k)
{
	struct hmm_cache *cache = k->cache;
	struct hmm_space *space = cache->space;
	struct hmm_placement placement = placement_of(k);
	struct hmm__cached *c;
	uint32_t extent;
	bool taken;

	announce(k);
	k->frame = hmm__frame_take(space, cache->region, k->page);
	space->owners[k->frame] = cache->number;
	taken = hmm__cache_slot_take(cache->pool, k->frame, &k->data, &extent);
	assert(taken);
	(void)taken;
	c = hmm__cached(space, k->frame);
	atomic_store_explicit(&c->first, UINT64_MAX, memory_order_relaxed);
	atomic_store_explicit(&c->last, 0, memory_order_relaxed);
	hmm__cache_set_spot(space, k->frame, cache->pool, k->data); /* M2 */
	hmm__cache_count(&cache->resident, 1);
	hmm__cache_count(&cache->misses, k->access != HMM_ACCESS_PREFETCH);
	hmm__cache_count(&cache->reads, !(k->mode & HMM_CACHE_CREATE));
	hmm__policy_placed(space->policy, k->frame, hmm__page_id(cache->region, k->page), &placement);
}

/* Under the lock: victims until a page slot of ours is free; those that must be written or unmapped are in the batch. */
static bool evict_some(struct hmm__cache_want *k, struct hmm__batch *b)
{
	struct hmm_space *space = k->cache->space;
	struct hmm__cache_pool *pool = k->cache->pool;

	announce(k);
	for (uint32_t tries = HMM__MAX(space->batch, 1u); tries; tries--) {
		uint32_t victim;

		if (!hmm__policy_choose(space->policy, 1, &victim, 68))
			break;
		hmm__take_victim(space, b, victim);
		if (hmm__cache_slot_ready(pool))
			return true;
	}
	return false;
}

/* Frames that are missing before hmm__may_load() says yes. */
static uint64_t missing(const struct hmm__cache_want *k)
{
	const struct hmm_space *space = k->cache->space;
	uint64_t want = k->cache->pool->weight + space->reserve + space->exchange, have = hmm__frames_free(space);

	return want > have ? want - have : 0;
}

/* What evict_some() left to be done without the lock.  Returns whether frames or page slots came free. */
static bool finish_batch(struct hmm_space *space, struct hmm__batch *b)
{
	int64_t pages = hmm__cache_evict_dirty(space, b), frames = hmm__evict(space, b, false);

	hmm__lock(&space->lock);
	hmm__batch_put(space, b);
	hmm__unlock(&space->lock);
	if (pages > 0 || frames > 0)
		hmm__frames_changed(space);
	return pages > 0 || frames > 0;
}

/* M3 */
static bool trim(struct hmm__cache_want *k)
{
	struct hmm_space *space = k->cache->space;
	uint64_t freed = 0;

	if (!hmm__peek(&space->available))
		return false;
	hmm__lock(&space->lock);
	if (missing(k))
		freed = hmm__reclaim_trim(space, missing(k));
	hmm__unlock(&space->lock);
	if (freed)
		hmm__frames_changed(space);
	return freed > 0;
}

enum found { FOUND, ROOM, PROGRESS, NOTHING };

/* One try.  ROOM: frames are free, and a window slot must be populated with them. */
static enum found try_once(struct hmm__cache_want *k, bool no_room)
{
	struct hmm_cache *cache = k->cache;
	struct hmm_space *space = cache->space;
	struct hmm__batch *b = NULL;
	enum found found = FOUND;

	hmm__lock(&space->lock);
	hmm__cache_touch_flush(space);
	if (!hmm__cache_slot_ready(cache->pool)) {
		if (!no_room && hmm__may_load(space, cache->pool->weight)) {
			hmm__unlock(&space->lock);
			return ROOM;
		}
		b = k->mode & HMM_CACHE_NOWAIT ? NULL : hmm__batch_get(space);
		found = evict_some(k, b) ? FOUND : NOTHING;
	}
	if (found == FOUND)
		settle(k);
	if (b && !b->n) {
		hmm__batch_put(space, b);
		b = NULL;
	}
	hmm__unlock(&space->lock);
	if (b) {
		hmm__call_block(k->call);
		if (finish_batch(space, b) && found != FOUND)
			found = PROGRESS;
	}
	if (found == NOTHING && trim(k))
		found = PROGRESS;
	return found;
}

/* Everything that may make room when the policy's victims did not. */
static bool search(struct hmm__cache_want *k)
{
	struct hmm_space *space = k->cache->space;
	bool wait = !(k->mode & HMM_CACHE_NOWAIT);

	if (hmm__cache_compact(space, k->cache->pool->weight) || hmm__cache_sweep(space, wait))
		return true;
	/* a pass also has another try at what stores refused */
	return wait && atomic_load(&space->nregions) && hmm__reclaim(space, k->cache->pool->weight) > 0;
}

/* Is there room after all?  Frames that regions have parked for their transfers count. */
static bool ready(struct hmm__cache_want *k)
{
	struct hmm_space *space = k->cache->space;
	bool yes;

	hmm__bounce_flush(space);
	hmm__lock(&space->lock);
	yes = hmm__cache_slot_ready(k->cache->pool) || hmm__may_load(space, k->cache->pool->weight);
	hmm__unlock(&space->lock);
	return yes;
}

/* How long to sleep, ns; 0: no longer (M4). */
static uint64_t nap_of(const struct hmm__cache_want *k, struct patience *p)
{
	uint64_t now = hmm__now_ns(), wait = (uint64_t)k->cache->wait_ms * 1000000;

	if (!p->end)
		p->end = now + PATIENCE * wait;
	if (hmm__cache_prospect(k->cache->space) == HMM__PROSPECT_BUSY)
		p->until = 0;
	else if (!p->until)
		p->until = now + wait;
	if (now >= p->end || (p->until && now >= p->until))
		return 0;
	return HMM__MIN((p->until ? p->until : p->end) - now, HMM__CACHE_NAP_NS);
}

/* Nothing could go.  0: try again, after a nap or at once; else why there is no use in it. */
static int wait_for_frames(struct hmm__cache_want *k, struct patience *p)
{
	struct hmm_space *space = k->cache->space;
	uint32_t seq;
	int r = 0;

	if (k->mode & HMM_CACHE_NOWAIT)
		return hmm__cache_prospect(space) == HMM__PROSPECT_NONE ? -ENOBUFS : -EAGAIN;
	atomic_fetch_add(&space->frame_waiters, 1);
	seq = atomic_load(&space->frame_seq);
	if (!search(k) && !ready(k)) { /* a pin that goes from here on sees that somebody waits */
		uint64_t nap = nap_of(k, p);

		r = nap ? 0 : -ENOBUFS;
		if (nap) {
			HMM__COUNT(space, frame_waits, 1);
			atomic_fetch_sub(&space->inside, 1); /* a fork need not wait for us: the page is LOADING, without a frame */
			hmm__futex_wait(&space->frame_seq, seq, nap);
			hmm__call_reenter(space);
		}
	}
	atomic_fetch_sub(&space->frame_waiters, 1);
	return r;
}

int hmm__cache_place(struct hmm__cache_want *k)
{
	struct hmm_cache *cache = k->cache;
	struct patience patience = { 0 };
	bool no_room = false;

	k->told = false;
	for (;;) {
		enum found found = try_once(k, no_room);
		int r;

		if (found == FOUND)
			return 0;
		hmm__call_block(k->call);
		if (found == ROOM) {
			no_room = hmm__cache_extent_add(cache->pool) != 0;
			continue;
		}
		no_room = false;
		if (found == PROGRESS || search(k)) {
			patience.until = 0;
			continue;
		}
		r = wait_for_frames(k, &patience);
		if (r)
			return r;
	}
}

/* The page could not be read: its frame goes back. */
void hmm__cache_unplace(struct hmm__cache_want *k)
{
	struct hmm_space *space = k->cache->space;

	hmm__lock(&space->lock);
	hmm__cache_forget(k->cache, k->page, k->frame, false, HMM_REMOVED_FAILED);
	hmm__cache_count(&k->cache->misses, k->access != HMM_ACCESS_PREFETCH ? -UINT64_C(1) : 0);
	hmm__cache_count(&k->cache->reads, k->mode & HMM_CACHE_CREATE ? 0 : -UINT64_C(1));
	hmm__unlock(&space->lock);
	if (atomic_load(&space->frame_waiters))
		hmm__frames_changed(space);
}
