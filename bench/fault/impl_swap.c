/* SPDX-License-Identifier: MIT */
/*
 * impl_swap.c - anonymous memory under a memory cgroup limit, paged by the kernel's own swap
 *
 * The swap itself is set up by the parent (bench/kernel/swap.c).  The limit is what the process uses before it touches the
 * region, plus the budget, plus the page tables of the region, so that the region gets its budget and no more.
 * A miss is any fault the kernel counts: a major one read the page from swap, a minor one found it in the swap cache.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include "bench/kernel/cgroup.h"
#include "bench/fault/impl.h"

struct swapped {
	uint8_t *base;
	uint64_t bytes;
	uint64_t other; /* resident before the region was touched */
};

/* Anonymous memory of the process. */
static uint64_t resident_bytes(void)
{
	char text[128];
	unsigned long long size = 0, resident = 0, shared = 0;

	if (read_text("/proc/self/statm", text, sizeof(text)) == 0)
		sscanf(text, "%llu %llu %llu", &size, &resident, &shared);
	return (resident - shared) * (uint64_t)sysconf(_SC_PAGESIZE);
}

static int swap_open(const struct setup *setup, struct identity *identity, void **ret_context, void **ret_base,
                     char why[TEXT_BYTES])
{
	struct swapped *s = malloc(sizeof(*s));
	int r;

	if (!s)
		return -ENOMEM;
	r = cgroup_enter(setup->cgroup);
	if (r < 0) {
		snprintf(why, TEXT_BYTES, "memory cgroup: entering: %s", strerror(-r));
		return r;
	}
	s->bytes = setup->bytes;
	s->base = mmap(NULL, s->bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (s->base == MAP_FAILED)
		return -errno;
	madvise(s->base, s->bytes, MADV_NOHUGEPAGE);
	s->other = resident_bytes();
	r = cgroup_allow(setup->cgroup, setup->budget + setup->bytes / 512);
	if (r < 0) {
		snprintf(why, TEXT_BYTES, "memory cgroup: limit: %s", strerror(-r));
		return r;
	}
	strcpy(identity->policy, "kernel");
	snprintf(identity->store, sizeof(identity->store), "%s", setup->store);
	*ret_context = s;
	*ret_base = s->base;
	return 0;
}

static void swap_counters(void *context, struct counters *counters)
{
	struct swapped *s = context;
	struct rusage usage;

	memset(counters, 0, sizeof(*counters));
	getrusage(RUSAGE_SELF, &usage);
	counters->majflt = (uint64_t)usage.ru_majflt;
	counters->minflt = (uint64_t)usage.ru_minflt;
	counters->misses = counters->majflt + counters->minflt;
	counters->loads = counters->majflt;
	counters->rescues = counters->minflt;
	counters->resident = resident_bytes() - s->other;
}

static int swap_close(void *context)
{
	struct swapped *s = context;

	munmap(s->base, s->bytes);
	free(s);
	return 0;
}

const struct impl impl_swap_zram = {
	.name = "swap-zram",
	.open = swap_open,
	.counters = swap_counters,
	.close = swap_close,
};

const struct impl impl_swap_file = {
	.name = "swap-file",
	.open = swap_open,
	.counters = swap_counters,
	.close = swap_close,
};
