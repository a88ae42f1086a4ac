/* SPDX-License-Identifier: MIT */
/*
 * test_uncounted.c - UFFDIO_MOVE that moves pages and says that it did not
 *
 * Linux 6.18 does so where something else had hold of a page for a moment: it moves a run, does not count it, begins again,
 * finds its own pages at the destination and reports EEXIST.  Here ioctl(2) does it on purpose and often, so that each
 * kernel with UFFDIO_MOVE shows what becomes of the contents.
 */
#include "tests/world.h"

#include <errno.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "lib/sys/sys.h"

enum { PAGES = 1024, FRAMES = 256, STEPS = 1500, LIE = 3 };

static const enum world_backend backends[] = { WORLD_INLINE_MOVE, WORLD_THREAD_MOVE };
#define BACKENDS (int)(sizeof(backends) / sizeof(backends[0]))

static atomic_uint moves, lies;

/* Of three moves, one is counted whole, one not at all, and one only in its first half. */
static int lie_about(struct hmm__uffdio_move *move)
{
	unsigned n = atomic_fetch_add(&moves, 1);
	long half = (long)(move->len / 2 & ~(uint64_t)(hmm_page_size() - 1));

	if (n % LIE == 0)
		return 0;
	atomic_fetch_add(&lies, 1);
	if (n % LIE == 1 && half) {
		move->move = half;
		return EAGAIN;
	}
	move->move = -EEXIST;
	return EEXIST;
}

int ioctl(int fd, unsigned long request, ...)
{
	va_list list;
	void *argument;
	int r;

	va_start(list, request);
	argument = va_arg(list, void *);
	va_end(list);
	r = (int)syscall(SYS_ioctl, fd, request, argument);
	if (!r && request == UFFDIO_MOVE) {
		int error = lie_about(argument);

		if (error) {
			errno = error;
			return -1;
		}
	}
	return r;
}

static void run(struct world *w, struct world_map *m)
{
	static uint64_t tags[PAGES];
	uint64_t state = test_seed();

	for (unsigned i = 0; i < STEPS; i++) {
		size_t page = world_random(&state) % m->npages, n = 1 + world_random(&state) % 96;

		for (size_t k = page; k < page + n && k < m->npages; k++) {
			if (i % 3)
				world_check(w, m, k, tags[k]);
			else
				world_put(w, m, k, tags[k] = 1 + world_random(&state) % 1000);
			i++;
		}
		if (i % 50 == 0)
			ck_assert_int_ge(hmm_region_advise(m->region, m->base, m->length, HMM_ADVISE_PAGEOUT), 0);
	}
	for (size_t k = 0; k < m->npages; k++)
		world_check(w, m, k, tags[k]);
}

START_TEST(contents_survive_moves_that_were_not_counted)
{
	enum world_backend backend = backends[_i / 2];
	struct hmm_region_options large = { .size = sizeof(large), .page_shift = _i % 2 ? 16 : 0 };
	const char *missing = world_missing(backend);
	struct world w;
	struct world_map m;

	if (missing)
		world_skip(missing);
	world_open(&w, backend, WORLD_SWAP_FILE, 1, FRAMES, NULL);
	world_map(&w, &m, (size_t)PAGES * w.page, &large);
	run(&w, &m);
	if (world_stats(&w).engine == HMM_ENGINE_COPY)
		world_skip("UFFDIO_MOVE, Linux 6.8");
	ck_assert_uint_gt(atomic_load(&lies), 0);
	world_check_stats(&w);
	world_unmap(&w, &m);
	world_close(&w);
}
END_TEST

static Suite *suite(void)
{
	Suite *s = suite_create("uncounted");

	for (int i = 0; i < BACKENDS; i++) {
		TCase *t = tcase_create(world_backend_names[backends[i]]);

		tcase_add_loop_test(t, contents_survive_moves_that_were_not_counted, 2 * i, 2 * i + 2);
		suite_add_tcase(s, t);
	}
	return s;
}

HMM_TEST_MAIN(suite)
