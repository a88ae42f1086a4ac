/* SPDX-License-Identifier: MIT */
/*
 * local.c - the local kernel as a backend: instances, windows and address ranges
 *
 * Locks: local->lock guards the lists of ranges; nothing else is taken under it.
 */
#include "lib/mem/local.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

#include "lib/base/arena.h"
#include "lib/base/util.h"
#include "lib/mem/fingerprint.h"
#include "lib/sys/fd.h"
#include "lib/sys/sys.h"

#define LANE_SHIFT 21 /* HMM__LANE_LENGTH */

static const uint64_t register_mode = UFFDIO_REGISTER_MODE_MISSING | UFFDIO_REGISTER_MODE_WP;

/* process_madvise() refused MADV_DONTNEED before kernel 6.13, also on oneself: try it on nothing. */
static bool probe_madvise_self(int pidfd)
{
	struct iovec none = { .iov_base = NULL, .iov_len = 0 };

	return pidfd >= 0 && hmm__sys_process_madvise(pidfd, &none, 1, MADV_DONTNEED) >= 0;
}

/* What is locked can be dropped since Linux 5.18: try it on nothing. */
static int lock_works(void)
{
	int r = hmm__sys_madvise(NULL, 0, MADV_DONTNEED_LOCKED);

	return r == -EINVAL ? -ENOTSUP : r;
}

static bool windows_only(const struct hmm__local *local)
{
	return local->config.delivery == HMM_DELIVERY_NONE;
}

/* Does a forked child get the windows as they are? */
static bool inherits(const struct hmm__local *local)
{
	return local->config.flags & HMM_BACKEND_INHERIT;
}

static bool locks(const struct hmm__local *local)
{
	return local->config.flags & HMM_BACKEND_LOCK;
}

static void open_pidfd(struct hmm__local *local)
{
	local->pidfd = hmm__sys_pidfd_open();
	local->madvise_self = probe_madvise_self(local->pidfd);
}

/*
 * A forked child needs a userfaultfd of its own, and may have dropped the privileges by then (setuid), or see no /dev
 * (chroot): an open device still gives it one.
 */
static void open_device(struct hmm__local *local)
{
	if (local->device < 0)
		local->device = hmm__uffd_device();
	if (local->device < 0)
		local->device = -1;
}

static int open_descriptors(struct hmm__local *local)
{
	int r;

	open_pidfd(local);
	if (windows_only(local)) /* nothing traps, so nothing is asked of the kernel */
		return 0;
	open_device(local);
	r = hmm__uffd_open((enum hmm_delivery)local->config.delivery, local->device, &local->features);
	if (r < 0)
		return r;
	local->uffd = r;
	r = hmm__local_open_pagemap(local);
	if (!r)
		r = hmm__local_open_merging(local);
	if (r < 0)
		return r;
	r = hmm__sys_eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (r < 0)
		return r;
	local->stop = r;
	return 0;
}

static int open_and_keep(struct hmm__local *local)
{
	int r = open_descriptors(local);

	/* without anything that traps there is only a pidfd, without which pages are dropped one by one; and no need of a thread */
	if (!r && !windows_only(local))
		hmm__fd_keep((int[]){ local->uffd, local->pagemap, local->merging, local->pidfd, local->stop, local->device }, 6);
	return r;
}

/* All but the device, which a child goes on using. */
static void close_descriptors(struct hmm__local *local)
{
	hmm__fd_close((int[]){ local->uffd, local->pagemap, local->merging, local->pidfd, local->stop }, 5);
	local->uffd = local->pagemap = local->merging = local->pidfd = local->stop = -1;
}

static void set_caps(struct hmm__local *local)
{
	local->caps = locks(local) ? HMM_BACKEND_LOCKED : 0;
	if (windows_only(local))
		return;
	local->caps |= HMM_BACKEND_BACK | HMM_BACKEND_CLEAN;
	if ((local->features & UFFD_FEATURE_MOVE) && local->config.engine != HMM_ENGINE_COPY)
		local->caps |= HMM_BACKEND_GRANT | HMM_BACKEND_HELD;
	if (local->features & UFFD_FEATURE_POISON)
		local->caps |= HMM_BACKEND_POISON;
}

static void free_local(struct hmm__local *local)
{
	hmm__fd_close(&local->device, 1);
	for (unsigned i = 0; i < 2; i++)
		hmm__free(local->spare[i], sizeof(*local->spare[i]));
	if (!local->left)
		hmm__free(local, sizeof(*local));
}

/* Two spare entries are kept, so that a range can be split even when there is no memory. */
static bool keep_spares(struct hmm__local *local)
{
	bool both = true;

	for (unsigned i = 0; i < 2; i++) {
		struct hmm__local_range *fresh = hmm__alloc(sizeof(*fresh));

		hmm__lock(&local->lock);
		if (!local->spare[i]) {
			local->spare[i] = fresh;
			fresh = NULL;
		}
		both = both && local->spare[i];
		hmm__unlock(&local->lock);
		hmm__free(fresh, sizeof(*fresh));
	}
	return both;
}

static int64_t local_frames_take(void *backend, uint64_t n)
{
	(void)backend;
	return (int64_t)n; /* the kernel gives what there is, and tells nobody before it is touched */
}

static void local_frames_return(void *backend, uint64_t n)
{
	(void)backend;
	(void)n;
}

/*
 * Not locked: under mlockall(MCL_FUTURE) the kernel would fill it all at once, and then nothing ever trapped.  So it may not be
 * touched until it is unlocked.
 */
static int unlock(void *base, size_t length, int prot)
{
	int r = hmm__sys_munlock(base, length);

	return r == -ENOMEM ? r : hmm__sys_mprotect(base, length, prot); /* a filter may forbid munlock(2): who locks then? */
}

static int map_unlocked(void *hint, size_t length, int prot, int flags, void **ret_base)
{
	void *base;
	int r = hmm__sys_mmap(hint, length, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | flags, -1, 0, &base);

	if (r)
		return r;
	r = unlock(base, length, prot);
	if (r)
		hmm__sys_munmap(base, length);
	else
		*ret_base = base;
	return r;
}

/* Reserve addresses aligned to the page size: take more, give back what sticks out.  -EAGAIN: all is locked, up to a limit. */
static int reserve(void *hint, size_t length, unsigned page_shift, int prot, bool fixed, void **ret_base)
{
	size_t align = (size_t)1 << page_shift, extra = align > hmm_page_size() ? align : 0;
	void *p;
	int r;

	if (fixed)
		return map_unlocked(hint, length, prot, MAP_FIXED_NOREPLACE, ret_base);
	if (length + extra < length)
		return -ENOMEM;
	r = map_unlocked(NULL, length + extra, prot, 0, &p);
	if (r)
		return r;
	if (extra) {
		char *raw = p, *base = (char *)HMM__ALIGN_UP((uintptr_t)raw, align);

		if (base > raw)
			hmm__sys_munmap(raw, (size_t)(base - raw));
		if (raw + extra > base)
			hmm__sys_munmap(base + length, (size_t)(raw + extra - base));
		p = base;
	}
	*ret_base = p;
	return 0;
}

/* what: what a child gets of it. */
static int prepare(struct hmm__local *local, void *base, size_t length, int what)
{
	int r = hmm__sys_madvise(base, length, MADV_NOHUGEPAGE);

	if (r && r != -EINVAL) /* -EINVAL: a kernel without huge pages */
		return r;
	r = hmm__local_keep_apart(base, length);
	if (r)
		return r;
	r = hmm__sys_madvise(base, length, what);
	/* both or none: UFFDIO_MOVE wants it the same on both sides */
	if (!r && locks(local))
		r = hmm__sys_mlock(base, length);
	if (r)
		return r;
	return windows_only(local) ? 0 : hmm__sys_uffd_register(local->uffd, base, length, register_mode, NULL);
}

static int add_range(struct hmm__local *local, struct hmm__local_range **list, void *base, size_t length,
                     unsigned flags)
{
	struct hmm__local_range *range = hmm__alloc(sizeof(*range));

	if (!range)
		return -ENOMEM;
	range->base = base;
	range->length = length;
	range->flags = flags;
	hmm__lock(&local->lock);
	range->next = *list;
	*list = range;
	hmm__unlock(&local->lock);
	return 0;
}

/*
 * Unregistered first: munmap(2) would wait until its event has been read, and what is mapped next at these addresses would be
 * taken for what the event is about.
 */
static int unmap(struct hmm__local *local, void *base, size_t length)
{
	hmm__sys_uffd_unregister(local->uffd, base, length);
	return hmm__sys_munmap(base, length);
}

int hmm__local_window(void *backend, unsigned page_shift, uint32_t nslots, void **ret_base)
{
	struct hmm__local *local = backend;
	size_t length = (size_t)nslots << page_shift;
	void *base;
	int r = reserve(NULL, length, page_shift, PROT_READ | PROT_WRITE, false, &base);

	if (r)
		return r;
	/*
	 * Registered, because UFFDIO_MOVE takes only registered destinations.  Nobody touches an empty slot.  A child has the
	 * addresses, whatever it maps before our handler runs (the stack of a thread would lie there), but no frame.
	 */
	r = prepare(local, base, length, inherits(local) ? MADV_DOFORK : MADV_WIPEONFORK);
	if (!r)
		r = add_range(local, &local->windows, base, length, 0);
	if (r) {
		unmap(local, base, length);
		return r;
	}
	*ret_base = base;
	return 0;
}

/* Engine copy, and the kernel could move: then it can tell what is pinned. */
static int make_lanes(struct hmm__local *local)
{
	void *base;
	int r;

	if (windows_only(local) || !(local->features & UFFD_FEATURE_MOVE) || local->caps & HMM_BACKEND_HELD)
		return 0;
	r = hmm__local_window(local, LANE_SHIFT, HMM__LANES, &base);
	if (r)
		return locks(local) ? r : 0; /* without lanes it works, but knows less: not a choice of a limit on locked memory */
	local->lanes = base;
	local->caps |= HMM_BACKEND_HELD;
	return 0;
}

static void free_windows(struct hmm__local *local)
{
	struct hmm__local_range *w;

	while ((w = local->windows)) {
		local->windows = w->next;
		hmm__sys_munmap(w->base, w->length);
		hmm__free(w, sizeof(*w));
	}
}

static void local_close(void *backend)
{
	struct hmm__local *local = backend;

	hmm__local_stop(local);
	close_descriptors(local);
	free_windows(local);
	assert(!local->ranges);
	free_local(local);
}

static int local_open(const struct hmm_backend_config *config, void **ret_backend, uint32_t *ret_caps)
{
	struct hmm__local *local = hmm__alloc(sizeof(*local));
	int r;

	if (!local)
		return -ENOMEM;
	local->config = *config;
	local->uffd = local->pidfd = local->pagemap = local->merging = local->stop = local->device = -1;
	hmm__lock_init(&local->lock, HMM__RANK_BACKEND);
	hmm__fingerprint_prepare();
	r = locks(local) ? lock_works() : 0;
	if (!r)
		r = keep_spares(local) ? open_and_keep(local) : -ENOMEM;
	if (!r) {
		set_caps(local);
		r = make_lanes(local);
		hmm__local_look_prepare(local);
		if (!r && config->engine == HMM_ENGINE_MOVE && !windows_only(local) && !(local->caps & HMM_BACKEND_GRANT))
			r = -ENOTSUP;
	}
	if (!r)
		r = hmm__local_start(local, config->pagers ? config->pagers : 1);
	if (r) {
		close_descriptors(local);
		free_windows(local);
		free_local(local);
		return r;
	}
	*ret_backend = local;
	*ret_caps = local->caps;
	return 0;
}

static int local_attach(void *backend, void *hint, size_t length, unsigned page_shift, int prot, unsigned flags,
                        void **ret_base)
{
	struct hmm__local *local = backend;
	void *base;
	int r = -EINVAL;

	hmm__local_moving_begin();
	if (!windows_only(local))
		r = reserve(hint, length, page_shift, prot, flags & HMM_ATTACH_FIXED, &base);
	hmm__local_moving_end();
	if (r)
		return r;
	/*
	 * No child gets it by itself: a copy without our userfaultfd reads zeros where nothing is mapped.  local_inherit() lets
	 * those through that fork's handlers will look after.
	 */
	r = prepare(local, base, length, MADV_DONTFORK);
	if (!r)
		r = add_range(local, &local->ranges, base, length, flags);
	if (r) {
		unmap(local, base, length);
		return r;
	}
	*ret_base = base;
	return 0;
}

/* Under the lock. */
static struct hmm__local_range *reaches_across(struct hmm__local *local, char *address)
{
	struct hmm__local_range *range = local->ranges;

	while (range && (address <= (char *)range->base || address >= (char *)range->base + range->length))
		range = range->next;
	return range;
}

/* Under the lock: no range shall reach across address; the part behind it moves to *spare. */
static void split_at(struct hmm__local *local, char *address, struct hmm__local_range **spare)
{
	struct hmm__local_range *range = reaches_across(local, address);

	if (range) {
		char *from = range->base, *to = from + range->length;

		**spare = (struct hmm__local_range){ range->next, address, (size_t)(to - address), range->flags };
		range->next = *spare;
		range->length = (size_t)(address - from);
		*spare = NULL;
	}
}

/* Under the lock. */
static bool lacks_spare(struct hmm__local *local, char *start, size_t length)
{
	return (reaches_across(local, start) && !local->spare[0]) ||
	       (reaches_across(local, start + length) && !local->spare[1]);
}

/* Take what is attached of [start, start + length) off the list; *ret_parts is the caller's to free.  0 or -ENOMEM. */
static int extract(struct hmm__local *local, char *start, size_t length, struct hmm__local_range **ret_parts)
{
	struct hmm__local_range *range, **link = &local->ranges, *parts = NULL;
	int r = 0;

	hmm__lock(&local->lock);
	while (!r && lacks_spare(local, start, length)) {
		hmm__unlock(&local->lock);
		r = keep_spares(local) ? 0 : -ENOMEM;
		hmm__lock(&local->lock);
	}
	if (!r) {
		split_at(local, start, &local->spare[0]);
		split_at(local, start + length, &local->spare[1]);
		while ((range = *link)) {
			if ((char *)range->base < start || (char *)range->base >= start + length) {
				link = &range->next;
				continue;
			}
			*link = range->next;
			range->next = parts;
			parts = range;
		}
		*ret_parts = parts;
	}
	hmm__unlock(&local->lock);
	keep_spares(local);
	return r;
}

void hmm__local_forget(struct hmm__local *local, void *start, size_t length)
{
	struct hmm__local_range *part, *parts = NULL;

	/* Without memory for it the range stays on the list: unmapping it once more is the lesser evil. */
	if (extract(local, start, length, &parts))
		return;
	while ((part = parts)) {
		parts = part->next;
		hmm__free(part, sizeof(*part));
	}
}

/*
 * Only what is on the list is unmapped: the application may have unmapped parts itself and use the addresses for others.
 * And it is taken off first: as soon as it is unmapped another thread may attach a new range there.
 */
static int local_detach(void *backend, void *base, size_t length)
{
	struct hmm__local *local = backend;
	struct hmm__local_range *part, *parts = NULL;
	int first = extract(local, base, length, &parts);

	while ((part = parts)) {
		int r;

		parts = part->next;
		r = unmap(local, part->base, part->length);
		first = first ? first : r;
		hmm__free(part, sizeof(*part));
	}
	return first;
}

static int local_protect(void *backend, void *base, size_t length, int prot)
{
	(void)backend;
	return hmm__sys_mprotect(base, length, prot);
}

int hmm__local_wake(void *backend, void *base, size_t length)
{
	struct hmm__local *local = backend;
	int r;

	if (local->config.delivery == HMM_DELIVERY_INLINE)
		return 0; /* nobody ever waits in the kernel */
	/* a wake-up that is lost hangs an accessor for good */
	for (unsigned i = 0; (r = hmm__sys_uffd_wake(local->uffd, base, length)) && i < 3; i++)
		;
	return r;
}

static int local_poison(void *backend, void *base, size_t length, int on)
{
	struct hmm__local *local = backend;
	int r;

	if (!(local->caps & HMM_BACKEND_POISON))
		return -ENOTSUP;
	if (on) {
		r = hmm__sys_uffd_poison(local->uffd, base, length, 0);
		return r == -EEXIST ? 0 : r;
	}
	return hmm__sys_madvise_drop(base, length); /* drops the marker */
}

/*
 * Neighbours may be one mapping to the kernel, and splitting it may fail where the whole would go: what failed is tried once
 * more after the others.
 */
static int local_inherit(void *backend, int on)
{
	struct hmm__local *local = backend;
	int first = -1;

	for (unsigned round = 0; first && round < 3; round++) {
		first = 0;
		hmm__lock(&local->lock);
		for (struct hmm__local_range *range = local->ranges; range; range = range->next) {
			int r = range->flags & HMM_ATTACH_INHERIT
			                ? hmm__sys_madvise(range->base, range->length, on ? MADV_DOFORK : MADV_DONTFORK)
			                : 0;

			first = first ? first : r;
		}
		hmm__unlock(&local->lock);
	}
	return first;
}

static int reregister(struct hmm__local *local)
{
	int r;

	for (struct hmm__local_range *w = windows_only(local) || inherits(local) ? NULL : local->windows; w; w = w->next) {
		r = hmm__sys_uffd_register(local->uffd, w->base, w->length, register_mode, NULL);
		if (r)
			return r;
	}
	for (struct hmm__local_range **link = &local->ranges, *range; (range = *link);) {
		if (!(range->flags & HMM_ATTACH_INHERIT)) {
			*link = range->next;
			hmm__free(range, sizeof(*range));
			continue;
		}
		r = hmm__sys_uffd_register(local->uffd, range->base, range->length, register_mode, NULL);
		if (r)
			return r;
		link = &range->next;
	}
	return local_inherit(local, 0);
}

static int local_reopen(void *backend)
{
	struct hmm__local *local = backend;
	int r;

	hmm__lock_init(&local->lock, HMM__RANK_BACKEND); /* a thread that reads events may have held it */
	hmm__local_moving_forked();
	atomic_store(&hmm__local_events, 0);
	atomic_store(&local->readers, 0);
	hmm__local_notes_forked(local);
	close_descriptors(local);
	local->nthreads = 0; /* threads are not inherited */
	local->holds = false;
	local->config.flags &= ~(uint32_t)HMM_BACKEND_LOCK; /* nor are locks: on neither side, or nothing could be moved */
	local->caps &= ~(uint32_t)HMM_BACKEND_LOCKED;
	r = open_and_keep(local);
	if (!r)
		r = reregister(local);
	if (!r)
		hmm__local_look_prepare(local);
	if (!r)
		r = hmm__local_start(local, local->config.pagers ? local->config.pagers : 1);
	return r;
}

static const struct hmm_backend_ops local_ops = {
	.size = sizeof(local_ops),
	.version = HMM_BACKEND_VERSION,
	.name = "local",
	.open = local_open,
	.close = local_close,
	.reopen = local_reopen,
	.frames_take = local_frames_take,
	.frames_return = local_frames_return,
	.window = hmm__local_window,
	.fill = hmm__local_fill,
	.drop = hmm__local_drop,
	.attach = local_attach,
	.detach = local_detach,
	.protect = local_protect,
	.map = hmm__local_map,
	.unmap = hmm__local_unmap,
	.write_protect = hmm__local_write_protect,
	.harvest = hmm__local_harvest,
	.wake = hmm__local_wake,
	.poison = local_poison,
	.inherit = local_inherit,
};

const struct hmm_backend_ops *hmm_backend_local(void)
{
	return &local_ops;
}
