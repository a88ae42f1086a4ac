/* SPDX-License-Identifier: MIT */
/*
 * stream.c - see sequential access, say how much to read ahead and what to drop behind
 *
 * A region follows a few streams of each thread at once.  A fault that hits where a stream is expected next continues it; from the
 * third in a row on pages are read ahead, each time four times as many, up to the region's limit.  A fault anywhere else begins
 * a new stream in the place of the oldest, so random access never reads ahead.
 *
 * Drop-behind: once a stream has passed more than a quarter of the budget, its pages will have been evicted long before it comes
 * round again.  Then the pages it has passed are taken back at once: others stay resident, and the frames are still in the
 * CPU's caches when they are filled again (which halves the price of reading into them).
 *
 * The fields are hints: racing updates at worst lose a stream.
 */
#include "lib/vm/vm.h"

#define FIRST_WINDOW 4u
#define GROWTH 4u
#define CONFIRMED_WINDOW 16u
#define CONFIRM 2u /* faults in a row before reading ahead */

static uint64_t get(_Atomic uint64_t *x)
{
	return atomic_load_explicit(x, memory_order_relaxed);
}

static void set(_Atomic uint64_t *x, uint64_t v)
{
	atomic_store_explicit(x, v, memory_order_relaxed);
}

static struct hmm__stream *begin(struct hmm_region *region, uint64_t page)
{
	struct hmm__streams *mine = &region->streams[hmm__stripe()];
	uint32_t i = atomic_load_explicit(&mine->next, memory_order_relaxed);
	struct hmm__stream *s = &mine->stream[i % HMM__STREAMS];

	atomic_store_explicit(&mine->next, i + 1, memory_order_relaxed);

	set(&s->next, page + 1);
	set(&s->start, page);
	set(&s->ahead, 0);
	atomic_store_explicit(&s->faults, 0, memory_order_relaxed);
	atomic_store_explicit(&s->window, 0, memory_order_relaxed);
	atomic_store_explicit(&s->far, 0, memory_order_relaxed);
	return s;
}

/*
 * A stream that reads ahead already is continued also by a fault a little before or behind the expected page: some of what
 * it asked for could not be had, is still being read, or was there before.  One that has not proved itself must be met
 * exactly, so random access begins none.
 */
static bool continues(struct hmm__stream *s, uint64_t page)
{
	uint64_t next = get(&s->next), window = atomic_load_explicit(&s->window, memory_order_relaxed);

	return page == next || (window >= CONFIRMED_WINDOW && page + window >= next && page <= next + window);
}

static struct hmm__stream *find(struct hmm_region *region, uint64_t page)
{
	struct hmm__stream *s = region->streams[hmm__stripe()].stream;

	for (unsigned i = 0; i < HMM__STREAMS; i++) {
		if (continues(&s[i], page))
			return &s[i];
	}
	return NULL;
}

static void drop_behind(struct hmm_region *region, struct hmm__stream *s, uint64_t page, struct hmm__ahead *ahead)
{
	struct hmm_space *space = region->space;
	uint64_t start = get(&s->start), passed = page - start, quarter = hmm__peek(&space->budget) / 4 / region->weight;
	uint64_t chunk = HMM__MAX(HMM__GROUP / region->weight, 1u), free, need;

	if (page <= start)
		return;
	if (!atomic_load_explicit(&s->far, memory_order_relaxed)) {
		if (passed <= quarter)
			return;
		atomic_store_explicit(&s->far, 1, memory_order_relaxed);
	}
	/* while frames are free nothing needs to go; a racy look will do */
	free = hmm__peek(&space->budget) + hmm__peek(&space->free_slots);
	need = hmm__peek(&space->held) + (ahead->pages + 1) * region->weight +
	       atomic_load_explicit(&space->high_water, memory_order_relaxed);
	if (free >= need)
		return;
	need = (need - free + region->weight - 1) / region->weight;
	ahead->behind = HMM__MIN(passed, HMM__MAX(HMM__ALIGN_UP(need, chunk), ahead->pages + 1));
}

void hmm__stream_fault(struct hmm_region *region, uint64_t page, struct hmm__ahead *ahead)
{
	uint32_t advice = atomic_load_explicit(&region->advice, memory_order_relaxed), window, faults;
	struct hmm__stream *s;

	*ahead = (struct hmm__ahead){ .stream = NULL };
	if (advice == HMM_ADVISE_RANDOM || !region->read_ahead)
		return;
	s = find(region, page);
	if (!s) {
		s = begin(region, page);
		if (advice != HMM_ADVISE_SEQUENTIAL)
			return;
		atomic_store_explicit(&s->faults, CONFIRM, memory_order_relaxed);
	}
	if (page >= get(&s->next))
		HMM__COUNT(region->space, prefetch_hits, get(&s->ahead));
	set(&s->ahead, 0);
	ahead->stream = s;
	faults = atomic_load_explicit(&s->faults, memory_order_relaxed);
	set(&s->next, page + 1);
	if (faults < CONFIRM) {
		atomic_store_explicit(&s->faults, faults + 1, memory_order_relaxed);
		return;
	}
	window = atomic_load_explicit(&s->window, memory_order_relaxed);
	window = window ? HMM__MIN(window * GROWTH, region->read_ahead) : HMM__MIN(FIRST_WINDOW, region->read_ahead);
	if (advice == HMM_ADVISE_SEQUENTIAL)
		window = region->read_ahead;
	atomic_store_explicit(&s->window, window, memory_order_relaxed);
	ahead->pages = HMM__MIN((uint64_t)window, region->npages - 1 - page);
	drop_behind(region, s, page, ahead);
}

void hmm__stream_advance(struct hmm__stream *s, uint64_t page, uint64_t n)
{
	set(&s->next, page + n);
	set(&s->ahead, n - 1);
}
