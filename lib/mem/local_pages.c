/* SPDX-License-Identifier: MIT */
/*
 * local_pages.c - map, unmap and protect pages through userfaultfd
 *
 * Everything here runs in the fault path: no allocation, no lock, little stack.  Which ioctl serves which case was
 * decided by measurement; lib/mem/README.md has the figures.
 *
 * A copy arrives write-protected in one step.  A granted page arrives writable (UFFDIO_MOVE knows no protection) and is
 * protected by a second call; between the two another thread of the application could write to it without a trap, and
 * the page would be taken for clean.  So a protected grant is checked:
 *
 * I1  If this thread is the application's only one, it is in this call or fault and nobody can write.  (Never so in a
 *     pager thread: what it has mapped and woken runs on while it maps more.)
 * I2  Else the contents are hashed before the grant and, protected, after it.  If they differ the pages are not clean.
 *     (XXH3, 128 bits: equal contents after a write of something else do not happen by chance, and a write of what was
 *     there already needs no write-back.)
 */
#include "lib/mem/local.h"

#include <errno.h>
#include <sched.h>
#include <sys/mman.h>
#include <unistd.h>

#include "lib/base/util.h"
#include "lib/mem/fingerprint.h"
#include "lib/mem/tasks.h"
#include "lib/sys/fd.h"
#include "lib/sys/sys.h"

#define VECTOR 64u             /* pieces of one vectored system call: 1 KiB of stack */
#define EVENT_PATIENCE 1000    /* yields while an event thread reads what stands in the way */
#define PIN_PATIENCE 100       /* yields while direct I/O that has just ended lets go of its pages */
#define ZEROS ((size_t)64 * 1024)

static const char zeros[ZEROS] __attribute__((aligned(4096)));

/* A pager thread reads the events itself, so it must not wait for them. */
unsigned hmm__local_patience(const struct hmm__local *local)
{
	return local->config.delivery == HMM_DELIVERY_INLINE || !hmm__is_library_thread() ? EVENT_PATIENCE : 0;
}

/* UFFDIO_COPY until all is done or it makes no progress; see hmm__local_move() of the errors. */
static int copy(struct hmm__local *local, char *dst, char *src, size_t length, uint64_t mode, size_t *ret_done)
{
	unsigned patience = hmm__local_patience(local);
	size_t total = 0;
	int r = 0;

	while (total < length) {
		size_t done = 0;

		r = hmm__sys_uffd_copy(local->uffd, dst + total, src + total, length - total, mode, &done);
		total += done;
		if (!r || done)
			continue;
		if (r != -EAGAIN || !patience--)
			break;
		sched_yield();
	}
	*ret_done = total;
	return total == length ? 0 : r;
}

static int copy_zeros(struct hmm__local *local, char *dst, size_t length, uint64_t mode, size_t *ret_done)
{
	size_t total = 0;
	int r = 0;

	while (!r && total < length) {
		size_t done = 0;

		r = copy(local, dst + total, (char *)zeros, HMM__MIN(length - total, ZEROS), mode, &done);
		total += done;
	}
	*ret_done = total;
	return r;
}

int hmm__local_protect_span(struct hmm__local *local, void *address, size_t length, uint64_t mode)
{
	unsigned patience = hmm__local_patience(local);
	int r;

	while ((r = hmm__sys_uffd_wp(local->uffd, address, length, mode)) == -EAGAIN && patience--)
		sched_yield();
	return r;
}

static int grant_protected(struct hmm__local *local, struct hmm_map *m)
{
	bool single = hmm__application_is_single();
	struct hmm__fingerprint before = { 0 };
	int r, rp;

	if (!single)
		before = hmm__fingerprint_of(m->slot, m->length);
	r = hmm__local_move(local, m->address, m->slot, m->length, UFFDIO_MOVE_MODE_DONTWAKE, HMM__FROM_WINDOW, PIN_PATIENCE,
	                    &m->done);
	if (!m->done)
		return r;
	rp = hmm__local_protect_span(local, m->address, m->done, UFFDIO_WRITEPROTECT_MODE_WP);
	if (rp || (!single && m->done < m->length))
		m->dirtied = 1; /* unprotected, or a part, which is not worth telling apart */
	else if (!single)
		m->dirtied = !hmm__fingerprint_equal(before, hmm__fingerprint_of(m->address, m->length));
	/* accessors that wait in the kernel are woken after the protection is in place */
	if (m->flags & HMM_MAP_WAKE)
		hmm__local_wake(local, m->address, m->done);
	return r;
}

/* EINVAL: the protection differs from the window's just now: the caller copies instead. */
static int grant(struct hmm__local *local, struct hmm_map *m)
{
	int r;

	if (m->flags & HMM_MAP_PROTECT)
		r = grant_protected(local, m);
	else
		r = hmm__local_move(local, m->address, m->slot, m->length, m->flags & HMM_MAP_WAKE ? 0 : UFFDIO_MOVE_MODE_DONTWAKE,
		                    HMM__FROM_WINDOW, PIN_PATIENCE, &m->done);
	return r == -EINVAL ? -EBUSY : r;
}

static int map_one(struct hmm__local *local, struct hmm_map *m)
{
	bool wake = m->flags & HMM_MAP_WAKE;
	uint64_t mode;

	m->done = 0;
	m->dirtied = 0;
	if (m->flags & HMM_MAP_BACK)
		return hmm__local_map_back(local, m);
	if (m->flags & HMM_MAP_GRANT)
		return grant(local, m);
	mode = (wake ? 0 : UFFDIO_COPY_MODE_DONTWAKE) | (m->flags & HMM_MAP_PROTECT ? UFFDIO_COPY_MODE_WP : 0);
	if (m->flags & HMM_MAP_ZERO)
		return copy_zeros(local, m->address, m->length, mode, &m->done);
	return copy(local, m->address, m->slot, m->length, mode, &m->done);
}

int hmm__local_map(void *backend, struct hmm_map *maps, unsigned n)
{
	int first = 0;

	for (unsigned i = 0; i < n; i++) {
		maps[i].error = map_one(backend, &maps[i]);
		if (maps[i].error == -ESRCH)
			maps[i].error = -ENOENT; /* the process is on its way out */
		if (!first)
			first = maps[i].error;
	}
	return first;
}

/*
 * Under thread delivery a copy from a page that the application dropped itself would wait for a pager, which waits for
 * us.  (A page dropped between this look and the copy is not helped.)
 */
static bool absent(struct hmm__local *local, const struct hmm_unmap *u)
{
	uint8_t bits = HMM_HARVEST_PRESENT;

	if (local->config.delivery == HMM_DELIVERY_INLINE)
		return false;
	return !hmm__local_harvest(local, u->address, 1, &bits) && !(bits & HMM_HARVEST_PRESENT);
}

/*
 * A copy stopped `at` bytes into a page.  If that is not there the application dropped it.  If it is, contents are too: the
 * kernel had swapped it out and has no memory to bring it back, or none for the slot.
 */
static int why_stopped(struct hmm__local *local, const struct hmm_unmap *u, size_t at)
{
	uint8_t bits = HMM_HARVEST_PRESENT;

	at -= at % hmm_page_size();
	if (hmm__local_harvest(local, (char *)u->address + at, 1, &bits) || bits & HMM_HARVEST_PRESENT)
		return -ENOMEM;
	return -ENOENT;
}

/*
 * The kernel moves no page that a forked child or KSM shares, nor one that is pinned for a device, and says -EBUSY for
 * both.  Reading through a pin makes a shared page ours alone (the kernel copies it first, without touching protection,
 * Linux 5.19), so what says -EBUSY after that is pinned.  One byte of each page, up to the first that is not there.
 */
static bool make_exclusive(struct hmm__local *local, char *address, size_t length)
{
	struct iovec local_iov[VECTOR], remote_iov[VECTOR];
	size_t page = hmm_page_size();
	char bytes[VECTOR];
	unsigned n = 0;

	for (; n < VECTOR && (size_t)n * page < length; n++) {
		struct hmm_unmap u = { .address = address + (size_t)n * page };

		if (absent(local, &u))
			break;
		local_iov[n] = (struct iovec){ &bytes[n], 1 };
		remote_iov[n] = (struct iovec){ u.address, 1 };
	}
	return n && hmm__sys_process_vm_readv(local_iov, n, remote_iov, n) > 0;
}

/* The page at done was refused; unshared already: up to where. */
void hmm__local_unmap_grant(struct hmm__local *local, struct hmm_unmap *u)
{
	size_t done, unshared = 0;

	for (u->done = 0;; ) {
		u->error = hmm__local_move(local, (char *)u->slot + u->done, (char *)u->address + u->done,
		                           u->length - u->done, UFFDIO_MOVE_MODE_DONTWAKE, HMM__TO_WINDOW, 0, &done);
		u->done += done;
		if (u->error != -EBUSY || u->done < unshared)
			break;
		if (!make_exclusive(local, (char *)u->address + u->done, u->length - u->done))
			break;
		unshared = HMM__MIN(u->done + VECTOR * hmm_page_size(), u->length);
	}
	/* EINVAL: another kind of mapping stands there now, or its protection differs from the window's */
	if (u->error == -EINVAL)
		u->error = -EACCES;
}

/*
 * Copy to the slots.  process_vm_readv() and not memcpy(): it costs 0.7 us a page more, and where the application
 * unmapped the page meanwhile it stops short instead of raising a signal that is blocked here.
 */
static void copy_out(struct hmm__local *local, struct hmm_unmap *u, unsigned n)
{
	struct iovec local_iov[VECTOR], remote_iov[VECTOR];

	for (unsigned done = 0; done < n;) {
		unsigned k = 0;
		ssize_t got;

		for (; k < VECTOR && done + k < n && !absent(local, &u[done + k]); k++) {
			local_iov[k] = (struct iovec){ u[done + k].slot, u[done + k].length };
			remote_iov[k] = (struct iovec){ u[done + k].address, u[done + k].length };
		}
		if (!k) {
			u[done++].error = -ENOENT;
			continue;
		}
		got = hmm__sys_process_vm_readv(local_iov, k, remote_iov, k);
		for (unsigned i = 0; i < k; i++) {
			if (got >= (ssize_t)u[done + i].length) {
				got -= (ssize_t)u[done + i].length;
				continue;
			}
			u[done + i].error = got < 0 && got != -EFAULT ? (int)got
			                                              : why_stopped(local, &u[done + i], got < 0 ? 0 : (size_t)got);
			k = i + 1; /* go on behind the one that failed */
			break;
		}
		done += k;
	}
}

static int drop_singly(const struct iovec *iov, unsigned n)
{
	int first = 0;

	for (unsigned i = 0; i < n; i++) {
		int r = hmm__sys_madvise_drop(iov[i].iov_base, iov[i].iov_len);

		if (!first)
			first = r;
	}
	return first;
}

/* Drop ranges with one interrupt to the other CPUs for all of them. */
static int drop_vector(struct hmm__local *local, const struct iovec *iov, unsigned n, size_t bytes)
{
	bool locked = local->config.flags & HMM_BACKEND_LOCK;
	ssize_t got = 0;

	if (n > 1 && local->madvise_self) {
		got = hmm__sys_process_madvise(local->pidfd, iov, n, locked ? MADV_DONTNEED_LOCKED : MADV_DONTNEED);
		if (got == (ssize_t)bytes)
			return 0;
	}
	return drop_singly(iov, n); /* dropping twice does no harm */
}

struct drop {
	struct iovec iov[VECTOR];
	unsigned n;
	size_t bytes;
	int error;
};

static void drop_add(struct hmm__local *local, struct drop *d, void *address, size_t length)
{
	struct iovec *last = d->n ? &d->iov[d->n - 1] : NULL;

	d->bytes += length;
	if (last && (char *)last->iov_base + last->iov_len == address) {
		last->iov_len += length;
		return;
	}
	if (d->n == VECTOR) {
		int r = drop_vector(local, d->iov, d->n, d->bytes - length);

		d->error = d->error ? d->error : r;
		d->n = 0;
		d->bytes = length;
	}
	d->iov[d->n++] = (struct iovec){ address, length };
}

static int drop_finish(struct hmm__local *local, struct drop *d)
{
	int r = d->n ? drop_vector(local, d->iov, d->n, d->bytes) : 0;

	d->error = d->error ? d->error : r;
	return d->error;
}

/* Is it to be copied only if nobody has it pinned, and can we tell? */
static bool held(const struct hmm__local *local, const struct hmm_unmap *u)
{
	return u->flags & HMM_UNMAP_HELD && local->lanes;
}

/* Contents that were not copied must not be dropped. */
static bool drops(const struct hmm__local *local, const struct hmm_unmap *u)
{
	return !held(local, u) && !(u->flags & (HMM_UNMAP_GRANT | HMM_UNMAP_PEEK)) && !u->error;
}

/* Some were not dropped: ask the kernel which.  What it can't tell counts as still there. */
static void find_undropped(struct hmm__local *local, struct hmm_unmap *u, unsigned n, int error)
{
	size_t page = hmm_page_size();

	for (unsigned i = 0; i < n; i++) {
		bool there = false;

		for (size_t at = 0; drops(local, &u[i]) && at < u[i].length && !there; at += page) {
			uint8_t bits = HMM_HARVEST_PRESENT;

			there = hmm__local_harvest(local, (char *)u[i].address + at, 1, &bits) ||
			        bits & HMM_HARVEST_PRESENT;
		}
		if (there)
			u[i].error = error;
	}
}

static int unmap_batch(struct hmm__local *local, struct hmm_unmap *u, unsigned n)
{
	bool grants = false, swaps = false;
	struct drop drop = { .n = 0 };
	int first = 0;

	for (unsigned i = 0; i < n; i++)
		grants = grants || u[i].flags & HMM_UNMAP_GRANT;
	if (grants)
		swaps = hmm__local_has_swap();
	for (unsigned i = 0; i < n; i++) {
		u[i].error = 0;
		u[i].done = u[i].length;
		if (u[i].flags & HMM_UNMAP_GRANT)
			hmm__local_unmap_grant(local, &u[i]);
	}
	if (grants && (swaps || hmm__local_has_swap())) /* before or after: it may come and go */
		hmm__local_make_writable(local, u, n);
	for (unsigned i = 0, k; i < n; i = k) {
		bool checks = held(local, &u[i]);

		for (k = i; k < n && (u[k].flags & HMM_UNMAP_COPY) && held(local, &u[k]) == checks; k++)
			;
		if (k > i && checks)
			hmm__local_copy_held(local, u + i, k - i);
		else if (k > i)
			copy_out(local, u + i, k - i);
		else
			k++;
	}
	for (unsigned i = 0; i < n; i++) {
		if (drops(local, &u[i]))
			drop_add(local, &drop, u[i].address, u[i].length);
	}
	if (drop_finish(local, &drop))
		find_undropped(local, u, n, drop.error);
	for (unsigned i = 0; i < n; i++) {
		if (u[i].error)
			u[i].done = u[i].flags & HMM_UNMAP_GRANT ? u[i].done : 0;
		first = first ? first : u[i].error;
	}
	return first;
}

/* The kernel merges pages of this process: what is taken for clean goes only while it is protected still. */
static int unmap_checked(struct hmm__local *local, struct hmm_unmap *u, unsigned n)
{
	int first = 0;

	for (unsigned i = 0; i < n; i++) {
		int r = u[i].flags & HMM_UNMAP_CLEAN ? hmm__local_still_clean(local, u[i].address, u[i].length) : 0;

		u[i].done = 0;
		u[i].error = r;
		if (!r)
			r = unmap_batch(local, &u[i], 1);
		first = first ? first : r;
	}
	return first;
}

int hmm__local_unmap(void *backend, struct hmm_unmap *unmaps, unsigned n)
{
	struct hmm__local *local = backend;
	bool clean = false;

	for (unsigned i = 0; i < n && !clean; i++)
		clean = unmaps[i].flags & HMM_UNMAP_CLEAN;
	if (HMM__UNLIKELY(clean && hmm__local_merges(local)))
		return unmap_checked(local, unmaps, n);
	return unmap_batch(local, unmaps, n);
}

int hmm__local_write_protect(void *backend, const struct hmm_span *spans, unsigned n, int on)
{
	int first = 0;

	for (unsigned i = 0; i < n; i++) {
		int r = hmm__local_protect_span(backend, spans[i].address, spans[i].length, on ? UFFDIO_WRITEPROTECT_MODE_WP : 0);

		first = first ? first : r;
	}
	return first;
}

/* Where no userfaultfd is: the kernel puts frames there, or says that it has none (Linux 5.14). */
static int populate(void *slot, size_t length)
{
	int r = hmm__sys_madvise(slot, length, MADV_POPULATE_WRITE);

	if (r == -EINVAL) {
		for (size_t at = 0; at < length; at += hmm_page_size())
			*(volatile char *)((char *)slot + at) = 0;
		r = 0;
	}
	return r;
}

int hmm__local_fill(void *backend, void *slot, size_t length)
{
	struct hmm__local *local = backend;
	size_t done;
	int r;

	if (local->config.delivery == HMM_DELIVERY_NONE)
		return populate(slot, length);
	r = copy_zeros(backend, slot, length, UFFDIO_COPY_MODE_DONTWAKE, &done);

	if (r && done) {
		struct iovec iov = { slot, done };

		drop_singly(&iov, 1);
	}
	return r;
}

int hmm__local_drop(void *backend, const struct hmm_span *slots, unsigned n)
{
	struct hmm__local *local = backend;
	struct drop drop = { .n = 0 };

	for (unsigned i = 0; i < n; i++)
		drop_add(local, &drop, slots[i].address, slots[i].length);
	return drop_finish(local, &drop);
}
