/* SPDX-License-Identifier: MIT */
/*
 * impl_floor.c - the floor: the kernel calls that paging in user space can't do without, and nothing else
 *
 * A miss is a SIGBUS in the faulting thread, a pread of the page and one UFFDIO_COPY.  A full buffer gives up its 64
 * oldest pages in one process_madvise(MADV_DONTNEED).  Dropped pages are not written, not kept for a rescue, not
 * protected; there is no policy, no read-ahead, and an error ends the process.  So a write is lost when its page goes.
 *
 * State of a page, one byte: ABSENT -> BUSY (one thread fills it) -> PRESENT -> BUSY (one thread drops it) -> ABSENT.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include "bench/fault/impl.h"

#ifndef UFFD_USER_MODE_ONLY
#define UFFD_USER_MODE_ONLY 1
#endif
#define VICTIMS 64u

enum { ABSENT, BUSY, PRESENT };

struct floor_pager {
	uint8_t *base;
	uint64_t bytes;
	uint32_t npages;
	uint64_t limit;             /* pages */
	int fd, uffd, pidfd;
	_Atomic uint8_t *states;
	uint32_t *queue;            /* pages in the order they came, npages + 1 places */
	uint64_t head, tail;        /* under lock */
	atomic_flag lock;
	_Alignas(64) _Atomic uint64_t resident;
	_Alignas(64) _Atomic uint64_t misses;
};

static struct floor_pager *pager;
static _Thread_local uint8_t *thread_buffer;

static void relax(void)
{
#if defined(__x86_64__)
	__builtin_ia32_pause();
#elif defined(__aarch64__)
	__asm__ volatile("yield");
#endif
}

static void queue_lock(struct floor_pager *p)
{
	while (atomic_flag_test_and_set_explicit(&p->lock, memory_order_acquire))
		relax();
}

static void queue_unlock(struct floor_pager *p)
{
	atomic_flag_clear_explicit(&p->lock, memory_order_release);
}

/* Async-signal-safe end: the floor recovers from nothing. */
static void give_up(const char *text)
{
	(void)!write(STDERR_FILENO, text, strlen(text));
	_exit(3);
}

static void drop_oldest(struct floor_pager *p)
{
	uint32_t pages[VICTIMS];
	struct iovec pieces[VICTIMS];
	unsigned taken = 0, n = 0;

	queue_lock(p);
	while (taken < VICTIMS && p->tail < p->head)
		pages[taken++] = p->queue[p->tail++ % (p->npages + 1)];
	queue_unlock(p);
	for (unsigned i = 0; i < taken; i++) {
		uint8_t state = PRESENT;

		if (!atomic_compare_exchange_strong(&p->states[pages[i]], &state, BUSY))
			continue;
		pieces[n].iov_base = p->base + (size_t)pages[i] * PAGE_BYTES;
		pieces[n].iov_len = PAGE_BYTES;
		pages[n++] = pages[i];
	}
	if (n && syscall(SYS_process_madvise, p->pidfd, pieces, n, MADV_DONTNEED, 0) != (long)(n * PAGE_BYTES))
		for (unsigned i = 0; i < n; i++)
			if (madvise(pieces[i].iov_base, PAGE_BYTES, MADV_DONTNEED) < 0)
				give_up("floor: madvise failed\n");
	for (unsigned i = 0; i < n; i++)
		atomic_store(&p->states[pages[i]], ABSENT);
	atomic_fetch_sub(&p->resident, n);
}

static void bring_in(struct floor_pager *p, uint32_t page)
{
	uint8_t state = ABSENT;
	struct uffdio_copy copy = {
		.dst = (uintptr_t)p->base + (uint64_t)page * PAGE_BYTES,
		.src = (uintptr_t)thread_buffer,
		.len = PAGE_BYTES,
		.mode = UFFDIO_COPY_MODE_DONTWAKE,
	};

	if (!atomic_compare_exchange_strong(&p->states[page], &state, BUSY)) {
		while (atomic_load_explicit(&p->states[page], memory_order_acquire) == BUSY)
			relax();
		return;
	}
	if (atomic_fetch_add(&p->resident, 1) >= p->limit)
		drop_oldest(p);
	if (pread(p->fd, thread_buffer, PAGE_BYTES, (off_t)page * PAGE_BYTES) != PAGE_BYTES)
		give_up("floor: pread failed\n");
	while (ioctl(p->uffd, UFFDIO_COPY, &copy) < 0) {
		if (errno != EAGAIN)
			give_up("floor: UFFDIO_COPY failed\n");
	}
	atomic_store(&p->states[page], PRESENT); /* before it can be dropped */
	queue_lock(p);
	p->queue[p->head++ % (p->npages + 1)] = page;
	queue_unlock(p);
	atomic_fetch_add_explicit(&p->misses, 1, memory_order_relaxed);
}

static void on_bus_error(int signal, siginfo_t *info, void *context)
{
	uintptr_t offset = (uintptr_t)info->si_addr - (uintptr_t)pager->base;
	int saved = errno;

	(void)signal;
	(void)context;
	if (offset >= pager->bytes)
		give_up("floor: SIGBUS elsewhere\n");
	bring_in(pager, (uint32_t)(offset / PAGE_BYTES));
	errno = saved;
}

static int floor_thread_start(void *context, unsigned thread)
{
	(void)context;
	(void)thread;
	if (!thread_buffer) {
		void *buffer = mmap(NULL, PAGE_BYTES, PROT_READ | PROT_WRITE,
		                    MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);

		if (buffer == MAP_FAILED)
			return -errno;
		thread_buffer = buffer;
	}
	return 0;
}

static int register_range(struct floor_pager *p, char why[TEXT_BYTES])
{
	struct uffdio_api api = { .api = UFFD_API, .features = UFFD_FEATURE_SIGBUS };
	struct uffdio_register range = {
		.range = { .start = (uintptr_t)p->base, .len = p->bytes },
		.mode = UFFDIO_REGISTER_MODE_MISSING,
	};

	p->uffd = (int)syscall(SYS_userfaultfd, O_CLOEXEC | UFFD_USER_MODE_ONLY);
	if (p->uffd < 0 || ioctl(p->uffd, UFFDIO_API, &api) < 0 || ioctl(p->uffd, UFFDIO_REGISTER, &range) < 0) {
		snprintf(why, TEXT_BYTES, "userfaultfd: %s", strerror(errno));
		return -ENOTSUP;
	}
	return 0;
}

static int floor_open(const struct setup *setup, struct identity *identity, void **ret_context, void **ret_base,
                      char why[TEXT_BYTES])
{
	struct floor_pager *p = aligned_alloc(64, sizeof(*p));
	struct sigaction action = { .sa_sigaction = on_bus_error, .sa_flags = SA_SIGINFO };

	if (!p)
		return -ENOMEM;
	memset(p, 0, sizeof(*p));
	atomic_flag_clear(&p->lock);
	p->bytes = setup->bytes;
	p->npages = (uint32_t)(setup->bytes / PAGE_BYTES);
	p->limit = setup->budget / PAGE_BYTES;
	p->fd = setup->fd;
	p->pidfd = (int)syscall(SYS_pidfd_open, getpid(), 0);
	p->states = calloc(p->npages, 1);
	p->queue = calloc(p->npages + 1, sizeof(*p->queue));
	p->base = mmap(NULL, p->bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (p->pidfd < 0 || !p->states || !p->queue || p->base == MAP_FAILED)
		return -ENOMEM;
	madvise(p->base, p->bytes, MADV_NOHUGEPAGE);
	pager = p;
	if (sigaction(SIGBUS, &action, NULL) < 0)
		return -errno;
	strcpy(identity->policy, "fifo");
	strcpy(identity->store, "page-cache");
	strcpy(identity->engine, "copy");
	*ret_context = p;
	*ret_base = p->base;
	return register_range(p, why);
}

static void floor_counters(void *context, struct counters *counters)
{
	struct floor_pager *p = context;

	memset(counters, 0, sizeof(*counters));
	counters->misses = counters->loads = atomic_load_explicit(&p->misses, memory_order_relaxed);
	counters->resident = atomic_load(&p->resident) * PAGE_BYTES;
}

static int floor_close(void *context)
{
	struct floor_pager *p = context;

	close(p->uffd);
	close(p->pidfd);
	munmap(p->base, p->bytes);
	return 0;
}

const struct impl impl_floor = {
	.name = "floor",
	.lossy = 1,
	.filled = 1,
	.open = floor_open,
	.counters = floor_counters,
	.thread_start = floor_thread_start,
	.close = floor_close,
};
