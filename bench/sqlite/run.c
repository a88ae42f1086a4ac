/* SPDX-License-Identifier: MIT */
/*
 * run.c - in this process the page cache that is asked for, one workload, and what came of it
 *
 * Equal memory: what a page's frame takes of the budget holds contents, SQLite's own bytes and the library's, 4369 bytes for
 * 4096.  SQLite's cache_size in KiB counts 4232, contents and some of its own bytes, and it allocates 4352 and more.  What
 * both took at most is measured.
 */
#include "run.h"

#include <errno.h>
#include <hurd-mm/hurd-mm.h>
#include <hurd-mm/sqlite.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define THREADS_MAX 16u

struct thread {
	const struct job *job;
	const struct ends *ends; /* the first thread speaks for all */
	struct work work;
	pthread_barrier_t *barrier;
	unsigned number;
	struct laps laps;
	uint64_t misses;
	pthread_t id;
};

static int page_cache(const struct job *job, struct hmm_space **ret_space)
{
	/* threads of the library would have nothing to do, and the C library is faster in a process with one thread */
	struct hmm_space_options o = { .size = sizeof(o), .policy = job->policy, .flags = HMM_SPACE_NO_RECLAIMER };
	int r;

	if (!job->policy)
		return 0;
	r = hmm_space_create(job->memory / hmm_page_size(), &o, ret_space);
	return r ? r : hmm_sqlite_install(*ret_space);
}

/* What is measured is the page cache: no waiting for a disk. */
static int open_db(struct work *w, const struct job *job, uint64_t seed)
{
	char setup[200];

	snprintf(setup, sizeof(setup), "PRAGMA synchronous=OFF; PRAGMA cache_size=-%llu; PRAGMA journal_mode=%s",
	         (unsigned long long)(job->memory / 1024 / job->threads), job->kind == MIXED ? "DELETE" : "MEMORY");
	return work_open(w, job->file, setup, seed);
}

/* Each job on the same processors, by the numbers of its threads: one may be slower than the other.  Else as it comes. */
static void stay(unsigned number)
{
	cpu_set_t allowed, one;
	int left;

	if (sched_getaffinity(0, sizeof(allowed), &allowed))
		return;
	left = (int)number % CPU_COUNT(&allowed);
	for (int cpu = 0; cpu < CPU_SETSIZE; cpu++) {
		if (!CPU_ISSET(cpu, &allowed) || left--)
			continue;
		CPU_ZERO(&one);
		CPU_SET(cpu, &one);
		(void)!sched_setaffinity(0, sizeof(one), &one);
		return;
	}
}

static void pass_turn(void *arg)
{
	turns_pass(arg);
}

static void meet(void *arg)
{
	const struct thread *t = arg;

	pthread_barrier_wait(t->barrier);
}

static void pass_turn_together(void *arg)
{
	const struct thread *t = arg;

	if (t->number == 0)
		turns_pass(t->ends);
	pthread_barrier_wait(t->barrier);
}

static void *read_thread(void *arg)
{
	struct thread *t = arg;
	struct work *w = &t->work;
	uint64_t misses;

	stay(t->number);
	open_db(w, t->job, t->job->seed + t->number);
	if (t->job->warm)
		mixed_read(w, t->job->warm);
	misses = w->db ? work_misses(w) : 0;
	meet(t);
	t->laps.clock = t->job->threads > 1 ? CLOCK_MONOTONIC : CLOCK_THREAD_CPUTIME_ID;
	t->laps.meet = meet;
	t->laps.turn = pass_turn_together;
	t->laps.arg = t;
	work_begin_laps(w, &t->laps, t->job->lap);
	if (!w->error)
		mixed_read(w, t->job->amount);
	work_end_laps(&t->laps, t->job->amount / t->laps.every);
	t->misses = w->db ? work_misses(w) - misses : 0;
	return NULL;
}

static void run_read(const struct job *job, const struct ends *ends, struct result *r)
{
	static struct thread threads[THREADS_MAX];
	pthread_barrier_t barrier;

	pthread_barrier_init(&barrier, NULL, job->threads);
	for (unsigned i = 0; i < job->threads; i++) {
		threads[i] = (struct thread){ .job = job, .ends = ends, .barrier = &barrier, .number = i };
		if (pthread_create(&threads[i].id, NULL, read_thread, &threads[i]))
			_exit(1); /* the others would wait for it */
	}
	for (unsigned i = 0; i < job->threads; i++)
		pthread_join(threads[i].id, NULL);
	r->whole = true;
	r->laps = threads[0].laps;
	for (unsigned i = 0; i < job->threads; i++) {
		struct work *w = &threads[i].work;

		r->error = r->error ? r->error : w->error;
		r->print = r->print * 31 + w->print;
		r->rows += w->rows;
		r->ops += w->ops;
		r->misses += threads[i].misses;
		work_close(w);
	}
}

static void run_alone(const struct job *job, const struct ends *ends, struct result *r)
{
	struct work w;

	stay(0);
	open_db(&w, job, job->seed);
	r->laps.clock = CLOCK_THREAD_CPUTIME_ID;
	r->laps.turn = pass_turn;
	r->laps.arg = (void *)(uintptr_t)ends;
	work_begin_laps(&w, &r->laps, job->lap);
	if (job->kind == LOAD)
		mixed_load(&w, job->amount);
	else if (job->kind == SPEED)
		speed_run(&w, job->amount);
	else
		mixed_run(&w, job->amount, (unsigned)(job->memory >> 10));
	r->misses = w.db ? work_misses(&w) : 0;
	r->whole = !w.error && work_whole(&w);
	r->error = w.error;
	r->print = w.print;
	r->rows = w.rows;
	r->ops = w.ops;
	work_close(&w);
}

static void note_memory(const struct job *job, struct hmm_space *space, struct result *r)
{
	struct hmm_sqlite_stats s = { .size = sizeof(s) };
	struct hmm_stats of_space = { .size = sizeof(of_space) };

	r->peak = (uint64_t)sqlite3_memory_highwater(0);
	if (!job->policy || hmm_sqlite_stats(&s) || hmm_space_stats(space, &of_space))
		return;
	r->refusals = s.refusals;
	r->beyond = s.beyond;
	r->peak += job->memory + of_space.metadata_bytes;
}

void run_here(const struct job *job, const struct ends *ends, struct result *r)
{
	struct hmm_space *space = NULL;

	r->error = page_cache(job, &space);
	if (r->error)
		return;
	if (job->kind == READ)
		run_read(job, ends, r);
	else
		run_alone(job, ends, r);
	note_memory(job, space, r);
	if (sqlite3_shutdown() || (job->policy && hmm_sqlite_uninstall()))
		r->error = r->error ? r->error : -EBUSY;
	hmm_space_destroy(space);
}
