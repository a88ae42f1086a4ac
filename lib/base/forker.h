/* SPDX-License-Identifier: MIT */
/*
 * forker.h - the thread that forks: what stands still for it, it may pass itself
 *
 * From the moment that a forking thread has made all others wait until it lets them go on, it runs fork handlers of the
 * program's, which may touch paged memory.  Nobody else is at work then, so it needs none of the locks it holds, and no gate.
 * Its faults are served by itself (a signal handler), or by a pager, which passes as it does while it serves that fault.
 */
#ifndef HMM_BASE_FORKER_H
#define HMM_BASE_FORKER_H

#include <stdbool.h>
#include <stdint.h>

/* By the thread that forks; end is also its copy's in the child. */
void hmm__forker_begin(void);
void hmm__forker_end(void);

/* Is this thread it, or at work for it? */
bool hmm__for_forker(void);

/* By a pager: is it the thread with this number? */
bool hmm__forker_is(uint32_t tid);
void hmm__forker_serve(bool on);
/*
 * True in a pager meanwhile.  Then accessors are not woken by what is done: the pager wakes the forking thread last, when all
 * books are settled, for it may go on to copy the process at once.
 */
bool hmm__serves_forker(void);

#endif
