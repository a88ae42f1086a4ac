/* SPDX-License-Identifier: MIT */
/*
 * test_regressions.c - what once hung, lost pages or killed the program, each in the smallest form that showed it
 *
 * A hang shows as the time limit of its case.
 */
#include "tests/world.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

static const enum world_backend backends[] = {
	WORLD_INLINE_AUTO,
	WORLD_INLINE_COPY,
	WORLD_THREAD_AUTO,
	WORLD_THREAD_COPY,
};
#define BACKENDS (int)(sizeof(backends) / sizeof(backends[0]))

static struct hmm_space_options polled = { .size = sizeof(polled), .flags = HMM_SPACE_NO_RECLAIMER };
static struct hmm_region_options one_by_one = { .size = sizeof(one_by_one), .flags = HMM_REGION_NO_READ_AHEAD };

/* _i: index in backends, in all */
static enum world_backend backend_or_skip(int i)
{
	const char *missing = world_missing(backends[i]);

	if (missing)
		world_skip(missing);
	return backends[i];
}

static int put_byte(uint8_t *at, uint8_t byte)
{
	return world_guarded_write(at, &byte, 1);
}

/* The byte, or -errno. */
static int get_byte(const uint8_t *at)
{
	uint8_t byte = 0;
	int r = world_guarded_read(at, &byte, 1);

	return r ? r : byte;
}

static void set_fault(struct hmm_store *store, struct hmm_store_fault fault)
{
	fault.size = sizeof(fault);
	ck_assert_int_eq(hmm_store_set_fault(store, &fault), 0);
}

/* Evict all of a map, in one call. */
static void page_out(struct world_map *m)
{
	uint8_t residency[64];

	ck_assert_uint_le(m->npages, sizeof(residency));
	ck_assert_int_eq(hmm_region_advise(m->region, m->base, m->length, HMM_ADVISE_PAGEOUT), 0);
	ck_assert_int_eq(hmm_region_residency(m->region, m->base, m->length, residency), 0);
	for (size_t i = 0; i < m->npages; i++)
		ck_assert_msg(!(residency[i] & HMM_RESIDENT), "page %zu is still resident", i);
}

/* A thread that writes all pages of a map, while another one unmaps parts of a region. */
struct writer {
	struct world_map *m;
	uint8_t byte;
	bool many;        /* pass after pass, reading each page before, until told to stop */
	atomic_int stop;
	atomic_int ended;
	atomic_ulong written;
	int error;
};

static int write_pages(struct writer *t)
{
	for (size_t i = 0; i < t->m->npages && !atomic_load(&t->stop); i++) {
		int r = t->many ? get_byte(t->m->base + i * t->m->page) : 0;

		r = r < 0 ? r : put_byte(t->m->base + i * t->m->page, t->byte);
		if (r < 0)
			return r;
		atomic_fetch_add(&t->written, 1);
	}
	return 0;
}

static void *write_all(void *arg)
{
	struct writer *t = arg;

	do
		t->error = write_pages(t);
	while (!t->error && t->many && !atomic_load(&t->stop));
	atomic_store(&t->ended, 1);
	return NULL;
}

/* The kernel answers the pager's requests with EAGAIN while the news of an unmapping is on its way. */
START_TEST(first_writes_go_on_while_another_thread_unmaps)
{
	enum { PAGES = 4096, HOLES = 1000 };
	enum world_backend backend = backend_or_skip(_i);
	struct world w;
	struct world_map m, holes;
	struct writer t = { .m = &m, .byte = 5 };
	pthread_t thread;

	world_open(&w, backend, WORLD_SWAP_FILE, 1, 2 * PAGES, NULL);
	world_map(&w, &m, PAGES * w.page, &one_by_one);
	world_map(&w, &holes, 2 * HOLES * w.page, NULL);
	for (size_t i = 0; i < PAGES; i++)
		ck_assert_int_eq(get_byte(m.base + i * m.page), 0);
	ck_assert_int_eq(pthread_create(&thread, NULL, write_all, &t), 0);
	for (size_t i = 0; i < HOLES; i++)
		ck_assert_int_eq(munmap(holes.base + 2 * i * holes.page, holes.page), 0);
	pthread_join(thread, NULL);
	ck_assert_int_eq(t.error, 0);
	ck_assert_uint_eq(t.written, PAGES);
	for (size_t i = 0; i < PAGES; i++)
		ck_assert_int_eq(get_byte(m.base + i * m.page), 5);
	world_unmap(&w, &holes);
	world_unmap(&w, &m);
	world_close(&w);
}
END_TEST

START_TEST(faults_go_on_while_another_thread_unmaps_and_drops)
{
	enum { PAGES = 1000, HOLES = 800 };
	enum world_backend backend = backend_or_skip(_i);
	struct world w;
	struct world_map m, holes;
	struct writer t = { .m = &m, .byte = 1, .many = true };
	pthread_t thread;

	world_open(&w, backend, WORLD_SWAP_FILE, 1, 2 * PAGES, NULL);
	world_map(&w, &m, PAGES * w.page, NULL);
	world_map(&w, &holes, 2 * HOLES * w.page, NULL);
	ck_assert_int_eq(pthread_create(&thread, NULL, write_all, &t), 0);
	for (size_t i = 0; i < HOLES; i++) {
		unsigned long before = atomic_load(&t.written);

		ck_assert_int_eq(munmap(holes.base + 2 * i * holes.page, holes.page), 0);
		if (i % 50)
			continue;
		ck_assert_int_eq(hmm_region_advise(m.region, m.base, m.length, HMM_ADVISE_DONTNEED), 0);
		while (atomic_load(&t.written) == before && !atomic_load(&t.ended))
			sched_yield();
	}
	atomic_store(&t.stop, 1);
	pthread_join(thread, NULL);
	ck_assert_int_eq(t.error, 0);
	world_unmap(&w, &holes);
	world_unmap(&w, &m);
	world_close(&w);
}
END_TEST

/* A shared file of 64 pages, eight of them dirty, of which the application drops one by itself. */
#define DROPPED 3

static void drop_one_of_eight(struct world *w, struct world_map *m, enum world_backend backend)
{
	world_open(w, backend, WORLD_FILE_SHARED, 1, 512, &polled);
	world_map(w, m, 64 * w->page, &one_by_one);
	for (size_t i = 0; i < 8; i++)
		world_put(w, m, i, 4);
	ck_assert_int_eq(madvise(m->base + DROPPED * m->page, m->page, MADV_DONTNEED), 0);
}

static bool store_has(struct world *w, struct world_map *m, size_t page, uint64_t tag)
{
	uint8_t *expected = malloc(w->page), *seen = malloc(w->page);
	bool same;

	ck_assert_ptr_nonnull(expected);
	ck_assert_ptr_nonnull(seen);
	world_contents(w, w->page, page, tag, expected);
	world_store_peek(m, page * w->page, seen, w->page);
	same = memcmp(seen, expected, w->page) == 0;
	free(expected);
	free(seen);
	return same;
}

static void seven_are_left(struct world *w, struct world_map *m)
{
	for (size_t i = 0; i < 8; i++)
		if (i != DROPPED)
			ck_assert_msg(store_has(w, m, i, 4), "page %zu is not in the file", i);
	for (size_t i = 0; i < 8; i++)
		if (i != DROPPED)
			world_check(w, m, i, 4);
	ck_assert(world_has(w, m, DROPPED, 0) == 1 || world_has(w, m, DROPPED, 4) == 1);
	world_put(w, m, DROPPED, 6);
	world_check(w, m, DROPPED, 6);
	world_unmap(w, m);
	world_close(w);
}

START_TEST(sync_ends_after_the_application_dropped_a_page)
{
	enum world_backend backend = backend_or_skip(_i);
	struct world w;
	struct world_map m;

	drop_one_of_eight(&w, &m, backend);
	ck_assert_int_eq(hmm_region_sync(m.region, m.base, m.length, 0), 0);
	seven_are_left(&w, &m);
}
END_TEST

START_TEST(pageout_ends_after_the_application_dropped_a_page)
{
	enum world_backend backend = backend_or_skip(_i);
	struct world w;
	struct world_map m;

	drop_one_of_eight(&w, &m, backend);
	page_out(&m);
	seven_are_left(&w, &m);
}
END_TEST

START_TEST(hole_in_a_dirty_run_loses_no_other_page)
{
	enum { PAGES = 64, HOLE = 10 };
	enum world_backend backend = backend_or_skip(_i);
	struct world w;
	struct world_map m;

	world_open(&w, backend, WORLD_FILE_SHARED, 1, 512, &polled);
	world_map(&w, &m, PAGES * w.page, &one_by_one);
	for (size_t i = 0; i < PAGES; i++)
		world_put(&w, &m, i, 9);
	ck_assert_int_eq(madvise(m.base + HOLE * m.page, m.page, MADV_DONTNEED), 0);
	ck_assert_int_eq(hmm_region_advise(m.region, m.base, m.length, HMM_ADVISE_PAGEOUT), 0);
	ck_assert_int_eq(hmm_region_unmap(m.region), 0);
	for (size_t i = 0; i < PAGES; i++)
		if (i != HOLE)
			ck_assert_msg(store_has(&w, &m, i, 9), "page %zu is lost", i);
	world_map_close(&m);
	world_close(&w);
}
END_TEST

/* The child has every part as it was; it is asked when the parent has finished. */
static void child_compares(const uint8_t *base, size_t part, unsigned parts, int from)
{
	char byte;

	if (read(from, &byte, 1) != 1)
		_exit(9);
	for (unsigned i = 0; i < parts; i++)
		if (get_byte(base + i * part) != (int)(10 + i))
			_exit(1);
	_exit(0);
}

/*
 * A parent's write after the fork gives it frames of its own for part of a large page only: the kernel moves those and
 * refuses the others.
 */
START_TEST(large_page_shared_in_part_since_a_fork_is_kept)
{
	enum { PARTS = 16 };
	enum world_backend backend = backend_or_skip(_i);
	struct hmm_region_options opts = { .size = sizeof(opts), .flags = HMM_REGION_COPY_ON_FORK };
	int go[2], status;
	struct world w;
	struct world_map m;
	pid_t pid;

	world_open(&w, backend, WORLD_SWAP_FILE, 1, 512, NULL);
	opts.page_shift = (uint32_t)__builtin_ctzl(PARTS * w.page);
	world_map(&w, &m, PARTS * w.page, &opts);
	for (unsigned i = 0; i < PARTS; i++)
		ck_assert_int_eq(put_byte(m.base + i * w.page, (uint8_t)(10 + i)), 0);
	ck_assert_int_eq(pipe(go), 0);
	world_threads_rest();
	pid = fork();
	ck_assert_int_ge(pid, 0);
	if (pid == 0) {
		close(go[1]);
		child_compares(m.base, w.page, PARTS, go[0]);
	}
	ck_assert_int_eq(put_byte(m.base, 77), 0);
	ck_assert_int_eq(hmm_region_advise(m.region, m.base, m.length, HMM_ADVISE_PAGEOUT), 0);
	for (unsigned i = 0; i < PARTS; i++)
		ck_assert_int_eq(get_byte(m.base + i * w.page), i ? (int)(10 + i) : 77);
	ck_assert_int_eq(write(go[1], "!", 1), 1);
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert_int_eq(status, 0);
	for (unsigned i = 0; i < PARTS; i++)
		ck_assert_int_eq(get_byte(m.base + i * w.page), i ? (int)(10 + i) : 77);
	world_unmap(&w, &m);
	world_close(&w);
}
END_TEST

static int swap_out(struct world *w, struct world_map *m, uint64_t tag)
{
	for (size_t i = 0; i < m->npages; i++)
		world_put(w, m, i, tag);
	return hmm_region_advise(m->region, m->base, m->length, HMM_ADVISE_PAGEOUT);
}

static int all_have(struct world *w, struct world_map *m, uint64_t tag)
{
	for (size_t i = 0; i < m->npages; i++)
		if (world_has(w, m, i, tag) != 1)
			return 0;
	return 1;
}

/* A new region in the space that the child inherited: swapped out after the parent's, looked at after the parent's. */
static void child_swaps(struct world *w, int from, int to)
{
	struct world_map fresh;
	char byte;

	world_map(w, &fresh, 64 * w->page, NULL);
	if (read(from, &byte, 1) != 1)
		_exit(9);
	if (swap_out(w, &fresh, 30))
		_exit(1);
	if (write(to, "!", 1) != 1 || read(from, &byte, 1) != 1)
		_exit(9);
	_exit(all_have(w, &fresh, 30) ? 0 : 2);
}

START_TEST(childs_new_region_does_not_disturb_the_parents_swap)
{
	enum world_backend backend = backend_or_skip(_i);
	struct hmm_space_options opts = { .size = sizeof(opts), .rescue = HMM_RESCUE_NEVER };
	int there[2], back[2], status;
	struct world w;
	struct world_map before, after;
	char byte;
	pid_t pid;

	world_open(&w, backend, WORLD_SWAP_FILE, 1, 64, &opts);
	world_map(&w, &before, 64 * w.page, NULL);
	world_map(&w, &after, 64 * w.page, NULL);
	ck_assert_int_eq(swap_out(&w, &before, 10), 0);
	ck_assert_int_eq(pipe(there), 0);
	ck_assert_int_eq(pipe(back), 0);
	world_threads_rest();
	pid = fork();
	ck_assert_int_ge(pid, 0);
	if (pid == 0) {
		close(there[1]);
		close(back[0]);
		child_swaps(&w, there[0], back[1]);
	}
	close(back[1]);
	ck_assert_int_eq(swap_out(&w, &after, 20), 0);
	ck_assert_int_eq(write(there[1], "!", 1), 1);
	ck_assert_int_eq(read(back[0], &byte, 1), 1);
	ck_assert(all_have(&w, &before, 10));
	ck_assert(all_have(&w, &after, 20));
	ck_assert_int_eq(write(there[1], "!", 1), 1);
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert_int_eq(status, 0);
	world_unmap(&w, &before);
	world_unmap(&w, &after);
	world_close(&w);
}
END_TEST

/* The child would write the parent's pages, as they were at the fork, over the store. */
START_TEST(shared_region_can_not_be_copied_on_fork)
{
	enum world_backend backend = backend_or_skip(_i);
	struct hmm_region_options opts = { .size = sizeof(opts), .delivery = world_delivery(backend) };
	struct hmm_region *region = NULL;
	struct hmm_store *store;
	struct world w;

	world_open(&w, backend, WORLD_SWAP_FILE, 1, 64, NULL);
	ck_assert_int_eq(hmm_store_memory(UINT64_C(1) << 24, &store), 0);
	opts.flags = HMM_REGION_SHARED | HMM_REGION_COPY_ON_FORK;
	ck_assert_int_eq(hmm_region_map(w.space, store, 0, 16 * w.page, &opts, &region), -EINVAL);
	ck_assert_ptr_null(region);
	opts.flags = HMM_REGION_SHARED;
	ck_assert_int_eq(hmm_region_map(w.space, store, 0, 16 * w.page, &opts, &region), 0);
	ck_assert_int_eq(hmm_region_unmap(region), 0);
	hmm_store_put(store);
	world_close(&w);
}
END_TEST

struct reclaim {
	struct hmm_space *space;
	atomic_int enough;
};

static void *reclaim_until_enough(void *arg)
{
	struct reclaim *t = arg;

	/* more than once: a page that the kernel holds for a moment stays where it is */
	while (!atomic_load(&t->enough)) {
		(void)hmm_space_reclaim(t->space, 8);
		sched_yield();
	}
	return NULL;
}

/* Returns while the store takes its time to refuse the only dirty page. */
static void begin_refusal(struct world *w, struct reclaim *t, pthread_t *thread)
{
	*t = (struct reclaim){ .space = w->space };
	ck_assert_int_eq(pthread_create(thread, NULL, reclaim_until_enough, t), 0);
	while (world_stats(w).laundry == 0)
		sched_yield();
	atomic_store(&t->enough, 1);
}

START_TEST(refusal_of_a_page_in_the_laundry_fails_sync_and_unmap)
{
	enum world_backend backend = backend_or_skip(_i);
	struct reclaim t;
	struct world w;
	struct world_map m;
	pthread_t thread;

	world_open(&w, backend, WORLD_FILE_SHARED, 1, 64, &polled);
	world_map(&w, &m, 16 * w.page, &one_by_one);
	world_put(&w, &m, 0, 8);
	set_fault(m.store, (struct hmm_store_fault){ .write_nth = 1, .repeat = 1, .delay_ns = 300000000 });
	begin_refusal(&w, &t, &thread);
	ck_assert_int_eq(hmm_region_sync(m.region, m.base, m.length, 0), -EIO);
	pthread_join(thread, NULL);
	world_put(&w, &m, 0, 9);
	begin_refusal(&w, &t, &thread);
	ck_assert_int_eq(hmm_region_unmap(m.region), -EIO);
	pthread_join(thread, NULL);
	ck_assert(store_has(&w, &m, 0, 0));
	world_check(&w, &m, 0, 9);
	ck_assert_int_eq(hmm_store_set_fault(m.store, NULL), 0);
	ck_assert_int_eq(hmm_region_sync(m.region, m.base, m.length, 0), 0);
	ck_assert(store_has(&w, &m, 0, 9));
	world_unmap(&w, &m);
	world_close(&w);
}
END_TEST

struct reader {
	struct world *w;
	struct world_map *m;
	size_t page;
	int has;
};

static void *read_one(void *arg)
{
	struct reader *t = arg;

	t->has = world_has(t->w, t->m, t->page, 0);
	return NULL;
}

/* More pages are asked for at once than there are frames, and none of them can be taken while its store is slow. */
START_TEST(slow_store_and_many_threads_give_no_sigbus)
{
	enum { THREADS = 40 };
	enum world_backend backend = backend_or_skip(_i);
	bool one_pager = world_delivery(backend) == HMM_DELIVERY_THREAD; /* reads one after the other */
	struct reader readers[THREADS];
	pthread_t threads[THREADS];
	struct world w;
	struct world_map m;

	world_open(&w, backend, WORLD_FILE_SHARED, 1, HMM_FRAMES_MIN, NULL);
	world_map(&w, &m, 64 * w.page, &one_by_one);
	set_fault(m.store, (struct hmm_store_fault){ .delay_ns = one_pager ? 50000000 : 1000000000 });
	for (size_t i = 0; i < THREADS; i++) {
		readers[i] = (struct reader){ .w = &w, .m = &m, .page = i };
		ck_assert_int_eq(pthread_create(&threads[i], NULL, read_one, &readers[i]), 0);
	}
	for (size_t i = 0; i < THREADS; i++) {
		pthread_join(threads[i], NULL);
		ck_assert_msg(readers[i].has == 1, "page %zu: %d", i, readers[i].has);
	}
	ck_assert_uint_eq(world_stats(&w).faults_failed, 0);
	ck_assert_int_eq(hmm_store_set_fault(m.store, NULL), 0);
	world_unmap(&w, &m);
	world_close(&w);
}
END_TEST

START_TEST(refusing_store_does_not_stop_eviction_to_a_healthy_one)
{
	enum { PAGES = 2000 };
	enum world_backend backend = backend_or_skip(_i);
	struct hmm_region_options opts = { .size = sizeof(opts), .delivery = world_delivery(backend) };
	struct hmm_store *memory, *refusing;
	struct hmm_region *region;
	struct world w;
	struct world_map m;

	world_open(&w, backend, WORLD_SWAP_FILE, 1, 128, NULL);
	ck_assert_int_eq(hmm_store_memory(UINT64_C(1) << 24, &memory), 0);
	ck_assert_int_eq(hmm_store_faulty(memory, &refusing), 0);
	set_fault(refusing, (struct hmm_store_fault){ .write_nth = 1, .repeat = 1 });
	opts.flags = HMM_REGION_SHARED;
	ck_assert_int_eq(hmm_region_map(w.space, refusing, 0, 64 * w.page, &opts, &region), 0);
	ck_assert_int_eq(put_byte(hmm_region_base(region), 1), 0);
	ck_assert_int_eq(hmm_region_advise(region, hmm_region_base(region), w.page, HMM_ADVISE_PAGEOUT), -EIO);
	world_map(&w, &m, PAGES * w.page, NULL);
	for (size_t i = 0; i < PAGES; i++)
		world_put(&w, &m, i, 2);
	for (size_t i = 0; i < PAGES; i++)
		world_check(&w, &m, i, 2);
	ck_assert_int_eq(get_byte(hmm_region_base(region)), 1);
	ck_assert_int_eq(hmm_store_set_fault(refusing, NULL), 0);
	ck_assert_int_eq(hmm_region_unmap(region), 0);
	world_unmap(&w, &m);
	world_close(&w);
	hmm_store_put(refusing);
	hmm_store_put(memory);
}
END_TEST

START_TEST(dirty_pages_that_the_application_protected_can_be_evicted)
{
	enum { PAGES = 64 };
	enum world_backend backend = backend_or_skip(_i);
	uint8_t residency[PAGES];
	struct world w;
	struct world_map m;

	world_open(&w, backend, WORLD_SWAP_FILE, 1, 512,
	           &(struct hmm_space_options){ .size = sizeof(struct hmm_space_options), .rescue = HMM_RESCUE_NEVER });
	world_map(&w, &m, PAGES * w.page, NULL);
	for (size_t i = 0; i < PAGES; i++)
		world_put(&w, &m, i, 5);
	ck_assert_int_eq(mprotect(m.base, m.length, PROT_READ), 0);
	page_out(&m);
	ck_assert_uint_eq(world_stats(&w).resident, 0);
	ck_assert_int_eq(hmm_region_residency(m.region, m.base, m.length, residency), 0);
	for (size_t i = 0; i < PAGES; i++)
		ck_assert_uint_eq(residency[i] & (HMM_RESIDENT | HMM_STORED), HMM_STORED);
	ck_assert_int_eq(mprotect(m.base, m.length, PROT_READ | PROT_WRITE), 0);
	for (size_t i = 0; i < PAGES; i++)
		world_check(&w, &m, i, 5);
	for (size_t i = 0; i < PAGES; i++)
		world_put(&w, &m, i, 6);
	for (size_t i = 0; i < PAGES; i++)
		world_check(&w, &m, i, 6);
	world_unmap(&w, &m);
	world_close(&w);
}
END_TEST

/* The library's own tables once took the place, where it was the gap that the kernel fills first. */
START_TEST(fixed_region_fits_a_gap_that_was_just_made)
{
	enum { PAGES = 16 };
	enum world_backend backend = backend_or_skip(_i);
	struct hmm_region_options opts = { .size = sizeof(opts), .flags = HMM_REGION_FIXED,
	                                   .delivery = world_delivery(backend) };
	struct hmm_region *region = NULL;
	struct world w;

	world_open(&w, backend, WORLD_SWAP_FILE, 1, 64, NULL);
	for (unsigned round = 0; round < 4; round++) {
		opts.address = mmap(NULL, PAGES * w.page, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		ck_assert_ptr_ne(opts.address, MAP_FAILED);
		ck_assert_int_eq(hmm_region_map(w.space, NULL, 0, PAGES * w.page, &opts, &region), -EEXIST);
		ck_assert_int_eq(munmap(opts.address, PAGES * w.page), 0);
		ck_assert_int_eq(hmm_region_map(w.space, NULL, 0, PAGES * w.page, &opts, &region), 0);
		ck_assert_ptr_eq(hmm_region_base(region), opts.address);
		ck_assert_int_eq(put_byte(opts.address, 7), 0);
		ck_assert_int_eq(get_byte(opts.address), 7);
		ck_assert_int_eq(hmm_region_unmap(region), 0);
	}
	world_close(&w);
}
END_TEST

static Suite *suite(void)
{
	Suite *s = suite_create("regressions");

	for (int i = 0; i < BACKENDS; i++) {
		TCase *t = tcase_create(world_backend_names[backends[i]]);

		tcase_add_loop_test(t, first_writes_go_on_while_another_thread_unmaps, i, i + 1);
		tcase_add_loop_test(t, faults_go_on_while_another_thread_unmaps_and_drops, i, i + 1);
		tcase_add_loop_test(t, sync_ends_after_the_application_dropped_a_page, i, i + 1);
		tcase_add_loop_test(t, pageout_ends_after_the_application_dropped_a_page, i, i + 1);
		tcase_add_loop_test(t, hole_in_a_dirty_run_loses_no_other_page, i, i + 1);
		if (!TEST_TSAN) { /* threads start after a fork: meson.build */
			tcase_add_loop_test(t, large_page_shared_in_part_since_a_fork_is_kept, i, i + 1);
			tcase_add_loop_test(t, childs_new_region_does_not_disturb_the_parents_swap, i, i + 1);
		}
		tcase_add_loop_test(t, shared_region_can_not_be_copied_on_fork, i, i + 1);
		tcase_add_loop_test(t, refusal_of_a_page_in_the_laundry_fails_sync_and_unmap, i, i + 1);
		tcase_add_loop_test(t, slow_store_and_many_threads_give_no_sigbus, i, i + 1);
		tcase_add_loop_test(t, refusing_store_does_not_stop_eviction_to_a_healthy_one, i, i + 1);
		tcase_add_loop_test(t, dirty_pages_that_the_application_protected_can_be_evicted, i, i + 1);
		tcase_add_loop_test(t, fixed_region_fits_a_gap_that_was_just_made, i, i + 1);
		suite_add_tcase(s, t);
	}
	return s;
}

HMM_TEST_MAIN(suite)
