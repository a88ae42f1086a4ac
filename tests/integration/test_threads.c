/* SPDX-License-Identifier: MIT */
/*
 * test_threads.c - threads that end while a page of theirs is on its way
 *
 * A thread that is cancelled must not take with it what others wait for.  The store's callback stands still until the
 * thread has been asked to end, so every run meets the moment in question.
 */
#include "tests/world.h"

#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#define FRAMES 64
#define NPAGES 256

static struct world w;
static struct hmm_region *region;
static uint8_t *base;

/* --- a store whose reads can be held up, and are cancellation points --- */

static uint8_t bytes[NPAGES * 4096];
static atomic_int hold_reads, reads_may_go, testcancel_in_reads;
static atomic_int open_signals; /* a signal that was not blocked in a read */
static sem_t in_read;

static void note_mask(void)
{
	uint64_t mask = 0;

	syscall(SYS_rt_sigprocmask, SIG_BLOCK, NULL, &mask, sizeof(mask));
	for (int s = 1; s <= 64; s++) {
		if (s != SIGKILL && s != SIGSTOP && !(mask >> (s - 1) & 1))
			atomic_store(&open_signals, s);
	}
}

static int slow_read(void *arg, struct hmm_store_vec *vec, unsigned n)
{
	(void)arg;
	if (atomic_exchange(&hold_reads, 0)) {
		if (world_delivery(w.backend) == HMM_DELIVERY_INLINE)
			note_mask();
		sem_post(&in_read);
		while (!atomic_load(&reads_may_go))
			sched_yield();
		if (atomic_load(&testcancel_in_reads))
			pthread_testcancel();
	}
	for (unsigned i = 0; i < n; i++) {
		memcpy(vec[i].data, bytes + vec[i].offset, vec[i].length);
		vec[i].error = 0;
	}
	return 0;
}

static int slow_write(void *arg, struct hmm_store_vec *vec, unsigned n)
{
	(void)arg;
	for (unsigned i = 0; i < n; i++) {
		memcpy(bytes + vec[i].offset, vec[i].data, vec[i].length);
		vec[i].error = 0;
	}
	return 0;
}

static int slow_length(void *arg, uint64_t *ret_length)
{
	(void)arg;
	*ret_length = sizeof(bytes);
	return 0;
}

static const struct hmm_store_ops slow_ops = {
	.size = sizeof(slow_ops),
	.version = HMM_STORE_VERSION,
	.name = "slow",
	.read = slow_read,
	.write = slow_write,
	.length = slow_length,
};

static void begin(int backend)
{
	struct hmm_region_options opts = { .size = sizeof(opts), .flags = HMM_REGION_SHARED };
	const char *missing = world_missing((enum world_backend)backend);
	struct hmm_store *store;

	if (missing)
		world_skip(missing);
	for (size_t i = 0; i < NPAGES; i++)
		memset(bytes + i * 4096, (int)(i + 1), 4096);
	world_open(&w, (enum world_backend)backend, WORLD_SWAP_FILE, 1, FRAMES, NULL);
	if (w.page != 4096)
		world_skip("pages of 4 KiB");
	opts.delivery = world_delivery(w.backend);
	ck_assert_int_eq(hmm_store_create(&slow_ops, NULL, &store), 0);
	ck_assert_int_eq(hmm_region_map(w.space, store, 0, sizeof(bytes), &opts, &region), 0);
	hmm_store_put(store);
	base = hmm_region_base(region);
	sem_init(&in_read, 0, 0);
}

static void end(void)
{
	for (size_t i = 0; i < NPAGES; i++) {
		uint8_t seen = 0;

		ck_assert_int_eq(world_guarded_read(base + i * 4096 + 7, &seen, 1), 0);
		ck_assert_uint_eq(seen, (uint8_t)(i + 1));
	}
	ck_assert_int_eq(hmm_region_unmap(region), 0);
	world_close(&w);
}

/* --- threads that are asked to end --- */

struct victim {
	int type; /* of cancellation */
	size_t page;
	bool calls;               /* comes by a call, not by an access */
	atomic_int cleaned, went_on;
};

/* Pages that nobody has touched yet: SIGBUS must be open again, or the process would end here. */
static void clean_up(void *arg)
{
	struct victim *v = arg;
	volatile uint8_t *memory = base;

	int right = 0;

	for (size_t i = 100; i < 104; i++)
		right += memory[i * 4096] == (uint8_t)(i + 1);
	atomic_store(&v->cleaned, right);
}

static void *touch_and_end(void *arg)
{
	struct victim *v = arg;
	volatile uint8_t *memory = base;

	pthread_cleanup_push(clean_up, v);
	pthread_setcanceltype(v->type, NULL);
	if (v->calls)
		(void)!hmm_region_advise(region, base + v->page * 4096, 4096, HMM_ADVISE_WILLNEED);
	else
		(void)memory[v->page * 4096];
	atomic_store(&v->went_on, 1);
	for (;;)
		pthread_testcancel();
	pthread_cleanup_pop(0);
	return NULL;
}

static void cancel_in_a_read(struct victim *v)
{
	pthread_t thread;
	void *result;
	uint8_t seen = 0;

	atomic_store(&reads_may_go, 0);
	atomic_store(&hold_reads, 1);
	ck_assert_int_eq(pthread_create(&thread, NULL, touch_and_end, v), 0);
	while (sem_wait(&in_read) < 0)
		;
	ck_assert_int_eq(pthread_cancel(thread), 0);
	atomic_store(&reads_may_go, 1);
	ck_assert_int_eq(pthread_join(thread, &result), 0);
	ck_assert_ptr_eq(result, PTHREAD_CANCELED);
	ck_assert_int_eq(v->cleaned, 4);
	ck_assert_int_eq(open_signals, 0);
	ck_assert_int_eq(world_guarded_read(base + v->page * 4096, &seen, 1), 0);
	ck_assert_uint_eq(seen, (uint8_t)(v->page + 1));
}

/* _i: enum world_backend */
START_TEST(cancelled_asynchronously_in_a_fault)
{
	begin(_i);
	for (size_t i = 0; i < 8; i++) {
		struct victim v = { .type = PTHREAD_CANCEL_ASYNCHRONOUS, .page = 10 + 3 * i };

		ck_assert_int_eq(hmm_region_advise(region, base, sizeof(bytes), HMM_ADVISE_PAGEOUT), 0);
		cancel_in_a_read(&v);
	}
	end();
}
END_TEST

START_TEST(cancelled_in_a_fault_whose_store_has_a_cancellation_point)
{
	begin(_i);
	atomic_store(&testcancel_in_reads, 1);
	for (int type = 0; type < 2; type++) {
		struct victim v = { .type = type ? PTHREAD_CANCEL_DEFERRED : PTHREAD_CANCEL_ASYNCHRONOUS, .page = 20 };

		ck_assert_int_eq(hmm_region_advise(region, base, sizeof(bytes), HMM_ADVISE_PAGEOUT), 0);
		cancel_in_a_read(&v);
		if (type)
			ck_assert_int_eq(v.went_on, 1);
	}
	end();
}
END_TEST

START_TEST(cancelled_in_a_call)
{
	begin(_i);
	atomic_store(&testcancel_in_reads, 1);
	for (int type = 0; type < 2; type++) {
		struct victim v = { .type = type ? PTHREAD_CANCEL_DEFERRED : PTHREAD_CANCEL_ASYNCHRONOUS, .page = 30,
			            .calls = true };

		ck_assert_int_eq(hmm_region_advise(region, base, sizeof(bytes), HMM_ADVISE_PAGEOUT), 0);
		cancel_in_a_read(&v);
		if (type)
			ck_assert_int_eq(v.went_on, 1);
	}
	end();
}
END_TEST

/* --- at any moment --- */

static _Atomic size_t at;

static void *wander(void *arg)
{
	uint64_t seed = (uintptr_t)arg;
	volatile uint8_t *memory = base;

	pthread_setcanceltype(PTHREAD_CANCEL_ASYNCHRONOUS, NULL);
	for (;;) {
		size_t page = world_random(&seed) % NPAGES;

		atomic_store(&at, page);
		memory[page * 4096] = (uint8_t)(page + 1);
	}
	return NULL;
}

START_TEST(cancelled_asynchronously_at_any_moment)
{
	uint64_t seed = test_seed(), rounds = test_operations("threads cancelled", 300, 20);

	begin(_i);
	for (uint64_t round = 0; round < rounds; round++) {
		uint64_t spins = world_random(&seed) % 20000;
		pthread_t thread;
		uint8_t seen = 0;

		ck_assert_int_eq(pthread_create(&thread, NULL, wander, (void *)(uintptr_t)world_random(&seed)), 0);
		while (!atomic_load(&at))
			;
		for (volatile uint64_t i = 0; i < spins; i++)
			;
		pthread_cancel(thread);
		ck_assert_int_eq(pthread_join(thread, NULL), 0);
		ck_assert_int_eq(world_guarded_read(base + atomic_load(&at) * 4096, &seen, 1), 0);
	}
	end();
}
END_TEST

static Suite *suite(void)
{
	Suite *s = suite_create("threads");

	for (int i = WORLD_INLINE_AUTO; i < WORLD_BACKENDS; i++) {
		TCase *t = tcase_create(world_backend_names[i]);

		tcase_add_loop_test(t, cancelled_asynchronously_in_a_fault, i, i + 1);
		tcase_add_loop_test(t, cancelled_in_a_fault_whose_store_has_a_cancellation_point, i, i + 1);
		tcase_add_loop_test(t, cancelled_in_a_call, i, i + 1);
		tcase_add_loop_test(t, cancelled_asynchronously_at_any_moment, i, i + 1);
		suite_add_tcase(s, t);
	}
	return s;
}

HMM_TEST_MAIN(suite)
