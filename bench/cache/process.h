/* SPDX-License-Identifier: MIT */
/*
 * process.h - one open implementation in a process of its own, which runs when it is told to
 */
#ifndef BENCH_CACHE_PROCESS_H
#define BENCH_CACHE_PROCESS_H

#include <sys/types.h>

#include "bench/cache/impl.h"

struct order {
	enum mode mode;
	unsigned threads; /* 0: close */
	double warm, seconds;
};

struct sample {
	double seconds;
	uint64_t accesses, bad;
	struct counters counters; /* of that time */
	int error;                /* -errno */
	char why[TEXT_BYTES];
};

struct process {
	const struct impl *impl;
	struct setup setup;
	pid_t pid;   /* 0: not running */
	int socket;
	int skipped; /* can't be had here: why */
	int failed;
	char why[TEXT_BYTES];
};

void process_open(struct process *process);
/* One run.  0, or -EIO after setting failed. */
int process_run(struct process *process, const struct order *order, struct sample *ret_sample);
/* Write back and end; returns wrong pages of those that were written to, as found in the file. */
uint64_t process_close(struct process *process);

uint64_t now_ns(void);

#endif
