/* SPDX-License-Identifier: MIT */
/*
 * advice.c - what each advice does to contents and residency
 */
#include "tests/conformance/conformance.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>

static void put_all(struct world *w, struct world_map *m, uint64_t tag)
{
	for (size_t i = 0; i < m->npages; i++)
		world_put(w, m, i, tag);
}

static void check_range(struct world *w, struct world_map *m, size_t from, size_t to, uint64_t tag)
{
	for (size_t i = from; i < to; i++)
		world_check(w, m, i, tag);
}

static int advise(struct world_map *m, size_t from, size_t n, enum hmm_advice advice)
{
	return hmm_region_advise(m->region, m->base + from * m->page, n * m->page, advice);
}

static uint8_t residency(struct world_map *m, size_t page)
{
	uint8_t vec;

	ck_assert_int_eq(hmm_region_residency(m->region, m->base + page * m->page, m->page, &vec), 0);
	return vec;
}

static unsigned count_residency(struct world_map *m, size_t from, size_t n, uint8_t bit)
{
	uint8_t vec[NPAGES];
	unsigned count = 0;

	ck_assert_int_eq(hmm_region_residency(m->region, m->base + from * m->page, n * m->page, vec), 0);
	for (size_t i = 0; i < n; i++)
		count += (vec[i] & bit) != 0;
	return count;
}

START_TEST(dontneed_drops_private_pages_unsaved)
{
	struct world w;
	struct world_map m;

	OPEN(&w);
	world_map(&w, &m, NPAGES * w.page, NULL);
	for (size_t i = 0; i < 20; i++)
		world_put(&w, &m, i, 9);
	ck_assert_int_eq(advise(&m, 5, 10, HMM_ADVISE_DONTNEED), 0);
	ck_assert_uint_eq(count_residency(&m, 5, 10, HMM_RESIDENT | HMM_DIRTY | HMM_AVAILABLE), 0);
	check_range(&w, &m, 0, 5, 9);
	/* What was written to shared memory belongs to its store, as with madvise(2). */
	check_range(&w, &m, 5, 15, world_is_shared(&w) ? 9 : 0);
	check_range(&w, &m, 15, 20, 9);
	world_unmap(&w, &m);
	world_close(&w);
}
END_TEST

START_TEST(dontneed_drops_what_is_in_swap)
{
	struct world w;
	struct world_map m;

	OPEN(&w);
	world_map(&w, &m, NPAGES * w.page, NULL);
	put_all(&w, &m, 3);
	ck_assert_uint_gt(world_stats(&w).swap_bytes, 0);
	ck_assert_int_eq(advise(&m, 0, NPAGES, HMM_ADVISE_DONTNEED), 0);
	ck_assert_uint_eq(world_stats(&w).swap_bytes, 0);
	ck_assert_uint_eq(world_stats(&w).resident, 0);
	ck_assert_uint_eq(world_stats(&w).dirty, 0);
	check_range(&w, &m, 0, NPAGES, 0);
	world_unmap(&w, &m);
	world_close(&w);
}
END_TEST

START_TEST(free_keeps_or_drops_whole_pages)
{
	struct world w;
	struct world_map m;
	uint8_t byte = 0x5a, seen;

	OPEN(&w);
	world_map(&w, &m, NPAGES * w.page, NULL);
	for (size_t i = 0; i < 20; i++)
		world_put(&w, &m, i, 4);
	ck_assert_int_eq(advise(&m, 0, 20, HMM_ADVISE_FREE), 0);
	/* Written again: kept from now on. */
	ck_assert_int_eq(world_write(&w, m.region, m.base + 7 * m.page + 11, &byte, 1), 0);
	for (size_t i = 20; i < NPAGES; i++)
		world_put(&w, &m, i, 6);
	ck_assert_int_eq(world_read(&w, m.region, m.base + 7 * m.page + 11, &seen, 1), 0);
	ck_assert_uint_eq(seen, byte);
	for (size_t i = 0; i < 20; i++) {
		if (i != 7)
			ck_assert_msg(world_has(&w, &m, i, 4) == 1 || world_has(&w, &m, i, 0) == 1, "page %zu is torn", i);
	}
	check_range(&w, &m, 20, NPAGES, 6);
	world_unmap(&w, &m);
	world_close(&w);
}
END_TEST

START_TEST(free_saves_the_write_out)
{
	struct world w;
	struct world_map m;
	uint64_t before;

	OPEN(&w);
	world_map(&w, &m, NPAGES * w.page, NULL);
	for (size_t i = 0; i < 20; i++)
		world_put(&w, &m, i, 4);
	before = world_stats(&w).write_outs;
	ck_assert_int_eq(advise(&m, 0, 20, HMM_ADVISE_FREE), 0);
	for (size_t i = 20; i < NPAGES; i++)
		world_check(&w, &m, i, 0);
	/* A backend that can't tell may call pages dirty that were only read; the mock can. */
	ck_assert_uint_le(world_stats(&w).write_outs, before + (world_is_mock(&w) ? 0 : 10));
	/* A page whose accessor runs already, but which the pager has not finished with, may miss the advice. */
	ck_assert_uint_ge(world_stats(&w).discards, world_delivery(w.backend) == HMM_DELIVERY_THREAD ? 19 : 20);
	world_unmap(&w, &m);
	world_close(&w);
}
END_TEST

START_TEST(free_is_refused_for_shared_memory)
{
	struct world w;
	struct world_map m;

	OPEN(&w);
	world_map(&w, &m, NPAGES * w.page, NULL);
	world_put(&w, &m, 3, 4);
	ck_assert_int_eq(advise(&m, 0, 20, HMM_ADVISE_FREE), -EINVAL);
	world_check(&w, &m, 3, 4);
	world_unmap(&w, &m);
	world_close(&w);
}
END_TEST

START_TEST(pageout_evicts_and_keeps_contents)
{
	struct world w;
	struct world_map m;

	OPEN(&w);
	world_map(&w, &m, NPAGES * w.page, NULL);
	for (size_t i = 0; i < 24; i++)
		world_put(&w, &m, i, 8);
	ck_assert_uint_eq(residency(&m, 20) & (HMM_RESIDENT | HMM_DIRTY), HMM_RESIDENT | HMM_DIRTY);
	ck_assert_int_eq(advise(&m, 0, 24, HMM_ADVISE_PAGEOUT), 0);
	ck_assert_uint_eq(count_residency(&m, 0, 24, HMM_RESIDENT), 0);
	ck_assert_uint_eq(count_residency(&m, 0, 24, HMM_DIRTY), 0);
	check_range(&w, &m, 0, 24, 8);
	world_unmap(&w, &m);
	world_close(&w);
}
END_TEST

START_TEST(willneed_loads_ahead)
{
	struct world w;
	struct world_map m;
	struct hmm_stats before, after;

	OPEN(&w);
	world_map(&w, &m, NPAGES * w.page, NULL);
	for (size_t i = 0; i < 24; i++)
		world_put(&w, &m, i, 8);
	ck_assert_int_eq(advise(&m, 0, 24, HMM_ADVISE_PAGEOUT), 0);
	ck_assert_int_eq(advise(&m, 4, 8, HMM_ADVISE_WILLNEED), 0);
	ck_assert_uint_eq(count_residency(&m, 4, 8, HMM_RESIDENT), 8);
	before = world_stats(&w);
	check_range(&w, &m, 4, 12, 8);
	after = world_stats(&w);
	ck_assert_uint_eq(after.faults_read, before.faults_read);
	/* More than the budget: as much as goes, and no error. */
	ck_assert_int_eq(advise(&m, 0, NPAGES, HMM_ADVISE_WILLNEED), 0);
	world_check_stats(&w);
	check_range(&w, &m, 0, 24, 8);
	check_range(&w, &m, 24, NPAGES, 0);
	world_unmap(&w, &m);
	world_close(&w);
}
END_TEST

START_TEST(cold_sequential_random_keep_contents)
{
	static const enum hmm_advice all[] = {
		HMM_ADVISE_COLD, HMM_ADVISE_SEQUENTIAL, HMM_ADVISE_RANDOM, HMM_ADVISE_NORMAL,
	};
	struct world w;
	struct world_map m;

	OPEN(&w);
	world_map(&w, &m, NPAGES * w.page, NULL);
	put_all(&w, &m, 2);
	for (size_t k = 0; k < sizeof(all) / sizeof(all[0]); k++) {
		ck_assert_int_eq(advise(&m, 0, NPAGES, all[k]), 0);
		check_range(&w, &m, 0, NPAGES, 2);
		world_check_stats(&w);
	}
	world_unmap(&w, &m);
	world_close(&w);
}
END_TEST

START_TEST(cold_pages_leave_first)
{
	struct world w;
	struct world_map m;
	unsigned cold, warm;

	OPEN(&w);
	world_map(&w, &m, NPAGES * w.page, &(struct hmm_region_options){ .size = sizeof(struct hmm_region_options),
	                                                                 .flags = HMM_REGION_NO_READ_AHEAD });
	for (size_t i = 0; i < 32; i++)
		world_put(&w, &m, i, 2);
	ck_assert_int_eq(advise(&m, 16, 16, HMM_ADVISE_COLD), 0);
	ck_assert_int_ge(hmm_space_reclaim(w.space, 12), 0);
	cold = count_residency(&m, 16, 16, HMM_RESIDENT);
	warm = count_residency(&m, 0, 16, HMM_RESIDENT);
	ck_assert_msg(cold < warm, "cold %u, warm %u resident", cold, warm);
	check_range(&w, &m, 0, 32, 2);
	world_unmap(&w, &m);
	world_close(&w);
}
END_TEST

START_TEST(residency_follows_a_page)
{
	struct world w;
	struct world_map m;

	OPEN(&w);
	world_map(&w, &m, NPAGES * w.page, NULL);
	ck_assert_uint_eq(residency(&m, 3) & (HMM_RESIDENT | HMM_DIRTY | HMM_AVAILABLE), 0);
	world_check(&w, &m, 3, 0);
	ck_assert_uint_eq(residency(&m, 3) & (HMM_RESIDENT | HMM_DIRTY), HMM_RESIDENT);
	world_put(&w, &m, 3, 1);
	ck_assert_uint_eq(residency(&m, 3) & (HMM_RESIDENT | HMM_DIRTY), HMM_RESIDENT | HMM_DIRTY);
	ck_assert_int_eq(advise(&m, 3, 1, HMM_ADVISE_PAGEOUT), 0);
	ck_assert_uint_eq(residency(&m, 3) & (HMM_RESIDENT | HMM_DIRTY), 0);
	ck_assert_uint_ne(residency(&m, 3) & HMM_STORED, 0);
	world_check(&w, &m, 3, 1);
	ck_assert_uint_eq(residency(&m, 3) & (HMM_RESIDENT | HMM_DIRTY), HMM_RESIDENT);
	world_unmap(&w, &m);
	world_close(&w);
}
END_TEST

START_TEST(first_write_to_a_clean_page_is_seen)
{
	struct world w;
	struct world_map m;
	struct hmm_stats before, after;

	OPEN(&w);
	world_map(&w, &m, NPAGES * w.page, NULL);
	world_check(&w, &m, 1, 0);
	before = world_stats(&w);
	world_put(&w, &m, 1, 3);
	world_put(&w, &m, 1, 4);
	after = world_stats(&w);
	ck_assert_uint_le(after.faults_protect, before.faults_protect + 1);
	/* A backend that can't tell may call a page dirty that is not; the mock can. */
	if (world_is_mock(&w))
		ck_assert_uint_eq(after.faults_protect, before.faults_protect + 1);
	ck_assert_uint_eq(residency(&m, 1) & HMM_DIRTY, HMM_DIRTY);
	world_unmap(&w, &m);
	world_close(&w);
}
END_TEST

START_TEST(protect_refuses_writes_until_allowed)
{
	struct world w;
	struct world_map m;
	uint8_t byte = 1;

	OPEN(&w);
	world_map(&w, &m, NPAGES * w.page, NULL);
	put_all(&w, &m, 2);
	ck_assert_int_eq(hmm_region_protect(m.region, m.base + 8 * m.page, 8 * m.page, PROT_READ), 0);
	for (size_t i = 0; i < NPAGES; i++) {
		world_check(&w, &m, i, 2);
		ck_assert_int_eq(world_write(&w, m.region, m.base + i * m.page, &byte, 0), 0);
	}
	for (size_t i = 8; i < 16; i++)
		ck_assert_int_eq(world_write(&w, m.region, m.base + i * m.page, &byte, 1), -EACCES);
	world_put(&w, &m, 7, 3);
	world_put(&w, &m, 16, 3);
	check_range(&w, &m, 8, 16, 2);
	ck_assert_int_eq(hmm_region_protect(m.region, m.base, m.length, PROT_READ | PROT_WRITE), 0);
	world_put(&w, &m, 9, 3);
	world_check(&w, &m, 9, 3);
	check_range(&w, &m, 10, 16, 2);
	world_unmap(&w, &m);
	world_close(&w);
}
END_TEST

START_TEST(read_only_region_pages_and_refuses_writes)
{
	struct hmm_region_options opts = { .size = sizeof(opts), .flags = HMM_REGION_READ_ONLY };
	struct world w;
	struct world_map m;
	uint8_t byte = 1;

	OPEN(&w);
	world_map(&w, &m, NPAGES * w.page, &opts);
	for (int pass = 0; pass < 2; pass++) {
		check_range(&w, &m, 0, NPAGES, 0);
		ck_assert_int_eq(world_write(&w, m.region, m.base + 5, &byte, 1), -EACCES);
	}
	ck_assert_uint_eq(world_stats(&w).dirty, 0);
	ck_assert_uint_eq(world_stats(&w).write_outs, 0);
	world_unmap(&w, &m);
	world_close(&w);
}
END_TEST

void add_advice_tests(TCase *t, int i)
{
	tcase_add_loop_test(t, dontneed_drops_private_pages_unsaved, i, i + 1);
	/* What a shared region evicted is in its file already, and stays there. */
	if (store_of(i) != WORLD_FILE_SHARED && store_of(i) != WORLD_CALLBACK)
		tcase_add_loop_test(t, dontneed_drops_what_is_in_swap, i, i + 1);
	if (store_of(i) != WORLD_FILE_SHARED && store_of(i) != WORLD_CALLBACK) {
		tcase_add_loop_test(t, free_keeps_or_drops_whole_pages, i, i + 1);
		tcase_add_loop_test(t, free_saves_the_write_out, i, i + 1);
	} else {
		tcase_add_loop_test(t, free_is_refused_for_shared_memory, i, i + 1);
	}
	tcase_add_loop_test(t, pageout_evicts_and_keeps_contents, i, i + 1);
	tcase_add_loop_test(t, willneed_loads_ahead, i, i + 1);
	tcase_add_loop_test(t, cold_sequential_random_keep_contents, i, i + 1);
	tcase_add_loop_test(t, cold_pages_leave_first, i, i + 1);
	tcase_add_loop_test(t, residency_follows_a_page, i, i + 1);
	tcase_add_loop_test(t, first_write_to_a_clean_page_is_seen, i, i + 1);
	tcase_add_loop_test(t, protect_refuses_writes_until_allowed, i, i + 1);
	tcase_add_loop_test(t, read_only_region_pages_and_refuses_writes, i, i + 1);
}
