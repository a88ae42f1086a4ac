/* SPDX-License-Identifier: MIT */
/*
 * sample.h - which pages are in a sample: by a hash of the page's number, so that all requests of a page are or none
 *
 * After SHARDS: C. Waldspurger, N. Park, A. Garthwaite, I. Ahmad, "Efficient MRC construction with SHARDS", FAST 2015.
 * The sampled pages fall into groups at random; how far the groups' counts lie apart tells the error of their sum.
 */
#ifndef HMM_SIM_SAMPLE_H
#define HMM_SIM_SAMPLE_H

#include <stdint.h>

#define SAMPLE_GROUPS 32

/* 64 mixed bits of a page: the upper 32 decide on the sample, the lower on the group. */
static inline uint64_t sample_hash(uint32_t page, uint64_t seed)
{
	uint64_t x = page + seed;

	x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
	x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
	return x ^ (x >> 31);
}

static inline unsigned sample_group(uint32_t page)
{
	return (unsigned)(sample_hash(page, 0x9e3779b97f4a7c15u) % SAMPLE_GROUPS);
}

/* Half the width of the 95% confidence interval of a sum over groups, for a sample of this rate. */
double sample_error(const double *groups, double rate);

#endif
