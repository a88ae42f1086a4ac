/* SPDX-License-Identifier: MIT */
/*
 * mru.c - a policy of one's own: most recently used goes first, as a module to load
 *
 * Build and use:
 *
 *	cc -shared -fPIC -o mru.so mru.c $(pkg-config --cflags hurd-mm)
 *
 *	if (hmm_policy_load("./mru.so", &why) != 0) ...
 *	opts.policy = "my-mru";
 *
 * Idea: a program that goes round a loop of more pages than it has frames needs last what it used just now.  LRU and
 * its relatives always miss there; MRU keeps a part of the loop resident and hits it every time round.
 * Source: H.-T. Chou, D. J. DeWitt, "An evaluation of buffer management strategies for relational database systems", VLDB
 * 1985.
 * Cost: O(1) a call, 8 bytes a frame.  Weakness: everything that is not a loop.
 *
 * The pages stand in a ring, most recent behind the head.  A page in no ring (proposed, or gone) names itself.
 */
#include <errno.h>
#include <hurd-mm/policy.h>

struct link {
	uint32_t prev, next;
};

struct mru {
	uint32_t head;       /* a link of its own: number `capacity` */
	struct link links[]; /* by frame */
};

static size_t mru_state_size(uint32_t capacity)
{
	return sizeof(struct mru) + ((size_t)capacity + 1) * sizeof(struct link);
}

static int mru_start(void *state, uint32_t capacity, uint32_t frames, const char *params)
{
	struct mru *mru = state;

	(void)frames;
	if (params[0] != '\0')
		return -EINVAL; /* takes none */
	mru->head = capacity;
	mru->links[capacity].prev = mru->links[capacity].next = capacity;
	return 0;
}

static void take_out(struct mru *mru, uint32_t frame)
{
	struct link link = mru->links[frame];

	mru->links[link.prev].next = link.next;
	mru->links[link.next].prev = link.prev;
	mru->links[frame].prev = mru->links[frame].next = frame;
}

static void put_behind(struct mru *mru, uint32_t before, uint32_t frame)
{
	uint32_t after = mru->links[before].next;

	mru->links[frame].prev = before;
	mru->links[frame].next = after;
	mru->links[before].next = mru->links[after].prev = frame;
}

static void mru_inserted(void *state, uint32_t frame, uint64_t page, uint32_t region, enum hmm_access access)
{
	struct mru *mru = state;

	(void)page, (void)region, (void)access;
	put_behind(mru, mru->head, frame);
}

static void mru_touched(void *state, const uint32_t *frames, uint32_t n, enum hmm_access access)
{
	struct mru *mru = state;

	(void)access;
	for (uint32_t i = 0; i < n; i++) {
		if (mru->links[frames[i]].next == frames[i])
			continue; /* proposed: the verdict decides */
		take_out(mru, frames[i]);
		put_behind(mru, mru->head, frames[i]);
	}
}

static uint32_t mru_choose(void *state, uint32_t want, uint32_t *out, uint32_t scan)
{
	struct mru *mru = state;
	uint32_t n = 0;

	for (; n < want && n < scan && mru->links[mru->head].next != mru->head; n++) {
		out[n] = mru->links[mru->head].next;
		take_out(mru, out[n]); /* so it is not proposed again before its verdict */
	}
	return n;
}

static uint32_t mru_evicted(void *state, uint32_t frame, uint64_t page)
{
	(void)page;
	take_out(state, frame); /* nothing happens if it was proposed */
	return 0;               /* no ghosts */
}

static void mru_rejected(void *state, uint32_t frame, enum hmm_reject why)
{
	struct mru *mru = state;

	(void)why;
	put_behind(mru, mru->links[mru->head].prev, frame); /* at the far end: the others are tried first */
}

static void mru_removed(void *state, uint32_t frame, uint64_t page, enum hmm_removed why)
{
	(void)page, (void)why;
	take_out(state, frame);
}

static const struct hmm_policy_ops mru_ops = {
	.size = sizeof(struct hmm_policy_ops),
	.version = HMM_POLICY_VERSION,
	.caps = HMM_POLICY_EXACT,
	.name = "my-mru", /* the library has an "mru" */
	.summary = "most recently used, for loops larger than memory",
	.state_size = mru_state_size,
	.start = mru_start,
	.inserted = mru_inserted,
	.touched = mru_touched,
	.choose = mru_choose,
	.evicted = mru_evicted,
	.rejected = mru_rejected,
	.removed = mru_removed,
};

HMM_POLICY_MODULE(mru_ops);
