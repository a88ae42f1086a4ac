/* SPDX-License-Identifier: MIT */
/*
 * sync.c - write dirty pages of a shared region to its store while they stay mapped
 *
 * A batch of dirty pages is claimed (LOADING), write-protected, copied to window slots and released clean, with
 * WRITEBACK set; then the copies are written.  So an access waits for the copy at most, never for the store; a page that is
 * written meanwhile is dirty again and simply needs another sync.  A pinned page may be the target of a device or a
 * system call, so its protection is left alone and it stays dirty.
 *
 * A page that nobody pinned with us may have been given to a device all the same, which no protection stops.  So what is
 * cleaned in place is SUSPECT and has the print of what was written; the next sync copies it once more and compares.
 */
#include <errno.h>
#include <sched.h>

#include "lib/store/store.h"
#include "lib/vm/batch.h"
#include "lib/vm/call.h"
#include "lib/vm/load.h"

#define BATCH 64u

/* A page in the window that its store has refused: mapped again it is a dirty page like any other. */
static bool is_refused(uint64_t w)
{
	return hmm__word_state(w) == HMM__AVAILABLE && (w & HMM__DIRTY);
}

/* Claim mapped pages that are dirty or may be; *page moves on.  Pages in the laundry are waited for.  Returns the error of a page that
 * can't be had, which is passed over. */
static int claim(struct hmm_region *region, struct hmm__batch *b, uint64_t *page, uint64_t end)
{
	b->n = 0;
	while (b->n < BATCH && (*page = hmm__page_next_touched(region, *page)) < end) {
		hmm__word *word = &region->words[*page];
		uint64_t w = atomic_load(word);

		if (hmm__word_busy(w) || hmm__word_state(w) == HMM__LAUNDRY || (w & HMM__WRITEBACK)) {
			if (b->n)
				return 0; /* not while holding claims: two syncs could wait for each other */
			hmm__page_wait(region, word, w);
			continue;
		}
		if (is_refused(w)) {
			int r;

			if (b->n)
				return 0;
			r = hmm__page_ensure(region, *page, HMM_ACCESS_PIN, false);
			if (r) {
				(*page)++;
				return r;
			}
			continue;
		}
		if (hmm__word_state(w) != HMM__MAPPED || !(w & (HMM__DIRTY | HMM__SUSPECT))) {
			(*page)++;
			continue;
		}
		if (!hmm__word_cas(word, &w, hmm__word_with_state(w, HMM__LOADING)))
			continue;
		b->items[b->n++] = (struct hmm__item){
			.region = region, .page = *page, .word = w, .slot = HMM__NO_SLOT,
			.weight = (uint16_t)region->weight,
		};
		(*page)++;
	}
	return 0;
}

/* A slot for each, as far as they go; the rest is released, to be claimed again.  Returns where to go on. */
static uint64_t take_slots(struct hmm_region *region, struct hmm__batch *b, uint64_t next)
{
	unsigned n = 0;

	for (; n < b->n; n++) {
		b->items[n].slot = hmm__bounce_get(region->pool);
		if (b->items[n].slot == HMM__NO_SLOT)
			break;
	}
	if (n < b->n)
		next = b->items[n].page;
	for (unsigned i = n; i < b->n; i++)
		hmm__page_leave(region, b->items[i].page, HMM__MAPPED, 0, 0);
	b->n = n;
	return next;
}

/*
 * It is copied: has it to be written?  A page that is clean by its print stays as it is.  Else the print is of what will be
 * written.
 */
static void release(struct hmm_region *region, struct hmm__item *it)
{
	uint64_t *print = &region->space->frames[hmm__word_frame(it->word)].print;
	uint64_t now = hmm__print_of(region, hmm__slot_address(region->pool, it->slot));

	it->check = !(it->word & HMM__DIRTY) && *print == now;
	if (it->check) {
		hmm__page_leave(region, it->page, HMM__MAPPED, 0, 0);
		return;
	}
	*print = now;
	hmm__page_leave(region, it->page, HMM__MAPPED, it->keep ? 0 : HMM__DIRTY,
	                HMM__WRITEBACK | (it->keep ? 0 : HMM__SUSPECT));
}

static void protect_and_copy(struct hmm_region *region, struct hmm__batch *b)
{
	struct hmm__engine *engine = region->engine;

	for (unsigned i = 0; i < b->n; i++) {
		struct hmm__item *it = &b->items[i];
		struct hmm_span span = { hmm__page_address(region, it->page), (size_t)1 << region->shift };

		it->check = 0;
		it->keep = hmm__word_pins(it->word) && it->word & HMM__DIRTY;
		it->error = it->keep ? 0 : engine->ops->write_protect(engine->backend, &span, 1, 1);
		b->unmaps[i] = (struct hmm_unmap){
			.address = span.address, .slot = hmm__slot_address(region->pool, it->slot), .length = span.length,
			.flags = HMM_UNMAP_COPY | HMM_UNMAP_PEEK,
		};
	}
	engine->ops->unmap(engine->backend, b->unmaps, b->n);
	for (unsigned i = 0; i < b->n; i++) {
		struct hmm__item *it = &b->items[i];

		if (!it->error)
			it->error = b->unmaps[i].error;
		if (it->error)
			hmm__page_leave(region, it->page, HMM__MAPPED, 0, 0);
		else
			release(region, it);
	}
}

/*
 * The store refused it: dirty as before.  It is still MAPPED, for WRITEBACK keeps evictions and discards off.  That it
 * is protected although dirty only costs one more trap.
 */
static void put_back(struct hmm_region *region, struct hmm__item *it)
{
	hmm__word *word = &region->words[it->page];

	for (;;) {
		uint64_t w = atomic_load(word);

		if (hmm__word_busy(w)) {
			hmm__page_wait(region, word, w);
			continue;
		}
		if ((w & HMM__DIRTY) || hmm__word_state(w) != HMM__MAPPED)
			return;
		if (hmm__word_cas(word, &w, hmm__word_with_state(w, HMM__LOADING))) {
			hmm__page_leave(region, it->page, HMM__MAPPED, 0, HMM__DIRTY);
			return;
		}
	}
}

static int write_copies(struct hmm_region *region, struct hmm__batch *b)
{
	struct hmm_space *space = region->space;
	unsigned n = 0;
	int first = 0;

	for (unsigned i = 0; i < b->n; i++) {
		struct hmm__item *it = &b->items[i];

		if (it->error || it->check)
			continue;
		b->order[n] = (uint16_t)i;
		b->vecs[n++] = (struct hmm_store_vec){ .offset = hmm__store_offset(region, it->page),
			                               .data = hmm__slot_address(region->pool, it->slot),
			                               .length = (size_t)1 << region->shift };
	}
	if (n)
		hmm__store_write(region->store, b->vecs, n);
	for (unsigned i = 0; i < n; i++) {
		struct hmm__item *it = &b->items[b->order[i]];

		if (!b->vecs[i].error) {
			HMM__COUNT(space, write_outs, 1);
			HMM__COUNT(space, bytes_written, b->vecs[i].length);
		} else {
			HMM__COUNT(space, write_errors, 1);
			hmm__trouble_refused(region, it->page, 1, b->vecs[i].error);
			put_back(region, it);
			first = first ? first : b->vecs[i].error;
		}
		hmm__page_unmark(region, it->page, HMM__WRITEBACK);
	}
	if (n && !first)
		hmm__trouble_over(space, hmm__trouble_of(region));
	for (unsigned i = 0; i < b->n; i++) {
		if (b->items[i].error && b->items[i].error != -ENOENT)
			first = first ? first : b->items[i].error;
		hmm__bounce_put(region->pool, b->items[i].slot);
	}
	return first;
}

int hmm__sync_pages(struct hmm_region *region, uint64_t page, uint64_t npages)
{
	struct hmm_space *space = region->space;
	uint64_t end = page + npages;
	struct hmm__batch *b = NULL;
	int first = 0, r;

	if (!(region->flags & HMM_REGION_SHARED))
		return 0;
	while (!b) {
		hmm__lock(&space->lock);
		b = hmm__batch_get(space);
		hmm__unlock(&space->lock);
		if (!b)
			sched_yield();
	}
	while (page < end) {
		unsigned claimed;

		r = claim(region, b, &page, end);
		first = first ? first : r;
		claimed = b->n;
		if (!claimed)
			continue;
		page = take_slots(region, b, page);
		if (!b->n) {
			r = hmm__frames_wait(space, region->weight);
			if (r) {
				first = first ? first : r;
				break;
			}
			continue;
		}
		protect_and_copy(region, b);
		r = write_copies(region, b);
		first = first ? first : r;
	}
	hmm__lock(&space->lock);
	hmm__batch_put(space, b);
	hmm__unlock(&space->lock);
	return first;
}

int hmm_region_sync(struct hmm_region *region, void *address, size_t length, unsigned flags)
{
	struct hmm__call call;
	uint64_t page, npages;
	int r;

	if (flags & ~(unsigned)HMM_SYNC_DURABLE)
		return -EINVAL;
	r = hmm__call_range(&call, region, address, length, &page, &npages);
	if (r)
		return r;
	r = hmm__sync_pages(region, page, npages);
	if (!r && flags & HMM_SYNC_DURABLE && region->flags & HMM_REGION_SHARED)
		r = hmm__store_sync(region->store, hmm__store_offset(region, page), length);
	hmm__call_end(&call);
	return r;
}
