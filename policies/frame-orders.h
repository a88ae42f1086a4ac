/* SPDX-License-Identifier: MIT */
/*
 * frame-orders.h - many orders of frames over one array of links: 9 bytes a frame, 12 an order, every step O(1)
 *
 * As frame-list.h, for policies that keep more lists than there are numbers to spare past the last frame.  Each frame
 * has the number of its order, 0 .. norders - 1; from norders on the numbers are the policy's own marks of frames
 * that are in none.
 *
 * O1  A frame whose number is that of an order is in that order, at rest, or awaits its verdict and is in no ring.
 * O2  Refused frames of all orders rest in one ring (frame-list.h, F3) and return each to the victim end of its own.
 * O3  count is the number of frames in the order and of its frames at rest.
 */
#ifndef POLICIES_FRAME_ORDERS_H
#define POLICIES_FRAME_ORDERS_H

#include "policies/frame-list.h"

struct frame_orders {
	struct frame_list rest; /* its rest, and the links of all; its order stays empty */
	uint8_t *order;         /* by frame */
	uint32_t *count;        /* by order */
	uint32_t first_end;     /* the ring of order i ends at first_end + i */
};

static inline size_t frame_orders_size(uint32_t capacity, uint32_t norders)
{
	return ((size_t)capacity + 2 + norders) * sizeof(struct frame_link) + norders * sizeof(uint32_t) + capacity;
}

/* memory: aligned to 8 bytes. */
static inline void frame_orders_init(struct frame_orders *orders, void *memory, uint32_t capacity, uint32_t norders)
{
	struct frame_link *link = memory;

	frame_list_init(&orders->rest, link, capacity);
	orders->first_end = capacity + 2;
	orders->count = (uint32_t *)(link + (size_t)capacity + 2 + norders);
	orders->order = (uint8_t *)(orders->count + norders);
	for (uint32_t i = 0; i < norders; i++) {
		uint32_t end = orders->first_end + i;

		link[end].prev = link[end].next = end;
		orders->count[i] = 0;
	}
}

/* Of a frame whose number is that of an order: no verdict is awaited. */
static inline bool frame_orders_holds(const struct frame_orders *orders, uint32_t frame)
{
	return frame_list_holds(&orders->rest, frame);
}

/* Of a frame in no ring. */
static inline void frame_orders_put_newest(struct frame_orders *orders, uint32_t frame, uint32_t order)
{
	orders->order[frame] = (uint8_t)order;
	orders->count[order]++;
	frame_list_link_after(&orders->rest, orders->first_end + order, frame);
}

static inline void frame_orders_put_victim(struct frame_orders *orders, uint32_t frame, uint32_t order)
{
	orders->order[frame] = (uint8_t)order;
	orders->count[order]++;
	frame_list_link_after(&orders->rest, orders->rest.link[orders->first_end + order].prev, frame);
}

/* Out of its ring, if it is in one. */
static inline void frame_orders_take(struct frame_orders *orders, uint32_t frame)
{
	if (!frame_orders_holds(orders, frame))
		return;
	orders->count[orders->order[frame]]--;
	frame_list_unlink(&orders->rest, frame);
}

/* Either end of an order, or FRAME_NONE. */
static inline uint32_t frame_orders_victim(const struct frame_orders *orders, uint32_t order)
{
	uint32_t frame = orders->rest.link[orders->first_end + order].prev;

	return frame != orders->first_end + order ? frame : FRAME_NONE;
}

static inline uint32_t frame_orders_newest(const struct frame_orders *orders, uint32_t order)
{
	uint32_t frame = orders->rest.link[orders->first_end + order].next;

	return frame != orders->first_end + order ? frame : FRAME_NONE;
}

/* A proposed frame was refused: it rests, and still counts. */
static inline void frame_orders_refuse(struct frame_orders *orders, uint32_t frame)
{
	orders->count[orders->order[frame]]++;
	frame_list_refuse(&orders->rest, frame);
}

/* All at rest return; the one refused longest ago becomes the next victim of its order. */
static inline void frame_orders_wake(struct frame_orders *orders)
{
	struct frame_list *rest = &orders->rest;
	uint32_t frame;

	while ((frame = rest->link[rest->rest].next) != rest->rest) {
		frame_orders_take(orders, frame);
		frame_orders_put_victim(orders, frame, orders->order[frame]);
	}
	rest->patience = 0;
}

/* A page was evicted, of whichever order. */
static inline void frame_orders_count_eviction(struct frame_orders *orders)
{
	if (orders->rest.patience > 1)
		orders->rest.patience--;
	else if (orders->rest.patience == 1)
		frame_orders_wake(orders);
}

#endif
