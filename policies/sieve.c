/* SPDX-License-Identifier: MIT */
/*
 * sieve.c - SIEVE: FIFO order, one bit a page, and a hand that leaves what it spares where it stands
 *
 * Idea: as CLOCK, but a spared page does not move.  New pages enter at the head while the hand sweeps the older ones from
 * the tail towards it, so new pages that are not used again go soon, and pages that have been spared stay sorted from
 * the new ones.
 * Source: Y. Zhang, J. Yang, Y. Yue, Y. Vigfusson, K. V. Rashmi, "SIEVE is simpler than LRU: an efficient turn-key
 * eviction algorithm for web caches", NSDI 2024.
 *
 * No parameters.
 * Cost: a hit is one byte; a victim costs the steps of the hand, O(1) on average over hits; 9 bytes a frame, no ghosts.
 * Known weakness: not scan-resistant for block I/O: a page used twice close together stays a whole round.  When the
 * working set changes, the old one keeps its frames until the hand has passed it twice.  A loop slightly larger than
 * memory always misses.
 *
 * The hand names the frame that it will look at next, or the list's end: then it begins at the tail.  A frame under the
 * hand that leaves the list moves the hand on towards the head.
 * A page touched while it was proposed (RACED) is put back where the hand has just passed, as a spared page.  WILLNEED is a
 * hit.  DISCARD, EVICT_NEXT and WONTNEED clear the bit and put the page under the hand, the last one named first.
 */
#include <errno.h>

#include <hurd-mm/policy.h>

#include "policies/frame-list.h"

struct sieve {
	struct frame_list list;
	uint8_t *visited; /* capacity, behind the links */
	uint32_t hand;
	struct frame_link links[];
};

static size_t sieve_state_size(uint32_t capacity)
{
	return sizeof(struct sieve) + frame_list_size(capacity) + capacity;
}

static int sieve_start(void *state, uint32_t capacity, uint32_t frames, const char *params)
{
	struct sieve *sieve = state;

	(void)frames;
	if (params[0] != '\0')
		return -EINVAL;
	sieve->visited = (uint8_t *)sieve->links + frame_list_size(capacity);
	frame_list_init(&sieve->list, sieve->links, capacity);
	sieve->hand = sieve->list.order;
	return 0;
}

static void sieve_inserted(void *state, uint32_t frame, uint64_t page, uint32_t region, enum hmm_access access)
{
	struct sieve *sieve = state;

	(void)page, (void)region, (void)access;
	sieve->visited[frame] = 0;
	frame_list_push_newest(&sieve->list, frame);
}

static void sieve_touched(void *state, const uint32_t *frames, uint32_t n, enum hmm_access access)
{
	struct sieve *sieve = state;

	(void)access;
	if (n == 1) {
		sieve->visited[frames[0]] = 1;
		return;
	}
	/* of several threads, perhaps: a store that changes nothing would still take the line from other processors */
	for (uint32_t i = 0; i < n; i++) {
		if (!sieve->visited[frames[i]])
			sieve->visited[frames[i]] = 1;
	}
}

static void sieve_unlink(struct sieve *sieve, uint32_t frame)
{
	if (sieve->hand == frame)
		sieve->hand = sieve->links[frame].prev;
	frame_list_unlink(&sieve->list, frame);
}

static uint32_t sieve_choose(void *state, uint32_t want, uint32_t *out, uint32_t scan)
{
	struct sieve *sieve = state;
	uint32_t n = 0;

	for (; n < want && scan > 0; scan--) {
		uint32_t frame = sieve->hand;

		if (frame == sieve->list.order)
			frame = frame_list_victim(&sieve->list);
		if (frame == FRAME_NONE)
			break;
		sieve->hand = sieve->links[frame].prev;
		if (sieve->visited[frame]) {
			sieve->visited[frame] = 0;
		} else {
			frame_list_unlink(&sieve->list, frame);
			out[n++] = frame;
		}
	}
	return n;
}

static uint32_t sieve_evicted(void *state, uint32_t frame, uint64_t page)
{
	struct sieve *sieve = state;

	(void)page;
	if (__builtin_expect(frame_list_holds(&sieve->list, frame), 0))
		sieve_unlink(sieve, frame);
	frame_list_count_eviction(&sieve->list);
	return 0;
}

static void sieve_rejected(void *state, uint32_t frame, enum hmm_reject why)
{
	struct sieve *sieve = state;

	if (why == HMM_REJECT_RACED) {
		sieve->visited[frame] = 0;
		frame_list_link_after(&sieve->list, sieve->hand, frame);
	} else {
		frame_list_refuse(&sieve->list, frame);
	}
}

static void sieve_removed(void *state, uint32_t frame, uint64_t page, enum hmm_removed why)
{
	(void)page, (void)why;
	sieve_unlink(state, frame);
}

static void sieve_put_under_hand(struct sieve *sieve, uint32_t frame)
{
	if (!frame_list_holds(&sieve->list, frame))
		return;
	sieve->visited[frame] = 0;
	sieve_unlink(sieve, frame);
	if (sieve->hand == sieve->list.order) {
		frame_list_push_victim(&sieve->list, frame);
	} else {
		frame_list_link_after(&sieve->list, sieve->hand, frame);
		sieve->hand = frame;
	}
}

static void sieve_hint(void *state, uint32_t frame, struct hmm_page_range range, enum hmm_hint hint, int64_t value)
{
	struct sieve *sieve = state;

	(void)range, (void)value;
	if (frame == FRAME_NONE)
		return;
	if (hint == HMM_HINT_DISCARD || hint == HMM_HINT_EVICT_NEXT || hint == HMM_HINT_WONTNEED)
		sieve_put_under_hand(sieve, frame);
	else if (hint == HMM_HINT_WILLNEED)
		sieve->visited[frame] = 1;
}

HMM_POLICY_EXCHANGE(sieve_exchange, hmm_policy_no_miss, sieve_choose, sieve_evicted, sieve_inserted)

const struct hmm_policy_ops hmm__policy_sieve = {
	.size = sizeof(struct hmm_policy_ops),
	.version = HMM_POLICY_VERSION,
	.caps = HMM_POLICY_REFBITS,
	.name = "sieve",
	.summary = "SIEVE: FIFO order and a hand that moves nothing",
	.params = "",
	.state_size = sieve_state_size,
	.start = sieve_start,
	.inserted = sieve_inserted,
	.touched = sieve_touched,
	.choose = sieve_choose,
	.evicted = sieve_evicted,
	.exchange = sieve_exchange,
	.rejected = sieve_rejected,
	.removed = sieve_removed,
	.hint = sieve_hint,
};
