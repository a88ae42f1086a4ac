/* SPDX-License-Identifier: MIT */
/*
 * conformance.h - one suite over every combination of backend, store and policy
 *
 * Tests are loop tests whose variable is the combination; the test case's name says which one it is.
 */
#ifndef HMM_TESTS_CONFORMANCE_H
#define HMM_TESTS_CONFORMANCE_H

#include "tests/world.h"

/* The usual case: four times as many pages as frames. */
#define FRAMES 64
#define NPAGES 256

static inline enum world_backend backend_of(int i)
{
	return (enum world_backend)(i / (WORLD_STORES * WORLD_POLICIES));
}

static inline enum world_store store_of(int i)
{
	return (enum world_store)(i / WORLD_POLICIES % WORLD_STORES);
}

static inline unsigned policy_of(int i)
{
	return (unsigned)i % WORLD_POLICIES;
}

/* In the body of a START_TEST: the world of combination _i, or a skip. */
#define OPEN_WITH(w, frames, options) \
	do { \
		const char *missing_ = world_missing(backend_of(_i)); \
		if (missing_) \
			world_skip(missing_); \
		world_open((w), backend_of(_i), store_of(_i), policy_of(_i), (frames), (options)); \
	} while (0)
#define OPEN(w) OPEN_WITH(w, FRAMES, NULL)

/* For every combination. */
void add_data_tests(TCase *t, int i);
/* For every backend and store, with one policy. */
void add_advice_tests(TCase *t, int i);
void add_store_tests(TCase *t, int i);
void add_hold_tests(TCase *t, int i);
void add_notice_tests(TCase *t, int i);
void add_invalidate_tests(TCase *t, int i);
/* For every backend, with one store and policy. */
void add_space_tests(TCase *t, int i);
void add_error_tests(TCase *t, int i);
void add_failure_tests(TCase *t, int i);
void add_full_tests(TCase *t, int i);

#endif
