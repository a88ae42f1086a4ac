/* SPDX-License-Identifier: MIT */
/*
 * install.c - put prepared contents at their address
 *
 * A copy arrives write-protected in one step.  A granted page arrives writable (UFFDIO_MOVE knows no protection) and
 * is protected by a second call; between the two another thread of the application could write to it without a
 * trap, and the page would be taken for clean.  So a clean grant is checked:
 *
 * I1  If the accessing thread is the application's only one, it is in this fault and nobody can write.
 * I2  Else the contents are hashed before the grant and, protected, after it.  If they differ the page is dirty.  (XXH3,
 *     128 bits: equal contents under a write of something else do not happen by chance, and a write of what was
 *     there needs no write-back.)
 * Where the grant of many pages costs less than copying them, this check costs 0.3 us a page; see README.md.
 */
#define XXH_INLINE_ALL
#include <xxhash.h>

#include <errno.h>
#include <string.h>

#include "lib/mem/tasks.h"
#include "lib/vm/load.h"

static int map(struct hmm__install *in, uint32_t flags)
{
	struct hmm_region *region = in->region;
	struct hmm_map m = {
		.address = hmm__page_address(region, in->page),
		.slot = in->slot,
		.length = (size_t)in->npages << region->shift,
		.flags = flags | (in->clean ? HMM_MAP_PROTECT : 0),
	};
	int r;

	if (region->engine->delivery == HMM_DELIVERY_THREAD)
		m.flags |= HMM_MAP_WAKE;
	r = region->engine->ops->map(region->engine->backend, &m, 1);
	in->done = (uint32_t)(m.done >> region->shift);
	hmm__add(flags & HMM_MAP_GRANT ? &region->space->count.grants : &region->space->count.copies, in->done);
	return r;
}

static int map_checked(struct hmm__install *in)
{
	size_t length = (size_t)in->npages << in->region->shift;
	XXH128_hash_t before, after;
	int r;

	if (hmm__application_is_single())
		return map(in, HMM_MAP_GRANT);
	before = XXH3_128bits(in->slot, length);
	r = map(in, HMM_MAP_GRANT);
	if (r || in->done < in->npages) {
		in->dirtied = true; /* a part: not worth telling apart */
		return r;
	}
	after = XXH3_128bits(hmm__page_address(in->region, in->page), length);
	in->dirtied = !XXH128_isEqual(before, after);
	return 0;
}

int hmm__install(struct hmm__install *in)
{
	in->done = 0;
	in->dirtied = false;
	if (!in->slot)
		return map(in, HMM_MAP_ZERO);
	if (!in->grant)
		return map(in, 0);
	return in->clean ? map_checked(in) : map(in, HMM_MAP_GRANT);
}
