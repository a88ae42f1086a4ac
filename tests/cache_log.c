/* SPDX-License-Identifier: MIT */
/*
 * cache_log.c - see cache_log.h
 */
#include "tests/cache_log.h"

#include <errno.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>

struct mark {
	uint64_t page;     /* + 1: a page of zeros was never marked */
	uint64_t position;
	uint64_t value;
};

void cache_log_mark(const struct cache_log *log, void *data, uint64_t page, uint64_t position, uint64_t value)
{
	struct mark mark = { page + 1, position, value };

	memcpy(data, &mark, sizeof(mark));
	memcpy((char *)data + log->page_size - sizeof(value), &value, sizeof(value));
}

uint64_t cache_log_value(const struct cache_log *log, const void *data)
{
	struct mark mark;

	(void)log;
	memcpy(&mark, data, sizeof(mark));
	return mark.value;
}

uint64_t cache_log_stored(const struct cache_log *log, uint64_t page)
{
	return cache_log_value(log, log->image + page * log->page_size);
}

static void judge(struct cache_log *log, uint64_t page, const void *data)
{
	struct mark mark;

	memcpy(&mark, data, sizeof(mark));
	if (mark.position > atomic_load(&log->durable))
		atomic_fetch_add(&log->broken, 1);
	if (mark.page != page + 1 && mark.page)
		atomic_fetch_add(&log->foreign, 1);
	if (memcmp(&mark.value, (const char *)data + log->page_size - sizeof(mark.value), sizeof(mark.value)) != 0)
		atomic_fetch_add(&log->torn, 1);
}

static int write_pieces(void *ctx, struct hmm_store_vec *vec, unsigned n)
{
	struct cache_log *log = ctx;
	uint64_t last = 0;

	atomic_fetch_add(&log->calls, 1);
	atomic_fetch_add(&log->held, 1);
	while (atomic_load(&log->hold))
		sched_yield();
	atomic_fetch_sub(&log->held, 1);
	for (unsigned i = 0; i < n; i++) {
		uint64_t page = (vec[i].offset - log->offset) / log->page_size, count = atomic_fetch_add(&log->pages, 1);
		uint32_t every = atomic_load(&log->every), at;

		if (i && vec[i].offset < last)
			atomic_fetch_add(&log->unsorted, 1);
		last = vec[i].offset;
		if (page >= CACHE_LOG_PAGES || vec[i].length != log->page_size) {
			atomic_fetch_add(&log->foreign, 1);
			continue;
		}
		judge(log, page, vec[i].data);
		if (every && count % every == 0) {
			vec[i].error = atomic_load(&log->fail);
			continue;
		}
		memcpy(log->image + page * log->page_size, vec[i].data, log->page_size);
		at = atomic_fetch_add(&log->norder, 1);
		log->order[at % CACHE_LOG_ORDER] = (uint32_t)page;
		if (log->taken)
			log->taken(log->taken_arg, page);
	}
	return 0;
}

static int read_pieces(void *ctx, struct hmm_store_vec *vec, unsigned n)
{
	struct cache_log *log = ctx;

	atomic_fetch_add(&log->held, 1);
	while (atomic_load(&log->read_hold))
		sched_yield();
	atomic_fetch_sub(&log->held, 1);
	for (unsigned i = 0; i < n; i++) {
		uint64_t at = vec[i].offset - log->offset;

		if (at >= CACHE_LOG_PAGES * (uint64_t)log->page_size)
			vec[i].error = -ENXIO;
		else if (atomic_load(&log->read_fail))
			vec[i].error = atomic_load(&log->read_fail);
		else
			memcpy(vec[i].data, log->image + at, vec[i].length);
	}
	return 0;
}

static int sync_all(void *ctx, uint64_t offset, uint64_t length)
{
	struct cache_log *log = ctx;

	(void)offset, (void)length;
	atomic_fetch_add(&log->syncs, 1);
	return 0;
}

static int discard(void *ctx, uint64_t offset, uint64_t length)
{
	struct cache_log *log = ctx;

	memset(log->image + (offset - log->offset), 0, length);
	atomic_fetch_add(&log->discards, 1);
	return 0;
}

void cache_log_open(struct cache_log *log, struct hmm_store **ret_store)
{
	struct hmm_store_ops ops = { .size = sizeof(ops), .version = HMM_STORE_VERSION, .name = "watched",
		                     .read = read_pieces, .write = write_pieces, .sync = sync_all, .discard = discard,
		                     .granule = 512 };

	log->image = calloc(CACHE_LOG_PAGES, log->page_size);
	if (!log->image || hmm_store_create(&ops, log, ret_store))
		abort();
}

void cache_log_close(struct cache_log *log)
{
	free(log->image);
}

uint64_t cache_log_flushed(void *arg)
{
	struct cache_log *log = arg;

	return atomic_load(&log->durable);
}

int cache_log_flush(void *arg, uint64_t position)
{
	struct cache_log *log = arg;
	uint64_t seen = atomic_load(&log->durable);

	atomic_fetch_add(&log->log_calls, 1);
	if (atomic_load(&log->log_fail))
		return atomic_load(&log->log_fail);
	while (seen < position && !atomic_compare_exchange_weak(&log->durable, &seen, position))
		;
	return 0;
}
