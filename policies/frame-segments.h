/* SPDX-License-Identifier: MIT */
/*
 * frame-segments.h - resident pages in two segments, as 2Q, ARC, CAR and S3-FIFO keep them: 9 bytes a frame
 *
 *     segment 0: pages on probation, seen once          newest -> ... -> victim end
 *     segment 1: pages that were used again             newest -> ... -> victim end
 *     cold: what the application gave up                newest -> ... -> victim end
 *
 * G1  n[i] counts the pages of segment i that await no verdict, those at rest and in `cold` included: what a policy
 *     proposed it has given up, so a batch of proposals follows the algorithm as single evictions would.
 * G2  Bit 0 of a frame's tag is its segment, SEGMENT_COLD says that it stands in `cold`; both stay while it is proposed.
 *     The bits between are the policy's.
 * G3  Frames in `cold` go before all others, the last one named first.  They leave no ghost: their return would tell
 *     nothing of how the page is used.
 * G4  Frames that were refused rest (frame-list.h, F3) beside their segment.  A segment whose frames all rest is passed
 *     over while the other has one to propose.
 */
#ifndef POLICIES_FRAME_SEGMENTS_H
#define POLICIES_FRAME_SEGMENTS_H

#include <hurd-mm/policy.h>

#include "policies/frame-list.h"

#define SEGMENT_COLD 0x80u
#define SEGMENT_BIT 1u

struct frame_segments {
	struct frame_list list[2];
	struct frame_list cold;
	uint32_t n[2];
	uint8_t *tag;            /* by frame */
};

/* Bytes for the links, then the tags. */
static inline size_t frame_segments_size(uint32_t capacity)
{
	return ((size_t)capacity + 6) * sizeof(struct frame_link) + capacity;
}

static inline void frame_segments_init(struct frame_segments *segments, struct frame_link *links, uint32_t capacity)
{
	frame_list_init_at(&segments->list[0], links, capacity);
	frame_list_init_at(&segments->list[1], links, capacity + 2);
	frame_list_init_at(&segments->cold, links, capacity + 4);
	segments->n[0] = segments->n[1] = 0;
	segments->tag = (uint8_t *)&links[capacity + 6];
}

static inline unsigned segment_of(const struct frame_segments *segments, uint32_t frame)
{
	return segments->tag[frame] & SEGMENT_BIT;
}

/* The frame has a page and awaits no verdict. */
static inline bool segments_hold(const struct frame_segments *segments, uint32_t frame)
{
	return frame_list_holds(&segments->cold, frame);
}

/* A frame in no list becomes the newest of a segment; the policy's bits of its tag are 0. */
static inline void segment_push(struct frame_segments *segments, unsigned segment, uint32_t frame)
{
	segments->tag[frame] = (uint8_t)segment;
	segments->n[segment]++;
	frame_list_push_newest(&segments->list[segment], frame);
}

/* Take a frame out, wherever it is; nothing happens if it awaits its verdict. */
static inline void segments_unlink(struct frame_segments *segments, uint32_t frame)
{
	segments->n[segment_of(segments, frame)] -= segments_hold(segments, frame);
	frame_list_unlink(&segments->cold, frame);
}

/* Take out a frame that segments_victim() named. */
static inline void segments_propose(struct frame_segments *segments, uint32_t frame)
{
	segments->n[segment_of(segments, frame)]--;
	frame_list_unlink(&segments->cold, frame);
}

/* Move a frame that is held to the newest end of a segment. */
static inline void segments_move(struct frame_segments *segments, unsigned segment, uint32_t frame)
{
	segments->n[segment_of(segments, frame)]--;
	frame_list_unlink(&segments->cold, frame);
	segment_push(segments, segment, frame);
}

/* The application gave the page up: the next victim. */
static inline void segments_chill(struct frame_segments *segments, uint32_t frame)
{
	if (!segments_hold(segments, frame))
		return;
	frame_list_unlink(&segments->cold, frame);
	segments->tag[frame] = (uint8_t)(segment_of(segments, frame) | SEGMENT_COLD);
	frame_list_push_victim(&segments->cold, frame);
}

/*
 * The next to propose, by preference from a segment; FRAME_NONE: no page is left that awaits no verdict.  Of `cold`
 * first: its tag says so.  The frame stays where it is.
 */
static inline uint32_t segments_victim(struct frame_segments *segments, unsigned preferred)
{
	struct frame_list *list = &segments->list[preferred];
	uint32_t cold = segments->cold.link[segments->cold.order].prev, frame = list->link[list->order].prev;

	if (__builtin_expect(cold != segments->cold.order, 0))
		return cold;
	if (__builtin_expect(frame != list->order, 1))
		return frame;
	list = &segments->list[!preferred];
	frame = list->link[list->order].prev;
	if (frame != list->order)
		return frame;
	frame = frame_list_victim(&segments->list[preferred]);
	return frame != FRAME_NONE ? frame : frame_list_victim(list);
}

/* A frame lost its page by eviction, proposed or not.  Returns the tag that it had. */
static inline uint8_t segments_evicted(struct frame_segments *segments, uint32_t frame)
{
	if (__builtin_expect(segments_hold(segments, frame), 0))
		segments_unlink(segments, frame);
	if (__builtin_expect((segments->list[0].patience | segments->list[1].patience) != 0, 0)) {
		frame_list_count_eviction(&segments->list[0]);
		frame_list_count_eviction(&segments->list[1]);
	}
	return segments->tag[frame];
}

/* A proposed frame was refused, and was not touched: it rests beside its segment. */
static inline void segments_refuse(struct frame_segments *segments, uint32_t frame)
{
	unsigned segment = segment_of(segments, frame);

	segments->tag[frame] &= (uint8_t)~SEGMENT_COLD;
	segments->n[segment]++;
	frame_list_refuse(&segments->list[segment], frame);
}

static inline bool hint_is_cold(enum hmm_hint hint)
{
	return hint == HMM_HINT_DISCARD || hint == HMM_HINT_EVICT_NEXT || hint == HMM_HINT_WONTNEED;
}

#endif
