/* SPDX-License-Identifier: MIT */
/*
 * shards.c - the miss-ratio curve of LRU from a sample of the pages: SHARDS, of fixed rate and of fixed size
 *
 * C. Waldspurger, N. Park, A. Garthwaite, I. Ahmad, "Efficient MRC construction with SHARDS", FAST 2015.  A page is in
 * the sample if its hash is below a threshold; a distance among sampled pages stands for one that is 1/rate as long, and a
 * sampled request for 1/rate requests.  Fixed size: a heap of the sampled pages by hash; when there are too many the one with
 * the largest hash goes, and the threshold becomes its hash.  (Requests counted before keep the weight of their time, which
 * is the paper's rescaling.)  Hits of a page that is requested all the time don't disturb the estimate, since misses are
 * estimated and related to the true number of requests (the paper's SHARDS_adj); cold misses are not estimated but known.
 *
 * Error: of the sum of misses over pages by random groups (sample.c); of the size, since the sampled distance of a page that
 * is c deep has the standard deviation sqrt(c (1 - rate) / rate), by the curve's slope.
 * Distances are counted in classes 1/256 wide: relative to the sampling error that is nothing.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "passes.h"
#include "sample.h"
#include "stack.h"

#define FINE 8 /* bits of a distance's mantissa */
#define CLASSES (36u << FINE)

struct sampled {
	uint32_t hash, page;
};

struct shards {
	struct stack stack;
	uint64_t threshold;    /* of the upper 32 bits of the hash: 2^32 is all */
	uint64_t seed;
	uint32_t most, nheap;  /* fixed size */
	struct sampled *heap;  /* largest hash first; children of i: 2 i + 1, 2 i + 2 */
	uint64_t requests;
	bool is_summed;
	double groups[SAMPLE_GROUPS][CLASSES + 1]; /* weight by class of distance; once summed: from the class on */
};

struct shards *shards_create(double rate, uint32_t most, uint64_t seed)
{
	struct shards *shards = calloc(1, sizeof(*shards));

	if (shards == NULL)
		return NULL;
	shards->threshold = most != 0 ? UINT64_C(1) << 32 : (uint64_t)ceil(rate * 4294967296.0);
	shards->seed = seed;
	shards->most = most;
	if (most != 0) {
		shards->heap = malloc(((size_t)most + 1) * sizeof(*shards->heap));
		if (shards->heap == NULL) {
			free(shards);
			return NULL;
		}
	}
	return shards;
}

void shards_destroy(struct shards *shards)
{
	if (shards == NULL)
		return;
	stack_free(&shards->stack);
	free(shards->heap);
	free(shards);
}

static unsigned class_of(double distance)
{
	float f = (float)distance;
	uint32_t bits;

	if (f < 1)
		f = 1;
	memcpy(&bits, &f, sizeof(bits));
	bits = (bits >> (23 - FINE)) - (127u << FINE);
	return bits < CLASSES ? bits : CLASSES - 1;
}

/* Where a class begins. */
static double class_edge(unsigned class)
{
	return ldexp(1 + (double)(class % (1u << FINE)) / (1u << FINE), (int)(class >> FINE));
}

static void heap_push(struct shards *shards, struct sampled item)
{
	struct sampled *heap = shards->heap;
	uint32_t at = shards->nheap++;

	for (; at > 0 && heap[(at - 1) / 2].hash < item.hash; at = (at - 1) / 2)
		heap[at] = heap[(at - 1) / 2];
	heap[at] = item;
}

static struct sampled heap_pop(struct shards *shards)
{
	struct sampled *heap = shards->heap, top = heap[0], item = heap[--shards->nheap];
	uint32_t at = 0, child;

	while ((child = 2 * at + 1) < shards->nheap) {
		if (child + 1 < shards->nheap && heap[child + 1].hash > heap[child].hash)
			child++;
		if (heap[child].hash <= item.hash)
			break;
		heap[at] = heap[child];
		at = child;
	}
	heap[at] = item;
	return top;
}

static void admit(struct shards *shards, uint32_t hash, uint32_t page)
{
	heap_push(shards, (struct sampled){ hash, page });
	if (shards->nheap <= shards->most)
		return;
	shards->threshold = shards->heap[0].hash;
	while (shards->nheap > 0 && shards->heap[0].hash >= shards->threshold)
		stack_remove(&shards->stack, heap_pop(shards).page);
}

bool shards_feed(struct shards *shards, const record *records, size_t n, uint32_t unique)
{
	if (!stack_reserve(&shards->stack, unique))
		return false;
	for (size_t i = 0; i < n; i++) {
		uint32_t page = record_page(records[i]), hash, distance;

		if (record_operation(records[i]) == OP_DISCARD)
			continue;
		shards->requests++;
		hash = (uint32_t)(sample_hash(page, shards->seed) >> 32);
		if (hash >= shards->threshold)
			continue;
		distance = stack_touch(&shards->stack, page);
		if (distance == 0 && shards->most != 0) {
			admit(shards, hash, page);
		} else if (distance != 0) {
			double weight = 1 / shards_rate(shards);

			/* distance - 1 other pages: in the middle of what would give that many */
			shards->groups[sample_group(page)][class_of((distance - 0.5) * weight)] += weight;
		}
	}
	return !shards->stack.is_broken;
}

uint64_t shards_requests(const struct shards *shards)
{
	return shards->requests;
}

double shards_rate(const struct shards *shards)
{
	return (double)shards->threshold / 4294967296.0;
}

static void sum(struct shards *shards)
{
	for (int group = 0; !shards->is_summed && group < SAMPLE_GROUPS; group++) {
		for (unsigned class = CLASSES; class-- > 0;)
			shards->groups[group][class] += shards->groups[group][class + 1];
	}
	shards->is_summed = true;
}

/* Misses of one group: distances beyond the size; a class that it cuts counts in part. */
static double group_misses(const struct shards *shards, int group, double frames)
{
	unsigned class = class_of(frames);
	double from = class_edge(class), to = class_edge(class + 1), part = (to - fmax(frames, 1)) / (to - from);
	const double *beyond = shards->groups[group];

	return beyond[class + 1] + part * (beyond[class] - beyond[class + 1]);
}

static double all_misses(const struct shards *shards, double frames, double *groups)
{
	double total = 0;

	for (int i = 0; i < SAMPLE_GROUPS; i++)
		total += groups[i] = group_misses(shards, i, frames);
	return total;
}

double shards_misses(struct shards *shards, uint64_t frames, double *ret_error)
{
	double groups[SAMPLE_GROUPS], rate = shards_rate(shards), c = (double)frames, misses, of_pages, of_size, off;

	sum(shards);
	off = sqrt(c * (1 - rate) / rate);
	of_size = 1.96 * (all_misses(shards, fmax(c - off, 1), groups) - all_misses(shards, c + off, groups)) / 2;
	misses = all_misses(shards, c, groups);
	of_pages = sample_error(groups, rate);
	*ret_error = sqrt(of_pages * of_pages + of_size * of_size);
	return misses;
}
