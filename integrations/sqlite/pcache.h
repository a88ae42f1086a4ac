/* SPDX-License-Identifier: MIT */
/*
 * pcache.h - SQLite's page caches inside: structures and rules
 *
 * Each of SQLite's caches is a volatile cache of the space: page numbers are the same, so the policy knows a page that
 * comes back.  SQLite keeps the pages that it has changed, or is looking at, pinned (fetched and not unpinned); the others
 * are the policy's to choose from.  In a page's own bytes, and in its own tables, SQLite keeps pointers to both parts of the
 * page over an unpin, and uses them if it gets the page again with those bytes as it left them.  So pages don't move
 * (HMM_CACHE_STABLE): a page is found where it was, or not at all.
 *
 * Q1  A cache is used by one thread at a time (SQLite holds a connection's mutex); different caches by several at once.
 *     What several threads use is in struct group, atomic or under its lock.
 * Q2  A page is in one place: a page slot of the budget, or ordinary memory (plain).  Plain are all pages of a cache that
 *     SQLite never unpins (an in-memory database: in the budget they would be pinned for ever), and a page that is wanted
 *     at any price while the budget is all pinned; that one goes when it is unpinned.
 * Q3  SQLite may fetch a page many times and unpins it once.  So a page that it holds is found in the cache's own tables: a
 *     direct-mapped one, and for those that find their place taken, or are plain, a hash table.
 * Q6  What is unpinned stays pinned in the space as long as nothing else wants its place in the direct-mapped table: SQLite
 *     fetches the same pages again and again, and then a hit is a look into that table.  Places for that are allotted to
 *     caches, an eighth of the budget for all together, so that idle connections don't hold more.
 *     But the policy hears nothing of such hits.  So it is done only where hits are what counts: not from a miss on while
 *     the space evicts pages, until CALM pages were unpinned without another one.
 * Q4  The group's sum of pinned pages lags behind each cache's count by at most PUBLISH_STEP pages.
 * Q5  A forked child has a copy of all of it, as it has of SQLite's memory: pages lie where they lay (HMM_CACHE_COPY_ON_FORK).
 *     So nothing here knows whether it is in a child; only the group's lock is held while the process forks.
 */
#ifndef HMM_SQLITE_PCACHE_H
#define HMM_SQLITE_PCACHE_H

#include <pthread.h>
#include <sqlite3.h>
#include <stdatomic.h>
#include <stdbool.h>

#include <hurd-mm/cache.h>
#include <hurd-mm/sqlite.h>

#define LIKELY(x) __builtin_expect(!!(x), 1)
#define UNLIKELY(x) __builtin_expect(!!(x), 0)

/* Behind each page's contents, and in front of SQLite's own bytes. */
struct page {
	sqlite3_pcache_page base;
	unsigned key;
	unsigned plain;    /* in ordinary memory */
	struct page *next; /* of the same bucket, while it is held */
};

#define FIRST_BUCKETS 32u
#define FIRST_PLACES 32u
#define PLACES_MAX 2048u
#define CALM 2000u

/* Where a page of the budget is found at once. */
struct place {
	struct page *page; /* NULL: none */
	unsigned key;
	bool held;         /* by SQLite; else only pinned (Q6) */
};

struct pcache {
	struct hmm_cache *cache; /* NULL: none needed yet, or never (not paged).  Changed under group.lock */
	size_t page_size;        /* bytes */
	struct place *places;    /* Q3, Q6 */
	unsigned place_mask;     /* number of places, a power of two, less one */
	unsigned allotted;       /* of them: pages may stay pinned in so many; all, or none */
	bool keep;               /* and do, from now on (Q6) */
	unsigned calm;           /* if not: pages unpinned since the last miss */
	unsigned held;           /* pages of the budget that SQLite holds */
	unsigned published;      /* of those: that the group knows of */
	struct page **buckets;   /* pages that are not in a place */
	unsigned mask;           /* number of buckets, a power of two, less one */
	unsigned hashed;         /* pages there */
	unsigned plain;          /* of those: in ordinary memory */

	unsigned extra;          /* bytes that SQLite wants with each page */
	bool paged;              /* purgeable */
	unsigned highest;        /* number of a page that was ever in the cache */
	unsigned reached;        /* ... or in its tables, under an earlier owner */
	unsigned npages;         /* placed and not dropped: in the budget, at most */
	unsigned last;           /* the page that was placed last */
	unsigned run;            /* that many were placed in ascending order, about */
	unsigned made;           /* pages placed since npages was exact */
	uint64_t frame_bytes;
	struct pcache *next, *prev; /* group.lock: of the group */
	struct page *first_buckets[FIRST_BUCKETS];
	struct place first_places[FIRST_PLACES];
};

/* A cache of the space whose owner has ended, emptied (spare.c). */
#define SPARES_MAX 16u
struct spare {
	struct hmm_cache *cache;
	size_t page_size;
	uint64_t frame_bytes;
	unsigned extra, reached;
};

/* One in a process, as SQLite's configuration is. */
struct group {
	struct hmm_space *space;          /* set before SQLite is initialised */
	sqlite3_pcache_methods2 before;   /* what SQLite had */
	pthread_mutex_t lock;
	struct pcache *caches;            /* lock */
	unsigned ncaches;                 /* lock */
	struct spare spares[SPARES_MAX];  /* lock */
	unsigned nspares;                 /* lock */
	struct hmm_sqlite_stats ended;    /* lock: of caches that are gone */
	_Atomic int64_t allotted_bytes;   /* Q6 */
	_Atomic unsigned npaged;          /* caches with pages in the budget */
	_Atomic uint64_t budget;          /* bytes, as last seen */
	_Atomic int64_t placed_bytes;     /* sum of npages: what is above the budget was evicted */
	_Atomic unsigned creates;         /* for looking at it now and then */
	_Atomic int64_t pinned_bytes;     /* Q4 */
	_Atomic int64_t plain, plain_bytes;
	_Atomic uint64_t refusals, beyond, failures, reused;
};
extern struct group hmm__sqlite;

static inline struct page *page_at(const struct pcache *c, void *data)
{
	return (struct page *)((char *)data + c->page_size);
}

/* The head of a page whose contents begin at data; SQLite's bytes behind it are zero already. */
static inline struct page *page_init(const struct pcache *c, void *data, unsigned key, bool plain)
{
	struct page *p = page_at(c, data);

	p->base.pBuf = data;
	p->base.pExtra = p + 1;
	p->key = key;
	p->plain = plain;
	return p;
}

/* methods.c */
extern const sqlite3_pcache_methods2 hmm__sqlite_methods;

/* budget.c */
#define PUBLISH_STEP 16u
void hmm__sqlite_look(void);                   /* how large the budget is now */
void hmm__sqlite_miss(struct pcache *c);       /* the cache is about to get a page */
void hmm__sqlite_count(struct pcache *c, unsigned npages); /* npages is this from now on */
void hmm__sqlite_publish(struct pcache *c);    /* Q4 */
bool hmm__sqlite_crowded(struct pcache *c);    /* so much is pinned that changed pages should be written first */

/* hash.c */
void hmm__hash_init(struct pcache *c);
void hmm__hash_grow(struct pcache *c);
void hmm__hash_truncate(struct pcache *c, unsigned limit); /* pages from limit on; plain ones are freed */
void hmm__hash_fini(struct pcache *c);
struct page *hmm__plain_make(struct pcache *c, unsigned key); /* not there yet.  NULL: no memory */
void hmm__plain_drop(struct pcache *c, struct page *p);

static inline struct page *hash_find(const struct pcache *c, unsigned key)
{
	struct page *p = c->buckets[key & c->mask];

	while (p && p->key != key)
		p = p->next;
	return p;
}

static inline void hash_add(struct pcache *c, struct page *p)
{
	struct page **b;

	if (UNLIKELY(c->hashed > c->mask))
		hmm__hash_grow(c);
	b = &c->buckets[p->key & c->mask];
	p->next = *b;
	*b = p;
	c->hashed++;
}

static inline void hash_remove(struct pcache *c, struct page *p)
{
	struct page **b = &c->buckets[p->key & c->mask];

	while (*b != p)
		b = &(*b)->next;
	*b = p->next;
	c->hashed--;
}

/* places.c */
void hmm__places_init(struct pcache *c);
void hmm__places_allot(struct pcache *c);   /* the cache is of the space now */
void hmm__places_release(struct pcache *c); /* pins that SQLite does not need are put */
void hmm__places_give_up(struct pcache *c); /* ... and none stay from now on */
void hmm__places_truncate(struct pcache *c, unsigned limit);
void hmm__places_fini(struct pcache *c);
void hmm__places_settle(struct pcache *c, struct place *at, struct page *p); /* SQLite holds it from now on */

static inline struct place *place_of(const struct pcache *c, unsigned key)
{
	return &c->places[key & c->place_mask];
}

/* spare.c: the cache of the space, for the first page; and its end */
int hmm__sqlite_begin(struct pcache *c);
void hmm__sqlite_end(struct pcache *c);
void hmm__sqlite_spares_end(void);
void hmm__sqlite_sum(struct hmm_sqlite_stats *sum); /* over all caches, those that ended too */

#endif
