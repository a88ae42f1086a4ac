/* SPDX-License-Identifier: MIT */
/*
 * advise.c - what the application says about its pages
 */
#include <errno.h>

#include "lib/vm/call.h"
#include "lib/vm/record.h"
#include "lib/vm/vm.h"

#define PAGE_OUT_TURNS 3u

/* Every resident page of a range, under the lock, in pieces so that it is not held for long. */
void hmm__hint_pages(struct hmm_region *region, uint64_t page, uint64_t npages, enum hmm_hint hint, int64_t value)
{
	struct hmm_space *space = region->space;
	struct hmm_page_range range = { hmm__page_id(region, page), npages };
	uint64_t end = page + npages;

	hmm__lock(&space->lock);
	if (hint != HMM_HINT_DISCARD && HMM__UNLIKELY(space->record != NULL))
		hmm__record_put_hint(space, range.page, npages, hint, value);
	hmm__policy_hint(space->policy, UINT32_MAX, range, hint, value);
	for (unsigned n = 0; (page = hmm__page_next_touched(region, page)) < end; page++, n++) {
		uint64_t w = atomic_load(&region->words[page]);

		if (n == HMM__BATCH_MAX) {
			hmm__unlock(&space->lock);
			n = 0;
			hmm__lock(&space->lock);
			w = atomic_load(&region->words[page]);
		}
		if (hmm__word_state(w) != HMM__MAPPED)
			continue;
		if (hint == HMM_HINT_DISCARD && w & HMM__FREE)
			hmm__record_discard(region, page);
		range = (struct hmm_page_range){ hmm__page_id(region, page), 1 };
		if (!space->frames[hmm__word_frame(w)].proposed)
			hmm__policy_hint(space->policy, hmm__word_frame(w), range, hint, value);
	}
	hmm__unlock(&space->lock);
}

static int will_need(struct hmm_region *region, uint64_t page, uint64_t npages)
{
	struct hmm_space *space = region->space;
	uint64_t end = page + npages;
	int first = 0;

	hmm__hint_pages(region, page, npages, HMM_HINT_WILLNEED, 0);
	for (uint64_t p = page; (p = hmm__page_next_touched(region, p)) < end; p++)
		hmm__poison_cure(region, p); /* what failed may be tried again, by the access if not here */
	while (page < end) {
		uint64_t w = atomic_load(&region->words[page]), free;
		int64_t n = 0;

		hmm__lock(&space->lock);
		free = hmm__frames_free(space);
		hmm__unlock(&space->lock);
		if (free < space->low_water + region->weight)
			break; /* not at the expense of what is in use */
		if (hmm__word_state(w) == HMM__ABSENT) {
			uint64_t most = (free - space->low_water) / region->weight;

			n = hmm__load_run(region, page, HMM__MIN(end - page, most), false);
		}
		if (!n && (region->store || w & HMM__STORED)) {
			/* in the window, poisoned, or the run would not have it: by itself, and learn why not */
			int r = hmm__page_ensure(region, page, HMM_ACCESS_PREFETCH, false);

			first = first ? first : r;
		}
		page += n > 0 ? (uint64_t)n : 1;
	}
	return first == -ENXIO ? 0 : first;
}

static bool any_held(struct hmm_region *region, uint64_t page, uint64_t npages)
{
	uint64_t end = page + npages;

	for (; (page = hmm__page_next_touched(region, page)) < end; page++) {
		if (hmm__word_held(atomic_load(&region->words[page])))
			return true;
	}
	return false;
}

static int drop_now(struct hmm_region *region, uint64_t page, uint64_t npages)
{
	if (any_held(region, page, npages))
		return -EBUSY;
	if (region->flags & HMM_REGION_SHARED) {
		/* what was written belongs to the file, as with madvise(2) on a shared mapping */
		int r = hmm__sync_pages(region, page, npages);

		if (r)
			return r;
	}
	return hmm__discard(region, page, npages, HMM__DISCARD_RANGE);
}

static int page_out(struct hmm_region *region, uint64_t page, uint64_t npages)
{
	int64_t r = 0;

	/* Again for what stood behind a page that could not be taken, or must be copied where a grant was tried. */
	for (unsigned turn = 0; turn < PAGE_OUT_TURNS && r >= 0; turn++) {
		/* what a pager has just mapped may still be in its hands */
		for (uint64_t p = page; (p = hmm__page_next_touched(region, p)) < page + npages; p++) {
			uint64_t w = atomic_load(&region->words[p]);

			if (hmm__word_busy(w) || (w & HMM__WRITEBACK))
				hmm__page_wait(region, &region->words[p], w);
		}
		r = hmm__evict_range(region, page, npages, false);
	}

	hmm__reclaim_window(region->space, (uint64_t)npages * region->weight);
	return r < 0 ? (int)r : 0;
}

static void set_advice(struct hmm_region *region, enum hmm_advice advice, uint64_t page, uint64_t npages)
{
	atomic_store(&region->advice, advice);
	if (advice == HMM_ADVISE_SEQUENTIAL)
		hmm__hint_pages(region, page, npages, HMM_HINT_SEQUENTIAL, 0);
	if (advice == HMM_ADVISE_RANDOM)
		hmm__hint_pages(region, page, npages, HMM_HINT_RANDOM, 0);
}

static int advise(struct hmm_region *region, uint64_t page, uint64_t npages, enum hmm_advice advice)
{
	switch (advice) {
	case HMM_ADVISE_NORMAL:
	case HMM_ADVISE_RANDOM:
	case HMM_ADVISE_SEQUENTIAL:
		set_advice(region, advice, page, npages);
		return 0;
	case HMM_ADVISE_WILLNEED:
		return will_need(region, page, npages);
	case HMM_ADVISE_DONTNEED:
		return drop_now(region, page, npages);
	case HMM_ADVISE_FREE:
		return hmm__lazy_free(region, page, npages);
	case HMM_ADVISE_COLD:
		hmm__hint_pages(region, page, npages, HMM_HINT_EVICT_NEXT, 0);
		return 0;
	case HMM_ADVISE_PAGEOUT:
		return page_out(region, page, npages);
	}
	return -EINVAL;
}

int hmm_region_advise(struct hmm_region *region, void *address, size_t length, enum hmm_advice advice)
{
	struct hmm__call call;
	uint64_t page, npages;
	int r;

	if ((unsigned)advice > HMM_ADVISE_PAGEOUT)
		return -EINVAL;
	r = hmm__call_range(&call, region, address, length, &page, &npages);
	if (r)
		return r;
	r = advise(region, page, npages, advice);
	hmm__call_end(&call);
	return r;
}

bool hmm__hint_known(enum hmm_hint hint, int64_t value)
{
	if ((int)hint < 0 || (hint > HMM_HINT_RANDOM && hint < HMM_HINT_USER))
		return false;
	return hint != HMM_HINT_PRIORITY || (value >= -64 && value <= 63);
}

int hmm_region_hint(struct hmm_region *region, void *address, size_t length, enum hmm_hint hint, int64_t value)
{
	struct hmm__call call;
	uint64_t page, npages;
	int r;

	if (!hmm__hint_known(hint, value))
		return -EINVAL;
	r = hmm__call_range(&call, region, address, length, &page, &npages);
	if (r)
		return r;
	hmm__hint_pages(region, page, npages, hint, value);
	hmm__call_end(&call);
	return 0;
}

int hmm_region_residency(struct hmm_region *region, void *address, size_t length, uint8_t *vec)
{
	struct hmm__call call;
	uint64_t page, npages;
	int r;

	if (!vec)
		return -EINVAL;
	r = hmm__call_range(&call, region, address, length, &page, &npages);
	if (r)
		return r;
	for (uint64_t i = 0; i < npages; i++) {
		hmm__word *word = &region->words[page + i];
		uint64_t w = atomic_load(word);
		enum hmm__state state;
		bool there;

		while (hmm__word_busy(w)) { /* neither here nor there: see what comes of it */
			hmm__page_wait(region, word, w);
			w = atomic_load(word);
		}
		state = hmm__word_state(w);
		there = state == HMM__MAPPED;
		vec[i] = (uint8_t)((there ? HMM_RESIDENT : 0) | (w & HMM__DIRTY ? HMM_DIRTY : 0) |
		                   (state == HMM__AVAILABLE || state == HMM__LAUNDRY ? HMM_AVAILABLE : 0) |
		                   (w & HMM__LOCKED ? HMM_LOCKED : 0) | (hmm__word_pins(w) ? HMM_PINNED : 0) |
		                   (w & HMM__STORED || (region->store && region->flags & HMM_REGION_SHARED) ? HMM_STORED : 0));
	}
	hmm__call_end(&call);
	return 0;
}
