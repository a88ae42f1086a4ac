/* SPDX-License-Identifier: MIT */
/*
 * test_policy_gc.c - gc: what it puts before and behind the inner order, and the I/O that this saves
 *
 * To the last page, with a recorded collector where $HMM_SHARED/data has it; request by request, with a plain
 * implementation written here.
 */
#include <inttypes.h>

#include <hurd-mm/hints.h>

#include "lib/policy/instance.h"
#include "tests/unit/policy_single.h"

/* I/O of a program with a collector */

enum garbage { IGNORED, UNMAPPED, HINTED };

struct io {
	uint64_t faults, page_ins, page_outs, zero_fills;
};

#define NPAGES (1u << 22) /* page numbers of the trace have gaps */

struct pages {
	bool *is_dirty, *is_stored;
};

static void discard(struct single *single, struct pages *pages, enum garbage garbage, uint32_t page)
{
	if (garbage == IGNORED)
		return;
	pages->is_dirty[page] = pages->is_stored[page] = false;
	if (garbage == UNMAPPED)
		single_remove(single, page);
	else
		single_hint(single, page, HMM_HINT_DISCARD, 0);
}

static void use(struct single *single, struct pages *pages, struct io *io, uint32_t page, bool is_write)
{
	if (!single_request(single, page, is_write ? HMM_ACCESS_WRITE : HMM_ACCESS_READ)) {
		uint32_t evicted = single->evicted;

		io->faults++;
		io->page_ins += pages->is_stored[page];
		io->zero_fills += !pages->is_stored[page];
		if (evicted != NOWHERE && pages->is_dirty[evicted]) {
			io->page_outs++;
			pages->is_dirty[evicted] = false;
			pages->is_stored[evicted] = true;
		}
	}
	pages->is_dirty[page] |= is_write;
}

/* Records are page << 2 | op; op 0 reads, 1 writes, 2 discards.  Counted as in the data's README. */
static struct io account(const char *spec, uint32_t frames, enum garbage garbage, const uint64_t *ops, size_t n,
                         uint32_t npages)
{
	struct pages pages = { zeroed(npages, sizeof(bool)), zeroed(npages, sizeof(bool)) };
	struct single single;
	struct io io = { 0 };

	single_init(&single, spec, frames, npages);
	for (size_t i = 0; i < n; i++) {
		uint32_t page = (uint32_t)(ops[i] >> 2);

		if (ops[i] % 4 == 2)
			discard(&single, &pages, garbage, page);
		else
			use(&single, &pages, &io, page, ops[i] % 4 == 1);
	}
	single_fini(&single);
	free(pages.is_dirty);
	free(pages.is_stored);
	return io;
}

static const struct {
	uint32_t frames;
	enum garbage garbage;
	const char *spec;
	struct io io;
} semispace[] = {
	{ 4032, IGNORED, "lru", { 132536, 124472, 117997, 8064 } },
	{ 4032, UNMAPPED, "lru", { 131804, 10340, 53300, 121464 } },
	{ 4032, HINTED, "gc:lru", { 131804, 10340, 53300, 121464 } },
	{ 5644, IGNORED, "lru", { 112528, 104464, 106884, 8064 } },
	{ 5644, UNMAPPED, "lru", { 121464, 0, 0, 121464 } },
	{ 5644, HINTED, "gc:lru", { 75824, 0, 0, 75824 } },
	{ 7257, HINTED, "gc:lru", { 30660, 0, 0, 30660 } },
	/* without discards the outer policy changes nothing */
	{ 4032, IGNORED, "gc:lru", { 132536, 124472, 117997, 8064 } },
};

/* The records of a trace, whose pages are below most; *ret_n is their number.  NULL: it or zstd is not there. */
static uint64_t *load_records(const char *name, uint32_t most, size_t *ret_n)
{
	char command[700];
	size_t size = 1 << 20, n;
	uint64_t *records;
	FILE *pipe;

	snprintf(command, sizeof(command), "zstd -dcq '%s/traces/%s.u64.zst'", trace_directory(), name);
	pipe = popen(command, "r");
	if (pipe == NULL)
		return NULL;
	records = zeroed(size, sizeof(*records));
	n = fread(records, sizeof(*records), size, pipe);
	if (pclose(pipe) != 0 || n == 0) {
		free(records);
		return NULL;
	}
	for (size_t i = 0; i < n; i++) {
		if (records[i] >> 2 >= most)
			ck_abort_msg("record %zu: page %" PRIu64, i, records[i] >> 2);
	}
	*ret_n = n;
	return records;
}

START_TEST(a_recorded_collector_pages_exactly_as_expected)
{
	size_t n;
	uint64_t *ops = load_records("gc_semispace.ops", NPAGES, &n);

	if (ops == NULL)
		test_skip("the trace gc_semispace.ops in $HMM_SHARED/data/traces, and zstd");
	for (size_t i = 0; i < HMM__ARRAY_SIZE(semispace); i++) {
		struct io io = account(semispace[i].spec, semispace[i].frames, semispace[i].garbage, ops, n, NPAGES);

		if (memcmp(&io, &semispace[i].io, sizeof(io)) != 0)
			ck_abort_msg("row %zu: %" PRIu64 " faults, %" PRIu64 " page-ins, %" PRIu64 " page-outs, %" PRIu64
			             " zero fills", i, io.faults, io.page_ins, io.page_outs, io.zero_fills);
	}
	free(ops);
}
END_TEST

/* Garbage first, the last discarded of all; then least recently used: pages in one array, next victim first. */
struct plain_gc {
	uint32_t n, ngarbage;
	uint32_t page[300];
};

static int plain_find(const struct plain_gc *gc, uint32_t page)
{
	for (uint32_t i = 0; i < gc->n; i++) {
		if (gc->page[i] == page)
			return (int)i;
	}
	return -1;
}

static void plain_cut(struct plain_gc *gc, int i)
{
	memmove(&gc->page[i], &gc->page[i + 1], (gc->n - (uint32_t)i - 1) * sizeof(gc->page[0]));
	gc->n--;
	gc->ngarbage -= (uint32_t)i < gc->ngarbage;
}

static bool plain_use(struct plain_gc *gc, uint32_t page, uint32_t frames)
{
	int i = plain_find(gc, page);

	if (i >= 0)
		plain_cut(gc, i);
	else if (gc->n == frames)
		plain_cut(gc, 0);
	gc->page[gc->n++] = page;
	return i >= 0;
}

static void plain_discard(struct plain_gc *gc, uint32_t page)
{
	int i = plain_find(gc, page);

	if (i < 0)
		return;
	plain_cut(gc, i);
	memmove(&gc->page[1], &gc->page[0], gc->n * sizeof(gc->page[0]));
	gc->page[0] = page;
	gc->n++;
	gc->ngarbage++;
}

START_TEST(every_request_hits_or_misses_as_garbage_first_lru)
{
	uint64_t seed = test_seed();

	for (int kind = 0; kind < TRACE_KINDS; kind++) {
		struct plain_gc plain = { 0 };
		struct single single;

		single_init(&single, "gc:lru", 120, 300);
		for (uint32_t i = 0; i < 20000; i++) {
			uint32_t page = trace_synthetic(kind, i, 300, &seed);
			uint32_t garbage = (uint32_t)(trace_random(&seed) % 300);

			if (single_request(&single, page, HMM_ACCESS_WRITE) != plain_use(&plain, page, 120))
				ck_abort_msg("pattern %d, request %" PRIu32, kind, i);
			if (trace_random(&seed) % 3 == 0) {
				single_hint(&single, garbage, HMM_HINT_DISCARD, 0);
				plain_discard(&plain, garbage);
			}
		}
		single_fini(&single);
	}
}
END_TEST

/* gc, step by step; frames hold pages 1000 + frame. */

static void fail_on_report(void *arg, const char *text)
{
	(void)arg;
	ck_abort_msg("%s", text);
}

static struct hmm__policy *create(const char *spec, uint32_t capacity, uint32_t n)
{
	struct hmm__policy *policy = NULL;

	ck_assert_int_eq(hmm__policy_create(spec, capacity, capacity, true, fail_on_report, NULL, &policy), 0);
	for (uint32_t frame = 0; frame < n; frame++)
		hmm__policy_inserted(policy, frame, 1000 + frame, 0, HMM_ACCESS_READ);
	return policy;
}

static void insert(struct hmm__policy *policy, uint32_t frame)
{
	hmm__policy_miss(policy, 1000 + frame, HMM_ACCESS_READ);
	hmm__policy_inserted(policy, frame, 1000 + frame, 0, HMM_ACCESS_READ);
}

static void touch(struct hmm__policy *policy, uint32_t frame)
{
	hmm__policy_touched(policy, &frame, 1, HMM_ACCESS_READ);
}

/* As a region passes it: the range first, then its resident pages. */
static void hint(struct hmm__policy *policy, uint32_t frame, enum hmm_hint hint, int64_t value)
{
	struct hmm_page_range range = { 1000 + frame, 1 };

	hmm__policy_hint(policy, UINT32_MAX, range, hint, value);
	hmm__policy_hint(policy, frame, range, hint, value);
}

static void expect_victims(struct hmm__policy *policy, const char *expected)
{
	for (; *expected != '\0'; expected++) {
		uint32_t frame = UINT32_MAX;

		ck_assert_uint_eq(hmm__policy_choose(policy, 1, &frame, UINT32_MAX), 1);
		ck_assert_uint_eq(frame, (uint32_t)(*expected - '0'));
		hmm__policy_evicted(policy, frame, 1000 + frame);
	}
}

START_TEST(gc_takes_garbage_then_next_then_low_priorities)
{
	struct hmm__policy *policy = create("gc:lru", 10, 10);

	hint(policy, 7, HMM_HINT_PRIORITY, -3);
	hint(policy, 6, HMM_HINT_PRIORITY, -64);
	hint(policy, 5, HMM_HINT_PRIORITY, 63);
	hint(policy, 0, HMM_HINT_PRIORITY, 1);
	hint(policy, 3, HMM_HINT_DISCARD, 0);
	hint(policy, 8, HMM_HINT_DISCARD, 0);
	hint(policy, 9, HMM_HINT_EVICT_NEXT, 0);
	hint(policy, 8, HMM_HINT_EVICT_NEXT, 0); /* garbage stays garbage */
	hint(policy, 4, HMM_HINT_WONTNEED, 0);   /* the inner policy's */
	expect_victims(policy, "8396741205");
	hmm__policy_destroy(policy);
}
END_TEST

START_TEST(garbage_that_is_used_is_ordinary_again)
{
	struct hmm__policy *policy = create("gc:lru", 10, 6);
	static const uint32_t batch[] = { 0, 4, 1 };
	uint32_t victim;

	hint(policy, 4, HMM_HINT_DISCARD, 0);
	hint(policy, 5, HMM_HINT_DISCARD, 0);
	hint(policy, 3, HMM_HINT_DISCARD, 0);
	hmm__policy_touched(policy, batch, 3, HMM_ACCESS_WRITE); /* order within a batch counts */
	ck_assert_uint_eq(hmm__policy_choose(policy, 1, &victim, 10), 1);
	ck_assert_uint_eq(victim, 3);
	hmm__policy_rejected(policy, 3, HMM_REJECT_RACED);
	expect_victims(policy, "520413");
	hmm__policy_destroy(policy);
}
END_TEST

START_TEST(a_refused_page_returns_to_its_own_order)
{
	struct hmm__policy *policy = create("gc:lru", 10, 10);
	uint32_t victim;

	hint(policy, 9, HMM_HINT_PRIORITY, -3);
	ck_assert_uint_eq(hmm__policy_choose(policy, 1, &victim, 10), 1);
	ck_assert_uint_eq(victim, 9);
	hmm__policy_rejected(policy, 9, HMM_REJECT_PINNED);
	for (uint32_t frame = 0; frame < 9; frame++)
		hint(policy, frame, HMM_HINT_PRIORITY, -5);
	expect_victims(policy, "0123456789"); /* after eight evictions it no longer rests */
	hmm__policy_destroy(policy);
}
END_TEST

START_TEST(a_priority_holds_for_pages_that_come_later)
{
	struct hmm__policy *policy = create("gc:most=1:lru", 10, 0);
	struct hmm_page_range all = { 1000, 10 }, some = { 1002, 3 };

	hmm__policy_hint(policy, UINT32_MAX, all, HMM_HINT_PRIORITY, 5);
	hmm__policy_hint(policy, UINT32_MAX, some, HMM_HINT_PRIORITY, 0);
	hmm__policy_hint(policy, UINT32_MAX, some, HMM_HINT_PRIORITY, 64); /* no such */
	for (uint32_t frame = 0; frame < 6; frame++)
		insert(policy, frame);
	expect_victims(policy, "23");
	hint(policy, 5, HMM_HINT_PRIORITY, 0); /* joins as the most recent */
	hint(policy, 5, HMM_HINT_DISCARD, 0);
	touch(policy, 5);
	touch(policy, 0);
	expect_victims(policy, "4510");
	hmm__policy_destroy(policy);
}
END_TEST

START_TEST(high_priorities_do_not_take_all_of_memory)
{
	struct hmm__policy *policy = create("gc:most=0.5:lru", 10, 10);

	for (uint32_t frame = 2; frame < 10; frame++)
		hint(policy, frame, HMM_HINT_PRIORITY, frame < 5 ? 20 : 10);
	hmm__policy_evicted(policy, 9, 1009); /* what others evicted or removed counts no longer */
	hmm__policy_removed(policy, 8, 1008, HMM_REMOVED_UNMAPPED);
	expect_victims(policy, "5"); /* beyond 5 pages: the least priority, and of it the least recent */
	insert(policy, 8);
	insert(policy, 9);
	hint(policy, 8, HMM_HINT_PRIORITY, 10);
	hint(policy, 9, HMM_HINT_PRIORITY, 10);
	expect_victims(policy, "67");
	expect_victims(policy, "0189");
	expect_victims(policy, "234");
	hmm__policy_destroy(policy);
}
END_TEST

static void phase(struct hmm__policy *policy, enum hmm_phase phase)
{
	hmm__policy_hint(policy, UINT32_MAX, (struct hmm_page_range){ 0, 0 }, HMM_HINT_PHASE, phase);
}

/* 100 frames, 90 of them with pages; the marking uses them all once, and 200 more. */
START_TEST(a_mark_phase_is_one_scan)
{
	struct hmm__policy *policy = create("gc:scan=0.2:lru", 100, 90);
	uint32_t victims[90], page = 1100, holds[100] = { 0 };

	phase(policy, HMM_PHASE_SCAN);
	for (uint32_t frame = 90; frame-- > 0;)
		touch(policy, frame); /* would turn the order round */
	for (uint32_t i = 0; i < 200; i++) {
		uint32_t frame = 90 + i;

		hmm__policy_miss(policy, page, HMM_ACCESS_READ);
		if (frame >= 100) {
			ck_assert_uint_eq(hmm__policy_choose(policy, 1, &frame, 100), 1);
			hmm__policy_evicted(policy, frame, holds[frame] != 0 ? holds[frame] : 1000 + frame);
		}
		hmm__policy_inserted(policy, frame, page, 0, HMM_ACCESS_READ);
		hmm__policy_touched(policy, (uint32_t[]){ 20, frame, 30 }, 3, HMM_ACCESS_READ);
		holds[frame] = page++;
	}
	phase(policy, HMM_PHASE_PLAIN);
	/* the scan took 20 frames and one more; the 79 others stand in their old order */
	for (uint32_t frame = 11; frame < 90; frame++)
		ck_assert_uint_eq(holds[frame], 0);
	touch(policy, 95); /* used after the phase: ordinary, and the most recent */
	ck_assert_uint_eq(hmm__policy_choose(policy, 20, victims, 100), 20);
	for (uint32_t i = 0; i < 20; i++)
		ck_assert(holds[victims[i]] != 0 && victims[i] != 95);
	ck_assert_uint_eq(hmm__policy_choose(policy, 80, victims, 100), 80);
	for (uint32_t i = 0; i < 79; i++)
		ck_assert_uint_eq(victims[i], 11 + i);
	ck_assert_uint_eq(victims[79], 95);
	hmm__policy_destroy(policy);
}
END_TEST

static Suite *suite(void)
{
	Suite *s = suite_create("policy_gc");
	TCase *io = tcase_create("io"), *order = tcase_create("order");

	tcase_set_timeout(io, test_patience(120));
	tcase_add_test(io, a_recorded_collector_pages_exactly_as_expected);
	tcase_add_test(io, every_request_hits_or_misses_as_garbage_first_lru);
	suite_add_tcase(s, io);
	tcase_add_test(order, gc_takes_garbage_then_next_then_low_priorities);
	tcase_add_test(order, garbage_that_is_used_is_ordinary_again);
	tcase_add_test(order, a_refused_page_returns_to_its_own_order);
	tcase_add_test(order, a_priority_holds_for_pages_that_come_later);
	tcase_add_test(order, high_priorities_do_not_take_all_of_memory);
	tcase_add_test(order, a_mark_phase_is_one_scan);
	suite_add_tcase(s, order);
	return s;
}

HMM_TEST_MAIN(suite)
