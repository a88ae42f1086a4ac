/* SPDX-License-Identifier: MIT */
/*
 * local_merge.c - pages that the kernel merges with others of the same contents (KSM)
 *
 * When the kernel merges a page it forgets that userfaultfd had write-protected it (replace_page() in mm/ksm.c, seen on Linux
 * 6.18): the next write does not trap, and what it wrote would be dropped with a page that passes for clean.
 *
 * G1  What we map is kept out: MADV_UNMERGEABLE, for a process with PR_SET_MEMORY_MERGE has it on all that it maps.
 * G2  The application may say so later (prctl(2) again, MADV_MERGEABLE on a range).  The kernel tells a process whether it
 *     looks at any of its pages (/proc/self/ksm_stat, Linux 6.1).  Then all ranges are kept out once more, and from then on
 *     no page leaves as clean that is not protected: -ESTALE.  (A page merged and written in the microseconds between that
 *     look and the drop is not found.)
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>

#include "lib/base/util.h"
#include "lib/mem/local.h"
#include "lib/sys/fd.h"
#include "lib/sys/sys.h"

#define TEXT 512
#define LOOKS 64u

int hmm__local_keep_apart(void *base, size_t length)
{
	int r = hmm__sys_madvise(base, length, MADV_UNMERGEABLE);

	return r == -EINVAL ? 0 : r; /* -EINVAL: a kernel without KSM */
}

int hmm__local_open_merging(struct hmm__local *local)
{
	int r = hmm__sys_open("/proc/self/ksm_stat", O_RDONLY | O_CLOEXEC, 0);

	if (r == -EMFILE || r == -ENFILE || r == -ENOMEM)
		return r;
	local->merging = r < 0 ? -1 : r;
	return 0;
}

/* Does the kernel look at pages of this process?  1, 0, or -errno: that can't be read now. */
static int merging(struct hmm__local *local)
{
	static const char name[] = "ksm_rmap_items ";
	char text[TEXT], *items;
	struct iovec iov = { text, sizeof(text) - 1 };
	int fd;
	ssize_t n;

	if (local->merging < 0)
		return 0;
	fd = hmm__fd_use(local->merging);
	n = fd < 0 ? fd : hmm__sys_preadv(fd, &iov, 1, 0);
	if (n < 0)
		return (int)n;
	text[n] = '\0';
	items = strstr(text, name);
	return items && items[strlen(name)] != '0';
}

static void keep_all_apart(struct hmm__local *local)
{
	hmm__lock(&local->lock);
	for (struct hmm__local_range *range = local->ranges; range; range = range->next)
		hmm__local_keep_apart(range->base, range->length);
	hmm__unlock(&local->lock);
}

bool hmm__local_merges(struct hmm__local *local)
{
	int r;

	if (HMM__UNLIKELY(atomic_load_explicit(&local->merged, memory_order_relaxed)))
		return true;
	r = merging(local);
	if (HMM__LIKELY(r <= 0))
		return r < 0; /* looked at this time, to be sure; the next call asks again */
	atomic_store_explicit(&local->merged, true, memory_order_relaxed);
	keep_all_apart(local);
	return true;
}

int hmm__local_still_clean(struct hmm__local *local, const char *address, size_t length)
{
	size_t page = hmm_page_size(), n;
	uint8_t bits[LOOKS];

	for (size_t done = 0; done < length; done += n * page) {
		int r;

		n = HMM__MIN((length - done) / page, (size_t)LOOKS);
		r = hmm__local_harvest(local, (void *)(uintptr_t)(address + done), n, bits);
		for (size_t i = 0; i < n && !r; i++)
			r = bits[i] & HMM_HARVEST_WRITABLE ? -ESTALE : 0;
		if (r)
			return r;
	}
	return 0;
}
