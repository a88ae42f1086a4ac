/* SPDX-License-Identifier: MIT */
/*
 * batched.c - a policy over a trace as the pager works: victims in batches ahead of need, an available list, and in
 * mode refbits nothing told of hits but what reference bits show
 *
 * A1  Free frames: those never used and those on the free stack.  A miss that leaves fewer than `low` runs passes until
 *     there are `high`.
 * A2  A pass trims the available list from its old end to make room, asks for a batch of victims, and puts them on the
 *     list: dirty ones are written at that moment.  A page on the list has been proposed and awaits its verdict: evicted
 *     when it is trimmed, rejected (RACED) when it is requested before, which is a rescue: a fault without I/O.
 * A3  Water marks, batch and the list's length default to what lib/vm/space.c makes of a budget.
 * A4  refbits: a hit sets the frame's bit.  Before victims are chosen the bits are harvested in the order of frames, told
 *     as touched, and cleared.
 */
#include <stdlib.h>

#include "engine_internal.h"

static uint32_t least(uint64_t a, uint64_t b)
{
	return (uint32_t)(a < b ? a : b);
}

static uint32_t most(uint32_t a, uint32_t b)
{
	return a > b ? a : b;
}

bool batched_init(struct engine *e, const struct engine_options *options)
{
	uint32_t frames = e->frames;

	e->batch = most(least(options->batch != 0 ? options->batch : 64, frames / 8), 1);
	e->low = options->low != 0 ? least(options->low, frames / 4) : least(most(e->batch / 2, 2), frames / 4);
	e->high = options->high != 0 ? least(options->high, frames / 2) : least((uint64_t)e->low + e->batch, frames / 2);
	e->high = least(most(e->high, e->low + 1), frames);
	e->available_target = options->available >= 0 ? least((uint64_t)options->available, frames / 2) : frames / 8;
	e->links = malloc(((size_t)frames + 1) * sizeof(*e->links));
	e->victims = malloc((size_t)e->batch * sizeof(*e->victims));
	if (e->links == NULL || e->victims == NULL)
		return false;
	e->links[frames] = (struct frame_links){ frames, frames };
	return true;
}

static uint32_t free_frames(const struct engine *e)
{
	return e->frames - e->used + e->nfree;
}

static void list_remove(struct engine *e, uint32_t frame)
{
	struct frame_links *link = &e->links[frame];

	e->links[link->prev].next = link->next;
	e->links[link->next].prev = link->prev;
	e->frame_flags[frame] &= (uint8_t)~FRAME_AVAILABLE;
	e->available--;
}

static void list_append(struct engine *e, uint32_t frame)
{
	uint32_t end = e->frames, newest = e->links[end].prev;

	e->links[frame] = (struct frame_links){ .prev = newest, .next = end };
	e->links[newest].next = frame;
	e->links[end].prev = frame;
	e->frame_flags[frame] |= FRAME_AVAILABLE;
	e->available++;
}

/* Give up the oldest of the list until `want` frames came free or `leave` are left.  Returns how many came free. */
static uint32_t trim(struct engine *e, uint32_t want, uint32_t leave)
{
	uint32_t n = 0;

	while (n < want && e->available > leave) {
		uint32_t frame = e->links[e->frames].next;

		list_remove(e, frame);
		engine_evicted(e, frame, (uint32_t)e->held[frame]);
		e->free[e->nfree++] = frame;
		n++;
	}
	return n;
}

static void harvest(struct engine *e)
{
	e->hits_access = HMM_ACCESS_READ;
	for (uint32_t frame = 0; frame < e->used; frame++) {
		if (!(e->frame_flags[frame] & FRAME_REFERENCED))
			continue;
		e->frame_flags[frame] &= (uint8_t)~FRAME_REFERENCED;
		if (e->nhits == HITS_MOST)
			engine_flush(e);
		e->hits[e->nhits++] = frame;
	}
}

static void take_victim(struct engine *e, uint32_t frame)
{
	if (frame >= e->frames || e->held[frame] == NO_PAGE || (e->frame_flags[frame] & FRAME_AVAILABLE)) {
		e->counts.mistakes++;
		return;
	}
	engine_clean(e, frame);
	list_append(e, frame);
}

static void choose(struct engine *e)
{
	uint32_t n, before = e->available, scan = 4 * e->batch + 64;

	if (e->mode == SIM_REFBITS && e->tells_hits)
		harvest(e);
	engine_flush(e);
	n = e->hooks.choose(e->state, e->batch, e->victims, scan);
	if (n == 0)
		n = e->hooks.choose(e->state, e->batch, e->victims, UINT32_MAX);
	for (uint32_t i = 0; i < n && i < e->batch; i++)
		take_victim(e, e->victims[i]);
	if (e->available == before && e->used - e->nfree > e->available) {
		uint32_t frame = engine_fallback(e);

		if (frame != NOBODY)
			take_victim(e, frame);
	}
}

static void pass(struct engine *e, uint32_t want)
{
	uint32_t goal = e->available_target, room = goal > e->batch ? goal - e->batch : 0, freed = 0;

	if (e->available > goal)
		freed = trim(e, want, goal);
	if (freed < want) {
		trim(e, want - freed, room);
		choose(e);
	}
	trim(e, UINT32_MAX, goal);
	if (free_frames(e) < want) /* frames are needed more than rescues are */
		trim(e, want - free_frames(e), 0);
}

static void reclaim(struct engine *e)
{
	uint32_t before;

	do {
		before = free_frames(e);
		pass(e, e->high - before);
	} while (free_frames(e) < e->high && free_frames(e) > before);
}

static uint32_t take_frame(struct engine *e)
{
	if (free_frames(e) <= e->low)
		reclaim(e);
	return e->nfree != 0 ? e->free[--e->nfree] : e->used++;
}

static void hit(struct engine *e, uint32_t frame, enum hmm_access access)
{
	uint8_t *flags = &e->frame_flags[frame];

	if (*flags & FRAME_AVAILABLE) {
		engine_flush(e);
		list_remove(e, frame);
		e->counts.rescues++;
		e->hooks.rejected(e->state, frame, HMM_REJECT_RACED);
	} else if (e->mode == SIM_REFBITS) {
		*flags |= FRAME_REFERENCED;
	} else if (e->tells_hits) {
		if (e->nhits == HITS_MOST || access != e->hits_access)
			engine_flush(e);
		e->hits_access = access;
		e->hits[e->nhits++] = frame;
	}
	if (access == HMM_ACCESS_WRITE)
		*flags |= FRAME_DIRTY;
}

static void request(struct engine *e, uint32_t page, enum hmm_access access)
{
	uint32_t frame = place_frame(e->places[page]);

	if (frame != NOBODY) {
		hit(e, frame, access);
		return;
	}
	engine_flush(e);
	engine_miss(e, page, access);
	frame = take_frame(e);
	engine_load(e, page);
	e->frame_flags[frame] = access == HMM_ACCESS_WRITE ? FRAME_DIRTY : 0;
	engine_insert(e, frame, page, access);
}

/* A page on the available list leaves it, as any that a call speaks of. */
static void discard(struct engine *e, uint32_t page)
{
	uint32_t frame = place_frame(e->places[page]);

	engine_flush(e);
	if (frame != NOBODY && (e->frame_flags[frame] & FRAME_AVAILABLE) && e->discards == DISCARDS_UNMAPPED)
		list_remove(e, frame);
	engine_discard(e, page);
}

void batched_run(struct engine *e, const record *records, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		uint32_t page = record_page(records[i]);

		if (record_operation(records[i]) == OP_DISCARD) {
			discard(e, page);
			continue;
		}
		e->counts.requests++;
		request(e, page, record_operation(records[i]) == OP_WRITE ? HMM_ACCESS_WRITE : HMM_ACCESS_READ);
	}
}
