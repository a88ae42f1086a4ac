/* SPDX-License-Identifier: MIT */
/*
 * places.c - pages that are found at once, and stay pinned for that (Q6)
 *
 * The policy does not hear of pages that are found here: such references are correlated, several for each row that is
 * read, and would make every page of a scan look like one that is often used (T. Johnson, D. Shasha, VLDB 1994).
 */
#include <string.h>

#include "pcache.h"

#define PART 8u /* of the budget, at most, for all caches together */
#define LEAST 8u /* places that are worth it */

void hmm__places_init(struct pcache *c)
{
	c->places = c->first_places;
	c->place_mask = FIRST_PLACES - 1;
	c->allotted = 0;
	c->keep = false;
	memset(c->first_places, 0, sizeof(c->first_places));
}

/* Half of what is left: so the first take more, but none takes all. */
static unsigned share(const struct pcache *c)
{
	int64_t left = (int64_t)(atomic_load_explicit(&hmm__sqlite.budget, memory_order_relaxed) / PART) -
	               atomic_load_explicit(&hmm__sqlite.allotted_bytes, memory_order_relaxed);
	unsigned n = PLACES_MAX;

	while (n >= LEAST && (int64_t)(n * c->frame_bytes) > left / 2)
		n /= 2;
	return n >= LEAST ? n : 0;
}

static void account(const struct pcache *c, int sign)
{
	atomic_fetch_add_explicit(&hmm__sqlite.allotted_bytes, sign * (int64_t)(c->allotted * c->frame_bytes),
	                          memory_order_relaxed);
}

/* No page is in a place yet: this is the cache's first. */
void hmm__places_allot(struct pcache *c)
{
	unsigned n = share(c);

	if (!n)
		return;
	if (n > FIRST_PLACES) {
		struct place *places = sqlite3_malloc64(n * sizeof(places[0]));

		if (!places)
			return;
		memset(places, 0, n * sizeof(places[0]));
		c->places = places;
	}
	c->place_mask = n - 1;
	c->allotted = n;
	c->keep = true;
	account(c, 1);
}

static void put(const struct pcache *c, struct place *at)
{
	hmm_cache_put(c->cache, at->key, 0, 0);
	at->page = NULL;
}

void hmm__places_release(struct pcache *c)
{
	for (unsigned i = 0; c->allotted && i <= c->place_mask; i++) {
		if (c->places[i].page && !c->places[i].held)
			put(c, &c->places[i]);
	}
}

void hmm__places_give_up(struct pcache *c)
{
	hmm__places_release(c);
	account(c, -1);
	c->allotted = 0;
	c->keep = false;
}

/* Pins go with the pages, without being put. */
void hmm__places_truncate(struct pcache *c, unsigned limit)
{
	for (unsigned i = 0; i <= c->place_mask; i++) {
		struct place *at = &c->places[i];

		if (!at->page || at->key < limit)
			continue;
		at->page = NULL;
		c->held -= at->held;
	}
}

void hmm__places_fini(struct pcache *c)
{
	account(c, -1);
	if (c->places != c->first_places)
		sqlite3_free(c->places);
	hmm__places_init(c);
}

void hmm__places_settle(struct pcache *c, struct place *at, struct page *p)
{
	c->held++;
	if (at->page && at->held) {
		hash_add(c, p);
		return;
	}
	if (at->page)
		put(c, at);
	*at = (struct place){ .page = p, .key = p->key, .held = true };
}
