/* SPDX-License-Identifier: MIT */
/*
 * notice.c - pages are announced before they are evicted, with the contents that leave; some may be kept, not all
 */
#include "tests/conformance/conformance.h"

#include <errno.h>
#include <stdatomic.h>
#include <string.h>

#define LARGE_SHIFT 14

/* What the callback knows.  It runs in signal handlers and in other threads: it counts, the test asserts. */
static struct watch {
	struct world *w;
	struct world_map *m;
	/* the map's, for the callback: ThreadSanitizer does not see that a fault comes after what was written before it */
	_Atomic(struct hmm_region *) region;
	_Atomic(const uint8_t *) base;
	_Atomic size_t page, npages;
	_Atomic bool is_mock;
	_Atomic uint64_t tags[NPAGES]; /* what each page was filled with */
	_Atomic uint8_t shown[NPAGES]; /* in the last batch: 1, 2 kept */
	_Atomic size_t writing;        /* page + 1 that the test is just writing: old, new or half */
	_Atomic uint64_t pages, calls, wrong, asked;
	_Atomic uint32_t keep_all;     /* or keep every page whose number is a multiple of this */
	_Atomic uint32_t check;        /* compare contents with the tags */
} watch;

static int look(const void *address, void *buffer, size_t length)
{
	if (atomic_load(&watch.is_mock))
		return hmm_mock_read(atomic_load(&watch.region), address, buffer, length);
	for (size_t i = 0; i < length; i += 8)
		*(uint64_t *)((char *)buffer + i) = __atomic_load_n((const uint64_t *)((const char *)address + i), __ATOMIC_RELAXED);
	return 0;
}

static void check_contents(const struct hmm_notice *n, size_t page)
{
	_Alignas(8) uint8_t expected[1 << LARGE_SHIFT], seen[1 << LARGE_SHIFT];

	if (atomic_load(&watch.writing) == page + 1)
		return;
	world_contents(watch.w, n->length, page, atomic_load(&watch.tags[page]), expected);
	if ((look(n->address, seen, n->length) || memcmp(expected, seen, n->length)) &&
	    atomic_load(&watch.writing) != page + 1)
		atomic_fetch_add(&watch.wrong, 1);
}

static void notice(void *arg, struct hmm_notice *pages, unsigned n)
{
	unsigned asked = 0;
	uint32_t every = atomic_load(&watch.keep_all);

	atomic_fetch_add(&watch.wrong, arg != &watch || n == 0);
	for (unsigned i = 0; i < n; i++) {
		size_t size = atomic_load(&watch.page);
		size_t page = (size_t)((const uint8_t *)pages[i].address - atomic_load(&watch.base)) / size;

		if (pages[i].region != atomic_load(&watch.region) || pages[i].length != size || page >= atomic_load(&watch.npages) ||
		    pages[i].keep || (i && pages[i].address <= pages[i - 1].address)) {
			atomic_fetch_add(&watch.wrong, 1);
			continue;
		}
		if (atomic_load(&watch.check))
			check_contents(&pages[i], page);
		pages[i].keep = every && page % every == 0;
		asked += pages[i].keep;
		atomic_store(&watch.shown[page], pages[i].keep && asked <= n / 2 ? 2 : 1);
	}
	atomic_fetch_add(&watch.pages, n);
	atomic_fetch_add(&watch.calls, 1);
	atomic_fetch_add(&watch.asked, asked < n / 2 ? asked : n / 2);
}

static void map_watched(struct world *w, struct world_map *m, unsigned shift)
{
	struct hmm_region_options opts = { .size = sizeof(opts), .flags = HMM_REGION_NOTICE | HMM_REGION_NO_READ_AHEAD,
		                           .page_shift = shift };

	watch.w = w;
	watch.m = m;
	world_map(w, m, NPAGES * (shift ? (size_t)1 << shift : w->page), &opts);
	atomic_store(&watch.is_mock, world_is_mock(w));
	atomic_store(&watch.region, m->region);
	atomic_store(&watch.base, m->base);
	atomic_store(&watch.page, m->page);
	atomic_store(&watch.npages, m->npages);
}

#define OPEN_WATCHED(w, more_flags) \
	do { \
		struct hmm_space_options options_ = { .size = sizeof(options_), .notice = notice, .notice_arg = &watch, \
			                              .flags = (more_flags), .rescue = HMM_RESCUE_NEVER }; \
		OPEN_WITH(w, FRAMES, &options_); \
	} while (0)

/* A pager or the reclaimer may be between the callback and its counting: wait for it. */
static void expect_counts(struct world *w)
{
	struct hmm_stats s = world_stats(w);
	struct world_wait wait = { 0 };
	uint64_t seen = atomic_load(&watch.pages), asked = atomic_load(&watch.asked);

	while ((s.notices != seen || s.vetoes != asked) && world_wait(&wait)) {
		s = world_stats(w);
		seen = atomic_load(&watch.pages);
		asked = atomic_load(&watch.asked);
	}
	ck_assert_uint_eq(atomic_load(&watch.wrong), 0);
	ck_assert_uint_eq(s.notices, seen);
	ck_assert_uint_eq(s.vetoes, asked);
}

static void put(struct world *w, struct world_map *m, size_t page, uint64_t tag)
{
	atomic_store(&watch.writing, page + 1);
	atomic_store(&watch.tags[page], tag);
	world_put(w, m, page, tag);
	atomic_store(&watch.writing, 0);
}

static void contents(struct world *w, struct world_map *m, unsigned shift)
{
	uint64_t state = 1;

	map_watched(w, m, shift);
	atomic_store(&watch.check, 1);
	for (unsigned i = 0; i < 4 * NPAGES; i++) {
		size_t page = (size_t)(world_random(&state) % m->npages);

		if (world_random(&state) % 2)
			put(w, m, page, 1 + i);
		else
			world_check(w, m, page, atomic_load(&watch.tags[page]));
	}
	expect_counts(w);
	ck_assert_uint_ge(atomic_load(&watch.pages), NPAGES);
	for (size_t i = 0; i < m->npages; i++)
		world_check(w, m, i, atomic_load(&watch.tags[i]));
	expect_counts(w);
	world_unmap(w, m);
}

START_TEST(notice_shows_what_leaves)
{
	struct world w;
	struct world_map m;

	OPEN_WATCHED(&w, HMM_SPACE_NO_RECLAIMER);
	contents(&w, &m, 0);
	world_close(&w);
}
END_TEST

START_TEST(notice_shows_large_pages_as_one)
{
	struct world w;
	struct world_map m;

	OPEN_WATCHED(&w, HMM_SPACE_NO_RECLAIMER);
	contents(&w, &m, LARGE_SHIFT);
	world_close(&w);
}
END_TEST

/* Which pages a pass takes is its own affair, which of them stay is not. */
START_TEST(vetoed_pages_stay_and_the_others_go)
{
	struct world w;
	struct world_map m;
	uint8_t vec[NPAGES];
	uint64_t kept = 0, gone = 0;

	OPEN_WATCHED(&w, HMM_SPACE_NO_RECLAIMER);
	map_watched(&w, &m, 0);
	atomic_store(&watch.check, 1);
	atomic_store(&watch.keep_all, 3);
	for (unsigned pass = 0; pass < 30; pass++) {
		struct hmm_stats before, after;
		uint64_t shown = 0;

		for (size_t i = 0; i < FRAMES / 2; i++)
			put(&w, &m, i, pass + 1);
		for (size_t i = 0; i < NPAGES; i++)
			atomic_store(&watch.shown[i], 0);
		before = world_stats(&w);
		ck_assert_int_ge(hmm_space_reclaim(w.space, 1), 0);
		after = world_stats(&w);
		ck_assert_int_eq(hmm_region_residency(m.region, m.base, m.length, vec), 0);
		for (size_t i = 0; i < FRAMES / 2; i++) {
			shown += atomic_load(&watch.shown[i]) != 0;
			kept += atomic_load(&watch.shown[i]) == 2;
			gone += atomic_load(&watch.shown[i]) == 1 && !(vec[i] & HMM_RESIDENT);
			if (atomic_load(&watch.shown[i]) == 2)
				ck_assert(vec[i] & HMM_RESIDENT);
		}
		/* but for those that the kernel holds */
		ck_assert_uint_eq(after.evictions - before.evictions, gone);
		ck_assert_uint_le(shown, gone + kept + after.busy - before.busy);
		ck_assert_uint_eq(after.vetoes - before.vetoes, kept);
		ck_assert_uint_le(kept, shown / 2);
		kept = gone = 0;
	}
	ck_assert_uint_gt(atomic_load(&watch.asked), 0);
	expect_counts(&w);
	for (size_t i = 0; i < FRAMES / 2; i++)
		world_check(&w, &m, i, 30);
	world_unmap(&w, &m);
	world_close(&w);
}
END_TEST

START_TEST(who_keeps_everything_does_not_stop_reclaim)
{
	struct world w;
	struct world_map m;
	uint64_t reached;

	OPEN_WATCHED(&w, 0);
	map_watched(&w, &m, 0);
	atomic_store(&watch.keep_all, 1);
	for (size_t i = 0; i < NPAGES; i++)
		world_put(&w, &m, i, 7);
	for (size_t i = 0; i < NPAGES; i++)
		world_check(&w, &m, i, 7);
	ck_assert_uint_gt(atomic_load(&watch.asked), NPAGES / 8);
	w.held_may_exceed = true;
	ck_assert_int_eq(hmm_space_resize(w.space, FRAMES / 2, &reached), 0);
	ck_assert_uint_eq(reached, FRAMES / 2);
	w.held_may_exceed = false;
	for (size_t i = 0; i < NPAGES; i++)
		world_check(&w, &m, i, 7);
	world_unmap(&w, &m);
	world_close(&w);
}
END_TEST

START_TEST(garbage_and_what_is_dropped_is_not_announced)
{
	struct world w;
	struct world_map m;
	uint64_t before;

	OPEN_WATCHED(&w, HMM_SPACE_NO_RECLAIMER);
	map_watched(&w, &m, 0);
	for (size_t i = 0; i < 16; i++)
		put(&w, &m, i, 5);
	if (!world_is_shared(&w)) {
		ck_assert_int_eq(hmm_region_advise(m.region, m.base, 8 * m.page, HMM_ADVISE_FREE), 0);
		put(&w, &m, 7, 6); /* none any more */
		ck_assert_int_eq(hmm_region_advise(m.region, m.base, 8 * m.page, HMM_ADVISE_PAGEOUT), 0);
		ck_assert_uint_eq(atomic_load(&watch.pages), 1);
		ck_assert_uint_eq(atomic_load(&watch.shown[7]), 1);
		world_check(&w, &m, 7, 6);
	}
	before = atomic_load(&watch.pages);
	ck_assert_int_eq(hmm_region_advise(m.region, m.base, 4 * m.page, HMM_ADVISE_DONTNEED), 0);
	ck_assert_int_eq(hmm_region_unmap_range(m.region, m.base + 8 * m.page, 4 * m.page), 0);
	world_unmap(&w, &m);
	ck_assert_uint_eq(atomic_load(&watch.pages), before);
	expect_counts(&w);
	world_close(&w);
}
END_TEST

START_TEST(only_regions_that_asked_are_announced)
{
	struct hmm_region_options opts = { .size = sizeof(opts), .flags = HMM_REGION_NOTICE };
	struct hmm_region *region;
	struct world w;
	struct world_map m;

	OPEN_WATCHED(&w, 0);
	world_map(&w, &m, NPAGES * w.page, NULL);
	for (size_t i = 0; i < NPAGES; i++)
		world_put(&w, &m, i, 9);
	ck_assert_uint_gt(world_stats(&w).evictions, 0);
	ck_assert_uint_eq(world_stats(&w).notices, 0);
	ck_assert_uint_eq(atomic_load(&watch.calls), 0);
	world_unmap(&w, &m);
	world_close(&w);
	OPEN(&w); /* without a callback */
	ck_assert_int_eq(hmm_region_map(w.space, NULL, 0, NPAGES * w.page, &opts, &region), -EINVAL);
	world_close(&w);
}
END_TEST

/* What can't be protected is not shown, and stays. */
START_TEST(pages_that_can_not_be_protected_are_not_announced)
{
	struct world w;
	struct world_map m;

	OPEN_WATCHED(&w, HMM_SPACE_NO_RECLAIMER);
	map_watched(&w, &m, 0);
	atomic_store(&watch.check, 1);
	for (size_t i = 0; i < FRAMES / 2; i++)
		put(&w, &m, i, 3);
	if (w.mock) {
		hmm_mock_fail(w.mock, HMM_MOCK_PROTECT, 1, 1, 0, 0, -EAGAIN);
		ck_assert_int_eq(hmm_space_reclaim(w.space, 4), 0);
		ck_assert_uint_eq(world_stats(&w).evictions, 0);
		ck_assert_uint_eq(atomic_load(&watch.pages), 0);
		hmm_mock_fail(w.mock, HMM_MOCK_PROTECT, 0, 0, 0, 0, 0);
	}
	for (size_t i = 0; i < FRAMES / 2; i++)
		put(&w, &m, i, 4); /* what is still protected is written all the same */
	ck_assert_int_gt(hmm_space_reclaim(w.space, 4), 0);
	ck_assert_uint_gt(atomic_load(&watch.pages), 0);
	expect_counts(&w);
	for (size_t i = 0; i < FRAMES / 2; i++)
		world_check(&w, &m, i, 4);
	world_unmap(&w, &m);
	world_close(&w);
}
END_TEST

void add_notice_tests(TCase *t, int i)
{
	tcase_add_loop_test(t, notice_shows_what_leaves, i, i + 1);
	tcase_add_loop_test(t, notice_shows_large_pages_as_one, i, i + 1);
	tcase_add_loop_test(t, vetoed_pages_stay_and_the_others_go, i, i + 1);
	tcase_add_loop_test(t, who_keeps_everything_does_not_stop_reclaim, i, i + 1);
	tcase_add_loop_test(t, garbage_and_what_is_dropped_is_not_announced, i, i + 1);
	tcase_add_loop_test(t, only_regions_that_asked_are_announced, i, i + 1);
	tcase_add_loop_test(t, pages_that_can_not_be_protected_are_not_announced, i, i + 1);
}
