/* SPDX-License-Identifier: MIT */
/*
 * space.c - budgets that change, several spaces, several regions, huge regions, a space without its own thread
 */
#include "tests/conformance/conformance.h"

#include <errno.h>
#include <string.h>

static void put_range(struct world *w, struct world_map *m, size_t n, uint64_t tag)
{
	for (size_t i = 0; i < n; i++)
		world_put(w, m, i, tag);
}

static void check_range(struct world *w, struct world_map *m, size_t n, uint64_t tag)
{
	for (size_t i = 0; i < n; i++)
		world_check(w, m, i, tag);
}

START_TEST(budget_shrinks_and_grows)
{
	struct world w;
	struct world_map m;
	uint64_t reached = 0;

	OPEN_WITH(&w, 128, NULL);
	world_map(&w, &m, 512 * w.page, NULL);
	put_range(&w, &m, 512, 3);
	ck_assert_int_eq(hmm_space_resize(w.space, 40, &reached), 0);
	ck_assert_uint_eq(reached, 40);
	ck_assert_uint_eq(world_stats(&w).frames, 40);
	ck_assert_uint_le(world_stats(&w).held, 40);
	check_range(&w, &m, 512, 3);
	ck_assert_uint_le(world_stats(&w).held, 40);
	w.most_frames = 400;
	ck_assert_int_eq(hmm_space_resize(w.space, 400, NULL), 0);
	ck_assert_uint_eq(world_stats(&w).frames, 400);
	check_range(&w, &m, 512, 3);
	ck_assert_uint_gt(world_stats(&w).peak_held, 200);
	ck_assert_int_eq(hmm_space_resize(w.space, 128 * 4 + 1, NULL), -EINVAL);
	ck_assert_int_eq(hmm_space_resize(w.space, HMM_FRAMES_MIN - 1, NULL), -EINVAL);
	ck_assert_uint_eq(world_stats(&w).frames, 400);
	world_unmap(&w, &m);
	world_close(&w);
}
END_TEST

START_TEST(shrinking_stops_at_what_is_held)
{
	struct world w;
	struct world_map m;
	uint64_t reached = 0;

	OPEN_WITH(&w, 128, NULL);
	world_map(&w, &m, NPAGES * w.page, NULL);
	put_range(&w, &m, NPAGES, 3);
	ck_assert_int_eq(hmm_region_lock(m.region, m.base, 60 * m.page), 0);
	ck_assert_int_eq(hmm_space_resize(w.space, 40, &reached), -EAGAIN);
	ck_assert_uint_ge(reached, 60);
	ck_assert_uint_lt(reached, 128);
	ck_assert_uint_eq(world_stats(&w).frames, reached);
	ck_assert_uint_le(world_stats(&w).held, reached);
	check_range(&w, &m, NPAGES, 3);
	ck_assert_int_eq(hmm_region_unlock(m.region, m.base, m.length), 0);
	ck_assert_int_eq(hmm_space_resize(w.space, 40, &reached), 0);
	ck_assert_uint_eq(reached, 40);
	check_range(&w, &m, NPAGES, 3);
	world_unmap(&w, &m);
	world_close(&w);
}
END_TEST

START_TEST(spaces_do_not_mix)
{
	struct world w[3];
	struct world_map m[3];

	for (int k = 0; k < 3; k++) {
		OPEN_WITH(&w[k], 40 + 8 * (unsigned)k, NULL);
		world_map(&w[k], &m[k], 128 * w[k].page, NULL);
	}
	for (size_t i = 0; i < 128; i++)
		for (int k = 0; k < 3; k++)
			world_put(&w[k], &m[k], i, 10 + (uint64_t)k);
	for (size_t i = 0; i < 128; i++)
		for (int k = 0; k < 3; k++)
			world_check(&w[k], &m[k], i, 10 + (uint64_t)k);
	world_unmap(&w[1], &m[1]);
	world_close(&w[1]);
	check_range(&w[0], &m[0], 128, 10);
	world_unmap(&w[0], &m[0]);
	world_close(&w[0]);
	check_range(&w[2], &m[2], 128, 12);
	world_unmap(&w[2], &m[2]);
	world_close(&w[2]);
}
END_TEST

START_TEST(regions_share_one_budget)
{
	struct world w;
	struct world_map m[6];

	OPEN(&w);
	for (int k = 0; k < 6; k++)
		world_map(&w, &m[k], 50 * w.page, NULL);
	for (int k = 0; k < 6; k++)
		put_range(&w, &m[k], 50, 20 + (uint64_t)k);
	for (int round = 0; round < 6; round++) {
		for (int k = round; k < 6; k++)
			check_range(&w, &m[k], 50, 20 + (uint64_t)k);
		world_unmap(&w, &m[round]);
		world_check_stats(&w);
	}
	ck_assert_uint_eq(world_stats(&w).resident, 0);
	world_close(&w);
}
END_TEST

START_TEST(regions_come_and_go)
{
	struct world w;
	struct world_map m;

	OPEN(&w);
	for (unsigned k = 0; k < 40; k++) {
		world_map(&w, &m, (64 + k) * w.page, NULL);
		put_range(&w, &m, m.npages, k + 1);
		check_range(&w, &m, m.npages, k + 1);
		world_unmap(&w, &m);
		ck_assert_uint_eq(world_stats(&w).resident, 0);
		ck_assert_uint_eq(world_stats(&w).swap_bytes, 0);
	}
	world_close(&w);
}
END_TEST

START_TEST(deliveries_mix_in_one_space)
{
	struct world w;
	struct world_map m[2];
	enum world_backend other;

	OPEN(&w);
	other = world_delivery(w.backend) == HMM_DELIVERY_THREAD ? WORLD_INLINE_AUTO : WORLD_THREAD_AUTO;
	if (world_is_mock(&w))
		other = w.backend == WORLD_MOCK_THREAD ? WORLD_MOCK : WORLD_MOCK_THREAD;
	if (world_missing(other)) {
		world_close(&w);
		world_skip(world_missing(other));
	}
	world_map(&w, &m[0], 128 * w.page, NULL);
	w.backend = other;
	world_map(&w, &m[1], 128 * w.page, NULL);
	for (size_t i = 0; i < 128; i++)
		for (int k = 0; k < 2; k++)
			world_put(&w, &m[k], i, 30 + (uint64_t)k);
	for (size_t i = 0; i < 128; i++)
		for (int k = 0; k < 2; k++)
			world_check(&w, &m[k], i, 30 + (uint64_t)k);
	ck_assert_uint_eq(world_stats(&w).deliveries, 3);
	world_unmap(&w, &m[0]);
	world_unmap(&w, &m[1]);
	world_close(&w);
}
END_TEST

START_TEST(huge_region_costs_what_is_touched)
{
	/* Real memory needs the addresses once, the mock twice. */
	size_t length = (size_t)1 << (TEST_TSAN ? 38 : 40);
	struct world w;
	struct world_map m;
	uint64_t word, seen, seed = 77;

	OPEN(&w);
	world_map(&w, &m, length, NULL);
	for (unsigned i = 0; i < 200; i++) {
		word = world_random(&seed);
		ck_assert_int_eq(world_write(&w, m.region, m.base + word % (length / 8) * 8, &word, 8), 0);
	}
	seed = 77;
	for (unsigned i = 0; i < 200; i++) {
		word = world_random(&seed);
		ck_assert_int_eq(world_read(&w, m.region, m.base + word % (length / 8) * 8, &seen, 8), 0);
		ck_assert_uint_eq(seen, word);
	}
	ck_assert_uint_lt(world_stats(&w).metadata_bytes, UINT64_C(16) << 20);
	world_unmap(&w, &m);
	world_close(&w);
}
END_TEST

START_TEST(space_without_reclaimer_is_polled)
{
	struct hmm_space_options opts = { .size = sizeof(opts), .flags = HMM_SPACE_NO_RECLAIMER };
	struct world w;
	struct world_map m;

	OPEN_WITH(&w, FRAMES, &opts);
	world_map(&w, &m, NPAGES * w.page, NULL);
	put_range(&w, &m, NPAGES, 3);
	check_range(&w, &m, NPAGES, 3);
	ck_assert_int_eq(hmm_space_poll(w.space), 0);
	ck_assert_uint_gt(world_stats(&w).free, 0);
	check_range(&w, &m, NPAGES, 3);
	world_unmap(&w, &m);
	world_close(&w);
}
END_TEST

START_TEST(rescue_is_always_or_never)
{
	struct hmm_space_options opts = { .size = sizeof(opts), .rescue = HMM_RESCUE_ALWAYS };
	struct world w;
	struct world_map m;
	uint64_t loads;

	OPEN_WITH(&w, FRAMES, &opts);
	world_map(&w, &m, NPAGES * w.page, NULL);
	put_range(&w, &m, 16, 3);
	ck_assert_int_ge(hmm_space_reclaim(w.space, 4), 0); /* kept pages are not free */
	ck_assert_uint_gt(world_stats(&w).available, 0);
	loads = world_stats(&w).loads;
	check_range(&w, &m, 16, 3);
	ck_assert_uint_gt(world_stats(&w).rescues, 0);
	ck_assert_uint_eq(world_stats(&w).loads, loads);
	world_unmap(&w, &m);
	world_close(&w);
	opts.rescue = HMM_RESCUE_NEVER;
	OPEN_WITH(&w, FRAMES, &opts);
	world_map(&w, &m, NPAGES * w.page, NULL);
	put_range(&w, &m, NPAGES, 3);
	check_range(&w, &m, NPAGES, 3);
	ck_assert_uint_eq(world_stats(&w).available, 0);
	world_unmap(&w, &m);
	world_close(&w);
}
END_TEST

START_TEST(reclaim_frees_what_it_says)
{
	struct world w;
	struct world_map m;
	struct hmm_stats before, after;
	int64_t freed;

	OPEN_WITH(&w, FRAMES, NULL);
	world_map(&w, &m, NPAGES * w.page, NULL);
	put_range(&w, &m, 20, 3);
	before = world_stats(&w);
	freed = hmm_space_reclaim(w.space, 10);
	after = world_stats(&w);
	ck_assert_int_ge(freed, 10);
	ck_assert_uint_le(after.resident, before.resident - 10);
	ck_assert_uint_ge(after.evictions, before.evictions + 10);
	check_range(&w, &m, 20, 3);
	world_unmap(&w, &m);
	world_close(&w);
}
END_TEST

START_TEST(engine_in_use_is_told)
{
	struct world w;
	struct world_map m;
	struct hmm_stats s;

	OPEN(&w);
	world_map(&w, &m, NPAGES * w.page, NULL);
	put_range(&w, &m, NPAGES, 3);
	check_range(&w, &m, NPAGES, 3);
	s = world_stats(&w);
	if (w.backend == WORLD_INLINE_COPY || w.backend == WORLD_THREAD_COPY || w.backend == WORLD_MOCK_NO_GRANT) {
		ck_assert_uint_eq(s.engine, HMM_ENGINE_COPY);
		ck_assert_uint_eq(s.grants, 0);
		ck_assert_uint_gt(s.copies, 0);
	}
	if (w.backend == WORLD_INLINE_MOVE || w.backend == WORLD_THREAD_MOVE) {
		ck_assert_uint_eq(s.engine, HMM_ENGINE_MOVE);
		ck_assert_uint_gt(s.grants, 0);
	}
	ck_assert_uint_eq(s.deliveries, 1u << world_delivery(w.backend));
	ck_assert_str_eq(hmm_space_policy(w.space), "clock");
	world_unmap(&w, &m);
	world_close(&w);
}
END_TEST

START_TEST(fixed_region_sits_where_it_was_asked_to)
{
	struct hmm_region_options opts = { .size = sizeof(opts), .flags = HMM_REGION_FIXED };
	struct world w;
	struct world_map m;
	struct hmm_region *region = NULL;
	uint8_t *where;

	OPEN(&w);
	world_map(&w, &m, NPAGES * w.page, NULL);
	where = m.base;
	opts.address = where + 8 * w.page;
	opts.delivery = world_delivery(w.backend);
	ck_assert_int_eq(hmm_region_map(w.space, NULL, 0, 8 * w.page, &opts, &region), -EEXIST);
	ck_assert_ptr_null(region);
	put_range(&w, &m, NPAGES, 4);
	world_unmap(&w, &m);
	opts.address = where;
	world_map(&w, &m, NPAGES * w.page, &opts);
	ck_assert_ptr_eq(m.base, where);
	check_range(&w, &m, NPAGES, 0);
	world_unmap(&w, &m);
	world_close(&w);
}
END_TEST

/* The supplier wants half of the frames back: it gets them, and the program is told. */
START_TEST(pressure_shrinks_the_budget)
{
	struct hmm_space_options opts = { .size = sizeof(opts), .flags = HMM_SPACE_NO_RECLAIMER };
	struct world w;
	struct world_map m;

	OPEN_WITH(&w, 128, &opts);
	world_map(&w, &m, NPAGES * w.page, NULL);
	put_range(&w, &m, NPAGES, 4);
	hmm_mock_pressure(w.mock, 64);
	ck_assert_int_eq(hmm_space_poll(w.space), 0);
	ck_assert_uint_le(hmm_mock_frames(w.mock, NULL), 64);
	ck_assert_uint_eq(world_stats(&w).frames, 64);
	ck_assert_uint_ge(w.events[HMM_EVENT_PRESSURE], 1);
	check_range(&w, &m, NPAGES, 4);
	ck_assert_uint_le(hmm_mock_frames(w.mock, NULL), 64);
	world_unmap(&w, &m);
	world_close(&w);
}
END_TEST

void add_space_tests(TCase *t, int i)
{
	tcase_add_loop_test(t, budget_shrinks_and_grows, i, i + 1);
	tcase_add_loop_test(t, shrinking_stops_at_what_is_held, i, i + 1);
	tcase_add_loop_test(t, spaces_do_not_mix, i, i + 1);
	tcase_add_loop_test(t, regions_share_one_budget, i, i + 1);
	tcase_add_loop_test(t, regions_come_and_go, i, i + 1);
	tcase_add_loop_test(t, deliveries_mix_in_one_space, i, i + 1);
	tcase_add_loop_test(t, huge_region_costs_what_is_touched, i, i + 1);
	tcase_add_loop_test(t, space_without_reclaimer_is_polled, i, i + 1);
	tcase_add_loop_test(t, rescue_is_always_or_never, i, i + 1);
	tcase_add_loop_test(t, reclaim_frees_what_it_says, i, i + 1);
	tcase_add_loop_test(t, engine_in_use_is_told, i, i + 1);
	tcase_add_loop_test(t, fixed_region_sits_where_it_was_asked_to, i, i + 1);
	if (backend_of(i) <= WORLD_MOCK_THREAD)
		tcase_add_loop_test(t, pressure_shrinks_the_budget, i, i + 1);
}
