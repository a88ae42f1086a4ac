/* SPDX-License-Identifier: MIT */
/*
 * call.c - entering the heart by a call
 */
#include "lib/vm/call.h"

#include <errno.h>

int hmm__call_begin(struct hmm__call *call, struct hmm_region *region)
{
	if (!region)
		return -EINVAL;
	if (hmm__is_stray())
		return -ECHILD;
	*call = (struct hmm__call){ .region = region };
	hmm__signals_block(&call->mask);
	if (hmm__region_hold(region))
		return 0;
	hmm__signals_restore(&call->mask);
	return -ENOENT;
}

int hmm__call_range(struct hmm__call *call, struct hmm_region *region, const void *address, size_t length,
                    uint64_t *ret_page, uint64_t *ret_npages)
{
	size_t page;
	uint8_t *from = (uint8_t *)(uintptr_t)address;
	int r;

	if (!region)
		return -EINVAL;
	page = (size_t)1 << region->shift;
	if (!length || !HMM__IS_ALIGNED(address, page) || !HMM__IS_ALIGNED(length, page))
		return -EINVAL;
	if (from < region->base || length > region->length ||
	    (size_t)(from - region->base) > region->length - length)
		return -ENOMEM;
	r = hmm__call_begin(call, region);
	if (r)
		return r;
	if (!hmm__regions_cover(region, from, from + length)) {
		hmm__call_end(call);
		return -ENOMEM;
	}
	*ret_page = (uint64_t)(from - region->base) >> region->shift;
	*ret_npages = length >> region->shift;
	return 0;
}

int hmm__call_begin_space(struct hmm__call *call, struct hmm_space *space)
{
	if (hmm__is_stray())
		return -ECHILD;
	*call = (struct hmm__call){ .space = space };
	hmm__signals_block(&call->mask);
	hmm__call_reenter(space);
	return 0;
}

int hmm__call_begin_light(struct hmm__call *call, struct hmm_space *space)
{
	if (hmm__is_stray())
		return -ECHILD;
	call->region = NULL;
	call->space = space;
	call->open = true;
	if (HMM__UNLIKELY(atomic_load(&hmm__signals_matter)))
		hmm__call_block(call);
	hmm__call_reenter(space);
	if (HMM__UNLIKELY(call->open && atomic_load(&hmm__signals_matter))) /* G2 */
		hmm__call_block(call);
	return 0;
}

void hmm__call_block(struct hmm__call *call)
{
	if (!call->open)
		return;
	call->open = false;
	hmm__signals_block(&call->mask);
}

/* Fork waits for `inside` to fall to zero, and newcomers wait for fork. */
void hmm__call_reenter(struct hmm_space *space)
{
	for (;;) {
		atomic_fetch_add(&space->inside, 1);
		if (!hmm__gate_closed(space))
			return;
		atomic_fetch_sub(&space->inside, 1);
		hmm__gate_wait(space);
	}
}

void hmm__call_end(struct hmm__call *call)
{
	if (call->region)
		hmm__region_put(call->region);
	if (call->space)
		atomic_fetch_sub(&call->space->inside, 1);
	if (!call->open)
		hmm__signals_restore(&call->mask);
}
