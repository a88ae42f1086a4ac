/* SPDX-License-Identifier: MIT */
/*
 * plan.h - which cases there are, and what came out of them
 */
#ifndef BENCH_CACHE_PLAN_H
#define BENCH_CACHE_PLAN_H

#include <signal.h>

#include "bench/cache/process.h"

#define ROUNDS_MOST 9u
#define ROWS_MOST 128u

struct options {
	int quick, json, no_kernel;
	uint64_t bytes;        /* of the file of the cases with misses */
	uint64_t budget;       /* of the cases without */
	double seconds;
	unsigned rounds;
	const char *policy, *filter, *directory;
};

struct row {
	char name[32];
	const char *impl;
	unsigned threads;
	size_t page_size;
	uint64_t bytes, budget;
	unsigned nrounds;
	double ops[ROUNDS_MOST], misses[ROUNDS_MOST]; /* a second */
	uint64_t bad;
	int skipped, failed;
	char why[TEXT_BYTES];
};

struct results {
	struct row rows[ROWS_MOST];
	unsigned nrows;
};

extern volatile sig_atomic_t interrupted;

/* 0, or -errno: nothing could be done at all. */
int plan_run(const struct options *options, struct results *results);

/* Medians over the rounds. */
double row_ops(const struct row *row);
double row_misses(const struct row *row);
/* NULL: there is none, or it did not run. */
const struct row *results_find(const struct results *results, const char *name, const char *impl, unsigned threads);

#endif
