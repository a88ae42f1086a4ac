/* SPDX-License-Identifier: MIT */
/*
 * compare.h - run one program under several kinds of memory, and compare
 */
#ifndef BENCH_GC_COMPARE_H
#define BENCH_GC_COMPARE_H

#include <stdbool.h>
#include <stdint.h>

#include "bench/kernel/text.h"

enum impl {
	IMPL_PLAIN,  /* as much memory as it wants */
	IMPL_GC,     /* preloaded, all that the integration does */
	IMPL_LRU,    /* preloaded, policy lru, libgc and the policy hear nothing of each other */
	IMPL_THREAD, /* as IMPL_GC, by thread delivery */
	IMPL_ZRAM,   /* the kernel: memory cgroup and zram swap */
	IMPLS
};

extern const char *const impl_names[IMPLS];

struct job {
	const char *name;
	char *const *argv;
	unsigned threads;
	const char *preload;  /* path of the module */
	uint64_t budget;      /* bytes of heap; not for IMPL_PLAIN */
	uint64_t limit;       /* of the cgroup, for IMPL_ZRAM: bytes */
	const char *directory; /* of swap files, or NULL */
};

#define ANSWER_BYTES 256

struct run {
	char answer[ANSWER_BYTES]; /* its standard output */
	double seconds;
	uint64_t transfers;        /* pages read and written */
	uint64_t heap;             /* bytes of heap at the end, as far as it says */
	uint64_t collections;
	uint64_t peak;             /* bytes of memory of its own (R3), the most */
	bool is_killed;            /* by SIGKILL, not ours */
	bool is_done, is_skipped;  /* skipped: the machine has no such thing; neither: it failed */
	char why[TEXT_BYTES];
};

/* Run it once.  cgroup: of IMPL_ZRAM. */
void run_once(const struct job *job, enum impl impl, const char *cgroup, struct run *run);

#endif
