/* SPDX-License-Identifier: MIT */
/*
 * test_swapped.c - the kernel swaps out pages of windows, regions and tables, at any moment
 *
 * Between two steps of random work all private memory of the process is swapped out (MADV_PAGEOUT), by the working thread or
 * by another one beside it.  Runs under squeeze, which brings swap and a memory cgroup.
 */
#include "tests/world.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/sysinfo.h>

enum { PAGES = 512, FRAMES = 128, STEPS = 1200, EVERY = 60 };

static const enum world_backend backends[] = { WORLD_INLINE_AUTO, WORLD_INLINE_COPY, WORLD_THREAD_AUTO, WORLD_THREAD_COPY };
#define BACKENDS (int)(sizeof(backends) / sizeof(backends[0]))

/* Which stores: a file by system calls, memory by copies that the library makes itself. */
static const enum world_store stores[] = { WORLD_SWAP_FILE, WORLD_SWAP_MEMORY, WORLD_FILE_SHARED };
#define STORES (int)(sizeof(stores) / sizeof(stores[0]))

static atomic_int stop;

static void *page_out_beside(void *arg)
{
	(void)arg;
	while (!atomic_load(&stop))
		world_page_out();
	return NULL;
}

static void run(struct world *w, struct world_map *m, bool beside)
{
	static uint64_t tags[PAGES];
	uint64_t state = test_seed();

	for (unsigned i = 0; i < STEPS; i++) {
		size_t page = world_random(&state) % m->npages;

		if (!beside && i % EVERY == 0)
			world_page_out();
		world_check(w, m, page, tags[page]);
		if (i % 2)
			world_put(w, m, page, tags[page] = 1 + world_random(&state) % 1000);
		if (i % 400 == 399)
			ck_assert_int_ge(hmm_region_advise(m->region, m->base, m->length, HMM_ADVISE_PAGEOUT), 0);
	}
	for (size_t k = 0; k < m->npages; k++)
		world_check(w, m, k, tags[k]);
}

/* _i: backend, store, and who swaps out */
START_TEST(contents_survive_a_kernel_that_swaps)
{
	enum world_backend backend = backends[_i / STORES / 2];
	struct hmm_region_options large = { .size = sizeof(large), .page_shift = _i % 2 ? 14 : 0 };
	const char *missing = world_missing(backend);
	bool beside = _i % 2;
	struct sysinfo info;
	pthread_t thread;
	struct world w;
	struct world_map m;

	if (missing)
		world_skip(missing);
	if (sysinfo(&info) || !info.totalswap)
		world_skip("swap space");
	world_open(&w, backend, stores[_i / 2 % STORES], 1, FRAMES, NULL);
	world_map(&w, &m, (size_t)PAGES * w.page, &large);
	if (beside)
		ck_assert_int_eq(pthread_create(&thread, NULL, page_out_beside, NULL), 0);
	run(&w, &m, beside);
	if (beside) {
		atomic_store(&stop, 1);
		pthread_join(thread, NULL);
	}
	ck_assert_uint_eq(world_stats(&w).faults_failed, 0);
	world_check_stats(&w);
	world_unmap(&w, &m);
	world_close(&w);
}
END_TEST

START_TEST(a_space_that_is_swapped_says_so_once)
{
	struct hmm_space_options polled = { .size = sizeof(polled), .flags = HMM_SPACE_NO_RECLAIMER };
	enum world_backend backend = backends[_i];
	const char *missing = world_missing(backend);
	struct sysinfo info;
	struct world w;
	struct world_map m;

	if (missing)
		world_skip(missing);
	if (sysinfo(&info) || !info.totalswap)
		world_skip("swap space");
	world_open(&w, backend, WORLD_SWAP_MEMORY, 1, FRAMES, &polled);
	world_map(&w, &m, (size_t)FRAMES / 2 * w.page, NULL);
	for (size_t i = 0; i < m.npages; i++)
		world_put(&w, &m, i, i + 1);
	ck_assert_int_eq(hmm_space_poll(w.space), 0);
	for (unsigned round = 0; round < 3; round++) {
		world_page_out();
		ck_assert_int_eq(hmm_space_poll(w.space), 0);
	}
	ck_assert_uint_gt(world_stats(&w).swapped_looks, 0);
	ck_assert_uint_gt(world_stats(&w).swapped, 0);
	ck_assert_uint_eq(w.events[HMM_EVENT_SWAPPED], 1);
	for (size_t i = 0; i < m.npages; i++)
		world_check(&w, &m, i, i + 1);
	world_unmap(&w, &m);
	world_close(&w);
}
END_TEST

static Suite *suite(void)
{
	Suite *s = suite_create("swapped");

	for (int i = 0; i < BACKENDS; i++) {
		TCase *t = tcase_create(world_backend_names[backends[i]]);

		tcase_add_loop_test(t, a_space_that_is_swapped_says_so_once, i, i + 1);
		tcase_add_loop_test(t, contents_survive_a_kernel_that_swaps, i * 2 * STORES, (i + 1) * 2 * STORES);
		suite_add_tcase(s, t);
	}
	return s;
}

HMM_TEST_MAIN(suite)
