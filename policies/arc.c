/* SPDX-License-Identifier: MIT */
/*
 * arc.c - ARC: two LRU lists, recency and frequency, whose shares of memory adapt to what is missed
 *
 * Idea: T1 holds pages used once lately, T2 pages used at least twice.  Each has a list of ghosts, B1 and B2.  A miss that
 * B1 remembers says that T1 should have been larger, one that B2 remembers that T2 should have been: p, the size
 * aimed at for T1, moves accordingly, the faster the shorter the ghost list that was right.
 * Source: N. Megiddo, D. S. Modha, "ARC: a self-tuning, low overhead replacement cache", FAST 2003, figure 4.
 *
 * No parameters.
 * Cost: O(1) a call and per touched page; 9 bytes a frame, 16 a ghost, as many ghosts as frames, and what the core
 * remembers of them.
 * Known weakness: two uses in a row count as frequent.  A loop slightly larger than memory always misses.  p follows the
 * past: a workload that changes fast is always met with the last one's.
 *
 * T1 and T2 are the segments 0 and 1, B1 and B2 the ghost lists 0 and 1; all have the newest at their head.  p is a real
 * number: rounded divisions miss differently by 0.2%.
 * A1  |T1| + |B1| <= c, and all four lists together <= 2c.  Ghosts beyond that are dropped when the new page has its
 *     frame: B1's first, then B2's.  The paper (case IV) drops them before the victim is chosen, and lets the victim leave
 *     no ghost where |T1| = c.  That is the same, for nobody asks for the sizes or the ghosts in between.
 * A2  A ghost hit adapts p, with the sizes that the lists have then, and takes the page out of its list in miss(), before
 *     choose.
 * A page touched while it was proposed (RACED) enters T2, as on any hit.  WILLNEED is a hit.  DISCARD, EVICT_NEXT and
 * WONTNEED make the page the next victim, the last one named first, until it is used again; it leaves no ghost.  A page
 * read ahead has not been asked for: it enters T1 and p stays, whatever is remembered.
 */
#include <errno.h>

#include <hurd-mm/policy.h>

#include "policies/frame-segments.h"
#include "policies/ghost-list.h"

#define RECENT 0u   /* T1, B1 */
#define FREQUENT 1u /* T2, B2 */
#define UNKNOWN 2u

struct arc {
	struct frame_segments segments;
	struct ghost_lists ghosts;
	uint64_t wanted;       /* page of the last miss */
	double p;              /* size aimed at for T1 */
	uint32_t frames;       /* c */
	uint8_t wanted_was_in; /* RECENT: B1, FREQUENT: B2; UNKNOWN once the page has its frame */
	struct frame_link links[];
};

static size_t links_and_tags(uint32_t capacity)
{
	return (frame_segments_size(capacity) + 7) & ~(size_t)7;
}

/* One more than frames: a ghost is remembered before the list that is too long drops one (A1). */
static uint32_t arc_slots(uint32_t capacity)
{
	return ghost_slots((double)capacity + 1);
}

static size_t arc_state_size(uint32_t capacity)
{
	return sizeof(struct arc) + links_and_tags(capacity) + ghost_lists_size(arc_slots(capacity));
}

static int arc_sizes(uint32_t capacity, const char *params, struct hmm_policy_sizes *sizes)
{
	if (params[0] != '\0')
		return -EINVAL;
	sizes->state = arc_state_size(capacity);
	/*
	 * Twice what the lists hold: the core forgets by age alone, and the ghosts of one list may be older than many that
	 * the other has dropped.
	 */
	sizes->ghosts = ghosts_to_remember(2 * (uint64_t)capacity);
	return 0;
}

static int arc_start(void *state, uint32_t capacity, uint32_t frames, const char *params)
{
	struct arc *arc = state;

	if (params[0] != '\0')
		return -EINVAL;
	frame_segments_init(&arc->segments, arc->links, capacity);
	ghost_lists_init(&arc->ghosts, (char *)arc->links + links_and_tags(capacity), arc_slots(capacity));
	arc->frames = frames;
	arc->wanted_was_in = UNKNOWN;
	return 0;
}

/* Forget ghosts until A1 holds. */
static void arc_trim(struct arc *arc)
{
	const uint32_t *n = arc->segments.n, *ghosts = arc->ghosts.n;
	uint64_t c = arc->frames;

	while (ghosts[RECENT] > 0 && (uint64_t)n[RECENT] + ghosts[RECENT] > c)
		ghost_drop_oldest(&arc->ghosts, RECENT);
	while (ghosts[FREQUENT] > 0 &&
	       (uint64_t)n[RECENT] + n[FREQUENT] + ghosts[RECENT] + ghosts[FREQUENT] > 2 * c)
		ghost_drop_oldest(&arc->ghosts, FREQUENT);
}

static void arc_resize(void *state, uint32_t frames)
{
	struct arc *arc = state;

	arc->frames = frames;
	arc->p = arc->p < frames ? arc->p : frames;
	arc_trim(arc);
}

static void arc_adapt(struct arc *arc, unsigned list)
{
	double own = arc->ghosts.n[list], other = arc->ghosts.n[!list], step = other > own ? other / own : 1;

	if (list == RECENT)
		arc->p = arc->p + step < arc->frames ? arc->p + step : arc->frames;
	else
		arc->p = arc->p > step ? arc->p - step : 0;
}

static void arc_miss(void *state, uint64_t page, uint32_t cookie, enum hmm_access access)
{
	struct arc *arc = state;
	unsigned list = UNKNOWN;

	if (ghost_is_known(&arc->ghosts, cookie, page)) {
		list = ghost_list_of(cookie);
		if (access != HMM_ACCESS_PREFETCH)
			arc_adapt(arc, list);
		ghost_take(&arc->ghosts, cookie);
	}
	if (access == HMM_ACCESS_PREFETCH)
		list = UNKNOWN;
	arc->wanted = page;
	arc->wanted_was_in = (uint8_t)list;
}

static void arc_inserted(void *state, uint32_t frame, uint64_t page, uint32_t region, enum hmm_access access)
{
	struct arc *arc = state;

	(void)region, (void)access;
	if (arc->wanted_was_in != UNKNOWN && arc->wanted == page) {
		segment_push(&arc->segments, FREQUENT, frame);
	} else {
		segment_push(&arc->segments, RECENT, frame);
		arc_trim(arc);
	}
	arc->wanted_was_in = UNKNOWN;
}

static void arc_touched(void *state, const uint32_t *frames, uint32_t n, enum hmm_access access)
{
	struct arc *arc = state;

	(void)access;
	/* the same steps for T1 and T2: which of them a page is in is hard to predict */
	for (uint32_t i = 0; i < n; i++) {
		if (segments_hold(&arc->segments, frames[i]))
			segments_move(&arc->segments, FREQUENT, frames[i]);
	}
}

static uint32_t arc_choose(void *state, uint32_t want, uint32_t *out, uint32_t scan)
{
	struct arc *arc = state;
	struct frame_segments *segments = &arc->segments;
	uint32_t n;

	for (n = 0; n < want && n < scan; n++) {
		double recent = segments->n[RECENT];
		bool take_recent = recent > arc->p || (arc->wanted_was_in == FREQUENT && recent == arc->p);
		uint32_t frame = segments_victim(segments, take_recent && recent > 0 ? RECENT : FREQUENT);

		if (frame == FRAME_NONE)
			break;
		segments_propose(segments, frame);
		out[n] = frame;
	}
	return n;
}

static uint32_t arc_evicted(void *state, uint32_t frame, uint64_t page)
{
	struct arc *arc = state;
	uint8_t tag = segments_evicted(&arc->segments, frame);

	return tag & SEGMENT_COLD ? 0 : ghost_push(&arc->ghosts, tag & SEGMENT_BIT, page);
}

static void arc_rejected(void *state, uint32_t frame, enum hmm_reject why)
{
	struct arc *arc = state;

	if (why == HMM_REJECT_RACED)
		segment_push(&arc->segments, FREQUENT, frame);
	else
		segments_refuse(&arc->segments, frame);
}

static void arc_removed(void *state, uint32_t frame, uint64_t page, enum hmm_removed why)
{
	struct arc *arc = state;

	(void)page, (void)why;
	segments_unlink(&arc->segments, frame);
}

static void arc_hint(void *state, uint32_t frame, struct hmm_page_range range, enum hmm_hint hint, int64_t value)
{
	struct arc *arc = state;

	(void)range, (void)value;
	if (frame == FRAME_NONE)
		return;
	if (hint_is_cold(hint))
		segments_chill(&arc->segments, frame);
	else if (hint == HMM_HINT_WILLNEED)
		arc_touched(state, &frame, 1, HMM_ACCESS_PREFETCH);
}

HMM_POLICY_EXCHANGE(arc_exchange, arc_miss, arc_choose, arc_evicted, arc_inserted)

const struct hmm_policy_ops hmm__policy_arc = {
	.size = sizeof(struct hmm_policy_ops),
	.version = HMM_POLICY_VERSION,
	.caps = HMM_POLICY_EXACT | HMM_POLICY_GHOSTS,
	.name = "arc",
	.summary = "ARC: recency and frequency in shares that adapt",
	.params = "",
	.state_size = arc_state_size,
	.sizes = arc_sizes,
	.start = arc_start,
	.resize = arc_resize,
	.miss = arc_miss,
	.inserted = arc_inserted,
	.touched = arc_touched,
	.choose = arc_choose,
	.evicted = arc_evicted,
	.exchange = arc_exchange,
	.rejected = arc_rejected,
	.removed = arc_removed,
	.hint = arc_hint,
};
