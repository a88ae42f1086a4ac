/* SPDX-License-Identifier: MIT */
/*
 * record.h - a trace of what a space sees, for the simulator
 */
#ifndef HMM_VM_RECORD_H
#define HMM_VM_RECORD_H

#include <stdbool.h>
#include <stdint.h>

#include "lib/base/util.h"
#include "lib/vm/vm.h"

/* The two low bits of a word; the others are a page, but in a hint. */
enum hmm__record_op {
	HMM__RECORD_READ = 0,
	HMM__RECORD_WRITE = 1,
	HMM__RECORD_DISCARD = 2,
	HMM__RECORD_HINT = 3 /* three words: first page, pages, hint and value */
};

/* name: the option, NULL: as the environment says.  *ret_record: NULL if nothing is to be recorded. */
int hmm__record_open(struct hmm_space *space, const char *name, struct hmm__record **ret_record);
void hmm__record_close(struct hmm_space *space);
/* No lock held: write out what has come.  One thread at a time; a second one returns at once. */
void hmm__record_flush(struct hmm_space *space);
/* In the child of a fork: the file is the parent's. */
void hmm__record_forked(struct hmm_space *space);
void hmm__record_stats(struct hmm_space *space, uint64_t *ret_recorded, uint64_t *ret_dropped);
uint64_t hmm__record_bytes(const struct hmm_space *space);

/* Under the space's lock; record is not NULL. */
void hmm__record_put(struct hmm_space *space, uint64_t page_id, enum hmm__record_op op);
void hmm__record_put_hint(struct hmm_space *space, uint64_t page_id, uint64_t npages, enum hmm_hint hint, int64_t value);

/* Under the space's lock: nothing but a predicted branch while nothing is recorded. */
static inline void hmm__record(struct hmm_region *region, uint64_t page, enum hmm__record_op op)
{
	if (HMM__UNLIKELY(region->space->record != NULL))
		hmm__record_put(region->space, hmm__page_id(region, page), op);
}

static inline void hmm__record_access(struct hmm_region *region, uint64_t page, bool write)
{
	hmm__record(region, page, write ? HMM__RECORD_WRITE : HMM__RECORD_READ);
}

/* What another store has is not garbage when the page is dropped here. */
static inline void hmm__record_discard(struct hmm_region *region, uint64_t page)
{
	if (!region->store)
		hmm__record(region, page, HMM__RECORD_DISCARD);
}

#endif
