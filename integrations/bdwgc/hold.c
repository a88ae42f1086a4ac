/* SPDX-License-Identifier: MIT */
/*
 * hold.c - keep memory of the heap resident while a system call uses it
 */
#include "wrap.h"

#include <errno.h>

static bool pin(struct hmm__hold *hold, uintptr_t from, uintptr_t to, enum hmm__use use)
{
	uintptr_t base = (uintptr_t)hmm__heap.base, end = base + hmm__heap.length, page = hmm__heap.page;

	from = (from > base ? from : base) / page * page;
	to = ((to < end ? to : end) + page - 1) / page * page;
	if (hmm_region_pin(hmm__heap.region, (void *)from, to - from, use == HMM__IS_WRITTEN))
		return false;
	*hold = (struct hmm__hold){ (void *)from, to - from };
	return true;
}

size_t hmm__hold(struct hmm__hold *hold, uintptr_t address, size_t length, enum hmm__use use)
{
	size_t some = length;
	int saved = errno;

	hold->length = 0;
	if (!hmm__heap_meets((const void *)address, length) || hmm__heap.flags & HMM_BDWGC_THREAD_DELIVERY)
		return length;
	atomic_fetch_add_explicit(&hmm__counters.held, 1, memory_order_relaxed);
	while (!pin(hold, address, address + some, use) && some > 1)
		some /= 2;
	if (some < length)
		atomic_fetch_add_explicit(&hmm__counters.unheld, 1, memory_order_relaxed);
	errno = saved;
	return hold->length ? some : length;
}

void hmm__hold_string(struct hmm__hold *hold, const char *string)
{
	hold->length = 0;
	if (string && hmm__heap_meets(string, 1))
		hmm__hold(hold, (uintptr_t)string, strlen(string) + 1, HMM__IS_READ);
}

void hmm__hold_end(struct hmm__hold *hold)
{
	int saved = errno;

	if (hold->length)
		(void)!hmm_region_unpin(hmm__heap.region, hold->from, hold->length);
	hold->length = 0;
	errno = saved;
}
