/* SPDX-License-Identifier: MIT */
/*
 * test_lock.c - HMM_SPACE_LOCK: what it counts, who may not have it, and that nothing is left of what was refused
 *
 * That nothing is swapped is shown by tests/kernelswap/test_locked.c.
 */
#include "tests/world.h"

#include <errno.h>
#include <grp.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib/sys/sys.h"

#define NOBODY 65534

enum { PAGES = 512, FRAMES = 64, CACHE_PAGES = 256 };

static const enum world_backend backends[] = { WORLD_INLINE_MOVE, WORLD_INLINE_COPY, WORLD_THREAD_MOVE, WORLD_THREAD_COPY };
#define BACKENDS (int)(sizeof(backends) / sizeof(backends[0]))

/* VmLck of this process, in bytes. */
static uint64_t locked(void)
{
	FILE *f = fopen("/proc/self/status", "re");
	unsigned long long kib = 0;
	bool found = false;
	char line[128];

	ck_assert_ptr_nonnull(f);
	while (!found && fgets(line, sizeof(line), f))
		found = sscanf(line, "VmLck: %llu", &kib) == 1;
	fclose(f);
	ck_assert(found);
	return kib << 10;
}

static void need(enum world_backend backend)
{
	const char *missing = world_missing(backend);
	struct rlimit limit;

	if (missing)
		world_skip(missing);
	if (madvise(NULL, 0, MADV_DONTNEED_LOCKED) < 0)
		world_skip("MADV_DONTNEED_LOCKED, Linux 5.18");
	ck_assert_int_eq(getrlimit(RLIMIT_MEMLOCK, &limit), 0);
	if (geteuid() != 0 && limit.rlim_cur < 64u << 20)
		world_skip("CAP_IPC_LOCK, or an RLIMIT_MEMLOCK of 64 MiB");
}

static const struct hmm_space_options locking = { .size = sizeof(locking), .flags = HMM_SPACE_LOCK };

static void use_region(struct world *w, struct world_map *m)
{
	for (size_t i = 0; i < m->npages; i++)
		world_put(w, m, i, i + 1);
	for (size_t i = 0; i < m->npages; i++)
		world_check(w, m, i, i + 1);
}

static void use_cache(struct hmm_cache *cache)
{
	for (unsigned round = 0; round < 2; round++)
		for (uint64_t i = 0; i < CACHE_PAGES; i++) {
			uint64_t *data;

			ck_assert_int_ge(hmm_cache_get(cache, i, HMM_CACHE_WRITE | (round ? 0 : HMM_CACHE_CREATE), (void **)&data), 0);
			if (round)
				ck_assert_uint_eq(data[9], i + 1);
			data[9] = i + 1;
			ck_assert_int_eq(hmm_cache_put(cache, i, HMM_CACHE_WRITE | HMM_CACHE_DIRTY, 0), 0);
		}
}

/* Regions and caches work as ever: a drop of locked memory is another call. */
START_TEST(a_locked_space_counts_and_gives_it_back)
{
	uint64_t before = locked(), all;
	struct hmm_store *store;
	struct hmm_cache *cache;
	struct world w;
	struct world_map m;

	need(backends[_i]);
	world_open(&w, backends[_i], WORLD_SWAP_MEMORY, 1, FRAMES, &locking);
	ck_assert_uint_gt(locked(), before);
	world_map(&w, &m, (size_t)PAGES * w.page, NULL);
	/* the region, and the window of the most frames that it may have */
	ck_assert_uint_ge(locked() - before, (PAGES + 4 * FRAMES) * w.page);
	use_region(&w, &m);
	ck_assert_int_eq(hmm_store_memory((uint64_t)CACHE_PAGES * w.page, &store), 0);
	ck_assert_int_eq(hmm_cache_create(w.space, store, w.page, NULL, &cache), 0);
	use_cache(cache);
	all = locked();
	ck_assert_int_eq(hmm_region_advise(m.region, m.base, m.length, HMM_ADVISE_DONTNEED), 0);
	ck_assert_int_eq(hmm_space_resize(w.space, FRAMES / 2, NULL), 0);
	for (size_t i = 0; i < m.npages; i++)
		world_check(&w, &m, i, 0);
	ck_assert_uint_eq(locked(), all);
	ck_assert_int_eq(hmm_cache_destroy(cache), 0);
	hmm_store_put(store);
	ck_assert_uint_eq(world_stats(&w).faults_failed, 0);
	world_unmap(&w, &m);
	ck_assert_uint_le(locked(), all - PAGES * w.page);
	world_close(&w);
	ck_assert_uint_eq(locked(), before);
}
END_TEST

/* 0, or what was refused: the space, the region or the cache. */
static int make_all(uint32_t delivery)
{
	struct hmm_region_options opts = { .size = sizeof(opts), .delivery = delivery };
	struct hmm_cache_options volatile_pages = { .size = sizeof(volatile_pages), .flags = HMM_CACHE_VOLATILE };
	struct hmm_region *region;
	struct hmm_cache *cache;
	struct hmm_space *space;
	int r = hmm_space_create(FRAMES, &locking, &space);

	if (r)
		return r;
	r = hmm_region_map(space, NULL, 0, PAGES * hmm_page_size(), &opts, &region);
	if (!r)
		r = hmm_cache_create(space, NULL, hmm_page_size(), &volatile_pages, &cache);
	hmm_space_destroy(space);
	return r;
}

/* Each mapping in turn can't be locked. */
START_TEST(what_is_refused_is_not_made)
{
	static const int errors[] = { ENOMEM, EPERM, EAGAIN };
	uint64_t before = locked();
	unsigned refused = 0;
	int r;

	need(backends[_i]);
	for (uint64_t nth = 1;; nth++) {
		int error = errors[nth % 3];

		hmm__sys_fail(HMM__SYS_MLOCK, nth, 0, error);
		r = make_all(world_delivery(backends[_i]));
		if (hmm__sys_calls(HMM__SYS_MLOCK) < nth)
			break;
		hmm__sys_fail_none();
		ck_assert_msg(r == -error, "call %u: %d, not %d", (unsigned)nth, r, -error);
		ck_assert_uint_eq(locked(), before);
		refused++;
	}
	hmm__sys_fail_none();
	ck_assert_int_eq(r, 0);
	ck_assert_uint_eq(locked(), before);
	ck_assert_uint_gt(refused, 10);
}
END_TEST

START_TEST(a_kernel_that_cannot_drop_it_is_refused)
{
	struct hmm_space *space;
	struct hmm_region *region;

	need(WORLD_INLINE_AUTO);
	ck_assert_int_eq(hmm_space_create(FRAMES, &locking, &space), 0);
	hmm__sys_fail(HMM__SYS_MADVISE, 1, 1, EINVAL);
	ck_assert_int_eq(hmm_region_map(space, NULL, 0, 4 * hmm_page_size(), NULL, &region), -ENOTSUP);
	hmm__sys_fail_none();
	hmm_space_destroy(space);
	ck_assert_uint_eq(locked(), 0);
}
END_TEST

START_TEST(a_backend_that_does_not_lock_is_refused)
{
	struct hmm_mock_options mock = { .size = sizeof(mock) };
	struct hmm_space_options opts = locking;
	struct hmm_region *region;
	struct hmm_space *space;
	struct hmm_mock *m;

	ck_assert_int_eq(hmm_mock_create(&mock, &m), 0);
	opts.backend = hmm_backend_mock();
	opts.backend_arg = m;
	ck_assert_int_eq(hmm_space_create(FRAMES, &opts, &space), 0);
	ck_assert_int_eq(hmm_region_map(space, NULL, 0, 4 * hmm_page_size(), NULL, &region), -ENOTSUP);
	hmm_space_destroy(space);
	hmm_mock_destroy(m);
}
END_TEST

static void limit_to(size_t bytes)
{
	struct rlimit limit = { bytes, bytes };

	if (setrlimit(RLIMIT_MEMLOCK, &limit))
		_exit(90);
}

static void become_nobody(void)
{
	if (setgroups(0, NULL) || setgid(NOBODY) || setuid(NOBODY) || prctl(PR_SET_DUMPABLE, 1))
		_exit(91);
}

static int no_space(int expected)
{
	struct hmm_space *space;
	int r = hmm_space_create(FRAMES, &locking, &space);

	return r != expected ? 1 : locked() ? 2 : 0;
}

static int no_limit_at_all(void)
{
	limit_to(0);
	become_nobody();
	return no_space(-EPERM);
}

static int limit_below_the_tables(void)
{
	limit_to(4 * hmm_page_size());
	become_nobody();
	return no_space(-ENOMEM);
}

/* Tables fit and regions of a few pages: a large one does not, whatever is in memory of it, and then it goes on. */
static int limit_below_a_region(void)
{
	struct hmm_region_options opts = { .size = sizeof(opts), .delivery = HMM_DELIVERY_INLINE };
	size_t page = hmm_page_size(), mib = (size_t)1 << 20;
	struct hmm_region *region, *small;
	struct hmm_space *space;
	uint64_t before;
	char *base;
	int r;

	limit_to(6 * mib);
	become_nobody();
	if (hmm_space_create(FRAMES, &locking, &space))
		return 1;
	if (hmm_region_map(space, NULL, 0, 256 * page, &opts, &small))
		return 2;
	before = locked();
	r = hmm_region_map(space, NULL, 0, 32 * mib, &opts, &region);
	if (r != -ENOMEM)
		return 3;
	if (locked() != before)
		return 4;
	base = hmm_region_base(small);
	for (size_t i = 0; i < 256; i++)
		memset(base + i * page, (int)i, page);
	for (size_t i = 0; i < 256; i++)
		if ((unsigned char)base[i * page + 7] != i)
			return 5;
	hmm_space_destroy(space);
	return locked() ? 6 : 0;
}

static int (*const limits[])(void) = { no_limit_at_all, limit_below_the_tables, limit_below_a_region };

START_TEST(a_limit_is_told_as_the_kernel_says)
{
	pid_t pid;
	int status;

	need(WORLD_INLINE_AUTO);
	if (geteuid() != 0)
		world_skip("root, to become somebody else");
	pid = fork();
	if (pid == 0)
		_exit(limits[_i]());
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert_msg(WIFEXITED(status), "killed by signal %d", WTERMSIG(status));
	ck_assert_int_eq(WEXITSTATUS(status), 0);
}
END_TEST

/* The child pages as it likes; new regions there are like the old ones. */
static int in_child(struct world *w, struct world_map *m)
{
	struct hmm_region_options opts = { .size = sizeof(opts), .delivery = world_delivery(w->backend) };
	struct hmm_region *region;

	if (locked())
		return 1;
	for (size_t i = 0; i < m->npages; i++)
		if (world_has(w, m, i, i + 1) != 1)
			return 2;
	if (hmm_region_map(w->space, NULL, 0, PAGES * w->page, &opts, &region))
		return 3;
	use_region(w, m);
	return locked() ? 4 : 0;
}

START_TEST(a_child_is_not_locked)
{
	struct hmm_region_options opts = { .size = sizeof(opts), .flags = HMM_REGION_COPY_ON_FORK };
	uint64_t before = locked(), all;
	struct world w;
	struct world_map m;
	int status;
	pid_t pid;

	need(backends[_i]);
	world_open(&w, backends[_i], WORLD_SWAP_MEMORY, 1, FRAMES, &locking);
	world_map(&w, &m, (size_t)PAGES * w.page, &opts);
	use_region(&w, &m);
	all = locked();
	pid = fork();
	if (pid == 0)
		_exit(in_child(&w, &m));
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert_msg(WIFEXITED(status), "killed by signal %d", WTERMSIG(status));
	ck_assert_int_eq(WEXITSTATUS(status), 0);
	ck_assert_uint_eq(locked(), all);
	use_region(&w, &m);
	world_unmap(&w, &m);
	world_close(&w);
	ck_assert_uint_eq(locked(), before);
}
END_TEST

static Suite *suite(void)
{
	Suite *s = suite_create("lock");
	TCase *t = tcase_create("lock");

	tcase_add_loop_test(t, a_locked_space_counts_and_gives_it_back, 0, BACKENDS);
	tcase_add_loop_test(t, what_is_refused_is_not_made, 0, BACKENDS);
	tcase_add_test(t, a_kernel_that_cannot_drop_it_is_refused);
	tcase_add_test(t, a_backend_that_does_not_lock_is_refused);
	tcase_add_loop_test(t, a_limit_is_told_as_the_kernel_says, 0, 3);
	tcase_add_loop_test(t, a_child_is_not_locked, 0, BACKENDS);
	suite_add_tcase(s, t);
	return s;
}

HMM_TEST_MAIN(suite)
