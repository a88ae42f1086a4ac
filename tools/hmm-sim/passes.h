/* SPDX-License-Identifier: MIT */
/*
 * passes.h - what takes a trace and gives misses, besides the engine: OPT, the exact LRU curve, SHARDS, small samples
 */
#ifndef HMM_SIM_PASSES_H
#define HMM_SIM_PASSES_H

#include "engine.h"

/* opt.c: the whole trace at once.  0, -ENOMEM, -EFBIG (2^32 records or more). */
int opt_run(struct trace *trace, uint32_t frames, const struct engine_options *options, struct counts *counts);

/* mrc.c: the LRU curve, exact */
struct mrc;
struct mrc *mrc_create(void);
void mrc_destroy(struct mrc *mrc);
bool mrc_feed(struct mrc *mrc, const record *records, size_t n, uint32_t unique);
uint64_t mrc_requests(const struct mrc *mrc);
/* Misses at these sizes, ascending. */
void mrc_misses(const struct mrc *mrc, const uint64_t *frames, size_t n, uint64_t *misses);

/* shards.c: the LRU curve of a sample */
struct shards;
/* rate: of the pages, 0 to 1; or most: pages, the rate follows.  The other one is 0. */
struct shards *shards_create(double rate, uint32_t most, uint64_t seed);
void shards_destroy(struct shards *shards);
bool shards_feed(struct shards *shards, const record *records, size_t n, uint32_t unique);
uint64_t shards_requests(const struct shards *shards);
double shards_rate(const struct shards *shards);
/* Misses other than cold ones at one size, and half the width of their 95% confidence interval. */
double shards_misses(struct shards *shards, uint64_t frames, double *ret_error);

/* mini.c: any policy on a sample of the pages, with as large a part of the frames (C. Waldspurger et al., "Cache modeling and optimization
 * using miniature simulations", ATC 2017) */
struct mini;
int mini_create(const struct policy_spec *spec, uint64_t frames, double rate, uint64_t seed,
                const struct engine_options *options, struct mini **ret);
void mini_destroy(struct mini *mini);
bool mini_feed(struct mini *mini, const record *records, size_t n, uint32_t unique);
uint64_t mini_requests(const struct mini *mini);
double mini_misses(struct mini *mini, double *ret_error); /* as shards_misses() */

#endif
