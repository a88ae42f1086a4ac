/* SPDX-License-Identifier: MIT */
/*
 * heap.h - what the files of this integration share
 *
 *     image.c     where libgc and we are in memory, libgc's functions
 *     heap.c      the region: memory for libgc, what of it is heap
 *     survey.c    which pages are live, free, not used
 *     discard.c   which of the free ones are said to be garbage
 *     collect.c   a collection: phases, what it costs
 *     room.c      how much may be allocated before the next collection
 *     wrap_*.c    the C library's functions that libgc, or the program with memory of the heap, calls; most of them are
 *                 made of the table in calls.def
 *     loans.c     memory of the heap in system calls
 *     install.c   the interface; preload.c: the same from the environment
 */
#ifndef HMM_INTEGRATIONS_BDWGC_HEAP_H
#define HMM_INTEGRATIONS_BDWGC_HEAP_H

#include <gc/gc.h>
#include <hurd-mm/bdwgc.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* Declared here and defined in place of the C library's: seen by libgc, whatever else is hidden. */
#define WRAPPER __attribute__((visibility("default")))

/*
 * What to give a space that names no policy.  Marking touches a page once for each object on it, not once: a share of a
 * tenth, as the policy takes for a scan by itself, is less than what is in use at a time.
 */
#define HMM__GC_POLICY "gc:scan=0.5:lru"

/* image.c */

/* libgc's functions, of the libgc that is loaded; none is called by name, so that a program without libgc can load us. */
struct hmm__libgc {
	unsigned (*get_version)(void);
	size_t (*get_heap_size)(void);
	int (*get_find_leak)(void);
	int (*is_heap_ptr)(const void *);
	void *(*base)(void *);
	int (*get_kind_and_size)(const void *, size_t *);
	void (*set_min_bytes_allocd)(size_t);
	void (*set_free_space_divisor)(GC_word);
	void (*set_dont_expand)(int);
	void (*set_on_collection_event)(GC_on_collection_event_proc);
	GC_on_collection_event_proc (*get_on_collection_event)(void);
	size_t (*get_bytes_since_gc)(void);
	void (*gcollect)(void);
};

extern struct hmm__libgc hmm__libgc;

/* 0; -ENOSYS: there is none; -ENOTSUP: too old. */
int hmm__libgc_find(void);
bool hmm__in_libgc(const void *code);
/* Code of hurd-mm itself. */
bool hmm__in_hurd(const void *code);

/* The caller of a wrapper. */
#define CALLER __builtin_return_address(0)

/* heap.c */

#define HMM__GC_CHUNKS 4096

/* One piece that libgc asked for.  Pieces never touch: libgc merges free blocks of heap that do. */
struct hmm__chunk {
	uint8_t *from;
	size_t length;
	bool is_heap; /* libgc has put it into its heap; else headers, mark stack, or not known yet */
	bool is_told; /* other memory: the policy was told its priority */
};

struct hmm__heap {
	struct hmm_space *space;
	struct hmm_region *region; /* NULL: not installed */
	bool is_inline;            /* faults are delivered inline: system calls can't wait for a page */
	pid_t pid;                 /* another one: a child of vfork(2) */
	uint8_t *base;
	size_t length;
	size_t page;
	_Atomic size_t used;       /* bytes from base on that were given away */
	uint32_t flags;
	uint32_t nchunks;
	struct hmm__chunk *chunks; /* in the order of their addresses; changed under libgc's lock */
	uint64_t *live;            /* a bit a page, of the last collection */
};

extern struct hmm__heap hmm__heap;

int hmm__heap_make(struct hmm_space *space, const struct hmm_bdwgc_options *opts);
/* For libgc, under its lock: bytes, a multiple of the page size; NULL: no addresses left. */
void *hmm__heap_give(size_t length);
/* Find out which chunks have become heap; under libgc's lock. */
void hmm__heap_classify(void);

static inline bool hmm__heap_meets(const void *address, size_t length)
{
	uintptr_t base = (uintptr_t)hmm__heap.base, from = (uintptr_t)address;

	return hmm__heap.region && length && from < base + hmm__heap.length && (from >= base || length > base - from);
}

/* survey.c */

/* Pages, after a collection. */
struct hmm__survey {
	uint64_t heap;  /* of the heap; the rest is free */
	uint64_t live;  /* with a block that is in use */
	uint64_t cold;  /* of those: marking did not need them, and nobody else has used them lately */
	uint64_t other; /* resident, and not of the heap: headers, mark stack */
};

void hmm__survey(struct hmm__survey *survey);

static inline bool hmm__page_is_live(uint64_t page)
{
	return hmm__heap.live[page / 64] >> page % 64 & 1;
}

static inline uint64_t hmm__page_of(const void *address)
{
	return (uint64_t)((const uint8_t *)address - hmm__heap.base) / hmm__heap.page;
}

/* discard.c */

/* After a survey: all that is free, but for `kept` resident pages that libgc will use first. */
void hmm__discard_free(uint64_t kept);

/* collect.c, room.c */

void GC_CALLBACK hmm__collection_event(GC_EventType event);
/* After a collection.  worth: as many transfers take as long as one.  Also at the start, with an empty survey. */
void hmm__room_plan(const struct hmm__survey *survey, uint64_t worth);
/* The heap grows. */
void hmm__room_check(void);
/* Collects if the room is used up. */
void hmm__room_look(void);
/* Of the free pages that are resident, as many as will be used before any is evicted. */
uint64_t hmm__room_reused(void);
uint64_t hmm__room_available(void);

/* counters, install.c */

struct hmm__counters {
	_Atomic uint64_t collections, live, discarded, scan_ns, room, memory, held, unheld, refused;
};

extern struct hmm__counters hmm__counters;

/* wrap_memory.c: does libgc's mmap() come here? */
bool hmm__wrap_reaches_us(void);

/* wrap_signals.c: the set, or a copy of it in `room` that SIGBUS is not in. */
const sigset_t *hmm__without_sigbus(const sigset_t *set, sigset_t *room);

#endif
