/* SPDX-License-Identifier: MIT */
/*
 * discard.c - what is free is discarded, but for what libgc is about to use
 *
 * Discarded lazily, a page goes first when frames are needed, unsaved; one that libgc uses before that stays, but its
 * first use traps.  So what libgc will use next is better left alone.
 *
 * K1  libgc keeps its free blocks by their size and takes the smallest that is large enough, the large ones of a size
 *     first put aside last: the short runs of free pages are used before the long ones.  All runs of LONGEST pages and
 *     more are of one size for libgc, and here.
 * K2  What is not resident is discarded in any case: its contents in the store are of no use.
 */
#include "heap.h"

#define LONGEST 256u
#define PIECE 1024u

struct sizes {
	uint64_t pages[LONGEST + 1]; /* resident ones in free runs of this length */
};

typedef void (*on_run)(void *arg, uint8_t *from, uint64_t npages);

static void for_each_free_run(on_run function, void *arg)
{
	for (uint32_t i = 0; i < hmm__heap.nchunks; i++) {
		const struct hmm__chunk *chunk = &hmm__heap.chunks[i];
		uint64_t page = hmm__page_of(chunk->from), end = page + chunk->length / hmm__heap.page, from;

		while (chunk->is_heap && page < end) {
			for (from = page; page < end && !hmm__page_is_live(page); page++)
				;
			if (page > from)
				function(arg, hmm__heap.base + from * hmm__heap.page, page - from);
			for (; page < end && hmm__page_is_live(page); page++)
				;
		}
	}
}

static uint64_t size_of(uint64_t npages)
{
	return npages < LONGEST ? npages : LONGEST;
}

static void discard(uint8_t *from, uint64_t npages)
{
	if (npages && !hmm_region_advise(hmm__heap.region, from, npages * hmm__heap.page, HMM_ADVISE_FREE))
		atomic_fetch_add(&hmm__counters.discarded, npages);
}

/* Up to PIECE pages; false: not known. */
static bool find_resident(uint8_t *from, uint64_t npages, uint8_t vec[PIECE])
{
	return !hmm_region_residency(hmm__heap.region, from, npages * hmm__heap.page, vec);
}

static void tally(void *arg, uint8_t *from, uint64_t npages)
{
	struct sizes *sizes = arg;
	uint8_t vec[PIECE];

	for (uint64_t done = 0, n; done < npages; done += n) {
		n = npages - done < PIECE ? npages - done : PIECE;
		if (!find_resident(from + done * hmm__heap.page, n, vec))
			continue;
		for (uint64_t i = 0; i < n; i++)
			sizes->pages[size_of(npages)] += vec[i] & HMM_RESIDENT;
	}
}

/* Runs of less than `size` pages are kept whole, of those of `size` the first `left` pages. */
struct keeping {
	uint64_t size, left;
};

/* Pages of a piece are kept if they are resident and *left is not used up. */
static void keep_some(uint8_t *from, uint64_t npages, uint64_t *left)
{
	uint64_t first = 0, i;
	uint8_t vec[PIECE];

	if (!find_resident(from, npages, vec))
		return;
	for (i = 0; i < npages; i++) {
		if (!(vec[i] & HMM_RESIDENT) || !*left)
			continue;
		--*left;
		discard(from + first * hmm__heap.page, i - first);
		first = i + 1;
	}
	discard(from + first * hmm__heap.page, i - first);
}

static void discard_run(void *arg, uint8_t *from, uint64_t npages)
{
	struct keeping *keeping = arg;
	uint64_t all = UINT64_MAX, none = 0;
	uint64_t *left = size_of(npages) < keeping->size ? &all : size_of(npages) == keeping->size ? &keeping->left : &none;

	for (uint64_t done = 0, n; done < npages; done += n) {
		n = npages - done < PIECE ? npages - done : PIECE;
		if (*left)
			keep_some(from + done * hmm__heap.page, n, left);
		else
			discard(from + done * hmm__heap.page, n);
	}
}

void hmm__discard_free(uint64_t kept)
{
	struct keeping keeping = { .size = 1, .left = kept };
	struct sizes sizes = { { 0 } };

	if (kept)
		for_each_free_run(tally, &sizes);
	while (keeping.size < LONGEST && keeping.left >= sizes.pages[keeping.size])
		keeping.left -= sizes.pages[keeping.size++];
	for_each_free_run(discard_run, &keeping);
}
