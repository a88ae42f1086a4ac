/* SPDX-License-Identifier: MIT */
/*
 * test_slots.c - the slot bitmap against an array of bytes
 */
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>

#include "lib/store/slots.h"
#include "tests/harness.h"

#define MODEL_MAX 20000

/* One byte a slot: the naive truth. */
struct model {
	unsigned char taken[MODEL_MAX];
	unsigned end; /* of the store */
	unsigned max; /* the ceiling */
	unsigned used;
};

struct run {
	uint32_t first, n;
};

static uint64_t model_room(const struct model *m)
{
	uint64_t room = 0;

	for (uint32_t i = 1; i < m->max; i++)
		room += !m->taken[i];
	return room;
}

static struct hmm__slots *create(uint64_t max)
{
	struct hmm__slots *slots = NULL;

	ck_assert_int_eq(hmm__slots_create(max, &slots), 0);
	return slots;
}

static uint64_t next_random(uint64_t *state)
{
	*state = *state * 6364136223846793005u + 1442695040888963407u;
	return *state >> 33;
}

static void model_take(struct model *m, uint32_t first, uint32_t n)
{
	uint32_t twice = 0;

	if (first == 0 || (uint64_t)first + n > m->max)
		ck_abort_msg("run of %u at %u is out of bounds", n, first);
	for (uint32_t i = first; i < first + n; i++) {
		twice = m->taken[i] ? i : twice;
		m->taken[i] = 1;
	}
	if (twice)
		ck_abort_msg("slot %u was given out twice", twice);
	m->used += n;
}

static void model_free(struct model *m, uint32_t first, uint32_t n)
{
	for (uint32_t i = first; i < first + n; i++)
		m->taken[i] = 0;
	m->used -= n;
}

/* Is there any aligned free run of unit? */
static bool model_has_unit(const struct model *m, uint32_t unit)
{
	for (uint32_t first = 0; first + unit <= m->max; first += unit) {
		uint32_t n = 0;

		while (n < unit && first + n > 0 && !m->taken[first + n])
			n++;
		if (n == unit)
			return true;
	}
	return false;
}

/* The first slot in [from, to) that is not as it should be, or to. */
static uint32_t differs(const struct model *m, uint32_t from, uint32_t to, int taken)
{
	while (from < to && m->taken[from] == taken)
		from++;
	return from;
}

static void compare(const struct hmm__slots *slots, const struct model *m)
{
	uint32_t cursor = 0, first, n, at = 1;

	ck_assert_uint_eq(hmm__slots_used(slots), m->used);
	while (hmm__slots_next_run(slots, &cursor, &first, &n)) {
		if (differs(m, at, first, 0) != first)
			ck_abort_msg("slot %u is missing", differs(m, at, first, 0));
		at = first + n;
		if (differs(m, first, at, 1) != at)
			ck_abort_msg("slot %u should be free", differs(m, first, at, 1));
	}
	ck_assert_msg(differs(m, at, m->end, 0) == m->end, "slot %u is missing", differs(m, at, m->end, 0));
}

START_TEST(first_run_begins_at_slot_1)
{
	struct hmm__slots *slots = create(1000);
	uint32_t first;

	ck_assert_uint_eq(hmm__slots_alloc(slots, 8, 1, &first), 8);
	ck_assert_uint_eq(first, 1);
	ck_assert_uint_eq(hmm__slots_used(slots), 8);
	hmm__slots_destroy(slots);
}
END_TEST

START_TEST(create_refuses_none_and_too_many)
{
	struct hmm__slots *slots = NULL;

	ck_assert_int_eq(hmm__slots_create(0, &slots), -EINVAL);
	ck_assert_int_eq(hmm__slots_create((uint64_t)1 << 32, &slots), -EINVAL);
	ck_assert_ptr_null(slots);
	hmm__slots_destroy(NULL);
}
END_TEST

START_TEST(a_store_of_slot_0_only_has_nothing_to_give)
{
	struct hmm__slots *slots = create(1);
	uint32_t first = 7;

	ck_assert_uint_eq(hmm__slots_alloc(slots, 1, 1, &first), 0);
	ck_assert_uint_eq(first, 7);
	hmm__slots_destroy(slots);
}
END_TEST

START_TEST(batches_ascend_without_gaps)
{
	struct hmm__slots *slots = create(100000);
	uint32_t expected = 1, first;

	for (int i = 0; i < 500; i++) {
		ck_assert_uint_eq(hmm__slots_alloc(slots, 64, 1, &first), 64);
		ck_assert_uint_eq(first, expected);
		expected += 64;
	}
	hmm__slots_destroy(slots);
}
END_TEST

START_TEST(run_of_unit_is_aligned_and_whole)
{
	struct hmm__slots *slots = create(10000);
	uint32_t first;

	ck_assert_uint_eq(hmm__slots_alloc(slots, 3, 1, &first), 3);
	ck_assert_uint_eq(hmm__slots_alloc(slots, 512, 512, &first), 512);
	ck_assert_uint_eq(first, 512);
	/* what is left of want over a multiple of the unit is not taken */
	ck_assert_uint_eq(hmm__slots_alloc(slots, 1500, 512, &first), 1024);
	ck_assert_uint_eq(first, 1024);
	hmm__slots_destroy(slots);
}
END_TEST

START_TEST(full_store_gives_every_slot_once_then_0)
{
	struct model *m = calloc(1, sizeof(*m));
	struct hmm__slots *slots = create(4099);
	uint32_t first, n;

	m->end = m->max = 4099;
	while ((n = hmm__slots_alloc(slots, 100, 1, &first)) > 0)
		model_take(m, first, n);
	ck_assert_uint_eq(m->used, 4098);
	compare(slots, m);

	/* one free slot is found again, also after failures */
	hmm__slots_free(slots, 2000, 1);
	ck_assert_uint_eq(hmm__slots_alloc(slots, 2, 2, &first), 0);
	ck_assert_uint_eq(hmm__slots_alloc(slots, 64, 1, &first), 1);
	ck_assert_uint_eq(first, 2000);
	ck_assert_uint_eq(hmm__slots_alloc(slots, 1, 1, &first), 0);
	hmm__slots_destroy(slots);
	free(m);
}
END_TEST

START_TEST(fragmented_store_gives_the_longest_run_near_the_cursor)
{
	struct hmm__slots *slots = create(2001);
	uint32_t first;

	/* all taken, then single holes everywhere and one of five */
	while (hmm__slots_alloc(slots, 2000, 1, &first) > 0)
		;
	for (uint32_t slot = 10; slot < 1900; slot += 10)
		hmm__slots_free(slots, slot, 1);
	hmm__slots_free(slots, 1001, 4);
	/* the cursor stands at the end: it starts again at the beginning */
	ck_assert_uint_eq(hmm__slots_alloc(slots, 64, 1, &first), 5);
	ck_assert_uint_eq(first, 1000);
	hmm__slots_destroy(slots);
}
END_TEST

START_TEST(half_empty_store_is_used_again_before_it_grows)
{
	struct hmm__slots *slots = create(UINT32_MAX);
	uint32_t first, highest = 0;
	uint64_t seed = 1;
	struct run *runs = calloc(1000, sizeof(*runs));

	/* never more than 1000 runs of 64 in use, while many come and go */
	for (int i = 0; i < 200000; i++) {
		struct run *run = &runs[next_random(&seed) % 1000];

		if (run->n)
			hmm__slots_free(slots, run->first, run->n);
		run->n = hmm__slots_alloc(slots, 64, 1, &first);
		if (run->n == 0)
			ck_abort_msg("no slot was found");
		run->first = first;
		highest = first + run->n > highest ? first + run->n : highest;
	}
	ck_assert_uint_lt(highest, 3 * 64000);
	hmm__slots_destroy(slots);
	free(runs);
}
END_TEST

START_TEST(half_empty_store_grows_where_no_run_of_the_unit_is_free)
{
	struct hmm__slots *slots = create(UINT32_MAX);
	uint32_t first;

	/* one of four stays in use */
	ck_assert_uint_eq(hmm__slots_alloc(slots, 9999, 1, &first), 9999);
	for (uint32_t slot = 4; slot < 10000; slot += 4)
		hmm__slots_free(slots, slot + 1, slot + 4 < 10000 ? 3 : 10000 - slot - 1);
	ck_assert_uint_eq(hmm__slots_alloc(slots, 8, 4, &first), 8);
	ck_assert_uint_eq(first, 10000);
	hmm__slots_destroy(slots);
}
END_TEST

START_TEST(emptied_store_starts_at_the_beginning)
{
	struct hmm__slots *slots = create(UINT32_MAX);
	uint32_t first, n = hmm__slots_alloc(slots, 100000, 1, &first);

	ck_assert_uint_eq(n, 100000);
	ck_assert_uint_gt(hmm__slots_bytes(slots), 100000 / 8);
	hmm__slots_free(slots, first, n);
	ck_assert_uint_eq(hmm__slots_used(slots), 0);
	ck_assert_uint_eq(hmm__slots_alloc(slots, 1, 1, &first), 1);
	ck_assert_uint_eq(first, 1);
	hmm__slots_destroy(slots);
}
END_TEST

START_TEST(untouched_slots_cost_no_memory)
{
	struct rusage before, after;
	struct hmm__slots *slots;
	uint32_t first;

	getrusage(RUSAGE_SELF, &before);
	slots = create(UINT32_MAX);
	ck_assert_uint_eq(hmm__slots_alloc(slots, 64, 1, &first), 64);
	getrusage(RUSAGE_SELF, &after);
	ck_assert_uint_lt(hmm__slots_bytes(slots), 64 * 1024);
	ck_assert_int_lt(after.ru_maxrss - before.ru_maxrss, 4096); /* KiB; the bitmap has 512 MiB */
	hmm__slots_destroy(slots);
}
END_TEST

START_TEST(last_slot_of_a_large_store_can_be_used)
{
	uint32_t max = (1u << 24) + 2, first, cursor = 0, n; /* five levels, the last word of each nearly empty */
	struct hmm__slots *slots = create(max);

	ck_assert_uint_eq(hmm__slots_alloc(slots, UINT32_MAX, 1, &first), max - 1);
	ck_assert_uint_eq(hmm__slots_alloc(slots, 1, 1, &first), 0);
	hmm__slots_free(slots, max - 1, 1);
	ck_assert_uint_eq(hmm__slots_alloc(slots, 1, 1, &first), 1);
	ck_assert_uint_eq(first, max - 1);
	ck_assert_int_eq(hmm__slots_next_run(slots, &cursor, &first, &n), 1);
	ck_assert_uint_eq(first, 1);
	ck_assert_uint_eq(n, max - 1);
	ck_assert_int_eq(hmm__slots_next_run(slots, &cursor, &first, &n), 0);

	/* one hole far from the cursor */
	hmm__slots_free(slots, 64 * 64 * 64 + 5, 1);
	ck_assert_uint_eq(hmm__slots_alloc(slots, 64, 1, &first), 1);
	ck_assert_uint_eq(first, 64 * 64 * 64 + 5);
	hmm__slots_destroy(slots);
}
END_TEST

/* Free a random part of a random run; what is left of it stays in the list. */
static void free_some(struct hmm__slots *slots, struct model *m, struct run *runs, unsigned *nruns, uint64_t *seed)
{
	struct run *run = &runs[next_random(seed) % *nruns];
	uint32_t n = 1 + (uint32_t)(next_random(seed) % run->n);
	uint32_t first = next_random(seed) & 1 ? run->first : run->first + run->n - n;

	hmm__slots_free(slots, first, n);
	model_free(m, first, n);
	if (first == run->first)
		run->first += n;
	run->n -= n;
	if (run->n == 0)
		*run = runs[--*nruns];
}

static void take_some(struct hmm__slots *slots, struct model *m, struct run *runs, unsigned *nruns, uint64_t *seed)
{
	uint32_t unit = 1u << next_random(seed) % (next_random(seed) % 8 == 0 ? 10 : 3);
	uint32_t want = unit * (uint32_t)(1 + next_random(seed) % 64), first = 0;
	uint32_t n = hmm__slots_alloc(slots, want, unit, &first);

	if (n > want || n % unit || first % unit)
		ck_abort_msg("want %u, unit %u: got %u at %u", want, unit, n, first);
	if (n == 0) {
		if (model_has_unit(m, unit))
			ck_abort_msg("a run of %u was free", unit);
		return;
	}
	model_take(m, first, n);
	runs[(*nruns)++] = (struct run){ first, n };
}

START_TEST(nothing_above_the_ceiling_is_given_out)
{
	struct hmm__slots *slots = create(1000);
	uint32_t first, n, total = 0;

	hmm__slots_limit(slots, 101);
	ck_assert_uint_eq(hmm__slots_room(slots), 100);
	while ((n = hmm__slots_alloc(slots, 64, 1, &first))) {
		ck_assert_uint_le((uint64_t)first + n, 101);
		total += n;
	}
	ck_assert_uint_eq(total, 100);
	ck_assert_uint_eq(hmm__slots_room(slots), 0);
	hmm__slots_limit(slots, 103);
	ck_assert_uint_eq(hmm__slots_alloc(slots, 64, 1, &first), 2);
	ck_assert_uint_eq(first, 101);
	hmm__slots_destroy(slots);
}
END_TEST

START_TEST(slots_above_a_lowered_ceiling_stay_taken_until_they_are_freed)
{
	struct hmm__slots *slots = create(1000);
	uint32_t first;

	ck_assert_uint_eq(hmm__slots_alloc(slots, 200, 1, &first), 200);
	hmm__slots_limit(slots, 101);
	ck_assert_uint_eq(hmm__slots_room(slots), 0);
	ck_assert_uint_eq(hmm__slots_used(slots), 200);
	hmm__slots_free(slots, 91, 20); /* half of it below */
	ck_assert_uint_eq(hmm__slots_room(slots), 10);
	ck_assert_uint_eq(hmm__slots_alloc(slots, 64, 1, &first), 10);
	ck_assert_uint_eq(first, 91);
	ck_assert_uint_eq(hmm__slots_alloc(slots, 1, 1, &first), 0);
	hmm__slots_limit(slots, 1000);
	ck_assert_uint_eq(hmm__slots_room(slots), 999 - 190);
	hmm__slots_destroy(slots);
}
END_TEST

START_TEST(random_operations_match_the_model)
{
	static const unsigned maxima[] = { 2, 63, 64, 65, 1000, 4096, 4097, 20000 };
	struct run *runs = calloc(2 * MODEL_MAX, sizeof(*runs));
	struct model *m = calloc(1, sizeof(*m));
	uint64_t seed = test_seed();
	struct hmm__slots *slots;
	unsigned nruns = 0;

	m->end = m->max = maxima[_i];
	slots = create(m->end);
	for (int i = 0; i < 20000; i++) {
		/* phases that fill and phases that empty */
		unsigned fill = i / 2000 % 2 ? 40 : 60;

		if (nruns && next_random(&seed) % 100 >= fill)
			free_some(slots, m, runs, &nruns, &seed);
		else
			take_some(slots, m, runs, &nruns, &seed);
		if (i % 250 == 0) { /* now and then the ceiling moves */
			m->max = m->end / 2 + (uint32_t)(next_random(&seed) % (m->end - m->end / 2 + 1));
			m->max = m->max ? m->max : 1;
			hmm__slots_limit(slots, m->max);
		}
		if (i % 50 == 0)
			ck_assert_uint_eq(hmm__slots_room(slots), model_room(m));
		if (i % 500 == 0)
			compare(slots, m);
	}
	compare(slots, m);
	hmm__slots_destroy(slots);
	free(runs);
	free(m);
}
END_TEST

static Suite *suite(void)
{
	Suite *s = suite_create("slots");
	TCase *tc = tcase_create("slots");

	tcase_add_test(tc, first_run_begins_at_slot_1);
	tcase_add_test(tc, create_refuses_none_and_too_many);
	tcase_add_test(tc, a_store_of_slot_0_only_has_nothing_to_give);
	tcase_add_test(tc, batches_ascend_without_gaps);
	tcase_add_test(tc, run_of_unit_is_aligned_and_whole);
	tcase_add_test(tc, full_store_gives_every_slot_once_then_0);
	tcase_add_test(tc, fragmented_store_gives_the_longest_run_near_the_cursor);
	tcase_add_test(tc, half_empty_store_is_used_again_before_it_grows);
	tcase_add_test(tc, half_empty_store_grows_where_no_run_of_the_unit_is_free);
	tcase_add_test(tc, emptied_store_starts_at_the_beginning);
	tcase_add_test(tc, untouched_slots_cost_no_memory);
	tcase_add_test(tc, last_slot_of_a_large_store_can_be_used);
	tcase_add_test(tc, nothing_above_the_ceiling_is_given_out);
	tcase_add_test(tc, slots_above_a_lowered_ceiling_stay_taken_until_they_are_freed);
	tcase_add_loop_test(tc, random_operations_match_the_model, 0, 8);
	suite_add_tcase(s, tc);
	return s;
}

HMM_TEST_MAIN(suite)
