/* SPDX-License-Identifier: MIT */
/*
 * results.h - what a simulation gives, and what turns it into a table, JSON, a picture, a page, or advice
 *
 * Every renderer gets all results of a run at once, in their final order: by trace, then by policy as named on the
 * command line, then by frames ascending.  Rows of one curve are therefore neighbours.
 */
#ifndef HMM_SIM_RESULTS_H
#define HMM_SIM_RESULTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

enum sim_mode {
	SIM_EXACT,   /* one victim a miss */
	SIM_BATCHED, /* victims in batches, between water marks */
	SIM_REFBITS, /* as batched; the policy hears of hits only when reference bits are harvested */
	SIM_MRC,     /* LRU stack distances, all sizes in one pass */
	SIM_SHARDS   /* a sample of the pages */
};

/* "exact", "batched", "refbits", "mrc", "shards" */
const char *sim_mode_name(enum sim_mode mode);

struct result {
	const char *trace;    /* file name without directory and suffixes of format and compression */
	const char *policy;   /* as given: "lru", "s3fifo:small=0.1" */
	enum sim_mode mode;
	uint64_t frames;
	uint64_t unique;      /* different pages in the trace */
	uint64_t requests;    /* reads and writes; discards are none */
	uint64_t misses;      /* an estimate if sampled */
	uint64_t cold;        /* of them: first request of a page */
	bool has_io;          /* the five below are known; false for SIM_MRC and SIM_SHARDS */
	uint64_t page_ins;    /* misses on a page with a stored copy */
	uint64_t page_outs;   /* dirty pages evicted */
	uint64_t zero_fills;  /* misses on a page without a stored copy */
	uint64_t faults;      /* page_ins + zero_fills + pages rescued before their frame was taken */
	double seconds;       /* CPU time of the simulation, without loading; of a curve: its share */
	double mreq_per_s;    /* million requests a second */
	double rate;          /* share of the pages that was simulated: 1 unless SIM_SHARDS */
	double error;         /* of the miss ratio, absolute, 95% confidence: 0 unless SIM_SHARDS */
};

static inline double result_miss_ratio(const struct result *result)
{
	return result->requests != 0 ? (double)result->misses / (double)result->requests : 0;
}

struct results {
	struct result *at;
	size_t n;
};

/* output.c: to a stream.  They return 0 or -errno. */
int results_write_table(FILE *out, const struct results *results);
int results_write_json(FILE *out, const struct results *results); /* one object a line */
int results_write_csv(FILE *out, const struct results *results);

/*
 * plot.c: a picture (path ends with .svg or .png) of miss ratio over frames, a curve for every policy, a panel for every
 * trace.  Returns 0; on failure 1 after it told why on stderr.
 */
int results_plot(const char *path, bool log_x, const struct results *results);

/* html.c: one page with interactive curves.  As above. */
int results_html(const char *path, const struct results *results);

/*
 * advise.c: `hmm-sim advise TRACE --budget N`.  advise_sizes() names the frames to simulate for a trace of `unique`
 * pages (ascending, budget among them, at most `most`) and returns their number; then all policies run at these sizes, and
 * advise_write() tells which policy is best at the budget and what more or less memory would change.  json: one object a
 * trace instead of text.  Returns 0 or -errno.
 */
size_t advise_sizes(uint64_t budget, uint64_t unique, uint64_t *sizes, size_t most);
int advise_write(FILE *out, uint64_t budget, bool json, const struct results *results);

#endif
