/* SPDX-License-Identifier: MIT */
/*
 * test_policy_compose.c - policies around others: specs, that without hints nothing changes, and that the books agree
 * whatever is called
 */
#include <errno.h>
#include <inttypes.h>

#include <hurd-mm/hints.h>

#include "lib/policy/instance.h"
#include "tests/unit/policy_single.h"

static const char *const inners[] = {
	"lru", "fifo", "clock", "clock:bits=2", "sieve", "s3fifo:small=0.2", "2q", "arc", "car", "wtinylfu", "mglru",
	"gc:arc", "db:s3fifo", "gc:most=0.5:db:ring=3:lru",
};

/* Specs */

START_TEST(specs_name_an_inner_policy_and_its_parameters)
{
	static const struct {
		const char *spec;
		int error;
	} cases[] = {
		{ "gc", 0 }, { "gc:", 0 }, { "gc:lru", 0 }, { "gc:lru:", 0 }, { "db:s3fifo:small=0.2", 0 },
		{ "gc:most=0.5:s3fifo:small=0.2", 0 }, { "gc:scan=0.5,most=1", 0 },
		{ "db:ring=16,bulk=64:gc:clock:bits=2", 0 }, { "gc:gc:gc:lru", 0 }, { "gc:nosuch", -EINVAL }, { "gc:nosuch:x=1", -EINVAL }, { "gc:lru:x=1", -EINVAL },
		{ "gc:clock:bits=9", -EINVAL }, { "gc:most=2:lru", -EINVAL }, { "gc:x=1:lru", -EINVAL },
		{ "gc:most=0.5,lru", -EINVAL }, { "gc:db:gc:nosuch", -EINVAL }, { "db:ring=0:lru", -EINVAL },
		{ "db:ring=1.5", -EINVAL }, { "db:lru:ring=16", -EINVAL },
		{ "gc:a-name-of-sixty-four-characters-is-one-character-too-long-to-use", -EINVAL },
	};

	for (size_t i = 0; i < HMM__ARRAY_SIZE(cases); i++) {
		struct hmm__policy *policy = NULL;
		int r = hmm__policy_create(cases[i].spec, 100, 100, true, NULL, NULL, &policy);

		ck_assert_msg(r == cases[i].error, "%s: %d", cases[i].spec, r);
		hmm__policy_destroy(policy);
	}
}
END_TEST

START_TEST(an_overlong_list_of_parameters_is_refused)
{
	struct hmm__policy *policy = NULL;
	char spec[600] = "gc:most=0.";

	memset(spec + strlen(spec), '1', 400);
	strcat(spec, ":lru");
	ck_assert_int_eq(hmm__policy_create(spec, 100, 100, true, NULL, NULL, &policy), -EINVAL);
}
END_TEST

/* The same misses, request by request: the inner policy sees the same calls, and its own cookies. */
START_TEST(without_hints_the_inner_order_is_unchanged)
{
	static const char *const outers[] = { "gc", "db" };
	static const uint32_t frame_counts[] = { 1, 2, 10, 90, 199 };
	uint64_t seed = test_seed();

	for (size_t o = 0; o < 2 * HMM__ARRAY_SIZE(frame_counts); o++) {
		for (int kind = 0; kind < TRACE_KINDS; kind++) {
			struct single plain, composed;
			char spec[100];

			snprintf(spec, sizeof(spec), "%s:%s", outers[o % 2], inners[_i]);
			single_init(&plain, inners[_i], frame_counts[o / 2], 200);
			single_init(&composed, spec, frame_counts[o / 2], 200);
			for (uint32_t i = 0; i < 4000; i++) {
				uint32_t page = trace_synthetic(kind, i, 200, &seed);

				if (single_request(&plain, page, HMM_ACCESS_READ) !=
				    single_request(&composed, page, HMM_ACCESS_READ))
					ck_abort_msg("%s, pattern %d, request %" PRIu32, spec, kind, i);
			}
			single_fini(&plain);
			single_fini(&composed);
		}
	}
}
END_TEST

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

/* As a region passes it: the range first, then its resident pages. */
static void hint(struct hmm__policy *policy, uint32_t frame, enum hmm_hint hint, int64_t value)
{
	struct hmm_page_range range = { 1000 + frame, 1 };

	hmm__policy_hint(policy, UINT32_MAX, range, hint, value);
	hmm__policy_hint(policy, frame, range, hint, value);
}

/* Books */

#define MODEL_FRAMES 97

struct model {
	struct hmm__policy *policy;
	enum { ABSENT, RESIDENT, PROPOSED } state[MODEL_FRAMES];
	uint64_t page[MODEL_FRAMES];
	uint64_t inserted;
	uint64_t seed;
};

static uint32_t draw(struct model *model, uint32_t n)
{
	return (uint32_t)(trace_random(&model->seed) >> 20) % n;
}

static void model_choose(struct model *model, uint32_t want)
{
	uint32_t victims[64], n, resident = 0;

	for (uint32_t i = 0; i < MODEL_FRAMES; i++)
		resident += model->state[i] == RESIDENT;
	n = hmm__policy_choose(model->policy, want, victims, 1 + draw(model, 320));
	if (n > want || n > resident || (n == 0 && resident > 0 && want > 0))
		ck_abort_msg("%" PRIu32 " victims of %" PRIu32, n, resident);
	for (uint32_t i = 0; i < n; i++) {
		if (model->state[victims[i]] != RESIDENT)
			ck_abort_msg("victim %" PRIu32, victims[i]);
		model->state[victims[i]] = PROPOSED;
	}
}

static void model_verdict(struct model *model, uint32_t frame)
{
	if (model->state[frame] == PROPOSED && draw(model, 2) == 0) {
		hmm__policy_rejected(model->policy, frame, (enum hmm_reject)draw(model, 4));
		model->state[frame] = RESIDENT;
		return;
	}
	if (draw(model, 2) == 0)
		hmm__policy_evicted(model->policy, frame, model->page[frame]);
	else
		hmm__policy_removed(model->policy, frame, model->page[frame], (enum hmm_removed)draw(model, 3));
	model->state[frame] = ABSENT;
}

static void model_hint(struct model *model, uint32_t frame)
{
	struct hmm_page_range range = { model->page[frame], 1 + draw(model, 40) };
	enum hmm_hint hint = (enum hmm_hint)(draw(model, 3) != 0 ? draw(model, 7) : HMM_HINT_USER + draw(model, 4));
	int64_t value = (int64_t)draw(model, 140) - 70;

	if (hint == HMM_HINT_CLASS)
		value = draw(model, 26);
	else if (hint == HMM_HINT_QUOTA)
		value = HMM_POOL_QUOTA(draw(model, 26), draw(model, 3), draw(model, 30));
	else if (hint == HMM_HINT_PHASE)
		value = draw(model, 2);
	if (draw(model, 3) == 0)
		hmm__policy_hint(model->policy, UINT32_MAX, range, hint, value);
	if (model->state[frame] != ABSENT)
		hmm__policy_hint(model->policy, frame, (struct hmm_page_range){ range.page, 1 }, hint, value);
}

static void model_step(struct model *model)
{
	uint32_t frame = draw(model, MODEL_FRAMES), batch[8], n = 0;
	unsigned what = draw(model, 10);

	if (what == 0) {
		model_choose(model, draw(model, 4) == 0 ? 64 : draw(model, 9));
	} else if (what == 1) {
		model_hint(model, frame);
	} else if (model->state[frame] == ABSENT) {
		model->page[frame] = draw(model, 3) * 1000 + frame; /* pages come back, and their ghosts with them */
		hmm__policy_miss(model->policy, model->page[frame], (enum hmm_access)draw(model, 4));
		hmm__policy_inserted(model->policy, frame, model->page[frame], 0, (enum hmm_access)draw(model, 4));
		model->state[frame] = RESIDENT;
		model->inserted++;
	} else if (what < 6) {
		for (uint32_t i = 0; i < 8; i++) {
			batch[n] = draw(model, MODEL_FRAMES);
			n += model->state[batch[n]] != ABSENT;
		}
		hmm__policy_touched(model->policy, batch, n, (enum hmm_access)draw(model, 4));
	} else if (model->state[frame] == PROPOSED || what == 6) {
		model_verdict(model, frame);
	} else if (what == 7 && draw(model, 10) == 0) {
		hmm__policy_tick(model->policy);
		hmm__policy_resize(model->policy, MODEL_FRAMES / (1 + draw(model, 4)));
	}
}

/* The same policies for which pages also come by streams and with classes, which the pager does not tell yet. */

static const struct hmm_policy_ops *streamed;

static void placed_with_stream(void *state, uint32_t frame, uint64_t page, const struct hmm_placement *placement)
{
	struct hmm_placement other = *placement;

	other.stream = page % 3 == 0 ? (uint32_t)(page % 13) : 0;
	other.page_class = page % 5 == 0 ? (uint32_t)(page % 26) : 0;
	streamed->placed(state, frame, page, &other);
}

static void register_streamed(void)
{
	static struct hmm_policy_ops ops;

	streamed = hmm_policy_lookup("db");
	ops = *streamed;
	ops.name = "db-streamed";
	ops.placed = placed_with_stream;
	ck_assert_int_eq(hmm_policy_register(&ops), 0);
}

static const char *const modelled[] = {
	"wtinylfu", "wtinylfu:sample=1,window=0.5", "mglru", "mglru:calls=1",
	"gc", "gc:clock", "gc:s3fifo", "gc:arc", "gc:car", "gc:2q", "gc:sieve", "gc:wtinylfu", "gc:mglru",
	"db", "db:clock", "db:s3fifo", "db:arc", "db:car", "db:2q", "db:sieve", "db:wtinylfu", "db:mglru",
	"db-streamed:ring=2,temporary=0.02:lru", "db-streamed:nodes=0.03:s3fifo", "db-streamed:ring=4:gc:arc",
	"gc:db-streamed:mglru",
};

START_TEST(random_calls_keep_the_books_right)
{
	struct model model = { .seed = test_seed() };
	int r;

	register_streamed();
	r = hmm__policy_create(modelled[_i], MODEL_FRAMES, MODEL_FRAMES, true, fail_on_report, NULL, &model.policy);
	ck_assert_msg(r == 0, "%s: %d", modelled[_i], r);
	for (int i = 0; i < 100000; i++)
		model_step(&model);
	ck_assert_uint_gt(model.inserted, 1000);
	for (int i = 0; i < MODEL_FRAMES; i++)
		model_choose(&model, 16);
	for (uint32_t frame = 0; frame < MODEL_FRAMES; frame++)
		ck_assert_int_ne(model.state[frame], RESIDENT);
	ck_assert_uint_eq(hmm__policy_errors(model.policy), 0);
	hmm__policy_destroy(model.policy);
}
END_TEST

/* 100 pinned pages of 1000, of all kinds: the others are found, and the pinned ones asked for again but seldom. */
START_TEST(pinned_pages_do_not_stop_the_scan)
{
	struct hmm__policy *policy;
	uint32_t victims[64], refused = 0, evicted = 0;

	register_streamed();
	policy = create(modelled[_i], 1000, 1000);
	for (uint32_t frame = 0; frame < 100; frame++)
		hint(policy, frame, frame % 3 == 0 ? HMM_HINT_DISCARD : HMM_HINT_PRIORITY, -(int64_t)(frame % 7));
	while (evicted < 900) {
		uint32_t n = hmm__policy_choose(policy, 64, victims, 256);

		ck_assert_uint_gt(n, 0);
		for (uint32_t i = 0; i < n; i++) {
			if (victims[i] < 100) {
				hmm__policy_rejected(policy, victims[i], HMM_REJECT_PINNED);
				refused++;
			} else {
				hmm__policy_evicted(policy, victims[i], 1000 + victims[i]);
				evicted++;
			}
		}
		/* each of up to three policies has its own patience, and an order of the inner one may have one, too */
		ck_assert_uint_le(refused, 200 + 4 * evicted / 8);
	}
	ck_assert_uint_ge(refused, 50);
	hmm__policy_destroy(policy);
}
END_TEST

/* Everything in the inner order is pinned; what the outer policy would rather keep is not. */
START_TEST(pinned_ordinary_pages_do_not_shield_the_favoured)
{
	static const char *const outers[] = { "gc:lru", "gc:clock", "gc:s3fifo", "db:lru", "db:arc", "db:gc:lru" };
	struct hmm__policy *policy = create(outers[_i], 100, 50);
	uint32_t evicted = 0, refused = 0, victim;

	for (uint32_t frame = 20; frame < 50; frame++) {
		hint(policy, frame, HMM_HINT_PRIORITY, 9);
		hint(policy, frame, HMM_HINT_CLASS, HMM_CLASS_INNER);
	}
	while (evicted < 30 && refused < 200) {
		ck_assert_uint_eq(hmm__policy_choose(policy, 1, &victim, 100), 1);
		if (victim < 20) {
			hmm__policy_rejected(policy, victim, HMM_REJECT_PINNED);
			refused++;
		} else {
			hmm__policy_evicted(policy, victim, 1000 + victim);
			evicted++;
		}
	}
	ck_assert_uint_eq(evicted, 30);
	ck_assert_uint_ge(refused, 20);
	hmm__policy_destroy(policy);
}
END_TEST

START_TEST(a_large_capacity_costs_nothing_until_used)
{
	static const char *const specs[] = { "wtinylfu", "mglru", "gc:s3fifo", "db:lru" };
	struct hmm__policy *policy = create(specs[_i], 1u << 28, 0);
	uint32_t victim = 0, frame = (1u << 28) - 1;

	hmm__policy_inserted(policy, frame, 42, 0, HMM_ACCESS_READ);
	ck_assert_uint_eq(hmm__policy_choose(policy, 1, &victim, 100), 1);
	ck_assert_uint_eq(victim, frame);
	ck_assert_uint_le(hmm__policy_bytes(policy), 80ull << 28);
	hmm__policy_destroy(policy);
}
END_TEST

static Suite *suite(void)
{
	Suite *s = suite_create("policy_compose");
	TCase *spec = tcase_create("spec"), *books = tcase_create("books");

	tcase_add_test(spec, specs_name_an_inner_policy_and_its_parameters);
	tcase_add_test(spec, an_overlong_list_of_parameters_is_refused);
	tcase_add_loop_test(spec, without_hints_the_inner_order_is_unchanged, 0, (int)HMM__ARRAY_SIZE(inners));
	suite_add_tcase(s, spec);
	tcase_add_loop_test(books, random_calls_keep_the_books_right, 0, (int)HMM__ARRAY_SIZE(modelled));
	tcase_add_loop_test(books, pinned_pages_do_not_stop_the_scan, 0, (int)HMM__ARRAY_SIZE(modelled));
	tcase_add_loop_test(books, pinned_ordinary_pages_do_not_shield_the_favoured, 0, 6);
	tcase_add_loop_test(books, a_large_capacity_costs_nothing_until_used, 0, 4);
	suite_add_tcase(s, books);
	return s;
}

HMM_TEST_MAIN(suite)
