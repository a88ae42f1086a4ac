/* SPDX-License-Identifier: MIT */
/*
 * spare.c - caches of the space that have ended, for the next of the same size
 *
 * SQLite makes a cache for each temporary table, and many never hold a page: so a cache of the space is made for the first
 * page only, and small ones are kept, emptied, when SQLite is done with them.
 */
#include <errno.h>

#include "pcache.h"

#define SPARES_MAX 16u
#define SPARE_PAGES 65536u /* tables that were used further are given back: emptying goes through them */
#define FEW_PAGES 256u
#define WAIT_MS 1u         /* for a pin to go, before ordinary memory is used (Q2) */

struct spare {
	struct spare *next;
	struct hmm_cache *cache;
	size_t page_size;
	uint64_t frame_bytes;
	unsigned extra, generation, reached;
};

static unsigned generation(void)
{
	return atomic_load_explicit(&hmm__sqlite.generation, memory_order_relaxed);
}

/* One that fits, taken off the list; or one of the parent's, which can only be ended. */
static struct spare *take(const struct pcache *c)
{
	struct spare **link, *s;

	pthread_mutex_lock(&hmm__sqlite.lock);
	for (link = &hmm__sqlite.spares; (s = *link); link = &s->next) {
		if (s->generation != generation() || (s->page_size == c->page_size && s->extra == c->extra)) {
			*link = s->next;
			hmm__sqlite.nspares--;
			break;
		}
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
	struct spare *s;
	bool ours = false;

	while (!ours && (s = take(c))) {
		ours = s->generation == generation();
		if (ours) {
			c->frame_bytes = s->frame_bytes;
			c->reached = s->reached;
			attach(c, s->cache);
		} else {
			hmm_cache_abandon(s->cache);
		}
		sqlite3_free(s);
	}
	if (ours)
		atomic_fetch_add_explicit(&hmm__sqlite.reused, 1, memory_order_relaxed);
	return ours;
}

static int make(struct pcache *c)
{
	struct hmm_cache_options o = { .size = sizeof(o), .flags = HMM_CACHE_VOLATILE | HMM_CACHE_STABLE, .wait_ms = WAIT_MS,
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
	struct spare *s;
	bool kept;

	if (reached >= SPARE_PAGES || empty(c, cache))
		return false;
	s = sqlite3_malloc64(sizeof(*s));
	if (!s)
		return false;
	*s = (struct spare){ .cache = cache, .page_size = c->page_size, .frame_bytes = c->frame_bytes,
		             .extra = c->extra, .generation = c->generation, .reached = reached };
	pthread_mutex_lock(&hmm__sqlite.lock);
	kept = hmm__sqlite.nspares < SPARES_MAX;
	if (kept) {
		s->next = hmm__sqlite.spares;
		hmm__sqlite.spares = s;
		hmm__sqlite.nspares++;
	}
	pthread_mutex_unlock(&hmm__sqlite.lock);
	if (!kept)
		sqlite3_free(s);
	return kept;
}

void hmm__sqlite_end(struct pcache *c)
{
	struct hmm_cache *cache = c->cache;

	if (!cache)
		return;
	attach(c, NULL);
	if (c->generation != generation())
		hmm_cache_abandon(cache);
	else if (!keep(c, cache))
		bury(cache);
	atomic_fetch_sub_explicit(&hmm__sqlite.npaged, 1, memory_order_relaxed);
}

void hmm__sqlite_spares_end(void)
{
	struct spare *next;

	for (struct spare *s = hmm__sqlite.spares; s; s = next) {
		next = s->next;
		hmm__sqlite.spares = next;
		hmm__sqlite.nspares--;
		bury(s->cache);
		sqlite3_free(s);
	}
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
	for (const struct spare *s = hmm__sqlite.spares; s; s = s->next)
		add(sum, s->cache);
	pthread_mutex_unlock(&hmm__sqlite.lock);
}
