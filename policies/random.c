/* SPDX-License-Identifier: MIT */
/*
 * random.c - any page, with equal chances
 *
 * Idea: no order at all is kept, so no pattern of accesses can be the worst one.  On a loop larger than memory it keeps a
 * part resident where LRU keeps nothing; elsewhere it is what a policy's knowledge has to be worth more than.
 * Source: L. A. Belady, "A study of replacement algorithms for a virtual-storage computer", IBM Systems Journal 5(2),
 * 1966.
 *
 * Parameter: seed=0, a whole number; the same seed draws the same victims.
 * Cost: O(1) a call; 8 bytes a frame, no ghosts.
 * Known weakness: pages in constant use leave as often as the others.
 *
 * The frames that may be proposed stand in an array without gaps:
 *
 *     0 ... cold: given up by the application, a stack, taken first | cold ... n: drawn from
 *
 * A frame that leaves the second part is replaced by the last one.  A page that was proposed and stays, whatever the
 * reason, is drawn from again: chances need no rest.  WILLNEED takes a page back from the first part; DISCARD,
 * EVICT_NEXT and WONTNEED put it there, on top.
 */
#include <errno.h>

#include <hurd-mm/policy.h>

#include "policies/params.h"

#define NOWHERE UINT32_MAX

struct place {
	uint32_t frame; /* at[i].frame: the ith of the array */
	uint32_t index; /* at[f].index: where frame f stands; NOWHERE: it awaits its verdict, or its page has gone */
};

struct draw {
	uint64_t state;  /* of SplitMix64 */
	uint32_t cold, n;
	struct place at[];
};

static size_t random_state_size(uint32_t capacity)
{
	return sizeof(struct draw) + capacity * sizeof(struct place);
}

static int random_start(void *state, uint32_t capacity, uint32_t frames, const char *text)
{
	struct draw *draw = state;
	double seed = 0;
	const struct param params[] = {
		{ .name = "seed", .value = &seed, .least = 0, .most = 9007199254740992.0, .is_whole = true },
	};
	int r = params_parse(text, params, 1);

	(void)capacity, (void)frames;
	draw->state = (uint64_t)seed;
	return r;
}

static uint64_t next_random(struct draw *draw)
{
	uint64_t x = draw->state += 0x9e3779b97f4a7c15u;

	x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
	x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
	return x ^ (x >> 31);
}

static void put(struct draw *draw, uint32_t index, uint32_t frame)
{
	draw->at[index].frame = frame;
	draw->at[frame].index = index;
}

static void add(struct draw *draw, uint32_t frame)
{
	put(draw, draw->n++, frame);
}

static void take_out(struct draw *draw, uint32_t frame)
{
	uint32_t hole = draw->at[frame].index;

	if (hole == NOWHERE)
		return;
	if (hole < draw->cold) {
		put(draw, hole, draw->at[--draw->cold].frame);
		hole = draw->cold;
	}
	put(draw, hole, draw->at[--draw->n].frame);
	draw->at[frame].index = NOWHERE;
}

static void chill(struct draw *draw, uint32_t frame)
{
	take_out(draw, frame);
	if (draw->cold < draw->n)
		put(draw, draw->n, draw->at[draw->cold].frame);
	put(draw, draw->cold++, frame);
	draw->n++;
}

static void random_inserted(void *state, uint32_t frame, uint64_t page, uint32_t region, enum hmm_access access)
{
	(void)page, (void)region, (void)access;
	add(state, frame);
}

static uint32_t random_choose(void *state, uint32_t want, uint32_t *out, uint32_t scan)
{
	struct draw *draw = state;
	uint32_t n;

	for (n = 0; n < want && n < scan && draw->n > 0; n++) {
		uint32_t index = draw->cold - 1;

		if (draw->cold == 0)
			index = (uint32_t)(((next_random(draw) >> 32) * draw->n) >> 32);
		out[n] = draw->at[index].frame;
		take_out(draw, out[n]);
	}
	return n;
}

static uint32_t random_evicted(void *state, uint32_t frame, uint64_t page)
{
	(void)page;
	take_out(state, frame);
	return 0;
}

static void random_rejected(void *state, uint32_t frame, enum hmm_reject why)
{
	(void)why;
	add(state, frame);
}

static void random_removed(void *state, uint32_t frame, uint64_t page, enum hmm_removed why)
{
	(void)page, (void)why;
	take_out(state, frame);
}

static void random_hint(void *state, uint32_t frame, struct hmm_page_range range, enum hmm_hint hint, int64_t value)
{
	struct draw *draw = state;

	(void)range, (void)value;
	if (frame == NOWHERE || draw->at[frame].index == NOWHERE)
		return;
	if (hint == HMM_HINT_DISCARD || hint == HMM_HINT_EVICT_NEXT || hint == HMM_HINT_WONTNEED) {
		chill(draw, frame);
	} else if (hint == HMM_HINT_WILLNEED) {
		take_out(draw, frame);
		add(draw, frame);
	}
}

const struct hmm_policy_ops hmm__policy_random = {
	.size = sizeof(struct hmm_policy_ops),
	.version = HMM_POLICY_VERSION,
	.caps = HMM_POLICY_NO_HITS,
	.name = "random",
	.summary = "any page, with equal chances",
	.params = "seed=0",
	.state_size = random_state_size,
	.start = random_start,
	.inserted = random_inserted,
	.choose = random_choose,
	.evicted = random_evicted,
	.rejected = random_rejected,
	.removed = random_removed,
	.hint = random_hint,
};
