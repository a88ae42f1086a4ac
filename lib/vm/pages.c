/* SPDX-License-Identifier: MIT */
/*
 * pages.c - page words: leaving states, waiting for them, and finding those that were ever used
 */
#include <errno.h>

#include "lib/base/futex.h"
#include "lib/vm/vm.h"

#define LOOKS 1000u /* some 50 us */

/* The half of the word that state and flags are in: what the kernel compares. */
static _Atomic uint32_t *futex_of(hmm__word *word)
{
	uint32_t *half = (uint32_t *)(uintptr_t)word;

#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
	half++;
#endif
	return (_Atomic uint32_t *)half;
}

/* A load from a cache takes less time than being woken: has the word changed after a moment? */
static bool soon(hmm__word *word, uint64_t seen)
{
	for (unsigned i = 0; i < LOOKS; i++) {
		if (atomic_load_explicit(word, memory_order_relaxed) != seen)
			return true;
		hmm__cpu_relax();
	}
	return false;
}

void hmm__page_wait(struct hmm_region *region, hmm__word *word, uint64_t seen)
{
	if (region->space->assist.runs && hmm__word_state(seen) == HMM__LOADING && soon(word, seen))
		return;
	if (!(seen & HMM__WAITERS) && !hmm__word_cas(word, &seen, seen | HMM__WAITERS))
		return;
	HMM__COUNT(region->space, waits, 1);
	hmm__futex_wait(futex_of(word), (uint32_t)(seen | HMM__WAITERS), UINT64_MAX);
}

void hmm__page_wait_for(struct hmm_region *region, hmm__word *word, uint64_t seen, uint64_t ns)
{
	if (!(seen & HMM__WAITERS) && !hmm__word_cas(word, &seen, seen | HMM__WAITERS))
		return;
	HMM__COUNT(region->space, waits, 1);
	hmm__futex_wait(futex_of(word), (uint32_t)(seen | HMM__WAITERS), ns);
}

void hmm__page_wake(struct hmm_region *region, uint64_t page)
{
	hmm__futex_wake(futex_of(&region->words[page]), INT32_MAX);
	if (region->engine->delivery == HMM_DELIVERY_THREAD)
		region->engine->ops->wake(region->engine->backend, hmm__page_address(region, page),
		                          (size_t)1 << region->shift);
}

static void leave(struct hmm_region *region, uint64_t page, enum hmm__state state, uint64_t clear, uint64_t set,
                  uint32_t frame)
{
	hmm__word *word = &region->words[page];
	uint64_t w = atomic_load(word), next;
	struct hmm_space *space = region->space; /* read now: the region may go as soon as the page is released */
	uint32_t weight = region->weight;

	do {
		next = hmm__word_with_state(w & ~(clear | HMM__WAITERS), state) | set;
		if (frame != HMM__NO_FRAME)
			next = hmm__word_with_frame(next, frame);
	} while (!hmm__word_cas(word, &w, next));
	if ((w & HMM__DIRTY) && !(next & HMM__DIRTY))
		atomic_fetch_sub_explicit(&space->dirty, weight, memory_order_relaxed);
	else if (!(w & HMM__DIRTY) && (next & HMM__DIRTY))
		hmm__add(&space->dirty, weight);
	if (HMM__UNLIKELY((w ^ next) & HMM__FREE))
		hmm__add(&space->garbage, next & HMM__FREE ? weight : -(uint64_t)weight);
	if (w & HMM__WAITERS)
		hmm__page_wake(region, page);
}

void hmm__page_leave(struct hmm_region *region, uint64_t page, enum hmm__state state, uint64_t clear, uint64_t set)
{
	leave(region, page, state, clear, set, HMM__NO_FRAME);
}

void hmm__page_leave_mapped(struct hmm_region *region, uint64_t page, uint32_t frame, uint64_t set)
{
	leave(region, page, HMM__MAPPED, 0, set, frame);
}

void hmm__page_leave_absent(struct hmm_region *region, uint64_t page, uint64_t clear, uint64_t set)
{
	leave(region, page, HMM__ABSENT,
	      clear | HMM__DIRTY | HMM__SUSPECT | HMM__FREE | HMM__AHEAD | HMM__LOCKED | HMM__PIN_MASK, set, 0);
}

void hmm__page_touched(struct hmm_region *region, uint64_t page)
{
	uint64_t leaf = page / HMM__LEAF_PAGES, bit = UINT64_C(1) << (leaf % 64);
	_Atomic uint64_t *t = &region->touched[leaf / 64];

	if (!(atomic_load_explicit(t, memory_order_relaxed) & bit))
		atomic_fetch_or_explicit(t, bit, memory_order_relaxed);
}

uint64_t hmm__page_next_touched(struct hmm_region *region, uint64_t page)
{
	uint64_t leaf = page / HMM__LEAF_PAGES, i = leaf / 64, bits;

	if (page >= region->npages)
		return region->npages;
	bits = atomic_load_explicit(&region->touched[i], memory_order_relaxed) & (UINT64_MAX << (leaf % 64));
	while (!bits) {
		if (++i >= region->ntouched_words)
			return region->npages;
		bits = atomic_load_explicit(&region->touched[i], memory_order_relaxed);
	}
	leaf = i * 64 + (uint64_t)__builtin_ctzll(bits);
	return HMM__MIN(HMM__MAX(page, leaf * HMM__LEAF_PAGES), region->npages);
}

/* Clear flags of a page that is not the caller's (WRITEBACK, by the writer that set it).  Returns the word before. */
uint64_t hmm__page_unmark(struct hmm_region *region, uint64_t page, uint64_t clear)
{
	hmm__word *word = &region->words[page];
	uint64_t w = atomic_load(word);

	while (!hmm__word_cas(word, &w, w & ~(clear | HMM__WAITERS)))
		;
	if (w & HMM__WAITERS)
		hmm__page_wake(region, page);
	return w;
}

void hmm__page_mark(struct hmm_region *region, uint64_t page, uint64_t set)
{
	atomic_fetch_or(&region->words[page], set);
}
