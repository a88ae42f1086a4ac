/* SPDX-License-Identifier: MIT */
/*
 * test_cache_turn.c - everybody's turn: flushes of pages that writers hand to each other, gets while a store is slow
 *
 * Stores are held by the test and time is what it says, so nothing here depends on how fast anybody is.
 */
#include <errno.h>
#include <pthread.h>
#include <sched.h>

#include "lib/base/clock.h"
#include "lib/vm/cache/cache.h"
#include "tests/harness.h"
#include "tests/unit/cache_logged.h"

#define LONG_MS 60000u
#define WRITERS 4u

static void open_with(uint32_t wait_ms)
{
	struct hmm_cache_options o = { .size = sizeof(o), .max_pages = CACHE_LOG_PAGES, .wait_ms = wait_ms };

	open_space("clock", HMM_SPACE_NO_RECLAIMER);
	open_cache(4096, &o);
	logged.durable = UINT64_MAX; /* there is no log here */
}

/* Time stands still from here on, until the system's is back, which is not far. */
static void stop_clock(void)
{
	hmm__clock_set(hmm__now_ns());
}

static bool due(uint64_t page)
{
	return atomic_load(&cache->words[page]) & HMM__DUE;
}

static struct hmm_stats space_stats(void)
{
	struct hmm_stats s = { .size = sizeof(s) };

	ck_assert_int_eq(hmm_space_stats(space, &s), 0);
	return s;
}

/* --- a call in another thread --- */

struct caller {
	pthread_t thread;
	unsigned mode;
	uint64_t page;
	int result;
	uint64_t pages; /* that the store had when it returned */
	void *data;
	_Atomic bool done;
};

static void *get_thread(void *arg)
{
	struct caller *c = arg;

	c->result = hmm_cache_get(cache, c->page, c->mode, &c->data);
	c->pages = atomic_load(&logged.pages);
	atomic_store(&c->done, true);
	return NULL;
}

static void *flush_thread(void *arg)
{
	struct caller *c = arg;

	c->result = hmm_cache_flush(cache, NULL);
	atomic_store(&c->done, true);
	return NULL;
}

static void start(struct caller *c, void *(*run)(void *))
{
	atomic_store(&c->done, false);
	ck_assert_int_eq(pthread_create(&c->thread, NULL, run, c), 0);
}

static int end(struct caller *c)
{
	ck_assert_int_eq(pthread_join(c->thread, NULL), 0);
	return c->result;
}

/* --- pages that are never without a writer --- */

static _Atomic unsigned inside;
static _Atomic uint64_t position = 1;
static _Atomic bool stop;
static pthread_mutex_t latch = PTHREAD_MUTEX_INITIALIZER;

/* Nobody leaves before somebody else is in, but for a flush that waits. */
static void *hand_over(void *arg)
{
	(void)arg;
	while (!atomic_load(&stop)) {
		uint64_t at;
		void *data;

		ck_assert_int_eq(hmm_cache_get(cache, 0, HMM_CACHE_WRITE, &data), 0);
		atomic_fetch_add(&inside, 1);
		pthread_mutex_lock(&latch);
		at = atomic_fetch_add(&position, 1);
		cache_log_mark(&logged, data, 0, at, at);
		ck_assert_int_eq(hmm_cache_mark(cache, 0, at), 0);
		pthread_mutex_unlock(&latch);
		while (atomic_load(&inside) < 2 && !due(0) && !atomic_load(&stop))
			sched_yield();
		atomic_fetch_sub(&inside, 1);
		ck_assert_int_eq(hmm_cache_put(cache, 0, HMM_CACHE_WRITE | HMM_CACHE_DIRTY, at), 0);
	}
	return NULL;
}

START_TEST(checkpoints_of_a_hot_page_end)
{
	pthread_t threads[WRITERS];

	open_with(LONG_MS);
	for (unsigned i = 0; i < WRITERS; i++)
		ck_assert_int_eq(pthread_create(&threads[i], NULL, hand_over, NULL), 0);
	for (unsigned i = 0; i < 8; i++) {
		uint64_t before = atomic_load(&position);

		while (atomic_load(&position) < before + WRITERS)
			sched_yield();
		before = atomic_load(&position) - 1;
		ck_assert_int_eq(flush_to(before), 0);
		ck_assert_uint_gt(hmm_cache_oldest_position(cache), before);
	}
	atomic_store(&stop, true);
	for (unsigned i = 0; i < WRITERS; i++)
		pthread_join(threads[i], NULL);
	ck_assert(!due(0));
	close_all(false);
}
END_TEST

/* A writer that comes while a flush waits comes after it, if the one inside leaves in time. */
START_TEST(writers_stand_back_for_a_flush)
{
	struct caller flush = { 0 }, writer = { .page = 5, .mode = HMM_CACHE_WRITE };
	uint64_t waits;
	void *data;

	open_with(LONG_MS);
	change(5, 1, 1);
	ck_assert_int_eq(hmm_cache_get(cache, 5, HMM_CACHE_WRITE, &data), 0);
	stop_clock();
	start(&flush, flush_thread);
	while (!due(5))
		sched_yield();
	/* readers don't mind, nor does a writer with other pages */
	ck_assert_uint_eq(value_of(5), 1);
	change(6, 2, 2);
	ck_assert_int_eq(hmm_cache_get(cache, 5, HMM_CACHE_WRITE | HMM_CACHE_NOWAIT, &data), -EAGAIN);
	waits = space_stats().waits;
	start(&writer, get_thread);
	while (space_stats().waits < waits + 5) /* of both */
		sched_yield();
	ck_assert(!atomic_load(&writer.done));
	ck_assert(!atomic_load(&flush.done));
	ck_assert_int_eq(hmm_cache_put(cache, 5, HMM_CACHE_WRITE | HMM_CACHE_DIRTY, 1), 0);
	ck_assert_int_eq(end(&writer), 0);
	ck_assert_uint_ge(writer.pages, 1);
	ck_assert_int_eq(end(&flush), 0);
	ck_assert(!due(5));
	ck_assert_int_eq(hmm_cache_put(cache, 5, HMM_CACHE_WRITE, 0), 0);
	hmm__clock_set(UINT64_MAX);
	close_all(false);
}
END_TEST

/* Who has the page and needs it once more, be it by another thread, is not kept from it for long. */
START_TEST(writers_inside_are_not_waited_for_by_those_they_wait_for)
{
	struct caller flush = { 0 };
	void *data;

	open_with(LONG_MS);
	change(5, 1, 1);
	ck_assert_int_eq(hmm_cache_get(cache, 5, HMM_CACHE_WRITE, &data), 0);
	start(&flush, flush_thread);
	for (unsigned i = 0; i < 3; i++) {
		while (!due(5))
			sched_yield();
		ck_assert_int_eq(hmm_cache_get(cache, 5, HMM_CACHE_WRITE, &data), 0);
	}
	ck_assert(!atomic_load(&flush.done));
	for (unsigned i = 0; i < 4; i++)
		ck_assert_int_eq(hmm_cache_put(cache, 5, HMM_CACHE_WRITE | HMM_CACHE_DIRTY, 1), 0);
	ck_assert_int_eq(end(&flush), 0);
	ck_assert(!due(5));
	close_all(false);
}
END_TEST

START_TEST(flush_that_gives_up_lets_writers_in)
{
	void *data;

	open_with(20);
	change(5, 1, 1);
	ck_assert_int_eq(hmm_cache_get(cache, 5, HMM_CACHE_WRITE, &data), 0);
	ck_assert_int_eq(hmm_cache_flush(cache, NULL), -EBUSY);
	ck_assert(!due(5));
	ck_assert_int_eq(hmm_cache_get(cache, 5, HMM_CACHE_WRITE | HMM_CACHE_NOWAIT, &data), 0);
	ck_assert_int_eq(hmm_cache_put(cache, 5, HMM_CACHE_WRITE, 0), 0);
	ck_assert_int_eq(hmm_cache_put(cache, 5, HMM_CACHE_WRITE, 0), 0);
	close_all(false);
}
END_TEST

/* A page that leaves its word while a flush waits for it takes no DUE along. */
START_TEST(page_that_is_due_may_be_moved)
{
	struct caller flush = { 0 };
	void *data;

	open_with(LONG_MS);
	change(5, 1, 1);
	ck_assert_int_eq(hmm_cache_get(cache, 5, HMM_CACHE_WRITE, &data), 0);
	start(&flush, flush_thread);
	while (!due(5))
		sched_yield();
	ck_assert_int_eq(hmm_cache_rekey(cache, 5, 3), 0);
	ck_assert_int_eq(end(&flush), 0); /* page 5 is gone */
	ck_assert(!due(3));
	ck_assert(!due(5));
	ck_assert_int_eq(hmm_cache_put(cache, 3, HMM_CACHE_WRITE | HMM_CACHE_DIRTY, 1), 0);
	hmm_cache_abandon(cache);
	hmm_store_put(store);
	cache_log_close(&logged);
	hmm_space_destroy(space);
}
END_TEST

/* --- what is under way --- */

/* Longer than any wait_ms of these tests, shorter than they wait in all. */
static void let_time_pass(const _Atomic bool *done)
{
	for (unsigned i = 0; i < 5; i++) {
		uint64_t naps = space_stats().frame_waits + space_stats().waits;

		hmm__clock_advance(200000000);
		while (space_stats().frame_waits + space_stats().waits < naps + 3 && !atomic_load(done))
			sched_yield();
	}
}

/* 0: all gets succeed when the store goes on; 1: when it refuses, all give up */
START_TEST(gets_wait_for_write_outs_however_slow)
{
	enum { GETS = 16 };
	struct caller gets[GETS];
	_Atomic bool never = false;
	void *data;

	open_with(20);
	for (unsigned i = 0; i < FRAMES; i++)
		change(i, 0, i);
	stop_clock();
	atomic_store(&logged.hold, 1);
	for (unsigned i = 0; i < GETS; i++) {
		gets[i] = (struct caller){ .page = 100 + i, .mode = HMM_CACHE_WRITE | HMM_CACHE_CREATE };
		start(&gets[i], get_thread);
	}
	while (!space_stats().frame_waits)
		sched_yield();
	let_time_pass(&never);
	for (unsigned i = 0; i < GETS; i++)
		ck_assert(!atomic_load(&gets[i].done));
	ck_assert_int_eq(hmm_cache_get(cache, 200, HMM_CACHE_WRITE | HMM_CACHE_CREATE | HMM_CACHE_NOWAIT, &data), -EAGAIN);
	if (_i) {
		atomic_store(&logged.fail, -EIO);
		atomic_store(&logged.every, 1);
	}
	atomic_store(&logged.hold, 0);
	if (_i)
		hmm__clock_set(UINT64_MAX);
	for (unsigned i = 0; i < GETS; i++) {
		ck_assert_int_eq(end(&gets[i]), _i ? -ENOBUFS : 1);
		if (!_i)
			ck_assert_int_eq(hmm_cache_put(cache, gets[i].page, HMM_CACHE_WRITE, 0), 0);
	}
	hmm__clock_set(UINT64_MAX);
	if (_i) /* known by now: waiting would not help */
		ck_assert_int_eq(hmm_cache_get(cache, 200, HMM_CACHE_WRITE | HMM_CACHE_CREATE | HMM_CACHE_NOWAIT, &data),
		                 -ENOBUFS);
	atomic_store(&logged.every, 0);
	close_all(false);
}
END_TEST

static void *prefetch_thread(void *arg)
{
	struct caller *c = arg;
	uint64_t pages[FRAMES];

	for (unsigned i = 0; i < FRAMES; i++)
		pages[i] = i;
	c->result = (int)hmm_cache_prefetch(cache, pages, FRAMES, 0);
	return NULL;
}

START_TEST(gets_wait_for_reads_however_slow)
{
	struct caller prefetch = { 0 }, get = { .page = 100, .mode = HMM_CACHE_WRITE | HMM_CACHE_CREATE };

	open_with(20);
	stop_clock();
	atomic_store(&logged.read_hold, 1);
	start(&prefetch, prefetch_thread);
	while (!atomic_load(&logged.held))
		sched_yield();
	ck_assert_uint_eq(stats().resident, FRAMES);
	start(&get, get_thread);
	while (!space_stats().frame_waits)
		sched_yield();
	let_time_pass(&get.done);
	ck_assert(!atomic_load(&get.done));
	atomic_store(&logged.read_hold, 0);
	ck_assert_int_eq(end(&get), 1);
	ck_assert_int_eq(end(&prefetch), FRAMES);
	ck_assert_int_eq(hmm_cache_put(cache, 100, HMM_CACHE_WRITE, 0), 0);
	hmm__clock_set(UINT64_MAX);
	close_all(false);
}
END_TEST

START_TEST(flush_waits_for_what_another_one_writes)
{
	struct caller first = { 0 }, second = { 0 };

	open_with(20);
	change(5, 0, 1);
	stop_clock();
	atomic_store(&logged.hold, 1);
	start(&first, flush_thread);
	while (!atomic_load(&logged.held))
		sched_yield();
	start(&second, flush_thread);
	let_time_pass(&second.done);
	ck_assert(!atomic_load(&second.done));
	atomic_store(&logged.hold, 0);
	ck_assert_int_eq(end(&first), 0);
	ck_assert_int_eq(end(&second), 0);
	ck_assert_uint_eq(logged.pages, 1);
	hmm__clock_set(UINT64_MAX);
	close_all(false);
}
END_TEST

/* What comes in while a flush runs is clean: nothing to wait for. */
START_TEST(flush_does_not_wait_for_reads)
{
	struct caller get = { .page = 7 };

	open_with(LONG_MS);
	change(5, 0, 1);
	atomic_store(&logged.read_hold, 1);
	start(&get, get_thread);
	while (!atomic_load(&logged.held))
		sched_yield();
	ck_assert_int_eq(hmm_cache_flush(cache, NULL), 0);
	ck_assert_uint_eq(logged.pages, 1);
	ck_assert(!atomic_load(&get.done));
	atomic_store(&logged.read_hold, 0);
	ck_assert_int_eq(end(&get), 0);
	ck_assert_int_eq(hmm_cache_put(cache, 7, HMM_CACHE_READ, 0), 0);
	close_all(false);
}
END_TEST

static Suite *suite(void)
{
	Suite *s = suite_create("cache_turn");
	TCase *t = tcase_create("turn");

	tcase_add_test(t, checkpoints_of_a_hot_page_end);
	tcase_add_test(t, writers_stand_back_for_a_flush);
	tcase_add_test(t, writers_inside_are_not_waited_for_by_those_they_wait_for);
	tcase_add_test(t, flush_that_gives_up_lets_writers_in);
	tcase_add_test(t, page_that_is_due_may_be_moved);
	tcase_add_loop_test(t, gets_wait_for_write_outs_however_slow, 0, 2);
	tcase_add_test(t, gets_wait_for_reads_however_slow);
	tcase_add_test(t, flush_waits_for_what_another_one_writes);
	tcase_add_test(t, flush_does_not_wait_for_reads);
	suite_add_tcase(s, t);
	return s;
}

HMM_TEST_MAIN(suite)
