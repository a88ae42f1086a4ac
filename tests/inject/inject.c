/* SPDX-License-Identifier: MIT */
/*
 * inject.c - every allocation, system call, store call and backend call fails, one by one, and nothing is lost
 *
 * Each failure is one run of the scenario.  Sites that are called thousands of times are tried at every call at
 * first, then at ever wider steps.  By default a sample of these runs is made: the first calls of each site, where most of
 * what is written for failures is, then one of each few, another one each time; with HMM_TEST_ALL all of them.
 */
#include <errno.h>
#include <stdio.h>

#include "lib/base/arena.h"
#include "lib/sys/sys.h"
#include "tests/inject/scenario.h"

#define EVERY 40    /* calls that are tried one by one */
#define FIRST 4     /* ... also in a sample */
#define ONE_OF 4    /* of the calls up to EVERY that follow in a sample, on the average */

/* The call after this one that fails next. */
static uint64_t next_call(uint64_t nth, uint64_t *random)
{
	if (test_all())
		return nth < EVERY ? nth + 1 : nth + nth / 3;
	if (nth < FIRST)
		return nth + 1;
	if (nth < EVERY)
		return nth + 1 + world_random(random) % (2 * ONE_OF - 1);
	return nth + nth / 2 + world_random(random) % nth;
}

static unsigned sweep(struct scenario *s, unsigned *ret_failed)
{
	uint64_t random = test_seed();
	unsigned runs = 0;

	for (s->nth = 1;; s->nth = next_call(s->nth, &random)) {
		enum scenario_end end = scenario_fork(s);

		runs++;
		*ret_failed += end == SCENARIO_FAILED || end == SCENARIO_HUNG;
		if (end == SCENARIO_BEYOND || end == SCENARIO_HUNG || *ret_failed > 5)
			return runs;
	}
}

static void expect_none(struct scenario *s)
{
	unsigned failed = 0, runs = sweep(s, &failed);

	ck_assert_msg(failed == 0, "%u of %u runs failed", failed, runs);
	ck_assert_uint_ge(runs, 1);
}

/* Memory of the library's own. */
static void arm_memory(struct scenario *s)
{
	hmm__alloc_fail(s->nth, 0);
}

static bool disarm_memory(struct scenario *s)
{
	uint64_t calls = hmm__alloc_calls();

	hmm__alloc_fail(0, 0);
	return calls < s->nth;
}

/* Combinations for failures that concern all layers. */
static const struct {
	enum world_backend backend;
	enum world_store kind;
} combinations[] = {
	{ WORLD_MOCK, WORLD_SWAP_MEMORY },     { WORLD_MOCK_THREAD, WORLD_SWAP_MEMORY },
	{ WORLD_INLINE_AUTO, WORLD_SWAP_FILE }, { WORLD_INLINE_COPY, WORLD_FILE_SHARED },
	{ WORLD_THREAD_AUTO, WORLD_SWAP_FILE }, { WORLD_THREAD_COPY, WORLD_FILE_SHARED },
};
#define COMBINATIONS ((int)(sizeof(combinations) / sizeof(combinations[0])))

START_TEST(every_allocation_may_fail)
{
	struct scenario s = {
		.backend = combinations[_i].backend,
		.kind = combinations[_i].kind,
		.what = "allocation",
		.arm = arm_memory,
		.disarm = disarm_memory,
	};

	if (world_missing(s.backend))
		test_skip(world_missing(s.backend));
	expect_none(&s);
}
END_TEST

static void arm_system(struct scenario *s)
{
	hmm__sys_fail((enum hmm__sys_site)s->site, s->nth, 0, s->error);
}

static bool disarm_system(struct scenario *s)
{
	uint64_t calls = hmm__sys_calls((enum hmm__sys_site)s->site);

	hmm__sys_fail_none();
	return calls < s->nth;
}

/* An error that this kernel interface really has. */
static int error_of(enum hmm__sys_site site)
{
	switch (site) {
	case HMM__SYS_PREADV:
	case HMM__SYS_PWRITEV:
	case HMM__SYS_FDATASYNC:
		return EIO;
	case HMM__SYS_UFFD_COPY:
	case HMM__SYS_UFFD_ZEROPAGE:
	case HMM__SYS_UFFD_WP:
	case HMM__SYS_READ:
		return EAGAIN;
	case HMM__SYS_UFFD_MOVE:
		return EBUSY;
	case HMM__SYS_POLL:
		return EINTR;
	case HMM__SYS_OPEN:
		return EMFILE;
	case HMM__SYS_FALLOCATE:
	case HMM__SYS_FTRUNCATE:
		return ENOSPC;
	case HMM__SYS_THREAD_CREATE:
		return EAGAIN;
	default:
		return ENOMEM;
	}
}

/* _i: site and combination */
START_TEST(every_system_call_may_fail)
{
	int combination = _i / HMM__SYS_SITES;
	struct scenario s = {
		.backend = combinations[combination].backend,
		.kind = combinations[combination].kind,
		.site = (unsigned)_i % HMM__SYS_SITES,
		.arm = arm_system,
		.disarm = disarm_system,
	};

	s.what = hmm__sys_site_name((enum hmm__sys_site)s.site);
	s.error = error_of((enum hmm__sys_site)s.site);
	if (world_missing(s.backend))
		test_skip(world_missing(s.backend));
	expect_none(&s);
}
END_TEST

static void arm_nothing(struct scenario *s)
{
	(void)s;
}

enum { STORE_READ, STORE_WRITE, STORE_READ_SHORT, STORE_WRITE_SHORT, STORE_WAYS };

static const char *const store_ways[] = { "store read", "store write", "short store read", "short store write" };

static uint64_t store_calls_begun;

static struct hmm_store *failing_store(struct scenario *s)
{
	return s->store ? s->store : s->swap;
}

static uint64_t store_calls(struct scenario *s)
{
	struct hmm_store_stats stats = { .size = sizeof(stats) };

	if (hmm_store_stats(failing_store(s), &stats) < 0)
		return 0;
	return s->site == STORE_READ || s->site == STORE_READ_SHORT ? stats.reads : stats.writes;
}

static void arm_store(struct scenario *s)
{
	struct hmm_store_fault fault = { .size = sizeof(fault), .error = s->error };
	int r;

	if (s->site == STORE_READ || s->site == STORE_READ_SHORT)
		fault.read_nth = s->nth;
	else
		fault.write_nth = s->nth;
	fault.short_transfer = s->site == STORE_READ_SHORT || s->site == STORE_WRITE_SHORT;
	store_calls_begun = store_calls(s);
	r = hmm_store_set_fault(failing_store(s), &fault);
	if (r < 0)
		_exit(1);
}

static bool disarm_store(struct scenario *s)
{
	return store_calls(s) - store_calls_begun < s->nth;
}

START_TEST(every_store_call_may_fail)
{
	int combination = _i / STORE_WAYS;
	struct scenario s = {
		.backend = combinations[combination].backend,
		.kind = combinations[combination].kind,
		.site = (unsigned)_i % STORE_WAYS,
		.arm = arm_nothing,
		.armed_stores = arm_store,
		.disarm = disarm_store,
	};

	s.what = store_ways[s.site];
	s.error = s.site == STORE_WRITE || s.site == STORE_WRITE_SHORT ? -ENOSPC : -EIO;
	if (world_missing(s.backend))
		test_skip(world_missing(s.backend));
	expect_none(&s);
}
END_TEST

static const char *const mock_sites[HMM_MOCK_SITES] = {
	"frames_take", "window", "fill", "attach", "map", "unmap", "write_protect",
};

static void arm_mock(struct scenario *s)
{
	hmm_mock_fail(s->mock, (enum hmm_mock_site)s->site, s->nth, 0, 0, 0, s->error);
}

static bool disarm_mock(struct scenario *s)
{
	uint64_t calls = hmm_mock_calls(s->mock, (enum hmm_mock_site)s->site);

	hmm_mock_fail(s->mock, (enum hmm_mock_site)s->site, 0, 0, 0, 0, 0);
	return calls < s->nth;
}

/* _i: site, then one of the mock backends */
START_TEST(every_backend_call_may_fail)
{
	static const enum world_backend backends[] = { WORLD_MOCK, WORLD_MOCK_NO_GRANT, WORLD_MOCK_THREAD };
	struct scenario s = {
		.backend = backends[_i / HMM_MOCK_SITES],
		.kind = WORLD_SWAP_MEMORY,
		.site = (unsigned)_i % HMM_MOCK_SITES,
		.arm = arm_mock,
		.disarm = disarm_mock,
	};

	s.what = mock_sites[s.site];
	s.error = s.site == HMM_MOCK_MAP || s.site == HMM_MOCK_UNMAP || s.site == HMM_MOCK_PROTECT ? -EBUSY : -ENOMEM;
	expect_none(&s);
}
END_TEST

static Suite *suite(void)
{
	Suite *s = suite_create("inject");
	TCase *t = tcase_create("memory");

	tcase_set_timeout(t, test_patience(300));
	tcase_add_loop_test(t, every_allocation_may_fail, 0, COMBINATIONS);
	suite_add_tcase(s, t);
	t = tcase_create("system");
	tcase_set_timeout(t, test_patience(300));
	/* The mock makes few system calls: its combinations come first, and one of them is enough. */
	tcase_add_loop_test(t, every_system_call_may_fail, 0, HMM__SYS_SITES);
	tcase_add_loop_test(t, every_system_call_may_fail, 2 * HMM__SYS_SITES, COMBINATIONS * HMM__SYS_SITES);
	suite_add_tcase(s, t);
	t = tcase_create("store");
	tcase_set_timeout(t, test_patience(300));
	tcase_add_loop_test(t, every_store_call_may_fail, 0, COMBINATIONS * STORE_WAYS);
	suite_add_tcase(s, t);
	t = tcase_create("backend");
	tcase_set_timeout(t, test_patience(300));
	tcase_add_loop_test(t, every_backend_call_may_fail, 0, 3 * HMM_MOCK_SITES);
	suite_add_tcase(s, t);
	return s;
}

HMM_TEST_MAIN(suite)
