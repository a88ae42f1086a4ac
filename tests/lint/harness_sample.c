/* SPDX-License-Identifier: MIT */
/*
 * harness_sample.c - one test of every outcome, for harness.py to look at.  Fails on purpose.
 */
#include "tests/harness.h"

#include <stdlib.h>

START_TEST(passes)
{
	ck_assert_int_eq(1, 1);
}
END_TEST

START_TEST(fails)
{
	ck_assert_int_eq(1, 2);
}
END_TEST

START_TEST(crashes)
{
	abort();
}
END_TEST

static void need_something(void)
{
	test_skip("UFFDIO_SAMPLE, Linux 9.9");
}

START_TEST(lacks_something)
{
	need_something();
	ck_abort();
}
END_TEST

START_TEST(lacks_something_the_second_time)
{
	if (_i == 1)
		test_skip("a second time");
}
END_TEST

static Suite *suite(void)
{
	Suite *s = suite_create("sample");
	TCase *c = tcase_create("sample");

	tcase_add_test(c, passes);
	tcase_add_test(c, fails);
	tcase_add_test(c, crashes);
	tcase_add_test(c, lacks_something);
	tcase_add_loop_test(c, lacks_something_the_second_time, 0, 3);
	suite_add_tcase(s, c);
	return s;
}

HMM_TEST_MAIN(suite)
