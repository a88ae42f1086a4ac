/* SPDX-License-Identifier: MIT */
/*
 * test_kill9.c - a program that is killed leaves neither files nor processes behind
 */
#include "tests/world.h"

#include <dirent.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static unsigned entries(const char *directory)
{
	DIR *d = opendir(directory);
	struct dirent *e;
	unsigned n = 0;

	ck_assert_ptr_nonnull(d);
	while ((e = readdir(d)))
		n += strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0;
	closedir(d);
	return n;
}

/* Page eight times the budget out to a swap file in the directory, say so, and wait to be killed. */
static void victim(const char *directory, uint32_t delivery, int ready)
{
	struct hmm_swap_options swap = { .size = sizeof(swap), .directory = directory };
	struct hmm_space_options opts = { .size = sizeof(opts) };
	struct hmm_region_options region_opts = { .size = sizeof(region_opts), .delivery = delivery };
	struct hmm_stats stats = { .size = sizeof(stats) };
	size_t npages = 8 * 256, page = hmm_page_size();
	struct hmm_region *region;
	struct hmm_space *space;
	struct hmm_store *store;
	uint8_t *base;

	setpgid(0, 0);
	if (hmm_store_swap(&swap, &store))
		_exit(1);
	opts.swap = store;
	if (hmm_space_create(256, &opts, &space) || hmm_region_map(space, NULL, 0, npages * page, &region_opts, &region))
		_exit(2);
	base = hmm_region_base(region);
	for (size_t i = 0; i < npages; i++)
		memset(base + i * page, (int)(i % 255) + 1, page);
	if (hmm_space_stats(space, &stats) || stats.swap_bytes == 0)
		_exit(3);
	if (write(ready, "!", 1) != 1)
		_exit(4);
	for (;;)
		pause();
}

/* _i: enum hmm_delivery */
START_TEST(killed_program_leaves_nothing_behind)
{
	const char *missing = world_missing(_i == HMM_DELIVERY_INLINE ? WORLD_INLINE_AUTO : WORLD_THREAD_AUTO);
	char directory[] = "/tmp/hurd-mm-kill-XXXXXX", byte;
	int ready[2], status;
	pid_t pid;

	if (missing)
		test_skip(missing);
	ck_assert_ptr_nonnull(mkdtemp(directory));
	ck_assert_int_eq(pipe(ready), 0);
	pid = fork();
	if (pid == 0) {
		close(ready[0]);
		victim(directory, (uint32_t)_i, ready[1]);
	}
	close(ready[1]);
	ck_assert_int_eq(read(ready[0], &byte, 1), 1);
	ck_assert_int_eq(kill(pid, SIGKILL), 0);
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
	ck_assert_uint_eq(entries(directory), 0);
	ck_assert_int_eq(kill(-pid, 0), -1);
	ck_assert_int_eq(errno, ESRCH);
	ck_assert_int_eq(rmdir(directory), 0);
}
END_TEST

static Suite *suite(void)
{
	Suite *s = suite_create("kill9");
	TCase *t = tcase_create("kill9");

	tcase_add_loop_test(t, killed_program_leaves_nothing_behind, 0, 2);
	suite_add_tcase(s, t);
	return s;
}

HMM_TEST_MAIN(suite)
