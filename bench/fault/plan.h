/* SPDX-License-Identifier: MIT */
/*
 * plan.h - which subjects run which cases, in which order
 */
#ifndef BENCH_FAULT_PLAN_H
#define BENCH_FAULT_PLAN_H

#include <signal.h>

#include "bench/fault/results.h"

struct options {
	uint64_t bytes;       /* of a region */
	unsigned resident;    /* per cent */
	double seconds;       /* a run */
	double warm;          /* at most, before the first run of a case */
	unsigned threads[MAX_THREADS], nthreads;
	const char *policy;
	unsigned engine, rescue;
	const char *directory;
	const char *filter;   /* case names, as for fnmatch(3), or part of one */
	int quick, json, list, no_kernel, recycle;
};

extern volatile sig_atomic_t interrupted;

/* Do all that the options ask for.  With options->list: print names only.  -errno if nothing can be run at all. */
int plan_run(const struct options *options, struct results *results);

#endif
