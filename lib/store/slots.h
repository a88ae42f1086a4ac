/* SPDX-License-Identifier: MIT */
/*
 * slots.h - which pages of a swap store are taken
 *
 * A slot is one system page of the store; slot 0 is never given out.  Runs are allocated adjacent and in ascending
 * order from a moving cursor, so that a batch of evictions becomes one sequential write.  The store grows only while at
 * least half of its slots are used; else the cursor starts again at the beginning.  A ceiling keeps it from growing past what
 * its store takes.
 *
 * Not locked: the caller serialises.  Memory: one bit a slot and a summary, backed only where slots were ever used.
 * Everything but create and destroy is async-signal-safe.
 */
#ifndef HMM_STORE_SLOTS_H
#define HMM_STORE_SLOTS_H

#include <stddef.h>
#include <stdint.h>

struct hmm__slots;

/* max_slots: 1 .. 2^32 - 1, else -EINVAL.  Returns 0 or -ENOMEM. */
int hmm__slots_create(uint64_t max_slots, struct hmm__slots **ret_slots);
void hmm__slots_destroy(struct hmm__slots *slots); /* NULL is accepted */
/*
 * Take up to want adjacent slots.  unit: a power of two; the run is a multiple of it and begins at a multiple of it.
 * want >= unit.  Prefers a run of all of want (rounded down to unit); takes the longest it finds near the cursor rather
 * than searching everything.  Returns the number taken and the first in *ret_first; 0 if no free run of unit is left.
 */
uint32_t hmm__slots_alloc(struct hmm__slots *slots, uint32_t want, uint32_t unit, uint32_t *ret_first);
void hmm__slots_free(struct hmm__slots *slots, uint32_t first, uint32_t n);
/*
 * Only these of the slots may be taken from now on: chunk i (1 << chunk_shift slots) if bit i % 64 of mine is set.  All ones: any.
 * For processes that share a store.  Slots that are taken already stay so.  A unit must not be larger than a chunk.
 */
void hmm__slots_restrict(struct hmm__slots *slots, uint64_t mine, unsigned chunk_shift);
uint64_t hmm__slots_top(const struct hmm__slots *slots); /* no slot at or above it is taken */
uint64_t hmm__slots_used(const struct hmm__slots *slots);
/*
 * Slots at or above `ceiling` are not given out from now on; those that are taken stay so until they are freed.  May be
 * lowered and raised at any time.
 */
void hmm__slots_limit(struct hmm__slots *slots, uint64_t ceiling);
uint64_t hmm__slots_ceiling(const struct hmm__slots *slots);
/* How many are free below the ceiling. */
uint64_t hmm__slots_room(const struct hmm__slots *slots);
size_t hmm__slots_bytes(const struct hmm__slots *slots); /* memory, estimated from the highest slot used */
/* Walk runs of used slots from *cursor (start with 0), ascending.  Returns 1 and a run, or 0 at the end. */
int hmm__slots_next_run(const struct hmm__slots *slots, uint32_t *cursor, uint32_t *ret_first, uint32_t *ret_n);

#endif
