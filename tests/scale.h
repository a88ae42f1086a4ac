/* SPDX-License-Identifier: MIT */
/*
 * scale.h - limits and amounts of work that fit the machine
 *
 * Nothing in a test is a number of seconds by itself: a limit is test_patience() of what the reference machine of
 * calibrate.h may take, which already has much room, and random work is test_operations(), never "as many as there is
 * time for".  `tests/lint/limits.py` looks after that.
 *
 * Environment: HMM_TEST_SCALE (else measured, in some milliseconds), HMM_TEST_ALL=1 (what ./check --all sets).
 */
#ifndef HMM_TESTS_SCALE_H
#define HMM_TESTS_SCALE_H

#include <stdbool.h>
#include <stdint.h>

/* How many times dearer than on the reference machine page tables and signals are; 1 to 100. */
double test_scale(void);

/*
 * A limit in seconds for what must end within `seconds` on the reference machine: more where page tables are dear, in an
 * instrumented build, and where more processes want to run than there are processors.
 */
unsigned test_patience(unsigned seconds);

/*
 * How many of n operations `what` shall make here: n divided by the scale and by what the build's instruments cost, and
 * at least `least`.  All with HMM_TEST_ALL.  Printed where it is not n.
 */
uint64_t test_operations(const char *what, uint64_t n, uint64_t least);

/* All of it, also what repeats the same lines: samples are for everyday. */
bool test_all(void);

#endif
