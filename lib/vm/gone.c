/* SPDX-License-Identifier: MIT */
/*
 * gone.c - what the backend tells us from outside: ranges unmapped behind our back, frames wanted back
 */
#include <errno.h>
#include <sched.h>

#include "lib/vm/vm.h"

/* The part of [from, to) that is this region's is other people's memory now. */
static void cut(struct hmm_region *region, uint8_t *from, uint8_t *to)
{
	uint64_t page = (uint64_t)(from - region->base) >> region->shift;
	uint64_t end = (uint64_t)(to - region->base + ((ptrdiff_t)1 << region->shift) - 1) >> region->shift;
	size_t length;

	/* whole pages of the region: half a page can't be paged */
	from = hmm__page_address(region, page);
	to = hmm__page_address(region, end);
	for (; hmm__regions_take(region, &from, to, &length); from += length) {
		page = (uint64_t)(from - region->base) >> region->shift;
		(void)!hmm__discard(region, page, length >> region->shift, HMM__DISCARD_GONE);
		hmm__region_release(region, page, length >> region->shift);
		hmm__event(region->space, HMM_EVENT_GONE, region, page, length >> region->shift, 0, NULL);
	}
}

void hmm__gone(void *arg, uintptr_t address, size_t length)
{
	uintptr_t end = address + length;

	(void)arg;
	while (address < end) {
		bool closed = false;
		struct hmm_region *region = hmm__region_get(address, true, &closed);
		uintptr_t stop;

		if (closed) {
			if (hmm__gate_postpone(address, end - address))
				return;
			sched_yield();
			continue;
		}
		if (!region) {
			address += hmm_page_size();
			continue;
		}
		stop = HMM__MIN(end, (uintptr_t)region->base + region->length);
		cut(region, (uint8_t *)address, (uint8_t *)stop);
		hmm__region_put(region);
		address = stop;
	}
}

void hmm__pressure(void *arg, int64_t frames)
{
	struct hmm_space *space = arg;

	atomic_fetch_add(&space->pressure, frames);
	hmm__reclaimer_wake(space);
}
