/* SPDX-License-Identifier: MIT */
/*
 * world.h - a space over any backend, store and policy, with memory access that reports instead of dying
 *
 * The suites are written once against this and run over every combination.  A world is opened inside a test (tests
 * run in forked children) and closed by it; closing checks what must hold of every run: the budget was kept at every
 * instant, the policy kept its contract, all frames came back, the mock saw no misuse.
 */
#ifndef HMM_TESTS_WORLD_H
#define HMM_TESTS_WORLD_H

#include <stdbool.h>
#include <stdint.h>

#include <hurd-mm/hurd-mm.h>
#include <hurd-mm/mock.h>

#include "tests/harness.h"

enum world_backend {
	WORLD_MOCK,
	WORLD_MOCK_NO_GRANT,
	WORLD_MOCK_THREAD, /* accessors wait as under thread delivery */
	WORLD_INLINE_AUTO,
	WORLD_INLINE_MOVE,
	WORLD_INLINE_COPY,
	WORLD_THREAD_AUTO,
	WORLD_THREAD_MOVE,
	WORLD_THREAD_COPY,
	WORLD_BACKENDS
};

enum world_store {
	WORLD_SWAP_FILE,    /* anonymous memory, private swap file */
	WORLD_SWAP_MEMORY,  /* anonymous memory, memory store as swap */
	WORLD_FILE_PRIVATE,
	WORLD_FILE_SHARED,
	WORLD_CALLBACK,     /* a caller's own store, shared */
	WORLD_STORES
};

#define WORLD_POLICIES 4

/* Names without colons, for test cases. */
extern const char *const world_backend_names[WORLD_BACKENDS];
extern const char *const world_store_names[WORLD_STORES];
extern const char *const world_policy_names[WORLD_POLICIES];
extern const char *const world_policy_specs[WORLD_POLICIES];

/* A caller's own store: bytes in an array. */
struct world_bytes {
	uint8_t *data;
	uint64_t length;
	_Atomic uint64_t reads, writes, syncs; /* calls */
	_Atomic uint64_t destroyed;
};

struct world {
	enum world_backend backend;
	enum world_store kind;
	unsigned policy;
	size_t page; /* the system's page size */
	struct hmm_mock *mock;
	struct hmm_space *space;
	struct hmm_store *swap;   /* of the space: behind a filter that can be made to fail */
	uint64_t most_frames;     /* largest budget it ever had */
	bool held_may_exceed;     /* a test that lowers the budget */
	_Atomic uint64_t events[10]; /* by enum hmm_event_kind */
	bool policy_errors_expected;
	bool never_recycles;      /* a test that gives memory to the kernel: see world_recycles() */
};

/* What the backend needs and this machine lacks, or NULL. */
const char *world_missing(enum world_backend backend);

uint32_t world_delivery(enum world_backend backend);
bool world_is_mock(const struct world *w);
/* Half of the backends that can grant map all regions with HMM_REGION_RECYCLE, so that both ways are tried. */
bool world_recycles(const struct world *w);
bool world_is_shared(const struct world *w);    /* writes reach the store */
bool world_is_anonymous(const struct world *w);

/*
 * more: NULL, or options to start from; backend, engine, policy and event are filled in.  Swap is one of the world's own
 * kind, or the one that is given; either way behind a filter that can be made to fail.
 */
void world_open(struct world *w, enum world_backend backend, enum world_store kind, unsigned policy, uint64_t frames,
                const struct hmm_space_options *more);
void world_close(struct world *w);

/*
 * A mapping of the world's kind of store.  The store begins with world_initial() in every byte; anonymous memory with
 * zeros.  Each has a store of its own.
 */
struct world_map {
	struct hmm_region *region;
	struct hmm_store *store; /* as mapped: a filter that can be made to fail; NULL: anonymous */
	int fd;                  /* of the file; -1 */
	struct world_bytes *bytes; /* of the callback store; NULL */
	uint8_t *base;
	size_t length;
	size_t page; /* the region's page size */
	size_t npages;
};
void world_map(struct world *w, struct world_map *m, size_t length, const struct hmm_region_options *more);
/* The same with a store of store_length bytes. */
void world_map_short(struct world *w, struct world_map *m, size_t length, uint64_t store_length,
                     const struct hmm_region_options *more);
void world_unmap(struct world *w, struct world_map *m);
/* Let go of the store after the region was unmapped, or keep it until then. */
void world_map_close(struct world_map *m);

uint8_t world_initial(const struct world *w, uint64_t offset);
/* What the store (not the memory) has at offset; shared and private files and callback stores. */
void world_store_peek(const struct world_map *m, uint64_t offset, void *buffer, size_t length);

/*
 * Ask the kernel to swap out everything writable and without a file, but for this thread's stack, that would be touched at
 * once.  With $HMM_TEST_PAGEOUT=N the first and each Nth of the accesses below do it first.
 */
void world_page_out(void);

/* 0, -EIO (SIGBUS), -EACCES (SIGSEGV). */
int world_read(struct world *w, struct hmm_region *region, const void *address, void *buffer, size_t length);
int world_write(struct world *w, struct hmm_region *region, void *address, const void *buffer, size_t length);

/*
 * The same, until it succeeds: under thread delivery a page that could not be read is refused for a while after its
 * store works again.
 */
int world_read_again(struct world *w, struct hmm_region *region, const void *address, void *buffer, size_t length);

/* Fill a page of the map with contents made from tag; check that it has them.  tag 0: as mapped at first. */
void world_put(struct world *w, struct world_map *m, size_t page, uint64_t tag);
void world_check(struct world *w, struct world_map *m, size_t page, uint64_t tag);
/* 1: the page has these contents, 0: others, or the access's -errno. */
int world_has(struct world *w, struct world_map *m, size_t page, uint64_t tag);
/* The bytes that a page with this tag has. */
void world_contents(const struct world *w, size_t page_size, size_t page, uint64_t tag, uint8_t *buffer);

struct hmm_stats world_stats(struct world *w);
/* What must hold between the numbers at any moment at which no other thread is busy. */
void world_check_stats(struct world *w);

/*
 * Waiting for what comes by itself, a millisecond at a time: false when that took longer than any machine may take.
 *	struct world_wait wait = { 0 };
 *	while (!there() && world_wait(&wait))
 *		;
 */
struct world_wait {
	unsigned seconds; /* on the reference machine; 0: ten */
	uint64_t until;   /* 0: not begun */
};
bool world_wait(struct world_wait *wait);

uint64_t world_random(uint64_t *state);

/* Guarded access for tests that touch memory themselves. */
int world_guarded_read(const uint8_t *from, uint8_t *to, size_t length);
int world_guarded_write(uint8_t *to, const uint8_t *from, size_t length);
/* Install the handlers that the guards need; before the library installs its own. */
void world_guard(void);

/*
 * Until every other thread sleeps: to be called before a fork.  AddressSanitizer allocates memory at the begin of a
 * thread and leaves its allocator's locks to a forked child as they are: the child of a fork just then would hang.
 */
void world_threads_rest(void);

#define world_skip(missing) test_skip(missing)

#endif
