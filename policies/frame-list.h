/* SPDX-License-Identifier: MIT */
/*
 * frame-list.h - frames in an order, as policies need it: 8 bytes a frame, every step O(1), nothing allocated
 *
 * A doubly linked ring whose links lie in one array by frame number.  Two numbers past the last frame are the ends of
 * two rings: the order itself, and the frames at rest.
 *
 *     newest end                                                    victim end
 *     order -> f7 -> f2 -> f5 -> ... -> f1 -> order      rest -> f9 -> f3 -> rest
 *
 * F1  A frame is in one ring, or in none; in none its links name itself, so taking it out again does nothing.
 * F2  In none are exactly the frames that were proposed and await their verdict, and those whose page has gone.  (A
 *     frame that never had a page has links of zeros; nobody asks about it.)
 * F3  A refused frame (pinned, busy, not writable) would be refused again at once, and a scan that met 100 of them
 *     at the victim end for ever would never get past.  So it rests: it returns to the victim end once FRAME_REST
 *     times as many pages were evicted as were refused, or when nothing else is left.  So at most about one proposal in
 *     FRAME_REST + 1 is spent on it, and none while no page was refused: the order is then exact.
 */
#ifndef POLICIES_FRAME_LIST_H
#define POLICIES_FRAME_LIST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define FRAME_NONE UINT32_MAX
#define FRAME_REST 8

struct frame_link {
	uint32_t prev; /* towards the newest end */
	uint32_t next; /* towards the victim end */
};

struct frame_list {
	struct frame_link *link; /* capacity + 2 */
	uint32_t order;          /* the ring's end: capacity */
	uint32_t rest;           /* capacity + 1 */
	uint64_t patience;       /* evictions until the frames at rest return */
};

static inline size_t frame_list_size(uint32_t capacity)
{
	return ((size_t)capacity + 2) * sizeof(struct frame_link);
}

/*
 * Several lists may share the links: end, end + 1 are the ends of this one, past the last frame and used by no other.
 * Unlinking needs no knowledge of the list that a frame is in.
 */
static inline void frame_list_init_at(struct frame_list *list, struct frame_link *link, uint32_t end)
{
	list->link = link;
	list->order = end;
	list->rest = end + 1;
	list->patience = 0;
	link[list->order].prev = link[list->order].next = list->order;
	link[list->rest].prev = link[list->rest].next = list->rest;
}

static inline void frame_list_init(struct frame_list *list, struct frame_link *link, uint32_t capacity)
{
	frame_list_init_at(list, link, capacity);
}

/* In one of the rings: it has a page, and no verdict is awaited. */
static inline bool frame_list_holds(const struct frame_list *list, uint32_t frame)
{
	return list->link[frame].next != frame;
}

static inline void frame_list_unlink(struct frame_list *list, uint32_t frame)
{
	struct frame_link *link = list->link;
	uint32_t prev = link[frame].prev, next = link[frame].next;

	link[prev].next = next;
	link[next].prev = prev;
	link[frame].prev = link[frame].next = frame;
}

static inline void frame_list_link_after(struct frame_list *list, uint32_t prev, uint32_t frame)
{
	struct frame_link *link = list->link;
	uint32_t next = link[prev].next;

	link[frame].prev = prev;
	link[frame].next = next;
	link[prev].next = frame;
	link[next].prev = frame;
}

/* Make a frame that is in no ring the newest, or the next victim. */
static inline void frame_list_push_newest(struct frame_list *list, uint32_t frame)
{
	frame_list_link_after(list, list->order, frame);
}

static inline void frame_list_push_victim(struct frame_list *list, uint32_t frame)
{
	frame_list_link_after(list, list->link[list->order].prev, frame);
}

/* The same for a frame in a ring; one that awaits its verdict stays where it is. */
static inline void frame_list_move_newest(struct frame_list *list, uint32_t frame)
{
	if (!frame_list_holds(list, frame) || list->link[list->order].next == frame)
		return;
	frame_list_unlink(list, frame);
	frame_list_push_newest(list, frame);
}

static inline void frame_list_move_victim(struct frame_list *list, uint32_t frame)
{
	if (!frame_list_holds(list, frame))
		return;
	frame_list_unlink(list, frame);
	frame_list_push_victim(list, frame);
}

/* The frames at rest return to the victim end, longest refused first. */
static __attribute__((noinline, cold, unused)) void frame_list_wake(struct frame_list *list)
{
	struct frame_link *link = list->link;
	uint32_t first = link[list->rest].next, last = link[list->rest].prev, tail = link[list->order].prev;

	list->patience = 0;
	if (first == list->rest)
		return;
	link[tail].next = first;
	link[first].prev = tail;
	link[last].next = list->order;
	link[list->order].prev = last;
	link[list->rest].prev = link[list->rest].next = list->rest;
}

/* The frame at the victim end, or FRAME_NONE.  It stays linked. */
static inline uint32_t frame_list_victim(struct frame_list *list)
{
	uint32_t frame = list->link[list->order].prev;

	if (frame != list->order)
		return frame;
	frame_list_wake(list);
	frame = list->link[list->order].prev;
	return frame != list->order ? frame : FRAME_NONE;
}

/* A proposed frame was refused: let it rest. */
static inline void frame_list_refuse(struct frame_list *list, uint32_t frame)
{
	if (list->link[list->rest].next == list->rest)
		list->patience = 0; /* those that rested were touched or removed meanwhile */
	frame_list_link_after(list, list->rest, frame);
	list->patience += FRAME_REST;
}

/* A page was evicted, of this list or of one that shares its links. */
static inline void frame_list_count_eviction(struct frame_list *list)
{
	if (__builtin_expect(list->patience != 0, 0) && --list->patience == 0)
		frame_list_wake(list);
}

/* A frame lost its page by eviction; most were proposed, and are in no ring. */
static inline void frame_list_evicted(struct frame_list *list, uint32_t frame)
{
	if (__builtin_expect(frame_list_holds(list, frame), 0))
		frame_list_unlink(list, frame);
	frame_list_count_eviction(list);
}

#endif
