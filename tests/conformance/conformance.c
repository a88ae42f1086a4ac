/* SPDX-License-Identifier: MIT */
/*
 * conformance.c - which tests run over which combinations
 *
 * Argument-free, as all suites are: $HMM_CONFORMANCE_BACKEND names the one backend to run, else all.
 */
#include "tests/conformance/conformance.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define COMBINATIONS (WORLD_BACKENDS * WORLD_STORES * WORLD_POLICIES)
#define ONE_POLICY 1u /* clock */

static void add_combination(Suite *s, int i)
{
	static char names[COMBINATIONS][64];
	TCase *t;

	snprintf(names[i], sizeof(names[i]), "%s/%s/%s", world_backend_names[backend_of(i)],
	         world_store_names[store_of(i)], world_policy_names[policy_of(i)]);
	t = tcase_create(names[i]);
	add_data_tests(t, i);
	if (policy_of(i) == ONE_POLICY) {
		add_advice_tests(t, i);
		add_store_tests(t, i);
		add_hold_tests(t, i);
		add_notice_tests(t, i);
		add_invalidate_tests(t, i);
		if (store_of(i) == WORLD_SWAP_MEMORY) {
			add_space_tests(t, i);
			add_error_tests(t, i);
			add_failure_tests(t, i);
			add_full_tests(t, i);
		}
	}
	suite_add_tcase(s, t);
}

/* Where the kernel swaps as well each case takes long: system calls for contents, and copies by the library itself. */
static bool in_sample(int i)
{
	return policy_of(i) == ONE_POLICY && (store_of(i) == WORLD_SWAP_MEMORY || store_of(i) == WORLD_FILE_SHARED);
}

static Suite *suite(void)
{
	const char *only = getenv("HMM_CONFORMANCE_BACKEND");
	bool sample = getenv("HMM_TEST_PAGEOUT") && !test_all();
	Suite *s = suite_create("conformance");

	for (int i = 0; i < COMBINATIONS; i++)
		if ((!only || strcmp(only, world_backend_names[backend_of(i)]) == 0) && (!sample || in_sample(i)))
			add_combination(s, i);
	return s;
}

HMM_TEST_MAIN(suite)
