/* SPDX-License-Identifier: MIT */
/*
 * vm.h - the heart's structures, and who may change which field
 *
 * Locks, outer first: fork > region > spaces > engine > space > swap > (backend, store) > event.
 * Key: (i) fixed at creation  (s) space lock  (r) region lock  (g) table lock, read by a sequence count
 *      (p) page word  (a) atomic, statistics or hints only  (w) swap lock
 *
 * V1  held = frames mapped or being mapped + populated slots of all windows <= budget, at every instant (except
 *     that a budget may be lowered only as far as held has come down).
 * V2  A frame number names a page from before its word says LOADING-with-frame until it is ABSENT again.
 * V3  No lock is held across store I/O, backend calls on pages, or callbacks of the user's.
 * V4  The fault path allocates nothing; batches (struct hmm__batch) come from a fixed stock.
 */
#ifndef HMM_VM_VM_H
#define HMM_VM_VM_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include <hurd-mm/region.h>
#include <hurd-mm/space.h>

#include "lib/base/arena.h"
#include "lib/base/lock.h"
#include "lib/policy/instance.h"
#include "lib/store/slots.h"
#include "lib/sys/sys.h"
#include "lib/vm/intervals.h"
#include "lib/vm/assist.h"
#include "lib/vm/claims.h"
#include "lib/vm/page.h"
#include "lib/vm/slotmap.h"
#include "lib/vm/trouble.h"

#define HMM__PAGE_SHIFT_MAX 21
#define HMM__PAGE_SHIFT_MIN 12
#define HMM__ORDERS (HMM__PAGE_SHIFT_MAX - HMM__PAGE_SHIFT_MIN + 1)
#define HMM__BATCH_MAX 256u
#define HMM__BATCHES 8u
#define HMM__BOUNCES 16u
#define HMM__LEAF_PAGES 512u   /* page words in one page of metadata */
#define HMM__EVENTS 128u
#define HMM__STREAMS 4u
#define HMM__STRIPES 8u
#define HMM__REGION_BITS 24
#define HMM__POISONED_MAX 32u
#define HMM__CACHES 2u          /* the engine of caches, whose pages are not mapped */
#define HMM__CACHES_COPIED 3u   /* ... of which a forked child gets a copy (HMM_CACHE_COPY_ON_FORK) */
#define HMM__ENGINES 4u         /* by delivery, and those two */
#define HMM__RESIDENT_MIN 16u  /* frames that pins and locks must leave */

/* A resident page, or one whose contents are kept in the window. */
struct hmm__frame {
	struct hmm_region *region; /* (s) NULL: free */
	uint64_t page;             /* (s) index in the region */
	uint32_t slot;             /* (s) window slot while LAUNDRY or AVAILABLE or slot_refs > 0 */
	uint32_t next, prev;       /* (s) free list, available list, or list of mapped frames */
	uint8_t listed : 1;        /* (s) 1: on the available list */
	uint8_t named : 1;         /* (s) 1: on its old part, whose pages the policy has named */
	uint8_t mapped : 1;        /* (s) 1: on the list of mapped frames */
	uint8_t spent : 1;         /* (s) 1: the frame behind its slot was at an application's address: M3 */
	uint8_t refused;           /* (s) 1: on it because its store refused it: dirty */
	uint8_t proposed;          /* (s) 1: the policy named it and waits for our verdict */
	uint8_t slot_refs;         /* (s) the laundry's writer, and a rescuer that copies meanwhile; last one frees it */
	uint64_t print;            /* (p) of the contents that are clean, while the page is SUSPECT */
};

/* The window of one page size of one engine. */
struct hmm__pool {
	struct hmm__engine *engine; /* (i) */
	unsigned shift;             /* (i) */
	uint32_t weight;            /* (i) frames a slot */
	uint8_t *base;              /* (i) NULL: not made yet */
	struct hmm__slotmap map;    /* (s) */
	_Atomic uint32_t bounce[HMM__BOUNCES]; /* populated slots parked for reuse while warm; HMM__NO_SLOT: none */
};

/* One open backend: one delivery of the space. */
struct hmm__engine {
	struct hmm_space *space;           /* (i) */
	const struct hmm_backend_ops *ops; /* (i) */
	void *backend;                     /* (i) */
	uint32_t caps;                     /* (i) */
	uint32_t delivery;                 /* (i) */
	bool open;                         /* engine lock */
	struct hmm__pool pools[HMM__ORDERS];
};

/* A run of adjacent accesses. */
struct hmm__stream {
	_Atomic uint64_t next;   /* (a) the page whose fault continues it */
	_Atomic uint64_t start;  /* (a) where it began */
	_Atomic uint64_t ahead;  /* (a) pages read ahead last that it has not passed yet */
	_Atomic uint32_t faults; /* (a) that continued it */
	_Atomic uint32_t window; /* (a) pages to read ahead at the next fault */
	_Atomic uint32_t far;    /* (a) has passed more than a quarter of the budget: drop behind it */
};

struct hmm__streams {
	struct hmm__stream stream[HMM__STREAMS];
	_Atomic uint32_t next; /* the oldest: the next to be replaced */
} __attribute__((aligned(64)));

struct hmm_region {
	/* Type-stable: the memory of a region is only ever reused for regions, so a stale reader may touch refs. */
	_Atomic uint32_t refs;         /* users now; calls and faults */
	_Atomic uint32_t dying;        /* no new users */
	struct hmm_space *space;       /* (i) */
	struct hmm__engine *engine;    /* (i) */
	struct hmm__pool *pool;        /* (i) */
	struct hmm_store *store;       /* (i) NULL: anonymous */
	struct hmm_cache *cache;       /* (i) NULL: a real region; else the pages of this cache, which have no addresses */
	uint8_t *base;                 /* (i) */
	size_t length;                 /* (i) bytes */
	uint64_t npages;               /* (i) */
	uint64_t offset;               /* (i) in the store */
	struct hmm__claim claim;       /* spaces lock: shared regions and caches; on the store's bytes */
	unsigned shift;                /* (i) */
	uint32_t weight;               /* (i) frames a page */
	uint32_t id;                   /* (i) */
	uint32_t flags;                /* (i) enum hmm_region_flags */
	uint32_t read_ahead;           /* (i) pages */
	hmm__word *words;              /* (p) one a page, sparse */
	_Atomic uint32_t *slots;       /* swap slot of a STORED page, valid while its word is owned; NULL: shared */
	_Atomic uint64_t *touched;     /* (a) a bit for each HMM__LEAF_PAGES page words that ever changed */
	uint64_t ntouched_words;       /* (i) */
	struct hmm__lock lock;         /* calls that change the range as a whole */
	_Atomic uint64_t mapped_pages; /* (a) not yet unmapped */
	uint64_t resident;             /* (s) frames mapped or being loaded */
	uint64_t refused;              /* (s) pages on the available list that its own store refused */
	struct hmm__trouble trouble;   /* of its own store */
	struct hmm__interval *read_only; /* (r) pages that may not be written */
	_Atomic uint32_t has_read_only; /* (a) 1: read_only is not empty, so it has to be looked at */
	_Atomic uint32_t advice;       /* (a) HMM_ADVISE_NORMAL, _RANDOM or _SEQUENTIAL */
	struct hmm__streams streams[HMM__STRIPES]; /* (a) by hmm__stripe(): each thread reads at its own place */
	struct hmm_region *next_free;  /* (g) */
	struct hmm_region *next, *prev; /* spaces lock: the space's regions */
};

/* Statistics that many threads add to: each to its own stripe, for two that add to one line slow each other down. */
#define HMM__COUNTERS(X) \
	X(faults_read) X(faults_write) X(faults_protect) X(faults_stale) X(faults_failed) X(faults_inline) \
	X(faults_thread) X(zero_fills) X(loads) X(prefetches) X(prefetch_hits) X(load_errors) X(rescues) \
	X(evictions) X(write_outs) X(write_outs_wasted) X(write_errors) X(zero_drops) X(discards) X(grants) \
	X(copies) X(busy) X(passes) X(waits) X(frame_waits) X(bytes_read) X(bytes_written) X(fault_ns) \
	X(load_ns) X(write_ns) X(reclaim_ns) X(events_dropped) X(notices) X(vetoes) \
	X(swapped_looks) X(swapped)

struct hmm__counters {
#define HMM__COUNTER(name) _Atomic uint64_t name;
	HMM__COUNTERS(HMM__COUNTER)
#undef HMM__COUNTER
} __attribute__((aligned(64)));

struct hmm__poisoned {
	struct hmm_region *region;
	uint32_t region_id;
	uint64_t page;
	uint64_t since; /* ns */
};

struct hmm__batch;
struct hmm__record;
struct hmm_cache;
struct hmm__cached;
struct hmm__cache_pool;

struct hmm_space {
	struct hmm__lock lock;       /* (s) */
	uint64_t budget;             /* (s) frames */
	uint64_t granted;            /* (s) frames that the supplier gave: budget <= granted once there is one */
	struct hmm__engine *supplier; /* (s) the engine opened first; NULL: none is open yet */
	uint64_t held;               /* (s) V1 */
	uint64_t peak_held;          /* (s) */
	uint64_t free_slots;         /* (s) frames in free populated or spent slots */
	uint64_t held_back;          /* (s) frames pinned or locked */
	uint32_t largest;            /* (s) frames of the largest page size in use */
	uint64_t reserve;            /* (s) frames that loads leave: to copy dirty pages out where they can't be granted */
	uint64_t exchange;           /* (s) frames beside, left to loads from swap (swap_room.c, Z1) */
	uint32_t capacity;           /* (i) most frames */
	uint32_t numbers;            /* (i) most pages that have frames: how far frame numbers go */
	uint32_t numbers_used;       /* (s) */
	struct hmm__frame *frames;   /* (s) by number */
	uint32_t free_frame;         /* (s) list */
	uint32_t fresh_frame;        /* (s) numbers from here on were never used */
	uint32_t available_first, available_last; /* (s) oldest first */
	uint32_t named_last;         /* (s) the newest of its named part; that part is its old end */
	uint64_t named;              /* (s) frames on that part */
	uint32_t mapped_first, mapped_last; /* (s) oldest mapping first */
	uint64_t mapped;             /* (s) frames on that list */
	uint64_t sample_due;         /* (s) pages mapped since some were sampled last */
	uint64_t sample_left;        /* (s) pages that may be sampled before others are loaded */
	bool samples;                /* (i) pages are unmapped so that the policy sees their uses (sample.c) */
	uint64_t available;          /* (s) frames */
	uint64_t laundry;            /* (s) frames */
	uint64_t refused_swap;       /* (s) pages on the available list that the swap store refused */
	_Atomic int refused_error;   /* why, the last time */
	uint64_t resident;           /* (s) frames mapped or being loaded, or extents of caches */
	_Atomic uint64_t dirty;      /* (a) frames */
	_Atomic uint64_t garbage;    /* (a) frames of pages with HMM__FREE */
	struct hmm__policy *policy;  /* (s) */
	struct hmm__batch *free_batch; /* (s) */
	unsigned passes_running;     /* (s) */
	_Atomic uint32_t low_water, high_water, available_target, batch; /* set with the budget, under the lock */
	uint32_t rescue;             /* (i) enum hmm_rescue */
	uint32_t engine_choice;      /* (i) enum hmm_engine */
	uint32_t flags;              /* (i) but for HMM_SPACE_LOCK, which a fork takes from the child */
	uint32_t pagers;             /* (i) */
	struct hmm_space_options given; /* (i) what was asked for, to size water marks again */

	/* what each hit of a cache looks at: a line that is seldom written */
	_Alignas(64) uint64_t serial; /* (i) no other space of the process has or had it */
	_Atomic uint32_t frame_waiters;
	_Atomic uint32_t frame_seq;  /* changes whenever frames may have become free; futex */
	char apart[48];

	/* is keeping worth it? (keep.c) */
	_Atomic uint64_t load_cost_ns;   /* (a) moving average of one page's load */
	_Atomic uint32_t keep_passes, keep_samples, keep_rescues; /* (a) */
	_Atomic uint32_t keep_now;       /* (a) */

	struct hmm__lock engine_lock; /* making engines and pools */
	struct hmm__engine engines[HMM__ENGINES]; /* by delivery, HMM__CACHES, HMM__CACHES_COPIED */
	const struct hmm_backend_ops *ops; /* (i) */
	void *backend_arg;           /* (i) */

	struct hmm__lock swap_lock;  /* (w) */
	struct hmm_store *swap;      /* (w) made when first needed, then fixed */
	struct hmm__claim swap_claim; /* spaces lock: on one that was given */
	struct hmm__slots *swap_slots; /* (w) */
	uint64_t swap_end;           /* (w) slots that the store can have, as far as is known beforehand */
	uint64_t swap_written;       /* (w), read without it as a hint; one more than the highest slot that was ever accepted */
	uint64_t swap_probe_ns;      /* (w) when slots above the ceiling may be tried */
	uint64_t swap_probe_wait;    /* (w) ns */
	uint32_t swap_hand;          /* (s) frame number where the search for slots goes on */
	_Atomic uint32_t swap_full;  /* 1: an event said so */
	struct hmm__trouble swap_trouble;
	_Atomic uint32_t troubles;   /* stores that refuse what they are given */
	_Atomic uint32_t no_frame_told; /* 1: faults fail, and an event said so */
	struct hmm_store *swap_model; /* (i) in a forked child whose `swap` is NULL: the store to make one like; else NULL */
	struct hmm__lineage *lineage; /* (w) pointer; lineage.h: who shares the swap with us.  NULL: nobody ever did */

	struct hmm__lock event_lock;
	struct hmm_event events[HMM__EVENTS]; /* event lock */
	char event_text[HMM__EVENTS][160];
	uint32_t event_first;                 /* event lock */
	_Atomic uint32_t event_count;         /* changed under the event lock */
	void (*event)(void *arg, const struct hmm_event *event); /* (i) */
	void *event_arg;             /* (i) */
	struct hmm__poisoned poisoned[HMM__POISONED_MAX]; /* event lock */
	_Atomic uint32_t npoisoned;

	pthread_t reclaimer;         /* (i) */
	bool reclaimer_runs;         /* (i) */
	_Atomic uint32_t wakeups;    /* futex of the reclaimer */
	_Atomic uint32_t reclaimer_idle;
	_Atomic uint32_t stop;
	_Atomic int64_t pressure;    /* frames the supplier wants back */
	uint32_t swapped_hand;       /* (s) frame number where the look goes on */
	_Atomic uint32_t swapped_quiet; /* (a) looks until the kernel's swapping is news again */

	struct hmm__assist assist;

	struct hmm__record *record;  /* (i) NULL: nothing is recorded; a fork takes it from the child */

	_Atomic uint32_t gate;       /* 1: closed (gate.c); futex */
	_Atomic uint32_t gate_missed; /* 1: accessors wait in the kernel for it to open (G4) */
	_Atomic uint32_t inside;     /* background work that the gate must wait for */

	int child_error;              /* during fork: why the child can't have its copy */
	struct hmm_region *regions;  /* spaces lock */
	struct hmm_cache *caches;    /* spaces lock */
	struct hmm__cache_pool *cache_pools; /* (s) */
	struct hmm__cached *cached;  /* engine lock: pointer; by frame number; NULL: no cache was made yet */
	_Atomic uint64_t *spots;     /* the same; see cache.h */
	uint16_t *owners;            /* (s) the same: which cache has it, an index of numbered; 0: none */
	struct hmm_cache **numbered; /* (s) the space's caches by their numbers */
	uint64_t free_packed;        /* (s) bytes: free page slots of partly used extents, see cache.h */
	_Atomic uint32_t nregions;   /* (a) regions that are mapped */
	uint32_t cache_hand;         /* (s) frame number where the look for a page that is not pinned goes on */
	struct hmm_space *next, *prev; /* spaces lock */
	struct hmm__counters counts[HMM__STRIPES]; /* (a) by hmm__stripe() */
};

/* What this thread takes from here on, until the end, is a table of the space: locked in memory where that was asked for. */
static inline void hmm__tables_begin(uint32_t space_flags)
{
	hmm__sparse_begin(space_flags & HMM_SPACE_LOCK ? hmm__sys_mlock : NULL);
}

/* r, or what locking said where that is why r is -ENOMEM. */
static inline int hmm__tables_end(int r)
{
	return hmm__sparse_end(r);
}

/* Which stripe of counters and streams this thread uses. */
unsigned hmm__stripe(void);

#define HMM__COUNT(space_, name, n) \
	atomic_fetch_add_explicit(&(space_)->counts[hmm__stripe()].name, (n), memory_order_relaxed)

uint64_t hmm__counter_passes(struct hmm_space *space);

static inline void hmm__add(_Atomic uint64_t *counter, uint64_t n)
{
	atomic_fetch_add_explicit(counter, n, memory_order_relaxed);
}

/* Fields that are changed under the space's lock and looked at without it, as hints. */
static inline void hmm__bump(uint64_t *field, uint64_t by)
{
	__atomic_store_n(field, *field + by, __ATOMIC_RELAXED);
}

static inline uint64_t hmm__peek(const uint64_t *field)
{
	return __atomic_load_n(field, __ATOMIC_RELAXED);
}

/* Under the lock: pages of the region got a frame at their address, or gave it up. */
static inline void hmm__resident_add(struct hmm_region *region, uint64_t frames)
{
	hmm__bump(&region->space->resident, frames);
	hmm__bump(&region->resident, frames);
}

static inline void hmm__resident_sub(struct hmm_region *region, uint64_t frames)
{
	hmm__bump(&region->space->resident, -frames);
	hmm__bump(&region->resident, -frames);
}

static inline uint8_t *hmm__slot_address(const struct hmm__pool *pool, uint32_t slot)
{
	return pool->base + ((size_t)slot << pool->shift);
}

static inline uint8_t *hmm__page_address(const struct hmm_region *region, uint64_t page)
{
	return region->base + (page << region->shift);
}

/* The identity that policies see. */
static inline uint64_t hmm__page_id(const struct hmm_region *region, uint64_t page)
{
	return (uint64_t)region->id << (64 - HMM__REGION_BITS) | page;
}

/* regions.c: the table of addresses */
int hmm__regions_add(struct hmm_region *region);
/*
 * Take the first piece of [*from, end) that is the region's out of the table: *from and *ret_length say which.  False:
 * none is left.  Pieces that were unmapped before may belong to others by now, so unmap only what this returns.
 */
bool hmm__regions_take_locked(struct hmm_region *region, uint8_t **from, uint8_t *end, size_t *ret_length);
bool hmm__regions_take(struct hmm_region *region, uint8_t **from, uint8_t *end, size_t *ret_length);
/*
 * A reference, or NULL.  Waits where the gate is closed; but with ret_closed pagers do not (fatal for the thread that forks), and
 * with `any` nobody: then *ret_closed.
 */
struct hmm_region *hmm__region_get(uintptr_t address, bool any, bool *ret_closed);
bool hmm__regions_contain(uintptr_t address);
uint64_t hmm__region_end(struct hmm_region *region, uint64_t page); /* first page behind it that is unmapped */
bool hmm__region_hold_inside(struct hmm_region *region); /* for who holds up a fork already */
bool hmm__region_hold(struct hmm_region *region);      /* false: dying */
void hmm__region_put(struct hmm_region *region);
void hmm__region_drain(struct hmm_region *region);     /* wait until the caller's is the only reference left */
bool hmm__regions_cover(struct hmm_region *region, uint8_t *from, uint8_t *to);
struct hmm_region *hmm__region_new(void);
void hmm__region_free(struct hmm_region *region);
extern struct hmm__lock hmm__spaces_lock;
/* Take and give it; the thread that forks has it, and does without (lib/base/forker.h). */
void hmm__spaces_enter(void);
void hmm__spaces_leave(void);
extern struct hmm_space *hmm__spaces;

/* page.c: waiting for and waking the users of a page */
void hmm__page_wait(struct hmm_region *region, hmm__word *word, uint64_t seen);
void hmm__page_wait_for(struct hmm_region *region, hmm__word *word, uint64_t seen, uint64_t ns); /* at most */
void hmm__page_wake(struct hmm_region *region, uint64_t page);
/* Leave a state that the caller owns: state, set and clear flags; wakes. */
void hmm__page_leave(struct hmm_region *region, uint64_t page, enum hmm__state state, uint64_t clear, uint64_t set);
/* LOADING to MAPPED with this frame. */
void hmm__page_leave_mapped(struct hmm_region *region, uint64_t page, uint32_t frame, uint64_t set);
void hmm__page_leave_absent(struct hmm_region *region, uint64_t page, uint64_t clear, uint64_t set);
uint64_t hmm__page_unmark(struct hmm_region *region, uint64_t page, uint64_t clear);
void hmm__page_mark(struct hmm_region *region, uint64_t page, uint64_t set);
void hmm__page_touched(struct hmm_region *region, uint64_t page);
/* The next page at or after `page` whose word is in a leaf that was ever touched; npages if there is none. */
uint64_t hmm__page_next_touched(struct hmm_region *region, uint64_t page);

/* fault.c */
/*
 * What a store says is the store's business: to a fault -ENOENT is a range that is gone, and -EAGAIN an address space that is
 * changing, and the access would be tried again for ever.
 */
static inline int hmm__store_failed(int error)
{
	return error == -ENOENT || error == -EAGAIN ? -EIO : error;
}

#define HMM__AGAIN 1 /* nothing done: another thread was first */
#define HMM__SHORT 3 /* the kernel has no memory for it now: nothing done, try again when some was given back */
int hmm__fault(void *arg, uintptr_t address, enum hmm_fault_access access); /* the backend's callback */
int hmm__page_ensure(struct hmm_region *region, uint64_t page, enum hmm_access access, bool write);

/* load.c: the page is LOADING and ours; returns 0 with it MAPPED, or -errno with it back where it was */
int hmm__load(struct hmm_region *region, uint64_t page, enum hmm_access access, bool write);
/* The same from LAUNDRY or AVAILABLE, as seen in w; HMM__AGAIN if another thread was first. */
int hmm__rescue(struct hmm_region *region, uint64_t page, uint64_t w, enum hmm_access access, bool write);
/*
 * ahead.c: load up to n absent pages from `page` on; returns pages loaded.  asked: the first one is LOADING and the
 * caller's; it is MAPPED if the result is not 0, and still the caller's if it is.
 */
int64_t hmm__load_run(struct hmm_region *region, uint64_t page, uint64_t n, bool asked);

/* frames.c: all under the space's lock unless noted */
int hmm__frames_init(struct hmm_space *space);
void hmm__frames_fini(struct hmm_space *space);
uint64_t hmm__frames_free(const struct hmm_space *space); /* could be mapped at once */
uint32_t hmm__frame_take(struct hmm_space *space, struct hmm_region *region, uint64_t page);
void hmm__frame_put(struct hmm_space *space, uint32_t frame);
bool hmm__credit_take(struct hmm_space *space, uint64_t n);
bool hmm__may_load(const struct hmm_space *space, uint64_t n);   /* are there n frames beside what loads leave? */
bool hmm__credit_take_load(struct hmm_space *space, uint64_t n); /* leaves that */
bool hmm__may_load_swapped(const struct hmm_space *space, uint64_t n); /* a page that has a swap slot may take more */
void hmm__reserve(struct hmm_space *space, uint64_t n);           /* the lock is not held */
void hmm__credit_put(struct hmm_space *space, uint64_t n);
uint32_t hmm__slot_take_populated(struct hmm__pool *pool);
void hmm__slot_put_populated(struct hmm__pool *pool, uint32_t slot);
void hmm__slot_put(struct hmm__pool *pool, uint32_t slot, bool spent); /* populated, or spent */
void hmm__available_add(struct hmm_space *space, uint32_t frame);
void hmm__available_add_refused(struct hmm_space *space, uint32_t frame);
void hmm__available_remove(struct hmm_space *space, uint32_t frame);
/* Tell the policy that a page stays, if it asked. */
void hmm__frame_stays(struct hmm_space *space, uint32_t frame, enum hmm_reject why);
void hmm__frames_changed(struct hmm_space *space); /* no lock needed: wake who waits for a frame */
/* No lock held: a populated slot for a transfer, filled if need be; HMM__NO_SLOT if no frame is left. */
uint32_t hmm__bounce_get(struct hmm__pool *pool);
void hmm__bounce_put(struct hmm__pool *pool, uint32_t slot);
void hmm__bounce_flush(struct hmm_space *space);
/* No lock held: turn free populated slots into credits until `want` of them are there; returns credits made. */
uint64_t hmm__slots_release(struct hmm_space *space, uint64_t want);
int hmm__pool_open(struct hmm__engine *engine, unsigned shift, struct hmm__pool **ret_pool);
int hmm__engine_open(struct hmm_space *space, uint32_t number, struct hmm__engine **ret_engine); /* number: in engines */
void hmm__engine_close(struct hmm__engine *engine);

/* supply.c */
/* The first engine of a space asks for its budget.  0, or -errno with nothing taken.  No lock but the engine lock is held. */
int hmm__supply_begin(struct hmm__engine *engine);
void hmm__supply_end(struct hmm__engine *engine);
/* Ask for n frames more; returns those given. */
uint64_t hmm__supply_take(struct hmm_space *space, uint64_t n);
/* Give back what is beyond the budget. */
void hmm__supply_return(struct hmm_space *space);

/* swapped.c: no lock held */
void hmm__swapped_look(struct hmm_space *space);

/* sample.c: under the space's lock unless noted */
void hmm__mapped_add(struct hmm_space *space, uint32_t frame, bool loaded); /* as the newest; else rescued */
void hmm__mapped_remove(struct hmm_space *space, uint32_t frame);
/* No lock held: unmap what was mapped for longest, as far as that is due; uses the batch. */
void hmm__sample(struct hmm_space *space, struct hmm__batch *batch);
void hmm__sample_poke(struct hmm_space *space); /* no lock held; after a load or a rescue */

/* reclaim.c */
/*
 * Under the lock: the policy named a page.  A region's becomes EVICTING and goes to the batch; a cache's as
 * hmm__cache_take_victim() says; or it is refused, and the policy is told.  Returns its frames, 0 if it was not taken.
 */
uint32_t hmm__take_victim(struct hmm_space *space, struct hmm__batch *batch, uint32_t frame);
/* One pass.  Returns frames made free (0 or more), or -errno if nothing was and a store is why. */
int64_t hmm__reclaim(struct hmm_space *space, uint64_t want);
/* Wait until `n` frames may be free; -errno if that can't be hoped for. */
int hmm__frames_wait(struct hmm_space *space, uint64_t n);
/* After frames were taken: help, or wake who does. */
void hmm__reclaim_poke(struct hmm_space *space);
/* Evict these pages of a region now, as far as they can be; returns frames, or -errno of a store. */
int64_t hmm__evict_range(struct hmm_region *region, uint64_t page, uint64_t npages, bool keep);

/* Give up to n frames of available pages back. */
void hmm__reclaim_window(struct hmm_space *space, uint64_t n);
uint64_t hmm__reclaim_trim(struct hmm_space *space, uint64_t n); /* the same under the lock; returns frames; wakes nobody */

/* discard.c: drop every page of a range unsaved, from any state.  Waits for who is busy with one. */
enum hmm__discard {
	HMM__DISCARD_RANGE, /* the range stays: the pages are unmapped */
	HMM__DISCARD_CLEAN, /* the same, of copies of the store only: others stay, and of a shared region that is -EBUSY */
	HMM__DISCARD_UNMAP, /* the range is about to be detached, by the caller, when all pages are claimed */
	HMM__DISCARD_GONE,  /* the range is gone already */
};
int hmm__discard(struct hmm_region *region, uint64_t page, uint64_t npages, enum hmm__discard how);
/* lazy.c: garbage unless written.  -EINVAL: shared */
int hmm__lazy_free(struct hmm_region *region, uint64_t page, uint64_t npages);
/* The page is EVICTING and the caller's, and nothing is mapped there any more: forget it. */
void hmm__page_lost(struct hmm_region *region, uint64_t page);

/* swap.c */
int hmm__swap_ready(struct hmm_space *space); /* not on the fault path: makes the store */
void hmm__swap_free(struct hmm_space *space, uint32_t slot, uint32_t npages);
int hmm__swap_writable(struct hmm_space *space); /* before slots are taken; on the fault path */
/* Under the swap lock: as hmm__slots_alloc(). */
uint32_t hmm__swap_take(struct hmm_space *space, uint32_t want, uint32_t unit, uint32_t *ret_first);
/* As hmm__store_read() of slots, which may be in several stores. */
int hmm__swap_read(struct hmm_space *space, struct hmm_store_vec *vec, unsigned n);

/* swap_room.c */
/* With the swap lock, before anybody else knows the slots: none at or above `end` can be written. */
void hmm__swap_ceiling_start(struct hmm_space *space, uint64_t end);
/*
 * Dirty victims for which the swap store has no room, and none could be made, get the fate STAY.  0, or -ENOSPC if there
 * were any.
 */
int hmm__swap_fit(struct hmm_space *space, struct hmm__batch *batch);
/* No lock held: try to have `need` slots free, or at least `least`.  Returns how many are. */
uint64_t hmm__swap_make_room(struct hmm_space *space, uint64_t need, uint32_t least);
/* No lock held: a store has accepted a slot's contents, or has not. */
void hmm__swap_written(struct hmm_space *space, uint32_t slot, uint32_t npages, int error);

/* keep.c */
bool hmm__keep_samples(const struct hmm_space *space); /* does the policy want to see uses? */
bool hmm__keep_clean(struct hmm_space *space);     /* shall this pass keep clean pages' contents? */
uint64_t hmm__keep_goal(const struct hmm_space *space); /* frames the available list should hold now */
void hmm__keep_loaded(struct hmm_space *space, uint64_t ns, uint64_t npages);
void hmm__keep_rescued(struct hmm_space *space);
void hmm__keep_evicted(struct hmm_space *space, uint32_t kept);

/* event.c */
void hmm__event(struct hmm_space *space, enum hmm_event_kind kind, struct hmm_region *region, uint64_t page,
                uint64_t npages, int error, const char *text);
void hmm__events_deliver(struct hmm_space *space);
void hmm__events_forget(struct hmm_space *space, struct hmm_region *region);
void hmm__poison_cure(struct hmm_region *region, uint64_t page);
void hmm__poison_add(struct hmm_region *region, uint64_t page);
void hmm__poison_expire(struct hmm_space *space, uint64_t older_than_ns);

/* reclaimer.c */
int hmm__reclaimer_start(struct hmm_space *space);
void hmm__reclaimer_stop(struct hmm_space *space);
void hmm__reclaimer_wake(struct hmm_space *space);
void hmm__work(struct hmm_space *space); /* one round of background work */

/* stream.c */
struct hmm__ahead {
	struct hmm__stream *stream; /* NULL: no read-ahead */
	uint64_t pages;             /* to read beyond the one asked for */
	uint64_t behind;            /* pages to drop behind it */
};
void hmm__stream_fault(struct hmm_region *region, uint64_t page, struct hmm__ahead *ret_ahead);
/* n pages from `page` on are there now: the stream's next fault is behind them. */
void hmm__stream_advance(struct hmm__stream *stream, uint64_t page, uint64_t n);

/* region.c */
int hmm__region_make_tables(struct hmm_region *region); /* npages and flags are set: words and what goes with them */
void hmm__region_free_tables(struct hmm_region *region);
void hmm__give_back_idle(struct hmm_space *space); /* if there is no region and no cache any more */
void hmm__region_release(struct hmm_region *region, uint64_t page, uint64_t npages); /* they are unmapped and settled */
bool hmm__read_only(struct hmm_region *region, uint64_t page, uint64_t npages); /* any part; takes the region's lock */

/* gone.c */
void hmm__gone(void *arg, uintptr_t address, size_t length);
void hmm__pressure(void *arg, int64_t frames);

/* pin.c: the smallest budget that leaves room beside what is pinned and locked */
uint64_t hmm__pin_room(const struct hmm_space *space);

/* space.c */
void hmm__space_watermarks(struct hmm_space *space);
void hmm__space_budget(struct hmm_space *space, uint64_t frames); /* under the lock: with water marks and policy */
void hmm__space_policy_size(struct hmm_space *space); /* under the lock: tell the policy how many pages there is room for */
int hmm__space_resize(struct hmm_space *space, uint64_t frames, uint64_t *ret_frames);

/* fork.c */
int hmm__fork_init(void);

/* gate.c */
extern _Atomic uint32_t hmm__signals_matter; /* 0: nobody can fault, so calls may leave signals open */
bool hmm__gate_closed(struct hmm_space *space); /* to this thread */
void hmm__gate_wait(struct hmm_space *space);
/* For threads that may not wait: what was unmapped is dealt with when gates open.  False: they are open, or it is too much. */
bool hmm__gate_postpone(uintptr_t address, size_t length);
/* All gates, once nobody is inside; signals blocked.  Holds the fork lock and the spaces lock until they are opened. */
void hmm__gates_close(void);
void hmm__gates_open(void);
extern _Atomic uint32_t *hmm__ours; /* 0 in a child without fork's handlers (G3) */
static inline bool hmm__is_stray(void)
{
	return HMM__UNLIKELY(!atomic_load_explicit(hmm__ours, memory_order_relaxed));
}
int hmm__stray_init(void);
void hmm__stray_no_more(void); /* in the child's handler */
void hmm__gates_forked(void);  /* the same */
/* Before a region is made; no lock held, not in a call. */
void hmm__faults_begin(void);

#endif
