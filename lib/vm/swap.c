/* SPDX-License-Identifier: MIT */
/*
 * swap.c - the swap store of a space: made with the first region that may need it, slots given out and taken back
 *
 * A store that can't be made then (a directory that is read-only, or not there) is no error of the mapping, for the data may fit:
 * one event says so, and it is tried again when a page has to leave.  Until then such pages stay (trouble.h).
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
		return hmm__store_swap(&options, ret_store);
	if (model->heritage == HMM__HERITAGE_DISJOINT)
		return -ENOTSUP;
	*ret_store = NULL;
	r = model->heritage == HMM__HERITAGE_PRIVATE ? 0 : hmm__store_renew(model, ret_store);
	if (!r && !*ret_store)
		*ret_store = hmm_store_get(model);
	return r;
}

/* Slots that a store has room for, as far as it says; there may be none yet. */
static uint64_t slots_of(struct hmm_store *store)
{
	return store ? HMM__MIN(hmm__store_capacity(store) >> HMM__PAGE_SHIFT_MIN, SLOTS_MAX - 1) : SLOTS_MAX - 1;
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
		if (r == -ENOTSUP) {
			hmm__slots_destroy(slots);
			goto out;
		}
		if (r)
			hmm__event(space, HMM_EVENT_WRITE_ERROR, NULL, 0, 0, r,
			           "the swap store can't be made; it is tried again when a page has to leave memory");
		if (store && store->keep)
			store->keep(store->ctx);
		space->swap = store;
		r = 0;
	}
	hmm__lock(&space->swap_lock);
	space->swap_slots = slots;
	hmm__swap_ceiling_start(space, slots_of(space->swap));
	hmm__unlock(&space->swap_lock);
	hmm__lock(&space->lock);
	hmm__space_watermarks(space); /* Z1: loads leave frames from now on */
	hmm__unlock(&space->lock);
out:
	hmm__unlock(&space->engine_lock);
	return r;
}

/*
 * Of a forked child, or where it could not be made before.  Two may make one at the same time: one of them keeps it.  In the
 * fault path: its descriptors are not kept (fd.h), for that may sleep.
 */
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
	if (HMM__LIKELY(__atomic_load_n(&space->swap, __ATOMIC_ACQUIRE) || !space->swap_slots))
		return 0;
	r = make_store(space, &store);
	if (r)
		return r;
	hmm__lock(&space->swap_lock);
	if (!space->swap) {
		if (!space->swap_model) /* no slot was ever taken */
			hmm__swap_ceiling_start(space, slots_of(store));
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
