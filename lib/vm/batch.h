/* SPDX-License-Identifier: MIT */
/*
 * batch.h - room for the many pages that one pass works on
 *
 * Kept off the stack, which may be a small alternate signal stack, and out of the allocator: each space has a fixed
 * stock.  A batch has one user at a time.
 */
#ifndef HMM_VM_BATCH_H
#define HMM_VM_BATCH_H

#include "lib/vm/vm.h"

enum hmm__fate {
	HMM__FATE_DROP,    /* clean, contents not kept */
	HMM__FATE_KEEP,    /* clean, contents kept for a rescue */
	HMM__FATE_GIVE,    /* contents not kept, but the frame goes to the window: to be recycled, or since it may be held */
	HMM__FATE_SAVE,    /* dirty: to its store */
	HMM__FATE_DISCARD, /* garbage, says the application */
	HMM__FATE_RETURN,  /* could not be taken: back to MAPPED */
	HMM__FATE_VETOED,  /* stays mapped: the application wants it, or it could not be protected to be announced */
	HMM__FATE_STAY,    /* dirty while stores refuse dirty pages: not even tried */
	HMM__FATE_LOST,    /* nothing was mapped there any more */
};

struct hmm__item {
	struct hmm_region *region;
	uint64_t page;
	uint64_t word;  /* as it was when the page was taken */
	uint32_t frame;
	uint32_t slot;  /* window slot, or HMM__NO_SLOT */
	uint32_t swap;  /* swap slot being written, 0: none */
	uint8_t fate;   /* enum hmm__fate */
	uint8_t grant;  /* the frame itself moves */
	uint8_t keep;   /* would be kept if there were a slot */
	uint8_t split;  /* a part of it was granted and came back */
	uint8_t asked;  /* an access waits for it; else it is read ahead */
	uint8_t sample; /* stays mapped if there is no slot to keep it */
	uint8_t check;  /* clean if it has its print: to be saved only if it has not */
	uint8_t read_only; /* its part of the region is */
	uint8_t anyway; /* copied, though the kernel can't tell whether it is held */
	uint8_t todo;   /* still to be unmapped */
	uint16_t weight; /* frames; the region may be gone when the last of it is done */
	uint16_t run;   /* pages of the run that begins here; 0: inside one */
	int error;
};

struct hmm__batch {
	struct hmm__batch *next;
	unsigned n;
	struct hmm__item items[HMM__BATCH_MAX];
	uint32_t victims[HMM__BATCH_MAX];
	union {
		struct hmm_map maps[HMM__BATCH_MAX];
		struct hmm_unmap unmaps[HMM__BATCH_MAX];
	};
	struct hmm_span spans[HMM__BATCH_MAX];
	struct hmm_store_vec vecs[HMM__BATCH_MAX];
	uint16_t order[HMM__BATCH_MAX]; /* items by store position */
	struct hmm_notice notices[HMM__BATCH_MAX];
};

struct hmm__batch *hmm__batch_get(struct hmm_space *space); /* NULL: all in use */
void hmm__batch_put(struct hmm_space *space, struct hmm__batch *batch);
/* By region and page. */
void hmm__batch_sort(struct hmm__batch *batch);

/* evict.c: the items are EVICTING and the caller's; on return every one has been dealt with.  Returns as hmm__reclaim(). */
int64_t hmm__evict(struct hmm_space *space, struct hmm__batch *batch, bool keep);

/* notice.c: show pages to the application that asked for it, and hear which shall stay.  Dirty ones are protected. */
void hmm__notice(struct hmm_space *space, struct hmm__batch *batch);

/* launder.c: the items are LAUNDRY with their contents in their slots: write them.  Returns the first store error. */
int hmm__launder(struct hmm_space *space, struct hmm__batch *batch);

/* store position of a page that is kept in a store of its own */
static inline uint64_t hmm__store_offset(const struct hmm_region *region, uint64_t page)
{
	return region->offset + (page << region->shift);
}

#endif
