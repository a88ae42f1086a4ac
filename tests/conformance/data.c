/* SPDX-License-Identifier: MIT */
/*
 * data.c - contents survive, whatever the order of accesses, and the budget holds
 */
#include "tests/conformance/conformance.h"

#include <errno.h>
#include <pthread.h>
#include <string.h>

START_TEST(contents_survive_sequential_passes)
{
	struct world w;
	struct world_map m;

	OPEN(&w);
	world_map(&w, &m, NPAGES * w.page, NULL);
	for (size_t i = 0; i < m.npages; i++)
		world_check(&w, &m, i, 0);
	for (size_t i = 0; i < m.npages; i++)
		world_put(&w, &m, i, 5 + i);
	for (int pass = 0; pass < 2; pass++) {
		for (size_t i = 0; i < m.npages; i++)
			world_check(&w, &m, i, 5 + i);
		world_check_stats(&w);
	}
	ck_assert_uint_ge(world_stats(&w).evictions, 3 * (NPAGES - FRAMES));
	world_unmap(&w, &m);
	world_close(&w);
}
END_TEST

START_TEST(contents_survive_random_accesses)
{
	uint64_t seed = test_seed();
	uint64_t tags[NPAGES] = { 0 };
	struct world w;
	struct world_map m;

	OPEN(&w);
	world_map(&w, &m, NPAGES * w.page, NULL);
	for (unsigned n = 0; n < 1200; n++) {
		size_t i = world_random(&seed) % NPAGES;

		if (world_random(&seed) % 3 == 0) {
			tags[i] = world_random(&seed) | 1;
			world_put(&w, &m, i, tags[i]);
		} else {
			world_check(&w, &m, i, tags[i]);
		}
	}
	for (size_t i = 0; i < NPAGES; i++)
		world_check(&w, &m, i, tags[i]);
	world_unmap(&w, &m);
	world_close(&w);
}
END_TEST

/* A hot page between cold ones: with any policy it must always read right, though it may leave. */
START_TEST(small_accesses_at_any_alignment)
{
	struct world w;
	struct world_map m;
	uint8_t shadow[8 * 4096], buffer[300];
	uint64_t seed = test_seed();
	size_t size = sizeof(shadow);

	OPEN(&w);
	world_map(&w, &m, NPAGES * w.page, NULL);
	for (size_t i = 0; i < size; i++)
		shadow[i] = world_initial(&w, i);
	for (unsigned n = 0; n < 400; n++) {
		size_t length = 1 + world_random(&seed) % sizeof(buffer);
		size_t at = world_random(&seed) % (size - length);

		if (world_random(&seed) % 2) {
			memset(buffer, (int)(world_random(&seed) & 0xff), length);
			memcpy(shadow + at, buffer, length);
			ck_assert_int_eq(world_write(&w, m.region, m.base + at, buffer, length), 0);
		} else {
			ck_assert_int_eq(world_read(&w, m.region, m.base + at, buffer, length), 0);
			ck_assert_int_eq(memcmp(buffer, shadow + at, length), 0);
		}
		world_check(&w, &m, 8 + world_random(&seed) % (NPAGES - 8), 0);
	}
	world_unmap(&w, &m);
	world_close(&w);
}
END_TEST

struct shared {
	struct world *w;
	struct world_map *m;
	uint64_t seed;
	unsigned number;
	int bad;
};

#define THREADS 3

/* Each thread owns the pages with its number modulo THREADS, and reads its own and a page that all only read. */
static void *share(void *arg)
{
	struct shared *s = arg;
	uint64_t tags[NPAGES] = { 0 };

	for (unsigned n = 0; n < 250 && !s->bad; n++) {
		size_t i = world_random(&s->seed) % (NPAGES - THREADS) / THREADS * THREADS + s->number;

		if (world_random(&s->seed) % 3 == 0) {
			tags[i] = world_random(&s->seed) | 1;
			world_put(s->w, s->m, i, tags[i]);
		} else if (world_has(s->w, s->m, i, tags[i]) != 1) {
			s->bad = 1;
		}
		if (world_has(s->w, s->m, NPAGES - 1, 0) != 1)
			s->bad = 2;
	}
	for (size_t i = s->number; i < NPAGES - THREADS && !s->bad; i += THREADS)
		if (world_has(s->w, s->m, i, tags[i]) != 1)
			s->bad = 3;
	return NULL;
}

START_TEST(threads_fault_at_once)
{
	struct shared shared[THREADS];
	pthread_t threads[THREADS];
	uint64_t seed = test_seed();
	struct world w;
	struct world_map m;

	OPEN(&w);
	world_map(&w, &m, NPAGES * w.page, NULL);
	for (unsigned i = 0; i < THREADS; i++) {
		shared[i] = (struct shared){ .w = &w, .m = &m, .seed = seed + i, .number = i };
		ck_assert_int_eq(pthread_create(&threads[i], NULL, share, &shared[i]), 0);
	}
	for (unsigned i = 0; i < THREADS; i++) {
		pthread_join(threads[i], NULL);
		ck_assert_int_eq(shared[i].bad, 0);
	}
	world_unmap(&w, &m);
	world_close(&w);
}
END_TEST

void add_data_tests(TCase *t, int i)
{
	tcase_add_loop_test(t, contents_survive_sequential_passes, i, i + 1);
	tcase_add_loop_test(t, contents_survive_random_accesses, i, i + 1);
	tcase_add_loop_test(t, small_accesses_at_any_alignment, i, i + 1);
	tcase_add_loop_test(t, threads_fault_at_once, i, i + 1);
}
