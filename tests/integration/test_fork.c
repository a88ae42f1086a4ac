/* SPDX-License-Identifier: MIT */
/*
 * test_fork.c - after fork() a region is absent in the child, or its own copy; never shared in silence
 */
#include "tests/world.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define FRAMES 64
#define NPAGES 256

/* Run in a child; 0 if it returned 0. */
static void in_child(int (*run)(struct world *w, struct world_map *m), struct world *w, struct world_map *m)
{
	pid_t pid = fork();
	int status;

	ck_assert_int_ge(pid, 0);
	if (pid == 0)
		_exit(run(w, m));
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert_msg(!WIFSIGNALED(status), "child killed by signal %d", WTERMSIG(status));
	ck_assert_int_eq(WEXITSTATUS(status), 0);
}

static int expect_absent(struct world *w, struct world_map *m)
{
	uint8_t byte = 0;

	(void)w;
	for (size_t i = 0; i < m->npages; i++)
		if (world_guarded_read(m->base + i * m->page, &byte, 1) != -EACCES ||
		    world_guarded_write(m->base + i * m->page, &byte, 1) != -EACCES)
			return 1;
	return 0;
}

/* _i: enum world_backend, in all */
START_TEST(region_is_absent_in_the_child)
{
	const char *missing = world_missing((enum world_backend)_i);
	struct world w;
	struct world_map m;

	if (missing)
		world_skip(missing);
	world_open(&w, (enum world_backend)_i, WORLD_SWAP_FILE, 1, FRAMES, NULL);
	world_map(&w, &m, NPAGES * w.page, NULL);
	for (size_t i = 0; i < NPAGES; i++)
		world_put(&w, &m, i, 3);
	world_threads_rest();
	in_child(expect_absent, &w, &m);
	for (size_t i = 0; i < NPAGES; i++)
		world_check(&w, &m, i, 3);
	world_unmap(&w, &m);
	world_close(&w);
}
END_TEST

static int use_copy(struct world *w, struct world_map *m)
{
	for (size_t i = 0; i < m->npages; i++)
		if (world_has(w, m, i, 3 + i % 2) != 1)
			return 1;
	for (size_t i = 0; i < m->npages; i += 3)
		world_put(w, m, i, 100);
	for (size_t i = 0; i < m->npages; i++)
		if (world_has(w, m, i, i % 3 ? 3 + i % 2 : 100) != 1)
			return 2;
	if (hmm_region_advise(m->region, m->base, m->length, HMM_ADVISE_PAGEOUT))
		return 3;
	for (size_t i = 0; i < m->npages; i++)
		if (world_has(w, m, i, i % 3 ? 3 + i % 2 : 100) != 1)
			return 4;
	return 0;
}

static void copies(enum world_backend backend, enum world_store kind)
{
	struct hmm_region_options opts = { .size = sizeof(opts), .flags = HMM_REGION_COPY_ON_FORK };
	struct world w;
	struct world_map m;

	world_open(&w, backend, kind, 1, FRAMES, NULL);
	world_map(&w, &m, NPAGES * w.page, &opts);
	for (size_t i = 0; i < NPAGES; i++)
		world_put(&w, &m, i, 3 + i % 2);
	for (int round = 0; round < 3; round++) {
		world_threads_rest();
		in_child(use_copy, &w, &m);
		for (size_t i = 0; i < NPAGES; i++)
			world_check(&w, &m, i, 3 + i % 2);
	}
	for (size_t i = 0; i < NPAGES; i++)
		world_put(&w, &m, i, 7);
	for (size_t i = 0; i < NPAGES; i++)
		world_check(&w, &m, i, 7);
	world_unmap(&w, &m);
	world_close(&w);
}

START_TEST(anonymous_copy_is_the_childs_own)
{
	const char *missing = world_missing((enum world_backend)_i);

	if (missing)
		world_skip(missing);
	copies((enum world_backend)_i, WORLD_SWAP_FILE);
}
END_TEST

START_TEST(private_file_copy_is_the_childs_own)
{
	const char *missing = world_missing((enum world_backend)_i);

	if (missing)
		world_skip(missing);
	copies((enum world_backend)_i, WORLD_FILE_PRIVATE);
}
END_TEST

/* What the parent writes after the fork is not seen by the child, and the other way round. */
START_TEST(parents_writes_after_the_fork_are_not_seen)
{
	const char *missing = world_missing((enum world_backend)_i);
	struct hmm_region_options opts = { .size = sizeof(opts), .flags = HMM_REGION_COPY_ON_FORK };
	int go[2], status;
	struct world w;
	struct world_map m;
	pid_t pid;

	if (missing)
		world_skip(missing);
	world_open(&w, (enum world_backend)_i, WORLD_SWAP_FILE, 1, FRAMES, NULL);
	world_map(&w, &m, NPAGES * w.page, &opts);
	for (size_t i = 0; i < NPAGES; i++)
		world_put(&w, &m, i, 3 + i % 2);
	ck_assert_int_eq(pipe(go), 0);
	world_threads_rest();
	pid = fork();
	if (pid == 0) {
		char byte;

		if (read(go[0], &byte, 1) != 1)
			_exit(9);
		_exit(use_copy(&w, &m));
	}
	for (size_t i = 0; i < NPAGES; i++)
		world_put(&w, &m, i, 50);
	ck_assert_int_eq(write(go[1], "!", 1), 1);
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert_int_eq(status, 0);
	for (size_t i = 0; i < NPAGES; i++)
		world_check(&w, &m, i, 50);
	world_unmap(&w, &m);
	world_close(&w);
}
END_TEST

static atomic_int begun, finished;

/* They don't allocate memory: world_threads_rest() says why. */
struct busy {
	struct world *w;
	struct world_map *m;
	uint64_t seed;
};

static void *keep_faulting(void *arg)
{
	struct busy *b = arg;

	atomic_fetch_add(&begun, 1);
	while (!atomic_load(&finished))
		if (world_has(b->w, b->m, world_random(&b->seed) % b->m->npages, 3) != 1)
			return b;
	return NULL;
}

static int check_all(struct world *w, struct world_map *m)
{
	for (size_t i = 0; i < m->npages; i++)
		if (world_has(w, m, i, 3) != 1)
			return 1;
	return 0;
}

START_TEST(fork_while_other_threads_fault)
{
	const char *missing = world_missing((enum world_backend)_i);
	struct hmm_region_options opts = { .size = sizeof(opts), .flags = HMM_REGION_COPY_ON_FORK };
	struct busy busy[2];
	pthread_t threads[2];
	struct world w;
	struct world_map m;
	void *bad;

	if (missing)
		world_skip(missing);
	world_open(&w, (enum world_backend)_i, WORLD_SWAP_FILE, 1, FRAMES, NULL);
	world_map(&w, &m, NPAGES * w.page, &opts);
	for (size_t i = 0; i < NPAGES; i++)
		world_put(&w, &m, i, 3);
	world_threads_rest();
	for (unsigned i = 0; i < 2; i++) {
		busy[i] = (struct busy){ .w = &w, .m = &m, .seed = i };
		ck_assert_int_eq(pthread_create(&threads[i], NULL, keep_faulting, &busy[i]), 0);
	}
	while (atomic_load(&begun) < 2)
		sched_yield();
	for (int round = 0; round < 8; round++)
		in_child(check_all, &w, &m);
	atomic_store(&finished, 1);
	for (unsigned i = 0; i < 2; i++) {
		pthread_join(threads[i], &bad);
		ck_assert_ptr_null(bad);
	}
	world_unmap(&w, &m);
	world_close(&w);
}
END_TEST

/* The child ends the copied space as any other, and begins new ones. */
static int end_and_begin(struct world *w, struct world_map *m)
{
	struct world fresh;
	struct world_map map;

	if (check_all(w, m))
		return 1;
	if (hmm_region_unmap(m->region))
		return 2;
	hmm_space_destroy(w->space);
	world_open(&fresh, w->backend, WORLD_SWAP_MEMORY, 1, FRAMES, NULL);
	world_map(&fresh, &map, NPAGES * fresh.page, NULL);
	for (size_t i = 0; i < NPAGES; i++)
		world_put(&fresh, &map, i, 8);
	for (size_t i = 0; i < NPAGES; i++)
		if (world_has(&fresh, &map, i, 8) != 1)
			return 3;
	world_unmap(&fresh, &map);
	world_close(&fresh);
	return 0;
}

START_TEST(child_ends_its_copy_and_begins_anew)
{
	const char *missing = world_missing((enum world_backend)_i);
	struct hmm_region_options opts = { .size = sizeof(opts), .flags = HMM_REGION_COPY_ON_FORK };
	struct world w;
	struct world_map m;

	if (missing)
		world_skip(missing);
	world_open(&w, (enum world_backend)_i, WORLD_SWAP_FILE, 1, FRAMES, NULL);
	world_map(&w, &m, NPAGES * w.page, &opts);
	for (size_t i = 0; i < NPAGES; i++)
		world_put(&w, &m, i, 3);
	world_threads_rest();
	in_child(end_and_begin, &w, &m);
	for (size_t i = 0; i < NPAGES; i++)
		world_check(&w, &m, i, 3);
	world_unmap(&w, &m);
	world_close(&w);
}
END_TEST

static Suite *suite(void)
{
	Suite *s = suite_create("fork");

	for (int i = WORLD_INLINE_AUTO; i < WORLD_BACKENDS; i++) {
		TCase *t = tcase_create(world_backend_names[i]);

		tcase_add_loop_test(t, region_is_absent_in_the_child, i, i + 1);
		tcase_add_loop_test(t, anonymous_copy_is_the_childs_own, i, i + 1);
		tcase_add_loop_test(t, private_file_copy_is_the_childs_own, i, i + 1);
		tcase_add_loop_test(t, parents_writes_after_the_fork_are_not_seen, i, i + 1);
		tcase_add_loop_test(t, fork_while_other_threads_fault, i, i + 1);
		tcase_add_loop_test(t, child_ends_its_copy_and_begins_anew, i, i + 1);
		suite_add_tcase(s, t);
	}
	return s;
}

HMM_TEST_MAIN(suite)
