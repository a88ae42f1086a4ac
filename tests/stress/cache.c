/* SPDX-License-Identifier: MIT */
/*
 * cache.c - random gets, puts and optimistic reads from several threads, against a shadow in plain memory
 *
 *	cache [--seed N] [--operations N] [--backend local|mock] [--threads N]
 *
 * Every page carries its number and the sequence number of its last change, in all its words.  A thread changes a page
 * while it has it pinned for writing and holds the page's latch, and notes the new number in the shadow; so whoever
 * has the latch knows what must be there, whatever was evicted, written and read meanwhile.  Optimistic readers check
 * that what a successful read saw is of one piece.  Beside that the budget changes, pages are flushed, prefetched, hinted
 * at and evicted by calls, in some runs a region takes part, and in some the store fails at random.  At the end the store
 * must have all of the shadow.
 */
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <hurd-mm/hurd-mm.h>
#include <hurd-mm/mock.h>

#include "tests/harness.h"

#define PAGES 700u
#define LATCHES 64u
#define THREADS_MOST 16u

/* Check's own assertions make a system call each, also when they hold. */
#define MUST(condition) MUST_MSG(condition, "%s", #condition)
#define MUST_MSG(condition, ...) \
	do { \
		if (!(condition)) \
			ck_abort_msg(__VA_ARGS__); \
	} while (0)

static struct {
	const char *backend;
	uint64_t operations; /* of all threads and runs; 0: as many as fit this machine */
	unsigned threads;
} arguments = { .threads = 4 };

#define RUNS 4u
/* Operations without --operations, on the reference machine. */
#define OPERATIONS 400000
#define OPERATIONS_LEAST 40000

struct run {
	struct hmm_mock *mock;
	struct hmm_space *space;
	struct hmm_store *memory, *store;
	struct hmm_cache *cache;
	struct hmm_region *region;
	size_t page_size, words;
	uint64_t frames;
	bool fails;
	_Atomic uint64_t position; /* of the log */
	_Atomic uint64_t gets, looks;
	_Atomic uint64_t handed;   /* a page, and 1: pinned for reading by a thread, to be put by another */
	pthread_mutex_t latches[LATCHES];
	uint64_t shadow[PAGES]; /* latch: sequence number; 0: never changed, the page is zeros */
	uint64_t operations;    /* for each thread */
};

struct worker {
	struct run *run;
	uint64_t seed;
	pthread_t thread;
};

static uint64_t random_of(uint64_t *state)
{
	uint64_t z = *state += 0x9e3779b97f4a7c15u;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
	z = (z ^ z >> 27) * 0x94d049bb133111ebu;
	return z ^ z >> 31;
}

static uint64_t word_of(uint64_t page, uint64_t sequence)
{
	return sequence ? (page + 1) << 40 | sequence : 0;
}

static uint64_t pick(uint64_t *seed)
{
	uint64_t r = random_of(seed);

	return r & 1 ? (r >> 8) % PAGES : (r >> 8) % 40;
}

/* What may be refused where a store fails at random, or all is pinned for a moment. */
static bool allowed(const struct run *run, int r)
{
	return r == -ENOBUFS || r == -EAGAIN || r == -ENOENT || (run->fails && (r == -EIO || r == -ENOSPC));
}

static void check_page(struct run *run, const uint64_t *data, uint64_t page, uint64_t sequence)
{
	for (size_t i = 0; i < run->words; i++)
		MUST_MSG(data[i] == word_of(page, sequence), "page %lu word %zu is %lx, not %lx (%lu words)",
		              (unsigned long)page, i, (unsigned long)data[i], (unsigned long)word_of(page, sequence),
		              (unsigned long)run->words);
}

static void read_one(struct run *run, uint64_t page, unsigned mode)
{
	pthread_mutex_t *latch = &run->latches[page % LATCHES];
	void *data;
	int r = hmm_cache_get(run->cache, page, mode, &data);

	if (r) {
		MUST_MSG(allowed(run, r), "get: %s", strerror(-r));
		return;
	}
	pthread_mutex_lock(latch);
	check_page(run, data, page, run->shadow[page]);
	pthread_mutex_unlock(latch);
	if (page % 8 == 0)
		page = atomic_exchange(&run->handed, page + 1) - 1;
	if (page != UINT64_MAX)
		MUST(!hmm_cache_put(run->cache, page, HMM_CACHE_READ, 0));
}

/* More pins than a thread keeps to itself, some of them of one page. */
static void read_many(struct run *run, uint64_t *seed)
{
	uint64_t pages[12];
	unsigned n = 0;
	void *data;

	for (unsigned i = 0; i < 12; i++) {
		pages[n] = i % 3 ? random_of(seed) % 40 : pick(seed);
		n += hmm_cache_get(run->cache, pages[n], HMM_CACHE_NOWAIT, &data) == 0;
	}
	for (; n; n--) {
		unsigned i = (unsigned)(random_of(seed) % n);

		MUST(!hmm_cache_put(run->cache, pages[i], HMM_CACHE_READ, 0));
		pages[i] = pages[n - 1];
	}
}

/* Optimistic readers look at the contents meanwhile. */
static void store_words(struct run *run, uint64_t *data, uint64_t value)
{
	for (size_t i = 0; i < run->words; i++)
		__atomic_store_n(&data[i], value, __ATOMIC_RELAXED);
}

static void write_one(struct run *run, uint64_t page, unsigned mode, uint64_t *seed)
{
	pthread_mutex_t *latch = &run->latches[page % LATCHES];
	uint64_t position;
	void *data;
	int r = hmm_cache_get(run->cache, page, mode | HMM_CACHE_WRITE, &data);

	if (r < 0) {
		MUST_MSG(allowed(run, r), "get for writing: %s", strerror(-r));
		return;
	}
	pthread_mutex_lock(latch);
	check_page(run, data, page, run->shadow[page]);
	position = atomic_fetch_add(&run->position, 1) + 1;
	store_words(run, data, word_of(page, ++run->shadow[page]));
	r = 0;
	if (random_of(seed) % 4 == 0)
		r = hmm_cache_mark(run->cache, page, position);
	MUST(!r);
	pthread_mutex_unlock(latch);
	MUST(!hmm_cache_put(run->cache, page, HMM_CACHE_WRITE | HMM_CACHE_DIRTY, position));
}

/*
 * Contents that may change at any moment: whether they are of one piece.  Not instrumented: what is read meanwhile is thrown
 * away, and the writers include the kernel.
 */
static __attribute__((noinline, no_sanitize("thread"))) bool one_piece(const volatile uint64_t *data, size_t words,
                                                                       uint64_t *ret_first)
{
	uint64_t first = data[0];
	bool same = true;

	for (size_t i = 1; i < words; i++)
		same = same && data[i] == first;
	*ret_first = first;
	return same;
}

static void look_at_one(struct run *run, uint64_t page)
{
	struct hmm_cache_version v;
	const void *data;
	uint64_t first;
	bool same;
	int r = hmm_cache_read_begin(run->cache, page, &data, &v);

	if (r) {
		MUST(r == -ENOENT || r == -EAGAIN);
		return;
	}
	same = one_piece(data, run->words, &first);
	if (hmm_cache_read_retry(run->cache, &v))
		return;
	atomic_fetch_add_explicit(&run->looks, 1, memory_order_relaxed);
	MUST_MSG(same && (!first || first >> 40 == page + 1), "optimistic read of page %lu saw %lx",
	              (unsigned long)page, (unsigned long)first);
}

static void prefetch_some(struct run *run, uint64_t *seed)
{
	uint64_t pages[20];

	for (unsigned i = 0; i < 20; i++)
		pages[i] = random_of(seed) % PAGES;
	MUST(hmm_cache_prefetch(run->cache, pages, 20, HMM_CACHE_CLASS(HMM_CLASS_LEAF)) >= 0 || run->fails);
}

static void flush_some(struct run *run, uint64_t *seed)
{
	struct hmm_cache_flush what = { .size = sizeof(what) };
	int r;

	if (random_of(seed) & 1)
		what.position = atomic_load(&run->position) / 2;
	else
		what.page = random_of(seed) % PAGES, what.npages = 1 + random_of(seed) % 200;
	r = hmm_cache_flush(run->cache, &what);
	MUST_MSG(!r || r == -EBUSY || allowed(run, r), "flush: %s", strerror(-r));
}

static void resize(struct run *run, uint64_t *seed)
{
	uint64_t want = HMM_FRAMES_MIN + random_of(seed) % (2 * run->frames - HMM_FRAMES_MIN);
	int r = hmm_space_resize(run->space, want, NULL);

	MUST_MSG(!r || r == -EAGAIN, "resize: %s", strerror(-r));
}

static void touch_region(struct run *run, uint64_t *seed)
{
	uint8_t *at = hmm_region_base(run->region);
	uint64_t page = random_of(seed) % 128, value;
	int r;

	if (!run->mock)
		return;
	at += page * 4096 + random_of(seed) % 500 * 8;
	value = (uint64_t)(uintptr_t)at;
	r = random_of(seed) & 1 ? hmm_mock_write(run->region, at, &value, sizeof(value))
	                        : hmm_mock_read(run->region, at, &value, sizeof(value));
	if (!r)
		MUST(!value || value == (uint64_t)(uintptr_t)at);
}

static void seldom(struct run *run, uint64_t *seed)
{
	switch (random_of(seed) % 8) {
	case 0:
		resize(run, seed);
		break;
	case 1:
		flush_some(run, seed);
		break;
	case 2:
		(void)!hmm_cache_shrink(run->cache, random_of(seed) % 64);
		break;
	case 3:
		MUST(!hmm_cache_hint(run->cache, random_of(seed) % (PAGES - 5), 5, HMM_HINT_WONTNEED, 0));
		break;
	case 4:
		(void)!hmm_space_reclaim(run->space, 20);
		break;
	case 5:
		(void)hmm_cache_oldest_position(run->cache);
		break;
	default:
		prefetch_some(run, seed);
	}
}

static void *work(void *arg)
{
	struct worker *w = arg;
	struct run *run = w->run;

	for (uint64_t i = 0; i < run->operations; i++) {
		uint64_t page = pick(&w->seed), r = random_of(&w->seed) % 1000;

		if (r < 400)
			look_at_one(run, page);
		else if (r < 410)
			read_many(run, &w->seed);
		else if (r < 700)
			read_one(run, page, r < 420 ? HMM_CACHE_RESIDENT : r < 440 ? HMM_CACHE_NOWAIT : HMM_CACHE_STREAM(3));
		else if (r < 950)
			write_one(run, page, r < 720 ? HMM_CACHE_NOWAIT : HMM_CACHE_CLASS(HMM_CLASS_HEAP), &w->seed);
		else if (r < 998 && run->region)
			touch_region(run, &w->seed);
		else if (r >= 998)
			seldom(run, &w->seed);
		atomic_fetch_add_explicit(&run->gets, 1, memory_order_relaxed);
	}
	return NULL;
}

static uint64_t log_flushed(void *arg)
{
	return atomic_load(&((struct run *)arg)->position) / 2;
}

static int flush_log(void *arg, uint64_t position)
{
	return position <= atomic_load(&((struct run *)arg)->position) ? 0 : -EIO;
}

static void open_run(struct run *run, uint64_t *seed)
{
	static const char *const policies[] = { "clock", "lru", "s3fifo", "db", "arc" };
	static const size_t sizes[] = { 512, 1024, 4096, 8192 };
	struct hmm_space_options so = { .size = sizeof(so), .policy = policies[random_of(seed) % 5],
		                        .max_pages = 4096, .flags = HMM_SPACE_CHECK_POLICY };
	struct hmm_cache_options co = { .size = sizeof(co), .max_pages = PAGES, .dirty_target = 20, .dirty_limit = 60,
		                        .extra = random_of(seed) & 1 ? 100 : 0, .log_flushed = log_flushed,
		                        .flush_log = flush_log, .log_arg = run, .wait_ms = 50 };
	bool mock = arguments.backend ? !strcmp(arguments.backend, "mock") : random_of(seed) & 1;

	run->page_size = sizes[random_of(seed) % 4];
	run->words = run->page_size / 8;
	run->frames = 40 + random_of(seed) % 20 + (run->page_size > 4096 ? 100 : 0);
	run->fails = random_of(seed) % 4 == 0;
	for (unsigned i = 0; i < LATCHES; i++)
		pthread_mutex_init(&run->latches[i], NULL);
	if (mock) {
		ck_assert_int_eq(hmm_mock_create(NULL, &run->mock), 0);
		so.backend = hmm_backend_mock();
		so.backend_arg = run->mock;
	}
	ck_assert_int_eq(hmm_space_create(run->frames, &so, &run->space), 0);
	ck_assert_int_eq(hmm_store_memory(UINT64_C(1) << 24, &run->memory), 0);
	ck_assert_int_eq(hmm_store_faulty(run->memory, &run->store), 0);
	ck_assert_int_eq(hmm_cache_create(run->space, run->store, run->page_size, &co, &run->cache), 0);
	if (run->mock && random_of(seed) % 3 == 0)
		ck_assert_int_eq(hmm_region_map(run->space, NULL, 0, 128 * 4096, NULL, &run->region), 0);
	printf("# %s, %s, pages of %zu bytes, %lu frames%s%s%s\n", mock ? "mock" : "local", so.policy, run->page_size,
	       (unsigned long)run->frames, co.extra ? ", extra" : "", run->fails ? ", a store that fails" : "",
	       run->region ? ", beside a region" : "");
}

/* The store has all of the shadow, and the space all of its frames. */
static void close_run(struct run *run)
{
	struct hmm_stats stats = { .size = sizeof(stats) };
	uint64_t *page = aligned_alloc(4096, 8192);
	const char *misuse = NULL;

	ck_assert_int_eq(hmm_store_set_fault(run->store, NULL), 0);
	if (run->handed)
		ck_assert_int_eq(hmm_cache_put(run->cache, run->handed - 1, HMM_CACHE_READ, 0), 0);
	hmm_region_abandon(run->region);
	ck_assert_int_eq(hmm_cache_destroy(run->cache), 0);
	for (uint64_t i = 0; i < PAGES; i++) {
		struct hmm_store_vec v = { .offset = i * run->page_size, .data = page, .length = run->page_size };

		ck_assert_int_eq(hmm_store_read(run->memory, &v, 1), 0);
		check_page(run, page, i, run->shadow[i]);
	}
	ck_assert_int_eq(hmm_space_stats(run->space, &stats), 0);
	ck_assert_uint_eq(stats.policy_errors, 0);
	ck_assert_uint_eq(stats.held, 0);
	ck_assert_uint_eq(stats.dirty, 0);
	hmm_space_destroy(run->space);
	if (run->mock)
		ck_assert_msg(hmm_mock_misuses(run->mock, &misuse) == 0, "%s", misuse);
	hmm_mock_destroy(run->mock);
	hmm_store_put(run->store);
	hmm_store_put(run->memory);
	free(page);
}

/* Random things, so many by each thread. */
static void one_run(uint64_t *seed, uint64_t operations)
{
	struct hmm_store_fault fault = { .size = sizeof(fault), .read_per_million = 2000, .write_per_million = 20000,
		                         .seed = random_of(seed) };
	struct worker workers[THREADS_MOST];
	static struct run run;

	memset(&run, 0, sizeof(run));
	run.operations = operations;
	open_run(&run, seed);
	if (run.fails)
		ck_assert_int_eq(hmm_store_set_fault(run.store, &fault), 0);
	for (unsigned i = 0; i < arguments.threads; i++) {
		workers[i] = (struct worker){ .run = &run, .seed = random_of(seed) };
		ck_assert_int_eq(pthread_create(&workers[i].thread, NULL, work, &workers[i]), 0);
	}
	for (unsigned i = 0; i < arguments.threads; i++)
		pthread_join(workers[i].thread, NULL);
	printf("# %lu operations, %lu optimistic reads that held\n", (unsigned long)run.gets, (unsigned long)run.looks);
	close_run(&run);
}

START_TEST(random_gets_and_puts)
{
	uint64_t seed = test_seed(), operations = arguments.operations;

	if (!operations)
		operations = test_operations("operations", OPERATIONS, OPERATIONS_LEAST);
	for (unsigned i = 0; i < RUNS; i++)
		one_run(&seed, operations / RUNS / arguments.threads + 1);
}
END_TEST

static Suite *suite(void)
{
	Suite *s = suite_create("stress-cache");
	TCase *c = tcase_create("stress-cache");

	tcase_set_timeout(c, test_patience(120 + (unsigned)(arguments.operations / 10000)));
	tcase_add_test(c, random_gets_and_puts);
	suite_add_tcase(s, c);
	return s;
}

int main(int argc, char **argv)
{
	for (int i = 1; i + 1 < argc; i += 2) {
		if (!strcmp(argv[i], "--seed"))
			setenv("HMM_TEST_SEED", argv[i + 1], 1);
		else if (!strcmp(argv[i], "--operations"))
			arguments.operations = strtoull(argv[i + 1], NULL, 0);
		else if (!strcmp(argv[i], "--backend"))
			arguments.backend = argv[i + 1];
		else if (!strcmp(argv[i], "--threads"))
			arguments.threads = (unsigned)atoi(argv[i + 1]) < THREADS_MOST ? (unsigned)atoi(argv[i + 1]) : THREADS_MOST;
	}
	return test_main(suite);
}
