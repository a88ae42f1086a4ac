/* SPDX-License-Identifier: MIT */
/*
 * ghost.h - what is remembered of pages that left: identity -> cookie, bounded, O(1)
 *
 * Not locked: the caller serialises.  put and take are async-signal-safe.
 */
#ifndef HMM_POLICY_GHOST_H
#define HMM_POLICY_GHOST_H

#include <stddef.h>
#include <stdint.h>

struct hmm__ghosts;

/*
 * Remember at least the last `capacity` pages put and not taken since, as far as they are among the last 6 * capacity
 * puts.  Returns 0, -EINVAL (capacity 0) or -ENOMEM.
 */
int hmm__ghosts_create(uint32_t capacity, struct hmm__ghosts **ret_ghosts);
void hmm__ghosts_destroy(struct hmm__ghosts *ghosts); /* NULL is accepted */

/* Remember a page as the youngest; cookie != 0.  A page that is there already gets the new cookie and age. */
void hmm__ghosts_put(struct hmm__ghosts *ghosts, uint64_t page, uint32_t cookie);
/* Forget a page; returns its cookie, 0 if it is not remembered. */
uint32_t hmm__ghosts_take(struct hmm__ghosts *ghosts, uint64_t page);

uint32_t hmm__ghosts_count(const struct hmm__ghosts *ghosts);
size_t hmm__ghosts_bytes(const struct hmm__ghosts *ghosts); /* address space; memory only where touched */

#endif
