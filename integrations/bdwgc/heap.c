/* SPDX-License-Identifier: MIT */
/*
 * heap.c - the region that libgc's memory comes from
 *
 * libgc asks for memory for its heap and, by the same call, for headers and mark stacks.  It never gives any back.
 *
 * H1  Between two chunks there is a page that is nobody's.  libgc merges free blocks that touch, so a chunk of its heap
 *     has a block that begins where the chunk begins, and libgc knows that address (GC_is_heap_ptr).  Of other memory it
 *     knows none.  This is how they are told apart: nothing but known heap is ever discarded.
 * H2  Chunks are added under libgc's lock, and read under it.
 */
#include <errno.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "heap.h"

#define RESERVE_MOST ((uint64_t)1 << 40)
#define RESERVE_LEAST ((uint64_t)64 << 20)
#define PRIORITY_OTHER 63

struct hmm__heap hmm__heap;

/* Zero pages of our own, from the kernel: neither paged nor malloc()'s. */
static void *reserve(size_t length)
{
	long r = syscall(SYS_mmap, NULL, length, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	return r == -1 ? NULL : (void *)r;
}

static void unreserve(void *reserved, size_t length)
{
	if (reserved)
		syscall(SYS_munmap, reserved, length);
}

/* Addresses, or what is allocated for them, are short: less may do. */
static bool is_short(int error)
{
	return error == -ENOMEM || error == -EAGAIN;
}

/* By thread, unless the program wants it inline, or the system does not allow it and the program does not insist. */
static int map(struct hmm__heap *heap, uint64_t length)
{
	struct hmm_region_options options = { .size = sizeof(options), .flags = HMM_REGION_COPY_ON_FORK };
	int r = -EPERM;

	options.delivery = HMM_DELIVERY_THREAD;
	if (!(heap->flags & HMM_BDWGC_INLINE_DELIVERY))
		r = hmm_region_map(heap->space, NULL, 0, length, &options, &heap->region);
	if (!r || heap->flags & HMM_BDWGC_THREAD_DELIVERY || is_short(r))
		return r;
	options.delivery = HMM_DELIVERY_INLINE;
	r = hmm_region_map(heap->space, NULL, 0, length, &options, &heap->region);
	heap->is_inline = !r;
	return r;
}

/* With `length` bytes of addresses; all of it or nothing. */
static int make(struct hmm__heap *heap, uint64_t length)
{
	size_t chunks = HMM__GC_CHUNKS * sizeof(*heap->chunks), live = length / heap->page / 8 + 8;
	int r;

	heap->chunks = reserve(chunks);
	heap->live = reserve(live);
	r = heap->chunks && heap->live ? map(heap, length) : -ENOMEM;
	if (!r)
		return 0;
	unreserve(heap->chunks, chunks);
	unreserve(heap->live, live);
	return r;
}

int hmm__heap_make(struct hmm_space *space, const struct hmm_bdwgc_options *opts)
{
	struct hmm__heap heap = { .space = space, .page = hmm_page_size(), .flags = opts->flags };
	uint64_t length = opts->reserve ? opts->reserve : RESERVE_MOST;
	int r;

	length = (length + heap.page - 1) / heap.page * heap.page;
	do { /* address space may be limited, and a thread's stack needs some too (EAGAIN) */
		r = make(&heap, length);
		length /= 2;
	} while (is_short(r) && !opts->reserve && length >= RESERVE_LEAST);
	if (r)
		return r;
	heap.base = hmm_region_base(heap.region);
	heap.length = hmm_region_length(heap.region);
	heap.pid = getpid();
	hmm__heap = heap;
	return 0;
}

void *hmm__heap_give(size_t length)
{
	size_t used = atomic_load(&hmm__heap.used);
	struct hmm__chunk *chunk = &hmm__heap.chunks[hmm__heap.nchunks];

	if (hmm__heap.nchunks == HMM__GC_CHUNKS || length > hmm__heap.length ||
	    used + hmm__heap.page > hmm__heap.length - length) {
		atomic_fetch_add(&hmm__counters.refused, length);
		return NULL;
	}
	*chunk = (struct hmm__chunk){ .from = hmm__heap.base + used, .length = length };
	hmm__heap.nchunks++;
	atomic_store(&hmm__heap.used, used + length + hmm__heap.page);
	return chunk->from;
}

void hmm__heap_classify(void)
{
	for (uint32_t i = 0; i < hmm__heap.nchunks; i++) {
		struct hmm__chunk *chunk = &hmm__heap.chunks[i];

		if (chunk->is_heap)
			continue;
		chunk->is_heap = hmm__libgc.is_heap_ptr(chunk->from) != 0;
		if (chunk->is_heap || chunk->is_told || hmm__heap.flags & HMM_BDWGC_NO_PHASES)
			continue;
		/* headers are used at every allocation, and in the whole of a mark phase */
		chunk->is_told = !hmm_region_hint(hmm__heap.region, chunk->from, chunk->length, HMM_HINT_PRIORITY,
		                                  PRIORITY_OTHER);
	}
}
