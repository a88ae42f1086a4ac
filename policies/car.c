/* SPDX-License-Identifier: MIT */
/*
 * car.c - CAR: ARC's adaptation over two clocks, so that a hit sets a bit and moves nothing
 *
 * Idea: T1 holds pages used once, T2 pages used again, each as a clock with reference bits; B1 and B2 remember what left
 * them.  The hand of T1 moves a page with its bit set to T2, that of T2 gives it another round.  As in ARC a miss that B1
 * or B2 remembers moves p, the size aimed at for T1.
 * Source: S. Bansal, D. S. Modha, "CAR: clock with adaptive replacement", FAST 2004, figure 2.
 *
 * No parameters.
 * Cost: a hit is one byte; a victim costs the steps of two hands, O(1) on average over hits; 9 bytes a frame, 16 a ghost,
 * as many ghosts as frames, and what the core remembers of them.
 * Known weakness: as ARC: two uses in a row count as frequent, a loop slightly larger than memory always misses.
 *
 * T1 and T2 are the segments 0 and 1, B1 and B2 the ghost lists 0 and 1; bit 1 of a tag is the reference bit.  The paper's
 * head of a clock, where its hand stands, is the victim end here, the tail is the newest.  p is a real number.
 * C1  The history is trimmed after the victim was chosen, and only if the page is in neither ghost list.
 * C2  p adapts after the victim was chosen and remembered, other than in ARC; until then the page stands in its ghost
 *     list and counts there.  So all of it waits for inserted().
 * A page touched while it was proposed (RACED) enters T2, as the hand would have put it.  WILLNEED is a hit.  DISCARD,
 * EVICT_NEXT and WONTNEED make the page the next victim, the last one named first, until it is used again; it leaves no
 * ghost.  A page read ahead has not been asked for: it enters T1 and p stays, whatever is remembered.
 */
#include <errno.h>

#include <hurd-mm/policy.h>

#include "policies/frame-segments.h"
#include "policies/ghost-list.h"

#define RECENT 0u     /* T1, B1 */
#define FREQUENT 1u   /* T2, B2 */
#define REFERENCED 2u /* in the tag */

struct car {
	struct frame_segments segments;
	struct ghost_lists ghosts;
	uint64_t wanted;        /* page of the last miss */
	double p;               /* size aimed at for T1 */
	uint32_t frames;        /* c */
	uint32_t wanted_cookie; /* 0 once the page has its frame */
	struct frame_link links[];
};

static size_t links_and_tags(uint32_t capacity)
{
	return (frame_segments_size(capacity) + 7) & ~(size_t)7;
}

/* One more than frames: the victim is remembered before the list that is too long drops one (C1). */
static uint32_t car_slots(uint32_t capacity)
{
	return ghost_slots((double)capacity + 1);
}

static size_t car_state_size(uint32_t capacity)
{
	return sizeof(struct car) + links_and_tags(capacity) + ghost_lists_size(car_slots(capacity));
}

static int car_sizes(uint32_t capacity, const char *params, struct hmm_policy_sizes *sizes)
{
	if (params[0] != '\0')
		return -EINVAL;
	sizes->state = car_state_size(capacity);
	/*
	 * Twice what the lists hold: the core forgets by age alone, and the ghosts of one list may be older than many that
	 * the other has dropped.
	 */
	sizes->ghosts = ghosts_to_remember(2 * (uint64_t)capacity);
	return 0;
}

static int car_start(void *state, uint32_t capacity, uint32_t frames, const char *params)
{
	struct car *car = state;

	if (params[0] != '\0')
		return -EINVAL;
	frame_segments_init(&car->segments, car->links, capacity);
	ghost_lists_init(&car->ghosts, (char *)car->links + links_and_tags(capacity), car_slots(capacity));
	car->frames = frames;
	return 0;
}

/* Forget ghosts until T1 with B1, and all four lists, keep within c and 2c with `more` pages to come. */
static void car_trim(struct car *car, uint64_t more)
{
	const uint32_t *n = car->segments.n, *ghosts = car->ghosts.n;
	uint64_t c = car->frames;

	while (ghosts[RECENT] > 0 && (uint64_t)n[RECENT] + ghosts[RECENT] + more > c)
		ghost_drop_oldest(&car->ghosts, RECENT);
	while (ghosts[FREQUENT] > 0 &&
	       (uint64_t)n[RECENT] + n[FREQUENT] + ghosts[RECENT] + ghosts[FREQUENT] + more > 2 * c)
		ghost_drop_oldest(&car->ghosts, FREQUENT);
}

static void car_resize(void *state, uint32_t frames)
{
	struct car *car = state;

	car->frames = frames;
	car->p = car->p < frames ? car->p : frames;
	car_trim(car, 0);
}

static void car_adapt(struct car *car, unsigned list)
{
	double own = car->ghosts.n[list], other = car->ghosts.n[!list], step = other > own ? other / own : 1;

	if (list == RECENT)
		car->p = car->p + step < car->frames ? car->p + step : car->frames;
	else
		car->p = car->p > step ? car->p - step : 0;
}

static void car_miss(void *state, uint64_t page, uint32_t cookie, enum hmm_access access)
{
	struct car *car = state;

	if (access == HMM_ACCESS_PREFETCH && ghost_is_known(&car->ghosts, cookie, page)) {
		ghost_take(&car->ghosts, cookie);
		cookie = 0;
	}
	car->wanted = page;
	car->wanted_cookie = cookie;
}

static void car_inserted(void *state, uint32_t frame, uint64_t page, uint32_t region, enum hmm_access access)
{
	struct car *car = state;
	uint32_t cookie = car->wanted == page ? car->wanted_cookie : 0;

	(void)region, (void)access;
	car->wanted_cookie = 0;
	if (ghost_is_known(&car->ghosts, cookie, page)) {
		car_adapt(car, ghost_list_of(cookie));
		ghost_take(&car->ghosts, cookie);
		segment_push(&car->segments, FREQUENT, frame);
	} else {
		car_trim(car, 1);
		segment_push(&car->segments, RECENT, frame);
	}
}

static void car_touch(struct car *car, uint32_t frame)
{
	uint8_t tag = car->segments.tag[frame];

	car->segments.tag[frame] = tag | REFERENCED;
	if (__builtin_expect(tag & SEGMENT_COLD, 0) && segments_hold(&car->segments, frame)) {
		segments_move(&car->segments, tag & SEGMENT_BIT, frame);
		car->segments.tag[frame] |= REFERENCED;
	}
}

static void car_touched(void *state, const uint32_t *frames, uint32_t n, enum hmm_access access)
{
	struct car *car = state;

	(void)access;
	for (uint32_t i = 0; i < n; i++)
		car_touch(car, frames[i]);
}

static uint32_t car_choose(void *state, uint32_t want, uint32_t *out, uint32_t scan)
{
	struct car *car = state;
	struct frame_segments *segments = &car->segments;
	uint32_t n = 0;

	for (; n < want && scan > 0; scan--) {
		bool take_recent = segments->n[RECENT] >= (car->p > 1 ? car->p : 1);
		uint32_t frame = segments_victim(segments, take_recent ? RECENT : FREQUENT);

		if (frame == FRAME_NONE)
			break;
		if ((segments->tag[frame] & (REFERENCED | SEGMENT_COLD)) == REFERENCED) {
			segments_move(segments, FREQUENT, frame); /* with its bit cleared */
			continue;
		}
		segments_propose(segments, frame);
		out[n++] = frame;
	}
	return n;
}

static uint32_t car_evicted(void *state, uint32_t frame, uint64_t page)
{
	struct car *car = state;
	uint8_t tag = segments_evicted(&car->segments, frame);

	return tag & SEGMENT_COLD ? 0 : ghost_push(&car->ghosts, tag & SEGMENT_BIT, page);
}

static void car_rejected(void *state, uint32_t frame, enum hmm_reject why)
{
	struct car *car = state;

	if (why == HMM_REJECT_RACED)
		segment_push(&car->segments, FREQUENT, frame);
	else
		segments_refuse(&car->segments, frame);
}

static void car_removed(void *state, uint32_t frame, uint64_t page, enum hmm_removed why)
{
	struct car *car = state;

	(void)page, (void)why;
	segments_unlink(&car->segments, frame);
}

static void car_hint(void *state, uint32_t frame, struct hmm_page_range range, enum hmm_hint hint, int64_t value)
{
	struct car *car = state;

	(void)range, (void)value;
	if (frame == FRAME_NONE)
		return;
	if (hint_is_cold(hint))
		segments_chill(&car->segments, frame);
	else if (hint == HMM_HINT_WILLNEED)
		car_touch(car, frame);
}

HMM_POLICY_EXCHANGE(car_exchange, car_miss, car_choose, car_evicted, car_inserted)

const struct hmm_policy_ops hmm__policy_car = {
	.size = sizeof(struct hmm_policy_ops),
	.version = HMM_POLICY_VERSION,
	.caps = HMM_POLICY_REFBITS | HMM_POLICY_GHOSTS,
	.name = "car",
	.summary = "CAR: ARC over two clocks",
	.params = "",
	.state_size = car_state_size,
	.sizes = car_sizes,
	.start = car_start,
	.resize = car_resize,
	.miss = car_miss,
	.inserted = car_inserted,
	.touched = car_touched,
	.choose = car_choose,
	.evicted = car_evicted,
	.exchange = car_exchange,
	.rejected = car_rejected,
	.removed = car_removed,
	.hint = car_hint,
};
