/* SPDX-License-Identifier: MIT */
/*
 * mock.h - a backend without a kernel: frames in ordinary memory, simulated mappings
 *
 * For tests, of the library and of policies and stores written against it: the whole heart runs deterministically.  A
 * region of a space with this backend has addresses that must not be dereferenced; accesses are explicit calls.
 */
#ifndef HURD_MM_MOCK_H
#define HURD_MM_MOCK_H

#include <hurd-mm/backend.h>
#include <hurd-mm/region.h>

HMM_BEGIN_DECLS

/* Backend table; backend_arg: a struct hmm_mock of hmm_mock_create(), or NULL for defaults. */
HMM_API const struct hmm_backend_ops *hmm_backend_mock(void);

struct hmm_mock;

enum hmm_mock_site {
	HMM_MOCK_FRAMES, /* frames_take gives none */
	HMM_MOCK_WINDOW,
	HMM_MOCK_FILL,
	HMM_MOCK_ATTACH,
	HMM_MOCK_MAP,
	HMM_MOCK_UNMAP,
	HMM_MOCK_PROTECT, /* write_protect */
	HMM_MOCK_SITES
};

struct hmm_mock_options {
	size_t size;
	uint32_t no_grant;      /* 1: as a kernel without UFFDIO_MOVE */
	uint32_t no_referenced; /* 1: no reference bits */
	uint32_t no_access;     /* 1: as a machine that does not tell reads from writes: HMM_FAULT_UNKNOWN */
	uint64_t wake_ns;       /* thread delivery: an accessor that slept so long was never woken, a misuse; 0: a minute */
};
HMM_API HMM_MUST_CHECK int hmm_mock_create(const struct hmm_mock_options *opts, struct hmm_mock **ret_mock);
/* After every space that used it was destroyed. */
HMM_API void hmm_mock_destroy(struct hmm_mock *mock);

/*
 * Let calls of a site fail with error (-EBUSY, -ENOMEM, ...): the nth from now (0: never), every one from then on with
 * repeat, and each with a chance of per_million, from seed.
 */
HMM_API void hmm_mock_fail(struct hmm_mock *mock, enum hmm_mock_site site, uint64_t nth, int repeat,
                           uint32_t per_million, uint64_t seed, int error);
/* How often a site was called since creation; map and unmap: how many entries. */
HMM_API uint64_t hmm_mock_calls(struct hmm_mock *mock, enum hmm_mock_site site);

/*
 * Frames in use now, behind populated slots and mapped pages, and the most that were in use at any instant.  mock
 * NULL: the one that serves spaces without backend_arg.
 */
HMM_API uint64_t hmm_mock_frames(struct hmm_mock *mock, uint64_t *ret_peak);

/*
 * How often the caller of the backend (the library) broke its rules: used an empty slot, granted into a populated one,
 * held more frames than it took, never woke an accessor ...  *ret_text names the first, NULL if there was none.
 */
HMM_API uint64_t hmm_mock_misuses(struct hmm_mock *mock, const char **ret_text);

/* The supplier asks for frames back (> 0), or offers more (< 0), as a physmem server would. */
HMM_API void hmm_mock_pressure(struct hmm_mock *mock, int64_t frames);

/*
 * Access memory of a region as a program would: length bytes at any alignment.  Returns 0, -EIO and the like (where a
 * program would get SIGBUS), -EACCES (SIGSEGV: read-only), -ENOENT (not an address of a region).
 */
HMM_API HMM_MUST_CHECK int hmm_mock_read(struct hmm_region *region, const void *address, void *buffer, size_t length);
HMM_API HMM_MUST_CHECK int hmm_mock_write(struct hmm_region *region, void *address, const void *buffer, size_t length);

/* The clock of the whole library: time stands still at ns until advanced.  UINT64_MAX: the system's clock again. */
HMM_API void hmm_mock_clock_set(uint64_t ns);
HMM_API void hmm_mock_clock_advance(uint64_t ns);

HMM_END_DECLS

#endif
