/* SPDX-License-Identifier: MIT */
/*
 * hazard.h - pins for reading that a thread keeps to itself
 *
 * A count in the page word travels between the processors with each hit: two threads that read the same pages from the word
 * were slower together than one alone.  So a thread notes what it has pinned for reading in a line of its own, and who wants
 * a page to leave MAPPED looks into the lines of all threads.  (Hazard pointers: M. M. Michael, IEEE TPDS 2004.)
 *
 * H1  To pin: write the slot, then look at the word: MAPPED means pinned.  To take a page: change the word from MAPPED, then
 *     look at the slots; if it is in one, change it back (hmm__cache_close).  All four in one total order (seq_cst), so at
 *     least one of the two sees the other.
 * H2  Pins of a page for reading are alike, in slots or in the word: whoever gives one back may take any, but no writer's.  A
 *     slot is filled by its owner only, and emptied by compare-and-swap, by anybody.
 * H3  Slots hold pins for reading only.  What needs more of a pin - a put that makes a volatile page dirty or discards it,
 *     rekey - moves it into the word first (hmm__hazard_absorb).
 * H4  Lines are never freed.  A thread that ends leaves its line, with what is in it, to the next that begins.
 */
#ifndef HMM_VM_CACHE_HAZARD_H
#define HMM_VM_CACHE_HAZARD_H

#include "lib/vm/cache/cache.h"

#define HMM__HAZARDS 8u      /* pins a line */
#define HMM__HAZARD_LINES 256u /* threads; those beyond count in the word */

struct hmm__hazards {
	_Atomic(hmm__word *) slot[HMM__HAZARDS]; /* NULL: free */
} __attribute__((aligned(128)));                 /* two lines: processors fetch pairs */

extern _Thread_local struct hmm__hazards *hmm__hazards; /* NULL: none yet */

/* A line for this thread.  If there is none, one whose slots are all in use for ever. */
struct hmm__hazards *hmm__hazards_join(void);

/* Is one of these n words in a slot? */
bool hmm__hazard_any(const hmm__word *words, uint64_t n);
/* How many of them are in slots and have no pin in the word. */
uint64_t hmm__hazard_count(const hmm__word *words, uint64_t n);
/* Take n words out of all slots; returns how many slots that were. */
unsigned hmm__hazard_clear(const hmm__word *words, uint64_t n);
/* No lock held: move a pin of the page from a slot to the word.  False: there is none. */
bool hmm__hazard_absorb(struct hmm_cache *cache, uint64_t page);
/* In a forked child: no other thread has pins any more. */
void hmm__hazards_forked(void);

#endif
