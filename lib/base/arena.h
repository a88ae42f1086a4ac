/* SPDX-License-Identifier: MIT */
/*
 * arena.h - the library's own memory: never paged by us, never from malloc
 *
 * malloc may be the application's, may live in a region of ours, and is not async-signal-safe; so the library takes
 * its memory from the kernel.  Neither function may be called on the fault path.
 */
#ifndef HMM_BASE_ARENA_H
#define HMM_BASE_ARENA_H

#include <stddef.h>
#include <stdint.h>

/* Small objects: zeroed, aligned to 64 bytes, NULL if there is no memory.  size is given again to free. */
void *hmm__alloc(size_t size);
void hmm__free(void *object, size_t size); /* NULL is accepted */

/*
 * Large, sparse tables: zeroed, page-aligned, backed by memory only where touched (no huge pages, not reserved), absent
 * in a core dump; not locked by mlockall(MCL_FUTURE).  NULL if there is no address space.
 */
void *hmm__sparse_alloc(size_t size);
void hmm__sparse_free(void *table, size_t size);
/* The same for the process, whoever happens to need it first: no `fix` (below). */
void *hmm__sparse_alloc_for_all(size_t size);

/*
 * Until the end, each sparse table that this thread takes is first handed to `fix`, which returns 0 or -errno: then there is no
 * table.  Ending gives r back, or, where that is -ENOMEM, the first error of fix, or -EAGAIN of a limit on locked memory, if there
 * was one.  Does not nest.
 */
void hmm__sparse_begin(int (*fix)(void *table, size_t size));
int hmm__sparse_end(int r);

/* Bytes that hmm__alloc has from the kernel now. */
size_t hmm__arena_bytes(void);

/*
 * Failure injection, for tests.  The nth call of hmm__alloc or hmm__sparse_alloc from now returns NULL (nth 0: none),
 * and every later one with repeat.  Calls are counted from then on.
 */
void hmm__alloc_fail(uint64_t nth, int repeat);
uint64_t hmm__alloc_calls(void);

#endif
