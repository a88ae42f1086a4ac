/* SPDX-License-Identifier: MIT */
/*
 * tasks.h - is the application single-threaded right now?
 *
 * Asked by an application's thread that is inside the library, by a call or in the SIGBUS handler: if the process has no
 * thread but this one and the library's own, then nobody can touch the application's memory until it returns.
 */
#ifndef HMM_MEM_TASKS_H
#define HMM_MEM_TASKS_H

#include <stdbool.h>

/*
 * The library's own threads count themselves: +1 as the first thing they do, -1 as the last, so that at every
 * instant no more are counted than there are.
 */
void hmm__tasks_add(int n);
void hmm__tasks_reset(void); /* in a forked child: threads are not inherited */
bool hmm__is_library_thread(void);
/* False when in doubt.  Async-signal-safe. */
bool hmm__application_is_single(void);

#endif
