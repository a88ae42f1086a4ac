/* SPDX-License-Identifier: MIT */
/*
 * cache.h - the cache face inside: structures, states and rules
 *
 * A cache is a region without addresses (hmm_region.cache is set): the same page words, frame numbers, policy, events.
 * Its pages live in slots of windows and are used there, so nothing is ever mapped or granted.  Three states are used:
 *
 *   ABSENT --get--> LOADING --read--> MAPPED --evict, discard--> ABSENT
 *
 * C1  MAPPED is left only by who changes the word, without pins and without WRITEBACK, to LOADING, and then finds no pin in
 *     a slot (hmm__cache_close, which sets AHEAD beside LOADING): under the space's lock, to become ABSENT (eviction, discard) or to move, or, for the frame's
 *     only pinner, to get another number (rekey).
 * C2  The hit path takes no lock.  A pin for reading is in a slot of its thread (hazard.h) or in the word, one for writing in
 *     the word: HMM__PIN_MASK (every such pin), those for writing also in HMM__WRITER_MASK.
 * C3  A write-out sets WRITEBACK on a MAPPED, DIRTY page without writers and clears it at its end, with DIRTY if the store
 *     accepted the page.  While WRITEBACK is set no writer enters and nothing is evicted; readers come and go.  Who waits
 *     for it sets WAITERS.
 * C4  first and last of a page's positions are set before its word says DIRTY, and reset before DIRTY goes (nobody sets them
 *     meanwhile, by C3).
 * C5  A write begins only when last <= the log's flushed position, asked for or made without a lock (log rule).
 * C6  version changes when a writer enters, and after the word has left MAPPED before the slot is used again.
 * C7  Slots of one stride form a pool of extents: an extent is a window slot of 2^n frames with up to 64 page slots.
 *     Frames are accounted by extents; free page slots of partly used extents are counted in free_packed.
 * C8  Pages that are not pinned may move between slots of their pool (C1's word change), to empty extents; but for C12.
 * C9  HMM__FREE: put with DISCARD.  The page is dropped with its last pin, unless it was marked dirty again before.
 * C10 Pages of caches are not in the space's counts of resident, dirty, laundry and available frames, so words are not
 *     left by hmm__page_leave().  region->weight is their size in frames, at least 1, for water marks only.
 * C11 A batch holds a reference of the region of each of its cache pages (hmm__region_hold_inside), given up when it is
 *     done with the word: so tables of a cache that is destroyed outlive those who write its pages.
 * C12 With HMM_CACHE_STABLE a page has one slot from LOADING to ABSENT: callers keep pointers to it, and into it, while
 *     nobody has it pinned.  Where compaction would move it, it is evicted if it is clean.
 * C13 In a forked child caches are dead, their pages ABSENT; but for those of HMM_CACHE_COPY_ON_FORK, whose windows are
 *     inherited (an engine of their own, HMM__CACHES_COPIED): all is as it was, pins too, and a page that another thread was
 *     about to load is ABSENT.
 * C14 DUE: a flush waits for the page's writers, and those that come next wait for the flush, each for hold_ms at most, so that
 *     one who has to come in before another writer leaves does.  It is a wish, not a claim: nothing is wrong if it is lost or
 *     overrun.  Set on MAPPED pages only; hmm__cache_close() drops it, so that nobody brings an old one back.
 */
#ifndef HMM_VM_CACHE_H
#define HMM_VM_CACHE_H

#include <stddef.h>

#include <hurd-mm/cache.h>

#include "lib/vm/batch.h"

#define HMM__CACHES_MOST ((size_t)1 << 16) /* of a space, and one for none */

#define HMM__WRITER_SHIFT 22
#define HMM__WRITER_ONE (UINT64_C(1) << HMM__WRITER_SHIFT)
#define HMM__WRITER_MASK (UINT64_C(0x3ff) << HMM__WRITER_SHIFT)

/* C14.  A region's flag that means nothing here. */
#define HMM__DUE HMM__WAS_LOCKED

/*
 * What a hit needs beside the word; by frame number, sparse, made with the space's first cache.  Eight bytes, for it is
 * memory that hits wait for: version (C6) in the upper half, the place of the contents, in units of the pool, in the lower.
 */
typedef _Atomic uint64_t hmm__spot;
#define HMM__VERSION_ONE (UINT64_C(1) << 32)

/* The rest. */
struct hmm__cached {
	uint8_t *data;            /* of the slot; fixed while pinned */
	_Atomic uint64_t first;   /* position of the first change since it was clean; UINT64_MAX: none */
	_Atomic uint64_t last;    /* ... of the last one; 0: none */
} __attribute__((aligned(32)));

/* Which page slots of an extent are free; by window slot. */
struct hmm__extent {
	uint64_t free;       /* (s) a set bit: free */
	uint32_t next, prev; /* (s) extents with free page slots */
	uint32_t tried;      /* (s) the round of compaction that looked at it last */
	bool hidden;         /* (s) compaction empties it: it is not on the list, whatever is free */
};

/* The slots of one stride; several caches may share it. */
struct hmm__cache_pool {
	struct hmm__cache_pool *next; /* (s) of the space */
	struct hmm__pool *window;     /* (i) where extents come from */
	uint32_t stride;              /* (i) bytes from one page slot to the next */
	uint32_t per;                 /* (i) page slots an extent, 1..64 */
	uint32_t unit;                /* (i) of places: shift */
	uint32_t weight;              /* (i) frames an extent */
	uint32_t users;               /* (s) caches */
	uint32_t unmovable;           /* (s) of those: with pages that must be written before compaction can have their slots */
	uint32_t nextents;            /* (s) */
	uint32_t round;               /* (s) of compaction */
	struct hmm__extent *extents;  /* (s) sparse */
	uint32_t *frames;             /* (s) the frame number in each page slot: extent * per + i; sparse */
	uint32_t partly;              /* (s) list of extents with free page slots */
	uint64_t nfree;               /* (s) free page slots in it */
};

struct hmm__pins; /* pins.c, debug builds: who holds which pin */

struct hmm_cache {
	/* what a hit looks at: one line that is only read */
	hmm__word *words;             /* (i) the region's */
	uint64_t npages;              /* (i) page numbers are below it */
	hmm__spot *spots;             /* (i) the space's */
	uint8_t *base;                /* (i) places count from here */
	struct hmm_space *space;      /* (i) */
	struct hmm_region *region;    /* (i) words, store, policy id */
	uint32_t flags;               /* (i) enum hmm_cache_flags */
	uint16_t number;              /* (i) of the space's caches, from 1 */
	_Atomic uint32_t dead;        /* after fork */
	uint8_t unit;                 /* (i) of places: shift */
	bool writable;                /* (i) */
	bool local;                   /* (i) pins for reading are kept in slots of threads (hazard.h) */
	bool throttled;               /* (i) there is a dirty_limit */

	_Alignas(64) struct hmm__cached *cached; /* (i) the space's */
	size_t page_size;             /* (i) bytes */
	uint32_t extra;               /* (i) */
	struct hmm__cache_pool *pool; /* (i) */
	uint32_t dirty_target, dirty_limit, wait_ms; /* (i) */
	uint64_t (*log_flushed)(void *arg);          /* (i) */
	int (*flush_log)(void *arg, uint64_t position);
	void *log_arg;
	_Atomic uint64_t flushed;     /* (a) what log_flushed said last */
	_Atomic uint32_t log_refuses; /* (a) 1: the last batch had pages beyond what the log could be flushed to */
	_Atomic uint32_t hold_ms;     /* (a) C14, as the flush that waits now has it */
	_Atomic uint64_t sweep;       /* (a) page where the background writer goes on */
	_Atomic uint64_t top;         /* (a) pages from here on were never used: page numbers go to 2^32 and more */
	struct hmm__pins *pins;       /* debug builds */
	struct hmm_cache *next, *prev; /* spaces lock: the space's caches */

	_Alignas(64) _Atomic uint64_t resident; /* (a) pages */
	_Atomic uint64_t dirty;       /* (a) pages whose words say DIRTY */
	_Atomic uint64_t hits, misses, reads, writes, write_errors, evictions, log_waits; /* (a), see hmm__cache_count() */
};

_Static_assert(offsetof(struct hmm_cache, cached) == 64, "what a hit looks at is one line");

static inline unsigned hmm__word_writers(uint64_t w)
{
	return (unsigned)((w & HMM__WRITER_MASK) >> HMM__WRITER_SHIFT);
}

/*
 * Being brought in by a get or a prefetch: clean when it is there.  Who takes a page or a number by LOADING for anything else
 * sets AHEAD beside it (C1).
 */
static inline bool hmm__word_coming(uint64_t w)
{
	return (w & ~HMM__WAITERS) == HMM__LOADING;
}

/* Before the word of a page leaves ABSENT, beside hmm__page_touched(). */
static inline void hmm__cache_reached(struct hmm_cache *cache, uint64_t page)
{
	uint64_t top = atomic_load_explicit(&cache->top, memory_order_relaxed);

	while (HMM__UNLIKELY(page >= top) && !atomic_compare_exchange_weak(&cache->top, &top, page + 1))
		;
}

/* The next page number at or after `page` whose word may not be ABSENT; npages if there is none. */
static inline uint64_t hmm__cache_next(const struct hmm_cache *cache, uint64_t page)
{
	return page < atomic_load(&cache->top) ? hmm__page_next_touched(cache->region, page) : cache->npages;
}

static inline struct hmm__cached *hmm__cached(const struct hmm_space *space, uint32_t frame)
{
	return &space->cached[frame];
}

/* pool.c: no lock held */
/* engine: HMM__CACHES or HMM__CACHES_COPIED */
int hmm__cache_pool_open(struct hmm_space *space, uint32_t engine, uint32_t stride, struct hmm__cache_pool **ret_pool);
void hmm__cache_pool_close(struct hmm_space *space, struct hmm__cache_pool *pool);
uint64_t hmm__cache_pool_bytes(const struct hmm_space *space); /* under the lock */

/* slot.c: page slots; under the space's lock unless noted */
/* A free page slot, of the extents at hand or a free window slot; false: none. */
bool hmm__cache_slot_take(struct hmm__cache_pool *pool, uint32_t frame, uint8_t **ret_data, uint32_t *ret_extent);
bool hmm__cache_slot_ready(struct hmm__cache_pool *pool); /* would it find one, and a frame number? */
void hmm__cache_slot_put(struct hmm__cache_pool *pool, uint32_t extent, uint8_t *data);
uint32_t hmm__cache_extent_of(const struct hmm__cache_pool *pool, const uint8_t *data);
/* For compaction: off the list, whatever becomes free in it; and back on the list or to the window. */
void hmm__cache_extent_hide(struct hmm__cache_pool *pool, uint32_t extent);
void hmm__cache_extent_show(struct hmm__cache_pool *pool, uint32_t extent);
/* No lock held: one more extent, from a free slot or a credit.  0, or -EAGAIN if no frames are free. */
int hmm__cache_extent_add(struct hmm__cache_pool *pool);
/* No lock held: empty extents by moving or evicting pages, until `want` frames became free or nothing helps; returns frames. */
uint64_t hmm__cache_compact(struct hmm_space *space, uint64_t want);
/* No lock held, after that gave nothing: is there room for an extent's pages?  Then pins are why, and evicting more helps little. */
bool hmm__cache_stuck(struct hmm_space *space);

/* cache.c */
uint64_t hmm__cache_dirty_frames(struct hmm_space *space); /* frames with dirty pages; no lock held */

/* fork.c: in the child, before other frames are looked at.  Frames of caches that live on there (C13), for the books. */
struct hmm__cache_kept {
	uint64_t resident; /* extents */
	uint64_t free;     /* free populated slots of their windows */
};
struct hmm__cache_kept hmm__cache_forked(struct hmm_space *space);
static inline bool hmm__cache_lives_on(const struct hmm_cache *cache)
{
	return cache->flags & HMM_CACHE_COPY_ON_FORK;
}

/* C6: called before anybody can use the slot or its contents anew. */
static inline void hmm__cache_changed(struct hmm_space *space, uint32_t frame)
{
	atomic_fetch_add_explicit(&space->spots[frame], HMM__VERSION_ONE, memory_order_acq_rel);
}

/* Under the lock, the page not MAPPED: it has this slot from now on.  The version changes too. */
static inline void hmm__cache_set_spot(struct hmm_space *space, uint32_t frame, const struct hmm__cache_pool *pool,
                                       uint8_t *data)
{
	uint64_t place = (uint64_t)(data - pool->window->base) >> pool->unit;
	uint64_t version = atomic_load_explicit(&space->spots[frame], memory_order_relaxed) >> 32;

	__atomic_store_n(&hmm__cached(space, frame)->data, data, __ATOMIC_RELAXED);
	atomic_store_explicit(&space->spots[frame], (version + 1) << 32 | place, memory_order_release);
}

static inline uint8_t *hmm__cache_at(const struct hmm_cache *cache, uint64_t spot)
{
	return cache->base + ((size_t)(uint32_t)spot << cache->unit);
}

/* get.c */
enum hmm__pin { HMM__PINNED, HMM__PIN_NOT, HMM__PIN_TOO_MANY };
/*
 * Pin a page that is MAPPED, for writing only if no write-out reads it, and none is DUE unless overdue is set (C14).
 * *ret_word: as it was before.
 */
enum hmm__pin hmm__cache_pin(struct hmm_cache *cache, uint64_t page, unsigned mode, bool overdue, uint64_t *ret_word);
/* After that: a writer changes the version; returns the contents. */
void *hmm__cache_enter(struct hmm_cache *cache, uint64_t w, unsigned mode);
/*
 * C1: *w, as seen: MAPPED.  From it to LOADING, which is ours then; hmm__cache_leave() ends it.  CHANGED: the word is another,
 * in *w.  PINNED: it is in a slot, and as it was.  A pin in *w is the caller's business.
 */
enum hmm__close { HMM__CLOSED, HMM__CLOSE_CHANGED, HMM__CLOSE_PINNED };
enum hmm__close hmm__cache_close(struct hmm_region *region, uint64_t page, uint64_t *w);
/* Of a get: 0 or -errno. */
int hmm__cache_mode_check(const struct hmm_cache *cache, uint64_t page, unsigned mode);

/* put.c */
int hmm__cache_put_slow(struct hmm_cache *cache, uint64_t page, unsigned mode, uint64_t position);
/* No lock held, not in a call: put with DISCARD, and the last pin has gone: it is dropped (C9), unless it is pinned again. */
void hmm__cache_drop_free(struct hmm_cache *cache, uint64_t page);
int hmm__cache_unpin(struct hmm_cache *cache, uint64_t page, unsigned mode, uint64_t position); /* -EINVAL: not pinned so */

/* load.c */
#define HMM__CACHE_AGAIN 2 /* beside the results of hmm_cache_get() */
int hmm__cache_load(struct hmm_cache *cache, uint64_t page, unsigned mode, void **ret_data);

/* place.c */
#define HMM__CACHE_NAP_NS UINT64_C(10000000) /* looked anew so often while all pages are pinned */
struct hmm__call;
struct hmm__cache_want {
	struct hmm_cache *cache;
	struct hmm__call *call; /* the one we are in; its signals get blocked when more is to be done than to drop a clean page */
	uint64_t page;          /* LOADING and ours */
	unsigned mode;          /* NOWAIT, class and stream count */
	enum hmm_access access;
	bool told;              /* the policy has heard of the miss */
	uint32_t frame;         /* out */
	uint8_t *data;          /* out */
};
/* No lock held, inside a call: a frame number and a page slot.  -ENOBUFS; with NOWAIT -EAGAIN where waiting would help. */
int hmm__cache_place(struct hmm__cache_want *want);
void hmm__cache_unplace(struct hmm__cache_want *want); /* its contents could not be had; the page is still LOADING */

/* sweep.c: no lock held.  Did any page go?  write: also dirty ones, in batches. */
bool hmm__cache_sweep(struct hmm_space *space, bool write);

/* prospect.c: no lock held.  What who finds no page that can go at once may wait for. */
enum hmm__prospect {
	HMM__PROSPECT_NONE,  /* all is pinned, or its store or log refuses it */
	HMM__PROSPECT_MAPPED, /* pages of regions that nobody has pinned */
	HMM__PROSPECT_BUSY,  /* pages that nobody has pinned are on their way in or out, or can go */
};
enum hmm__prospect hmm__cache_prospect(struct hmm_space *space);

/* load.c: a LOADING page of ours: the word becomes `to`; wakes. */
void hmm__cache_leave(struct hmm_region *region, uint64_t page, uint64_t to);

/* Counters that are changed under the space's lock only, and read without: resident, hits, misses, reads, evictions. */
static inline void hmm__cache_count(_Atomic uint64_t *counter, uint64_t n)
{
	atomic_store_explicit(counter, atomic_load_explicit(counter, memory_order_relaxed) + n, memory_order_relaxed);
}

/* evict.c */
/*
 * Under the lock, from reclaim.c: the policy named a cache's page.  Clean and not pinned: it is dropped here, and the
 * result is its weight.  Dirty: WRITEBACK is set, and it is added to the batch for hmm__cache_evict_dirty(), with a
 * reference (C11); 0.  Else, or if it is dirty and there is no batch (NULL), it is refused (the policy is told); 0.
 */
uint32_t hmm__cache_take_victim(struct hmm_space *space, struct hmm__batch *b, uint32_t number);
/*
 * No lock held: write the cache pages of the batch (log rule, sorted), drop those that are still clean and not pinned, take
 * them out of the batch (regions' pages stay in it).  Returns pages dropped, or -errno.
 */
int64_t hmm__cache_evict_dirty(struct hmm_space *space, struct hmm__batch *b);
/* Under the lock: a page that is closed: slot, frame, books.  evicted: leaves a ghost. */
void hmm__cache_forget(struct hmm_cache *cache, uint64_t page, uint32_t frame, bool evicted, enum hmm_removed why);
/* The same, and the word becomes ABSENT.  w: as it was when it was closed. */
void hmm__cache_gone(struct hmm_cache *cache, uint64_t page, uint64_t w, bool evicted, enum hmm_removed why);

/* write.c: no lock held */
/* The page is MAPPED, DIRTY and has WRITEBACK (ours): write all items, which may be of several caches; clears WRITEBACK. */
int hmm__cache_write(struct hmm_space *space, struct hmm__batch *b);
/* The same without the end: the items keep WRITEBACK and get their errors (0: the store has it).  Returns the first. */
int hmm__cache_write_out(struct hmm_space *space, struct hmm__batch *b);
/* The end: the store has it: positions reset, counted (before DIRTY goes, C4); and WRITEBACK off, that included. */
void hmm__cache_saved(struct hmm_cache *cache, const struct hmm__item *it);
void hmm__cache_written(struct hmm__item *it);
/* Try to begin a write-out of a page: sets WRITEBACK.  False: clean, busy, pinned for writing, or gone. */
bool hmm__cache_claim_dirty(struct hmm_cache *cache, uint64_t page, uint64_t *ret_word);

/* clean.c: no lock held */
/* Before a get with HMM_CACHE_WRITE, outside of calls: write some pages if too many are dirty (dirty_limit). */
void hmm__cache_throttle(struct hmm_cache *cache);
/* After a page became dirty, and was counted: the background writer is woken if there are too many (dirty_target). */
void hmm__cache_dirtied(struct hmm_cache *cache);
/* Background writer: one round for all caches of the space (from hmm__work). */
void hmm__cache_work(struct hmm_space *space);

/* flush.c: a batch of the stock, waited for.  Inside a call, without claims. */
struct hmm__batch *hmm__cache_batch(struct hmm_space *space);
void hmm__cache_batch_done(struct hmm_space *space, struct hmm__batch *b);

/*
 * range.c: a page to ABSENT, unsaved; who is busy with it is waited for, so without claims.  -EBUSY: it is pinned;
 * with force its pins are gone instead.
 */
int hmm__cache_drop(struct hmm_cache *cache, uint64_t page, bool force);

/* touch.c: hits, by thread, in batches */
void hmm__cache_touch_flush(struct hmm_space *space); /* under the lock: this thread's */

/* pins.c: debug builds only; elsewhere they do nothing */
void hmm__pins_taken(struct hmm_cache *cache, uint64_t page, unsigned mode);
void hmm__pins_put(struct hmm_cache *cache, uint64_t page, unsigned mode);
void hmm__pins_gone(struct hmm_cache *cache, uint64_t page);
void hmm__pins_moved(struct hmm_cache *cache, uint64_t from, uint64_t to);
void hmm__pins_report(struct hmm_cache *cache);
void hmm__pins_forked(struct hmm_cache *cache); /* in the child: another thread may have held its lock */
void hmm__pins_fini(struct hmm_cache *cache);

#endif
