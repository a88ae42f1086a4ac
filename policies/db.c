/* SPDX-License-Identifier: MIT */
/*
 * db.c - for databases: scans in rings, pools with quotas, inner nodes kept, and another policy's order for the rest
 *
 *     victims: what left a ring | pages of pools beyond their quota | the inner policy's | rings |
 *              pages of pools within their quota
 *
 * Idea: a database knows what a page is and what it is read for.  A scan needs a few pages at a time, however long it
 * is: a ring of its own, from which a page that others use too moves to the common order.  Inner nodes of an index
 * are few and used by all: they stay.  Temporary files, or any set of pages with a pattern of its own, get as many
 * frames as pay, and least or most recently used first as fits.
 * Source: PostgreSQL, src/backend/storage/buffer/README (rings of 256 KiB, 16 MiB for bulk writes, at most 1/8 of all
 * buffers); H.-T. Chou, D. DeWitt, "An evaluation of buffer management strategies for relational database systems"
 * (DBMIN), VLDB 1985; WiredTiger's preference for inner pages.
 *
 * Spec: db[:ring=64,bulk=4096,nodes=0.5,temporary=0.1][:INNER[:its parameters]] (compose.h).  ring, bulk: pages of a
 * ring, of one whose first page was written.  nodes, temporary: quota of the classes INNER and TEMPORARY, parts of
 * all frames.  Classes, and hints that set classes and quotas: hurd-mm/hints.h.
 * Cost: a touch of a page of the common order costs one byte more than the inner policy's; a page that is placed
 * looks at up to 8 rings; everything else O(1); 25 bytes a frame beside the inner policy's; ghosts are the inner
 * policy's.
 * Known weakness: it believes what it is told; quotas are not adapted.  More than 8 scans at once share 8 rings: the
 * one that read least recently loses its own.
 *
 * D1  A ring holds at most its size; the page that is too many is SPENT, the next victim.  So a scan holds at most
 *     one frame more than its ring.
 * D2  A page of a ring, or spent, that is used again joins the common order at once; but not while it is the newest
 *     of its ring: then the scan itself is still at it.
 * D3  Class before stream: pages of a class that has a pool are in the pool, whoever reads them.
 * D4  An inner node beyond the quota joins the common order; of other pools beyond their quota the first in the
 *     pool's order is a victim.
 */
#include "policies/compose.h"
#include "policies/range-values.h"

#include <hurd-mm/hints.h>

#define RINGS 8
#define RING_SHARE 8 /* at most 1/8 of all frames */

enum order { SPENT, NODES, TEMPORARY, POOLS, RINGS_BEGIN = POOLS + HMM_CLASS_POOLS, ORDERS = RINGS_BEGIN + RINGS };

struct ring {
	uint32_t stream; /* 0: free */
	uint32_t size;
	uint64_t used;   /* time of its last page */
};

struct pool {
	uint32_t quota; /* frames */
	uint32_t order; /* enum hmm_pool_order */
};

struct db {
	struct composed composed;
	struct range_values classes;
	double ring, bulk, nodes, temporary; /* parameters */
	uint32_t frames;
	uint64_t time;                       /* counts pages of rings */
	struct ring rings[RINGS];
	struct pool pools[RINGS_BEGIN];      /* by order: NODES, TEMPORARY, POOLS ... */
};

static int parse(const char *params, struct db *db, const char **ret_inner)
{
	const struct param known[] = {
		{ "ring", &db->ring, 1, 1 << 30, true },
		{ "bulk", &db->bulk, 1, 1 << 30, true },
		{ "nodes", &db->nodes, 0, 1, false },
		{ "temporary", &db->temporary, 0, 1, false },
	};
	char own[COMPOSE_OWN_MOST + 1];

	db->ring = 64;
	db->bulk = 4096;
	db->nodes = 0.5;
	db->temporary = 0.1;
	*ret_inner = composed_split(params, own);
	return *ret_inner != NULL ? params_parse(own, known, sizeof(known) / sizeof(known[0])) : -EINVAL;
}

static int db_sizes(uint32_t capacity, const char *params, struct hmm_policy_sizes *sizes)
{
	const char *inner;
	struct db db;
	int r = parse(params, &db, &inner);

	return r != 0 ? r : composed_sizes(inner, sizeof(db), capacity, ORDERS, sizes);
}

static void set_quotas(struct db *db, uint32_t frames)
{
	db->frames = frames;
	db->pools[NODES].quota = (uint32_t)(db->nodes * frames);
	db->pools[TEMPORARY].quota = (uint32_t)(db->temporary * frames);
}

static int db_start(void *state, uint32_t capacity, uint32_t frames, const char *params)
{
	struct db *db = state;
	const char *inner;
	int r = parse(params, db, &inner);

	set_quotas(db, frames);
	return r != 0 ? r : composed_start(&db->composed, inner, state, sizeof(*db), capacity, frames, ORDERS);
}

static void db_stop(void *state)
{
	composed_stop(state);
}

/* The quotas of inner nodes and temporary pages are shares and follow; those of the application's pools stay. */
static void db_resize(void *state, uint32_t frames)
{
	struct db *db = state;

	set_quotas(db, frames);
	composed_resize(&db->composed, frames);
}

static void db_tick(void *state)
{
	composed_tick(state);
}

/* Pools and rings */

static bool is_ring(uint32_t order)
{
	return order >= RINGS_BEGIN && order < ORDERS;
}

/* The order of a class that has a pool; SPENT: it has none, as one of the application's own before it gets a quota. */
static uint32_t pool_of(const struct db *db, int64_t page_class)
{
	uint32_t pool = (uint32_t)(POOLS + page_class - HMM_CLASS_POOL);

	if (page_class == HMM_CLASS_INNER)
		return NODES;
	if (page_class == HMM_CLASS_TEMPORARY)
		return TEMPORARY;
	if (page_class < HMM_CLASS_POOL || page_class >= HMM_CLASS_POOL + HMM_CLASS_POOLS || db->pools[pool].quota == 0)
		return SPENT;
	return pool;
}

static uint32_t class_of(const struct db *db, uint64_t page, uint32_t given)
{
	int64_t told = given == 0 && db->classes.n > 0 ? range_values_get(&db->classes, page) : 0;

	return told != 0 ? (uint32_t)told : given;
}

static void spend(struct db *db, uint32_t frame)
{
	frame_orders_take(&db->composed.orders, frame);
	frame_orders_put_newest(&db->composed.orders, frame, SPENT);
}

static void close_ring(struct db *db, uint32_t ring)
{
	uint32_t frame;

	frame_orders_wake(&db->composed.orders);
	while ((frame = frame_orders_victim(&db->composed.orders, RINGS_BEGIN + ring)) != FRAME_NONE)
		spend(db, frame);
}

/* The ring of a stream; a new one takes a free ring, or that of the stream whose last page came longest ago. */
static uint32_t find_ring(struct db *db, uint32_t stream, bool is_write)
{
	uint32_t eldest = 0, size = (uint32_t)(is_write ? db->bulk : db->ring);

	for (uint32_t i = 0; i < RINGS; i++) {
		if (db->rings[i].stream == stream)
			return i;
		if (db->rings[i].used < db->rings[eldest].used)
			eldest = i;
	}
	close_ring(db, eldest);
	size = size <= db->frames / RING_SHARE ? size : db->frames / RING_SHARE;
	db->rings[eldest].stream = stream;
	db->rings[eldest].size = size > 0 ? size : 1;
	return eldest;
}

static void put_in_ring(struct db *db, uint32_t frame, const struct hmm_placement *placement)
{
	uint32_t ring = find_ring(db, placement->stream, placement->access == HMM_ACCESS_WRITE);
	uint32_t order = RINGS_BEGIN + ring;

	db->rings[ring].used = ++db->time;
	frame_orders_put_newest(&db->composed.orders, frame, order);
	if (db->composed.orders.count[order] <= db->rings[ring].size)
		return;
	frame = frame_orders_victim(&db->composed.orders, order);
	if (frame != FRAME_NONE)
		spend(db, frame);
}

static void put_in_pool(struct db *db, uint32_t frame, uint32_t pool)
{
	struct frame_orders *orders = &db->composed.orders;

	frame_orders_put_newest(orders, frame, pool);
	if (pool != NODES || orders->count[pool] <= db->pools[pool].quota)
		return;
	frame = frame_orders_victim(orders, pool);
	if (frame != FRAME_NONE)
		composed_join(&db->composed, frame, HMM_ACCESS_READ);
}

/* A page in no order, which was used, goes where its class says. */
static void make_ordinary(struct db *db, uint32_t frame, enum hmm_access access)
{
	uint32_t pool = pool_of(db, db->composed.pages[frame].page_class);

	if (pool != SPENT)
		put_in_pool(db, frame, pool);
	else
		composed_join(&db->composed, frame, access);
}

static void touch_own(struct db *db, uint32_t frame, enum hmm_access access)
{
	struct frame_orders *orders = &db->composed.orders;
	uint32_t order = orders->order[frame];

	if (!frame_orders_holds(orders, frame))
		return;
	if (is_ring(order) && frame_orders_newest(orders, order) == frame)
		return;
	frame_orders_take(orders, frame);
	if (order == SPENT || is_ring(order))
		make_ordinary(db, frame, access);
	else
		frame_orders_put_newest(orders, frame, order);
}

/* Hooks */

static void db_miss(void *state, uint64_t page, uint32_t cookie, enum hmm_access access)
{
	struct db *db = state;

	if (pool_of(db, class_of(db, page, 0)) == SPENT)
		composed_miss(&db->composed, page, cookie, access);
}

static void db_placed(void *state, uint32_t frame, uint64_t page, const struct hmm_placement *placement)
{
	struct db *db = state;
	uint32_t pool;

	composed_note_page(&db->composed, frame, page, placement);
	db->composed.pages[frame].page_class = class_of(db, page, placement->page_class);
	pool = pool_of(db, db->composed.pages[frame].page_class);
	if (pool != SPENT)
		put_in_pool(db, frame, pool);
	else if (placement->stream != 0)
		put_in_ring(db, frame, placement);
	else
		composed_insert(&db->composed, frame, placement);
}

/* Pages of the common order are passed on in runs, in the order given. */
static void db_touched(void *state, const uint32_t *frames, uint32_t n, enum hmm_access access)
{
	struct db *db = state;
	uint32_t run = 0, i;

	for (i = 0; i < n; i++) {
		if (composed_is_inner(&db->composed, frames[i]))
			continue;
		composed_touched(&db->composed, frames + run, i - run, access);
		touch_own(db, frames[i], access);
		run = i + 1;
	}
	composed_touched(&db->composed, frames + run, i - run, access);
}

/* Up to want victims of a pool, by its order, while it has more pages than keep. */
static uint32_t choose_pool(struct db *db, uint32_t pool, uint32_t keep, uint32_t want, uint32_t *out)
{
	struct frame_orders *orders = &db->composed.orders;
	uint32_t n = 0;

	for (; n < want && orders->count[pool] > keep; n++) {
		uint32_t frame = db->pools[pool].order == HMM_POOL_MRU ? frame_orders_newest(orders, pool)
		                                                       : frame_orders_victim(orders, pool);

		if (frame == FRAME_NONE)
			break;
		frame_orders_take(orders, frame);
		out[n] = frame;
	}
	return n;
}

/* What goes before the common order. */
static uint32_t choose_first(struct db *db, uint32_t want, uint32_t *out)
{
	uint32_t n = composed_choose_own(&db->composed, SPENT, want, out);

	for (uint32_t pool = NODES; pool < RINGS_BEGIN && n < want; pool++)
		n += choose_pool(db, pool, db->pools[pool].quota, want - n, out + n);
	return n;
}

/* What goes when the common order has no page left; inner nodes last. */
static uint32_t choose_last(struct db *db, uint32_t want, uint32_t *out)
{
	uint32_t n = 0;

	for (uint32_t order = RINGS_BEGIN; order < ORDERS && n < want; order++)
		n += composed_choose_own(&db->composed, order, want - n, out + n);
	for (uint32_t pool = RINGS_BEGIN; pool-- > NODES && n < want;)
		n += choose_pool(db, pool, 0, want - n, out + n);
	return n;
}

static uint32_t db_choose(void *state, uint32_t want, uint32_t *out, uint32_t scan)
{
	struct db *db = state;
	uint32_t n;

	want = want < scan ? want : scan;
	n = choose_first(db, want, out);
	if (composed_is_stuck(&db->composed))
		n += choose_last(db, want - n, out + n);
	n += composed_choose_inner(&db->composed, want - n, out + n, scan - n);
	/* While the common order has pages, they go first: it may have used up its scan, and is asked again. */
	if (n < want && db->composed.count == 0)
		n += choose_last(db, want - n, out + n);
	if (n == 0 && db->composed.count == 0) {
		frame_orders_wake(&db->composed.orders);
		n = choose_first(db, want, out);
		n += choose_last(db, want - n, out + n);
	}
	return n;
}

static uint32_t db_evicted(void *state, uint32_t frame, uint64_t page)
{
	return composed_evicted(state, frame, page);
}

static void db_removed(void *state, uint32_t frame, uint64_t page, enum hmm_removed why)
{
	composed_removed(state, frame, page, why);
}

static void db_rejected(void *state, uint32_t frame, enum hmm_reject why)
{
	struct db *db = state;
	uint32_t order = db->composed.orders.order[frame];

	if (composed_rejected(&db->composed, frame, why))
		return;
	if (why != HMM_REJECT_RACED)
		frame_orders_refuse(&db->composed.orders, frame);
	else if (order == SPENT || is_ring(order))
		make_ordinary(db, frame, HMM_ACCESS_READ);
	else
		frame_orders_put_newest(&db->composed.orders, frame, order);
}

static void set_class(struct db *db, uint32_t frame, uint32_t page_class)
{
	uint32_t order = db->composed.orders.order[frame], pool = pool_of(db, page_class);

	db->composed.pages[frame].page_class = page_class;
	if (order == pool || (pool == SPENT && (order < NODES || order >= RINGS_BEGIN)))
		return; /* it stands where such a page may stand: ring, common order, spent */
	composed_leave(&db->composed, frame, HMM_REMOVED_UNMAPPED);
	make_ordinary(db, frame, HMM_ACCESS_READ);
}

static void set_quota(struct db *db, int64_t value)
{
	int64_t page_class = value >> 40;
	uint32_t order = value >> 32 & 0xff, pool;

	if (page_class >= HMM_CLASS_POOL && page_class < HMM_CLASS_POOL + HMM_CLASS_POOLS)
		pool = (uint32_t)(POOLS + page_class - HMM_CLASS_POOL);
	else
		pool = pool_of(db, page_class);
	if (pool == SPENT || order > HMM_POOL_MRU)
		return;
	db->pools[pool].quota = (uint32_t)value;
	db->pools[pool].order = order;
	/* The share of all frames that it is now is what resize keeps. */
	if (pool == NODES && db->frames > 0)
		db->nodes = (double)(uint32_t)value / db->frames;
	else if (pool == TEMPORARY && db->frames > 0)
		db->temporary = (double)(uint32_t)value / db->frames;
}

static void hint_range(struct db *db, struct hmm_page_range range, enum hmm_hint hint, int64_t value)
{
	if (hint == HMM_HINT_QUOTA)
		set_quota(db, value);
	else if (hint == HMM_HINT_CLASS && value >= 0 && value <= UINT32_MAX)
		range_values_set(&db->classes, range, value);
	else
		composed_hint(&db->composed, FRAME_NONE, range, hint, value);
}

static void db_hint(void *state, uint32_t frame, struct hmm_page_range range, enum hmm_hint hint, int64_t value)
{
	struct db *db = state;

	if (frame == FRAME_NONE) {
		hint_range(db, range, hint, value);
	} else if (!composed_holds(&db->composed, frame)) {
		return;
	} else if (hint == HMM_HINT_CLASS && value >= 0 && value <= UINT32_MAX) {
		set_class(db, frame, (uint32_t)value);
	} else if (hint == HMM_HINT_DISCARD || hint == HMM_HINT_EVICT_NEXT) {
		composed_leave(&db->composed, frame,
		               hint == HMM_HINT_DISCARD ? HMM_REMOVED_DISCARDED : HMM_REMOVED_UNMAPPED);
		frame_orders_put_victim(&db->composed.orders, frame, SPENT);
	} else if (composed_is_inner(&db->composed, frame)) {
		composed_hint(&db->composed, frame, range, hint, value);
	} else if (hint == HMM_HINT_WILLNEED) {
		touch_own(db, frame, HMM_ACCESS_READ);
	}
}

const struct hmm_policy_ops hmm__policy_db = {
	.size = sizeof(struct hmm_policy_ops),
	.version = HMM_POLICY_VERSION,
	.caps = HMM_POLICY_EXACT | HMM_POLICY_GHOSTS,
	.name = "db",
	.summary = "scan rings, pools with quotas, inner nodes kept; around another policy, as db:s3fifo",
	.params = "ring=64,bulk=4096,nodes=0.5,temporary=0.1:POLICY",
	.sizes = db_sizes,
	.start = db_start,
	.resize = db_resize,
	.stop = db_stop,
	.miss = db_miss,
	.placed = db_placed,
	.touched = db_touched,
	.choose = db_choose,
	.evicted = db_evicted,
	.rejected = db_rejected,
	.removed = db_removed,
	.hint = db_hint,
	.tick = db_tick,
};
