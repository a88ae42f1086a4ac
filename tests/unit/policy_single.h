/* SPDX-License-Identifier: MIT */
/*
 * policy_single.h - a policy driven as the algorithms are defined: request by request, one victim a miss
 *
 * Through its table of hooks alone; ghosts are never forgotten.
 */
#ifndef HMM_TESTS_POLICY_SINGLE_H
#define HMM_TESTS_POLICY_SINGLE_H

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <hurd-mm/policy.h>

#include "lib/base/util.h"
#include "tests/harness.h"
#include "tests/unit/policy_traces.h"

#define NOWHERE UINT32_MAX

static inline void *zeroed(size_t n, size_t size)
{
	void *p = calloc(n > 0 ? n : 1, size);

	ck_assert_ptr_nonnull(p);
	return p;
}

struct single {
	const struct hmm_policy_ops *ops;
	void *state;
	uint32_t *where;  /* by page */
	uint32_t *cookie; /* by page, of those that left */
	uint64_t *held;   /* by frame */
	uint32_t *free;   /* frames whose page was removed */
	uint32_t frames, used, nfree;
	uint32_t evicted; /* the page that the last request drove out, NOWHERE if none */
};

static inline void single_init(struct single *single, const char *spec, uint32_t frames, uint32_t npages)
{
	char name[64];
	size_t length = strcspn(spec, ":");
	const char *params = spec[length] == ':' ? spec + length + 1 : "";
	struct hmm_policy_sizes sizes = { .size = sizeof(sizes) };

	snprintf(name, sizeof(name), "%.*s", (int)length, spec);
	*single = (struct single){ .ops = hmm_policy_lookup(name), .frames = frames };
	ck_assert_msg(single->ops != NULL, "no policy %s", name);
	if (single->ops->sizes != NULL)
		ck_assert_int_eq(single->ops->sizes(frames, params, &sizes), 0);
	else
		sizes.state = single->ops->state_size(frames);
	single->state = aligned_alloc(64, HMM__ALIGN_UP(sizes.state, 64));
	ck_assert_ptr_nonnull(single->state);
	memset(single->state, 0, sizes.state);
	single->where = zeroed(npages, sizeof(uint32_t));
	memset(single->where, 0xff, npages * sizeof(uint32_t));
	single->cookie = zeroed(npages, sizeof(uint32_t));
	single->held = zeroed(frames, sizeof(uint64_t));
	single->free = zeroed(frames, sizeof(uint32_t));
	ck_assert_int_eq(single->ops->start(single->state, frames, frames, params), 0);
}

static inline void single_fini(struct single *single)
{
	if (single->ops->stop != NULL)
		single->ops->stop(single->state);
	free(single->state);
	free(single->where);
	free(single->cookie);
	free(single->held);
	free(single->free);
}

/* A frame for one more page. */
static inline uint32_t single_frame(struct single *single)
{
	uint32_t frame = NOWHERE, n;

	if (single->nfree > 0)
		return single->free[--single->nfree];
	if (single->used < single->frames)
		return single->used++;
	n = single->ops->choose(single->state, 1, &frame, UINT32_MAX);
	if (n != 1 || frame >= single->used || single->where[single->held[frame]] != frame)
		ck_abort_msg("%s: a bad victim", single->ops->name);
	single->cookie[single->held[frame]] = single->ops->evicted(single->state, frame, single->held[frame]);
	single->where[single->held[frame]] = NOWHERE;
	single->evicted = (uint32_t)single->held[frame];
	return frame;
}

/* Returns whether it hit. */
static inline bool single_request_placed(struct single *single, uint32_t page, const struct hmm_placement *placement)
{
	const struct hmm_policy_ops *ops = single->ops;
	enum hmm_access access = (enum hmm_access)placement->access;
	uint32_t frame = single->where[page];

	single->evicted = NOWHERE;
	if (frame != NOWHERE) {
		if (ops->touched != NULL)
			ops->touched(single->state, &frame, 1, access);
		return true;
	}
	if (ops->miss != NULL)
		ops->miss(single->state, page, single->cookie[page], access);
	frame = single_frame(single);
	single->where[page] = frame;
	single->held[frame] = page;
	if (ops->placed != NULL)
		ops->placed(single->state, frame, page, placement);
	else
		ops->inserted(single->state, frame, page, placement->region, access);
	return false;
}

static inline bool single_request(struct single *single, uint32_t page, enum hmm_access access)
{
	struct hmm_placement placement = { .size = sizeof(placement), .access = access };

	return single_request_placed(single, page, &placement);
}

/* Of one page, if it is resident. */
static inline void single_hint(struct single *single, uint32_t page, enum hmm_hint hint, int64_t value)
{
	struct hmm_page_range range = { page, 1 };

	if (single->ops->hint != NULL && single->where[page] != NOWHERE)
		single->ops->hint(single->state, single->where[page], range, hint, value);
}

/* The page is unmapped, if it is resident. */
static inline void single_remove(struct single *single, uint32_t page)
{
	uint32_t frame = single->where[page];

	if (frame == NOWHERE)
		return;
	single->ops->removed(single->state, frame, page, HMM_REMOVED_DISCARDED);
	single->where[page] = NOWHERE;
	single->cookie[page] = 0;
	single->free[single->nfree++] = frame;
}

#endif
