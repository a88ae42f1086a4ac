/* SPDX-License-Identifier: MIT */
/*
 * simulate.c - count misses as the simulator does in exact mode: the yardstick for the pager
 */
#include <errno.h>
#include <stdlib.h>

#include "bench/policy/policy.h"

#define NONE UINT32_MAX

struct cache {
	struct instance policy;
	uint32_t *frame_of;   /* by page; NONE: not resident */
	uint32_t *cookies;    /* by page */
	uint32_t *page_of;    /* by frame */
	uint32_t used;
	uint64_t misses;
};

/* A frame for the page that is missing, or NONE if the policy names none. */
static uint32_t frame_for(struct cache *c)
{
	uint32_t frame, page;

	if (c->used < c->policy.frames)
		return c->used++;
	for (uint32_t scan = 64; c->policy.ops->choose(c->policy.state, 1, &frame, scan) != 1; scan *= 4) {
		if (scan > UINT32_MAX / 4)
			return NONE;
	}
	page = c->page_of[frame];
	c->cookies[page] = c->policy.ops->evicted(c->policy.state, frame, page);
	c->frame_of[page] = NONE;
	return frame;
}

static int request(struct cache *c, uint32_t page)
{
	uint32_t frame = c->frame_of[page], cookie = c->cookies[page];

	if (frame != NONE) {
		if (c->policy.ops->touched)
			c->policy.ops->touched(c->policy.state, &frame, 1, HMM_ACCESS_READ);
		return 0;
	}
	c->misses++;
	c->cookies[page] = 0;
	instance_miss(&c->policy, page, cookie);
	frame = frame_for(c);
	if (frame == NONE)
		return -EIO;
	c->page_of[frame] = page;
	c->frame_of[page] = frame;
	instance_inserted(&c->policy, frame, page);
	return 0;
}

int simulate(const char *spec, uint32_t frames, const struct requests *trace, uint64_t *ret_misses)
{
	struct cache c = { .used = 0 };
	int r = instance_start(spec, frames, &c.policy);

	if (r)
		return r;
	c.frame_of = malloc(trace->unique * sizeof(uint32_t));
	c.cookies = calloc(trace->unique, sizeof(uint32_t));
	c.page_of = calloc(frames, sizeof(uint32_t));
	if (!c.frame_of || !c.cookies || !c.page_of)
		r = -ENOMEM;
	for (uint32_t i = 0; !r && i < trace->unique; i++)
		c.frame_of[i] = NONE;
	for (size_t i = 0; !r && i < trace->n; i++)
		r = request(&c, trace->pages[i]);
	*ret_misses = c.misses;
	instance_stop(&c.policy);
	free(c.frame_of);
	free(c.cookies);
	free(c.page_of);
	return r;
}
