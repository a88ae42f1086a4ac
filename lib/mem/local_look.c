/* SPDX-License-Identifier: MIT */
/*
 * local_look.c - what is at an address?  From /proc/self/pagemap, or without it
 *
 * A process that has changed its user (setuid) or may not be read is not "dumpable", and its files in /proc are root's; in a
 * chroot there may be no /proc.  Then:
 *
 * Q1  A page that mincore(2) sees is there.  One that it does not see is not, unless the machine has swap: of a page that
 *     is swapped out it knows nothing.
 * Q2  So there the kernel is asked to move a page to the address from a slot that is always empty: -EEXIST, something is there,
 *     -ENOENT, nothing is.  Nothing changes by it.  (The slot's neighbours are populated, for the kernel looks at the page
 *     table of the slot first.)
 * Q3  Where nothing can be moved, zeros are copied there: -EEXIST, or nothing was there and the zeros are dropped again.
 *     The page is the caller's, and absent for everybody else but for that moment.
 * Q4  Whether a page is write-protected can't be told, so it counts as protected: that costs a call that lifts it.
 */
#include "lib/mem/local.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <unistd.h>

#include "lib/base/util.h"
#include "lib/sys/fd.h"
#include "lib/sys/sys.h"

#define VECTOR 64u

static const char zeros[65536] __attribute__((aligned(4096))); /* the largest system page */

int hmm__local_open_pagemap(struct hmm__local *local)
{
	int r = hmm__sys_open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC, 0);

	if (r == -EMFILE || r == -ENFILE || r == -ENOMEM)
		return r;
	local->pagemap = r < 0 ? -1 : r;
	return 0;
}

void hmm__local_look_prepare(struct hmm__local *local)
{
	size_t page = hmm_page_size();
	void *base;

	if (local->config.delivery == HMM_DELIVERY_NONE || local->pagemap >= 0 || !(local->features & UFFD_FEATURE_MOVE))
		return;
	if (!local->probe) {
		if (hmm__local_window(local, (unsigned)__builtin_ctzl(page), 3, &base))
			return;
		local->probe = base;
	}
	/* without them Q2 would say -ENOENT of everything */
	if (hmm__local_fill(local, local->probe, page) || hmm__local_fill(local, local->probe + 2 * page, page))
		local->probe = NULL;
}

/* Q2: 1, 0, or -errno */
static int there_by_move(struct hmm__local *local, void *address)
{
	unsigned patience = hmm__local_patience(local);
	size_t page = hmm_page_size(), done;
	int r;

	do {
		r = hmm__sys_uffd_move(local->uffd, address, local->probe + page, page, UFFDIO_MOVE_MODE_DONTWAKE, &done);
	} while (r == -EAGAIN && patience-- && !sched_yield());
	return r == -EEXIST ? 1 : r == -ENOENT ? 0 : r ? r : -EIO;
}

/* Q3 */
static int there_by_copy(struct hmm__local *local, void *address)
{
	unsigned patience = hmm__local_patience(local);
	size_t done;
	int r;

	do {
		r = hmm__sys_uffd_copy(local->uffd, address, zeros, hmm_page_size(),
		                       UFFDIO_COPY_MODE_DONTWAKE | UFFDIO_COPY_MODE_WP, &done);
	} while (r == -EAGAIN && patience-- && !sched_yield());
	if (r)
		return r == -EEXIST ? 1 : r == -ENOENT ? 0 : r;
	return hmm__sys_madvise_drop(address, hmm_page_size());
}

static int there(struct hmm__local *local, void *address)
{
	unsigned char resident = 0;
	int r = hmm__sys_mincore(address, hmm_page_size(), &resident);

	if (r == -ENOMEM)
		return 0; /* nothing is mapped */
	if (!r && resident & 1)
		return 1;
	if (!r && !hmm__local_has_swap())
		return 0;
	r = local->probe ? there_by_move(local, address) : -EINVAL;
	return r == -EINVAL ? there_by_copy(local, address) : r; /* also where its protection is not the slot's */
}

static int look_without(struct hmm__local *local, char *base, size_t npages, uint8_t *bits)
{
	for (size_t i = 0; i < npages; i++) {
		int r = there(local, base + i * hmm_page_size());

		if (r < 0)
			return r;
		bits[i] = r ? HMM_HARVEST_PRESENT : 0;
	}
	return 0;
}

/* From /proc/self/pagemap: bit 63 present, 62 swapped, 57 write-protected by userfaultfd. */
int hmm__local_harvest(void *backend, void *base, size_t npages, uint8_t *bits)
{
	struct hmm__local *local = backend;
	uint64_t entries[VECTOR];
	size_t page = hmm_page_size();
	int pagemap;

	if (HMM__UNLIKELY(local->pagemap < 0))
		return look_without(local, base, npages, bits);
	pagemap = hmm__fd_use(local->pagemap);
	if (pagemap < 0)
		return pagemap;
	for (size_t done = 0; done < npages;) {
		size_t n = HMM__MIN(npages - done, (size_t)VECTOR);
		struct iovec iov = { entries, n * sizeof(entries[0]) };
		off_t at = (off_t)(((uintptr_t)base / page + done) * sizeof(entries[0]));
		ssize_t got = hmm__sys_preadv(pagemap, &iov, 1, at);

		if (got <= 0)
			return got < 0 ? (int)got : -EIO;
		n = (size_t)got / sizeof(entries[0]);
		for (size_t i = 0; i < n; i++) {
			/* 62: swapped out by the kernel, or under migration: there all the same */
			bool present = entries[i] >> 62 & 3, protected = entries[i] >> 57 & 1;

			bits[done + i] = present ? HMM_HARVEST_PRESENT | (protected ? 0 : HMM_HARVEST_WRITABLE) : 0;
			if (present && !(entries[i] >> 63))
				bits[done + i] |= HMM_HARVEST_SWAPPED;
		}
		done += n;
	}
	return 0;
}
