/* SPDX-License-Identifier: MIT */
/*
 * fifo.c - first in, first out: the page that has been resident longest goes first
 *
 * Idea: residence time stands for age.  A hit changes nothing, so the policy needs no knowledge of accesses at all and
 * costs nothing but its list.  It is the base line that every other policy has to beat.
 * Source: L. A. Belady, "A study of replacement algorithms for a virtual-storage computer", IBM Systems Journal 5(2),
 * 1966.
 *
 * Cost: O(1) a call; 8 bytes a frame, no ghosts.
 * Known weakness: a page in constant use leaves as often as one used once.  More memory can mean more misses (Belady's
 * anomaly).  A loop slightly larger than memory always misses.
 *
 * A page touched while it was proposed (RACED) becomes the newest.  WILLNEED does nothing, as a hit does; DISCARD,
 * EVICT_NEXT and WONTNEED make the page the next victim, the last one named first.
 */
#include <errno.h>

#include <hurd-mm/policy.h>

#include "policies/frame-list.h"

struct fifo {
	struct frame_list list;
	struct frame_link links[];
};

static size_t fifo_state_size(uint32_t capacity)
{
	return sizeof(struct fifo) + frame_list_size(capacity);
}

static int fifo_start(void *state, uint32_t capacity, uint32_t frames, const char *params)
{
	struct fifo *fifo = state;

	(void)frames;
	if (params[0] != '\0')
		return -EINVAL;
	frame_list_init(&fifo->list, fifo->links, capacity);
	return 0;
}

static void fifo_inserted(void *state, uint32_t frame, uint64_t page, uint32_t region, enum hmm_access access)
{
	struct fifo *fifo = state;

	(void)page, (void)region, (void)access;
	frame_list_push_newest(&fifo->list, frame);
}

static uint32_t fifo_choose(void *state, uint32_t want, uint32_t *out, uint32_t scan)
{
	struct fifo *fifo = state;
	uint32_t n;

	for (n = 0; n < want && n < scan; n++) {
		uint32_t frame = frame_list_victim(&fifo->list);

		if (frame == FRAME_NONE)
			break;
		frame_list_unlink(&fifo->list, frame);
		out[n] = frame;
	}
	return n;
}

static uint32_t fifo_evicted(void *state, uint32_t frame, uint64_t page)
{
	struct fifo *fifo = state;

	(void)page;
	frame_list_evicted(&fifo->list, frame);
	return 0;
}

static void fifo_rejected(void *state, uint32_t frame, enum hmm_reject why)
{
	struct fifo *fifo = state;

	if (why == HMM_REJECT_RACED)
		frame_list_push_newest(&fifo->list, frame);
	else
		frame_list_refuse(&fifo->list, frame);
}

static void fifo_removed(void *state, uint32_t frame, uint64_t page, enum hmm_removed why)
{
	struct fifo *fifo = state;

	(void)page, (void)why;
	frame_list_unlink(&fifo->list, frame);
}

static void fifo_hint(void *state, uint32_t frame, struct hmm_page_range range, enum hmm_hint hint, int64_t value)
{
	struct fifo *fifo = state;

	(void)range, (void)value;
	if (frame == FRAME_NONE)
		return;
	if (hint == HMM_HINT_DISCARD || hint == HMM_HINT_EVICT_NEXT || hint == HMM_HINT_WONTNEED)
		frame_list_move_victim(&fifo->list, frame);
}

HMM_POLICY_EXCHANGE(fifo_exchange, hmm_policy_no_miss, fifo_choose, fifo_evicted, fifo_inserted)

const struct hmm_policy_ops hmm__policy_fifo = {
	.size = sizeof(struct hmm_policy_ops),
	.version = HMM_POLICY_VERSION,
	.caps = HMM_POLICY_NO_HITS,
	.name = "fifo",
	.summary = "first in, first out; ignores hits",
	.params = "",
	.state_size = fifo_state_size,
	.start = fifo_start,
	.inserted = fifo_inserted,
	.choose = fifo_choose,
	.evicted = fifo_evicted,
	.exchange = fifo_exchange,
	.rejected = fifo_rejected,
	.removed = fifo_removed,
	.hint = fifo_hint,
};
