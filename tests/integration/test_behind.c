/* SPDX-License-Identifier: MIT */
/*
 * test_behind.c - the application unmaps or drops part of a region by itself, past the library
 */
#include "tests/world.h"

#include <errno.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>

#define FRAMES 64
#define NPAGES 256
#define FROM 64u
#define COUNT 64u

static struct hmm_space_options polled = { .size = sizeof(polled), .flags = HMM_SPACE_NO_RECLAIMER };

static void begin(struct world *w, struct world_map *m, enum world_backend backend)
{
	world_open(w, backend, WORLD_SWAP_FILE, 1, FRAMES, &polled);
	world_map(w, m, NPAGES * w->page, NULL);
	for (size_t i = 0; i < NPAGES; i++)
		world_put(w, m, i, 3);
	/* Some of them are resident, some not. */
	for (size_t i = FROM + COUNT / 2; i < FROM + COUNT; i++)
		world_check(w, m, i, 3);
}

static void check_rest(struct world *w, struct world_map *m, uint64_t tag)
{
	for (size_t i = 0; i < NPAGES; i++)
		if (i < FROM || i >= FROM + COUNT)
			world_check(w, m, i, tag);
}

/* The library may learn of it from another thread. */
static void wait_for_event(struct world *w)
{
	for (unsigned tries = 0; tries < 100000 && !atomic_load(&w->events[HMM_EVENT_GONE]); tries++)
		ck_assert_int_eq(hmm_space_poll(w->space), 0);
	ck_assert_uint_ge(w->events[HMM_EVENT_GONE], 1);
}

/* The bytes from `from` on are all `byte`.  One assertion for all of them: each costs a system call. */
static void check_foreign(const uint8_t *foreign, size_t from, size_t length, uint8_t byte)
{
	while (from < length && foreign[from] == byte)
		from++;
	ck_assert_msg(from == length, "byte %zu is %#x", from, foreign[from]);
}

/* _i: enum world_backend, in all */
START_TEST(munmap_behind_our_back_is_noticed)
{
	const char *missing = world_missing((enum world_backend)_i);
	struct world w;
	struct world_map m;
	uint8_t byte = 0;

	if (missing)
		world_skip(missing);
	begin(&w, &m, (enum world_backend)_i);
	ck_assert_int_eq(munmap(m.base + FROM * m.page, COUNT * m.page), 0);
	ck_assert_int_eq(world_read(&w, m.region, m.base + FROM * m.page, &byte, 1), -EACCES);
	ck_assert_int_eq(world_write(&w, m.region, m.base + (FROM + COUNT - 1) * m.page, &byte, 1), -EACCES);
	check_rest(&w, &m, 3);
	wait_for_event(&w);
	for (size_t i = 0; i < NPAGES; i++)
		if (i < FROM || i >= FROM + COUNT)
			world_put(&w, &m, i, 4);
	check_rest(&w, &m, 4);
	world_check_stats(&w);
	world_unmap(&w, &m);
	ck_assert_uint_eq(world_stats(&w).resident, 0);
	world_close(&w);
}
END_TEST

START_TEST(foreign_mapping_over_a_part_is_left_alone)
{
	const char *missing = world_missing((enum world_backend)_i);
	struct world w;
	struct world_map m;
	uint8_t *foreign;

	if (missing)
		world_skip(missing);
	begin(&w, &m, (enum world_backend)_i);
	foreign = mmap(m.base + FROM * m.page, COUNT * m.page, PROT_READ | PROT_WRITE,
	               MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
	ck_assert_ptr_eq(foreign, m.base + FROM * m.page);
	memset(foreign, 0x77, COUNT * m.page);
	wait_for_event(&w); /* until then an eviction may still take the range for the region's */
	check_rest(&w, &m, 3);
	for (size_t i = 0; i < NPAGES; i++)
		if (i < FROM || i >= FROM + COUNT)
			world_put(&w, &m, i, 4);
	check_rest(&w, &m, 4);
	check_foreign(foreign, 0, COUNT * m.page, 0x77);
	world_unmap(&w, &m);
	foreign[0] = 1;
	ck_assert_uint_eq(foreign[0], 1);
	check_foreign(foreign, 1, COUNT * w.page, 0x77);
	munmap(foreign, COUNT * w.page);
	world_close(&w);
}
END_TEST

START_TEST(madvise_behind_our_back_drops_resident_pages)
{
	const char *missing = world_missing((enum world_backend)_i);
	struct world w;
	struct world_map m;

	if (missing)
		world_skip(missing);
	begin(&w, &m, (enum world_backend)_i);
	ck_assert_int_eq(madvise(m.base + FROM * m.page, COUNT * m.page, MADV_DONTNEED), 0);
	check_rest(&w, &m, 3);
	/* What was resident is gone; what was in the store may have stayed. */
	for (size_t i = FROM; i < FROM + COUNT; i++)
		ck_assert_msg(world_has(&w, &m, i, 0) == 1 || world_has(&w, &m, i, 3) == 1, "page %zu", i);
	for (size_t i = 0; i < NPAGES; i++)
		world_put(&w, &m, i, 4);
	for (size_t i = 0; i < NPAGES; i++)
		world_check(&w, &m, i, 4);
	world_unmap(&w, &m);
	world_close(&w);
}
END_TEST

static Suite *suite(void)
{
	Suite *s = suite_create("behind");

	for (int i = WORLD_INLINE_AUTO; i < WORLD_BACKENDS; i++) {
		TCase *t = tcase_create(world_backend_names[i]);

		tcase_add_loop_test(t, munmap_behind_our_back_is_noticed, i, i + 1);
		tcase_add_loop_test(t, foreign_mapping_over_a_part_is_left_alone, i, i + 1);
		tcase_add_loop_test(t, madvise_behind_our_back_drops_resident_pages, i, i + 1);
		suite_add_tcase(s, t);
	}
	return s;
}

HMM_TEST_MAIN(suite)
