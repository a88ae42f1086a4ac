/* SPDX-License-Identifier: MIT */
/*
 * test_policy_abi.c - modules compiled against older headers, with smaller tables, load and work
 *
 * $HMM_POLICY_ABI: the directory of the modules, which tests/fixtures builds from frozen headers.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/util.h"
#include "lib/policy/instance.h"
#include "tests/harness.h"
#include "tests/unit/policy_traces.h"

static const struct module {
	const char *file, *name;
	bool has_hint;
} modules[] = {
	{ "policy-abi-smallest.so", "abi-smallest", false },
	{ "policy-abi-0.1.so", "abi-0-1", true },
};

static void fail_on_report(void *arg, const char *text)
{
	(void)arg;
	ck_abort_msg("%s", text);
}

static const struct hmm_policy_ops *load(const struct module *module)
{
	const char *directory = getenv("HMM_POLICY_ABI"), *why = "";
	char path[600];

	ck_assert_msg(directory != NULL, "HMM_POLICY_ABI is not set");
	snprintf(path, sizeof(path), "%s/%s", directory, module->file);
	ck_assert_msg(hmm_policy_load(path, &why) == 0, "%s", why);
	ck_assert_msg(hmm_policy_load(path, &why) == 0, "a second time: %s", why);
	ck_assert_ptr_nonnull(hmm_policy_lookup(module->name));
	return hmm_policy_lookup(module->name);
}

START_TEST(an_older_table_lacks_what_came_later)
{
	const struct hmm_policy_ops *ops = load(&modules[_i]);

	ck_assert_uint_eq(ops->size, sizeof(*ops));
	ck_assert_int_eq(ops->hint != NULL, modules[_i].has_hint);
	ck_assert_int_eq(ops->tick != NULL, modules[_i].has_hint);
	ck_assert(ops->sizes == NULL && ops->placed == NULL && ops->params == NULL && ops->exchange == NULL);
}
END_TEST

/* Every call of the core, those too whose hooks the table does not have. */
START_TEST(an_older_module_runs_under_the_core)
{
	uint32_t victims[8], frame = 3;
	struct hmm__policy *policy;

	load(&modules[_i]);
	ck_assert_int_eq(hmm__policy_create(modules[_i].name, 8, 8, true, fail_on_report, NULL, &policy), 0);
	for (uint32_t i = 0; i < 8; i++) {
		hmm__policy_miss(policy, 100 + i, HMM_ACCESS_READ);
		hmm__policy_inserted(policy, i, 100 + i, 0, HMM_ACCESS_READ);
	}
	hmm__policy_touched(policy, &frame, 1, HMM_ACCESS_READ);
	hmm__policy_hint(policy, frame, (struct hmm_page_range){ 103, 1 }, HMM_HINT_EVICT_NEXT, 0);
	hmm__policy_tick(policy);
	hmm__policy_resize(policy, 4);
	hmm__policy_removed(policy, 1, 101, HMM_REMOVED_DISCARDED);
	ck_assert_uint_eq(hmm__policy_choose(policy, 3, victims, 64), 3);
	ck_assert(victims[0] == 0 && victims[1] == 2 && victims[2] == 3);
	hmm__policy_rejected(policy, 0, HMM_REJECT_BUSY);
	hmm__policy_evicted(policy, 2, 102);
	hmm__policy_evicted(policy, 3, 103);
	ck_assert_uint_eq(hmm__policy_choose(policy, 8, victims, 64), 5);
	ck_assert_uint_eq(victims[4], 0);
	ck_assert_uint_eq(hmm__policy_errors(policy), 0);
	hmm__policy_destroy(policy);
}
END_TEST

START_TEST(an_older_module_misses_as_fifo_does)
{
	const struct hmm_policy_ops *ops = load(&modules[_i]);
	uint64_t seed = test_seed();
	struct trace trace;

	trace_make(&trace, 3, 20000, 400, &seed);
	for (uint32_t frames = 1; frames < 400; frames += 133)
		ck_assert_uint_eq(trace_misses(ops, "on", &trace, frames, NULL),
		                  trace_misses(&hmm__policy_fifo, "", &trace, frames, NULL));
	trace_free(&trace);
	ck_assert_int_eq(hmm_policy_check(modules[_i].name, NULL, 0), 0);
}
END_TEST

static Suite *suite(void)
{
	Suite *s = suite_create("policy_abi");
	TCase *tc = tcase_create("abi");
	int n = (int)HMM__ARRAY_SIZE(modules);

	tcase_add_loop_test(tc, an_older_table_lacks_what_came_later, 0, n);
	tcase_add_loop_test(tc, an_older_module_runs_under_the_core, 0, n);
	tcase_add_loop_test(tc, an_older_module_misses_as_fifo_does, 0, n);
	suite_add_tcase(s, tc);
	return s;
}

HMM_TEST_MAIN(suite)
