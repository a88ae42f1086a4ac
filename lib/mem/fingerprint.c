/* SPDX-License-Identifier: MIT */
/*
 * fingerprint.c - libxxhash, by its run-time dispatch where there is one (x86)
 */
#include "lib/mem/fingerprint.h"

#include <xxhash.h>

#ifdef HMM_XXH_DISPATCH
#include <xxh_x86dispatch.h>
#endif

struct hmm__fingerprint hmm__fingerprint_of(const void *data, size_t length)
{
	XXH128_hash_t hash = XXH3_128bits(data, length);

	return (struct hmm__fingerprint){ hash.low64, hash.high64 };
}

void hmm__fingerprint_prepare(void)
{
	static const char nothing[4096]; /* short data take other ways through the library */

	(void)hmm__fingerprint_of(nothing, sizeof(nothing));
}
