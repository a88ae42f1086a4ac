/* SPDX-License-Identifier: MIT */
/*
 * base.h - what every other header needs: version, visibility, attributes
 *
 * Conventions of the whole library:
 *
 * - Functions return 0 (or a count) on success and a negative errno on failure.  Outputs are written only on
 *   success.  On failure nothing has changed, unless a function says otherwise.
 * - Sizes in bytes are size_t, offsets uint64_t, counts of pages say npages, counts of frames say frames.  A frame is
 *   one page of the system's size (hmm_page_size()) of physical memory.
 * - Option and statistics structures begin with their own size, so that they can grow; zero is the default of every
 *   field.  A structure larger than the library knows is accepted if its unknown tail is zero, else -E2BIG.
 * - Every function may be called from any thread unless it says otherwise.  None may be called from a signal handler,
 *   a store, policy or event callback, unless it says so.
 */
#ifndef HURD_MM_BASE_H
#define HURD_MM_BASE_H

#include <stddef.h>
#include <stdint.h>

#define HMM_VERSION_MAJOR 0
#define HMM_VERSION_MINOR 1
#define HMM_VERSION_PATCH 0

#if defined(__GNUC__)
#define HMM_API __attribute__((visibility("default")))
#define HMM_MUST_CHECK __attribute__((warn_unused_result))
#else
#define HMM_API
#define HMM_MUST_CHECK
#endif

#ifdef __cplusplus
#define HMM_BEGIN_DECLS extern "C" {
#define HMM_END_DECLS }
#else
#define HMM_BEGIN_DECLS
#define HMM_END_DECLS
#endif

HMM_BEGIN_DECLS

/* The library's version at run time, for example "0.1.0". */
HMM_API const char *hmm_version(void);

/* The system's page size in bytes: the size of one frame. */
HMM_API size_t hmm_page_size(void);

/* For hmm_region_invalidate() and hmm_cache_invalidate(). */
enum hmm_invalidate_flags {
	HMM_INVALIDATE_DIRTY = 1 << 0 /* also pages that were changed here and not written yet: the changes are lost */
};

HMM_END_DECLS

#endif
