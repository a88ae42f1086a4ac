/* SPDX-License-Identifier: MIT */
/*
 * policy_traces.h - traces for tests of policies, and a driver that counts misses
 */
#ifndef HMM_TESTS_POLICY_TRACES_H
#define HMM_TESTS_POLICY_TRACES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <hurd-mm/policy.h>

struct trace {
	uint32_t *pages; /* dense numbers; behind the last request stand some that may be read */
	uint32_t length;
	uint32_t npages;
};

uint64_t trace_random(uint64_t *state);

/*
 * A made-up pattern over npages pages: a loop, a scan through hot pages, uniform, skewed like Zipf's law, a hot set that
 * moves, two uses in a row, two loops of different lengths.
 */
#define TRACE_KINDS 7
uint32_t trace_synthetic(int kind, uint32_t i, uint32_t npages, uint64_t *seed);
void trace_make(struct trace *trace, int kind, uint32_t length, uint32_t npages, uint64_t *seed);

/* The directory of recorded traces and expected counts: $HMM_SHARED/data, or ../shared/data beside the source. */
const char *trace_directory(void);

/* Read traces/NAME.u64.zst of the directory.  False: it is not there, or zstd is not. */
bool trace_load(const char *name, struct trace *trace);

void trace_free(struct trace *trace);

/*
 * Misses of a policy with so many frames, one victim a miss; through the table of hooks alone, hits in batches, every
 * ghost remembered.  params as in start().  hits, if not NULL, gets one byte a request.
 */
uint64_t trace_misses(const struct hmm_policy_ops *ops, const char *params, const struct trace *trace, uint32_t frames,
                      uint8_t *hits);

#endif
