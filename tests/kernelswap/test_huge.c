/* SPDX-License-Identifier: MIT */
/*
 * test_huge.c - the application asks for huge pages on a region, and khugepaged is quick
 *
 * With huge pages for everybody (`always`), and with madvise(MADV_HUGEPAGE) of the application on the region, again and
 * again between evictions.  Contents survive, and nothing hangs.
 */
#include "tests/world.h"

#include <errno.h>
#include <sys/mman.h>
#include <unistd.h>

#include "tests/kernelswap/settings.h"

#define THP "/sys/kernel/mm/transparent_hugepage/"

enum { PAGES = 8192, FRAMES = 4096, HOT = 2048, ROUNDS = 2, STEPS = 4000 };

static const enum world_backend backends[] = { WORLD_INLINE_AUTO, WORLD_THREAD_AUTO };
#define BACKENDS (int)(sizeof(backends) / sizeof(backends[0]))

static void make_khugepaged_quick(struct settings *settings, const char *enabled)
{
	const struct setting list[] = {
		{ THP "khugepaged/scan_sleep_millisecs", "1" },
		{ THP "khugepaged/pages_to_scan", "100000" },
		{ THP "khugepaged/alloc_sleep_millisecs", "1" },
		{ THP "enabled", enabled },
		{ NULL, NULL },
	};
	int r;

	if (access(THP "enabled", F_OK) < 0)
		world_skip("transparent huge pages");
	if (geteuid() != 0)
		world_skip("root, to set khugepaged");
	r = settings_change(settings, list);
	if (r == -EACCES || r == -EPERM || r == -EROFS)
		world_skip("permission to set khugepaged");
	ck_assert_int_eq(r, 0);
}

/* All is written in order, so that khugepaged finds what it can make one page of; then a part is used at random. */
static void run(struct world *w, struct world_map *m, bool advise)
{
	static uint64_t tags[PAGES];
	uint64_t state = test_seed();

	for (unsigned round = 0; round < ROUNDS; round++) {
		if (advise)
			ck_assert_int_eq(madvise(m->base, m->length, MADV_HUGEPAGE), 0);
		for (size_t i = 0; i < m->npages; i++)
			world_put(w, m, i, tags[i] = 1 + world_random(&state) % 1000);
		for (unsigned i = 0; i < STEPS; i++) {
			size_t page = world_random(&state) % (i % 8 ? HOT : m->npages);

			world_check(w, m, page, tags[page]);
			if (i % 3 == 0)
				world_put(w, m, page, tags[page] = 1 + world_random(&state) % 1000);
		}
	}
	for (size_t i = 0; i < m->npages; i++)
		world_check(w, m, i, tags[i]);
}

/* _i: backend, and what is asked for */
START_TEST(contents_survive_khugepaged)
{
	enum world_backend backend = backends[_i / 2];
	bool advise = _i % 2;
	const char *missing = world_missing(backend);
	struct hmm_space_options two = { .size = sizeof(two), .pagers = 2 };
	struct settings settings;
	struct world w;
	struct world_map m;

	if (missing)
		world_skip(missing);
	make_khugepaged_quick(&settings, advise ? "madvise" : "always");
	world_open(&w, backend, WORLD_SWAP_FILE, 1, FRAMES, &two);
	world_map(&w, &m, (size_t)PAGES * w.page, NULL);
	run(&w, &m, advise);
	world_check_stats(&w);
	world_unmap(&w, &m);
	world_close(&w);
	settings_restore(&settings);
}
END_TEST

static Suite *suite(void)
{
	Suite *s = suite_create("huge");

	for (int i = 0; i < BACKENDS; i++) {
		TCase *t = tcase_create(world_backend_names[backends[i]]);

		tcase_add_loop_test(t, contents_survive_khugepaged, 2 * i, 2 * i + 2);
		suite_add_tcase(s, t);
	}
	return s;
}

HMM_TEST_MAIN(suite)
