/* SPDX-License-Identifier: MIT */
/*
 * test_nomem.c - the kernel has no memory for what is asked of it, now and then, for a while
 *
 * ioctl(2) says ENOMEM to requests that map, move and protect, in stretches: as in a memory cgroup that is full.  A space that gives up
 * frames meanwhile goes on; nobody gets a signal, and nothing is lost.
 */
#include "tests/world.h"

#include <errno.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "lib/sys/sys.h"

enum { PAGES = 512, FRAMES = 128, STEPS = 1500, PERIOD = 50, STRETCH = 15 };

static const enum world_backend backends[] = { WORLD_INLINE_MOVE, WORLD_INLINE_COPY, WORLD_THREAD_MOVE, WORLD_THREAD_COPY };
#define BACKENDS (int)(sizeof(backends) / sizeof(backends[0]))

static atomic_bool armed;
static atomic_uint requests, refused;

static bool refuse(unsigned long request)
{
	if (!atomic_load(&armed) || (request != UFFDIO_COPY && request != UFFDIO_MOVE && request != UFFDIO_WRITEPROTECT))
		return false;
	if (atomic_fetch_add(&requests, 1) % PERIOD >= STRETCH)
		return false;
	atomic_fetch_add(&refused, 1);
	return true;
}

int ioctl(int fd, unsigned long request, ...)
{
	va_list list;
	void *argument;

	va_start(list, request);
	argument = va_arg(list, void *);
	va_end(list);
	if (!refuse(request))
		return (int)syscall(SYS_ioctl, fd, request, argument);
	if (request == UFFDIO_COPY)
		((struct uffdio_copy *)argument)->copy = -ENOMEM;
	if (request == UFFDIO_MOVE)
		((struct hmm__uffdio_move *)argument)->move = -ENOMEM;
	errno = ENOMEM;
	return -1;
}

START_TEST(a_kernel_short_of_memory_is_waited_for)
{
	static uint64_t tags[PAGES];
	enum world_backend backend = backends[_i];
	const char *missing = world_missing(backend);
	uint64_t state = test_seed();
	struct world w;
	struct world_map m;

	if (missing)
		world_skip(missing);
	world_open(&w, backend, WORLD_SWAP_MEMORY, 1, FRAMES, NULL);
	world_map(&w, &m, (size_t)PAGES * w.page, NULL);
	atomic_store(&armed, true);
	for (unsigned i = 0; i < STEPS; i++) {
		size_t page = world_random(&state) % m.npages;

		world_check(&w, &m, page, tags[page]);
		if (i % 2)
			world_put(&w, &m, page, tags[page] = 1 + world_random(&state) % 1000);
	}
	atomic_store(&armed, false);
	for (size_t i = 0; i < m.npages; i++)
		world_check(&w, &m, i, tags[i]);
	ck_assert_uint_gt(atomic_load(&refused), 0);
	ck_assert_uint_eq(world_stats(&w).faults_failed, 0);
	world_check_stats(&w);
	world_unmap(&w, &m);
	world_close(&w);
}
END_TEST

static Suite *suite(void)
{
	Suite *s = suite_create("nomem");

	for (int i = 0; i < BACKENDS; i++) {
		TCase *t = tcase_create(world_backend_names[backends[i]]);

		tcase_add_loop_test(t, a_kernel_short_of_memory_is_waited_for, i, i + 1);
		suite_add_tcase(s, t);
	}
	return s;
}

HMM_TEST_MAIN(suite)
