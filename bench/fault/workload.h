/* SPDX-License-Identifier: MIT */
/*
 * workload.h - touch pages by a pattern from several threads, check each of them, and count
 */
#ifndef BENCH_FAULT_WORKLOAD_H
#define BENCH_FAULT_WORKLOAD_H

#include "bench/fault/impl.h"

struct load {
	enum pattern pattern;
	enum op op;
	unsigned threads;
	double seconds; /* measured */
	double warm;    /* before that, at most */
};

struct sample {
	double seconds;
	uint64_t accesses;
	uint64_t bad;            /* accesses that found wrong contents, warm-up included */
	struct counters delta;   /* during the measured time; resident: at its end */
};

struct workload {
	const struct impl *impl;
	void *context;
	uint8_t *base;
	uint32_t npages;
	unsigned page_shift;             /* of the region: what a miss brings */
	uint64_t budget;                 /* bytes */
	unsigned number;
	const struct streams *streams;
	uint32_t *versions[MAX_THREADS]; /* [page]: what this thread wrote last; locked in memory */
	uint32_t cursor[MAX_THREADS];    /* where in its stream a thread stopped */
};

/* Allocates the versions. */
int workload_init(struct workload *w, const struct setup *setup, const struct impl *impl,
                  const struct streams *streams);
/* Write the first contents of all pages. */
void workload_fill(struct workload *w);
int workload_run(struct workload *w, const struct load *load, struct sample *ret_sample);
/* Look at every stride-th page, all of it; returns how many are wrong. */
uint64_t workload_sweep(struct workload *w, unsigned stride);
/* The same in the file, after the region is gone: nothing that was written may be missing. */
uint64_t workload_sweep_file(struct workload *w, int fd);

uint64_t now_ns(void);

#endif
