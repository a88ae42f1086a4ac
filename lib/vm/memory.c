/* SPDX-License-Identifier: MIT */
/*
 * memory.c - how much memory there is, for programs that can choose how much they use
 *
 * A budget is a permission: the local kernel gives a frame when a page is first put into it.  So what the system could
 * still give counts from what is held, not from the budget, and a budget may be larger than what can be had.
 */
#include <errno.h>

#include "lib/base/util.h"
#include "lib/mem/room.h"
#include "lib/vm/call.h"

/* Under the lock: frames that pages can't have, for they are kept free, parked, or left to write dirty pages from. */
static uint64_t in_hand(const struct hmm_space *space)
{
	return space->high_water + space->reserve + HMM__MIN(space->budget / 32, (uint64_t)HMM__BOUNCES);
}

/* Under the lock.  Returns what is held. */
static uint64_t read_books(struct hmm_space *space, struct hmm_memory *m)
{
	uint64_t hand = in_hand(space), garbage = atomic_load(&space->garbage);

	m->budget = space->budget;
	m->max_frames = space->capacity;
	m->pinned = space->held_back;
	m->garbage = HMM__MIN(garbage, space->resident);
	m->used = space->resident - m->garbage;
	m->kept = space->available + space->laundry;
	m->free = hmm__frames_free(space);
	m->usable = space->budget > hand ? space->budget - hand : 0;
	return space->held;
}

static void add_room(struct hmm_memory *m, const struct hmm__room *room, uint64_t held)
{
	uint64_t page = hmm_page_size(), more;

	m->system = room->system / page;
	m->group = room->group == UINT64_MAX ? UINT64_MAX : room->group / page;
	more = HMM__MIN(m->system, m->group);
	m->attainable = HMM__MIN(held + more, m->max_frames);
	m->growable = m->attainable > m->budget ? m->attainable - m->budget : 0;
}

int hmm_space_memory(struct hmm_space *space, struct hmm_memory *memory)
{
	struct hmm_memory m = { .size = sizeof(m) };
	struct hmm__room room;
	struct hmm__call call;
	uint64_t held;
	int r;

	if (!space || !memory)
		return -EINVAL;
	r = hmm__room_read(&room); /* before the call begins: a fork need not wait for it */
	if (r)
		return r;
	r = hmm__call_begin_space(&call, space);
	if (r)
		return r;
	hmm__lock(&space->lock);
	held = read_books(space, &m);
	hmm__unlock(&space->lock);
	hmm__call_end(&call);
	add_room(&m, &room, held);
	return hmm__stats_write(memory, &m, sizeof(m));
}

uint64_t hmm_region_resident(const struct hmm_region *region)
{
	return region ? hmm__peek(&region->resident) : 0;
}
