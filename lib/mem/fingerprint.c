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

struct hmm__fingerprint hmm__fingerprint_of(const void *data, size_t length)
{
	XXH128_hash_t hash = XXH3_128bits_dispatch ? XXH3_128bits_dispatch(data, length) : XXH3_128bits(data, length);

	return (struct hmm__fingerprint){ hash.low64, hash.high64 };
}

void hmm__fingerprint_prepare(void)
{
	static const char nothing[4096]; /* short data take other ways through the library */

	(void)hmm__fingerprint_of(nothing, sizeof(nothing));
}
