/* SPDX-License-Identifier: MIT */
/*
 * mru.c - most recently used goes first: for loops over more than memory holds
 *
 * Idea: who goes round a loop needs last what was used just now.  LRU and its relatives always miss there; MRU keeps a
 * part of the loop resident and hits it every time round, which is the best that can be done.
 * Source: H.-T. Chou, D. J. DeWitt, "An evaluation of buffer management strategies for relational database systems", VLDB
 * 1985.
 *
 * No parameters.
 * Cost: O(1) a call and per touched page; 8 bytes a frame, no ghosts.
 * Known weakness: everything that is not a loop.  Pages that are no longer used never leave.
 *
 * The list is LRU's with its ends exchanged: the victim end is that of the most recent use.
 * Every page that was refused rests, also one that was touched while it was proposed (RACED): as the most recent it would
 * be proposed again at once.  WILLNEED sends a page to the far end: it shall stay; DISCARD, EVICT_NEXT and WONTNEED make
 * it the next victim, the last one named first.
 */
#include <errno.h>

#include <hurd-mm/policy.h>

#include "policies/frame-list.h"

struct mru {
	struct frame_list list;
	struct frame_link links[];
};

static size_t mru_state_size(uint32_t capacity)
{
	return sizeof(struct mru) + frame_list_size(capacity);
}

static int mru_start(void *state, uint32_t capacity, uint32_t frames, const char *params)
{
	struct mru *mru = state;

	(void)frames;
	if (params[0] != '\0')
		return -EINVAL;
	frame_list_init(&mru->list, mru->links, capacity);
	return 0;
}

static void mru_inserted(void *state, uint32_t frame, uint64_t page, uint32_t region, enum hmm_access access)
{
	struct mru *mru = state;

	(void)page, (void)region, (void)access;
	frame_list_push_victim(&mru->list, frame);
}

static void mru_touched(void *state, const uint32_t *frames, uint32_t n, enum hmm_access access)
{
	struct mru *mru = state;

	(void)access;
	for (uint32_t i = 0; i < n; i++)
		frame_list_move_victim(&mru->list, frames[i]);
}

static uint32_t mru_choose(void *state, uint32_t want, uint32_t *out, uint32_t scan)
{
	struct mru *mru = state;
	uint32_t n;

	for (n = 0; n < want && n < scan; n++) {
		uint32_t frame = frame_list_victim(&mru->list);

		if (frame == FRAME_NONE)
			break;
		frame_list_unlink(&mru->list, frame);
		out[n] = frame;
	}
	return n;
}

static uint32_t mru_evicted(void *state, uint32_t frame, uint64_t page)
{
	struct mru *mru = state;

	(void)page;
	frame_list_evicted(&mru->list, frame);
	return 0;
}

static void mru_rejected(void *state, uint32_t frame, enum hmm_reject why)
{
	struct mru *mru = state;

	(void)why;
	frame_list_refuse(&mru->list, frame);
}

static void mru_removed(void *state, uint32_t frame, uint64_t page, enum hmm_removed why)
{
	struct mru *mru = state;

	(void)page, (void)why;
	frame_list_unlink(&mru->list, frame);
}

static void mru_hint(void *state, uint32_t frame, struct hmm_page_range range, enum hmm_hint hint, int64_t value)
{
	struct mru *mru = state;

	(void)range, (void)value;
	if (frame == FRAME_NONE)
		return;
	if (hint == HMM_HINT_DISCARD || hint == HMM_HINT_EVICT_NEXT || hint == HMM_HINT_WONTNEED)
		frame_list_move_victim(&mru->list, frame);
	else if (hint == HMM_HINT_WILLNEED)
		frame_list_move_newest(&mru->list, frame);
}

const struct hmm_policy_ops hmm__policy_mru = {
	.size = sizeof(struct hmm_policy_ops),
	.version = HMM_POLICY_VERSION,
	.caps = HMM_POLICY_EXACT,
	.name = "mru",
	.summary = "most recently used goes first, for loops larger than memory",
	.params = "",
	.state_size = mru_state_size,
	.start = mru_start,
	.inserted = mru_inserted,
	.touched = mru_touched,
	.choose = mru_choose,
	.evicted = mru_evicted,
	.rejected = mru_rejected,
	.removed = mru_removed,
	.hint = mru_hint,
};
