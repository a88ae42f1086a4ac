/* SPDX-License-Identifier: MIT */
/*
 * cache.h - pages asked for by calls: a buffer pool on a space's frames
 *
 * The other face of a space.  A region's pages come by faults; a cache's pages are asked for with hmm_cache_get(), which
 * pins them, and given back with hmm_cache_put().  Both draw frames from the space's budget and obey its policy.  A page
 * stays where it is while it is pinned, and its contents are used in place: a hit makes no system call.
 *
 * Thread safety: every call may be made from any thread at any time, except that nobody else may use a cache that is
 * being destroyed.  None is async-signal-safe; a handler that interrupts one must return.  The library does not order
 * accesses to a page's contents between threads that have it pinned; the caller's own latches do.  It keeps its own writes
 * to the store apart from the caller's: contents are read by a write-out only while nobody has the page pinned with
 * HMM_CACHE_WRITE.
 *
 * Addresses.  While nobody has it pinned a page may be moved to another address, with its contents and extra as they are,
 * to bring free memory together (for a region, a cache with other page sizes, a smaller budget).  So nothing that points to
 * or into a page or its extra may be kept over its last put, neither elsewhere nor in the extra itself.  With
 * HMM_CACHE_STABLE it may: where another cache's page would be moved, such a page is evicted, if it is clean or the cache
 * volatile.  hmm_cache_get() then finds it at the same address with the same extra, or it is a miss: the extra is zero.  A
 * rekey does not move it.  The price is a few more misses where page sizes are mixed.
 *
 * In a forked child a cache of the parent is dead: calls return -ENODEV, and only hmm_cache_abandon() does anything.  One made
 * with HMM_CACHE_COPY_ON_FORK lives on there as a copy: pages, contents, extra and pins at the same addresses, shared with the
 * parent by the kernel until either writes.
 *
 * Sources: pins and write order as in PostgreSQL's and InnoDB's buffer managers; the log rule of ARIES (Mohan et al.,
 * TODS 1992); optimistic reads as in LeanStore (Leis et al., ICDE 2018) and Linux' sequence locks.
 */
#ifndef HURD_MM_CACHE_H
#define HURD_MM_CACHE_H

#include <hurd-mm/base.h>
#include <hurd-mm/hints.h>
#include <hurd-mm/space.h>
#include <hurd-mm/store.h>

HMM_BEGIN_DECLS

struct hmm_cache;

enum hmm_cache_flags {
	HMM_CACHE_VOLATILE = 1 << 0, /* no store: a page that is not pinned may be dropped, whatever was written to it */
	HMM_CACHE_STABLE = 1 << 1,   /* a page keeps its address, pinned or not, until it is evicted or dropped; see above */
	HMM_CACHE_INCOHERENT = 1 << 2, /* caches and shared regions that say so too may use the same bytes of the store, each
	                                 with copies of its own; what is written last stays */
	HMM_CACHE_COPY_ON_FORK = 1 << 3 /* with VOLATILE: a forked child gets its own copy, for the price of the windows' page tables */
};

struct hmm_cache_options {
	size_t size;
	uint32_t extra;        /* bytes of the caller's own behind each page's contents, at data + page size; at most 4096.
	                          Zero when the page gets its frame, never stored, gone when it leaves */
	uint32_t flags;        /* enum hmm_cache_flags */
	uint64_t max_pages;    /* page numbers are below it; 0: 2^32 */
	uint64_t offset;       /* bytes: where page 0 begins in the store; multiple of the page size */

	/*
	 * The log rule: a page is not written before the log is durable up to the page's position.  log_flushed tells how
	 * far it is, flush_log makes it so (returns 0 or -errno).  Both may be NULL: then positions only order flushes.  With
	 * flush_log NULL, pages beyond log_flushed() are not written yet.  Called without any lock of the library, with all
	 * signals blocked, from the thread that evicts or flushes, which may be one that faults in a region of the same space.
	 * They must not call a cache of the space, map a region, fork, or take a lock that a thread may hold while it calls one.
	 */
	uint64_t (*log_flushed)(void *arg);
	int (*flush_log)(void *arg, uint64_t position);
	void *log_arg;

	uint32_t dirty_target; /* percent of the budget: above it the background writer writes; 0: it never does */
	uint32_t dirty_limit;  /* percent: above it a get with HMM_CACHE_WRITE writes some pages itself; 0: no limit */
	uint32_t wait_ms;      /* milliseconds that a get waits for a frame while all are pinned; 0: 1000.  Also of a flush */
};

/*
 * Create a cache of the store's pages.  page_size: bytes, a power of two from 512 to 65536, at most an eighth of the
 * budget.  store: keeps a reference; NULL with HMM_CACHE_VOLATILE only.  A store that can't be written makes a cache whose
 * pages can't be dirty.  opts: borrowed, NULL for defaults.
 *
 * Returns 0; -EINVAL (page size, extra, unknown flags, misaligned offset, limits out of order; the store's unit of transfer
 * is larger than the page); -EBUSY (another cache, a shared region or a space's swap of this process uses some of these bytes of
 * the store, and one of the two writes); -ENFILE (the space has 65535 caches); -ENOMEM; or what the backend says.
 */
HMM_API HMM_MUST_CHECK int hmm_cache_create(struct hmm_space *space, struct hmm_store *store, size_t page_size,
                                            const struct hmm_cache_options *opts, struct hmm_cache **ret_cache);

/*
 * Write what is dirty and end the cache.  -EBUSY: pages are pinned (debug builds report where).  Or the first error of a
 * write; the cache then stays, and so do its dirty pages.  NULL is accepted.
 */
HMM_API HMM_MUST_CHECK int hmm_cache_destroy(struct hmm_cache *cache);

/* The same without writing, and whatever is pinned.  Never fails. */
HMM_API void hmm_cache_abandon(struct hmm_cache *cache);

enum hmm_cache_mode {
	HMM_CACHE_READ = 0,
	HMM_CACHE_WRITE = 1 << 0,    /* contents will be changed: waits until no write-out reads them; several may hold it */
	HMM_CACHE_CREATE = 1 << 1,   /* if it is not resident don't read it: contents are zeros (of a volatile cache:
	                                anything).  With a store, needs HMM_CACHE_WRITE; may lie past its end, which moves
	                                when the page is written */
	HMM_CACHE_NOWAIT = 1 << 2,   /* no I/O and no waiting: -EAGAIN instead.  With CREATE: evicts clean pages at most, and
	                                says -ENOBUFS only where waiting would not help: all is pinned, or can't be written */
	HMM_CACHE_RESIDENT = 1 << 3, /* only if it is resident: -ENOENT instead */

	/* for hmm_cache_put() */
	HMM_CACHE_DIRTY = 1 << 4,    /* contents were changed; needs HMM_CACHE_WRITE unless the cache is volatile */
	HMM_CACHE_DISCARD = 1 << 5   /* contents are not needed any more: dropped, unsaved, when the last pin goes */
};

/* To be or'ed to a mode: class (0..255, enum hmm_page_class) and scan stream (1..65535) that the policy hears of. */
#define HMM_CACHE_CLASS(c) ((unsigned)(c) << 8)
#define HMM_CACHE_STREAM(s) ((unsigned)(s) << 16)

/*
 * Pin a page, reading it if need be.  *ret_data: its contents, aligned to 64 bytes; valid until it is put.  Each get
 * needs its put, by any thread.  A page may have at least 1000 pins at a time.
 *
 * Returns 0; 1 (HMM_CACHE_CREATE, and it was not resident); -EINVAL (modes that exclude each other); -ERANGE (beyond
 * max_pages); -EBADF (WRITE, and the store can't be written); -ENXIO (the page lies wholly past the store's end); -EIO and
 * the like (the store); -ENOENT, -EAGAIN (see the modes; of a volatile cache also -ENOENT without HMM_CACHE_CREATE);
 * -ENOBUFS (all frames are pinned or can't be written, and stayed so for wait_ms; time in which unpinned pages are being
 * read, written or evicted does not count, up to 120 times as long); -EOVERFLOW (too many pins); -ENODEV
 * (after a fork).
 */
HMM_API HMM_MUST_CHECK int hmm_cache_get(struct hmm_cache *cache, uint64_t page, unsigned mode, void **ret_data);

/*
 * Give a pin back.  mode: HMM_CACHE_WRITE exactly if it was taken with it, and HMM_CACHE_DIRTY or HMM_CACHE_DISCARD.
 * position: of the log record of the last change, 0 for none; looked at only with HMM_CACHE_DIRTY.  Returns 0, or -EINVAL
 * (it is not pinned so: debug builds abort).
 */
HMM_API int hmm_cache_put(struct hmm_cache *cache, uint64_t page, unsigned mode, uint64_t position);

/* Mark a page dirty while it is pinned with HMM_CACHE_WRITE (or at all, in a volatile cache), as put would.  0 or -EINVAL. */
HMM_API int hmm_cache_mark(struct hmm_cache *cache, uint64_t page, uint64_t position);

/*
 * Optimistic reads: look at a resident page without a pin.  Between begin and retry the contents may change or become
 * another page's at any moment, so nothing read may be trusted (followed, divided by, used as an index) before retry
 * says false.  The memory itself stays readable.
 *
 * begin: 0; -ENOENT (not resident: use hmm_cache_get()); -EAGAIN (somebody has it pinned for writing).
 * retry: nonzero if what was read must be thrown away.
 */
struct hmm_cache_version {
	uint64_t version;
	uint32_t frame;
};
HMM_API HMM_MUST_CHECK int hmm_cache_read_begin(struct hmm_cache *cache, uint64_t page, const void **ret_data,
                                                struct hmm_cache_version *ret_version);
HMM_API HMM_MUST_CHECK int hmm_cache_read_retry(struct hmm_cache *cache, const struct hmm_cache_version *version);

/*
 * Read pages that will be asked for soon, sorted and in few calls, as far as frames can be had by evicting clean pages: no
 * more than are free, and a quarter of the budget.  They are not pinned.  pages: n numbers in any order.  mode: class and
 * stream.  Returns how many were read, or -errno if none was and a store is why.
 */
HMM_API HMM_MUST_CHECK int64_t hmm_cache_prefetch(struct hmm_cache *cache, const uint64_t *pages, unsigned n,
                                                  unsigned mode);

/*
 * Drop pages unsaved; the store is told that it may forget them, so who makes one of them anew must do so after the call.
 * -EBUSY: some are pinned, and nothing was dropped, unless they became so meanwhile; -ERANGE.  Or what the store says: the
 * pages are dropped then.
 */
HMM_API HMM_MUST_CHECK int hmm_cache_discard(struct hmm_cache *cache, uint64_t page, uint64_t npages);

/*
 * Others have written to the store: drop pages of these numbers (npages 0: to the end), so that the next get reads them
 * anew; what was written before this call is seen by every get that begins after it has returned 0.  flags: enum
 * hmm_invalidate_flags.  -EBUSY: some are pinned, or dirty and HMM_INVALIDATE_DIRTY is not given, and nothing was dropped,
 * unless they became so meanwhile; -ERANGE; -EINVAL (the cache has no store, unknown flags).  The store hears nothing of it.
 */
HMM_API HMM_MUST_CHECK int hmm_cache_invalidate(struct hmm_cache *cache, uint64_t page, uint64_t npages, unsigned flags);

/*
 * A page gets another number, with its contents and dirty state; what was at that number is dropped.  The caller has the
 * only pin of `from`, which becomes one of `to`.  -EBUSY: `from` has another pin, or `to` is pinned; -EINVAL: `from` is not
 * pinned; -ERANGE.  The same where from and to are one page, which stays as it is.
 */
HMM_API HMM_MUST_CHECK int hmm_cache_rekey(struct hmm_cache *cache, uint64_t from, uint64_t to);

enum hmm_cache_truncate_flags {
	HMM_CACHE_FORCE = 1 << 0 /* pinned pages go too: their pins are gone, and their contents must not be used */
};
/* Drop all pages from number npages on, unsaved.  -EBUSY: some are pinned, and nothing was dropped, as with discard. */
HMM_API HMM_MUST_CHECK int hmm_cache_truncate(struct hmm_cache *cache, uint64_t npages, unsigned flags);

enum hmm_cache_flush_flags {
	HMM_CACHE_DURABLE = 1 << 0 /* and the store's own sync */
};
struct hmm_cache_flush {
	size_t size;
	uint32_t flags;    /* enum hmm_cache_flush_flags */
	uint32_t rate;     /* pages a second, at most; 0: as fast as it goes */
	uint64_t position; /* pages whose first change since they were written is at or before it; 0: all */
	uint64_t page;     /* and of these numbers: from page on */
	uint64_t npages;   /* 0: to the end */
};
/*
 * Write dirty pages, sorted by number in large batches.  what: NULL for all.  Pages that are pinned for writing are
 * waited for, until wait_ms have passed without progress: -EBUSY.  Meanwhile gets with HMM_CACHE_WRITE of such a page stand
 * back, each for 10 ms at first and for half of wait_ms at most, so that pages that writers hand to each other get written.  What is changed while it runs may or may not be
 * written.  Returns 0 or the first error (of the store, or of flush_log); pages that failed stay dirty, also those that lie
 * past the end of a store that can't grow (-ENOSPC, -EFBIG).  -EAGAIN: pages are
 * beyond log_flushed(), and there is no flush_log.
 */
HMM_API HMM_MUST_CHECK int hmm_cache_flush(struct hmm_cache *cache, const struct hmm_cache_flush *what);

/*
 * The first change that the store does not have: recovery must begin at or before it.  UINT64_MAX: none.  A change that is
 * not marked yet when this is called may be missing.
 */
HMM_API uint64_t hmm_cache_oldest_position(struct hmm_cache *cache);

/* Evict up to n pages of this cache; returns how many went, or -errno if none did and a store is why. */
HMM_API int64_t hmm_cache_shrink(struct hmm_cache *cache, uint64_t n);

/* Pass a hint about pages to the policy (hurd-mm/policy.h, hurd-mm/hints.h). */
HMM_API HMM_MUST_CHECK int hmm_cache_hint(struct hmm_cache *cache, uint64_t page, uint64_t npages, enum hmm_hint hint,
                                          int64_t value);

struct hmm_cache_stats {
	size_t size;
	uint64_t resident;     /* pages now */
	uint64_t pinned;       /* of those: pinned, counted at the call */
	uint64_t dirty;        /* of those: not in the store */
	uint64_t hits;         /* gets of resident pages; the last of each thread are counted when it makes more */
	uint64_t misses;       /* gets that read or created a page */
	uint64_t reads;        /* pages read, prefetched ones too */
	uint64_t writes;       /* pages written */
	uint64_t write_errors; /* pages */
	uint64_t evictions;    /* pages that gave up their frame */
	uint64_t log_waits;    /* pages that could not be written yet, or whose log was flushed for them */
	uint64_t frame_bytes;  /* memory of the budget for one page, contents and extra and what is lost between them */
};
HMM_API HMM_MUST_CHECK int hmm_cache_stats(struct hmm_cache *cache, struct hmm_cache_stats *stats);

HMM_API size_t hmm_cache_page_size(const struct hmm_cache *cache);
HMM_API struct hmm_space *hmm_cache_space(const struct hmm_cache *cache);

/* The caller's own bytes of a pinned page. */
static inline void *hmm_cache_extra(const struct hmm_cache *cache, void *data)
{
	return (char *)data + hmm_cache_page_size(cache);
}

HMM_END_DECLS

#endif
