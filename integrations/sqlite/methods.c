/* SPDX-License-Identifier: MIT */
/*
 * methods.c - what SQLite asks of a page cache (sqlite3_pcache_methods2)
 *
 * A method that returns nothing can't fail.  Those that make pages return NULL when there is no memory, and SQLite says
 * SQLITE_NOMEM.
 */
#include <stdlib.h>
#include <string.h>

#include "pcache.h"

static struct pcache *of(sqlite3_pcache *pc)
{
	return (struct pcache *)pc;
}

static int x_init(void *arg)
{
	(void)arg;
	hmm__sqlite_look();
	return SQLITE_OK;
}

static void x_shutdown(void *arg)
{
	(void)arg;
	hmm__sqlite_spares_end();
}

static sqlite3_pcache *x_create(int page_size, int extra, int purgeable)
{
	struct pcache *c = sqlite3_malloc64(sizeof(*c));

	if (!c) {
		atomic_fetch_add_explicit(&hmm__sqlite.failures, 1, memory_order_relaxed);
		return NULL;
	}
	memset(c, 0, sizeof(*c));
	c->page_size = (size_t)page_size;
	c->extra = (unsigned)extra;
	c->paged = purgeable != 0;
	hmm__hash_init(c);
	hmm__places_init(c);
	pthread_mutex_lock(&hmm__sqlite.lock);
	c->next = hmm__sqlite.caches;
	if (c->next)
		c->next->prev = c;
	hmm__sqlite.caches = c;
	hmm__sqlite.ncaches++;
	pthread_mutex_unlock(&hmm__sqlite.lock);
	return (sqlite3_pcache *)c;
}

static void x_destroy(sqlite3_pcache *pc)
{
	struct pcache *c = of(pc);

	if (c->cache)
		hmm__places_release(c);
	hmm__hash_fini(c);
	hmm__places_fini(c);
	c->held = 0;
	hmm__sqlite_publish(c);
	hmm__sqlite_count(c, 0);
	hmm__sqlite_end(c);
	pthread_mutex_lock(&hmm__sqlite.lock);
	if (c->prev)
		c->prev->next = c->next;
	else
		hmm__sqlite.caches = c->next;
	if (c->next)
		c->next->prev = c->prev;
	hmm__sqlite.ncaches--;
	pthread_mutex_unlock(&hmm__sqlite.lock);
	sqlite3_free(c);
}

/* The budget says how many pages there are. */
static void x_cachesize(sqlite3_pcache *pc, int npages)
{
	(void)pc;
	(void)npages;
}

/*
 * SQLite wants to know whether there is more than a page or two, whenever it writes one because of a refusal; to count is
 * expensive.  So it is done when the number may have become wrong by half.
 */
static int x_pagecount(sqlite3_pcache *pc)
{
	struct pcache *c = of(pc);
	struct hmm_cache_stats s = { .size = sizeof(s) };

	if (c->cache && c->made > c->npages / 2 && hmm_cache_stats(c->cache, &s) == 0) {
		hmm__sqlite_count(c, (unsigned)s.resident);
		c->made = 0;
	}
	return (int)(c->npages + c->plain);
}

/*
 * A scan, as far as it can be seen from here: pages that were not there, one behind the other (others, that were, may lie
 * between them).  The policy hears of it: `db` lets scans replace their own pages.
 */
#define SCAN_RUN 16u
#define SCAN_GAP 8u
#define SCAN_STREAM 1u

static unsigned stream_of(struct pcache *c, unsigned key)
{
	c->run = key > c->last && key - c->last <= SCAN_GAP ? c->run + 1 : 0;
	c->last = key;
	return c->run >= SCAN_RUN ? HMM_CACHE_STREAM(SCAN_STREAM) : 0;
}

/* The page is in neither place.  easy: only if nothing else has to suffer for it. */
static struct page *make_paged(struct pcache *c, unsigned key, bool easy)
{
	struct page *p = NULL;
	void *data;
	int r;

	if (!c->cache && hmm__sqlite_begin(c))
		return NULL;
	hmm__sqlite_miss(c);
	if (easy && hmm__sqlite_crowded(c)) {
		atomic_fetch_add_explicit(&hmm__sqlite.refusals, 1, memory_order_relaxed);
		return NULL;
	}
	r = hmm_cache_get(c->cache, key, HMM_CACHE_CREATE | (easy ? HMM_CACHE_NOWAIT : 0) | stream_of(c, key), &data);
	if (r >= 0) {
		p = page_init(c, data, key, false);
		hmm__places_settle(c, place_of(c, key), p);
		hmm__sqlite_count(c, c->npages + 1);
		c->made++;
		c->highest = key > c->highest ? key : c->highest;
	}
	return p;
}

/* Not found.  create: 1: if it is easy; 2: at any price. */
__attribute__((noinline)) static sqlite3_pcache_page *make_page(struct pcache *c, unsigned key, int create)
{
	struct page *p = NULL;

	if (!create)
		return NULL;
	if (c->paged)
		p = make_paged(c, key, create == 1);
	/* at any price: the budget is all pinned, too small for the page size, or there is no memory for the tables */
	if (!p && (!c->paged || create != 1)) {
		p = hmm__plain_make(c, key);
		if (p && c->paged)
			atomic_fetch_add_explicit(&hmm__sqlite.beyond, 1, memory_order_relaxed);
	}
	if (!p && create != 1)
		atomic_fetch_add_explicit(&hmm__sqlite.failures, 1, memory_order_relaxed);
	return p ? &p->base : NULL;
}

/* Not in its place.  It may be in the hash table, or nobody has it pinned. */
__attribute__((noinline)) static sqlite3_pcache_page *look(struct pcache *c, struct place *at, unsigned key, int create)
{
	struct page *p = c->hashed ? hash_find(c, key) : NULL;
	void *data;

	if (p)
		return &p->base;
	if (LIKELY(c->cache) && LIKELY(hmm_cache_get(c->cache, key, HMM_CACHE_RESIDENT, &data) == 0)) {
		p = page_at(c, data);
		hmm__places_settle(c, at, p);
		return &p->base;
	}
	return make_page(c, key, create);
}

static sqlite3_pcache_page *x_fetch(sqlite3_pcache *pc, unsigned key, int create)
{
	struct pcache *c = of(pc);
	struct place *at = place_of(c, key);

	if (UNLIKELY(at->key != key || !at->page))
		return look(c, at, key, create);
	c->held += !at->held;
	at->held = true;
	return &at->page->base;
}

__attribute__((noinline)) static void let_go(struct pcache *c, struct place *at, struct page *p, int discard)
{
	if (p->plain) {
		if (discard || c->paged) /* Q2 */
			hmm__plain_drop(c, p);
		return;
	}
	if (at->page == p)
		at->page = NULL;
	else
		hash_remove(c, p);
	c->held--;
	if (discard && c->npages)
		hmm__sqlite_count(c, c->npages - 1);
	hmm_cache_put(c->cache, p->key, discard ? HMM_CACHE_DISCARD : 0, 0);
	if (!c->keep && c->allotted && ++c->calm >= CALM)
		c->keep = true;
}

static void x_unpin(sqlite3_pcache *pc, sqlite3_pcache_page *page, int discard)
{
	struct pcache *c = of(pc);
	struct page *p = (struct page *)page;
	struct place *at = place_of(c, p->key);

	if (LIKELY(at->page == p && c->keep && !discard)) {
		at->held = false;
		c->held--;
	} else {
		let_go(c, at, p, discard);
	}
	if (UNLIKELY(c->published > c->held + PUBLISH_STEP))
		hmm__sqlite_publish(c);
}

/* What is under this number goes; SQLite does not hold it, unless the cache is not paged. */
static void drop_number(struct pcache *c, unsigned key)
{
	struct place *at = place_of(c, key);
	struct page *p = c->hashed ? hash_find(c, key) : NULL;

	if (p)
		hmm__plain_drop(c, p);
	if (!at->page || at->key != key)
		return;
	at->page = NULL;
	hmm_cache_put(c->cache, key, HMM_CACHE_DISCARD, 0);
}

static void x_rekey(sqlite3_pcache *pc, sqlite3_pcache_page *page, unsigned from, unsigned to)
{
	struct pcache *c = of(pc);
	struct page *p = (struct page *)page;
	struct place *at = place_of(c, from);

	if (from == to)
		return;
	drop_number(c, to);
	if (at->page == p)
		at->page = NULL;
	else
		hash_remove(c, p);
	/* only pins can stand in its way, and there are none; a page under a wrong number would damage the database */
	if (!p->plain && hmm_cache_rekey(c->cache, from, to))
		abort();
	if (p->plain && c->cache && to <= c->highest && hmm_cache_discard(c->cache, to, 1))
		abort();
	p->key = to;
	c->highest = to > c->highest ? to : c->highest;
	if (p->plain) {
		hash_add(c, p);
	} else {
		c->held--;
		hmm__places_settle(c, place_of(c, to), p);
	}
}

/* Pins of what is dropped are gone. */
static void x_truncate(sqlite3_pcache *pc, unsigned limit)
{
	struct pcache *c = of(pc);

	hmm__hash_truncate(c, limit);
	hmm__places_truncate(c, limit);
	hmm__sqlite_publish(c);
	if (!c->cache || limit > c->highest)
		return;
	(void)!hmm_cache_truncate(c->cache, limit, HMM_CACHE_FORCE);
	if (limit <= 1)
		hmm__sqlite_count(c, 0);
	c->made = c->npages;
}

static void x_shrink(sqlite3_pcache *pc)
{
	struct pcache *c = of(pc);

	if (!c->cache)
		return;
	hmm__places_release(c);
	if (hmm_cache_shrink(c->cache, UINT64_MAX) >= 0)
		hmm__sqlite_count(c, c->held);
}

const sqlite3_pcache_methods2 hmm__sqlite_methods = {
	.iVersion = 1,
	.xInit = x_init,
	.xShutdown = x_shutdown,
	.xCreate = x_create,
	.xCachesize = x_cachesize,
	.xPagecount = x_pagecount,
	.xFetch = x_fetch,
	.xUnpin = x_unpin,
	.xRekey = x_rekey,
	.xTruncate = x_truncate,
	.xDestroy = x_destroy,
	.xShrink = x_shrink,
};
