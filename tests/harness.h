/* SPDX-License-Identifier: MIT */
/*
 * harness.h - Check suites that speak TAP
 *
 *	START_TEST(clock_spares_page_touched_since_sweep) { ... } END_TEST
 *	static Suite *suite(void) { ... }
 *	HMM_TEST_MAIN(suite)
 *
 * Each test of the suite is one line of TAP.  A test whose kernel lacks something calls
 * test_skip("UFFDIO_MOVE, Linux 6.8"): it ends there and is reported as skipped, with this text.
 *
 * A case has 60 seconds times the scale of tests/scale.h; for more: tcase_set_timeout(t, test_patience(SECONDS)).
 *
 * Environment: CK_RUN_CASE, CK_RUN_SUITE, CK_FORK=no (for debuggers), CK_DEFAULT_TIMEOUT (seconds, as they are); those of
 * tests/scale.h.
 */
#ifndef HMM_TESTS_HARNESS_H
#define HMM_TESTS_HARNESS_H

#include <check.h>
#include <stdint.h>

#include "tests/scale.h"

#define HMM_TEST_MAIN(make) \
	int main(void) \
	{ \
		return test_main(make); \
	}

/* Run the suite that make returns; 0 if nothing failed. */
int test_main(Suite *(*make)(void));

/*
 * End this test, which lacks `missing`; does not return.  From the test's own thread, in the test, in a function that it
 * calls or in a checked fixture; not in a test that is expected to die of a signal.
 */
void test_skip(const char *missing) __attribute__((noreturn));

/* Seed for a random test: $HMM_TEST_SEED, or a new one.  Printed, so that a failure can be repeated. */
uint64_t test_seed(void);

/* Is this a build for ThreadSanitizer?  It leaves a program about one TiB of addresses, and is ten times slower. */
#if defined(__SANITIZE_THREAD__)
#define TEST_TSAN 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define TEST_TSAN 1
#endif
#endif
#ifndef TEST_TSAN
#define TEST_TSAN 0
#endif

#endif
