/* SPDX-License-Identifier: MIT */
/*
 * store.h - a store from the inside: handle, counters, and calls that skip the checks of the public ones
 *
 * A store of the library embeds struct hmm_store as its first member and passes itself as ctx; a caller's own is a bare
 * struct hmm_store.  The table is copied at creation and never changes, so a call needs no lock and no reference
 * beyond the one that its caller holds.
 */
#ifndef HMM_STORE_STORE_H
#define HMM_STORE_STORE_H

#include <stdalign.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <hurd-mm/store.h>

#include "lib/base/util.h"

enum hmm__store_kind {
	HMM__STORE_CALLBACK, /* a caller's own: results are checked */
	HMM__STORE_FILE,
	HMM__STORE_SWAP,
	HMM__STORE_MEMORY,
	HMM__STORE_FAULTY
};

enum hmm__store_flags {
	HMM__STORE_WRITABLE = 1 << 0,
	HMM__STORE_DIRECT = 1 << 1
};

/* Of a forked child and the store its parent used: */
enum hmm__heritage {
	HMM__HERITAGE_DISJOINT, /* it is one store: the two must write to different places */
	HMM__HERITAGE_PRIVATE,  /* the kernel's copy of the process has copied it */
	HMM__HERITAGE_OWN,      /* what the child writes goes to one of its own, that is made when it is needed */
	HMM__HERITAGE_ASK,      /* the callback says, and is to be called in fork's handler */
};

/* One line of counters.  Threads spread over the lines, so that two of them seldom write to the same one. */
#define HMM__STORE_LINES 8
struct hmm__store_line {
	alignas(64) _Atomic uint64_t reads;
	_Atomic uint64_t writes;
	_Atomic uint64_t bytes_read;
	_Atomic uint64_t bytes_written;
	_Atomic uint64_t read_errors;
	_Atomic uint64_t write_errors;
	_Atomic uint64_t system_calls;
};

/*
 * What two handles have in common if the same bytes are behind them: a file's device and inode, or a block device's number;
 * of any other store nothing but the handle is known.
 */
struct hmm__store_identity {
	uint64_t device, object;
};
#define HMM__STORE_BY_NUMBER UINT64_MAX       /* device: object is a block device's number */
#define HMM__STORE_BY_HANDLE (UINT64_MAX - 1) /* device: object is the handle's address */

static inline bool hmm__store_same(const struct hmm__store_identity *a, const struct hmm__store_identity *b)
{
	return a->device == b->device && a->object == b->object;
}

/* The unit of stores that have no needs of their own. */
#define HMM__STORE_SECTOR 512u

/* Key: (i) fixed at creation  (a) atomic */
struct hmm_store {
	struct hmm_store_ops ops;                   /* (i) */
	void *ctx;                                  /* (i) */
	size_t object_size;                         /* (i) of the object that begins here */
	enum hmm__store_kind kind;                  /* (i) */
	uint32_t flags;                             /* (i) enum hmm__store_flags */
	struct hmm__store_identity identity;        /* (i) */
	uint64_t (*bytes_held)(void *ctx);          /* (i) or NULL */
	void (*keep)(void *ctx);                    /* (i) or NULL: put its descriptors out of the program's reach (fd.h) */
	uint64_t capacity;                          /* (i) bytes: nothing at or above it can be written; 0: not known */
	enum hmm__heritage heritage;                /* (i) */
	char name[32];                              /* (i) */
	_Atomic uint32_t references;                /* (a) */
	struct hmm__store_line counts[HMM__STORE_LINES]; /* (a) statistics only */
};

/*
 * A zeroed object of object_size bytes that begins with a store: one reference, table and name copied, ctx the object
 * itself.  NULL if there is no memory.  hmm__store_free() frees it without calling destroy: for creators that fail
 * half-way.
 */
void *hmm__store_new(size_t object_size, enum hmm__store_kind kind, uint32_t flags, const struct hmm_store_ops *ops);
void hmm__store_free(struct hmm_store *store);

/*
 * As the public calls, for callers inside the library: signals are blocked already, pieces are well formed, the caller
 * holds a reference.  Async-signal-safe as far as the store's callbacks are; no lock, no allocation, under 2 KiB of
 * stack in the library's own stores.
 */
int hmm__store_read(struct hmm_store *store, struct hmm_store_vec *vec, unsigned n);
int hmm__store_write(struct hmm_store *store, struct hmm_store_vec *vec, unsigned n);
/* The same, but nothing is left out (S4): what lies past the end moves it, or fails. */
int hmm__store_extend(struct hmm_store *store, struct hmm_store_vec *vec, unsigned n);
int hmm__store_sync(struct hmm_store *store, uint64_t offset, uint64_t length);
int hmm__store_discard(struct hmm_store *store, uint64_t offset, uint64_t length);
int hmm__store_length(struct hmm_store *store, uint64_t *ret_length);
/* The offset at or above which nothing can be written, as far as that is known beforehand; UINT64_MAX: none is. */
uint64_t hmm__store_capacity(struct hmm_store *store);

/* hmm_store_swap() for the fault path: async-signal-safe, and its descriptors are not kept, which may sleep. */
int hmm__store_swap(const struct hmm_swap_options *opts, struct hmm_store **ret_store);

/*
 * In a forked child, of a store that is OWN or ASK: a store like it, empty, for what the child writes.  *ret_store is NULL
 * if an ASK's is the child's own already.  OWN: async-signal-safe.
 */
int hmm__store_renew(struct hmm_store *store, struct hmm_store **ret_store);

/* Can it be written at all?  False for a file that was opened for reading only. */
static inline bool hmm__store_writable(const struct hmm_store *store)
{
	return store->flags & HMM__STORE_WRITABLE;
}

/* Unit of transfer, and alignment of memory. */
static inline size_t hmm__store_granule(const struct hmm_store *store)
{
	return store->ops.granule;
}

/* Would a discard do anything? */
static inline bool hmm__store_discards(const struct hmm_store *store)
{
	return store->ops.discard != NULL;
}

/* The line of counters for this thread, told by where its stack is: no thread-local storage in a signal handler. */
static inline struct hmm__store_line *hmm__store_line(struct hmm_store *store)
{
	uint64_t stack = (uint64_t)(uintptr_t)__builtin_frame_address(0) >> 16;

	return &store->counts[stack * 0x9e3779b97f4a7c15u >> 61];
}

static inline void hmm__store_count(_Atomic uint64_t *counter, uint64_t n)
{
	atomic_fetch_add_explicit(counter, n, memory_order_relaxed);
}

static_assert(HMM__STORE_LINES == 1 << (64 - 61), "hmm__store_line() yields three bits");

#endif
