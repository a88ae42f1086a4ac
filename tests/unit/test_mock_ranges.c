/* SPDX-License-Identifier: MIT */
/*
 * test_mock_ranges.c - the mock backend: ranges of addresses, their frames, and what a fork leaves of them
 */
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/unit/mock_fixture.h"

START_TEST(partial_detach_frees_frames_and_leaves_both_sides)
{
	uint8_t byte;
	size_t done;

	ck_assert_int_eq(map(0, 0, 8, HMM_MAP_ZERO, &done), 0);
	ck_assert_int_eq(ops->detach(backend, at(2), 3 * page), 0);
	ck_assert_uint_eq(hmm_mock_frames(mock, NULL), 5);
	ck_assert_int_eq(write_at(1, 1), 0);
	ck_assert_int_eq(write_at(5, 1), 0);
	ck_assert_int_eq(hmm__mock_access((uintptr_t)at(2), &byte, 1, false), -ENOENT);
	ck_assert_int_eq(hmm__mock_access((uintptr_t)at(4), &byte, 1, false), -ENOENT);
	ck_assert_int_eq(ops->detach(backend, at(0), 2 * page), 0);
	ck_assert_int_eq(ops->detach(backend, at(NPAGES - 1), page), 0);
	ck_assert_int_eq(hmm__mock_access((uintptr_t)at(1), &byte, 1, false), -ENOENT);
	ck_assert_uint_eq(byte_at(6), 0);
	ck_assert_int_eq(ops->detach(backend, at(5), (NPAGES - 6) * page), 0);
	ck_assert_int_eq(hmm__mock_access((uintptr_t)at(6), &byte, 1, false), -ENOENT);
	ck_assert_uint_eq(hmm_mock_frames(mock, NULL), 0);
}
END_TEST

START_TEST(fixed_attach_refuses_taken_addresses)
{
	unsigned shift = (unsigned)__builtin_ctzl(page);
	void *base;

	ck_assert_int_eq(ops->attach(backend, at(1), page, shift, PROT_READ, HMM_ATTACH_FIXED, &base), -EEXIST);
	ck_assert_int_eq(ops->detach(backend, at(4), 4 * page), 0);
	ck_assert_int_eq(ops->attach(backend, at(5), page, shift, PROT_READ, HMM_ATTACH_FIXED, &base), 0);
	ck_assert_ptr_eq(base, at(5));
	on_trap = map_zero;
	ck_assert_uint_eq(byte_at(5), 0);
	ck_assert_int_eq(write_at(5, 1), -EACCES);
	ck_assert_int_eq(ops->detach(backend, at(5), page), 0);
}
END_TEST

START_TEST(large_pages_count_all_their_frames)
{
	struct hmm_map m;
	struct hmm_unmap u;
	void *base, *w;
	uint8_t byte = 3;

	ck_assert_int_eq(ops->window(backend, 16, 2, &w), 0);
	ck_assert_int_eq(ops->attach(backend, NULL, 4 << 16, 16, PROT_READ | PROT_WRITE, 0, &base), 0);
	ck_assert_uint_eq((uintptr_t)base % (1 << 16), 0);
	ck_assert_int_eq(ops->fill(backend, w, 1 << 16), 0);
	ck_assert_uint_eq(hmm_mock_frames(mock, NULL), (1 << 16) / page);
	memset(w, 8, 1 << 16);
	m = (struct hmm_map){ .address = (uint8_t *)base + (1 << 16), .slot = w, .length = 1 << 16,
	                      .flags = HMM_MAP_GRANT };
	ck_assert_int_eq(ops->map(backend, &m, 1), 0);
	ck_assert_int_eq(hmm__mock_access((uintptr_t)base + (2 << 16) - 1, &byte, 1, false), 0);
	ck_assert_uint_eq(byte, 8);
	ck_assert_uint_eq(hmm_mock_frames(mock, NULL), (1 << 16) / page);
	u = (struct hmm_unmap){ .address = m.address, .length = 1 << 16 };
	ck_assert_int_eq(ops->unmap(backend, &u, 1), 0);
	ck_assert_uint_eq(hmm_mock_frames(mock, NULL), 0);
}
END_TEST

#define HUGE_SHIFT (TEST_TSAN ? 38 : 40)

START_TEST(huge_range_costs_only_what_is_touched)
{
	unsigned shift = (unsigned)__builtin_ctzl(page);
	size_t length = (size_t)1 << HUGE_SHIFT;
	struct hmm_map m;
	void *base;
	uint8_t byte = 1;

	ck_assert_int_eq(ops->attach(backend, NULL, length, shift, PROT_READ | PROT_WRITE, 0, &base), 0);
	m = (struct hmm_map){ .address = (uint8_t *)base + length - page, .length = page, .flags = HMM_MAP_ZERO };
	ck_assert_int_eq(ops->map(backend, &m, 1), 0);
	ck_assert_int_eq(hmm__mock_access((uintptr_t)base + length - 1, &byte, 1, true), 0);
	ck_assert_int_eq(ops->detach(backend, base, length), 0);
	ck_assert_uint_eq(hmm_mock_frames(mock, NULL), 0);
}
END_TEST

START_TEST(peak_is_kept_and_pressure_is_passed_on)
{
	struct hmm_span span = { .address = slot(0), .length = 9 * page };
	uint64_t peak;

	fill(0, 9);
	ck_assert_int_eq(ops->drop(backend, &span, 1), 0);
	ck_assert_uint_eq(hmm_mock_frames(mock, &peak), 0);
	ck_assert_uint_eq(peak, 9);
	hmm_mock_pressure(mock, 12);
	hmm_mock_pressure(mock, -5);
	ck_assert_int_eq(pressed, 7);
}
END_TEST

START_TEST(forked_child_keeps_inherited_ranges_only)
{
	unsigned shift = (unsigned)__builtin_ctzl(page);
	uint8_t byte = 5;
	void *base;
	size_t done;
	int status;
	pid_t pid;

	ck_assert_int_eq(ops->attach(backend, NULL, 4 * page, shift, PROT_READ | PROT_WRITE, HMM_ATTACH_INHERIT, &base),
	                 0);
	on_trap = map_zero;
	ck_assert_int_eq(hmm__mock_access((uintptr_t)base, &byte, 1, true), 0);
	ck_assert_int_eq(map(0, 0, 2, HMM_MAP_ZERO, &done), 0);
	fill(0, 3);
	pid = fork();
	if (pid == 0) {
		uint8_t seen;
		int bad = ops->reopen(backend) != 0;

		bad |= hmm_mock_frames(mock, NULL) != 1;
		bad |= hmm__mock_access((uintptr_t)range, &seen, 1, false) != -ENOENT;
		bad |= hmm__mock_access((uintptr_t)base, &seen, 1, false) != 0 || seen != 5;
		bad |= ops->fill(backend, slot(0), page) != 0;
		bad |= hmm_mock_misuses(mock, NULL) != 0;
		_exit(bad);
	}
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert_int_eq(status, 0);
	ck_assert_uint_eq(hmm_mock_frames(mock, NULL), 6);
}
END_TEST

static Suite *suite(void)
{
	Suite *s = suite_create("mock_ranges");
	TCase *t = tcase_create("operations");

	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_test(t, partial_detach_frees_frames_and_leaves_both_sides);
	tcase_add_test(t, fixed_attach_refuses_taken_addresses);
	tcase_add_test(t, large_pages_count_all_their_frames);
	tcase_add_test(t, huge_range_costs_only_what_is_touched);
	tcase_add_test(t, peak_is_kept_and_pressure_is_passed_on);
	tcase_add_test(t, forked_child_keeps_inherited_ranges_only);
	suite_add_tcase(s, t);
	return s;
}

HMM_TEST_MAIN(suite)
