/* SPDX-License-Identifier: MIT */
/*
 * test_cache_range.c - pages of caches that are dropped, get another number, are prefetched or shrunk away
 */
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>

#include <hurd-mm/mock.h>

#include "lib/vm/cache/cache.h"
#include "tests/cache_log.h"
#include "tests/harness.h"

#define FRAMES 64u
#define PAGE 4096u

static struct hmm_space *space;
static struct hmm_cache *cache;
static struct hmm_store *store;
static struct cache_log logged;
static unsigned leaks;
static char leak_text[200];

static void on_event(void *arg, const struct hmm_event *event)
{
	(void)arg;
	if (event->kind != HMM_EVENT_PIN_LEAK)
		return;
	leaks++;
	strncpy(leak_text, event->text, sizeof(leak_text) - 1);
}

static void setup(void)
{
	struct hmm_space_options so = { .size = sizeof(so), .backend = hmm_backend_mock(), .policy = "lru",
		                        .flags = HMM_SPACE_CHECK_POLICY | HMM_SPACE_NO_RECLAIMER, .event = on_event };
	struct hmm_cache_options o = { .size = sizeof(o), .max_pages = CACHE_LOG_PAGES, .extra = 40, .wait_ms = 20 };

	ck_assert_int_eq(hmm_space_create(FRAMES, &so, &space), 0);
	logged = (struct cache_log){ .page_size = PAGE, .durable = UINT64_MAX };
	cache_log_open(&logged, &store);
	for (unsigned i = 0; i < CACHE_LOG_PAGES; i++)
		cache_log_mark(&logged, logged.image + i * PAGE, i, 0, 1000 + i);
	ck_assert_int_eq(hmm_cache_create(space, store, PAGE, &o, &cache), 0);
}

static void teardown(void)
{
	const char *text = NULL;

	hmm_cache_abandon(cache);
	ck_assert_uint_eq(logged.broken + logged.unsorted, 0);
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

static void *get(uint64_t page, unsigned mode)
{
	void *data = NULL;

	ck_assert_int_ge(hmm_cache_get(cache, page, mode, &data), 0);
	return data;
}

static void put(uint64_t page, unsigned mode)
{
	ck_assert_int_eq(hmm_cache_put(cache, page, mode, 0), 0);
}

static void change(uint64_t page, uint64_t value)
{
	cache_log_mark(&logged, get(page, HMM_CACHE_WRITE), page, 0, value);
	put(page, HMM_CACHE_WRITE | HMM_CACHE_DIRTY);
}

static uint64_t value_of(uint64_t page)
{
	uint64_t value = cache_log_value(&logged, get(page, HMM_CACHE_READ));

	put(page, HMM_CACHE_READ);
	return value;
}

START_TEST(discard_drops_all_or_nothing)
{
	for (unsigned i = 0; i < 8; i++)
		change(i, i);
	get(5, HMM_CACHE_READ);
	ck_assert_int_eq(hmm_cache_discard(cache, 2, 4), -EBUSY);
	ck_assert_uint_eq(stats().resident, 8);
	ck_assert_uint_eq(stats().dirty, 8);
	ck_assert_uint_eq(logged.discards, 0);
	ck_assert_int_eq(hmm_cache_discard(cache, 2, 3), 0);
	ck_assert_uint_eq(stats().resident, 5);
	ck_assert_uint_eq(stats().dirty, 5);
	ck_assert_uint_eq(logged.discards, 1);
	ck_assert_uint_eq(logged.pages, 0);
	ck_assert_uint_eq(value_of(2), 0); /* the store was told */
	ck_assert_uint_eq(value_of(1), 1);
	put(5, HMM_CACHE_READ);
	ck_assert_int_eq(hmm_cache_discard(cache, 500, 13), -ERANGE);
	ck_assert_int_eq(hmm_cache_discard(cache, CACHE_LOG_PAGES, 1), -ERANGE);
	ck_assert_int_eq(hmm_cache_discard(cache, 7, UINT64_MAX), -ERANGE);
	ck_assert_int_eq(hmm_cache_discard(cache, 7, 0), 0);
	ck_assert_int_eq(hmm_cache_discard(NULL, 0, 1), -EINVAL);
	ck_assert_uint_eq(logged.discards, 1);
}
END_TEST

START_TEST(truncate_spares_pinned_pages_unless_forced)
{
	for (unsigned i = 0; i < 10; i++)
		change(i, i);
	get(8, HMM_CACHE_WRITE);
	get(9, HMM_CACHE_READ);
	ck_assert_int_eq(hmm_cache_truncate(cache, 4, 2), -EINVAL);
	ck_assert_int_eq(hmm_cache_truncate(cache, 4, 0), -EBUSY);
	ck_assert_uint_eq(stats().resident, 10);
	ck_assert_int_eq(hmm_cache_truncate(cache, 4, HMM_CACHE_FORCE), 0);
	ck_assert_uint_eq(stats().resident, 4);
	ck_assert_uint_eq(stats().dirty, 4);
	ck_assert_uint_eq(stats().pinned, 0);
	ck_assert_uint_eq(value_of(8), 1008);
	ck_assert_int_eq(hmm_cache_truncate(cache, UINT64_MAX, 0), 0);
	ck_assert_int_eq(hmm_cache_truncate(cache, 0, 0), 0);
	ck_assert_uint_eq(stats().resident, 0);
	ck_assert_uint_eq(logged.discards, 0);
}
END_TEST

START_TEST(truncated_page_is_new_to_optimistic_readers)
{
	struct hmm_cache_version version;
	const void *data;

	ck_assert_uint_eq(value_of(3), 1003);
	ck_assert_int_eq(hmm_cache_read_begin(cache, 3, &data, &version), 0);
	ck_assert_int_eq(hmm_cache_read_retry(cache, &version), 0);
	ck_assert_int_eq(hmm_cache_truncate(cache, 0, 0), 0);
	ck_assert_int_ne(hmm_cache_read_retry(cache, &version), 0);
	ck_assert_int_eq(hmm_cache_read_begin(cache, 3, &data, &version), -ENOENT);
}
END_TEST

START_TEST(rekey_moves_contents_and_dirtiness)
{
	struct hmm_cache_version version;
	const void *seen;
	uint8_t *data, *extra;

	change(7, 70);
	data = get(3, HMM_CACHE_WRITE);
	extra = hmm_cache_extra(cache, data);
	extra[0] = 0x5a;
	cache_log_mark(&logged, data, 3, 0, 33);
	ck_assert_int_eq(hmm_cache_mark(cache, 3, 12), 0);
	ck_assert_int_eq(hmm_cache_rekey(cache, 3, 7), 0);
	ck_assert_ptr_eq(get(7, HMM_CACHE_READ), data); /* in place */
	ck_assert_uint_eq(extra[0], 0x5a);
	put(7, HMM_CACHE_READ);
	ck_assert_uint_eq(stats().dirty, 1);
	ck_assert_uint_eq(stats().resident, 1);
	ck_assert_uint_eq(hmm_cache_oldest_position(cache), 12);
	put(7, HMM_CACHE_WRITE);
	ck_assert_uint_eq(value_of(3), 1003); /* from the store */
	/* clean, onto a number that is not resident; optimistic readers notice */
	ck_assert_int_eq(hmm_cache_read_begin(cache, 3, &seen, &version), 0);
	get(3, HMM_CACHE_READ);
	ck_assert_int_eq(hmm_cache_rekey(cache, 3, 100), 0);
	ck_assert_int_ne(hmm_cache_read_retry(cache, &version), 0);
	put(100, HMM_CACHE_READ);
	ck_assert_uint_eq(value_of(100), 1003);
	ck_assert_uint_eq(stats().dirty, 1);
	ck_assert_int_eq(hmm_cache_flush(cache, NULL), 0);
	ck_assert_uint_eq(cache_log_stored(&logged, 7), 33);
}
END_TEST

START_TEST(rekey_that_fails_changes_nothing)
{
	change(1, 10);
	change(2, 20);
	ck_assert_int_eq(hmm_cache_rekey(cache, 1, 2), -EINVAL); /* not pinned */
	ck_assert_int_eq(hmm_cache_rekey(cache, 50, 2), -EINVAL);
	ck_assert_int_eq(hmm_cache_rekey(cache, 1, 1), -EINVAL); /* the same where nothing would change */
	ck_assert_int_eq(hmm_cache_rekey(cache, 50, 50), -EINVAL);
	get(1, HMM_CACHE_READ);
	ck_assert_int_eq(hmm_cache_rekey(cache, 1, CACHE_LOG_PAGES), -ERANGE);
	ck_assert_int_eq(hmm_cache_rekey(cache, UINT64_MAX, 1), -ERANGE);
	get(2, HMM_CACHE_READ);
	ck_assert_int_eq(hmm_cache_rekey(cache, 1, 2), -EBUSY);
	put(2, HMM_CACHE_READ);
	get(1, HMM_CACHE_READ);
	ck_assert_int_eq(hmm_cache_rekey(cache, 1, 2), -EBUSY);
	ck_assert_int_eq(hmm_cache_rekey(cache, 1, 1), -EBUSY);
	put(1, HMM_CACHE_READ);
	ck_assert_int_eq(hmm_cache_rekey(cache, 1, 1), 0);
	ck_assert_uint_eq(value_of(1), 10);
	ck_assert_uint_eq(value_of(2), 20);
	ck_assert_uint_eq(stats().dirty, 2);
	put(1, HMM_CACHE_READ);
	ck_assert_uint_eq(stats().pinned, 0);
}
END_TEST

/* Two threads change numbers of their pages crosswise, and onto a third, for ever: neither gets stuck. */
#define CROSSINGS (TEST_TSAN ? 2000u : 20000u)

static _Atomic unsigned wrong;

static void *cross(void *arg)
{
	uint64_t mine = (uint64_t)(uintptr_t)arg, targets[2] = { 3 - mine, 3 };
	void *data;

	for (unsigned i = 0; i < CROSSINGS; i++) {
		uint64_t to = targets[i % 2];
		int r;

		if (hmm_cache_get(cache, mine, HMM_CACHE_WRITE | HMM_CACHE_CREATE, &data) < 0) {
			atomic_fetch_add(&wrong, 1);
			continue;
		}
		cache_log_mark(&logged, data, mine, 0, mine);
		r = hmm_cache_rekey(cache, mine, to);
		if (r && r != -EBUSY)
			atomic_fetch_add(&wrong, 1);
		if (hmm_cache_put(cache, r ? mine : to, HMM_CACHE_WRITE | HMM_CACHE_DISCARD, 0))
			atomic_fetch_add(&wrong, 1);
	}
	return NULL;
}

START_TEST(crossing_rekeys_get_by)
{
	pthread_t threads[2];

	for (uintptr_t i = 0; i < 2; i++)
		ck_assert_int_eq(pthread_create(&threads[i], NULL, cross, (void *)(i + 1)), 0);
	for (unsigned i = 0; i < 2; i++)
		ck_assert_int_eq(pthread_join(threads[i], NULL), 0);
	ck_assert_uint_eq(wrong, 0);
	ck_assert_uint_eq(stats().pinned, 0);
	ck_assert_uint_eq(stats().dirty, 0);
}
END_TEST

START_TEST(prefetch_reads_in_few_calls)
{
	uint64_t pages[] = { 9, 3, 9, 4, 5, CACHE_LOG_PAGES + 7, 30, 2 };
	uint64_t before;

	change(4, 44);
	before = stats().reads;
	ck_assert_int_eq(hmm_cache_prefetch(cache, pages, 8, HMM_CACHE_STREAM(2)), 5);
	ck_assert_uint_eq(stats().reads - before, 5);
	ck_assert_uint_eq(stats().resident, 6);
	ck_assert_uint_eq(stats().pinned, 0);
	ck_assert_uint_eq(stats().misses, 1);
	ck_assert_uint_eq(value_of(30), 1030);
	ck_assert_uint_eq(value_of(4), 44);
	ck_assert_uint_eq(stats().misses, 1);
	ck_assert_int_eq(hmm_cache_prefetch(cache, pages, 8, 0), 0);
	ck_assert_int_eq(hmm_cache_prefetch(cache, NULL, 0, 0), 0);
	ck_assert_int_eq(hmm_cache_prefetch(cache, NULL, 1, 0), -EINVAL);
	ck_assert_int_eq(hmm_cache_prefetch(cache, pages, 1, HMM_CACHE_WRITE), -EINVAL);
}
END_TEST

START_TEST(prefetch_leaves_nothing_behind_when_the_store_fails)
{
	uint64_t pages[] = { 1, 2, 3 };

	logged.read_fail = -EIO;
	ck_assert_int_eq(hmm_cache_prefetch(cache, pages, 3, 0), -EIO);
	ck_assert_uint_eq(stats().resident, 0);
	ck_assert_uint_eq(stats().reads, 0);
	logged.read_fail = 0;
	ck_assert_int_eq(hmm_cache_prefetch(cache, pages, 3, 0), 3);
	ck_assert_uint_eq(value_of(2), 1002);
}
END_TEST

START_TEST(prefetch_evicts_no_dirty_and_no_pinned_page)
{
	uint64_t pages[CACHE_LOG_PAGES / 2];
	int64_t n;

	for (unsigned i = 0; i < 20; i++)
		change(i, i);
	for (unsigned i = 20; i < 40; i++)
		get(i, HMM_CACHE_READ);
	for (unsigned i = 0; i < CACHE_LOG_PAGES / 2; i++)
		pages[i] = 100 + i;
	n = hmm_cache_prefetch(cache, pages, CACHE_LOG_PAGES / 2, 0);
	ck_assert_int_gt(n, 0);
	ck_assert_uint_eq(stats().dirty, 20);
	ck_assert_uint_eq(stats().pinned, 20);
	ck_assert_uint_eq(logged.pages, 0);
	/* of a list that does not fit, what was read first is still there */
	ck_assert_uint_eq(value_of(100), 1100);
	ck_assert_uint_eq(stats().misses, 40);
	for (unsigned i = 20; i < 40; i++)
		put(i, HMM_CACHE_READ);
}
END_TEST

START_TEST(shrink_writes_what_is_dirty)
{
	for (unsigned i = 0; i < 10; i++)
		change(i, i);
	for (unsigned i = 10; i < 20; i++)
		value_of(i);
	get(0, HMM_CACHE_READ);
	ck_assert_int_eq(hmm_cache_shrink(cache, 0), 0);
	ck_assert_int_eq(hmm_cache_shrink(cache, 5), 5);
	ck_assert_uint_eq(stats().resident, 15);
	logged.fail = -EIO;
	logged.every = 1;
	ck_assert_int_ge(hmm_cache_shrink(cache, 100), 1); /* the clean ones */
	ck_assert_int_eq(hmm_cache_shrink(cache, 100), -EIO);
	logged.every = 0;
	ck_assert_int_gt(hmm_cache_shrink(cache, UINT64_MAX), 0);
	ck_assert_uint_eq(stats().resident, 1);
	ck_assert_int_eq(hmm_cache_shrink(NULL, 1), -EINVAL);
	for (unsigned i = 0; i < 10; i++)
		ck_assert_uint_eq(value_of(i), i);
	put(0, HMM_CACHE_READ);
}
END_TEST

START_TEST(hints_are_checked)
{
	value_of(3);
	ck_assert_int_eq(hmm_cache_hint(cache, 0, 10, HMM_HINT_EVICT_NEXT, 0), 0);
	ck_assert_int_eq(hmm_cache_hint(cache, 0, 10, HMM_HINT_PRIORITY, 63), 0);
	ck_assert_int_eq(hmm_cache_hint(cache, 0, 10, HMM_HINT_PRIORITY, 64), -EINVAL);
	ck_assert_int_eq(hmm_cache_hint(cache, 0, 10, (enum hmm_hint)100, 0), -EINVAL);
	ck_assert_int_eq(hmm_cache_hint(cache, CACHE_LOG_PAGES - 1, 2, HMM_HINT_EVICT_NEXT, 0), -ERANGE);
	ck_assert_int_eq(hmm_cache_hint(NULL, 0, 1, HMM_HINT_EVICT_NEXT, 0), -EINVAL);
}
END_TEST

START_TEST(pins_left_behind_are_reported)
{
	change(6, 6);
	get(6, HMM_CACHE_WRITE);
	get(5, HMM_CACHE_READ);
	put(5, HMM_CACHE_READ);
	ck_assert_int_eq(hmm_cache_destroy(cache), -EBUSY);
	ck_assert_int_eq(hmm_space_poll(space), 0);
#ifdef HMM_DEBUG
	ck_assert_uint_eq(leaks, 1);
	ck_assert_ptr_nonnull(strstr(leak_text, "page 6 is pinned for writing"));
#else
	ck_assert_uint_eq(leaks, 0);
#endif
	ck_assert_uint_eq(value_of(6), 6); /* it is still there */
	put(6, HMM_CACHE_WRITE);
	leaks = 0;
	ck_assert_int_eq(hmm_cache_discard(cache, 6, 1), 0);
	ck_assert_int_eq(hmm_space_poll(space), 0);
	ck_assert_uint_eq(leaks, 0);
}
END_TEST

START_TEST(pins_of_an_abandoned_cache_are_reported)
{
	struct hmm_cache *other;
	struct hmm_store *of_its_own;
	void *data;

	ck_assert_int_eq(hmm_store_memory(1 << 20, &of_its_own), 0);
	ck_assert_int_eq(hmm_cache_create(space, of_its_own, 512, NULL, &other), 0);
	hmm_store_put(of_its_own);
	for (uint64_t i = 0; i < 3; i++)
		ck_assert_int_eq(hmm_cache_get(other, i, HMM_CACHE_READ, &data), 0);
	ck_assert_int_eq(hmm_cache_put(other, 1, HMM_CACHE_READ, 0), 0);
	ck_assert_int_eq(hmm_cache_rekey(other, 2, 9), 0);
	hmm_cache_abandon(other);
	ck_assert_int_eq(hmm_space_poll(space), 0);
#ifdef HMM_DEBUG
	ck_assert_uint_eq(leaks, 2);
#else
	ck_assert_uint_eq(leaks, 0);
#endif
}
END_TEST

static Suite *suite(void)
{
	Suite *s = suite_create("cache_range");
	TCase *t = tcase_create("range");

	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_test(t, discard_drops_all_or_nothing);
	tcase_add_test(t, truncate_spares_pinned_pages_unless_forced);
	tcase_add_test(t, truncated_page_is_new_to_optimistic_readers);
	tcase_add_test(t, rekey_moves_contents_and_dirtiness);
	tcase_add_test(t, rekey_that_fails_changes_nothing);
	tcase_add_test(t, crossing_rekeys_get_by);
	tcase_add_test(t, prefetch_reads_in_few_calls);
	tcase_add_test(t, prefetch_leaves_nothing_behind_when_the_store_fails);
	tcase_add_test(t, prefetch_evicts_no_dirty_and_no_pinned_page);
	tcase_add_test(t, shrink_writes_what_is_dirty);
	tcase_add_test(t, hints_are_checked);
	tcase_add_test(t, pins_left_behind_are_reported);
	tcase_add_test(t, pins_of_an_abandoned_cache_are_reported);
	suite_add_tcase(s, t);
	return s;
}

HMM_TEST_MAIN(suite)
