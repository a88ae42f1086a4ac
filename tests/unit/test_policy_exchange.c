/* SPDX-License-Identifier: MIT */
/*
 * test_policy_exchange.c - the hook exchange does what the four calls do that it stands for
 *
 * Two instances of a policy get the same requests, hints and removals; one is asked by miss, choose, evicted and
 * inserted, the other by exchange wherever memory is full.  They agree on every frame and every cookie.
 */
#include <inttypes.h>

#include "tests/unit/policy_single.h"

#define PAGES 400
#define REQUESTS 6000

static const char *const specs[] = {
	"fifo", "lru", "clock", "clock2", "sieve", "s3fifo", "s3fifo-v0", "s3fifo:small=0.3,ghost=2", "2q",
	"2q:in=0.5,out=2", "arc", "car", "lirs", "lirs:repeats=0,stack=2", "clockpro", "clockpro-adaptive", "lru2",
	"lru2:correlated=20", "wtinylfu", "wtinylfu:sample=1,window=0.5",
};

/* As single_request(); a victim that the hook does not find is asked for by the other calls. */
static bool exchange_request(struct single *single, uint32_t page, enum hmm_access access)
{
	struct hmm_exchange exchange = {
		.size = sizeof(exchange), .pages = single->held, .frames = single->frames, .access = access, .cookie = NOWHERE,
	};
	uint32_t frame;

	if (single->where[page] != NOWHERE || single->used < single->frames || single->nfree > 0)
		return single_request(single, page, access);
	frame = single->ops->exchange(single->state, page, single->cookie[page], &exchange);
	if (frame >= single->frames || single->where[single->held[frame]] != frame)
		ck_abort_msg("%s: frame %" PRIu32, single->ops->name, frame);
	single->evicted = (uint32_t)single->held[frame];
	single->cookie[single->evicted] = exchange.cookie;
	single->where[single->evicted] = NOWHERE;
	single->where[page] = frame;
	single->held[frame] = page;
	return false;
}

static void compare(const struct single *a, const struct single *b, uint32_t page, uint32_t i)
{
	if (a->evicted != b->evicted || a->where[page] != b->where[page])
		ck_abort_msg("%s, request %" PRIu32 ": other victims", a->ops->name, i);
	if (a->evicted != NOWHERE && a->cookie[a->evicted] != b->cookie[b->evicted])
		ck_abort_msg("%s, request %" PRIu32 ": other cookies", a->ops->name, i);
}

static void disturb(struct single *a, struct single *b, uint32_t page, uint64_t *seed)
{
	static const enum hmm_hint hints[] = { HMM_HINT_DISCARD, HMM_HINT_EVICT_NEXT, HMM_HINT_WONTNEED, HMM_HINT_WILLNEED };
	enum hmm_hint hint = hints[trace_random(seed) % HMM__ARRAY_SIZE(hints)];

	if (trace_random(seed) % 4 == 0) {
		single_remove(a, page);
		single_remove(b, page);
	} else {
		single_hint(a, page, hint, 0);
		single_hint(b, page, hint, 0);
	}
}

/* Returns the number of exchanges. */
static uint32_t run(const char *spec, int kind, uint32_t frames, bool is_disturbed, uint64_t *seed)
{
	struct single a, b;
	uint32_t exchanges = 0;

	single_init(&a, spec, frames, PAGES);
	single_init(&b, spec, frames, PAGES);
	for (uint32_t i = 0; i < REQUESTS; i++) {
		uint32_t page = trace_synthetic(kind, i, PAGES, seed);
		enum hmm_access access = HMM_ACCESS_READ;

		if (is_disturbed && trace_random(seed) % 50 == 0)
			disturb(&a, &b, (uint32_t)(trace_random(seed) % PAGES), seed);
		if (is_disturbed && trace_random(seed) % 50 == 0 && a.where[page] == NOWHERE)
			access = HMM_ACCESS_PREFETCH;
		if (single_request(&a, page, access) != exchange_request(&b, page, access))
			ck_abort_msg("%s, request %" PRIu32 ": only one of them hit", spec, i);
		compare(&a, &b, page, i);
		exchanges += b.evicted != NOWHERE;
	}
	single_fini(&a);
	single_fini(&b);
	return exchanges;
}

START_TEST(an_exchange_is_the_four_calls_in_one)
{
	static const uint32_t frame_counts[] = { 1, 2, 3, 10, 100, 333 };
	uint64_t seed = test_seed();

	for (int kind = 0; kind < TRACE_KINDS; kind++) {
		for (size_t i = 0; i < HMM__ARRAY_SIZE(frame_counts); i++) {
			ck_assert_uint_gt(run(specs[_i], kind, frame_counts[i], false, &seed), 0);
			run(specs[_i], kind, frame_counts[i], true, &seed);
		}
	}
}
END_TEST

/* All frames await their verdict: nothing is left to propose, and the caller goes on by itself. */
START_TEST(without_a_victim_nothing_but_the_miss_has_happened)
{
	struct single single;
	struct hmm_exchange exchange = { .size = sizeof(exchange), .frames = 4 };
	uint32_t victims[4];

	single_init(&single, specs[_i], 4, PAGES);
	for (uint32_t page = 0; page < 4; page++)
		single_request(&single, page, HMM_ACCESS_READ);
	ck_assert_uint_eq(single.ops->choose(single.state, 4, victims, UINT32_MAX), 4);
	exchange.pages = single.held;
	ck_assert_uint_eq(single.ops->exchange(single.state, 7, 0, &exchange), UINT32_MAX);
	for (int i = 0; i < 4; i++) {
		single.cookie[single.held[victims[i]]] =
			single.ops->evicted(single.state, victims[i], single.held[victims[i]]);
		single.where[single.held[victims[i]]] = NOWHERE;
		single.free[single.nfree++] = victims[i];
	}
	for (uint32_t page = 7; page < 20; page++) {
		ck_assert(!single_request(&single, page, HMM_ACCESS_READ));
		ck_assert(single_request(&single, page, HMM_ACCESS_READ));
	}
	single_fini(&single);
}
END_TEST

/* A policy of a user's own: two pages take turns.  Its choice is out of range where it is told so. */
static uint32_t turn;

static uint32_t turn_choose(void *state, uint32_t want, uint32_t *out, uint32_t scan)
{
	(void)state, (void)want, (void)scan;
	*out = turn;
	return 1;
}

static uint32_t turn_evicted(void *state, uint32_t frame, uint64_t page)
{
	(void)state;
	return frame * 1000 + (uint32_t)page;
}

static uint64_t turn_page;

static void turn_inserted(void *state, uint32_t frame, uint64_t page, uint32_t region, enum hmm_access access)
{
	(void)state, (void)frame;
	turn_page = page + region + access;
}

HMM_POLICY_EXCHANGE(turn_exchange, hmm_policy_no_miss, turn_choose, turn_evicted, turn_inserted)

START_TEST(a_user_has_it_in_one_line)
{
	const uint64_t pages[2] = { 50, 60 };
	struct hmm_exchange exchange = {
		.size = sizeof(exchange), .pages = pages, .frames = 2, .region = 100, .access = HMM_ACCESS_WRITE,
	};

	turn = 1;
	ck_assert_uint_eq(turn_exchange(NULL, 7, 0, &exchange), 1);
	ck_assert_uint_eq(exchange.cookie, 1060);
	ck_assert_uint_eq(turn_page, 7 + 100 + HMM_ACCESS_WRITE);
	turn = 2; /* no such frame: pages is not read there */
	ck_assert_uint_eq(turn_exchange(NULL, 9, 0, &exchange), UINT32_MAX);
	ck_assert_uint_eq(turn_page, 7 + 100 + HMM_ACCESS_WRITE);
}
END_TEST

static Suite *suite(void)
{
	Suite *s = suite_create("policy_exchange");
	TCase *t = tcase_create("policy_exchange");

	tcase_add_loop_test(t, an_exchange_is_the_four_calls_in_one, 0, (int)HMM__ARRAY_SIZE(specs));
	tcase_add_loop_test(t, without_a_victim_nothing_but_the_miss_has_happened, 0, (int)HMM__ARRAY_SIZE(specs));
	tcase_add_test(t, a_user_has_it_in_one_line);
	suite_add_tcase(s, t);
	return s;
}

HMM_TEST_MAIN(suite)
