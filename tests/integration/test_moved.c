/* SPDX-License-Identifier: MIT */
/*
 * test_moved.c - the application moves, grows, protects parts of a region itself: each access has an end, with the contents or a
 * signal, and never zeros in their place; what was not touched stays right; fork and munmap work afterwards
 */
#include "tests/world.h"

#include <errno.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib/sys/sys.h"

#ifndef MREMAP_DONTUNMAP
#define MREMAP_DONTUNMAP 4
#endif

enum { FRAMES = 64, NPAGES = 256 };

static const enum world_backend backends[] = { WORLD_INLINE_MOVE, WORLD_INLINE_COPY, WORLD_THREAD_MOVE, WORLD_THREAD_COPY };
#define BACKENDS ((int)(sizeof(backends) / sizeof(backends[0])))

static struct world w;
static struct world_map m;

static void open_world(enum world_backend backend)
{
	struct hmm_region_options opts = { .size = sizeof(opts), .flags = HMM_REGION_COPY_ON_FORK };
	const char *missing = world_missing(backend);

	if (missing)
		test_skip(missing);
	alarm(test_patience(30)); /* no access goes on for ever */
	world_open(&w, backend, WORLD_SWAP_MEMORY, 1, FRAMES, NULL);
	world_map(&w, &m, NPAGES * w.page, &opts);
	for (size_t i = 0; i < NPAGES; i++)
		world_put(&w, &m, i, i + 1);
}

static void close_world(void)
{
	world_unmap(&w, &m);
	hmm_space_destroy(w.space); /* frames went with what was moved, so the books are not those of world_close() */
	hmm_store_put(w.swap);
}

static bool same(const uint8_t *at, size_t page)
{
	uint8_t is[8], want[8192];

	world_contents(&w, w.page, page, page + 1, want);
	return !world_guarded_read(at, is, sizeof(is)) && !memcmp(is, want, sizeof(is));
}

/* Contents or a failure, and both were seen; writable where readable.  Returns how many can be read. */
static size_t check_moved(uint8_t *at, size_t first, size_t n)
{
	size_t readable = 0;

	for (size_t i = 0; i < n; i++) {
		uint8_t byte = 0;
		int r = world_guarded_read(at + i * w.page, &byte, 1);

		ck_assert_int_le(r, 0);
		if (r)
			continue;
		ck_assert_msg(same(at + i * w.page, first + i), "page %zu has other contents", first + i);
		ck_assert_int_eq(world_guarded_write(at + i * w.page + 100, &byte, 1), 0);
		readable++;
	}
	return readable;
}

static void check_rest(size_t first, size_t n)
{
	for (size_t i = 0; i < NPAGES; i++)
		if (i < first || i >= first + n)
			world_check(&w, &m, i, i + 1);
}

static void fork_once(void)
{
	pid_t pid;
	int status;

	if (TEST_TSAN) /* threads start after a fork: meson.build */
		return;
	world_threads_rest();
	pid = fork();
	ck_assert_int_ge(pid, 0);
	if (pid == 0) {
		alarm(test_patience(30));
		_exit(world_has(&w, &m, 0, 1) != 1);
	}
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

static void move_part(enum world_backend backend, size_t first, size_t n, size_t grown)
{
	uint8_t *to;
	size_t readable;

	open_world(backend);
	world_check(&w, &m, first, first + 1); /* at least one is resident, and clean */
	to = mremap(m.base + first * w.page, n * w.page, grown * w.page, MREMAP_MAYMOVE | (grown > n ? 0 : MREMAP_FIXED),
	            (char *)mmap(NULL, grown * w.page, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
	ck_assert_ptr_ne(to, MAP_FAILED);
	readable = check_moved(to, first, n);
	ck_assert_uint_gt(readable, 0);
	ck_assert_uint_lt(readable, n);
	check_rest(first, n);
	if (first)
		fork_once();
	check_rest(first, n);
	ck_assert_int_eq(munmap(to, grown * w.page), 0);
	check_rest(first, n);
	close_world();
}

START_TEST(a_part_that_moved_has_its_contents_or_fails)
{
	move_part(backends[_i], NPAGES / 4, NPAGES / 2, NPAGES / 2);
}
END_TEST

START_TEST(a_region_that_moved_and_grew_has_its_contents_or_fails)
{
	move_part(backends[_i], 0, NPAGES, 2 * NPAGES);
}
END_TEST

/* Without UFFDIO_POISON nothing of it can be read. */
START_TEST(where_nothing_can_be_poisoned_all_of_it_fails)
{
	size_t first = NPAGES / 4, n = NPAGES / 2;
	uint8_t *to, byte;

	open_world(backends[_i]);
	to = mmap(NULL, n * w.page, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	hmm__sys_fail(HMM__SYS_UFFD_POISON, 1, 1, ENOMEM);
	ck_assert_ptr_eq(mremap(m.base + first * w.page, n * w.page, n * w.page, MREMAP_MAYMOVE | MREMAP_FIXED, to), to);
	for (size_t i = 0; i < n; i++) {
		int r = world_guarded_read(to + i * w.page, &byte, 1);

		ck_assert(r < 0 || same(to + i * w.page, first + i)); /* until it is dealt with, what is resident can be read */
	}
	hmm__sys_fail_none();
	check_rest(first, n);
	ck_assert_int_eq(munmap(to, n * w.page), 0);
	close_world();
}
END_TEST

/* What is left behind is new memory: zeros by a pager, or the access fails. */
START_TEST(what_is_left_behind_has_an_end)
{
	size_t first = NPAGES / 4, n = NPAGES / 2;
	uint8_t *to, byte = 1;

	open_world(backends[_i]);
	/* not the C library's, which may pass no address with this flag */
	to = (uint8_t *)syscall(SYS_mremap, m.base + first * w.page, n * w.page, n * w.page,
	                        MREMAP_MAYMOVE | MREMAP_FIXED | MREMAP_DONTUNMAP,
	                        mmap(NULL, n * w.page, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
	if (to == MAP_FAILED)
		test_skip("MREMAP_DONTUNMAP, Linux 5.7");
	check_moved(to, first, n);
	for (size_t i = first; i < first + n; i++) {
		int r = world_guarded_read(m.base + i * w.page, &byte, 1);

		ck_assert(r < 0 ? world_delivery(backends[_i]) == HMM_DELIVERY_INLINE : byte == 0);
	}
	check_rest(first, n);
	ck_assert_int_eq(munmap(m.base + first * w.page, n * w.page), 0);
	ck_assert_int_eq(munmap(to, n * w.page), 0);
	check_rest(first, n);
	close_world();
}
END_TEST

/*
 * The program protects a part itself while pages are evicted, discarded, locked, and gives the access back: then every access
 * succeeds and finds the contents.  _i: backend, protection, what happens meanwhile
 */
enum { MEANWHILE_PAGEOUT, MEANWHILE_FAULTS, MEANWHILE_TRIES, MEANWHILE_LOCK, MEANWHILE };
static const int protections[] = { PROT_NONE, PROT_READ };
#define PROTECTIONS 2

static void meanwhile(int what, size_t first, size_t n)
{
	uint8_t byte = 0;

	switch (what) {
	case MEANWHILE_PAGEOUT:
		(void)!hmm_region_advise(m.region, m.base, m.length, HMM_ADVISE_PAGEOUT);
		break;
	case MEANWHILE_FAULTS: /* others need the frames */
		for (unsigned round = 0; round < 2; round++)
			for (size_t i = first + n; i < NPAGES; i++)
				world_check(&w, &m, i, i + 1);
		break;
	case MEANWHILE_TRIES:
		for (size_t i = first; i < first + n; i++) {
			ck_assert_int_ne(world_guarded_write(m.base + i * w.page, &byte, 1), 0);
			(void)!world_guarded_read(m.base + i * w.page, &byte, 1);
		}
		break;
	default:
		(void)!hmm_region_lock(m.region, m.base + first * w.page, n * w.page / 4);
		(void)!hmm_region_unlock(m.region, m.base + first * w.page, n * w.page / 4);
		(void)!hmm_region_advise(m.region, m.base, m.length, HMM_ADVISE_PAGEOUT);
		(void)!hmm_space_reclaim(w.space, FRAMES);
		break;
	}
}

START_TEST(a_part_that_was_protected_meanwhile_is_as_before)
{
	size_t first = NPAGES / 8, n = FRAMES / 4;
	int prot = protections[_i / BACKENDS % PROTECTIONS];

	open_world(backends[_i % BACKENDS]);
	for (size_t i = first; i < first + n; i++) {
		if (i % 3 == 0)
			world_put(&w, &m, i, i + 1);
		else if (i % 3 == 1)
			world_check(&w, &m, i, i + 1);
	}
	ck_assert_int_eq(mprotect(m.base + first * w.page, n * w.page, prot), 0);
	meanwhile(_i / BACKENDS / PROTECTIONS, first, n);
	ck_assert_int_eq(mprotect(m.base + first * w.page, n * w.page, PROT_READ | PROT_WRITE), 0);
	for (size_t i = 0; i < NPAGES; i++) {
		uint8_t byte = 77;

		if (i % 2) {
			world_check(&w, &m, i, i + 1);
		} else {
			ck_assert_int_eq(world_write(&w, m.region, m.base + i * w.page + 100, &byte, 1), 0);
			ck_assert_int_eq(world_read(&w, m.region, m.base + i * w.page + 100, &byte, 1), 0);
			ck_assert_uint_eq(byte, 77);
		}
	}
	for (size_t i = 1; i < NPAGES; i += 2) {
		world_put(&w, &m, i, i + 2);
		world_check(&w, &m, i, i + 2);
	}
	world_unmap(&w, &m);
	world_close(&w);
}
END_TEST

static Suite *suite(void)
{
	Suite *s = suite_create("moved");
	TCase *t = tcase_create("mremap");

	tcase_set_timeout(t, test_patience(60));
	tcase_add_loop_test(t, a_part_that_moved_has_its_contents_or_fails, 0, BACKENDS);
	tcase_add_loop_test(t, a_region_that_moved_and_grew_has_its_contents_or_fails, 0, BACKENDS);
	tcase_add_loop_test(t, where_nothing_can_be_poisoned_all_of_it_fails, 0, BACKENDS);
	tcase_add_loop_test(t, what_is_left_behind_has_an_end, 0, BACKENDS);
	suite_add_tcase(s, t);
	t = tcase_create("mprotect");
	tcase_set_timeout(t, test_patience(60));
	tcase_add_loop_test(t, a_part_that_was_protected_meanwhile_is_as_before, 0, BACKENDS * PROTECTIONS * MEANWHILE);
	suite_add_tcase(s, t);
	return s;
}

HMM_TEST_MAIN(suite)
