/* SPDX-License-Identifier: MIT */
/*
 * fingerprint.h - have these contents changed?
 *
 * XXH3, 128 bits, from libxxhash: not cryptographic, but different contents do not agree by chance.  The widest vectors
 * that the CPU has are used: read from the second-level cache, 4 KiB take about 0.1 us with AVX2 and 0.3 us with SSE2.
 */
#ifndef HMM_MEM_FINGERPRINT_H
#define HMM_MEM_FINGERPRINT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct hmm__fingerprint {
	uint64_t low, high;
};

/* Binds what is bound at the first call, so that none of it happens in a signal handler. */
void hmm__fingerprint_prepare(void);
/* Async-signal-safe after hmm__fingerprint_prepare(). */
struct hmm__fingerprint hmm__fingerprint_of(const void *data, size_t length);

static inline bool hmm__fingerprint_equal(struct hmm__fingerprint a, struct hmm__fingerprint b)
{
	return a.low == b.low && a.high == b.high;
}

#endif
