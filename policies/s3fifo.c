/* SPDX-License-Identifier: MIT */
/*
 * s3fifo.c - S3-FIFO: a small FIFO on probation, a main FIFO with second chances, and a FIFO of ghosts
 *
 * Idea: most pages of a skewed workload are used once before they leave, so a tenth of memory is enough to find
 * that out.  New pages enter the small queue S.  At its end a page used at least twice moves to the main queue M, the
 * others leave and are remembered; who returns while remembered enters M at once.  M is a clock with counts up to 3.
 * Source: J. Yang, Y. Zhang, Z. Qiu, Y. Yue, K. V. Rashmi, "FIFO queues are all you need for cache eviction", SOSP 2023.
 *
 * Two variants.  s3fifo fills memory beyond S straight into M until the first eviction; s3fifo-v0 fills S.
 * Parameters: small=0.1, S's part of memory; ghost=0.9, ghosts for each frame.
 * Cost: a hit is one byte; a victim costs the steps of two hands, O(1) on average over hits; 9 bytes a frame, 16 a
 * ghost, and what the core remembers of it.
 * Known weakness: a page used twice close together counts as wanted; block traces are full of those.  Frequency of long
 * ago is forgotten, and pages that come back just after the ghosts forgot them are never found out.
 *
 * S and M are the segments 0 and 1; bits 1 and 2 of a tag count uses, up to 3.
 * "M is larger than its part" is asked as "S is smaller than its own": the same while memory is full, and still right
 * while a part of it is proposed or free.
 * A page touched while it was proposed (RACED) goes to the head of M with no uses, as one that came back as a ghost.
 * WILLNEED is a hit.  DISCARD, EVICT_NEXT and WONTNEED make the page the next victim, the last one named first, until
 * it is used again; it leaves no ghost.  A page read ahead has not been asked for: it enters S, whatever is remembered.
 */
#include <errno.h>

#include <hurd-mm/policy.h>

#include "policies/frame-segments.h"
#include "policies/ghost-list.h"
#include "policies/params.h"

#define SMALL 0u
#define MAIN 1u
#define USE_ONE 2u  /* in the tag */
#define USE_MOST 6u

struct s3fifo {
	struct frame_segments segments;
	struct ghost_lists ghosts;   /* list 0 */
	uint64_t wanted;             /* page of the last miss */
	uint32_t small_most;         /* S's part, at least 1 */
	uint32_t ghosts_most;
	bool wanted_was_ghost;
	bool sweeps_small;           /* a scan of S ended before it found a victim */
	bool fills_main;             /* no eviction yet: what S has no room for goes to M */
	double small, ghost;         /* parameters */
	struct frame_link links[];
};

static int s3fifo_parse(const char *text, double *small, double *ghost)
{
	const struct param params[] = {
		{ .name = "small", .value = small, .least = 0, .most = 1 },
		{ .name = "ghost", .value = ghost, .least = 0, .most = 16 },
	};

	*small = 0.1;
	*ghost = 0.9;
	return params_parse(text, params, sizeof(params) / sizeof(params[0]));
}

/* The ghosts stand first after the head, then links and tags: all aligned. */
static size_t s3fifo_bytes(uint32_t capacity, double ghost)
{
	return sizeof(struct s3fifo) + ((frame_segments_size(capacity) + 7) & ~(size_t)7) +
	       ghost_lists_size(ghost_slots(ghost * capacity));
}

static int s3fifo_sizes(uint32_t capacity, const char *text, struct hmm_policy_sizes *sizes)
{
	double small, ghost;
	int r = s3fifo_parse(text, &small, &ghost);

	if (r != 0)
		return r;
	sizes->state = s3fifo_bytes(capacity, ghost);
	sizes->ghosts = ghosts_to_remember(ghost_slots(ghost * capacity));
	return 0;
}

static size_t s3fifo_state_size(uint32_t capacity)
{
	return s3fifo_bytes(capacity, 0.9);
}

static void s3fifo_resize(void *state, uint32_t frames)
{
	struct s3fifo *s3 = state;

	s3->small_most = (uint32_t)(s3->small * frames);
	s3->small_most += s3->small_most == 0;
	s3->ghosts_most = ghost_slots(s3->ghost * frames);
	while (s3->ghosts.n[0] > s3->ghosts_most)
		ghost_drop_oldest(&s3->ghosts, 0);
}

static int s3fifo_v0_start(void *state, uint32_t capacity, uint32_t frames, const char *text)
{
	struct s3fifo *s3 = state;
	size_t segments = (frame_segments_size(capacity) + 7) & ~(size_t)7;
	int r = s3fifo_parse(text, &s3->small, &s3->ghost);

	if (r != 0)
		return r;
	frame_segments_init(&s3->segments, s3->links, capacity);
	ghost_lists_init(&s3->ghosts, (char *)s3->links + segments, ghost_slots(s3->ghost * capacity));
	s3fifo_resize(s3, frames);
	return 0;
}

static int s3fifo_start(void *state, uint32_t capacity, uint32_t frames, const char *text)
{
	struct s3fifo *s3 = state;

	s3->fills_main = true;
	return s3fifo_v0_start(state, capacity, frames, text);
}

static void s3fifo_miss(void *state, uint64_t page, uint32_t cookie, enum hmm_access access)
{
	struct s3fifo *s3 = state;

	s3->wanted = page;
	s3->wanted_was_ghost = false;
	if (!ghost_is_known(&s3->ghosts, cookie, page))
		return;
	ghost_take(&s3->ghosts, cookie);
	s3->wanted_was_ghost = access != HMM_ACCESS_PREFETCH;
}

static void s3fifo_inserted(void *state, uint32_t frame, uint64_t page, uint32_t region, enum hmm_access access)
{
	struct s3fifo *s3 = state;
	unsigned segment = SMALL;

	(void)region, (void)access;
	if (s3->wanted_was_ghost && s3->wanted == page)
		segment = MAIN;
	else if (s3->fills_main && s3->segments.n[SMALL] >= s3->small_most)
		segment = MAIN;
	s3->wanted_was_ghost = false;
	segment_push(&s3->segments, segment, frame);
}

static void s3fifo_touch(struct s3fifo *s3, uint32_t frame)
{
	uint8_t tag = s3->segments.tag[frame];

	/* USE_ONE more if that is below USE_MOST, without a jump: it would be hard to predict */
	s3->segments.tag[frame] = (uint8_t)(tag + (((uint32_t)tag - USE_MOST) >> 31) * USE_ONE);
	if (__builtin_expect(tag & SEGMENT_COLD, 0) && segments_hold(&s3->segments, frame))
		segments_move(&s3->segments, tag & SEGMENT_BIT, frame);
}

static void s3fifo_touched(void *state, const uint32_t *frames, uint32_t n, enum hmm_access access)
{
	struct s3fifo *s3 = state;

	(void)access;
	for (uint32_t i = 0; i < n; i++)
		s3fifo_touch(s3, frames[i]);
}

/* The hand stands at a frame: true if that is the victim, else the frame was moved on. */
static bool s3fifo_judge(struct s3fifo *s3, uint32_t frame)
{
	uint8_t tag = s3->segments.tag[frame];

	if (tag & SEGMENT_COLD)
		return true;
	if ((tag & SEGMENT_BIT) == MAIN) {
		if (tag < USE_ONE)
			return true;
		frame_list_move_newest(&s3->segments.list[MAIN], frame);
		s3->segments.tag[frame] = (uint8_t)(tag - USE_ONE);
		return false;
	}
	if (tag < 2 * USE_ONE)
		return true;
	segments_move(&s3->segments, MAIN, frame);
	return false;
}

static uint32_t s3fifo_choose(void *state, uint32_t want, uint32_t *out, uint32_t scan)
{
	struct s3fifo *s3 = state;
	struct frame_segments *segments = &s3->segments;
	uint32_t n = 0;

	s3->fills_main = false;
	for (; n < want && scan > 0; scan--) {
		unsigned segment = s3->sweeps_small || segments->n[SMALL] >= s3->small_most ? SMALL : MAIN;
		uint32_t frame = segments_victim(segments, segments->n[SMALL] == 0 ? MAIN : segment);

		if (frame == FRAME_NONE)
			break;
		s3->sweeps_small = segment_of(segments, frame) == SMALL;
		if (!s3fifo_judge(s3, frame))
			continue;
		s3->sweeps_small = false;
		segments_propose(segments, frame);
		out[n++] = frame;
	}
	return n;
}

static uint32_t s3fifo_evicted(void *state, uint32_t frame, uint64_t page)
{
	struct s3fifo *s3 = state;
	uint8_t tag = segments_evicted(&s3->segments, frame);

	if (tag & (SEGMENT_COLD | MAIN))
		return 0;
	return ghost_push_bounded(&s3->ghosts, 0, page, s3->ghosts_most);
}

static void s3fifo_rejected(void *state, uint32_t frame, enum hmm_reject why)
{
	struct s3fifo *s3 = state;

	if (why == HMM_REJECT_RACED)
		segment_push(&s3->segments, MAIN, frame);
	else
		segments_refuse(&s3->segments, frame);
}

static void s3fifo_removed(void *state, uint32_t frame, uint64_t page, enum hmm_removed why)
{
	struct s3fifo *s3 = state;

	(void)page, (void)why;
	segments_unlink(&s3->segments, frame);
}

static void s3fifo_hint(void *state, uint32_t frame, struct hmm_page_range range, enum hmm_hint hint, int64_t value)
{
	struct s3fifo *s3 = state;

	(void)range, (void)value;
	if (frame == FRAME_NONE)
		return;
	if (hint_is_cold(hint))
		segments_chill(&s3->segments, frame);
	else if (hint == HMM_HINT_WILLNEED)
		s3fifo_touch(s3, frame);
}

HMM_POLICY_EXCHANGE(s3fifo_exchange, s3fifo_miss, s3fifo_choose, s3fifo_evicted, s3fifo_inserted)

#define S3FIFO_HOOKS \
	.size = sizeof(struct hmm_policy_ops), \
	.version = HMM_POLICY_VERSION, \
	.caps = HMM_POLICY_REFBITS | HMM_POLICY_GHOSTS, \
	.state_size = s3fifo_state_size, \
	.sizes = s3fifo_sizes, \
	.params = "small=0.1,ghost=0.9", \
	.resize = s3fifo_resize, \
	.miss = s3fifo_miss, \
	.inserted = s3fifo_inserted, \
	.touched = s3fifo_touched, \
	.choose = s3fifo_choose, \
	.evicted = s3fifo_evicted, \
	.exchange = s3fifo_exchange, \
	.rejected = s3fifo_rejected, \
	.removed = s3fifo_removed, \
	.hint = s3fifo_hint

const struct hmm_policy_ops hmm__policy_s3fifo = {
	.name = "s3fifo",
	.summary = "S3-FIFO: small FIFO on probation, main FIFO with second chances, ghosts",
	.start = s3fifo_start,
	S3FIFO_HOOKS,
};

const struct hmm_policy_ops hmm__policy_s3fifo_v0 = {
	.name = "s3fifo-v0",
	.summary = "S3-FIFO as first published: fills the small FIFO first",
	.start = s3fifo_v0_start,
	S3FIFO_HOOKS,
};
