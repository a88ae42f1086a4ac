/* SPDX-License-Identifier: MIT */
/*
 * spare.c - caches of the space that have ended, for the next of the same size
 *
 * SQLite makes a cache for each temporary table, and many never hold a page: so a cache of the space is made for the first
 * page only, and small ones are kept, emptied, when SQLite is done with them.  The list needs no memory of SQLite's:
 * an application that has closed everything may expect sqlite3_memory_used() to be what it was.
 */
#include <errno.h>

#include "pcache.h"

#define SPARE_PAGES 65536u /* tables that were used further are given back: emptying goes through them */
#define FEW_PAGES 256u
#define WAIT_MS 1u         /* for a pin to go, before ordinary memory is used (Q2) */

/* One that fits, taken off the list; its cache is NULL if there is none. */
static struct spare take(const struct pcache *c)
{
	struct spare s = { .cache = NULL };

	pthread_mutex_lock(&hmm__sqlite.lock);
	for (unsigned i = 0; i < hmm__sqlite.nspares && !s.cache; i++) {
		struct spare *at = &hmm__sqlite.spares[i];

		if (at->page_size != c->page_size || at->extra != c->extra)
			continue;
		s = *at;
		*at = hmm__sqlite.spares[--hmm__sqlite.nspares];
	}
	pthread_mutex_unlock(&hmm__sqlite.lock);
	return s;
}

/* Under the lock, so that who sums statistics up finds a cache once. */
static void attach(struct pcache *c, struct hmm_cache *cache)
{
	pthread_mutex_lock(&hmm__sqlite.lock);
	c->cache = cache;
	pthread_mutex_unlock(&hmm__sqlite.lock);
}

/* It ends, and what it counted stays. */
static void bury(struct hmm_cache *cache)
{
	struct hmm_cache_stats s = { .size = sizeof(s) };

	if (hmm_cache_stats(cache, &s) == 0) {
		pthread_mutex_lock(&hmm__sqlite.lock);
		hmm__sqlite.ended.hits += s.hits;
		hmm__sqlite.ended.misses += s.misses;
		hmm__sqlite.ended.evictions += s.evictions;
		pthread_mutex_unlock(&hmm__sqlite.lock);
	}
	hmm_cache_abandon(cache);
}

static bool reuse(struct pcache *c)
{
	struct spare s = take(c);

	if (!s.cache)
		return false;
	c->frame_bytes = s.frame_bytes;
	c->reached = s.reached;
	attach(c, s.cache);
	atomic_fetch_add_explicit(&hmm__sqlite.reused, 1, memory_order_relaxed);
	return true;
}

static int make(struct pcache *c)
{
	struct hmm_cache_options o = { .size = sizeof(o), .wait_ms = WAIT_MS,
		                       .flags = HMM_CACHE_VOLATILE | HMM_CACHE_STABLE | HMM_CACHE_COPY_ON_FORK,
		                       .extra = (uint32_t)sizeof(struct page) + c->extra };
	struct hmm_cache_stats stats = { .size = sizeof(stats) };
	struct hmm_cache *cache;
	int r = hmm_cache_create(hmm__sqlite.space, NULL, c->page_size, &o, &cache);

	if (r)
		return r;
	r = hmm_cache_stats(cache, &stats);
	if (r) {
		hmm_cache_abandon(cache);
		return r;
	}
	c->frame_bytes = stats.frame_bytes;
	attach(c, cache);
	return 0;
}

int hmm__sqlite_begin(struct pcache *c)
{
	int r = reuse(c) ? 0 : make(c);

	if (r)
		return r;
	atomic_fetch_add_explicit(&hmm__sqlite.npaged, 1, memory_order_relaxed);
	hmm__places_allot(c);
	return 0;
}

/* To truncate is to go through all of the tables that were ever used, and most caches hold a page or two. */
static int empty(const struct pcache *c, struct hmm_cache *cache)
{
	if (c->highest < FEW_PAGES && hmm_cache_discard(cache, 0, c->highest + 1) == 0)
		return 0;
	return hmm_cache_truncate(cache, 0, HMM_CACHE_FORCE);
}

/* Emptied, if it is worth keeping. */
static bool keep(const struct pcache *c, struct hmm_cache *cache)
{
	unsigned reached = c->highest > c->reached ? c->highest : c->reached;
	bool kept;

	if (reached >= SPARE_PAGES || empty(c, cache))
		return false;
	pthread_mutex_lock(&hmm__sqlite.lock);
	kept = hmm__sqlite.nspares < SPARES_MAX;
	if (kept)
		hmm__sqlite.spares[hmm__sqlite.nspares++] = (struct spare){
			.cache = cache, .page_size = c->page_size, .frame_bytes = c->frame_bytes, .extra = c->extra,
			.reached = reached };
	pthread_mutex_unlock(&hmm__sqlite.lock);
	return kept;
}

void hmm__sqlite_end(struct pcache *c)
{
	struct hmm_cache *cache = c->cache;

	if (!cache)
		return;
	attach(c, NULL);
	if (!keep(c, cache))
		bury(cache);
	atomic_fetch_sub_explicit(&hmm__sqlite.npaged, 1, memory_order_relaxed);
}

void hmm__sqlite_spares_end(void)
{
	while (hmm__sqlite.nspares)
		bury(hmm__sqlite.spares[--hmm__sqlite.nspares].cache);
}

static void add(struct hmm_sqlite_stats *sum, struct hmm_cache *cache)
{
	struct hmm_cache_stats s = { .size = sizeof(s) };

	if (!cache || hmm_cache_stats(cache, &s))
		return;
	sum->resident += s.resident;
	sum->hits += s.hits;
	sum->misses += s.misses;
	sum->evictions += s.evictions;
	sum->frame_bytes = s.frame_bytes > sum->frame_bytes ? s.frame_bytes : sum->frame_bytes;
}

void hmm__sqlite_sum(struct hmm_sqlite_stats *sum)
{
	pthread_mutex_lock(&hmm__sqlite.lock);
	*sum = hmm__sqlite.ended;
	sum->caches = hmm__sqlite.ncaches;
	for (const struct pcache *c = hmm__sqlite.caches; c; c = c->next)
		add(sum, c->cache);
	for (unsigned i = 0; i < hmm__sqlite.nspares; i++)
		add(sum, hmm__sqlite.spares[i].cache);
	pthread_mutex_unlock(&hmm__sqlite.lock);
}
