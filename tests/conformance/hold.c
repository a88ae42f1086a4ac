/* SPDX-License-Identifier: MIT */
/*
 * hold.c - locked and pinned pages stay, within what the budget lets be held
 */
#include "tests/conformance/conformance.h"

#include <errno.h>
#include <string.h>

static void touch_all(struct world *w, struct world_map *m, uint64_t tag)
{
	for (size_t i = 0; i < m->npages; i++)
		world_check(w, m, i, tag);
}

static void expect_held(struct world_map *m, size_t from, size_t n, uint8_t bit)
{
	uint8_t vec[NPAGES];

	ck_assert_int_eq(hmm_region_residency(m->region, m->base + from * m->page, n * m->page, vec), 0);
	for (size_t i = 0; i < n; i++)
		ck_assert_msg((vec[i] & (bit | HMM_RESIDENT)) == (bit | HMM_RESIDENT), "page %zu: %x", from + i, vec[i]);
}

START_TEST(locked_pages_stay_resident)
{
	struct world w;
	struct world_map m;

	OPEN(&w);
	world_map(&w, &m, NPAGES * w.page, NULL);
	for (size_t i = 0; i < NPAGES; i++)
		world_put(&w, &m, i, 2);
	ck_assert_int_eq(hmm_region_lock(m.region, m.base + 10 * m.page, 8 * m.page), 0);
	ck_assert_int_eq(hmm_region_lock(m.region, m.base + 14 * m.page, 8 * m.page), 0);
	expect_held(&m, 10, 12, HMM_LOCKED);
	ck_assert_uint_eq(world_stats(&w).pinned, 12);
	touch_all(&w, &m, 2);
	expect_held(&m, 10, 12, HMM_LOCKED);
	ck_assert_int_eq(hmm_region_advise(m.region, m.base, 12 * m.page, HMM_ADVISE_DONTNEED), -EBUSY);
	ck_assert_int_eq(hmm_region_advise(m.region, m.base, m.length, HMM_ADVISE_PAGEOUT), 0);
	expect_held(&m, 10, 12, HMM_LOCKED);
	touch_all(&w, &m, 2);
	ck_assert_int_eq(hmm_region_unlock(m.region, m.base, m.length), 0);
	ck_assert_uint_eq(world_stats(&w).pinned, 0);
	ck_assert_int_eq(hmm_region_advise(m.region, m.base, 12 * m.page, HMM_ADVISE_DONTNEED), 0);
	world_unmap(&w, &m);
	world_close(&w);
}
END_TEST

START_TEST(lock_beyond_the_budget_changes_nothing)
{
	struct world w;
	struct world_map m;
	uint8_t vec[NPAGES];

	OPEN(&w);
	world_map(&w, &m, NPAGES * w.page, NULL);
	ck_assert_int_eq(hmm_region_lock(m.region, m.base, 4 * m.page), 0);
	ck_assert_int_eq(hmm_region_lock(m.region, m.base, m.length), -EAGAIN);
	ck_assert_int_eq(hmm_region_residency(m.region, m.base, m.length, vec), 0);
	for (size_t i = 0; i < NPAGES; i++)
		ck_assert_int_eq((vec[i] & HMM_LOCKED) != 0, i < 4);
	ck_assert_uint_eq(world_stats(&w).pinned, 4);
	ck_assert_int_eq(hmm_region_pin(m.region, m.base, m.length, 0), -EAGAIN);
	ck_assert_uint_eq(world_stats(&w).pinned, 4);
	touch_all(&w, &m, 0);
	ck_assert_int_eq(hmm_region_unlock(m.region, m.base, 4 * m.page), 0);
	world_unmap(&w, &m);
	world_close(&w);
}
END_TEST

START_TEST(locked_region_is_locked_from_the_start)
{
	struct hmm_region_options opts = { .size = sizeof(opts), .flags = HMM_REGION_LOCKED };
	struct world w;
	struct world_map locked, m;

	OPEN(&w);
	world_map(&w, &locked, 8 * w.page, &opts);
	world_map(&w, &m, NPAGES * w.page, NULL);
	expect_held(&locked, 0, 8, HMM_LOCKED);
	touch_all(&w, &m, 0);
	expect_held(&locked, 0, 8, HMM_LOCKED);
	world_unmap(&w, &m);
	world_unmap(&w, &locked);
	ck_assert_uint_eq(world_stats(&w).pinned, 0);
	world_close(&w);
}
END_TEST

START_TEST(pinned_pages_stay_and_pins_nest)
{
	struct world w;
	struct world_map m;

	OPEN(&w);
	world_map(&w, &m, NPAGES * w.page, NULL);
	for (size_t i = 0; i < NPAGES; i++)
		world_put(&w, &m, i, 2);
	ck_assert_int_eq(hmm_region_pin(m.region, m.base, 6 * m.page, 0), 0);
	ck_assert_int_eq(hmm_region_pin(m.region, m.base + 2 * m.page, 6 * m.page, 1), 0);
	expect_held(&m, 0, 8, HMM_PINNED);
	expect_held(&m, 2, 6, HMM_DIRTY);
	ck_assert_uint_eq(world_stats(&w).pinned, 8);
	touch_all(&w, &m, 2);
	expect_held(&m, 0, 8, HMM_PINNED);
	ck_assert_int_eq(hmm_region_unmap(m.region), -EBUSY);
	ck_assert_int_eq(hmm_region_unmap_range(m.region, m.base, m.page), -EBUSY);
	ck_assert_int_eq(hmm_region_advise(m.region, m.base, m.page, HMM_ADVISE_DONTNEED), -EBUSY);
	ck_assert_int_eq(hmm_region_unpin(m.region, m.base, 6 * m.page), 0);
	expect_held(&m, 2, 6, HMM_PINNED);
	ck_assert_uint_eq(world_stats(&w).pinned, 6);
	ck_assert_int_eq(hmm_region_unpin(m.region, m.base + 2 * m.page, 6 * m.page), 0);
	ck_assert_uint_eq(world_stats(&w).pinned, 0);
	touch_all(&w, &m, 2);
	world_unmap(&w, &m);
	world_close(&w);
}
END_TEST

START_TEST(writes_to_pages_pinned_for_writing_do_not_trap)
{
	struct world w;
	struct world_map m;
	uint64_t faults;

	OPEN(&w);
	world_map(&w, &m, NPAGES * w.page, NULL);
	world_check(&w, &m, 3, 0);
	ck_assert_int_eq(hmm_region_pin(m.region, m.base, 8 * m.page, 1), 0);
	faults = world_stats(&w).faults;
	for (size_t i = 0; i < 8; i++)
		world_put(&w, &m, i, 5);
	if (world_is_shared(&w))
		ck_assert_int_eq(hmm_region_sync(m.region, m.base, m.length, 0), 0);
	for (size_t i = 0; i < 8; i++)
		world_put(&w, &m, i, 6);
	ck_assert_uint_eq(world_stats(&w).faults, faults);
	ck_assert_int_eq(hmm_region_unpin(m.region, m.base, 8 * m.page), 0);
	touch_all(&w, &(struct world_map){ .region = m.region, .base = m.base, .page = m.page, .npages = 8 }, 6);
	world_unmap(&w, &m);
	world_close(&w);
}
END_TEST

START_TEST(pins_overflow_is_reported)
{
	struct world w;
	struct world_map m;

	OPEN(&w);
	world_map(&w, &m, NPAGES * w.page, NULL);
	for (unsigned i = 0; i < 1000; i++)
		ck_assert_int_eq(hmm_region_pin(m.region, m.base, m.page, 0), 0);
	ck_assert_int_eq(hmm_region_pin(m.region, m.base, m.page, 0), -EOVERFLOW);
	ck_assert_int_eq(hmm_region_pin(m.region, m.base, 2 * m.page, 0), -EOVERFLOW);
	ck_assert_uint_eq(world_stats(&w).pinned, 1);
	for (unsigned i = 0; i < 1000; i++)
		ck_assert_int_eq(hmm_region_unpin(m.region, m.base, m.page), 0);
	ck_assert_uint_eq(world_stats(&w).pinned, 0);
	world_unmap(&w, &m);
	world_close(&w);
}
END_TEST

void add_hold_tests(TCase *t, int i)
{
	tcase_add_loop_test(t, locked_pages_stay_resident, i, i + 1);
	tcase_add_loop_test(t, lock_beyond_the_budget_changes_nothing, i, i + 1);
	tcase_add_loop_test(t, locked_region_is_locked_from_the_start, i, i + 1);
	tcase_add_loop_test(t, pinned_pages_stay_and_pins_nest, i, i + 1);
	tcase_add_loop_test(t, writes_to_pages_pinned_for_writing_do_not_trap, i, i + 1);
	tcase_add_loop_test(t, pins_overflow_is_reported, i, i + 1);
}
