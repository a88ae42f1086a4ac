/* SPDX-License-Identifier: MIT */
/*
 * heap.h - a semispace heap of linked records in a region of a space, with Cheney's copying collector
 */
#ifndef SEMISPACE_HEAP_H
#define SEMISPACE_HEAP_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include <hurd-mm/hurd-mm.h>

/* What the collector tells the pager. */
struct advice {
	bool discard;  /* from-space is garbage after a collection */
	bool phases;   /* a collection is one scan; the table of roots stays */
	bool notice;   /* keep what the collection is about to scan; note the pointers of what leaves */
	bool estimate; /* collect before the pager has to write, if that helps */
};

/* A record never crosses a page.  header: bytes << 1 | 1, or where it was copied to, or 0: no more in this page. */
struct record {
	uint64_t header;
	struct record *ref[2];
	uint64_t id;
	uint64_t data[];
};

struct heap {
	struct advice advice;
	struct hmm_space *space;
	struct hmm_region *region;      /* both halves */
	struct hmm_region *root_region; /* the table of roots, paged too */
	struct record **roots;
	size_t nroots, half, page;
	char *base;                 /* of the first half */
	char *from, *to;            /* to: where records are allocated; from: the other half */
	_Atomic(char *) free, scan; /* in to; scan: how far a collection has looked; equal to free outside one */
	char *limit;                /* of free, before the next collection */
	uint16_t *pointers;         /* of each page that left: pointers to other pages, for a collector that has use for them */
	uint64_t collections, copied;
};

/* -errno of the space or of its regions; the heap's memory is not the caller's then. */
int heap_create(struct heap *heap, const struct advice *advice, const char *policy, enum hmm_delivery delivery,
                uint64_t frames, size_t half, size_t nroots);
void heap_destroy(struct heap *heap);
/* Collects if it must: then every record but those that the roots lead to has another address.  NULL: the heap is full. */
struct record *heap_alloc(struct heap *heap, size_t bytes);
void heap_collect(struct heap *heap);
/* Pages that are not in memory and whose noted pointers are not what is in them; ret_pages: how many were looked at. */
uint64_t heap_check_notes(struct heap *heap, uint64_t *ret_pages);

#endif
