/* SPDX-License-Identifier: MIT */
/*
 * run.c - all policies at all sizes over one trace
 *
 * A job is one pass: a policy at one size, or a curve (all sizes of LRU).  A trace in memory is shared by all jobs and each
 * thread takes the next job; of a trace that is streamed every piece is given to all jobs, which then exist all at once.
 * J1  Results come in the order of jobs, whichever ends first.
 * J2  A job is used by one thread at a time; its time is that thread's CPU time within the job.
 * J3  Where the trace turns out not to fit in memory, what was loaded is the first piece.
 */
#include "run.h"

#include <errno.h>
#include <math.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define SLICE ((size_t)1 << 18)   /* records between two looks at progress */
#define PIECE ((size_t)1 << 21)   /* records of a streamed trace at a time */

struct job {
	const struct policy_spec *policy;
	enum { ENGINE, OPT, CURVE, SAMPLED_CURVE, MINI } kind;
	uint64_t frames;          /* ENGINE, OPT, MINI */
	union {
		struct engine *engine;
		struct mrc *mrc;
		struct shards *shards;
		struct mini *mini;
	};
	bool exists;
	struct counts opt;
	double seconds;
	int error;                /* -errno */
	struct result *results;   /* once finished */
	size_t nresults;
};

struct run {
	const struct run_options *options;
	struct engine_options engine;
	const char *path;
	char *name;
	struct job *jobs;
	size_t njobs;
	struct trace trace;       /* all of it, or the piece at hand */
	uint32_t unique;
	bool has_operations;
	atomic_size_t next_job;
	atomic_size_t slices_done;
	size_t slices;
};

static double cpu_seconds(void)
{
	struct timespec t;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static int fail(struct failure *failure, const char *path, const char *what)
{
	snprintf(failure->text, sizeof(failure->text), "%s: %s", path, what);
	return -1;
}

/* Sizes */

static int compare_sizes(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

#define ADVISE_MOST 64

static size_t fill_sizes(const struct sizes *sizes, uint64_t unique, uint64_t *frames)
{
	size_t n = sizes->n;

	switch (sizes->choice) {
	case SIZES_FRAMES:
		memcpy(frames, sizes->frames, n * sizeof(*frames));
		break;
	case SIZES_RATIOS:
		for (size_t i = 0; i < n; i++)
			frames[i] = (uint64_t)fmax(1, floor(sizes->ratios[i] * (double)unique));
		break;
	case SIZES_POINTS:
		for (size_t i = 0; i < n; i++)
			frames[i] = (uint64_t)llround(pow((double)unique, (double)(i + 1) / (double)n));
		break;
	case SIZES_ALL:
		for (n = 0; n < unique; n++)
			frames[n] = n + 1;
		break;
	case SIZES_ADVISE:
		n = advise_sizes(sizes->budget, unique, frames, ADVISE_MOST);
		break;
	}
	return n;
}

/* Ascending, each once; the caller frees.  NULL: out of memory. */
static uint64_t *make_sizes(const struct sizes *sizes, uint64_t unique, size_t *ret_n)
{
	size_t room = sizes->choice == SIZES_ALL ? unique : sizes->choice == SIZES_ADVISE ? ADVISE_MOST : sizes->n, n, kept;
	uint64_t *frames = malloc((room + 1) * sizeof(*frames));

	if (frames == NULL)
		return NULL;
	n = fill_sizes(sizes, unique, frames);
	qsort(frames, n, sizeof(*frames), compare_sizes);
	kept = 0;
	for (size_t i = 0; i < n; i++) {
		if (frames[i] != 0 && (kept == 0 || frames[i] != frames[kept - 1]))
			frames[kept++] = frames[i];
	}
	*ret_n = kept;
	return frames;
}

/* Jobs */

static bool is_lru(const struct policy_spec *policy)
{
	return policy->ops != NULL && strcmp(policy->text, "lru") == 0;
}

static int kind_of(const struct run *run, const struct policy_spec *policy)
{
	const struct run_options *o = run->options;
	bool draws_curve = o->sizes.choice == SIZES_POINTS || o->sizes.choice == SIZES_ALL;

	if (o->most != 0 || (o->rate != 0 && is_lru(policy)))
		return SAMPLED_CURVE;
	if (o->rate != 0)
		return MINI;
	if (policy->ops == NULL)
		return OPT;
	return draws_curve && is_lru(policy) && o->engine.mode == SIM_EXACT ? CURVE : ENGINE;
}

static int create(struct run *run, struct job *job)
{
	const struct run_options *o = run->options;
	int r = 0;

	switch (job->kind) {
	case ENGINE:
		r = engine_create(job->policy, (uint32_t)job->frames, &run->engine, &job->engine);
		if (r == 0 && run->trace.is_whole && !engine_prepare(job->engine, run->unique, run->has_operations)) {
			engine_destroy(job->engine);
			r = -ENOMEM;
		}
		break;
	case MINI:
		r = mini_create(job->policy, job->frames, o->rate, o->seed, &run->engine, &job->mini);
		break;
	case CURVE:
		job->mrc = mrc_create();
		r = job->mrc != NULL ? 0 : -ENOMEM;
		break;
	case SAMPLED_CURVE:
		job->shards = shards_create(o->rate, o->most, o->seed);
		r = job->shards != NULL ? 0 : -ENOMEM;
		break;
	case OPT:
		break;
	}
	job->exists = r == 0;
	return r;
}

static void destroy(struct job *job)
{
	if (!job->exists)
		return;
	job->exists = false;
	if (job->kind == ENGINE)
		engine_destroy(job->engine);
	else if (job->kind == MINI)
		mini_destroy(job->mini);
	else if (job->kind == CURVE)
		mrc_destroy(job->mrc);
	else if (job->kind == SAMPLED_CURVE)
		shards_destroy(job->shards);
}

static bool feed_slice(struct run *run, struct job *job, const record *records, size_t n)
{
	switch (job->kind) {
	case ENGINE:
		return engine_feed(job->engine, records, n, run->unique, run->has_operations);
	case MINI:
		return mini_feed(job->mini, records, n, run->unique);
	case CURVE:
		return mrc_feed(job->mrc, records, n, run->unique);
	case SAMPLED_CURVE:
		return shards_feed(job->shards, records, n, run->unique);
	default:
		return true;
	}
}

static void feed(struct run *run, struct job *job)
{
	double begin = cpu_seconds();

	if (job->kind == OPT) {
		job->error = opt_run(&run->trace, (uint32_t)job->frames, &run->engine, &job->opt);
		atomic_fetch_add(&run->slices_done, (run->trace.n + SLICE - 1) / SLICE);
	}
	for (size_t at = 0; job->kind != OPT && job->error == 0 && at < run->trace.n; at += SLICE) {
		size_t n = run->trace.n - at < SLICE ? run->trace.n - at : SLICE;

		if (!feed_slice(run, job, run->trace.records + at, n))
			job->error = -ENOMEM;
		progress_show((double)atomic_fetch_add(&run->slices_done, 1) / (double)run->slices);
	}
	job->seconds += cpu_seconds() - begin;
}

/* Results */

static void fill_counts(const struct counts *counts, struct result *result)
{
	result->requests = counts->requests;
	result->misses = counts->misses;
	result->cold = counts->cold;
	result->has_io = true;
	result->page_ins = counts->page_ins;
	result->page_outs = counts->page_outs;
	result->zero_fills = counts->zero_fills;
	result->faults = counts->page_ins + counts->zero_fills + counts->rescues;
}

static void fill_estimate(const struct run *run, double reuse, double error, uint64_t requests, double rate,
                          struct result *result)
{
	double most = (double)(requests - run->unique);

	result->mode = SIM_SHARDS;
	result->requests = requests;
	result->cold = run->unique;
	result->misses = run->unique + (uint64_t)llround(fmin(fmax(reuse, 0), most));
	result->rate = rate;
	result->error = requests != 0 ? error / (double)requests : 0;
}

static void fill_curve(const struct run *run, const struct mrc *mrc, uint64_t misses, struct result *result)
{
	result->mode = SIM_MRC;
	result->requests = mrc_requests(mrc);
	result->cold = run->unique;
	result->misses = misses;
	if (run->has_operations)
		return;
	result->has_io = true;
	result->faults = misses;
	*(run->engine.is_anonymous ? &result->zero_fills : &result->page_ins) = misses;
}

static void fill_one(const struct run *run, struct job *job, struct result *result)
{
	struct counts counts = job->opt;
	double error, reuse;

	result->frames = job->frames;
	if (job->kind == MINI) {
		reuse = mini_misses(job->mini, &error);
		fill_estimate(run, reuse, error, mini_requests(job->mini), run->options->rate, result);
		return;
	}
	if (job->kind == ENGINE)
		engine_counts(job->engine, &counts);
	counts.cold = run->unique;
	fill_counts(&counts, result);
	if (counts.mistakes != 0)
		fprintf(stderr, "hmm-sim: %s named no usable victim %llu times; pages were taken in their order\n",
		        job->policy->text, (unsigned long long)counts.mistakes);
}

static int fill_many(const struct run *run, struct job *job, uint64_t *frames, size_t n)
{
	uint64_t *misses = malloc((n + 1) * sizeof(*misses));
	double error, reuse;

	if (misses == NULL)
		return -ENOMEM;
	if (job->kind == CURVE)
		mrc_misses(job->mrc, frames, n, misses);
	for (size_t i = 0; i < n; i++) {
		struct result *result = &job->results[i];

		result->frames = frames[i];
		if (job->kind == CURVE) {
			fill_curve(run, job->mrc, misses[i], result);
			continue;
		}
		reuse = shards_misses(job->shards, frames[i], &error);
		fill_estimate(run, reuse, error, shards_requests(job->shards), shards_rate(job->shards), result);
	}
	free(misses);
	return 0;
}

static int finish(struct run *run, struct job *job)
{
	bool is_curve = job->kind == CURVE || job->kind == SAMPLED_CURVE;
	uint64_t *frames = NULL;
	size_t n = 1;
	int r = 0;

	if (job->error != 0)
		return job->error;
	if (is_curve) {
		frames = make_sizes(&run->options->sizes, run->unique, &n);
		if (frames == NULL)
			return -ENOMEM;
	}
	job->results = calloc(n, sizeof(*job->results));
	job->nresults = n;
	for (size_t i = 0; job->results != NULL && i < n; i++)
		job->results[i] = (struct result){ .mode = run->engine.mode, .rate = 1 };
	if (job->results == NULL)
		r = -ENOMEM;
	else if (is_curve)
		r = fill_many(run, job, frames, n);
	else
		fill_one(run, job, job->results);
	for (size_t i = 0; r == 0 && i < n; i++) {
		struct result *result = &job->results[i];

		result->trace = run->name;
		result->policy = job->policy->text;
		result->unique = run->unique;
		result->seconds = job->seconds / (double)n;
		result->mreq_per_s = job->seconds > 0 ? (double)result->requests / job->seconds / 1e6 : 0;
	}
	free(frames);
	destroy(job);
	return r;
}

/* Threads */

static void *work(void *arg)
{
	struct run *run = arg;
	size_t i;

	while ((i = atomic_fetch_add(&run->next_job, 1)) < run->njobs) {
		struct job *job = &run->jobs[i];

		if (job->error != 0)
			continue;
		if (!job->exists)
			job->error = create(run, job);
		if (job->error == 0)
			feed(run, job);
		if (run->trace.is_whole && job->error == 0)
			job->error = finish(run, job);
	}
	return NULL;
}

static void work_on_all(struct run *run)
{
	pthread_t threads[256];
	unsigned n = 0, most = run->options->threads;

	if (most > run->njobs)
		most = (unsigned)run->njobs;
	atomic_store(&run->next_job, 0);
	atomic_store(&run->slices_done, 0);
	run->slices = run->njobs * ((run->trace.n + SLICE - 1) / SLICE) + 1;
	while (n + 1 < most && n < sizeof(threads) / sizeof(threads[0]) &&
	       pthread_create(&threads[n], NULL, work, run) == 0)
		n++;
	work(run);
	while (n > 0)
		pthread_join(threads[--n], NULL);
}

/* The run */

static int add_jobs(struct run *run, const struct policy_spec *policy, const uint64_t *frames, size_t nsizes)
{
	int kind = kind_of(run, policy);
	size_t n = kind == CURVE || kind == SAMPLED_CURVE ? 1 : nsizes;
	struct job *longer = realloc(run->jobs, (run->njobs + n) * sizeof(*longer));

	if (longer == NULL)
		return -ENOMEM;
	run->jobs = longer;
	for (size_t i = 0; i < n; i++)
		run->jobs[run->njobs++] = (struct job){ .policy = policy, .kind = kind, .frames = frames ? frames[i] : 0 };
	return 0;
}

/* Does the policy take its parameters?  Asked once, at a size that costs nothing. */
static int try_policy(const struct run *run, const struct policy_spec *policy)
{
	struct engine *engine;
	int r;

	if (policy->ops == NULL)
		return 0;
	r = engine_create(policy, 64, &run->engine, &engine);
	if (r == 0)
		engine_destroy(engine);
	return r;
}

/* The library tells which parameter is wrong, and those that exist. */
static int refuse(const struct policy_spec *policy, struct failure *failure)
{
	char spec[256], why[400] = "";

	snprintf(spec, sizeof(spec), "%s:%s", policy->ops->name, policy->params);
	if (hmm_policy_check(spec, why, sizeof(why)) == 0 || why[0] == '\0')
		snprintf(why, sizeof(why), "parameter not known or out of range: '%s' (%s)", policy->params, policy->ops->summary);
	snprintf(failure->text, sizeof(failure->text), "policy '%.200s': %s", policy->text, why);
	return -1;
}

static int needs_memory(const struct run *run, const char *what, struct failure *failure)
{
	char text[200];

	snprintf(text, sizeof(text), "the trace is streamed, and %s; a larger --memory, or frames by -n, would do", what);
	return fail(failure, run->path, text);
}

static int make_jobs(struct run *run, struct failure *failure)
{
	const struct run_options *o = run->options;
	uint64_t *frames = NULL;
	size_t n = 0;
	int r = 0;

	if (run->trace.is_whole || o->sizes.choice == SIZES_FRAMES) {
		frames = make_sizes(&o->sizes, run->unique, &n);
		if (frames == NULL)
			return fail(failure, run->path, strerror(ENOMEM));
		if (n != 0 && frames[n - 1] > FRAMES_MOST) {
			free(frames);
			return fail(failure, run->path, "too many frames asked for");
		}
	}
	for (size_t i = 0; i < o->npolicies && r == 0; i++) {
		int kind = kind_of(run, &o->policies[i]), tried = try_policy(run, &o->policies[i]);

		if (tried == -EINVAL && o->skips_refused)
			continue;
		if (tried == -EINVAL)
			r = refuse(&o->policies[i], failure);
		else if (!run->trace.is_whole && kind == OPT)
			r = needs_memory(run, "opt looks into the future", failure);
		else if (frames == NULL && kind != CURVE && kind != SAMPLED_CURVE)
			r = needs_memory(run, "its number of pages is not known before the end", failure);
		else if (add_jobs(run, &o->policies[i], frames, n) != 0)
			r = fail(failure, run->path, strerror(ENOMEM));
	}
	free(frames);
	return r;
}

/* The rest of a trace whose beginning is in run->trace and was worked on. */
static int stream(struct run *run, struct trace_reader *reader, struct failure *failure)
{
	record *records = realloc(run->trace.records, (PIECE + RECORDS_SLACK) * sizeof(*records));
	ssize_t got;

	if (records == NULL)
		return fail(failure, run->path, strerror(ENOMEM));
	run->trace.records = records;
	while ((got = trace_read(reader, records, PIECE, failure)) > 0) {
		memset(records + got, 0, RECORDS_SLACK * sizeof(*records));
		run->trace.n = (size_t)got;
		run->unique = trace_unique(reader);
		run->has_operations = trace_has_operations(reader);
		work_on_all(run);
		progress_show(trace_progress(reader));
	}
	if (got < 0)
		return -1;
	for (size_t i = 0; i < run->njobs; i++) {
		if (run->jobs[i].error == 0)
			run->jobs[i].error = finish(run, &run->jobs[i]);
	}
	return 0;
}

static int collect(struct run *run, struct results *results, struct failure *failure)
{
	for (size_t i = 0; i < run->njobs; i++) {
		struct job *job = &run->jobs[i];
		struct result *longer;

		if (job->error != 0) {
			snprintf(failure->text, sizeof(failure->text), "%s: %s, %llu frames: %s", run->path,
			         job->policy->text, (unsigned long long)job->frames, strerror(-job->error));
			return -1;
		}
		longer = realloc(results->at, (results->n + job->nresults) * sizeof(*longer));
		if (longer == NULL)
			return fail(failure, run->path, strerror(ENOMEM));
		results->at = longer;
		memcpy(longer + results->n, job->results, job->nresults * sizeof(*longer));
		results->n += job->nresults;
	}
	return 0;
}

static void show_loading(const struct trace_reader *reader)
{
	progress_show(trace_progress(reader));
}

static int run_reader(struct run *run, struct trace_reader **reader, struct failure *failure)
{
	size_t memory = run->options->streams ? 0 : run->options->memory;

	progress_begin("loading");
	if (trace_load(*reader, memory, &run->trace, show_loading, failure) != 0)
		return -1;
	run->unique = run->trace.unique;
	run->has_operations = run->trace.has_operations;
	run->engine = run->options->engine;
	run->engine.is_anonymous = run->trace.is_anonymous;
	if (run->trace.is_whole) { /* the numbering is not needed any more */
		trace_close(*reader);
		*reader = NULL;
	}
	if (make_jobs(run, failure) != 0)
		return -1;
	progress_begin(run->name);
	work_on_all(run);
	return run->trace.is_whole ? 0 : stream(run, *reader, failure);
}

int run_trace(const char *path, const struct run_options *options, struct results *results, struct failure *failure)
{
	struct run run = { .options = options, .path = path };
	struct trace_reader *reader;
	int r;

	if (trace_open(path, &options->trace, &reader, failure) != 0)
		return -1;
	run.name = strdup(trace_name(reader)); /* results name it: kept to the end of the program, if there are any */
	r = run.name != NULL ? run_reader(&run, &reader, failure) : fail(failure, path, strerror(ENOMEM));
	if (r == 0)
		r = collect(&run, results, failure);
	progress_end();
	for (size_t i = 0; i < run.njobs; i++) {
		destroy(&run.jobs[i]);
		free(run.jobs[i].results);
	}
	if (r != 0)
		free(run.name);
	free(run.jobs);
	trace_free(&run.trace);
	trace_close(reader);
	return r;
}
