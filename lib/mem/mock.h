/* SPDX-License-Identifier: MIT */
/*
 * mock.h - parts of the mock backend: a physmem in ordinary memory that notices every misuse
 *
 * K1  A slot is empty or populated, never both; an empty slot holds a known pattern, checked when it is populated again.
 * K2  A frame is behind a populated slot or behind a mapped page.  hmm_mock.frames is their exact number at every
 *     instant, and never more than the capacity (of each instance), nor than was taken from the supplier, where the
 *     heart takes frames at all.
 * K3  The contents of a mapped page change only under its stripe's lock, and only after its entry allows the access.
 * K4  What a kernel would refuse, and what it would silently do to the wrong memory, is counted as misuse and the first
 *     is kept as a text.
 *
 * Locks, all of rank BACKEND, never two at once: ranges (list of attached ranges), hmm_mock.lock (instances),
 * a site's (injection), a stripe's (entries and contents of pages).
 * Key: (i) fixed at creation  (r) lock of the ranges  (m) hmm_mock.lock  (p) stripe  (a) atomic
 */
#ifndef HMM_MEM_MOCK_H
#define HMM_MEM_MOCK_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include <hurd-mm/mock.h>

#include "lib/base/lock.h"

#define HMM__MOCK_STRIPES 16u
#define HMM__MOCK_CHUNK 4096u /* pages whose present ones are counted together */
#define HMM__MOCK_SHIFTS 32u

struct hmm__mock_site {
	struct hmm__lock lock;
	_Atomic uint64_t calls;
	_Atomic bool armed;
	uint64_t nth; /* site's lock, as all below */
	uint64_t state;
	uint32_t per_million;
	int repeat;
	int error;
};

struct hmm__mock_backend;

struct hmm_mock {
	uint32_t no_grant; /* (i) */
	uint32_t no_referenced;
	uint32_t no_access;
	uint64_t wake_ns; /* 0: WAKE_NS of mock_access.c */
	struct hmm__lock lock;
	struct hmm__mock_backend *instances; /* (m) */
	_Atomic uint64_t frames;             /* in use (K2) */
	_Atomic uint64_t peak;
	_Atomic uint64_t taken; /* allowed by frames_take, not yet returned */
	_Atomic bool takes;     /* frames_take was called */
	_Atomic uint64_t misuses;
	_Atomic(const char *) misuse; /* the first one's text */
	struct hmm__mock_site sites[HMM_MOCK_SITES];
};

enum hmm__mock_slot {
	HMM__MOCK_FRESH = 0, /* empty since the window was made: reads zeros */
	HMM__MOCK_EMPTY = 1, /* empty: holds the pattern */
	HMM__MOCK_POPULATED = 2
};

struct hmm__mock_window {
	_Atomic(uint8_t *) base; /* set last */
	uint8_t *mapping;        /* (i) what was mapped for it */
	size_t mapping_length;
	_Atomic uint8_t *slots; /* (i) enum hmm__mock_slot; (a) one call at a time for a slot */
	uint32_t nslots;
	unsigned shift;
};

struct hmm__mock_backend {
	struct hmm_mock *mock; /* (i) */
	struct hmm_backend_config config;
	uint32_t caps;
	struct hmm__mock_backend *next; /* (m) */
	_Atomic uint64_t frames;        /* of mock->frames: this instance's */
	_Atomic uint64_t taken;         /* of mock->taken: the same */
	struct hmm__mock_window windows[HMM__MOCK_SHIFTS];
};

enum hmm__mock_entry {
	HMM__MOCK_PRESENT = 1 << 0,
	HMM__MOCK_PROTECTED = 1 << 1, /* write-protected: a write traps */
	HMM__MOCK_REFERENCED = 1 << 2,
	HMM__MOCK_POISONED = 1 << 3, /* absent: an access is answered with SIGBUS */
	HMM__MOCK_FLIPPED = 1 << 4   /* protection is the other one than the body's */
};

struct hmm__mock_stripe {
	struct hmm__lock lock;
	_Atomic uint32_t wakes; /* (a) changes when accessors of its pages are woken */
};

/* What was attached by one call; lives until the last part is detached and the last access has ended. */
struct hmm__mock_body {
	struct hmm__mock_backend *backend; /* (i) */
	uintptr_t base;
	uint64_t npages;
	unsigned shift;
	unsigned flags; /* enum hmm_attach_flags */
	bool writable;  /* (i) what HMM__MOCK_FLIPPED turns round */
	_Atomic uint32_t refs;
	uint8_t *contents;        /* (p) sparse */
	uint8_t *entries;         /* (p) sparse: enum hmm__mock_entry */
	_Atomic uint32_t *chunks; /* (a) present pages of each chunk */
	struct hmm__mock_stripe stripes[HMM__MOCK_STRIPES];
};

/* The addresses of a body that are still attached; several after a part was detached. */
struct hmm__mock_range {
	struct hmm__mock_range *next; /* (r) */
	struct hmm__mock_body *body;
	uintptr_t base, end;
};

/* mock.c: accounts */
void hmm__mock_misuse(struct hmm_mock *mock, const char *text);
int hmm__mock_frames_add(struct hmm__mock_backend *b, uint64_t n);
void hmm__mock_frames_sub(struct hmm__mock_backend *b, uint64_t n);
unsigned hmm__mock_frame_shift(void);
/* Every callback's beginning: all signals must be blocked. */
void hmm__mock_enter(struct hmm__mock_backend *b);

/* mock_inject.c: 0, or the -errno that this call shall fail with */
int hmm__mock_inject(struct hmm_mock *mock, enum hmm_mock_site site);
void hmm__mock_sites_init(struct hmm_mock *mock);

/* mock_window.c */
int hmm__mock_window(void *backend, unsigned page_shift, uint32_t nslots, void **ret_base);
int hmm__mock_fill(void *backend, void *slot, size_t length);
int hmm__mock_drop(void *backend, const struct hmm_span *slots, unsigned n);
struct hmm__mock_window *hmm__mock_window_find(struct hmm__mock_backend *b, const void *slot, size_t length);
/* State changes of one slot, checked; the frame accounts are the caller's.  0, or -errno after noting the misuse. */
int hmm__mock_slot_populate(struct hmm__mock_backend *b, struct hmm__mock_window *w, uint32_t slot);
int hmm__mock_slot_check(struct hmm__mock_backend *b, struct hmm__mock_window *w, uint32_t slot);
void hmm__mock_slot_empty(struct hmm__mock_window *w, uint32_t slot);
void hmm__mock_windows_reset(struct hmm__mock_backend *b);
void hmm__mock_windows_free(struct hmm__mock_backend *b);
/* Address space of its own, aligned to 1 << shift. */
int hmm__mock_reserve(size_t length, unsigned shift, int prot, void **ret_base, uint8_t **ret_mapping,
                      size_t *ret_mapping_length);

/* mock_range.c */
int hmm__mock_attach(void *backend, void *hint, size_t length, unsigned page_shift, int prot, unsigned flags,
                     void **ret_base);
int hmm__mock_detach(void *backend, void *base, size_t length);
/* The body that has all of these addresses attached, with a reference to put; NULL if there is none. */
struct hmm__mock_body *hmm__mock_body_get(uintptr_t address, size_t length);
void hmm__mock_body_put(struct hmm__mock_body *body);
void hmm__mock_ranges_reopen(struct hmm__mock_backend *b);
void hmm__mock_ranges_free(struct hmm__mock_backend *b);

/* mock_map.c */
int hmm__mock_map(void *backend, struct hmm_map *maps, unsigned n);
int hmm__mock_unmap(void *backend, struct hmm_unmap *unmaps, unsigned n);

/* mock_pages.c */
int hmm__mock_protect(void *backend, void *base, size_t length, int prot);
int hmm__mock_write_protect(void *backend, const struct hmm_span *spans, unsigned n, int on);
int hmm__mock_harvest(void *backend, void *base, size_t npages, uint8_t *bits);
int hmm__mock_wake(void *backend, void *base, size_t length);
int hmm__mock_poison(void *backend, void *base, size_t length, int on);
/* A range of whole pages of this instance, or NULL and the misuse noted. */
struct hmm__mock_body *hmm__mock_pages_get(struct hmm__mock_backend *b, const void *base, size_t length);

/* mock_access.c: what a program's instruction would do; as hmm_mock_read() and write() */
int hmm__mock_access(uintptr_t address, void *buffer, size_t length, bool write);

static inline uint8_t *hmm__mock_contents(struct hmm__mock_body *body, uint64_t page)
{
	return body->contents + (page << body->shift);
}

static inline struct hmm__mock_stripe *hmm__mock_stripe(struct hmm__mock_body *body, uint64_t page)
{
	return &body->stripes[page % HMM__MOCK_STRIPES];
}

static inline uint64_t hmm__mock_page(const struct hmm__mock_body *body, uintptr_t address)
{
	return (address - body->base) >> body->shift;
}

static inline void hmm__mock_stripe_wake_count(struct hmm__mock_stripe *stripe)
{
	atomic_fetch_add_explicit(&stripe->wakes, 1, memory_order_acq_rel);
}

#endif
