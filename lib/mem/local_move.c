/* SPDX-License-Identifier: MIT */
/*
 * local_move.c - UFFDIO_MOVE, whatever else the kernel does with the pages
 *
 * M1  What was moved is counted by what is in the window, not by what the kernel says.  Linux 6.18 moves many pages in one
 *     step and, where something else had hold of one of them for a moment (khugepaged, reclaim, KSM, migration), moves
 *     them, does not count them, begins again where it began, and then finds its own pages in the way: -EEXIST, nothing
 *     done.  Whoever believed that had the pages at neither end.  So an error that says "something is there already" or
 *     "there is nothing" is looked into: a slot is touched by nobody but the thread that owns it, so a slot that gives and
 *     is empty has given, and one that takes and is populated has taken.
 * M2  A slot that took a page can be written.  A page that is present loses its protection by a move; one that the kernel has
 *     swapped out keeps it, as the same page will have it when it is swapped in, and then read(2) into the slot fails
 *     with EFAULT, and a store that writes it by itself is killed.  So where the machine has swap, what came is looked at, and
 *     protection lifted.
 */
#include "lib/mem/local.h"

#include <errno.h>
#include <sched.h>
#include <sys/sysinfo.h>

#include "lib/base/util.h"
#include "lib/sys/sys.h"

#define LOOK 64u           /* slots looked at in one go */
#define LOOK_PATIENCE 1000 /* tries of a look that fails */

/* What is in the slots?  False: that can't be had. */
static bool look(struct hmm__local *local, void *slot, size_t n, uint8_t *bits)
{
	unsigned patience = LOOK_PATIENCE;

	while (hmm__local_harvest(local, slot, n, bits)) {
		if (!patience--)
			return false;
		sched_yield();
	}
	return true;
}

/* Bytes from the start of a run that were moved although the kernel did not count them. */
static size_t uncounted(struct hmm__local *local, char *slot, size_t length, enum hmm__direction direction)
{
	size_t page = hmm_page_size(), left = length / page, total = 0;
	uint8_t bits[LOOK];

	while (left) {
		size_t n = HMM__MIN(left, (size_t)LOOK), i = 0;

		if (!look(local, slot + total, n, bits))
			return total;
		while (i < n && !!(bits[i] & HMM_HARVEST_PRESENT) == (direction == HMM__TO_WINDOW))
			i++;
		total += i * page;
		if (i < n)
			return total;
		left -= n;
	}
	return total;
}

/*
 * EAGAIN means that the address space is changing (an event is unread: whoever reads it is another thread) or that only a
 * part was done; both are tried again.  EBUSY means that the kernel holds the page: for pages of the window only while
 * direct I/O ends, so that passes.
 */
int hmm__local_move(struct hmm__local *local, void *dst, void *src, size_t length, uint64_t mode,
                    enum hmm__direction direction, unsigned pin_patience, size_t *ret_done)
{
	char *slot = direction == HMM__TO_WINDOW ? dst : src;
	unsigned patience = hmm__local_patience(local);
	size_t total = 0;
	int r = 0;

	while (total < length) {
		size_t done = 0;

		r = hmm__sys_uffd_move(local->uffd, (char *)dst + total, (char *)src + total, length - total, mode, &done);
		if (r && !done && (r == -EEXIST || r == -ENOENT)) {
			done = uncounted(local, slot + total, length - total, direction);
			if (done && !(mode & UFFDIO_MOVE_MODE_DONTWAKE))
				hmm__local_wake(local, (char *)dst + total, done);
		}
		total += done;
		if (!r || done)
			continue;
		if (r == -EBUSY && pin_patience) {
			pin_patience--;
			sched_yield();
			continue;
		}
		if (r != -EAGAIN || !patience--)
			break;
		sched_yield();
	}
	*ret_done = total;
	return total == length ? 0 : r;
}

bool hmm__local_has_swap(void)
{
	struct sysinfo info;

	return hmm__sys_sysinfo(&info) || info.totalswap;
}

/* Lift the protection of those of n slots that have one. */
static int lift(struct hmm__local *local, char *slot, size_t n)
{
	size_t page = hmm_page_size();
	uint8_t bits[LOOK];
	int first = 0;

	if (!look(local, slot, n, bits))
		return hmm__local_protect_span(local, slot, n * page, 0);
	for (size_t i = 0, k; i < n; i = k) {
		int r = 0;

		for (k = i; k < n && (bits[k] & (HMM_HARVEST_PRESENT | HMM_HARVEST_WRITABLE)) == HMM_HARVEST_PRESENT; k++)
			;
		if (k > i)
			r = hmm__local_protect_span(local, slot + i * page, (k - i) * page, 0);
		else
			k++;
		first = first ? first : r;
	}
	return first;
}

static int make_writable(struct hmm__local *local, char *slot, size_t length)
{
	size_t page = hmm_page_size(), left = length / page, n;
	int first = 0;

	for (; left; left -= n, slot += n * page) {
		int r;

		n = HMM__MIN(left, (size_t)LOOK);
		r = lift(local, slot, n);
		first = first ? first : r;
	}
	return first;
}

static bool took(const struct hmm_unmap *u)
{
	return u->flags & HMM_UNMAP_GRANT && u->done;
}

/*
 * M2, for all that a call has moved; slots side by side are looked at together.  What can't be made writable is a slot whose
 * next transfer fails, which is the caller's to try again; contents are safe in it.
 */
void hmm__local_make_writable(struct hmm__local *local, const struct hmm_unmap *u, unsigned n)
{
	for (unsigned i = 0, k; i < n; i = k) {
		char *slot = u[i].slot;
		size_t length = u[i].done;

		for (k = i + 1; took(&u[i]) && k < n && took(&u[k]) && (char *)u[k].slot == slot + length; k++)
			length += u[k].done;
		for (unsigned tries = 0; took(&u[i]) && make_writable(local, slot, length) && tries < LOOK_PATIENCE; tries++)
			sched_yield();
	}
}
