/* SPDX-License-Identifier: MIT */
/*
 * survey.c - which pages of the heap are live, free, or live and not used
 *
 * When libgc has swept, a block without a marked object is free, and libgc knows no object in it (GC_base).  That costs
 * a look at a header for each block; to ask for each object takes four times as long.
 *
 * V1  A page is live if any block on it is in use: the smallest blocks that libgc is built with are BLOCK bytes.
 * V2  Marking reads what may hold pointers, and only that.  So a live page of a pointer-free object that is not
 *     resident afterwards was needed neither by the program lately nor by marking: it is cold.  Other live pages that
 *     are not resident have made room for others that marking came to later, and are needed again the next time.
 */
#include <string.h>

#include "heap.h"

#define BITS 64u
#define BLOCK 4096u
#define PIECE 1024u       /* pages that are looked at together */
#define POINTER_FREE 0    /* libgc's kind of objects */

/* The object that the page holds, NULL: none. */
static void *object_on(uint8_t *at)
{
	void *object = NULL;

	for (size_t i = 0; !object && i < hmm__heap.page; i += BLOCK)
		object = hmm__libgc.base(at + i);
	return object;
}

static void look_at_page(uint8_t *at, uint8_t residency, struct hmm__survey *survey)
{
	uint64_t page = hmm__page_of(at);
	void *object = object_on(at);

	survey->heap++;
	if (!object)
		return;
	hmm__heap.live[page / BITS] |= (uint64_t)1 << page % BITS;
	survey->live++;
	if (!(residency & HMM_RESIDENT))
		survey->cold += hmm__libgc.get_kind_and_size(object, NULL) == POINTER_FREE;
}

static void look_at_piece(uint8_t *from, uint64_t npages, bool is_heap, struct hmm__survey *survey)
{
	uint8_t vec[PIECE];

	if (hmm_region_residency(hmm__heap.region, from, npages * hmm__heap.page, vec))
		memset(vec, HMM_RESIDENT, sizeof(vec));
	for (uint64_t i = 0; i < npages; i++) {
		if (is_heap)
			look_at_page(from + i * hmm__heap.page, vec[i], survey);
		else
			survey->other += vec[i] & HMM_RESIDENT;
	}
}

void hmm__survey(struct hmm__survey *survey)
{
	uint64_t words = atomic_load(&hmm__heap.used) / hmm__heap.page / BITS + 1;

	*survey = (struct hmm__survey){ 0 };
	memset(hmm__heap.live, 0, words * sizeof(*hmm__heap.live));
	for (uint32_t i = 0; i < hmm__heap.nchunks; i++) {
		const struct hmm__chunk *chunk = &hmm__heap.chunks[i];
		uint64_t npages = chunk->length / hmm__heap.page, n;

		for (uint64_t page = 0; page < npages; page += n) {
			n = npages - page < PIECE ? npages - page : PIECE;
			look_at_piece(chunk->from + page * hmm__heap.page, n, chunk->is_heap, survey);
		}
	}
}
