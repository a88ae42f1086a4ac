/* SPDX-License-Identifier: MIT */
/*
 * budget.c - when has a cache enough changed pages?
 *
 * SQLite asks for a page in two steps: "if it is easy", and if it is not, it writes a changed page and then asks "at any
 * price".  Easy is what leaves something unpinned: 17 twentieths of the budget may be pinned (in SQLite's own cache: 18), and
 * of several caches none may pin more than half of the budget and its share of the rest.
 */
#include "pcache.h"

void hmm__sqlite_look(void)
{
	struct hmm_stats s = { .size = sizeof(s) };

	if (hmm_space_stats(hmm__sqlite.space, &s) == 0)
		atomic_store_explicit(&hmm__sqlite.budget, s.frames * hmm_page_size(), memory_order_relaxed);
}

void hmm__sqlite_count(struct pcache *c, unsigned npages)
{
	int64_t change = (int64_t)npages - (int64_t)c->npages;

	atomic_fetch_add_explicit(&hmm__sqlite.placed_bytes, change * (int64_t)c->frame_bytes, memory_order_relaxed);
	c->npages = npages;
}

void hmm__sqlite_publish(struct pcache *c)
{
	int64_t change = (int64_t)c->held - (int64_t)c->published;

	if (!change)
		return;
	atomic_fetch_add_explicit(&hmm__sqlite.pinned_bytes, change * (int64_t)c->frame_bytes, memory_order_relaxed);
	c->published = c->held;
}

#define LOOK_EVERY 4096u /* pages that caches get: it takes some 0.1 ms */

/* Are pages evicted for those that come? */
static bool tight(void)
{
	uint64_t budget = atomic_load_explicit(&hmm__sqlite.budget, memory_order_relaxed);

	return atomic_load_explicit(&hmm__sqlite.placed_bytes, memory_order_relaxed) > (int64_t)(budget / 16 * 15);
}

void hmm__sqlite_miss(struct pcache *c)
{
	if (atomic_fetch_add_explicit(&hmm__sqlite.creates, 1, memory_order_relaxed) % LOOK_EVERY == LOOK_EVERY - 1) {
		hmm__sqlite_look();
		if (c->allotted * c->frame_bytes > atomic_load(&hmm__sqlite.budget) / 8) /* it has shrunk */
			hmm__places_give_up(c);
	}
	c->calm = 0;
	if (!c->keep || !tight())
		return;
	hmm__places_release(c);
	c->keep = false;
}

bool hmm__sqlite_crowded(struct pcache *c)
{
	uint64_t budget, own, n = atomic_load_explicit(&hmm__sqlite.npaged, memory_order_relaxed);
	int64_t all;

	hmm__sqlite_publish(c);
	budget = atomic_load_explicit(&hmm__sqlite.budget, memory_order_relaxed);
	all = atomic_load_explicit(&hmm__sqlite.pinned_bytes, memory_order_relaxed);
	own = c->held * c->frame_bytes;
	return all >= (int64_t)(budget / 20 * 17) || own >= budget / 2 + budget / 20 * 7 / (n ? n : 1);
}
