/* SPDX-License-Identifier: MIT */
/*
 * test_cache_fork.c - caches that a forked child gets a copy of
 *
 * What the child finds is checked in the child, which reports by its exit status the line that was wrong.
 */
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <hurd-mm/hurd-mm.h>
#include <hurd-mm/mock.h>

#include "tests/harness.h"

#define FRAMES 256u
#define EXTRA 200u
#define CHILD_SECONDS 60 /* then it hangs */

static const unsigned flags = HMM_CACHE_VOLATILE | HMM_CACHE_COPY_ON_FORK;
static struct hmm_mock *mock;
static struct hmm_space *space;
static int wrong; /* line, in a child */

#define CHECK(condition) ((void)(!(condition) && !wrong ? wrong = __LINE__ : 0))

static void begin(bool mocked)
{
	struct hmm_space_options o = { .size = sizeof(o), .policy = "lru",
		                       .flags = HMM_SPACE_CHECK_POLICY | HMM_SPACE_NO_RECLAIMER };

	if (mocked) {
		ck_assert_int_eq(hmm_mock_create(NULL, &mock), 0);
		o.backend = hmm_backend_mock();
		o.backend_arg = mock;
	}
	ck_assert_int_eq(hmm_space_create(FRAMES, &o, &space), 0);
}

static void end(void)
{
	struct hmm_stats s = { .size = sizeof(s) };

	ck_assert_int_eq(hmm_space_stats(space, &s), 0);
	ck_assert_uint_eq(s.resident, 0);
	ck_assert_uint_eq(s.policy_errors, 0);
	hmm_space_destroy(space);
	hmm_mock_destroy(mock);
}

static struct hmm_cache *cache_of(size_t page_size, unsigned with)
{
	struct hmm_cache_options o = { .size = sizeof(o), .flags = with, .extra = EXTRA, .wait_ms = 60000 };
	struct hmm_cache *cache;

	ck_assert_int_eq(hmm_cache_create(space, NULL, page_size, &o, &cache), 0);
	return cache;
}

static size_t size_of(struct hmm_cache *cache)
{
	return hmm_cache_page_size(cache);
}

static void stamp(struct hmm_cache *cache, void *data, uint64_t page, unsigned salt)
{
	memset(data, (int)(page * 7 + salt), size_of(cache));
	memset((char *)data + size_of(cache), (int)(page * 11 + salt), EXTRA);
}

static bool stamped(struct hmm_cache *cache, void *data, uint64_t page, unsigned salt)
{
	const unsigned char *p = data;

	for (size_t i = 0; i < size_of(cache); i += 61) {
		if (p[i] != (unsigned char)(page * 7 + salt))
			return false;
	}
	return p[size_of(cache)] == (unsigned char)(page * 11 + salt) &&
	       p[size_of(cache) + EXTRA - 1] == (unsigned char)(page * 11 + salt);
}

/* The page is there, or may be had: with its contents, or fresh.  Returns 1 if it was there. */
static int use(struct hmm_cache *cache, uint64_t page, unsigned salt)
{
	void *data;
	int r = hmm_cache_get(cache, page, HMM_CACHE_CREATE | HMM_CACHE_WRITE, &data);

	CHECK(r >= 0);
	if (r < 0)
		return 0;
	if (r == 0)
		CHECK(stamped(cache, data, page, salt));
	stamp(cache, data, page, salt);
	CHECK(hmm_cache_put(cache, page, HMM_CACHE_WRITE, 0) == 0);
	return r == 0;
}

static void *must_pin(struct hmm_cache *cache, uint64_t page, unsigned salt)
{
	void *data;

	ck_assert_int_ge(hmm_cache_get(cache, page, HMM_CACHE_CREATE | HMM_CACHE_WRITE, &data), 0);
	stamp(cache, data, page, salt);
	return data;
}

static void report(pid_t pid)
{
	int status;

	ck_assert_int_gt(pid, 0);
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert_msg(WIFEXITED(status) && !WEXITSTATUS(status), "child: status %x, line %d or %d", status,
	              WEXITSTATUS(status), WEXITSTATUS(status) + 256);
}

static void finish(void)
{
	_exit(wrong ? (wrong % 256 ? wrong % 256 : 1) : 0);
}

/* Books are as before; another fork works; everything can be used, evicted and ended. */
static void live_on(struct hmm_cache *cache, void *pinned, uint64_t pinned_page, const struct hmm_stats *before,
                    unsigned depth, unsigned least)
{
	struct hmm_stats s = { .size = sizeof(s) };
	unsigned found = 0;

	CHECK(hmm_space_stats(space, &s) == 0 && s.held == before->held && s.resident == before->resident);
	CHECK(s.policy_errors == 0);
	CHECK(stamped(cache, pinned, pinned_page, 1));
	if (depth) {
		pid_t pid = fork();
		int status;

		if (!pid) {
			live_on(cache, pinned, pinned_page, before, depth - 1, least);
			finish();
		}
		CHECK(waitpid(pid, &status, 0) == pid && status == 0);
	}
	stamp(cache, pinned, pinned_page, 2);
	for (uint64_t page = 2000; page--;)
		found += page != pinned_page && use(cache, page, 1);
	CHECK(found >= least);
	CHECK(stamped(cache, pinned, pinned_page, 2));
	CHECK(hmm_space_stats(space, &s) == 0 && s.held <= FRAMES && s.policy_errors == 0);
	CHECK(hmm_cache_destroy(cache) == -EBUSY);
	CHECK(hmm_cache_put(cache, pinned_page, HMM_CACHE_WRITE, 0) == 0);
	CHECK(hmm_cache_destroy(cache) == 0);
	CHECK(hmm_space_stats(space, &s) == 0 && s.resident == 0 && s.policy_errors == 0);
	hmm_space_destroy(space);
}

/* _i: the mock, or the kernel; and small or large pages */
START_TEST(copied_cache_lives_on_in_a_child)
{
	static const size_t sizes[] = { 512, 4096, 16384 };
	struct hmm_stats before = { .size = sizeof(before) };
	struct hmm_cache *cache;
	void *pinned;
	pid_t pid;

	begin(_i % 2);
	cache = cache_of(sizes[_i / 2], flags);
	for (uint64_t page = 0; page < 2000; page++)
		use(cache, page, 1);
	pinned = must_pin(cache, 1990, 1);
	ck_assert_int_eq(wrong, 0);
	ck_assert_int_eq(hmm_space_stats(space, &before), 0);
	pid = fork();
	if (!pid) {
		alarm(test_patience(CHILD_SECONDS));
		live_on(cache, pinned, 1990, &before, 1, FRAMES / 16);
		finish();
	}
	report(pid);
	ck_assert(stamped(cache, pinned, 1990, 1));
	for (uint64_t page = 0; page < 2000; page++)
		use(cache, page == 1990 ? 0 : page, 1);
	ck_assert_int_eq(wrong, 0);
	ck_assert_int_eq(hmm_cache_put(cache, 1990, HMM_CACHE_WRITE, 0), 0);
	ck_assert_int_eq(hmm_cache_destroy(cache), 0);
	end();
}
END_TEST

/* Two caches of one stride in one space: one dies in the child, with its frames, the other lives on. */
START_TEST(cache_that_is_not_copied_dies_beside_one_that_is)
{
	struct hmm_stats before = { .size = sizeof(before) };
	struct hmm_cache_stats s = { .size = sizeof(s) };
	struct hmm_cache *cache, *other;
	void *pinned, *data;
	pid_t pid;

	begin(_i);
	cache = cache_of(4096, flags);
	other = cache_of(4096, HMM_CACHE_VOLATILE);
	for (uint64_t page = 0; page < FRAMES / 3; page++) {
		use(cache, page, 1);
		use(other, page, 3);
	}
	pinned = must_pin(cache, 0, 1);
	must_pin(other, 0, 3);
	ck_assert_int_eq(hmm_cache_stats(cache, &s), 0);
	ck_assert_int_eq(hmm_space_stats(space, &before), 0);
	pid = fork();
	if (!pid) {
		struct hmm_stats now = { .size = sizeof(now) };
		uint64_t least = s.resident * s.frame_bytes / hmm_page_size();

		alarm(test_patience(CHILD_SECONDS));
		CHECK(hmm_space_stats(space, &now) == 0 && now.held < before.held);
		CHECK(now.resident >= least && now.resident < before.resident);
		CHECK(hmm_cache_get(other, 1, HMM_CACHE_RESIDENT, &data) == -ENODEV);
		CHECK(hmm_cache_put(other, 0, HMM_CACHE_WRITE, 0) == -ENODEV);
		for (uint64_t page = 1; page < FRAMES / 3; page++)
			CHECK(use(cache, page, 1));
		hmm_cache_abandon(other);
		live_on(cache, pinned, 0, &now, 0, 0); /* pages that come drive out those found above */
		finish();
	}
	report(pid);
	ck_assert_int_eq(hmm_cache_put(cache, 0, HMM_CACHE_WRITE, 0), 0);
	ck_assert_int_eq(hmm_cache_put(other, 0, HMM_CACHE_WRITE, 0), 0);
	ck_assert_int_eq(hmm_cache_destroy(cache), 0);
	ck_assert_int_eq(hmm_cache_destroy(other), 0);
	end();
}
END_TEST

struct waiter {
	struct hmm_cache *cache;
	uint64_t page;
};

static void *get_late(void *arg)
{
	struct waiter *w = arg;

	use(w->cache, w->page, 5);
	return NULL;
}

/* All is pinned, and a thread waits for a frame: in the child its page is nobody's, and can be had when a pin has gone. */
START_TEST(page_that_a_thread_waits_for_is_absent_in_the_child)
{
	struct hmm_stats s = { .size = sizeof(s) };
	struct waiter w = { .page = 5000 };
	pthread_t thread;
	uint64_t pages = 0;
	void *data;
	pid_t pid;

	begin(_i);
	w.cache = cache_of(4096, flags);
	while (hmm_cache_get(w.cache, pages, HMM_CACHE_CREATE | HMM_CACHE_WRITE | HMM_CACHE_NOWAIT, &data) >= 0)
		pages++;
	ck_assert_uint_gt(pages, FRAMES / 2);
	ck_assert_int_eq(pthread_create(&thread, NULL, get_late, &w), 0);
	do
		ck_assert_int_eq(hmm_space_stats(space, &s), 0);
	while (!s.frame_waits);
	pid = fork();
	if (!pid) {
		alarm(test_patience(CHILD_SECONDS));
		for (uint64_t page = 0; page < pages; page++)
			CHECK(hmm_cache_put(w.cache, page, HMM_CACHE_WRITE, 0) == 0);
		CHECK(!use(w.cache, w.page, 5) && use(w.cache, w.page, 5));
		CHECK(hmm_cache_destroy(w.cache) == 0);
		finish();
	}
	report(pid);
	for (uint64_t page = 0; page < pages; page++)
		ck_assert_int_eq(hmm_cache_put(w.cache, page, HMM_CACHE_WRITE, 0), 0);
	pthread_join(thread, NULL);
	ck_assert_int_eq(wrong, 0);
	ck_assert_int_eq(hmm_cache_destroy(w.cache), 0);
	end();
}
END_TEST

static _Atomic bool stop;

static void *work(void *arg)
{
	for (uint64_t page = 0; !atomic_load(&stop); page = (page + 1) % 1500)
		use(arg, page, 9);
	return NULL;
}

/* Another thread hits, misses and evicts in a cache of its own, as another connection does. */
START_TEST(fork_beside_a_thread_that_works)
{
	struct hmm_cache *cache, *busy;
	pthread_t thread;

	begin(_i);
	cache = cache_of(1024, flags);
	busy = cache_of(1024, flags);
	ck_assert_int_eq(pthread_create(&thread, NULL, work, busy), 0);
	for (unsigned round = 0; round < (TEST_TSAN ? 5 : 25); round++) {
		void *pinned = must_pin(cache, round, 1);
		pid_t pid = fork();

		if (!pid) {
			struct hmm_stats s = { .size = sizeof(s) };

			alarm(test_patience(CHILD_SECONDS));
			CHECK(stamped(cache, pinned, round, 1));
			for (uint64_t page = 500; page < 1000; page++)
				use(cache, page, 4);
			CHECK(hmm_cache_put(cache, round, HMM_CACHE_WRITE, 0) == 0);
			CHECK(hmm_cache_destroy(cache) == 0);
			hmm_cache_abandon(busy); /* the thread may have had a page pinned */
			CHECK(hmm_space_stats(space, &s) == 0 && !s.resident && !s.policy_errors);
			hmm_space_destroy(space);
			finish();
		}
		report(pid);
		ck_assert(stamped(cache, pinned, round, 1));
		ck_assert_int_eq(hmm_cache_put(cache, round, HMM_CACHE_WRITE, 0), 0);
	}
	atomic_store(&stop, true);
	pthread_join(thread, NULL);
	ck_assert_int_eq(wrong, 0);
	ck_assert_int_eq(hmm_cache_destroy(cache), 0);
	ck_assert_int_eq(hmm_cache_destroy(busy), 0);
	end();
}
END_TEST

START_TEST(what_has_a_store_is_not_copied)
{
	struct hmm_cache_options o = { .size = sizeof(o), .flags = HMM_CACHE_COPY_ON_FORK };
	struct hmm_cache *cache;
	struct hmm_store *store;

	begin(true);
	ck_assert_int_eq(hmm_store_memory(1 << 20, &store), 0);
	ck_assert_int_eq(hmm_cache_create(space, store, 4096, &o, &cache), -EINVAL);
	hmm_store_put(store);
	end();
}
END_TEST

static Suite *suite(void)
{
	Suite *s = suite_create("cache_fork");
	TCase *t = tcase_create("fork");

	tcase_add_loop_test(t, copied_cache_lives_on_in_a_child, 0, 6);
	tcase_add_loop_test(t, cache_that_is_not_copied_dies_beside_one_that_is, 0, 2);
	tcase_add_loop_test(t, page_that_a_thread_waits_for_is_absent_in_the_child, 0, 2);
	tcase_add_loop_test(t, fork_beside_a_thread_that_works, 0, 2);
	tcase_add_test(t, what_has_a_store_is_not_copied);
	suite_add_tcase(s, t);
	return s;
}

HMM_TEST_MAIN(suite)
