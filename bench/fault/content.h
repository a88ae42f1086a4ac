/* SPDX-License-Identifier: MIT */
/*
 * content.h - what a page of the benchmark holds, so that every access can tell right from wrong
 *
 * A page is 64 lines of eight words.  Line 0 begins with the page's tag.  In every line the last three words are
 * pseudo-random and the rest is zero, so that a page compresses to a little under half, as program data does.
 * The zero words of lines 1 to 63 are versions: word t of line s counts the writes of thread t of the subject that
 * was given number s.  A version has one writer, so threads and subjects that share a file never disagree about it.
 */
#ifndef BENCH_FAULT_CONTENT_H
#define BENCH_FAULT_CONTENT_H

#include <stdatomic.h>
#include <stdint.h>

#define PAGE_BYTES 4096u
#define LINE_WORDS 8u
#define PAGE_LINES (PAGE_BYTES / (LINE_WORDS * 8))
#define RANDOM_WORD 5u /* first of the three random ones */
#define MAX_THREADS 4u

static inline uint64_t content_mix(uint64_t x)
{
	x ^= x >> 30;
	x *= 0xbf58476d1ce4e5b9u;
	x ^= x >> 27;
	x *= 0x94d049bb133111ebu;
	return x ^ x >> 31;
}

static inline uint64_t content_tag(uint64_t page)
{
	return content_mix(page + 0x9e3779b97f4a7c15u) | 1;
}

/* One of the random words of a line: which is 0 to 2. */
static inline uint64_t content_word(uint64_t page, unsigned line, unsigned which)
{
	return content_mix(page * PAGE_LINES + line + ((uint64_t)which << 48));
}

static inline _Atomic uint64_t *content_version(void *page, unsigned subject, unsigned thread)
{
	return (_Atomic uint64_t *)page + subject * LINE_WORDS + thread;
}

/* Everything but the versions. */
void content_fill(void *page, uint64_t number);
/* Returns 0 if tag and random words are all there. */
int content_check(const void *page, uint64_t number);

#endif
