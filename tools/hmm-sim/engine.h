/* SPDX-License-Identifier: MIT */
/*
 * engine.h - one policy at one size over a trace, through the public table of hooks
 */
#ifndef HMM_SIM_ENGINE_H
#define HMM_SIM_ENGINE_H

#include <hurd-mm/policy.h>

#include "results.h"
#include "trace.h"

#define NOBODY UINT32_MAX /* no frame, no page */
#define FRAMES_MOST (UINT32_MAX - 16)

enum discards {
	DISCARDS_BY_POLICY, /* honoured if the policy says that it ranks pages by priority, ignored otherwise */
	DISCARDS_IGNORED,   /* garbage is contents as any other */
	DISCARDS_HONOURED,  /* told to the policy; clean, without a stored copy, resident until it is chosen */
	DISCARDS_UNMAPPED   /* as honoured, and its frame is free at once */
};

struct engine_options {
	enum sim_mode mode;     /* SIM_EXACT, SIM_BATCHED, SIM_REFBITS */
	enum discards discards;
	bool is_anonymous;      /* pages begin as zeros: without a stored copy */
	uint32_t batch, low, high; /* batched: victims a pass, free frames that start and stop it; 0: as the pager */
	int64_t available;      /* batched: length of the available list; -1: as the pager */
};

/* A policy as named by the user. */
struct policy_spec {
	const char *text;                 /* "s3fifo:small=0.1" */
	const char *params;               /* "small=0.1" */
	const struct hmm_policy_ops *ops; /* NULL: OPT, which is the simulator's own */
};

struct counts {
	uint64_t requests, misses, page_ins, page_outs, zero_fills, rescues;
	uint64_t cold;       /* only counted with groups; without a sample it is the number of pages */
	uint64_t mistakes;   /* calls of choose that gave no usable victim */
};

struct engine;

/* Returns 0; -EINVAL: the policy refuses its parameters; -ENOMEM. */
int engine_create(const struct policy_spec *spec, uint32_t frames, const struct engine_options *options,
                  struct engine **ret);
void engine_destroy(struct engine *engine);

/*
 * Make the tables that engine_feed() will need for pages below unique.  Feeding does so itself; called before, this
 * stays out of what is timed.  False: out of memory.
 */
bool engine_prepare(struct engine *engine, uint32_t unique, bool has_operations);

/*
 * The next records; behind them stand RECORDS_SLACK readable ones.  unique: all their pages are below it.
 * has_operations: there may be writes and discards among them.  False: out of memory.
 */
bool engine_feed(struct engine *engine, const record *records, size_t n, uint32_t unique, bool has_operations);
void engine_counts(const struct engine *engine, struct counts *counts);

/* Count misses other than cold ones by group of the page as well: groups[SAMPLE_GROUPS], see sample.h. */
void engine_count_groups(struct engine *engine, uint64_t *groups);

#endif
