/* SPDX-License-Identifier: MIT */
/*
 * test_unfinished.c - transfers that end in the middle of a page, while messages of the address space are unread
 *
 * The kernel moves a part of a large page, says that it can't go on, and then refuses every transfer (-EAGAIN) for as long as the
 * program's munmap(2) waits to be heard.  No part of the page may be forgotten meanwhile.  ioctl(2) ends moves early here; the
 * messages are counted ones in the first test, and real ones, which the thread that ought to read them can't read, in the second.
 */
#include "tests/world.h"

#include <errno.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "lib/sys/sys.h"

enum {
	SHIFT = 16,
	FRAMES = 256,
	PAGES = 48,      /* of 64 KiB: three times the budget */
	STEPS = 200,
	REFUSALS = 2500, /* in a row: more than any thread tries a transfer again that need not succeed */
	ONE_OF = 11,     /* moves end early */
};

static const enum world_backend backends[] = { WORLD_INLINE_MOVE, WORLD_THREAD_MOVE };
#define BACKENDS (int)(sizeof(backends) / sizeof(backends[0]))

static bool (*unfinished)(struct hmm__uffdio_move *move); /* shall this one end early? */
static void (*unfinished_now)(int fd);                    /* it did */
static atomic_uint moves, cut, fail_next, refuse;
static atomic_bool counted;
static uintptr_t gone_page; /* the kernel says that there is nothing to protect */

static int raw_ioctl(int fd, unsigned long request, void *argument)
{
	return (int)syscall(SYS_ioctl, fd, request, argument);
}

static int refused(int error)
{
	errno = error;
	return -1;
}

/* Half a page less than it should have been. */
static int move_a_part(int fd, struct hmm__uffdio_move *move)
{
	uint64_t length = move->len;
	int r;

	move->len = length - ((uint64_t)1 << (SHIFT - 1));
	r = raw_ioctl(fd, UFFDIO_MOVE, move);
	move->len = length;
	if (r)
		return r;
	atomic_fetch_add(&cut, 1);
	atomic_store(&fail_next, 1);
	if (unfinished_now)
		unfinished_now(fd);
	return refused(EAGAIN); /* move->move says how far it got */
}

static bool refuse_one(void)
{
	unsigned n = atomic_load(&refuse);

	while (n && !atomic_compare_exchange_weak(&refuse, &n, n - 1))
		;
	errno = EAGAIN;
	return n;
}

/* The rest of it: can't be moved at all.  From then on nothing can, for a while. */
static bool refuses(void)
{
	if (atomic_exchange(&fail_next, 0)) {
		atomic_store(&refuse, atomic_load(&counted) ? REFUSALS : 0);
		errno = ENOMEM;
		return true;
	}
	return refuse_one();
}

int ioctl(int fd, unsigned long request, ...)
{
	va_list list;
	void *argument;

	va_start(list, request);
	argument = va_arg(list, void *);
	va_end(list);
	if (request == UFFDIO_MOVE && unfinished) {
		struct hmm__uffdio_move *move = argument;

		if (refuses()) {
			move->move = -errno;
			return -1;
		}
		if (unfinished(move))
			return move_a_part(fd, move);
	} else if (request == UFFDIO_COPY && refuse_one()) {
		struct uffdio_copy *copy = argument;

		copy->copy = -EAGAIN;
		return refused(EAGAIN);
	}
	if (request == UFFDIO_WRITEPROTECT && gone_page) {
		struct uffdio_writeprotect *wp = argument;

		if (wp->range.start <= gone_page && gone_page - wp->range.start < wp->range.len)
			return refused(ENOENT);
	}
	return raw_ioctl(fd, request, argument);
}

static void open_with(struct world *w, enum world_backend backend)
{
	const char *missing = world_missing(backend);

	if (missing)
		world_skip(missing);
	world_open(w, backend, WORLD_SWAP_FILE, 1, FRAMES, NULL);
}

static bool one_of_some(struct hmm__uffdio_move *move)
{
	/* one at a time: `refuse` counts for the thread that it befalls */
	return move->len >= (uint64_t)1 << SHIFT && !atomic_load(&refuse) && atomic_fetch_add(&moves, 1) % ONE_OF == ONE_OF - 1;
}

/* _i: backend, and whether frames are recycled: then loads are moves, too. */
START_TEST(a_part_of_a_page_is_put_back_whatever_stands_in_the_way)
{
	struct hmm_region_options large = { .size = sizeof(large), .page_shift = SHIFT,
		                            .flags = _i % 2 ? HMM_REGION_RECYCLE : HMM_REGION_DIRECT_IO };
	uint64_t state = test_seed(), tags[PAGES] = { 0 };
	struct world w;
	struct world_map m;

	open_with(&w, backends[_i / 2]);
	w.never_recycles = true;
	atomic_store(&counted, true);
	unfinished = one_of_some;
	world_map(&w, &m, (size_t)PAGES << SHIFT, &large);
	for (unsigned i = 0; i < STEPS; i++) {
		size_t page = world_random(&state) % m.npages;

		if (i % 3 == 2)
			world_check(&w, &m, page, tags[page]);
		else
			world_put(&w, &m, page, tags[page] = 1 + world_random(&state) % 1000);
	}
	for (size_t page = 0; page < m.npages; page++)
		world_check(&w, &m, page, tags[page]);
	ck_assert_uint_gt(atomic_load(&cut), 2);
	unfinished = NULL;
	atomic_store(&refuse, 0);
	world_check_stats(&w);
	world_unmap(&w, &m);
	world_close(&w);
}
END_TEST

/* --- real messages --- */

static struct world_map *victims, *others;
static pthread_t unmappers[2];

static void *unmap_the_first_page(void *arg)
{
	ck_assert_int_eq(munmap(victims->base, victims->page), 0);
	return arg;
}

static void *unmap_another(void *arg)
{
	ck_assert_int_eq(munmap(others->base, others->page), 0);
	return arg;
}

static bool from_the_first_page(struct hmm__uffdio_move *move)
{
	return move->src == (uintptr_t)victims->base && move->len > victims->page && !atomic_load(&moves);
}

/*
 * This thread has claimed the first page and others, and moved some.  A munmap(2) of the first one: who reads its message waits for
 * us.  So the message of the second one stays where it is.
 */
static void unread_messages(int fd)
{
	struct uffdio_writeprotect nothing = { .range = { (uintptr_t)others->base + others->page, others->page } };
	struct world_wait wait = { 0 };

	atomic_store(&moves, 1);
	ck_assert_int_eq(pthread_create(&unmappers[0], NULL, unmap_the_first_page, NULL), 0);
	ck_assert_int_eq(pthread_join(unmappers[0], NULL), 0); /* it was read */
	world_threads_rest();
	ck_assert_int_eq(pthread_create(&unmappers[1], NULL, unmap_another, NULL), 0);
	while (!raw_ioctl(fd, UFFDIO_WRITEPROTECT, &nothing) && world_wait(&wait))
		;
	ck_assert_int_eq(errno, EAGAIN); /* it waits to be read */
}

START_TEST(messages_are_read_where_their_reader_waits_for_the_page)
{
	struct hmm_region_options large = { .size = sizeof(large), .page_shift = SHIFT, .flags = HMM_REGION_DIRECT_IO };
	struct world w;
	struct world_map m, n;

	open_with(&w, backends[_i]);
	w.never_recycles = true;
	world_map(&w, &m, (size_t)4 << SHIFT, &large);
	world_map(&w, &n, (size_t)4 << SHIFT, &large);
	victims = &m;
	others = &n;
	for (size_t page = 0; page < 4; page++)
		world_put(&w, &m, page, 100 + page);
	unfinished = from_the_first_page;
	unfinished_now = unread_messages;
	ck_assert_int_ge(hmm_region_advise(m.region, m.base, m.length, HMM_ADVISE_PAGEOUT), 0);
	ck_assert_uint_eq(atomic_load(&cut), 1);
	ck_assert_int_eq(pthread_join(unmappers[1], NULL), 0);
	for (size_t page = 1; page < 4; page++)
		world_check(&w, &m, page, 100 + page);
	unfinished = NULL;
	world_unmap(&w, &n);
	world_unmap(&w, &m);
	world_close(&w);
}
END_TEST

/* --- of a run that is protected, one page is gone --- */

static const enum world_backend protecting[] = { WORLD_INLINE_COPY, WORLD_THREAD_COPY, WORLD_INLINE_MOVE, WORLD_THREAD_MOVE };

/* _i: backend, and whether the pages are read-only by now: then others protect before they move. */
START_TEST(page_that_is_gone_is_lost_alone)
{
	bool read_only = _i % 2;
	struct world w;
	struct world_map m;

	open_with(&w, protecting[_i / 2]);
	w.never_recycles = true;
	world_map(&w, &m, 8 * w.page, NULL);
	for (size_t page = 0; page < 8; page++)
		world_put(&w, &m, page, 100 + page);
	if (read_only)
		ck_assert_int_eq(hmm_region_protect(m.region, m.base, m.length, PROT_READ), 0);
	gone_page = (uintptr_t)(m.base + 3 * w.page);
	ck_assert_int_ge(hmm_region_advise(m.region, m.base, m.length, HMM_ADVISE_PAGEOUT), 0);
	gone_page = 0;
	for (size_t page = 0; page < 8; page++) {
		if (page != 3)
			world_check(&w, &m, page, 100 + page);
	}
	hmm_region_abandon(m.region);
	world_map_close(&m);
	hmm_space_destroy(w.space); /* its books lack a page: the kernel was made to lie */
}
END_TEST

static Suite *suite(void)
{
	Suite *s = suite_create("unfinished");
	TCase *t = tcase_create("counted");

	tcase_set_timeout(t, test_patience(60));
	tcase_add_loop_test(t, a_part_of_a_page_is_put_back_whatever_stands_in_the_way, 0, 2 * BACKENDS);
	suite_add_tcase(s, t);
	t = tcase_create("real");
	tcase_set_timeout(t, test_patience(60));
	tcase_add_loop_test(t, messages_are_read_where_their_reader_waits_for_the_page, 0, BACKENDS);
	suite_add_tcase(s, t);
	t = tcase_create("gone");
	tcase_set_timeout(t, test_patience(60));
	tcase_add_loop_test(t, page_that_is_gone_is_lost_alone, 0, 8);
	suite_add_tcase(s, t);
	return s;
}

HMM_TEST_MAIN(suite)
