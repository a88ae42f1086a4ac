/* SPDX-License-Identifier: MIT */
/*
 * fingerprint.c - libxxhash, by its run-time dispatch where there is one
 *
 * Only x86 has it, not everybody builds it, and Debian has it in the shared library but not in the static one: so it
 * is a weak symbol.
 */
#include "lib/mem/fingerprint.h"

#include <xxhash.h>

#ifdef HMM_XXH_DISPATCH
#define XXH_DISPATCH_DISABLE_REPLACE
#include <xxh_x86dispatch.h>
#pragma weak XXH3_128bits_dispatch
#else
#define XXH3_128bits_dispatch ((XXH128_hash_t (*)(const void *, size_t))NULL)
#endif

/*
 * Debian's libxxhash leaves the upper halves of the vector registers in use.  Until somebody clears them, every SSE
 * instruction of the thread waits for the one before that wrote the same register: a whole program ran 15% slower for it.
 */
static inline void leave_wide_vectors(void)
{
#ifdef HMM_XXH_DISPATCH
	if (__builtin_cpu_supports("avx"))
		__asm__ volatile("vzeroupper" ::: "memory");
#endif
}

struct hmm__fingerprint hmm__fingerprint_of(const void *data, size_t length)
{
	XXH128_hash_t hash = XXH3_128bits_dispatch ? XXH3_128bits_dispatch(data, length) : XXH3_128bits(data, length);

	leave_wide_vectors();
	return (struct hmm__fingerprint){ hash.low64, hash.high64 };
}

void hmm__fingerprint_prepare(void)
{
	static const char nothing[4096]; /* short data take other ways through the library */

	(void)hmm__fingerprint_of(nothing, sizeof(nothing));
}
