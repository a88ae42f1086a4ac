/* SPDX-License-Identifier: MIT */
/*
 * heap.c - the collector, and what it says to the pager
 *
 * Cheney, "A nonrecursive list compacting algorithm", CACM 1970: what the roots lead to is copied to the other half; the
 * records there, in order, are the queue of those whose references are still to be followed.
 *
 *     to   | copied and followed | copied: to be followed |        free ...        |
 *                                scan                     free                   limit
 *
 * What only the collector knows, and the pager can't guess:
 * - After a collection from-space is garbage.  HMM_ADVISE_FREE: its pages stay mapped until their frames are needed, and
 *   then they are neither written nor, when the half is used again, read.
 * - A collection uses every record once, whatever the program will use: HMM_HINT_PHASE.  (A priority for to-space, which
 *   seems as natural, doubles the transfers where the live records nearly fill the budget: from-space is needed too.)
 * - Every access begins at the table of roots: a priority keeps it.
 * - Between scan and free is what it needs next, though it was written longest ago: the notice asks to keep that.
 * - It can collect earlier instead of having pages written: the estimate of memory says when.
 */
#include "heap.h"

#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#define KEEP_ROOTS 32
#define RECORDS_A_PAGE 8 /* at least: that is the largest */

/* --- what the pager hears --- */

static void hint(struct hmm_region *region, void *from, size_t length, enum hmm_hint kind, int64_t value)
{
	/* Advice: an error means only that nobody follows it. */
	(void)!hmm_region_hint(region, from, length, kind, value);
}

static void say_begin(struct heap *heap)
{
	if (heap->advice.phases)
		hint(heap->region, heap->from, heap->page, HMM_HINT_PHASE, HMM_PHASE_SCAN);
}

static void say_end(struct heap *heap, size_t from_used)
{
	if (heap->advice.phases)
		hint(heap->region, heap->from, heap->page, HMM_HINT_PHASE, HMM_PHASE_PLAIN);
	if (heap->advice.discard && from_used)
		(void)!hmm_region_advise(heap->region, heap->from, from_used, HMM_ADVISE_FREE);
}

/*
 * How much may be allocated before the next collection?  It needs memory for what is allocated until then and for what
 * it will copy, as much as this time.  If that leaves too little, pages will be written anyway: then collect seldom.
 */
static void set_limit(struct heap *heap, size_t live)
{
	struct hmm_memory m = { .size = sizeof(m) };
	size_t room, most = heap->half - heap->half / RECORDS_A_PAGE;

	heap->limit = heap->to + most; /* the rest is for what pages lose at their ends: copied in another order it is more */
	if (!heap->advice.estimate || hmm_space_memory(heap->space, &m))
		return;
	room = (size_t)(m.usable - (m.used + m.garbage - hmm_region_resident(heap->region))) * hmm_page_size();
	room = live ? room - (room < live ? room : live) : room / 2; /* the first time everything may live */
	if (room >= live + live / 4 && room < most)
		heap->limit = heap->to + room / heap->page * heap->page;
}

/* --- records --- */

static size_t bytes_of(const struct record *r)
{
	return (size_t)(r->header >> 1);
}

/* The record at or behind `at`, where one ended; NULL behind the last. */
static struct record *next_record(struct heap *heap, char *at)
{
	char *end = atomic_load(&heap->free);

	if (at < end && ((uintptr_t)at & (heap->page - 1)) && !((struct record *)at)->header)
		at = (char *)(((uintptr_t)at | (heap->page - 1)) + 1);
	return at < end ? (struct record *)at : NULL;
}

/* free moves on last: what lies before it is whole, also for a notice in another thread. */
static struct record *place(struct heap *heap, size_t bytes, char *limit)
{
	char *at = atomic_load(&heap->free);
	size_t left = heap->page - ((uintptr_t)at & (heap->page - 1));

	if (bytes > left) {
		if (at + left + bytes > limit)
			return NULL;
		*(uint64_t *)at = 0;
		at += left;
	} else if (at + bytes > limit) {
		return NULL;
	}
	((struct record *)at)->header = bytes << 1 | 1;
	return (struct record *)at;
}

static struct record *copy(struct heap *heap, struct record *r)
{
	struct record *to;

	if (!r)
		return NULL;
	if (!(r->header & 1))
		return (struct record *)(uintptr_t)r->header;
	to = place(heap, bytes_of(r), heap->to + heap->half);
	if (!to)
		abort(); /* can't be: see set_limit() */
	memcpy(to, r, bytes_of(r));
	atomic_store(&heap->free, (char *)to + bytes_of(r));
	r->header = (uintptr_t)to;
	return to;
}

/* --- the collector --- */

void heap_collect(struct heap *heap)
{
	size_t used = (size_t)(atomic_load(&heap->free) - heap->to);
	char *was = heap->to;
	struct record *r;

	heap->to = heap->from;
	heap->from = was;
	atomic_store(&heap->free, heap->to);
	atomic_store(&heap->scan, heap->to);
	say_begin(heap);
	for (size_t i = 0; i < heap->nroots; i++)
		if (heap->roots[i])
			heap->roots[i] = copy(heap, heap->roots[i]);
	while ((r = next_record(heap, atomic_load(&heap->scan)))) {
		for (unsigned i = 0; i < 2; i++)
			if (r->ref[i])
				r->ref[i] = copy(heap, r->ref[i]);
		atomic_store(&heap->scan, (char *)r + bytes_of(r));
	}
	used = (used + heap->page - 1) / heap->page * heap->page;
	say_end(heap, used);
	heap->collections++;
	heap->copied += (uint64_t)(atomic_load(&heap->free) - heap->to);
	set_limit(heap, (size_t)(atomic_load(&heap->free) - heap->to));
}

struct record *heap_alloc(struct heap *heap, size_t bytes)
{
	struct record *r;

	bytes = (bytes + 7) / 8 * 8;
	if (bytes < sizeof(*r) || bytes > heap->page / RECORDS_A_PAGE)
		return NULL;
	r = place(heap, bytes, heap->limit);
	if (!r) {
		heap_collect(heap);
		r = place(heap, bytes, heap->limit);
	}
	if (!r)
		return NULL;
	memset(r->ref, 0, bytes - offsetof(struct record, ref));
	atomic_store(&heap->free, (char *)r + bytes);
	atomic_store(&heap->scan, (char *)r + bytes);
	return r;
}

/* --- what the pager asks --- */

static bool elsewhere(const struct record *ref, const char *page, size_t length)
{
	return ref && (uintptr_t)ref - (uintptr_t)page >= length;
}

/*
 * Pointers from a page of to-space to other pages: what a collector that does not want to bring the page back would have
 * to know of it (bookmarks, PLDI 2005).  The page is protected while it is looked at; ThreadSanitizer does not see that.
 */
__attribute__((no_sanitize("thread")))
static uint16_t count_pointers(struct heap *heap, const char *page)
{
	const char *end = atomic_load(&heap->free), *at = page;
	uint16_t n = 0;

	if (end > page + heap->page)
		end = page + heap->page;
	while (at < end && ((const struct record *)at)->header) {
		const struct record *r = (const struct record *)at;

		n += elsewhere(r->ref[0], page, heap->page) + elsewhere(r->ref[1], page, heap->page);
		at += bytes_of(r);
	}
	return n;
}

/*
 * In whatever thread reclaims, perhaps in a signal handler: it reads the pages it is given, and memory that is not paged.
 * Which half is to-space follows from `free` alone, so that a collection may begin meanwhile.
 */
static void notice(void *arg, struct hmm_notice *pages, unsigned n)
{
	struct heap *heap = arg;
	const char *end = atomic_load(&heap->free), *scan = atomic_load(&heap->scan);
	const char *to = heap->base + (end < heap->base + heap->half ? 0 : heap->half);

	for (unsigned i = 0; i < n; i++) {
		const char *page = pages[i].address;

		if (page < to || page >= end)
			continue; /* from-space: garbage soon */
		pages[i].keep = scan >= to && scan < end && page + heap->page > scan;
		heap->pointers[(size_t)(page - heap->base) / heap->page] = count_pointers(heap, page);
	}
}

uint64_t heap_check_notes(struct heap *heap, uint64_t *ret_pages)
{
	size_t npages = (size_t)(atomic_load(&heap->free) - heap->to + (ptrdiff_t)heap->page - 1) / heap->page;
	size_t first = (size_t)(heap->to - heap->base) / heap->page;
	uint8_t *there = calloc(npages + 1, 1);
	uint64_t wrong = 0;

	*ret_pages = 0;
	if (!there || (npages && hmm_region_residency(heap->region, heap->to, npages * heap->page, there)))
		abort();
	for (size_t i = 0; i < npages; i++) {
		if (there[i] & HMM_RESIDENT)
			continue;
		wrong += count_pointers(heap, heap->to + i * heap->page) != heap->pointers[first + i];
		++*ret_pages;
	}
	free(there);
	return wrong;
}

/* --- begin and end --- */

static int map(struct heap *heap, enum hmm_delivery delivery)
{
	struct hmm_region_options options = { .size = sizeof(options), .delivery = delivery };
	size_t roots = (heap->nroots * sizeof(struct record *) + heap->page - 1) / heap->page * heap->page;
	int r = hmm_region_map(heap->space, NULL, 0, roots, &options, &heap->root_region);

	if (r)
		return r;
	options.flags = HMM_REGION_NO_READ_AHEAD | (heap->advice.notice ? HMM_REGION_NOTICE : 0);
	r = hmm_region_map(heap->space, NULL, 0, 2 * heap->half, &options, &heap->region);
	if (r)
		return r;
	heap->roots = hmm_region_base(heap->root_region);
	heap->base = hmm_region_base(heap->region);
	if (heap->advice.phases)
		hint(heap->root_region, heap->roots, roots, HMM_HINT_PRIORITY, KEEP_ROOTS);
	return 0;
}

int heap_create(struct heap *heap, const struct advice *advice, const char *policy, enum hmm_delivery delivery,
                uint64_t frames, size_t half, size_t nroots)
{
	struct hmm_space_options options = { .size = sizeof(options), .policy = policy, .notice = notice,
		                             .notice_arg = heap };
	int r;

	memset(heap, 0, sizeof(*heap));
	heap->advice = *advice;
	heap->page = hmm_page_size();
	heap->half = half / heap->page * heap->page;
	heap->nroots = nroots;
	heap->pointers = calloc(2 * heap->half / heap->page, sizeof(heap->pointers[0]));
	if (!heap->pointers)
		return -ENOMEM;
	r = hmm_space_create(frames, &options, &heap->space);
	r = r ? r : map(heap, delivery);
	if (r) {
		heap_destroy(heap);
		return r;
	}
	heap->to = heap->base;
	heap->from = heap->base + heap->half;
	atomic_store(&heap->free, heap->to);
	atomic_store(&heap->scan, heap->to);
	set_limit(heap, 0);
	return 0;
}

void heap_destroy(struct heap *heap)
{
	hmm_space_destroy(heap->space); /* its regions go with it */
	free(heap->pointers);
}
