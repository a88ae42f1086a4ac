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
 * C5  Where there is room it is looked at every LOOK-th time only: what libgc uses again and again stays as it is.
 *     That is so if libgc takes the same pages again.  If pages were written all the same, it went through others, and
 *     for DISTRUST collections everything that is free is discarded: a trap for each page is cheaper than a write.
 * C6  What a collection costs beside paging is the time that it took less the time that its faults took; the least
 *     lately, for other processes make it longer only, and what is live for a moment only is not worth more transfers.
 */
#include <hurd-mm/hints.h>
#include <string.h>
#include <time.h>

#include "heap.h"

#define LOOK 3u           /* C5 */
#define DISTRUST 8u
#define TRAP_NS 2000u     /* C6: of a fault, before and after what is measured of it */
#define TRANSFER_NS 6000u /* while there were none */

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

/* C6 */
static struct {
	uint64_t begin, faults, fault_ns; /* at the start of a collection */
	uint64_t average;                 /* ns of a collection */
} cost;

static struct hmm_stats stats(void)
{
	struct hmm_stats stats = { .size = sizeof(stats) };

	(void)!hmm_space_stats(hmm__heap.space, &stats);
	return stats;
}

static void begin(void)
{
	struct hmm_stats s = stats();

	cost.begin = now();
	cost.faults = s.faults;
	cost.fault_ns = s.fault_ns;
}

/* A collection has ended: as many transfers take as long as one. */
static uint64_t worth(void)
{
	struct hmm_stats s = stats();
	uint64_t took = now() - cost.begin, paging = s.fault_ns - cost.fault_ns + (s.faults - cost.faults) * TRAP_NS, each;

	took -= paging < took / 4 * 3 ? paging : took / 4 * 3; /* several threads mark, and wait for pages at the same time */
	cost.average = !cost.average || took < cost.average ? took : (7 * cost.average + took) / 8;
	each = s.faults && s.write_outs ? s.fault_ns / s.faults + TRAP_NS + s.write_ns / s.write_outs : TRANSFER_NS;
	return cost.average / each;
}

/* Pages that libgc is going to use again in their frames; C5. */
static uint64_t reused(void)
{
	static uint64_t written;
	static unsigned distrust;
	struct hmm_stats s = stats();
	uint64_t reused = hmm__room_reused(), wrote = s.write_outs - written;

	written = s.write_outs;
	if (reused && wrote > reused / 16)
		distrust = DISTRUST;
	else if (distrust)
		distrust--;
	return distrust ? 0 : reused;
}

/* Everything is swept, or known to be free. */
static void after(void)
{
	static unsigned passed; /* collections since the last look */
	struct hmm__survey survey;
	uint64_t begun = now(), transfers, kept;

	atomic_fetch_add(&hmm__counters.collections, 1);
	if (hmm__heap.flags & HMM_BDWGC_NO_DISCARD && hmm__heap.flags & HMM_BDWGC_NO_SIZING)
		return; /* nobody wants to know */
	transfers = worth();
	kept = reused(); /* by the last plan */
	if (kept && ++passed < LOOK)
		return;
	passed = 0;
	hmm__heap_classify();
	hmm__survey(&survey);
	hmm__room_plan(&survey, transfers);
	if (!(hmm__heap.flags & HMM_BDWGC_NO_DISCARD) && survey.heap + survey.other > hmm__room_available())
		hmm__discard_free(kept ? hmm__room_reused() : 0);
	atomic_store(&hmm__counters.live, survey.live);
	atomic_fetch_add(&hmm__counters.scan_ns, now() - begun);
}

void GC_CALLBACK hmm__collection_event(GC_EventType event)
{
	switch (event) {
	case GC_EVENT_START:
		begin();
		break;
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
