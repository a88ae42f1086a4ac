/* SPDX-License-Identifier: MIT */
/*
 * memory.c - where a run's memory comes from: a space with a budget, or plain mmap
 *
 * glibc's qsort() is a merge sort: it asks malloc() for a temporary as large as the array.  Left alone that
 * temporary would be ordinary memory, and the budget a fiction.  So this program defines malloc() and free(), and
 * while a thread is inside memory_qsort() a large request of that thread is served from a region of the space.
 * Everything else goes to the C library's allocator unchanged.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "paged-sort.h"

#define LARGE (64 << 10) /* bytes; qsort's temporary is far above, anything else it might want far below */

extern void *__libc_malloc(size_t size);
extern void __libc_free(void *block);

static __thread struct memory *lender; /* not NULL while this thread is inside memory_qsort() */
static __thread struct hmm_region *lent;

static int map(struct memory *memory, size_t length, struct hmm_region **ret_region)
{
	struct hmm_region_options opts = { .size = sizeof(opts), .delivery = memory->job->delivery };
	size_t page = hmm_page_size();

	return hmm_region_map(memory->space, NULL, 0, (length + page - 1) / page * page, &opts, ret_region);
}

void *malloc(size_t size)
{
	if (!lender || size < LARGE || lent)
		return __libc_malloc(size);
	if (map(lender, size, &lent)) {
		errno = ENOMEM; /* qsort then sorts in place, slowly */
		return NULL;
	}
	return hmm_region_base(lent);
}

void free(void *block)
{
	if (lent && block == hmm_region_base(lent)) {
		hmm_region_abandon(lent);
		lent = NULL;
	} else {
		__libc_free(block);
	}
}

static void explain(const char *what, int error, uint32_t delivery)
{
	struct hmm_probe probe = { .size = sizeof(probe) };
	const char *missing = NULL;

	if ((error == -EPERM || error == -ENOTSUP) && !hmm_probe(&probe))
		missing = delivery == HMM_DELIVERY_INLINE ? probe.inline_missing : probe.thread_missing;
	die("%s: %s%s%s", what, strerror(-error), missing ? "\n  " : "", missing ? missing : "");
}

static void event(void *arg, const struct hmm_event *event)
{
	static _Atomic int told;

	(void)arg;
	if (event->kind == HMM_EVENT_WRITE_ERROR && !told++)
		fprintf(stderr, "paged-sort: writing to swap failed: %s\n"
			"  HURD_MM_SWAP_DIR names the directory that swap is in; it needs as much room as the data, "
			"and half again.\n", strerror(-event->error));
	else if (event->kind == HMM_EVENT_READ_ERROR && !told++)
		fprintf(stderr, "paged-sort: reading from swap failed: %s\n", strerror(-event->error));
	else if (event->kind == HMM_EVENT_NO_FRAME && !told++)
		fprintf(stderr, "paged-sort: no frame left, and no page that could give one up; try a larger --budget\n");
	else if (event->kind == HMM_EVENT_POLICY)
		fprintf(stderr, "paged-sort: policy: %s\n", event->text);
}

static void open_space(struct memory *memory, const struct job *job)
{
	struct hmm_swap_options swap_opts = { .size = sizeof(swap_opts), .direct = job->direct };
	struct hmm_space_options opts = { .size = sizeof(opts), .policy = job->name, .event = event };
	int error = hmm_store_swap(&swap_opts, &opts.swap);

	if (error)
		die("no swap file: %s\n  HURD_MM_SWAP_DIR names the directory it is made in (else /var/tmp)%s",
		    strerror(-error), job->direct == HMM_DIRECT_ALWAYS ? "; --direct needs a file system with O_DIRECT" : "");
	error = hmm_space_create(job->budget / hmm_page_size(), &opts, &memory->space);
	if (error == -EINVAL)
		die("a budget of %.1f MiB, or the parameters of the policy %s, were refused", (double)job->budget / MIB,
		    job->name);
	if (error)
		explain("no space", error, job->delivery);
	hmm_store_put(opts.swap); /* the space holds its own reference */
}

void memory_open(struct memory *memory, const struct job *job)
{
	size_t page = hmm_page_size();

	*memory = (struct memory){ .job = job, .piece = 256 << 10 };
	if (strcmp(job->name, "plain") == 0)
		return;
	if (memory->piece > job->budget / 8)
		memory->piece = job->budget / 8 / page * page;
	open_space(memory, job);
}

void *memory_get(struct memory *memory, size_t length, struct hmm_region **ret_region)
{
	struct hmm_region *region = NULL;
	void *address;
	int error;

	if (!memory->space) {
		address = mmap(NULL, length, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		if (address == MAP_FAILED)
			die("no memory: %s", strerror(errno));
	} else {
		error = map(memory, length, &region);
		if (error)
			explain("no region", error, memory->job->delivery);
		address = hmm_region_base(region);
	}
	if (ret_region)
		*ret_region = region;
	return address;
}

/* The pages that a range touches. */
static void *pages_of(const void *address, size_t *length)
{
	uintptr_t mask = hmm_page_size() - 1, first = (uintptr_t)address & ~mask;

	*length = (((uintptr_t)address + *length + mask) & ~mask) - first;
	return (void *)first;
}

void memory_hold(struct hmm_region *region, void *address, size_t length)
{
	int error;

	if (!region)
		return;
	address = pages_of(address, &length);
	error = hmm_region_pin(region, address, length, 1);
	if (error)
		die("%zu bytes could not be pinned: %s", length, strerror(-error));
}

void memory_release(struct hmm_region *region, void *address, size_t length)
{
	int error;

	if (!region)
		return;
	address = pages_of(address, &length);
	error = hmm_region_unpin(region, address, length);
	if (error)
		die("unpin: %s", strerror(-error));
}

void memory_qsort(struct memory *memory, void *base, size_t n, size_t size,
                  int (*compare)(const void *, const void *))
{
	lender = memory->space ? memory : NULL;
	qsort(base, n, size, compare);
	lender = NULL;
}

void memory_stats(struct memory *memory, struct hmm_stats *stats)
{
	*stats = (struct hmm_stats){ .size = sizeof(*stats) };
	if (memory->space && hmm_space_stats(memory->space, stats))
		die("no statistics");
}
