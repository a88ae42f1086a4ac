/* SPDX-License-Identifier: MIT */
/*
 * engine_internal.h - the state that the two loops share (engine.c: exact; batched.c: as the pager works)
 *
 * E1  places[page] has the page's frame or NOBODY, held[frame] the frame's page or NO_PAGE; each is the other's inverse.
 * E2  hits[0 .. nhits) were not yet told to the policy; they are before any other hook runs, in their order.
 * E3  places[page] also has the cookie that evicted() returned last, 0 while the page has a frame: every ghost is
 *     remembered.  How long a ghost counts is the policy's business.
 * E4  page_flags and frame_flags exist once there was an operation other than read: before that no page is dirty, and
 *     no store changes.
 */
#ifndef HMM_SIM_ENGINE_INTERNAL_H
#define HMM_SIM_ENGINE_INTERNAL_H

#include "engine.h"
#include "sample.h"

#define NO_PAGE UINT64_MAX
#define HITS_MOST 64u
#define AHEAD 24u /* requests; less than RECORDS_SLACK */
#define TICK_MISSES 16384u

enum page_flag { PAGE_STORED = 1 };
enum frame_flag { FRAME_DIRTY = 1, FRAME_REFERENCED = 2, FRAME_AVAILABLE = 4 };

/* Where a page is: its frame in the low half, its cookie in the high one; loaded and stored in one piece. */
typedef uint64_t place;

static inline place place_make(uint32_t frame, uint32_t cookie)
{
	return frame | (uint64_t)cookie << 32;
}

static inline uint32_t place_frame(place p)
{
	return (uint32_t)p;
}

static inline uint32_t place_cookie(place p)
{
	return (uint32_t)(p >> 32);
}

struct frame_links {
	uint32_t prev, next;
};

struct engine {
	struct hmm_policy_ops hooks;
	void *state;
	place *places;
	uint64_t *held;
	uint8_t *page_flags, *frame_flags;
	uint32_t seen;           /* with groups: pages below were requested before */
	uint32_t frames, used;   /* used: frames that ever held a page */
	uint32_t nfree;
	uint32_t *free;          /* frames that lost their page without being chosen for one; NULL where that can't be */
	struct counts counts;
	bool is_anonymous, tells_hits;
	enum discards discards;
	enum sim_mode mode;
	enum hmm_access hits_access;
	uint32_t nhits;
	uint32_t hits[HITS_MOST];
	uint32_t npages;         /* room in the arrays by page */
	uint32_t hand;           /* where the fallback looks next */
	uint64_t *groups;        /* misses by group of pages, or NULL */
	struct hmm_placement placement;
	struct hmm_exchange exchange;
	size_t state_size;

	/* batched.c */
	uint32_t batch, low, high, available_target;
	uint32_t available;      /* length of the available list */
	struct frame_links *links; /* frames + 1: the last is the list's end; next of the end is the oldest */
	uint32_t *victims;       /* batch */
};

void engine_discard(struct engine *e, uint32_t page);
uint32_t engine_fallback(struct engine *e);
void engine_tick(struct engine *e);
void engine_count_group(struct engine *e, uint32_t page);

static inline void engine_flush(struct engine *e)
{
	if (e->nhits != 0) {
		e->hooks.touched(e->state, e->hits, e->nhits, e->hits_access);
		e->nhits = 0;
	}
}

/* A page that was not resident is wanted: count, tell the policy. */
static inline void engine_miss(struct engine *e, uint32_t page, enum hmm_access access)
{
	if (__builtin_expect(++e->counts.misses % TICK_MISSES == 0, 0))
		engine_tick(e);
	if (__builtin_expect(e->groups != NULL, 0))
		engine_count_group(e, page);
	if (e->hooks.miss != NULL)
		e->hooks.miss(e->state, page, e->hooks.caps & HMM_POLICY_GHOSTS ? place_cookie(e->places[page]) : 0, access);
}

static inline void engine_insert(struct engine *e, uint32_t frame, uint32_t page, enum hmm_access access)
{
	e->places[page] = place_make(frame, 0);
	e->held[frame] = page;
	if (e->hooks.placed != NULL) {
		e->placement.access = access;
		e->hooks.placed(e->state, frame, page, &e->placement);
	} else {
		e->hooks.inserted(e->state, frame, page, 0, access);
	}
}

/* The frame's page is gone. */
static inline void engine_evicted(struct engine *e, uint32_t frame, uint32_t page)
{
	e->held[frame] = NO_PAGE;
	e->places[page] = place_make(NOBODY, e->hooks.evicted(e->state, frame, page));
}

/* Write a dirty page to its store. */
static inline void engine_clean(struct engine *e, uint32_t frame)
{
	if (e->frame_flags[frame] & FRAME_DIRTY) {
		e->frame_flags[frame] &= (uint8_t)~FRAME_DIRTY;
		e->page_flags[e->held[frame]] |= PAGE_STORED;
		e->counts.page_outs++;
	}
}

/* Fill a frame. */
static inline void engine_load(struct engine *e, uint32_t page)
{
	if (e->page_flags[page] & PAGE_STORED)
		e->counts.page_ins++;
	else
		e->counts.zero_fills++;
}

/* batched.c */
bool batched_init(struct engine *e, const struct engine_options *options);
void batched_run(struct engine *e, const record *records, size_t n);

#endif
