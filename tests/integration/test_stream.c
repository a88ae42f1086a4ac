/* SPDX-License-Identifier: MIT */
/*
 * test_stream.c - sequential streams long enough for the assistant: right contents, whoever loads them and whatever
 * happens to the region meanwhile
 */
#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/world.h"

#define FRAMES 1024
/* Slow builds: threads that count lines, or accesses, in shared memory. */
#if TEST_TSAN && !defined(TEST_SLOW)
#define TEST_SLOW 1
#endif

#ifdef TEST_SLOW
#define SLOW 1
#define NPAGES (2 * FRAMES)
#else
#define SLOW 0
#define NPAGES (4 * FRAMES)
#endif
#define READERS 3
#define ROUNDS 2

struct reader {
	struct world *w;
	struct world_map *m;
	pthread_t id;
	uint64_t wrong; /* pages */
	bool writes;    /* every 64th page, and reads it back in the next round */
};

/* A word of each page, anywhere in it. */
static bool page_is_right(struct reader *r, size_t page, unsigned round)
{
	size_t at = page % 64 * 64;
	uint8_t seen[8], expected[8];
	bool written = r->writes && round > 0 && page % 64 == 0;

	if (world_read(r->w, r->m->region, r->m->base + page * r->m->page + at, seen, sizeof(seen)))
		return false;
	for (size_t i = 0; i < sizeof(expected); i++)
		expected[i] = written ? (uint8_t)(page + round + i) :
		                        world_initial(r->w, (uint64_t)page * r->m->page + at + i);
	return memcmp(seen, expected, sizeof(seen)) == 0;
}

static void *stream(void *arg)
{
	struct reader *r = arg;

	for (unsigned round = 0; round < ROUNDS; round++) {
		for (size_t page = 0; page < r->m->npages; page++) {
			uint8_t next[8];

			r->wrong += !page_is_right(r, page, round);
			for (size_t i = 0; i < sizeof(next); i++)
				next[i] = (uint8_t)(page + round + 1 + i);
			if (r->writes && page % 64 == 0)
				r->wrong += world_write(r->w, r->m->region,
				                        r->m->base + page * r->m->page + page % 64 * 64, next,
				                        sizeof(next)) != 0;
		}
	}
	return NULL;
}

static void start(struct reader *readers, struct world *w, struct world_map *maps, bool writes)
{
	for (unsigned i = 0; i < READERS; i++) {
		readers[i] = (struct reader){ .w = w, .m = &maps[i], .writes = writes };
		ck_assert_int_eq(pthread_create(&readers[i].id, NULL, stream, &readers[i]), 0);
	}
}

static void finish(struct reader *readers)
{
	for (unsigned i = 0; i < READERS; i++) {
		ck_assert_int_eq(pthread_join(readers[i].id, NULL), 0);
		ck_assert_msg(readers[i].wrong == 0, "stream %u: %llu pages wrong", i,
		              (unsigned long long)readers[i].wrong);
	}
}

static void open_maps(struct world *w, struct world_map *maps, int backend, enum world_store kind,
                      const struct hmm_region_options *opts)
{
	const char *missing = world_missing((enum world_backend)backend);

	if (missing)
		world_skip(missing);
	world_open(w, (enum world_backend)backend, kind, 1, FRAMES, NULL);
	for (unsigned i = 0; i < READERS; i++)
		world_map(w, &maps[i], NPAGES * w->page, opts);
}

static void close_maps(struct world *w, struct world_map *maps)
{
	for (unsigned i = 0; i < READERS; i++)
		world_unmap(w, &maps[i]);
	world_close(w);
}

/* _i: enum world_backend, in all */
START_TEST(streams_of_several_threads_are_right)
{
	struct reader readers[READERS];
	struct world_map maps[READERS];
	struct world w;

	open_maps(&w, maps, _i, WORLD_FILE_SHARED, NULL);
	start(readers, &w, maps, false);
	finish(readers);
	ck_assert_uint_gt(world_stats(&w).prefetches, READERS * NPAGES / 2);
	ck_assert_uint_gt(world_stats(&w).prefetch_hits, READERS * NPAGES / 4);
	ck_assert_uint_le(world_stats(&w).prefetch_hits, world_stats(&w).prefetches);
	close_maps(&w, maps);
}
END_TEST

START_TEST(streams_with_writes_are_right)
{
	struct reader readers[READERS];
	struct world_map maps[READERS];
	struct world w;

	open_maps(&w, maps, _i, WORLD_FILE_PRIVATE, NULL);
	start(readers, &w, maps, true);
	finish(readers);
	close_maps(&w, maps);
}
END_TEST

START_TEST(large_pages_stream)
{
	struct hmm_region_options opts = { .size = sizeof(opts), .page_shift = 18 };
	struct reader readers[READERS];
	struct world_map maps[READERS];
	struct world w;

	open_maps(&w, maps, _i, WORLD_FILE_SHARED, &opts);
	start(readers, &w, maps, false);
	finish(readers);
	close_maps(&w, maps);
}
END_TEST

/* Others drop, evict and lock what is being read ahead. */
START_TEST(ranges_change_under_a_stream)
{
	static const enum hmm_advice advice[] = { HMM_ADVISE_DONTNEED, HMM_ADVISE_PAGEOUT, HMM_ADVISE_WILLNEED };
	struct reader readers[READERS];
	struct world_map maps[READERS];
	uint64_t random = 1;
	struct world w;

	open_maps(&w, maps, _i, WORLD_FILE_SHARED, NULL);
	start(readers, &w, maps, false);
	for (unsigned i = 0; i < 300; i++) {
		struct world_map *m = &maps[i % READERS];
		size_t page = world_random(&random) % (NPAGES - 64);
		int r = hmm_region_advise(m->region, m->base + page * m->page, 64 * m->page, advice[i % 3]);

		ck_assert_msg(r == 0 || r == -EAGAIN, "advise %u: %s", i % 3, strerror(-r));
	}
	finish(readers);
	close_maps(&w, maps);
}
END_TEST

#if !TEST_TSAN /* it knows no threads that start after a fork in a process of several */
/* The child has its own copy, and an assistant of its own. */
START_TEST(streams_and_forks)
{
	struct hmm_region_options opts = { .size = sizeof(opts), .flags = HMM_REGION_COPY_ON_FORK };
	struct reader readers[READERS];
	struct world_map maps[READERS];
	struct world w;

	open_maps(&w, maps, _i, WORLD_FILE_PRIVATE, &opts);
	start(readers, &w, maps, false);
	for (unsigned i = 0; i < 3; i++) {
		int status;
		pid_t pid;

		usleep(20000);
		pid = fork();
		ck_assert_int_ge(pid, 0);
		if (pid == 0) {
			struct reader r = { .w = &w, .m = &maps[0] };

			stream(&r);
			_exit(r.wrong != 0);
		}
		ck_assert_int_eq(waitpid(pid, &status, 0), pid);
		ck_assert_int_eq(status, 0);
	}
	finish(readers);
	close_maps(&w, maps);
}
END_TEST
#endif

static Suite *suite(void)
{
	Suite *s = suite_create("stream");

	for (int i = 0; i < WORLD_BACKENDS; i++) {
		TCase *t;

		/* one of each kind */
		if (SLOW && i != WORLD_MOCK_THREAD && i != WORLD_INLINE_AUTO && i != WORLD_THREAD_AUTO)
			continue;
		t = tcase_create(world_backend_names[i]);
		tcase_add_loop_test(t, streams_of_several_threads_are_right, i, i + 1);
		tcase_add_loop_test(t, streams_with_writes_are_right, i, i + 1);
		tcase_add_loop_test(t, large_pages_stream, i, i + 1);
		tcase_add_loop_test(t, ranges_change_under_a_stream, i, i + 1);
#if !TEST_TSAN
		if (i >= WORLD_INLINE_AUTO) /* a mock's frames are this process's own */
			tcase_add_loop_test(t, streams_and_forks, i, i + 1);
#endif
		suite_add_tcase(s, t);
	}
	return s;
}

HMM_TEST_MAIN(suite)
