/* SPDX-License-Identifier: MIT */
/*
 * test_ghost.c - the ghost table against a plain list
 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

#include "lib/base/util.h"
#include "lib/policy/ghost.h"
#include "tests/harness.h"

#define PAGES 4096 /* identities of the model */
#define STEPS 60000

static uint64_t random_next(uint64_t *state)
{
	uint64_t x = *state += 0x9e3779b97f4a7c15u;

	x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
	x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
	return x ^ (x >> 31);
}

static struct hmm__ghosts *create(uint32_t capacity)
{
	struct hmm__ghosts *ghosts = NULL;

	ck_assert_int_eq(hmm__ghosts_create(capacity, &ghosts), 0);
	return ghosts;
}

START_TEST(ghosts_refuse_no_capacity)
{
	struct hmm__ghosts *ghosts = (void *)&errno;

	ck_assert_int_eq(hmm__ghosts_create(0, &ghosts), -EINVAL);
	ck_assert_ptr_eq(ghosts, &errno);
	hmm__ghosts_destroy(NULL);
}
END_TEST

START_TEST(take_returns_the_cookie_once)
{
	struct hmm__ghosts *ghosts = create(10);

	hmm__ghosts_put(ghosts, 0, 7);
	hmm__ghosts_put(ghosts, UINT64_MAX, UINT32_MAX);
	ck_assert_uint_eq(hmm__ghosts_count(ghosts), 2);
	ck_assert_uint_eq(hmm__ghosts_take(ghosts, 1), 0);
	ck_assert_uint_eq(hmm__ghosts_take(ghosts, 0), 7);
	ck_assert_uint_eq(hmm__ghosts_take(ghosts, 0), 0);
	ck_assert_uint_eq(hmm__ghosts_take(ghosts, UINT64_MAX), UINT32_MAX);
	ck_assert_uint_eq(hmm__ghosts_count(ghosts), 0);
	hmm__ghosts_destroy(ghosts);
}
END_TEST

START_TEST(put_again_renews_cookie_and_age)
{
	struct hmm__ghosts *ghosts = create(64);

	hmm__ghosts_put(ghosts, 1000, 1);
	for (uint64_t page = 0; page < 60; page++)
		hmm__ghosts_put(ghosts, page, 5);
	hmm__ghosts_put(ghosts, 1000, 2);
	ck_assert_uint_eq(hmm__ghosts_count(ghosts), 61);
	for (uint64_t page = 100; page < 163; page++)
		hmm__ghosts_put(ghosts, page, 5);
	ck_assert_uint_eq(hmm__ghosts_take(ghosts, 1000), 2);
	hmm__ghosts_destroy(ghosts);
}
END_TEST

static const uint32_t sizes[] = { 1, 2, 7, 13, 26, 31, 32, 33, 100, 1000, 40000 };

/* Check's assertions cost a system call each: in inner loops only failures call Check. */
static void expect_cookie(struct hmm__ghosts *ghosts, uint64_t page, uint32_t expected)
{
	uint32_t cookie = hmm__ghosts_take(ghosts, page);

	if (cookie != expected)
		ck_abort_msg("page %" PRIu64 ": cookie %" PRIu32 " instead of %" PRIu32, page, cookie, expected);
}

/* Whatever the size: exactly the last pages are there, and the table stays within its bytes. */
START_TEST(the_last_capacity_pages_are_remembered)
{
	uint32_t capacity = sizes[_i], slack = capacity / 32 + 2;
	struct hmm__ghosts *ghosts = create(capacity);
	uint64_t n = 20ull * capacity + 1000, page;

	for (page = 0; page < n; page++) {
		hmm__ghosts_put(ghosts, page << 12, (uint32_t)page + 1);
		if (hmm__ghosts_count(ghosts) > capacity + slack)
			ck_abort_msg("%" PRIu32 " ghosts", hmm__ghosts_count(ghosts));
	}
	for (page = 0; page < n - capacity - slack; page++)
		expect_cookie(ghosts, page << 12, 0);
	for (page = n - capacity; page < n; page++)
		expect_cookie(ghosts, page << 12, (uint32_t)page + 1);
	ck_assert_uint_le(hmm__ghosts_bytes(ghosts), 16ull * capacity + 2048);
	hmm__ghosts_destroy(ghosts);
}
END_TEST

/* A plain list of the last `capacity` pages put and not taken: put_at > dropped.  The table may keep some more. */
struct model {
	uint64_t put_at[PAGES]; /* 0: it is not there */
	uint32_t cookie[PAGES];
	uint32_t order[STEPS + 1];
	uint64_t now, dropped;
	uint32_t listed;
};

static void model_put(struct model *model, uint32_t page, uint32_t cookie, uint32_t capacity)
{
	model->listed += model->put_at[page] <= model->dropped;
	model->put_at[page] = ++model->now;
	model->order[model->now] = page;
	model->cookie[page] = cookie;
	while (model->listed > capacity) {
		model->dropped++;
		model->listed -= model->put_at[model->order[model->dropped]] == model->dropped;
	}
}

static void take_and_compare(struct hmm__ghosts *ghosts, struct model *model, uint32_t page, uint32_t capacity)
{
	uint32_t cookie = hmm__ghosts_take(ghosts, page);
	uint64_t put_at = model->put_at[page];

	if (put_at > model->dropped && model->now - put_at < 6ull * capacity)
		ck_assert_uint_eq(cookie, model->cookie[page]);
	else
		ck_assert(cookie == 0 || (put_at != 0 && cookie == model->cookie[page]));
	model->listed -= put_at > model->dropped;
	model->put_at[page] = 0;
}

START_TEST(random_puts_and_takes_agree_with_a_list)
{
	uint32_t capacity = sizes[_i] < PAGES / 4 ? sizes[_i] : PAGES / 4;
	struct hmm__ghosts *ghosts = create(capacity);
	struct model *model = calloc(1, sizeof(*model));
	uint64_t seed = test_seed();
	uint32_t found = 0;

	for (int i = 0; i < STEPS; i++) {
		uint32_t page = (uint32_t)(random_next(&seed) % PAGES);

		if (random_next(&seed) % 3 == 0) {
			uint32_t before = hmm__ghosts_count(ghosts);

			/* few identities: most are there */
			take_and_compare(ghosts, model, page % (2 * capacity + 8), capacity);
			found += hmm__ghosts_count(ghosts) < before;
			continue;
		}
		if (random_next(&seed) % 2 == 0)
			page %= 2 * capacity + 8;
		model_put(model, page, (uint32_t)random_next(&seed) | 1, capacity);
		hmm__ghosts_put(ghosts, page, model->cookie[page]);
	}
	ck_assert_uint_gt(found, 1000);
	free(model);
	hmm__ghosts_destroy(ghosts);
}
END_TEST

START_TEST(a_large_table_costs_nothing_until_used)
{
	struct hmm__ghosts *ghosts = create(1u << 30);

	ck_assert_uint_le(hmm__ghosts_bytes(ghosts), (16ull << 30) + 4096);
	hmm__ghosts_put(ghosts, 1, 1);
	ck_assert_uint_eq(hmm__ghosts_take(ghosts, 1), 1);
	hmm__ghosts_destroy(ghosts);
}
END_TEST

static Suite *suite(void)
{
	Suite *s = suite_create("ghost");
	TCase *tc = tcase_create("ghost");

	tcase_add_test(tc, ghosts_refuse_no_capacity);
	tcase_add_test(tc, take_returns_the_cookie_once);
	tcase_add_test(tc, put_again_renews_cookie_and_age);
	tcase_add_loop_test(tc, the_last_capacity_pages_are_remembered, 0, (int)HMM__ARRAY_SIZE(sizes));
	tcase_add_loop_test(tc, random_puts_and_takes_agree_with_a_list, 0, (int)HMM__ARRAY_SIZE(sizes));
	tcase_add_test(tc, a_large_table_costs_nothing_until_used);
	suite_add_tcase(s, tc);
	return s;
}

HMM_TEST_MAIN(suite)
