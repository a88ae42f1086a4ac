/* SPDX-License-Identifier: MIT */
/*
 * intervals.h - a small set of page ranges: which parts of a region are read-only
 *
 * A sorted list without overlaps.  Not locked.  Allocates: not for the fault path.
 */
#ifndef HMM_VM_INTERVALS_H
#define HMM_VM_INTERVALS_H

#include <stdbool.h>
#include <stdint.h>

struct hmm__interval {
	struct hmm__interval *next;
	uint64_t from, to; /* pages from .. to - 1 */
};

/* Both return 0, or -ENOMEM with the set as it was. */
int hmm__intervals_add(struct hmm__interval **set, uint64_t from, uint64_t to);
int hmm__intervals_remove(struct hmm__interval **set, uint64_t from, uint64_t to);
bool hmm__intervals_meet(const struct hmm__interval *set, uint64_t from, uint64_t to);
void hmm__intervals_fini(struct hmm__interval **set);

#endif
