/* SPDX-License-Identifier: MIT */
/*
 * impl.h - the ways to get at the pages of a file that are compared, behind one table
 *
 * Each runs in a process of its own (process.h).  The loop over the keys is each implementation's own, made from loop.h, so
 * that what is measured is the calls and not the way to them.
 */
#ifndef BENCH_CACHE_IMPL_H
#define BENCH_CACHE_IMPL_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#include "bench/cache/stamp.h"
#include "bench/fault/keys.h"
#include "bench/kernel/text.h"

enum mode {
	MODE_READ,       /* every access looks at one line */
	MODE_PAIRS,      /* a pin and its end, and is it the page?  Its address says so, once its contents have */
	MODE_OPTIMISTIC, /* as MODE_PAIRS, but optimistic reads without pins */
	MODE_LOOK,       /* as MODE_READ, but optimistic reads without pins */
	MODE_MIX,        /* some write */
	MODE_PREFETCH,   /* lists of pages are asked for before they are read */
	MODES
};

struct setup {
	size_t page_size;
	uint32_t npages;
	uint64_t budget;     /* bytes */
	int fd;
	const char *policy;  /* NULL: the library's default */
	const char *cgroup;  /* for those under a limit: directory of the memory cgroup */
	const char *directory;
	const uint32_t *keys[MAX_THREADS]; /* bench/fault/keys.h */
};

/* Since it was opened. */
struct counters {
	uint64_t misses;
	uint64_t writes; /* pages written */
};

struct worker {
	_Alignas(64) _Atomic uint64_t accesses;
	_Atomic int *stop;
	void *context;
	const struct setup *setup;
	const uint32_t *keys;
	uint32_t position;
	uint32_t line_mask;   /* lines of a page - 1 */
	unsigned thread;
	uint64_t bad;
	int error;            /* -errno */
	uint32_t *versions;   /* what this thread wrote last, by page */
	const void **places;  /* where this thread found right contents, by page */
	void *buffer;         /* a page of the thread's own */
};

struct impl {
	const char *name;
	int (*open)(const struct setup *setup, void **ret_context, char why[TEXT_BYTES]);
	void (*loop[MODES])(struct worker *worker); /* until *worker->stop; NULL: can't be done that way */
	void (*counters)(void *context, struct counters *ret);
	int (*close)(void *context); /* what is dirty is in the file then */
};

extern const struct impl impl_cache, impl_region, impl_mmap, impl_mmap_limited, impl_pread;

#endif
