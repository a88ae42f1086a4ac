/* SPDX-License-Identifier: MIT */
/*
 * 2q.c - 2Q: a FIFO for pages seen once, LRU for those that came back after it
 *
 * Idea: several uses in a row are one use.  A new page enters the FIFO A1in, where hits count for nothing.  What leaves
 * it is remembered in A1out; a page that returns while it is there has proven to be used over a longer time and enters
 * Am, an LRU list.  A scan passes through A1in and leaves Am alone.
 * Source: T. Johnson, D. Shasha, "2Q: a low overhead high performance buffer management replacement algorithm", VLDB 1994
 * (the full version).
 *
 * Parameters: in=0.25, A1in's part of memory; out=0.5, ghosts in A1out for each frame.
 * Cost: O(1) a call and per touched page; 9 bytes a frame, 16 a ghost, and what the core remembers of it.
 * Known weakness: the two parts are fixed.  Every page of a new working set has to miss twice, and one that returns
 * later than A1out remembers never gets in.
 *
 * A1in and Am are the segments 0 and 1.  A page touched while it was proposed (RACED) enters Am: it came back just after
 * it left.  WILLNEED is a hit.  DISCARD, EVICT_NEXT and WONTNEED make the page the next victim, the last one named first,
 * until it is used again; it leaves no ghost.  A page read ahead has not been asked for: it enters A1in in any case.
 */
#include <errno.h>

#include <hurd-mm/policy.h>

#include "policies/frame-segments.h"
#include "policies/ghost-list.h"
#include "policies/params.h"

#define A1IN 0u
#define AM 1u

struct twoq {
	struct frame_segments segments;
	struct ghost_lists a1out;    /* list 0 */
	uint64_t wanted;             /* page of the last miss */
	uint32_t in_most, out_most;  /* Kin, Kout */
	bool wanted_was_ghost;
	double in, out;              /* parameters */
	struct frame_link links[];
};

static int twoq_parse(const char *text, double *in, double *out)
{
	const struct param params[] = {
		{ .name = "in", .value = in, .least = 0, .most = 1 },
		{ .name = "out", .value = out, .least = 0, .most = 16 },
	};

	*in = 0.25;
	*out = 0.5;
	return params_parse(text, params, sizeof(params) / sizeof(params[0]));
}

static size_t links_and_tags(uint32_t capacity)
{
	return (frame_segments_size(capacity) + 7) & ~(size_t)7;
}

static size_t twoq_bytes(uint32_t capacity, double out)
{
	return sizeof(struct twoq) + links_and_tags(capacity) + ghost_lists_size(ghost_slots(out * capacity));
}

static int twoq_sizes(uint32_t capacity, const char *text, struct hmm_policy_sizes *sizes)
{
	double in, out;
	int r = twoq_parse(text, &in, &out);

	if (r != 0)
		return r;
	sizes->state = twoq_bytes(capacity, out);
	sizes->ghosts = ghosts_to_remember(ghost_slots(out * capacity));
	return 0;
}

static size_t twoq_state_size(uint32_t capacity)
{
	return twoq_bytes(capacity, 0.5);
}

static void twoq_resize(void *state, uint32_t frames)
{
	struct twoq *twoq = state;

	twoq->in_most = (uint32_t)(twoq->in * frames);
	twoq->out_most = ghost_slots(twoq->out * frames);
	while (twoq->a1out.n[0] > twoq->out_most)
		ghost_drop_oldest(&twoq->a1out, 0);
}

static int twoq_start(void *state, uint32_t capacity, uint32_t frames, const char *text)
{
	struct twoq *twoq = state;
	int r = twoq_parse(text, &twoq->in, &twoq->out);

	if (r != 0)
		return r;
	frame_segments_init(&twoq->segments, twoq->links, capacity);
	ghost_lists_init(&twoq->a1out, (char *)twoq->links + links_and_tags(capacity),
	                 ghost_slots(twoq->out * capacity));
	twoq_resize(twoq, frames);
	return 0;
}

static void twoq_miss(void *state, uint64_t page, uint32_t cookie, enum hmm_access access)
{
	struct twoq *twoq = state;

	twoq->wanted = page;
	twoq->wanted_was_ghost = false;
	if (!ghost_is_known(&twoq->a1out, cookie, page))
		return;
	ghost_take(&twoq->a1out, cookie);
	twoq->wanted_was_ghost = access != HMM_ACCESS_PREFETCH;
}

static void twoq_inserted(void *state, uint32_t frame, uint64_t page, uint32_t region, enum hmm_access access)
{
	struct twoq *twoq = state;

	(void)region, (void)access;
	segment_push(&twoq->segments, twoq->wanted_was_ghost && twoq->wanted == page ? AM : A1IN, frame);
	twoq->wanted_was_ghost = false;
}

static void twoq_touch(struct twoq *twoq, uint32_t frame)
{
	uint8_t tag = twoq->segments.tag[frame];

	if (tag == AM)
		frame_list_move_newest(&twoq->segments.list[AM], frame);
	else if (tag & SEGMENT_COLD && segments_hold(&twoq->segments, frame))
		segments_move(&twoq->segments, tag & SEGMENT_BIT, frame);
}

static void twoq_touched(void *state, const uint32_t *frames, uint32_t n, enum hmm_access access)
{
	struct twoq *twoq = state;

	(void)access;
	for (uint32_t i = 0; i < n; i++)
		twoq_touch(twoq, frames[i]);
}

static uint32_t twoq_choose(void *state, uint32_t want, uint32_t *out, uint32_t scan)
{
	struct twoq *twoq = state;
	struct frame_segments *segments = &twoq->segments;
	uint32_t n;

	for (n = 0; n < want && n < scan; n++) {
		uint32_t frame = segments_victim(segments, segments->n[A1IN] > twoq->in_most ? A1IN : AM);

		if (frame == FRAME_NONE)
			break;
		segments_propose(segments, frame);
		out[n] = frame;
	}
	return n;
}

static uint32_t twoq_evicted(void *state, uint32_t frame, uint64_t page)
{
	struct twoq *twoq = state;

	if (segments_evicted(&twoq->segments, frame) != A1IN)
		return 0;
	return ghost_push_bounded(&twoq->a1out, 0, page, twoq->out_most);
}

static void twoq_rejected(void *state, uint32_t frame, enum hmm_reject why)
{
	struct twoq *twoq = state;

	if (why == HMM_REJECT_RACED)
		segment_push(&twoq->segments, AM, frame);
	else
		segments_refuse(&twoq->segments, frame);
}

static void twoq_removed(void *state, uint32_t frame, uint64_t page, enum hmm_removed why)
{
	struct twoq *twoq = state;

	(void)page, (void)why;
	segments_unlink(&twoq->segments, frame);
}

static void twoq_hint(void *state, uint32_t frame, struct hmm_page_range range, enum hmm_hint hint, int64_t value)
{
	struct twoq *twoq = state;

	(void)range, (void)value;
	if (frame == FRAME_NONE)
		return;
	if (hint_is_cold(hint))
		segments_chill(&twoq->segments, frame);
	else if (hint == HMM_HINT_WILLNEED)
		twoq_touch(twoq, frame);
}

HMM_POLICY_EXCHANGE(twoq_exchange, twoq_miss, twoq_choose, twoq_evicted, twoq_inserted)

const struct hmm_policy_ops hmm__policy_2q = {
	.size = sizeof(struct hmm_policy_ops),
	.version = HMM_POLICY_VERSION,
	.caps = HMM_POLICY_EXACT | HMM_POLICY_GHOSTS,
	.name = "2q",
	.summary = "2Q: FIFO for pages seen once, LRU for those that came back",
	.params = "in=0.25,out=0.5",
	.state_size = twoq_state_size,
	.sizes = twoq_sizes,
	.start = twoq_start,
	.resize = twoq_resize,
	.miss = twoq_miss,
	.inserted = twoq_inserted,
	.touched = twoq_touched,
	.choose = twoq_choose,
	.evicted = twoq_evicted,
	.exchange = twoq_exchange,
	.rejected = twoq_rejected,
	.removed = twoq_removed,
	.hint = twoq_hint,
};
