/* SPDX-License-Identifier: MIT */
/*
 * launder.c - write dirty pages to their store from their window slots
 *
 * LAUNDRY pages are out of the application's reach, so what is written is what was there.  Meanwhile an access may take
 * a page back (hmm__rescue): it copies from the slot, the page is dirty again, and the write counts as wasted.
 *
 * W1  A page is LAUNDRY|WRITEBACK from before its write begins, and WRITEBACK until after it has ended, so that two
 *     writes of one page never overlap.
 * W2  Contents leave DIRTY only when the store has accepted them.  If it has not, the page stays in the window as
 *     AVAILABLE|DIRTY: it can be rescued, is never trimmed, and is tried again by later passes.  While there is such
 *     a page no more dirty ones are taken: the others stay mapped (evict.c).
 * W3  Swap: a batch gets adjacent slots, so it is one sequential write.  The old slot is freed after the new one holds
 *     the contents.
 */
#include <errno.h>

#include "lib/base/clock.h"
#include "lib/store/store.h"
#include "lib/vm/batch.h"
#include "lib/vm/load.h"

static struct hmm_store *store_of(const struct hmm__item *it)
{
	return it->region->slots ? it->region->space->swap : it->region->store;
}

static uint64_t offset_of(const struct hmm__item *it)
{
	return it->region->slots ? (uint64_t)it->swap << HMM__PAGE_SHIFT_MIN : hmm__store_offset(it->region, it->page);
}

/* Adjacent swap slots for the items in their order, as long as there are any. */
static void swap_slots(struct hmm_space *space, struct hmm__batch *b)
{
	uint32_t first = 0, left = 0;
	int error = hmm__swap_writable(space);

	hmm__lock(&space->swap_lock);
	for (unsigned i = 0; i < b->n; i++) {
		struct hmm__item *it = &b->items[i];

		it->swap = 0;
		if (!it->region->slots)
			continue;
		if (error) {
			it->error = error;
			continue;
		}
		if (left < it->region->weight) {
			if (left)
				hmm__slots_free(space->swap_slots, first, left);
			left = hmm__swap_take(space, (b->n - i) * it->region->weight, it->region->weight, &first);
		}
		if (!left) {
			it->error = -ENOSPC;
			continue;
		}
		it->swap = first;
		first += it->region->weight;
		left -= it->region->weight;
	}
	if (left)
		hmm__slots_free(space->swap_slots, first, left);
	hmm__unlock(&space->swap_lock);
}

/* Order items by store and offset: insertion sort, for items come nearly sorted. */
static void sort_by_offset(struct hmm__batch *b)
{
	for (unsigned i = 0; i < b->n; i++) {
		const struct hmm__item *it = &b->items[i];
		unsigned k = i;

		for (; k > 0; k--) {
			const struct hmm__item *prev = &b->items[b->order[k - 1]];

			if (store_of(prev) < store_of(it) ||
			    (store_of(prev) == store_of(it) && offset_of(prev) <= offset_of(it)))
				break;
			b->order[k] = b->order[k - 1];
		}
		b->order[k] = (uint16_t)i;
	}
}

/* Write the items order[from] .. order[to - 1], all of one store. */
static void write_some(struct hmm_space *space, struct hmm__batch *b, unsigned from, unsigned to)
{
	struct hmm_store *store = store_of(&b->items[b->order[from]]);
	unsigned n = 0;
	uint64_t start;

	for (unsigned i = from; i < to; i++) {
		struct hmm__item *it = &b->items[b->order[i]];

		if (it->error)
			continue;
		b->vecs[n++] = (struct hmm_store_vec){
			.offset = offset_of(it), .data = hmm__slot_address(it->region->pool, it->slot),
			.length = (size_t)1 << it->region->shift,
		};
	}
	if (!n)
		return;
	start = hmm__now_ns();
	hmm__store_write(store, b->vecs, n);
	HMM__COUNT(space, write_ns, hmm__now_ns() - start);
	n = 0;
	for (unsigned i = from; i < to; i++) {
		struct hmm__item *it = &b->items[b->order[i]];

		if (!it->error)
			it->error = b->vecs[n++].error;
	}
}

/* Several regions may have pages in one store, and each its own trouble with it. */
static void over(struct hmm_space *space, const struct hmm__batch *b, unsigned from, unsigned to)
{
	for (unsigned i = from; i < to; i++)
		hmm__trouble_over(space, hmm__trouble_of(b->items[b->order[i]].region));
}

/* Items order[from] .. order[to - 1], all of one store, have been tried: count, report, and learn from it. */
static int account(struct hmm_space *space, struct hmm__batch *b, unsigned from, unsigned to)
{
	struct hmm__item *failed = NULL;
	uint64_t n = 0, untried = 0;

	for (unsigned i = from; i < to; i++) {
		struct hmm__item *it = &b->items[b->order[i]];
		bool tried = it->swap || !it->region->slots || it->error != -ENOSPC; /* else no slot was left: nobody was asked */

		if (it->swap)
			hmm__swap_written(space, it->swap, it->region->weight, it->error);
		if (tried && it->error) {
			failed = failed ? failed : it;
			n++;
		}
		untried += !tried;
	}
	HMM__COUNT(space, write_errors, n);
	HMM__COUNT(space, write_outs, to - from - n - untried);
	if (failed)
		hmm__trouble_refused(failed->region, failed->page, n, failed->error);
	else if (to - from > untried)
		over(space, b, from, to);
	return failed ? failed->error : untried ? -ENOSPC : 0;
}

/* The store has it: its old swap slot, if any, becomes free and the new one takes its place. */
static uint32_t accepted(struct hmm__item *it)
{
	uint32_t old = 0;

	if (it->region->slots) {
		old = it->word & HMM__STORED ? atomic_load(&it->region->slots[it->page]) : 0;
		atomic_store(&it->region->slots[it->page], it->swap);
	}
	return old;
}

/*
 * Under the space's lock: settle one item.  Returns the swap slot that is no longer needed, 0 for none.
 */
static uint32_t settle(struct hmm_space *space, struct hmm__item *it)
{
	struct hmm__frame *f = &space->frames[it->frame];
	uint64_t clear = HMM__WRITEBACK;
	uint32_t waste = it->swap;

	f->slot_refs--;
	if (hmm__word_state(atomic_load(&it->region->words[it->page])) != HMM__LAUNDRY) {
		/* taken back, or being taken back right now: then the rescuer frees the slot when it has copied */
		if (!f->slot_refs) {
			hmm__slot_put(it->region->pool, it->slot, f->spent);
			f->slot = HMM__NO_SLOT;
			f->spent = 0;
		}
		HMM__COUNT(space, write_outs_wasted, 1);
		hmm__page_unmark(it->region, it->page, clear);
		return waste;
	}
	space->laundry -= it->region->weight;
	if (!it->error) {
		waste = accepted(it);
		clear |= HMM__DIRTY;
		hmm__available_add(space, it->frame);
	} else {
		space->refused_error = it->error;
		hmm__available_add_refused(space, it->frame);
	}
	hmm__page_leave(it->region, it->page, HMM__AVAILABLE, clear,
	                !it->error && it->region->slots ? HMM__STORED : 0);
	return waste;
}

static unsigned refused_of(const struct hmm__batch *b)
{
	unsigned n = 0;

	for (unsigned i = 0; i < b->n; i++)
		n += b->items[i].error != 0;
	return n;
}

int hmm__launder(struct hmm_space *space, struct hmm__batch *b)
{
	int first = 0, r;

	if (!b->n)
		return 0;
	swap_slots(space, b);
	sort_by_offset(b);
	for (unsigned i = 0, k; i < b->n; i = k) {
		for (k = i + 1; k < b->n && store_of(&b->items[b->order[k]]) == store_of(&b->items[b->order[i]]); k++)
			;
		write_some(space, b, i, k);
		r = account(space, b, i, k);
		first = first ? first : r;
	}
	for (unsigned i = 0; i < b->n; i++) {
		if (!b->items[i].error)
			HMM__COUNT(space, bytes_written, (uint64_t)1 << b->items[i].region->shift);
	}
	hmm__lock(&space->lock);
	for (unsigned i = 0; i < b->n; i++)
		b->items[i].swap = settle(space, &b->items[i]);
	hmm__unlock(&space->lock);
	for (unsigned i = 0; i < b->n; i++) {
		if (b->items[i].swap)
			hmm__swap_free(space, b->items[i].swap, b->items[i].weight);
	}
	if (b->n > refused_of(b)) /* who waits for a frame has nothing from those that were refused */
		hmm__frames_changed(space);
	return first;
}
