/* SPDX-License-Identifier: MIT */
/*
 * cache_logged.c - see cache_logged.h
 */
#include "tests/unit/cache_logged.h"

#include <hurd-mm/mock.h>

#include "tests/harness.h"

struct hmm_space *space;
struct hmm_cache *cache;
struct hmm_store *store;
struct cache_log logged;
uint64_t events, write_events;
struct hmm_event last_event;

static void on_event(void *arg, const struct hmm_event *event)
{
	(void)arg;
	events++;
	write_events += event->kind == HMM_EVENT_WRITE_ERROR;
	last_event = *event;
}

void open_space(const char *policy, uint32_t flags)
{
	struct hmm_space_options o = { .size = sizeof(o), .backend = hmm_backend_mock(), .policy = policy,
		                       .flags = HMM_SPACE_CHECK_POLICY | flags, .event = on_event };

	ck_assert_int_eq(hmm_space_create(FRAMES, &o, &space), 0);
}

struct hmm_cache_options with_log(void)
{
	return (struct hmm_cache_options){ .size = sizeof(struct hmm_cache_options), .max_pages = CACHE_LOG_PAGES,
		                           .log_flushed = cache_log_flushed, .flush_log = cache_log_flush,
		                           .log_arg = &logged, .wait_ms = 50 };
}

void open_cache(size_t page_size, const struct hmm_cache_options *o)
{
	logged = (struct cache_log){ .page_size = page_size, .offset = o->offset };
	cache_log_open(&logged, &store);
	ck_assert_int_eq(hmm_cache_create(space, store, page_size, o, &cache), 0);
}

void close_all(bool abandon)
{
	const char *text = NULL;

	if (abandon)
		hmm_cache_abandon(cache);
	else
		ck_assert_int_eq(hmm_cache_destroy(cache), 0);
	ck_assert_uint_eq(logged.broken, 0);
	ck_assert_uint_eq(logged.foreign, 0);
	ck_assert_uint_eq(logged.torn, 0);
	ck_assert_uint_eq(logged.unsorted, 0);
	hmm_store_put(store);
	cache_log_close(&logged);
	hmm_space_destroy(space);
	ck_assert_uint_eq(hmm_mock_misuses(NULL, &text), 0);
}

struct hmm_cache_stats stats(void)
{
	struct hmm_cache_stats s = { .size = sizeof(s) };

	ck_assert_int_eq(hmm_cache_stats(cache, &s), 0);
	return s;
}

void change(uint64_t page, uint64_t position, uint64_t value)
{
	void *data;
	int r = hmm_cache_get(cache, page, HMM_CACHE_WRITE, &data);

	ck_assert_int_eq(r, 0);
	cache_log_mark(&logged, data, page, position, value);
	ck_assert_int_eq(hmm_cache_put(cache, page, HMM_CACHE_WRITE | HMM_CACHE_DIRTY, position), 0);
}

uint64_t value_of(uint64_t page)
{
	void *data;
	uint64_t value;

	ck_assert_int_eq(hmm_cache_get(cache, page, HMM_CACHE_READ, &data), 0);
	value = cache_log_value(&logged, data);
	ck_assert_int_eq(hmm_cache_put(cache, page, HMM_CACHE_READ, 0), 0);
	return value;
}

int flush_to(uint64_t position)
{
	struct hmm_cache_flush f = { .size = sizeof(f), .position = position };

	return hmm_cache_flush(cache, &f);
}
