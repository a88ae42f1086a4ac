/* SPDX-License-Identifier: MIT */
/*
 * clockpro-clock.h - the state of CLOCK-Pro, and its two rings: the clock, and the resident cold pages in it
 *
 * clockpro.c tells what they are for, and C1 to C5.  A ring's hands stand on one of its nodes, or nowhere if it is empty.
 */
#ifndef POLICIES_CLOCKPRO_CLOCK_H
#define POLICIES_CLOCKPRO_CLOCK_H

#include <stdbool.h>
#include <stdint.h>

#include "policies/frame-list.h"

#define HOT 1u
#define TEST 2u       /* in its test period */
#define REFERENCED 4u
#define PENDING 8u    /* ghost: the page still has its frame */
#define IN_USE 16u    /* ghost */
#define IN_CLOCK 32u  /* frame */
#define LEVEL_MOST INT32_MAX

struct clockpro {
	struct frame_link *link; /* of the clock, by node: frames, ends of aside, ghosts */
	struct frame_link *cold; /* C2, by frame */
	struct frame_list aside; /* in the clock's links */
	uint8_t *flags;          /* by node */
	uint64_t *ghost_page;    /* by slot */
	uint64_t wanted;         /* page of the last miss */
	uint32_t wanted_ghost;   /* its node, or FRAME_NONE */
	uint32_t head, hot_hand, test_hand; /* FRAME_NONE: the clock is empty */
	uint32_t cold_head, cold_hand;      /* FRAME_NONE: no resident page is cold */
	uint32_t last;           /* C5 */
	uint32_t frames, first_ghost, nslots, fresh, free;
	uint32_t nhot, nghosts;
	uint32_t cold_least, cold_most;
	int32_t level;           /* > 0: cold pages should become more, < 0: fewer; by so many */
	bool is_adaptive, is_filling;
	double least, most;      /* parameters */
	struct frame_link links[];
};

static inline bool is_ghost(const struct clockpro *c, uint32_t node)
{
	return node >= c->first_ghost;
}

static inline void cold_insert(struct clockpro *c, uint32_t frame)
{
	struct frame_link *link = c->cold;

	if (c->cold_head == FRAME_NONE) {
		link[frame].prev = link[frame].next = frame;
		c->cold_hand = frame;
	} else {
		link[frame].next = c->cold_head;
		link[frame].prev = link[c->cold_head].prev;
		link[link[frame].prev].next = frame;
		link[c->cold_head].prev = frame;
	}
	c->cold_head = frame;
}

/* The cold hand, if it stands there, goes on to the next. */
static inline void cold_remove(struct clockpro *c, uint32_t frame)
{
	struct frame_link *link = c->cold;
	uint32_t prev = link[frame].prev, next = link[frame].next;

	if (prev == frame) {
		c->cold_head = c->cold_hand = FRAME_NONE;
		return;
	}
	link[prev].next = next;
	link[next].prev = prev;
	if (c->cold_hand == frame)
		c->cold_hand = prev;
	if (c->cold_head == frame)
		c->cold_head = next;
}

static inline void clock_insert(struct clockpro *c, uint32_t node)
{
	struct frame_link *link = c->link;

	if (c->head == FRAME_NONE) {
		link[node].prev = link[node].next = node;
		c->hot_hand = c->test_hand = node;
	} else {
		link[node].next = c->head;
		link[node].prev = link[c->head].prev;
		link[link[node].prev].next = node;
		link[c->head].prev = node;
	}
	c->head = node;
}

/* Hands that stand there go on to the next. */
static inline void clock_remove(struct clockpro *c, uint32_t node)
{
	struct frame_link *link = c->link;
	uint32_t prev = link[node].prev, next = link[node].next;

	if (prev == node) {
		c->head = c->hot_hand = c->test_hand = FRAME_NONE;
		return;
	}
	link[prev].next = next;
	link[next].prev = prev;
	if (c->hot_hand == node)
		c->hot_hand = prev;
	if (c->test_hand == node)
		c->test_hand = prev;
	if (c->head == node)
		c->head = next;
}

#endif
