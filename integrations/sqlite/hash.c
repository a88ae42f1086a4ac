/* SPDX-License-Identifier: MIT */
/*
 * hash.c - pages by number: those in ordinary memory, and those that find their place taken
 *
 * All memory is SQLite's (sqlite3_malloc64), so its limits and its accounts hold for it.  A table that can't grow stays as
 * it is: chains get longer, nothing fails.
 */
#include <string.h>

#include "pcache.h"

static size_t plain_bytes(const struct pcache *c)
{
	return c->page_size + sizeof(struct page) + c->extra;
}

static void account(const struct pcache *c, int64_t n)
{
	atomic_fetch_add_explicit(&hmm__sqlite.plain, n, memory_order_relaxed);
	atomic_fetch_add_explicit(&hmm__sqlite.plain_bytes, n * (int64_t)plain_bytes(c), memory_order_relaxed);
}

void hmm__hash_init(struct pcache *c)
{
	c->buckets = c->first_buckets;
	c->mask = FIRST_BUCKETS - 1;
}

void hmm__hash_grow(struct pcache *c)
{
	unsigned n = (c->mask + 1) * 4;
	struct page **buckets = sqlite3_malloc64(n * sizeof(buckets[0]));

	if (!buckets)
		return;
	memset(buckets, 0, n * sizeof(buckets[0]));
	for (unsigned i = 0; i <= c->mask; i++) {
		struct page *next;

		for (struct page *p = c->buckets[i]; p; p = next) {
			struct page **b = &buckets[p->key & (n - 1)];

			next = p->next;
			p->next = *b;
			*b = p;
		}
	}
	if (c->buckets != c->first_buckets)
		sqlite3_free(c->buckets);
	c->buckets = buckets;
	c->mask = n - 1;
}

static void free_plain(struct pcache *c, struct page *p)
{
	sqlite3_free(p->base.pBuf);
	account(c, -1);
	c->plain--;
}

struct page *hmm__plain_make(struct pcache *c, unsigned key)
{
	void *data = sqlite3_malloc64(plain_bytes(c));
	struct page *p;

	if (!data)
		return NULL;
	p = page_init(c, data, key, true);
	memset(p->base.pExtra, 0, c->extra);
	hash_add(c, p);
	c->plain++;
	account(c, 1);
	return p;
}

void hmm__plain_drop(struct pcache *c, struct page *p)
{
	hash_remove(c, p);
	free_plain(c, p);
}

void hmm__hash_truncate(struct pcache *c, unsigned limit)
{
	for (unsigned i = 0; c->hashed && i <= c->mask; i++) {
		struct page **link = &c->buckets[i];

		while (*link) {
			struct page *p = *link;

			if (p->key < limit) {
				link = &p->next;
				continue;
			}
			*link = p->next;
			c->hashed--;
			if (p->plain)
				free_plain(c, p);
			else
				c->held--;
		}
	}
}

void hmm__hash_fini(struct pcache *c)
{
	hmm__hash_truncate(c, 0);
	if (c->buckets != c->first_buckets)
		sqlite3_free(c->buckets);
	hmm__hash_init(c);
}
