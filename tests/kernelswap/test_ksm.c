/* SPDX-License-Identifier: MIT */
/*
 * test_ksm.c - the process has asked for same-page merging of all its memory, and KSM is quick
 *
 * A page that KSM merges loses its write protection, so that a write to it would not be seen, and can't be moved.  Regions and
 * windows stay out of it; contents are as they were written.
 */
#include "tests/world.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "tests/kernelswap/settings.h"

#define KSM "/sys/kernel/mm/ksm/"

#ifndef PR_SET_MEMORY_MERGE /* 6.4 */
#define PR_SET_MEMORY_MERGE 67
#endif

enum { PAGES = 1024, FRAMES = 256, SCANS = 3 };

static const enum world_backend backends[] = { WORLD_INLINE_MOVE, WORLD_INLINE_COPY, WORLD_THREAD_MOVE, WORLD_THREAD_COPY };
#define BACKENDS (int)(sizeof(backends) / sizeof(backends[0]))

static uint64_t number(const char *path)
{
	unsigned long long value = 0;
	FILE *f = fopen(path, "re");

	ck_assert_ptr_nonnull(f);
	ck_assert_int_eq(fscanf(f, "%llu", &value), 1);
	fclose(f);
	return value;
}

/* Each page of the process has been looked at some times. */
static void let_it_scan(void)
{
	struct world_wait wait = { .seconds = 60 };
	uint64_t until = number(KSM "full_scans") + SCANS;

	while (number(KSM "full_scans") < until)
		ck_assert(world_wait(&wait));
}

/* Of the mapping that address lies in: are its pages to be merged?  (VmFlags of smaps) */
static bool is_mergeable(const void *address)
{
	FILE *f = fopen("/proc/self/smaps", "re");
	bool within = false, mergeable = false, found = false;
	unsigned long from, to;
	char line[512];

	ck_assert_ptr_nonnull(f);
	while (!found && fgets(line, sizeof(line), f)) {
		if (sscanf(line, "%lx-%lx ", &from, &to) == 2)
			within = (uintptr_t)address >= from && (uintptr_t)address < to;
		else if (within && !strncmp(line, "VmFlags:", 8)) {
			found = true;
			mergeable = strstr(line, " mg") != NULL;
		}
	}
	fclose(f);
	ck_assert(found);
	return mergeable;
}

static void make_ksm_quick(struct settings *settings)
{
	static const struct setting list[] = {
		{ KSM "pages_to_scan", "10000" },
		{ KSM "sleep_millisecs", "1" },
		{ KSM "run", "1" },
		{ NULL, NULL },
	};
	int r;

	if (access(KSM "run", F_OK) < 0)
		world_skip("CONFIG_KSM");
	if (geteuid() != 0)
		world_skip("root, to set KSM");
	r = settings_change(settings, list);
	if (r == -EACCES || r == -EPERM || r == -EROFS)
		world_skip("permission to set KSM");
	ck_assert_int_eq(r, 0);
}

START_TEST(regions_stay_out_of_same_page_merging)
{
	const char *missing = world_missing(backends[_i]);
	struct settings settings;
	struct world w;
	struct world_map m;
	void *plain;

	if (missing)
		world_skip(missing);
	make_ksm_quick(&settings);
	if (prctl(PR_SET_MEMORY_MERGE, 1, 0, 0, 0)) {
		settings_restore(&settings);
		world_skip("PR_SET_MEMORY_MERGE, Linux 6.4");
	}
	world_open(&w, backends[_i], WORLD_SWAP_MEMORY, 1, FRAMES, NULL);
	world_map(&w, &m, (size_t)PAGES * w.page, NULL);
	plain = aligned_alloc(w.page, 64 * w.page); /* to see that the kernel means it */
	ck_assert_ptr_nonnull(plain);
	memset(plain, 3, 64 * w.page);
	ck_assert(is_mergeable(plain));
	ck_assert(!is_mergeable(m.base));
	/* many equal pages, dirty and clean */
	for (size_t i = 0; i < PAGES; i++)
		memset(m.base + i * w.page, (int)(1 + i % 3), w.page);
	for (size_t i = 0; i < PAGES; i += 5)
		ck_assert_uint_eq(m.base[i * w.page], 1 + i % 3);
	let_it_scan();
	for (size_t i = 0; i < PAGES; i++)
		if (i % 2)
			world_put(&w, &m, i, i + 1);
	let_it_scan();
	ck_assert_int_eq(hmm_region_advise(m.region, m.base, m.length, HMM_ADVISE_PAGEOUT), 0);
	for (size_t i = 0; i < PAGES; i++) {
		if (i % 2)
			world_check(&w, &m, i, i + 1);
		else
			ck_assert_uint_eq(m.base[i * w.page + 9], 1 + i % 3);
	}
	ck_assert_uint_eq(world_stats(&w).faults_failed, 0);
	free(plain);
	world_unmap(&w, &m);
	world_close(&w);
	settings_restore(&settings);
}
END_TEST

static Suite *suite(void)
{
	Suite *s = suite_create("ksm");
	TCase *t = tcase_create("ksm");

	tcase_set_timeout(t, test_patience(120));
	tcase_add_loop_test(t, regions_stay_out_of_same_page_merging, 0, BACKENDS);
	suite_add_tcase(s, t);
	return s;
}

HMM_TEST_MAIN(suite)
