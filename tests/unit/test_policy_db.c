/* SPDX-License-Identifier: MIT */
/*
 * test_policy_db.c - db: scans stay in rings, pools in their quotas, inner nodes in memory
 */
#include <hurd-mm/hints.h>

#include "tests/unit/policy_single.h"

/* By a stream, for a page of a class; 1 if it misses. */
static uint64_t request(struct single *single, uint32_t page, uint32_t stream, uint32_t page_class,
                        enum hmm_access access)
{
	struct hmm_placement placement = {
		.size = sizeof(placement), .access = access, .page_class = page_class, .stream = stream,
	};

	return !single_request_placed(single, page, &placement);
}

#define HOT 900

/* 1000 frames; pages 0 .. 899 have been used twice. */
static void warm(struct single *single, const char *spec)
{
	single_init(single, spec, 1000, 100000);
	for (uint32_t i = 0; i < 2 * HOT; i++)
		request(single, i % HOT, 0, HMM_CLASS_HEAP, HMM_ACCESS_READ);
}

START_TEST(a_scan_stays_in_its_ring)
{
	struct single single;
	uint64_t missed = 0;

	warm(&single, "db:lru");
	for (uint32_t i = 0; i < 20000; i++)
		request(&single, 1000 + i, 1 + i % 2, HMM_CLASS_HEAP, HMM_ACCESS_READ); /* two scans at once */
	for (uint32_t i = 0; i < HOT; i++)
		missed += single.where[i] == NOWHERE;
	/* 100 frames were free; two rings of 64, and a frame that was just spent */
	ck_assert_uint_eq(missed, 2 * 64 + 1 - 100);
	single_fini(&single);
}
END_TEST

START_TEST(a_write_scan_has_a_larger_ring)
{
	struct single single;
	uint64_t hits = 0;

	warm(&single, "db:bulk=500,ring=10:lru");
	for (uint32_t i = 0; i < 3000; i++)
		request(&single, 1000 + i, 7, HMM_CLASS_HEAP, HMM_ACCESS_WRITE);
	for (uint32_t i = 0; i < 3000; i++)
		hits += single.where[1000 + i] != NOWHERE;
	ck_assert(hits >= 125 && hits <= 126); /* 1/8 of memory at most */
	for (uint32_t i = 0; i < 3000; i++)
		request(&single, 5000 + i, 8, HMM_CLASS_HEAP, HMM_ACCESS_READ);
	for (hits = 0; hits < 10; hits++)
		ck_assert_uint_ne(single.where[7999 - hits], NOWHERE);
	ck_assert_uint_eq(single.where[7999 - 11], NOWHERE);
	single_fini(&single);
}
END_TEST

START_TEST(a_hot_page_that_a_scan_meets_stays)
{
	struct single single;

	warm(&single, "db:lru");
	for (uint32_t i = 0; i < 5000; i++) {
		request(&single, 1000 + i, 3, HMM_CLASS_HEAP, HMM_ACCESS_READ);
		request(&single, 1000 + i, 3, HMM_CLASS_HEAP, HMM_ACCESS_READ); /* the scan itself, still there */
		if (i >= 40)
			request(&single, 1000 + 40, 0, HMM_CLASS_HEAP, HMM_ACCESS_READ);
	}
	ck_assert_uint_ne(single.where[1000 + 40], NOWHERE);
	ck_assert_uint_eq(single.where[1000 + 39], NOWHERE);
	for (uint32_t i = 100; i < HOT; i++)
		ck_assert_uint_ne(single.where[i], NOWHERE);
	single_fini(&single);
}
END_TEST

START_TEST(more_scans_than_rings_share_them)
{
	struct single single;
	uint64_t missed = 0;

	warm(&single, "db:ring=8:sieve");
	for (uint32_t i = 0; i < 30000; i++)
		request(&single, 1000 + i, 1 + i % 23, HMM_CLASS_HEAP, HMM_ACCESS_READ);
	for (uint32_t i = 0; i < HOT; i++)
		missed += request(&single, i, 0, HMM_CLASS_HEAP, HMM_ACCESS_READ);
	ck_assert_uint_eq(missed, 0);
	single_fini(&single);
}
END_TEST

START_TEST(a_ring_that_is_lost_is_spent)
{
	struct single single;

	warm(&single, "db:ring=8:lru");
	for (uint32_t i = 0; i < 64; i++)
		request(&single, 1000 + i, 1 + i / 8, HMM_CLASS_HEAP, HMM_ACCESS_READ);
	request(&single, 2000, 9, HMM_CLASS_HEAP, HMM_ACCESS_READ); /* takes the ring of stream 1, the eldest */
	for (uint32_t i = 0; i < 35 + 8; i++) /* 35 frames are free */
		request(&single, 3000 + i, 0, HMM_CLASS_HEAP, HMM_ACCESS_READ);
	for (uint32_t i = 0; i < 64; i++)
		ck_assert_int_eq(single.where[1000 + i] == NOWHERE, i < 8);
	for (uint32_t i = 0; i < HOT; i++)
		ck_assert_uint_ne(single.where[i], NOWHERE);
	single_fini(&single);
}
END_TEST

/* 200 inner nodes, used now and then, against a flood of heap pages. */
START_TEST(inner_nodes_stay_within_their_quota)
{
	struct single single;
	uint64_t missed = 0;

	warm(&single, "db:nodes=0.1:lru");
	for (uint32_t i = 0; i < 200; i++)
		request(&single, 1000 + i, 0, HMM_CLASS_INNER, HMM_ACCESS_READ);
	/* those beyond it are ordinary, not the first to go */
	for (uint32_t i = 0; i < 200; i++)
		ck_assert_uint_ne(single.where[1000 + i], NOWHERE);
	for (uint32_t i = 0; i < 20000; i++)
		request(&single, 2000 + i, 0, HMM_CLASS_HEAP, HMM_ACCESS_READ);
	for (uint32_t i = 100; i < 200; i++)
		missed += request(&single, 1000 + i, 0, HMM_CLASS_INNER, HMM_ACCESS_READ);
	ck_assert_uint_eq(missed, 0);
	for (uint32_t i = 0; i < 100; i++)
		ck_assert_uint_eq(single.where[1000 + i], NOWHERE); /* those beyond it were ordinary pages */
	single_fini(&single);
}
END_TEST

START_TEST(temporary_pages_take_no_more_than_their_quota)
{
	struct single single;
	uint64_t missed = 0, there = 0;

	warm(&single, "db:temporary=0.05:arc");
	for (uint32_t i = 0; i < 20000; i++)
		request(&single, 1000 + i, 0, HMM_CLASS_TEMPORARY, HMM_ACCESS_WRITE);
	for (uint32_t i = 0; i < 20000; i++)
		there += single.where[1000 + i] != NOWHERE;
	for (uint32_t i = 0; i < HOT; i++)
		missed += request(&single, i, 0, HMM_CLASS_HEAP, HMM_ACCESS_READ);
	ck_assert(there >= 50 && there <= 101);
	ck_assert_uint_eq(missed, 0);
	single_fini(&single);
}
END_TEST

/* A loop of 200 pages in 100 frames of their own: MRU hits about half the time, LRU never. */
START_TEST(a_loop_is_best_served_most_recent_first)
{
	enum { ROUNDS = 50, LOOP = 200, QUOTA = 100 };
	uint64_t missed[2] = { 0, 0 };

	for (uint32_t order = 0; order < 2; order++) {
		struct single single;
		struct hmm_page_range loop = { 2000, LOOP };

		warm(&single, "db:lru");
		single.ops->hint(single.state, UINT32_MAX, loop, HMM_HINT_CLASS, HMM_CLASS_POOL + 3);
		single.ops->hint(single.state, UINT32_MAX, loop, HMM_HINT_QUOTA,
		                 HMM_POOL_QUOTA(HMM_CLASS_POOL + 3, order, QUOTA));
		for (uint32_t i = 0; i < ROUNDS * LOOP; i++) {
			missed[order] += request(&single, 2000 + i % LOOP, 0, 0, HMM_ACCESS_READ);
			request(&single, i % HOT, 0, 0, HMM_ACCESS_READ);
		}
		single_fini(&single);
	}
	ck_assert_uint_eq(missed[HMM_POOL_LRU], ROUNDS * LOOP);
	/* each round as many hits as frames, short of the one or two at the seam */
	ck_assert_uint_le(missed[HMM_POOL_MRU], LOOP + (ROUNDS - 1) * (LOOP - QUOTA + 3));
}
END_TEST

static Suite *suite(void)
{
	Suite *s = suite_create("policy_db");
	TCase *rings = tcase_create("rings"), *pools = tcase_create("pools");

	tcase_add_test(rings, a_scan_stays_in_its_ring);
	tcase_add_test(rings, a_write_scan_has_a_larger_ring);
	tcase_add_test(rings, a_hot_page_that_a_scan_meets_stays);
	tcase_add_test(rings, more_scans_than_rings_share_them);
	tcase_add_test(rings, a_ring_that_is_lost_is_spent);
	suite_add_tcase(s, rings);
	tcase_add_test(pools, inner_nodes_stay_within_their_quota);
	tcase_add_test(pools, temporary_pages_take_no_more_than_their_quota);
	tcase_add_test(pools, a_loop_is_best_served_most_recent_first);
	suite_add_tcase(s, pools);
	return s;
}

HMM_TEST_MAIN(suite)
