/* SPDX-License-Identifier: MIT */
/*
 * run.c - a process with the page cache that is asked for, one workload, and what came of it
 *
 * Equal memory: what a page's frame takes of the budget holds contents, SQLite's own bytes and the library's; SQLite's
 * cache_size in KiB counts contents and its own bytes.
 */
#include "run.h"

#include <errno.h>
#include <hurd-mm/hurd-mm.h>
#include <hurd-mm/sqlite.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define THREADS_MAX 16u

struct thread {
	const struct job *job;
	struct work work;
	pthread_barrier_t *start;
	unsigned number;
	struct laps *laps;
	uint64_t misses;
	pthread_t id;
};

static double now(clockid_t clock)
{
	struct timespec t;

	clock_gettime(clock, &t);
	return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

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

static void *read_thread(void *arg)
{
	struct thread *t = arg;
	struct work *w = &t->work;
	uint64_t misses;

	open_db(w, t->job, t->job->seed + t->number);
	if (t->job->warm)
		mixed_read(w, t->job->warm);
	misses = w->db ? work_misses(w) : 0;
	w->ops = 0;
	pthread_barrier_wait(t->start);
	if (t->laps)
		work_begin_laps(w, t->laps, t->job->lap);
	if (!w->error)
		mixed_read(w, t->job->amount);
	t->misses = w->db ? work_misses(w) - misses : 0;
	return NULL;
}

static void run_read(const struct job *job, struct result *r)
{
	struct thread threads[THREADS_MAX];
	pthread_barrier_t start;
	double begin, cpu;
	unsigned n = 0;

	pthread_barrier_init(&start, NULL, job->threads + 1);
	for (; n < job->threads; n++) {
		threads[n] = (struct thread){ .job = job, .start = &start, .number = n,
			                      .laps = n ? NULL : &r->laps };
		if (pthread_create(&threads[n].id, NULL, read_thread, &threads[n])) {
			r->error = -EAGAIN;
			return;
		}
	}
	pthread_barrier_wait(&start);
	begin = now(CLOCK_MONOTONIC);
	cpu = now(CLOCK_PROCESS_CPUTIME_ID);
	for (unsigned i = 0; i < n; i++)
		pthread_join(threads[i].id, NULL);
	r->cpu_seconds = now(CLOCK_PROCESS_CPUTIME_ID) - cpu;
	r->seconds = now(CLOCK_MONOTONIC) - begin;
	r->whole = true;
	for (unsigned i = 0; i < n; i++) {
		struct work *w = &threads[i].work;

		r->error = r->error ? r->error : w->error;
		r->print = r->print * 31 + w->print;
		r->rows += w->rows;
		r->ops += w->ops;
		r->misses += threads[i].misses;
		work_close(w);
	}
}

static void run_alone(const struct job *job, struct result *r)
{
	struct work w;
	double begin, cpu;

	open_db(&w, job, job->seed);
	begin = now(CLOCK_MONOTONIC);
	cpu = now(CLOCK_PROCESS_CPUTIME_ID);
	work_begin_laps(&w, &r->laps, job->lap);
	if (job->kind == LOAD)
		mixed_load(&w, job->amount);
	else if (job->kind == SPEED)
		speed_run(&w, job->amount);
	else
		mixed_run(&w, job->amount, true);
	r->cpu_seconds = now(CLOCK_PROCESS_CPUTIME_ID) - cpu;
	r->seconds = now(CLOCK_MONOTONIC) - begin;
	r->misses = w.db ? work_misses(&w) : 0;
	r->whole = !w.error && work_whole(&w);
	r->error = w.error;
	r->print = w.print;
	r->rows = w.rows;
	r->ops = w.ops;
	work_close(&w);
}

static void run_here(const struct job *job, struct result *r)
{
	struct hmm_sqlite_stats s = { .size = sizeof(s) };
	struct hmm_space *space = NULL;

	r->error = page_cache(job, &space);
	if (r->error)
		return;
	if (job->kind == READ)
		run_read(job, r);
	else
		run_alone(job, r);
	if (job->policy && hmm_sqlite_stats(&s) == 0) {
		r->refusals = s.refusals;
		r->beyond = s.beyond;
	}
	if (sqlite3_shutdown() || (job->policy && hmm_sqlite_uninstall()))
		r->error = r->error ? r->error : -EBUSY;
	hmm_space_destroy(space);
}

int run_job(const struct job *job, struct result *ret_result)
{
	static struct result r;
	int fds[2], status;
	ssize_t n;
	pid_t child;

	memset(&r, 0, sizeof(r));
	if (pipe(fds))
		return -errno;
	fflush(NULL);
	child = fork();
	if (child < 0) {
		close(fds[0]);
		close(fds[1]);
		return -errno;
	}
	if (!child) {
		run_here(job, &r);
		_exit(write(fds[1], &r, sizeof(r)) != sizeof(r));
	}
	close(fds[1]);
	n = 0;
	while ((size_t)n < sizeof(r)) {
		ssize_t more = read(fds[0], (char *)&r + n, sizeof(r) - (size_t)n);

		if (more <= 0)
			break;
		n += more;
	}
	close(fds[0]);
	if (waitpid(child, &status, 0) != child || status || n != sizeof(r))
		return -ECHILD;
	*ret_result = r;
	return 0;
}
