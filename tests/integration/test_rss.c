/* SPDX-License-Identifier: MIT */
/*
 * test_rss.c - the kernel's own count of the process's memory stays within the budget
 */
#include "tests/world.h"

#include <stdio.h>
#include <string.h>

#define FRAMES 4096 /* 16 MiB */
#define NPAGES (8 * FRAMES)

/* Anonymous memory of this process that is in frames, in KiB. */
static uint64_t rss_anon(void)
{
	FILE *f = fopen("/proc/self/status", "r");
	unsigned long long kib = 0;
	char line[256];

	ck_assert_ptr_nonnull(f);
	while (fgets(line, sizeof(line), f))
		if (sscanf(line, "RssAnon: %llu kB", &kib) == 1)
			break;
	fclose(f);
	return kib;
}

/* _i: enum world_backend, in all */
START_TEST(budget_holds_as_the_kernel_counts)
{
	const char *missing = world_missing((enum world_backend)_i);
	uint64_t before, most = 0, budget, metadata;
	struct world w;
	struct world_map m;

	if (missing)
		world_skip(missing);
	world_open(&w, (enum world_backend)_i, WORLD_SWAP_FILE, 1, FRAMES,
	           &(struct hmm_space_options){ .size = sizeof(struct hmm_space_options), .max_frames = FRAMES });
	world_map(&w, &m, NPAGES * w.page, NULL);
	before = rss_anon();
	for (unsigned pass = 0; pass < 2; pass++) {
		for (size_t i = 0; i < NPAGES; i++) {
			uint64_t word = i * 2 + pass, seen = 0;

			if (pass) {
				ck_assert_int_eq(world_read(&w, m.region, m.base + i * m.page, &seen, 8), 0);
				ck_assert_uint_eq(seen, word - 1);
			}
			ck_assert_int_eq(world_write(&w, m.region, m.base + i * m.page, &word, 8), 0);
			if (i % 512 == 0 && rss_anon() > most)
				most = rss_anon();
		}
	}
	budget = FRAMES * w.page / 1024;
	metadata = world_stats(&w).metadata_bytes / 1024;
	ck_assert_uint_le(world_stats(&w).peak_held, FRAMES);
	/* Besides: metadata, stacks, malloc. */
	ck_assert_msg(most - before <= budget + metadata + 1024, "%llu KiB, budget %llu and %llu of metadata",
	              (unsigned long long)(most - before), (unsigned long long)budget, (unsigned long long)metadata);
	ck_assert_uint_ge(most - before, budget / 2);
	world_unmap(&w, &m);
	world_close(&w);
	ck_assert_uint_le(rss_anon(), before + 2048);
}
END_TEST

static Suite *suite(void)
{
	Suite *s = suite_create("rss");

	for (int i = WORLD_INLINE_AUTO; i < WORLD_BACKENDS; i++) {
		TCase *t = tcase_create(world_backend_names[i]);

		tcase_add_loop_test(t, budget_holds_as_the_kernel_counts, i, i + 1);
		suite_add_tcase(s, t);
	}
	return s;
}

HMM_TEST_MAIN(suite)
