/* SPDX-License-Identifier: MIT */
/*
 * discard.c - drop pages unsaved: DONTNEED, unmapping, copies of a store that has changed, and what the application did
 * behind our back
 *
 * D1  A page is claimed (EVICTING) before anything is dropped; who is busy with it, or writes it, is waited for.
 * D2  Frames count as free only after the kernel has them back: where a whole range is unmapped, all its pages are
 *     claimed first, then the range is detached, then the books are settled.
 * D3  A page that is dropped because its store has changed (HMM__DISCARD_CLEAN) was clean in the very word that was
 *     claimed: it is write-protected, or in the window, so nobody can have changed it since; but a device that still
 *     holds the frame of a SUSPECT one, which is compared with its print.
 */
#include <errno.h>
#include <sched.h>

#include "lib/vm/batch.h"
#include "lib/vm/load.h"
#include "lib/vm/record.h"

static void forget_swap(struct hmm_region *region, uint64_t page, uint64_t w)
{
	if (w & HMM__STORED)
		hmm__swap_free(region->space, atomic_load(&region->slots[page]), region->weight);
}

/* Under the lock. */
static void settle_locked(struct hmm_space *space, struct hmm_region *region, uint64_t page, uint64_t w,
                          enum hmm_removed why)
{
	uint32_t number = hmm__word_frame(w);

	hmm__resident_sub(region, region->weight);
	hmm__credit_put(space, region->weight);
	if (hmm__word_held(w))
		space->held_back -= region->weight;
	if (why == HMM_REMOVED_DISCARDED)
		hmm__record_discard(region, page);
	hmm__policy_removed(space->policy, number, hmm__page_id(region, page), why);
	hmm__frame_put(space, number);
}

static void settle_mapped(struct hmm_region *region, uint64_t page, enum hmm_removed why)
{
	struct hmm_space *space = region->space;
	uint64_t w = atomic_load(&region->words[page]);

	hmm__lock(&space->lock);
	settle_locked(space, region, page, w, why);
	hmm__unlock(&space->lock);
	forget_swap(region, page, w);
	hmm__page_leave_absent(region, page, HMM__STORED, 0);
	HMM__COUNT(space, discards, 1);
}

void hmm__page_lost(struct hmm_region *region, uint64_t page)
{
	settle_mapped(region, page, HMM_REMOVED_DISCARDED);
	hmm__frames_changed(region->space);
}

/* From the window: the slot is free again.  False if another thread was first. */
static bool drop_available(struct hmm_region *region, uint64_t page, uint64_t w, bool unmap)
{
	struct hmm_space *space = region->space;
	uint32_t number = hmm__word_frame(w);
	struct hmm__frame *f = &space->frames[number];

	hmm__lock(&space->lock);
	if (!hmm__word_cas(&region->words[page], &w, hmm__word_with_state(w, HMM__EVICTING))) {
		hmm__unlock(&space->lock);
		return false;
	}
	hmm__available_remove(space, number);
	hmm__slot_put(region->pool, f->slot, f->spent);
	if (!unmap)
		hmm__record_discard(region, page);
	hmm__policy_removed(space->policy, number, hmm__page_id(region, page), HMM_REMOVED_DISCARDED);
	hmm__frame_put(space, number);
	hmm__unlock(&space->lock);
	forget_swap(region, page, w);
	hmm__page_leave_absent(region, page, HMM__STORED, 0);
	return true;
}

static bool drop_absent(struct hmm_region *region, uint64_t page, uint64_t w, bool unmap)
{
	struct hmm_space *space = region->space;

	if (!(w & (HMM__STORED | HMM__POISONED)))
		return true;
	if (!hmm__word_cas(&region->words[page], &w, hmm__word_with_state(w, HMM__EVICTING)))
		return false;
	if (w & HMM__POISONED)
		region->engine->ops->poison(region->engine->backend, hmm__page_address(region, page),
		                            (size_t)1 << region->shift, 0);
	if (!unmap && w & HMM__STORED && HMM__UNLIKELY(space->record != NULL)) {
		hmm__lock(&space->lock);
		hmm__record_discard(region, page);
		hmm__unlock(&space->lock);
	}
	forget_swap(region, page, w);
	hmm__page_leave_absent(region, page, HMM__STORED | HMM__POISONED, 0);
	return true;
}

enum claim { CLAIMED, SETTLED, HELD, WOULD_WAIT };

/* Contents that the store at hand does not have: of a private region, in memory or in swap, they are no copies of it. */
static bool own_contents(const struct hmm_region *region, uint64_t w)
{
	return hmm__word_state(w) == HMM__ABSENT ? region->slots && w & HMM__STORED
	                                         : (w & (HMM__DIRTY | HMM__STORED | HMM__FREE)) != 0;
}

/* Deal with a page that is not mapped, or claim it if it is.  Where the range goes, pins and locks do not keep it. */
static enum claim claim(struct hmm_region *region, uint64_t page, enum hmm__discard how, bool wait)
{
	bool unmap = how == HMM__DISCARD_UNMAP || how == HMM__DISCARD_GONE;
	hmm__word *word = &region->words[page];

	for (;;) {
		uint64_t w = atomic_load(word);

		if (hmm__word_busy(w) || hmm__word_state(w) == HMM__LAUNDRY || (w & HMM__WRITEBACK)) {
			if (!wait)
				return WOULD_WAIT;
			hmm__page_wait(region, word, w);
			continue;
		}
		if (how == HMM__DISCARD_CLEAN && own_contents(region, w))
			return region->slots ? SETTLED : HELD;
		switch (hmm__word_state(w)) {
		case HMM__ABSENT:
			if (drop_absent(region, page, w, unmap))
				return SETTLED;
			break;
		case HMM__AVAILABLE:
			if (drop_available(region, page, w, unmap))
				return SETTLED;
			break;
		default:
			if (!unmap && hmm__word_held(w))
				return HELD;
			if (hmm__word_cas(word, &w, hmm__word_with_state(w, HMM__EVICTING)))
				return CLAIMED;
			break;
		}
	}
}

/*
 * A clean page of the caller's claims whose frame a device may have written to since (SUSPECT): 1 if it has, 0 if not, -errno
 * if that can't be told now.
 */
static int changed_by_device(struct hmm_region *region, uint64_t page)
{
	uint64_t w = atomic_load(&region->words[page]);
	struct hmm_unmap u = { .address = hmm__page_address(region, page), .length = (size_t)1 << region->shift,
		               .flags = HMM_UNMAP_COPY | HMM_UNMAP_PEEK };
	uint32_t slot;
	bool same;

	if (!(w & HMM__SUSPECT) || w & (HMM__DIRTY | HMM__FREE))
		return 0;
	slot = hmm__bounce_get(region->pool);
	if (slot == HMM__NO_SLOT)
		return -EAGAIN;
	u.slot = hmm__slot_address(region->pool, slot);
	region->engine->ops->unmap(region->engine->backend, &u, 1);
	same = !u.error && hmm__print_of(region, u.slot) == region->space->frames[hmm__word_frame(w)].print;
	hmm__bounce_put(region->pool, slot);
	if (u.error == -ENOENT)
		return 0; /* dropped behind our back: there is nothing to lose */
	return u.error ? u.error : !same;
}

/* The range stays mapped: claim, drop and settle a batch at a time. */
static int discard_range(struct hmm_region *region, uint64_t page, uint64_t end, enum hmm__discard how)
{
	struct hmm_space *space = region->space;
	struct hmm__engine *engine = region->engine;
	struct hmm__batch *b;
	bool checks = how == HMM__DISCARD_CLEAN && engine->caps & HMM_BACKEND_CLEAN; /* E8 */
	int first = 0, changed;

	for (;;) {
		hmm__lock(&space->lock);
		b = hmm__batch_get(space);
		hmm__unlock(&space->lock);
		if (b)
			break;
		sched_yield(); /* all batches are in use: their users need no lock of ours */
	}
	while (page < end) {
		unsigned n = 0;

		for (; n < HMM__BATCH_MAX && (page = hmm__page_next_touched(region, page)) < end; page++) {
			/* not while holding claims: who is busy may be waiting for the frames in them */
			enum claim c = claim(region, page, how, n == 0);

			if (c == WOULD_WAIT)
				break;
			if (c == HELD)
				first = first ? first : -EBUSY;
			if (c != CLAIMED)
				continue;
			changed = how == HMM__DISCARD_CLEAN ? changed_by_device(region, page) : 0;
			if (changed) {
				hmm__page_leave(region, page, HMM__MAPPED, 0, changed > 0 ? HMM__DIRTY : 0);
				if (!first && (changed < 0 || !region->slots)) /* a private region's own contents stay */
					first = changed < 0 ? changed : -EBUSY;
				continue;
			}
			b->items[n].page = page;
			b->unmaps[n++] = (struct hmm_unmap){ .address = hmm__page_address(region, page),
				                             .length = (size_t)1 << region->shift,
				                             .flags = checks ? HMM_UNMAP_CLEAN : 0 };
		}
		if (n)
			engine->ops->unmap(engine->backend, b->unmaps, n);
		for (unsigned i = 0; i < n; i++) {
			int error = b->unmaps[i].error;

			if (error && error != -ENOENT) {
				/* still there, held by the kernel: it stays as it was */
				hmm__page_leave(region, b->items[i].page, HMM__MAPPED, 0, error == -ESTALE ? HMM__DIRTY : 0);
				if (!first && (error != -ESTALE || !region->slots)) /* as above */
					first = error == -ESTALE ? -EBUSY : error;
				continue;
			}
			settle_mapped(region, b->items[i].page, HMM_REMOVED_DISCARDED);
		}
	}
	hmm__lock(&space->lock);
	hmm__batch_put(space, b);
	hmm__unlock(&space->lock);
	hmm__frames_changed(space);
	return first;
}

int hmm__discard(struct hmm_region *region, uint64_t page, uint64_t npages, enum hmm__discard how)
{
	uint64_t end = page + npages, first = page;
	int r = 0;

	if (how == HMM__DISCARD_RANGE || how == HMM__DISCARD_CLEAN)
		return discard_range(region, page, end, how);
	for (; (page = hmm__page_next_touched(region, page)) < end; page++)
		claim(region, page, how, true);
	if (how == HMM__DISCARD_UNMAP)
		r = region->engine->ops->detach(region->engine->backend, hmm__page_address(region, first),
		                                (size_t)npages << region->shift);
	for (page = first; (page = hmm__page_next_touched(region, page)) < end; page++) {
		if (hmm__word_state(atomic_load(&region->words[page])) == HMM__EVICTING)
			settle_mapped(region, page, HMM_REMOVED_UNMAPPED);
	}
	/* what a read-ahead that was under way has put there since */
	for (page = first; (page = hmm__page_next_touched(region, page)) < end; page++) {
		if (claim(region, page, how, true) == CLAIMED)
			settle_mapped(region, page, HMM_REMOVED_UNMAPPED);
	}
	hmm__frames_changed(region->space);
	return r;
}
