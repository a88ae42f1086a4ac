/* SPDX-License-Identifier: MIT */
/*
 * keys.c - uniform and Zipf streams
 *
 * Zipf is drawn exactly, with Walker's alias method (Vose, "A linear algorithm for generating random numbers with a
 * given distribution", IEEE TSE 1991).  Ranks are scattered over the pages by a multiplication modulo their number, as
 * YCSB's scrambled Zipf does, so that hot pages are not neighbours.
 */
#include "bench/fault/keys.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <sys/mman.h>

struct alias {
	uint32_t n;
	uint32_t *other;   /* taken instead of i ... */
	uint32_t *keep;    /* ... unless a 32-bit draw is below keep[i] */
};

static void alias_fini(struct alias *alias)
{
	free(alias->other);
	free(alias->keep);
}

/* weights: sum n; used up. */
static void alias_build(struct alias *alias, double *weights, uint32_t *small, uint32_t *large)
{
	uint32_t nsmall = 0, nlarge = 0;

	for (uint32_t i = 0; i < alias->n; i++) {
		if (weights[i] < 1)
			small[nsmall++] = i;
		else
			large[nlarge++] = i;
	}
	while (nsmall && nlarge) {
		uint32_t s = small[--nsmall], l = large[nlarge - 1];

		alias->keep[s] = (uint32_t)(weights[s] * UINT32_MAX);
		alias->other[s] = l;
		weights[l] -= 1 - weights[s];
		if (weights[l] < 1) {
			nlarge--;
			small[nsmall++] = l;
		}
	}
	/* What is left weighs 1, but for rounding. */
	while (nlarge + nsmall) {
		uint32_t i = nlarge ? large[--nlarge] : small[--nsmall];

		alias->keep[i] = UINT32_MAX;
		alias->other[i] = i;
	}
}

static int alias_init_zipf(struct alias *alias, uint32_t n, double exponent)
{
	double *weights = malloc(n * sizeof(*weights)), sum = 0;
	uint32_t *lists = malloc(2 * (size_t)n * sizeof(*lists));

	alias->n = n;
	alias->other = malloc(n * sizeof(*alias->other));
	alias->keep = malloc(n * sizeof(*alias->keep));
	if (!weights || !lists || !alias->other || !alias->keep) {
		alias_fini(alias);
		free(weights);
		free(lists);
		return -ENOMEM;
	}
	for (uint32_t i = 0; i < n; i++)
		sum += weights[i] = pow(i + 1, -exponent);
	for (uint32_t i = 0; i < n; i++)
		weights[i] *= n / sum;
	alias_build(alias, weights, lists, lists + n);
	free(weights);
	free(lists);
	return 0;
}

static uint32_t uniform(uint64_t *state, uint32_t n)
{
	return (uint32_t)(((xorshift(state) >> 32) * n) >> 32);
}

static uint32_t alias_draw(const struct alias *alias, uint64_t *state)
{
	uint32_t i = uniform(state, alias->n);

	return (uint32_t)(xorshift(state) >> 32) <= alias->keep[i] ? i : alias->other[i];
}

static uint32_t greatest_divisor(uint32_t a, uint32_t b)
{
	while (b) {
		uint32_t rest = a % b;

		a = b;
		b = rest;
	}
	return a;
}

/* A factor near the golden section of n that has no divisor with it: rank * factor mod n meets every page once. */
static uint32_t scatter_factor(uint32_t n)
{
	uint32_t factor = (uint32_t)(n * 0.6180339887);

	while (factor > 1 && greatest_divisor(factor, n) != 1)
		factor--;
	return factor ? factor : 1;
}

static void stream_draw(uint32_t *keys, uint32_t npages, const struct alias *zipf, uint64_t seed)
{
	uint64_t state = content_mix(seed) | 1;
	uint32_t factor = scatter_factor(npages);

	for (uint32_t i = 0; i < STREAM_KEYS; i++) {
		uint32_t key;

		if (zipf)
			key = (uint32_t)((uint64_t)alias_draw(zipf, &state) * factor % npages);
		else
			key = uniform(&state, npages);
		if (uniform(&state, 100) < WRITE_PERCENT)
			key |= KEY_WRITE;
		keys[i] = key;
	}
}

int streams_draw(struct streams *streams, uint32_t npages, unsigned threads, uint64_t seed)
{
	struct alias zipf;
	int r = alias_init_zipf(&zipf, npages, ZIPF_EXPONENT);

	if (r < 0)
		return r;
	for (unsigned p = PATTERN_RANDOM; p < PATTERNS && r == 0; p++) {
		for (unsigned t = 0; t < threads; t++) {
			void *keys = mmap(NULL, STREAM_KEYS * sizeof(uint32_t), PROT_READ | PROT_WRITE,
			                  MAP_SHARED | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);

			if (keys == MAP_FAILED) {
				r = -errno;
				break;
			}
			streams->keys[p][t] = keys;
			stream_draw(keys, npages, p == PATTERN_ZIPF ? &zipf : NULL, seed + p * MAX_THREADS + t);
		}
	}
	alias_fini(&zipf);
	return r;
}
