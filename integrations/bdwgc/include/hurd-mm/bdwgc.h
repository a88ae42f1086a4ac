/* SPDX-License-Identifier: MIT */
/*
 * bdwgc.h - the heap of the Boehm-Demers-Weiser collector in a space
 *
 * For programs that use libgc 8.2 or later as a shared library.  Link with hurd-mm-bdwgc before libgc (pkg-config
 * hurd-mm-bdwgc), or preload libhurd-mm-bdwgc-preload.so into a program that knows nothing of it.  hmm-bdwgc(3) has the
 * whole of it.
 */
#ifndef HURD_MM_BDWGC_H
#define HURD_MM_BDWGC_H

#include <hurd-mm/base.h>
#include <hurd-mm/region.h>
#include <hurd-mm/space.h>

HMM_BEGIN_DECLS

enum hmm_bdwgc_flags {
	HMM_BDWGC_NO_DISCARD = 1 << 0, /* don't say which pages hold garbage */
	HMM_BDWGC_NO_PHASES = 1 << 1,  /* don't say that the collector marks */
	HMM_BDWGC_NO_SIZING = 1 << 2,  /* leave it to libgc when to collect and how far to grow */
	/* Pager threads resolve faults, also those in system calls.  So it is by default where the system allows it, and else
	   inline; with the flag, it is that or an error. */
	HMM_BDWGC_THREAD_DELIVERY = 1 << 3,
	/* The faulting thread does: faster, no permission; system calls on the heap are covered by wrappers (hmm-bdwgc(3)). */
	HMM_BDWGC_INLINE_DELIVERY = 1 << 4
};

struct hmm_bdwgc_options {
	size_t size;
	uint64_t reserve; /* bytes of addresses: the most the heap can grow to; 0: 1 TiB, or what can be had */
	uint32_t flags;   /* enum hmm_bdwgc_flags */
};

/*
 * Let libgc take its memory from the space from now on.  Call it before GC_INIT(), with no other thread running; once a
 * process.  opts: borrowed, NULL for defaults.  The space must live as long as the process.
 *
 * Returns 0; -EINVAL (no space, unknown flags, both deliveries); -EALREADY; -ENOSYS (no shared libgc in this process); -ENOTSUP (libgc older than 8.2, or
 * its calls do not pass through this library: it must be linked before libc); -EBUSY (libgc has a heap already); or what
 * hmm_region_map() says.
 */
HMM_API HMM_MUST_CHECK int hmm_bdwgc_install(struct hmm_space *space, const struct hmm_bdwgc_options *opts);

struct hmm_bdwgc_stats {
	size_t size;
	uint64_t heap_bytes;      /* what libgc has in its heap */
	uint64_t other_bytes;     /* what it took beside: headers, mark stacks */
	uint64_t collections;     /* that we saw end */
	uint64_t live_bytes;      /* pages with a live object, after the last of them */
	uint64_t discarded_bytes; /* pages without, said to be garbage, in all collections */
	uint64_t room_bytes;      /* what may be allocated before the next collection; 0: libgc decides */
	uint64_t memory_bytes;    /* what was available to the heap at the last collection */
	uint64_t scan_ns;         /* time to find out what is live and to say what is not */
	uint64_t held_calls;      /* inline delivery: ranges of the heap that were pinned for system calls */
	uint64_t unheld_calls;    /* of those: could not be pinned in whole; the call may have failed with EFAULT */
	uint64_t refused_bytes;   /* asked for by libgc, and the reserved addresses were used up */
	uint64_t inline_delivery; /* 1: inline; 0: by thread */
};
/* stats->size must be set.  -ENOENT: not installed. */
HMM_API HMM_MUST_CHECK int hmm_bdwgc_stats(struct hmm_bdwgc_stats *stats);

/* The region of the heap; NULL if not installed. */
HMM_API struct hmm_region *hmm_bdwgc_region(void);

HMM_END_DECLS

#endif
