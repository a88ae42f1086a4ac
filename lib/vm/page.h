/* SPDX-License-Identifier: MIT */
/*
 * page.h - the page word: one atomic 64-bit word holds a page's state, flags, pins and frame number
 *
 *   ABSENT --> LOADING --> MAPPED --> EVICTING --> AVAILABLE --> ABSENT
 *                 ^  ^                    |            |
 *                 |  |                    +-> LAUNDRY -+ (store accepted)
 *                 |  +---- rescue ------------+--------+
 *
 * P1  LOADING and EVICTING are owned by the thread that entered them: only it changes state, frame and pins.  Others
 *     may only set WAITERS, and the writer of a laundry batch may clear WRITEBACK.
 * P2  MAPPED, LAUNDRY, AVAILABLE and ABSENT are left by compare-and-swap; who wins owns the page.
 * P3  A frame number is valid in every state but ABSENT, and in LOADING from the moment a frame was attached.
 * P4  DIRTY is exact: set before a write can succeed, cleared only after the page is out of the application's reach
 *     or write-protected.
 * P8  MAPPED, neither DIRTY nor SUSPECT: the frame was never writable at its address, so nothing but a trap changes it.
 *     SUSPECT, neither DIRTY nor FREE: clean if the frame's contents have the print that was taken of them.
 * P5  Whoever leaves a state in which WAITERS was set clears it and wakes (hmm__page_wake).
 */
#ifndef HMM_VM_PAGE_H
#define HMM_VM_PAGE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "lib/base/util.h"
#include "lib/vm/owner.h"

typedef _Atomic uint64_t hmm__word;

enum hmm__state {
	HMM__ABSENT = 0,
	HMM__LOADING = 1,   /* being made present, or protection being changed */
	HMM__MAPPED = 2,
	HMM__EVICTING = 3,  /* being taken away */
	HMM__LAUNDRY = 4,   /* out of reach in its window slot, being written */
	HMM__AVAILABLE = 5, /* out of reach in its window slot, clean */
};

#define HMM__STATE_MASK UINT64_C(7)
#define HMM__WAITERS (UINT64_C(1) << 3)
#define HMM__DIRTY (UINT64_C(1) << 4)     /* contents are newer than the store's */
#define HMM__STORED (UINT64_C(1) << 5)    /* the swap store has contents for it */
#define HMM__LOCKED (UINT64_C(1) << 6)    /* by hmm_region_lock() */
#define HMM__WRITEBACK (UINT64_C(1) << 7) /* a write of older contents is under way: don't start another */
#define HMM__FREE (UINT64_C(1) << 8)      /* contents are garbage unless it was written since */
#define HMM__AHEAD (UINT64_C(1) << 9)     /* read ahead, not asked for yet */
#define HMM__POISONED (UINT64_C(1) << 10) /* accesses get SIGBUS until cleared */
#define HMM__WAS_LOCKED (UINT64_C(1) << 11) /* during hmm_region_lock(): locked before it */
#define HMM__SUSPECT (UINT64_C(1) << 22)  /* clean, but a device may hold its frame for writing: the print tells */
#define HMM__PIN_SHIFT 12
#define HMM__PIN_ONE (UINT64_C(1) << HMM__PIN_SHIFT)
#define HMM__PIN_MASK (UINT64_C(0x3ff) << HMM__PIN_SHIFT)
#define HMM__PIN_MAX 1000
#define HMM__FRAME_SHIFT 32
#define HMM__NO_FRAME UINT32_MAX

static inline enum hmm__state hmm__word_state(uint64_t w)
{
	return (enum hmm__state)(w & HMM__STATE_MASK);
}

static inline uint32_t hmm__word_frame(uint64_t w)
{
	return (uint32_t)(w >> HMM__FRAME_SHIFT);
}

static inline unsigned hmm__word_pins(uint64_t w)
{
	return (unsigned)((w & HMM__PIN_MASK) >> HMM__PIN_SHIFT);
}

static inline bool hmm__word_held(uint64_t w)
{
	return (w & (HMM__PIN_MASK | HMM__LOCKED)) != 0;
}

static inline uint64_t hmm__word_with_state(uint64_t w, enum hmm__state s)
{
	return (w & ~HMM__STATE_MASK) | (uint64_t)s;
}

static inline uint64_t hmm__word_with_frame(uint64_t w, uint32_t frame)
{
	return (w & UINT64_C(0xffffffff)) | ((uint64_t)frame << HMM__FRAME_SHIFT);
}

/* Is another thread busy with it? */
static inline bool hmm__word_busy(uint64_t w)
{
	return hmm__word_state(w) == HMM__LOADING || hmm__word_state(w) == HMM__EVICTING;
}

static inline bool hmm__word_cas(hmm__word *word, uint64_t *expected, uint64_t desired)
{
	if (!atomic_compare_exchange_strong_explicit(word, expected, desired, memory_order_acq_rel, memory_order_acquire))
		return false;
	if (hmm__word_busy(desired) && !hmm__word_busy(*expected))
		hmm__owner_note(word);
	return true;
}

#endif
