/* SPDX-License-Identifier: MIT */
/*
 * test_mock.c - the mock backend: pages between window and addresses, and what an access meets
 */
#include <pthread.h>
#include <sched.h>
#include <string.h>

#include "tests/unit/mock_fixture.h"

START_TEST(grant_moves_frame_and_contents_out_and_back)
{
	size_t done;

	fill(3, 2);
	ck_assert_uint_eq(hmm_mock_frames(mock, NULL), 2);
	memset(slot(3), 1, page);
	memset(slot(4), 2, page);
	ck_assert_int_eq(map(7, 3, 2, HMM_MAP_GRANT, &done), 0);
	ck_assert_uint_eq(done, 2);
	ck_assert_uint_eq(hmm_mock_frames(mock, NULL), 2);
	ck_assert_uint_eq(byte_at(7), 1);
	ck_assert_uint_eq(byte_at(8), 2);
	ck_assert_int_eq(write_at(8, 9), 0);
	ck_assert_int_eq(unmap(7, 10, 2, HMM_UNMAP_GRANT, &done), 0);
	ck_assert_uint_eq(hmm_mock_frames(mock, NULL), 2);
	ck_assert_uint_eq(slot(10)[0], 1);
	ck_assert_uint_eq(slot(11)[0], 9);
	ck_assert_uint_eq(slot(11)[1], 2);
}
END_TEST

START_TEST(copy_takes_a_frame_and_leaves_the_slot_populated)
{
	size_t done;

	fill(0, 1);
	memset(slot(0), 5, page);
	ck_assert_int_eq(map(0, 0, 1, 0, &done), 0);
	ck_assert_uint_eq(hmm_mock_frames(mock, NULL), 2);
	ck_assert_uint_eq(byte_at(0), 5);
	ck_assert_int_eq(write_at(0, 6), 0);
	ck_assert_uint_eq(slot(0)[0], 5);
	ck_assert_int_eq(unmap(0, 0, 1, HMM_UNMAP_COPY | HMM_UNMAP_PEEK, &done), 0);
	ck_assert_uint_eq(slot(0)[0], 6);
	ck_assert_uint_eq(byte_at(0), 6);
	ck_assert_uint_eq(hmm_mock_frames(mock, NULL), 2);
	slot(0)[0] = 0;
	ck_assert_int_eq(unmap(0, 0, 1, HMM_UNMAP_COPY, &done), 0);
	ck_assert_uint_eq(slot(0)[0], 6);
	ck_assert_uint_eq(hmm_mock_frames(mock, NULL), 1);
}
END_TEST

START_TEST(zero_map_takes_a_frame_and_reads_zeros)
{
	size_t done;

	ck_assert_int_eq(map(0, 0, 3, HMM_MAP_ZERO, &done), 0);
	ck_assert_uint_eq(hmm_mock_frames(mock, NULL), 3);
	ck_assert_uint_eq(byte_at(2), 0);
	ck_assert_int_eq(write_at(2, 7), 0);
	ck_assert_int_eq(unmap(0, 0, 3, 0, &done), 0);
	ck_assert_uint_eq(hmm_mock_frames(mock, NULL), 0);
	ck_assert_int_eq(map(2, 0, 1, HMM_MAP_ZERO, &done), 0);
	ck_assert_uint_eq(byte_at(2), 0);
}
END_TEST

START_TEST(map_stops_at_a_mapped_page_and_says_how_far_it_got)
{
	size_t done;

	ck_assert_int_eq(map(2, 0, 1, HMM_MAP_ZERO, &done), 0);
	ck_assert_int_eq(map(0, 0, 4, HMM_MAP_ZERO, &done), -EEXIST);
	ck_assert_uint_eq(done, 2);
	fill(0, 4);
	ck_assert_int_eq(map(1, 0, 1, HMM_MAP_GRANT, &done), -EEXIST);
	ck_assert_uint_eq(done, 0);
	ck_assert_int_eq(map(3, 0, 4, HMM_MAP_GRANT, &done), 0);
	ck_assert_uint_eq(hmm_mock_frames(mock, NULL), 7);
}
END_TEST

START_TEST(map_tells_each_entry_its_own_error)
{
	struct hmm_map maps[3] = {
		{ .address = at(0), .length = page, .flags = HMM_MAP_ZERO },
		{ .address = at(0), .length = page, .flags = HMM_MAP_ZERO },
		{ .address = at(1), .length = page, .flags = HMM_MAP_ZERO },
	};

	ck_assert_int_eq(ops->map(backend, maps, 3), -EEXIST);
	ck_assert_int_eq(maps[0].error, 0);
	ck_assert_int_eq(maps[1].error, -EEXIST);
	ck_assert_int_eq(maps[2].error, 0);
	ck_assert_uint_eq(hmm_mock_frames(mock, NULL), 2);
}
END_TEST

START_TEST(unmap_of_an_absent_page_is_refused)
{
	size_t done;

	ck_assert_int_eq(map(0, 0, 1, HMM_MAP_ZERO, &done), 0);
	ck_assert_int_eq(unmap(0, 0, 2, HMM_UNMAP_GRANT, &done), -ENOENT);
	ck_assert_uint_eq(done, 1);
	ck_assert_int_eq(unmap(5, 0, 1, 0, &done), -ENOENT);
	ck_assert_uint_eq(hmm_mock_frames(mock, NULL), 1);
}
END_TEST

static int lift(uintptr_t address, enum hmm_fault_access access)
{
	struct hmm_span span = { .address = (void *)(address & ~(page - 1)), .length = page };

	ck_assert_int_eq(access, HMM_FAULT_WRITE);
	return ops->write_protect(backend, &span, 1, 0);
}

START_TEST(first_write_to_a_protected_page_traps_once)
{
	struct hmm_span span = { .address = at(0), .length = 2 * page };
	size_t done;

	ck_assert_int_eq(map(0, 0, 2, HMM_MAP_ZERO | HMM_MAP_PROTECT, &done), 0);
	on_trap = lift;
	ck_assert_uint_eq(byte_at(1), 0);
	ck_assert_uint_eq(traps, 0);
	ck_assert_int_eq(write_at(1, 4), 0);
	ck_assert_uint_eq(traps, 1);
	ck_assert_uint_eq(trap_address, (uintptr_t)at(1));
	ck_assert_int_eq(write_at(1, 5), 0);
	ck_assert_uint_eq(traps, 1);
	ck_assert_int_eq(ops->write_protect(backend, &span, 1, 1), 0);
	ck_assert_int_eq(write_at(1, 6), 0);
	ck_assert_uint_eq(traps, 2);
	ck_assert_uint_eq(byte_at(1), 6);
}
END_TEST

START_TEST(access_across_pages_traps_for_each)
{
	uint8_t out[3 * 4096], in[3 * 4096];
	size_t i;

	on_trap = map_zero;
	for (i = 0; i < sizeof(out); i++)
		out[i] = (uint8_t)(i * 7);
	ck_assert_int_eq(hmm__mock_access((uintptr_t)at(4) + 100, out, sizeof(out), true), 0);
	ck_assert_uint_eq(traps, 1 + (sizeof(out) + 99) / page);
	ck_assert_int_eq(hmm__mock_access((uintptr_t)at(4) + 100, in, sizeof(in), false), 0);
	ck_assert_int_eq(memcmp(in, out, sizeof(in)), 0);
}
END_TEST

static int refuse(uintptr_t address, enum hmm_fault_access access)
{
	(void)address;
	(void)access;
	return -EIO;
}

START_TEST(access_gets_what_the_fault_says)
{
	uint8_t byte;

	on_trap = refuse;
	ck_assert_int_eq(write_at(3, 1), -EIO);
	ck_assert_int_eq(hmm__mock_access((uintptr_t)at(NPAGES), &byte, 1, false), -ENOENT);
	ck_assert_int_eq(hmm__mock_access((uintptr_t)at(NPAGES) - 1, &byte, 2, false), -EIO);
}
END_TEST

START_TEST(protection_allows_reads_and_refuses_writes)
{
	size_t done;

	ck_assert_int_eq(map(0, 0, 4, HMM_MAP_ZERO, &done), 0);
	ck_assert_int_eq(ops->protect(backend, at(1), 2 * page, PROT_READ), 0);
	ck_assert_int_eq(write_at(0, 1), 0);
	ck_assert_int_eq(write_at(1, 1), -EACCES);
	ck_assert_int_eq(write_at(2, 1), -EACCES);
	ck_assert_int_eq(write_at(3, 1), 0);
	ck_assert_uint_eq(byte_at(1), 0);
	ck_assert_int_eq(unmap(1, 0, 1, HMM_UNMAP_GRANT, &done), 0);
	ck_assert_int_eq(map(1, 0, 1, HMM_MAP_GRANT, &done), 0);
	ck_assert_int_eq(write_at(1, 1), -EACCES);
	ck_assert_int_eq(ops->protect(backend, at(0), NPAGES * page, PROT_READ | PROT_WRITE), 0);
	ck_assert_int_eq(write_at(1, 1), 0);
}
END_TEST

START_TEST(harvest_reports_and_clears_reference_bits)
{
	uint8_t bits[4];
	size_t done;

	ck_assert_int_eq(map(0, 0, 2, HMM_MAP_ZERO, &done), 0);
	ck_assert_int_eq(map(2, 0, 1, HMM_MAP_ZERO | HMM_MAP_PROTECT, &done), 0);
	byte_at(1);
	byte_at(2);
	ck_assert_int_eq(ops->harvest(backend, range, 4, bits), 0);
	ck_assert_uint_eq(bits[0], HMM_HARVEST_PRESENT | HMM_HARVEST_WRITABLE);
	ck_assert_uint_eq(bits[1], HMM_HARVEST_PRESENT | HMM_HARVEST_WRITABLE | HMM_HARVEST_REFERENCED);
	ck_assert_uint_eq(bits[2], HMM_HARVEST_PRESENT | HMM_HARVEST_REFERENCED);
	ck_assert_uint_eq(bits[3], 0);
	ck_assert_int_eq(ops->harvest(backend, range, 4, bits), 0);
	ck_assert_uint_eq(bits[1], HMM_HARVEST_PRESENT | HMM_HARVEST_WRITABLE);
}
END_TEST

START_TEST(poisoned_pages_fail_without_a_trap)
{
	size_t done;

	ck_assert_int_eq(ops->poison(backend, at(2), page, 1), 0);
	ck_assert_int_eq(write_at(2, 1), -EIO);
	ck_assert_uint_eq(traps, 0);
	ck_assert_int_eq(map(2, 0, 1, HMM_MAP_ZERO, &done), -EEXIST);
	ck_assert_int_eq(ops->poison(backend, at(2), page, 0), 0);
	ck_assert_int_eq(map(2, 0, 1, HMM_MAP_ZERO, &done), 0);
	ck_assert_int_eq(write_at(2, 1), 0);
}
END_TEST

START_TEST(empty_slots_hold_a_pattern)
{
	size_t done;

	fill(0, 1);
	memset(slot(0), 1, page);
	ck_assert_int_eq(map(0, 0, 1, HMM_MAP_GRANT, &done), 0);
	ck_assert_uint_ne(slot(0)[0], 1);
	ck_assert_uint_ne(slot(0)[page - 1], 0);
	fill(0, 1);
	ck_assert_uint_ne(slot(0)[0], 0);
}
END_TEST

/* Thread delivery: told to wait, woken by another thread's map. */
static _Atomic bool told_to_wait;

static int wait_first(uintptr_t address, enum hmm_fault_access access)
{
	(void)address;
	(void)access;
	atomic_store(&told_to_wait, true);
	return -EAGAIN;
}

static void *accessor(void *arg)
{
	(void)arg;
	return (void *)(intptr_t)write_at(6, 1);
}

START_TEST(accessor_sleeps_until_its_page_is_woken)
{
	pthread_t thread;
	size_t done;
	void *ret;

	open_with(NULL, HMM_ENGINE_AUTO, HMM_DELIVERY_THREAD);
	on_trap = wait_first;
	ck_assert_int_eq(pthread_create(&thread, NULL, accessor, NULL), 0);
	while (!atomic_load(&told_to_wait))
		sched_yield();
	ck_assert_int_eq(map(6, 0, 1, HMM_MAP_ZERO, &done), 0);
	ck_assert_int_eq(ops->wake(backend, at(6), page), 0);
	ck_assert_int_eq(pthread_join(thread, &ret), 0);
	ck_assert_int_eq((intptr_t)ret, 0);
	ck_assert_uint_eq(traps, 1);
	teardown();
}
END_TEST

START_TEST(options_take_capabilities_away)
{
	struct hmm_mock_options opts = { .size = sizeof(opts), .no_grant = 1, .no_referenced = 1, .no_access = 1 };
	uint8_t bits;
	size_t done;

	open_with(&opts, HMM_ENGINE_AUTO, HMM_DELIVERY_INLINE);
	ck_assert_uint_eq(caps, HMM_BACKEND_POISON);
	ck_assert_int_eq(map(0, 0, 1, HMM_MAP_ZERO, &done), 0);
	byte_at(0);
	ck_assert_int_eq(ops->harvest(backend, range, 1, &bits), 0);
	ck_assert_uint_eq(bits, HMM_HARVEST_PRESENT | HMM_HARVEST_WRITABLE);
	ck_assert_int_eq(write_at(1, 1), -ENOENT);
	ck_assert_int_eq(trap_access, HMM_FAULT_UNKNOWN);
	teardown();
}
END_TEST

static Suite *suite(void)
{
	Suite *s = suite_create("mock");
	TCase *t = tcase_create("operations");

	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_test(t, grant_moves_frame_and_contents_out_and_back);
	tcase_add_test(t, copy_takes_a_frame_and_leaves_the_slot_populated);
	tcase_add_test(t, zero_map_takes_a_frame_and_reads_zeros);
	tcase_add_test(t, map_stops_at_a_mapped_page_and_says_how_far_it_got);
	tcase_add_test(t, map_tells_each_entry_its_own_error);
	tcase_add_test(t, unmap_of_an_absent_page_is_refused);
	tcase_add_test(t, first_write_to_a_protected_page_traps_once);
	tcase_add_test(t, access_across_pages_traps_for_each);
	tcase_add_test(t, access_gets_what_the_fault_says);
	tcase_add_test(t, protection_allows_reads_and_refuses_writes);
	tcase_add_test(t, harvest_reports_and_clears_reference_bits);
	tcase_add_test(t, poisoned_pages_fail_without_a_trap);
	tcase_add_test(t, empty_slots_hold_a_pattern);
	suite_add_tcase(s, t);
	t = tcase_create("variants");
	tcase_add_test(t, accessor_sleeps_until_its_page_is_woken);
	tcase_add_test(t, options_take_capabilities_away);
	suite_add_tcase(s, t);
	return s;
}

HMM_TEST_MAIN(suite)
