/* SPDX-License-Identifier: MIT */
/*
 * test_cache_slots.c - pages of all sizes in frames: nothing lost, compaction, several caches, caches beside regions
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <hurd-mm/hurd-mm.h>
#include <hurd-mm/mock.h>

#include "tests/harness.h"
#include "tests/unit/policy_traces.h"

#define FRAME 4096u

struct fixture {
	struct hmm_mock *mock;
	struct hmm_space *space;
};

static void begin_keeping(struct fixture *f, uint64_t frames, uint64_t max_pages, const char *policy, enum hmm_rescue rescue)
{
	struct hmm_space_options o = { .size = sizeof(o), .policy = policy, .max_frames = 4 * frames, .rescue = rescue,
		                       .max_pages = max_pages, .backend = hmm_backend_mock() };

	ck_assert_int_eq(hmm_mock_create(NULL, &f->mock), 0);
	o.backend_arg = f->mock;
	o.flags = HMM_SPACE_CHECK_POLICY | HMM_SPACE_NO_RECLAIMER;
	ck_assert_int_eq(hmm_space_create(frames, &o, &f->space), 0);
}

static void begin(struct fixture *f, uint64_t frames, uint64_t max_pages, const char *policy)
{
	begin_keeping(f, frames, max_pages, policy, HMM_RESCUE_AUTO);
}

static struct hmm_stats stats_of(struct fixture *f)
{
	struct hmm_stats s = { .size = sizeof(s) };

	ck_assert_int_eq(hmm_space_stats(f->space, &s), 0);
	return s;
}

static void end(struct fixture *f)
{
	const char *misuse = NULL;
	struct hmm_stats s = stats_of(f);
	uint64_t peak;

	ck_assert_uint_eq(s.policy_errors, 0);
	ck_assert_uint_eq(s.held, 0);
	ck_assert_uint_eq(hmm_mock_frames(f->mock, &peak), 0);
	hmm_space_destroy(f->space);
	ck_assert_msg(hmm_mock_misuses(f->mock, &misuse) == 0, "%s", misuse);
	hmm_mock_destroy(f->mock);
}

static struct hmm_cache_stats cache_stats(struct hmm_cache *cache)
{
	struct hmm_cache_stats s = { .size = sizeof(s) };

	ck_assert_int_eq(hmm_cache_stats(cache, &s), 0);
	return s;
}

/* A volatile cache, whose pages carry a mark at both ends. */
static struct hmm_cache *make(struct fixture *f, size_t page_size, uint32_t extra)
{
	struct hmm_cache_options o = { .size = sizeof(o), .extra = extra, .flags = HMM_CACHE_VOLATILE };
	struct hmm_cache *cache;

	ck_assert_int_eq(hmm_cache_create(f->space, NULL, page_size, &o, &cache), 0);
	return cache;
}

static uint64_t mark_of(struct hmm_cache *cache, uint64_t page)
{
	return (page + 1) * 0x9e3779b97f4a7c15u ^ (uintptr_t)cache;
}

/* A page that is there has its marks; else it gets them. */
static void use(struct hmm_cache *cache, uint64_t page)
{
	size_t last = hmm_cache_page_size(cache) / 8 - 1;
	uint64_t *data;
	void *p;
	int r = hmm_cache_get(cache, page, HMM_CACHE_CREATE, &p);

	ck_assert_int_ge(r, 0);
	ck_assert_uint_eq((uintptr_t)p % 64, 0);
	data = p;
	if (r) {
		data[0] = mark_of(cache, page);
		data[last] = ~mark_of(cache, page);
	}
	ck_assert_uint_eq(data[0], mark_of(cache, page));
	ck_assert_uint_eq(data[last], ~mark_of(cache, page));
	ck_assert_int_eq(hmm_cache_put(cache, page, HMM_CACHE_READ, 0), 0);
}

static const struct {
	size_t page;
	uint32_t extra;
} kinds[] = {
	{ 512, 0 }, { 512, 64 }, { 1024, 0 }, { 1024, 136 }, { 2048, 0 }, { 4096, 0 }, { 4096, 240 }, { 4096, 4096 },
	{ 8192, 0 }, { 8192, 300 }, { 16384, 100 }, { 32768, 0 }, { 65536, 0 }, { 65536, 256 },
};
#define KINDS (int)(sizeof(kinds) / sizeof(kinds[0]))

START_TEST(all_sizes_fill_the_budget)
{
	uint64_t frames = 1024, bytes = frames * FRAME;
	size_t stride = (kinds[_i].page + kinds[_i].extra + 63) / 64 * 64;
	struct hmm_cache *cache;
	struct hmm_cache_stats s;
	struct fixture f;

	begin(&f, frames, 16384, "lru");
	cache = make(&f, kinds[_i].page, kinds[_i].extra);
	for (uint64_t i = 0; i < 2 * bytes / kinds[_i].page; i++)
		use(cache, i);
	s = cache_stats(cache);
	ck_assert_uint_le(s.resident * stride, bytes);
	/* an eighth is lost between the largest pages, else less than 8%; nothing without extra */
	if (kinds[_i].extra)
		ck_assert_uint_ge(s.resident * stride * 100, bytes * (kinds[_i].page == 65536 ? 87 : 92));
	else
		ck_assert_uint_eq(s.resident * stride, bytes);
	ck_assert_uint_ge(s.frame_bytes, stride);
	ck_assert_uint_le(stats_of(&f).peak_held, frames);
	/* what is there is what was used last */
	for (uint64_t i = 0; i < s.resident; i++) {
		void *data;
		uint64_t page = 2 * bytes / kinds[_i].page - 1 - i;

		ck_assert_int_eq(hmm_cache_get(cache, page, HMM_CACHE_RESIDENT, &data), 0);
		ck_assert_int_eq(hmm_cache_put(cache, page, HMM_CACHE_READ, 0), 0);
	}
	ck_assert_int_eq(hmm_cache_destroy(cache), 0);
	end(&f);
}
END_TEST

START_TEST(page_numbers_may_be_fewer_than_page_slots)
{
	struct hmm_cache *cache;
	struct fixture f;

	begin(&f, 64, 256, "clock"); /* room for 512 */
	cache = make(&f, 512, 0);
	for (uint64_t i = 0; i < 3000; i++)
		use(cache, i % 700);
	ck_assert_uint_eq(cache_stats(cache).resident, 256);
	ck_assert_int_eq(hmm_cache_destroy(cache), 0);
	end(&f);
}
END_TEST

START_TEST(caches_of_two_sizes_share_the_budget)
{
	uint64_t seed = test_seed();
	struct hmm_cache *small, *large;
	struct fixture f;

	begin(&f, 1024, 16384, "lru");
	small = make(&f, 1024, 136);
	large = make(&f, 8192, 300);
	for (uint64_t i = 0; i < 4000; i++)
		use(small, i); /* all frames */
	for (unsigned turn = 0; turn < 3; turn++) {
		for (uint64_t i = 0; i < 400; i++)
			use(large, i); /* they come out of compaction */
		ck_assert_uint_gt(cache_stats(large).resident, 200);
		for (uint64_t i = 0; i < 3000; i++)
			use(small, trace_random(&seed) % 5000);
		ck_assert_uint_gt(cache_stats(small).resident, 1000);
	}
	ck_assert_uint_le(stats_of(&f).peak_held, 1024);
	ck_assert_int_eq(hmm_cache_destroy(small), 0);
	for (uint64_t i = 0; i < 400; i++)
		use(large, i);
	ck_assert_int_eq(hmm_cache_destroy(large), 0);
	end(&f);
}
END_TEST

START_TEST(shrinking_compacts_around_pins)
{
	uint64_t seed = test_seed(), reached;
	struct hmm_cache *cache;
	struct fixture f;
	void *data[40];

	begin(&f, 1024, 16384, "s3fifo");
	cache = make(&f, 4096, 240);
	for (uint64_t i = 0; i < 3000; i++)
		use(cache, trace_random(&seed) % 2000);
	for (uint64_t i = 0; i < 40; i++) {
		use(cache, i * 50);
		ck_assert_int_eq(hmm_cache_get(cache, i * 50, HMM_CACHE_RESIDENT, &data[i]), 0);
	}
	/* they are in more than 16 of the 64 extents of 16 frames, each of 15 pages */
	ck_assert_int_eq(hmm_space_resize(f.space, 256, &reached), -EAGAIN);
	ck_assert_uint_le(stats_of(&f).held, reached);
	ck_assert_uint_gt(reached, 256);
	ck_assert_uint_gt(cache_stats(cache).resident, 40); /* those that would not have helped are still there */
	for (uint64_t i = 0; i < 40; i++) {
		ck_assert_uint_eq(*(uint64_t *)data[i], mark_of(cache, i * 50));
		ck_assert_int_eq(hmm_cache_put(cache, i * 50, HMM_CACHE_READ, 0), 0);
	}
	ck_assert_int_eq(hmm_space_resize(f.space, 256, &reached), 0);
	ck_assert_uint_eq(reached, 256);
	ck_assert_uint_le(stats_of(&f).held, 256);
	for (uint64_t i = 0; i < 3000; i++)
		use(cache, trace_random(&seed) % 2000);
	ck_assert_int_eq(hmm_space_resize(f.space, 1024, &reached), 0);
	for (uint64_t i = 0; i < 5000; i++)
		use(cache, trace_random(&seed) % 2000);
	ck_assert_uint_eq(cache_stats(cache).resident, 1024 / 16 * 15);
	ck_assert_int_eq(hmm_cache_destroy(cache), 0);
	end(&f);
}
END_TEST

START_TEST(shrinking_keeps_what_fits)
{
	struct hmm_cache *cache;
	struct fixture f;
	uint64_t reached;

	begin(&f, 1024, 16384, "lru");
	cache = make(&f, 4096, 240); /* 15 pages to 16 frames */
	for (uint64_t i = 0; i < 2000; i++)
		use(cache, i);
	ck_assert_int_eq(hmm_space_resize(f.space, 300, &reached), 0);
	ck_assert_uint_eq(reached, 300);
	ck_assert_uint_le(stats_of(&f).held, 300);
	ck_assert_uint_ge(cache_stats(cache).resident, 300 / 16 * 15 - 128); /* at most two batches more than must */
	for (uint64_t i = 2000; i < 2100; i++)
		use(cache, i);
	ck_assert_uint_ge(cache_stats(cache).resident, 300 / 16 * 15 - 64);
	ck_assert_int_eq(hmm_cache_destroy(cache), 0);
	end(&f);
}
END_TEST

START_TEST(space_ends_its_caches)
{
	struct hmm_cache *cache;
	struct fixture f;
	uint64_t peak;
	void *data;

	begin(&f, 128, 0, "lru");
	cache = make(&f, 4096, 0);
	for (uint64_t i = 0; i < 300; i++)
		use(cache, i);
	ck_assert_int_eq(hmm_cache_get(cache, 5, HMM_CACHE_CREATE, &data), 1); /* still pinned */
	(void)make(&f, 512, 100);
	hmm_space_destroy(f.space);
	ck_assert_uint_eq(hmm_mock_frames(f.mock, &peak), 0);
	ck_assert_uint_eq(hmm_mock_misuses(f.mock, NULL), 0);
	hmm_mock_destroy(f.mock);
}
END_TEST

/* --- beside regions --- */

static void write_region(struct hmm_region *region, uint8_t *base, uint64_t page)
{
	ck_assert_int_eq(hmm_mock_write(region, base + page * FRAME, &page, sizeof(page)), 0);
}

static void read_region(struct hmm_region *region, uint8_t *base, uint64_t page)
{
	uint64_t value;

	ck_assert_int_eq(hmm_mock_read(region, base + page * FRAME, &value, sizeof(value)), 0);
	ck_assert_uint_eq(value, page);
}

/*
 * What a region evicts comes free by its list of available pages: dirty ones always, and clean ones where loading them takes
 * so long that they are kept, as in a slow build.
 */
START_TEST(caches_and_regions_share_the_budget)
{
	static const char *const policies[] = { "lru", "clock", "s3fifo" };
	static const enum hmm_rescue rescues[] = { HMM_RESCUE_AUTO, HMM_RESCUE_ALWAYS, HMM_RESCUE_NEVER };
	uint64_t seed = test_seed(), pages = 600;
	struct hmm_region *region;
	struct hmm_cache *cache, *odd;
	struct fixture f;
	uint8_t *base;

	begin_keeping(&f, 256, 4096, policies[_i % 3], rescues[_i / 3]);
	cache = make(&f, 4096, 0);
	odd = make(&f, 1024, 100);
	for (uint64_t i = 0; i < 500; i++)
		use(cache, i); /* the cache has all of it */
	ck_assert_int_eq(hmm_region_map(f.space, NULL, 0, pages * FRAME, NULL, &region), 0);
	base = hmm_region_base(region);
	for (uint64_t i = 0; i < pages; i++)
		write_region(region, base, i);
	for (uint64_t i = 0; i < 6000; i++) {
		uint64_t r = trace_random(&seed);

		if (r % 3 == 0)
			use(cache, r / 3 % 300);
		else if (r % 3 == 1)
			use(odd, r / 3 % 300);
		else
			read_region(region, base, r / 3 % pages);
	}
	ck_assert_uint_gt(cache_stats(cache).resident, 8);
	ck_assert_uint_gt(cache_stats(odd).resident, 8);
	ck_assert_uint_gt(hmm_region_resident(region), 8);
	ck_assert_uint_le(stats_of(&f).peak_held, 256);
	ck_assert_int_eq(hmm_cache_destroy(cache), 0);
	for (uint64_t i = 0; i < pages; i++)
		read_region(region, base, i);
	hmm_region_abandon(region);
	for (uint64_t i = 0; i < 1000; i++)
		use(odd, i);
	ck_assert_int_eq(hmm_cache_destroy(odd), 0);
	end(&f);
}
END_TEST

/* -ENOMEM means a range that is not the region's. */
START_TEST(pins_of_regions_say_what_is_missing)
{
	struct hmm_region *region;
	struct hmm_cache *cache;
	struct fixture f;
	unsigned n = 0;
	uint8_t *base;
	void *data;

	begin(&f, 64, 0, "lru");
	cache = make(&f, 4096, 0);
	ck_assert_int_eq(hmm_region_map(f.space, NULL, 0, 128 * FRAME, NULL, &region), 0);
	base = hmm_region_base(region);
	while (hmm_cache_get(cache, n, HMM_CACHE_CREATE | HMM_CACHE_NOWAIT, &data) == 1)
		n++;
	ck_assert_uint_gt(n, 32);
	ck_assert_int_eq(hmm_region_pin(region, base, FRAME, 1), -EAGAIN);
	ck_assert_int_eq(hmm_region_lock(region, base, FRAME), -EAGAIN);
	ck_assert_int_eq(hmm_region_pin(region, base, 128 * FRAME, 0), -EAGAIN);
	ck_assert_int_eq(hmm_region_pin(region, base + 127 * FRAME, 2 * FRAME, 0), -ENOMEM);
	while (n)
		ck_assert_int_eq(hmm_cache_put(cache, --n, HMM_CACHE_READ, 0), 0);
	ck_assert_int_eq(hmm_region_pin(region, base, FRAME, 1), 0);
	ck_assert_int_eq(hmm_region_unpin(region, base, FRAME), 0);
	ck_assert_int_eq(hmm_cache_destroy(cache), 0);
	hmm_region_abandon(region);
	end(&f);
}
END_TEST

/* --- addresses of pages that nobody has pinned --- */

#define KEPT 3000u /* pages of each cache */
#define EXTRA 136u

/* What a program that keeps pointers knows of a cache's pages. */
struct kept {
	struct hmm_cache *cache;
	struct hmm_store *store;
	void *at[KEPT];
	unsigned hits, misses, moves;
};

static void keep_begin(struct fixture *f, struct kept *k, size_t page_size, uint32_t flags, bool stored)
{
	struct hmm_cache_options o = { .size = sizeof(o), .extra = EXTRA, .max_pages = KEPT,
		                       .flags = flags | (stored ? 0 : HMM_CACHE_VOLATILE) };

	memset(k, 0, sizeof(*k));
	if (stored)
		ck_assert_int_eq(hmm_store_memory(KEPT * page_size, &k->store), 0);
	ck_assert_int_eq(hmm_cache_create(f->space, k->store, page_size, &o, &k->cache), 0);
}

static void keep_end(struct kept *k)
{
	ck_assert_int_eq(hmm_cache_destroy(k->cache), 0);
	hmm_store_put(k->store);
}

/* Its extra points to the page itself: so it is right, fresh, or the page has moved with it. */
static void keep_use(struct kept *k, uint64_t page)
{
	unsigned mode = k->store ? HMM_CACHE_WRITE | (page % 3 ? HMM_CACHE_DIRTY : 0) : 0;
	void **extra, *data;
	bool fresh;
	int r;

	if (k->store)
		r = hmm_cache_get(k->cache, page, HMM_CACHE_WRITE, &data);
	else
		r = hmm_cache_get(k->cache, page, HMM_CACHE_CREATE, &data);
	ck_assert_int_ge(r, 0);
	extra = hmm_cache_extra(k->cache, data);
	fresh = !extra[0];
	if (!k->store)
		ck_assert_int_eq(r, fresh);
	if (fresh) {
		for (unsigned i = 0; i < EXTRA; i++)
			ck_assert_uint_eq(((uint8_t *)extra)[i], 0);
		if (!k->store)
			*(uint64_t *)data = mark_of(k->cache, page);
	} else {
		ck_assert_ptr_eq(extra[0], k->at[page]); /* as it was left */
		ck_assert_ptr_eq(extra[EXTRA / sizeof(void *) - 1], k->at[page]);
		k->moves += data != k->at[page];
	}
	if (k->store && mode & HMM_CACHE_DIRTY)
		*(uint64_t *)data = mark_of(k->cache, page);
	else if (!k->store || *(uint64_t *)data)
		ck_assert_uint_eq(*(uint64_t *)data, mark_of(k->cache, page));
	k->hits += !fresh;
	k->misses += fresh;
	k->at[page] = extra[0] = extra[EXTRA / sizeof(void *) - 1] = data;
	ck_assert_int_eq(hmm_cache_put(k->cache, page, mode, 0), 0);
}

/* All that asks for whole frames: other page sizes, a budget that shrinks, a region. */
static void keep_run(struct fixture *f, struct kept *small, struct kept *large, uint64_t *seed)
{
	struct hmm_region *region;
	uint64_t reached, r;

	for (unsigned turn = 0; turn < 6; turn++) {
		for (unsigned i = 0; i < 4000; i++) {
			r = trace_random(seed);
			keep_use(r & 3 ? small : large, (r >> 2) % (r >> 40 & 1 ? KEPT : 400));
		}
		ck_assert_int_eq(hmm_space_resize(f->space, 200 + trace_random(seed) % 100, &reached), 0);
		for (unsigned i = 0; i < 2000; i++)
			keep_use(i & 7 ? small : large, trace_random(seed) % 500);
		ck_assert_int_eq(hmm_space_resize(f->space, 512, &reached), 0);
		if (turn & 1)
			continue;
		ck_assert_int_eq(hmm_region_map(f->space, NULL, 0, 300 * FRAME, NULL, &region), 0);
		for (unsigned i = 0; i < 2000; i++) {
			r = trace_random(seed);
			write_region(region, hmm_region_base(region), r % 300);
			keep_use(r >> 60 ? small : large, (r >> 10) % 500);
		}
		hmm_region_abandon(region);
	}
}

/* 0: volatile caches, 1: with stores; 2: two of one page size, so of one pool, one of them stable */
START_TEST(pages_of_a_stable_cache_stay_or_go)
{
	static struct kept small, large;
	uint64_t seed = test_seed();
	struct fixture f;

	begin(&f, 512, 8192, _i == 1 ? "clock" : "lru");
	keep_begin(&f, &small, 1024, HMM_CACHE_STABLE, _i == 1);
	keep_begin(&f, &large, _i == 2 ? 1024 : 8192, _i == 2 ? 0 : HMM_CACHE_STABLE, _i == 1);
	keep_run(&f, &small, &large, &seed);
	ck_assert_uint_eq(small.moves, 0);
	ck_assert_uint_gt(small.hits, small.misses / 4);
	ck_assert_uint_gt(large.hits, 0);
	if (_i == 2)
		ck_assert_uint_gt(large.moves, 0);
	else
		ck_assert_uint_eq(large.moves, 0);
	keep_end(&small);
	keep_end(&large);
	end(&f);
}
END_TEST

START_TEST(pages_of_other_caches_move_with_their_extra)
{
	static struct kept small, large;
	uint64_t seed = test_seed();
	struct fixture f;

	begin(&f, 512, 8192, "lru");
	keep_begin(&f, &small, 1024, 0, false);
	keep_begin(&f, &large, 8192, 0, true);
	keep_run(&f, &small, &large, &seed);
	ck_assert_uint_gt(small.moves, 0);
	keep_end(&small);
	keep_end(&large);
	end(&f);
}
END_TEST

static Suite *suite(void)
{
	Suite *s = suite_create("cache_slots");
	TCase *c = tcase_create("cache_slots"), *shares = tcase_create("cache_shares");

	tcase_add_loop_test(c, all_sizes_fill_the_budget, 0, KINDS);
	tcase_add_test(c, page_numbers_may_be_fewer_than_page_slots);
	tcase_add_test(c, caches_of_two_sizes_share_the_budget);
	tcase_add_test(c, shrinking_compacts_around_pins);
	tcase_add_test(c, shrinking_keeps_what_fits);
	tcase_add_test(c, space_ends_its_caches);
	tcase_add_loop_test(c, pages_of_a_stable_cache_stay_or_go, 0, 3);
	tcase_add_test(c, pages_of_other_caches_move_with_their_extra);
	tcase_add_loop_test(shares, caches_and_regions_share_the_budget, 0, 9);
	tcase_add_test(shares, pins_of_regions_say_what_is_missing);
	suite_add_tcase(s, c);
	suite_add_tcase(s, shares);
	return s;
}

HMM_TEST_MAIN(suite)
