/* SPDX-License-Identifier: MIT */
/*
 * test_cache_write.c - dirty pages of caches: the log rule, flushes, the background writer, stores and logs that fail
 *
 * Without threads of the library's own unless a test says so.
 */
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/clock.h"
#include "lib/vm/cache/cache.h"
#include "tests/harness.h"
#include "tests/unit/cache_logged.h"

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
	ck_assert_uint_eq(write_events, 1); /* one for the time that it lasts */
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

static Suite *suite(void)
{
	Suite *s = suite_create("cache_write");
	TCase *t = tcase_create("flush");

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
	return s;
}

HMM_TEST_MAIN(suite)
