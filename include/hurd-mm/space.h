/* SPDX-License-Identifier: MIT */
/*
 * space.h - one self-pager: a budget of frames, one policy, and the regions that share them
 */
#ifndef HURD_MM_SPACE_H
#define HURD_MM_SPACE_H

#include <hurd-mm/backend.h>
#include <hurd-mm/base.h>
#include <hurd-mm/policy.h>
#include <hurd-mm/store.h>

HMM_BEGIN_DECLS

struct hmm_space;
struct hmm_region;
struct hmm_cache;

enum hmm_event_kind {
	HMM_EVENT_READ_ERROR = 1,  /* a page could not be read: its access got SIGBUS, or a call -EIO */
	HMM_EVENT_WRITE_ERROR = 2, /* pages could not be written, and stay in memory, dirty.  Once, until all are again; 0 pages: no swap file yet */
	HMM_EVENT_NO_FRAME = 3,    /* a fault found no frame and no victim: its access got SIGBUS.  Once, as above */
	HMM_EVENT_GONE = 4,        /* the application unmapped part of a region behind our back */
	HMM_EVENT_PRESSURE = 5,    /* the supplier of frames asked for frames back; pages: how many */
	HMM_EVENT_POLICY = 6,      /* the policy broke its contract; text names the rule and the frame */
	HMM_EVENT_RECORD_ERROR = 7, /* the trace could not be made or written: nothing is recorded any more */
	HMM_EVENT_PIN_LEAK = 8,    /* debug builds: a cache goes while a page of it is pinned; text says where it was */
	HMM_EVENT_SWAPPED = 9      /* the kernel swaps out pages of the space: the budget is too large.  Once, until it has ceased */
};

struct hmm_event {
	size_t size;
	uint32_t kind;             /* enum hmm_event_kind */
	int error;                 /* -errno, or 0 */
	struct hmm_region *region; /* NULL where none is meant; don't unmap it in the callback */
	void *address;             /* first page */
	uint64_t npages;
	const char *text;          /* NULL, or more words; valid during the call */
	struct hmm_cache *cache;   /* of pages of a cache (hurd-mm/cache.h): then region is NULL; don't destroy it */
	uint64_t page;             /* ... the first page's number */
};

/* A page about to be evicted.  See hmm_space_options.notice. */
struct hmm_notice {
	struct hmm_region *region;
	const void *address; /* readable, and its contents are what leaves */
	size_t length;       /* one page of the region */
	uint32_t keep;       /* out: not 0 asks for another page to be taken instead */
	uint32_t reserved;
};

enum hmm_space_flags {
	HMM_SPACE_CHECK_POLICY = 1 << 0, /* check every hook of the policy, also in release builds */
	HMM_SPACE_NO_RECLAIMER = 1 << 1, /* no background thread: faulting threads reclaim, hmm_space_poll() does the rest */
	/*
	 * Regions, windows and tables of the space are locked in memory (mlock2(2), as they are touched): the kernel does not swap
	 * them out, only the space pages.  Linux 5.18.  RLIMIT_MEMLOCK counts addresses, not memory in use: it must allow the
	 * whole length of all regions, max_frames for the window of each page size and delivery, and the tables, or the process
	 * has CAP_IPC_LOCK: see hmm_space(3).  Not locked: the map of swap slots, stores, stacks, the copy of a forked child.
	 */
	HMM_SPACE_LOCK = 1 << 2
};

enum hmm_rescue {
	HMM_RESCUE_AUTO = 0,   /* keep an evicted page's contents where that is measured to pay */
	HMM_RESCUE_ALWAYS = 1, /* always, as long as the available list has room */
	HMM_RESCUE_NEVER = 2
};

struct hmm_space_options {
	size_t size;
	const char *policy;        /* NULL: "clock"; "name" or "name:parameter=value,..." */
	uint64_t max_frames;       /* the most hmm_space_resize() may ask for; 0: four times the budget */
	uint32_t low_water;        /* free frames: the reclaimer starts below it; 0: chosen from the budget */
	uint32_t high_water;       /* ... and stops at it; 0: chosen */
	uint32_t available;        /* frames: target length of the available list; 0: an eighth of the budget, or half of it
	                              for a policy with HMM_POLICY_EXACT or HMM_POLICY_GHOSTS, whose uses are sampled by it */
	uint32_t batch;            /* victims of one reclaim pass, at most 256; 0: 64, less for small budgets */
	uint32_t rescue;           /* enum hmm_rescue */
	uint32_t engine;           /* enum hmm_engine */
	uint32_t flags;            /* enum hmm_space_flags */
	uint32_t pagers;           /* pager threads of thread delivery; 0: one */
	const struct hmm_backend_ops *backend; /* NULL: hmm_backend_local() */
	void *backend_arg;
	/*
	 * For anonymous and private pages of this space only; NULL: a swap file, made when first needed.  If it has an end it
	 * is used up to there.
	 */
	struct hmm_store *swap;

	/*
	 * Called for every event, from the library's own background thread or from hmm_space_poll(), without any
	 * lock: it may call the library, except to destroy the space.  Events are queued; if more come than the queue
	 * holds they are counted in the statistics and dropped.
	 */
	void (*event)(void *arg, const struct hmm_event *event);
	void *event_arg;

	/*
	 * A file to write the trace of this space to: references that trapped, discards, hints, in the format `ops` of
	 * hmm-sim(1).  "%p" stands for the process's number, "%%" for a percent sign.  What the file can't take in time is
	 * dropped and counted.  A forked child records nothing more.  NULL: as the environment variable HURD_MM_RECORD says
	 * (the process's second space that it names has ".2" behind the name, and so on), and nothing without it.
	 */
	const char *record;

	/*
	 * Called with pages of regions with HMM_REGION_NOTICE before they leave their addresses, sorted by region and address
	 * (the bookmarking collector, PLDI 2005: a last look at what they point to).  Not for garbage (HMM_ADVISE_FREE), nor
	 * for what is unmapped or dropped.  The pages can be read, and nobody writes to them until they have left or the
	 * callback's `keep` has held them: what it sees is what a later access will find.  Each time a page leaves it is
	 * announced anew; that it came back is not.  keep: half of a batch, rounded down, may stay (the first that ask), so
	 * that a pass always gets frames; the policy takes them for used.
	 *
	 * It runs in whichever thread reclaims, several at once, with all signals blocked and no lock of the library's held;
	 * that can be a SIGBUS handler.  So: only what a signal handler may do, little stack, no lock that any thread may hold
	 * while it touches memory of a space, no call of this library, and no access to memory of a space but to read the
	 * pages it was given.  The application must not drop such pages behind the library's back (madvise, munmap).
	 */
	void (*notice)(void *arg, struct hmm_notice *pages, unsigned n);
	void *notice_arg;

	/*
	 * The most pages that may have frames at a time; 0: max_frames; less is -EINVAL.  More is of use to caches only, whose pages may
	 * be smaller than a frame (hurd-mm/cache.h): each page takes some 60 bytes of the library's memory while it is resident.
	 */
	uint64_t max_pages;
};

/*
 * Create a self-pager with a budget of `frames` frames: application pages, the window and the available list
 * together never hold more.
 *
 * Returns 0; -EINVAL (budget below HMM_FRAMES_MIN or above max_frames, water marks out of order, unknown flags,
 * policy or parameters); -EBUSY (the swap store is another space's, or a region or cache uses it); -E2BIG; -ENOMEM; or what the backend says (-EPERM, -ENOTSUP: see hmm_probe()).
 * With HMM_SPACE_LOCK also, here and where a region or cache is made, what mlock2(2) says: -ENOMEM (more than RLIMIT_MEMLOCK),
 * -EPERM (that is 0), -EAGAIN; -ENOTSUP (a backend that can't lock, Linux before 5.18).  What could not be locked is not made.
 * Threads and userfaultfd are made when the first region of a delivery is mapped.
 */
#define HMM_FRAMES_MIN 32
HMM_API HMM_MUST_CHECK int hmm_space_create(uint64_t frames, const struct hmm_space_options *opts,
                                            struct hmm_space **ret_space);

/*
 * End a space: its regions are unmapped and its caches abandoned without writing anything (sync, flush or unmap them
 * before), its frames and swap given back.  No other thread may use it or touch its memory.  NULL is accepted.
 */
HMM_API void hmm_space_destroy(struct hmm_space *space);

/*
 * Change the budget.  Shrinking evicts at once; if not all can go (pinned, locked, stores that fail), or the supplier of
 * frames gives fewer to grow, the budget becomes what could be reached, *ret_frames says how many that is, and -EAGAIN is
 * returned.  Pages that were asked
 * for meanwhile fit in the new budget.  ret_frames may be NULL.  -EINVAL: below HMM_FRAMES_MIN or four of the largest
 * pages in use, above max_frames.
 */
HMM_API HMM_MUST_CHECK int hmm_space_resize(struct hmm_space *space, uint64_t frames, uint64_t *ret_frames);

/* Evict up to n pages now; returns how many frames became free, or -errno if none did and a store is the reason. */
HMM_API int64_t hmm_space_reclaim(struct hmm_space *space, uint64_t n);

/* Do what the background thread would: reclaim to the high water mark, deliver events.  Returns 0. */
HMM_API int hmm_space_poll(struct hmm_space *space);

struct hmm_stats {
	size_t size;

	/* now, in frames of the system's page size */
	uint64_t frames;     /* budget */
	uint64_t held;       /* mapped + window: never above the budget, except while shrinking it */
	uint64_t peak_held;
	uint64_t resident;   /* mapped to an address */
	uint64_t dirty;      /* of those: written since loaded */
	uint64_t available;  /* unmapped, contents kept */
	uint64_t laundry;    /* being written out */
	uint64_t pinned;     /* pinned or locked */
	uint64_t free;       /* could be mapped at once */

	/* since creation */
	uint64_t faults;          /* traps that were ours */
	uint64_t faults_read;     /* by kind: a page was missing */
	uint64_t faults_write;
	uint64_t faults_protect;  /* first write to a clean page */
	uint64_t faults_stale;    /* already resolved by another thread */
	uint64_t faults_failed;   /* answered with SIGBUS */
	uint64_t faults_inline;   /* by delivery */
	uint64_t faults_thread;
	uint64_t zero_fills;      /* pages made of zeros, without a store */
	uint64_t loads;           /* pages read from a store because they were asked for */
	uint64_t prefetches;      /* pages read ahead, or by WILLNEED */
	uint64_t prefetch_hits;   /* of those read ahead: passed by their stream, which came for more */
	uint64_t load_errors;     /* pages */
	uint64_t rescues;         /* pages taken back from the available list or the laundry */
	uint64_t evictions;       /* pages that gave up their frame or moved to the available list */
	uint64_t write_outs;      /* pages written to a store */
	uint64_t write_outs_wasted; /* of those: touched again while being written */
	uint64_t write_errors;    /* pages */
	uint64_t zero_drops;      /* dirty pages found to be all zero: dropped without I/O */
	uint64_t discards;        /* pages dropped unsaved because the application said so */
	uint64_t grants;          /* pages that moved with their frame (UFFDIO_MOVE) ... */
	uint64_t copies;          /* ... or were copied */
	uint64_t busy;            /* victims the kernel held (EBUSY) */
	uint64_t passes;          /* reclaim passes, by faulting threads and in the background */
	uint64_t waits;           /* a thread waited for a page that another one was busy with */
	uint64_t frame_waits;     /* a thread waited for a frame */
	uint64_t store_bytes_read;
	uint64_t store_bytes_written;
	uint64_t swap_bytes;      /* now in use in the swap store */
	uint64_t fault_ns;        /* time in faults, in all threads; measured one fault in 16 and scaled */
	uint64_t load_ns;         /* of that: in stores; measured likewise */
	uint64_t write_ns;        /* time in stores, writing */
	uint64_t reclaim_ns;      /* time in reclaim passes */
	uint64_t events_dropped;
	uint64_t policy_errors;   /* contract violations that the check found */

	/* what runs */
	uint32_t engine;          /* enum hmm_engine: MOVE if frames are granted, COPY if not */
	uint32_t deliveries;      /* bit n: delivery n is in use */
	uint64_t metadata_bytes;  /* the library's own memory for this space */

	uint64_t recorded;        /* words of the trace */
	uint64_t record_drops;    /* references, discards and hints that are not in it: the file was too slow, or failed */

	uint64_t notices;         /* pages announced before they were evicted ... */
	uint64_t vetoes;          /* ... of those: kept, because the callback asked for it */

	uint64_t swapped_looks;   /* mapped pages that were looked at, some at each tick of the background thread ... */
	uint64_t swapped;         /* ... of those: swapped out by the kernel.  More than a few: the budget is too large */
};
/* stats->size must be set.  Counters are read without stopping anybody: each is right, their sum may be on the move. */
HMM_API HMM_MUST_CHECK int hmm_space_stats(struct hmm_space *space, struct hmm_stats *stats);

/*
 * How much memory there is, for a program that can choose how much it uses (T. Yang et al., CRAMM, OSDI 2006).  All in
 * frames of the system's page size.
 */
struct hmm_memory {
	size_t size;

	/* the space's own */
	uint64_t budget;
	uint64_t max_frames; /* the most hmm_space_resize() may ask for */
	uint64_t pinned;     /* pinned or locked; in `used` too */
	uint64_t used;       /* in memory and in use: mapped to an address or in a cache, and not garbage */
	uint64_t garbage;    /* mapped, but discarded (HMM_ADVISE_FREE) and not written since: the first to go */
	uint64_t kept;       /* taken out of use, contents still there or being written: given up when frames are short */
	uint64_t free;       /* could be mapped at once */
	uint64_t usable;     /* as many pages fit before any is evicted: the budget less what the library keeps in hand */

	/* the machine's */
	uint64_t system;     /* what the system could give this process now without paging: MemAvailable */
	uint64_t group;      /* what the tightest memory cgroup above the process leaves; UINT64_MAX: none limits it */
	uint64_t growable;   /* what hmm_space_resize() could add now: within max_frames, system and group */
	uint64_t attainable; /* the largest budget that would be memory now.  Below `budget`: the machine is short, and the
	                        kernel will page or kill before the budget is used up; resize to it */
};
/*
 * memory->size must be set.  A figure of the moment: others take memory too.
 *
 * How large may a heap be before it pages?  With h = hmm_region_resident() of its region:
 *     now                  usable - (used + garbage - h)
 *     if the budget grows  the same + growable
 * and if the live data alone does not fit, a larger heap will page too: collect seldom, and discard what is garbage.
 *
 * Returns 0; -EINVAL; -ENOMEM; -ENOENT, -EACCES, -EIO, -EMFILE and the like (a file of /proc or of a cgroup that can't
 * be read); -ENODATA, -EBADMSG (or does not say what it should).  Reads files: some 50 us, not for signal handlers.
 */
HMM_API HMM_MUST_CHECK int hmm_space_memory(struct hmm_space *space, struct hmm_memory *memory);

/* The policy's name without parameters. */
HMM_API const char *hmm_space_policy(const struct hmm_space *space);

HMM_END_DECLS

#endif
