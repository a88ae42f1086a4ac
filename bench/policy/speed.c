/* SPDX-License-Identifier: MIT */
/*
 * speed.c - how fast policies are in the simulator, one victim a miss, one thread
 */
#include "bench/policy/speed.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "tools/hmm-sim/passes.h"

#define REPEATS_MOST 32u

/* What runs: an engine, or the curve. */
struct runner {
	struct engine *engine;
	struct mrc *mrc;
};

static double cpu_seconds(void)
{
	struct timespec t;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static int parse(const char *text, char *name, size_t size, struct policy_spec *spec)
{
	size_t length = strcspn(text, ":");

	if (length >= size)
		return -ENOENT;
	memcpy(name, text, length);
	name[length] = '\0';
	*spec = (struct policy_spec){
		.text = text,
		.params = text[length] != '\0' ? text + length + 1 : "",
		.ops = hmm_policy_lookup(name),
	};
	return spec->ops != NULL ? 0 : -ENOENT;
}

static int create(const char *text, uint32_t frames, uint32_t unique, struct runner *runner)
{
	const struct engine_options options = { .mode = SIM_EXACT, .available = -1 };
	struct policy_spec spec;
	char name[64];
	int r;

	*runner = (struct runner){ .engine = NULL };
	if (strcmp(text, SPEED_CURVE) == 0) {
		runner->mrc = mrc_create();
		return runner->mrc != NULL ? 0 : -ENOMEM;
	}
	r = parse(text, name, sizeof(name), &spec);
	if (r == 0)
		r = engine_create(&spec, frames, &options, &runner->engine);
	if (r == 0 && !engine_prepare(runner->engine, unique, false)) {
		engine_destroy(runner->engine);
		r = -ENOMEM;
	}
	return r;
}

static void destroy(struct runner *runner)
{
	if (runner->engine != NULL)
		engine_destroy(runner->engine);
	if (runner->mrc != NULL)
		mrc_destroy(runner->mrc);
}

/* One pass; *ret_seconds of it. */
static int run_once(const char *text, uint32_t frames, const record *records, size_t n, uint32_t unique,
                    double *ret_seconds, uint64_t *ret_misses)
{
	struct runner runner;
	struct counts counts;
	uint64_t size = frames;
	double begin;
	bool ok;
	int r = create(text, frames, unique, &runner);

	if (r != 0)
		return r;
	begin = cpu_seconds();
	ok = runner.mrc != NULL ? mrc_feed(runner.mrc, records, n, unique) :
				  engine_feed(runner.engine, records, n, unique, false);
	*ret_seconds = cpu_seconds() - begin;
	if (runner.mrc != NULL) {
		mrc_misses(runner.mrc, &size, 1, ret_misses);
	} else {
		engine_counts(runner.engine, &counts);
		*ret_misses = counts.misses;
	}
	destroy(&runner);
	return ok ? 0 : -ENOMEM;
}

static int compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

int measure_speed(const char *spec, uint32_t frames, const uint32_t *pages, size_t n, uint32_t unique, unsigned repeats,
                  struct speed *ret)
{
	record *records = calloc(n + RECORDS_SLACK, sizeof(*records));
	double seconds[REPEATS_MOST];
	int r = records != NULL ? 0 : -ENOMEM;

	repeats = repeats < 1 ? 1 : repeats > REPEATS_MOST ? REPEATS_MOST : repeats;
	for (size_t i = 0; r == 0 && i < n; i++)
		records[i] = pages[i] << RECORD_SHIFT | OP_READ;
	for (unsigned i = 0; r == 0 && i < repeats; i++)
		r = run_once(spec, frames, records, n, unique, &seconds[i], &ret->misses);
	free(records);
	if (r != 0)
		return r;
	qsort(seconds, repeats, sizeof(seconds[0]), compare);
	ret->repeats = repeats;
	ret->median = (double)n / 1e6 / seconds[repeats / 2];
	ret->best = (double)n / 1e6 / seconds[0];
	return 0;
}
