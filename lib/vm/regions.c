/* SPDX-License-Identifier: MIT */
/*
 * regions.c - which region an address belongs to
 *
 * One table for the process, sorted by address, read without a lock by every fault:
 *
 * T1  Writers hold hmm__spaces_lock and make the sequence odd while they change the table.
 * T2  A reader looks up (by acquiring loads, so that the second look at the sequence comes last), takes a reference, and
 *     checks that the sequence has not moved; if it has, the reference may
 *     be to a region that is going or gone, and is given back.  This is safe because the memory of regions is
 *     only ever reused for regions (hmm__region_new).
 * T3  A region that is dying accepts no new users; hmm__region_drain() waits for those it has.
 */
#include <errno.h>
#include <string.h>

#include "lib/base/arena.h"
#include "lib/base/futex.h"
#include "lib/vm/vm.h"

#define TABLE_MAX ((size_t)1 << 20)

struct entry {
	_Atomic uintptr_t from, to;
	_Atomic(struct hmm_region *) region;
};

struct hmm__lock hmm__spaces_lock = HMM__LOCK_INIT(HMM__RANK_SPACES);
struct hmm_space *hmm__spaces;

static _Atomic uint32_t sequence;
static struct entry *table; /* sparse; made with the first region, kept for good */
static _Atomic size_t entries;
static struct hmm_region *free_regions;
static uint32_t next_id = 1;

static void entry_copy(struct entry *to, const struct entry *from)
{
	atomic_store_explicit(&to->from, atomic_load_explicit(&from->from, memory_order_relaxed), memory_order_relaxed);
	atomic_store_explicit(&to->to, atomic_load_explicit(&from->to, memory_order_relaxed), memory_order_relaxed);
	atomic_store_explicit(&to->region, atomic_load_explicit(&from->region, memory_order_relaxed),
	                      memory_order_relaxed);
}

static void entry_set(struct entry *e, uintptr_t from, uintptr_t to, struct hmm_region *region)
{
	atomic_store_explicit(&e->from, from, memory_order_relaxed);
	atomic_store_explicit(&e->to, to, memory_order_relaxed);
	atomic_store_explicit(&e->region, region, memory_order_relaxed);
}

/* Index of the first entry that ends after address. */
static size_t find(uintptr_t address, size_t n)
{
	size_t low = 0, high = n;

	while (low < high) {
		size_t mid = low + (high - low) / 2;

		if (atomic_load_explicit(&table[mid].to, memory_order_acquire) <= address)
			low = mid + 1;
		else
			high = mid;
	}
	return low;
}

static void insert(size_t at, uintptr_t from, uintptr_t to, struct hmm_region *region)
{
	size_t n = atomic_load_explicit(&entries, memory_order_relaxed);

	for (size_t i = n; i > at; i--)
		entry_copy(&table[i], &table[i - 1]);
	entry_set(&table[at], from, to, region);
	atomic_store_explicit(&entries, n + 1, memory_order_relaxed);
}

static void erase(size_t at)
{
	size_t n = atomic_load_explicit(&entries, memory_order_relaxed) - 1;

	for (size_t i = at; i < n; i++)
		entry_copy(&table[i], &table[i + 1]);
	atomic_store_explicit(&entries, n, memory_order_relaxed);
}

int hmm__regions_add(struct hmm_region *region)
{
	uintptr_t from = (uintptr_t)region->base;
	int r = 0;

	if (!table)
		table = hmm__sparse_alloc(TABLE_MAX * sizeof(*table));
	if (!table || atomic_load(&entries) >= TABLE_MAX / 2)
		return -ENOMEM; /* the other half is for holes */
	atomic_fetch_add(&sequence, 1);
	insert(find(from, atomic_load(&entries)), from, from + region->length, region);
	atomic_fetch_add(&sequence, 1);
	return r;
}

/* Under the spaces lock.  Take [from, to), which lies inside entry i, out of it. */
static void cut(size_t i, uintptr_t from, uintptr_t to)
{
	uintptr_t a = atomic_load(&table[i].from), b = atomic_load(&table[i].to);

	atomic_fetch_add(&sequence, 1);
	if (a < from && b > to) {
		atomic_store(&table[i].to, from);
		insert(i + 1, to, b, atomic_load(&table[i].region));
	} else if (a < from) {
		atomic_store(&table[i].to, from);
	} else if (b > to) {
		atomic_store(&table[i].from, to);
	} else {
		erase(i);
	}
	atomic_fetch_add(&sequence, 1);
}

bool hmm__regions_take_locked(struct hmm_region *region, uint8_t **from, uint8_t *end, size_t *ret_length)
{
	uintptr_t first = (uintptr_t)*from, to = (uintptr_t)end;
	bool found = false;

	for (size_t i = find(first, atomic_load(&entries)); i < atomic_load(&entries) && !found; i++) {
		uintptr_t a = HMM__MAX(atomic_load(&table[i].from), first), b = HMM__MIN(atomic_load(&table[i].to), to);

		if (a >= to)
			break;
		if (atomic_load(&table[i].region) != region)
			continue; /* a hole of ours, in which others live */
		/* first: hmm__region_end() looks at the table only when this says that there are holes */
		atomic_fetch_sub(&region->mapped_pages, (b - a) >> region->shift);
		cut(i, a, b);
		*from = (uint8_t *)a;
		*ret_length = (size_t)(b - a);
		found = true;
	}
	return found;
}

bool hmm__regions_take(struct hmm_region *region, uint8_t **from, uint8_t *end, size_t *ret_length)
{
	bool found;

	hmm__spaces_enter();
	found = hmm__regions_take_locked(region, from, end, ret_length);
	hmm__spaces_leave();
	return found;
}

bool hmm__regions_cover(struct hmm_region *region, uint8_t *first, uint8_t *end)
{
	uintptr_t from = (uintptr_t)first, to = (uintptr_t)end;
	bool covered = false;

	hmm__spaces_enter();
	for (size_t i = find(from, atomic_load(&entries)); i < atomic_load(&entries); i++) {
		if (atomic_load(&table[i].region) != region || atomic_load(&table[i].from) > from)
			break;
		from = atomic_load(&table[i].to);
		if (from >= to) {
			covered = true;
			break;
		}
	}
	hmm__spaces_leave();
	return covered;
}

void hmm__region_put(struct hmm_region *region)
{
	uint32_t left = atomic_fetch_sub(&region->refs, 1) - 1;

	if (left <= 1 && atomic_load(&region->dying))
		hmm__futex_wake(&region->refs, INT32_MAX);
}

bool hmm__region_hold_inside(struct hmm_region *region)
{
	atomic_fetch_add(&region->refs, 1);
	if (!atomic_load(&region->dying))
		return true;
	hmm__region_put(region);
	return false;
}

bool hmm__region_hold(struct hmm_region *region)
{
	for (;;) {
		atomic_fetch_add(&region->refs, 1);
		if (atomic_load(&region->dying)) {
			hmm__region_put(region);
			return false;
		}
		if (HMM__LIKELY(!hmm__gate_closed(region->space)))
			return true;
		hmm__region_put(region);
		hmm__gate_wait(region->space);
	}
}

static struct hmm_region *lookup(uintptr_t address)
{
	size_t n = atomic_load_explicit(&entries, memory_order_acquire), i = find(address, n);

	if (i == n || address < atomic_load_explicit(&table[i].from, memory_order_acquire))
		return NULL;
	return atomic_load_explicit(&table[i].region, memory_order_acquire);
}

/* The end of the piece of the region that address lies in; address itself if it lies in a hole. */
static uintptr_t piece_end(struct hmm_region *region, uintptr_t address)
{
	for (;;) {
		uint32_t seq = atomic_load(&sequence);
		size_t n = atomic_load_explicit(&entries, memory_order_acquire), i = find(address, n);
		uintptr_t end = address;

		if (i < n && atomic_load_explicit(&table[i].from, memory_order_acquire) <= address &&
		    atomic_load_explicit(&table[i].region, memory_order_acquire) == region)
			end = atomic_load_explicit(&table[i].to, memory_order_acquire);
		if (!(seq & 1) && atomic_load(&sequence) == seq)
			return end;
		hmm__cpu_relax();
	}
}

uint64_t hmm__region_end(struct hmm_region *region, uint64_t page)
{
	uintptr_t end;

	if (HMM__LIKELY(atomic_load_explicit(&region->mapped_pages, memory_order_acquire) == region->npages))
		return region->npages; /* no holes */
	end = piece_end(region, (uintptr_t)hmm__page_address(region, page));
	return (uint64_t)(end - (uintptr_t)region->base) >> region->shift;
}

bool hmm__regions_contain(uintptr_t address)
{
	for (;;) {
		uint32_t seq = atomic_load(&sequence);
		bool found = !(seq & 1) && lookup(address);

		if (!(seq & 1) && atomic_load(&sequence) == seq)
			return found;
		hmm__cpu_relax();
	}
}

/* With a reference, given back here.  True: it is closed, and the accessors will be woken when it opens (G4). */
static bool miss(struct hmm_region *region, bool any)
{
	struct hmm_space *space = region->space;
	bool pager = region->engine->delivery == HMM_DELIVERY_THREAD;

	if (pager)
		atomic_store(&space->gate_missed, 1); /* before the reference goes, so it is seen by who opens the gate */
	hmm__region_put(region);
	if ((pager || any) && hmm__gate_closed(space))
		return true;
	hmm__gate_wait(space);
	return false;
}

struct hmm_region *hmm__region_get(uintptr_t address, bool any, bool *ret_closed)
{
	for (;;) {
		uint32_t seq = atomic_load(&sequence);
		struct hmm_region *region;

		if (seq & 1) {
			hmm__cpu_relax();
			continue;
		}
		region = lookup(address);
		if (!region) {
			if (atomic_load(&sequence) == seq)
				return NULL;
			continue;
		}
		atomic_fetch_add(&region->refs, 1);
		if (atomic_load(&sequence) != seq) {
			hmm__region_put(region);
			continue;
		}
		if (atomic_load(&region->dying)) {
			hmm__region_put(region);
			return NULL;
		}
		if (HMM__LIKELY(!hmm__gate_closed(region->space)))
			return region;
		if (miss(region, any)) {
			*ret_closed = true;
			return NULL;
		}
	}
}

void hmm__region_drain(struct hmm_region *region)
{
	uint32_t refs;

	while ((refs = atomic_load(&region->refs)) > 1)
		hmm__futex_wait(&region->refs, refs, 10000000);
}

struct hmm_region *hmm__region_new(void)
{
	struct hmm_region *region;

	hmm__spaces_enter();
	region = free_regions;
	if (region)
		free_regions = region->next_free;
	hmm__spaces_leave();
	if (!region) {
		region = hmm__alloc(sizeof(*region));
		if (!region)
			return NULL;
	} else {
		size_t keep = offsetof(struct hmm_region, space);

		memset((char *)region + keep, 0, sizeof(*region) - keep);
	}
	hmm__spaces_enter();
	region->id = next_id;
	next_id = next_id + 1 < 1u << HMM__REGION_BITS ? next_id + 1 : 1;
	hmm__spaces_leave();
	atomic_store(&region->dying, 1); /* until it is in the table and complete */
	return region;
}

void hmm__region_free(struct hmm_region *region)
{
	if (region->space)
		hmm__trouble_over(region->space, &region->trouble);
	hmm__spaces_enter();
	region->next_free = free_regions;
	free_regions = region;
	hmm__spaces_leave();
}
