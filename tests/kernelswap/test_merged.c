/* SPDX-License-Identifier: MIT */
/*
 * test_merged.c - the kernel merges equal pages (KSM), and forgets that they were protected
 *
 * Regions are kept out of it (test_ksm.c), but the process may ask for it afterwards, or for the region alone.  What is written to
 * pages that may have been merged is there after they were evicted, and they can be evicted.
 */
#include "tests/world.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "lib/base/util.h"
#include "lib/sys/compat.h"
#include "tests/kernelswap/settings.h"

#define KSM "/sys/kernel/mm/ksm/"

enum { PAGES = 512, FRAMES = 1024, SCANS = 4, SMALL_FRAMES = 128 };
enum when { AFTER, ADVISED, WAYS };

static const enum world_backend backends[] = { WORLD_INLINE_AUTO, WORLD_INLINE_COPY, WORLD_THREAD_AUTO, WORLD_THREAD_COPY };
#define BACKENDS (int)HMM__ARRAY_SIZE(backends)

static void begin_merging(struct settings *settings)
{
	static const struct setting list[] = {
		{ KSM "pages_to_scan", "100000" }, { KSM "sleep_millisecs", "1" }, { KSM "run", "1" }, { NULL, NULL },
	};
	int r;

	if (access(KSM "run", F_OK) < 0)
		world_skip("KSM, CONFIG_KSM");
	if (geteuid() != 0)
		world_skip("root, to let KSM run");
	r = settings_change(settings, list);
	if (r == -EACCES || r == -EPERM || r == -EROFS)
		world_skip("permission to let KSM run");
	ck_assert_int_eq(r, 0);
}

static void merge_all(void)
{
	if (prctl(PR_SET_MEMORY_MERGE, 1, 0, 0, 0) < 0)
		world_skip("PR_SET_MEMORY_MERGE, Linux 6.4");
}

static void ask_for_it(struct world_map *m, enum when when)
{
	if (when == AFTER)
		merge_all();
	else
		ck_assert_int_eq(madvise(m->base, m->length, MADV_MERGEABLE), 0);
}

static unsigned long scans(void)
{
	unsigned long n = 0;
	FILE *f = fopen(KSM "full_scans", "r");

	ck_assert_ptr_nonnull(f);
	ck_assert_int_eq(fscanf(f, "%lu", &n), 1);
	fclose(f);
	return n;
}

static bool is_looking(void)
{
	char line[128];
	bool yes = false;
	FILE *f = fopen("/proc/self/ksm_stat", "r");

	while (f && fgets(line, sizeof(line), f))
		yes = yes || (sscanf(line, "ksm_rmap_items %127s", line) == 1 && strcmp(line, "0"));
	if (f)
		fclose(f);
	return yes;
}

/*
 * Pages are merged when two scans have found them the same.  After PR_SET_MEMORY_MERGE the kernel goes through all addresses, page
 * by page, tables of terabytes among them: a scan has no end then, but it has begun.
 */
static void let_it_scan(enum when when)
{
	unsigned long first = scans();
	struct world_wait wait = { 0 };

	if (when == AFTER) {
		while (!is_looking() && world_wait(&wait))
			;
		return;
	}
	while (scans() < first + SCANS && world_wait(&wait))
		;
	ck_assert_uint_ge(scans(), first + SCANS);
}

/* There are few different pages, so that most have a twin. */
static void fill(struct world *w, struct world_map *m, uint8_t add)
{
	uint8_t *page = malloc(w->page);

	for (size_t i = 0; i < m->npages; i++) {
		memset(page, (uint8_t)(1 + i % 3 + add), w->page);
		ck_assert_int_eq(world_write(w, m->region, m->base + i * w->page, page, w->page), 0);
	}
	free(page);
}

static void check(struct world *w, struct world_map *m, uint8_t add, size_t from, size_t to)
{
	uint8_t *page = malloc(w->page);

	for (size_t i = from; i < to; i++) {
		ck_assert_int_eq(world_read(w, m->region, m->base + i * w->page, page, w->page), 0);
		for (size_t k = 0; k < w->page; k++) {
			if (page[k] != (uint8_t)(1 + i % 3 + add))
				ck_abort_msg("page %zu byte %zu is %u, not %u", i, k, page[k], (uint8_t)(1 + i % 3 + add));
		}
	}
	free(page);
}

static void page_out(struct world_map *m)
{
	/* twice: the first time what was not protected any more becomes dirty */
	for (unsigned i = 0; i < 2; i++)
		ck_assert_int_eq(hmm_region_advise(m->region, m->base, m->length, HMM_ADVISE_PAGEOUT), 0);
}

/* _i: backend, and who asks when */
START_TEST(what_is_written_to_merged_pages_stays)
{
	enum world_backend backend = backends[_i / WAYS];
	enum when when = (enum when)(_i % WAYS);
	const char *missing = world_missing(backend);
	struct settings settings;
	struct world w;
	struct world_map m;

	if (missing)
		world_skip(missing);
	begin_merging(&settings);
	world_open(&w, backend, WORLD_SWAP_FILE, 1, FRAMES, NULL);
	world_map(&w, &m, (size_t)PAGES * w.page, NULL);
	fill(&w, &m, 0);
	page_out(&m);
	check(&w, &m, 0, 0, PAGES); /* clean, protected */
	ask_for_it(&m, when);
	let_it_scan(when);
	fill(&w, &m, 100);
	page_out(&m);
	check(&w, &m, 100, 0, PAGES);
	/* The region was kept out of it when pages left.  So once more; and pages that are dirty when they are merged can leave. */
	fill(&w, &m, 50);
	ask_for_it(&m, when);
	let_it_scan(when);
	ck_assert_int_eq(hmm_space_resize(w.space, SMALL_FRAMES, NULL), 0);
	check(&w, &m, 50, 0, PAGES);
	w.held_may_exceed = true;
	world_unmap(&w, &m);
	world_close(&w);
	settings_restore(&settings);
}
END_TEST

static Suite *suite(void)
{
	Suite *s = suite_create("merged");

	for (int i = 0; i < BACKENDS; i++) {
		TCase *t = tcase_create(world_backend_names[backends[i]]);

		tcase_add_loop_test(t, what_is_written_to_merged_pages_stays, WAYS * i, WAYS * (i + 1));
		suite_add_tcase(s, t);
	}
	return s;
}

HMM_TEST_MAIN(suite)
