/* SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <string.h>
#include <hurd-mm/hurd-mm.h>

int main(void)
{
	struct hmm_space_options policy = { .size = sizeof(policy), .policy = "lru" };
	struct hmm_region_options inlined = { .size = sizeof(inlined), .delivery = HMM_DELIVERY_INLINE };
	struct hmm_stats stats = { .size = sizeof(stats) };
	struct hmm_space *space = NULL;
	struct hmm_region *region;
	size_t n = (128 << 20) / sizeof(uint64_t); /* 128 MiB of numbers in 16 MiB of memory */
	uint64_t sum = 0;
	int error = hmm_space_create((16 << 20) / hmm_page_size(), &policy, &space);

	if (!error)
		error = hmm_region_map(space, NULL, 0, n * sizeof(uint64_t), &inlined, &region);
	if (!error) {
		uint64_t *numbers = hmm_region_base(region); /* from here on it is memory like any other */
		for (size_t i = 0; i < n; i++)
			numbers[i] = i;
		for (size_t i = 0; i < n; i++)
			sum += numbers[i];
		error = hmm_space_stats(space, &stats);
		printf("sum %llu, %llu faults, never more than %llu frames\n", (unsigned long long)sum,
		       (unsigned long long)stats.faults, (unsigned long long)stats.peak_held);
	}
	hmm_space_destroy(space);
	if (error)
		fprintf(stderr, "hello: %s\n", strerror(-error));
	return error != 0;
}
