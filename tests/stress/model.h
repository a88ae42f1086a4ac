/* SPDX-License-Identifier: MIT */
/*
 * model.h - what the model test's files share
 */
#ifndef HMM_TESTS_MODEL_H
#define HMM_TESTS_MODEL_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>

#include "tests/world.h"

#define MODEL_THREADS 16
#define MODEL_REGIONS 8
#define MODEL_STRIDE 1024u /* bytes from record to record */
#define MODEL_WORDS 4u
#define MODEL_FRAMES_MIN 128
#define MODEL_FRAMES_MAX 256

struct model_region {
	const char *name;
	unsigned number;
	bool own_pages; /* a page's records all have the same owner */
	bool file;      /* begins with words of sequence 0, not with zeros */
	bool shared;
	struct world_map map;
	size_t nrecords;
	_Atomic uint32_t *issued; /* sequence number of the write that its owner began last */
	_Atomic uint32_t *done;   /* ... and finished last */
	_Atomic uint8_t *freed;   /* own_pages: 1: FREE was said of this page, and it was not written since */
};

struct model;

struct model_thread {
	struct model *model;
	pthread_t thread;
	unsigned number;
	uint64_t seed;
	uint64_t steps;
};

struct model {
	struct world world;
	uint64_t seed;
	bool flaky; /* stores and the mock fail at random */
	unsigned nthreads;
	uint64_t operations; /* for each thread */
	unsigned nregions;
	struct model_region regions[MODEL_REGIONS];
	struct model_thread threads[MODEL_THREADS];
};

/* model.c */
uint64_t model_word(const struct model_region *r, size_t record, unsigned i, uint32_t sequence);
uint8_t *model_record(const struct model_region *r, size_t record);
unsigned model_owner(const struct model *model, const struct model_region *r, size_t record);
void model_write(struct model *model, struct model_region *r, size_t record);
void model_check_own(struct model *model, struct model_region *r, size_t record);
void model_check(struct model *model, struct model_thread *thread, struct model_region *r, size_t record);

/* steps.c: one random operation; what must be done before the comparison; a file's first contents */
void model_step(struct model *model, struct model_thread *thread);
void model_settle(struct model *model, struct model_thread *thread);
void model_file_init(struct model_region *r);

#endif
