/* SPDX-License-Identifier: MIT */
/*
 * keeper.h - a thread with a descriptor table of its own, which holds copies of the library's descriptors
 */
#ifndef HMM_SYS_KEEPER_H
#define HMM_SYS_KEEPER_H

#include <stdbool.h>
#include <stdint.h>

/* A descriptor in the keeper's table; `in` is 0 where there is none. */
struct hmm__kept {
	uint32_t in;  /* which keeper: a forked child has another */
	int number;
};

/* Copy n numbers of this thread's table into the keeper's.  Starts it if need be.  May sleep. */
void hmm__keeper_add(const int *numbers, struct hmm__kept *ret_kept, unsigned n);
/* Give n up.  The keeper ends with the last one.  May sleep. */
void hmm__keeper_drop(struct hmm__kept *kept, unsigned n);
/* Is there such a copy?  Async-signal-safe, as hmm__keeper_take(). */
bool hmm__keeper_has(const struct hmm__kept *kept);
/* A descriptor of the same open file, at whatever number is free, close-on-exec.  -errno.  Async-signal-safe. */
int hmm__keeper_take(const struct hmm__kept *kept);

#endif
