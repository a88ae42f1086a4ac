/* SPDX-License-Identifier: MIT */
/*
 * test_sample.c - a policy that lives by the uses it sees does in a pager what it does in a simulator
 *
 * The kernel tells no uses of mapped pages, so the pager finds them out (lib/vm/sample.c).  On the mock backend with one
 * thread everything is determined, page-ins too: nothing here is measured, and the traces have fixed seeds.
 */
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "tests/unit/policy_traces.h"
#include "tests/world.h"

#define LRU 3 /* in world_policy_specs */

/* ThreadSanitizer is ten times slower, and only the last test has threads: shorter traces, one policy. */
#ifndef PART
#define PART (TEST_TSAN ? 8 : 1)
#endif

static const char *const policies[] = { "lru", "s3fifo", "2q" };
#define POLICIES (sizeof(policies) / sizeof(policies[0]))
#define COUNTED (PART > 1 ? 1 : POLICIES)

/*
 * Kinds of trace_synthetic(): a scan through hot pages, skewed, a hot set that moves, two loops.  In the first LRU loses hot
 * pages by a hair's breadth, so it shows most what is not seen.
 */
static const struct {
	int kind;
	double most; /* per cent */
} kinds[] = { { 1, 8 }, { 3, 5 }, { 4, 5 }, { 6, 5 } };
#define KINDS (sizeof(kinds) / sizeof(kinds[0]))

static const struct hmm_region_options one_by_one = { .size = sizeof(one_by_one), .flags = HMM_REGION_NO_READ_AHEAD };

static uint64_t simulate(const char *policy, const struct trace *trace, uint32_t frames)
{
	const struct hmm_policy_ops *ops = hmm_policy_lookup(policy);

	ck_assert_ptr_nonnull(ops);
	return trace_misses(ops, "", trace, frames, NULL);
}

static void open_world(struct world *w, enum world_backend backend, const char *policy, uint32_t frames,
                       enum hmm_rescue rescue)
{
	struct hmm_space_options o = { .size = sizeof(o), .policy = policy, .rescue = rescue,
		                       .flags = HMM_SPACE_NO_RECLAIMER };

	world_open(w, backend, WORLD_CALLBACK, LRU, frames, &o);
}

/* Check's assertions cost a system call each: one for all accesses. */
static void access_page(struct world *w, struct world_map *m, uint32_t page, bool write, uint64_t *wrong)
{
	uint8_t byte, *at = m->base + page * m->page;

	if (write) {
		byte = (uint8_t)(world_initial(w, page * m->page) + 1);
		*wrong += world_write(w, m->region, at, &byte, 1) != 0;
	} else {
		*wrong += world_read(w, m->region, at, &byte, 1) != 0 ||
		          (byte != world_initial(w, page * m->page) &&
		           byte != (uint8_t)(world_initial(w, page * m->page) + 1));
	}
}

/* The trace as reads, and of `writes` in 16 as writes. */
static void replay(struct world *w, struct world_map *m, const struct trace *trace, unsigned writes)
{
	uint64_t wrong = 0, seed = 5;

	for (uint32_t i = 0; i < trace->length; i++)
		access_page(w, m, trace->pages[i], trace_random(&seed) % 16 < writes, &wrong);
	ck_assert_uint_eq(wrong, 0);
}

/* As reads of a store of zeros: world_map() fills its own byte by byte, which takes longer than the replay. */
static struct hmm_stats replay_zeros(const char *policy, const struct trace *trace, uint32_t frames,
                                     enum hmm_rescue rescue)
{
	struct hmm_region_options o = one_by_one;
	struct hmm_region *region;
	struct hmm_store *store;
	struct hmm_stats s;
	struct world w;
	uint64_t wrong = 0;

	open_world(&w, WORLD_MOCK, policy, frames, rescue);
	o.flags |= HMM_REGION_SHARED;
	ck_assert_int_eq(hmm_store_memory(trace->npages * w.page, &store), 0);
	ck_assert_int_eq(hmm_region_map(w.space, store, 0, trace->npages * w.page, &o, &region), 0);
	for (uint32_t i = 0; i < trace->length; i++) {
		const uint8_t *at = (const uint8_t *)hmm_region_base(region) + trace->pages[i] * w.page;
		uint8_t byte;

		wrong += world_read(&w, region, at, &byte, 1) != 0 || byte != 0;
	}
	ck_assert_uint_eq(wrong, 0);
	s = world_stats(&w);
	ck_assert_int_eq(hmm_region_unmap(region), 0);
	hmm_store_put(store);
	world_close(&w);
	return s;
}

static uint64_t page_ins(const char *policy, const struct trace *trace, uint32_t frames, enum hmm_rescue rescue)
{
	return replay_zeros(policy, trace, frames, rescue).loads;
}

static double difference(uint64_t real, uint64_t simulated)
{
	return ((double)real / (double)simulated - 1) * 100;
}

START_TEST(page_ins_are_those_of_the_simulator)
{
	const char *policy = policies[(size_t)_i / KINDS];
	int kind = kinds[(size_t)_i % KINDS].kind;
	struct trace trace;
	uint64_t seed = 11, real, simulated;
	double percent;

	trace_make(&trace, kind, 30000 / PART, 6000, &seed);
	simulated = simulate(policy, &trace, 1000);
	real = page_ins(policy, &trace, 1000, HMM_RESCUE_AUTO);
	percent = difference(real, simulated);
	ck_assert_msg(percent < kinds[(size_t)_i % KINDS].most && percent > -2,
	              "%s, kind %d: %llu page-ins, simulated %llu, %+.1f%%", policy, kind, (unsigned long long)real,
	              (unsigned long long)simulated, percent);
	trace_free(&trace);
}
END_TEST

/* What the test above sees if uses are not found out: so it can fail. */
START_TEST(without_rescues_the_policy_sees_no_uses)
{
	struct trace trace;
	uint64_t seed = 11, simulated, real, sampled;

	trace_make(&trace, 3, 30000 / PART, 6000, &seed);
	simulated = simulate(policies[_i], &trace, 1000);
	sampled = page_ins(policies[_i], &trace, 1000, HMM_RESCUE_AUTO);
	real = page_ins(policies[_i], &trace, 1000, HMM_RESCUE_NEVER);
	ck_assert_msg(difference(real, simulated) > 6 && difference(real, sampled) > 5,
	              "%s: %llu page-ins, %llu with samples, simulated %llu", policies[_i], (unsigned long long)real,
	              (unsigned long long)sampled, (unsigned long long)simulated);
	trace_free(&trace);
}
END_TEST

/* CLOCK asks for no more than it gets: its list stays short. */
START_TEST(policies_that_do_with_less_are_not_sampled)
{
	struct trace trace;
	struct hmm_stats s;
	uint64_t seed = 11;

	trace_make(&trace, 3, 20000 / PART, 6000, &seed);
	s = replay_zeros("clock", &trace, 1000, HMM_RESCUE_ALWAYS);
	ck_assert_uint_gt(s.available, 0);
	ck_assert_uint_le(s.available, 1000 / 8);
	trace_free(&trace);
}
END_TEST

/* _i: index of a size in small, times that of a policy */
static const uint32_t small[] = { 32, 33, 64, 100, 250, 600 };
#define SMALL (sizeof(small) / sizeof(small[0]))

START_TEST(small_budgets_are_not_wasted)
{
	const char *policy = policies[(size_t)_i / SMALL];
	uint32_t frames = small[(size_t)_i % SMALL];
	struct trace trace;
	uint64_t seed = 13, real, simulated;

	trace_make(&trace, 3, 12000 / PART, 10 * frames, &seed);
	simulated = simulate(policy, &trace, frames);
	real = page_ins(policy, &trace, frames, HMM_RESCUE_AUTO);
	ck_assert_msg(difference(real, simulated) < 5, "%s, %u frames: %llu page-ins, simulated %llu, %+.1f%%", policy,
	              frames, (unsigned long long)real, (unsigned long long)simulated, difference(real, simulated));
	trace_free(&trace);
}
END_TEST

/* _i: enum world_backend of the mock */
START_TEST(dirty_pages_that_were_named_are_written_and_can_be_taken_back)
{
	struct trace trace;
	struct hmm_stats s;
	struct world w;
	struct world_map m;
	uint64_t seed = 17, written;

	trace_make(&trace, 3, 30000 / PART, 2000, &seed);
	open_world(&w, (enum world_backend)_i, "lru", 400, HMM_RESCUE_AUTO);
	world_map(&w, &m, trace.npages * w.page, &one_by_one);
	replay(&w, &m, &trace, 16);
	s = world_stats(&w);
	written = s.write_outs;
	ck_assert_uint_gt(written, 0);
	if (_i != WORLD_MOCK_NO_GRANT) /* there the frames that copies free are all that a pass gets */
		ck_assert_uint_gt(s.rescues, 0);
	ck_assert_uint_le(s.available, 400 / 4);
	replay(&w, &m, &trace, 4);
	world_check_stats(&w);
	world_unmap(&w, &m);
	world_close(&w);
	trace_free(&trace);
}
END_TEST

/* A quarter of the pages is locked, some are pinned: they stay, and the others are sampled all the same. */
START_TEST(held_pages_are_passed_by)
{
	struct trace trace;
	struct hmm_stats s;
	struct world w;
	struct world_map m;
	uint64_t seed = 19;

	trace_make(&trace, 3, 20000 / PART, 2000, &seed);
	open_world(&w, (enum world_backend)_i, "lru", 400, HMM_RESCUE_AUTO);
	world_map(&w, &m, trace.npages * w.page, &one_by_one);
	ck_assert_int_eq(hmm_region_lock(m.region, m.base, 100 * w.page), 0);
	ck_assert_int_eq(hmm_region_pin(m.region, m.base + 1000 * w.page, 20 * w.page, 0), 0);
	replay(&w, &m, &trace, 0);
	s = world_stats(&w);
	ck_assert_uint_eq(s.pinned, 120);
	ck_assert_uint_gt(s.available, 400 / 8);
	ck_assert_uint_gt(s.rescues, 0);
	ck_assert_int_eq(hmm_region_unpin(m.region, m.base + 1000 * w.page, 20 * w.page), 0);
	ck_assert_int_eq(hmm_region_unlock(m.region, m.base, 100 * w.page), 0);
	world_unmap(&w, &m);
	world_close(&w);
	trace_free(&trace);
}
END_TEST

/* Pages of two sizes in one space; regions go while their pages are on the lists, and others come. */
START_TEST(regions_of_several_page_sizes_come_and_go)
{
	struct hmm_region_options large = { .size = sizeof(large), .page_shift = 16,
		                            .flags = HMM_REGION_NO_READ_AHEAD };
	struct trace trace;
	struct world w;
	struct world_map a, b;
	uint64_t seed = 23, rescues;

	trace_make(&trace, 3, 3000 / PART, 100, &seed);
	open_world(&w, (enum world_backend)_i, "lru", 1000, HMM_RESCUE_AUTO);
	world_map(&w, &a, trace.npages * w.page, &one_by_one);
	for (unsigned round = 0; round < 4; round++) {
		world_map(&w, &b, (size_t)trace.npages << large.page_shift, &large);
		rescues = world_stats(&w).rescues;
		replay(&w, &b, &trace, round);
		ck_assert_uint_gt(world_stats(&w).rescues, rescues);
		replay(&w, &a, &trace, 0);
		replay(&w, &b, &trace, 1);
		ck_assert_uint_gt(world_stats(&w).available, 0);
		world_check_stats(&w);
		world_unmap(&w, round % 2 ? &a : &b);
		if (round % 2)
			a = b;
	}
	world_unmap(&w, &a);
	world_close(&w);
	trace_free(&trace);
}
END_TEST

/* Shrinking to an eighth and growing again, in the middle of it. */
START_TEST(budget_changes_keep_the_lists_right)
{
	struct trace trace;
	struct world w;
	struct world_map m;
	uint64_t seed = 29, reached;

	trace_make(&trace, 3, 10000 / PART, 2000, &seed);
	open_world(&w, (enum world_backend)_i, "lru", 800, HMM_RESCUE_AUTO);
	world_map(&w, &m, trace.npages * w.page, &one_by_one);
	for (unsigned round = 0; round < 3; round++) {
		replay(&w, &m, &trace, 2 * round);
		ck_assert_int_eq(hmm_space_resize(w.space, 100, &reached), 0);
		ck_assert_uint_le(world_stats(&w).held, 100);
		replay(&w, &m, &trace, 2 * round);
		ck_assert_int_eq(hmm_space_resize(w.space, 800, &reached), 0);
	}
	world_check_stats(&w);
	world_unmap(&w, &m);
	world_close(&w);
	trace_free(&trace);
}
END_TEST

/* Reads and writes fail now and then: whatever failed can be had the next time, and nothing else is lost. */
START_TEST(failing_stores_lose_nothing)
{
	struct trace trace;
	struct hmm_store_fault fault = { .size = sizeof(fault), .read_per_million = 100000, .write_per_million = 200000,
		                         .seed = 7 };
	struct world w;
	struct world_map m;
	uint64_t seed = 31, ignored = 0;

	trace_make(&trace, 3, 8000 / PART, 1500, &seed);
	open_world(&w, (enum world_backend)_i, "lru", 300, HMM_RESCUE_AUTO);
	world_map(&w, &m, trace.npages * w.page, &one_by_one);
	replay(&w, &m, &trace, 8);
	ck_assert_int_eq(hmm_store_set_fault(m.store, &fault), 0);
	for (uint32_t i = 0; i < trace.length; i++)
		access_page(&w, &m, trace.pages[i], i % 4 == 0, &ignored);
	ck_assert_int_eq(hmm_store_set_fault(m.store, NULL), 0);
	ck_assert_uint_gt(world_stats(&w).load_errors + world_stats(&w).write_errors, 0);
	for (uint32_t page = 0; page < trace.npages; page++) {
		uint8_t byte;

		ck_assert_int_eq(world_read_again(&w, m.region, m.base + page * w.page, &byte, 1), 0);
		ck_assert((uint8_t)(byte - world_initial(&w, page * w.page)) <= 1);
	}
	replay(&w, &m, &trace, 2);
	world_unmap(&w, &m);
	world_close(&w);
	trace_free(&trace);
}
END_TEST

struct reader {
	struct world *w;
	struct world_map *m;
	uint32_t page;
	uint64_t wrong;
};

static void *read_one(void *arg)
{
	struct reader *t = arg;

	access_page(t->w, t->m, t->page, false, &t->wrong);
	return NULL;
}

/* More pages are asked for at once than there are frames: every victim that the policy can name is busy. */
START_TEST(busy_victims_do_not_hold_up_a_pass)
{
	enum { THREADS = 40 };
	struct hmm_store_fault slow = { .size = sizeof(slow), .delay_ns = 100000000 };
	struct reader readers[THREADS];
	pthread_t threads[THREADS];
	struct world w;
	struct world_map m;

	open_world(&w, WORLD_MOCK, policies[_i], HMM_FRAMES_MIN, HMM_RESCUE_AUTO);
	world_map(&w, &m, 64 * w.page, &one_by_one);
	ck_assert_int_eq(hmm_store_set_fault(m.store, &slow), 0);
	for (uint32_t i = 0; i < THREADS; i++) {
		readers[i] = (struct reader){ .w = &w, .m = &m, .page = i };
		ck_assert_int_eq(pthread_create(&threads[i], NULL, read_one, &readers[i]), 0);
	}
	for (uint32_t i = 0; i < THREADS; i++) {
		pthread_join(threads[i], NULL);
		ck_assert_uint_eq(readers[i].wrong, 0);
	}
	ck_assert_uint_eq(world_stats(&w).faults_failed, 0);
	ck_assert_int_eq(hmm_store_set_fault(m.store, NULL), 0);
	world_unmap(&w, &m);
	world_close(&w);
}
END_TEST

static Suite *suite(void)
{
	Suite *s = suite_create("sample");
	TCase *t = tcase_create("counts");

	tcase_add_loop_test(t, page_ins_are_those_of_the_simulator, 0, (int)(COUNTED * KINDS));
	/* a part of the trace does not show it; builds that run all of it do */
	if (PART == 1)
		tcase_add_loop_test(t, without_rescues_the_policy_sees_no_uses, 0, (int)POLICIES);
	tcase_add_loop_test(t, small_budgets_are_not_wasted, 0, (int)(COUNTED * SMALL));
	tcase_add_test(t, policies_that_do_with_less_are_not_sampled);
	suite_add_tcase(s, t);
	t = tcase_create("lists");
	tcase_add_loop_test(t, dirty_pages_that_were_named_are_written_and_can_be_taken_back, WORLD_MOCK,
	                    WORLD_MOCK_THREAD + 1);
	tcase_add_loop_test(t, held_pages_are_passed_by, WORLD_MOCK, WORLD_MOCK_THREAD + 1);
	tcase_add_loop_test(t, regions_of_several_page_sizes_come_and_go, WORLD_MOCK, WORLD_MOCK_THREAD + 1);
	tcase_add_loop_test(t, budget_changes_keep_the_lists_right, WORLD_MOCK, WORLD_MOCK_THREAD + 1);
	tcase_add_loop_test(t, failing_stores_lose_nothing, WORLD_MOCK, WORLD_MOCK_THREAD + 1);
	tcase_add_loop_test(t, busy_victims_do_not_hold_up_a_pass, 0, (int)POLICIES);
	suite_add_tcase(s, t);
	return s;
}

HMM_TEST_MAIN(suite)
