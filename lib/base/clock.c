/* SPDX-License-Identifier: MIT */
/*
 * clock.c - the system's monotonic clock, or one that tests drive
 */
#include "lib/base/clock.h"

#include <stdatomic.h>
#include <time.h>

#include "lib/base/util.h"

static _Atomic uint64_t fake_ns = UINT64_MAX; /* UINT64_MAX: not in use */

uint64_t hmm__now_ns(void)
{
	uint64_t fake = atomic_load_explicit(&fake_ns, memory_order_relaxed);
	struct timespec now;

	if (HMM__UNLIKELY(fake != UINT64_MAX))
		return fake;
	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

void hmm__clock_set(uint64_t ns)
{
	atomic_store(&fake_ns, ns);
}

void hmm__clock_advance(uint64_t ns)
{
	uint64_t fake = atomic_load(&fake_ns);

	while (fake != UINT64_MAX && !atomic_compare_exchange_weak(&fake_ns, &fake, fake + ns))
		;
}
