/* SPDX-License-Identifier: MIT */
/*
 * scan.c - range scans: leaves are read in a stream of their own, a chunk ahead
 */
#include <errno.h>

#include "internal.h"

#define CHUNK 16u /* leaves that are looked at before writers get their turn */

struct scan {
	struct btree *t;
	uint64_t key;      /* the next one to visit */
	unsigned stream;
	int (*visit)(void *arg, uint64_t key, const uint8_t value[VALUE_SIZE]);
	void *arg;
	uint64_t leaves[CHUNK];
	unsigned nleaves;
	uint64_t next;     /* where the chunk after this one begins */
	int more;          /* ... if there is one */
};

/* Which leaves hold the keys from s->key on, up to CHUNK of one parent. */
static int collect(struct scan *s)
{
	uint64_t number = ROOT, child;
	struct page *page;
	int r = pin(s->t, ROOT, 1, HMM_CACHE_READ, &page);

	s->more = 0;
	s->nleaves = 0;
	while (r == 0 && page->level > 0) {
		uint32_t i = page_route(page, s->key), level = page->level;

		child = page_child(page, i);
		while (level == 1 && s->nleaves < CHUNK && i < page->count)
			s->leaves[s->nleaves++] = page_child(page, i++);
		if (level > 1)
			i++;
		if (i < page->count) {
			s->next = page_key(page, i);
			s->more = 1;
		}
		unpin(s->t, number, HMM_CACHE_READ);
		if (level == 1)
			return 0;
		number = child;
		r = pin(s->t, number, level - 1, HMM_CACHE_READ, &page);
	}
	if (r == 0) {
		unpin(s->t, number, HMM_CACHE_READ);
		s->leaves[s->nleaves++] = number;
	}
	return r;
}

static int visit_leaf(struct scan *s, uint64_t number)
{
	struct page *page;
	int r = pin(s->t, number, 0, HMM_CACHE_READ | HMM_CACHE_STREAM(s->stream), &page);

	if (r < 0)
		return r;
	for (uint32_t i = page_find(page, s->key); r == 0 && i < page->count; i++) {
		const struct leaf_entry *e = page_entry(page, i);

		r = s->visit(s->arg, e->key, e->value);
	}
	unpin(s->t, number, HMM_CACHE_READ);
	return r;
}

/* Pages that could not be read ahead are read, or not, when they are visited. */
static void read_ahead(struct scan *s)
{
	unsigned mode = HMM_CACHE_CLASS(HMM_CLASS_LEAF) | HMM_CACHE_STREAM(s->stream);

	if (s->nleaves > 1 && hmm_cache_prefetch(s->t->cache, s->leaves, s->nleaves, mode) < 0)
		return;
}

int btree_scan(struct btree *t, uint64_t from, unsigned stream,
               int (*visit)(void *arg, uint64_t key, const uint8_t value[VALUE_SIZE]), void *arg)
{
	struct scan s = { .t = t, .key = from, .stream = stream, .visit = visit, .arg = arg };
	int r;

	do {
		pthread_rwlock_rdlock(&t->tree);
		r = collect(&s);
		if (r == 0)
			read_ahead(&s);
		for (unsigned i = 0; r == 0 && i < s.nleaves; i++)
			r = visit_leaf(&s, s.leaves[i]);
		pthread_rwlock_unlock(&t->tree);
		s.key = s.next;
	} while (r == 0 && s.more);
	return r;
}
