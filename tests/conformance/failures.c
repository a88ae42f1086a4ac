/* SPDX-License-Identifier: MIT */
/*
 * failures.c - stores that fail: the access is told, nothing is lost, a retry succeeds
 */
#include "tests/conformance/conformance.h"

#include <errno.h>
#include <string.h>

static void poll_events(struct world *w)
{
	ck_assert_int_eq(hmm_space_poll(w->space), 0);
}

static const struct hmm_space_options polled = {
	.size = sizeof(polled),
	.flags = HMM_SPACE_NO_RECLAIMER,
};

static struct hmm_store_fault fault_of(int error)
{
	return (struct hmm_store_fault){ .size = sizeof(struct hmm_store_fault), .error = error, .repeat = 1 };
}

START_TEST(unreadable_page_fails_its_access_only)
{
	struct hmm_store_fault fault = fault_of(-EIO);
	struct world w;
	struct world_map m;
	uint8_t byte;

	OPEN_WITH(&w, FRAMES, &polled);
	world_map(&w, &m, NPAGES * w.page, NULL);
	for (size_t i = 0; i < NPAGES; i++)
		world_put(&w, &m, i, 4);
	ck_assert_int_eq(hmm_region_advise(m.region, m.base, 100 * m.page, HMM_ADVISE_PAGEOUT), 0);
	ck_assert_int_eq(hmm_space_resize(w.space, HMM_FRAMES_MIN, NULL), 0); /* nothing left to be rescued */
	for (size_t i = 100; i < NPAGES; i++)
		world_check(&w, &m, i, 4);
	fault.read_nth = 1;
	ck_assert_int_eq(hmm_store_set_fault(w.swap, &fault), 0);
	ck_assert_int_eq(world_read(&w, m.region, m.base + 5 * m.page, &byte, 1), -EIO);
	ck_assert_int_eq(world_write(&w, m.region, m.base + 6 * m.page, &byte, 1), -EIO);
	ck_assert_int_eq(hmm_region_lock(m.region, m.base, 2 * m.page), -EIO);
	ck_assert_int_eq(hmm_region_pin(m.region, m.base, 2 * m.page, 0), -EIO);
	ck_assert_int_eq(hmm_region_advise(m.region, m.base + 7 * m.page, 4 * m.page, HMM_ADVISE_WILLNEED), -EIO);
	poll_events(&w);
	ck_assert_uint_ge(w.events[HMM_EVENT_READ_ERROR], 1);
	ck_assert_uint_ge(world_stats(&w).load_errors, 2);
	ck_assert_uint_ge(world_stats(&w).faults_failed, 2);
	ck_assert_uint_eq(world_stats(&w).pinned, 0);
	ck_assert_int_eq(hmm_store_set_fault(w.swap, NULL), 0);
	for (size_t i = 0; i < NPAGES; i++) {
		ck_assert_int_eq(world_read_again(&w, m.region, m.base + i * m.page, &byte, 1), 0);
		world_check(&w, &m, i, 4);
	}
	world_unmap(&w, &m);
	world_close(&w);
}
END_TEST

START_TEST(unwritable_pages_stay_in_memory)
{
	struct hmm_store_fault fault = fault_of(-ENOSPC);
	struct world w;
	struct world_map m;
	size_t written = 0;
	int r = 0;

	OPEN_WITH(&w, FRAMES, &polled);
	world_map(&w, &m, NPAGES * w.page, NULL);
	fault.write_nth = 1;
	ck_assert_int_eq(hmm_store_set_fault(w.swap, &fault), 0);
	/* The budget fills up with dirty pages; then an access finds no frame. */
	while (written < NPAGES) {
		uint64_t word = written + 1;

		r = world_write(&w, m.region, m.base + written * m.page, &word, sizeof(word));
		if (r < 0)
			break;
		written++;
	}
	ck_assert_int_eq(r, -EIO);
	ck_assert_uint_ge(written, FRAMES / 4);
	ck_assert_uint_le(written, FRAMES);
	for (size_t i = 0; i < written; i++) {
		uint64_t word = 0;

		ck_assert_int_eq(world_read(&w, m.region, m.base + i * m.page, &word, sizeof(word)), 0);
		ck_assert_uint_eq(word, i + 1);
	}
	ck_assert_int_lt(hmm_region_advise(m.region, m.base, m.length, HMM_ADVISE_PAGEOUT), 0);
	poll_events(&w);
	ck_assert_uint_ge(w.events[HMM_EVENT_WRITE_ERROR], 1);
	ck_assert_uint_ge(w.events[HMM_EVENT_NO_FRAME], 1);
	ck_assert_uint_ge(world_stats(&w).write_errors, 1);
	ck_assert_int_eq(hmm_store_set_fault(w.swap, NULL), 0);
	/* under thread delivery the page that failed stays poisoned for a while, unless it is asked for by a call */
	ck_assert_int_eq(hmm_region_advise(m.region, m.base + written * m.page, m.page, HMM_ADVISE_WILLNEED), 0);
	for (size_t i = written; i < NPAGES; i++) {
		uint64_t word = i + 1;

		ck_assert_int_eq(world_write(&w, m.region, m.base + i * m.page, &word, sizeof(word)), 0);
	}
	for (size_t i = 0; i < NPAGES; i++) {
		uint64_t word = 0;

		ck_assert_int_eq(world_read(&w, m.region, m.base + i * m.page, &word, sizeof(word)), 0);
		ck_assert_uint_eq(word, i + 1);
	}
	world_unmap(&w, &m);
	world_close(&w);
}
END_TEST

START_TEST(unmap_of_an_unwritable_shared_region_fails_and_keeps_it)
{
	struct hmm_store_fault fault = fault_of(-ENOSPC);
	struct world w;
	struct world_map m;
	uint8_t byte;

	OPEN_WITH(&w, FRAMES, &polled);
	w.kind = WORLD_CALLBACK;
	world_map(&w, &m, NPAGES * w.page, NULL);
	for (size_t i = 0; i < 16; i++)
		world_put(&w, &m, i, 4);
	fault.write_nth = 1;
	ck_assert_int_eq(hmm_store_set_fault(m.store, &fault), 0);
	ck_assert_int_eq(hmm_region_sync(m.region, m.base, m.length, 0), -ENOSPC);
	ck_assert_int_eq(hmm_region_unmap(m.region), -ENOSPC);
	ck_assert_int_eq(hmm_region_unmap_range(m.region, m.base, 4 * m.page), -ENOSPC);
	for (size_t i = 0; i < 16; i++)
		world_check(&w, &m, i, 4);
	ck_assert_int_eq(hmm_store_set_fault(m.store, NULL), 0);
	ck_assert_int_eq(hmm_region_unmap(m.region), 0);
	for (size_t i = 0; i < 16; i++) {
		uint8_t expected[4096];

		world_contents(&w, m.page, i, 4, expected);
		world_store_peek(&m, i * m.page, &byte, 1);
		ck_assert_uint_eq(byte, expected[0]);
	}
	world_map_close(&m);
	world_close(&w);
}
END_TEST

/* One call in three fails, in the middle, at random: everything arrives in the end. */
START_TEST(flaky_store_loses_nothing)
{
	struct hmm_store_fault fault = fault_of(-EIO);
	uint64_t seed = test_seed();
	struct world w;
	struct world_map m;

	OPEN_WITH(&w, FRAMES, NULL);
	world_map(&w, &m, NPAGES * w.page, NULL);
	fault.repeat = 0;
	fault.read_per_million = fault.write_per_million = 330000;
	fault.seed = seed;
	fault.short_transfer = 1;
	ck_assert_int_eq(hmm_store_set_fault(w.swap, &fault), 0);
	for (unsigned pass = 1; pass <= 3; pass++) {
		for (size_t i = 0; i < NPAGES; i++) {
			uint64_t word = i * 16 + pass, seen = 0;
			uint8_t *at = m.base + i * m.page + 8 * (i % 512);
			int r;

			while (pass > 1 && (r = world_read(&w, m.region, at, &seen, 8)) < 0)
				ck_assert_int_eq(r, -EIO);
			if (pass > 1)
				ck_assert_uint_eq(seen, word - 1);
			while ((r = world_write(&w, m.region, at, &word, 8)) < 0)
				ck_assert_int_eq(r, -EIO);
		}
	}
	ck_assert_int_eq(hmm_store_set_fault(w.swap, NULL), 0);
	for (size_t i = 0; i < NPAGES; i++) {
		uint64_t seen = 0;

		ck_assert_int_eq(world_read(&w, m.region, m.base + i * m.page + 8 * (i % 512), &seen, 8), 0);
		ck_assert_uint_eq(seen, i * 16 + 3);
	}
	world_unmap(&w, &m);
	world_close(&w);
}
END_TEST

/* Frames come from a supplier: none, and no region is made; no more, and the budget stays. */
START_TEST(supplier_may_refuse_frames)
{
	uint64_t calls, reached = 0;
	struct hmm_region *region;
	struct world w;
	struct world_map m;

	OPEN(&w);
	calls = hmm_mock_calls(w.mock, HMM_MOCK_FRAMES);
	hmm_mock_fail(w.mock, HMM_MOCK_FRAMES, 1, 0, 0, 0, -ENOMEM);
	ck_assert_int_eq(hmm_region_map(w.space, NULL, 0, 8 * w.page, NULL, &region), -ENOMEM);
	ck_assert_uint_eq(hmm_mock_calls(w.mock, HMM_MOCK_FRAMES), calls + 1);
	world_map(&w, &m, NPAGES * w.page, NULL);
	ck_assert_int_eq(hmm_space_resize(w.space, FRAMES / 2, &reached), 0);
	ck_assert_uint_eq(reached, FRAMES / 2);
	hmm_mock_fail(w.mock, HMM_MOCK_FRAMES, 1, 0, 0, 0, -ENOMEM);
	ck_assert_int_eq(hmm_space_resize(w.space, FRAMES, &reached), -EAGAIN);
	ck_assert_uint_eq(reached, FRAMES / 2);
	for (size_t i = 0; i < NPAGES; i++)
		world_put(&w, &m, i, 2);
	ck_assert_int_eq(hmm_space_resize(w.space, FRAMES, &reached), 0);
	ck_assert_uint_eq(reached, FRAMES);
	for (size_t i = 0; i < NPAGES; i++)
		world_check(&w, &m, i, 2);
	world_unmap(&w, &m);
	world_close(&w);
}
END_TEST

void add_failure_tests(TCase *t, int i)
{
	if (backend_of(i) <= WORLD_MOCK_THREAD)
		tcase_add_loop_test(t, supplier_may_refuse_frames, i, i + 1);
	tcase_add_loop_test(t, unreadable_page_fails_its_access_only, i, i + 1);
	tcase_add_loop_test(t, unwritable_pages_stay_in_memory, i, i + 1);
	tcase_add_loop_test(t, unmap_of_an_unwritable_shared_region_fails_and_keeps_it, i, i + 1);
	tcase_add_loop_test(t, flaky_store_loses_nothing, i, i + 1);
}
