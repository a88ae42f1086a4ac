/* SPDX-License-Identifier: MIT */
/*
 * model.c - thousands of random operations from several threads, against a shadow in plain memory
 *
 *	model [--seed N] [--operations N] [--backend NAME] [--threads N]
 *
 * Memory is divided into records of four words, one a KiB.  A record has one owner, the only thread that writes it; all
 * threads read all records.  Each word carries a hash of its place and the sequence number of its write, so that
 * every reader knows whether a word belongs there and is neither older than what its owner had finished before, nor
 * newer than what the owner had begun.  The owner knows its records exactly.
 *
 * In shared-ownership regions a page holds records of several threads.  Operations that drop contents, protect or lock are
 * done in regions where a thread owns whole pages.  One run in two has a store that fails at random, where an
 * access may be refused and is tried again: nothing may get lost.
 */
#include "tests/stress/model.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

static struct {
	const char *backend;  /* NULL: all */
	uint64_t operations;  /* of all threads; 0: as many as fit this machine */
	unsigned threads;
} arguments = { .threads = 4 };

/* Operations without --operations, on the reference machine; the mock asks nothing of the kernel. */
#define OPERATIONS 60000
#define OPERATIONS_LEAST 6000

static _Atomic unsigned running; /* threads */

uint64_t model_word(const struct model_region *r, size_t record, unsigned i, uint32_t sequence)
{
	uint64_t state = ((uint64_t)r->number << 56) ^ ((uint64_t)record << 8) ^ i;

	if (sequence == 0 && !r->file)
		return 0;
	return (world_random(&state) & ~UINT64_C(0xffffffff)) | sequence;
}

uint8_t *model_record(const struct model_region *r, size_t record)
{
	return r->map.base + record * MODEL_STRIDE;
}

unsigned model_owner(const struct model *model, const struct model_region *r, size_t record)
{
	size_t unit = r->own_pages ? record / (r->map.page / MODEL_STRIDE) : record;

	return (unsigned)(unit % model->nthreads);
}

/*
 * Where the store fails at random an access may be refused, and then for a while also after it works again; it must
 * succeed in the end.
 */
static bool patiently(const struct model *model, int r, unsigned *tries, struct world_wait *wait)
{
	if (r != -EIO || !model->flaky)
		return false;
	return ++*tries <= 20 || world_wait(wait);
}

static int read_record(struct model *model, struct model_region *r, size_t record, uint64_t words[MODEL_WORDS])
{
	struct world_wait wait = { 0 };
	unsigned tries = 0;
	int e;

	do
		e = world_read(&model->world, r->map.region, model_record(r, record), words, MODEL_WORDS * 8);
	while (patiently(model, e, &tries, &wait));
	return e;
}

void model_write(struct model *model, struct model_region *r, size_t record)
{
	uint32_t sequence = atomic_load_explicit(&r->done[record], memory_order_relaxed) + 1;
	uint64_t words[MODEL_WORDS];
	struct world_wait wait = { 0 };
	unsigned tries = 0;
	int e;

	if (sequence <= atomic_load_explicit(&r->issued[record], memory_order_relaxed))
		sequence = atomic_load_explicit(&r->issued[record], memory_order_relaxed) + 1;
	for (unsigned i = 0; i < MODEL_WORDS; i++)
		words[i] = model_word(r, record, i, sequence);
	/* Taken over from who looked before (check_others), so that nobody who read `issued` before can meet these words. */
	atomic_exchange_explicit(&r->issued[record], sequence, memory_order_acquire);
	do
		e = world_write(&model->world, r->map.region, model_record(r, record), words, sizeof(words));
	while (patiently(model, e, &tries, &wait));
	ck_assert_msg(e == 0, "%s record %zu: write: %s", r->name, record, strerror(-e));
	atomic_store_explicit(&r->done[record], sequence, memory_order_release);
}

/* The owner: exactly what it wrote last. */
void model_check_own(struct model *model, struct model_region *r, size_t record)
{
	uint32_t sequence = atomic_load_explicit(&r->done[record], memory_order_relaxed);
	uint64_t words[MODEL_WORDS];
	int e = read_record(model, r, record, words);

	ck_assert_msg(e == 0, "%s record %zu: read: %s", r->name, record, strerror(-e));
	for (unsigned i = 0; i < MODEL_WORDS; i++)
		ck_assert_msg(words[i] == model_word(r, record, i, sequence),
		              "%s record %zu (page %zu) word %u: %#llx instead of %#llx", r->name, record,
		              record * MODEL_STRIDE / r->map.page, i, (unsigned long long)words[i],
		              (unsigned long long)model_word(r, record, i, sequence));
}

/* Another thread: in its place, and neither too old nor too new. */
static void check_others(struct model *model, struct model_region *r, size_t record)
{
	uint32_t low = atomic_load_explicit(&r->done[record], memory_order_acquire), high;
	uint64_t words[MODEL_WORDS];
	int e = read_record(model, r, record, words);

	ck_assert_msg(e == 0, "%s record %zu: read: %s", r->name, record, strerror(-e));
	/* Read by a read-modify-write that releases: the words above were read before it, whoever issues the next. */
	high = atomic_fetch_add_explicit(&r->issued[record], 0, memory_order_release);
	for (unsigned i = 0; i < MODEL_WORDS; i++) {
		uint32_t sequence = (uint32_t)words[i];

		ck_assert_msg(words[i] == model_word(r, record, i, sequence), "%s record %zu word %u: %#llx is foreign",
		              r->name, record, i, (unsigned long long)words[i]);
		ck_assert_msg(sequence <= high && (sequence >= low || r->own_pages),
		              "%s record %zu word %u: sequence %u, expected %u to %u", r->name, record, i, sequence, low,
		              high);
	}
}

void model_check(struct model *model, struct model_thread *thread, struct model_region *r, size_t record)
{
	if (model_owner(model, r, record) != thread->number)
		check_others(model, r, record);
	else if (!r->freed || !r->freed[record * MODEL_STRIDE / r->map.page])
		model_check_own(model, r, record);
}

static void *run(void *arg)
{
	struct model_thread *thread = arg;

	for (uint64_t i = 0; i < thread->model->operations; i++)
		model_step(thread->model, thread);
	model_settle(thread->model, thread);
	atomic_fetch_sub(&running, 1);
	return NULL;
}

static void nothing(int signal)
{
	(void)signal;
}

/* Signals arrive all the time, in faults and in calls; they must neither break nor delay anything for long. */
static void shake(struct model *model)
{
	struct timespec pause = { .tv_nsec = 3000000 };

	while (atomic_load(&running) > 0) {
		nanosleep(&pause, NULL);
		pthread_kill(model->threads[world_random(&model->seed) % model->nthreads].thread, SIGUSR1);
	}
}

static uint64_t operations(const struct model *model)
{
	if (arguments.operations)
		return arguments.operations;
	return world_is_mock(&model->world) ? test_operations("operations", OPERATIONS, OPERATIONS)
	                                    : test_operations("operations", OPERATIONS, OPERATIONS_LEAST);
}

static void add_region(struct model *model, const char *name, enum world_store kind, unsigned page_shift,
                       size_t npages, bool own_pages)
{
	struct hmm_region_options opts = { .size = sizeof(opts), .page_shift = page_shift };
	struct model_region *r = &model->regions[model->nregions];
	enum world_store kept = model->world.kind;
	size_t page = page_shift ? (size_t)1 << page_shift : hmm_page_size();

	*r = (struct model_region){ .name = name, .number = model->nregions++, .own_pages = own_pages };
	model->world.kind = kind;
	world_map(&model->world, &r->map, npages * page, &opts);
	r->shared = world_is_shared(&model->world);
	model->world.kind = kept;
	r->file = kind != WORLD_SWAP_FILE && kind != WORLD_SWAP_MEMORY;
	r->nrecords = r->map.length / MODEL_STRIDE;
	r->issued = calloc(r->nrecords, sizeof(r->issued[0]));
	r->done = calloc(r->nrecords, sizeof(r->done[0]));
	r->freed = own_pages ? calloc(npages, 1) : NULL;
	if (r->file)
		model_file_init(r);
}

static void fail_at_random(struct model *model)
{
	struct hmm_store_fault fault = { .size = sizeof(fault), .seed = model->seed, .read_per_million = 20000,
	                                 .write_per_million = 50000, .short_transfer = 1 };

	model->flaky = true;
	ck_assert_int_eq(hmm_store_set_fault(model->world.swap, &fault), 0);
	for (unsigned i = 0; i < model->nregions; i++)
		if (model->regions[i].map.store)
			ck_assert_int_eq(hmm_store_set_fault(model->regions[i].map.store, &fault), 0);
	if (model->world.mock) {
		hmm_mock_fail(model->world.mock, HMM_MOCK_MAP, 0, 0, 5000, model->seed, -EBUSY);
		hmm_mock_fail(model->world.mock, HMM_MOCK_UNMAP, 0, 0, 20000, model->seed, -EBUSY);
		hmm_mock_fail(model->world.mock, HMM_MOCK_FILL, 0, 0, 5000, model->seed, -ENOMEM);
	}
}

static void stop_failing(struct model *model)
{
	ck_assert_int_eq(hmm_store_set_fault(model->world.swap, NULL), 0);
	for (unsigned i = 0; i < model->nregions; i++)
		if (model->regions[i].map.store)
			ck_assert_int_eq(hmm_store_set_fault(model->regions[i].map.store, NULL), 0);
	for (unsigned site = 0; model->world.mock && site < HMM_MOCK_SITES; site++)
		hmm_mock_fail(model->world.mock, site, 0, 0, 0, 0, 0);
}

static void open_model(struct model *model, enum world_backend backend, bool flaky)
{
	struct hmm_space_options opts = { .size = sizeof(opts), .max_frames = MODEL_FRAMES_MAX };

	memset(model, 0, sizeof(*model));
	model->seed = test_seed();
	model->nthreads = arguments.threads;
	world_open(&model->world, backend, backend % 2 ? WORLD_SWAP_FILE : WORLD_SWAP_MEMORY,
	           (unsigned)backend % WORLD_POLICIES, MODEL_FRAMES_MIN, &opts);
	model->world.most_frames = MODEL_FRAMES_MAX;
	add_region(model, "anonymous", model->world.kind, 0, 500, false);
	add_region(model, "shared file", WORLD_FILE_SHARED, 0, 200, false);
	add_region(model, "private file, 16K pages", WORLD_FILE_PRIVATE, 14, 60, false);
	add_region(model, "callback", WORLD_CALLBACK, 0, 100, false);
	add_region(model, "own anonymous", model->world.kind, 0, 200, true);
	add_region(model, "own private file, 8K pages", WORLD_FILE_PRIVATE, 13, 60, true);
	if (flaky)
		fail_at_random(model);
}

/* Every record of every region, then what reached the files. */
static void compare_all(struct model *model)
{
	for (unsigned k = 0; k < model->nregions; k++)
		for (size_t i = 0; i < model->regions[k].nrecords; i++)
			model_check_own(model, &model->regions[k], i);
	for (unsigned k = 0; k < model->nregions; k++) {
		struct model_region *r = &model->regions[k];

		ck_assert_int_eq(hmm_region_sync(r->map.region, r->map.base, r->map.length, 0), 0);
		ck_assert_int_eq(hmm_region_unmap(r->map.region), 0);
		for (size_t i = 0; i < r->nrecords && r->file; i++) {
			uint64_t words[MODEL_WORDS];

			world_store_peek(&r->map, i * MODEL_STRIDE, words, sizeof(words));
			for (unsigned n = 0; n < MODEL_WORDS; n++)
				ck_assert_uint_eq(words[n], model_word(r, i, n, r->shared ? r->done[i] : 0));
		}
		world_map_close(&r->map);
	}
}

static void report(struct model *model)
{
	struct hmm_stats s = world_stats(&model->world);
	uint64_t steps = 0;

	for (unsigned i = 0; i < model->nthreads; i++)
		steps += model->threads[i].steps;
	printf("# %llu operations, %llu faults, %llu loads, %llu write-outs, %llu rescues, %llu waits, %llu errors\n",
	       (unsigned long long)steps, (unsigned long long)s.faults, (unsigned long long)s.loads,
	       (unsigned long long)s.write_outs, (unsigned long long)s.rescues, (unsigned long long)s.waits,
	       (unsigned long long)(s.load_errors + s.write_errors));
	fflush(stdout);
}

static void run_model(enum world_backend backend, bool flaky)
{
	struct sigaction action = { .sa_handler = nothing };
	static struct model model;

	open_model(&model, backend, flaky);
	model.operations = operations(&model) / model.nthreads + 1;
	sigaction(SIGUSR1, &action, NULL);
	atomic_store(&running, model.nthreads);
	for (unsigned i = 0; i < model.nthreads; i++) {
		model.threads[i] = (struct model_thread){ .model = &model, .number = i, .seed = world_random(&model.seed) };
		ck_assert_int_eq(pthread_create(&model.threads[i].thread, NULL, run, &model.threads[i]), 0);
	}
	shake(&model);
	for (unsigned i = 0; i < model.nthreads; i++)
		pthread_join(model.threads[i].thread, NULL);
	stop_failing(&model);
	report(&model);
	ck_assert_uint_eq(world_stats(&model.world).pinned, 0);
	compare_all(&model);
	world_close(&model.world);
}

START_TEST(random_operations_lose_nothing)
{
	const char *missing = world_missing((enum world_backend)_i);

	if (missing)
		world_skip(missing);
	run_model((enum world_backend)_i, false);
}
END_TEST

START_TEST(random_operations_over_failing_stores_lose_nothing)
{
	const char *missing = world_missing((enum world_backend)_i);

	if (missing)
		world_skip(missing);
	run_model((enum world_backend)_i, true);
}
END_TEST

static Suite *suite(void)
{
	Suite *s = suite_create("model");

	for (int i = 0; i < WORLD_BACKENDS; i++) {
		TCase *t;

		if (arguments.backend && strcmp(arguments.backend, world_backend_names[i]) != 0)
			continue;
		t = tcase_create(world_backend_names[i]);
		tcase_set_timeout(t, test_patience(100 + (unsigned)(arguments.operations / 1000)));
		tcase_add_loop_test(t, random_operations_lose_nothing, i, i + 1);
		tcase_add_loop_test(t, random_operations_over_failing_stores_lose_nothing, i, i + 1);
		suite_add_tcase(s, t);
	}
	return s;
}

int main(int argc, char **argv)
{
	for (int i = 1; i + 1 < argc; i += 2) {
		if (strcmp(argv[i], "--seed") == 0)
			setenv("HMM_TEST_SEED", argv[i + 1], 1);
		else if (strcmp(argv[i], "--operations") == 0)
			arguments.operations = strtoull(argv[i + 1], NULL, 0);
		else if (strcmp(argv[i], "--backend") == 0)
			arguments.backend = argv[i + 1];
		else if (strcmp(argv[i], "--threads") == 0)
			arguments.threads = (unsigned)atoi(argv[i + 1]);
		else
			argc = 0;
	}
	if (argc % 2 == 0 || arguments.threads < 1 || arguments.threads > MODEL_THREADS) {
		fprintf(stderr, "usage: model [--seed N] [--operations N] [--backend NAME] [--threads 1..%d]\n", MODEL_THREADS);
		return 2;
	}
	return test_main(suite);
}
