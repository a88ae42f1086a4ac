/* SPDX-License-Identifier: MIT */
/*
 * memory.c - the space of our side: another budget at any moment, a region beside the pages, allocations that fail
 *
 * Draws from a generator of its own, so that both sides do the same otherwise.
 */
#include <pthread.h>
#include <semaphore.h>
#include <stdlib.h>
#include <string.h>

#include <hurd-mm/hurd-mm.h>
#include <hurd-mm/sqlite.h>

#include "fuzz.h"
#include "lib/base/arena.h"

#define REFUSED_MOST 3u /* then no more: each is waited for */
#define LEAST (HMM_SQLITE_BYTES_MIN / 4096)

static struct hmm_space *space;
static struct side *side;
static uint64_t state;
static uint32_t most;          /* frames */
static uint32_t every;         /* disturbances */
static struct hmm_region *region;
static uint64_t *words;        /* one a page of the region; NULL: none */
static uint64_t expected[2048];
static uint32_t npages;
static uint32_t refused;       /* accesses for which there was no frame */

static sem_t wanted;          /* changes of the budget by the other thread */
static bool threaded;

static sqlite3_mem_methods real;
static uint64_t left;          /* of SQLite's allocations, to the one that fails; 0: none does */

static void *fail_malloc(int n)
{
	return left && --left == 0 ? NULL : real.xMalloc(n);
}

static void *fail_realloc(void *p, int n)
{
	return left && --left == 0 ? NULL : real.xRealloc(p, n);
}

static uint32_t draw(uint32_t n)
{
	return (uint32_t)(mix(&state) >> 20) % n;
}

static uint32_t policies(void)
{
	uint32_t n = 0;

	while (hmm_policy_name(n))
		n++;
	return n;
}

static void map_region(void)
{
	struct hmm_region_options o = { .size = sizeof(o), .delivery = HMM_DELIVERY_INLINE };
	npages = 100 + draw(1900);
	if (hmm_region_map(space, NULL, 0, npages * hmm_page_size(), &o, &region) == 0)
		words = hmm_region_base(region);
}

/* Another thread that changes the budget, several times in each operation. */
static void *resizer(void *arg)
{
	uint64_t own = (uintptr_t)arg, got;

	for (;;) {
		while (sem_wait(&wanted))
			;
		(void)!hmm_space_resize(space, LEAST + (mix(&own) >> 20) % (most - LEAST + 1), &got);
	}
	return NULL;
}

void memory_begin(const struct options *options, uint64_t seed, struct side *s)
{
	static const uint32_t mosts[] = { LEAST, LEAST + 40, 256, 512, 1024, 2048 };
	static const uint32_t rates[] = { 0, 500, 60, 10 };
	struct hmm_space_options o = { .size = sizeof(o), .max_frames = 4096 };
	sqlite3_mem_methods failing;
	pthread_t thread;

	state = seed;
	side = s;
	o.policy = hmm_policy_name(draw(policies()));
	o.flags = draw(4) ? HMM_SPACE_NO_RECLAIMER : 0;
	most = mosts[draw(6)];
	every = rates[draw(4)];
	if (hmm_space_create(most, &o, &space) || hmm_sqlite_install(space))
		abort();
	if (options->faults) {
		sqlite3_config(SQLITE_CONFIG_GETMALLOC, &real);
		failing = real;
		failing.xMalloc = fail_malloc;
		failing.xRealloc = fail_realloc;
		sqlite3_config(SQLITE_CONFIG_MALLOC, &failing);
	}
	if (draw(3) == 0)
		map_region();
	sem_init(&wanted, 0, 0);
	threaded = every && draw(4) == 0 && pthread_create(&thread, NULL, resizer, (void *)(uintptr_t)seed) == 0;
}

/* Pinned first, because SQLite may have pinned the whole budget: an access would get SIGBUS. */
static void use_region(void)
{
	size_t page_size = hmm_page_size();

	for (unsigned i = 0; i < 20; i++) {
		uint32_t page = draw(npages);
		uint64_t *word = words + page * page_size / sizeof(words[0]);

		if (hmm_region_pin(region, word, page_size, true)) {
			refused++; /* after a wait */
			return;
		}
		if (*word != expected[page])
			abort();
		*word = expected[page] = mix(&state);
		(void)!hmm_region_unpin(region, word, page_size);
		side->regions++;
	}
}

void memory_disturb(void)
{
	uint64_t got;

	if (!every || draw(every))
		return;
	if (threaded)
		sem_post(&wanted);
	if (words && refused < REFUSED_MOST && draw(2)) {
		use_region();
		return;
	}
	(void)!hmm_space_resize(space, LEAST + draw(most - LEAST + 1), &got);
	side->resizes++;
}

void memory_faults(bool on)
{
	if (!on) {
		left = 0;
		hmm__alloc_fail(0, 0);
		return;
	}
	if (draw(3) == 0)
		left = 1 + draw(draw(2) ? 60 : 3000);
	if (draw(3) == 0)
		hmm__alloc_fail(1 + draw(20), (int)draw(2));
}
