/* SPDX-License-Identifier: MIT */
/*
 * collect.c - what a collection tells the space
 *
 * While libgc marks, the policy knows it for a scan.  When it has swept, every block has its marks: a page of the heap
 * on which no marked object lies is free, and libgc has just put it on its own list of free blocks.  Such pages are
 * discarded lazily: they go first when frames are needed, unsaved; what libgc uses again before that stays.
 *
 * C1  Events come from the thread that collects, under libgc's lock: nothing is allocated meanwhile.  A thread that libgc
 *     has stopped holds none of hurd-mm's locks and owns none of its pages: signals are blocked while it would.
 * C2  Not before RECLAIM_END: finalization marks objects after MARK_END.
 * C3  With GC_set_find_leak() garbage is not freed, and nothing is discarded.
 * C4  Nothing is discarded while the whole heap has room in memory: no page of it will be evicted, and the first use of
 *     a discarded page costs a trap.
 * C5  Where there is room it is looked at every LOOK-th time only.  What is free then and was used since the last look is
 *     what libgc uses again and again: it is best not discarded at all, and in two of three cycles it is not.
 */
#include <hurd-mm/hints.h>
#include <string.h>
#include <time.h>

#include "heap.h"

#define BITS 64u
#define LOOK 3u /* C5 */

static uint64_t now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static void phase(enum hmm_phase phase)
{
	if (!(hmm__heap.flags & HMM_BDWGC_NO_PHASES))
		(void)!hmm_region_hint(hmm__heap.region, hmm__heap.base, hmm__heap.page, HMM_HINT_PHASE, phase);
}

static uint64_t page_of(const void *address)
{
	return (uint64_t)((const uint8_t *)address - hmm__heap.base) / hmm__heap.page;
}

static bool is_live(uint64_t page)
{
	return hmm__heap.live[page / BITS] >> page % BITS & 1;
}

/* Objects come block by block: most lie on the page of the one before. */
struct sight {
	uintptr_t base, length;
	unsigned shift;
	uint64_t page; /* of the last object; UINT64_MAX: none yet */
};

static void GC_CALLBACK note_object(void *object, size_t size, void *arg)
{
	struct sight *sight = arg;
	uintptr_t at = (uintptr_t)object - sight->base;
	uint64_t page = at >> sight->shift, last = (at + (size ? size - 1 : 0)) >> sight->shift;

	if (page == sight->page && last == page)
		return;
	if (at >= sight->length)
		return; /* not paged */
	sight->page = page;
	for (; page <= last; page++)
		hmm__heap.live[page / BITS] |= (uint64_t)1 << page % BITS;
}

static uint64_t find_live(void)
{
	uint64_t npages = atomic_load(&hmm__heap.used) / hmm__heap.page, n = 0;
	uint64_t words = (npages + BITS - 1) / BITS;
	struct sight sight = { .base = (uintptr_t)hmm__heap.base, .length = hmm__heap.length, .page = UINT64_MAX,
		               .shift = (unsigned)__builtin_ctzl(hmm__heap.page) };

	memset(hmm__heap.live, 0, words * sizeof(*hmm__heap.live));
	hmm__libgc.enumerate(note_object, &sight);
	for (uint64_t i = 0; i < words; i++)
		n += (uint64_t)__builtin_popcountll(hmm__heap.live[i]);
	return n;
}

/* Pages of [page, end), all of them live or all not. */
static uint64_t run(uint64_t page, uint64_t end)
{
	bool first = is_live(page);
	uint64_t n = 1;

	while (page + n < end && is_live(page + n) == first)
		n++;
	return n;
}

static void discard_free(const struct hmm__chunk *chunk)
{
	uint64_t page = page_of(chunk->from), end = page + chunk->length / hmm__heap.page, n;

	for (; page < end; page += n) {
		n = run(page, end);
		if (is_live(page))
			continue;
		if (!hmm_region_advise(hmm__heap.region, hmm__heap.base + page * hmm__heap.page, n * hmm__heap.page,
		                       HMM_ADVISE_FREE))
			atomic_fetch_add(&hmm__counters.discarded, n);
	}
}

/* Everything is swept, or known to be free. */
static void after(void)
{
	static unsigned passed; /* collections since the last look */
	uint64_t begin = now(), heap = 0, other = 0, live;

	atomic_fetch_add(&hmm__counters.collections, 1);
	if (hmm__heap.flags & HMM_BDWGC_NO_DISCARD && hmm__heap.flags & HMM_BDWGC_NO_SIZING)
		return; /* nobody wants to know */
	if (hmm__room_is_steady() && ++passed < LOOK)
		return;
	passed = 0;
	hmm__heap_classify();
	live = find_live();
	for (uint32_t i = 0; i < hmm__heap.nchunks; i++)
		*(hmm__heap.chunks[i].is_heap ? &heap : &other) += hmm__heap.chunks[i].length / hmm__heap.page;
	hmm__room_plan(live, heap, other);
	if (!(hmm__heap.flags & HMM_BDWGC_NO_DISCARD) && heap + other > hmm__room_available()) {
		for (uint32_t i = 0; i < hmm__heap.nchunks; i++) {
			if (hmm__heap.chunks[i].is_heap)
				discard_free(&hmm__heap.chunks[i]);
		}
	}
	atomic_store(&hmm__counters.live, live);
	atomic_fetch_add(&hmm__counters.scan_ns, now() - begin);
}

void GC_CALLBACK hmm__collection_event(GC_EventType event)
{
	switch (event) {
	case GC_EVENT_MARK_START:
		phase(HMM_PHASE_SCAN);
		break;
	case GC_EVENT_MARK_END:
	case GC_EVENT_END: /* a collection that was given up has no MARK_END */
		phase(HMM_PHASE_PLAIN);
		break;
	case GC_EVENT_RECLAIM_END:
		if (!hmm__libgc.get_find_leak())
			after();
		break;
	default:
		break;
	}
}
