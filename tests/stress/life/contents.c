/* SPDX-License-Identifier: MIT */
/*
 * contents.c - what is in the home's pages
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "tests/stress/life/life.h"

#define ALIKE 4u

void life_wrong(const char *what, uint64_t page, uint64_t found)
{
	dprintf(STDERR_FILENO, "life: process %d: %s, page %llu has %#llx\n", (int)getpid(), what, (unsigned long long)page,
	        (unsigned long long)found);
	abort();
}

uint64_t life_random(uint64_t *state)
{
	uint64_t z = *state += UINT64_C(0x9e3779b97f4a7c15);

	z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
	return z ^ z >> 31;
}

static uint64_t *words_of(uint64_t page)
{
	return (uint64_t *)hmm_region_base(life.home) + page * (hmm_region_page_size(life.home) / sizeof(uint64_t));
}

static uint64_t word_of(uint64_t page, uint32_t sequence)
{
	return sequence ? (page + 1) << 32 | sequence : 0x1111 * (page % ALIKE);
}

/* Index of word i of those that are used: the first and the last of the page are. */
static size_t index_of(unsigned i)
{
	return i * (hmm_region_page_size(life.home) / sizeof(uint64_t) - 1) / (LIFE_WORDS - 1);
}

const void *life_look(struct beat *beat, uint64_t page)
{
	const uint64_t *words = words_of(page);

	if (beat)
		beat_step(beat, "reads a page", words);
	for (unsigned i = 0; i < LIFE_WORDS; i++) {
		uint64_t w = __atomic_load_n(&words[index_of(i)], __ATOMIC_RELAXED);
		if (w != word_of(page, 0) && w >> 32 != page + 1)
			life_wrong("foreign contents", page, w);
	}
	return words;
}

void life_check_own(struct beat *beat, uint64_t page)
{
	const uint64_t *words = words_of(page);

	beat_step(beat, "reads a page of its own", words);
	for (unsigned i = 0; i < LIFE_WORDS; i++) {
		uint64_t w = __atomic_load_n(&words[index_of(i)], __ATOMIC_RELAXED);

		if (w != word_of(page, life.sequences[page]))
			life_wrong("not what was written", page, w);
	}
}

static void put(uint64_t page, uint32_t sequence)
{
	uint64_t *words = words_of(page);

	for (unsigned i = 0; i < LIFE_WORDS; i++)
		__atomic_store_n(&words[index_of(i)], word_of(page, sequence), __ATOMIC_RELAXED);
}

void life_fill(void)
{
	for (uint64_t page = 0; page < LIFE_PAGES; page++)
		put(page, 0);
}

void life_write_own(struct beat *beat, uint64_t page)
{
	beat_step(beat, "writes a page of its own", words_of(page));
	put(page, ++life.sequences[page]);
}

void life_write_copy(uint64_t page, uint32_t sequence)
{
	const uint64_t *words = words_of(page);

	put(page, sequence);
	for (unsigned i = 0; i < LIFE_WORDS; i++) {
		uint64_t w = __atomic_load_n(&words[index_of(i)], __ATOMIC_RELAXED);

		if (w != word_of(page, sequence))
			life_wrong("not what this child wrote", page, w);
	}
}

/* Any thread that takes it, in the middle of whatever it was doing: a look at any page. */
void life_signal(int signal)
{
	uint64_t state = atomic_fetch_add(&life.signals, 1);

	(void)signal;
	life_look(NULL, life_random(&state) % LIFE_PAGES);
}
