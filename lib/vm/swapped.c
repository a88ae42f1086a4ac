/* SPDX-License-Identifier: MIT */
/*
 * swapped.c - does the kernel swap out what we hold?  A sign that the budget is too large for the machine or the cgroup
 *
 * Now and then (background thread, hmm_space_poll()) some mapped pages are looked at, all in turn.  One event when some are found swapped out, and none more until a number of looks found nothing.
 * Where the machine has no swap this costs one call of sysinfo(2).
 */
#include <sys/sysinfo.h>

#include "lib/sys/sys.h"
#include "lib/vm/vm.h"

#define LOOK 16u        /* pages */
#define TRIES 256u      /* frames passed for it */
#define MANY 4u         /* of those: not chance */
#define QUIET 50u       /* looks without a find until the next one is news */

struct place {
	struct hmm__engine *engine;
	void *address;
};

/* The next frames in turn that are at an address. */
static unsigned choose(struct hmm_space *space, struct place *places)
{
	unsigned n = 0;

	hmm__lock(&space->lock);
	for (unsigned tries = 0; tries < TRIES && tries < space->fresh_frame && n < LOOK; tries++) {
		struct hmm__frame *f = &space->frames[space->swapped_hand % space->fresh_frame];

		space->swapped_hand++;
		if (f->region && !f->region->cache && f->slot == HMM__NO_SLOT)
			places[n++] = (struct place){ f->region->engine, hmm__page_address(f->region, f->page) };
	}
	hmm__unlock(&space->lock);
	return n;
}

static bool has_swap(void)
{
	struct sysinfo info;

	return !hmm__sys_sysinfo(&info) && info.totalswap;
}

void hmm__swapped_look(struct hmm_space *space)
{
	struct place places[LOOK];
	unsigned n, found = 0;

	if (!has_swap())
		return;
	n = choose(space, places);
	for (unsigned i = 0; i < n; i++) {
		uint8_t bits = 0;

		/* its region may be gone by now: then something else's page is looked at, once */
		found += !places[i].engine->ops->harvest(places[i].engine->backend, places[i].address, 1, &bits) &&
		         bits & HMM_HARVEST_SWAPPED;
	}
	HMM__COUNT(space, swapped_looks, n);
	HMM__COUNT(space, swapped, found);
	if (found >= MANY) {
		if (!atomic_exchange(&space->swapped_quiet, QUIET))
			hmm__event(space, HMM_EVENT_SWAPPED, NULL, 0, found, 0, "the kernel swaps out pages of this space");
	} else {
		uint32_t left = atomic_load(&space->swapped_quiet);

		if (left)
			atomic_compare_exchange_strong(&space->swapped_quiet, &left, left - 1);
	}
}
