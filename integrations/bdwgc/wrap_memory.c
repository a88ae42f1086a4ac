/* SPDX-License-Identifier: MIT */
/*
 * wrap_memory.c - mmap() and madvise(), as libgc calls them; and its incremental mode
 *
 * libgc takes memory by mmap() of anonymous pages, lets go of blocks that were free for long by madvise(MADV_DONTNEED),
 * and calls mprotect() on its heap in its incremental mode only.  That mode finds written pages by signals of its own and
 * can't share them with a pager: it stays off.
 */
#include <dlfcn.h>
#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "heap.h"

#if !defined(__LP64__)
#error "mmap() here is that of 64-bit systems"
#endif

static bool is_for_libgc(const void *caller, int prot, int flags)
{
	return hmm__heap.region && hmm__in_libgc(caller) && prot == (PROT_READ | PROT_WRITE) && flags & MAP_PRIVATE &&
	       !(flags & MAP_FIXED);
}

WRAPPER void *mmap(void *address, size_t length, int prot, int flags, int fd, off_t offset)
{
	if (is_for_libgc(CALLER, prot, flags) && length) {
		void *given = hmm__heap_give((length + hmm__heap.page - 1) / hmm__heap.page * hmm__heap.page);

		hmm__room_check();
		if (given)
			return given;
		errno = ENOMEM;
		return MAP_FAILED;
	}
	return (void *)syscall(SYS_mmap, address, length, prot, flags, fd, offset);
}

WRAPPER int madvise(void *address, size_t length, int advice)
{
	bool is_ours = advice == MADV_DONTNEED && hmm__in_libgc(CALLER) && hmm__heap_meets(address, length);

	if (is_ours) {
		bool is_lazy = !(hmm__heap.flags & HMM_BDWGC_NO_DISCARD);
		int r = hmm_region_advise(hmm__heap.region, address, length,
		                          is_lazy ? HMM_ADVISE_FREE : HMM_ADVISE_DONTNEED);

		(void)r; /* pages of free blocks may stay as they are, and libgc would abort */
		return 0;
	}
	return (int)syscall(SYS_madvise, address, length, advice);
}

/* In place of libgc's. */
WRAPPER void GC_CALL GC_enable_incremental(void)
{
	void (*real)(void) = NULL;
	void *found = hmm__heap.region ? NULL : dlsym(RTLD_NEXT, "GC_enable_incremental");

	if (!found)
		return;
	memcpy(&real, &found, sizeof(real));
	real();
}

bool hmm__wrap_reaches_us(void)
{
	return dlsym(RTLD_DEFAULT, "mmap") == (void *)(uintptr_t)mmap;
}
