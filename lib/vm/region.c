/* SPDX-License-Identifier: MIT */
/*
 * region.c - map, unmap and protect ranges
 *
 * G1  A region is in the table of addresses only while it is complete; it is taken out first when it goes.
 * G2  Only what changes the protection holds region->lock.  Nothing that waits for a page or a store does.
 */
#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#include "lib/base/arena.h"
#include "lib/store/store.h"
#include "lib/sys/sys.h"
#include "lib/mem/ownstack.h"
#include "lib/vm/call.h"
#include "lib/vm/vm.h"

#define FLAGS_KNOWN                                                                                      \
	(HMM_REGION_SHARED | HMM_REGION_READ_ONLY | HMM_REGION_FIXED | HMM_REGION_COPY_ON_FORK |         \
	 HMM_REGION_LOCKED | HMM_REGION_NO_READ_AHEAD | HMM_REGION_NOTICE | HMM_REGION_RECYCLE |         \
	 HMM_REGION_DIRECT_IO | HMM_REGION_INCOHERENT)
#define READ_AHEAD_BYTES ((size_t)1 << 20)

static int check_options(struct hmm_space *space, struct hmm_store *store, uint64_t offset, size_t length,
                         struct hmm_region_options *o)
{
	size_t page;
	uint64_t budget;

	if (!o->page_shift)
		o->page_shift = HMM__PAGE_SHIFT_MIN;
	if (o->page_shift < HMM__PAGE_SHIFT_MIN || o->page_shift > HMM__PAGE_SHIFT_MAX ||
	    o->delivery > HMM_DELIVERY_INLINE || o->flags & ~(uint32_t)FLAGS_KNOWN)
		return -EINVAL;
	page = (size_t)1 << o->page_shift;
	if (!length || !HMM__IS_ALIGNED(length, page) || offset & (page - 1) || (!store && offset) ||
	    offset + length < offset)
		return -EINVAL;
	if (!store && o->flags & HMM_REGION_SHARED)
		return -EINVAL;
	if (o->flags & HMM_REGION_INCOHERENT && !(o->flags & HMM_REGION_SHARED))
		return -EINVAL;
	if (store && hmm__store_granule(store) > page)
		return -EINVAL;
	if (o->flags & HMM_REGION_FIXED ? !HMM__IS_ALIGNED(o->address, page) || !o->address : o->address != NULL)
		return -EINVAL;
	budget = hmm__peek(&space->budget);
	/* the child's pages would all count as written, and go over what the parent writes to the same store */
	if (o->flags & HMM_REGION_SHARED && o->flags & HMM_REGION_COPY_ON_FORK)
		return -EINVAL;
	if (o->flags & HMM_REGION_NOTICE && !space->given.notice)
		return -EINVAL;
	if (o->flags & HMM_REGION_RECYCLE && o->flags & HMM_REGION_DIRECT_IO)
		return -EINVAL;
	if (o->page_shift > HMM__PAGE_SHIFT_MIN && (page >> HMM__PAGE_SHIFT_MIN) > budget / 8)
		return -EINVAL;
	if (o->flags & HMM_REGION_SHARED && !(o->flags & HMM_REGION_READ_ONLY) && !hmm__store_writable(store))
		return -EBADF;
	return 0;
}

void hmm__region_free_tables(struct hmm_region *region)
{
	if (region->words)
		hmm__sparse_free(region->words, region->npages * sizeof(region->words[0]));
	if (region->slots)
		hmm__sparse_free(region->slots, region->npages * sizeof(region->slots[0]));
	if (region->touched)
		hmm__sparse_free(region->touched, region->ntouched_words * sizeof(region->touched[0]));
	region->words = NULL;
	region->slots = NULL;
	region->touched = NULL;
	hmm__intervals_fini(&region->read_only);
}

int hmm__region_make_tables(struct hmm_region *region)
{
	uint64_t leaves = (region->npages + HMM__LEAF_PAGES - 1) / HMM__LEAF_PAGES;

	region->ntouched_words = (leaves + 63) / 64;
	region->words = hmm__sparse_alloc(region->npages * sizeof(region->words[0]));
	region->touched = hmm__sparse_alloc(region->ntouched_words * sizeof(region->touched[0]));
	if (!(region->flags & HMM_REGION_SHARED))
		region->slots = hmm__sparse_alloc(region->npages * sizeof(region->slots[0]));
	if (region->words && region->touched && (region->slots || region->flags & HMM_REGION_SHARED))
		return 0;
	hmm__region_free_tables(region);
	return -ENOMEM;
}

static void fill_in(struct hmm_region *region, struct hmm_space *space, struct hmm_store *store, uint64_t offset,
                    size_t length, const struct hmm_region_options *o)
{
	size_t ahead = READ_AHEAD_BYTES >> o->page_shift;

	region->space = space;
	region->store = store;
	region->offset = offset;
	region->length = length;
	region->shift = o->page_shift;
	region->npages = length >> o->page_shift;
	region->mapped_pages = region->npages;
	region->weight = 1u << (o->page_shift - HMM__PAGE_SHIFT_MIN);
	region->flags = o->flags;
	/* with the page that was asked for, whole groups of window slots */
	region->read_ahead = o->flags & HMM_REGION_NO_READ_AHEAD ? 0 : o->read_ahead ? o->read_ahead
	                     : (uint32_t)HMM__MAX(ahead - 1, (size_t)1);
	region->read_ahead = HMM__MIN(region->read_ahead, 255u);
	hmm__lock_init(&region->lock, HMM__RANK_REGION);
}

static void link_region(struct hmm_region *region)
{
	struct hmm_space *space = region->space;

	region->next = space->regions;
	region->prev = NULL;
	if (region->next)
		region->next->prev = region;
	space->regions = region;
}

static void unlink_region(struct hmm_region *region)
{
	if (region->prev)
		region->prev->next = region->next;
	else
		region->space->regions = region->next;
	if (region->next)
		region->next->prev = region->prev;
}

/* Caches have the whole budget, and the policy is told how many pages fit, while there is no region. */
static void count_region(struct hmm_space *space, uint32_t by)
{
	hmm__lock(&space->lock);
	atomic_store(&space->nregions, atomic_load(&space->nregions) + by);
	if (space->cache_pools)
		hmm__space_policy_size(space);
	hmm__unlock(&space->lock);
}

static int publish(struct hmm_region *region)
{
	int r;

	hmm__spaces_enter();
	r = hmm__regions_add(region);
	if (!r) {
		link_region(region);
		atomic_store(&region->dying, 0);
		count_region(region->space, 1);
	}
	hmm__spaces_leave();
	return r;
}

bool hmm__read_only(struct hmm_region *region, uint64_t page, uint64_t npages)
{
	bool yes;

	if (!atomic_load_explicit(&region->has_read_only, memory_order_relaxed))
		return false;
	hmm__lock(&region->lock);
	yes = hmm__intervals_meet(region->read_only, page, page + npages);
	hmm__unlock(&region->lock);
	return yes;
}

/* Known before a part becomes read-only, and until it is writable again: its pages are neither granted nor moved plainly. */
static int note_protection(struct hmm_region *region, uint64_t page, uint64_t npages, bool writable)
{
	int r;

	if (!writable) {
		r = hmm__intervals_add(&region->read_only, page, page + npages);
		if (!r)
			atomic_store(&region->has_read_only, 1);
		return r;
	}
	r = hmm__intervals_remove(&region->read_only, page, page + npages);
	if (!r && !region->read_only)
		atomic_store(&region->has_read_only, 0);
	return r;
}

/*
 * A fixed place is held while our own tables, windows and stores are made, lest the kernel put them there: a gap that
 * was just made is where it looks first.  Given up right before the backend takes it.
 */
static int hold_place(const struct hmm_region_options *o, size_t length)
{
	void *place;

	if (!(o->flags & HMM_REGION_FIXED))
		return 0;
	return hmm__sys_mmap(o->address, length, PROT_NONE,
	                     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED_NOREPLACE, -1, 0, &place);
}

static void give_place(const struct hmm_region_options *o, size_t length)
{
	if (o->flags & HMM_REGION_FIXED)
		hmm__sys_munmap(o->address, length);
}

/* A private region only reads, and nothing that it changes can be lost by others. */
static int claim_bytes(struct hmm_region *region)
{
	if (!(region->flags & HMM_REGION_SHARED))
		return 0;
	region->claim = (struct hmm__claim){
		.store = region->store->identity, .from = region->offset, .to = region->offset + region->length,
		.writes = !(region->flags & HMM_REGION_READ_ONLY),
		.incoherent = (region->flags & HMM_REGION_INCOHERENT) != 0,
	};
	return hmm__claim_make(&region->claim);
}

/* Its tables and the window; whatever else is made is not locked with them. */
static int prepare_tables(struct hmm_region *region, uint32_t delivery)
{
	int r;

	hmm__tables_begin(region->space->flags);
	r = hmm__region_make_tables(region);
	if (!r)
		r = hmm__engine_open(region->space, delivery, &region->engine);
	if (!r)
		r = hmm__pool_open(region->engine, region->shift, &region->pool);
	return hmm__tables_end(r);
}

/*
 * All that a region needs beside its addresses.  The map of swap slots is not locked: it has addresses for 16 TiB of swap, which
 * no limit would hold.
 */
static int prepare_region(struct hmm_region *region, const struct hmm_region_options *o)
{
	struct hmm_space *space = region->space;
	int r = prepare_tables(region, o->delivery);

	if (!r && o->flags & HMM_REGION_READ_ONLY)
		r = note_protection(region, 0, region->npages, false);
	if (!r && region->slots)
		r = hmm__swap_ready(space);
	if (!r && region->flags & HMM_REGION_DIRECT_IO && !(region->engine->caps & HMM_BACKEND_HELD))
		r = -ENOTSUP;
	/* A large page is copied to its address from a slot as large, which must be had while all other frames are taken. */
	if (!r && region->weight > 1)
		hmm__reserve(space, region->weight);
	return r;
}

static int attach_region(struct hmm_region *region, const struct hmm_region_options *o)
{
	int prot = o->flags & HMM_REGION_READ_ONLY ? PROT_READ : PROT_READ | PROT_WRITE, r;
	unsigned flags = (o->flags & HMM_REGION_FIXED ? HMM_ATTACH_FIXED : 0) |
	                 (o->flags & HMM_REGION_COPY_ON_FORK ? HMM_ATTACH_INHERIT : 0);
	void *base;

	r = region->engine->ops->attach(region->engine->backend, o->address, region->length, region->shift, prot, flags,
	                                &base);
	if (r)
		return r;
	region->base = base;
	r = publish(region);
	if (r)
		region->engine->ops->detach(region->engine->backend, base, region->length);
	return r;
}

static int map_region(struct hmm_region *region, const struct hmm_region_options *o)
{
	int r = claim_bytes(region);

	if (!r)
		r = hold_place(o, region->length);
	if (r)
		return r;
	r = prepare_region(region, o);
	give_place(o, region->length);
	return r ? r : attach_region(region, o);
}

int hmm_region_map(struct hmm_space *space, struct hmm_store *store, uint64_t offset, size_t length,
                   const struct hmm_region_options *opts, struct hmm_region **ret_region)
{
	struct hmm_region_options o;
	struct hmm_region *region;
	struct hmm__call call;
	int r;

	if (!space || !ret_region)
		return -EINVAL;
	r = hmm__options_read(&o, sizeof(o), opts);
	if (!r)
		r = check_options(space, store, offset, length, &o);
	if (r)
		return r;
	if (hmm__is_stray())
		return -ECHILD; /* gates would wait for threads that are not here */
	if (o.delivery == HMM_DELIVERY_INLINE)
		r = hmm__ownstack_check();
	if (r)
		return r;
	hmm__faults_begin();
	r = hmm__call_begin_space(&call, space);
	if (r)
		return r;
	region = hmm__region_new();
	if (!region) {
		hmm__call_end(&call);
		return -ENOMEM;
	}
	fill_in(region, space, store, offset, length, &o);
	r = map_region(region, &o);
	if (r) {
		hmm__claim_end(&region->claim);
		hmm__region_free_tables(region);
		hmm__region_free(region);
	} else if (store) {
		hmm_store_get(store);
	}
	hmm__call_end(&call);
	if (!r && o.flags & HMM_REGION_LOCKED) {
		r = hmm_region_lock(region, region->base, length);
		if (r)
			hmm_region_abandon(region);
	}
	if (!r)
		*ret_region = region;
	return r;
}

static bool pinned(struct hmm_region *region, uint64_t page, uint64_t end)
{
	for (; (page = hmm__page_next_touched(region, page)) < end; page++) {
		if (hmm__word_pins(atomic_load(&region->words[page])))
			return true;
	}
	return false;
}

/*
 * What take_down() left.  Signals open only when fork need not wait for us any more: a handler that faults would wait for fork.
 * And the store goes when they are open, for its destructor is the user's and may fault.
 */
static void finish(struct hmm_region *region, struct hmm__call *call)
{
	struct hmm_space *space = region->space;
	struct hmm_store *store = region->store;

	hmm__region_put(region);
	call->region = NULL;
	hmm__events_forget(space, region);
	hmm__region_free_tables(region);
	hmm__claim_end(&region->claim);
	hmm__region_free(region);
	atomic_fetch_sub(&space->inside, 1);
	hmm__call_end(call);
	hmm_store_put(store);
}

/* These pages have gone: others may use their bytes of the store. */
void hmm__region_release(struct hmm_region *region, uint64_t page, uint64_t npages)
{
	uint64_t from = region->offset + (page << region->shift);

	hmm__claim_release(&region->claim, from, from + (npages << region->shift));
}

/* Unmap what is still the region's of a range. */
static int discard_pieces(struct hmm_region *region, uint64_t page, uint64_t npages)
{
	uint8_t *from = hmm__page_address(region, page), *to = hmm__page_address(region, page + npages);
	size_t length;
	int first = 0;

	for (; hmm__regions_take(region, &from, to, &length); from += length) {
		uint64_t at = (uint64_t)(from - region->base) >> region->shift;
		int r = hmm__discard(region, at, length >> region->shift, HMM__DISCARD_UNMAP);

		first = first ? first : r;
	}
	return first;
}

/* With the last region and cache the window's frames serve nobody. */
void hmm__give_back_idle(struct hmm_space *space)
{
	bool idle;

	hmm__spaces_enter();
	idle = !space->regions && !space->caches;
	hmm__spaces_leave();
	if (!idle)
		return;
	hmm__bounce_flush(space);
	hmm__slots_release(space, UINT64_MAX);
}

/* The whole region goes: nobody else uses it any more (the caller's promise), but faults and passes may still be inside. */
static void take_down(struct hmm_region *region)
{
	/* not on the list any more soon, so fork would not see our reference: this it sees until finish() is through */
	atomic_fetch_add(&region->space->inside, 1);
	hmm__spaces_enter();
	atomic_store(&region->dying, 1);
	unlink_region(region);
	count_region(region->space, -1u);
	hmm__spaces_leave();
	hmm__region_drain(region);
	(void)!discard_pieces(region, 0, region->npages);
	hmm__give_back_idle(region->space);
}

int hmm_region_unmap(struct hmm_region *region)
{
	struct hmm__call call;
	int r;

	if (!region)
		return 0;
	r = hmm__call_begin(&call, region);
	if (r)
		return r;
	if (pinned(region, 0, region->npages))
		r = -EBUSY;
	if (!r)
		r = hmm__sync_pages(region, 0, region->npages);
	if (r) {
		hmm__call_end(&call);
		return r;
	}
	take_down(region);
	finish(region, &call);
	return 0;
}

void hmm_region_abandon(struct hmm_region *region)
{
	struct hmm__call call;

	if (!region || hmm__call_begin(&call, region))
		return;
	take_down(region);
	finish(region, &call);
}

static int unmap_part(struct hmm_region *region, uint64_t page, uint64_t npages)
{
	int r;

	if (pinned(region, page, page + npages))
		return -EBUSY;
	r = hmm__sync_pages(region, page, npages);
	if (r)
		return r;
	r = discard_pieces(region, page, npages);
	if (!r)
		hmm__region_release(region, page, npages);
	return r;
}

int hmm_region_unmap_range(struct hmm_region *region, void *address, size_t length)
{
	struct hmm__call call;
	uint64_t page, npages;
	bool last;
	int r = hmm__call_range(&call, region, address, length, &page, &npages);

	if (r)
		return r;
	last = npages == atomic_load(&region->mapped_pages);
	if (!last)
		r = unmap_part(region, page, npages);
	hmm__call_end(&call);
	return last ? hmm_region_unmap(region) : r;
}

int hmm_region_protect(struct hmm_region *region, void *address, size_t length, int prot)
{
	struct hmm__call call;
	uint64_t page, npages;
	int r;

	if (prot != PROT_READ && prot != (PROT_READ | PROT_WRITE))
		return -EINVAL;
	r = hmm__call_range(&call, region, address, length, &page, &npages);
	if (r)
		return r;
	if (prot & PROT_WRITE && region->flags & HMM_REGION_SHARED && !hmm__store_writable(region->store)) {
		hmm__call_end(&call);
		return -EACCES;
	}
	if (prot & PROT_WRITE && region->flags & HMM_REGION_SHARED) {
		r = hmm__claim_write(&region->claim);
		if (r) {
			hmm__call_end(&call);
			return r;
		}
	}
	hmm__lock(&region->lock);
	r = prot & PROT_WRITE ? 0 : note_protection(region, page, npages, false);
	if (!r)
		r = region->engine->ops->protect(region->engine->backend, address, length, prot);
	if (!r && prot & PROT_WRITE)
		r = note_protection(region, page, npages, true);
	hmm__unlock(&region->lock);
	hmm__call_end(&call);
	return r;
}

void *hmm_region_base(const struct hmm_region *region)
{
	return region->base;
}

size_t hmm_region_length(const struct hmm_region *region)
{
	return region->length;
}

size_t hmm_region_page_size(const struct hmm_region *region)
{
	return (size_t)1 << region->shift;
}

struct hmm_space *hmm_region_space(const struct hmm_region *region)
{
	return region->space;
}
