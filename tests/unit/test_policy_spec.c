/* SPDX-License-Identifier: MIT */
/*
 * test_policy_spec.c - what is wrong with a policy's name or parameters is said, and what exists is listed
 */
#include <errno.h>
#include <string.h>

#include "lib/base/util.h"
#include "lib/policy/instance.h"
#include "policies/params.h"
#include "tests/harness.h"

START_TEST(what_a_space_takes_is_right)
{
	static const char *const specs[] = {
		"lru", "lru:", "clock:bits=2", "clock:bits=1", "clock2", "random:seed=42", "s3fifo:small=0.25",
		"s3fifo:ghost=2,small=0.01", "2q:in=0.5,out=1",
	};

	for (size_t i = 0; i < HMM__ARRAY_SIZE(specs); i++) {
		char why[200] = "untouched";
		int r = hmm_policy_check(specs[i], why, sizeof(why));

		ck_assert_msg(r == 0, "%s: %s", specs[i], why);
		ck_assert_str_eq(why, "");
		ck_assert_int_eq(hmm_policy_check(specs[i], NULL, 0), 0);
	}
	for (unsigned i = 0; hmm_policy_name(i) != NULL; i++)
		ck_assert_int_eq(hmm_policy_check(hmm_policy_name(i), NULL, 0), 0);
}
END_TEST

/* The defaults that a table tells are what start() takes. */
START_TEST(told_parameters_are_taken)
{
	for (unsigned i = 0; hmm_policy_name(i) != NULL; i++) {
		const struct hmm_policy_ops *ops = hmm_policy_lookup(hmm_policy_name(i));
		char spec[256] = "", why[256];

		ck_assert_ptr_nonnull(ops->params);
		if (strstr(ops->params, "POLICY") != NULL)
			continue;
		strcat(strcat(strcat(spec, ops->name), ":"), ops->params);
		ck_assert_msg(hmm_policy_check(spec, why, sizeof(why)) == 0, "%s: %s", spec, why);
	}
}
END_TEST

START_TEST(what_is_wrong_is_named_and_what_exists_is_listed)
{
	static const struct {
		const char *spec;
		int error;
		const char *says;
	} cases[] = {
		{ "nosuch", -ENOENT, "there is no policy 'nosuch'; there are fifo, clock, lru, " },
		{ "nosuch:x=1", -ENOENT, "there is no policy 'nosuch'; there are fifo, " },
		{ "", -ENOENT, "no policy is named; there are fifo, " },
		{ NULL, -ENOENT, "no policy is named; there are fifo, " },
		{ "lru:k=2", -EINVAL, "lru has no parameters: 'k=2'" },
		{ "s3fifo:smal=0.1", -EINVAL,
		  "s3fifo has no parameter 'smal'; its parameters and their defaults are small=0.1,ghost=0.9" },
		{ "s3fifo:small=0.1,g=1", -EINVAL, "s3fifo has no parameter 'g'; its parameters" },
		{ "s3fifo:small", -EINVAL, "parameter 'small' of s3fifo has no value; its parameters" },
		{ "s3fifo:small=0.1,small=0.2", -EINVAL, "parameter 'small' of s3fifo is given twice; its" },
		{ "s3fifo:ghost=1,small=1.5", -EINVAL, "s3fifo can't take 'small=1.5'; its parameters" },
		{ "s3fifo:small=0.1,", -EINVAL, "s3fifo can't take 'small=0.1,'; its parameters" },
		{ "s3fifo:small=abc", -EINVAL, "s3fifo can't take 'small=abc'; its parameters" },
		{ "clock:bits=1.5", -EINVAL, "clock can't take 'bits=1.5'; its parameters and their defaults are bits=1" },
	};

	for (size_t i = 0; i < HMM__ARRAY_SIZE(cases); i++) {
		char why[1000], cut[20];

		ck_assert_int_eq(hmm_policy_check(cases[i].spec, why, sizeof(why)), cases[i].error);
		ck_assert_msg(strncmp(why, cases[i].says, strlen(cases[i].says)) == 0, "%s: %s", cases[i].spec, why);
		memset(cut, 'x', sizeof(cut));
		ck_assert_int_eq(hmm_policy_check(cases[i].spec, cut, 10), cases[i].error);
		ck_assert_uint_eq(strlen(cut), 9);
		ck_assert(strncmp(cut, why, 9) == 0 && cut[10] == 'x');
		ck_assert_int_eq(hmm_policy_check(cases[i].spec, NULL, 0), cases[i].error);
	}
}
END_TEST

static int refuse_all(void *state, uint32_t capacity, uint32_t frames, const char *params)
{
	(void)state, (void)capacity, (void)frames;
	return params[0] != '\0' ? -EINVAL : 0;
}

START_TEST(a_table_that_tells_no_parameters_is_checked_too)
{
	struct hmm_policy_ops ops = hmm__policy_fifo;
	char why[200];

	ops.name = "older";
	ops.start = refuse_all;
	ops.size = offsetof(struct hmm_policy_ops, params);
	ck_assert_int_eq(hmm_policy_register(&ops), 0);
	ck_assert_int_eq(hmm_policy_check("older", why, sizeof(why)), 0);
	ck_assert_int_eq(hmm_policy_check("older:a=1", why, sizeof(why)), -EINVAL);
	ck_assert_str_eq(why, "older has no parameters that are told: 'a=1'");
}
END_TEST

/* A policy around another: of its own parameters and the other's spec, what is wrong is found. */
static int start_outer(void *state, uint32_t capacity, uint32_t frames, const char *params)
{
	const char *inner = strncmp(params, "n=1:", 4) == 0 ? params + 4 : params;

	(void)state, (void)capacity, (void)frames;
	if (strcmp(inner, "n=1") == 0)
		return 0;
	return inner[0] == '\0' || hmm_policy_check(inner, NULL, 0) == 0 ? 0 : -EINVAL;
}

START_TEST(an_inner_policy_is_checked)
{
	static const struct {
		const char *spec;
		int error;
		const char *says;
	} cases[] = {
		{ "outer", 0, "" },
		{ "outer:lru", 0, "" },
		{ "outer:n=1:s3fifo:small=0.2", 0, "" },
		{ "outer:lru:x=1", -EINVAL, "lru has no parameters: 'x=1'" },
		{ "outer:n=1:nosuch", -EINVAL, "there is no policy 'nosuch'; there are fifo" },
		{ "outer:n=2:lru", -EINVAL, "outer can't take 'n=2'; its parameters and their defaults are n=1:POLICY" },
		{ "outer:m=2:lru", -EINVAL, "outer has no parameter 'm'; its parameters" },
	};
	struct hmm_policy_ops ops = hmm__policy_fifo;

	ops.name = "outer";
	ops.start = start_outer;
	ops.params = "n=1:POLICY";
	ck_assert_int_eq(hmm_policy_register(&ops), 0);
	for (size_t i = 0; i < HMM__ARRAY_SIZE(cases); i++) {
		char why[1000];

		ck_assert_int_eq(hmm_policy_check(cases[i].spec, why, sizeof(why)), cases[i].error);
		ck_assert_msg(strncmp(why, cases[i].says, strlen(cases[i].says)) == 0, "%s: %s", cases[i].spec, why);
	}
}
END_TEST

START_TEST(numbers_are_read_without_a_locale)
{
	double a = 7, b = 8;
	const struct param params[] = {
		{ .name = "a", .value = &a, .least = 0, .most = 100 },
		{ .name = "bb", .value = &b, .least = 1, .most = 9007199254740992.0, .is_whole = true },
	};
	static const char *const wrong[] = {
		"a", "a=", "a=1,", ",a=1", "a=-1", "a=1e1", "a=0x1", "a=1.", "a=.1", "a=100.1", "a=1 ", "A=1", "aa=1", "b=1",
		"bb=1.5", "bb=0", "a=1,a=1", "bb=99999999999999999999999999999", "a==1",
	};

	ck_assert_int_eq(params_parse("", params, 2), 0);
	ck_assert(a == 7 && b == 8);
	ck_assert_int_eq(params_parse("bb=12345678901,a=0.1", params, 2), 0);
	ck_assert(a == 0.1 && b == 12345678901.0);
	ck_assert_int_eq(params_parse("a=100", params, 2), 0);
	ck_assert(a == 100);
	ck_assert_int_eq(params_parse("a=0.333333333333333333333333", params, 2), 0);
	ck_assert(a > 0.3333333333 && a < 0.3333333334);
	for (size_t i = 0; i < HMM__ARRAY_SIZE(wrong); i++)
		ck_assert_msg(params_parse(wrong[i], params, 2) == -EINVAL, "%s", wrong[i]);
}
END_TEST

static Suite *suite(void)
{
	Suite *s = suite_create("policy_spec");
	TCase *tc = tcase_create("spec");

	tcase_add_test(tc, what_a_space_takes_is_right);
	tcase_add_test(tc, told_parameters_are_taken);
	tcase_add_test(tc, what_is_wrong_is_named_and_what_exists_is_listed);
	tcase_add_test(tc, a_table_that_tells_no_parameters_is_checked_too);
	tcase_add_test(tc, an_inner_policy_is_checked);
	tcase_add_test(tc, numbers_are_read_without_a_locale);
	suite_add_tcase(s, tc);
	return s;
}

HMM_TEST_MAIN(suite)
