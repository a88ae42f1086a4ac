/* SPDX-License-Identifier: MIT */
/*
 * load.h - making pages present: where contents come from, and how they get to their address
 */
#ifndef HMM_VM_LOAD_H
#define HMM_VM_LOAD_H

#include "lib/mem/fingerprint.h"
#include "lib/vm/vm.h"

/* Where an absent page's contents are. */
enum hmm__source { HMM__SOURCE_ZERO, HMM__SOURCE_SWAP, HMM__SOURCE_STORE };

static inline enum hmm__source hmm__source_of(const struct hmm_region *region, uint64_t word)
{
	if (word & HMM__STORED)
		return HMM__SOURCE_SWAP;
	return region->store ? HMM__SOURCE_STORE : HMM__SOURCE_ZERO;
}

/* The vector entry that reads a page into a slot. */
struct hmm_store_vec hmm__source_vec(const struct hmm_region *region, uint64_t page, enum hmm__source source, void *data);
int hmm__source_read(struct hmm_region *region, enum hmm__source source, struct hmm_store_vec *vec, unsigned n);

/* Can frames move between window and addresses?  (Not where a part is read-only: hmm__read_only().) */
static inline bool hmm__can_grant(const struct hmm_region *region)
{
	return region->engine->caps & HMM_BACKEND_GRANT;
}

/* May a frame that was at an address of the region get other contents?  Then pages are loaded by grant. */
static inline bool hmm__recycles(const struct hmm_region *region)
{
	return hmm__can_grant(region) && region->flags & HMM_REGION_RECYCLE;
}

/* Remember clean contents of a page that is not out of a device's reach.  The page is the caller's. */
static inline uint64_t hmm__print_of(const struct hmm_region *region, const void *contents)
{
	return hmm__fingerprint_of(contents, (size_t)1 << region->shift).low;
}

/* install.c */
struct hmm__install {
	struct hmm_region *region;
	uint64_t page;
	uint32_t npages; /* adjacent, from adjacent slots */
	void *slot;      /* NULL: zeros */
	bool clean;      /* write-protected; else dirty from the start */
	bool grant;      /* the slots' frames move; else they are copied */
	uint32_t done;   /* out: pages installed, from the start */
	bool dirtied;    /* out: clean pages may have been written already: treat them as dirty */
};
int hmm__install(struct hmm__install *in);

#endif
