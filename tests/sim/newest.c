/* SPDX-License-Identifier: MIT */
/*
 * newest.c - a user's own policy, for the test that loads one: the page used last goes first, found by looking at all
 */
#include <errno.h>

#include <hurd-mm/policy.h>

struct newest {
	uint64_t now;
	uint32_t capacity;
	uint64_t used[]; /* when; 0: holds no page, or was proposed */
};

static size_t newest_state_size(uint32_t capacity)
{
	return sizeof(struct newest) + capacity * sizeof(uint64_t);
}

static int newest_start(void *state, uint32_t capacity, uint32_t frames, const char *params)
{
	struct newest *newest = state;

	(void)frames;
	newest->capacity = capacity;
	return params[0] != '\0' ? -EINVAL : 0;
}

static void use(struct newest *newest, uint32_t frame)
{
	newest->used[frame] = ++newest->now;
}

static void newest_inserted(void *state, uint32_t frame, uint64_t page, uint32_t region, enum hmm_access access)
{
	(void)page, (void)region, (void)access;
	use(state, frame);
}

static void newest_touched(void *state, const uint32_t *frames, uint32_t n, enum hmm_access access)
{
	(void)access;
	for (uint32_t i = 0; i < n; i++)
		use(state, frames[i]);
}

static uint32_t newest_choose(void *state, uint32_t want, uint32_t *out, uint32_t scan)
{
	struct newest *newest = state;
	uint32_t n, best;

	(void)scan;
	for (n = 0; n < want; n++) {
		best = 0;
		for (uint32_t frame = 1; frame < newest->capacity; frame++) {
			if (newest->used[frame] > newest->used[best])
				best = frame;
		}
		if (newest->used[best] == 0)
			break;
		newest->used[best] = 0;
		out[n] = best;
	}
	return n;
}

static uint32_t newest_evicted(void *state, uint32_t frame, uint64_t page)
{
	(void)page;
	((struct newest *)state)->used[frame] = 0;
	return 0;
}

static void newest_rejected(void *state, uint32_t frame, enum hmm_reject why)
{
	(void)why;
	use(state, frame);
}

static void newest_removed(void *state, uint32_t frame, uint64_t page, enum hmm_removed why)
{
	(void)page, (void)why;
	((struct newest *)state)->used[frame] = 0;
}

static const struct hmm_policy_ops newest_ops = {
	.size = sizeof(struct hmm_policy_ops),
	.version = HMM_POLICY_VERSION,
	.caps = HMM_POLICY_EXACT,
	.name = "newest",
	.summary = "most recently used goes first",
	.state_size = newest_state_size,
	.start = newest_start,
	.inserted = newest_inserted,
	.touched = newest_touched,
	.choose = newest_choose,
	.evicted = newest_evicted,
	.rejected = newest_rejected,
	.removed = newest_removed,
};

HMM_POLICY_MODULE(newest_ops);
