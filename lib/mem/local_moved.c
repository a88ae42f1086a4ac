/* SPDX-License-Identifier: MIT */
/*
 * local_moved.c - memory of a range that the application has moved with mremap(2), and addresses that trap and are nobody's
 *
 * The kernel moves the registration along with the pages, so what was absent would trap for ever at an address of which nobody
 * knows.  The contents of absent pages are the heart's, and stay behind.  So:
 *
 * V1  Where a range went, what is resident has its contents, and is the application's own memory from now on.  What is absent
 *     is poisoned, so that an access fails (SIGBUS, or EFAULT of a system call), and never reads zeros.  Then the registration
 *     ends.  Where that can't be done (before Linux 6.6, or a range too long for its page tables) all of it is made inaccessible.
 * V2  What else traps and is no region's is what the kernel adds to a mapping that grows, or leaves behind (MREMAP_DONTUNMAP):
 *     new memory, which reads zeros.  A pager puts them there.  Inline it is SIGBUS: the handler knows no instance by it.
 * V3  The application may touch a range as soon as its event was read.  Inline, the handler lets an access to nobody's address be
 *     tried again while events are being dealt with (hmm__local_events).
 * V5  Nothing can be done until the thread in mremap(2) has seen that its event was read, nor while another thread is in such a
 *     call: its event may be this thread's to read.  So meanwhile messages are read as ever.
 * V4  No range of ours is attached while one is poisoned: the application might have unmapped that in between.
 */
#include "lib/mem/local.h"

#include <errno.h>
#include <sys/mman.h>

#include "lib/base/util.h"
#include "lib/sys/sys.h"

#define LOOK 64u
#define POISON_MOST ((size_t)4 << 30) /* of addresses: 8 MiB of page tables */

_Atomic uint32_t hmm__local_events;
static struct hmm__lock moving = HMM__LOCK_INIT(HMM__RANK_BACKEND);

void hmm__local_moving_begin(void)
{
	hmm__lock(&moving);
}

void hmm__local_moving_end(void)
{
	hmm__unlock(&moving);
}

void hmm__local_moving_forked(void)
{
	hmm__lock_init(&moving, HMM__RANK_BACKEND);
}

/* The absent pages of LOOK: runs of them. */
static int poison_some(struct hmm__local *local, char *at, size_t n, const uint8_t *bits)
{
	size_t page = hmm_page_size();
	int r = 0;

	for (size_t i = 0, k; i < n && !r; i = k) {
		bool absent = !(bits[i] & HMM_HARVEST_PRESENT);

		for (k = i + 1; k < n && !(bits[k] & HMM_HARVEST_PRESENT) == absent; k++)
			;
		if (absent)
			r = hmm__sys_uffd_poison(local->uffd, at + i * page, (k - i) * page, UFFDIO_POISON_MODE_DONTWAKE);
		r = r == -EEXIST ? 0 : r; /* poisoned before: the wait for an event came in between */
	}
	return r;
}

static int poison_absent(struct hmm__local *local, char *base, size_t length)
{
	size_t page = hmm_page_size(), left = length / page, n;
	uint8_t bits[LOOK];
	int r = 0;

	if (!(local->features & UFFD_FEATURE_POISON) || length > POISON_MOST)
		return -ENOTSUP;
	for (; left && !r; left -= n, base += n * page) {
		n = HMM__MIN(left, (size_t)LOOK);
		r = hmm__local_harvest(local, base, n, bits);
		if (!r)
			r = poison_some(local, base, n, bits);
	}
	return r;
}

/* 0, or -EAGAIN: the address space is changing.  -ENOENT: unmapped again meanwhile, all or a part of it. */
static int settle(struct hmm__local *local, void *to, size_t length)
{
	int r = poison_absent(local, to, length);

	if (r == -EAGAIN)
		return r;
	if (r && r != -ENOENT) {
		/* is all of it still ours, and not memory that the application has mapped there since? */
		r = hmm__sys_uffd_wp(local->uffd, to, length, 0);
		if (r == -EAGAIN)
			return r;
		if (!r)
			hmm__sys_mprotect(to, length, PROT_NONE);
	}
	/* lifts write protection, and wakes who waits */
	hmm__sys_uffd_unregister(local->uffd, to, length);
	return 0;
}

void hmm__local_moved(struct hmm__local *local, void *to, size_t length)
{
	int r;

	do {
		hmm__local_moving_begin();
		r = settle(local, to, length);
		hmm__local_moving_end();
		if (r)
			hmm__local_serve_others(local);
	} while (r && !atomic_load(&local->stopping));
}

/* While this thread alone has messages in hand: else one of them may be that the page was moved there. */
void hmm__local_nobodys(struct hmm__local *local, void *page)
{
	size_t done;

	if (atomic_load(&local->readers) != 1)
		return;
	/* -ENOENT: nothing is mapped there any more.  -EEXIST: protected contents; -EAGAIN: the access comes again */
	if (hmm__sys_uffd_zeropage(local->uffd, page, hmm_page_size(), 0, &done) == -EEXIST)
		hmm__sys_uffd_wp(local->uffd, page, hmm_page_size(), 0);
}
