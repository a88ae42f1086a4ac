/* SPDX-License-Identifier: MIT */
/*
 * swap.c - the swap store of a space: made when first needed, slots given out and taken back
 */
#include <errno.h>
#include <sched.h>

#include "lib/store/store.h"
#include "lib/vm/lineage.h"

/* Slots are 32-bit numbers of system pages: 16 TiB, and one more for "none". */
#define SLOTS_MAX (UINT64_C(1) << 32)
/* Discarding tiny pieces costs more than it gives back: the slots are reused soon. */
#define DISCARD_MIN 64u

/*
 * The store of a space that has none, or of one that was copied by fork, like its parent's.  -ENOTSUP: it could only be the
 * parent's own, and nothing was agreed with the parent about who writes where.
 */
static int make_store(struct hmm_space *space, struct hmm_store **ret_store)
{
	struct hmm_swap_options options = { .size = sizeof(options) };
	struct hmm_store *model = space->swap_model;
	int r;

	if (!model)
		return hmm_store_swap(&options, ret_store);
	if (model->heritage == HMM__HERITAGE_DISJOINT)
		return -ENOTSUP;
	*ret_store = NULL;
	r = model->heritage == HMM__HERITAGE_PRIVATE ? 0 : hmm__store_renew(model, ret_store);
	if (!r && !*ret_store)
		*ret_store = hmm_store_get(model);
	return r;
}

int hmm__swap_ready(struct hmm_space *space)
{
	struct hmm__slots *slots;
	struct hmm_store *store = NULL;
	int r = 0;

	hmm__lock(&space->engine_lock); /* may sleep: opens a file */
	if (space->swap_slots)
		goto out;
	r = hmm__slots_create(SLOTS_MAX - 1, &slots);
	if (r)
		goto out;
	if (!space->swap) {
		r = make_store(space, &store);
		if (r) {
			hmm__slots_destroy(slots);
			goto out;
		}
		space->swap = store;
	}
	hmm__lock(&space->swap_lock);
	space->swap_slots = slots;
	hmm__swap_ceiling_start(space, HMM__MIN(hmm__store_capacity(space->swap) >> HMM__PAGE_SHIFT_MIN, SLOTS_MAX - 1));
	hmm__unlock(&space->swap_lock);
	hmm__lock(&space->lock);
	hmm__space_watermarks(space); /* Z1: loads leave frames from now on */
	hmm__unlock(&space->lock);
out:
	hmm__unlock(&space->engine_lock);
	return r;
}

/* Two may make one at the same time: one of them keeps it. */
int hmm__swap_writable(struct hmm_space *space)
{
	struct hmm_store *store = NULL;
	bool intact;
	int r;

	if (HMM__UNLIKELY(space->lineage != NULL)) {
		hmm__lock(&space->swap_lock);
		intact = hmm__lineage_intact(space);
		hmm__unlock(&space->swap_lock);
		if (!intact)
			return -EBADF;
	}
	if (HMM__LIKELY(__atomic_load_n(&space->swap, __ATOMIC_ACQUIRE) || !space->swap_model || !space->swap_slots))
		return 0;
	r = make_store(space, &store);
	if (r)
		return r;
	hmm__lock(&space->swap_lock);
	if (!space->swap) {
		__atomic_store_n(&space->swap, store, __ATOMIC_RELEASE);
		store = NULL;
	}
	hmm__unlock(&space->swap_lock);
	hmm_store_put(store);
	return 0;
}

uint32_t hmm__swap_take(struct hmm_space *space, uint32_t want, uint32_t unit, uint32_t *ret_first)
{
	uint32_t n;

	hmm__lineage_look(space);
	n = hmm__slots_alloc(space->swap_slots, want, unit, ret_first);
	if (HMM__UNLIKELY(!n) && hmm__lineage_reap(space))
		n = hmm__slots_alloc(space->swap_slots, want, unit, ret_first);
	if (n && !hmm__lineage_born(space, *ret_first, n)) {
		hmm__slots_free(space->swap_slots, *ret_first, n);
		n = 0;
	}
	return n;
}

static struct hmm_store *store_of(struct hmm_space *space, uint64_t offset)
{
	struct hmm_store *store;

	if (HMM__LIKELY(!space->lineage))
		return space->swap;
	hmm__lock(&space->swap_lock);
	store = hmm__lineage_store(space, (uint32_t)(offset >> HMM__PAGE_SHIFT_MIN));
	hmm__unlock(&space->swap_lock);
	return store;
}

/* A store stays as long as a page has a slot in it, and these pages are the caller's. */
int hmm__swap_read(struct hmm_space *space, struct hmm_store_vec *vec, unsigned n)
{
	struct hmm_store *store, *next = store_of(space, vec[0].offset);
	int first = 0;

	for (unsigned i = 0, k; i < n; i = k) {
		int r = 0;

		store = next;
		for (k = i + 1; k < n && (next = store_of(space, vec[k].offset)) == store; k++)
			;
		if (store)
			r = hmm__store_read(store, vec + i, k - i);
		for (unsigned j = i; !store && j < k; j++)
			r = vec[j].error = -EBADF;
		first = first ? first : r;
	}
	return first;
}

void hmm__swap_free(struct hmm_space *space, uint32_t slot, uint32_t npages)
{
	enum hmm__farewell farewell = HMM__SLOT_OURS;
	struct hmm_store *ended = NULL;

	if (HMM__UNLIKELY(space->lineage != NULL)) {
		hmm__lock(&space->swap_lock);
		farewell = hmm__lineage_drop(space, slot, npages, &ended);
		hmm__unlock(&space->swap_lock);
		hmm_store_put(ended);
		if (farewell == HMM__SLOT_KEPT)
			return;
	}
	/* a large page's room is worth giving back to the file system, before another takes the slots */
	if (npages >= DISCARD_MIN && farewell == HMM__SLOT_OURS)
		(void)!hmm__store_discard(space->swap, (uint64_t)slot << HMM__PAGE_SHIFT_MIN,
		                          (uint64_t)npages << HMM__PAGE_SHIFT_MIN);
	hmm__lock(&space->swap_lock);
	hmm__slots_free(space->swap_slots, slot, npages);
	hmm__unlock(&space->swap_lock);
}
