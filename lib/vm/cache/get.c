/* SPDX-License-Identifier: MIT */
/*
 * get.c - hits: pin, unpin, look without a pin
 *
 * Everything here is one compare-and-swap of a slot of the thread or of the page word, or none (C2).  What needs more - a page that is not there, a
 * write-out that is waited for, the last pin of a page that is to be dropped - is in load.c and put.c.
 *
 * Optimistic readers are told by the version of the frame (C6): a writer enters the word first and changes the version
 * then, before it can store anything; who gives a slot up changes the version after the word has left MAPPED.  A
 * reader reads word, version, word, contents, version.
 */
#include <errno.h>

#include "lib/vm/cache/hazard.h"
#include "lib/vm/cache/touch.h"

#define GET_KNOWN \
	(HMM_CACHE_WRITE | HMM_CACHE_CREATE | HMM_CACHE_NOWAIT | HMM_CACHE_RESIDENT | ~0xffu)
#define ODD_MODES (0xffu & ~(unsigned)HMM_CACHE_WRITE)
#define LOOKS_MASK 15 /* one optimistic read in 16 is told to the policy */

/* ThreadSanitizer does not know fences, and sees no contents that are read without a pin. */
static inline void fence(memory_order order)
{
#ifdef __SANITIZE_THREAD__
	(void)order;
#else
	atomic_thread_fence(order);
#endif
}

int hmm__cache_mode_check(const struct hmm_cache *cache, uint64_t page, unsigned mode)
{
	if (mode & ~GET_KNOWN)
		return -EINVAL;
	if (mode & HMM_CACHE_CREATE &&
	    (mode & HMM_CACHE_RESIDENT || (cache->region->store && !(mode & HMM_CACHE_WRITE))))
		return -EINVAL;
	if (page >= cache->npages)
		return -ERANGE;
	return mode & HMM_CACHE_WRITE && !cache->writable ? -EBADF : 0;
}

/* This and pin() are calls of their own only where a page was not there: they are a third of a hit. */
static inline __attribute__((always_inline)) void *enter(struct hmm_cache *cache, uint64_t w, unsigned mode)
{
	hmm__spot *spot = &cache->spots[hmm__word_frame(w)];

	if (HMM__UNLIKELY(mode & HMM_CACHE_WRITE)) {
		atomic_fetch_add_explicit(spot, HMM__VERSION_ONE, memory_order_acq_rel);
		fence(memory_order_release); /* before what the writer stores */
	}
	return hmm__cache_at(cache, atomic_load_explicit(spot, memory_order_relaxed));
}

static inline __attribute__((always_inline)) enum hmm__pin pin(struct hmm_cache *cache, uint64_t page, unsigned mode,
                                                               uint64_t barred, uint64_t *ret_word)
{
	hmm__word *word = &cache->words[page];
	uint64_t w = atomic_load_explicit(word, memory_order_relaxed);
	uint64_t add = HMM__PIN_ONE + (mode & HMM_CACHE_WRITE ? HMM__WRITER_ONE : 0);

	while (HMM__LIKELY(hmm__word_state(w) == HMM__MAPPED)) {
		if (HMM__UNLIKELY(hmm__word_pins(w) >= HMM__PIN_MAX)) {
			*ret_word = w;
			return HMM__PIN_TOO_MANY;
		}
		if (HMM__UNLIKELY(mode & HMM_CACHE_WRITE && w & barred))
			break;
		if (HMM__LIKELY(hmm__word_cas(word, &w, (w & ~HMM__AHEAD) + add))) {
			*ret_word = w;
			return HMM__PINNED;
		}
	}
	*ret_word = w;
	return HMM__PIN_NOT;
}

/* A pin of a slot has gone: what the last one has to do. */
static inline void slot_emptied(struct hmm_cache *cache, uint64_t page)
{
	if (HMM__UNLIKELY(atomic_load(&cache->words[page]) & HMM__FREE))
		hmm__cache_drop_free(cache, page);
	/* seq_cst: who waits for frames has counted itself before it looks at slots */
	if (HMM__UNLIKELY(atomic_load(&cache->space->frame_waiters)))
		hmm__frames_changed(cache->space);
}

static __attribute__((noinline)) void take_back(struct hmm_cache *cache, uint64_t page, _Atomic(hmm__word *) *slot)
{
	hmm__word *word = &cache->words[page];

	if (atomic_compare_exchange_strong(slot, &word, NULL))
		slot_emptied(cache, page);
	else
		(void)hmm__cache_unpin(cache, page, 0, 0); /* somebody has taken ours for his (H2) */
}

/* Pin for reading in a slot of this thread.  False: no slot is free, or the page is not there. */
static inline __attribute__((always_inline)) bool pin_here(struct hmm_cache *cache, uint64_t page, uint64_t *ret_word)
{
	struct hmm__hazards *h = hmm__hazards;
	hmm__word *word = &cache->words[page];
	unsigned s = 0;

	if (HMM__UNLIKELY(!h))
		h = hmm__hazards_join();
	__builtin_prefetch(word);
	while (HMM__UNLIKELY(atomic_load_explicit(&h->slot[s], memory_order_relaxed))) {
		if (++s == HMM__HAZARDS)
			return false;
	}
	atomic_exchange(&h->slot[s], word);
	*ret_word = atomic_load(word); /* H1 */
	if (HMM__LIKELY(hmm__word_state(*ret_word) == HMM__MAPPED)) {
		if (HMM__UNLIKELY(*ret_word & HMM__AHEAD))
			*ret_word = atomic_fetch_and(word, ~HMM__AHEAD);
		return true;
	}
	take_back(cache, page, &h->slot[s]);
	return false;
}

/* Of this thread's slots.  False: the pin is not there. */
static inline __attribute__((always_inline)) bool put_here(struct hmm_cache *cache, uint64_t page)
{
	struct hmm__hazards *h = hmm__hazards;

	for (unsigned s = 0; HMM__LIKELY(h) && s < HMM__HAZARDS; s++) {
		hmm__word *word = &cache->words[page];

		if (atomic_load_explicit(&h->slot[s], memory_order_relaxed) != word)
			continue;
		if (HMM__LIKELY(atomic_compare_exchange_strong(&h->slot[s], &word, NULL))) {
			slot_emptied(cache, page);
			return true;
		}
	}
	return false;
}

void *hmm__cache_enter(struct hmm_cache *cache, uint64_t w, unsigned mode)
{
	return enter(cache, w, mode);
}

enum hmm__pin hmm__cache_pin(struct hmm_cache *cache, uint64_t page, unsigned mode, bool overdue, uint64_t *ret_word)
{
	return pin(cache, page, mode, overdue ? HMM__WRITEBACK : HMM__WRITEBACK | HMM__DUE, ret_word);
}

int hmm_cache_get(struct hmm_cache *cache, uint64_t page, unsigned mode, void **ret_data)
{
	uint64_t w;
	int r;

	/* of what is asked for, only a mode of more than WRITE, class and stream can be wrong */
	if (HMM__UNLIKELY(page >= cache->npages || mode & ODD_MODES || (mode & HMM_CACHE_WRITE && !cache->writable))) {
		r = hmm__cache_mode_check(cache, page, mode);
		if (r)
			return r;
	}
	if (HMM__UNLIKELY(cache->throttled) && (mode & (HMM_CACHE_WRITE | HMM_CACHE_NOWAIT)) == HMM_CACHE_WRITE)
		hmm__cache_throttle(cache);
	if (HMM__LIKELY((cache->local && !(mode & HMM_CACHE_WRITE) && pin_here(cache, page, &w)) ||
	                pin(cache, page, mode, HMM__WRITEBACK | HMM__DUE, &w) == HMM__PINNED)) {
		*ret_data = enter(cache, w, mode);
		if (HMM__UNLIKELY(w & HMM__AHEAD))
			HMM__COUNT(cache->space, prefetch_hits, 1);
		hmm__touch(cache->space, hmm__word_frame(w) | (mode & HMM_CACHE_WRITE ? HMM__TOUCH_WRITE : 0), false);
		r = 0;
	} else {
		r = hmm__cache_load(cache, page, mode, ret_data);
	}
#ifdef HMM_DEBUG
	if (r >= 0)
		hmm__pins_taken(cache, page, mode);
#endif
	return r;
}

int hmm_cache_put(struct hmm_cache *cache, uint64_t page, unsigned mode, uint64_t position)
{
	hmm__word *word = &cache->words[page];
	uint64_t w, next, sub = HMM__PIN_ONE + (mode & HMM_CACHE_WRITE ? HMM__WRITER_ONE : 0);

#ifdef HMM_DEBUG
	hmm__pins_put(cache, page, mode);
#endif
	if (HMM__UNLIKELY(mode & ~(unsigned)HMM_CACHE_WRITE || page >= cache->npages))
		return hmm__cache_put_slow(cache, page, mode, position);
	if (HMM__LIKELY(cache->local && !mode && put_here(cache, page)))
		return 0;
	w = atomic_load_explicit(word, memory_order_relaxed);
	do {
		unsigned writers = hmm__word_writers(w);

		if (HMM__UNLIKELY(hmm__word_state(w) != HMM__MAPPED || w & (HMM__FREE | HMM__WAITERS) ||
		                  (mode ? !writers : hmm__word_pins(w) <= writers)))
			return hmm__cache_put_slow(cache, page, mode, position);
		next = w - sub;
		/* seq_cst: who waits for frames has counted itself before it looks at words */
	} while (HMM__UNLIKELY(!atomic_compare_exchange_weak(word, &w, next)));
	if (HMM__UNLIKELY(!(next & HMM__PIN_MASK) && atomic_load(&cache->space->frame_waiters)))
		hmm__frames_changed(cache->space);
	return 0;
}

int hmm_cache_read_begin(struct hmm_cache *cache, uint64_t page, const void **ret_data,
                         struct hmm_cache_version *ret_version)
{
	struct hmm__touches *t = &hmm__touches[0];
	hmm__word *word = &cache->words[page];
	uint64_t w, again, spot;

	if (HMM__UNLIKELY(page >= cache->npages))
		return -ENOENT;
	w = atomic_load_explicit(word, memory_order_acquire);
	for (;;) {
		if (HMM__UNLIKELY(hmm__word_state(w) != HMM__MAPPED))
			return -ENOENT;
		if (HMM__UNLIKELY(w & HMM__WRITER_MASK))
			return -EAGAIN;
		spot = atomic_load_explicit(&cache->spots[hmm__word_frame(w)], memory_order_acquire);
		again = atomic_load_explicit(word, memory_order_acquire);
		if (HMM__LIKELY(hmm__word_state(again) == HMM__MAPPED && !(again & HMM__WRITER_MASK) &&
		                hmm__word_frame(again) == hmm__word_frame(w)))
			break;
		w = again;
	}
	ret_version->version = spot;
	ret_version->frame = hmm__word_frame(w);
	*ret_data = hmm__cache_at(cache, spot);
	if (HMM__UNLIKELY((++t->looks & LOOKS_MASK) == 0))
		hmm__touch(cache->space, hmm__word_frame(w), false);
	return 0;
}

int hmm_cache_read_retry(struct hmm_cache *cache, const struct hmm_cache_version *version)
{
	fence(memory_order_acquire);
	return atomic_load_explicit(&cache->spots[version->frame], memory_order_relaxed) != version->version;
}
