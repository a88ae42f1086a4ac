/* SPDX-License-Identifier: MIT */
/*
 * cache_logged.h - one space, one cache in it, and a store and a log that watch what it writes (tests/cache_log.h)
 *
 * On the mock backend.
 */
#ifndef HMM_TESTS_UNIT_CACHE_LOGGED_H
#define HMM_TESTS_UNIT_CACHE_LOGGED_H

#include <stdbool.h>

#include <hurd-mm/hurd-mm.h>

#include "tests/cache_log.h"

#define FRAMES 64u

extern struct hmm_space *space;
extern struct hmm_cache *cache;
extern struct hmm_store *store;
extern struct cache_log logged;
extern uint64_t events, write_events;
extern struct hmm_event last_event;

void open_space(const char *policy, uint32_t flags);
struct hmm_cache_options with_log(void);
void open_cache(size_t page_size, const struct hmm_cache_options *o);
/* All that a test must leave in order. */
void close_all(bool abandon);

struct hmm_cache_stats stats(void);
/* Change a page under this log position. */
void change(uint64_t page, uint64_t position, uint64_t value);
uint64_t value_of(uint64_t page);
int flush_to(uint64_t position);

#endif
