/* SPDX-License-Identifier: MIT */
/*
 * fault.c - one access that trapped, or one page that a call needs: decide by the page word what has to happen
 *
 * The same code for both deliveries.  A pager thread never waits for a page that another thread is busy with: it
 * marks the page and goes on, and who is busy wakes the accessor in the kernel (HMM__WAITERS).
 */
#include <errno.h>
#include <sched.h>

#include "lib/base/clock.h"
#include "lib/base/futex.h"
#include "lib/vm/load.h"
#include "lib/vm/record.h"

#define SAMPLE_MASK 15

/* The kernel has no memory: how often to try again, and frames to give up before each time. */
#define SHORT_TRIES 200u
#define SHORT_FRAMES 32u
#define SHORT_NS UINT64_C(2000000)

/* A pager left the page to the thread that is busy with it, which will wake the accessor. */
#define DEFERRED 2

struct want {
	struct hmm_region *region;
	uint64_t page;
	enum hmm_access access;
	bool write;
	bool trap;  /* an access trapped; else a call asks */
	bool defer; /* don't wait for others */
	unsigned tries; /* left, while the kernel has no memory; see short_of_memory() */
	bool protect; /* out: it was the first write to a clean page */
};

static int take(struct want *k, uint64_t w)
{
	struct hmm_region *region = k->region;

	if (hmm__word_state(w) != HMM__ABSENT)
		return hmm__rescue(region, k->page, w, k->access, k->write);
	if (!hmm__word_cas(&region->words[k->page], &w, hmm__word_with_state(w & ~HMM__POISONED, HMM__LOADING)))
		return HMM__AGAIN;
	if (k->page >= hmm__region_end(region, k->page)) { /* unmapped since the look-up */
		hmm__page_leave_absent(region, k->page, 0, 0);
		return -ENOENT;
	}
	if (w & HMM__POISONED)
		region->engine->ops->poison(region->engine->backend, hmm__page_address(region, k->page),
		                            (size_t)1 << region->shift, 0);
	return hmm__load(region, k->page, k->access, k->write);
}

/* The policy does not hear of it, so the lock is not held; the trace would miss that the page is dirty. */
static void record_write(struct hmm_region *region, uint64_t page)
{
	hmm__lock(&region->space->lock);
	hmm__record_access(region, page, true);
	hmm__unlock(&region->space->lock);
}

/* The first write to a clean page: dirty before the write can happen (P4), then let it through. */
static int first_write(struct want *k, uint64_t w)
{
	struct hmm_region *region = k->region;
	struct hmm_span span = { hmm__page_address(region, k->page), (size_t)1 << region->shift };
	int r;

	if (!hmm__word_cas(&region->words[k->page], &w, hmm__word_with_state(w, HMM__LOADING)))
		return HMM__AGAIN;
	if (HMM__UNLIKELY(region->space->record != NULL)) /* before the accessor can go on */
		record_write(region, k->page);
	r = region->engine->ops->write_protect(region->engine->backend, &span, 1, 0);
	hmm__page_leave(region, k->page, HMM__MAPPED, r ? 0 : HMM__FREE | HMM__AHEAD, r ? 0 : HMM__DIRTY);
	k->protect = true;
	if (r == -ENOMEM)
		return HMM__SHORT;
	return r; /* -EAGAIN, -ENOENT: the address space is changing; see resolve() */
}

/* Another thread is busy with the page: wait for it, or have it wake the accessor. */
static int busy(struct want *k, uint64_t w)
{
	hmm__word *word = &k->region->words[k->page];

	if (!k->defer) {
		hmm__page_wait(k->region, word, w);
		return HMM__AGAIN;
	}
	if (!(w & HMM__WAITERS) && !hmm__word_cas(word, &w, w | HMM__WAITERS))
		return HMM__AGAIN;
	HMM__COUNT(k->region->space, waits, 1);
	return DEFERRED;
}

/*
 * A trap on a page that our books call mapped and accessible.  Nearly always another thread has resolved it since.  But
 * the application may have dropped the page itself (madvise(MADV_DONTNEED) on a region's memory): then its contents are
 * gone as it wished, and the page is absent.
 */
static int stale(struct want *k, uint64_t w)
{
	struct hmm_region *region = k->region;
	struct hmm__engine *engine = region->engine;
	void *address = hmm__page_address(region, k->page);
	uint8_t bits = 0;
	bool blind;

	if (w & HMM__WRITEBACK)
		return busy(k, w); /* its writer still needs the books as they are */
	HMM__COUNT(region->space, faults_stale, 1);
	/* Claimed before the look: else it could leave and come back with the same word in between. */
	if (!hmm__word_cas(&region->words[k->page], &w, hmm__word_with_state(w, HMM__EVICTING)))
		return HMM__AGAIN;
	blind = engine->ops->harvest(engine->backend, address, 1, &bits) != 0;
	if (!blind && !(bits & HMM_HARVEST_PRESENT)) {
		hmm__page_lost(region, k->page);
		return HMM__AGAIN;
	}
	hmm__page_leave(region, k->page, HMM__MAPPED, 0, 0);
	/*
	 * A sync whose store failed leaves a dirty page protected; so does the eviction of a large one that stopped half-way, of
	 * its tail, which was not looked at.
	 */
	if (w & HMM__DIRTY && k->write && (blind || region->weight > 1 || !(bits & HMM_HARVEST_WRITABLE)))
		return first_write(k, hmm__word_with_state(w & ~HMM__WAITERS, HMM__MAPPED));
	if (engine->delivery == HMM_DELIVERY_THREAD)
		engine->ops->wake(engine->backend, address, (size_t)1 << region->shift);
	return 0;
}

static int present(struct want *k, uint64_t w)
{
	if (k->write && !(w & HMM__DIRTY))
		return first_write(k, w);
	return k->trap ? stale(k, w) : 0;
}

/*
 * The kernel had no memory for it (a memory cgroup that is full, or a machine), or could not bring in what it had swapped
 * out itself (EFAULT).  Frames that we give up are memory it can have: pages are evicted, and free frames go back.  Others may
 * do the same, or take what we gave, so it is tried again for a while.  True: worth another try.
 */
static bool make_room(struct want *k)
{
	struct hmm_space *space = k->region->space;
	uint32_t seq = atomic_load(&space->frame_seq);

	if (!k->tries)
		return false;
	k->tries--;
	hmm__reclaim(space, SHORT_FRAMES);
	hmm__bounce_flush(space);
	if (!hmm__slots_release(space, SHORT_FRAMES))
		hmm__futex_wait(&space->frame_seq, seq, SHORT_NS);
	return true;
}

static int no_memory(struct want *k)
{
	hmm__event(k->region->space, HMM_EVENT_NO_FRAME, k->region, k->page, 1, -ENOMEM, NULL);
	return -ENOMEM;
}

static int resolve(struct want *k)
{
	int r = HMM__AGAIN;

	while (r == HMM__AGAIN) {
		uint64_t w = atomic_load_explicit(&k->region->words[k->page], memory_order_acquire);

		switch (hmm__word_state(w)) {
		case HMM__MAPPED:
			r = present(k, w);
			break;
		case HMM__LOADING:
		case HMM__EVICTING:
			r = busy(k, w);
			break;
		default:
			r = take(k, w);
			break;
		}
		if (r == -EAGAIN) {
			/* The address space is changing until an event has been read: by another thread, or by this pager. */
			if (k->defer) {
				hmm__page_wake(k->region, k->page);
				return 0;
			}
			r = HMM__AGAIN;
			sched_yield();
		}
		if (r == HMM__SHORT)
			r = make_room(k) ? HMM__AGAIN : no_memory(k);
	}
	return r;
}

/*
 * The page can't be had.  Inline, the handler passes the signal on.  Under thread delivery the page is poisoned,
 * which makes the kernel raise it, or fail the system call; for a while, so that the program may try again.
 */
static int failed(struct hmm_region *region, uint64_t page, int error)
{
	struct hmm__engine *engine = region->engine;
	hmm__word *word = &region->words[page];
	uint64_t w = atomic_load(word);

	HMM__COUNT(region->space, faults_failed, 1);
	if (engine->delivery != HMM_DELIVERY_THREAD || !(engine->caps & HMM_BACKEND_POISON))
		return error;
	if (hmm__word_state(w) != HMM__ABSENT || !hmm__word_cas(word, &w, hmm__word_with_state(w, HMM__LOADING)))
		return error; /* in the window, or somebody else tries: the signal is sent directly */
	engine->ops->poison(engine->backend, hmm__page_address(region, page), (size_t)1 << region->shift, 1);
	hmm__page_leave_absent(region, page, 0, HMM__POISONED);
	hmm__poison_add(region, page);
	engine->ops->wake(engine->backend, hmm__page_address(region, page), (size_t)1 << region->shift);
	return 0;
}

static int fault_in(struct hmm_region *region, uintptr_t address, enum hmm_fault_access access)
{
	struct hmm_space *space = region->space;
	struct want k = { .region = region, .page = (address - (uintptr_t)region->base) >> region->shift, .trap = true, .tries = SHORT_TRIES };
	uint64_t w = atomic_load_explicit(&region->words[k.page], memory_order_relaxed);
	bool inline_ = region->engine->delivery == HMM_DELIVERY_INLINE;
	uint64_t n = inline_ ? HMM__COUNT(space, faults_inline, 1) : HMM__COUNT(space, faults_thread, 1);
	uint64_t start = n & SAMPLE_MASK ? 0 : hmm__now_ns();
	int r;

	/* Unknown: a trap on a page that is there can only be a write. */
	k.write = access == HMM_FAULT_WRITE || (access == HMM_FAULT_UNKNOWN && hmm__word_state(w) == HMM__MAPPED);
	k.access = k.write ? HMM_ACCESS_WRITE : HMM_ACCESS_READ;
	k.defer = !inline_;
	r = resolve(&k);
	if (k.protect)
		HMM__COUNT(space, faults_protect, 1);
	else if (hmm__word_state(w) != HMM__MAPPED && k.write)
		HMM__COUNT(space, faults_write, 1);
	else if (hmm__word_state(w) != HMM__MAPPED)
		HMM__COUNT(space, faults_read, 1);
	if (!(n & SAMPLE_MASK))
		HMM__COUNT(space, fault_ns, (hmm__now_ns() - start) * (SAMPLE_MASK + 1));
	if (r < 0 && r != -ENOENT)
		r = failed(region, k.page, r);
	return r == DEFERRED ? -EAGAIN : r;
}

int hmm__fault(void *arg, uintptr_t address, enum hmm_fault_access access)
{
	/* the addresses that a stray's table has are others' by now, or nobody's */
	bool closed = false, inline_;
	struct hmm_region *region = hmm__is_stray() ? NULL : hmm__region_get(address, false, &closed);
	int r;

	(void)arg; /* the table knows the regions of all spaces */
	if (!region)
		return closed ? -EAGAIN : -ENOENT;
	inline_ = region->engine->delivery == HMM_DELIVERY_INLINE;
	r = fault_in(region, address, access);
	hmm__region_put(region);
	/* -ENOENT from inside: unmapped meanwhile.  The access will find out by itself. */
	return r == -ENOENT && inline_ ? 0 : r;
}

int hmm__page_ensure(struct hmm_region *region, uint64_t page, enum hmm_access access, bool write)
{
	struct want k = { .region = region, .page = page, .access = access, .write = write, .tries = SHORT_TRIES };

	return resolve(&k);
}
