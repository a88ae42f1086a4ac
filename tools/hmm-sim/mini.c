/* SPDX-License-Identifier: MIT */
/*
 * mini.c - any policy on a sample of the pages, with as large a part of the frames
 *
 * C. Waldspurger, T. Saemundsson, I. Ahmad, N. Park, "Cache modeling and optimization using miniature simulations", USENIX ATC 2017.
 * Three engines run over the sample: at the scaled size, and one standard deviation of the number of sampled pages among
 * `frames` below and above it; their difference is the part of the error that comes from the size (as in shards.c).
 */
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "passes.h"
#include "sample.h"

#define CHUNK 4096

struct mini {
	struct engine *engines[3]; /* below, at, above */
	uint64_t groups[3][SAMPLE_GROUPS];
	double rate;
	uint64_t threshold, seed, requests;
	record chunk[CHUNK + RECORDS_SLACK];
};

static uint32_t scaled(double frames)
{
	return (uint32_t)fmin(fmax(llround(frames), 1), FRAMES_MOST);
}

int mini_create(const struct policy_spec *spec, uint64_t frames, double rate, uint64_t seed,
                const struct engine_options *options, struct mini **ret)
{
	struct mini *mini = calloc(1, sizeof(*mini));
	double c = (double)frames * rate, off = sqrt(c * (1 - rate));
	int r = 0;

	if (mini == NULL)
		return -ENOMEM;
	mini->rate = rate;
	mini->threshold = (uint64_t)ceil(rate * 4294967296.0);
	mini->seed = seed;
	for (int i = 0; i < 3 && r == 0; i++) {
		r = engine_create(spec, scaled(c + (i - 1) * off), options, &mini->engines[i]);
		if (r == 0)
			engine_count_groups(mini->engines[i], mini->groups[i]);
	}
	if (r != 0) {
		mini_destroy(mini);
		return r;
	}
	*ret = mini;
	return 0;
}

void mini_destroy(struct mini *mini)
{
	for (int i = 0; mini != NULL && i < 3; i++)
		engine_destroy(mini->engines[i]);
	free(mini);
}

static bool run(struct mini *mini, size_t n, uint32_t unique)
{
	for (int i = 0; i < 3; i++) {
		if (!engine_feed(mini->engines[i], mini->chunk, n, unique, true))
			return false;
	}
	return true;
}

bool mini_feed(struct mini *mini, const record *records, size_t n, uint32_t unique)
{
	size_t kept = 0;

	for (size_t i = 0; i < n; i++) {
		mini->requests += record_operation(records[i]) != OP_DISCARD;
		if (sample_hash(record_page(records[i]), mini->seed) >> 32 >= mini->threshold)
			continue;
		mini->chunk[kept++] = records[i];
		if (kept == CHUNK) {
			if (!run(mini, kept, unique))
				return false;
			kept = 0;
		}
	}
	return kept == 0 || run(mini, kept, unique);
}

uint64_t mini_requests(const struct mini *mini)
{
	return mini->requests;
}

double mini_misses(struct mini *mini, double *ret_error)
{
	double groups[SAMPLE_GROUPS], reuse[3], of_pages, of_size;
	struct counts counts;

	for (int i = 0; i < 3; i++) {
		engine_counts(mini->engines[i], &counts);
		reuse[i] = (double)(counts.misses - counts.cold) / mini->rate;
	}
	for (int i = 0; i < SAMPLE_GROUPS; i++)
		groups[i] = (double)mini->groups[1][i] / mini->rate;
	of_pages = sample_error(groups, mini->rate);
	of_size = 1.96 * fabs(reuse[0] - reuse[2]) / 2;
	*ret_error = sqrt(of_pages * of_pages + of_size * of_size);
	return reuse[1];
}
