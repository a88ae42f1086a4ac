/* SPDX-License-Identifier: MIT */
/*
 * cache.c - caches come and go
 *
 * Z1  A cache is on the space's list only while it is complete.  It is taken off first when it goes, then its pages are
 *     dropped, then who still holds a reference (C11) is waited for, then its tables go.
 * Z2  In a forked child its words say ABSENT and its frames are nobody's; what is left is taken down by abandon.
 */
#include "lib/vm/cache/cache.h"

#include <errno.h>

#include "lib/base/arena.h"
#include "lib/store/store.h"
#include "lib/vm/cache/hazard.h"
#include "lib/vm/cache/touch.h"
#include "lib/vm/call.h"

#define FLAGS_KNOWN (HMM_CACHE_VOLATILE | HMM_CACHE_STABLE | HMM_CACHE_INCOHERENT | HMM_CACHE_COPY_ON_FORK)
#define PAGE_SIZE_MIN 512u
#define PAGE_SIZE_MAX 65536u
#define EXTRA_MAX 4096u
#define PAGES_DEFAULT (UINT64_C(1) << 32)
#define PAGES_MOST (UINT64_C(1) << (64 - HMM__REGION_BITS))
#define ALIGNMENT 64u /* of contents: a line */
#define WAIT_MS 1000u

static int check_store(struct hmm_store *store, size_t page_size, const struct hmm_cache_options *o)
{
	if (!store == !(o->flags & HMM_CACHE_VOLATILE) || (!store && o->flags & HMM_CACHE_INCOHERENT))
		return -EINVAL;
	if (!store)
		return o->offset ? -EINVAL : 0;
	if (hmm__store_granule(store) > page_size)
		return -EINVAL;
	return o->offset > INT64_MAX || o->max_pages > (INT64_MAX - o->offset) / page_size ? -EINVAL : 0;
}

static int check_options(struct hmm_space *space, struct hmm_store *store, size_t page_size, struct hmm_cache_options *o)
{
	if (page_size < PAGE_SIZE_MIN || page_size > PAGE_SIZE_MAX || page_size & (page_size - 1) ||
	    page_size > hmm__peek(&space->budget) / 8 << HMM__PAGE_SHIFT_MIN)
		return -EINVAL;
	if (!o->max_pages)
		o->max_pages = PAGES_DEFAULT;
	if (!o->wait_ms)
		o->wait_ms = WAIT_MS;
	if (o->flags & HMM_CACHE_COPY_ON_FORK && !(o->flags & HMM_CACHE_VOLATILE))
		return -EINVAL;
	if (o->extra > EXTRA_MAX || o->flags & ~(uint32_t)FLAGS_KNOWN || o->max_pages > PAGES_MOST ||
	    o->offset & (page_size - 1))
		return -EINVAL;
	if (o->dirty_target > 100 || o->dirty_limit > 100 || (o->dirty_limit && o->dirty_target > o->dirty_limit))
		return -EINVAL;
	return check_store(store, page_size, o);
}

static uint32_t stride_of(const struct hmm_store *store, size_t page_size, uint32_t extra)
{
	uint32_t align = store ? HMM__MAX((uint32_t)hmm__store_granule(store), ALIGNMENT) : ALIGNMENT;

	return extra ? (uint32_t)HMM__ALIGN_UP(page_size + extra, align) : (uint32_t)page_size;
}

static void free_cache(struct hmm_cache *cache)
{
	if (cache->region) {
		hmm__claim_end(&cache->region->claim);
		hmm__region_free_tables(cache->region);
		hmm__region_free(cache->region);
	}
	hmm__pins_fini(cache);
	hmm__free(cache, sizeof(*cache));
}

static void fill_in(struct hmm_cache *cache, struct hmm_space *space, struct hmm_store *store, size_t page_size,
                    const struct hmm_cache_options *o)
{
	cache->npages = o->max_pages;
	cache->space = space;
	cache->page_size = page_size;
	cache->extra = o->extra;
	cache->flags = o->flags;
	cache->writable = !store || hmm__store_writable(store);
	cache->local = !(o->flags & HMM_CACHE_VOLATILE); /* there a pin for reading may make a page dirty */
	cache->dirty_target = o->dirty_target;
	cache->dirty_limit = o->dirty_limit;
	cache->throttled = o->dirty_limit != 0;
	cache->wait_ms = o->wait_ms;
	cache->log_flushed = o->log_flushed;
	cache->flush_log = o->flush_log;
	cache->log_arg = o->log_arg;
}

static int make_region(struct hmm_cache *cache, struct hmm_store *store, uint64_t offset)
{
	struct hmm_region *region = hmm__region_new();

	if (!region)
		return -ENOMEM;
	cache->region = region;
	region->space = cache->space;
	region->store = store;
	region->cache = cache;
	region->npages = cache->npages;
	region->offset = offset;
	region->shift = (unsigned)__builtin_ctzll(cache->page_size);
	region->flags = HMM_REGION_SHARED; /* no swap slots */
	hmm__lock_init(&region->lock, HMM__RANK_REGION);
	return hmm__region_make_tables(region);
}

static int claim_bytes(struct hmm_cache *cache)
{
	struct hmm_region *region = cache->region;

	if (!region->store)
		return 0;
	region->claim = (struct hmm__claim){
		.store = region->store->identity, .from = region->offset,
		.to = region->offset + cache->npages * cache->page_size, .writes = cache->writable,
		.incoherent = (cache->flags & HMM_CACHE_INCOHERENT) != 0,
	};
	return hmm__claim_make(&region->claim);
}

/* The arrays by frame number, with the space's first cache. */
static int make_cached(struct hmm_space *space)
{
	int r;

	hmm__lock(&space->engine_lock);
	if (!space->spots)
		space->spots = hmm__sparse_alloc((size_t)space->numbers * sizeof(space->spots[0]));
	if (!space->cached && space->spots)
		__atomic_store_n(&space->cached,
		                 hmm__sparse_alloc((size_t)space->numbers * sizeof(space->cached[0])),
		                 __ATOMIC_RELAXED);
	if (!space->owners)
		space->owners = hmm__sparse_alloc((size_t)space->numbers * sizeof(space->owners[0]));
	if (!space->numbered)
		space->numbered = hmm__sparse_alloc(HMM__CACHES_MOST * sizeof(space->numbered[0]));
	r = space->cached && space->owners && space->numbered ? 0 : -ENOMEM;
	hmm__unlock(&space->engine_lock);
	return r;
}

/* May it have pages that compaction can neither move nor evict? */
static bool unmovable(const struct hmm_cache *cache)
{
	return cache->flags & HMM_CACHE_STABLE && !(cache->flags & HMM_CACHE_VOLATILE);
}

static int take_number(struct hmm_cache *cache)
{
	struct hmm_space *space = cache->space;
	uint32_t n = 1;

	hmm__lock(&space->lock);
	while (n < HMM__CACHES_MOST && space->numbered[n])
		n++;
	if (n < HMM__CACHES_MOST) {
		space->numbered[n] = cache;
		cache->number = (uint16_t)n;
		cache->pool->unmovable += unmovable(cache);
	}
	hmm__unlock(&space->lock);
	return cache->number ? 0 : -ENFILE;
}

static void give_number(struct hmm_cache *cache)
{
	hmm__lock(&cache->space->lock);
	cache->space->numbered[cache->number] = NULL;
	cache->pool->unmovable -= unmovable(cache);
	hmm__unlock(&cache->space->lock);
}

static void publish(struct hmm_cache *cache)
{
	struct hmm_space *space = cache->space;

	hmm__spaces_enter();
	cache->next = space->caches;
	if (cache->next)
		cache->next->prev = cache;
	space->caches = cache;
	atomic_store(&cache->region->dying, 0);
	hmm__spaces_leave();
}

static int make_cache(struct hmm_cache *cache, struct hmm_store *store, uint64_t offset)
{
	struct hmm_space *space = cache->space;
	struct hmm_region *region;
	int r = make_region(cache, store, offset);

	if (!r)
		r = claim_bytes(cache);
	if (!r)
		r = make_cached(space);
	if (!r)
		r = hmm__cache_pool_open(space, hmm__cache_lives_on(cache) ? HMM__CACHES_COPIED : HMM__CACHES,
		                         stride_of(store, cache->page_size, cache->extra), &cache->pool);
	if (r)
		return r;
	region = cache->region;
	region->pool = cache->pool->window;
	region->engine = region->pool->engine;
	region->weight = HMM__MAX(cache->pool->stride >> HMM__PAGE_SHIFT_MIN, 1u);
	cache->words = region->words;
	cache->cached = space->cached;
	cache->spots = space->spots;
	cache->base = cache->pool->window->base;
	cache->unit = (uint8_t)cache->pool->unit;
	return 0;
}

int hmm_cache_create(struct hmm_space *space, struct hmm_store *store, size_t page_size,
                     const struct hmm_cache_options *opts, struct hmm_cache **ret_cache)
{
	struct hmm_cache_options o;
	struct hmm_cache *cache;
	struct hmm__call call;
	int r;

	if (!space || !ret_cache)
		return -EINVAL;
	r = hmm__options_read(&o, sizeof(o), opts);
	if (!r)
		r = check_options(space, store, page_size, &o);
	if (!r)
		r = hmm__call_begin_space(&call, space);
	if (r)
		return r;
	cache = hmm__alloc(sizeof(*cache));
	r = cache ? 0 : -ENOMEM;
	if (cache) {
		fill_in(cache, space, store, page_size, &o);
		hmm__tables_begin(space->flags);
		r = hmm__tables_end(make_cache(cache, store, o.offset));
		if (!r) {
			r = take_number(cache);
			if (r)
				hmm__cache_pool_close(space, cache->pool);
		}
		if (r)
			free_cache(cache);
		else
			publish(cache);
	}
	if (!r && store)
		hmm_store_get(store);
	hmm__call_end(&call);
	if (!r)
		*ret_cache = cache;
	return r;
}

static bool pinned(const struct hmm_cache *cache)
{
	if (hmm__hazard_any(cache->words, cache->npages))
		return true;
	for (uint64_t page = 0; (page = hmm__cache_next(cache, page)) < cache->npages; page++) {
		if (atomic_load(&cache->words[page]) & HMM__PIN_MASK)
			return true;
	}
	return false;
}

static void unlink_cache(struct hmm_cache *cache)
{
	hmm__spaces_enter();
	atomic_store(&cache->region->dying, 1);
	if (cache->prev)
		cache->prev->next = cache->next;
	else
		cache->space->caches = cache->next;
	if (cache->next)
		cache->next->prev = cache->prev;
	hmm__spaces_leave();
}

/* Z1 */
static void take_down(struct hmm_cache *cache)
{
	struct hmm_space *space = cache->space;
	struct hmm_store *store = cache->region->store;

	hmm__lock(&space->lock);
	hmm__cache_touch_flush(space);
	hmm__unlock(&space->lock);
	unlink_cache(cache);
	for (uint64_t page = 0; (page = hmm__cache_next(cache, page)) < cache->npages; page++)
		(void)hmm__cache_drop(cache, page, true);
	atomic_fetch_add(&cache->region->refs, 1);
	hmm__region_drain(cache->region);
	atomic_fetch_sub(&cache->region->refs, 1);
	hmm__events_forget(space, cache->region);
	give_number(cache);
	hmm__cache_pool_close(space, cache->pool);
	hmm__give_back_idle(space);
	free_cache(cache);
	hmm_store_put(store);
	hmm__frames_changed(space);
}

int hmm_cache_destroy(struct hmm_cache *cache)
{
	struct hmm__call call;
	int r;

	if (!cache)
		return 0;
	if (atomic_load(&cache->dead))
		return -ENODEV;
	r = hmm__call_begin_space(&call, cache->space);
	if (r)
		return r;
	r = pinned(cache) ? -EBUSY : 0;
	hmm__call_end(&call);
	if (r) {
		hmm__pins_report(cache);
		return r;
	}
	r = cache->writable && cache->region->store ? hmm_cache_flush(cache, NULL) : 0;
	if (!r)
		hmm_cache_abandon(cache);
	return r;
}

void hmm_cache_abandon(struct hmm_cache *cache)
{
	struct hmm__call call;
	struct hmm_space *space;

	if (!cache || hmm__is_stray())
		return;
	space = cache->space;
	if (!atomic_load(&cache->dead))
		hmm__pins_report(cache);
	if (hmm__call_begin_space(&call, space))
		return;
	take_down(cache);
	hmm__call_end(&call);
}
