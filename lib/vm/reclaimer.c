/* SPDX-License-Identifier: MIT */
/*
 * reclaimer.c - the background thread of a space: events, recalls, ticks, the trace, poison that has served its time
 *
 * Frames are reclaimed by the threads that take them, a batch at a time (hmm__reclaim_poke): measured on two CPUs, a
 * background thread that did it instead competed with the application for a CPU, and waking it cost more than
 * the batch.  What is left for this thread has no hurry, so it sleeps nearly always.
 */
#include <errno.h>

#include "lib/base/clock.h"
#include "lib/base/futex.h"
#include "lib/mem/tasks.h"
#include "lib/sys/sys.h"
#include "lib/vm/cache/cache.h"
#include "lib/vm/record.h"

#define TICK_NS UINT64_C(100000000)
#define POISON_NS UINT64_C(10000000)

static void give_back(struct hmm_space *space)
{
	int64_t want = atomic_exchange(&space->pressure, 0);
	uint64_t goal, reached;

	if (!want)
		return;
	hmm__event(space, HMM_EVENT_PRESSURE, NULL, 0, (uint64_t)(want > 0 ? want : -want), 0, NULL);
	goal = hmm__peek(&space->budget);
	if (want > 0)
		goal = goal > (uint64_t)want + HMM_FRAMES_MIN ? goal - (uint64_t)want : HMM_FRAMES_MIN;
	else
		goal = HMM__MIN(goal + (uint64_t)-want, (uint64_t)space->capacity);
	hmm__space_resize(space, goal, &reached);
}

void hmm__work(struct hmm_space *space)
{
	give_back(space);
	hmm__reclaim_poke(space);
	hmm__cache_work(space);
	hmm__swapped_look(space);
	if (atomic_load(&space->npoisoned))
		hmm__poison_expire(space, POISON_NS);
	hmm__lock(&space->lock);
	hmm__policy_tick(space->policy);
	hmm__unlock(&space->lock);
}

/* Sleep until woken; not longer than a tick while something goes on. */
static void rest(struct hmm_space *space, uint64_t *passes)
{
	uint32_t seen = atomic_load(&space->wakeups);
	uint64_t now = hmm__counter_passes(space);
	bool busy = now != *passes || space->record || atomic_load(&space->npoisoned);

	*passes = now;
	if (atomic_load(&space->stop) || atomic_load_explicit(&space->event_count, memory_order_relaxed) || atomic_load(&space->pressure))
		return;
	atomic_store(&space->reclaimer_idle, busy ? 0 : 1);
	hmm__futex_wait(&space->wakeups, seen, atomic_load(&space->npoisoned) ? POISON_NS : busy ? TICK_NS : UINT64_MAX);
	atomic_store(&space->reclaimer_idle, 0);
}

static void *run(void *arg)
{
	struct hmm_space *space = arg;
	uint64_t passes = 0;

	hmm__tasks_add(1);
	while (!atomic_load(&space->stop)) {
		atomic_fetch_add(&space->inside, 1);
		if (atomic_load(&space->gate)) {
			atomic_fetch_sub(&space->inside, 1);
			hmm__gate_wait(space);
			continue;
		}
		hmm__work(space);
		atomic_fetch_sub(&space->inside, 1);
		hmm__record_flush(space);
		hmm__events_deliver(space);
		rest(space, &passes);
	}
	hmm__tasks_add(-1);
	return NULL;
}

int hmm__reclaimer_start(struct hmm_space *space)
{
	int r;

	if (space->flags & HMM_SPACE_NO_RECLAIMER)
		return 0;
	r = hmm__sys_thread_create(&space->reclaimer, "hmm-background", run, space);
	space->reclaimer_runs = !r;
	return r;
}

void hmm__reclaimer_stop(struct hmm_space *space)
{
	if (!space->reclaimer_runs)
		return;
	atomic_store(&space->stop, 1);
	hmm__reclaimer_wake(space);
	pthread_join(space->reclaimer, NULL);
	space->reclaimer_runs = false;
}

void hmm__reclaimer_wake(struct hmm_space *space)
{
	atomic_fetch_add(&space->wakeups, 1);
	hmm__futex_wake(&space->wakeups, 1);
}
