/* SPDX-License-Identifier: MIT */
/*
 * test_cache_write.c - dirty pages of caches: the log rule, flushes, the background writer, stores and logs that fail
 *
 * On the mock backend, without threads of the library's own unless a test says so.
 */
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>

#include <hurd-mm/mock.h>

#include "lib/base/clock.h"
#include "lib/vm/cache/cache.h"
#include "tests/cache_log.h"
#include "tests/harness.h"

#define FRAMES 64u

static struct hmm_space *space;
static struct hmm_cache *cache;
static struct hmm_store *store;
static struct cache_log logged;
static uint64_t events, write_events;
static struct hmm_event last_event;

static void on_event(void *arg, const struct hmm_event *event)
{
	(void)arg;
	events++;
	write_events += event->kind == HMM_EVENT_WRITE_ERROR;
	last_event = *event;
}

static void open_space(const char *policy, uint32_t flags)
{
	struct hmm_space_options o = { .size = sizeof(o), .backend = hmm_backend_mock(), .policy = policy,
		                       .flags = HMM_SPACE_CHECK_POLICY | flags, .event = on_event };

	ck_assert_int_eq(hmm_space_create(FRAMES, &o, &space), 0);
}

static struct hmm_cache_options with_log(void)
{
	return (struct hmm_cache_options){ .size = sizeof(struct hmm_cache_options), .max_pages = CACHE_LOG_PAGES,
		                           .log_flushed = cache_log_flushed, .flush_log = cache_log_flush,
		                           .log_arg = &logged, .wait_ms = 50 };
}

static void open_cache(size_t page_size, const struct hmm_cache_options *o)
{
	logged = (struct cache_log){ .page_size = page_size, .offset = o->offset };
	cache_log_open(&logged, &store);
	ck_assert_int_eq(hmm_cache_create(space, store, page_size, o, &cache), 0);
}

/* All that a test must leave in order. */
static void close_all(bool abandon)
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

static struct hmm_cache_stats stats(void)
{
	struct hmm_cache_stats s = { .size = sizeof(s) };

	ck_assert_int_eq(hmm_cache_stats(cache, &s), 0);
	return s;
}

/* Change a page under this log position. */
static void change(uint64_t page, uint64_t position, uint64_t value)
{
	void *data;
	int r = hmm_cache_get(cache, page, HMM_CACHE_WRITE, &data);

	ck_assert_int_eq(r, 0);
	cache_log_mark(&logged, data, page, position, value);
	ck_assert_int_eq(hmm_cache_put(cache, page, HMM_CACHE_WRITE | HMM_CACHE_DIRTY, position), 0);
}

static uint64_t value_of(uint64_t page)
{
	void *data;
	uint64_t value;

	ck_assert_int_eq(hmm_cache_get(cache, page, HMM_CACHE_READ, &data), 0);
	value = cache_log_value(&logged, data);
	ck_assert_int_eq(hmm_cache_put(cache, page, HMM_CACHE_READ, 0), 0);
	return value;
}

static int flush_to(uint64_t position)
{
	struct hmm_cache_flush f = { .size = sizeof(f), .position = position };

	return hmm_cache_flush(cache, &f);
}

START_TEST(flush_writes_sorted_and_once)
{
	struct hmm_cache_options o = with_log();

	open_space("clock", HMM_SPACE_NO_RECLAIMER);
	open_cache(4096, &o);
	for (unsigned i = 0; i < 20; i++)
		change((i * 7) % 20, i + 1, i);
	change(3, 30, 99);
	ck_assert_uint_eq(stats().dirty, 20);
	ck_assert_int_eq(hmm_cache_flush(cache, NULL), 0);
	ck_assert_uint_eq(logged.pages, 20);
	ck_assert_uint_eq(logged.calls, 1);
	ck_assert_uint_eq(logged.log_calls, 1); /* once for all of them */
	for (unsigned i = 0; i < 20; i++)
		ck_assert_uint_eq(logged.order[i], i);
	ck_assert_uint_eq(cache_log_stored(&logged, 3), 99);
	ck_assert_uint_eq(stats().dirty, 0);
	ck_assert_uint_eq(stats().log_waits, 20);
	ck_assert_int_eq(hmm_cache_flush(cache, NULL), 0);
	ck_assert_uint_eq(logged.pages, 20);
	ck_assert_uint_eq(logged.syncs, 0);
	ck_assert_int_eq(hmm_cache_flush(cache, &(struct hmm_cache_flush){ .size = sizeof(struct hmm_cache_flush),
	                                                                   .flags = HMM_CACHE_DURABLE }), 0);
	ck_assert_uint_eq(logged.syncs, 1);
	close_all(false);
}
END_TEST

START_TEST(flush_obeys_position_and_range)
{
	struct hmm_cache_options o = with_log();
	struct hmm_cache_flush range = { .size = sizeof(range), .page = 5, .npages = 3 };

	open_space("clock", HMM_SPACE_NO_RECLAIMER);
	open_cache(512, &o);
	ck_assert_uint_eq(hmm_cache_oldest_position(cache), UINT64_MAX);
	for (unsigned i = 0; i < 16; i++)
		change(i, 100 - i, i);
	change(15, 200, 7); /* its first change is still the oldest */
	ck_assert_uint_eq(hmm_cache_oldest_position(cache), 85);
	ck_assert_int_eq(flush_to(86), 0);
	ck_assert_uint_eq(logged.pages, 2);
	ck_assert_uint_eq(hmm_cache_oldest_position(cache), 87);
	ck_assert_int_eq(hmm_cache_flush(cache, &range), 0);
	ck_assert_uint_eq(logged.pages, 5);
	ck_assert_uint_eq(cache_log_stored(&logged, 5), 5);
	ck_assert_uint_eq(cache_log_stored(&logged, 8), 0);
	range.npages = UINT64_MAX;
	range.page = 13;
	ck_assert_int_eq(hmm_cache_flush(cache, &range), 0);
	ck_assert_uint_eq(logged.pages, 6);
	range.page = UINT64_MAX;
	ck_assert_int_eq(hmm_cache_flush(cache, &range), 0);
	ck_assert_uint_eq(logged.pages, 6);
	range.flags = 2;
	ck_assert_int_eq(hmm_cache_flush(cache, &range), -EINVAL);
	ck_assert_int_eq(hmm_cache_flush(NULL, NULL), -EINVAL);
	close_all(false);
}
END_TEST

START_TEST(without_flush_log_pages_wait_for_the_log)
{
	struct hmm_cache_options o = with_log();
	struct hmm_cache_stats s;

	o.flush_log = NULL;
	open_space("lru", HMM_SPACE_NO_RECLAIMER);
	open_cache(4096, &o);
	logged.durable = 10;
	for (unsigned i = 0; i < 20; i++)
		change(i, i + 1, i);
	ck_assert_int_eq(hmm_cache_flush(cache, NULL), -EAGAIN);
	ck_assert_uint_eq(logged.pages, 10);
	s = stats();
	ck_assert_uint_eq(s.dirty, 10);
	ck_assert_uint_eq(s.log_waits, 10);
	ck_assert_uint_eq(s.write_errors, 0);
	/* evictions take what the log allows, and what is clean */
	for (unsigned i = 100; i < 100 + 3 * FRAMES; i++)
		ck_assert_uint_eq(value_of(i), 0);
	ck_assert_uint_eq(stats().dirty, 10);
	ck_assert_uint_eq(hmm_cache_oldest_position(cache), 11);
	for (unsigned i = 0; i < 20; i++)
		ck_assert_uint_eq(value_of(i), i);
	hmm_space_poll(space);
	ck_assert_uint_eq(write_events, 0);
	logged.durable = 20;
	ck_assert_int_eq(hmm_cache_flush(cache, NULL), 0);
	close_all(false);
}
END_TEST

START_TEST(get_says_when_nothing_may_be_written)
{
	struct hmm_cache_options o = with_log();
	unsigned n = 0;
	void *data;
	int r;

	o.flush_log = NULL;
	open_space("clock", HMM_SPACE_NO_RECLAIMER);
	open_cache(4096, &o);
	do {
		r = hmm_cache_get(cache, n, HMM_CACHE_WRITE | HMM_CACHE_CREATE, &data);
		if (r >= 0) {
			cache_log_mark(&logged, data, n, n + 1, n);
			ck_assert_int_eq(hmm_cache_put(cache, n, HMM_CACHE_WRITE | HMM_CACHE_DIRTY, n + 1), 0);
			n++;
		}
	} while (r >= 0 && n < 2 * FRAMES);
	ck_assert_int_eq(r, -ENOBUFS);
	ck_assert_uint_ge(n, FRAMES / 2);
	logged.durable = 3 * FRAMES;
	ck_assert_uint_eq(value_of(n + 1), 0);
	close_all(false);
}
END_TEST

START_TEST(failing_log_keeps_pages_dirty)
{
	struct hmm_cache_options o = with_log();

	open_space("clock", HMM_SPACE_NO_RECLAIMER);
	open_cache(4096, &o);
	logged.durable = 4;
	logged.log_fail = -ENOSPC;
	for (unsigned i = 0; i < 8; i++)
		change(i, i + 1, i);
	ck_assert_int_eq(hmm_cache_flush(cache, NULL), -ENOSPC);
	ck_assert_uint_eq(logged.pages, 4);
	ck_assert_uint_eq(stats().dirty, 4);
	hmm_space_poll(space);
	ck_assert_uint_eq(write_events, 1);
	ck_assert_ptr_eq(last_event.cache, cache);
	ck_assert_ptr_null(last_event.region);
	ck_assert_int_eq(last_event.error, -ENOSPC);
	ck_assert_int_eq(hmm_cache_destroy(cache), -ENOSPC); /* it stays */
	ck_assert_uint_eq(value_of(7), 7);
	logged.log_fail = 5; /* a positive result is an error too */
	ck_assert_int_eq(hmm_cache_flush(cache, NULL), -EIO);
	logged.log_fail = 0;
	ck_assert_int_eq(hmm_cache_flush(cache, NULL), 0);
	close_all(false);
}
END_TEST

/* Of every piece, or of one in three: the others of the same call are written. */
static const struct {
	int error;
	uint32_t every;
} failures[] = { { -EIO, 1 }, { -ENOSPC, 1 }, { -EIO, 3 }, { -ENOSPC, 2 } };

START_TEST(failing_store_keeps_pages_dirty)
{
	struct hmm_cache_options o = with_log();
	struct hmm_cache_stats s;
	uint64_t failed;

	open_space("clock", HMM_SPACE_NO_RECLAIMER);
	open_cache(1024, &o);
	for (unsigned i = 0; i < 12; i++)
		change(i, i + 1, i + 1);
	logged.fail = failures[_i].error;
	logged.every = failures[_i].every;
	failed = 12 / failures[_i].every;
	ck_assert_int_eq(hmm_cache_flush(cache, NULL), failures[_i].error);
	s = stats();
	ck_assert_uint_eq(s.dirty, failed);
	ck_assert_uint_eq(s.write_errors, failed);
	ck_assert_uint_eq(s.writes, 12 - failed);
	ck_assert_uint_eq(hmm_cache_oldest_position(cache), 1);
	hmm_space_poll(space);
	ck_assert_uint_eq(write_events, failed);
	ck_assert_ptr_eq(last_event.cache, cache);
	ck_assert_uint_eq(last_event.page % failures[_i].every, 0);
	logged.every = 0;
	ck_assert_int_eq(hmm_cache_flush(cache, NULL), 0);
	for (unsigned i = 0; i < 12; i++)
		ck_assert_uint_eq(cache_log_stored(&logged, i), i + 1);
	close_all(false);
}
END_TEST

START_TEST(eviction_tries_others_when_a_store_fails)
{
	struct hmm_cache_options o = with_log();

	open_space("lru", HMM_SPACE_NO_RECLAIMER);
	open_cache(4096, &o);
	for (unsigned i = 0; i < 16; i++)
		change(i, i + 1, i + 1);
	logged.fail = -EIO;
	logged.every = 1;
	for (unsigned i = 100; i < 100 + 3 * FRAMES; i++)
		ck_assert_uint_eq(value_of(i), 0);
	ck_assert_uint_eq(stats().dirty, 16);
	ck_assert_uint_gt(stats().write_errors, 0);
	for (unsigned i = 0; i < 16; i++)
		ck_assert_uint_eq(value_of(i), i + 1);
	logged.every = 0;
	close_all(false);
}
END_TEST

/* A flush in another thread. */
struct flusher {
	pthread_t thread;
	struct hmm_cache_flush what;
	_Atomic int done;
	int result;
};

static void *flush_thread(void *arg)
{
	struct flusher *f = arg;

	f->result = hmm_cache_flush(cache, &f->what);
	atomic_store(&f->done, 1);
	return NULL;
}

static void flush_start(struct flusher *f)
{
	f->what.size = sizeof(f->what);
	atomic_store(&f->done, 0);
	ck_assert_int_eq(pthread_create(&f->thread, NULL, flush_thread, f), 0);
}

static int flush_end(struct flusher *f)
{
	ck_assert_int_eq(pthread_join(f->thread, NULL), 0);
	return f->result;
}

START_TEST(flush_keeps_to_its_rate)
{
	struct hmm_cache_options o = with_log();
	struct flusher f = { .what = { .rate = 160 } }; /* ten pages in each sixteenth of a second */
	uint64_t now = UINT64_C(1000000000000), first = now;

	open_space("clock", HMM_SPACE_NO_RECLAIMER);
	open_cache(512, &o);
	for (unsigned i = 0; i < 100; i++)
		change(i, i + 1, i);
	hmm__clock_set(now);
	flush_start(&f);
	while (atomic_load(&logged.pages) < 10)
		sched_yield();
	while (!atomic_load(&f.done)) {
		ck_assert_uint_le(atomic_load(&logged.pages), 10 + (now - first) * 160 / 1000000000);
		now += 1000000;
		hmm__clock_set(now);
		for (unsigned i = 0; i < 10; i++)
			sched_yield();
	}
	ck_assert_int_eq(flush_end(&f), 0);
	/* the last ten are waited for, too */
	ck_assert_uint_ge(now - first, UINT64_C(100) * 1000000000 / 160 - 1000000);
	ck_assert_uint_eq(logged.pages, 100);
	hmm__clock_set(UINT64_MAX);
	close_all(false);
}
END_TEST

START_TEST(flush_waits_for_writers_as_long_as_told)
{
	struct hmm_cache_options o = with_log();
	struct flusher f = { .result = 1 };
	void *data;

	open_space("clock", HMM_SPACE_NO_RECLAIMER);
	open_cache(4096, &o);
	for (unsigned i = 0; i < 4; i++)
		change(i, i + 1, i);
	ck_assert_int_eq(hmm_cache_get(cache, 2, HMM_CACHE_WRITE, &data), 0);
	ck_assert_int_eq(hmm_cache_flush(cache, NULL), -EBUSY);
	ck_assert_uint_eq(logged.pages, 3); /* the others are written */
	hmm__clock_set(5000000000);         /* no time passes from here on */
	flush_start(&f);
	while (!(atomic_load(&cache->words[2]) & HMM__WAITERS))
		sched_yield();
	ck_assert_int_eq(atomic_load(&f.done), 0);
	cache_log_mark(&logged, data, 2, 9, 77);
	ck_assert_int_eq(hmm_cache_put(cache, 2, HMM_CACHE_WRITE | HMM_CACHE_DIRTY, 9), 0);
	ck_assert_int_eq(flush_end(&f), 0);
	ck_assert_uint_eq(cache_log_stored(&logged, 2), 77);
	hmm__clock_set(UINT64_MAX);
	close_all(false);
}
END_TEST

/* While a page is being written: readers come and go, writers wait, nobody drops it. */
START_TEST(write_out_keeps_writers_out)
{
	struct hmm_cache_options o = with_log();
	struct flusher f = { .result = 1 };
	void *data;

	open_space("clock", HMM_SPACE_NO_RECLAIMER);
	open_cache(4096, &o);
	change(1, 1, 11);
	atomic_store(&logged.hold, 1);
	flush_start(&f);
	while (!atomic_load(&logged.held))
		sched_yield();
	ck_assert_uint_eq(value_of(1), 11);
	ck_assert_int_eq(hmm_cache_get(cache, 1, HMM_CACHE_WRITE | HMM_CACHE_NOWAIT, &data), -EAGAIN);
	ck_assert_int_eq(hmm_cache_shrink(cache, 10), 0);
	ck_assert_uint_eq(stats().resident, 1);
	ck_assert_uint_eq(stats().dirty, 1);
	ck_assert_uint_eq(hmm_cache_oldest_position(cache), 1);
	atomic_store(&logged.hold, 0);
	ck_assert_int_eq(flush_end(&f), 0);
	ck_assert_uint_eq(hmm_cache_oldest_position(cache), UINT64_MAX);
	close_all(false);
}
END_TEST

START_TEST(background_writer_keeps_to_its_target)
{
	struct hmm_cache_options o = with_log();
	uint64_t target = FRAMES / 4;

	o.dirty_target = 25;
	open_space("clock", _i ? 0 : HMM_SPACE_NO_RECLAIMER);
	open_cache(4096, &o);
	for (unsigned i = 0; i < target; i++)
		change(i, i + 1, i);
	ck_assert_uint_eq(logged.pages, 0);
	for (unsigned i = 0; i < 16; i++)
		change(target + i, target + i + 1, i);
	if (!_i)
		ck_assert_int_eq(hmm_space_poll(space), 0);
	while (stats().dirty > target)
		sched_yield();
	ck_assert_uint_gt(logged.pages, 0);
	close_all(false);
}
END_TEST

START_TEST(limit_makes_writers_write)
{
	struct hmm_cache_options o = with_log();

	o.dirty_limit = 50;
	open_space("clock", HMM_SPACE_NO_RECLAIMER);
	open_cache(4096, &o);
	for (unsigned i = 0; i < 3 * FRAMES; i++) {
		change(i % CACHE_LOG_PAGES, i + 1, i);
		ck_assert_uint_le(stats().dirty, FRAMES / 2 + 1);
	}
	close_all(false);
}
END_TEST

/* The random walk: what each page must hold, and which changes the store lacks. */
static struct {
	uint64_t value[CACHE_LOG_PAGES];
	uint64_t first[CACHE_LOG_PAGES];
	bool dirty[CACHE_LOG_PAGES];
	uint64_t position, seed;
	bool can_flush;
} walk;

static void walk_taken(void *arg, uint64_t page)
{
	(void)arg;
	walk.dirty[page] = false;
	walk.first[page] = UINT64_MAX;
}

static uint64_t draw(uint64_t n)
{
	walk.seed = walk.seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
	return (walk.seed >> 33) % n;
}

/* Near pages are hot. */
static uint64_t draw_page(void)
{
	return draw(3) ? draw(CACHE_LOG_PAGES / 8) : draw(CACHE_LOG_PAGES);
}

static void walk_dropped(uint64_t page)
{
	walk.dirty[page] = false;
	walk.first[page] = UINT64_MAX;
	walk.value[page] = cache_log_stored(&logged, page);
}

static void walk_change(void)
{
	uint64_t page = draw_page(), position = draw(8) ? ++walk.position : 0;
	bool create = !draw(4);
	void *data;
	int r = hmm_cache_get(cache, page, HMM_CACHE_WRITE | (create ? HMM_CACHE_CREATE : 0), &data);

	if (r == -ENOBUFS || r == -EIO)
		return;
	ck_assert_int_ge(r, 0);
	if (r == 0)
		ck_assert_uint_eq(cache_log_value(&logged, data), walk.value[page]);
	else
		ck_assert(!walk.dirty[page]);
	walk.value[page] = draw(1u << 30);
	cache_log_mark(&logged, data, page, position ? position : ((uint64_t *)data)[1], walk.value[page]);
	walk.dirty[page] = true;
	if (position && position < walk.first[page])
		walk.first[page] = position;
	ck_assert_int_eq(hmm_cache_put(cache, page, HMM_CACHE_WRITE | HMM_CACHE_DIRTY, position), 0);
}

static void walk_read(void)
{
	uint64_t page = draw_page();
	void *data;
	int r = hmm_cache_get(cache, page, HMM_CACHE_READ, &data);

	if (r == -ENOBUFS || r == -EIO)
		return;
	ck_assert_int_eq(r, 0);
	ck_assert_uint_eq(cache_log_value(&logged, data), walk.value[page]);
	ck_assert_int_eq(hmm_cache_put(cache, page, HMM_CACHE_READ, 0), 0);
}

static void walk_flush(void)
{
	struct hmm_cache_flush f = { .size = sizeof(f), .page = draw(2) ? 0 : draw_page(), .npages = draw(2) ? 0 : draw(99),
		                     .position = draw(2) ? 0 : walk.position - HMM__MIN(walk.position, draw(40)) };
	bool fails = logged.every || logged.log_fail || !walk.can_flush;
	uint64_t end = f.npages ? HMM__MIN(f.page + f.npages, CACHE_LOG_PAGES) : CACHE_LOG_PAGES;
	int r = hmm_cache_flush(cache, &f);

	if (r) {
		ck_assert(fails);
		ck_assert(r == -EIO || r == -ENOSPC || (r == -EAGAIN && !walk.can_flush));
		return;
	}
	for (uint64_t page = f.page; page < end; page++)
		ck_assert(!walk.dirty[page] || (f.position && walk.first[page] > f.position));
}

static void walk_drop(void)
{
	uint64_t page = draw_page(), n = 1 + draw(4);

	n = HMM__MIN(n, CACHE_LOG_PAGES - page);
	ck_assert_int_eq(hmm_cache_discard(cache, page, n), 0);
	for (uint64_t i = page; i < page + n; i++)
		walk_dropped(i);
}

static void walk_truncate(void)
{
	uint64_t from = CACHE_LOG_PAGES - draw(CACHE_LOG_PAGES / 2);

	ck_assert_int_eq(hmm_cache_truncate(cache, from, 0), 0);
	for (uint64_t i = from; i < CACHE_LOG_PAGES; i++)
		walk_dropped(i);
}

static void walk_rekey(void)
{
	uint64_t from = draw_page(), to = draw_page();
	void *data;
	int r = hmm_cache_get(cache, from, HMM_CACHE_WRITE, &data);

	if (r == -ENOBUFS || r == -EIO)
		return;
	ck_assert_int_eq(r, 0);
	ck_assert_int_eq(hmm_cache_rekey(cache, from, to), 0);
	ck_assert_uint_eq(cache_log_value(&logged, data), walk.value[from]);
	cache_log_mark(&logged, data, to, ((uint64_t *)data)[1], walk.value[from]);
	if (from != to) {
		walk.value[to] = walk.value[from];
		walk.first[to] = walk.first[from];
		walk_dropped(from);
	}
	walk.dirty[to] = true;
	ck_assert_int_eq(hmm_cache_put(cache, to, HMM_CACHE_WRITE | HMM_CACHE_DIRTY, 0), 0);
}

static void walk_trouble(void)
{
	switch (draw(6)) {
	case 0:
		logged.fail = draw(2) ? -EIO : -ENOSPC;
		logged.every = (uint32_t)draw(4);
		break;
	case 1:
		logged.log_fail = draw(2) ? -EIO : 0;
		break;
	case 2:
		logged.durable = HMM__MAX(logged.durable, walk.position - HMM__MIN(walk.position, draw(50)));
		break;
	case 3:
		logged.read_fail = draw(2) ? -EIO : 0;
		break;
	default:
		logged.every = 0;
		logged.log_fail = logged.read_fail = 0;
	}
}

static void walk_prefetch(void)
{
	uint64_t pages[40];
	int64_t r;

	for (unsigned i = 0; i < 40; i++)
		pages[i] = draw(2) ? draw_page() : draw(2 * CACHE_LOG_PAGES);
	r = hmm_cache_prefetch(cache, pages, (unsigned)draw(41), HMM_CACHE_CLASS(HMM_CLASS_LEAF) | HMM_CACHE_STREAM(3));
	ck_assert(r >= 0 || (r == -EIO && logged.read_fail));
}

static void walk_check(void)
{
	uint64_t oldest = UINT64_MAX, dirty = 0;

	for (unsigned i = 0; i < CACHE_LOG_PAGES; i++) {
		oldest = HMM__MIN(oldest, walk.first[i]);
		dirty += walk.dirty[i];
	}
	ck_assert_uint_eq(hmm_cache_oldest_position(cache), oldest);
	ck_assert_uint_eq(stats().dirty, dirty);
	ck_assert_uint_eq(stats().pinned, 0);
}

static void walk_step(void)
{
	switch (draw(24)) {
	case 0:
		walk_flush();
		break;
	case 1:
		walk_drop();
		break;
	case 2:
		walk_rekey();
		break;
	case 3:
		walk_trouble();
		break;
	case 4:
		walk_prefetch();
		break;
	case 5:
		if (!draw(8))
			walk_truncate();
		break;
	case 6:
		(void)hmm_cache_shrink(cache, draw(20));
		break;
	case 7:
		(void)hmm_space_poll(space);
		walk_check();
		break;
	case 8:
	case 9:
	case 10:
	case 11:
	case 12:
		walk_read();
		break;
	default:
		walk_change();
	}
}

static const char *const policies[] = { "clock", "lru", "db", "2q" };

START_TEST(random_walk_never_breaks_the_log_rule)
{
	static const size_t sizes[] = { 512, 1024, 4096, 8192 };
	struct hmm_cache_options o = with_log();

	walk.seed = test_seed();
	walk.can_flush = _i < 4;
	if (!walk.can_flush)
		o.flush_log = NULL;
	o.wait_ms = 1;
	o.extra = draw(2) ? (uint32_t)draw(300) : 0;
	o.dirty_target = (uint32_t)draw(40);
	o.dirty_limit = draw(2) ? o.dirty_target + 20 : 0;
	open_space(policies[_i % 4], HMM_SPACE_NO_RECLAIMER);
	open_cache(sizes[_i % 4], &o);
	logged.taken = walk_taken;
	for (unsigned i = 0; i < CACHE_LOG_PAGES; i++)
		walk.first[i] = UINT64_MAX;
	for (unsigned i = 0; i < (TEST_TSAN || !walk.can_flush ? 4000 : 20000); i++)
		walk_step();
	logged.every = 0;
	logged.log_fail = logged.read_fail = 0;
	logged.durable = walk.position;
	ck_assert_int_eq(hmm_cache_flush(cache, NULL), 0);
	walk_check();
	for (unsigned i = 0; i < CACHE_LOG_PAGES; i++)
		ck_assert_uint_eq(cache_log_stored(&logged, i), walk.value[i]);
	close_all(false);
}
END_TEST

/*
 * Two writers under latches of their own and a flusher, on a budget that a quarter of the pages fit
 * into.  The store sees whether a page was half changed, or before its log.
 */
#define SHARED_PAGES 200u
#define ROUNDS (TEST_TSAN ? 3000u : 30000u)

static pthread_mutex_t latches[SHARED_PAGES];
static _Atomic uint64_t latest[SHARED_PAGES], log_end;
static _Atomic uint64_t under_way[2]; /* a change that is not marked yet has this position or a later one */
static _Atomic unsigned writers, wrong;

static void *writer(void *arg)
{
	uint64_t seed = test_seed();
	_Atomic uint64_t *mine = arg;

	for (unsigned i = 0; i < ROUNDS; i++) {
		uint64_t page, position;
		void *data;

		seed = seed * UINT64_C(6364136223846793005) + 1;
		page = (seed >> 33) % SHARED_PAGES;
		if (hmm_cache_get(cache, page, HMM_CACHE_WRITE, &data)) {
			atomic_fetch_add(&wrong, 1);
			continue;
		}
		pthread_mutex_lock(&latches[page]);
		if (cache_log_value(&logged, data) != atomic_load(&latest[page]))
			atomic_fetch_add(&wrong, 1);
		atomic_store(mine, atomic_load(&log_end) + 1);
		position = atomic_fetch_add(&log_end, 1) + 1;
		cache_log_mark(&logged, data, page, position, position);
		atomic_store(&latest[page], position);
		if (hmm_cache_mark(cache, page, position))
			atomic_fetch_add(&wrong, 1);
		atomic_store(mine, UINT64_MAX);
		pthread_mutex_unlock(&latches[page]);
		hmm_cache_put(cache, page, HMM_CACHE_WRITE, 0);
	}
	atomic_fetch_sub(&writers, 1);
	return NULL;
}

static void *checkpointer(void *arg)
{
	struct hmm_cache_flush f = { .size = sizeof(f) };

	(void)arg;
	while (atomic_load(&writers)) {
		uint64_t end = atomic_load(&log_end);
		int r;

		for (unsigned i = 0; i < 2; i++)
			end = HMM__MIN(end, atomic_load(&under_way[i]) - 1);
		if (!end)
			continue;
		f.position = end;
		r = hmm_cache_flush(cache, &f);
		if (r && r != -EBUSY)
			atomic_fetch_add(&wrong, 1);
		if (!r && hmm_cache_oldest_position(cache) <= end)
			atomic_fetch_add(&wrong, 1);
	}
	return NULL;
}

START_TEST(writers_flushes_and_evictions_get_along)
{
	struct hmm_cache_options o = with_log();
	pthread_t threads[3];

	o.dirty_target = 30;
	o.dirty_limit = 60;
	o.wait_ms = 5000;
	open_space("clock", 0);
	open_cache(4096, &o);
	for (unsigned i = 0; i < SHARED_PAGES; i++)
		pthread_mutex_init(&latches[i], NULL);
	writers = 2;
	for (unsigned i = 0; i < 2; i++) {
		under_way[i] = UINT64_MAX;
		ck_assert_int_eq(pthread_create(&threads[i], NULL, writer, &under_way[i]), 0);
	}
	ck_assert_int_eq(pthread_create(&threads[2], NULL, checkpointer, NULL), 0);
	for (unsigned i = 0; i < 3; i++)
		ck_assert_int_eq(pthread_join(threads[i], NULL), 0);
	ck_assert_uint_eq(wrong, 0);
	ck_assert_uint_gt(stats().evictions, 0);
	ck_assert_int_eq(hmm_cache_flush(cache, NULL), 0);
	for (unsigned i = 0; i < SHARED_PAGES; i++)
		ck_assert_uint_eq(cache_log_stored(&logged, i), latest[i]);
	close_all(false);
}
END_TEST

static Suite *suite(void)
{
	Suite *s = suite_create("cache_write");
	TCase *t = tcase_create("flush"), *w = tcase_create("walk");

	tcase_add_test(t, flush_writes_sorted_and_once);
	tcase_add_test(t, flush_obeys_position_and_range);
	tcase_add_test(t, without_flush_log_pages_wait_for_the_log);
	tcase_add_test(t, get_says_when_nothing_may_be_written);
	tcase_add_test(t, failing_log_keeps_pages_dirty);
	tcase_add_loop_test(t, failing_store_keeps_pages_dirty, 0, sizeof(failures) / sizeof(failures[0]));
	tcase_add_test(t, eviction_tries_others_when_a_store_fails);
	tcase_add_test(t, flush_keeps_to_its_rate);
	tcase_add_test(t, flush_waits_for_writers_as_long_as_told);
	tcase_add_test(t, write_out_keeps_writers_out);
	tcase_add_loop_test(t, background_writer_keeps_to_its_target, 0, 2);
	tcase_add_test(t, limit_makes_writers_write);
	suite_add_tcase(s, t);
	tcase_add_loop_test(w, random_walk_never_breaks_the_log_rule, 0, 8);
	tcase_add_test(w, writers_flushes_and_evictions_get_along);
	suite_add_tcase(s, w);
	return s;
}

HMM_TEST_MAIN(suite)
