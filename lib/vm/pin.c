/* SPDX-License-Identifier: MIT */
/*
 * pin.c - keep pages resident: pins (counted, for system calls and devices) and locks (a flag, for good)
 *
 * N1  held_back counts the frames of pages that are pinned or locked; it never exceeds the budget less what faults
 *     need to go on (HMM__RESIDENT_MIN, or an eighth), so there are always victims.
 * N2  Pins and the flag are set and cleared on MAPPED pages only, and such a page stays MAPPED.
 */
#include <errno.h>

#include "lib/sys/sys.h"
#include "lib/vm/call.h"
#include "lib/vm/record.h"
#include "lib/vm/vm.h"

static uint64_t limit(const struct hmm_space *space)
{
	uint64_t reserve = HMM__MAX(space->budget / 8, (uint64_t)HMM__RESIDENT_MIN);

	return space->budget > reserve ? space->budget - reserve : 0;
}

uint64_t hmm__pin_room(const struct hmm_space *space)
{
	return space->held_back ? space->held_back + HMM__RESIDENT_MIN : 0;
}

static int hold_back(struct hmm_region *region)
{
	struct hmm_space *space = region->space;
	int r = 0;

	hmm__lock(&space->lock);
	if (space->held_back + region->weight > limit(space))
		r = -EAGAIN;
	else
		space->held_back += region->weight;
	hmm__unlock(&space->lock);
	return r;
}

static void let_go(struct hmm_region *region)
{
	struct hmm_space *space = region->space;

	hmm__lock(&space->lock);
	space->held_back -= region->weight;
	hmm__unlock(&space->lock);
	hmm__frames_changed(space);
}

static void tell_policy(struct hmm_region *region, uint64_t page, uint64_t w)
{
	struct hmm_space *space = region->space;
	uint32_t number = hmm__word_frame(w);

	hmm__lock(&space->lock);
	w = atomic_load(&region->words[page]); /* another thread may have let it go, and it may have left */
	if (hmm__word_state(w) == HMM__MAPPED && hmm__word_frame(w) == number) {
		hmm__record_access(region, page, false); /* whether it writes was told when it became writable */
		hmm__policy_touched(space->policy, &number, 1, HMM_ACCESS_PIN);
	}
	hmm__unlock(&space->lock);
}

#define GONE_MOST 1000u /* times that a page has left before it could be held */

/* Make it resident and hold it.  Returns 0, or 1 if it was locked that was not before, or -errno. */
static int hold_page(struct hmm_region *region, uint64_t page, bool write, bool lock)
{
	hmm__word *word = &region->words[page];

	for (unsigned gone = 0;;) {
		int r = hmm__page_ensure(region, page, HMM_ACCESS_PIN, write);
		uint64_t w = atomic_load(word), next;
		bool first;

		if (r) /* no frame: what the caller can do is to give up pins, or to wait for others that do */
			return r == -ENOMEM ? -EAGAIN : r;
		if (hmm__word_state(w) != HMM__MAPPED || (write && !(w & HMM__DIRTY))) {
			/* where all else is pinned, by caches say, it is the one page that can be evicted */
			if (++gone == GONE_MOST)
				return -EAGAIN;
			continue;
		}
		if (lock && w & HMM__LOCKED)
			return 0;
		if (!lock && hmm__word_pins(w) >= HMM__PIN_MAX)
			return -EOVERFLOW;
		first = !hmm__word_held(w);
		next = lock ? w | HMM__LOCKED : w + HMM__PIN_ONE;
		if (first) {
			r = hold_back(region);
			if (r)
				return r;
		}
		if (hmm__word_cas(word, &w, next)) {
			tell_policy(region, page, w);
			return lock ? 1 : 0;
		}
		if (first)
			let_go(region);
	}
}

static void release_page(struct hmm_region *region, uint64_t page, bool lock)
{
	hmm__word *word = &region->words[page];

	for (;;) {
		uint64_t w = atomic_load(word), next;

		if (lock ? !(w & HMM__LOCKED) : !hmm__word_pins(w))
			return;
		if (hmm__word_busy(w)) {
			/* its first write is being let through, or a sync copies it */
			hmm__page_wait(region, word, w);
			continue;
		}
		next = lock ? w & ~HMM__LOCKED : w - HMM__PIN_ONE;
		if (!hmm__word_cas(word, &w, next))
			continue;
		if (!hmm__word_held(next))
			let_go(region);
		return;
	}
}

/* A page under a pin for writing must be writable for the kernel too, whatever a sync left behind. */
static int make_writable(struct hmm_region *region, void *address, size_t length)
{
	struct hmm_span span = { address, length };

	return region->engine->ops->write_protect(region->engine->backend, &span, 1, 0);
}

int hmm_region_pin(struct hmm_region *region, void *address, size_t length, int write)
{
	struct hmm__call call;
	uint64_t page, npages, i;
	int r = hmm__call_range(&call, region, address, length, &page, &npages);

	if (r)
		return r;
	if (write && hmm__read_only(region, page, npages))
		r = -EACCES;
	for (i = 0; !r && i < npages; i++) {
		r = hold_page(region, page + i, write, false);
		if (r)
			break;
	}
	if (!r && write)
		r = make_writable(region, address, length);
	if (r) {
		while (i-- > 0)
			release_page(region, page + i, false);
	}
	hmm__call_end(&call);
	return r;
}

int hmm_region_unpin(struct hmm_region *region, void *address, size_t length)
{
	struct hmm__call call;
	uint64_t page, npages;
	int r = hmm__call_range(&call, region, address, length, &page, &npages);

	if (r)
		return r;
	for (uint64_t i = 0; !r && i < npages; i++) {
		if (!hmm__word_pins(atomic_load(&region->words[page + i])))
			r = -EINVAL; /* not pinned: nothing is changed */
	}
	for (uint64_t i = 0; !r && i < npages; i++)
		release_page(region, page + i, false);
	hmm__call_end(&call);
	return r;
}

/* --- stacks of threads --- */

/*
 * What must stay: under thread delivery the thread itself, which the kernel writes to when it can't wait for a pager.
 * Under inline delivery all of it, for handlers run on it, ours too.
 */
static int part_of_stack(struct hmm_region *region, void *stack, size_t size, void **ret_from, size_t *ret_length)
{
	uintptr_t top = (uintptr_t)stack + size, from, page;
	size_t end;
	int r;

	if (!region || !size || top < (uintptr_t)stack)
		return -EINVAL;
	page = (uintptr_t)1 << region->shift;
	r = region->engine->delivery == HMM_DELIVERY_INLINE ? 0 : hmm__sys_thread_end(&end);
	if (r)
		return r;
	if (region->engine->delivery == HMM_DELIVERY_INLINE)
		end = size;
	from = (top - HMM__MIN(end, size)) & ~(page - 1);
	*ret_from = (void *)from;
	*ret_length = HMM__ALIGN_UP(top, page) - from;
	return 0;
}

int hmm_region_pin_stack(struct hmm_region *region, void *stack, size_t size)
{
	size_t length;
	void *from;
	int r = part_of_stack(region, stack, size, &from, &length);

	return r ? r : hmm_region_pin(region, from, length, 1);
}

int hmm_region_unpin_stack(struct hmm_region *region, void *stack, size_t size)
{
	size_t length;
	void *from;
	int r = part_of_stack(region, stack, size, &from, &length);

	return r ? r : hmm_region_unpin(region, from, length);
}

int hmm_region_lock(struct hmm_region *region, void *address, size_t length)
{
	struct hmm__call call;
	uint64_t page, npages, i;
	int r = hmm__call_range(&call, region, address, length, &page, &npages), r1 = 0;

	if (r)
		return r;
	for (i = 0; i < npages; i++) {
		r1 = hold_page(region, page + i, false, true);
		if (r1 < 0)
			break;
		if (r1 == 0)
			hmm__page_mark(region, page + i, HMM__WAS_LOCKED);
	}
	for (uint64_t k = 0; k < i; k++) {
		uint64_t w = hmm__page_unmark(region, page + k, HMM__WAS_LOCKED);

		if (r1 < 0 && !(w & HMM__WAS_LOCKED))
			release_page(region, page + k, true);
	}
	hmm__call_end(&call);
	return r1 < 0 ? r1 : 0;
}

int hmm_region_unlock(struct hmm_region *region, void *address, size_t length)
{
	struct hmm__call call;
	uint64_t page, npages;
	int r = hmm__call_range(&call, region, address, length, &page, &npages);

	if (r)
		return r;
	for (uint64_t i = 0; i < npages; i++)
		release_page(region, page + i, true);
	hmm__call_end(&call);
	return 0;
}
