/* SPDX-License-Identifier: MIT */
/*
 * test_cache_touch.c - a thread's touches: which space they are of, where else they go, and a fork beside them
 */
#include <endian.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <hurd-mm/hurd-mm.h>
#include <hurd-mm/mock.h>

#include "lib/policy/registry.h"
#include "tests/harness.h"
#include "tests/unit/policy_traces.h"

#define FRAMES 64u
#define PAGE 4096u

struct fixture {
	struct hmm_mock *mock;
	struct hmm_space *space;
	struct hmm_store *store;
	struct hmm_cache *cache;
};

static void begin(struct fixture *f, struct hmm_space_options *o)
{
	struct hmm_cache_options co = { .size = sizeof(co), .wait_ms = 60000 };

	o->size = sizeof(*o);
	ck_assert_int_eq(hmm_mock_create(NULL, &f->mock), 0);
	o->backend = hmm_backend_mock();
	o->backend_arg = f->mock;
	o->batch = 1;
	o->flags |= HMM_SPACE_CHECK_POLICY | HMM_SPACE_NO_RECLAIMER;
	ck_assert_int_eq(hmm_space_create(FRAMES, o, &f->space), 0);
	ck_assert_int_eq(hmm_store_memory(UINT64_C(1) << 32, &f->store), 0);
	ck_assert_int_eq(hmm_cache_create(f->space, f->store, PAGE, &co, &f->cache), 0);
}

static void end(struct fixture *f)
{
	struct hmm_stats stats = { .size = sizeof(stats) };

	ck_assert_int_eq(hmm_cache_destroy(f->cache), 0);
	ck_assert_int_eq(hmm_space_stats(f->space, &stats), 0);
	ck_assert_uint_eq(stats.policy_errors, 0);
	ck_assert_uint_eq(stats.held, 0);
	hmm_space_destroy(f->space);
	hmm_mock_destroy(f->mock);
	hmm_store_put(f->store);
}

static void look(struct fixture *f, uint64_t page)
{
	void *data;

	ck_assert_int_eq(hmm_cache_get(f->cache, page, HMM_CACHE_READ, &data), 0);
	ck_assert_int_eq(hmm_cache_put(f->cache, page, HMM_CACHE_READ, 0), 0);
}

static uint64_t misses(struct fixture *f)
{
	struct hmm_cache_stats s = { .size = sizeof(s) };

	ck_assert_int_eq(hmm_cache_stats(f->cache, &s), 0);
	return s.misses;
}

/* _i + 1 spaces in turn.  A thread has room for the touches of two; a third takes the place of the older. */
START_TEST(no_touch_is_lost_or_another_spaces)
{
	static const char *const names[] = { "lru", "arc", "2q" };
	unsigned n = (unsigned)_i + 1;
	struct trace traces[3];
	uint64_t expected[3], seed = test_seed();
	struct fixture f[3];

	for (unsigned i = 0; i < n; i++) {
		struct hmm_space_options o = { .policy = names[i] };
		const struct hmm_policy_ops *ops;

		trace_make(&traces[i], 3, 10000, FRAMES * 4, &seed);
		ck_assert_int_eq(hmm__policy_find(names[i], strlen(names[i]), &ops, NULL), 0);
		expected[i] = trace_misses(ops, "", &traces[i], FRAMES, NULL);
		begin(&f[i], &o);
	}
	for (uint32_t k = 0; k < traces[0].length; k++) {
		for (unsigned i = 0; i < n; i++)
			look(&f[i], traces[i].pages[k]);
	}
	for (unsigned i = 0; i < n; i++) {
		ck_assert_uint_eq(misses(&f[i]), expected[i]);
		end(&f[i]);
		trace_free(&traces[i]);
	}
}
END_TEST

START_TEST(touches_of_a_space_that_is_gone_are_thrown_away)
{
	struct hmm_space_options o = { .policy = "lru" };
	struct fixture a, b;

	begin(&a, &o);
	for (unsigned i = 0; i < 40; i++)
		look(&a, i % 20);
	end(&a);
	for (unsigned round = 0; round < 4; round++) {
		o = (struct hmm_space_options){ .policy = "lru" };
		begin(&b, &o);
		for (unsigned i = 0; i < 200; i++)
			look(&b, i % 30);
		ck_assert_uint_eq(misses(&b), 30);
		end(&b);
	}
}
END_TEST

START_TEST(trace_of_a_cache_has_its_gets_in_order)
{
	char path[] = "/tmp/hurd-mm-cache-XXXXXX";
	struct hmm_space_options o = { .policy = "s3fifo", .record = path };
	uint64_t seed = test_seed(), word, base = 0;
	struct trace trace;
	struct fixture f;
	FILE *file;
	int fd = mkstemp(path);

	ck_assert_int_ge(fd, 0);
	close(fd);
	trace_make(&trace, 3, 5000, FRAMES * 4, &seed);
	begin(&f, &o);
	for (uint32_t i = 0; i < trace.length; i++)
		look(&f, trace.pages[i]);
	end(&f);
	file = fopen(path, "r");
	ck_assert_ptr_nonnull(file);
	for (uint32_t i = 0; i < trace.length; i++) {
		ck_assert_uint_eq(fread(&word, sizeof(word), 1, file), 1);
		word = le64toh(word);
		base = i ? base : (word >> 2) - trace.pages[0];
		ck_assert_uint_eq(word & 3, 0);
		ck_assert_msg(word >> 2 == base + trace.pages[i], "get %u is of page %lu in the trace, not %lu", i,
		              (unsigned long)((word >> 2) - base), (unsigned long)trace.pages[i]);
	}
	ck_assert_uint_eq(fread(&word, sizeof(word), 1, file), 0);
	fclose(file);
	unlink(path);
	trace_free(&trace);
}
END_TEST

/* --- fork --- */

static struct fixture forked;
static _Atomic bool stop;

/* A child that uses the space: its lock is free and its books are right. */
static void fork_once(void)
{
	pid_t pid = fork();
	int status;

	if (!pid) {
		struct hmm_stats s = { .size = sizeof(s) };

		alarm(test_patience(60));
		_exit(hmm_space_stats(forked.space, &s) != 0 || s.held != 0 || s.policy_errors != 0);
	}
	ck_assert_int_gt(pid, 0);
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert_int_eq(status, 0);
}

static void *hit(void *arg)
{
	(void)arg;
	for (unsigned i = 0; !atomic_load(&stop); i++)
		look(&forked, i % 50);
	return NULL;
}

START_TEST(fork_meets_no_hit_half_done)
{
	struct hmm_space_options o = { .policy = "lru" };
	pthread_t threads[2];

	begin(&forked, &o);
	for (unsigned i = 0; i < 2; i++)
		ck_assert_int_eq(pthread_create(&threads[i], NULL, hit, NULL), 0);
	for (unsigned i = 0; i < (TEST_TSAN ? 5 : 100); i++)
		fork_once();
	atomic_store(&stop, true);
	for (unsigned i = 0; i < 2; i++)
		pthread_join(threads[i], NULL);
	end(&forked);
}
END_TEST

static void *get_late(void *arg)
{
	look(arg, 500);
	return NULL;
}

START_TEST(fork_waits_for_no_get_that_waits)
{
	struct hmm_space_options o = { .policy = "lru" };
	struct hmm_stats s = { .size = sizeof(s) };
	uint64_t pages = 0;
	pthread_t thread;
	void *data;

	begin(&forked, &o);
	while (hmm_cache_get(forked.cache, pages, HMM_CACHE_CREATE | HMM_CACHE_WRITE | HMM_CACHE_NOWAIT, &data) == 1)
		pages++;
	ck_assert_uint_gt(pages, FRAMES / 2);
	ck_assert_int_eq(pthread_create(&thread, NULL, get_late, &forked), 0);
	do
		ck_assert_int_eq(hmm_space_stats(forked.space, &s), 0);
	while (!s.frame_waits);
	fork_once();
	for (uint64_t i = 0; i < pages; i++)
		ck_assert_int_eq(hmm_cache_put(forked.cache, i, HMM_CACHE_WRITE, 0), 0);
	pthread_join(thread, NULL);
	end(&forked);
}
END_TEST

static Suite *suite(void)
{
	Suite *s = suite_create("cache_touch");
	TCase *t = tcase_create("touch");

	tcase_add_loop_test(t, no_touch_is_lost_or_another_spaces, 0, 3);
	tcase_add_test(t, touches_of_a_space_that_is_gone_are_thrown_away);
	tcase_add_test(t, trace_of_a_cache_has_its_gets_in_order);
	tcase_add_test(t, fork_meets_no_hit_half_done);
	tcase_add_test(t, fork_waits_for_no_get_that_waits);
	suite_add_tcase(s, t);
	return s;
}

HMM_TEST_MAIN(suite)
