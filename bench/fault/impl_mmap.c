/* SPDX-License-Identifier: MIT */
/*
 * impl_mmap.c - the same file through mmap(2), and through a loop of read(2)
 *
 * Neither has a budget: the file is in the page cache, so mmap finds all of it in memory once it was touched.  It
 * shows what the same accesses cost without paging.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include "bench/fault/impl.h"

#define READ_BYTES (128u << 10)

struct mapped {
	uint8_t *base;
	uint64_t bytes;
};

static int mmap_open(const struct setup *setup, struct identity *identity, void **ret_context, void **ret_base,
                     char why[TEXT_BYTES])
{
	struct mapped *m = malloc(sizeof(*m));

	if (!m)
		return -ENOMEM;
	m->bytes = setup->bytes;
	m->base = mmap(NULL, setup->bytes, PROT_READ | PROT_WRITE, MAP_SHARED, setup->fd, 0);
	if (m->base == MAP_FAILED) {
		int r = -errno;

		snprintf(why, TEXT_BYTES, "mmap: %s", strerror(-r));
		free(m);
		return r;
	}
	strcpy(identity->policy, "kernel");
	strcpy(identity->store, "page-cache");
	*ret_context = m;
	*ret_base = m->base;
	return 0;
}

static void process_counters(void *context, struct counters *counters)
{
	struct rusage usage;

	(void)context;
	memset(counters, 0, sizeof(*counters));
	getrusage(RUSAGE_SELF, &usage);
	counters->majflt = (uint64_t)usage.ru_majflt;
	counters->minflt = (uint64_t)usage.ru_minflt;
}

static void mmap_counters(void *context, struct counters *counters)
{
	process_counters(context, counters);
	counters->misses = counters->majflt + counters->minflt;
	counters->resident = ((struct mapped *)context)->bytes;
}

static int mmap_close(void *context)
{
	struct mapped *m = context;

	munmap(m->base, m->bytes);
	free(m);
	return 0;
}

const struct impl impl_mmap = {
	.name = "mmap",
	.filled = 1,
	.open = mmap_open,
	.counters = mmap_counters,
	.close = mmap_close,
};

/* ---- read-loop ---- */

struct reader {
	int fd;
	uint8_t *buffers[MAX_THREADS];
};

static int reader_open(const struct setup *setup, struct identity *identity, void **ret_context, void **ret_base,
                       char why[TEXT_BYTES])
{
	struct reader *reader = calloc(1, sizeof(*reader));

	(void)why;
	if (!reader)
		return -ENOMEM;
	reader->fd = setup->fd;
	for (unsigned t = 0; t < MAX_THREADS; t++) {
		void *buffer = mmap(NULL, READ_BYTES, PROT_READ | PROT_WRITE,
		                    MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);

		if (buffer == MAP_FAILED)
			return -errno;
		reader->buffers[t] = buffer;
	}
	strcpy(identity->policy, "none");
	strcpy(identity->store, "page-cache");
	*ret_context = reader;
	*ret_base = NULL;
	return 0;
}

static void *reader_fetch(void *context, unsigned thread, uint64_t first, unsigned n)
{
	struct reader *reader = context;
	size_t bytes = (size_t)n * PAGE_BYTES;

	if (bytes > READ_BYTES || pread(reader->fd, reader->buffers[thread], bytes, (off_t)(first * PAGE_BYTES)) !=
	                                  (ssize_t)bytes)
		return NULL;
	return reader->buffers[thread];
}

static int reader_close(void *context)
{
	struct reader *reader = context;

	for (unsigned t = 0; t < MAX_THREADS; t++)
		munmap(reader->buffers[t], READ_BYTES);
	free(reader);
	return 0;
}

const struct impl impl_read_loop = {
	.name = "read-loop",
	.filled = 1,
	.open = reader_open,
	.counters = process_counters,
	.fetch = reader_fetch,
	.close = reader_close,
};
