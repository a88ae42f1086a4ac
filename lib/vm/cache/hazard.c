/* SPDX-License-Identifier: MIT */
/*
 * hazard.c - see hazard.h
 */
#include "lib/vm/cache/hazard.h"

#include <pthread.h>

static struct hmm__hazards lines[HMM__HAZARD_LINES];
static _Atomic uint32_t taken[HMM__HAZARD_LINES]; /* 1: a thread's */
static _Atomic uint32_t top;                      /* lines from here on were never used */

_Thread_local struct hmm__hazards *hmm__hazards;

/* Whoever gets it finds no free slot. */
static hmm__word nothing;
static struct hmm__hazards full = {
	{ &nothing, &nothing, &nothing, &nothing, &nothing, &nothing, &nothing, &nothing }
};
_Static_assert(HMM__HAZARDS == 8, "as many as full has");

static pthread_once_t once = PTHREAD_ONCE_INIT;
static pthread_key_t key;
static bool has_key;

static void leave(void *line)
{
	hmm__hazards = NULL;
	atomic_store_explicit(&taken[(struct hmm__hazards *)line - lines], 0, memory_order_release);
}

static void make_key(void)
{
	has_key = pthread_key_create(&key, leave) == 0;
}

/* What was never used is looked at by nobody: top first. */
static bool take(uint32_t i)
{
	uint32_t none = 0, n = atomic_load(&top);

	if (!atomic_compare_exchange_strong(&taken[i], &none, 1))
		return false;
	while (n <= i && !atomic_compare_exchange_weak(&top, &n, i + 1))
		;
	return true;
}

struct hmm__hazards *hmm__hazards_join(void)
{
	uint32_t i = 0;

	pthread_once(&once, make_key);
	hmm__hazards = &full;
	if (!has_key)
		return hmm__hazards;
	while (i < HMM__HAZARD_LINES && !take(i))
		i++;
	if (i == HMM__HAZARD_LINES)
		return hmm__hazards;
	if (pthread_setspecific(key, &lines[i]))
		atomic_store(&taken[i], 0); /* nobody would give it back */
	else
		hmm__hazards = &lines[i];
	return hmm__hazards;
}

static bool within(const hmm__word *word, const hmm__word *words, uint64_t n)
{
	return word >= words && word < words + n;
}

bool hmm__hazard_any(const hmm__word *words, uint64_t n)
{
	uint32_t end = atomic_load(&top);

	for (uint32_t i = 0; i < end; i++) {
		for (unsigned s = 0; s < HMM__HAZARDS; s++) {
			if (HMM__UNLIKELY(within(atomic_load(&lines[i].slot[s]), words, n)))
				return true;
		}
	}
	return false;
}

/* The i-th slot of all. */
static hmm__word *slot_at(unsigned i)
{
	return atomic_load(&lines[i / HMM__HAZARDS].slot[i % HMM__HAZARDS]);
}

uint64_t hmm__hazard_count(const hmm__word *words, uint64_t n)
{
	unsigned end = atomic_load(&top) * HMM__HAZARDS;
	uint64_t count = 0;

	for (unsigned i = 0; i < end; i++) {
		hmm__word *word = slot_at(i);
		unsigned before = 0;

		if (!within(word, words, n) || hmm__word_pins(atomic_load(word)))
			continue;
		while (before < i && slot_at(before) != word)
			before++;
		count += before == i;
	}
	return count;
}

unsigned hmm__hazard_clear(const hmm__word *words, uint64_t n)
{
	unsigned end = atomic_load(&top) * HMM__HAZARDS, count = 0;

	for (unsigned i = 0; i < end; i++) {
		hmm__word *word = slot_at(i);

		count += within(word, words, n) &&
		         atomic_compare_exchange_strong(&lines[i / HMM__HAZARDS].slot[i % HMM__HAZARDS], &word, NULL);
	}
	return count;
}

/* One pin more in the word of a page that a slot may hold; false: it holds it no more. */
static bool add_pin(struct hmm_cache *cache, hmm__word *word, const _Atomic(hmm__word *) *slot)
{
	uint64_t w = atomic_load(word);

	while (atomic_load(slot) == word) {
		if (hmm__word_state(w) == HMM__MAPPED) {
			if (hmm__word_cas(word, &w, w + HMM__PIN_ONE))
				return true;
		} else if (hmm__word_state(w) == HMM__ABSENT) {
			return false; /* of a get that is about to see that, too */
		} else {
			hmm__page_wait(cache->region, word, w);
			w = atomic_load(word);
		}
	}
	return false;
}

static bool absorb_slot(struct hmm_cache *cache, uint64_t page, _Atomic(hmm__word *) *slot)
{
	hmm__word *word = &cache->words[page], *is = word;

	if (atomic_load(slot) != word || !add_pin(cache, word, slot))
		return false;
	if (atomic_compare_exchange_strong(slot, &is, NULL))
		return true;
	(void)hmm__cache_unpin(cache, page, 0, 0);
	return false;
}

bool hmm__hazard_absorb(struct hmm_cache *cache, uint64_t page)
{
	uint32_t end = atomic_load(&top);

	for (unsigned s = 0; hmm__hazards && hmm__hazards != &full && s < HMM__HAZARDS; s++) {
		if (absorb_slot(cache, page, &hmm__hazards->slot[s]))
			return true;
	}
	for (uint32_t i = 0; i < end; i++) {
		for (unsigned s = 0; s < HMM__HAZARDS; s++) {
			if (absorb_slot(cache, page, &lines[i].slot[s]))
				return true;
		}
	}
	return false;
}

void hmm__hazards_forked(void)
{
	for (uint32_t i = 0; i < HMM__HAZARD_LINES; i++) {
		for (unsigned s = 0; s < HMM__HAZARDS; s++)
			atomic_store(&lines[i].slot[s], NULL);
		atomic_store(&taken[i], hmm__hazards == &lines[i]);
	}
}
