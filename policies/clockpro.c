/* SPDX-License-Identifier: MIT */
/*
 * clockpro.c - CLOCK-Pro: what LIRS does, approximated with reference bits and three hands over one clock
 *
 * Idea: hot pages are those with a short reuse distance.  A cold page that came in is in its test period: it stays in the
 * clock even after its eviction, and if it is used again before the period ends its reuse distance is shorter than that
 * of a hot page that was not used meanwhile; the two change places.
 *   cold hand  evicts the next cold page, or lets it become hot if it was used in its test period
 *   hot hand   turns the next hot page without its bit into a cold one; ends test periods on its way
 *   test hand  ends the test period of the oldest pages when there are as many evicted ones as frames
 * Source: S. Jiang, F. Chen, X. Zhang, "CLOCK-Pro: an effective improvement of the CLOCK replacement", USENIX 2005, and
 * where the paper leaves a choice, what the author's simulator of the same year does: hot pages fill memory first; a page
 * that a hand moves goes to the head of the clock, the others stay.
 *
 * clockpro keeps cold=0.05 of the frames for cold pages, two at least, as that simulator was released.  clockpro-adaptive
 * lets their share move between least=0.01 and most=0.99: by one up for a page that came back in its test period, by
 * one down for one that did not.
 * Cost: a hit is one byte; a victim O(1) steps of the hands on average; 17 bytes a frame, 17 a ghost, as many ghosts as
 * frames, and what the core remembers of them.
 * Known weakness: cold pages have little time, 5% of memory, to be used again while resident; as LIRS it gives up an old
 * working set page by page.
 *
 *     older   ... next <- page -> prev ...   newer, where the hands go
 *
 * C1  The clock is a ring of resident pages (nodes below capacity) and ghosts.  New and moved pages enter at its head.
 * C2  The resident cold pages of the clock are also a ring of their own, in the clock's order: the cold hand need not walk
 *     past hot pages.
 * C3  A page that is proposed has left the clock as if evicted: its ghost stands in its place, marked PENDING, with
 *     the frame's number in place of the page's.  So a batch of proposals follows the algorithm as single evictions would.
 * C4  Of a frame outside of the clock prev is the ghost that it left, or FRAME_NONE, and next is the frame itself.
 * C5  The page used last is not marked when it is used again: that is the same use.
 * `aside` holds pages that go before all others (hints; at its rest: refused ones, as in frame-list.h).  A page touched
 * while it was proposed (RACED) returns to its place with its bit set.  WILLNEED is a hit.  DISCARD, EVICT_NEXT and
 * WONTNEED make the page the next victim, the last one named first, until it is used again; it leaves no ghost.  A page
 * read ahead has not been asked for: it enters as a cold page that is not in a test period.
 */
#include <errno.h>

#include <hurd-mm/policy.h>

#include "policies/clockpro-clock.h"
#include "policies/frame-list.h"
#include "policies/params.h"

static uint32_t clockpro_slots(uint32_t capacity)
{
	return capacity < UINT32_MAX / 2 - 32 ? capacity + 2 : UINT32_MAX - 32 - capacity;
}

static size_t nodes(uint32_t capacity)
{
	return (size_t)capacity + 2 + clockpro_slots(capacity);
}

static size_t clockpro_bytes(uint32_t capacity)
{
	return sizeof(struct clockpro) + (nodes(capacity) + capacity) * sizeof(struct frame_link) +
	       clockpro_slots(capacity) * sizeof(uint64_t) + nodes(capacity);
}

static int fixed_parse(const char *text, double *least, double *most)
{
	const struct param params[] = { { .name = "cold", .value = least, .least = 0, .most = 1 } };
	int r;

	*least = 0.05;
	r = params_parse(text, params, 1);
	*most = *least;
	return r;
}

static int adaptive_parse(const char *text, double *least, double *most)
{
	const struct param params[] = {
		{ .name = "least", .value = least, .least = 0, .most = 1 },
		{ .name = "most", .value = most, .least = 0, .most = 1 },
	};

	*least = 0.01;
	*most = 0.99;
	return params_parse(text, params, 2);
}

static int measure(int parsed, uint32_t capacity, struct hmm_policy_sizes *sizes)
{
	sizes->state = clockpro_bytes(capacity);
	sizes->ghosts = clockpro_slots(capacity);
	return parsed;
}

static int fixed_sizes(uint32_t capacity, const char *text, struct hmm_policy_sizes *sizes)
{
	double least, most;

	return measure(fixed_parse(text, &least, &most), capacity, sizes);
}

static int adaptive_sizes(uint32_t capacity, const char *text, struct hmm_policy_sizes *sizes)
{
	double least, most;

	return measure(adaptive_parse(text, &least, &most), capacity, sizes);
}

static void insert_cold(struct clockpro *c, uint32_t frame, uint8_t flags)
{
	c->flags[frame] = (uint8_t)(IN_CLOCK | flags);
	clock_insert(c, frame);
	cold_insert(c, frame);
}

static void insert_hot(struct clockpro *c, uint32_t frame)
{
	c->flags[frame] = IN_CLOCK | HOT;
	c->nhot++;
	clock_insert(c, frame);
}

/* A resident page leaves the clock. */
static void take(struct clockpro *c, uint32_t frame)
{
	if (c->flags[frame] & HOT)
		c->nhot--;
	else
		cold_remove(c, frame);
	clock_remove(c, frame);
	c->flags[frame] = 0;
	c->link[frame].prev = FRAME_NONE;
	c->link[frame].next = frame;
}

static void move_level(struct clockpro *c, int by)
{
	if (c->is_adaptive && c->level > -LEVEL_MOST && c->level < LEVEL_MOST)
		c->level += by;
}

/* Ghosts */

static void drop_ghost(struct clockpro *c, uint32_t ghost)
{
	uint32_t slot = ghost - c->first_ghost;

	if (c->flags[ghost] & PENDING)
		c->link[c->ghost_page[slot]].prev = FRAME_NONE;
	clock_remove(c, ghost);
	c->flags[ghost] = 0;
	c->link[ghost].next = c->free;
	c->free = ghost;
	c->nghosts--;
}

/* node stands where other stood, which is in the clock no more. */
static void take_place(struct clockpro *c, uint32_t node, uint32_t other)
{
	struct frame_link *link = c->link;

	if (link[other].prev == other) {
		link[node].prev = link[node].next = node;
	} else {
		link[node] = link[other];
		link[link[node].prev].next = node;
		link[link[node].next].prev = node;
	}
	c->head = c->head == other ? node : c->head;
	c->hot_hand = c->hot_hand == other ? node : c->hot_hand;
	c->test_hand = c->test_hand == other ? node : c->test_hand;
}

/* More ghosts than frames: the oldest one's test period ends, and with it those of the cold pages before it. */
static void limit_ghosts(struct clockpro *c)
{
	while (c->nghosts > c->frames) {
		uint32_t node = c->test_hand;

		c->test_hand = c->link[node].prev;
		if (is_ghost(c, node)) {
			move_level(c, -1);
			drop_ghost(c, node);
		} else if (!(c->flags[node] & HOT)) {
			c->flags[node] &= (uint8_t)~(TEST | REFERENCED);
		}
	}
}

/* A cold page in its test period leaves its frame: its ghost takes its place. */
static void leave_ghost(struct clockpro *c, uint32_t frame)
{
	uint32_t ghost = c->free;

	if (ghost != FRAME_NONE) {
		c->free = c->link[ghost].next;
	} else if (c->fresh < c->nslots) {
		ghost = c->first_ghost + c->fresh++;
	} else {
		take(c, frame);
		return;
	}
	cold_remove(c, frame);
	take_place(c, ghost, frame);
	c->flags[ghost] = IN_USE | PENDING | TEST;
	c->ghost_page[ghost - c->first_ghost] = frame;
	c->flags[frame] = 0;
	c->link[frame].prev = ghost;
	c->link[frame].next = frame;
	c->nghosts++;
	limit_ghosts(c);
}

/* Hands */

static void step_test_hand(struct clockpro *c)
{
	uint32_t node = c->test_hand;

	c->test_hand = c->link[node].prev;
	if (is_ghost(c, node)) {
		move_level(c, -1);
		drop_ghost(c, node);
	} else if (!(c->flags[node] & HOT)) {
		c->flags[node] &= (uint8_t)~(TEST | REFERENCED);
	}
	limit_ghosts(c);
}

/* The hot page under the hot hand goes to the head; without its bit it becomes cold.  Returns whether it did. */
static bool turn_hot_page(struct clockpro *c)
{
	uint32_t frame = c->hot_hand;
	bool was_referenced = c->flags[frame] & REFERENCED;

	clock_remove(c, frame);
	c->flags[frame] = was_referenced ? IN_CLOCK | HOT : IN_CLOCK;
	clock_insert(c, frame);
	if (was_referenced)
		return false;
	c->nhot--;
	cold_insert(c, frame);
	return true;
}

#define MET 1u     /* the hot hand passed the page for which it runs: its test period is over */
#define DEMOTED 2u /* it turned a hot page into a cold one */

/* Run the hot hand for a page in its test period, until it demoted a page or met that one, and on to the next hot page. */
static unsigned run_hot_hand(struct clockpro *c, uint32_t for_node)
{
	unsigned result = 0;

	while (c->nhot > 0 && (result == 0 || !(c->flags[c->hot_hand] & HOT))) {
		if (c->flags[c->hot_hand] & HOT) {
			if (turn_hot_page(c))
				result |= DEMOTED;
		} else {
			if (c->hot_hand == for_node)
				result |= MET;
			c->hot_hand = c->link[c->hot_hand].prev;
		}
		if (c->link[c->hot_hand].next == c->test_hand)
			step_test_hand(c);
	}
	return result;
}

/* A page of the clock is to lose its frame. */
static void give_up(struct clockpro *c, uint32_t frame)
{
	if ((c->flags[frame] & (HOT | TEST)) == TEST)
		leave_ghost(c, frame);
	else
		take(c, frame);
}

static void promote(struct clockpro *c, uint32_t frame)
{
	take(c, frame);
	insert_hot(c, frame);
}

static uint32_t cold_pages(const struct clockpro *c)
{
	return c->frames > c->nhot ? c->frames - c->nhot : 0;
}

/*
 * The page under the cold hand was used in its test period.  Where cold pages are to become fewer it becomes hot and no
 * page cold instead, where they are to become more the reverse; else both.  Returns whether it has to go all the same.
 */
static bool spare(struct clockpro *c, uint32_t frame)
{
	bool grows;
	unsigned result;

	if ((c->level > 0 && cold_pages(c) >= c->cold_most) || (c->level < 0 && cold_pages(c) <= c->cold_least))
		c->level = 0;
	if (c->level < 0) {
		c->level++;
		promote(c, frame);
		return false;
	}
	grows = c->level > 0;
	result = run_hot_hand(c, frame); /* which moves the level */
	if (!grows) {
		if (result == MET)
			return true;
		promote(c, frame);
		return false;
	}
	if (result != MET)
		move_level(c, -1);
	if (result & MET)
		return true;
	c->flags[c->link[frame].prev] |= REFERENCED; /* the next page, as in the author's simulator, not this one */
	take(c, frame);
	insert_cold(c, frame, TEST);
	return false;
}

/* Nothing is cold: the hot hand makes something so. */
static void make_cold(struct clockpro *c)
{
	while (c->cold_hand == FRAME_NONE && c->nhot > 0)
		run_hot_hand(c, FRAME_NONE);
}

/* A page to propose; FRAME_NONE if none is left, or *scan is used up. */
static uint32_t run_cold_hand(struct clockpro *c, uint32_t *scan)
{
	if (c->cold_hand == FRAME_NONE)
		make_cold(c);
	for (; c->cold_hand != FRAME_NONE && *scan > 0; --*scan) {
		uint32_t frame = c->cold_hand;
		uint8_t flags = c->flags[frame];

		if ((flags & (REFERENCED | TEST)) == (REFERENCED | TEST) && !spare(c, frame)) {
			if (c->cold_hand == FRAME_NONE)
				make_cold(c);
			continue;
		}
		give_up(c, frame);
		return frame;
	}
	return FRAME_NONE;
}

/* Hooks */

static uint32_t share(double part, uint32_t frames)
{
	double pages = part * frames;

	pages = pages < 2 ? 2 : pages;
	return pages < frames ? (uint32_t)pages : frames;
}

static void clockpro_resize(void *state, uint32_t frames)
{
	struct clockpro *c = state;

	c->is_filling = frames > c->frames;
	c->frames = frames;
	c->cold_least = share(c->least, frames);
	c->cold_most = share(c->most, frames);
	c->cold_most = c->cold_most < c->cold_least ? c->cold_least : c->cold_most;
	limit_ghosts(c);
}

static int start(struct clockpro *c, uint32_t capacity, uint32_t frames)
{
	c->nslots = clockpro_slots(capacity);
	c->first_ghost = capacity + 2;
	c->link = c->links;
	c->cold = c->link + nodes(capacity);
	c->ghost_page = (uint64_t *)(void *)(c->cold + capacity);
	c->flags = (uint8_t *)(c->ghost_page + c->nslots);
	frame_list_init(&c->aside, c->links, capacity);
	c->head = c->hot_hand = c->test_hand = c->cold_head = c->cold_hand = FRAME_NONE;
	c->last = c->wanted_ghost = c->free = FRAME_NONE;
	clockpro_resize(c, frames);
	return 0;
}

static int fixed_start(void *state, uint32_t capacity, uint32_t frames, const char *text)
{
	struct clockpro *c = state;
	int r = fixed_parse(text, &c->least, &c->most);

	return r != 0 ? r : start(c, capacity, frames);
}

static int adaptive_start(void *state, uint32_t capacity, uint32_t frames, const char *text)
{
	struct clockpro *c = state;
	int r = adaptive_parse(text, &c->least, &c->most);

	c->is_adaptive = true;
	return r != 0 ? r : start(c, capacity, frames);
}

/* Whether the node is (still) the ghost of that page. */
static bool is_ghost_of(const struct clockpro *c, uint32_t node, uint64_t page)
{
	return node != FRAME_NONE && node - c->first_ghost < c->fresh &&
	       (c->flags[node] & (IN_USE | PENDING)) == IN_USE && c->ghost_page[node - c->first_ghost] == page;
}

/* The ghost stays in the clock until the page has its frame: the hands run before. */
static void clockpro_miss(void *state, uint64_t page, uint32_t cookie, enum hmm_access access)
{
	struct clockpro *c = state;
	uint32_t node = cookie != 0 ? c->first_ghost + cookie - 1 : FRAME_NONE;

	c->wanted_ghost = FRAME_NONE;
	if (!is_ghost_of(c, node, page))
		return;
	if (access == HMM_ACCESS_PREFETCH) {
		drop_ghost(c, node);
		return;
	}
	__builtin_prefetch(&c->link[node], 1);
	c->wanted = page;
	c->wanted_ghost = node;
}

/* The page came back in its test period.  Returns whether it becomes hot. */
static bool admit(struct clockpro *c, uint32_t ghost)
{
	unsigned result = run_hot_hand(c, ghost);

	if (c->flags[ghost] & IN_USE)
		drop_ghost(c, ghost);
	if (result == MET) /* the period ended meanwhile */
		return false;
	move_level(c, 1);
	return true;
}

static void clockpro_inserted(void *state, uint32_t frame, uint64_t page, uint32_t region, enum hmm_access access)
{
	struct clockpro *c = state;
	uint32_t ghost = c->wanted_ghost;
	bool is_hot = false;

	(void)region;
	c->wanted_ghost = FRAME_NONE;
	if (ghost != FRAME_NONE && c->wanted == page && is_ghost_of(c, ghost, page))
		is_hot = admit(c, ghost);
	if (c->is_filling && access != HMM_ACCESS_PREFETCH) {
		c->is_filling = c->nhot + c->cold_least < c->frames;
		is_hot = is_hot || c->is_filling;
	}
	if (is_hot)
		insert_hot(c, frame);
	else
		insert_cold(c, frame, access == HMM_ACCESS_PREFETCH ? 0 : TEST);
	c->last = access == HMM_ACCESS_PREFETCH ? FRAME_NONE : frame;
}

static void clockpro_touched(void *state, const uint32_t *frames, uint32_t n, enum hmm_access access)
{
	struct clockpro *c = state;
	uint32_t last = c->last;

	(void)access;
	for (uint32_t i = 0; i < n; i++) {
		c->flags[frames[i]] |= frames[i] != last ? REFERENCED : 0;
		last = frames[i];
	}
	c->last = last;
}

/* One of those that go first, unless it was used since. */
static uint32_t take_aside(struct clockpro *c)
{
	uint32_t frame;

	while ((frame = c->link[c->aside.order].prev) != c->aside.order) {
		frame_list_unlink(&c->aside, frame);
		if (!(c->flags[frame] & REFERENCED)) {
			c->link[frame].prev = FRAME_NONE;
			return frame;
		}
		insert_cold(c, frame, TEST);
	}
	return FRAME_NONE;
}

static uint32_t next_victim(struct clockpro *c, uint32_t *scan)
{
	uint32_t frame = take_aside(c);

	if (frame == FRAME_NONE)
		frame = run_cold_hand(c, scan);
	if (frame != FRAME_NONE || c->cold_hand != FRAME_NONE)
		return frame;
	frame_list_wake(&c->aside); /* all that is left is at rest */
	frame = take_aside(c);
	return frame != FRAME_NONE ? frame : run_cold_hand(c, scan);
}

static uint32_t clockpro_choose(void *state, uint32_t want, uint32_t *out, uint32_t scan)
{
	struct clockpro *c = state;
	uint32_t n = 0, frame;

	c->is_filling = false;
	while (n < want && n < scan && (frame = next_victim(c, &scan)) != FRAME_NONE)
		out[n++] = frame;
	return n;
}

static bool is_aside(const struct clockpro *c, uint32_t frame)
{
	return !(c->flags[frame] & IN_CLOCK) && frame_list_holds(&c->aside, frame);
}

/* Out of clock and aside, with the ghost that this leaves, if any, in link[frame].prev (C4). */
static void part(struct clockpro *c, uint32_t frame)
{
	if (c->flags[frame] & IN_CLOCK) {
		give_up(c, frame);
	} else if (is_aside(c, frame)) {
		frame_list_unlink(&c->aside, frame);
		c->link[frame].prev = FRAME_NONE;
	}
	c->flags[frame] = 0;
}

/* The same without a ghost; the links are those of a frame in no list. */
static void part_for_good(struct clockpro *c, uint32_t frame)
{
	part(c, frame);
	if (c->link[frame].prev != FRAME_NONE)
		drop_ghost(c, c->link[frame].prev);
	c->link[frame].prev = frame;
}

static uint32_t clockpro_evicted(void *state, uint32_t frame, uint64_t page)
{
	struct clockpro *c = state;
	uint32_t ghost;

	part(c, frame);
	frame_list_count_eviction(&c->aside);
	ghost = c->link[frame].prev;
	if (ghost == FRAME_NONE)
		return 0;
	c->flags[ghost] &= (uint8_t)~PENDING;
	c->ghost_page[ghost - c->first_ghost] = page;
	return ghost - c->first_ghost + 1;
}

static void clockpro_rejected(void *state, uint32_t frame, enum hmm_reject why)
{
	struct clockpro *c = state;

	part_for_good(c, frame);
	if (why == HMM_REJECT_RACED)
		insert_cold(c, frame, TEST | REFERENCED);
	else
		frame_list_refuse(&c->aside, frame);
}

static void clockpro_removed(void *state, uint32_t frame, uint64_t page, enum hmm_removed why)
{
	(void)page, (void)why;
	part_for_good(state, frame);
}

static void clockpro_hint(void *state, uint32_t frame, struct hmm_page_range range, enum hmm_hint hint, int64_t value)
{
	struct clockpro *c = state;

	(void)range, (void)value;
	if (frame == FRAME_NONE)
		return;
	if (hint == HMM_HINT_WILLNEED) {
		c->flags[frame] |= REFERENCED;
	} else if (hint == HMM_HINT_DISCARD || hint == HMM_HINT_EVICT_NEXT || hint == HMM_HINT_WONTNEED) {
		if (!(c->flags[frame] & IN_CLOCK) && !is_aside(c, frame))
			return; /* awaits its verdict */
		part_for_good(c, frame);
		frame_list_push_victim(&c->aside, frame);
	}
}

HMM_POLICY_EXCHANGE(clockpro_exchange, clockpro_miss, clockpro_choose, clockpro_evicted, clockpro_inserted)

const struct hmm_policy_ops hmm__policy_clockpro = {
	.size = sizeof(struct hmm_policy_ops),
	.version = HMM_POLICY_VERSION,
	.caps = HMM_POLICY_REFBITS | HMM_POLICY_GHOSTS,
	.name = "clockpro",
	.summary = "CLOCK-Pro: LIRS with reference bits; 5% of memory for cold pages",
	.params = "cold=0.05",
	.sizes = fixed_sizes,
	.start = fixed_start,
	.resize = clockpro_resize,
	.miss = clockpro_miss,
	.inserted = clockpro_inserted,
	.touched = clockpro_touched,
	.choose = clockpro_choose,
	.evicted = clockpro_evicted,
	.exchange = clockpro_exchange,
	.rejected = clockpro_rejected,
	.removed = clockpro_removed,
	.hint = clockpro_hint,
};

const struct hmm_policy_ops hmm__policy_clockpro_adaptive = {
	.size = sizeof(struct hmm_policy_ops),
	.version = HMM_POLICY_VERSION,
	.caps = HMM_POLICY_REFBITS | HMM_POLICY_GHOSTS,
	.name = "clockpro-adaptive",
	.summary = "CLOCK-Pro with a share of cold pages that adapts",
	.params = "least=0.01,most=0.99",
	.sizes = adaptive_sizes,
	.start = adaptive_start,
	.resize = clockpro_resize,
	.miss = clockpro_miss,
	.inserted = clockpro_inserted,
	.touched = clockpro_touched,
	.choose = clockpro_choose,
	.evicted = clockpro_evicted,
	.exchange = clockpro_exchange,
	.rejected = clockpro_rejected,
	.removed = clockpro_removed,
	.hint = clockpro_hint,
};
