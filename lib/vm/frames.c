/* SPDX-License-Identifier: MIT */
/*
 * frames.c - the books of frames: budget, frame numbers, window slots, the available list
 *
 * A frame of the budget is in one of these places, and `held` counts all but the first:
 *   credit      nobody has it; the kernel gives one when a page is mapped by copy
 *   mapped      at an application's address (or about to be)
 *   free slot   behind a window slot that is populated and free, or spent (free_slots)
 *   used slot   behind a slot that holds contents: laundry, available, a transfer
 * Under the space's lock unless noted.
 */
#include <errno.h>

#include "lib/base/arena.h"
#include "lib/base/futex.h"
#include "lib/vm/cache/cache.h"

#define RELEASE_BATCH 64u

static void free_stock(struct hmm_space *space)
{
	struct hmm__batch *b;

	while ((b = space->free_batch)) {
		space->free_batch = b->next;
		hmm__sparse_free(b, sizeof(*b));
	}
}

int hmm__frames_init(struct hmm_space *space)
{
	space->frames = hmm__sparse_alloc((size_t)space->numbers * sizeof(space->frames[0]));
	if (!space->frames)
		return -ENOMEM;
	space->free_frame = HMM__NO_FRAME;
	space->available_first = space->available_last = HMM__NO_FRAME;
	space->named_last = space->mapped_first = space->mapped_last = HMM__NO_FRAME;
	for (unsigned i = 0; i < HMM__BATCHES; i++) {
		struct hmm__batch *b = hmm__sparse_alloc(sizeof(*b));

		if (!b) {
			hmm__frames_fini(space);
			return -ENOMEM;
		}
		b->next = space->free_batch;
		space->free_batch = b;
	}
	return 0;
}

void hmm__frames_fini(struct hmm_space *space)
{
	free_stock(space);
	if (space->frames)
		hmm__sparse_free(space->frames, (size_t)space->numbers * sizeof(space->frames[0]));
	space->frames = NULL;
	if (space->cached)
		hmm__sparse_free(space->cached, (size_t)space->numbers * sizeof(space->cached[0]));
	space->cached = NULL;
	if (space->spots)
		hmm__sparse_free((void *)space->spots, (size_t)space->numbers * sizeof(space->spots[0]));
	space->spots = NULL;
	hmm__sparse_free(space->owners, space->owners ? (size_t)space->numbers * sizeof(space->owners[0]) : 0);
	space->owners = NULL;
	hmm__sparse_free(space->numbered, space->numbered ? HMM__CACHES_MOST * sizeof(space->numbered[0]) : 0);
	space->numbered = NULL;
}

struct hmm__batch *hmm__batch_get(struct hmm_space *space)
{
	struct hmm__batch *b = space->free_batch;

	if (b) {
		space->free_batch = b->next;
		b->n = 0;
	}
	return b;
}

void hmm__batch_put(struct hmm_space *space, struct hmm__batch *batch)
{
	batch->next = space->free_batch;
	space->free_batch = batch;
}

uint64_t hmm__frames_free(const struct hmm_space *space)
{
	return (space->budget > space->held ? space->budget - space->held : 0) + space->free_slots;
}

uint32_t hmm__frame_take(struct hmm_space *space, struct hmm_region *region, uint64_t page)
{
	uint32_t number = space->free_frame;
	struct hmm__frame *f;

	if (number != HMM__NO_FRAME) {
		space->free_frame = space->frames[number].next;
	} else {
		assert(space->fresh_frame < space->numbers); /* asked for: hmm__may_load() */
		number = space->fresh_frame++;
	}
	space->numbers_used++;
	f = &space->frames[number];
	*f = (struct hmm__frame){ .region = region, .page = page, .slot = HMM__NO_SLOT, .next = HMM__NO_FRAME,
		                  .prev = HMM__NO_FRAME };
	hmm__mapped_add(space, number, true);
	return number;
}

void hmm__frame_put(struct hmm_space *space, uint32_t number)
{
	struct hmm__frame *f = &space->frames[number];

	assert(f->region && !f->listed);
	hmm__mapped_remove(space, number);
	f->region = NULL;
	f->next = space->free_frame;
	space->free_frame = number;
	space->numbers_used--;
}

void hmm__frame_stays(struct hmm_space *space, uint32_t number, enum hmm_reject why)
{
	if (!space->frames[number].proposed)
		return;
	space->frames[number].proposed = 0;
	hmm__policy_rejected(space->policy, number, why);
}

bool hmm__credit_take(struct hmm_space *space, uint64_t n)
{
	if (space->held + n > space->budget)
		return false;
	hmm__bump(&space->held, n);
	if (space->held > space->peak_held)
		space->peak_held = space->held;
	return true;
}

/*
 * A dirty page that can't be granted needs a slot with a frame behind it to be written from, and if its store refuses
 * it, a frame at its address to come back.  If loads took the last frames no dirty page could ever be evicted again, so
 * they leave two pages' worth, be it in credits or behind free slots, slots leave one, and a rescue may take all.
 */
bool hmm__may_load_swapped(const struct hmm_space *space, uint64_t n)
{
	return hmm__frames_free(space) >= n + space->reserve && space->numbers_used < space->numbers;
}

bool hmm__may_load(const struct hmm_space *space, uint64_t n)
{
	return hmm__may_load_swapped(space, n + space->exchange);
}

bool hmm__credit_take_load(struct hmm_space *space, uint64_t n)
{
	return hmm__may_load(space, n) && hmm__credit_take(space, n);
}

void hmm__reserve(struct hmm_space *space, uint64_t n)
{
	hmm__lock(&space->lock);
	space->reserve = HMM__MAX(space->reserve, 2 * n);
	hmm__space_watermarks(space); /* they depend on whether there is one */
	hmm__unlock(&space->lock);
}

void hmm__credit_put(struct hmm_space *space, uint64_t n)
{
	assert(space->held >= n);
	hmm__bump(&space->held, -(uint64_t)(n));
}

uint32_t hmm__slot_take_populated(struct hmm__pool *pool)
{
	uint32_t slot = hmm__slotmap_take(&pool->map, HMM__POPULATED);

	if (slot != HMM__NO_SLOT)
		hmm__bump(&pool->engine->space->free_slots, -(uint64_t)(pool->weight));
	return slot;
}

void hmm__slot_put_populated(struct hmm__pool *pool, uint32_t slot)
{
	hmm__slot_put(pool, slot, false);
}

void hmm__slot_put(struct hmm__pool *pool, uint32_t slot, bool spent)
{
	hmm__slotmap_put(&pool->map, spent ? HMM__SPENT : HMM__POPULATED, slot);
	hmm__bump(&pool->engine->space->free_slots, pool->weight);
}

void hmm__available_add(struct hmm_space *space, uint32_t number)
{
	struct hmm__frame *f = &space->frames[number];

	assert(!f->listed && f->slot != HMM__NO_SLOT);
	hmm__mapped_remove(space, number);
	f->listed = 1;
	f->named = space->samples && f->proposed; /* U3 */
	f->prev = f->named ? space->named_last : space->available_last;
	f->next = f->prev != HMM__NO_FRAME ? space->frames[f->prev].next : space->available_first;
	if (f->prev != HMM__NO_FRAME)
		space->frames[f->prev].next = number;
	else
		space->available_first = number;
	if (f->next != HMM__NO_FRAME)
		space->frames[f->next].prev = number;
	else
		space->available_last = number;
	if (f->named) {
		space->named_last = number;
		space->named += f->region->weight;
	}
	hmm__bump(&space->available, f->region->weight);
}

static uint64_t *refused_by(struct hmm_space *space, uint32_t number)
{
	struct hmm_region *region = space->frames[number].region;

	return region->slots ? &space->refused_swap : &region->refused;
}

void hmm__available_add_refused(struct hmm_space *space, uint32_t number)
{
	hmm__available_add(space, number);
	space->frames[number].refused = 1;
	hmm__bump(refused_by(space, number), 1);
}

void hmm__available_remove(struct hmm_space *space, uint32_t number)
{
	struct hmm__frame *f = &space->frames[number];

	assert(f->listed);
	f->listed = 0;
	hmm__bump(refused_by(space, number), -(uint64_t)f->refused);
	f->refused = 0;
	if (space->named_last == number)
		space->named_last = f->prev;
	if (f->named)
		space->named -= f->region->weight;
	f->named = 0;
	if (f->prev != HMM__NO_FRAME)
		space->frames[f->prev].next = f->next;
	else
		space->available_first = f->next;
	if (f->next != HMM__NO_FRAME)
		space->frames[f->next].prev = f->prev;
	else
		space->available_last = f->prev;
	hmm__bump(&space->available, -(uint64_t)f->region->weight);
}

void hmm__frames_changed(struct hmm_space *space)
{
	atomic_fetch_add(&space->frame_seq, 1);
	if (atomic_load(&space->frame_waiters))
		hmm__futex_wake(&space->frame_seq, INT32_MAX);
}

/* Under the lock: free slots of one kind that have frames, for so many frames. */
static unsigned take_to_release(struct hmm__pool *pool, int kind, uint64_t want, uint32_t *slots)
{
	unsigned n = 0;

	while (n < RELEASE_BATCH && (uint64_t)n * pool->weight < want) {
		slots[n] = hmm__slotmap_take(&pool->map, kind);
		if (slots[n] == HMM__NO_SLOT)
			break;
		n++;
	}
	hmm__bump(&pool->engine->space->free_slots, -(uint64_t)n * pool->weight);
	return n;
}

static uint64_t release_from(struct hmm__pool *pool, int kind, uint64_t want)
{
	struct hmm_space *space = pool->engine->space;
	struct hmm_span spans[RELEASE_BATCH];
	uint32_t slots[RELEASE_BATCH];
	unsigned n;
	int r;

	hmm__lock(&space->lock);
	n = take_to_release(pool, kind, want, slots);
	hmm__unlock(&space->lock);
	if (!n)
		return 0;
	for (unsigned i = 0; i < n; i++)
		spans[i] = (struct hmm_span){ hmm__slot_address(pool, slots[i]), (size_t)1 << pool->shift };
	r = pool->engine->ops->drop(pool->engine->backend, spans, n);
	hmm__lock(&space->lock);
	for (unsigned i = 0; i < n; i++) {
		if (r) /* some may be empty now: they fill again when written to */
			hmm__slot_put(pool, slots[i], kind == HMM__SPENT);
		else
			hmm__slotmap_put(&pool->map, HMM__EMPTY, slots[i]);
	}
	if (!r)
		hmm__credit_put(space, (uint64_t)n * pool->weight);
	hmm__unlock(&space->lock);
	return r ? 0 : (uint64_t)n * pool->weight;
}

static uint64_t release_kind(struct hmm_space *space, int kind, uint64_t want)
{
	uint64_t total = 0;

	for (unsigned e = 0; e < HMM__ENGINES; e++) {
		for (unsigned o = 0; o < HMM__ORDERS && total < want; o++) {
			struct hmm__pool *pool = &space->engines[e].pools[o];
			uint64_t got = 1;

			if (!__atomic_load_n(&pool->base, __ATOMIC_ACQUIRE))
				continue;
			while (total < want && (got = release_from(pool, kind, want - total)))
				total += got;
		}
	}
	return total;
}

/* Under the lock: a free slot with a frame, or an empty one and a credit to fill it with. */
static uint32_t take_or_credit(struct hmm__pool *pool, bool *ret_fill)
{
	struct hmm_space *space = pool->engine->space;
	uint32_t slot = hmm__slot_take_populated(pool);

	*ret_fill = false;
	if (slot != HMM__NO_SLOT || space->held + pool->weight + space->reserve / 2 > space->budget ||
	    !hmm__credit_take(space, pool->weight))
		return slot;
	slot = hmm__slotmap_take(&pool->map, HMM__EMPTY);
	if (slot == HMM__NO_SLOT)
		hmm__credit_put(space, pool->weight);
	*ret_fill = slot != HMM__NO_SLOT;
	return slot;
}

/* A slot with a frame behind it, made from a credit if no free one is left. */
static uint32_t make_populated(struct hmm__pool *pool)
{
	struct hmm_space *space = pool->engine->space;
	uint32_t slot;
	bool fill;
	int r;

	for (;;) {
		hmm__lock(&space->lock);
		slot = take_or_credit(pool, &fill);
		hmm__unlock(&space->lock);
		/* frames that are spent are credits as soon as the kernel has them */
		if (slot != HMM__NO_SLOT || !release_kind(space, HMM__SPENT, HMM__MAX(pool->weight, RELEASE_BATCH)))
			break;
	}
	if (!fill)
		return slot;
	r = pool->engine->ops->fill(pool->engine->backend, hmm__slot_address(pool, slot), (size_t)1 << pool->shift);
	if (!r)
		return slot;
	hmm__lock(&space->lock);
	hmm__slotmap_put(&pool->map, HMM__EMPTY, slot);
	hmm__credit_put(space, pool->weight);
	hmm__unlock(&space->lock);
	return HMM__NO_SLOT;
}

/* How many slots a pool may park: they are held frames, so few in a small budget. */
static unsigned bounces_of(const struct hmm__pool *pool)
{
	uint64_t most = hmm__peek(&pool->engine->space->budget) / 32 / pool->weight;

	return (unsigned)HMM__MIN(most, (uint64_t)HMM__BOUNCES);
}

uint32_t hmm__bounce_get(struct hmm__pool *pool)
{
	for (unsigned i = 0; i < HMM__BOUNCES; i++) {
		uint32_t slot = atomic_load_explicit(&pool->bounce[i], memory_order_relaxed);

		if (slot != HMM__NO_SLOT && atomic_compare_exchange_strong(&pool->bounce[i], &slot, HMM__NO_SLOT))
			return slot;
	}
	return make_populated(pool);
}

void hmm__bounce_put(struct hmm__pool *pool, uint32_t slot)
{
	struct hmm_space *space = pool->engine->space;
	unsigned n = bounces_of(pool);

	for (unsigned i = 0; i < n; i++) {
		uint32_t none = HMM__NO_SLOT;

		if (atomic_load_explicit(&pool->bounce[i], memory_order_relaxed) == none &&
		    atomic_compare_exchange_strong(&pool->bounce[i], &none, slot))
			return;
	}
	hmm__lock(&space->lock);
	hmm__slot_put_populated(pool, slot);
	hmm__unlock(&space->lock);
}

/* Give parked slots back to the pools: for shrinking, and when every frame counts. */
void hmm__bounce_flush(struct hmm_space *space)
{
	for (unsigned e = 0; e < HMM__ENGINES; e++) {
		for (unsigned o = 0; o < HMM__ORDERS; o++) {
			struct hmm__pool *pool = &space->engines[e].pools[o];

			if (!__atomic_load_n(&pool->base, __ATOMIC_ACQUIRE))
				continue;
			for (unsigned i = 0; i < HMM__BOUNCES; i++) {
				uint32_t slot = atomic_exchange(&pool->bounce[i], HMM__NO_SLOT);

				if (slot == HMM__NO_SLOT)
					continue;
				hmm__lock(&space->lock);
				hmm__slot_put_populated(pool, slot);
				hmm__unlock(&space->lock);
			}
		}
	}
}

/* What is spent is good for nothing else, so a whole batch of it goes at once. */
uint64_t hmm__slots_release(struct hmm_space *space, uint64_t want)
{
	uint64_t total = release_kind(space, HMM__SPENT, HMM__MAX(want, (uint64_t)RELEASE_BATCH));

	return total < want ? total + release_kind(space, HMM__POPULATED, want - total) : total;
}

static void pool_close(struct hmm__pool *pool)
{
	hmm__slotmap_fini(&pool->map);
	pool->base = NULL;
}

int hmm__pool_open(struct hmm__engine *engine, unsigned shift, struct hmm__pool **ret_pool)
{
	struct hmm_space *space = engine->space;
	struct hmm__pool *pool = &engine->pools[shift - HMM__PAGE_SHIFT_MIN];
	uint32_t nslots;
	void *base;
	int r = 0;

	hmm__lock(&space->engine_lock);
	if (!pool->base) {
		pool->engine = engine;
		pool->shift = shift;
		pool->weight = 1u << (shift - HMM__PAGE_SHIFT_MIN);
		/* every frame may be behind a slot, and groups may be broken */
		nslots = (uint32_t)HMM__ALIGN_UP(space->capacity / pool->weight + HMM__GROUP, HMM__GROUP);
		for (unsigned i = 0; i < HMM__BOUNCES; i++)
			atomic_store(&pool->bounce[i], HMM__NO_SLOT);
		r = hmm__slotmap_init(&pool->map, nslots);
		if (!r) {
			r = engine->ops->window(engine->backend, shift, nslots, &base);
			if (r)
				pool_close(pool);
			else
				__atomic_store_n(&pool->base, base, __ATOMIC_RELEASE);
		}
	}
	hmm__unlock(&space->engine_lock);
	/* a cache has many pages in a slot, and its pages leave without being copied */
	if (!r && engine->delivery != HMM_DELIVERY_NONE) {
		hmm__lock(&space->lock);
		space->largest = HMM__MAX(space->largest, pool->weight);
		hmm__space_watermarks(space);
		hmm__unlock(&space->lock);
		if (!(engine->caps & HMM_BACKEND_GRANT))
			hmm__reserve(space, pool->weight);
	}
	if (!r)
		*ret_pool = pool;
	return r;
}

int hmm__engine_open(struct hmm_space *space, uint32_t number, struct hmm__engine **ret_engine)
{
	struct hmm__engine *engine = &space->engines[number];
	uint32_t delivery = HMM__MIN(number, (uint32_t)HMM_DELIVERY_NONE);
	struct hmm_backend_config config = {
		.size = sizeof(config), .delivery = delivery, .engine = space->engine_choice, .pagers = space->pagers,
		.flags = (number == HMM__CACHES_COPIED ? HMM_BACKEND_INHERIT : 0) |
		         (space->flags & HMM_SPACE_LOCK ? HMM_BACKEND_LOCK : 0),
		.capacity = space->capacity,
		.backend_arg = space->backend_arg, .arg = space,
		.fault = hmm__fault, .gone = hmm__gone, .pressure = hmm__pressure,
	};
	int r = 0;

	hmm__lock(&space->engine_lock);
	if (!engine->open) {
		engine->space = space;
		engine->ops = space->ops;
		engine->delivery = delivery;
		r = engine->ops->open(&config, &engine->backend, &engine->caps);
		if (!r) {
			bool unlocked = config.flags & HMM_BACKEND_LOCK && !(engine->caps & HMM_BACKEND_LOCKED);

			r = unlocked ? -ENOTSUP : hmm__supply_begin(engine);
			if (r)
				engine->ops->close(engine->backend);
		}
		engine->open = !r;
	}
	hmm__unlock(&space->engine_lock);
	if (!r)
		*ret_engine = engine;
	return r;
}

void hmm__engine_close(struct hmm__engine *engine)
{
	if (!engine->open)
		return;
	hmm__supply_end(engine);
	engine->ops->close(engine->backend);
	engine->open = false;
	for (unsigned o = 0; o < HMM__ORDERS; o++) {
		if (engine->pools[o].base)
			pool_close(&engine->pools[o]);
	}
}
