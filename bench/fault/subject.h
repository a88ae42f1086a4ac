/* SPDX-License-Identifier: MIT */
/*
 * subject.h - one open implementation in its own process, driven from the parent
 */
#ifndef BENCH_FAULT_SUBJECT_H
#define BENCH_FAULT_SUBJECT_H

#include <sys/types.h>

#include "bench/fault/workload.h"

struct subject {
	struct setup setup;
	const struct impl *impl;
	struct identity identity;
	pid_t pid;    /* 0: not running */
	int socket;
	int ran;      /* at least once: its budget is full */
	int skipped;  /* can't be had here: why says what is missing */
	int failed;   /* went wrong: why says what */
	char why[TEXT_BYTES];
};

/* Fork, open, fill.  Sets skipped or failed if it is not running afterwards. */
void subject_open(struct subject *subject, const struct streams *streams);
/* One run.  Returns 0, or -EIO after setting failed. */
int subject_run(struct subject *subject, const struct load *load, struct sample *ret_sample);
/* Sweep every stride-th page, close, check the file; returns the number of wrong pages.  Nothing if not running. */
uint64_t subject_close(struct subject *subject, unsigned stride);
/* End it without ceremony. */
void subject_kill(struct subject *subject);

/*
 * Run `body` in a process of its own and take its answer of `bytes` bytes; 0, or -errno and why.  For measurements that
 * are no workload.
 */
int subject_once(void (*body)(void *arg, void *answer), void *arg, void *ret_answer, unsigned bytes,
                 char why[TEXT_BYTES]);

#endif
