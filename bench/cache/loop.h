/* SPDX-License-Identifier: MIT */
/*
 * loop.h - the measured loop
 *
 * Keys were drawn before, so one costs a sequential load.  Which line of a page is looked at follows from its number: pages
 * begin at multiples of 4096, and the processor's caches would be of no use if all were looked at there.
 */
#ifndef BENCH_CACHE_LOOP_H
#define BENCH_CACHE_LOOP_H

#include "bench/cache/impl.h"

#define LOOP_BATCH 32u

/* Returns how many of the accesses were wrong: 0 or 1. */
typedef uint64_t access_function(struct worker *worker, uint32_t key);
/* Before a batch of keys is accessed. */
typedef void batch_function(struct worker *worker, const uint32_t *keys);

static inline uint32_t loop_line(const struct worker *worker, uint32_t page)
{
	return page * 2654435761u >> 16 & worker->line_mask;
}

static inline __attribute__((always_inline)) void loop_run(struct worker *worker, access_function *access,
                                                           batch_function *batch)
{
	uint32_t position = worker->position;
	uint64_t accesses = 0, bad = 0;

	while (!atomic_load_explicit(worker->stop, memory_order_relaxed) && !worker->error) {
		const uint32_t *keys = worker->keys + position;

		if (batch)
			batch(worker, keys);
		for (unsigned i = 0; i < LOOP_BATCH; i++)
			bad += access(worker, keys[i]);
		position = (position + LOOP_BATCH) % STREAM_KEYS;
		accesses += LOOP_BATCH;
		atomic_store_explicit(&worker->accesses, accesses, memory_order_relaxed);
	}
	worker->position = position;
	worker->bad += bad;
}

/* Look at a page, or write to it, where it can be had by its address. */
static inline uint64_t loop_look(struct worker *worker, void *data, uint32_t page)
{
	return stamp_wrong(data, page, loop_line(worker, page));
}

/* Pages stay where they are as long as they stay; one that has moved is looked at anew. */
static inline uint64_t loop_place(struct worker *worker, const void *data, uint32_t page)
{
	if (__builtin_expect(worker->places[page] == data, 1))
		return 0;
	worker->places[page] = data;
	return stamp_all_wrong(data, worker->setup->page_size, page);
}

static inline uint64_t loop_write(struct worker *worker, void *data, uint32_t page)
{
	volatile uint64_t *version = stamp_version(data, worker->thread);
	uint64_t found = *version;

	*version = found + 1;
	return found != worker->versions[page]++ || loop_look(worker, data, page);
}

#endif
