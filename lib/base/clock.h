/* SPDX-License-Identifier: MIT */
/*
 * clock.h - time, replaceable so that tests drive it.  Async-signal-safe.
 */
#ifndef HMM_BASE_CLOCK_H
#define HMM_BASE_CLOCK_H

#include <stdint.h>

uint64_t hmm__now_ns(void); /* monotonic */

/* Let time stand still at ns; UINT64_MAX: the system's clock again, which advance leaves alone. */
void hmm__clock_set(uint64_t ns);
void hmm__clock_advance(uint64_t ns);

#endif
