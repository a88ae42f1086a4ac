/* SPDX-License-Identifier: MIT */
/*
 * test_fork.c - after fork() a region is absent in the child, or its own copy; never shared in silence
 */
#include "tests/world.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
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

/* Without fork's handlers, as _Fork(3) and container programs do it. */
static pid_t stray(void)
{
	return (pid_t)syscall(SYS_clone, (long)SIGCHLD, 0L, 0L, 0L, 0L);
}

static int all_absent(struct world_map *m)
{
	uint8_t byte = 0;

	for (size_t i = 0; i < m->npages; i++)
		if (world_guarded_read(m->base + i * m->page, &byte, 1) != -EACCES ||
		    world_guarded_write(m->base + i * m->page, &byte, 1) != -EACCES)
			return 1;
	return 0;
}

/* Calls fail, and what ends things does nothing, least of all to the parent. */
static int expect_stray(struct world *w, struct world_map *m, struct hmm_cache *cache)
{
	struct hmm_stats stats = { .size = sizeof(stats) };
	struct hmm_region *region;
	struct hmm_space *space;
	void *data;

	if (all_absent(m))
		return 1;
	if (hmm_region_advise(m->region, m->base, m->length, HMM_ADVISE_PAGEOUT) != -ECHILD ||
	    hmm_region_advise(m->region, m->base, m->length, HMM_ADVISE_WILLNEED) != -ECHILD ||
	    hmm_region_advise(m->region, m->base, m->length, HMM_ADVISE_DONTNEED) != -ECHILD ||
	    hmm_region_pin(m->region, m->base, m->page, 1) != -ECHILD || hmm_region_unmap(m->region) != -ECHILD)
		return 2;
	if (hmm_space_reclaim(w->space, 8) != -ECHILD || hmm_space_resize(w->space, 32, NULL) != -ECHILD ||
	    hmm_space_poll(w->space) != -ECHILD || hmm_space_stats(w->space, &stats) != -ECHILD)
		return 3;
	if (hmm_region_map(w->space, NULL, 0, m->length, NULL, &region) != -ECHILD ||
	    hmm_space_create(64, NULL, &space) != -ECHILD)
		return 4;
	if (hmm_cache_get(cache, 100, HMM_CACHE_WRITE | HMM_CACHE_CREATE, &data) != -ECHILD ||
	    hmm_cache_destroy(cache) != -ECHILD)
		return 5;
	hmm_region_abandon(m->region);
	hmm_cache_abandon(cache);
	hmm_space_destroy(w->space);
	return 0;
}

static void ended_well(pid_t pid)
{
	int status;

	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert_msg(!WIFSIGNALED(status), "child killed by signal %d", WTERMSIG(status));
	ck_assert_int_eq(WEXITSTATUS(status), 0);
}

static void clones(struct world *w, struct world_map *m, struct hmm_cache *cache, int round)
{
	pid_t pid = stray();

	ck_assert_int_ge(pid, 0);
	if (pid == 0)
		_exit(expect_stray(w, m, cache));
	ended_well(pid);
	for (size_t i = 0; i < m->npages; i++)
		world_check(w, m, i, 3 + (uint64_t)round);
	for (size_t i = 0; i < m->npages; i++)
		world_put(w, m, i, 4 + (uint64_t)round);
}

static int nothing(struct world *w, struct world_map *m)
{
	(void)w;
	(void)m;
	return 0;
}

START_TEST(clone_without_handlers_never_reads_zeros)
{
	const char *missing = world_missing((enum world_backend)_i);
	struct hmm_region_options opts = { .size = sizeof(opts) };
	struct hmm_cache_options volatile_ = { .size = sizeof(volatile_), .flags = HMM_CACHE_VOLATILE };

	if (missing)
		world_skip(missing);
	for (int copy = 0; copy < 2; copy++) {
		struct hmm_cache *cache;
		struct world_map m;
		struct world w;
		void *data;

		opts.flags = copy ? HMM_REGION_COPY_ON_FORK : 0;
		world_open(&w, (enum world_backend)_i, WORLD_SWAP_FILE, 1, FRAMES, NULL);
		world_map(&w, &m, NPAGES * w.page, &opts);
		ck_assert_int_eq(hmm_cache_create(w.space, NULL, w.page, &volatile_, &cache), 0);
		ck_assert_int_eq(hmm_cache_get(cache, 1, HMM_CACHE_WRITE | HMM_CACHE_CREATE, &data), 1);
		ck_assert_int_eq(hmm_cache_put(cache, 1, HMM_CACHE_WRITE | HMM_CACHE_DIRTY, 0), 0);
		for (size_t i = 0; i < NPAGES; i++)
			world_put(&w, &m, i, 3);
		world_threads_rest();
		clones(&w, &m, cache, 0);
		/* fork's handlers let it through only for the fork */
		in_child(nothing, &w, &m);
		clones(&w, &m, cache, 1);
		hmm_cache_abandon(cache);
		world_unmap(&w, &m);
		world_close(&w);
	}
}
END_TEST

/* A fork by a child that was made without handlers, and so on: nobody waits for threads that are not there. */
START_TEST(stray_that_forks_has_strays)
{
	const char *missing = world_missing((enum world_backend)_i);
	struct hmm_region_options opts = { .size = sizeof(opts), .flags = HMM_REGION_COPY_ON_FORK };
	struct world_map m;
	struct world w;
	pid_t pid;

	if (missing)
		world_skip(missing);
	world_open(&w, (enum world_backend)_i, WORLD_SWAP_FILE, 1, FRAMES, NULL);
	world_map(&w, &m, NPAGES * w.page, &opts);
	for (size_t i = 0; i < NPAGES; i++)
		world_put(&w, &m, i, 3);
	world_threads_rest();
	pid = stray();
	if (pid == 0) {
		pid_t next = fork();
		int status;

		if (next == 0)
			_exit(all_absent(&m));
		_exit(waitpid(next, &status, 0) != next || status || all_absent(&m));
	}
	ended_well(pid);
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
		tcase_add_loop_test(t, clone_without_handlers_never_reads_zeros, i, i + 1);
		tcase_add_loop_test(t, stray_that_forks_has_strays, i, i + 1);
		suite_add_tcase(s, t);
	}
	return s;
}

HMM_TEST_MAIN(suite)
