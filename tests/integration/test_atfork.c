/* SPDX-License-Identifier: MIT */
/*
 * test_atfork.c - fork handlers of the program's touch paged memory, and call the library
 *
 * Handlers older than the library's (as a malloc's may be), and younger ones, registered before and after the space was made.
 * Budgets are a fifth of the data: what a handler touches is absent, and dirty pages must go to swap for it.  No verdict but
 * contents; a handler that waits for ever is ended by the harness.
 */
#include "tests/world.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <ucontext.h>
#include <unistd.h>

#define FRAMES 32
#define FRAMES_OF_BOTH 96 /* with a cache */
#define NPAGES 160
#define TOUCHED 48
#define CACHED 64

enum age { OLDER, YOUNGER, YOUNGEST, AGES }; /* than the library; than the library, but not than the space; than both */
enum place { PREPARE = 1, PARENT = 2, CHILD = 4 };

static struct {
	size_t page;
	struct hmm_store *store, *filter;
	struct hmm_space *space;
	struct hmm_region *region;
	uint8_t *base;
	uint64_t want[NPAGES];
	uint64_t seed, tags;
	/* what handlers do */
	void (*act)(enum place place);
	enum age age;
	unsigned places;
	unsigned acted; /* places */
	int error;      /* the first one that a handler met */
} self;

static void handler(enum age age, enum place place)
{
	if (!self.act || self.age != age || !(self.places & place))
		return;
	self.acted |= place;
	self.act(place);
}

/*
 * A malloc that registers its handlers late has its lock from the first prepare to the last of parent and child: who wants memory
 * then waits for ever.  Counted instead.
 */
static atomic_bool malloc_held;
static atomic_uint malloc_calls;

#if defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define HAS_ITS_OWN_MALLOC 1
#endif
#elif defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define HAS_ITS_OWN_MALLOC 1
#endif

#if defined(__GLIBC__) && !defined(HAS_ITS_OWN_MALLOC)
#define COUNTS_MALLOC 1

void *__libc_malloc(size_t size);
void *__libc_calloc(size_t n, size_t size);
void *__libc_realloc(void *memory, size_t size);
void __libc_free(void *memory);

static void count(void)
{
	if (atomic_load(&malloc_held))
		atomic_fetch_add(&malloc_calls, 1);
}

void *malloc(size_t size)
{
	count();
	return __libc_malloc(size);
}

void *calloc(size_t n, size_t size)
{
	count();
	return __libc_calloc(n, size);
}

void *realloc(void *memory, size_t size)
{
	count();
	return __libc_realloc(memory, size);
}

void free(void *memory)
{
	if (memory)
		count();
	__libc_free(memory);
}
#else
#define COUNTS_MALLOC 0
#endif

static void older_prepare(void) { handler(OLDER, PREPARE); }
static void older_parent(void) { handler(OLDER, PARENT); }
static void older_child(void) { handler(OLDER, CHILD); }
static void younger_prepare(void) { handler(YOUNGER, PREPARE); }
static void younger_parent(void) { handler(YOUNGER, PARENT); }
static void younger_child(void) { handler(YOUNGER, CHILD); }

static void youngest_prepare(void)
{
	handler(YOUNGEST, PREPARE);
	atomic_store(&malloc_held, true);
}

static void youngest_parent(void)
{
	atomic_store(&malloc_held, false);
	handler(YOUNGEST, PARENT);
}

static void youngest_child(void)
{
	atomic_store(&malloc_held, false);
	handler(YOUNGEST, CHILD);
}


/* Before any constructor, so before the library's own handlers are registered. */
static void register_older(void)
{
	pthread_atfork(older_prepare, older_parent, older_child);
}

__attribute__((section(".preinit_array"), used)) static void (*const preinit)(void) = register_older;

static uint64_t word_of(size_t page, size_t i, uint64_t tag)
{
	return (tag << 20 | page) * UINT64_C(0x9e3779b97f4a7c15) + i;
}

static void put(size_t page, uint64_t tag)
{
	uint64_t *words = (uint64_t *)(void *)(self.base + page * self.page);

	for (size_t i = 0; i < self.page / 8; i++)
		words[i] = word_of(page, i, tag);
	self.want[page] = tag;
}

static bool has(size_t page)
{
	const uint64_t *words = (const uint64_t *)(const void *)(self.base + page * self.page);

	for (size_t i = 0; i < self.page / 8; i++)
		if (words[i] != word_of(page, i, self.want[page]))
			return false;
	return true;
}

static int check(void)
{
	for (size_t page = 0; page < NPAGES; page++)
		if (!has(page))
			return (int)page + 1;
	return 0;
}

/* Some are looked at, some changed. */
static void touch(enum place place)
{
	/* in the child an older handler runs before the library's own: only what is resident is there */
	unsigned n = self.age == OLDER && place == CHILD ? 0 : TOUCHED;

	while (n--) {
		uint64_t r = world_random(&self.seed);
		size_t page = r % NPAGES;

		if (!has(page))
			self.error = self.error ? self.error : 20 + (int)place;
		if (r >> 32 & 1)
			put(page, ++self.tags);
	}
	if (!n)
		put(0, ++self.tags);
	put(0, ++self.tags); /* the last one is resident at the fork */
}

static void begin(enum world_backend backend, uint64_t frames, enum age age, unsigned places, void (*act)(enum place place))
{
	struct hmm_swap_options swap = { .size = sizeof(swap), .directory = "/tmp", .direct = HMM_DIRECT_NEVER };
	struct hmm_space_options so = { .size = sizeof(so) };
	struct hmm_region_options ro = { .size = sizeof(ro), .flags = HMM_REGION_COPY_ON_FORK, .delivery = world_delivery(backend) };

	so.engine = backend == WORLD_INLINE_COPY || backend == WORLD_THREAD_COPY ? HMM_ENGINE_COPY : HMM_ENGINE_AUTO;
	world_guard();
	ck_assert_int_eq(pthread_atfork(younger_prepare, younger_parent, younger_child), 0);
	ck_assert_int_eq(hmm_store_swap(&swap, &self.store), 0);
	ck_assert_int_eq(hmm_store_faulty(self.store, &self.filter), 0);
	so.swap = self.filter;
	self.page = hmm_page_size();
	self.seed = test_seed();
	ck_assert_int_eq(hmm_space_create(frames, &so, &self.space), 0);
	ck_assert_int_eq(hmm_region_map(self.space, NULL, 0, NPAGES * self.page, &ro, &self.region), 0);
	self.base = hmm_region_base(self.region);
	for (size_t i = 0; i < NPAGES; i++)
		put(i, i);
	ck_assert_int_eq(pthread_atfork(youngest_prepare, youngest_parent, youngest_child), 0);
	world_threads_rest();
	self.age = age;
	self.places = places;
	self.act = act;
}

static void end(void)
{
	self.act = NULL;
	ck_assert_int_eq(hmm_region_unmap(self.region), 0);
	hmm_space_destroy(self.space);
	hmm_store_put(self.filter);
	hmm_store_put(self.store);
}

static int ended(pid_t pid)
{
	int status = -1;

	if (waitpid(pid, &status, 0) != pid)
		return 1000;
	return WIFSIGNALED(status) ? 2000 + WTERMSIG(status) : WEXITSTATUS(status);
}

/* What a child does: 0, or what is wrong. */
static int use(void)
{
	if (self.error)
		return self.error;
	if (atomic_load(&malloc_calls))
		return 13;
	if (self.acted != (self.places & (PREPARE | CHILD)))
		return 10;
	if (check())
		return 11;
	for (size_t page = 0; page < NPAGES; page += 3)
		put(page, ++self.tags);
	return check() ? 12 : 0;
}

static void fork_and_check(void)
{
	pid_t pid;
	int r;

	self.acted = 0;
	pid = fork();
	ck_assert_int_ge(pid, 0);
	if (pid == 0) {
		alarm(test_patience(60));
		_exit(use());
	}
	ck_assert_int_eq(self.acted, self.places & (PREPARE | PARENT));
	ck_assert_int_eq(self.error, 0);
	ck_assert_uint_eq(atomic_load(&malloc_calls), 0);
	r = check();
	ck_assert_msg(r == 0, "the parent's page %d", r - 1);
	r = ended(pid);
	ck_assert_msg(r == 0, "the child: %d", r);
	for (size_t page = 0; page < NPAGES; page += 5)
		put(page, ++self.tags);
	r = check();
	ck_assert_msg(r == 0, "the parent's page %d, later", r - 1);
}

/* _i: (backend * AGES + age) * 8 + places */
START_TEST(handlers_touch_what_is_absent)
{
	enum world_backend backend = (enum world_backend)(_i / 8 / AGES);
	const char *missing = world_missing(backend);

	if (missing)
		world_skip(missing);
	begin(backend, FRAMES, (enum age)(_i / 8 % AGES), (unsigned)_i % 8, touch);
	for (unsigned i = 0; i < 2; i++)
		fork_and_check();
	end();
}
END_TEST

static atomic_bool over;

static void *keep_faulting(void *arg)
{
	uint64_t seed = (uint64_t)(uintptr_t)arg;
	uint8_t got[8];

	/* no page that a handler writes: those are its own */
	while (!atomic_load(&over))
		(void)!world_guarded_read(self.base + world_random(&seed) % NPAGES * self.page, got, sizeof(got));
	return NULL;
}

/* Those that trap meanwhile wait; the one that forks does not wait for them. */
START_TEST(others_that_trap_wait_for_the_fork)
{
	enum world_backend backend = (enum world_backend)(_i / AGES);
	const char *missing = world_missing(backend);
	pthread_t threads[2];

	if (missing)
		world_skip(missing);
	begin(backend, FRAMES, (enum age)(_i % AGES), PREPARE | PARENT | CHILD, touch);
	for (uintptr_t i = 0; i < 2; i++)
		ck_assert_int_eq(pthread_create(&threads[i], NULL, keep_faulting, (void *)(i + 1)), 0);
	for (unsigned i = 0; i < 3; i++)
		fork_and_check();
	atomic_store(&over, true);
	for (unsigned i = 0; i < 2; i++)
		pthread_join(threads[i], NULL);
	end();
}
END_TEST

/* The kernel touches it for a system call: thread delivery only. */
static void call_kernel(enum place place)
{
	int fds[2];

	if (self.age == OLDER && place == CHILD)
		return;
	for (unsigned i = 0; i < 8 && !self.error; i++) {
		size_t from = world_random(&self.seed) % NPAGES, to = world_random(&self.seed) % NPAGES;

		if (from == to)
			continue;
		if (pipe(fds) || write(fds[1], self.base + from * self.page, 512) != 512 ||
		    read(fds[0], self.base + to * self.page, 512) != 512)
			self.error = 30 + (int)place;
		else if (memcmp(self.base + from * self.page, self.base + to * self.page, 512))
			self.error = 40 + (int)place;
		close(fds[0]);
		close(fds[1]);
		put(to, ++self.tags);
	}
}

START_TEST(handlers_give_absent_memory_to_the_kernel)
{
	enum world_backend backend = (enum world_backend)(_i / AGES);
	const char *missing = world_missing(backend);

	if (missing)
		world_skip(missing);
	begin(backend, FRAMES, (enum age)(_i % AGES), PREPARE | PARENT | CHILD, call_kernel);
	for (unsigned i = 0; i < 2; i++)
		fork_and_check();
	end();
}
END_TEST

static struct hmm_cache *cache;
static uint64_t cached[CACHED];

static void use_page(size_t page, uint64_t add)
{
	void *data;
	int r = hmm_cache_get(cache, page, HMM_CACHE_WRITE | HMM_CACHE_CREATE, &data);

	if (r < 0) {
		self.error = self.error ? self.error : -r;
		return;
	}
	if (r == 0 && *(uint64_t *)data != cached[page]) /* 1: it was dropped meanwhile */
		self.error = self.error ? self.error : 50;
	cached[page] += add;
	*(uint64_t *)data = cached[page];
	r = hmm_cache_put(cache, page, HMM_CACHE_WRITE | HMM_CACHE_DIRTY, 0);
	if (r < 0)
		self.error = self.error ? self.error : -r;
}

/* As a program that uses SQLite in its handlers. */
static void call_library(enum place place)
{
	struct hmm_stats stats = { .size = sizeof(stats) };
	int r;

	if (self.age == OLDER && place == CHILD) {
		r = hmm_space_stats(self.space, &stats);
		self.error = self.error ? self.error : r == -ECHILD ? 0 : 60;
		return;
	}
	for (unsigned i = 0; i < 16; i++)
		use_page(world_random(&self.seed) % CACHED, 1);
	r = hmm_space_stats(self.space, &stats);
	if (!r)
		r = hmm_region_advise(self.region, self.base, 8 * self.page, HMM_ADVISE_PAGEOUT);
	if (r < 0)
		self.error = self.error ? self.error : -r;
	put(0, ++self.tags);
}

START_TEST(handlers_call_the_library)
{
	enum world_backend backend = (enum world_backend)(_i / AGES);
	const char *missing = world_missing(backend);
	struct hmm_cache_options co = { .size = sizeof(co), .flags = HMM_CACHE_COPY_ON_FORK | HMM_CACHE_VOLATILE };

	if (missing)
		world_skip(missing);
	begin(backend, FRAMES_OF_BOTH, (enum age)(_i % AGES), PREPARE | PARENT | CHILD, call_library);
	ck_assert_int_eq(hmm_cache_create(self.space, NULL, 4096, &co, &cache), 0);
	for (unsigned i = 0; i < 2; i++)
		fork_and_check();
	self.act = NULL;
	ck_assert_int_eq(hmm_cache_destroy(cache), 0);
	end();
}
END_TEST

/* Nothing that we do between the handlers of a malloc that is younger than the space needs memory of it. */
START_TEST(fork_needs_no_malloc)
{
	const char *missing = world_missing((enum world_backend)_i);

	if (missing)
		world_skip(missing);
	begin((enum world_backend)_i, FRAMES, OLDER, 0, NULL);
	for (unsigned i = 0; i < 3; i++)
		fork_and_check();
	end();
}
END_TEST

/* --- a stack in a region --- */

#define STACK_PAGES 64
#define DEEP 20

static ucontext_t outside, inside;
static pid_t forked;

/* Deeper than the thread has been: pages of its stack that are absent. */
static unsigned deep(unsigned n)
{
	volatile uint8_t frame[4096];

	frame[n] = (uint8_t)n;
	frame[4095] = (uint8_t)n;
	return n ? deep(n - 1) + frame[n] + frame[4095] : frame[0];
}

static void deep_handler(enum place place)
{
	if (deep(DEEP) != DEEP * (DEEP + 1))
		self.error = 80 + (int)place;
}

static void on_the_stack(void)
{
	unsigned before = deep(2);

	forked = fork();
	if (forked == 0) {
		alarm(test_patience(60));
		_exit(deep(DEEP) != DEEP * (DEEP + 1) || deep(2) != before ? 90 : use());
	}
	if (deep(DEEP) != DEEP * (DEEP + 1))
		self.error = 91;
}

START_TEST(a_thread_whose_stack_is_paged_forks)
{
	enum world_backend backend = (enum world_backend)(_i / AGES);
	const char *missing = world_missing(backend);
	struct hmm_region_options ro = { .size = sizeof(ro), .flags = HMM_REGION_COPY_ON_FORK, .delivery = world_delivery(backend) };
	stack_t alternate = { .ss_size = (size_t)1 << 17 };
	enum age age = (enum age)(_i % AGES);
	struct hmm_region *region;
	uint8_t *base;
	int r;

	if (missing)
		world_skip(missing);
	alternate.ss_sp = malloc(alternate.ss_size);
	ck_assert_int_eq(sigaltstack(&alternate, NULL), 0);
	begin(backend, FRAMES, age, age == OLDER ? PREPARE | PARENT : PREPARE | PARENT | CHILD, deep_handler);
	ck_assert_int_eq(hmm_region_map(self.space, NULL, 0, STACK_PAGES * self.page, &ro, &region), 0);
	base = hmm_region_base(region);
	for (size_t i = 0; i < STACK_PAGES; i++)
		base[i * self.page] = (uint8_t)i; /* stored, so the pages are not zeros */
	for (unsigned i = 0; i < 3; i++) {
		ck_assert_int_eq(check(), 0); /* evicts the stack */
		self.acted = 0;
		ck_assert_int_eq(getcontext(&inside), 0);
		inside.uc_stack.ss_sp = base;
		inside.uc_stack.ss_size = STACK_PAGES * self.page;
		inside.uc_link = &outside;
		makecontext(&inside, on_the_stack, 0);
		ck_assert_int_eq(swapcontext(&outside, &inside), 0);
		ck_assert_int_eq(self.error, 0);
		r = ended(forked);
		ck_assert_msg(r == 0, "the child: %d", r);
		ck_assert_int_eq(check(), 0);
	}
	ck_assert_int_eq(hmm_region_unmap(region), 0);
	end();
	alternate.ss_flags = SS_DISABLE;
	sigaltstack(&alternate, NULL);
	free(alternate.ss_sp);
}
END_TEST

static void look(enum place place)
{
	for (unsigned n = 0; n < TOUCHED; n++)
		if (!has(world_random(&self.seed) % NPAGES))
			self.error = self.error ? self.error : 20 + (int)place;
}

/* Pages that their store refused come back before the copy, and others of a read-only part leave while locks are held. */
START_TEST(pages_of_a_read_only_part_are_copied)
{
	const char *missing = world_missing((enum world_backend)_i);
	struct hmm_store_fault refuse = { .size = sizeof(refuse), .write_nth = 1, .repeat = 1 };
	pid_t pid;
	int r;

	if (missing)
		world_skip(missing);
	begin((enum world_backend)_i, FRAMES, OLDER, PREPARE | PARENT, look);
	for (unsigned i = 0; i < 3; i++) {
		for (size_t page = 0; page < FRAMES; page++)
			put(page, ++self.tags);
		ck_assert_int_eq(hmm_store_set_fault(self.filter, &refuse), 0);
		(void)!hmm_region_advise(self.region, self.base, FRAMES / 2 * self.page, HMM_ADVISE_PAGEOUT);
		ck_assert_int_eq(hmm_store_set_fault(self.filter, NULL), 0);
		ck_assert_int_eq(hmm_region_protect(self.region, self.base, NPAGES * self.page, PROT_READ), 0);
		pid = fork();
		ck_assert_int_ge(pid, 0);
		if (pid == 0) {
			alarm(test_patience(60));
			_exit(self.error ? self.error : check() ? 11 : 0);
		}
		ck_assert_int_eq(self.error, 0);
		r = ended(pid);
		ck_assert_msg(r == 0, "the child: %d", r);
		ck_assert_int_eq(check(), 0);
		ck_assert_int_eq(hmm_region_protect(self.region, self.base, NPAGES * self.page, PROT_READ | PROT_WRITE), 0);
	}
	end();
}
END_TEST

static Suite *suite(void)
{
	Suite *s = suite_create("atfork");
	static const enum world_backend backends[] = { WORLD_INLINE_AUTO, WORLD_INLINE_COPY, WORLD_THREAD_AUTO, WORLD_THREAD_COPY };

	for (unsigned b = 0; b < sizeof(backends) / sizeof(backends[0]); b++) {
		int i = (int)backends[b];
		TCase *t = tcase_create(world_backend_names[i]);

		for (int k = i * AGES * 8; k < (i + 1) * AGES * 8; k++)
			if (k % 8 == 7 || (test_all() && k % 8)) /* all of them, or one alone */
				tcase_add_loop_test(t, handlers_touch_what_is_absent, k, k + 1);
		tcase_add_loop_test(t, others_that_trap_wait_for_the_fork, i * AGES, (i + 1) * AGES);
		if (world_delivery(backends[b]) == HMM_DELIVERY_THREAD)
			tcase_add_loop_test(t, handlers_give_absent_memory_to_the_kernel, i * AGES, (i + 1) * AGES);
		tcase_add_loop_test(t, handlers_call_the_library, i * AGES, (i + 1) * AGES);
		if (COUNTS_MALLOC) /* else a sanitizer's malloc, or another C library's: meson.build */
			tcase_add_loop_test(t, fork_needs_no_malloc, i, i + 1);
		tcase_add_loop_test(t, pages_of_a_read_only_part_are_copied, i, i + 1);
		tcase_add_loop_test(t, a_thread_whose_stack_is_paged_forks, i * AGES, (i + 1) * AGES);
		suite_add_tcase(s, t);
	}
	return s;
}

HMM_TEST_MAIN(suite)
