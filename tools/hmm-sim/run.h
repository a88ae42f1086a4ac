/* SPDX-License-Identifier: MIT */
/*
 * run.h - all policies at all sizes over one trace
 */
#ifndef HMM_SIM_RUN_H
#define HMM_SIM_RUN_H

#include "passes.h"

enum size_choice {
	SIZES_FRAMES, /* as listed */
	SIZES_RATIOS, /* of the trace's pages */
	SIZES_POINTS, /* so many, evenly on a logarithmic scale, up to all pages */
	SIZES_ALL,    /* 1 to all pages; LRU only */
	SIZES_ADVISE  /* around a budget */
};

struct sizes {
	enum size_choice choice;
	uint64_t *frames;
	double *ratios;
	size_t n;            /* of frames or ratios; SIZES_POINTS: points */
	uint64_t budget;
};

struct run_options {
	struct trace_options trace;
	struct engine_options engine;
	const struct policy_spec *policies;
	size_t npolicies;
	struct sizes sizes;
	double rate;         /* of the sample; 0: not sampled by rate */
	uint32_t most;       /* sampled pages; 0: not sampled by size */
	uint64_t seed;
	unsigned threads;
	size_t memory;       /* bytes of records; a longer trace is streamed */
	bool streams;        /* at once */
	bool skips_refused;  /* policies that refuse to start without parameters are left out */
};

/* Append the trace's results, in the order of results.h.  0, or -1 with *failure filled in. */
int run_trace(const char *path, const struct run_options *options, struct results *results, struct failure *failure);

/* progress.c: a bar on stderr if that is a terminal */
void progress_begin(const char *what);
void progress_show(double share);
void progress_end(void);

#endif
