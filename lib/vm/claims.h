/* SPDX-License-Identifier: MIT */
/*
 * claims.h - who of this process uses which bytes of which store
 *
 * A shared region, a cache and the swap of a space each have copies of their own of a store's bytes.  Two that hold the
 * same bytes, one of them to change them, lose each other's changes: the later write-out has the older copy of the rest.
 *
 * B1  Two claims that overlap exist only if both just read, or both say that they know (`incoherent`).
 * B2  A claim stands from before the first page can be read until the last write has ended.  Parts that were unmapped are
 *     let go when their pages are gone; if there is no memory to note that, they stay claimed.
 * B3  A store is known by its identity (lib/store/store.h), not by its handle.
 */
#ifndef HMM_VM_CLAIMS_H
#define HMM_VM_CLAIMS_H

#include <stdbool.h>
#include <stdint.h>

#include "lib/store/store.h"
#include "lib/vm/intervals.h"

/* All under the spaces lock once it is made. */
struct hmm__claim {
	struct hmm__store_identity store;
	uint64_t from, to;              /* bytes from .. to - 1 of the store */
	struct hmm__interval *released; /* parts of it that were let go */
	bool writes, incoherent, swap, stands;
	struct hmm__claim *next, *prev;
};

/* The caller has filled in store, from, to, writes, incoherent and swap.  0, or -EBUSY by B1.  No lock held. */
int hmm__claim_make(struct hmm__claim *claim);
/* It wants to write from now on: 0, or -EBUSY and it just reads. */
int hmm__claim_write(struct hmm__claim *claim);
void hmm__claim_release(struct hmm__claim *claim, uint64_t from, uint64_t to);
void hmm__claim_end(struct hmm__claim *claim); /* one that does not stand is accepted */
/* In a forked child, the spaces lock held: shared regions and caches did not come along, the swap stores of spaces did. */
void hmm__claims_forked(void);

#endif
