/* SPDX-License-Identifier: MIT */
/*
 * notice.c - a last look at pages before they are evicted, for the application that asked for it
 *
 * N1  The pages are EVICTING, the caller's, mapped and write-protected (E4): reading them does not trap, and who writes
 *     waits until they have left or are kept.
 * N2  No lock is held.  The callback may run in a signal handler, and in several threads at once.
 * N3  At most half of what a batch announces is kept, so that a pass frees something.
 */
#include "lib/vm/batch.h"

/* Does it leave its address with contents that matter? */
static bool announced(const struct hmm__item *it)
{
	return it->region->flags & HMM_REGION_NOTICE && it->fate <= HMM__FATE_SAVE && !(it->word & HMM__FREE);
}

static unsigned collect(struct hmm__batch *b)
{
	unsigned n = 0;

	for (unsigned i = 0; i < b->n; i++) {
		struct hmm__item *it = &b->items[i];

		if (!announced(it))
			continue;
		b->notices[n++] = (struct hmm_notice){
			.region = it->region,
			.address = hmm__page_address(it->region, it->page),
			.length = (size_t)1 << it->region->shift,
		};
	}
	return n;
}

/* The n-th notice is the n-th item that is announced.  Returns how many stay. */
static unsigned keep(struct hmm__batch *b, unsigned most)
{
	unsigned n = 0, kept = 0;

	for (unsigned i = 0; i < b->n; i++) {
		struct hmm__item *it = &b->items[i];

		if (!announced(it))
			continue;
		if (b->notices[n++].keep && kept < most) {
			it->fate = HMM__FATE_VETOED;
			kept++;
		}
	}
	return kept;
}

void hmm__notice(struct hmm_space *space, struct hmm__batch *b)
{
	unsigned n = collect(b), kept;

	if (!n)
		return;
	space->given.notice(space->given.notice_arg, b->notices, n);
	kept = keep(b, n / 2);
	HMM__COUNT(space, notices, n);
	HMM__COUNT(space, vetoes, kept);
}
