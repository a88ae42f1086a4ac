/* SPDX-License-Identifier: MIT */
/*
 * ahead.c - load a run of pages at once: read-ahead, WILLNEED
 *
 * Pages are claimed (LOADING) in one run, get frames and slots together, are read in one call and mapped in runs.  A page
 * that is not plainly absent ends the run: this never waits for anybody.  Nothing is evicted for it beyond one
 * reclaim pass, and a page that can't be read is simply left for the access to find out.
 *
 * The first page may be one that was asked for: then it is LOADING and the caller's already, and if it can't be had
 * here it stays so, for the caller to load by itself.
 */
#include <errno.h>

#include "lib/base/clock.h"
#include "lib/store/store.h"
#include "lib/vm/batch.h"
#include "lib/vm/load.h"
#include "lib/vm/record.h"

/* Pages at once where each needs a frame in the window and one at its address: a share of the budget, within limits. */
#define COPY_SHARE 16u
#define COPY_LEAST 16u
#define COPY_MOST 64u

/* Claim absent pages that a store has contents for. */
static void claim(struct hmm_region *region, struct hmm__batch *b, uint64_t page, uint64_t n, bool asked)
{
	uint64_t end = HMM__MIN(page + n, hmm__region_end(region, page));

	b->n = 0;
	if (asked) {
		b->items[b->n++] = (struct hmm__item){ .region = region, .page = page, .asked = 1, .slot = HMM__NO_SLOT,
			                               .word = atomic_load(&region->words[page]), .frame = HMM__NO_FRAME };
		page++;
	}
	for (; page < end && b->n < HMM__BATCH_MAX; page++) {
		hmm__word *word = &region->words[page];
		uint64_t w = atomic_load_explicit(word, memory_order_relaxed);

		if (hmm__word_state(w) != HMM__ABSENT || (w & HMM__POISONED) ||
		    hmm__source_of(region, w) == HMM__SOURCE_ZERO ||
		    !hmm__word_cas(word, &w, hmm__word_with_state(w, HMM__LOADING)))
			return;
		if (page >= hmm__region_end(region, page)) { /* unmapped since: whoever does it did not see this claim */
			hmm__page_leave_absent(region, page, 0, 0);
			return;
		}
		hmm__page_touched(region, page);
		b->items[b->n++] = (struct hmm__item){ .region = region, .page = page, .word = w,
			                               .slot = HMM__NO_SLOT, .frame = HMM__NO_FRAME };
	}
}

static void let_go(struct hmm__item *it)
{
	if (!it->asked)
		hmm__page_leave_absent(it->region, it->page, 0, 0);
}

static void unclaim(struct hmm__batch *b, unsigned from)
{
	for (unsigned i = from; i < b->n; i++)
		let_go(&b->items[i]);
	b->n = from;
}

/* Under the lock: populated slots for the next run of items, adjacent ones if possible.  0: none. */
static unsigned take_run(struct hmm__pool *pool, struct hmm__item *it, unsigned n)
{
	struct hmm_space *space = pool->engine->space;
	unsigned want = HMM__MIN(n, HMM__RUN_MAX);
	uint32_t first = want > 1 ? hmm__slotmap_take_run(&pool->map, HMM__POPULATED, want) : HMM__NO_SLOT;

	if (first == HMM__NO_SLOT && want > HMM__GROUP) {
		want = HMM__GROUP;
		first = hmm__slotmap_take_run(&pool->map, HMM__POPULATED, want);
	}
	if (first != HMM__NO_SLOT) {
		hmm__bump(&space->free_slots, -(uint64_t)((uint64_t)want * pool->weight));
		for (unsigned k = 0; k < want; k++) {
			it[k].slot = first + k;
			it[k].run = k ? 0 : (uint16_t)want;
		}
		return want;
	}
	it->slot = hmm__slot_take_populated(pool);
	it->run = 1;
	return it->slot != HMM__NO_SLOT;
}

/* Under the lock: empty slots and credits to populate them with.  Returns how many; they must be filled. */
static unsigned take_empty_run(struct hmm__pool *pool, struct hmm__item *it, unsigned n)
{
	struct hmm_space *space = pool->engine->space;
	unsigned want = HMM__MIN(n, HMM__GROUP);
	uint32_t first;

	while (want && !hmm__credit_take_load(space, (uint64_t)want * pool->weight))
		want /= 2;
	if (!want)
		return 0;
	first = want > 1 ? hmm__slotmap_take_run(&pool->map, HMM__EMPTY, want) : HMM__NO_SLOT;
	if (first == HMM__NO_SLOT) {
		hmm__credit_put(space, (uint64_t)(want - 1) * pool->weight);
		want = 1;
		first = hmm__slotmap_take(&pool->map, HMM__EMPTY);
		assert(first != HMM__NO_SLOT);
	}
	for (unsigned k = 0; k < want; k++) {
		it[k].slot = first + k;
		it[k].run = k ? 0 : (uint16_t)want;
		it[k].keep = 1; /* to be filled */
	}
	return want;
}

/* Pages that item i may take in one run: within the reserve, or one that needs a slot to pass through. */
static unsigned most(const struct hmm__batch *b, unsigned i, bool grant)
{
	const struct hmm_region *region = b->items[i].region;
	const struct hmm_space *space = region->space;
	uint64_t left = hmm__frames_free(space) - space->reserve - space->exchange;

	return grant ? (unsigned)HMM__MIN((uint64_t)(b->n - i), HMM__MAX(left / region->weight, (uint64_t)1)) : 1;
}

/* Frames and slots for as many items as can be had; the others are let go. */
static void account(struct hmm_region *region, struct hmm__batch *b, bool grant)
{
	struct hmm_space *space = region->space;
	unsigned i = 0, n, got;

	hmm__lock(&space->lock);
	/* pages of caches that are smaller than a frame take a number each: numbers may be fewer than frames */
	n = (unsigned)HMM__MIN((uint64_t)b->n, (uint64_t)(space->numbers - space->numbers_used));
	while (i < n) {
		if (!grant && !hmm__credit_take_load(space, region->weight))
			break; /* the frame at the address; its contents pass through a slot */
		got = hmm__may_load(space, region->weight) ? take_run(region->pool, &b->items[i], HMM__MIN(most(b, i, grant), n - i)) : 0;
		if (!got)
			got = take_empty_run(region->pool, &b->items[i], grant ? n - i : 1);
		if (!got) {
			if (!grant)
				hmm__credit_put(space, region->weight);
			break;
		}
		i += got;
	}
	for (unsigned k = 0; k < i; k++) {
		struct hmm__item *it = &b->items[k];
		enum hmm_access access = it->asked ? HMM_ACCESS_READ : HMM_ACCESS_PREFETCH;
		uint64_t id = hmm__page_id(region, it->page);

		hmm__record_access(region, it->page, false);
		hmm__policy_miss(space->policy, id, access);
		it->frame = hmm__frame_take(space, region, it->page);
		hmm__resident_add(region, region->weight);
		hmm__policy_inserted(space->policy, it->frame, id, region->id, access);
	}
	hmm__unlock(&space->lock);
	unclaim(b, i);
}

/* Put right what failed before it was mapped: frame, slot and claim.  filled: is there a frame behind the slot? */
static void undo(struct hmm_region *region, struct hmm__item *it, bool grant, bool filled)
{
	struct hmm_space *space = region->space;

	hmm__lock(&space->lock);
	hmm__policy_removed(space->policy, it->frame, hmm__page_id(region, it->page), HMM_REMOVED_FAILED);
	hmm__frame_put(space, it->frame);
	hmm__resident_sub(region, region->weight);
	if (filled)
		hmm__slot_put_populated(region->pool, it->slot);
	else
		hmm__slotmap_put(&region->pool->map, HMM__EMPTY, it->slot);
	if (!grant)
		hmm__credit_put(space, region->weight);
	if (!filled)
		hmm__credit_put(space, region->weight);
	hmm__unlock(&space->lock);
	let_go(it);
	it->frame = HMM__NO_FRAME;
}

static void fill(struct hmm_region *region, struct hmm__batch *b, bool grant)
{
	for (unsigned i = 0, n; i < b->n; i += n) {
		struct hmm__item *it = &b->items[i];

		n = it->run;
		if (!it->keep)
			continue;
		if (!region->engine->ops->fill(region->engine->backend, hmm__slot_address(region->pool, it->slot),
		                               (size_t)n << region->shift))
			continue;
		for (unsigned k = 0; k < n; k++)
			undo(region, &it[k], grant, false);
	}
}

/* Stores want their pieces by offset; swap slots of neighbours need not be in order. */
static void sort_vecs(struct hmm__batch *b, unsigned n)
{
	for (unsigned i = 1; i < n; i++) {
		struct hmm_store_vec v = b->vecs[i];
		uint16_t o = b->order[i];
		unsigned k = i;

		for (; k > 0 && b->vecs[k - 1].offset > v.offset; k--) {
			b->vecs[k] = b->vecs[k - 1];
			b->order[k] = b->order[k - 1];
		}
		b->vecs[k] = v;
		b->order[k] = o;
	}
}

/* Read all that still have a frame.  Contents of a run from a file make one vector; swap slots one each. */
static void read_all(struct hmm_region *region, struct hmm__batch *b, bool grant)
{
	struct hmm_space *space = region->space;
	enum hmm__source source = hmm__source_of(region, b->items[0].word);
	uint64_t start = hmm__now_ns(), ns;
	unsigned n = 0, pages = 0;

	for (unsigned i = 0; i < b->n; i++) {
		struct hmm__item *it = &b->items[i];

		if (it->frame == HMM__NO_FRAME || hmm__source_of(region, it->word) != source)
			continue;
		b->order[n] = (uint16_t)i;
		b->vecs[n++] = hmm__source_vec(region, it->page, source, hmm__slot_address(region->pool, it->slot));
	}
	if (n) {
		sort_vecs(b, n);
		hmm__source_read(region, source, b->vecs, n);
		ns = hmm__now_ns() - start;
		HMM__COUNT(space, load_ns, ns);
		hmm__keep_loaded(space, ns, n);
	}
	for (unsigned i = 0; i < n; i++) {
		if (b->vecs[i].error)
			undo(region, &b->items[b->order[i]], grant, true);
		else
			pages++;
	}
	for (unsigned i = 0; i < b->n; i++) {
		struct hmm__item *it = &b->items[i];

		if (it->frame != HMM__NO_FRAME && hmm__source_of(region, it->word) != source)
			undo(region, it, grant, true); /* the other store: its turn comes with its own fault */
	}
	HMM__COUNT(space, bytes_read, (uint64_t)pages << region->shift);
	if (b->items[0].asked && b->items[0].frame != HMM__NO_FRAME) {
		HMM__COUNT(space, loads, 1);
		pages--;
	}
	HMM__COUNT(space, prefetches, pages);
}

/* Of n pages from `it` on, in->done are mapped. */
static void finish(struct hmm_region *region, struct hmm__item *it, unsigned n, const struct hmm__install *in)
{
	struct hmm_space *space = region->space;

	for (unsigned k = in->done; k < n; k++)
		undo(region, &it[k], in->grant, true);
	hmm__lock(&space->lock);
	for (unsigned k = 0; k < in->done; k++) {
		if (in->grant)
			hmm__slotmap_put(&region->pool->map, HMM__EMPTY, it[k].slot);
		else
			hmm__slot_put_populated(region->pool, it[k].slot);
	}
	hmm__unlock(&space->lock);
	for (unsigned k = 0; k < in->done; k++)
		hmm__page_leave_mapped(region, it[k].page, it[k].frame,
		                       in->dirtied ? HMM__DIRTY : it[k].asked ? 0 : HMM__AHEAD);
}

static int64_t map_all(struct hmm_region *region, struct hmm__batch *b, bool grant)
{
	int64_t total = 0;

	for (unsigned i = 0, n; i < b->n; i += n) {
		struct hmm__item *it = &b->items[i];
		struct hmm__install in = { .region = region, .page = it->page, .clean = true, .grant = grant };

		n = 1;
		if (it->frame == HMM__NO_FRAME)
			continue;
		while (i + n < b->n && it[n].frame != HMM__NO_FRAME && it[n].slot == it->slot + n)
			n++;
		in.npages = n;
		in.slot = hmm__slot_address(region->pool, it->slot);
		hmm__install(&in);
		finish(region, it, n, &in);
		total += in.done;
	}
	return total;
}

static bool frames_for(struct hmm_space *space, uint64_t n)
{
	bool yes;

	hmm__lock(&space->lock);
	yes = hmm__frames_free(space) >= n + space->low_water;
	hmm__unlock(&space->lock);
	return yes;
}

/* One batch of a run. */
static int64_t load_batch(struct hmm_region *region, struct hmm__batch *b, uint64_t page, uint64_t n, bool grant, bool asked)
{
	int64_t total = 0;

	claim(region, b, page, n, asked);
	if (b->n)
		account(region, b, grant);
	if (b->n) {
		fill(region, b, grant);
		read_all(region, b, grant);
		total = map_all(region, b, grant);
		/* by our own books, not by the word: a page that was mapped here may be another thread's by now */
		if (asked && b->items[0].frame == HMM__NO_FRAME)
			total = 0;
	}
	return total;
}

/* Where contents are copied the window's frames are used again and again, while they are in the CPU's caches. */
static uint64_t pages_at_once(const struct hmm_region *region, bool grant)
{
	uint64_t n = hmm__peek(&region->space->budget) / COPY_SHARE;

	if (grant)
		return HMM__BATCH_MAX;
	n = HMM__MIN(HMM__MAX(n, (uint64_t)COPY_LEAST), (uint64_t)COPY_MOST);
	return HMM__MAX(n / region->weight, (uint64_t)1);
}

int64_t hmm__load_run(struct hmm_region *region, uint64_t page, uint64_t n, bool asked)
{
	struct hmm_space *space = region->space;
	bool grant = hmm__recycles(region) && !hmm__read_only(region, page, n);
	uint64_t most = pages_at_once(region, grant);
	struct hmm__batch *b;
	int64_t total = 0, got;

	/* At most a quarter of the budget may be in flight for what may never be used. */
	n = HMM__MIN(n, HMM__MAX(hmm__peek(&space->budget) / 4 / region->weight, (uint64_t)1));
	if (!frames_for(space, n * region->weight))
		hmm__reclaim(space, n * region->weight);
	hmm__lock(&space->lock);
	b = hmm__batch_get(space);
	hmm__unlock(&space->lock);
	if (!b)
		return 0;
	do {
		got = load_batch(region, b, page + (uint64_t)total, HMM__MIN(n - (uint64_t)total, most), grant,
		                 asked && !total);
		total += got;
	} while (got == (int64_t)most && (uint64_t)total < n);
	hmm__lock(&space->lock);
	hmm__batch_put(space, b);
	hmm__unlock(&space->lock);
	return total;
}
