/* SPDX-License-Identifier: MIT */
/*
 * calibrate.h - how dear page tables, signals and copies are on this machine
 *
 * The verdict of a test must not depend on the machine's speed.  So every time limit is a limit of the reference machine
 * times a scale, and random work is a number of operations divided by it.  The reference is a small virtual machine on
 * which a page fault of the kernel's own takes 2 us; where page tables are shadowed by the host it takes five times that.
 */
#ifndef HMM_TESTS_CALIBRATE_H
#define HMM_TESTS_CALIBRATE_H

#include <stdint.h>

/* Nanoseconds for one, medians; 0: this machine does not allow it. */
struct calibration {
	uint64_t fault;  /* the kernel's own, of anonymous memory */
	uint64_t signal; /* delivered to the thread that sends it, and returned from */
	uint64_t copy;   /* of a page of memory that is resident */
	uint64_t round;  /* a page missing in a userfaultfd(2) range, filled in a SIGBUS handler */
};

/* Takes a fraction of a second on the reference machine.  Changes and restores the handlers of SIGBUS and SIGUSR2. */
void calibrate(struct calibration *c);

/*
 * How many times slower than the reference machine, by the slowest of fault, signal and copy; 1 at least,
 * CALIBRATION_SCALE_MOST at most.  A round does not count: where other processes are at work it may take ten times as long
 * as a minute before.
 */
double calibration_scale(const struct calibration *c);
#define CALIBRATION_SCALE_MOST 100

#endif
