/* SPDX-License-Identifier: MIT */
/*
 * wrap_alloc.c - libgc's allocating functions: a collection when the planned room is used up
 *
 * libgc by itself collects only when no free block is left, however many there are: a heap that was large once is used
 * from end to end for ever after.  These are called in place of libgc's and collect first, where libgc might have.
 *
 * L1  What a thread allocates is counted by itself, and the common account looked at every STEP bytes.
 */
#include "wrap.h"

#include <gc/gc_inline.h>
#include <gc/gc_mark.h>
#include <gc/gc_typed.h>

#define STEP ((intptr_t)64 << 10)

/* Not where libgc's headers make macros of them. */
#undef GC_malloc
#undef GC_malloc_atomic

static _Thread_local intptr_t left = STEP;

static __attribute__((noinline)) void look(void)
{
	left = STEP;
	hmm__room_look();
}

static inline void step(size_t bytes)
{
	left -= bytes < (size_t)STEP ? (intptr_t)bytes : STEP;
	if (__builtin_expect(left < 0, 0))
		look();
}

#define ALLOCATE(name, parameters, bytes, ...) \
	NEXT(name) \
	WRAPPER void *GC_CALL name parameters \
	{ \
		step(bytes); \
		return REAL(name)(__VA_ARGS__); \
	}

ALLOCATE(GC_malloc, (size_t n), n, n)
ALLOCATE(GC_malloc_atomic, (size_t n), n, n)
ALLOCATE(GC_malloc_uncollectable, (size_t n), n, n)
ALLOCATE(GC_malloc_atomic_uncollectable, (size_t n), n, n)
ALLOCATE(GC_malloc_ignore_off_page, (size_t n), n, n)
ALLOCATE(GC_malloc_atomic_ignore_off_page, (size_t n), n, n)
ALLOCATE(GC_malloc_kind, (size_t n, int kind), n, n, kind)
ALLOCATE(GC_generic_malloc, (size_t n, int kind), n, n, kind)
ALLOCATE(GC_malloc_explicitly_typed, (size_t n, GC_descr layout), n, n, layout)
ALLOCATE(GC_memalign, (size_t alignment, size_t n), n, alignment, n)
ALLOCATE(GC_realloc, (void *object, size_t n), n, object, n)
ALLOCATE(GC_malloc_many, (size_t n), hmm__heap.page, n)

NEXT(GC_generic_malloc_many)

/* A page full of objects at a time. */
WRAPPER void GC_CALL GC_generic_malloc_many(size_t n, int kind, void **result)
{
	step(n > hmm__heap.page ? n : hmm__heap.page);
	REAL(GC_generic_malloc_many)(n, kind, result);
}
