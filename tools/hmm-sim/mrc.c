/* SPDX-License-Identifier: MIT */
/*
 * mrc.c - the miss-ratio curve of LRU, exact, for all sizes in one pass: a histogram of stack distances
 */
#include <stdlib.h>
#include <string.h>

#include "passes.h"
#include "stack.h"

#define AHEAD 24 /* requests; less than RECORDS_SLACK */
#define SOON 8

#if defined(__x86_64__) && defined(__GNUC__) && !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
#define COUNTS_BITS __attribute__((target_clones("popcnt", "default")))
#else
#define COUNTS_BITS
#endif

struct mrc {
	struct stack stack;
	uint64_t *distances; /* distances[d]: requests at distance d; room for stack.npages + 1 */
	uint32_t room;
	uint64_t requests;
};

struct mrc *mrc_create(void)
{
	return calloc(1, sizeof(struct mrc));
}

void mrc_destroy(struct mrc *mrc)
{
	if (mrc == NULL)
		return;
	stack_free(&mrc->stack);
	free(mrc->distances);
	free(mrc);
}

static bool reserve(struct mrc *mrc, uint32_t unique)
{
	uint64_t *longer;

	if (!stack_reserve(&mrc->stack, unique))
		return false;
	if (mrc->stack.npages == mrc->room)
		return true;
	longer = realloc(mrc->distances, ((size_t)mrc->stack.npages + 1) * sizeof(*longer));
	if (longer == NULL)
		return false;
	if (mrc->room == 0)
		longer[0] = 0;
	memset(longer + mrc->room + 1, 0, (size_t)(mrc->stack.npages - mrc->room) * sizeof(*longer));
	mrc->distances = longer;
	mrc->room = mrc->stack.npages;
	return true;
}

COUNTS_BITS static void count(struct mrc *mrc, const record *records, size_t n)
{
	struct stack *stack = &mrc->stack;
	uint64_t requests = 0;

	for (size_t i = 0; i < n; i++) {
		uint32_t ahead = record_page(records[i + AHEAD]);

		uint32_t soon = record_page(records[i + SOON]);

		/* First where the page's last slot is told, then that slot's bits. */
		if (ahead < stack->npages)
			__builtin_prefetch(&stack->last[ahead]);
		if (soon < stack->npages && stack->last[soon] != NO_SLOT)
			__builtin_prefetch(&stack->bits[stack->last[soon] >> 6]);
		if (record_operation(records[i]) == OP_DISCARD)
			continue;
		requests++;
		mrc->distances[stack_touch(stack, record_page(records[i]))]++;
	}
	mrc->requests += requests;
}

bool mrc_feed(struct mrc *mrc, const record *records, size_t n, uint32_t unique)
{
	if (!reserve(mrc, unique))
		return false;
	count(mrc, records, n);
	return !mrc->stack.is_broken;
}

uint64_t mrc_requests(const struct mrc *mrc)
{
	return mrc->requests;
}

void mrc_misses(const struct mrc *mrc, const uint64_t *frames, size_t n, uint64_t *misses)
{
	uint64_t hits = 0, d = 1;

	for (size_t i = 0; i < n; i++) {
		for (; d <= frames[i] && d <= mrc->room; d++)
			hits += mrc->distances[d];
		misses[i] = mrc->requests - hits;
	}
}
