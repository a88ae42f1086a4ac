/* SPDX-License-Identifier: MIT */
/*
 * room.c - how much the program may allocate before the next collection
 *
 * libgc collects when as much was allocated as a third or so of what is in use, whatever memory there is.  Here it is
 * the memory that decides, and what a collection costs: `worth` pages could be transferred in the same time.
 *
 * - What is *needed* is what is live but for the cold pages (survey.c), which lie in the store and may stay there.
 * - Where that leaves room for more than a quarter of `worth`, exactly as much is allocated as there is room for.  Then
 *   nothing is ever evicted: garbage has its pages used again before others are needed.
 * - Else what is allocated displaces live data or is written out before it is known to be garbage: a transfer for
 *   each page.  Several times as much is allocated as would cost what a collection costs: its time, and bringing in what
 *   does not fit of the needed pages.  Not less than a quarter of the live data, and not more than two or three times
 *   all of it, for what was live may not stay so, and a larger heap has more headers and takes space in the store.
 *
 * The factors were found by trying: GCBench with one and two threads, Guile, heaps of twice the budget.
 *
 * Idea: T. Yang, E. Berger, S. Kaplan, E. Moss, "CRAMM: virtual memory support for garbage-collected applications",
 * OSDI 2006.
 */
#include "heap.h"

#define LEAST_ROOM ((uint64_t)64) /* pages */
#define SHARE 8u                  /* room below a SHARE-th of the live pages is no room */
#define DIVISOR_MOST 32u          /* the heap grows by this part of itself */

static uint64_t planned_for; /* pages available at the last plan */
static bool is_steady;       /* the last plan found room beside the needed pages */
static _Atomic size_t room_bytes; /* 0: libgc decides */

/*
 * Frames that the region can use: what the space has for it, and no more than the machine can still give.  (A cgroup's or
 * the machine's shortage makes `attainable` less than the budget.)
 */
uint64_t hmm__room_available(void)
{
	struct hmm_memory memory = { .size = sizeof(memory) };
	uint64_t mine, others, usable;

	if (hmm_space_memory(hmm__heap.space, &memory))
		return planned_for ? planned_for : LEAST_ROOM;
	mine = hmm_region_resident(hmm__heap.region);
	others = memory.used + memory.garbage > mine ? memory.used + memory.garbage - mine : 0;
	usable = memory.usable < memory.attainable ? memory.usable : memory.attainable;
	return usable > others + LEAST_ROOM ? usable - others : LEAST_ROOM;
}

static uint64_t clamp(uint64_t n, uint64_t least, uint64_t most)
{
	return n < least ? least : n > most ? most : n;
}

/* Pages to allocate before the next collection, of `fit` that find room beside what is needed of the live ones. */
static uint64_t room_for(uint64_t live, uint64_t needed, uint64_t available, uint64_t worth)
{
	uint64_t fit = available > needed ? (available - needed) / 8 * 7 : 0;

	is_steady = live && fit >= worth / 4 && fit >= live / SHARE;
	if (is_steady || !live)
		return fit;
	if (needed <= available)
		return clamp(4 * worth, live / 4, 2 * live);
	return clamp(8 * (worth + needed - available), live / 4, 3 * live);
}

void hmm__room_plan(const struct hmm__survey *survey, uint64_t worth)
{
	uint64_t available = hmm__room_available(), other = survey->other, room, divisor;

	planned_for = available;
	atomic_store(&hmm__counters.memory, available);
	if (hmm__heap.flags & HMM_BDWGC_NO_SIZING)
		return;
	if (!survey->heap) /* nothing is known yet of what libgc needs beside its heap: a tenth of it, mostly */
		other = available / 8;
	available -= available / 16; /* reclaim works ahead, and blocks are never quite full */
	available = available > other ? available - other : 0;
	room = room_for(survey->live, survey->live - survey->cold, available, worth);
	room = room > LEAST_ROOM ? room : LEAST_ROOM;
	/* libgc takes the larger of the least and of its own idea, (2 * live + roots) / divisor */
	divisor = clamp(2 * survey->live / room + 2, 1, DIVISOR_MOST);
	hmm__libgc.set_min_bytes_allocd(room * hmm__heap.page);
	hmm__libgc.set_free_space_divisor(divisor);
	hmm__libgc.set_dont_expand(0);
	atomic_store(&hmm__counters.room, room);
	atomic_store(&room_bytes, room * hmm__heap.page);
}

/* Where nothing is steady, pages are evicted before libgc comes to them again: none of them is worth keeping. */
uint64_t hmm__room_reused(void)
{
	return is_steady ? atomic_load(&hmm__counters.room) : 0;
}

/* Memory went away since the last plan: collect before the heap grows further. */
void hmm__room_check(void)
{
	uint64_t available;

	if (hmm__heap.flags & HMM_BDWGC_NO_SIZING)
		return;
	available = hmm__room_available();
	if (available < planned_for - planned_for / 8)
		hmm__libgc.set_dont_expand(1);
}

/* From an allocating function, outside of libgc. */
void hmm__room_look(void)
{
	size_t most = atomic_load_explicit(&room_bytes, memory_order_relaxed);

	if (most && hmm__libgc.get_bytes_since_gc() >= most)
		hmm__libgc.gcollect();
}
