/* SPDX-License-Identifier: MIT */
/*
 * impl.h - the ways to page that are compared, behind one table
 *
 * A *subject* is one open implementation in a process of its own: its own faults, its own resident set, its own
 * signal handlers, and interrupts only to processors that run it.  The parent sends it one run after another.
 */
#ifndef BENCH_FAULT_IMPL_H
#define BENCH_FAULT_IMPL_H

#include <stddef.h>
#include <stdint.h>

#include "bench/fault/content.h"
#include "bench/fault/keys.h"
#include "bench/kernel/text.h"

enum kind { KIND_FILE, KIND_ANON };
enum op { OP_READ, OP_MIX };
enum delivery { DELIVERY_INLINE, DELIVERY_THREAD, DELIVERY_KERNEL, DELIVERY_NONE };

/* What to open.  Filled in by the plan. */
struct setup {
	enum kind kind;
	enum delivery delivery;
	unsigned page_shift;
	uint64_t bytes;          /* of the region */
	uint64_t budget;         /* bytes that may be resident */
	int fd;                  /* the file, for KIND_FILE and the floor */
	const char *directory;   /* for the swap store */
	unsigned direct;         /* enum hmm_direct */
	const char *policy;      /* NULL: the library's default */
	unsigned engine;         /* enum hmm_engine */
	unsigned rescue;         /* enum hmm_rescue */
	int recycle;             /* HMM_REGION_RECYCLE */
	unsigned number;         /* of the subject, 1 to 63: whose versions it writes (content.h) */
	const char *cgroup;      /* directory of the memory cgroup to live in, or NULL */
	const char *store;       /* how the swap of the kernel is called in the results */
};

/* Since open.  A field that an implementation can't know stays 0. */
struct counters {
	uint64_t misses;      /* pages that an access found missing */
	uint64_t loads;       /* of those: read from the store */
	uint64_t rescues;     /* of those: content was still in memory */
	uint64_t zero_fills;  /* of those: made of zeros */
	uint64_t prefetches;  /* pages read that no access had asked for */
	uint64_t protects;    /* traps of first writes to clean pages */
	uint64_t write_outs;  /* pages written to the store */
	uint64_t majflt, minflt; /* the process's, as the kernel counts them */
	uint64_t resident;    /* now, in bytes */
};

/* What the process told about itself when it opened. */
struct identity {
	char policy[32];
	char store[32];
	char engine[16];
};

struct impl {
	const char *name;
	int lossy; /* writes are dropped on eviction: only what was there at first is checked */
	int filled; /* the contents are there already: do not fill */
	/*
	 * In the child.  Makes setup->bytes accessible; *ret_base may be NULL if fetch is set.  Returns 0 or
	 * -errno; `why` says in words what is missing.
	 */
	int (*open)(const struct setup *setup, struct identity *identity, void **ret_context, void **ret_base,
	            char why[TEXT_BYTES]);
	void (*counters)(void *context, struct counters *counters);
	/* Optional: where pages first .. first + n - 1 can be looked at; else they are at base. */
	void *(*fetch)(void *context, unsigned thread, uint64_t first, unsigned n);
	/* Optional: called in each worker thread before its first access. */
	int (*thread_start)(void *context, unsigned thread);
	/* Write back what is owed, and end.  -errno. */
	int (*close)(void *context);
};

extern const struct impl impl_hurd, impl_hurd_file, impl_floor, impl_mmap, impl_swap_zram, impl_swap_file,
	impl_read_loop;

#endif
