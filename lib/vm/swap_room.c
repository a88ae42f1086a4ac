/* SPDX-License-Identifier: MIT */
/*
 * swap_room.c - what happens when the swap store has no room left
 *
 * A slot that nobody needs is found before a dirty page is refused for want of one.  Such slots are those of pages whose
 * contents are in a frame as well: of dirty ones, whose slot holds older contents, and of clean ones, which become dirty
 * by losing it.  So a space holds as much as its frames and its swap store together.
 *
 * Z1  Absent pages can be read as long as anything is alive: loads of pages that have no slot leave frames
 *     (hmm_space.exchange) to those that have one.  Such a load brings a slot with its page, which can be taken from it
 *     for a dirty victim, which frees a frame again.
 * Z2  Slots above the ceiling are not used.  It is what the store says beforehand, or what it was found to take: a refusal of
 *     slots above all that were ever accepted (`swap_written`) lowers it.  While nothing is free below it, slots
 *     above it are tried now and then, for somebody may have made room on the disk.
 * Z3  A page keeps its frame before it loses its slot: the word says DIRTY and not STORED in one step, before the slot
 *     is free.
 */
#include <errno.h>

#include "lib/base/clock.h"
#include "lib/store/store.h"
#include "lib/vm/batch.h"
#include "lib/vm/lineage.h"
#include "lib/vm/lineage.h"

#define LOOKS 4096u      /* frames looked at in one search */
#define SLOTS 64u        /* slots taken back in one search */
#define PROBE_FIRST_NS UINT64_C(1000000)
#define PROBE_LAST_NS UINT64_C(32000000) /* less than a fault waits for a frame: who gives up has seen an attempt */

struct found {
	uint32_t slot[SLOTS];
	uint32_t npages[SLOTS];
	unsigned n;
};

static void free_found(struct hmm_space *space, const struct found *found)
{
	for (unsigned i = 0; i < found->n; i++)
		hmm__swap_free(space, found->slot[i], found->npages[i]);
}

/* Does a forked child, or the parent, still need it?  Then it would not be ours. */
static bool is_frozen(struct hmm_space *space, uint32_t slot)
{
	bool frozen;

	hmm__lock(&space->swap_lock);
	frozen = hmm__lineage_frozen(space, slot);
	hmm__unlock(&space->swap_lock);
	return frozen;
}

/*
 * Under the lock: take the slot of a page that is mapped.  Its word can't go away and come back while the lock is held, for
 * it would need another frame, so slots[] is that of the word that is exchanged.
 */
static void take_slot(struct hmm_space *space, struct hmm__frame *f, struct found *found)
{
	struct hmm_region *region = f->region;
	hmm__word *word = &region->words[f->page];
	uint64_t w = atomic_load(word);
	uint32_t slot = atomic_load(&region->slots[f->page]);

	if (hmm__word_state(w) != HMM__MAPPED || !(w & HMM__STORED) || (w & HMM__WRITEBACK) || is_frozen(space, slot))
		return;
	/* garbage stays garbage: it need not be written */
	if (!hmm__word_cas(word, &w, (w & ~HMM__STORED) | (w & HMM__FREE ? 0 : HMM__DIRTY)))
		return;
	if (!(w & (HMM__DIRTY | HMM__FREE)))
		hmm__add(&space->dirty, region->weight);
	found->slot[found->n] = slot;
	found->npages[found->n++] = region->weight;
}

/* Slots of pages that are in frames; at most SLOTS of them.  Returns pages' worth. */
static uint64_t take_from_frames(struct hmm_space *space, uint64_t want)
{
	struct found found = { .n = 0 };
	uint64_t got = 0;

	hmm__lock(&space->lock);
	for (uint32_t looks = HMM__MIN(space->fresh_frame, LOOKS); looks && found.n < SLOTS && got < want; looks--) {
		struct hmm__frame *f;
		unsigned before = found.n;

		if (space->swap_hand >= space->fresh_frame)
			space->swap_hand = 0;
		f = &space->frames[space->swap_hand++];
		if (!f->region || !f->region->slots)
			continue;
		take_slot(space, f, &found);
		got += found.n > before ? f->region->weight : 0;
	}
	hmm__unlock(&space->lock);
	free_found(space, &found);
	return got;
}

/*
 * Does it need a slot?  A page that is only to be checked keeps the one it has: if it turns out to have changed and no other
 * is left, it stays in the window as one that was refused.
 */
static bool wants_slot(const struct hmm__item *it)
{
	return it->fate == HMM__FATE_SAVE && it->region->slots && (it->word & HMM__DIRTY || !(it->word & HMM__STORED));
}

/* The dirty victims' own slots: what is there is out of date.  Their words are the caller's. */
static void take_own(struct hmm_space *space, struct hmm__batch *b)
{
	struct found found = { .n = 0 };

	for (unsigned i = 0; i < b->n && found.n < SLOTS; i++) {
		struct hmm__item *it = &b->items[i];

		if (!wants_slot(it) || !(it->word & HMM__STORED))
			continue;
		found.slot[found.n] = atomic_load(&it->region->slots[it->page]);
		found.npages[found.n++] = it->region->weight;
		atomic_fetch_and(&it->region->words[it->page], ~HMM__STORED);
		it->word &= ~HMM__STORED;
	}
	free_found(space, &found);
}

static uint64_t room_of(struct hmm_space *space)
{
	uint64_t room;

	hmm__lock(&space->swap_lock);
	room = hmm__slots_room(space->swap_slots);
	/* a child that has ended may have left some: looked at before anything else is given up for it */
	if (HMM__UNLIKELY(room < HMM__BATCH_MAX && hmm__lineage_reap(space)))
		room = hmm__slots_room(space->swap_slots);
	hmm__unlock(&space->swap_lock);
	return room;
}

/* Z2: room for one page above the ceiling, if it is time to try that. */
static uint64_t probe(struct hmm_space *space, uint32_t npages)
{
	uint64_t now = hmm__now_ns(), room;

	hmm__lock(&space->swap_lock);
	if (hmm__slots_ceiling(space->swap_slots) < space->swap_end && now >= space->swap_probe_ns) {
		space->swap_probe_wait = HMM__MIN(space->swap_probe_wait * 2, PROBE_LAST_NS);
		space->swap_probe_ns = now + space->swap_probe_wait;
		/* twice, for a large page's slots begin at a multiple of its size */
		hmm__slots_limit(space->swap_slots, HMM__MIN(hmm__slots_ceiling(space->swap_slots) +
		                                             (npages > 1 ? 2 * npages : 1), space->swap_end));
	}
	room = hmm__slots_room(space->swap_slots);
	hmm__unlock(&space->swap_lock);
	return room;
}

/* One event for the whole time in which the store is full; it is over when an eighth of it is free again. */
static void tell(struct hmm_space *space, struct hmm_region *region, uint64_t page, uint64_t room, bool short_of)
{
	if (short_of) {
		if (!atomic_exchange(&space->swap_full, 1))
			hmm__event(space, HMM_EVENT_WRITE_ERROR, region, page, 1, -ENOSPC, NULL);
	} else if (atomic_load_explicit(&space->swap_full, memory_order_relaxed)) {
		uint64_t ceiling;

		hmm__lock(&space->swap_lock);
		ceiling = hmm__slots_ceiling(space->swap_slots);
		hmm__unlock(&space->swap_lock);
		if (room > ceiling / 8 + HMM__BATCH_MAX / 4)
			atomic_store(&space->swap_full, 0);
	}
}

uint64_t hmm__swap_make_room(struct hmm_space *space, uint64_t need, uint32_t least)
{
	uint64_t room;

	while ((room = room_of(space)) < need && take_from_frames(space, need - room))
		;
	return room >= least ? room : probe(space, least);
}

int hmm__swap_fit(struct hmm_space *space, struct hmm__batch *b)
{
	struct hmm__item *first = NULL;
	uint64_t need = 0, room;
	uint32_t least = UINT32_MAX;

	for (unsigned i = 0; i < b->n; i++) {
		if (wants_slot(&b->items[i])) {
			need += b->items[i].region->weight;
			least = HMM__MIN(least, b->items[i].region->weight);
		}
	}
	if (!need)
		return 0;
	room = room_of(space);
	if (HMM__UNLIKELY(room < need)) {
		take_own(space, b);
		room = hmm__swap_make_room(space, need, least);
	}
	for (unsigned i = 0; i < b->n; i++) {
		struct hmm__item *it = &b->items[i];

		if (!wants_slot(it))
			continue;
		if (it->region->weight <= room) {
			room -= it->region->weight;
			continue;
		}
		it->fate = HMM__FATE_STAY;
		first = first ? first : it;
	}
	tell(space, first ? first->region : NULL, first ? first->page : 0, room, first != NULL);
	return first ? -ENOSPC : 0;
}

void hmm__swap_ceiling_start(struct hmm_space *space, uint64_t end)
{
	space->swap_end = end;
	space->swap_written = 1;
	space->swap_probe_wait = PROBE_FIRST_NS;
	hmm__slots_limit(space->swap_slots, end);
}

void hmm__swap_written(struct hmm_space *space, uint32_t slot, uint32_t npages, int error)
{
	if (!error && (uint64_t)slot + npages <= __atomic_load_n(&space->swap_written, __ATOMIC_RELAXED))
		return;
	hmm__lock(&space->swap_lock);
	if (!error && (uint64_t)slot + npages > space->swap_written) {
		__atomic_store_n(&space->swap_written, (uint64_t)slot + npages, __ATOMIC_RELAXED);
		if (hmm__slots_ceiling(space->swap_slots) < space->swap_end) { /* there is room again */
			space->swap_probe_wait = PROBE_FIRST_NS;
			hmm__slots_limit(space->swap_slots, space->swap_end);
		}
	} else if (hmm__no_room(error) && slot >= space->swap_written &&
	           slot < hmm__slots_ceiling(space->swap_slots)) {
		space->swap_probe_ns = hmm__now_ns() + space->swap_probe_wait;
		hmm__slots_limit(space->swap_slots, slot);
	}
	hmm__unlock(&space->swap_lock);
}
