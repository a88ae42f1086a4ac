/* SPDX-License-Identifier: MIT */
/*
 * cache_log.h - a store and a log that watch a cache: what was written, when, and whether it was allowed
 *
 * The first words of each page are its number, the position of its last change, and a value.  The store refuses nothing that
 * is right, and counts each page that comes before the log is durable up to that position, each that is not the one its
 * offset says, and each that somebody is just changing.
 */
#ifndef HMM_TESTS_CACHE_LOG_H
#define HMM_TESTS_CACHE_LOG_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include <hurd-mm/hurd-mm.h>

#define CACHE_LOG_PAGES 512u
#define CACHE_LOG_ORDER 4096u

struct cache_log {
	size_t page_size;
	uint64_t offset;          /* of page 0 in the store */
	uint8_t *image;           /* what the store has */
	_Atomic uint64_t durable; /* the log is, up to here */
	_Atomic uint64_t broken;  /* pages written before their log */
	_Atomic uint64_t foreign; /* pages at the wrong place, or without a mark */
	_Atomic uint64_t torn;    /* pages with half a change */
	_Atomic uint64_t unsorted; /* calls whose pieces were not in order */
	_Atomic uint64_t calls, pages, syncs, discards, log_calls;
	_Atomic int fail;         /* -errno of writes ... */
	_Atomic uint32_t every;   /* ... of each so manieth piece; 1: of all */
	_Atomic int log_fail;     /* -errno of cache_log_flush() */
	_Atomic int read_fail;
	/* Called for each page that the store took. */
	void (*taken)(void *arg, uint64_t page);
	void *taken_arg;
	_Atomic uint32_t norder;
	uint32_t order[CACHE_LOG_ORDER]; /* page numbers in the order they came; not kept where `hold` is set */
	_Atomic uint32_t hold;    /* writes wait while it is 1 */
	_Atomic uint32_t read_hold; /* reads wait while it is 1 */
	_Atomic uint32_t held;    /* calls that wait */
};

/* The store: *ret_store is the caller's.  log must be zeroed, but for page_size and offset. */
void cache_log_open(struct cache_log *log, struct hmm_store **ret_store);
void cache_log_close(struct cache_log *log);

/* To be the cache's callbacks. */
uint64_t cache_log_flushed(void *arg);
int cache_log_flush(void *arg, uint64_t position);

/* The marks of a page.  The value is at its end, too, so that half a change shows. */
void cache_log_mark(const struct cache_log *log, void *data, uint64_t page, uint64_t position, uint64_t value);
uint64_t cache_log_value(const struct cache_log *log, const void *data);
uint64_t cache_log_stored(const struct cache_log *log, uint64_t page);

#endif
