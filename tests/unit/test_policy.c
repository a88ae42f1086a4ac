/* SPDX-License-Identifier: MIT */
/*
 * test_policy.c - the registry, instances, and what fifo, clock and lru do between a proposal and its verdict
 */
#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/arena.h"
#include "lib/base/util.h"
#include "lib/policy/instance.h"
#include "policies/frame-list.h"
#include "tests/harness.h"

/* Those of one list with the victim at its end, then the others. */
static const char *const builtins[] = {
	"fifo", "clock", "lru", "clock:bits=2",
	"clock2", "random", "mru", "sieve", "s3fifo", "s3fifo-v0", "2q", "arc", "car", "s3fifo:small=0.5", "2q:in=0,out=2",
};

#define BUILTINS_OF_ONE_LIST 4

static unsigned count_names(void)
{
	unsigned n = 0;

	while (hmm_policy_name(n) != NULL)
		n++;
	return n;
}

/* Registry */

static struct hmm_policy_ops renamed(const char *name)
{
	struct hmm_policy_ops ops = hmm__policy_fifo;

	ops.name = name;
	return ops;
}

START_TEST(builtins_are_known_in_order)
{
	ck_assert_str_eq(hmm_policy_name(0), "fifo");
	ck_assert_str_eq(hmm_policy_name(1), "clock");
	ck_assert_str_eq(hmm_policy_name(2), "lru");
	ck_assert_ptr_null(hmm_policy_name(count_names() + 1));
	for (size_t i = 0; i < HMM__ARRAY_SIZE(builtins); i++) {
		if (strchr(builtins[i], ':') == NULL)
			ck_assert_str_eq(hmm_policy_lookup(builtins[i])->name, builtins[i]);
	}
	ck_assert_str_eq(hmm_policy_lookup("clock")->name, "clock");
	ck_assert_ptr_null(hmm_policy_lookup("cloc"));
	ck_assert_ptr_null(hmm_policy_lookup("clock:bits=1"));
	ck_assert_ptr_null(hmm_policy_lookup(""));
	ck_assert_ptr_null(hmm_policy_lookup(NULL));
}
END_TEST

START_TEST(register_refuses_what_is_no_policy)
{
	static const char *const names[] = {
		NULL, "", "Upper", "with space", "with:colon", "under_score",
		"a-name-of-sixty-four-characters-is-one-character-too-long-to-use",
	};
	static const size_t required[] = {
		offsetof(struct hmm_policy_ops, state_size), offsetof(struct hmm_policy_ops, start),
		offsetof(struct hmm_policy_ops, inserted),   offsetof(struct hmm_policy_ops, choose),
		offsetof(struct hmm_policy_ops, evicted),    offsetof(struct hmm_policy_ops, rejected),
		offsetof(struct hmm_policy_ops, removed),
	};
	unsigned known = count_names();
	struct hmm_policy_ops ops;

	ck_assert_int_eq(hmm_policy_register(NULL), -EINVAL);
	for (size_t i = 0; i < HMM__ARRAY_SIZE(names); i++) {
		ops = renamed(names[i]);
		ck_assert_int_eq(hmm_policy_register(&ops), -EINVAL);
	}
	for (size_t i = 0; i < HMM__ARRAY_SIZE(required); i++) {
		ops = renamed("incomplete");
		memset((char *)&ops + required[i], 0, sizeof(void *));
		ck_assert_int_eq(hmm_policy_register(&ops), -EINVAL);
	}
	ops = renamed("other-version");
	ops.version++;
	ck_assert_int_eq(hmm_policy_register(&ops), -EINVAL);
	ops = renamed("too-small");
	ops.size = offsetof(struct hmm_policy_ops, removed);
	ck_assert_int_eq(hmm_policy_register(&ops), -EINVAL);
	ck_assert_uint_eq(count_names(), known);
}
END_TEST

START_TEST(register_takes_a_name_once)
{
	struct hmm_policy_ops first = renamed("mine"), second = renamed("mine"), taken = renamed("lru");
	unsigned known = count_names();

	ck_assert_int_eq(hmm_policy_register(&taken), -EEXIST);
	ck_assert_int_eq(hmm_policy_register(&first), 0);
	ck_assert_int_eq(hmm_policy_register(&second), -EEXIST);
	ck_assert_int_eq(hmm_policy_register(&first), -EEXIST);
	ck_assert_str_eq(hmm_policy_name(known), "mine");
	ck_assert_uint_eq(count_names(), known + 1);
	ck_assert(hmm_policy_lookup("lru")->start == hmm__policy_lru.start);
}
END_TEST

START_TEST(a_smaller_table_is_read_no_further_than_its_size)
{
	struct hmm_policy_ops ops = renamed("older");
	const struct hmm_policy_ops *known;

	ops.size = offsetof(struct hmm_policy_ops, hint);
	memset(&ops.hint, 0x5a, sizeof(ops.hint));
	memset(&ops.tick, 0x5a, sizeof(ops.tick));
	ops.summary = NULL;
	ck_assert_int_eq(hmm_policy_register(&ops), 0);
	known = hmm_policy_lookup("older");
	ck_assert_ptr_nonnull(known);
	ck_assert_uint_eq(known->size, sizeof(*known));
	ck_assert(known->hint == NULL && known->tick == NULL && known->choose == ops.choose);
	ck_assert_str_eq(known->summary, "");
}
END_TEST

START_TEST(a_larger_table_is_read_as_far_as_it_is_known)
{
	struct {
		struct hmm_policy_ops ops;
		void *later[4];
	} newer = { .ops = renamed("newer") };

	newer.ops.size = sizeof(newer);
	newer.later[0] = &newer;
	ck_assert_int_eq(hmm_policy_register(&newer.ops), 0);
	ck_assert_uint_eq(hmm_policy_lookup("newer")->size, sizeof(struct hmm_policy_ops));
}
END_TEST

#define THREADS 4
#define NAMES 200

static struct hmm_policy_ops shared_ops[NAMES];
static char shared_names[NAMES][16];

static void *register_all(void *arg)
{
	intptr_t registered = 0;

	(void)arg;
	for (int i = 0; i < NAMES; i++) {
		int r = hmm_policy_register(&shared_ops[i]);

		ck_assert(r == 0 || r == -EEXIST);
		registered += r == 0;
		ck_assert_str_eq(hmm_policy_lookup(shared_names[i])->name, shared_names[i]);
	}
	return (void *)registered;
}

START_TEST(threads_that_register_at_once_share_the_names)
{
	pthread_t threads[THREADS];
	unsigned known = count_names();
	intptr_t total = 0;

	for (int i = 0; i < NAMES; i++) {
		char *at = shared_names[i];

		*at++ = 'p';
		*at++ = (char)('0' + i / 100);
		*at++ = (char)('0' + i / 10 % 10);
		*at++ = (char)('0' + i % 10);
		shared_ops[i] = renamed(shared_names[i]);
	}
	for (int t = 0; t < THREADS; t++)
		ck_assert_int_eq(pthread_create(&threads[t], NULL, register_all, NULL), 0);
	for (int t = 0; t < THREADS; t++) {
		void *registered;

		ck_assert_int_eq(pthread_join(threads[t], &registered), 0);
		total += (intptr_t)registered;
	}
	ck_assert_int_eq(total, NAMES);
	ck_assert_uint_eq(count_names(), known + NAMES);
}
END_TEST

START_TEST(load_says_why_it_failed)
{
	const char *why = NULL;

	ck_assert_int_eq(hmm_policy_load(NULL, NULL), -EINVAL);
	ck_assert_int_eq(hmm_policy_load("/nonexistent/policy.so", NULL), -ENOENT);
	ck_assert_int_eq(hmm_policy_load("/nonexistent/policy.so", &why), -ENOENT);
	ck_assert_ptr_nonnull(strstr(why, "/nonexistent/policy.so"));
	ck_assert_int_eq(hmm_policy_load("libc.so.6", &why), -ENOENT);
	ck_assert_str_eq(why, "libc.so.6: no symbol hmm_policy_module");
}
END_TEST

/* Instances */

static void fail_on_report(void *arg, const char *text)
{
	(void)arg;
	ck_abort_msg("%s", text);
}

static struct hmm__policy *create(const char *spec, uint32_t capacity)
{
	struct hmm__policy *policy = NULL;

	ck_assert_int_eq(hmm__policy_create(spec, capacity, capacity, true, fail_on_report, NULL, &policy), 0);
	return policy;
}

START_TEST(create_refuses_unknown_names_and_parameters)
{
	static const struct {
		const char *spec;
		uint32_t capacity, frames;
		int error;
	} cases[] = {
		{ "nosuch", 10, 10, -ENOENT },  { "", 10, 10, -ENOENT },        { ":bits=1", 10, 10, -ENOENT },
		{ "fifo:x=1", 10, 10, -EINVAL }, { "lru:k", 10, 10, -EINVAL },   { "clock:bits=3", 10, 10, -EINVAL },
		{ "clock:bits=1,bits=2", 10, 10, -EINVAL }, { "fifo", 0, 0, -EINVAL }, { "fifo", 10, 11, -EINVAL },
		{ "fifo", UINT32_MAX, 1, -EINVAL }, { NULL, 10, 10, -EINVAL },
	};

	for (size_t i = 0; i < HMM__ARRAY_SIZE(cases); i++) {
		size_t before = hmm__arena_bytes();
		struct hmm__policy *policy = NULL;

		for (int check = 0; check < 2; check++) {
			int r = hmm__policy_create(cases[i].spec, cases[i].capacity, cases[i].frames, check, NULL, NULL,
			                           &policy);

			ck_assert_int_eq(r, cases[i].error);
		}
		ck_assert_ptr_null(policy);
		ck_assert_uint_le(hmm__arena_bytes(), before + 65536);
	}
}
END_TEST

/* Every allocation, one after the other: of the registry (this process has not used it yet) and of the instance. */
START_TEST(lack_of_memory_is_reported_and_leaves_nothing)
{
	struct hmm_policy_ops ghostly = renamed("ghostly");
	struct hmm__policy *policy = NULL;
	uint64_t failures;
	int r;

	ghostly.caps |= HMM_POLICY_GHOSTS;
	for (failures = 0;; failures++) {
		hmm__alloc_fail(failures + 1, _i);
		r = hmm_policy_register(&ghostly);
		hmm__alloc_fail(0, 0);
		if (r == 0)
			break;
		ck_assert_int_eq(r, -ENOMEM);
	}
	ck_assert_uint_ge(failures, count_names());
	for (failures = 0;; failures++) {
		hmm__alloc_fail(failures + 1, _i);
		r = hmm__policy_create("ghostly", 100, 100, true, NULL, NULL, &policy);
		hmm__alloc_fail(0, 0);
		if (r == 0)
			break;
		ck_assert_int_eq(r, -ENOMEM);
		ck_assert_ptr_null(policy);
	}
	ck_assert_uint_ge(failures, 4); /* state, frames' states, ghosts, check */
	ck_assert_str_eq(hmm_policy_name(count_names() - 1), "ghostly");
	hmm__policy_destroy(policy);
}
END_TEST

START_TEST(parameters_may_be_empty)
{
	hmm__policy_destroy(create("lru:", 10));
	hmm__policy_destroy(create("clock:", 10));
	hmm__policy_destroy(create("clock:bits=1", 10));
	hmm__policy_destroy(NULL);
}
END_TEST

START_TEST(a_large_capacity_costs_nothing_until_used)
{
	struct hmm__policy *policy = create(builtins[_i], 1u << 28);
	uint32_t victim = 0, frame = (1u << 28) - 1;

	hmm__policy_inserted(policy, frame, 42, 0, HMM_ACCESS_READ);
	ck_assert_uint_eq(hmm__policy_choose(policy, 1, &victim, 100), 1);
	ck_assert_uint_eq(victim, frame);
	/* 9 bytes a frame and 9 of the core's; ghosts 16 and 16 each */
	ck_assert_uint_le(hmm__policy_bytes(policy), (hmm__policy_ops(policy)->caps & HMM_POLICY_GHOSTS ? 90ull : 20ull) << 28);
	hmm__policy_destroy(policy);
}
END_TEST

static void insert(struct hmm__policy *policy, uint32_t first, uint32_t n)
{
	for (uint32_t frame = first; frame < first + n; frame++)
		hmm__policy_inserted(policy, frame, 1000 + frame, 0, HMM_ACCESS_READ);
}

static void touch(struct hmm__policy *policy, uint32_t frame)
{
	hmm__policy_touched(policy, &frame, 1, HMM_ACCESS_READ);
}

static void hint(struct hmm__policy *policy, uint32_t frame, enum hmm_hint hint)
{
	hmm__policy_hint(policy, frame, (struct hmm_page_range){ 1000 + frame, 1 }, hint, 0);
}

static uint32_t choose_one(struct hmm__policy *policy)
{
	uint32_t frame = UINT32_MAX;

	ck_assert_uint_eq(hmm__policy_choose(policy, 1, &frame, UINT32_MAX), 1);
	return frame;
}

static void expect_victims(struct hmm__policy *policy, const char *expected)
{
	for (; *expected != '\0'; expected++) {
		uint32_t frame = choose_one(policy);

		ck_assert_uint_eq(frame, (uint32_t)(*expected - '0'));
		hmm__policy_evicted(policy, frame, 1000 + frame);
	}
}

START_TEST(fifo_ignores_hits)
{
	struct hmm__policy *policy = create("fifo", 10);

	insert(policy, 0, 5);
	touch(policy, 0);
	hint(policy, 1, HMM_HINT_WILLNEED);
	expect_victims(policy, "01234");
	hmm__policy_destroy(policy);
}
END_TEST

START_TEST(lru_takes_a_batch_of_touches_in_its_order)
{
	struct hmm__policy *policy = create("lru", 10);
	static const uint32_t batch[] = { 3, 0, 3, 1 };

	insert(policy, 0, 5);
	hmm__policy_touched(policy, batch, HMM__ARRAY_SIZE(batch), HMM_ACCESS_READ);
	expect_victims(policy, "24031");
	hmm__policy_destroy(policy);
}
END_TEST

START_TEST(clock_spares_page_touched_since_sweep)
{
	struct hmm__policy *policy = create("clock", 10);

	insert(policy, 0, 5);
	touch(policy, 0);
	touch(policy, 0);
	touch(policy, 2);
	expect_victims(policy, "134");
	insert(policy, 5, 1); /* behind 0 and 2, which the hand has passed */
	expect_victims(policy, "025");
	hmm__policy_destroy(policy);
}
END_TEST

START_TEST(clock_of_two_bits_counts_to_three)
{
	struct hmm__policy *policy = create("clock:bits=2", 10);

	insert(policy, 0, 4);
	for (int i = 0; i < 9; i++)
		touch(policy, 0);
	touch(policy, 1);
	touch(policy, 1);
	touch(policy, 2);
	expect_victims(policy, "3210");
	hmm__policy_destroy(policy);
}
END_TEST

START_TEST(clock_looks_no_further_than_it_may)
{
	struct hmm_policy_ops ops = hmm__policy_clock;
	uint32_t frame = 0, victim;
	void *state = calloc(1, ops.state_size(100));

	ck_assert_int_eq(ops.start(state, 100, 100, ""), 0);
	for (; frame < 100; frame++) {
		ops.inserted(state, frame, frame, 0, HMM_ACCESS_READ);
		ops.touched(state, &frame, 1, HMM_ACCESS_READ);
	}
	ck_assert_uint_eq(ops.choose(state, 1, &victim, 99), 0);
	ck_assert_uint_eq(ops.choose(state, 1, &victim, 1), 0);
	ck_assert_uint_eq(ops.choose(state, 1, &victim, 1), 1);
	ck_assert_uint_eq(victim, 0);
	free(state);
}
END_TEST

/* The core asks for a page; a clock whose pages were all touched must give one, whatever the scan budget. */
START_TEST(choose_goes_on_where_the_scan_budget_found_none)
{
	struct hmm__policy *policy = create("clock:bits=2", 1000);
	uint32_t victim = UINT32_MAX;

	insert(policy, 0, 1000);
	for (uint32_t frame = 0; frame < 1000; frame++) {
		for (int i = 0; i < 3; i++)
			touch(policy, frame);
	}
	ck_assert_uint_eq(hmm__policy_choose(policy, 1, &victim, 0), 1);
	ck_assert_uint_eq(hmm__policy_errors(policy), 0);
	hmm__policy_destroy(policy);
}
END_TEST

START_TEST(cold_hints_make_the_next_victim)
{
	static const enum hmm_hint cold[] = { HMM_HINT_DISCARD, HMM_HINT_EVICT_NEXT, HMM_HINT_WONTNEED };
	struct hmm__policy *policy = create(builtins[_i], 10);

	insert(policy, 0, 6);
	touch(policy, 5);
	for (size_t i = 0; i < HMM__ARRAY_SIZE(cold); i++)
		hint(policy, 5 - (uint32_t)i, cold[i]); /* the last named goes first */
	hmm__policy_hint(policy, UINT32_MAX, (struct hmm_page_range){ 1000, 10 }, HMM_HINT_DISCARD, 0);
	hint(policy, 0, HMM_HINT_RANDOM);
	hint(policy, 0, HMM_HINT_USER);
	expect_victims(policy, "345012");
	hmm__policy_destroy(policy);
}
END_TEST

START_TEST(willneed_is_a_touch)
{
	struct hmm__policy *lru = create("lru", 10), *clock = create("clock", 10);

	insert(lru, 0, 3);
	hint(lru, 0, HMM_HINT_WILLNEED);
	expect_victims(lru, "120");
	insert(clock, 0, 3);
	hint(clock, 0, HMM_HINT_WILLNEED);
	expect_victims(clock, "120");
	hmm__policy_destroy(lru);
	hmm__policy_destroy(clock);
}
END_TEST

/* Whatever the order is: what the application gave up goes before it, unless it is wanted again. */
START_TEST(cold_pages_go_first)
{
	static const uint32_t order[] = { 7, 40, 41, 42, 3 };
	struct hmm__policy *policy = create(builtins[_i], 100);

	insert(policy, 0, 60);
	for (uint32_t frame = 20; frame < 50; frame++)
		touch(policy, frame);
	hint(policy, 3, HMM_HINT_DISCARD);
	for (uint32_t frame = 42; frame >= 40; frame--)
		hint(policy, frame, HMM_HINT_EVICT_NEXT);
	hint(policy, 10, HMM_HINT_WONTNEED);
	hint(policy, 10, HMM_HINT_WILLNEED);
	hint(policy, 7, HMM_HINT_WONTNEED);
	for (size_t i = 0; i < HMM__ARRAY_SIZE(order); i++) {
		uint32_t frame = choose_one(policy);

		if (frame == 10 && hmm__policy_ops(policy)->caps & HMM_POLICY_NO_HITS)
			frame = choose_one(policy); /* fifo does not take it back */
		ck_assert_uint_eq(frame, order[i]);
		hmm__policy_evicted(policy, frame, 1000 + frame);
	}
	hmm__policy_destroy(policy);
}
END_TEST

START_TEST(a_rescued_page_is_not_the_next_victim)
{
	struct hmm__policy *policy = create(builtins[_i], 200);
	uint32_t rescued;

	insert(policy, 0, 200);
	rescued = choose_one(policy);
	touch(policy, rescued);
	hmm__policy_rejected(policy, rescued, HMM_REJECT_RACED);
	for (int i = 0; i < FRAME_REST; i++) {
		uint32_t frame = choose_one(policy);

		ck_assert_uint_ne(frame, rescued);
		hmm__policy_evicted(policy, frame, 1000 + frame);
	}
	hmm__policy_destroy(policy);
}
END_TEST

START_TEST(a_raced_page_becomes_the_newest)
{
	struct hmm__policy *policy = create(builtins[_i], 10);

	insert(policy, 0, 4);
	ck_assert_uint_eq(choose_one(policy), 0);
	touch(policy, 0); /* while it awaits its verdict: stays proposed */
	hint(policy, 0, HMM_HINT_EVICT_NEXT);
	ck_assert_uint_eq(choose_one(policy), 1);
	hmm__policy_rejected(policy, 0, HMM_REJECT_RACED);
	hmm__policy_evicted(policy, 1, 1001);
	insert(policy, 5, 1);
	expect_victims(policy, "2305");
	hmm__policy_destroy(policy);
}
END_TEST

START_TEST(a_refused_page_rests_while_others_are_evicted)
{
	struct hmm__policy *policy = create(builtins[_i], 100);
	uint32_t frame, before = 0;

	insert(policy, 0, 50);
	ck_assert_uint_eq(choose_one(policy), 0);
	hmm__policy_rejected(policy, 0, HMM_REJECT_BUSY);
	while ((frame = choose_one(policy)) != 0) {
		hmm__policy_evicted(policy, frame, 1000 + frame);
		before++;
	}
	ck_assert_uint_eq(before, FRAME_REST);
	hmm__policy_destroy(policy);
}
END_TEST

/* 100 pinned pages at the victim end: the others are found, and the pinned ones asked for again but seldom. */
START_TEST(pinned_pages_do_not_stop_the_scan)
{
	struct hmm__policy *policy = create(builtins[_i], 1000);
	uint32_t victims[64], refused = 0, evicted = 0;

	insert(policy, 0, 1000);
	while (evicted < 900) {
		uint32_t n = hmm__policy_choose(policy, 64, victims, 256);

		ck_assert_uint_gt(n, 0);
		for (uint32_t i = 0; i < n; i++) {
			if (victims[i] < 100) {
				hmm__policy_rejected(policy, victims[i], HMM_REJECT_PINNED);
				refused++;
			} else {
				hmm__policy_evicted(policy, victims[i], 1000 + victims[i]);
				evicted++;
			}
		}
		if (strcmp(builtins[_i], "random") != 0) /* it has no victim end */
			ck_assert_uint_le(refused, 100 + evicted / FRAME_REST + 100);
	}
	ck_assert_uint_ge(refused, _i < BUILTINS_OF_ONE_LIST ? 100 : 1);
	/* nothing else is left: they are asked for again, once before their verdict */
	ck_assert_uint_eq(hmm__policy_choose(policy, 64, victims, 256), 64);
	ck_assert_uint_eq(hmm__policy_choose(policy, 64, victims, 256), 36);
	ck_assert_uint_eq(hmm__policy_choose(policy, 64, victims, 256), 0);
	hmm__policy_destroy(policy);
}
END_TEST

static Suite *suite(void)
{
	Suite *s = suite_create("policy");
	TCase *registry = tcase_create("registry"), *instance = tcase_create("instance"), *each = tcase_create("each");
	int n = (int)HMM__ARRAY_SIZE(builtins);

	tcase_add_test(registry, builtins_are_known_in_order);
	tcase_add_test(registry, register_refuses_what_is_no_policy);
	tcase_add_test(registry, register_takes_a_name_once);
	tcase_add_test(registry, a_smaller_table_is_read_no_further_than_its_size);
	tcase_add_test(registry, a_larger_table_is_read_as_far_as_it_is_known);
	tcase_add_test(registry, threads_that_register_at_once_share_the_names);
	tcase_add_test(registry, load_says_why_it_failed);
	suite_add_tcase(s, registry);

	tcase_add_test(instance, create_refuses_unknown_names_and_parameters);
	tcase_add_loop_test(instance, lack_of_memory_is_reported_and_leaves_nothing, 0, 2);
	tcase_add_test(instance, parameters_may_be_empty);
	tcase_add_test(instance, fifo_ignores_hits);
	tcase_add_test(instance, lru_takes_a_batch_of_touches_in_its_order);
	tcase_add_test(instance, clock_spares_page_touched_since_sweep);
	tcase_add_test(instance, clock_of_two_bits_counts_to_three);
	tcase_add_test(instance, clock_looks_no_further_than_it_may);
	tcase_add_test(instance, choose_goes_on_where_the_scan_budget_found_none);
	tcase_add_test(instance, willneed_is_a_touch);
	suite_add_tcase(s, instance);

	tcase_add_loop_test(each, a_large_capacity_costs_nothing_until_used, 0, n);
	tcase_add_loop_test(each, cold_hints_make_the_next_victim, 0, BUILTINS_OF_ONE_LIST);
	tcase_add_loop_test(each, a_raced_page_becomes_the_newest, 0, BUILTINS_OF_ONE_LIST);
	tcase_add_loop_test(each, a_refused_page_rests_while_others_are_evicted, 0, BUILTINS_OF_ONE_LIST);
	tcase_add_loop_test(each, cold_pages_go_first, 0, n);
	tcase_add_loop_test(each, a_rescued_page_is_not_the_next_victim, 0, n);
	tcase_add_loop_test(each, pinned_pages_do_not_stop_the_scan, 0, n);
	suite_add_tcase(s, each);
	return s;
}

HMM_TEST_MAIN(suite)
