/* SPDX-License-Identifier: MIT */
/*
 * lru.c - least recently used: the page whose last use lies farthest back goes first
 *
 * Idea: what was used lately will be used soon.  Exact LRU moves a page at every access; a pager that sees only
 * some accesses (traps, pins, rescues) gets LRU of what it sees.
 * Source: P. J. Denning, "The working set model for program behavior", CACM 11(5), 1968; R. L. Mattson et al., "Evaluation
 * techniques for storage hierarchies", IBM Systems Journal 9(2), 1970 (more memory never means more misses).
 *
 * Cost: O(1) a call and per touched page; 8 bytes a frame, no ghosts.
 * Known weakness: one scan over pages that are used once drives out everything else.  A loop slightly larger than
 * memory always misses.  Frequency counts for nothing.
 *
 * A batch of touched pages counts in its order: the last one named is the most recent.  A page touched while it
 * was proposed (RACED) becomes the newest.  WILLNEED is a touch; DISCARD, EVICT_NEXT and WONTNEED make the page the
 * next victim, the last one named first, until it is touched again.
 */
#include <errno.h>

#include <hurd-mm/policy.h>

#include "policies/frame-list.h"

struct lru {
	struct frame_list list;
	struct frame_link links[];
};

static size_t lru_state_size(uint32_t capacity)
{
	return sizeof(struct lru) + frame_list_size(capacity);
}

static int lru_start(void *state, uint32_t capacity, uint32_t frames, const char *params)
{
	struct lru *lru = state;

	(void)frames;
	if (params[0] != '\0')
		return -EINVAL;
	frame_list_init(&lru->list, lru->links, capacity);
	return 0;
}

static void lru_inserted(void *state, uint32_t frame, uint64_t page, uint32_t region, enum hmm_access access)
{
	struct lru *lru = state;

	(void)page, (void)region, (void)access;
	frame_list_push_newest(&lru->list, frame);
}

static void lru_touched(void *state, const uint32_t *frames, uint32_t n, enum hmm_access access)
{
	struct lru *lru = state;

	(void)access;
	for (uint32_t i = 0; i < n; i++)
		frame_list_move_newest(&lru->list, frames[i]);
}

static uint32_t lru_choose(void *state, uint32_t want, uint32_t *out, uint32_t scan)
{
	struct lru *lru = state;
	uint32_t n;

	for (n = 0; n < want && n < scan; n++) {
		uint32_t frame = frame_list_victim(&lru->list);

		if (frame == FRAME_NONE)
			break;
		frame_list_unlink(&lru->list, frame);
		out[n] = frame;
	}
	return n;
}

static uint32_t lru_evicted(void *state, uint32_t frame, uint64_t page)
{
	struct lru *lru = state;

	(void)page;
	frame_list_evicted(&lru->list, frame);
	return 0;
}

static void lru_rejected(void *state, uint32_t frame, enum hmm_reject why)
{
	struct lru *lru = state;

	if (why == HMM_REJECT_RACED)
		frame_list_push_newest(&lru->list, frame);
	else
		frame_list_refuse(&lru->list, frame);
}

static void lru_removed(void *state, uint32_t frame, uint64_t page, enum hmm_removed why)
{
	struct lru *lru = state;

	(void)page, (void)why;
	frame_list_unlink(&lru->list, frame);
}

static void lru_hint(void *state, uint32_t frame, struct hmm_page_range range, enum hmm_hint hint, int64_t value)
{
	struct lru *lru = state;

	(void)range, (void)value;
	if (frame == FRAME_NONE)
		return;
	if (hint == HMM_HINT_DISCARD || hint == HMM_HINT_EVICT_NEXT || hint == HMM_HINT_WONTNEED)
		frame_list_move_victim(&lru->list, frame);
	else if (hint == HMM_HINT_WILLNEED)
		frame_list_move_newest(&lru->list, frame);
}

HMM_POLICY_EXCHANGE(lru_exchange, hmm_policy_no_miss, lru_choose, lru_evicted, lru_inserted)

const struct hmm_policy_ops hmm__policy_lru = {
	.size = sizeof(struct hmm_policy_ops),
	.version = HMM_POLICY_VERSION,
	.caps = HMM_POLICY_EXACT,
	.name = "lru",
	.summary = "least recently used, of the uses the pager sees",
	.params = "",
	.state_size = lru_state_size,
	.start = lru_start,
	.inserted = lru_inserted,
	.touched = lru_touched,
	.choose = lru_choose,
	.evicted = lru_evicted,
	.exchange = lru_exchange,
	.rejected = lru_rejected,
	.removed = lru_removed,
	.hint = lru_hint,
};
