/* SPDX-License-Identifier: MIT */
/*
 * gc.c - for programs with a garbage collector: garbage first, then what the collector says, then another policy's
 * order
 *
 *     victims: discarded pages (last discarded first) | EVICT_NEXT | priorities below 0 | scan pages beyond their
 *              share | the inner policy's | scan pages | priorities above 0
 *
 * Idea: a collector knows what no reference tells: which pages hold garbage (from-space, free blocks), and that
 * marking uses every live page once, whatever the program will use.  Garbage costs nothing to evict; kept until its
 * frame is needed, it costs nothing to use again either.  The page discarded last goes first: an allocator that
 * reuses spaces in turn comes to it last.
 * Source: M. Hertz, Y. Feng, E. Berger, "Garbage collection without paging", PLDI 2005; T. Yang, E. Berger, S.
 * Kaplan, E. Moss, "CRAMM: virtual memory support for garbage-collected applications", OSDI 2006; priorities and
 * phases are ours.
 *
 * Spec: gc[:most=0.9,scan=0.1][:INNER[:its parameters]] (compose.h).  most: part of the frames that pages of priority
 * above 0 may take before the least of them go ahead of the inner order.  scan: part of the frames that pages loaded
 * in a scan phase take from the others.
 * Cost: a touch of an ordinary page costs one byte more than the inner policy's; everything else O(1), a choice up to
 * 63 steps more while there are priorities; 25 bytes a frame beside the inner policy's; ghosts are the inner
 * policy's.
 * Known weakness: it believes what it is told.  Pages of a high priority that nobody uses stay; uses during a scan
 * phase are not seen as uses, also where the program runs on meanwhile (a concurrent collector should not announce
 * phases).
 *
 * G1  A discarded page that is used again becomes an ordinary page: the most recent one of the inner order.
 * G2  A priority set for a range holds for its pages that come later (range-values.h); within a priority least
 *     recently used goes first.  Priority 0 is plain.
 * G3  Pages loaded in a scan phase are in the order SCAN, least recently used first; used after the phase, they
 *     become ordinary.  After it their share is 0.
 */
#include "policies/compose.h"
#include "policies/range-values.h"

#include <hurd-mm/hints.h>

#define PRIORITY_LEAST (-64)
#define PRIORITY_MOST 63

enum order { GARBAGE, NEXT, SCAN, PRIORITIES, PLAIN = PRIORITIES - PRIORITY_LEAST, ORDERS = PLAIN + PRIORITY_MOST + 1 };

struct gc {
	struct composed composed;
	struct range_values priorities;
	double most, scan;            /* parameters */
	uint32_t frames;
	uint32_t below, above;        /* pages of a priority below or above 0 */
	bool is_scan;                 /* phase */
};

static int parse(const char *params, double *most, double *scan, const char **ret_inner)
{
	const struct param known[] = { { "most", most, 0, 1, false }, { "scan", scan, 0, 1, false } };
	char own[COMPOSE_OWN_MOST + 1];

	*most = 0.9;
	*scan = 0.1;
	*ret_inner = composed_split(params, own);
	return *ret_inner != NULL ? params_parse(own, known, 2) : -EINVAL;
}

static int gc_sizes(uint32_t capacity, const char *params, struct hmm_policy_sizes *sizes)
{
	const char *inner;
	double most, scan;
	int r = parse(params, &most, &scan, &inner);

	return r != 0 ? r : composed_sizes(inner, sizeof(struct gc), capacity, ORDERS, sizes);
}

static int gc_start(void *state, uint32_t capacity, uint32_t frames, const char *params)
{
	struct gc *gc = state;
	const char *inner;
	int r = parse(params, &gc->most, &gc->scan, &inner);

	gc->frames = frames;
	return r != 0 ? r : composed_start(&gc->composed, inner, state, sizeof(*gc), capacity, frames, ORDERS);
}

static void gc_stop(void *state)
{
	composed_stop(state);
}

static void gc_resize(void *state, uint32_t frames)
{
	struct gc *gc = state;

	gc->frames = frames;
	composed_resize(&gc->composed, frames);
}

static void gc_tick(void *state)
{
	composed_tick(state);
}

/* Orders of our own */

static void tally(struct gc *gc, uint32_t order, int change)
{
	if (order >= PRIORITIES && order < PLAIN)
		gc->below += (uint32_t)change;
	else if (order > PLAIN && order < ORDERS)
		gc->above += (uint32_t)change;
}

/* Out of any order, ours or the inner one; no verdict is awaited. */
static void leave(struct gc *gc, uint32_t frame, enum hmm_removed why)
{
	tally(gc, gc->composed.orders.order[frame], -1);
	composed_leave(&gc->composed, frame, why);
}

/* A frame in no order becomes the newest of one of ours. */
static void put(struct gc *gc, uint32_t frame, uint32_t order)
{
	tally(gc, order, 1);
	frame_orders_put_newest(&gc->composed.orders, frame, order);
}

static void renew(struct gc *gc, uint32_t frame)
{
	uint32_t order = gc->composed.orders.order[frame];

	frame_orders_take(&gc->composed.orders, frame);
	frame_orders_put_newest(&gc->composed.orders, frame, order);
}

/* The order for pages of this identity: one of a priority, or PLAIN for the inner one. */
static uint32_t order_of(const struct gc *gc, uint64_t page)
{
	int64_t priority = gc->priorities.n > 0 ? range_values_get(&gc->priorities, page) : 0;

	return (uint32_t)(PLAIN + priority);
}

/* A page in no order, which was used. */
static void make_ordinary(struct gc *gc, uint32_t frame, enum hmm_access access)
{
	uint32_t order = order_of(gc, gc->composed.pages[frame].page);

	if (order == PLAIN)
		composed_join(&gc->composed, frame, access);
	else
		put(gc, frame, order);
}

static void touch_own(struct gc *gc, uint32_t frame, enum hmm_access access)
{
	uint32_t order = gc->composed.orders.order[frame];

	if (!frame_orders_holds(&gc->composed.orders, frame))
		return;
	if (order >= PRIORITIES && gc->is_scan)
		return;
	if (order >= PRIORITIES || (order == SCAN && gc->is_scan)) {
		renew(gc, frame);
		return;
	}
	leave(gc, frame, HMM_REMOVED_UNMAPPED);
	make_ordinary(gc, frame, access);
}

/* Hooks */

static void gc_miss(void *state, uint64_t page, uint32_t cookie, enum hmm_access access)
{
	struct gc *gc = state;

	if (!gc->is_scan && order_of(gc, page) == PLAIN)
		composed_miss(&gc->composed, page, cookie, access);
}

static void gc_placed(void *state, uint32_t frame, uint64_t page, const struct hmm_placement *placement)
{
	struct gc *gc = state;
	uint32_t order = order_of(gc, page);

	composed_note_page(&gc->composed, frame, page, placement);
	if (order != PLAIN)
		put(gc, frame, order);
	else if (gc->is_scan)
		put(gc, frame, SCAN);
	else
		composed_insert(&gc->composed, frame, placement);
}

/* Ordinary pages are passed on in runs, in the order given. */
static void gc_touched(void *state, const uint32_t *frames, uint32_t n, enum hmm_access access)
{
	struct gc *gc = state;
	uint32_t run = 0, i;

	for (i = 0; i < n; i++) {
		if (composed_is_inner(&gc->composed, frames[i]))
			continue;
		if (!gc->is_scan)
			composed_touched(&gc->composed, frames + run, i - run, access);
		touch_own(gc, frames[i], access);
		run = i + 1;
	}
	if (!gc->is_scan)
		composed_touched(&gc->composed, frames + run, i - run, access);
}

static uint32_t choose_order(struct gc *gc, uint32_t order, uint32_t want, uint32_t *out)
{
	uint32_t n = composed_choose_own(&gc->composed, order, want, out);

	tally(gc, order, -(int)n);
	return n;
}

static uint32_t choose_orders(struct gc *gc, uint32_t first, uint32_t last, uint32_t want, uint32_t *out)
{
	uint32_t n = 0;

	for (uint32_t order = first; order <= last && n < want; order++)
		n += choose_order(gc, order, want - n, out + n);
	return n;
}

static uint32_t beyond(uint32_t count, double share, uint32_t frames)
{
	uint32_t most = (uint32_t)(share * frames);

	return count > most ? count - most : 0;
}

static uint32_t least(uint32_t a, uint32_t b)
{
	return a < b ? a : b;
}

/* What goes before the inner order. */
static uint32_t choose_first(struct gc *gc, uint32_t want, uint32_t *out)
{
	uint32_t n = choose_orders(gc, GARBAGE, NEXT, want, out), more;

	if (gc->below > 0)
		n += choose_orders(gc, PRIORITIES, PLAIN - 1, want - n, out + n);
	more = beyond(gc->composed.orders.count[SCAN], gc->is_scan ? gc->scan : 0, gc->frames);
	n += choose_order(gc, SCAN, least(more, want - n), out + n);
	more = beyond(gc->above, gc->most, gc->frames);
	if (more > 0)
		n += choose_orders(gc, PLAIN + 1, ORDERS - 1, least(more, want - n), out + n);
	return n;
}

static uint32_t choose_last(struct gc *gc, uint32_t want, uint32_t *out)
{
	uint32_t n = choose_order(gc, SCAN, want, out);

	if (gc->above > 0)
		n += choose_orders(gc, PLAIN + 1, ORDERS - 1, want - n, out + n);
	return n;
}

static uint32_t gc_choose(void *state, uint32_t want, uint32_t *out, uint32_t scan)
{
	struct gc *gc = state;
	uint32_t n;

	want = least(want, scan);
	n = choose_first(gc, want, out);
	if (composed_is_stuck(&gc->composed))
		n += choose_last(gc, want - n, out + n);
	n += composed_choose_inner(&gc->composed, want - n, out + n, scan - n);
	/* While the inner order has pages, they go first: it may have used up its scan, and is asked again. */
	if (n < want && gc->composed.count == 0)
		n += choose_last(gc, want - n, out + n);
	if (n == 0 && gc->composed.count == 0) {
		frame_orders_wake(&gc->composed.orders);
		n = choose_first(gc, want, out);
		n += choose_last(gc, want - n, out + n);
	}
	return n;
}

/* What is evicted without having been proposed still counts in its priority. */
static void forget(struct gc *gc, uint32_t frame)
{
	if (!composed_is_inner(&gc->composed, frame) && frame_orders_holds(&gc->composed.orders, frame))
		tally(gc, gc->composed.orders.order[frame], -1);
}

static uint32_t gc_evicted(void *state, uint32_t frame, uint64_t page)
{
	forget(state, frame);
	return composed_evicted(state, frame, page);
}

static void gc_removed(void *state, uint32_t frame, uint64_t page, enum hmm_removed why)
{
	forget(state, frame);
	composed_removed(state, frame, page, why);
}

static void gc_rejected(void *state, uint32_t frame, enum hmm_reject why)
{
	struct gc *gc = state;
	uint32_t order = gc->composed.orders.order[frame];

	if (composed_rejected(&gc->composed, frame, why))
		return;
	if (why == HMM_REJECT_RACED && order < SCAN) {
		make_ordinary(gc, frame, HMM_ACCESS_READ);
	} else if (why == HMM_REJECT_RACED) {
		put(gc, frame, order);
	} else {
		tally(gc, order, 1);
		frame_orders_refuse(&gc->composed.orders, frame);
	}
}

static void set_priority(struct gc *gc, uint32_t frame, int64_t value)
{
	uint32_t order = gc->composed.orders.order[frame], wanted = (uint32_t)(PLAIN + value);

	if (order < SCAN || order == wanted || (wanted == PLAIN && order >= IN_INNER))
		return; /* garbage stays garbage */
	leave(gc, frame, HMM_REMOVED_UNMAPPED);
	if (wanted == PLAIN)
		composed_join(&gc->composed, frame, HMM_ACCESS_READ);
	else
		put(gc, frame, wanted);
}

/* The next victim of an order of ours. */
static void put_first(struct gc *gc, uint32_t frame, uint32_t order, enum hmm_removed why)
{
	if (gc->composed.orders.order[frame] < order)
		return; /* garbage stays garbage */
	leave(gc, frame, why);
	frame_orders_put_victim(&gc->composed.orders, frame, order);
}

static bool is_priority(int64_t value)
{
	return value >= PRIORITY_LEAST && value <= PRIORITY_MOST;
}

/* Of a range.  Pages of it that are resident are named after it. */
static void hint_range(struct gc *gc, struct hmm_page_range range, enum hmm_hint hint, int64_t value)
{
	if (hint == HMM_HINT_PHASE)
		gc->is_scan = value == HMM_PHASE_SCAN;
	else if (hint == HMM_HINT_PRIORITY && is_priority(value))
		range_values_set(&gc->priorities, range, value);
	else
		composed_hint(&gc->composed, FRAME_NONE, range, hint, value);
}

static void gc_hint(void *state, uint32_t frame, struct hmm_page_range range, enum hmm_hint hint, int64_t value)
{
	struct gc *gc = state;

	if (frame == FRAME_NONE)
		hint_range(gc, range, hint, value);
	else if (!composed_holds(&gc->composed, frame))
		return;
	else if (hint == HMM_HINT_DISCARD)
		put_first(gc, frame, GARBAGE, HMM_REMOVED_DISCARDED);
	else if (hint == HMM_HINT_EVICT_NEXT)
		put_first(gc, frame, NEXT, HMM_REMOVED_UNMAPPED);
	else if (hint == HMM_HINT_PRIORITY && is_priority(value))
		set_priority(gc, frame, value);
	else if (composed_is_inner(&gc->composed, frame))
		composed_hint(&gc->composed, frame, range, hint, value);
	else if (hint == HMM_HINT_WILLNEED)
		touch_own(gc, frame, HMM_ACCESS_READ);
}

const struct hmm_policy_ops hmm__policy_gc = {
	.size = sizeof(struct hmm_policy_ops),
	.version = HMM_POLICY_VERSION,
	.caps = HMM_POLICY_EXACT | HMM_POLICY_GHOSTS | HMM_POLICY_PRIORITY,
	.name = "gc",
	.summary = "garbage first, priorities, scan phases; around another policy, as gc:s3fifo",
	.params = "most=0.9,scan=0.1:POLICY",
	.sizes = gc_sizes,
	.start = gc_start,
	.resize = gc_resize,
	.stop = gc_stop,
	.miss = gc_miss,
	.placed = gc_placed,
	.touched = gc_touched,
	.choose = gc_choose,
	.evicted = gc_evicted,
	.rejected = gc_rejected,
	.removed = gc_removed,
	.hint = gc_hint,
	.tick = gc_tick,
};
