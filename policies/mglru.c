/* SPDX-License-Identifier: MIT */
/*
 * mglru.c - generations as in Linux' multi-generational LRU: pages by the period in which they were last used, oldest
 * period first; pages used by calls are protected where refaults say so
 *
 *     youngest  max_seq      pages loaded by a fault, pages found used
 *               max_seq - 1  not evicted from either: a page has at least one whole period to show that it is used
 *               ...          two to four generations, numbered modulo 4
 *               min_seq + 1  pages loaded by a call or ahead of need, and protected ones; a stream of them must not
 *                            keep the oldest generation from ending
 *     oldest    min_seq      victims from its end
 *
 * Idea: a use through the mapping (a trap, a reference bit) only stores the number of the current generation in the
 * page; where the page stands is put right when its end of the list is reached.  A generation ends when the oldest
 * one has been used up, or by time (tick).  Uses by calls (pins) are counted instead: a page used N times in its
 * generation is in tier ceil(log2 N).  For each tier the ratio of pages that came back soon to pages evicted or
 * protected is kept, as an average over generations; a tier whose ratio is clearly above that of tier 0 (3 : 2) is
 * protected: its pages move on to the next generation instead of being evicted.
 * Source: Y. Zhao, "Multi-Gen LRU", Linux 6.1, Documentation/mm/multigen_lru.rst and mm/vmscan.c; the margin of 3 : 2
 * from later versions (before: 2 : 1).  Linux finds used pages by walking page tables when a generation ends; here
 * the use itself is told, so no walk is needed.
 *
 * Parameter: calls=1 treats every use as one by a call (a trace of read and write calls); 0 is the default.
 * Cost: a hit is one byte; O(1) a victim on average, at most one move a page and generation; 9 bytes a frame, nothing
 * a ghost but its cookie.
 * Known weakness: within a generation the order is that of arrival, not of use.  A fault makes a page youngest, so a
 * scan by faults pushes the others through the generations as it does with LRU; only calls have tiers.
 *
 * A page touched while it was proposed (RACED) becomes the youngest.  WILLNEED is a use; DISCARD, EVICT_NEXT and
 * WONTNEED make the page the next victim, the last one named first, until it is touched again.
 */
#include <errno.h>

#include <hurd-mm/policy.h>

#include "policies/frame-list.h"
#include "policies/params.h"

#define GENERATIONS 4u /* at most; two are left when victims are taken from a third */
#define KEPT 2u        /* youngest generations that are not evicted from */
#define TIERS 4u
#define COLD GENERATIONS /* the list of pages hinted at, or refused */
#define LISTS (GENERATIONS + 1)
#define BATCH_MOST 64u /* fewer refaults say nothing: so many, or 1 for every 64 frames where memory is small */
#define BATCH_SHARE 64u

/* Of a page, one byte. */
#define USED_IN 0x03u  /* generation of its last use, or in which it was put */
#define IS_COLD 0x04u  /* in list COLD; any use clears it */
#define CALLS_SHIFT 3  /* uses by calls, 0 .. 5: more make no higher tier */
#define CALLS_MOST 5u

/* A cookie: the generation that was oldest when the page left, its tier; never 0. */
#define COOKIE_MARK 0x80000000u
#define COOKIE_SEQ 0x1fffffffu

struct mglru {
	struct frame_list lists[LISTS]; /* by generation modulo GENERATIONS */
	uint8_t *page;                  /* by frame */
	uint64_t max_seq, min_seq;
	uint32_t linked;                /* pages that may be proposed, those at rest too */
	bool is_used;                   /* since the youngest generation began */
	double calls;
	uint32_t batch;
	/* Of the oldest generation, and averages over those before: what feedback there is. */
	uint64_t refaulted[TIERS], evicted[TIERS], protected[TIERS];
	uint64_t refaulted_before[TIERS], total_before[TIERS];
	struct frame_link links[];
};

/* Pages */

static unsigned tier_of(uint8_t page)
{
	static const uint8_t tiers[] = { 0, 0, 1, 2, 2, 3, 3, 3 };

	return tiers[page >> CALLS_SHIFT];
}

static void put(struct mglru *m, uint32_t frame, uint64_t seq, uint8_t calls)
{
	m->page[frame] = (uint8_t)(seq % GENERATIONS | (uint32_t)calls << CALLS_SHIFT);
	frame_list_push_newest(&m->lists[seq % GENERATIONS], frame);
	m->linked++;
}

static void take(struct mglru *m, uint32_t frame)
{
	if (!frame_list_holds(&m->lists[0], frame))
		return;
	frame_list_unlink(&m->lists[0], frame);
	m->linked--;
}

static void move(struct mglru *m, uint32_t frame, uint64_t seq)
{
	take(m, frame);
	put(m, frame, seq, 0);
}

/* Feedback */

static uint64_t refaults(const struct mglru *m, unsigned tier)
{
	return m->refaulted_before[tier] + m->refaulted[tier];
}

static uint64_t total(const struct mglru *m, unsigned tier)
{
	return m->total_before[tier] + m->evicted[tier] + m->protected[tier];
}

/* The highest tier that is not protected: the one before the first whose refault ratio is above 3/2 of tier 0's. */
static unsigned highest_evicted_tier(const struct mglru *m)
{
	unsigned tier;

	for (tier = 1; tier < TIERS; tier++) {
		if (refaults(m, tier) >= m->batch && refaults(m, tier) * (total(m, 0) + m->batch) * 2 >
		                                      (refaults(m, 0) + 1) * total(m, tier) * 3)
			break;
	}
	return tier - 1;
}

/* The oldest generation is used up. */
static void advance_oldest(struct mglru *m)
{
	for (unsigned tier = 0; tier < TIERS; tier++) {
		m->refaulted_before[tier] = refaults(m, tier) / 2;
		m->total_before[tier] = total(m, tier) / 2;
		m->refaulted[tier] = m->evicted[tier] = m->protected[tier] = 0;
	}
	m->min_seq++;
}

static void begin_generation(struct mglru *m)
{
	m->max_seq++;
	m->is_used = false;
}

/* Hooks */

static int mglru_sizes(uint32_t capacity, const char *params, struct hmm_policy_sizes *sizes)
{
	double calls = 0;
	const struct param known[] = { { "calls", &calls, 0, 1, true } };

	sizes->state = sizeof(struct mglru) + ((size_t)capacity + 2 * LISTS) * sizeof(struct frame_link) + capacity;
	return params_parse(params, known, 1);
}

static void mglru_resize(void *state, uint32_t frames)
{
	struct mglru *m = state;
	uint32_t batch = frames / BATCH_SHARE + 1;

	m->batch = batch < BATCH_MOST ? batch : BATCH_MOST;
}

static int mglru_start(void *state, uint32_t capacity, uint32_t frames, const char *params)
{
	struct mglru *m = state;
	const struct param known[] = { { "calls", &m->calls, 0, 1, true } };

	mglru_resize(state, frames);
	for (uint32_t i = 0; i < LISTS; i++)
		frame_list_init_at(&m->lists[i], m->links, capacity + 2 * i);
	m->page = (uint8_t *)(m->links + capacity + 2 * LISTS);
	m->max_seq = KEPT;
	return params_parse(params, known, 1);
}

static void mglru_miss(void *state, uint64_t page, uint32_t cookie, enum hmm_access access)
{
	struct mglru *m = state;
	uint32_t seq = cookie >> 2 & COOKIE_SEQ;

	(void)page;
	if (cookie == 0 || access == HMM_ACCESS_PREFETCH)
		return;
	if ((((uint32_t)m->max_seq - seq) & COOKIE_SEQ) < GENERATIONS)
		m->refaulted[cookie % TIERS]++;
}

static bool by_call(const struct mglru *m, enum hmm_access access)
{
	return access == HMM_ACCESS_PIN || m->calls != 0;
}

static void mglru_inserted(void *state, uint32_t frame, uint64_t page, uint32_t region, enum hmm_access access)
{
	struct mglru *m = state;

	(void)page, (void)region;
	m->is_used = true;
	if (access == HMM_ACCESS_PREFETCH)
		put(m, frame, m->min_seq + 1, 0);
	else if (by_call(m, access))
		put(m, frame, m->min_seq + 1, 1);
	else
		put(m, frame, m->max_seq, 0);
}

static void touch(struct mglru *m, uint32_t frame, bool is_call)
{
	uint8_t page = m->page[frame];

	m->is_used = true;
	if ((page & IS_COLD) != 0) {
		if (frame_list_holds(&m->lists[0], frame))
			move(m, frame, m->max_seq);
		return;
	}
	if (is_call)
		page = (uint8_t)(page + ((page >> CALLS_SHIFT < (int)CALLS_MOST) << CALLS_SHIFT));
	else
		page = (uint8_t)((page & ~USED_IN) | m->max_seq % GENERATIONS);
	m->page[frame] = page;
}

static void mglru_touched(void *state, const uint32_t *frames, uint32_t n, enum hmm_access access)
{
	struct mglru *m = state;
	bool is_call = by_call(m, access);

	for (uint32_t i = 0; i < n; i++)
		touch(m, frames[i], is_call);
}

static uint32_t end_of(const struct mglru *m, uint64_t which)
{
	const struct frame_list *list = &m->lists[which];
	uint32_t frame = list->link[list->order].prev;

	return frame != list->order ? frame : FRAME_NONE;
}

/* The next page to look at, past generations that are used up.  One is linked, and not at rest. */
static uint32_t oldest(struct mglru *m)
{
	uint32_t frame = end_of(m, COLD);

	while (frame == FRAME_NONE) {
		if (m->max_seq - m->min_seq < KEPT)
			begin_generation(m);
		frame = end_of(m, m->min_seq % GENERATIONS);
		if (frame == FRAME_NONE)
			advance_oldest(m);
	}
	return frame;
}

/* False: the page stays, where it belongs now. */
static bool is_victim(struct mglru *m, uint32_t frame, unsigned highest)
{
	uint8_t page = m->page[frame];
	uint32_t used_in = page & USED_IN, min = m->min_seq % GENERATIONS;

	if ((page & IS_COLD) != 0)
		return true;
	if (used_in != min) {
		move(m, frame, m->min_seq + (used_in - min) % GENERATIONS);
		return false;
	}
	if (tier_of(page) > highest) {
		m->protected[tier_of(page)]++;
		move(m, frame, m->min_seq + 1);
		return false;
	}
	return true;
}

static bool has_only_resting(const struct mglru *m)
{
	for (uint32_t i = 0; i < LISTS; i++) {
		if (end_of(m, i) != FRAME_NONE)
			return false;
	}
	return true;
}

static uint32_t mglru_choose(void *state, uint32_t want, uint32_t *out, uint32_t scan)
{
	struct mglru *m = state;
	unsigned highest = highest_evicted_tier(m);
	uint32_t n = 0;

	for (; n < want && scan > 0 && m->linked > 0; scan--) {
		uint32_t frame;

		if (has_only_resting(m)) {
			if (n > 0)
				break;
			frame_list_wake(&m->lists[COLD]);
		}
		frame = oldest(m);
		if (!is_victim(m, frame, highest))
			continue;
		take(m, frame);
		out[n++] = frame;
	}
	return n;
}

static uint32_t mglru_evicted(void *state, uint32_t frame, uint64_t page)
{
	struct mglru *m = state;
	unsigned tier = tier_of(m->page[frame]);

	(void)page;
	take(m, frame);
	frame_list_count_eviction(&m->lists[COLD]);
	m->evicted[tier]++;
	return COOKIE_MARK | ((uint32_t)m->min_seq & COOKIE_SEQ) << 2 | tier;
}

static void mglru_rejected(void *state, uint32_t frame, enum hmm_reject why)
{
	struct mglru *m = state;

	if (why == HMM_REJECT_RACED) {
		put(m, frame, m->max_seq, 0);
	} else {
		m->page[frame] = IS_COLD;
		frame_list_refuse(&m->lists[COLD], frame);
		m->linked++;
	}
}

static void mglru_removed(void *state, uint32_t frame, uint64_t page, enum hmm_removed why)
{
	(void)page, (void)why;
	take(state, frame);
}

static void mglru_hint(void *state, uint32_t frame, struct hmm_page_range range, enum hmm_hint hint, int64_t value)
{
	struct mglru *m = state;

	(void)range, (void)value;
	if (frame == FRAME_NONE)
		return;
	if (hint == HMM_HINT_DISCARD || hint == HMM_HINT_EVICT_NEXT || hint == HMM_HINT_WONTNEED) {
		if (!frame_list_holds(&m->lists[0], frame))
			return;
		m->page[frame] = IS_COLD;
		frame_list_move_victim(&m->lists[COLD], frame);
	} else if (hint == HMM_HINT_WILLNEED) {
		touch(m, frame, false);
	}
}

/* A generation ends by time too, if there is room for one more. */
static void mglru_tick(void *state)
{
	struct mglru *m = state;

	if (m->is_used && m->max_seq - m->min_seq < GENERATIONS - 1)
		begin_generation(m);
}

const struct hmm_policy_ops hmm__policy_mglru = {
	.size = sizeof(struct hmm_policy_ops),
	.version = HMM_POLICY_VERSION,
	.caps = HMM_POLICY_REFBITS | HMM_POLICY_GHOSTS,
	.name = "mglru",
	.summary = "generations from reference bits, tiers of use by calls protected by their refaults",
	.params = "calls=0",
	.sizes = mglru_sizes,
	.start = mglru_start,
	.resize = mglru_resize,
	.miss = mglru_miss,
	.inserted = mglru_inserted,
	.touched = mglru_touched,
	.choose = mglru_choose,
	.evicted = mglru_evicted,
	.rejected = mglru_rejected,
	.removed = mglru_removed,
	.hint = mglru_hint,
	.tick = mglru_tick,
};
