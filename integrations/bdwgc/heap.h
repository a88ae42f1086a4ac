/* SPDX-License-Identifier: MIT */
/*
 * heap.h - what the files of this integration share
 *
 *     image.c     where libgc and we are in memory, libgc's functions
 *     heap.c      the region: memory for libgc, what of it is heap
 *     collect.c   a collection: phases, what is live, discards
 *     room.c      how much may be allocated before the next collection
 *     wrap_*.c    the C library's functions that libgc, or the program with memory of the heap, calls
 *     hold.c      memory of the heap in system calls
 *     install.c   the interface; preload.c: the same from the environment
 */
#ifndef HMM_INTEGRATIONS_BDWGC_HEAP_H
#define HMM_INTEGRATIONS_BDWGC_HEAP_H

#include <gc/gc.h>
#include <gc/gc_mark.h>
#include <hurd-mm/bdwgc.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

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
	void (*enumerate)(GC_reachable_object_proc, void *);
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

	return hmm__heap.region && length && from < base + hmm__heap.length && from + length > base;
}

/* collect.c, room.c */

void GC_CALLBACK hmm__collection_event(GC_EventType event);
/* After a collection: pages with live objects.  Also at the start, with none. */
void hmm__room_plan(uint64_t live, uint64_t heap, uint64_t other);
/* The heap grows. */
void hmm__room_check(void);
/* Collects if the room is used up. */
void hmm__room_look(void);
uint64_t hmm__room_available(void);
/* There was room beside the live pages at the last look. */
bool hmm__room_is_steady(void);

/* counters, install.c */

struct hmm__counters {
	_Atomic uint64_t collections, live, discarded, scan_ns, room, memory, held, unheld, refused;
};

extern struct hmm__counters hmm__counters;

/* wrap_memory.c: does libgc's mmap() come here? */
bool hmm__wrap_reaches_us(void);

#endif
