/* SPDX-License-Identifier: MIT */
/*
 * tasks.c - count threads by the links of /proc/self/task: one a thread, and two of the directory itself
 *
 * The count of library threads may be too low, never too high, so an error says that there are more application
 * threads than there are: the safe side.
 */
#include "lib/mem/tasks.h"

#include <stdatomic.h>

#include "lib/sys/fd.h"
#include "lib/sys/sys.h"

static _Atomic int library_threads;
/* A library thread works while the application runs, so for it the answer is always no. */
static __thread bool is_library_thread;

void hmm__tasks_add(int n)
{
	is_library_thread = n > 0;
	atomic_fetch_add(&library_threads, n);
}

void hmm__tasks_reset(void)
{
	atomic_store(&library_threads, 0);
}

bool hmm__is_library_thread(void)
{
	return is_library_thread;
}

bool hmm__application_is_single(void)
{
	int before = atomic_load(&library_threads) + hmm__fd_threads();
	struct stat st;

	if (is_library_thread)
		return false;
	if (hmm__sys_stat("/proc/self/task", &st))
		return false;
	if (before != atomic_load(&library_threads) + hmm__fd_threads())
		return false;
	return (long)st.st_nlink - 2 - before == 1;
}
