/* SPDX-License-Identifier: MIT */
/*
 * keys.h - which page is touched next, drawn before anything is measured
 *
 * A stream is an array of keys: a page number, and one bit that says whether a mixed workload writes it.  It
 * is drawn once, before the subjects are forked, so all of them are asked for the same pages in the same order, and
 * a key costs the measured loop one sequential load.
 */
#ifndef BENCH_FAULT_KEYS_H
#define BENCH_FAULT_KEYS_H

#include <stdint.h>

#include "bench/fault/content.h"

enum pattern { PATTERN_SEQUENTIAL, PATTERN_RANDOM, PATTERN_ZIPF, PATTERNS };

#define KEY_WRITE (UINT32_C(1) << 31)
#define KEY_PAGE(key) ((key) & ~KEY_WRITE)
#define STREAM_KEYS (1u << 20)
#define WRITE_PERCENT 30
#define ZIPF_EXPONENT 0.99

struct streams {
	uint32_t *keys[PATTERNS][MAX_THREADS]; /* NULL for sequential, which needs none */
};

static inline uint64_t xorshift(uint64_t *state)
{
	uint64_t x = *state;

	x ^= x << 13;
	x ^= x >> 7;
	x ^= x << 17;
	return *state = x;
}

/* Draw the streams of all patterns over npages pages, in memory that forked children share.  -errno. */
int streams_draw(struct streams *streams, uint32_t npages, unsigned threads, uint64_t seed);

#endif
