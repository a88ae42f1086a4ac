/* SPDX-License-Identifier: MIT */
/*
 * stats.c - the books, for those outside
 */
#include <errno.h>
#include <string.h>

#include "lib/base/arena.h"
#include "lib/vm/cache/cache.h"
#include "lib/vm/call.h"
#include "lib/vm/lineage.h"
#include "lib/vm/record.h"

static uint64_t table_bytes(struct hmm_region *region)
{
	uint64_t leaves = 0, page = hmm_page_size();

	for (uint64_t i = 0; i < region->ntouched_words; i++)
		leaves += (uint64_t)__builtin_popcountll(atomic_load(&region->touched[i]));
	return leaves * HMM__LEAF_PAGES * (sizeof(hmm__word) + (region->slots ? sizeof(uint32_t) : 0)) +
	       HMM__MIN(region->ntouched_words * 8, leaves * page);
}

/* The policy's tables are sparse and by frame number: what is touched of them goes with the frames ever used. */
static uint64_t policy_bytes(struct hmm_space *space)
{
	return hmm__policy_bytes(space->policy) * space->fresh_frame / space->numbers;
}

static uint64_t metadata_bytes(struct hmm_space *space)
{
	uint64_t bytes = sizeof(*space) + hmm__record_bytes(space);

	hmm__lock(&space->lock);
	bytes += space->fresh_frame * sizeof(struct hmm__frame) + policy_bytes(space);
	if (space->cached)
		bytes += space->fresh_frame * (sizeof(struct hmm__cached) + sizeof(hmm__spot) + sizeof(space->owners[0])) + hmm__cache_pool_bytes(space);
	hmm__unlock(&space->lock);

	hmm__spaces_enter();
	for (struct hmm_region *r = space->regions; r; r = r->next)
		bytes += sizeof(*r) + table_bytes(r);
	for (struct hmm_cache *c = space->caches; c; c = c->next)
		bytes += sizeof(*c) + sizeof(*c->region) + table_bytes(c->region);
	hmm__spaces_leave();
	for (unsigned e = 0; e < HMM__ENGINES; e++) {
		for (unsigned o = 0; o < HMM__ORDERS; o++)
			bytes += space->engines[e].pools[o].map.memory_size;
	}
	hmm__lock(&space->swap_lock);
	if (space->swap_slots)
		bytes += hmm__slots_bytes(space->swap_slots);
	hmm__unlock(&space->swap_lock);
	return bytes;
}

/* All stripes together. */
struct sum {
#define COUNTER(name) uint64_t name;
	HMM__COUNTERS(COUNTER)
#undef COUNTER
};

static void sum_up(struct hmm_space *space, struct sum *sum)
{
	for (unsigned i = 0; i < HMM__STRIPES; i++) {
		struct hmm__counters *c = &space->counts[i];

#define ADD(name) sum->name += atomic_load_explicit(&c->name, memory_order_relaxed);
		HMM__COUNTERS(ADD)
#undef ADD
	}
}

uint64_t hmm__counter_passes(struct hmm_space *space)
{
	uint64_t n = 0;

	for (unsigned i = 0; i < HMM__STRIPES; i++)
		n += atomic_load_explicit(&space->counts[i].passes, memory_order_relaxed);
	return n;
}

/* Threads take stripes in turn.  Initial-exec storage: a signal handler may touch it. */
unsigned hmm__stripe(void)
{
	static _Atomic unsigned next;
	static __thread unsigned mine; /* + 1; 0: none yet */

	if (HMM__UNLIKELY(!mine))
		mine = atomic_fetch_add(&next, 1) % HMM__STRIPES + 1;
	return mine - 1;
}

/* Under the lock. */
static void read_books(struct hmm_space *space, struct hmm_stats *s)
{
	s->frames = space->budget;
	s->held = space->held;
	s->peak_held = space->peak_held;
	s->resident = space->resident;
	s->available = space->available;
	s->laundry = space->laundry;
	s->pinned = space->held_back;
	s->free = hmm__frames_free(space);
	s->policy_errors = hmm__policy_errors(space->policy);
}

static void read_counters(struct hmm_space *space, struct hmm_stats *s)
{
	struct sum sum = { 0 }, *c = &sum;

	sum_up(space, c);

	s->dirty = atomic_load(&space->dirty) + hmm__cache_dirty_frames(space);
	s->faults_inline = c->faults_inline;
	s->faults_thread = c->faults_thread;
	s->faults = s->faults_inline + s->faults_thread;
	s->faults_read = c->faults_read;
	s->faults_write = c->faults_write;
	s->faults_protect = c->faults_protect;
	s->faults_stale = c->faults_stale;
	s->faults_failed = c->faults_failed;
	s->zero_fills = c->zero_fills;
	s->loads = c->loads;
	s->prefetches = c->prefetches;
	s->prefetch_hits = c->prefetch_hits;
	s->load_errors = c->load_errors;
	s->rescues = c->rescues;
	s->evictions = c->evictions;
	s->write_outs = c->write_outs;
	s->write_outs_wasted = c->write_outs_wasted;
	s->write_errors = c->write_errors;
	s->zero_drops = c->zero_drops;
	s->discards = c->discards;
	s->grants = c->grants;
	s->copies = c->copies;
	s->busy = c->busy;
	s->passes = c->passes;
	s->waits = c->waits;
	s->frame_waits = c->frame_waits;
	s->store_bytes_read = c->bytes_read;
	s->store_bytes_written = c->bytes_written;
	s->fault_ns = c->fault_ns;
	s->load_ns = c->load_ns;
	s->write_ns = c->write_ns;
	s->reclaim_ns = c->reclaim_ns;
	s->events_dropped = c->events_dropped;
	s->notices = c->notices;
	s->vetoes = c->vetoes;
	s->swapped_looks = c->swapped_looks;
	s->swapped = c->swapped;
}

int hmm_space_stats(struct hmm_space *space, struct hmm_stats *stats)
{
	struct hmm_stats s = { .size = sizeof(s) };
	struct hmm__call call;
	int r;

	if (!space || !stats)
		return -EINVAL;
	r = hmm__call_begin_space(&call, space);
	if (r)
		return r;
	hmm__lock(&space->lock);
	read_books(space, &s);
	hmm__unlock(&space->lock);
	read_counters(space, &s);
	hmm__lock(&space->swap_lock);
	hmm__lineage_reap(space);
	if (space->swap_slots)
		s.swap_bytes = hmm__slots_used(space->swap_slots) << HMM__PAGE_SHIFT_MIN;
	hmm__unlock(&space->swap_lock);
	s.metadata_bytes = metadata_bytes(space);
	hmm__record_stats(space, &s.recorded, &s.record_drops);
	s.engine = HMM_ENGINE_COPY;
	for (unsigned i = 0; i < 2; i++) {
		if (!space->engines[i].open)
			continue;
		s.deliveries |= 1u << i;
		if (space->engines[i].caps & HMM_BACKEND_GRANT)
			s.engine = HMM_ENGINE_MOVE;
	}
	hmm__call_end(&call);
	return hmm__stats_write(stats, &s, sizeof(s));
}
