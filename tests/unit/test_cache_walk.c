/* SPDX-License-Identifier: MIT */
/*
 * test_cache_walk.c - the log rule and the contents of dirty pages, whatever calls are made and whatever fails
 */
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>

#include "lib/vm/cache/cache.h"
#include "tests/harness.h"
#include "tests/unit/cache_logged.h"

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
	Suite *s = suite_create("cache_walk");
	TCase *w = tcase_create("walk");

	tcase_add_loop_test(w, random_walk_never_breaks_the_log_rule, 0, 8);
	tcase_add_test(w, writers_flushes_and_evictions_get_along);
	suite_add_tcase(s, w);
	return s;
}

HMM_TEST_MAIN(suite)
