/* SPDX-License-Identifier: MIT */
/*
 * clock.c - second chance: FIFO that spares a page used since the hand last passed
 *
 * Idea: a hit only counts, up to 2^bits - 1; nothing moves.  The hand looks at the oldest page: one with a count loses
 * one and becomes the newest, one without is the victim.  That approximates LRU with what hardware can tell (one
 * reference bit), and keeps hits free of list work.
 * Source: F. J. Corbato, "A paging experiment with the Multics system", MIT Project MAC, 1968; more than one bit: A. J.
 * Smith, "Sequentiality and prefetching in database systems", ACM TODS 3(3), 1978 (GCLOCK).
 *
 * Parameter: bits=1 (default) or bits=2.  clock2 is clock:bits=2 under a name of its own.
 * Cost: a hit is one byte; a victim costs the steps of the hand, O(1) on average over hits, at most 2^bits rounds;
 * 9 bytes a frame, no ghosts.
 * Known weakness: as LRU: scans, and loops slightly larger than memory.  If everything was touched, the hand has to go
 * all the way round.
 *
 * A page that is spared stays where it stands, for the hand moves: the ring's victim end is where the hand is, its
 * newest end just behind it.  The end that frame-list.h knows stays anywhere in the ring and means nothing, until
 * settle() puts it under the hand.
 *
 * New pages count 0.  A page touched while it was proposed (RACED) is treated as the hand treats a page in use: it
 * loses one, if it has any, and becomes the newest.  WILLNEED is a touch; DISCARD, EVICT_NEXT and WONTNEED clear
 * the count and make the page the next victim, the last one named first.
 */
#include <errno.h>

#include <hurd-mm/policy.h>

#include "policies/frame-list.h"
#include "policies/params.h"

struct clock {
	struct frame_list list;
	uint8_t *count; /* capacity, behind the links */
	uint32_t hand;
	uint8_t most;
	struct frame_link links[];
};

static size_t clock_state_size(uint32_t capacity)
{
	return sizeof(struct clock) + frame_list_size(capacity) + capacity;
}

static void clock_init(struct clock *clock, uint32_t capacity, unsigned bits)
{
	clock->most = (uint8_t)((1u << bits) - 1);
	clock->count = (uint8_t *)clock->links + frame_list_size(capacity);
	frame_list_init(&clock->list, clock->links, capacity);
	clock->hand = clock->list.order;
}

static int clock_start(void *state, uint32_t capacity, uint32_t frames, const char *text)
{
	double bits = 1;
	const struct param params[] = {
		{ .name = "bits", .value = &bits, .least = 1, .most = 2, .is_whole = true },
	};
	int r = params_parse(text, params, 1);

	(void)frames;
	clock_init(state, capacity, (unsigned)bits);
	return r;
}

static int clock2_start(void *state, uint32_t capacity, uint32_t frames, const char *text)
{
	(void)frames;
	clock_init(state, capacity, 2);
	return text[0] != '\0' ? -EINVAL : 0;
}

/* The ring's end goes where the hand is, which stands on it then: frame-list.h looks in the right places. */
static void settle(struct clock *clock)
{
	uint32_t end = clock->list.order;

	if (clock->hand == end)
		return;
	frame_list_unlink(&clock->list, end);
	frame_list_link_after(&clock->list, clock->hand, end);
	clock->hand = end;
}

static void clock_unlink(struct clock *clock, uint32_t frame)
{
	if (clock->hand == frame)
		clock->hand = clock->links[frame].prev;
	frame_list_unlink(&clock->list, frame);
}

static void clock_inserted(void *state, uint32_t frame, uint64_t page, uint32_t region, enum hmm_access access)
{
	struct clock *clock = state;

	(void)page, (void)region, (void)access;
	clock->count[frame] = 0;
	frame_list_link_after(&clock->list, clock->hand, frame);
}

static void clock_touch(struct clock *clock, uint32_t frame)
{
	clock->count[frame] += clock->count[frame] < clock->most;
}

static void clock_touched(void *state, const uint32_t *frames, uint32_t n, enum hmm_access access)
{
	struct clock *clock = state;

	(void)access;
	if (n == 1) {
		clock_touch(clock, frames[0]);
		return;
	}
	/* of several threads, perhaps: a store that changes nothing would still take the line from other processors */
	for (uint32_t i = 0; i < n; i++) {
		if (clock->count[frames[i]] < clock->most)
			clock->count[frames[i]]++;
	}
}

static uint32_t clock_choose(void *state, uint32_t want, uint32_t *out, uint32_t scan)
{
	struct clock *clock = state;
	uint32_t n = 0;

	for (; n < want && scan > 0; scan--) {
		uint32_t frame = clock->hand;

		if (__builtin_expect(frame == clock->list.order, 0))
			frame = frame_list_victim(&clock->list);
		if (frame == FRAME_NONE)
			break;
		clock->hand = clock->links[frame].prev;
		if (clock->count[frame] > 0) {
			clock->count[frame]--;
		} else {
			frame_list_unlink(&clock->list, frame);
			out[n++] = frame;
		}
	}
	return n;
}

static uint32_t clock_evicted(void *state, uint32_t frame, uint64_t page)
{
	struct clock *clock = state;

	(void)page;
	if (__builtin_expect(frame_list_holds(&clock->list, frame), 0))
		clock_unlink(clock, frame);
	if (__builtin_expect(clock->list.patience != 0, 0)) {
		settle(clock);
		frame_list_count_eviction(&clock->list);
	}
	return 0;
}

static void clock_rejected(void *state, uint32_t frame, enum hmm_reject why)
{
	struct clock *clock = state;

	if (why == HMM_REJECT_RACED) {
		clock->count[frame] -= clock->count[frame] > 0;
		frame_list_link_after(&clock->list, clock->hand, frame);
	} else {
		frame_list_refuse(&clock->list, frame);
	}
}

static void clock_removed(void *state, uint32_t frame, uint64_t page, enum hmm_removed why)
{
	struct clock *clock = state;

	(void)page, (void)why;
	clock_unlink(clock, frame);
}

static void clock_hint(void *state, uint32_t frame, struct hmm_page_range range, enum hmm_hint hint, int64_t value)
{
	struct clock *clock = state;

	(void)range, (void)value;
	if (frame == FRAME_NONE)
		return;
	if (hint == HMM_HINT_DISCARD || hint == HMM_HINT_EVICT_NEXT || hint == HMM_HINT_WONTNEED) {
		clock->count[frame] = 0;
		settle(clock);
		frame_list_move_victim(&clock->list, frame);
	} else if (hint == HMM_HINT_WILLNEED) {
		clock_touch(clock, frame);
	}
}

HMM_POLICY_EXCHANGE(clock_exchange, hmm_policy_no_miss, clock_choose, clock_evicted, clock_inserted)

#define CLOCK_HOOKS \
	.size = sizeof(struct hmm_policy_ops), \
	.version = HMM_POLICY_VERSION, \
	.caps = HMM_POLICY_REFBITS, \
	.state_size = clock_state_size, \
	.inserted = clock_inserted, \
	.touched = clock_touched, \
	.choose = clock_choose, \
	.evicted = clock_evicted, \
	.exchange = clock_exchange, \
	.rejected = clock_rejected, \
	.removed = clock_removed, \
	.hint = clock_hint

const struct hmm_policy_ops hmm__policy_clock = {
	.name = "clock",
	.summary = "second chance with one reference bit, or two (bits=2)",
	.params = "bits=1",
	.start = clock_start,
	CLOCK_HOOKS,
};

const struct hmm_policy_ops hmm__policy_clock2 = {
	.name = "clock2",
	.summary = "second chance with two bits: clock:bits=2",
	.params = "",
	.start = clock2_start,
	CLOCK_HOOKS,
};
