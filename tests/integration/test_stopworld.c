/* SPDX-License-Identifier: MIT */
/*
 * test_stopworld.c - a collector stops all threads by a signal, at any moment, and then uses regions and calls freely
 *
 * A thread that is stopped may be in the middle of a fault or of a call.  If it held a lock of the library's there,
 * the stopper would wait for ever.
 */
#include "tests/world.h"

#include <errno.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>

#define THREADS 3
#define FRAMES 64
#define NPAGES 256
#define ROUNDS 60

static struct world w;
static struct world_map m;
static sem_t parked;
static atomic_int finished;
static atomic_uint turn;

/* Leaves errno as it was, as a handler must: the thread may stand between a failed call and its look at errno. */
static void park(int signal)
{
	unsigned mine = atomic_load(&turn);
	int saved = errno;
	sigset_t mask;

	(void)signal;
	sem_post(&parked);
	sigfillset(&mask);
	sigdelset(&mask, SIGUSR2);
	while (atomic_load(&turn) == mine)
		sigsuspend(&mask);
	sem_post(&parked);
	errno = saved;
}

static void go_on(int signal)
{
	(void)signal;
}

/*
 * A stopped thread may hold the locks of malloc() and of Check: neither the stopped nor the stopper use them, as no
 * collector would.  What goes wrong is counted.
 */
static atomic_int wrong, first_wrong;

#define expect(good) \
	do { \
		if (!(good) && atomic_fetch_add(&wrong, 1) == 0) \
			atomic_store(&first_wrong, __LINE__); \
	} while (0)

static int put(uint8_t *base, size_t page, uint64_t word)
{
	return world_guarded_write(base + page * w.page + 8, (const uint8_t *)&word, 8);
}

static bool has(uint8_t *base, size_t page, uint64_t word)
{
	uint64_t seen = 0;

	return world_guarded_read(base + page * w.page + 8, (uint8_t *)&seen, 8) == 0 && seen == word;
}

static void *mutate(void *arg)
{
	uint64_t seed = (uintptr_t)arg, n = 1;

	while (!atomic_load(&finished)) {
		size_t i = world_random(&seed) % (NPAGES / THREADS) * THREADS + (size_t)(uintptr_t)arg % THREADS;
		uint8_t *at = m.base + i * m.page, vec;

		n++;
		expect(put(m.base, i, n) == 0);
		expect(has(m.base, i, n));
		switch (world_random(&seed) % 8) {
		case 0:
			expect(hmm_region_advise(m.region, at, m.page, HMM_ADVISE_PAGEOUT) == 0);
			break;
		case 1:
			expect(hmm_region_residency(m.region, at, m.page, &vec) == 0);
			break;
		case 2:
			expect(hmm_region_pin(m.region, at, m.page, 0) == 0);
			expect(hmm_region_unpin(m.region, at, m.page) == 0);
			break;
		default:
			break;
		}
	}
	return NULL;
}

/* With everybody else stopped: every page, and calls of all kinds. */
static void collect(void)
{
	struct hmm_region_options opts = { .size = sizeof(opts), .delivery = world_delivery(w.backend) };
	struct hmm_stats stats = { .size = sizeof(stats) };
	struct hmm_region *other;
	uint64_t seen;

	for (size_t i = 0; i < m.npages; i++)
		expect(world_guarded_read(m.base + i * m.page, (uint8_t *)&seen, 8) == 0);
	expect(hmm_region_advise(m.region, m.base, 16 * m.page, HMM_ADVISE_PAGEOUT) == 0);
	expect(hmm_region_pin(m.region, m.base + 32 * m.page, 4 * m.page, 1) == 0);
	expect(hmm_region_unpin(m.region, m.base + 32 * m.page, 4 * m.page) == 0);
	expect(hmm_space_reclaim(w.space, 8) >= 0);
	expect(hmm_space_stats(w.space, &stats) == 0);
	if (hmm_region_map(w.space, NULL, 0, 80 * w.page, &opts, &other)) {
		expect(false);
		return;
	}
	for (size_t i = 0; i < 80; i++)
		expect(put(hmm_region_base(other), i, 9) == 0);
	for (size_t i = 0; i < 80; i++)
		expect(has(hmm_region_base(other), i, 9));
	expect(hmm_region_unmap(other) == 0);
}

static void signals(void)
{
	struct sigaction stop = { .sa_handler = park, .sa_flags = SA_RESTART };
	struct sigaction start = { .sa_handler = go_on, .sa_flags = SA_RESTART };

	sigfillset(&stop.sa_mask);
	sigaction(SIGUSR1, &stop, NULL);
	sigaction(SIGUSR2, &start, NULL);
}

static void wait_for_all(void)
{
	for (int i = 0; i < THREADS; i++)
		while (sem_wait(&parked) < 0)
			;
}

/* _i: enum world_backend */
START_TEST(stopped_threads_hold_no_lock)
{
	const char *missing = world_missing((enum world_backend)_i);
	pthread_t threads[THREADS];

	if (missing)
		world_skip(missing);
	world_open(&w, (enum world_backend)_i, WORLD_SWAP_FILE, 1, FRAMES, NULL);
	world_map(&w, &m, NPAGES * w.page, NULL);
	signals();
	sem_init(&parked, 0, 0);
	for (uintptr_t i = 0; i < THREADS; i++)
		ck_assert_int_eq(pthread_create(&threads[i], NULL, mutate, (void *)i), 0);
	for (unsigned round = 0; round < ROUNDS; round++) {
		for (int i = 0; i < THREADS; i++)
			pthread_kill(threads[i], SIGUSR1);
		wait_for_all();
		collect();
		atomic_fetch_add(&turn, 1);
		for (int i = 0; i < THREADS; i++)
			pthread_kill(threads[i], SIGUSR2);
		wait_for_all();
	}
	atomic_store(&finished, 1);
	for (int i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	ck_assert_msg(wrong == 0, "%d expectations failed, the first in line %d; events: %d without frame", wrong,
	              first_wrong, (int)w.events[HMM_EVENT_NO_FRAME]);
	world_unmap(&w, &m);
	world_close(&w);
}
END_TEST

static Suite *suite(void)
{
	Suite *s = suite_create("stopworld");

	for (int i = WORLD_INLINE_AUTO; i < WORLD_BACKENDS; i++) {
		TCase *t = tcase_create(world_backend_names[i]);

		tcase_add_loop_test(t, stopped_threads_hold_no_lock, i, i + 1);
		suite_add_tcase(s, t);
	}
	return s;
}

HMM_TEST_MAIN(suite)
