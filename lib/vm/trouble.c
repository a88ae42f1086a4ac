/* SPDX-License-Identifier: MIT */
/*
 * trouble.c - a store that refuses what it is given: reported once, and asked again less and less often
 *
 * See trouble.h for the rules (X1-X3).
 */
#include "lib/vm/trouble.h"

#include "lib/base/clock.h"
#include "lib/vm/vm.h"

#define FIRST_NS UINT64_C(1000000)
#define LAST_NS UINT64_C(32000000)

struct hmm__trouble *hmm__trouble_of(struct hmm_region *region)
{
	return region->slots ? &region->space->swap_trouble : &region->trouble;
}

bool hmm__trouble_waits(struct hmm__trouble *trouble)
{
	uint64_t again = atomic_load_explicit(&trouble->again_ns, memory_order_relaxed);

	return again && hmm__now_ns() < again;
}

void hmm__trouble_refused(struct hmm_region *region, uint64_t page, uint64_t n, int error)
{
	struct hmm__trouble *trouble = hmm__trouble_of(region);
	uint32_t step = atomic_fetch_add(&trouble->step, 1);
	uint64_t wait = step < 16 ? HMM__MIN(FIRST_NS << step, LAST_NS) : LAST_NS;

	if (!atomic_exchange(&trouble->told, 1)) {
		atomic_fetch_add(&region->space->troubles, 1);
		/* a full swap store comes and goes as trouble, but is one state: swap_room.c ends it */
		if (!region->slots || !hmm__no_room(error) || !atomic_exchange(&region->space->swap_full, 1))
			hmm__event(region->space, HMM_EVENT_WRITE_ERROR, region, page, n, error, NULL);
	}
	atomic_store(&trouble->again_ns, hmm__now_ns() + wait);
}

void hmm__trouble_over(struct hmm_space *space, struct hmm__trouble *trouble)
{
	if (!atomic_load_explicit(&trouble->told, memory_order_relaxed))
		return;
	atomic_store(&trouble->again_ns, 0);
	atomic_store(&trouble->step, 0);
	if (atomic_exchange(&trouble->told, 0))
		atomic_fetch_sub(&space->troubles, 1);
}
