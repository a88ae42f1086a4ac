/* SPDX-License-Identifier: MIT */
/*
 * actors.c - what the threads do
 */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/harness.h"
#include "tests/stress/life/life.h"

#define THREAD_STACK (128u << 10)
#define CHILD_PAGES 24u
#define GENERATIONS 3u
#define VICTIMS 3u
#define CACHE_PAGE 4096u
#define CACHE_PAGES 64u

static uint64_t seed_of(void *arg)
{
	return life.seed ^ (uintptr_t)arg * UINT64_C(0x9e3779b97f4a7c15);
}

static uint64_t any_page(uint64_t *state)
{
	return life_random(state) % LIFE_PAGES;
}

void *life_own(void *arg)
{
	uint64_t state = seed_of(arg), owner = (uintptr_t)arg;
	struct beat beat;

	beat_begin(&beat, "an owner");
	for (uint64_t i = 0; i < life.steps; i++) {
		uint64_t page = any_page(&state), own = page - page % LIFE_OWNERS + owner;

		if (own >= LIFE_PAGES || life_random(&state) % 3 == 0)
			life_look(&beat, page);
		else if (life_random(&state) & 1)
			life_check_own(&beat, own);
		else
			life_write_own(&beat, own);
	}
	beat_end(&beat);
	atomic_store(&life.over, true);
	return NULL;
}

/* What a child does with its copy; the first of it may have children. */
static void live(uint64_t state, unsigned generation)
{
	for (unsigned i = 0; i < CHILD_PAGES; i++) {
		life_look(NULL, any_page(&state));
		life_write_copy(any_page(&state), 0x80000000u + generation * CHILD_PAGES + i);
	}
	if (generation < GENERATIONS && life_random(&state) % 4 == 0) {
		pid_t pid = fork();
		int status;

		if (pid < 0)
			life_wrong("fork in a child", generation, (uint64_t)errno);
		if (pid == 0) {
			live(state, generation + 1);
			_exit(0);
		}
		if (waitpid(pid, &status, 0) != pid || status)
			life_wrong("a child's child ended badly", generation, (uint64_t)status);
	}
}

void *life_fork(void *arg)
{
	uint64_t state = seed_of(arg);
	struct beat beat;

	beat_begin(&beat, "one that forks");
	while (!atomic_load(&life.over)) {
		pid_t pid, parent = getpid();
		int status;

		beat_step(&beat, "forks", NULL);
		pid = fork();
		if (pid == 0) {
			prctl(PR_SET_PDEATHSIG, SIGKILL);
			if (getppid() != parent)
				_exit(0);
			live(state, 1);
			_exit(0);
		}
		if (pid < 0)
			life_wrong("fork", 0, (uint64_t)errno);
		atomic_store(&beat.child, pid);
		beat_step(&beat, "waits for a child", NULL);
		while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
			;
		atomic_store(&beat.child, 0);
		if (status)
			life_wrong("a child ended badly", 0, (uint64_t)status);
		life_random(&state);
		atomic_fetch_add(&life.forks, 1);
	}
	beat_end(&beat);
	return NULL;
}

/* Does nothing but touch memory, so it may be cancelled at any instruction; but not while it tells the watchdog. */
static void *victim(void *arg)
{
	struct beat *beat = arg;
	uint64_t state = life.seed + beat->steps + (uintptr_t)pthread_self();

	pthread_setcanceltype(PTHREAD_CANCEL_ASYNCHRONOUS, NULL);
	for (;;)
		life_look(beat, any_page(&state));
	return NULL;
}

static void thread_begin(pthread_t *thread, void *(*run)(void *), void *arg)
{
	pthread_attr_t attributes;
	int r;

	pthread_attr_init(&attributes);
	pthread_attr_setstacksize(&attributes, THREAD_STACK);
	r = pthread_create(thread, &attributes, run, arg);
	pthread_attr_destroy(&attributes);
	if (r)
		life_wrong("pthread_create", 0, (uint64_t)r);
}

void *life_cancel(void *arg)
{
	uint64_t state = seed_of(arg);
	struct beat beat, victims[VICTIMS];

	memset(victims, 0, sizeof(victims));
	beat_begin(&beat, "one that cancels");
	while (!atomic_load(&life.over)) {
		pthread_t threads[VICTIMS];

		for (unsigned i = 0; i < VICTIMS; i++)
			thread_begin(&threads[i], victim, &victims[i]);
		for (unsigned i = 0; i < VICTIMS; i++) {
			uint64_t until = atomic_load(&victims[i].steps) + life_random(&state) % 20;

			beat_step(&beat, "waits for one to cancel", atomic_load(&victims[i].address));
			while (atomic_load(&victims[i].steps) < until)
				sched_yield();
			pthread_cancel(threads[i]);
			beat_step(&beat, "joins one that it cancelled", atomic_load(&victims[i].address));
			pthread_join(threads[i], NULL);
			/* The page that it was at is nobody's now. */
			beat_step(&beat, "reads where one was cancelled", atomic_load(&victims[i].address));
			(void)*(volatile const uint8_t *)atomic_load(&victims[i].address);
			atomic_fetch_add(&life.cancelled, 1);
		}
	}
	beat_end(&beat);
	return NULL;
}

static void *short_life(void *arg)
{
	uint64_t state = (uintptr_t)arg;

	for (unsigned i = 0; i < 5; i++)
		life_look(NULL, any_page(&state));
	return NULL;
}

void *life_end(void *arg)
{
	uint64_t state = seed_of(arg);
	struct beat beat;

	beat_begin(&beat, "one whose threads end");
	while (!atomic_load(&life.over)) {
		pthread_t threads[VICTIMS];

		beat_step(&beat, "begins threads", NULL);
		for (unsigned i = 0; i < VICTIMS; i++)
			thread_begin(&threads[i], short_life, (void *)(uintptr_t)life_random(&state));
		for (unsigned i = 0; i < VICTIMS; i++) {
			beat_step(&beat, "joins a thread that ends", NULL);
			pthread_join(threads[i], NULL);
			atomic_fetch_add(&life.ended, 1);
		}
	}
	beat_end(&beat);
	return NULL;
}

/* New memory reads zeros, keeps what is written, and goes in two parts. */
static void map_once(struct beat *beat, uint64_t *state)
{
	struct hmm_region_options options = { .size = sizeof(options), .delivery = life.delivery,
		                              .page_shift = life_random(state) & 1 ? 0 : 14 };
	size_t npages = 2 + life_random(state) % 30, page_size, length;
	struct hmm_region *region;
	uint8_t *base;
	int r;

	page_size = options.page_shift ? (size_t)1 << options.page_shift : (size_t)sysconf(_SC_PAGESIZE);
	length = npages * page_size;
	beat_step(beat, "maps a region", NULL);
	r = hmm_region_map(life.space, NULL, 0, length, &options, &region);
	if (r)
		life_wrong("hmm_region_map", npages, (uint64_t)-r);
	base = hmm_region_base(region);
	for (size_t i = 0; i < npages; i++) {
		beat_step(beat, "writes to a new region", base + i * page_size);
		if (base[i * page_size])
			life_wrong("new memory", i, base[i * page_size]);
		base[i * page_size] = (uint8_t)(i + 1);
	}
	beat_step(beat, "unmaps a part", NULL);
	r = hmm_region_unmap_range(region, base, npages / 2 * page_size);
	if (r)
		life_wrong("hmm_region_unmap_range", npages, (uint64_t)-r);
	for (size_t i = npages / 2; i < npages; i++) {
		beat_step(beat, "reads what is left of a region", base + i * page_size);
		if (base[i * page_size] != (uint8_t)(i + 1))
			life_wrong("what is left of a region", i, base[i * page_size]);
	}
	beat_step(beat, "unmaps the rest", NULL);
	r = hmm_region_unmap(region);
	if (r)
		life_wrong("hmm_region_unmap", npages, (uint64_t)-r);
	atomic_fetch_add(&life.mapped, 1);
}

void *life_map(void *arg)
{
	uint64_t state = seed_of(arg);
	struct beat beat;

	beat_begin(&beat, "one that maps");
	while (!atomic_load(&life.over))
		map_once(&beat, &state);
	beat_end(&beat);
	return NULL;
}

/* Beside regions that want each frame, a cache gets its turn: every get, and a flush of what nobody holds. */
void *life_checkpoint(void *arg)
{
	uint64_t state = seed_of(arg), position = 0;
	uint64_t sequences[CACHE_PAGES] = { 0 };
	struct hmm_cache_flush all = { .size = sizeof(all) };
	struct beat beat;
	int r;

	beat_begin(&beat, "one with a cache");
	while (!atomic_load(&life.over)) {
		for (unsigned i = 0; i < CACHE_PAGES; i++) {
			uint64_t page = life_random(&state) % CACHE_PAGES;
			void *data;

			beat_step(&beat, "gets a page of the cache", NULL);
			r = hmm_cache_get(life.cache, page, HMM_CACHE_WRITE, &data);
			if (r < 0)
				life_wrong("hmm_cache_get", page, (uint64_t)-r);
			if (*(uint64_t *)data != sequences[page])
				life_wrong("the cache", page, *(uint64_t *)data);
			*(uint64_t *)data = ++sequences[page];
			r = hmm_cache_put(life.cache, page, HMM_CACHE_WRITE | HMM_CACHE_DIRTY, ++position);
			if (r)
				life_wrong("hmm_cache_put", page, (uint64_t)-r);
		}
		beat_step(&beat, "flushes a cache", NULL);
		r = hmm_cache_flush(life.cache, &all);
		if (r)
			life_wrong("hmm_cache_flush", 0, (uint64_t)-r);
		atomic_fetch_add(&life.checkpoints, 1);
	}
	beat_end(&beat);
	return NULL;
}
