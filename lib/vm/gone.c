/* SPDX-License-Identifier: MIT */
/*
 * gone.c - what the backend tells us from outside: ranges unmapped behind our back, frames wanted back
 */
#include <errno.h>

#include "lib/vm/vm.h"

/* The part of [from, to) that is this region's is other people's memory now. */
static void cut(struct hmm_region *region, uint8_t *from, uint8_t *to)
{
	uint64_t page = (uint64_t)(from - region->base) >> region->shift;
	uint64_t end = (uint64_t)(to - region->base + ((ptrdiff_t)1 << region->shift) - 1) >> region->shift;
	size_t bytes;
	int r;

	hmm__lock(&hmm__spaces_lock);
	r = hmm__regions_cut(region, hmm__page_address(region, page), hmm__page_address(region, end), &bytes);
	hmm__unlock(&hmm__spaces_lock);
	if (r)
		return;
	atomic_fetch_sub(&region->mapped_pages, bytes >> region->shift);
	(void)!hmm__discard(region, page, end - page, HMM__DISCARD_GONE);
	hmm__event(region->space, HMM_EVENT_GONE, region, page, end - page, 0, NULL);
}

void hmm__gone(void *arg, uintptr_t address, size_t length)
{
	uintptr_t end = address + length;

	(void)arg;
	while (address < end) {
		struct hmm_region *region = hmm__region_get(address);
		uintptr_t stop;

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
