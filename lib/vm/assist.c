/* SPDX-License-Identifier: MIT */
/*
 * assist.c - the assistant: a thread that loads every other chunk of a sequential stream (assist.h has the rules)
 *
 * Reading from the kernel's page cache costs as much as all else of a page together, and both can be halved by a second
 * CPU.  A chunk is as long as it can be while its frames stay in the second-level cache from the read to the check.
 */
#include "lib/vm/assist.h"

#include <sched.h>

#include "lib/base/forker.h"
#include "lib/base/futex.h"
#include "lib/mem/tasks.h"
#include "lib/sys/sys.h"
#include "lib/vm/load.h"

#define CHUNK_FRAMES 128u
#define LOOKS 2000u  /* some 100 us: a stream's next offer comes soon, and waking costs 50 us on a virtual machine */
#define SKIP_MAX 64u /* offers */

enum { IDLE, OFFERING, OFFERED, TAKEN };

static uint64_t load_chunk(const struct hmm__run *run, uint64_t page, bool asked)
{
	uint64_t n = HMM__MIN(run->chunk, run->end - page), from = page - run->behind;
	int64_t got;

	if (run->behind && from < run->first)
		hmm__evict_range(run->region, from, HMM__MIN(n, run->first - from), false);
	got = hmm__load_run(run->region, page, n, asked);
	return got > 0 ? (uint64_t)got : 0;
}

/* The next chunk of the job; false: none is left. */
static bool take(struct hmm__assist *a, uint64_t *ret_page)
{
	*ret_page = atomic_fetch_add(&a->next, a->run.chunk);
	return *ret_page < a->run.end;
}

static void leave(struct hmm__assist *a, uint32_t n)
{
	struct hmm_region *region = a->run.region;

	if (atomic_fetch_sub(&a->users, n) != n)
		return;
	atomic_store(&a->state, IDLE);
	hmm__region_put(region);
}

static void work(struct hmm__assist *a)
{
	uint64_t page;

	while (take(a, &page)) {
		/* Who offered may be through with it already, and the program far ahead: then nothing is to be evicted. */
		if (hmm__word_state(atomic_load(&a->run.region->words[page])) == HMM__ABSENT)
			load_chunk(&a->run, page, false);
	}
	leave(a, 1);
}

/* Look for an offer for a moment, then sleep until there is one. */
static bool wait_for_offer(struct hmm__assist *a, unsigned looks)
{
	while (!atomic_load(&a->stop)) {
		uint32_t state = OFFERED;

		if (atomic_compare_exchange_weak(&a->state, &state, TAKEN))
			return true;
		if (looks) {
			looks--;
			hmm__cpu_relax();
		} else if (state != OFFERED) {
			hmm__futex_wait(&a->state, state, UINT64_MAX);
		}
	}
	return false;
}

static void *run(void *arg)
{
	struct hmm_space *space = arg;
	struct hmm__assist *a = &space->assist;
	unsigned looks = 0;

	hmm__tasks_add(1);
	for (; wait_for_offer(a, looks); looks = LOOKS)
		work(a);
	hmm__tasks_add(-1);
	return NULL;
}

static bool second_cpu(void)
{
	cpu_set_t set;

	return !sched_getaffinity(0, sizeof(set), &set) && CPU_COUNT(&set) > 1;
}

int hmm__assist_start(struct hmm_space *space)
{
	int r;

	if (space->flags & HMM_SPACE_NO_RECLAIMER || !second_cpu())
		return 0;
	r = hmm__sys_thread_create(&space->assist.thread, "hmm-assistant", run, space);
	space->assist.runs = !r;
	return r;
}

void hmm__assist_stop(struct hmm_space *space)
{
	struct hmm__assist *a = &space->assist;

	if (!a->runs)
		return;
	atomic_store(&a->stop, 1);
	atomic_store(&a->state, OFFERING); /* no region is left: nobody offers any more */
	hmm__futex_wake(&a->state, 1);
	pthread_join(a->thread, NULL);
	a->runs = false;
}

void hmm__assist_reset(struct hmm_space *space)
{
	bool ran = space->assist.runs;

	space->assist = (struct hmm__assist){ .runs = false };
	if (ran)
		(void)!hmm__assist_start(space);
}

static bool offer(struct hmm__assist *a, const struct hmm__run *run)
{
	uint32_t state = IDLE, skip = atomic_load_explicit(&a->skip, memory_order_relaxed);

	/* not for who forks: it goes on while the assistant is still at its chunk */
	if (!a->runs || run->end - run->first <= run->chunk || hmm__for_forker())
		return false;
	if (skip) {
		atomic_store_explicit(&a->skip, skip - 1, memory_order_relaxed);
		return false;
	}
	if (!atomic_compare_exchange_strong(&a->state, &state, OFFERING))
		return false;
	if (!hmm__region_hold_inside(run->region)) {
		atomic_store(&a->state, IDLE);
		return false;
	}
	a->run = *run;
	atomic_store(&a->next, run->first + run->chunk);
	atomic_store(&a->users, 2);
	atomic_store(&a->state, OFFERED);
	hmm__futex_wake(&a->state, 1);
	return true;
}

/* All chunks are handed out.  If the assistant never came, the CPUs are busy: ask less often. */
static void finish(struct hmm__assist *a)
{
	uint32_t state = OFFERED, n = 0;
	bool withdrawn = atomic_compare_exchange_strong(&a->state, &state, OFFERING);

	if (withdrawn)
		n = HMM__MIN(2 * atomic_load(&a->withdrawn) + 1, SKIP_MAX);
	atomic_store(&a->withdrawn, n);
	atomic_store(&a->skip, n);
	leave(a, withdrawn ? 2 : 1);
}

static uint64_t load_alone(const struct hmm__run *run, uint64_t got)
{
	uint64_t page = run->first + run->chunk;

	while (got == run->chunk && page < run->end) {
		got = load_chunk(run, page, false);
		page += run->chunk;
	}
	return HMM__MIN(page - run->chunk + got, run->end) - run->first;
}

uint64_t hmm__assist_run(struct hmm_region *region, uint64_t page, uint64_t ahead, uint64_t behind)
{
	struct hmm__assist *a = &region->space->assist;
	struct hmm__run run = { .region = region, .first = page, .end = page + ahead + 1,
		                .behind = HMM__MIN(behind, ahead + 1),
		                .chunk = HMM__MAX(CHUNK_FRAMES / region->weight, 1u) };
	bool offered = offer(a, &run);
	uint64_t got, next;

	if (behind > run.behind)
		hmm__evict_range(region, page - behind, behind - run.behind, false);
	got = load_chunk(&run, page, true);
	if (!offered)
		return got ? load_alone(&run, got) : 0;
	while (got && take(a, &next))
		load_chunk(&run, next, false);
	finish(a);
	return got ? run.end - page : 0;
}
