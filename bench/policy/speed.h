/* SPDX-License-Identifier: MIT */
/*
 * speed.h - requests a second in the simulator's exact mode
 *
 * Apart from policy.h, for it knows traces as hmm-sim does.
 */
#ifndef BENCH_POLICY_SPEED_H
#define BENCH_POLICY_SPEED_H

#include <stddef.h>
#include <stdint.h>

#define SPEED_CURVE "lru-curve" /* not a policy: the misses of LRU at all sizes in one pass */

struct speed {
	double median, best; /* million requests a second of CPU time, of the repeats */
	unsigned repeats;    /* made: 1 to 32 */
	uint64_t misses;     /* at this size */
};

/*
 * Run the simulator's engine over a trace so often, each time from an empty memory; what is timed begins when the
 * tables are made and the trace is in memory.  spec: as in struct hmm_space_options.policy, or SPEED_CURVE.  Returns 0,
 * -ENOENT, -EINVAL or -ENOMEM.
 */
int measure_speed(const char *spec, uint32_t frames, const uint32_t *pages, size_t n, uint32_t unique, unsigned repeats,
                  struct speed *ret);

#endif
