/* SPDX-License-Identifier: MIT */
/*
 * store.c - what reaches the store, and when; partial unmapping, page sizes, the end of a file
 */
#include "tests/conformance/conformance.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* 1: the store has the contents of tag for this page. */
static int stored(struct world *w, struct world_map *m, size_t page, uint64_t tag)
{
	uint8_t *seen = malloc(m->page), *expected = malloc(m->page);
	int same;

	world_store_peek(m, (uint64_t)page * m->page, seen, m->page);
	world_contents(w, m->page, page, tag, expected);
	same = memcmp(seen, expected, m->page) == 0;
	free(seen);
	free(expected);
	return same;
}

START_TEST(sync_writes_shared_pages_to_the_store)
{
	struct world w;
	struct world_map m;

	OPEN(&w);
	world_map(&w, &m, NPAGES * w.page, NULL);
	for (size_t i = 0; i < 40; i++)
		world_put(&w, &m, i, 7);
	ck_assert_int_eq(hmm_region_sync(m.region, m.base, 20 * m.page, 0), 0);
	for (size_t i = 0; i < 20 && world_is_shared(&w); i++)
		ck_assert_int_eq(stored(&w, &m, i, 7), 1);
	ck_assert_int_eq(hmm_region_sync(m.region, m.base, m.length, HMM_SYNC_DURABLE), 0);
	for (size_t i = 0; i < 40 && world_is_shared(&w); i++)
		ck_assert_int_eq(stored(&w, &m, i, 7), 1);
	if (world_is_shared(&w))
		ck_assert_uint_eq(world_stats(&w).dirty, 0);
	if (m.bytes)
		ck_assert_uint_ge(m.bytes->syncs, 1);
	if (w.kind == WORLD_FILE_PRIVATE)
		ck_assert_int_eq(stored(&w, &m, 0, 0), 1);
	/* Synced pages are clean but writable again; the next sync takes what was written since. */
	world_put(&w, &m, 3, 8);
	ck_assert_int_eq(hmm_region_sync(m.region, m.base, m.length, 0), 0);
	if (world_is_shared(&w))
		ck_assert_int_eq(stored(&w, &m, 3, 8), 1);
	for (size_t i = 0; i < 40; i++)
		world_check(&w, &m, i, i == 3 ? 8 : 7);
	world_unmap(&w, &m);
	world_close(&w);
}
END_TEST

START_TEST(unmap_writes_back_shared_pages_only)
{
	struct world w;
	struct world_map m;

	OPEN(&w);
	world_map(&w, &m, NPAGES * w.page, NULL);
	for (size_t i = 0; i < NPAGES; i += 2)
		world_put(&w, &m, i, 7 + i);
	ck_assert_int_eq(hmm_region_unmap(m.region), 0);
	for (size_t i = 0; i < NPAGES && !world_is_anonymous(&w); i++) {
		uint64_t tag = world_is_shared(&w) && i % 2 == 0 ? 7 + i : 0;

		ck_assert_int_eq(stored(&w, &m, i, tag), 1);
	}
	ck_assert_uint_eq(world_stats(&w).resident, 0);
	ck_assert_uint_eq(world_stats(&w).dirty, 0);
	ck_assert_uint_eq(world_stats(&w).swap_bytes, 0);
	world_map_close(&m);
	world_close(&w);
}
END_TEST

START_TEST(abandon_writes_nothing_more)
{
	struct hmm_store_stats s = { .size = sizeof(s) };
	struct world w;
	struct world_map m;
	uint64_t writes;

	OPEN(&w);
	world_map(&w, &m, NPAGES * w.page, NULL);
	for (size_t i = 0; i < 10; i++)
		world_put(&w, &m, i, 7);
	if (m.store)
		ck_assert_int_eq(hmm_store_stats(m.store, &s), 0);
	writes = s.writes;
	hmm_region_abandon(m.region);
	if (m.store)
		ck_assert_int_eq(hmm_store_stats(m.store, &s), 0);
	ck_assert_uint_eq(s.writes, writes);
	ck_assert_uint_eq(world_stats(&w).resident, 0);
	world_map_close(&m);
	world_close(&w);
}
END_TEST

START_TEST(destroy_takes_mapped_regions_along)
{
	struct world w;
	struct world_map m;

	OPEN(&w);
	world_map(&w, &m, NPAGES * w.page, NULL);
	for (size_t i = 0; i < NPAGES; i++)
		world_put(&w, &m, i, 7);
	world_close(&w);
	world_map_close(&m);
}
END_TEST

START_TEST(partial_unmap_keeps_the_rest)
{
	struct world w;
	struct world_map m;
	uint8_t byte, vec[4];

	OPEN(&w);
	world_map(&w, &m, NPAGES * w.page, NULL);
	for (size_t i = 0; i < NPAGES; i++)
		world_put(&w, &m, i, 6);
	ck_assert_int_eq(hmm_region_unmap_range(m.region, m.base + 100 * m.page, 20 * m.page), 0);
	ck_assert_int_eq(world_read(&w, m.region, m.base + 100 * m.page, &byte, 1), -EACCES);
	ck_assert_int_eq(world_read(&w, m.region, m.base + 119 * m.page, &byte, 1), -EACCES);
	ck_assert_int_eq(hmm_region_advise(m.region, m.base + 98 * m.page, 4 * m.page, HMM_ADVISE_PAGEOUT), -ENOMEM);
	ck_assert_int_eq(hmm_region_residency(m.region, m.base + 118 * m.page, 4 * m.page, vec), -ENOMEM);
	for (size_t i = 0; i < NPAGES; i++)
		if (i < 100 || i >= 120)
			world_check(&w, &m, i, 6);
	if (world_is_shared(&w))
		for (size_t i = 100; i < 120; i++)
			ck_assert_int_eq(stored(&w, &m, i, 6), 1);
	ck_assert_int_eq(hmm_region_unmap_range(m.region, m.base, 100 * m.page), 0);
	for (size_t i = 120; i < NPAGES; i++)
		world_check(&w, &m, i, 6);
	ck_assert_int_eq(hmm_region_unmap_range(m.region, m.base + 120 * m.page, (NPAGES - 120) * m.page), 0);
	ck_assert_uint_eq(world_stats(&w).resident, 0);
	ck_assert_uint_eq(world_stats(&w).swap_bytes, 0);
	world_map_close(&m);
	world_close(&w);
}
END_TEST

START_TEST(unmapped_hole_can_be_mapped_again)
{
	struct hmm_region_options fixed = { .size = sizeof(fixed), .flags = HMM_REGION_FIXED };
	struct world w;
	struct world_map m, hole;

	OPEN(&w);
	world_map(&w, &m, NPAGES * w.page, NULL);
	for (size_t i = 0; i < NPAGES; i++)
		world_put(&w, &m, i, 6);
	ck_assert_int_eq(hmm_region_unmap_range(m.region, m.base + 32 * m.page, 64 * m.page), 0);
	fixed.address = m.base + 40 * m.page;
	world_map(&w, &hole, 16 * w.page, &fixed);
	ck_assert_ptr_eq(hole.base, m.base + 40 * m.page);
	for (size_t i = 0; i < 16; i++) {
		world_check(&w, &hole, i, 0);
		world_put(&w, &hole, i, 11);
	}
	for (size_t i = 0; i < NPAGES; i++)
		if (i < 32 || i >= 96)
			world_check(&w, &m, i, 6);
	for (size_t i = 0; i < 16; i++)
		world_check(&w, &hole, i, 11);
	world_unmap(&w, &m);
	for (size_t i = 0; i < 16; i++)
		world_check(&w, &hole, i, 11);
	world_unmap(&w, &hole);
	world_close(&w);
}
END_TEST

/*
 * Reads and writes a word or two here and there in a large page: where page tables are dear, each of its 512 entries costs
 * 10 to 20 us and more when it is touched the first time after the page came.
 */
#define SPOTS 6u

static size_t spot(const struct world_map *m, unsigned i)
{
	static const size_t places[SPOTS] = { 0, 8, 4096, 40960 + 4088, SIZE_MAX / 2, SIZE_MAX };

	if (places[i] == SIZE_MAX)
		return m->page - 8;
	return places[i] == SIZE_MAX / 2 ? m->page / 2 - 4 : places[i];
}

static uint64_t spot_word(size_t page, unsigned i, uint64_t tag)
{
	return (tag << 40) + (page << 8) + i + 1;
}

static void put_spots(struct world *w, struct world_map *m, size_t page, uint64_t tag)
{
	for (unsigned i = 0; i < SPOTS; i++) {
		uint64_t word = spot_word(page, i, tag);

		ck_assert_int_eq(world_write(w, m->region, m->base + page * m->page + spot(m, i), &word, 8), 0);
	}
}

/* tag 0: as mapped at first. */
static void check_spots(struct world *w, struct world_map *m, size_t page, uint64_t tag)
{
	for (unsigned i = 0; i < SPOTS; i++) {
		uint64_t word = 0, expected = tag ? spot_word(page, i, tag) : 0;
		size_t at = page * m->page + spot(m, i);

		ck_assert_int_eq(world_read(w, m->region, m->base + at, &word, 8), 0);
		for (unsigned k = 0; k < 8 && !tag; k++)
			((uint8_t *)&expected)[k] = world_initial(w, at + k);
		ck_assert_uint_eq(word, expected);
	}
}

/* As page_size_works(), with few accesses to each of few pages; eight fit into the budget, the least that is allowed. */
static void large_page_works(struct world *w, unsigned shift)
{
	struct hmm_region_options opts = { .size = sizeof(opts), .page_shift = shift, .flags = HMM_REGION_NO_READ_AHEAD };
	size_t npages = test_all() ? 20 : 10, again = test_all() ? npages : 3;
	struct world_map m;

	world_map(w, &m, npages << shift, &opts);
	ck_assert_uint_eq(m.page, (size_t)1 << shift);
	check_spots(w, &m, npages - 1, 0);
	for (size_t i = 0; i < npages; i++)
		put_spots(w, &m, i, 3);
	for (size_t i = 0; i < again; i++)
		check_spots(w, &m, i, 3);
	ck_assert_uint_ge(world_stats(w).evictions, npages - 8);
	world_check_stats(w);
	ck_assert_int_eq(hmm_region_advise(m.region, m.base, 2 * m.page, HMM_ADVISE_PAGEOUT), 0);
	ck_assert_int_eq(hmm_region_advise(m.region, m.base + m.page, m.page, HMM_ADVISE_DONTNEED), 0);
	check_spots(w, &m, 1, world_is_shared(w) ? 3 : 0);
	ck_assert_int_eq(hmm_region_lock(m.region, m.base, m.page), 0);
	ck_assert_uint_eq(world_stats(w).pinned, m.page / w->page);
	check_spots(w, &m, 0, 3);
	ck_assert_int_eq(hmm_region_unlock(m.region, m.base, m.page), 0);
	ck_assert_int_eq(hmm_region_unmap_range(m.region, m.base + 2 * m.page, m.page), 0);
	check_spots(w, &m, 3, 3);
	world_unmap(w, &m);
}

static void page_size_works(struct world *w, unsigned shift, size_t npages)
{
	struct hmm_region_options opts = { .size = sizeof(opts), .page_shift = shift };
	struct world_map m;

	world_map(w, &m, npages << shift, &opts);
	ck_assert_uint_eq(m.page, (size_t)1 << shift);
	for (size_t i = 0; i < npages; i++)
		world_put(w, &m, i, 3 + i);
	for (size_t i = 0; i < npages; i++)
		world_check(w, &m, i, 3 + i);
	world_check_stats(w);
	ck_assert_int_eq(hmm_region_advise(m.region, m.base, 2 * m.page, HMM_ADVISE_PAGEOUT), 0);
	ck_assert_int_eq(hmm_region_advise(m.region, m.base + m.page, m.page, HMM_ADVISE_DONTNEED), 0);
	world_check(w, &m, 0, 3);
	world_check(w, &m, 1, world_is_shared(w) ? 4 : 0);
	ck_assert_int_eq(hmm_region_lock(m.region, m.base, m.page), 0);
	ck_assert_uint_eq(world_stats(w).pinned, m.page / w->page);
	ck_assert_int_eq(hmm_region_unlock(m.region, m.base, m.page), 0);
	ck_assert_int_eq(hmm_region_unmap_range(m.region, m.base + 2 * m.page, m.page), 0);
	for (size_t i = 3; i < npages; i++)
		world_check(w, &m, i, 3 + i);
	world_unmap(w, &m);
}

START_TEST(page_size_64k_works)
{
	struct world w;

	OPEN_WITH(&w, 256, NULL);
	page_size_works(&w, 16, 48);
	world_close(&w);
}
END_TEST

START_TEST(page_sizes_mix_in_one_budget)
{
	struct world w;
	struct world_map small;

	OPEN_WITH(&w, 1024, NULL);
	world_map(&w, &small, 512 * w.page, NULL);
	for (size_t i = 0; i < small.npages; i++)
		world_put(&w, &small, i, 2);
	page_size_works(&w, 14, 300);
	for (size_t i = 0; i < small.npages; i++)
		world_check(&w, &small, i, 2);
	page_size_works(&w, 17, 40);
	for (size_t i = 0; i < small.npages; i++)
		world_check(&w, &small, i, 2);
	world_unmap(&w, &small);
	world_close(&w);
}
END_TEST

START_TEST(page_size_1m_works)
{
	struct world w;

	OPEN_WITH(&w, 2048, NULL);
	large_page_works(&w, 20);
	world_close(&w);
}
END_TEST

START_TEST(page_size_2m_works)
{
	struct world w;

	OPEN_WITH(&w, 4096, NULL);
	large_page_works(&w, 21);
	world_close(&w);
}
END_TEST

START_TEST(files_end_reads_zeros_then_fails)
{
	struct world w;
	struct world_map m;
	uint8_t *buffer;

	OPEN(&w);
	world_map_short(&w, &m, 16 * w.page, 10 * w.page + 100, NULL);
	buffer = malloc(m.page);
	for (size_t i = 0; i < 10; i++)
		world_check(&w, &m, i, 0);
	ck_assert_int_eq(world_read(&w, m.region, m.base + 10 * m.page, buffer, m.page), 0);
	for (size_t i = 0; i < m.page; i++)
		ck_assert_uint_eq(buffer[i], i < 100 ? world_initial(&w, 10 * m.page + i) : 0);
	for (size_t i = 11; i < 16; i++) {
		ck_assert_int_eq(world_read(&w, m.region, m.base + i * m.page, buffer, 1), -EIO);
		ck_assert_int_eq(world_write(&w, m.region, m.base + i * m.page, buffer, 1), -EIO);
	}
	/* The tail may be written; the file does not grow. */
	memset(buffer, 0xaa, m.page);
	ck_assert_int_eq(world_write(&w, m.region, m.base + 10 * m.page, buffer, m.page), 0);
	ck_assert_int_eq(hmm_region_sync(m.region, m.base, m.length, 0), 0);
	ck_assert_int_eq(lseek(m.fd, 0, SEEK_END), (off_t)(10 * m.page + 100));
	world_store_peek(&m, 10 * m.page, buffer, 100);
	ck_assert_uint_eq(buffer[99], w.kind == WORLD_FILE_SHARED ? 0xaa : world_initial(&w, 10 * m.page + 99));
	/* A file that grows is seen. */
	ck_assert_int_eq(ftruncate(m.fd, (off_t)(16 * m.page)), 0);
	ck_assert_int_eq(world_read_again(&w, m.region, m.base + 15 * m.page, buffer, 1), 0);
	ck_assert_uint_eq(buffer[0], 0);
	free(buffer);
	world_unmap(&w, &m);
	world_close(&w);
}
END_TEST

START_TEST(zero_pages_cost_no_store_io)
{
	struct hmm_store_stats s = { .size = sizeof(s) };
	struct world w;
	struct world_map m;
	uint8_t *zeros;

	OPEN(&w);
	zeros = calloc(1, w.page);
	world_map(&w, &m, NPAGES * w.page, NULL);
	for (size_t i = 0; i < NPAGES; i++) {
		world_check(&w, &m, i, 0);
		ck_assert_int_eq(world_write(&w, m.region, m.base + i * m.page, zeros, m.page), 0);
	}
	for (size_t i = 0; i < NPAGES; i++)
		world_check(&w, &m, i, 0);
	ck_assert_int_eq(hmm_store_stats(w.swap, &s), 0);
	ck_assert_uint_eq(s.bytes_written, 0);
	ck_assert_uint_eq(s.bytes_read, 0);
	ck_assert_uint_ge(world_stats(&w).zero_fills, NPAGES);
	free(zeros);
	world_unmap(&w, &m);
	world_close(&w);
}
END_TEST

START_TEST(sequential_reads_are_read_ahead_and_random_ones_not)
{
	struct hmm_region_options single = { .size = sizeof(single), .flags = HMM_REGION_NO_READ_AHEAD };
	uint64_t state = 5, before;
	struct world w;
	struct world_map m;

	OPEN(&w);
	world_map(&w, &m, NPAGES * w.page, NULL);
	for (size_t i = 0; i < NPAGES; i++)
		world_put(&w, &m, i, 2);
	ck_assert_int_eq(hmm_region_advise(m.region, m.base, m.length, HMM_ADVISE_PAGEOUT), 0);
	ck_assert_int_eq(hmm_region_advise(m.region, m.base, m.length, HMM_ADVISE_RANDOM), 0);
	before = world_stats(&w).prefetches;
	for (unsigned n = 0; n < 100; n++)
		world_check(&w, &m, world_random(&state) % NPAGES, 2);
	ck_assert_uint_eq(world_stats(&w).prefetches, before);
	ck_assert_int_eq(hmm_region_advise(m.region, m.base, m.length, HMM_ADVISE_NORMAL), 0);
	for (size_t i = 0; i < NPAGES; i++)
		world_check(&w, &m, i, 2);
	ck_assert_uint_gt(world_stats(&w).prefetches, NPAGES / 4);
	world_unmap(&w, &m);
	world_map(&w, &m, NPAGES * w.page, &single);
	for (int pass = 0; pass < 2; pass++) {
		before = world_stats(&w).prefetches;
		for (size_t i = 0; i < NPAGES; i++)
			world_check(&w, &m, i, 0);
		ck_assert_uint_eq(world_stats(&w).prefetches, before);
	}
	world_unmap(&w, &m);
	world_close(&w);
}
END_TEST

void add_store_tests(TCase *t, int i)
{
	tcase_add_loop_test(t, sync_writes_shared_pages_to_the_store, i, i + 1);
	tcase_add_loop_test(t, unmap_writes_back_shared_pages_only, i, i + 1);
	tcase_add_loop_test(t, abandon_writes_nothing_more, i, i + 1);
	tcase_add_loop_test(t, destroy_takes_mapped_regions_along, i, i + 1);
	tcase_add_loop_test(t, partial_unmap_keeps_the_rest, i, i + 1);
	tcase_add_loop_test(t, unmapped_hole_can_be_mapped_again, i, i + 1);
	tcase_add_loop_test(t, page_size_64k_works, i, i + 1);
	tcase_add_loop_test(t, page_sizes_mix_in_one_budget, i, i + 1);
	tcase_add_loop_test(t, page_size_1m_works, i, i + 1);
	tcase_add_loop_test(t, page_size_2m_works, i, i + 1);
	if (store_of(i) == WORLD_FILE_PRIVATE || store_of(i) == WORLD_FILE_SHARED)
		tcase_add_loop_test(t, files_end_reads_zeros_then_fails, i, i + 1);
	if (store_of(i) == WORLD_SWAP_FILE || store_of(i) == WORLD_SWAP_MEMORY)
		tcase_add_loop_test(t, zero_pages_cost_no_store_io, i, i + 1);
	tcase_add_loop_test(t, sequential_reads_are_read_ahead_and_random_ones_not, i, i + 1);
}
