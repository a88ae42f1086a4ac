/* SPDX-License-Identifier: MIT */
/*
 * call.h - entering the heart by a call: signals blocked, the region held, the arguments checked
 */
#ifndef HMM_VM_CALL_H
#define HMM_VM_CALL_H

#include <signal.h>

#include "lib/vm/vm.h"

struct hmm__call {
	struct hmm_region *region; /* held, or NULL */
	struct hmm_space *space;   /* held, or NULL */
	bool open;                 /* signals are not blocked (yet) */
	sigset_t mask;
};

/* -EINVAL for NULL, -ENOENT for a region that is going, -ECHILD as below. */
int hmm__call_begin(struct hmm__call *call, struct hmm_region *region);
/* The same, and turn a range into pages: -EINVAL (misaligned, length 0), -ENOMEM (not all of it is the region's). */
int hmm__call_range(struct hmm__call *call, struct hmm_region *region, const void *address, size_t length,
                    uint64_t *ret_page, uint64_t *ret_npages);
/* -ECHILD in a child that was made without fork's handlers (gate.c, G3): then the call has not begun. */
int hmm__call_begin_space(struct hmm__call *call, struct hmm_space *space);
/*
 * The same for a call that mostly ends soon: signals stay open while the process has no region.  Before anything that takes
 * long, waits, or calls the user: hmm__call_block().
 */
int hmm__call_begin_light(struct hmm__call *call, struct hmm_space *space);
void hmm__call_block(struct hmm__call *call);
void hmm__call_reenter(struct hmm_space *space); /* within such a call, for who has left `inside` for a while */
void hmm__call_end(struct hmm__call *call);

/* advise.c */
bool hmm__hint_known(enum hmm_hint hint, int64_t value);
/* Tell the policy, of the range and of each of its pages that has a frame. */
void hmm__hint_pages(struct hmm_region *region, uint64_t page, uint64_t npages, enum hmm_hint hint, int64_t value);

/* sync.c */
int hmm__sync_pages(struct hmm_region *region, uint64_t page, uint64_t npages);

#endif
