/* SPDX-License-Identifier: MIT */
/*
 * test_cache_hazard.c - pins for reading that threads keep to themselves: whoever puts them, whatever the page is to become
 *
 * A page that is read in is pinned in its word; the next get of it is in a slot.  So pages are looked at before.
 */
#include <errno.h>
#include <pthread.h>
#include <sys/wait.h>
#include <unistd.h>

#include <hurd-mm/mock.h>

#include "lib/vm/cache/hazard.h"
#include "tests/cache_log.h"
#include "tests/harness.h"

#define FRAMES 64u
#define PAGE 4096u

static struct hmm_space *space;
static struct hmm_cache *cache;
static struct hmm_store *store;
static struct cache_log logged;

static void setup(void)
{
	struct hmm_space_options so = { .size = sizeof(so), .backend = hmm_backend_mock(), .policy = "lru",
		                        .flags = HMM_SPACE_CHECK_POLICY | HMM_SPACE_NO_RECLAIMER };
	struct hmm_cache_options o = { .size = sizeof(o), .max_pages = CACHE_LOG_PAGES, .wait_ms = 20 };

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

static void put(uint64_t page)
{
	ck_assert_int_eq(hmm_cache_put(cache, page, HMM_CACHE_READ, 0), 0);
}

static void *pin(uint64_t page)
{
	void *data = NULL;

	ck_assert_int_eq(hmm_cache_get(cache, page, HMM_CACHE_READ, &data), 0);
	ck_assert_uint_eq(cache_log_value(&logged, data), 1000 + page);
	return data;
}

static void look(uint64_t page)
{
	pin(page);
	put(page);
}

static bool in_word(uint64_t page)
{
	return hmm__word_pins(atomic_load(&cache->words[page])) != 0;
}

/* Pinned, and not in the word. */
static void *pin_in_slot(uint64_t page)
{
	void *data;

	look(page);
	data = pin(page);
	ck_assert(!in_word(page));
	ck_assert(hmm__hazard_any(&cache->words[page], 1));
	return data;
}

static void everything_goes(uint64_t but)
{
	ck_assert_int_ge(hmm_cache_shrink(cache, FRAMES), 0);
	ck_assert_uint_eq(stats().resident, but);
	ck_assert_uint_eq(stats().pinned, but);
}

START_TEST(pinned_page_stays)
{
	void *data = pin_in_slot(5);

	for (unsigned i = 100; i < 400; i++)
		look(i);
	ck_assert_ptr_eq(data, pin(5));
	put(5);
	everything_goes(1);
	ck_assert_uint_eq(cache_log_value(&logged, data), 1005);
	ck_assert_int_eq(hmm_cache_discard(cache, 3, 5), -EBUSY);
	ck_assert_int_eq(hmm_cache_truncate(cache, 5, 0), -EBUSY);
	ck_assert_int_eq(hmm_cache_destroy(cache), -EBUSY);
	put(5);
	everything_goes(0);
}
END_TEST

START_TEST(more_pins_than_slots)
{
	for (unsigned i = 0; i < 20; i++)
		look(i);
	for (unsigned i = 0; i < 20; i++)
		pin(i);
	for (unsigned i = 0; i < 20; i++)
		ck_assert_int_eq(in_word(i), i >= HMM__HAZARDS);
	ck_assert_uint_eq(stats().pinned, 20);
	everything_goes(20);
	for (unsigned i = 0; i < 20; i += 2)
		put(i);
	everything_goes(10);
	pin(7); /* twice */
	ck_assert_uint_eq(stats().pinned, 10);
	for (unsigned i = 1; i < 20; i += 2)
		put(i);
	everything_goes(1);
	put(7);
	everything_goes(0);
}
END_TEST

static void *pin_three(void *arg)
{
	(void)arg;
	for (unsigned i = 0; i < 3; i++)
		pin_in_slot(i);
	return NULL;
}

static void *put_two(void *arg)
{
	(void)arg;
	put(0);
	put(2);
	return NULL;
}

static void in_a_thread(void *(*work)(void *))
{
	pthread_t thread;

	ck_assert_int_eq(pthread_create(&thread, NULL, work, NULL), 0);
	pthread_join(thread, NULL);
}

START_TEST(pins_outlive_their_thread)
{
	look(9); /* so that this thread has a line of its own */
	in_a_thread(pin_three);
	everything_goes(3);
	put(1);
	everything_goes(2);
	in_a_thread(put_two); /* which is given the line of the first */
	everything_goes(0);
	pin_three(NULL);
	in_a_thread(put_two);
	put(1);
	everything_goes(0);
}
END_TEST

START_TEST(discard_waits_for_the_last_pin)
{
	pin_in_slot(4);
	ck_assert_int_eq(hmm_cache_put(cache, 4, HMM_CACHE_DISCARD, 0), 0);
	ck_assert_uint_eq(stats().resident, 0);

	pin_in_slot(4);
	pin(4);
	ck_assert_int_eq(hmm_cache_put(cache, 4, HMM_CACHE_DISCARD, 0), 0);
	ck_assert_uint_eq(stats().resident, 1);
	put(4);
	ck_assert_uint_eq(stats().resident, 0);
	in_a_thread(pin_three);
	pin_in_slot(1);
	ck_assert_int_eq(hmm_cache_put(cache, 1, HMM_CACHE_DISCARD, 0), 0);
	ck_assert_uint_eq(stats().resident, 3);
	put(1); /* that of the thread which ended */
	ck_assert_uint_eq(stats().resident, 2);
	put_two(NULL);
}
END_TEST

START_TEST(rekey_counts_pins_of_slots)
{
	void *data = pin_in_slot(6);

	ck_assert_int_eq(hmm_cache_rekey(cache, 6, 300), 0);
	ck_assert_uint_eq(cache_log_value(&logged, data), 1006);
	ck_assert_uint_eq(stats().pinned, 1);
	put(300);
	everything_goes(0);

	pin_in_slot(6);
	pin(6);
	ck_assert_int_eq(hmm_cache_rekey(cache, 6, 7), -EBUSY);
	put(6);
	pin_in_slot(7);
	ck_assert_int_eq(hmm_cache_rekey(cache, 6, 7), -EBUSY);
	put(7);
	in_a_thread(pin_three);
	ck_assert_int_eq(hmm_cache_rekey(cache, 6, 2), -EBUSY);
	ck_assert_int_eq(hmm_cache_rekey(cache, 2, 7), 0); /* a pin of another thread, now ours */
	ck_assert_int_eq(hmm_cache_rekey(cache, 8, 9), -EINVAL);
	put(6);
	put(7);
	put(0);
	put(1);
	everything_goes(0);
}
END_TEST

START_TEST(forced_truncation_takes_pins_away)
{
	pin_in_slot(3);
	pin_in_slot(11);
	in_a_thread(pin_three);
	ck_assert_int_eq(hmm_cache_truncate(cache, 2, HMM_CACHE_FORCE), 0);
	ck_assert_uint_eq(stats().pinned, 2);
	ck_assert(!hmm__hazard_any(&cache->words[2], 500));
#ifndef HMM_DEBUG /* debug builds abort */
	ck_assert_int_eq(hmm_cache_put(cache, 11, HMM_CACHE_READ, 0), -EINVAL);
#endif
	put(0);
	put(1);
	pin_in_slot(11);
	put(11);
}
END_TEST

START_TEST(abandoned_cache_leaves_no_pins)
{
	struct hmm_cache_options o = { .size = sizeof(o), .max_pages = CACHE_LOG_PAGES };

	pin_in_slot(3);
	hmm_cache_abandon(cache);
	ck_assert_int_eq(hmm_cache_create(space, store, PAGE, &o, &cache), 0);
	ck_assert(!hmm__hazard_any((hmm__word *)64, UINT64_MAX / 16));
	look(3);
	everything_goes(0);
}
END_TEST

static void *put_later(void *arg)
{
	struct hmm_stats s = { .size = sizeof(s) };

	/* the other has found nothing and waits */
	do
		ck_assert_int_eq(hmm_space_stats(space, &s), 0);
	while (!s.frame_waits);
	put(*(unsigned *)arg);
	return NULL;
}

START_TEST(put_of_a_slot_lets_others_in)
{
	struct hmm_cache_options o = { .size = sizeof(o), .max_pages = CACHE_LOG_PAGES, .wait_ms = 60000 };
	unsigned last = 0;
	pthread_t thread;
	void *data;

	hmm_cache_abandon(cache);
	ck_assert_int_eq(hmm_cache_create(space, store, PAGE, &o, &cache), 0);
	while (hmm_cache_get(cache, last, HMM_CACHE_NOWAIT | HMM_CACHE_RESIDENT, &data) == -ENOENT && last < FRAMES)
		pin(last++);
	ck_assert_int_eq(hmm_cache_get(cache, 200, HMM_CACHE_CREATE | HMM_CACHE_WRITE | HMM_CACHE_NOWAIT, &data), -ENOBUFS);
	put(5);
	pin(5);
	ck_assert(!in_word(5));
	last = 5;
	ck_assert_int_eq(pthread_create(&thread, NULL, put_later, &last), 0);
	pin(200);
	pthread_join(thread, NULL);
	ck_assert_int_eq(hmm_cache_truncate(cache, 0, HMM_CACHE_FORCE), 0);
}
END_TEST

#define CROWD (HMM__HAZARD_LINES + 20)
static pthread_barrier_t barrier;

static void *one_of_many(void *arg)
{
	uint64_t page = (uintptr_t)arg % 32;

	pin(page);
	pthread_barrier_wait(&barrier);
	pthread_barrier_wait(&barrier);
	put(page);
	return NULL;
}

START_TEST(more_threads_than_lines)
{
	static pthread_t threads[CROWD];

	for (unsigned i = 0; i < 32; i++)
		look(i);
	for (unsigned round = 0; round < 2; round++) {
		pthread_barrier_init(&barrier, NULL, CROWD + 1);
		for (uintptr_t i = 0; i < CROWD; i++)
			ck_assert_int_eq(pthread_create(&threads[i], NULL, one_of_many, (void *)i), 0);
		pthread_barrier_wait(&barrier);
		everything_goes(32);
		pthread_barrier_wait(&barrier);
		for (unsigned i = 0; i < CROWD; i++)
			pthread_join(threads[i], NULL);
		pthread_barrier_destroy(&barrier);
	}
	everything_goes(0);
}
END_TEST

START_TEST(child_has_no_pins)
{
	void *data;
	int status;
	pid_t pid;

	pin_in_slot(5);
	in_a_thread(pin_three);
	pid = fork();
	ck_assert_int_ge(pid, 0);
	if (pid == 0) {
		bool right = hmm_cache_get(cache, 5, HMM_CACHE_READ, &data) == -ENODEV &&
		             hmm_cache_put(cache, 5, HMM_CACHE_READ, 0) == -ENODEV &&
		             !hmm__hazard_any((hmm__word *)64, UINT64_MAX / 16);

		hmm_cache_abandon(cache);
		_exit(right ? 0 : 1);
	}
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert_int_eq(status, 0);
	ck_assert_uint_eq(stats().pinned, 4);
	put(5);
	put(1);
	put_two(NULL);
}
END_TEST

static Suite *suite(void)
{
	Suite *s = suite_create("cache_hazard");
	TCase *t = tcase_create("hazard");

	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_test(t, pinned_page_stays);
	tcase_add_test(t, more_pins_than_slots);
	tcase_add_test(t, pins_outlive_their_thread);
	tcase_add_test(t, discard_waits_for_the_last_pin);
	tcase_add_test(t, rekey_counts_pins_of_slots);
	tcase_add_test(t, forced_truncation_takes_pins_away);
	tcase_add_test(t, abandoned_cache_leaves_no_pins);
	tcase_add_test(t, put_of_a_slot_lets_others_in);
	tcase_add_test(t, more_threads_than_lines);
	tcase_add_test(t, child_has_no_pins);
	suite_add_tcase(s, t);
	return s;
}

HMM_TEST_MAIN(suite)
