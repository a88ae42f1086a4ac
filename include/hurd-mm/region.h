/* SPDX-License-Identifier: MIT */
/*
 * region.h - a range of addresses whose pages come and go by themselves
 */
#ifndef HURD_MM_REGION_H
#define HURD_MM_REGION_H

#include <hurd-mm/base.h>
#include <hurd-mm/space.h>

HMM_BEGIN_DECLS

enum hmm_region_flags {
	HMM_REGION_SHARED = 1 << 0,       /* writes go to the store (on sync, unmap, eviction); else they stay private.  Pages
	                                     are copies: others see them when they were written, see hmm_region_invalidate() */
	HMM_REGION_READ_ONLY = 1 << 1,    /* writes get SIGSEGV, until hmm_region_protect() allows them */
	HMM_REGION_FIXED = 1 << 2,        /* exactly at `address`, or -EEXIST */
	HMM_REGION_COPY_ON_FORK = 1 << 3, /* a child of fork(2) gets its own copy; else the range is absent there, as in
	                                     any child made without fork's handlers.  Not with SHARED: the child would
	                                     write the parent's pages over the store */
	HMM_REGION_LOCKED = 1 << 4,       /* as hmm_region_lock() on all of it */
	HMM_REGION_NO_READ_AHEAD = 1 << 5, /* never load more than was asked for */
	HMM_REGION_INCOHERENT = 1 << 7,   /* with SHARED: regions and caches that say so too may use the same bytes of the
	                                     store, each with copies of its own; what is written last stays */
	HMM_REGION_NOTICE = 1 << 6,       /* announce pages to the space's `notice` before they are evicted: costs a call a
	                                     batch, and one to the kernel for each run of dirty pages */
	HMM_REGION_RECYCLE = 1 << 8,      /* a promise, for speed: no page of it that is not pinned (hmm_region_pin()) is given
	                                     to the kernel for longer than a call that copies.  No direct I/O, io_uring, aio,
	                                     vmsplice(2), MSG_ZEROCOPY.  Frames of evicted pages get the next pages'
	                                     contents then, and who held one would see them */
	HMM_REGION_DIRECT_IO = 1 << 9     /* devices write to it: -ENOTSUP where the engine can't tell which frames the kernel
	                                     holds.  Not with RECYCLE */
};

struct hmm_region_options {
	size_t size;
	uint32_t delivery;   /* enum hmm_delivery; a space may mix them */
	uint32_t page_shift; /* log2 of the page size: from the system's to 21 (2 MiB); 0: the system's */
	uint32_t flags;      /* enum hmm_region_flags */
	uint32_t read_ahead; /* pages: the most to read ahead on sequential access; 0: up to 1 MiB */
	void *address;       /* with HMM_REGION_FIXED; multiple of the page size */
};

/*
 * Map `length` bytes.  store NULL: anonymous memory, zeros at first, offset must be 0.  Else the bytes of the store
 * from `offset` on; private unless HMM_REGION_SHARED.  offset and length: bytes, multiples of the page size.
 * opts: borrowed, NULL for defaults.  The region keeps its own reference to the store.
 *
 * Returns 0; -EINVAL (misaligned, length 0, unknown flags or flags that exclude each other, page size too large or more
 * than an eighth of the budget, HMM_REGION_NOTICE in a space without `notice`); -EEXIST (fixed address taken); -EBUSY (shared, and another shared region, a cache or a
 * space's swap of this process uses some of these bytes of the store, and one of the two writes); -EBADF (shared, and the store can't be written); -ENOMEM; -EAGAIN (mlockall(MCL_FUTURE), and RLIMIT_MEMLOCK
 * is less than it is long; or no thread could be started); -EPERM or -ENOTSUP (the
 * delivery can't be had: hmm_probe() names what is missing; or HMM_REGION_DIRECT_IO without UFFDIO_MOVE); -ENOBUFS (inline
 * delivery, and the calling thread's alternate signal stack, sigaltstack(2), is smaller than the kernel's frame for a signal,
 * sysconf(_SC_MINSIGSTKSZ), and 640 bytes); -E2BIG.
 */
HMM_API HMM_MUST_CHECK int hmm_region_map(struct hmm_space *space, struct hmm_store *store, uint64_t offset,
                                          size_t length, const struct hmm_region_options *opts,
                                          struct hmm_region **ret_region);

/*
 * Unmap all of it and free the region.  A shared region's dirty pages are written first; if that fails the region
 * stays as it is and the store's -errno is returned.  -EBUSY: pages are pinned.  No other thread may touch it
 * any more.  NULL is accepted.
 */
HMM_API HMM_MUST_CHECK int hmm_region_unmap(struct hmm_region *region);

/* The same without writing: what was not synced is lost.  Never fails. */
HMM_API void hmm_region_abandon(struct hmm_region *region);

/* Unmap a part: its addresses are free for other use afterwards.  Unmapping the last part frees the region. */
HMM_API HMM_MUST_CHECK int hmm_region_unmap_range(struct hmm_region *region, void *address, size_t length);

HMM_API void *hmm_region_base(const struct hmm_region *region);
HMM_API size_t hmm_region_length(const struct hmm_region *region); /* bytes, as mapped */
HMM_API size_t hmm_region_page_size(const struct hmm_region *region);
HMM_API struct hmm_space *hmm_region_space(const struct hmm_region *region);
HMM_API uint64_t hmm_region_resident(const struct hmm_region *region); /* frames mapped in it now; 0 for NULL */

/*
 * prot: PROT_READ or PROT_READ | PROT_WRITE; anything else is -EINVAL.  -EACCES, or -EBUSY as with hmm_region_map(): a shared
 * region that was mapped HMM_REGION_READ_ONLY can't be written.
 */
HMM_API HMM_MUST_CHECK int hmm_region_protect(struct hmm_region *region, void *address, size_t length, int prot);

enum hmm_advice {
	HMM_ADVISE_NORMAL = 0,     /* undo RANDOM and SEQUENTIAL */
	HMM_ADVISE_RANDOM = 1,     /* no read-ahead */
	HMM_ADVISE_SEQUENTIAL = 2, /* read ahead from the first fault on; pages passed are cold */
	HMM_ADVISE_WILLNEED = 3,   /* load now, as far as frames are free without evicting what is in use; a page that
	                              could not be read before is tried again by its next access, whatever is free */
	HMM_ADVISE_DONTNEED = 4,   /* drop unsaved at once: anonymous pages read zeros, private ones their file.  Pages of
	                              a shared region are written first, as with madvise(2): others see its store */
	HMM_ADVISE_FREE = 5,       /* the same, lazily: kept until their frame is needed or they are written again;
	                              -EINVAL on a shared region */
	HMM_ADVISE_COLD = 6,       /* next victims */
	HMM_ADVISE_PAGEOUT = 7     /* evict now */
};

/*
 * Say something about a range.  RANDOM, SEQUENTIAL and NORMAL hold for the whole region.  Returns 0; -EINVAL;
 * -ENOMEM (outside the region); -EBUSY (DONTNEED: pages are pinned or locked, and nothing was dropped, unless they
 * became so meanwhile or the kernel holds them: then the others were); -EIO and the like (WILLNEED, PAGEOUT, and DONTNEED
 * on a shared region: a store failed; the rest was done).
 */
HMM_API HMM_MUST_CHECK int hmm_region_advise(struct hmm_region *region, void *address, size_t length,
                                             enum hmm_advice advice);

/* Pass a hint about a range to the policy (hmm/policy.h: HMM_HINT_PRIORITY, HMM_HINT_USER and on). */
HMM_API HMM_MUST_CHECK int hmm_region_hint(struct hmm_region *region, void *address, size_t length, enum hmm_hint hint,
                                           int64_t value);

enum hmm_sync_flags {
	HMM_SYNC_DURABLE = 1 << 0 /* also the store's own sync (fdatasync) */
};

/*
 * Write the dirty pages of a shared region's range to its store.  What is written while it runs may or may not be included.
 * Private regions have nothing to sync: 0.  Returns the first store error; pages that failed stay dirty.
 */
HMM_API HMM_MUST_CHECK int hmm_region_sync(struct hmm_region *region, void *address, size_t length, unsigned flags);

/*
 * Others have written to the store (with write(2), another process, a region or cache with HMM_REGION_INCOHERENT): drop the
 * range's copies of it.  What they wrote before this call is seen by every access that begins after it has returned 0, and
 * also where the file ends now.  Pages that this region has changed and not written are in the way, -EBUSY, unless
 * HMM_INVALIDATE_DIRTY says that their changes are to be lost.  Of a private region, pages that it has changed are its own:
 * they stay, but with that flag they go too, as with HMM_ADVISE_DONTNEED.  flags: enum hmm_invalidate_flags.
 *
 * Returns 0; -EBUSY (pages are pinned, locked or changed, and nothing was dropped, unless they became so meanwhile or the
 * kernel holds them: then the others were); -EINVAL (misaligned, unknown flags, anonymous memory); -ENOMEM (outside the
 * region).
 */
HMM_API HMM_MUST_CHECK int hmm_region_invalidate(struct hmm_region *region, void *address, size_t length,
                                                 unsigned flags);

/*
 * Keep a range resident (mlock within the budget, no privilege needed): loads it, and no policy chooses it.  Does not nest.
 * Returns 0; -EAGAIN (more than the budget lets pin, or caches have pinned the rest); -EIO; -ENOMEM (not all of the range is
 * the region's).  On failure nothing is locked that was not before.
 */
HMM_API HMM_MUST_CHECK int hmm_region_lock(struct hmm_region *region, void *address, size_t length);
HMM_API HMM_MUST_CHECK int hmm_region_unlock(struct hmm_region *region, void *address, size_t length);

/*
 * Make a range resident and hold it, to hand it to a system call or a device.  write: it will be written (the pages are
 * dirty from now on, and stay writable; -EACCES where the range is read-only).  Nests up to 1000 deep; each pin needs its unpin with the same range.  Under inline delivery
 * this is the way to pass a region's memory to a system call.  Errors as hmm_region_lock(), and -EOVERFLOW.
 */
HMM_API HMM_MUST_CHECK int hmm_region_pin(struct hmm_region *region, void *address, size_t length, int write);
HMM_API HMM_MUST_CHECK int hmm_region_unpin(struct hmm_region *region, void *address, size_t length);

/*
 * For a thread whose stack shall lie in a region (pthread_attr_setstack(3)): pin what must stay of it, before the thread is
 * created and until it has been joined.  Under thread delivery that is its upper end, mostly one page: the thread's
 * descriptor, which the kernel writes to when the thread ends and can't wait for a pager any more.  Without it pthread_join(3)
 * may never return.  Under inline delivery it is all of the stack.  Likewise a robust mutex (pthread_mutexattr_setrobust(3))
 * must lie in pages that are pinned for writing, or its owner's death may be reported to nobody.
 * stack, size: as for pthread_attr_setstack().  Errors as hmm_region_pin(), and -EAGAIN where no thread can be made.
 */
HMM_API HMM_MUST_CHECK int hmm_region_pin_stack(struct hmm_region *region, void *stack, size_t size);
HMM_API HMM_MUST_CHECK int hmm_region_unpin_stack(struct hmm_region *region, void *stack, size_t size);

enum hmm_residency {
	HMM_RESIDENT = 1 << 0,  /* mapped: an access does not trap */
	HMM_DIRTY = 1 << 1,     /* its store does not have it */
	HMM_AVAILABLE = 1 << 2, /* not mapped, contents still in memory */
	HMM_LOCKED = 1 << 3,
	HMM_PINNED = 1 << 4,
	HMM_STORED = 1 << 5     /* its store (swap or file) has contents for it */
};

/* Fill vec with one byte a page (of the region's size), enum hmm_residency. */
HMM_API HMM_MUST_CHECK int hmm_region_residency(struct hmm_region *region, void *address, size_t length, uint8_t *vec);

/*
 * For a program that installs its own SIGBUS handler after the first inline region was mapped: call this first in it.
 * Returns 1 if the signal was ours and is dealt with, 0 if not.  Async-signal-safe.  siginfo: siginfo_t *, context: ucontext_t *.
 */
HMM_API int hmm_fault_signal(int signal, void *siginfo, void *context);

HMM_END_DECLS

#endif
