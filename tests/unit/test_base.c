/* SPDX-License-Identifier: MIT */
/*
 * test_base.c - lock, futex, clock, arena, and structures that grow
 */
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib/base/arena.h"
#include "lib/base/clock.h"
#include "lib/base/futex.h"
#include "lib/base/lock.h"
#include "lib/base/util.h"
#include "tests/harness.h"

/* --- lock --- */

#define THREADS 4
#define ROUNDS 20000

static struct hmm__lock lock = HMM__LOCK_INIT(HMM__RANK_STORE);
static uint64_t guarded[2];
static _Atomic uint32_t gate, wrong; /* Check's own assertions write to a pipe each time: too slow for a loop */

static void *add_under_lock(void *arg)
{
	(void)arg;
	for (int i = 0; i < ROUNDS; i++) {
		if (i % 3 || !hmm__trylock(&lock))
			hmm__lock(&lock);
		wrong += guarded[0] != guarded[1];
		guarded[0]++;
		if (i % 64 == 0)
			sched_yield(); /* let the others find it held, so that they sleep */
		guarded[1]++;
		hmm__unlock(&lock);
	}
	return NULL;
}

START_TEST(lock_excludes_other_threads)
{
	pthread_t threads[THREADS];

	for (int i = 0; i < THREADS; i++)
		ck_assert_int_eq(pthread_create(&threads[i], NULL, add_under_lock, NULL), 0);
	for (int i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	ck_assert_uint_eq(wrong, 0);
	ck_assert_uint_eq(guarded[0], (uint64_t)THREADS * ROUNDS);
	ck_assert_uint_eq(guarded[1], (uint64_t)THREADS * ROUNDS);
	ck_assert(!hmm__lock_held(&lock));
}
END_TEST

static void *hold_until_told(void *arg)
{
	(void)arg;
	hmm__lock(&lock);
	atomic_store(&gate, 1);
	hmm__futex_wake(&gate, 1);
	while (atomic_load(&gate) == 1)
		hmm__futex_wait(&gate, 1, UINT64_MAX);
	hmm__unlock(&lock);
	return NULL;
}

START_TEST(trylock_refuses_a_lock_that_is_held)
{
	pthread_t thread;

	ck_assert_int_eq(pthread_create(&thread, NULL, hold_until_told, NULL), 0);
	while (atomic_load(&gate) == 0)
		hmm__futex_wait(&gate, 0, UINT64_MAX);
	ck_assert(hmm__lock_held(&lock));
	ck_assert(!hmm__trylock(&lock));
	atomic_store(&gate, 2);
	hmm__futex_wake(&gate, 1);
	pthread_join(thread, NULL);
	ck_assert(!hmm__lock_held(&lock));
	ck_assert(hmm__trylock(&lock));
	ck_assert(hmm__lock_held(&lock));
	hmm__unlock(&lock);
}
END_TEST

START_TEST(unlock_wakes_who_sleeps)
{
	pthread_t thread;

	hmm__lock(&lock);
	ck_assert_int_eq(pthread_create(&thread, NULL, hold_until_told, NULL), 0);
	while (atomic_load(&lock.word) != 2) /* held, and somebody waits */
		sched_yield();
	hmm__unlock(&lock);
	while (atomic_load(&gate) == 0)
		hmm__futex_wait(&gate, 0, UINT64_MAX);
	atomic_store(&gate, 2);
	hmm__futex_wake(&gate, 1);
	pthread_join(thread, NULL);
}
END_TEST

static struct hmm__lock outer = HMM__LOCK_INIT(HMM__RANK_SPACE), inner = HMM__LOCK_INIT(HMM__RANK_ARENA),
			inner_twin = HMM__LOCK_INIT(HMM__RANK_ARENA), fork_lock = HMM__LOCK_INIT(HMM__RANK_FORK);

START_TEST(locks_in_the_order_of_their_ranks_pass)
{
	hmm__lock(&fork_lock);
	hmm__lock(&outer);
	hmm__lock(&inner);
	hmm__lock(&inner_twin); /* two of a rank: across fork only */
	hmm__unlock(&outer);
	hmm__unlock(&inner);
	hmm__unlock(&inner_twin);
	hmm__unlock(&fork_lock);
	hmm__lock(&inner);
	ck_assert(hmm__trylock(&outer)); /* who does not wait may try in any order */
	hmm__unlock(&outer);
	hmm__unlock(&inner);
}
END_TEST

#ifdef HMM_DEBUG
START_TEST(lock_out_of_order_is_caught)
{
	hmm__lock(&inner);
	hmm__lock(_i ? &inner_twin : &outer);
}
END_TEST

START_TEST(unlock_of_a_lock_not_taken_is_caught)
{
	hmm__unlock(&outer);
}
END_TEST
#endif

START_TEST(block_holds_signals_back_until_restore)
{
	sigset_t saved, nested, pending;

	hmm__signals_block(&saved);
	ck_assert(!sigismember(&saved, SIGUSR1));
	hmm__signals_block(&nested);
	ck_assert(sigismember(&nested, SIGUSR1) && sigismember(&nested, SIGRTMAX));
	raise(SIGUSR1); /* would end the process */
	hmm__signals_restore(&nested);
	sigpending(&pending);
	ck_assert(sigismember(&pending, SIGUSR1));
	signal(SIGUSR1, SIG_IGN); /* takes it away */
	hmm__signals_restore(&saved);
	pthread_sigmask(SIG_BLOCK, NULL, &saved);
	ck_assert(!sigismember(&saved, SIGUSR1));
}
END_TEST

/* --- futex --- */

START_TEST(wait_returns_at_once_if_the_word_differs)
{
	_Atomic uint32_t word = 1;

	errno = ERANGE;
	ck_assert_int_eq(hmm__futex_wait(&word, 0, UINT64_MAX), -EAGAIN);
	ck_assert_int_eq(errno, ERANGE);
	ck_assert_int_eq(hmm__futex_wake(&word, 1), 0);
}
END_TEST

START_TEST(wait_ends_at_its_timeout)
{
	_Atomic uint32_t word = 1;
	uint64_t begin = hmm__now_ns();

	ck_assert_int_eq(hmm__futex_wait(&word, 1, 2000000), -ETIMEDOUT);
	ck_assert_uint_ge(hmm__now_ns() - begin, 2000000);
}
END_TEST

/* --- clock --- */

START_TEST(clock_stands_still_until_advanced)
{
	uint64_t first = hmm__now_ns();

	ck_assert_uint_le(first, hmm__now_ns());
	hmm__clock_set(1000);
	ck_assert_uint_eq(hmm__now_ns(), 1000);
	hmm__clock_advance(234);
	ck_assert_uint_eq(hmm__now_ns(), 1234);
	hmm__clock_set(UINT64_MAX);
	hmm__clock_advance(1);
	ck_assert_uint_ge(hmm__now_ns(), first);
	ck_assert_uint_ne(hmm__now_ns(), UINT64_MAX);
}
END_TEST

/* --- arena --- */

static bool all_zero(const void *object, size_t size)
{
	for (size_t i = 0; i < size; i++)
		if (((const unsigned char *)object)[i])
			return false;
	return true;
}

static const size_t sizes[] = { 1, 8, 63, 64, 65, 100, 200, 1000, 4096, 5000, 8192, 8193, 65536, 1000000 };

START_TEST(objects_are_zeroed_and_aligned)
{
	size_t size = sizes[_i];
	unsigned char *objects[20];

	/* Two passes: fresh from the kernel, and used before. */
	for (int pass = 0; pass < 2; pass++) {
		for (unsigned i = 0; i < HMM__ARRAY_SIZE(objects); i++) {
			objects[i] = hmm__alloc(size);
			ck_assert_ptr_nonnull(objects[i]);
			ck_assert(HMM__IS_ALIGNED(objects[i], 64));
			ck_assert(all_zero(objects[i], size));
			memset(objects[i], 0xff, size);
		}
		for (unsigned i = 0; i < HMM__ARRAY_SIZE(objects); i++)
			hmm__free(objects[i], size);
	}
}
END_TEST

START_TEST(objects_do_not_overlap)
{
	static unsigned char *objects[1000];
	size_t n = HMM__ARRAY_SIZE(objects);

	for (size_t i = 0; i < n; i++) {
		objects[i] = hmm__alloc(sizes[i % 10]);
		memset(objects[i], (int)(i % 251), sizes[i % 10]);
	}
	for (size_t i = 0; i < n; i++)
		for (size_t k = 0; k < sizes[i % 10]; k++)
			wrong += objects[i][k] != i % 251;
	ck_assert_uint_eq(wrong, 0);
	for (size_t i = 0; i < n; i++)
		hmm__free(objects[i], sizes[i % 10]);
}
END_TEST

START_TEST(freed_objects_are_used_again)
{
	size_t bytes;

	hmm__free(hmm__alloc(300), 300);
	bytes = hmm__arena_bytes();
	ck_assert_uint_gt(bytes, 0);
	for (int i = 0; i < 10000; i++)
		hmm__free(hmm__alloc(300), 300);
	ck_assert_uint_eq(hmm__arena_bytes(), bytes);
}
END_TEST

START_TEST(large_objects_go_back_to_the_kernel)
{
	size_t bytes = hmm__arena_bytes();
	void *object = hmm__alloc(1 << 20);

	ck_assert_uint_eq(hmm__arena_bytes(), bytes + (1 << 20));
	hmm__free(object, 1 << 20);
	ck_assert_uint_eq(hmm__arena_bytes(), bytes);
	ck_assert_ptr_null(hmm__alloc(SIZE_MAX));
	ck_assert_ptr_null(hmm__alloc((size_t)1 << 62));
	hmm__free(NULL, 64);
}
END_TEST

static void *alloc_and_free(void *arg)
{
	unsigned seed = (unsigned)(uintptr_t)arg;
	unsigned char *held[16] = { NULL };
	size_t size[16];

	for (int i = 0; i < 5000; i++) {
		int k = rand_r(&seed) % 16;

		if (held[k]) {
			wrong += held[k][0] != k + 1 || held[k][size[k] - 1] != k + 1;
			hmm__free(held[k], size[k]);
			held[k] = NULL;
		} else {
			size[k] = 1 + (size_t)rand_r(&seed) % 3000;
			held[k] = hmm__alloc(size[k]);
			wrong += held[k][0] != 0 || held[k][size[k] - 1] != 0;
			held[k][0] = held[k][size[k] - 1] = (unsigned char)(k + 1);
		}
	}
	for (int k = 0; k < 16; k++)
		hmm__free(held[k], size[k]);
	return NULL;
}

START_TEST(threads_share_the_arena)
{
	pthread_t threads[THREADS];

	for (uintptr_t i = 0; i < THREADS; i++)
		ck_assert_int_eq(pthread_create(&threads[i], NULL, alloc_and_free, (void *)(i + 1)), 0);
	for (int i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	ck_assert_uint_eq(wrong, 0);
}
END_TEST

static _Atomic bool enough;

static void *alloc_until_enough(void *arg)
{
	while (!enough)
		hmm__free(hmm__alloc(100), 100);
	return arg;
}

START_TEST(forked_child_finds_the_arena_free)
{
	pthread_t threads[THREADS];

	for (int i = 0; i < THREADS; i++)
		ck_assert_int_eq(pthread_create(&threads[i], NULL, alloc_until_enough, NULL), 0);
	for (int i = 0; i < 200; i++) {
		int status;
		pid_t child = fork();

		if (child == 0) {
			prctl(PR_SET_PDEATHSIG, SIGKILL); /* should it hang, it ends with the test */
			_exit(hmm__alloc(100) ? 0 : 1);
		}
		ck_assert_int_eq(waitpid(child, &status, 0), child);
		ck_assert_int_eq(status, 0);
	}
	enough = true;
	for (int i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
}
END_TEST

START_TEST(sparse_table_costs_only_what_is_touched)
{
	size_t size = (size_t)1 << 40, page = (size_t)sysconf(_SC_PAGESIZE);
	unsigned char resident[3], *table = hmm__sparse_alloc(size);

	if (!table)
		test_skip("1 TiB of address space");
	ck_assert(HMM__IS_ALIGNED(table, page));
	table[page] = 1;
	ck_assert_uint_eq(table[size - 1], 0);
	ck_assert_int_eq(mincore(table, 3 * page, resident), 0);
	ck_assert(!(resident[0] & 1) && (resident[1] & 1) && !(resident[2] & 1));
	hmm__sparse_free(table, size);
	ck_assert_int_eq(mincore(table, page, resident), -1);
	ck_assert_ptr_null(hmm__sparse_alloc(SIZE_MAX));
	hmm__sparse_free(NULL, 1);
}
END_TEST

START_TEST(allocation_fails_where_told)
{
	void *object;

	hmm__alloc_fail(2, 0);
	object = hmm__alloc(10);
	ck_assert_ptr_nonnull(object);
	ck_assert_ptr_null(hmm__sparse_alloc(10));
	hmm__free(object, 10);
	object = hmm__alloc(10);
	ck_assert_ptr_nonnull(object);
	ck_assert_uint_eq(hmm__alloc_calls(), 3);
	hmm__free(object, 10);
	hmm__alloc_fail(1, 1);
	ck_assert_ptr_null(hmm__alloc(10));
	ck_assert_ptr_null(hmm__alloc(1 << 20));
	hmm__alloc_fail(0, 0);
	object = hmm__alloc(10);
	ck_assert_ptr_nonnull(object);
	hmm__free(object, 10);
}
END_TEST

/* --- structures that grow --- */

struct options {
	size_t size;
	uint32_t a, b;
	uint64_t c;
};

struct newer_options {
	struct options known;
	uint64_t d, e;
};

START_TEST(options_default_to_zero)
{
	struct options known;

	memset(&known, 0xff, sizeof(known));
	ck_assert_int_eq(hmm__options_read(&known, sizeof(known), NULL), 0);
	ck_assert(all_zero(&known, sizeof(known)));
}
END_TEST

START_TEST(short_options_leave_the_rest_zero)
{
	struct options known, given = { .size = offsetof(struct options, b), .a = 7, .b = 8, .c = 9 };

	memset(&known, 0xff, sizeof(known));
	ck_assert_int_eq(hmm__options_read(&known, sizeof(known), &given), 0);
	ck_assert_uint_eq(known.a, 7);
	ck_assert_uint_eq(known.b, 0);
	ck_assert_uint_eq(known.c, 0);
}
END_TEST

START_TEST(long_options_pass_if_their_tail_is_zero)
{
	struct newer_options given = { .known = { .size = sizeof(given), .a = 1, .b = 2, .c = 3 } };
	struct options known;

	ck_assert_int_eq(hmm__options_read(&known, sizeof(known), &given), 0);
	ck_assert_uint_eq(known.a, 1);
	ck_assert_uint_eq(known.c, 3);
	given.e = 1;
	ck_assert_int_eq(hmm__options_read(&known, sizeof(known), &given), -E2BIG);
}
END_TEST

START_TEST(options_without_a_size_are_refused)
{
	struct options known, given = { .a = 1 };

	ck_assert_int_eq(hmm__options_read(&known, sizeof(known), &given), -EINVAL);
	given.size = sizeof(size_t) - 1;
	ck_assert_int_eq(hmm__options_read(&known, sizeof(known), &given), -EINVAL);
}
END_TEST

START_TEST(stats_fit_the_caller)
{
	struct options known = { .size = 999, .a = 1, .b = 2, .c = 3 };
	struct newer_options newer = { .known = { .size = sizeof(newer) }, .d = 4, .e = 5 };
	struct options older = { .size = offsetof(struct options, c), .c = 77 };

	ck_assert_int_eq(hmm__stats_write(&newer, &known, sizeof(known)), 0);
	ck_assert_uint_eq(newer.known.size, sizeof(newer));
	ck_assert_uint_eq(newer.known.a, 1);
	ck_assert_uint_eq(newer.known.c, 3);
	ck_assert(newer.d == 0 && newer.e == 0);
	ck_assert_int_eq(hmm__stats_write(&older, &known, sizeof(known)), 0);
	ck_assert_uint_eq(older.b, 2);
	ck_assert_uint_eq(older.c, 77);
	older.size = 0;
	ck_assert_int_eq(hmm__stats_write(&older, &known, sizeof(known)), -EINVAL);
}
END_TEST

static TCase *lock_case(void)
{
	TCase *c = tcase_create("lock");

	tcase_add_test(c, lock_excludes_other_threads);
	tcase_add_test(c, trylock_refuses_a_lock_that_is_held);
	tcase_add_test(c, unlock_wakes_who_sleeps);
	tcase_add_test(c, locks_in_the_order_of_their_ranks_pass);
#ifdef HMM_DEBUG
	tcase_add_loop_test_raise_signal(c, lock_out_of_order_is_caught, SIGABRT, 0, 2);
	tcase_add_test_raise_signal(c, unlock_of_a_lock_not_taken_is_caught, SIGABRT);
#endif
	tcase_add_test(c, block_holds_signals_back_until_restore);
	tcase_add_test(c, wait_returns_at_once_if_the_word_differs);
	tcase_add_test(c, wait_ends_at_its_timeout);
	tcase_add_test(c, clock_stands_still_until_advanced);
	return c;
}

static TCase *arena_case(void)
{
	TCase *c = tcase_create("arena");

	tcase_add_loop_test(c, objects_are_zeroed_and_aligned, 0, HMM__ARRAY_SIZE(sizes));
	tcase_add_test(c, objects_do_not_overlap);
	tcase_add_test(c, freed_objects_are_used_again);
	tcase_add_test(c, large_objects_go_back_to_the_kernel);
	tcase_add_test(c, threads_share_the_arena);
	tcase_add_test(c, forked_child_finds_the_arena_free);
	tcase_add_test(c, sparse_table_costs_only_what_is_touched);
	tcase_add_test(c, allocation_fails_where_told);
	return c;
}

static TCase *util_case(void)
{
	TCase *c = tcase_create("util");

	tcase_add_test(c, options_default_to_zero);
	tcase_add_test(c, short_options_leave_the_rest_zero);
	tcase_add_test(c, long_options_pass_if_their_tail_is_zero);
	tcase_add_test(c, options_without_a_size_are_refused);
	tcase_add_test(c, stats_fit_the_caller);
	return c;
}

static Suite *suite(void)
{
	Suite *s = suite_create("base");

	suite_add_tcase(s, lock_case());
	suite_add_tcase(s, arena_case());
	suite_add_tcase(s, util_case());
	return s;
}

HMM_TEST_MAIN(suite)
