/* SPDX-License-Identifier: MIT */
/*
 * keep.c - is it worth keeping the contents of a clean page that is evicted?
 *
 * Keeping costs a copy of the page (1.3 to 2 us, most of it cache misses) at every eviction.  It saves a load whenever
 * the page is asked for again before its frame is reused.  So it pays if
 *
 *     rescues per kept page  x  time of a load  >  time of a copy
 *
 * Load times are measured (one load in 16), the rate of rescues as well: while contents are not kept, every 16th pass
 * keeps them nevertheless, on a list that is 16 times shorter, so that pages stay on it for about as long.  From a file in
 * the kernel's page cache keeping never pays (a load costs no more than the copy); from a disk it does from a few per
 * cent on.  Granted pages cost nothing to keep and are not asked about.
 */
#include "lib/vm/vm.h"

#define COPY_NS 1800
#define PROBE 16u
#define SAMPLES 512u

bool hmm__keep_clean(struct hmm_space *space)
{
	if (space->rescue != HMM_RESCUE_AUTO)
		return space->rescue == HMM_RESCUE_ALWAYS;
	if (atomic_load_explicit(&space->keep_now, memory_order_relaxed))
		return true;
	return atomic_fetch_add_explicit(&space->keep_passes, 1, memory_order_relaxed) % PROBE == 0;
}

bool hmm__keep_samples(const struct hmm_space *space)
{
	uint32_t caps = hmm__policy_ops(space->policy)->caps;

	return space->rescue != HMM_RESCUE_NEVER && caps & (HMM_POLICY_EXACT | HMM_POLICY_GHOSTS);
}

uint64_t hmm__keep_goal(const struct hmm_space *space)
{
	if (space->rescue == HMM_RESCUE_NEVER)
		return 0;
	if (space->samples || space->rescue == HMM_RESCUE_ALWAYS ||
	    atomic_load_explicit(&space->keep_now, memory_order_relaxed))
		return space->available_target;
	return space->available_target / PROBE;
}

void hmm__keep_loaded(struct hmm_space *space, uint64_t ns, uint64_t npages)
{
	uint64_t old = atomic_load_explicit(&space->load_cost_ns, memory_order_relaxed), one = ns / npages;

	atomic_store_explicit(&space->load_cost_ns, old ? (old * 15 + one) / 16 : one, memory_order_relaxed);
}

void hmm__keep_rescued(struct hmm_space *space)
{
	atomic_fetch_add_explicit(&space->keep_rescues, 1, memory_order_relaxed);
}

void hmm__keep_evicted(struct hmm_space *space, uint32_t kept)
{
	uint32_t samples = atomic_fetch_add_explicit(&space->keep_samples, kept, memory_order_relaxed) + kept;
	uint64_t rescues, gain;

	if (samples < SAMPLES)
		return;
	rescues = atomic_exchange_explicit(&space->keep_rescues, 0, memory_order_relaxed);
	atomic_store_explicit(&space->keep_samples, 0, memory_order_relaxed);
	gain = rescues * atomic_load_explicit(&space->load_cost_ns, memory_order_relaxed) / samples;
	/* some distance between on and off, so that it does not flap */
	if (gain > COPY_NS + COPY_NS / 4)
		atomic_store_explicit(&space->keep_now, 1, memory_order_relaxed);
	else if (gain < COPY_NS - COPY_NS / 4)
		atomic_store_explicit(&space->keep_now, 0, memory_order_relaxed);
}
