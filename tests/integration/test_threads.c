/* SPDX-License-Identifier: MIT */
/*
 * test_threads.c - threads that end while a page of theirs is on its way
 *
 * A thread that is cancelled must not take with it what others wait for.  The store's callback stands still until the
 * thread has been asked to end, so every run meets the moment in question.
 */
#include "tests/world.h"

#include <errno.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#if __has_include(<sys/rseq.h>)
#include <sys/rseq.h>
#endif
#include <unistd.h>

#define FRAMES 128
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

/* --- threads whose own memory is paged --- */

#define STACK ((size_t)64 * 4096)
#define STACK_AT ((size_t)128 * 4096) /* in the region */

static atomic_int deep, may_end;
static _Atomic pid_t ending; /* the thread's id */

/* The kernel writes to its area near the descriptor now and then, which brings the page back. */
static void no_restartable_sequences(void)
{
#ifdef RSEQ_SIG
	syscall(SYS_rseq, (uint8_t *)__builtin_thread_pointer() + __rseq_offset, 32l, 1l, (long)RSEQ_SIG);
#endif
}

/* The end comes by the system call, so that nothing of the C library's brings its pages back just before. */
static void *use_stack_and_end(void *arg)
{
	volatile uint8_t frame[32 * 4096];

	(void)arg;
	for (size_t i = 0; i < sizeof(frame); i += 512)
		frame[i] = (uint8_t)i;
	no_restartable_sequences();
	atomic_store(&ending, gettid());
	atomic_store(&deep, 1);
	while (!atomic_load(&may_end))
		;
	syscall(SYS_exit, 0L);
	return NULL;
}

/* Looking for the word that the kernel clears would bring it back: first the thread must be gone. */
static bool join_patiently(pthread_t thread)
{
	struct world_wait wait = { 0 };
	struct timespec until;

	while (tgkill(getpid(), atomic_load(&ending), 0) == 0 && world_wait(&wait))
		;
	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_sec += test_patience(10);
	return pthread_timedjoin_np(thread, NULL, &until) == 0;
}

START_TEST(thread_whose_stack_is_paged_is_joined)
{
	uint8_t *stack;
	pthread_attr_t attr;

	begin(_i);
	stack = base + STACK_AT;
	pthread_attr_init(&attr);
	ck_assert_int_eq(pthread_attr_setstack(&attr, stack, STACK), 0);
	for (int round = 0; round < 5; round++) {
		pthread_t thread;

		ck_assert_int_eq(hmm_region_pin_stack(region, stack, STACK), 0);
		atomic_store(&deep, 0);
		atomic_store(&may_end, 0);
		ck_assert_int_eq(pthread_create(&thread, &attr, use_stack_and_end, NULL), 0);
		while (!atomic_load(&deep))
			sched_yield();
		ck_assert_int_eq(hmm_region_sync(region, base, sizeof(bytes), 0), 0);
		ck_assert_int_eq(hmm_region_advise(region, base, sizeof(bytes), HMM_ADVISE_PAGEOUT), 0);
		ck_assert_uint_le(hmm_region_resident(region), 2 + (world_delivery(w.backend) == HMM_DELIVERY_INLINE ? 64 : 0));
		atomic_store(&may_end, 1);
		ck_assert_msg(join_patiently(thread), "the thread's end is told to nobody");
		ck_assert_int_eq(hmm_region_unpin_stack(region, stack, STACK), 0);
		ck_assert_uint_eq(world_stats(&w).pinned, 0);
	}
	pthread_attr_destroy(&attr);
	for (size_t i = 0; i < STACK / 4096; i++) /* as the others are */
		memset(stack + i * 4096, (int)(STACK_AT / 4096 + i + 1), 4096);
	end();
}
END_TEST

static void *lock_and_end(void *arg)
{
	ck_assert_int_eq(pthread_mutex_lock(arg), 0);
	atomic_store(&deep, 1);
	while (!atomic_load(&may_end))
		;
	return NULL;
}

START_TEST(robust_mutex_in_pinned_page_tells_of_its_owner)
{
	pthread_mutexattr_t attr;
	pthread_mutex_t *mutex;
	pthread_t thread;

	begin(_i);
	mutex = (pthread_mutex_t *)(void *)(base + 5 * 4096);
	ck_assert_int_eq(hmm_region_pin(region, mutex, 4096, 1), 0);
	pthread_mutexattr_init(&attr);
	pthread_mutexattr_setrobust(&attr, PTHREAD_MUTEX_ROBUST);
	pthread_mutex_init(mutex, &attr);
	ck_assert_int_eq(pthread_create(&thread, NULL, lock_and_end, mutex), 0);
	while (!atomic_load(&deep))
		sched_yield();
	ck_assert_int_eq(hmm_region_sync(region, base, sizeof(bytes), 0), 0);
	ck_assert_int_eq(hmm_region_advise(region, base, sizeof(bytes), HMM_ADVISE_PAGEOUT), 0);
	atomic_store(&may_end, 1);
	pthread_join(thread, NULL);
	ck_assert_int_eq(pthread_mutex_lock(mutex), EOWNERDEAD);
	ck_assert_int_eq(pthread_mutex_consistent(mutex), 0);
	pthread_mutex_unlock(mutex);
	ck_assert_int_eq(hmm_region_unpin(region, mutex, 4096), 0);
	memset(mutex, 6, 4096);
	end();
}
END_TEST

START_TEST(pins_of_stacks_check_their_arguments)
{
	begin(_i);
	ck_assert_int_eq(hmm_region_pin_stack(NULL, base, STACK), -EINVAL);
	ck_assert_int_eq(hmm_region_pin_stack(region, base, 0), -EINVAL);
	ck_assert_int_eq(hmm_region_pin_stack(region, (void *)(UINTPTR_MAX - 4095), STACK), -EINVAL);
	ck_assert_int_eq(hmm_region_pin_stack(region, base + sizeof(bytes), STACK), -ENOMEM);
	ck_assert_int_eq(hmm_region_unpin_stack(region, base, STACK), -EINVAL); /* not pinned */
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
		tcase_add_loop_test(t, thread_whose_stack_is_paged_is_joined, i, i + 1);
		tcase_add_loop_test(t, robust_mutex_in_pinned_page_tells_of_its_owner, i, i + 1);
		tcase_add_loop_test(t, pins_of_stacks_check_their_arguments, i, i + 1);
		suite_add_tcase(s, t);
	}
	return s;
}

HMM_TEST_MAIN(suite)
