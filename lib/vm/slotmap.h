/* SPDX-License-Identifier: MIT */
/*
 * slotmap.h - which slots of a window are free, populated or empty
 *
 * M1  A slot is taken, or free and empty, populated or spent; a bit is set in exactly the map of the latter three.
 * M2  Groups are 64 slots, one word a group.  Single slots come from broken groups first, so that whole groups stay
 *     for runs: a run of 64 pages moves for the price of one or two single moves (one TLB flush).
 * M3  A spent slot has a frame that was once at an application's address.  Somebody may hold it still, so it gets no other
 *     contents: it goes back to the kernel.
 * Not locked: the space's lock serialises.  Memory: three bits a slot and a summary.
 */
#ifndef HMM_VM_SLOTMAP_H
#define HMM_VM_SLOTMAP_H

#include <stddef.h>
#include <stdint.h>

#define HMM__NO_SLOT UINT32_MAX
#define HMM__GROUP 64u
#define HMM__RUN_MAX 256u

struct hmm__slotset {
	uint64_t *bits;  /* a set bit: free */
	uint64_t *some;  /* a bit a group: has a free slot */
	uint64_t *whole; /* a bit a group: all free */
	uint32_t recent;   /* the group that became whole last: its frames are in the CPU's caches */
	uint32_t hint;   /* word of `some` to look at first */
	uint32_t count;  /* free slots */
};

enum { HMM__EMPTY = 0, HMM__POPULATED = 1, HMM__SPENT = 2, HMM__SLOT_KINDS = 3 };

struct hmm__slotmap {
	struct hmm__slotset set[HMM__SLOT_KINDS];
	uint32_t nslots;
	void *memory;
	size_t memory_size;
};

/* All slots free and empty.  0 or -ENOMEM. */
int hmm__slotmap_init(struct hmm__slotmap *map, uint32_t nslots);
void hmm__slotmap_fini(struct hmm__slotmap *map);
void hmm__slotmap_empty(struct hmm__slotmap *map); /* all free and empty again */

/* Take one; HMM__NO_SLOT if there is none. */
uint32_t hmm__slotmap_take(struct hmm__slotmap *map, int kind);
/* Take n <= HMM__RUN_MAX adjacent ones of otherwise whole groups; HMM__NO_SLOT if there are no such groups. */
uint32_t hmm__slotmap_take_run(struct hmm__slotmap *map, int kind, uint32_t n);
void hmm__slotmap_put(struct hmm__slotmap *map, int kind, uint32_t slot);

static inline uint32_t hmm__slotmap_count(const struct hmm__slotmap *map, int kind)
{
	return map->set[kind].count;
}

#endif
