/* SPDX-License-Identifier: MIT */
/*
 * test_unprivileged.c - inline delivery without any privilege; thread delivery, or a reason why not
 */
#include "tests/world.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#define NOBODY 65534
#define NPAGES 512

/* As a program that nobody had started: also its /proc entries are its own. */
static void become_nobody(void)
{
	if (setgroups(0, NULL) || setgid(NOBODY) || setuid(NOBODY) || prctl(PR_SET_DUMPABLE, 1))
		_exit(90);
}

static int use(uint32_t delivery)
{
	struct hmm_region_options opts = { .size = sizeof(opts), .delivery = delivery };
	struct hmm_region *region;
	struct hmm_space *space;
	size_t page = hmm_page_size();
	uint8_t *base;
	int r;

	if (hmm_space_create(64, NULL, &space))
		_exit(91);
	r = hmm_region_map(space, NULL, 0, NPAGES * page, &opts, &region);
	if (r) {
		hmm_space_destroy(space);
		return r;
	}
	base = hmm_region_base(region);
	for (size_t i = 0; i < NPAGES; i++)
		memset(base + i * page, (int)(i % 251), page);
	for (size_t i = 0; i < NPAGES; i++)
		if (base[i * page] != i % 251 || base[i * page + page - 1] != i % 251)
			_exit(92);
	if (hmm_region_unmap(region))
		_exit(93);
	hmm_space_destroy(space);
	return 0;
}

static int in_child(int (*run)(void))
{
	pid_t pid = fork();
	int status;

	if (pid == 0) {
		become_nobody();
		_exit(run());
	}
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert_msg(WIFEXITED(status), "killed by signal %d", WTERMSIG(status));
	return WEXITSTATUS(status);
}

static int run_inline(void)
{
	struct hmm_probe probe = { .size = sizeof(probe) };

	if (hmm_probe(&probe) || !probe.inline_delivery || probe.inline_missing)
		return 1;
	return use(HMM_DELIVERY_INLINE) ? 2 : 0;
}

START_TEST(inline_delivery_needs_no_privilege)
{
	const char *missing = world_missing(WORLD_INLINE_AUTO);

	if (missing)
		test_skip(missing);
	if (geteuid() != 0)
		test_skip("root, to become somebody else");
	ck_assert_int_eq(in_child(run_inline), 0);
}
END_TEST

/* May this user have a userfaultfd that serves system calls? */
static bool allowed(void)
{
	int fd = open("/proc/sys/vm/unprivileged_userfaultfd", O_RDONLY);
	char digit = '0';

	if (fd >= 0 && read(fd, &digit, 1) < 0)
		digit = '0';
	close(fd);
	return digit == '1' || access("/dev/userfaultfd", R_OK | W_OK) == 0;
}

static int run_thread(void)
{
	struct hmm_probe probe = { .size = sizeof(probe) };
	int r;

	if (hmm_probe(&probe))
		return 1;
	r = use(HMM_DELIVERY_THREAD);
	if (allowed())
		return r == 0 && probe.thread_delivery && !probe.thread_missing ? 0 : 2;
	if (r != -EPERM && r != -ENOTSUP)
		return 3;
	if (probe.thread_delivery || !probe.thread_missing)
		return 4;
	/* It names what can be done about it. */
	return strstr(probe.thread_missing, "userfaultfd") ? 0 : 5;
}

START_TEST(thread_delivery_works_or_says_what_it_needs)
{
	const char *missing = world_missing(WORLD_THREAD_AUTO);

	if (missing)
		test_skip(missing);
	if (geteuid() != 0)
		test_skip("root, to become somebody else");
	ck_assert_int_eq(in_child(run_thread), 0);
}
END_TEST

static Suite *suite(void)
{
	Suite *s = suite_create("unprivileged");
	TCase *t = tcase_create("unprivileged");

	tcase_add_test(t, inline_delivery_needs_no_privilege);
	tcase_add_test(t, thread_delivery_works_or_says_what_it_needs);
	suite_add_tcase(s, t);
	return s;
}

HMM_TEST_MAIN(suite)
