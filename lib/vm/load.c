/* SPDX-License-Identifier: MIT */
/*
 * load.c - one page that was asked for: from ABSENT or the window to MAPPED
 *
 * The caller has made the page LOADING.  A frame is accounted before anything is mapped (V1); whatever fails puts
 * the page back where it came from, with its frame.
 */
#include "lib/vm/load.h"

#include <errno.h>

#include "lib/base/clock.h"
#include "lib/base/futex.h"
#include "lib/store/store.h"
#include "lib/vm/record.h"

#define RELEASE 32u    /* slots turned into credits at once: one interrupt to the other CPUs */
#define BOUNCE_TRIES 20u
#define SAMPLE_MASK 15 /* time one load in 16 */

struct hmm_store_vec hmm__source_vec(const struct hmm_region *region, uint64_t page, enum hmm__source source, void *data)
{
	struct hmm_store_vec v = { .data = data, .length = (size_t)1 << region->shift };

	if (source == HMM__SOURCE_SWAP)
		v.offset = (uint64_t)atomic_load_explicit(&region->slots[page], memory_order_relaxed)
		           << HMM__PAGE_SHIFT_MIN;
	else
		v.offset = region->offset + (page << region->shift);
	return v;
}

int hmm__source_read(struct hmm_region *region, enum hmm__source source, struct hmm_store_vec *vec, unsigned n)
{
	return source == HMM__SOURCE_SWAP ? hmm__swap_read(region->space, vec, n) : hmm__store_read(region->store, vec, n);
}

/* How a page gets its frame. */
struct frame {
	uint32_t number; /* frame number */
	uint32_t slot;   /* where contents are prepared; HMM__NO_SLOT: nowhere, or a bounce slot is still to be had */
	bool grant;
};

/*
 * Account a frame for the page: a populated slot whose frame will be granted, where that is wanted, else a credit.
 * Only where frames are recycled: what a free slot holds was never at an address else, and is better kept to pass
 * contents through.
 */
static bool frame_try(struct hmm_region *region, uint64_t page, enum hmm_access access, bool write, bool want_grant,
                      struct frame *f)
{
	struct hmm_space *space = region->space;
	bool stored = atomic_load(&region->words[page]) & HMM__STORED, ok;

	hmm__lock(&space->lock);
	ok = stored ? hmm__may_load_swapped(space, region->weight) : hmm__may_load(space, region->weight);
	f->slot = want_grant && ok ? hmm__slot_take_populated(region->pool) : HMM__NO_SLOT;
	f->grant = f->slot != HMM__NO_SLOT;
	ok = f->grant || (ok && hmm__credit_take(space, region->weight));
	if (ok) {
		hmm__record_access(region, page, write);
		hmm__policy_miss(space->policy, hmm__page_id(region, page), access);
		f->number = hmm__frame_take(space, region, page);
		hmm__resident_add(region, region->weight);
		hmm__policy_inserted(space->policy, f->number, hmm__page_id(region, page), region->id, access);
	}
	hmm__unlock(&space->lock);
	return ok;
}

static int frame_get(struct hmm_region *region, uint64_t page, enum hmm_access access, bool write, bool want_grant,
                     struct frame *f)
{
	struct hmm_space *space = region->space;

	while (!frame_try(region, page, access, write, want_grant, f)) {
		int r;

		if (hmm__slots_release(space, HMM__MAX((uint64_t)RELEASE, (uint64_t)region->weight)) >= region->weight)
			continue;
		r = hmm__frames_wait(space, region->weight);
		if (r)
			return r;
	}
	return 0;
}

/* The load failed: the frame goes back, the policy forgets the page. */
static void frame_undo(struct hmm_region *region, uint64_t page, struct frame *f)
{
	struct hmm_space *space = region->space;

	hmm__lock(&space->lock);
	hmm__policy_removed(space->policy, f->number, hmm__page_id(region, page), HMM_REMOVED_FAILED);
	hmm__frame_put(space, f->number);
	hmm__resident_sub(region, region->weight);
	if (f->grant)
		hmm__slot_put_populated(region->pool, f->slot);
	else
		hmm__credit_put(space, region->weight);
	hmm__unlock(&space->lock);
	hmm__frames_changed(space);
}

static void slot_now_empty(struct hmm_region *region, uint32_t slot)
{
	hmm__lock(&region->space->lock);
	hmm__slotmap_put(&region->pool->map, HMM__EMPTY, slot);
	hmm__unlock(&region->space->lock);
}

static int read_contents(struct hmm_region *region, uint64_t page, enum hmm__source source, void *data)
{
	struct hmm_space *space = region->space;
	struct hmm_store_vec vec = hmm__source_vec(region, page, source, data);
	bool timed = (HMM__COUNT(space, loads, 1) & SAMPLE_MASK) == 0;
	uint64_t start = timed ? hmm__now_ns() : 0;
	int r = hmm__source_read(region, source, &vec, 1);

	if (timed) {
		uint64_t ns = hmm__now_ns() - start;

		HMM__COUNT(space, load_ns, ns * (SAMPLE_MASK + 1));
		hmm__keep_loaded(space, ns, 1);
	}
	if (r == -EFAULT) /* the slot was swapped out by the kernel, which has no memory to bring it back */
		return HMM__SHORT;
	if (r) {
		HMM__COUNT(space, load_errors, 1);
		hmm__event(space, HMM_EVENT_READ_ERROR, region, page, 1, r, NULL);
		return hmm__store_failed(r);
	}
	HMM__COUNT(space, bytes_read, vec.length);
	return 0;
}

/* Contents to a slot, and from there to the address. */
static int fill_and_map(struct hmm_region *region, uint64_t page, enum hmm__source source, bool write, struct frame *f,
                        bool *ret_dirtied)
{
	struct hmm__install in = { .region = region, .page = page, .npages = 1, .clean = !write, .grant = f->grant };
	unsigned tries = BOUNCE_TRIES;
	uint32_t bounce = HMM__NO_SLOT;
	int r = 0;

	if (source == HMM__SOURCE_ZERO) {
		HMM__COUNT(region->space, zero_fills, 1);
	} else {
		if (!f->grant) {
			while ((bounce = hmm__bounce_get(region->pool)) == HMM__NO_SLOT) {
				/* tries: frames may be free, and the kernel have none to put behind a slot */
				r = tries-- ? hmm__frames_wait(region->space, region->weight) : HMM__SHORT;
				if (r)
					return r;
			}
		}
		in.slot = hmm__slot_address(region->pool, f->grant ? f->slot : bounce);
		r = read_contents(region, page, source, in.slot);
	}
	if (!r)
		r = hmm__install(&in);
	*ret_dirtied = in.dirtied;
	if (bounce != HMM__NO_SLOT)
		hmm__bounce_put(region->pool, bounce);
	return r;
}

/* -EEXIST: something is there already, so what we brought is not needed; its state is unknown, so it counts as dirty. */
static bool settled(int r, bool *dirty)
{
	if (r == -EEXIST) {
		*dirty = true;
		return true;
	}
	return !r;
}

static int load_one(struct hmm_region *region, uint64_t page, enum hmm_access access, bool write)
{
	struct hmm_space *space = region->space;
	enum hmm__source source = hmm__source_of(region, atomic_load(&region->words[page]));
	bool grant = source != HMM__SOURCE_ZERO && hmm__recycles(region) && (write || region->weight > 1) &&
	             !hmm__read_only(region, page, 1);
	bool dirty = write, dirtied = false;
	struct frame f = { .number = HMM__NO_FRAME };
	int r;

	for (;;) {
		r = frame_get(region, page, access, write, grant, &f);
		if (r)
			break;
		r = fill_and_map(region, page, source, write, &f, &dirtied);
		if (settled(r, &dirty))
			break;
		frame_undo(region, page, &f);
		if (r != -EBUSY || !f.grant)
			break;
		grant = false; /* the kernel still holds the slot's frame: copy it */
	}
	if (r && r != -EEXIST) {
		hmm__page_leave_absent(region, page, 0, 0);
		return r;
	}
	if (f.grant && r != -EEXIST) {
		slot_now_empty(region, f.slot);
	} else if (f.grant) {
		/* our frame stayed in its slot, and the one that was there was never ours: count it */
		hmm__lock(&space->lock);
		hmm__slot_put_populated(region->pool, f.slot);
		hmm__bump(&space->held, region->weight);
		hmm__unlock(&space->lock);
	}
	hmm__page_leave_mapped(region, page, f.number, dirty || dirtied ? HMM__DIRTY : 0);
	return 0;
}

/* A page of a sequential stream: with those that follow, in one run where frames can be granted. */
static int load_stream(struct hmm_region *region, uint64_t page, enum hmm_access access, bool write,
                       const struct hmm__ahead *ahead)
{
	int64_t n = 0;
	int r = 0;

	if (!write && hmm__can_grant(region))
		n = (int64_t)hmm__assist_run(region, page, ahead->pages, ahead->behind);
	if (!n) {
		if (ahead->behind)
			hmm__evict_range(region, page - ahead->behind, ahead->behind, false);
		r = load_one(region, page, access, write);
		n = r ? 0 : 1 + hmm__load_run(region, page + 1, ahead->pages, false);
	}
	if (!r && n > 0)
		hmm__stream_advance(ahead->stream, page, (uint64_t)n);
	return r;
}

int hmm__load(struct hmm_region *region, uint64_t page, enum hmm_access access, bool write)
{
	enum hmm__source source = hmm__source_of(region, atomic_load(&region->words[page]));
	struct hmm__ahead ahead;
	int r;

	hmm__page_touched(region, page);
	hmm__stream_fault(region, page, &ahead);
	if (ahead.pages && source != HMM__SOURCE_ZERO)
		r = load_stream(region, page, access, write, &ahead);
	else
		r = load_one(region, page, access, write);
	hmm__reclaim_poke(region->space);
	hmm__sample_poke(region->space);
	return r;
}

/*
 * Back from the window.  A page from the available list, copied back where a credit is left and else granted; or one
 * out of the laundry, whose slot its writer still reads: always copied, and dirty.
 */

/* What a rescue takes from the books before it maps, and gives back if that fails. */
struct rescue {
	uint32_t number, slot;
	bool laundry; /* its writer still reads the slot */
	bool grant;
	bool may_grant; /* frames can move to this page */
	bool credit;
};

/*
 * The claim and the books change together under the lock: the laundry's writer and the trimming of the available
 * list see a page either untouched or with its rescuer accounted for.
 */
static bool rescue_begin(struct hmm_region *region, uint64_t page, uint64_t w, bool dirty, struct rescue *k)
{
	struct hmm_space *space = region->space;
	struct hmm__frame *f = &space->frames[k->number];

	hmm__lock(&space->lock);
	if (!hmm__word_cas(&region->words[page], &w, hmm__word_with_state(w & ~HMM__FREE, HMM__LOADING))) {
		hmm__unlock(&space->lock);
		return false;
	}
	k->slot = f->slot;
	k->laundry = !f->listed;
	if (k->laundry)
		f->slot_refs++;
	else
		hmm__available_remove(space, k->number);
	k->may_grant = k->may_grant && !k->laundry;
	k->grant = k->may_grant && (dirty || (region->weight > 1 && hmm__recycles(region)));
	k->credit = !k->grant && hmm__credit_take(space, region->weight);
	hmm__unlock(&space->lock);
	return true;
}

static int rescue_frame(struct hmm_region *region, struct rescue *k)
{
	struct hmm_space *space = region->space;

	if (!k->credit && k->may_grant)
		k->grant = true;
	while (!k->grant && !k->credit) {
		int r = hmm__slots_release(space, RELEASE) ? 0 : hmm__frames_wait(space, region->weight);

		if (r)
			return r;
		hmm__lock(&space->lock);
		k->credit = hmm__credit_take(space, region->weight);
		hmm__unlock(&space->lock);
	}
	return 0;
}

/* Drop the rescuer's hold on a laundry slot; true if the writer has finished with it already. */
static bool slot_unref(struct hmm_region *region, uint32_t number)
{
	return --region->space->frames[number].slot_refs == 0;
}

static void rescue_back(struct hmm_region *region, uint64_t page, struct rescue *k)
{
	struct hmm_space *space = region->space;
	enum hmm__state state = HMM__AVAILABLE;

	hmm__lock(&space->lock);
	if (k->credit)
		hmm__credit_put(space, region->weight);
	if (k->laundry && !slot_unref(region, k->number)) {
		state = HMM__LAUNDRY;
	} else {
		/* where the writer has finished, the page is still marked dirty: it will be written once more */
		if (k->laundry)
			space->laundry -= region->weight;
		if (atomic_load(&region->words[page]) & HMM__DIRTY)
			hmm__available_add_refused(space, k->number);
		else
			hmm__available_add(space, k->number);
	}
	hmm__page_leave(region, page, state, 0, 0);
	hmm__unlock(&space->lock);
}

static void rescue_done(struct hmm_region *region, uint64_t page, struct rescue *k, bool existed,
                        enum hmm_access access, bool write)
{
	struct hmm_space *space = region->space;
	struct hmm__frame *f = &space->frames[k->number];

	hmm__lock(&space->lock);
	if (k->laundry)
		space->laundry -= region->weight;
	if (!k->laundry || slot_unref(region, k->number)) {
		if (k->grant && !existed)
			hmm__slotmap_put(&region->pool->map, HMM__EMPTY, k->slot);
		else
			hmm__slot_put(region->pool, k->slot, f->spent);
		f->slot = HMM__NO_SLOT;
		f->spent = 0;
	}
	if (k->grant && existed)
		hmm__bump(&space->held, region->weight);
	hmm__resident_add(region, region->weight);
	hmm__mapped_add(space, k->number, false);
	hmm__frame_stays(space, k->number, HMM_REJECT_RACED);
	hmm__record_access(region, page, write);
	hmm__policy_touched(space->policy, &k->number, 1, access);
	hmm__unlock(&space->lock);
	HMM__COUNT(space, rescues, 1);
	if (!k->laundry)
		hmm__keep_rescued(space);
}

/*
 * A frame that is granted is writable for a moment before it is protected, and a device may get hold of it then: so its
 * clean contents get a print.  Returns the flag for that.
 */
static uint64_t prepare_grant(struct hmm_region *region, struct rescue *k, const struct hmm__install *in)
{
	if (!in->grant || !in->clean || hmm__recycles(region))
		return 0;
	region->space->frames[k->number].print = hmm__print_of(region, in->slot);
	return HMM__SUSPECT;
}

int hmm__rescue(struct hmm_region *region, uint64_t page, uint64_t w, enum hmm_access access, bool write)
{
	bool dirty = (w & HMM__DIRTY) || write;
	struct rescue k = { .number = hmm__word_frame(w),
		            .may_grant = hmm__can_grant(region) && !hmm__read_only(region, page, 1) };
	struct hmm__install in = { .region = region, .page = page, .npages = 1, .clean = !dirty };
	uint64_t suspect = 0;
	int r;

	if (!rescue_begin(region, page, w, dirty, &k))
		return HMM__AGAIN;
	in.slot = hmm__slot_address(region->pool, k.slot);
	r = rescue_frame(region, &k);
	if (!r) {
		in.grant = k.grant;
		suspect = prepare_grant(region, &k, &in);
		r = hmm__install(&in);
	}
	if (r == -EBUSY && k.grant) { /* the slot's protection is another one, or the kernel swapped it: copy it */
		in.grant = k.grant = k.may_grant = false;
		suspect = 0;
		r = rescue_frame(region, &k);
		if (!r)
			r = hmm__install(&in);
	}
	if (!settled(r, &dirty)) {
		rescue_back(region, page, &k);
		return r;
	}
	rescue_done(region, page, &k, r == -EEXIST, access, write);
	hmm__page_leave(region, page, HMM__MAPPED, HMM__SUSPECT, suspect | (dirty || in.dirtied ? HMM__DIRTY : 0));
	hmm__reclaim_poke(region->space);
	hmm__sample_poke(region->space);
	return 0;
}
