/* SPDX-License-Identifier: MIT */
/*
 * hints.h - what a collector or a database can tell the policies `gc` and `db`, beside the hints of policy.h
 *
 * Passed with hmm_region_hint(); other policies ignore it.
 */
#ifndef HURD_MM_HINTS_H
#define HURD_MM_HINTS_H

#include <hurd-mm/policy.h>

HMM_BEGIN_DECLS

/*
 * gc: a phase begins; value: enum hmm_phase.  The range does not matter: any page of the space.  In a scan everything is
 * used once, so uses say nothing about the time after it: they move no page that was there before, and pages loaded
 * meanwhile share a part of the frames (parameter scan) among themselves.
 */
#define HMM_HINT_PHASE ((enum hmm_hint)(HMM_HINT_USER + 0))

enum hmm_phase {
	HMM_PHASE_PLAIN = 0,
	HMM_PHASE_SCAN = 1 /* the marking of a collector that stops the program; a walk over all data */
};

/* db: the pages of the range, now and when they come back, are of this class; value: enum hmm_page_class or more. */
#define HMM_HINT_CLASS ((enum hmm_hint)(HMM_HINT_USER + 1))

/* struct hmm_placement.page_class, and HMM_HINT_CLASS. */
enum hmm_page_class {
	HMM_CLASS_PLAIN = 0,
	HMM_CLASS_INNER = 1,     /* inner node of an index */
	HMM_CLASS_LEAF = 2,
	HMM_CLASS_HEAP = 3,
	HMM_CLASS_TEMPORARY = 4, /* runs of a sort, partitions of a join */
	HMM_CLASS_POOL = 16      /* HMM_CLASS_POOL + 0 .. HMM_CLASS_POOLS - 1: pools of the application's own */
};

#define HMM_CLASS_POOLS 8

/*
 * db: frames for a class that has a pool: INNER, TEMPORARY, and from HMM_CLASS_POOL on.  value: HMM_POOL_QUOTA(...).  A
 * pool within its quota gives up a page only when nothing else is left, a pool beyond it before all others.  The
 * range does not matter.
 */
#define HMM_HINT_QUOTA ((enum hmm_hint)(HMM_HINT_USER + 2))

enum hmm_pool_order {
	HMM_POOL_LRU = 0,
	HMM_POOL_MRU = 1 /* for loops: what was used last goes first */
};

#define HMM_POOL_QUOTA(page_class, order, frames) \
	((int64_t)((uint64_t)(page_class) << 40 | (uint64_t)(order) << 32 | (uint32_t)(frames)))

HMM_END_DECLS

#endif
