/* SPDX-License-Identifier: MIT */
/*
 * replay.c - a trace as reads of a mapped file, under a budget: what the pager really reads in
 *
 * Inline delivery, without read-ahead, for the simulator has none; everything else is the library's default.  Each page of
 * the file has its number in it, and every read looks at it.
 */
#include <errno.h>
#include <fcntl.h>
#include <hurd-mm/hurd-mm.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "bench/policy/policy.h"

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static int make_file(const char *directory, uint32_t pages, size_t page_size)
{
	uint64_t *page = calloc(1, page_size);
	char path[4096];
	int fd, r = 0;

	if (!page)
		return -ENOMEM;
	snprintf(path, sizeof(path), "%s/hurd-mm-policy-XXXXXX", directory);
	fd = mkostemp(path, O_CLOEXEC);
	if (fd < 0) {
		r = -errno;
	} else {
		unlink(path);
		for (uint32_t i = 0; !r && i < pages; i++) {
			page[0] = i + UINT64_C(1);
			if (pwrite(fd, page, page_size, (off_t)(i * (uint64_t)page_size)) != (ssize_t)page_size)
				r = -EIO;
		}
	}
	free(page);
	if (r && fd >= 0)
		close(fd);
	return r ? r : fd;
}

static int run(struct hmm_space *space, struct hmm_store *store, const struct requests *trace, size_t page_size,
               struct replay *result)
{
	struct hmm_region_options o = { .size = sizeof(o), .delivery = HMM_DELIVERY_INLINE,
		                        .flags = HMM_REGION_SHARED | HMM_REGION_NO_READ_AHEAD };
	struct hmm_stats s = { .size = sizeof(s) };
	struct hmm_region *region;
	const volatile uint8_t *base;
	double start;
	int r = hmm_region_map(space, store, 0, trace->unique * page_size, &o, &region);

	if (r)
		return r;
	base = hmm_region_base(region);
	start = now();
	for (size_t i = 0; i < trace->n; i++) {
		uint32_t page = trace->pages[i];

		result->wrong += *(const volatile uint64_t *)(base + page * page_size) != page + UINT64_C(1);
	}
	result->seconds = now() - start;
	r = hmm_space_stats(space, &s);
	result->page_ins = s.loads;
	result->rescues = s.rescues;
	result->recorded = s.recorded;
	result->record_drops = s.record_drops;
	if (!r)
		r = hmm_region_unmap(region);
	return r;
}

int replay(const char *spec, uint32_t frames, const struct requests *trace, uint32_t rescue, const char *record,
           const char *directory, struct replay *result)
{
	struct hmm_space_options o = { .size = sizeof(o), .policy = spec, .rescue = rescue, .record = record };
	size_t page_size = hmm_page_size();
	struct hmm_space *space;
	struct hmm_store *store;
	int r, fd = make_file(directory, trace->unique, page_size);

	memset(result, 0, sizeof(*result));
	if (fd < 0)
		return fd;
	r = hmm_store_file(fd, 0, &store);
	if (!r) {
		r = hmm_space_create(frames, &o, &space);
		if (!r) {
			r = run(space, store, trace, page_size, result);
			hmm_space_destroy(space);
		}
		hmm_store_put(store);
	}
	close(fd);
	return r;
}
