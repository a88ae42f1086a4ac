/* SPDX-License-Identifier: MIT */
/*
 * test_policy_check.c - bad policies are caught, named and made harmless; with the check and without it
 */
#include <errno.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "lib/base/util.h"
#include "lib/policy/instance.h"
#include "tests/harness.h"

#define CAPACITY 100
#define STATE_BYTES 192

/* A policy that proposes what the test says, and notes what it is told. */
static struct {
	uint32_t victims[300];
	uint32_t n;        /* to write */
	uint32_t returned; /* to return */
	uint32_t cookie;
	bool overrun;      /* write past the state when touched */
	uint32_t calls, verdicts, evictions, misses, last_cookie, last_want;
	uint64_t scanned;
} script;

static size_t bad_state_size(uint32_t capacity)
{
	(void)capacity;
	return STATE_BYTES;
}

static int bad_start(void *state, uint32_t capacity, uint32_t frames, const char *params)
{
	(void)state, (void)capacity, (void)frames;
	return params[0] == '+' ? 1 : 0;
}

static void bad_miss(void *state, uint64_t page, uint32_t cookie, enum hmm_access access)
{
	(void)state, (void)page, (void)access;
	script.misses++;
	script.last_cookie = cookie;
}

static void bad_inserted(void *state, uint32_t frame, uint64_t page, uint32_t region, enum hmm_access access)
{
	(void)state, (void)frame, (void)page, (void)region, (void)access;
}

static void bad_touched(void *state, const uint32_t *frames, uint32_t n, enum hmm_access access)
{
	(void)frames, (void)n, (void)access;
	if (script.overrun)
		((volatile char *)state)[STATE_BYTES] = 1;
}

static uint32_t bad_choose(void *state, uint32_t want, uint32_t *out, uint32_t scan)
{
	(void)state;
	script.calls++;
	script.last_want = want;
	script.scanned += scan;
	memcpy(out, script.victims, script.n * sizeof(*out));
	return script.returned;
}

static uint32_t bad_evicted(void *state, uint32_t frame, uint64_t page)
{
	(void)state, (void)frame, (void)page;
	script.evictions++;
	return script.cookie;
}

static void bad_rejected(void *state, uint32_t frame, enum hmm_reject why)
{
	(void)state, (void)frame, (void)why;
	script.verdicts++;
}

static void bad_removed(void *state, uint32_t frame, uint64_t page, enum hmm_removed why)
{
	(void)state, (void)frame, (void)page, (void)why;
}

static struct hmm_policy_ops bad = {
	.size = sizeof(struct hmm_policy_ops),
	.version = HMM_POLICY_VERSION,
	.name = "bad",
	.summary = "does as the test says",
	.state_size = bad_state_size,
	.start = bad_start,
	.miss = bad_miss,
	.inserted = bad_inserted,
	.touched = bad_touched,
	.choose = bad_choose,
	.evicted = bad_evicted,
	.rejected = bad_rejected,
	.removed = bad_removed,
};

static char last_report[1024];
static uint32_t reports;

static void note(void *arg, const char *text)
{
	ck_assert_ptr_eq(arg, &script);
	ck_assert_uint_lt(strlen(text), sizeof(last_report));
	strcpy(last_report, text);
	reports++;
}

/* With frames 0 .. n - 1 resident, of pages 0x1000 and on. */
static struct hmm__policy *create(bool check, uint32_t n)
{
	struct hmm__policy *policy = NULL;

	if (hmm_policy_lookup("bad") == NULL)
		ck_assert_int_eq(hmm_policy_register(&bad), 0);
	ck_assert_int_eq(hmm__policy_create("bad", CAPACITY, CAPACITY, check, note, &script, &policy), 0);
	for (uint32_t frame = 0; frame < n; frame++)
		hmm__policy_inserted(policy, frame, 0x1000 + frame, 0, HMM_ACCESS_READ);
	return policy;
}

static void propose(uint32_t n, uint32_t a, uint32_t b, uint32_t c)
{
	script.victims[0] = a;
	script.victims[1] = b;
	script.victims[2] = c;
	script.n = script.returned = n;
}

/* The last report names all of it; a backtrace may follow. */
static void expect_report(uint32_t count, const char *text)
{
	ck_assert_uint_eq(reports, count);
	ck_assert_msg(strncmp(last_report, text, strlen(text)) == 0, "'%s' instead of '%s'", last_report, text);
	ck_assert(last_report[strlen(text)] == '\0' || last_report[strlen(text)] == ';');
}

/* Loop tests: _i is whether the check is on. */

START_TEST(a_victim_out_of_range_is_dropped)
{
	struct hmm__policy *policy = create(_i, 3);
	uint32_t out[3];

	propose(3, 1, CAPACITY, 2);
	ck_assert_uint_eq(hmm__policy_choose(policy, 3, out, 10), 2);
	ck_assert(out[0] == 1 && out[1] == 2);
	expect_report(1, "policy bad: choose: victim out of range, frame 100");
	propose(1, UINT32_MAX, 0, 0);
	ck_assert_uint_eq(hmm__policy_choose(policy, 1, out, 10), 1);
	ck_assert_uint_eq(out[0], 0); /* the fallback's */
	expect_report(2, "policy bad: choose: victim out of range");
	ck_assert_uint_eq(hmm__policy_errors(policy), 2);
	hmm__policy_destroy(policy);
}
END_TEST

START_TEST(a_victim_that_is_not_resident_is_dropped)
{
	struct hmm__policy *policy = create(_i, 3);
	uint32_t out[3];

	propose(2, 50, 1, 0);
	ck_assert_uint_eq(hmm__policy_choose(policy, 3, out, 10), 1);
	ck_assert_uint_eq(out[0], 1);
	expect_report(1, "policy bad: choose: victim is not resident, frame 50");
	hmm__policy_evicted(policy, 1, 0x1001);
	propose(2, 1, 0, 0);
	ck_assert_uint_eq(hmm__policy_choose(policy, 3, out, 10), 1);
	ck_assert_uint_eq(out[0], 0);
	expect_report(2, "policy bad: choose: victim is not resident, frame 1");
	hmm__policy_removed(policy, 2, 0x1002, HMM_REMOVED_DISCARDED);
	propose(1, 2, 0, 0);
	ck_assert_uint_eq(hmm__policy_choose(policy, 3, out, 10), 0);
	ck_assert_uint_eq(reports, 2); /* no page is left: the policy is not asked */
	hmm__policy_destroy(policy);
}
END_TEST

START_TEST(a_victim_named_twice_is_taken_once)
{
	struct hmm__policy *policy = create(_i, 6);
	uint32_t out[4];

	propose(3, 4, 5, 4);
	ck_assert_uint_eq(hmm__policy_choose(policy, 4, out, 10), 2);
	ck_assert(out[0] == 4 && out[1] == 5);
	expect_report(1, _i ? "policy bad: choose: victim named twice in one call, frame 4, page 0x1004"
	                    : "policy bad: choose: victim named twice in one call, frame 4");
	propose(2, 3, 5, 0);
	ck_assert_uint_eq(hmm__policy_choose(policy, 4, out, 10), 1);
	ck_assert_uint_eq(out[0], 3);
	expect_report(2, _i ? "policy bad: choose: victim proposed again before its verdict, frame 5, page 0x1005"
	                    : "policy bad: choose: victim proposed again before its verdict, frame 5");
	hmm__policy_rejected(policy, 5, HMM_REJECT_PINNED);
	ck_assert_uint_eq(script.verdicts, 1);
	propose(1, 5, 0, 0);
	ck_assert_uint_eq(hmm__policy_choose(policy, 4, out, 10), 1);
	ck_assert_uint_eq(out[0], 5);
	ck_assert_uint_eq(reports, 2);
	hmm__policy_destroy(policy);
}
END_TEST

START_TEST(more_victims_than_wanted_are_cut_off)
{
	struct hmm__policy *policy = create(_i, 10);
	uint32_t out[4] = { 77, 77, 77, 77 };

	propose(3, 7, 8, 9); /* the array has room for them, so the policy without check does no harm either */
	ck_assert_uint_eq(hmm__policy_choose(policy, 2, out, 10), 2);
	ck_assert(out[0] == 7 && out[1] == 8 && out[3] == 77);
	expect_report(1, "policy bad: choose: returned more victims than wanted");
	script.returned = UINT32_MAX;
	script.n = 1;
	script.victims[0] = 3;
	out[1] = 4;
	ck_assert_uint_eq(hmm__policy_choose(policy, 1, out, 10), 1);
	ck_assert(out[0] == 3 && out[1] == 4);
	ck_assert_uint_eq(reports, 2);
	hmm__policy_destroy(policy);
}
END_TEST

/* A policy that never proposes must not hang the pager, whatever is refused meanwhile. */
START_TEST(a_policy_that_proposes_nothing_is_stood_in_for)
{
	struct hmm__policy *policy = create(_i, CAPACITY);
	bool taken[CAPACITY] = { false };
	uint32_t out[7], n, total = 0;

	propose(0, 0, 0, 0);
	for (n = hmm__policy_choose(policy, 7, out, 1); n > 0; n = hmm__policy_choose(policy, 7, out, 1)) {
		ck_assert_uint_le(n, 7);
		for (uint32_t i = 0; i < n; i++) {
			if (out[i] % 3 == 0 && !taken[out[i]]) {
				hmm__policy_rejected(policy, out[i], HMM_REJECT_PINNED);
			} else {
				hmm__policy_evicted(policy, out[i], 0x1000 + out[i]);
				total++;
			}
			taken[out[i]] = true;
		}
		if (script.calls < 10) /* at first it may look at every page four times */
			ck_assert_uint_ge(script.scanned, 4 * CAPACITY);
	}
	ck_assert_uint_eq(total, CAPACITY);
	ck_assert_uint_eq(script.evictions, CAPACITY);
	ck_assert_uint_eq(script.verdicts, 0); /* it proposed none of them */
	expect_report(1, "policy bad: choose: proposed nothing though pages are resident");
	hmm__policy_destroy(policy);
}
END_TEST

START_TEST(what_the_fallback_took_may_be_proposed_and_is_not_taken_twice)
{
	struct hmm__policy *policy = create(_i, 4);
	uint32_t out[4];

	propose(0, 0, 0, 0);
	ck_assert_uint_eq(hmm__policy_choose(policy, 2, out, 10), 2);
	ck_assert(out[0] == 0 && out[1] == 1);
	propose(2, 1, 3, 0);
	ck_assert_uint_eq(hmm__policy_choose(policy, 2, out, 10), 1);
	ck_assert_uint_eq(out[0], 3);
	ck_assert_uint_eq(reports, 1);
	hmm__policy_rejected(policy, 0, HMM_REJECT_BUSY);
	ck_assert_uint_eq(script.verdicts, 0);
	hmm__policy_rejected(policy, 1, HMM_REJECT_BUSY);
	ck_assert_uint_eq(script.verdicts, 1);
	propose(0, 0, 0, 0);
	ck_assert_uint_eq(hmm__policy_choose(policy, 4, out, 10), 3); /* 0, 1, 2 */
	ck_assert_uint_eq(hmm__policy_choose(policy, 4, out, 10), 0);
	hmm__policy_destroy(policy);
}
END_TEST

START_TEST(a_cookie_needs_the_capability)
{
	struct hmm__policy *policy = create(_i, 4);

	script.cookie = 9;
	hmm__policy_evicted(policy, 3, 0x1003);
	expect_report(1, "policy bad: evicted: returned a cookie without HMM_POLICY_GHOSTS, frame 3");
	hmm__policy_miss(policy, 0x1003, HMM_ACCESS_READ);
	ck_assert_uint_eq(script.last_cookie, 0);
	hmm__policy_destroy(policy);
}
END_TEST

START_TEST(a_ghost_comes_back_with_the_miss_once)
{
	struct hmm__policy *policy = NULL;

	bad.caps = HMM_POLICY_GHOSTS;
	policy = create(_i, 4);
	script.cookie = 9;
	hmm__policy_evicted(policy, 3, 0x1003);
	script.cookie = 0;
	hmm__policy_evicted(policy, 2, 0x1002);
	hmm__policy_miss(policy, 0x1003, HMM_ACCESS_READ);
	ck_assert_uint_eq(script.last_cookie, 9);
	hmm__policy_miss(policy, 0x1003, HMM_ACCESS_READ);
	ck_assert_uint_eq(script.last_cookie, 0);
	hmm__policy_miss(policy, 0x1002, HMM_ACCESS_READ);
	ck_assert_uint_eq(script.last_cookie, 0);
	ck_assert_uint_eq(script.misses, 3);
	ck_assert_uint_eq(hmm__policy_errors(policy), 0);
	hmm__policy_destroy(policy);
}
END_TEST

START_TEST(reports_of_a_flood_become_rare_but_all_are_counted)
{
	struct hmm__policy *policy = create(_i, 4);
	uint32_t out[2];

	for (uint32_t i = 0; i < 5000; i++) {
		propose(2, 99, i % 4, 0);
		ck_assert_uint_eq(hmm__policy_choose(policy, 2, out, 10), 1);
		hmm__policy_rejected(policy, out[0], HMM_REJECT_BUSY);
	}
	ck_assert_uint_eq(hmm__policy_errors(policy), 5000);
	ck_assert_uint_eq(reports, 64 + 6); /* 128 ... 4096 */
	hmm__policy_destroy(policy);
}
END_TEST

START_TEST(start_may_not_return_a_positive_number)
{
	struct hmm__policy *policy = create(_i, 0), *none = NULL;

	ck_assert_int_eq(hmm__policy_create("bad:+", CAPACITY, 1, _i, NULL, NULL, &none), -EINVAL);
	ck_assert_ptr_null(none);
	hmm__policy_destroy(policy);
}
END_TEST

/* Only with the check. */

START_TEST(a_policy_that_writes_too_many_is_caught)
{
	struct hmm__policy *policy = create(true, CAPACITY);
	uint32_t out[4] = { 77, 77, 77, 77 };

	propose(3, 7, 8, 9);
	script.returned = 2;
	ck_assert_uint_eq(hmm__policy_choose(policy, 2, out, 10), 2);
	ck_assert_uint_eq(out[2], 77);
	expect_report(1, "policy bad: choose: wrote more victims than wanted");
	hmm__policy_destroy(policy);
}
END_TEST

START_TEST(a_large_batch_is_asked_for_in_parts)
{
	struct hmm__policy *policy = create(true, CAPACITY);
	uint32_t out[1000];

	propose(1, 7, 0, 0);
	ck_assert_uint_eq(hmm__policy_choose(policy, 1000, out, 10), 1);
	ck_assert_uint_eq(script.last_want, 256);
	hmm__policy_destroy(policy);
}
END_TEST

START_TEST(a_write_past_the_state_is_caught)
{
	struct hmm__policy *policy = create(true, 4);
	uint32_t frame = 2;

	script.overrun = true;
	hmm__policy_touched(policy, &frame, 1, HMM_ACCESS_READ);
	expect_report(1, "policy bad: touched: wrote past the end of its state");
	script.overrun = false;
	hmm__policy_touched(policy, &frame, 1, HMM_ACCESS_READ);
	ck_assert_uint_eq(reports, 1);
	hmm__policy_destroy(policy);
}
END_TEST

#if defined(HMM_DEBUG) && defined(HMM_HAVE_LIBUNWIND)
START_TEST(a_debug_build_says_who_called)
{
	struct hmm__policy *policy = create(true, 4);
	uint32_t out[2];

	for (uint32_t i = 0; i < 10; i++) {
		propose(2, 99, i % 4, 0);
		ck_assert_uint_eq(hmm__policy_choose(policy, 2, out, 10), 1);
		hmm__policy_rejected(policy, out[0], HMM_REJECT_BUSY);
		/* the first eight */
		ck_assert_int_eq(strstr(last_report, "frame 99; called from 0x") != NULL, i < 8);
	}
	hmm__policy_destroy(policy);
}
END_TEST
#endif

/* The core's own mistakes end the program. */

START_TEST(a_frame_inserted_twice_is_our_mistake)
{
	struct hmm__policy *policy = create(true, 4);

	hmm__policy_inserted(policy, 3, 5, 0, HMM_ACCESS_READ);
}
END_TEST

START_TEST(a_verdict_without_a_proposal_is_our_mistake)
{
	struct hmm__policy *policy = create(true, 4);

	hmm__policy_rejected(policy, 3, HMM_REJECT_BUSY);
}
END_TEST

START_TEST(an_eviction_of_another_page_is_our_mistake)
{
	struct hmm__policy *policy = create(true, 4);

	hmm__policy_evicted(policy, 3, 0x1002);
}
END_TEST

START_TEST(a_touch_of_an_absent_frame_is_our_mistake)
{
	struct hmm__policy *policy = create(true, 4);
	uint32_t frames[2] = { 1, 50 };

	hmm__policy_touched(policy, frames, 2, HMM_ACCESS_READ);
}
END_TEST

static Suite *suite(void)
{
	Suite *s = suite_create("policy_check");
	TCase *both = tcase_create("both"), *checked = tcase_create("checked"), *ours = tcase_create("ours");

	tcase_add_loop_test(both, a_victim_out_of_range_is_dropped, 0, 2);
	tcase_add_loop_test(both, a_victim_that_is_not_resident_is_dropped, 0, 2);
	tcase_add_loop_test(both, a_victim_named_twice_is_taken_once, 0, 2);
	tcase_add_loop_test(both, more_victims_than_wanted_are_cut_off, 0, 2);
	tcase_add_loop_test(both, a_policy_that_proposes_nothing_is_stood_in_for, 0, 2);
	tcase_add_loop_test(both, what_the_fallback_took_may_be_proposed_and_is_not_taken_twice, 0, 2);
	tcase_add_loop_test(both, a_cookie_needs_the_capability, 0, 2);
	tcase_add_loop_test(both, a_ghost_comes_back_with_the_miss_once, 0, 2);
	tcase_add_loop_test(both, reports_of_a_flood_become_rare_but_all_are_counted, 0, 2);
	tcase_add_loop_test(both, start_may_not_return_a_positive_number, 0, 2);
	suite_add_tcase(s, both);

	tcase_add_test(checked, a_policy_that_writes_too_many_is_caught);
	tcase_add_test(checked, a_large_batch_is_asked_for_in_parts);
	tcase_add_test(checked, a_write_past_the_state_is_caught);
#if defined(HMM_DEBUG) && defined(HMM_HAVE_LIBUNWIND)
	tcase_add_test(checked, a_debug_build_says_who_called);
#endif
	suite_add_tcase(s, checked);

	tcase_add_test_raise_signal(ours, a_frame_inserted_twice_is_our_mistake, SIGABRT);
	tcase_add_test_raise_signal(ours, a_verdict_without_a_proposal_is_our_mistake, SIGABRT);
	tcase_add_test_raise_signal(ours, an_eviction_of_another_page_is_our_mistake, SIGABRT);
	tcase_add_test_raise_signal(ours, a_touch_of_an_absent_frame_is_our_mistake, SIGABRT);
	suite_add_tcase(s, ours);
	return s;
}

HMM_TEST_MAIN(suite)
