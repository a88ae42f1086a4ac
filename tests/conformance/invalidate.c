/* SPDX-License-Identifier: MIT */
/*
 * invalidate.c - others write to a region's store: what is seen when, and what hmm_region_invalidate() does about it
 */
#include "tests/conformance/conformance.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define SOME 24 /* pages that stay resident beside each other */

/* As write(2) of another program: page has the contents of this tag. */
static void others_write(struct world *w, struct world_map *m, size_t page, uint64_t tag)
{
	uint8_t *bytes = malloc(m->page);

	world_contents(w, m->page, page, tag, bytes);
	if (m->bytes)
		memcpy(m->bytes->data + page * m->page, bytes, m->page);
	else
		ck_assert_int_eq(pwrite(m->fd, bytes, m->page, (off_t)(page * m->page)), (ssize_t)m->page);
	free(bytes);
}

static int invalidate(struct world_map *m, size_t from, size_t n, unsigned flags)
{
	return hmm_region_invalidate(m->region, m->base + from * m->page, n * m->page, flags);
}

static void check_range(struct world *w, struct world_map *m, size_t from, size_t to, uint64_t tag)
{
	for (size_t i = from; i < to; i++)
		world_check(w, m, i, tag);
}

static void open_with_pages(struct world *w, struct world_map *m)
{
	struct hmm_region_options o = { .size = sizeof(o), .flags = HMM_REGION_NO_READ_AHEAD };

	world_map(w, m, NPAGES * w->page, &o);
	check_range(w, m, 0, SOME, 0);
	for (size_t i = 0; i < NPAGES; i++)
		others_write(w, m, i, 3);
}

START_TEST(invalidated_pages_are_read_anew)
{
	struct world w;
	struct world_map m;

	OPEN(&w);
	open_with_pages(&w, &m);
	check_range(&w, &m, 0, SOME, 0); /* copies, not the store */
	ck_assert_int_eq(invalidate(&m, 4, 8, 0), 0);
	check_range(&w, &m, 0, 4, 0);
	check_range(&w, &m, 4, 12, 3);
	check_range(&w, &m, 12, SOME, 0);
	ck_assert_int_eq(invalidate(&m, 0, NPAGES, 0), 0);
	ck_assert_uint_eq(hmm_region_resident(m.region), 0);
	check_range(&w, &m, 0, NPAGES, 3);
	/* from the window too, where pages of a cache of frames may be kept */
	for (size_t i = 0; i < NPAGES; i++)
		others_write(&w, &m, i, 5);
	ck_assert_int_eq(invalidate(&m, 0, NPAGES, 0), 0);
	check_range(&w, &m, 0, NPAGES, 5);
	world_check_stats(&w);
	world_unmap(&w, &m);
	world_close(&w);
}
END_TEST

START_TEST(changed_pages_are_in_the_way)
{
	struct world w;
	struct world_map m;

	OPEN(&w);
	open_with_pages(&w, &m);
	world_put(&w, &m, 5, 9);
	ck_assert_int_eq(invalidate(&m, 0, SOME, 0), world_is_shared(&w) ? -EBUSY : 0);
	check_range(&w, &m, 0, 5, world_is_shared(&w) ? 0 : 3); /* nothing was dropped; of a private region, what is its own stays */
	world_check(&w, &m, 5, 9);
	ck_assert_int_eq(invalidate(&m, 0, 5, 0), 0);
	check_range(&w, &m, 0, 5, 3);
	if (world_is_shared(&w)) {
		/* written: it is a copy again */
		ck_assert_int_eq(hmm_region_sync(m.region, m.base, m.length, 0), 0);
		ck_assert_int_eq(invalidate(&m, 0, SOME, 0), 0);
		world_check(&w, &m, 5, 9);
		others_write(&w, &m, 5, 3);
		world_put(&w, &m, 6, 9);
		world_put(&w, &m, 5, 8);
	}
	ck_assert_int_eq(invalidate(&m, 0, SOME, HMM_INVALIDATE_DIRTY), 0);
	check_range(&w, &m, 0, SOME, 3); /* what it had changed is lost */
	ck_assert_uint_eq(world_stats(&w).dirty, 0);
	world_unmap(&w, &m);
	world_close(&w);
}
END_TEST

/* Pages of a private region that went to swap are its own; those that did not are copies. */
START_TEST(swapped_pages_of_a_private_region_stay)
{
	struct world w;
	struct world_map m;

	OPEN(&w);
	open_with_pages(&w, &m);
	for (size_t i = 0; i < NPAGES; i += 2)
		world_put(&w, &m, i, 9); /* twice the budget: most are in swap */
	ck_assert_int_eq(hmm_region_advise(m.region, m.base, 8 * m.page, HMM_ADVISE_PAGEOUT), 0);
	ck_assert_int_eq(invalidate(&m, 0, NPAGES, 0), 0);
	for (size_t i = 0; i < NPAGES; i++)
		world_check(&w, &m, i, i % 2 ? 3 : 9);
	ck_assert_int_eq(invalidate(&m, 0, NPAGES, 0), 0); /* some are clean copies of swap now */
	for (size_t i = 0; i < NPAGES; i++)
		world_check(&w, &m, i, i % 2 ? 3 : 9);
	ck_assert_int_eq(invalidate(&m, 0, NPAGES, HMM_INVALIDATE_DIRTY), 0);
	ck_assert_uint_eq(world_stats(&w).swap_bytes, 0);
	check_range(&w, &m, 0, NPAGES, 3);
	world_unmap(&w, &m);
	world_close(&w);
}
END_TEST

START_TEST(held_pages_are_not_invalidated)
{
	struct world w;
	struct world_map m;

	OPEN(&w);
	open_with_pages(&w, &m);
	ck_assert_int_eq(hmm_region_pin(m.region, m.base + 3 * m.page, m.page, 0), 0);
	ck_assert_int_eq(invalidate(&m, 0, SOME, HMM_INVALIDATE_DIRTY), -EBUSY);
	check_range(&w, &m, 0, SOME, 0);
	ck_assert_int_eq(hmm_region_unpin(m.region, m.base + 3 * m.page, m.page), 0);
	ck_assert_int_eq(hmm_region_lock(m.region, m.base + 3 * m.page, m.page), 0);
	ck_assert_int_eq(invalidate(&m, 3, 1, 0), -EBUSY);
	ck_assert_int_eq(hmm_region_unlock(m.region, m.base + 3 * m.page, m.page), 0);
	ck_assert_int_eq(invalidate(&m, 0, SOME, 0), 0);
	check_range(&w, &m, 0, SOME, 3);
	ck_assert_int_eq(invalidate(&m, 0, 1, 2), -EINVAL);
	ck_assert_int_eq(hmm_region_invalidate(m.region, m.base + 1, m.page, 0), -EINVAL);
	ck_assert_int_eq(hmm_region_invalidate(m.region, m.base, m.length + m.page, 0), -ENOMEM);
	ck_assert_int_eq(hmm_region_invalidate(NULL, m.base, m.page, 0), -EINVAL);
	world_unmap(&w, &m);
	world_close(&w);
}
END_TEST

/* The file's end is where others put it; invalidating makes it be seen at once, also after a SIGBUS. */
START_TEST(end_that_others_move_is_seen)
{
	struct world w;
	struct world_map m;
	uint8_t byte;

	OPEN(&w);
	world_map(&w, &m, NPAGES * w.page, NULL);
	ck_assert_int_eq(ftruncate(m.fd, 4 * (off_t)m.page), 0);
	ck_assert_int_eq(invalidate(&m, 0, NPAGES, 0), 0);
	check_range(&w, &m, 0, 4, 0);
	ck_assert_int_eq(world_read(&w, m.region, m.base + 4 * m.page, &byte, 1), -EIO);
	others_write(&w, &m, 4, 7);
	ck_assert_int_eq(invalidate(&m, 0, NPAGES, 0), 0);
	world_check(&w, &m, 4, 7);
	world_check(&w, &m, 3, 0);
	ck_assert_int_eq(world_read(&w, m.region, m.base + 5 * m.page, &byte, 1), -EIO);
	ck_assert_int_eq(ftruncate(m.fd, 2 * (off_t)m.page), 0);
	world_check(&w, &m, 3, 0); /* still a copy */
	ck_assert_int_eq(invalidate(&m, 0, NPAGES, 0), 0);
	ck_assert_int_eq(world_read(&w, m.region, m.base + 3 * m.page, &byte, 1), -EIO);
	ck_assert_int_eq(ftruncate(m.fd, (off_t)m.length), 0);
	world_unmap(&w, &m);
	world_close(&w);
}
END_TEST

/* --- while it is in use --- */

#define TURNS 40u

struct reader {
	struct world *w;
	struct world_map *m;
	_Atomic uint64_t written; /* each page begins with a number at least as high, before the last invalidate ended */
	_Atomic unsigned stop, wrong, reads;
};

static void *read_on(void *arg)
{
	struct reader *r = arg;
	uint64_t random = 12345;

	while (!atomic_load(&r->stop)) {
		uint64_t least = atomic_load(&r->written), seen = 0;
		size_t page = world_random(&random) % SOME;

		if (world_read(r->w, r->m->region, r->m->base + page * r->m->page, &seen, sizeof(seen)) || seen < least)
			atomic_fetch_add(&r->wrong, 1);
		atomic_fetch_add(&r->reads, 1);
	}
	return NULL;
}

START_TEST(accesses_see_what_was_written_before_the_call)
{
	struct world w;
	struct world_map m;
	struct reader r = { .w = &w, .m = &m };
	pthread_t threads[2];

	OPEN(&w);
	world_map(&w, &m, NPAGES * w.page, NULL);
	for (uint64_t turn = 1; turn <= TURNS; turn++) {
		for (size_t i = 0; i < SOME; i++) {
			if (m.bytes)
				atomic_store((_Atomic uint64_t *)(m.bytes->data + i * m.page), turn);
			else
				ck_assert_int_eq(pwrite(m.fd, &turn, sizeof(turn), (off_t)(i * m.page)), sizeof(turn));
		}
		ck_assert_int_eq(invalidate(&m, 0, SOME, 0), 0);
		atomic_store(&r.written, turn);
		for (unsigned i = 0; turn == 1 && i < 2; i++)
			ck_assert_int_eq(pthread_create(&threads[i], NULL, read_on, &r), 0);
		for (unsigned seen = atomic_load(&r.reads); atomic_load(&r.reads) < seen + 20;)
			sched_yield();
	}
	atomic_store(&r.stop, 1);
	for (unsigned i = 0; i < 2; i++)
		pthread_join(threads[i], NULL);
	ck_assert_uint_eq(r.wrong, 0);
	world_unmap(&w, &m);
	world_close(&w);
}
END_TEST

START_TEST(anonymous_memory_has_nothing_to_read_anew)
{
	struct world w;
	struct world_map m;

	OPEN(&w);
	world_map(&w, &m, NPAGES * w.page, NULL);
	world_put(&w, &m, 0, 4);
	ck_assert_int_eq(invalidate(&m, 0, NPAGES, HMM_INVALIDATE_DIRTY), -EINVAL);
	world_check(&w, &m, 0, 4);
	world_unmap(&w, &m);
	world_close(&w);
}
END_TEST

void add_invalidate_tests(TCase *t, int i)
{
	if (store_of(i) == WORLD_SWAP_MEMORY)
		tcase_add_loop_test(t, anonymous_memory_has_nothing_to_read_anew, i, i + 1);
	if (store_of(i) == WORLD_SWAP_MEMORY || store_of(i) == WORLD_SWAP_FILE)
		return;
	tcase_add_loop_test(t, invalidated_pages_are_read_anew, i, i + 1);
	tcase_add_loop_test(t, changed_pages_are_in_the_way, i, i + 1);
	tcase_add_loop_test(t, held_pages_are_not_invalidated, i, i + 1);
	tcase_add_loop_test(t, accesses_see_what_was_written_before_the_call, i, i + 1);
	if (store_of(i) == WORLD_FILE_PRIVATE)
		tcase_add_loop_test(t, swapped_pages_of_a_private_region_stay, i, i + 1);
	else if (store_of(i) == WORLD_FILE_SHARED)
		tcase_add_loop_test(t, end_that_others_move_is_seen, i, i + 1);
}
