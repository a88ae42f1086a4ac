/* SPDX-License-Identifier: MIT */
/*
 * policy.h - parts of the benchmark of policies
 */
#ifndef BENCH_POLICY_POLICY_H
#define BENCH_POLICY_POLICY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <hurd-mm/policy.h>

struct requests {
	char name[64];
	uint32_t *pages; /* 0 ... unique - 1 */
	size_t n;
	uint32_t unique;
};

/* path: NULL for the built-in one; in any format that hmm-sim reads (discards and hints are left out). */
int requests_open(const char *path, bool quick, struct requests *trace);
int requests_make_large(struct requests *trace); /* 20 million requests of a million pages */
void requests_close(struct requests *trace);

/* A policy by itself, as the core runs one. */
struct instance {
	const struct hmm_policy_ops *ops;
	const char *params;
	void *state;
	size_t size;
	uint32_t frames;
};

/* spec: "name" or "name:parameters".  -ENOENT, -EINVAL, -ENOMEM. */
int instance_start(const char *spec, uint32_t frames, struct instance *instance);
void instance_stop(struct instance *instance);
void instance_miss(struct instance *i, uint64_t page, uint32_t cookie);
void instance_inserted(struct instance *i, uint32_t frame, uint64_t page);

/* Misses with one victim a miss and every hit told at once: what the simulator counts in exact mode. */
int simulate(const char *spec, uint32_t frames, const struct requests *trace, uint64_t *ret_misses);

/* Median of a policy's own time for a fault, in the order of calls that a pager makes. */
struct work {
	uint64_t faults;
	uint64_t calls;
	double median_ns, worst_ns; /* of batches of 64 faults: the median, and the 99th in a hundred */
};
int measure_work(const char *spec, uint32_t frames, const struct requests *trace, struct work *ret_work);

/* The trace through a region of a space with this policy. */
struct replay {
	uint64_t page_ins, rescues, wrong;
	uint64_t recorded, record_drops;
	double seconds;
};
int replay(const char *spec, uint32_t frames, const struct requests *trace, uint32_t rescue, const char *record,
           const char *directory, struct replay *ret_replay);

#endif
