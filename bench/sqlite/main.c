/* SPDX-License-Identifier: MIT */
/*
 * main.c - what it gains to page SQLite's databases with this library
 *
 * Each case runs under SQLite's own page cache and under the library's, with the same memory, in turns of some
 * milliseconds.  All must give the same answers.  Exit status: 0, 1 if answers differ, a database is damaged, or something
 * failed.
 */
#include <argp.h>
#include <cjson/cJSON.h>
#include <errno.h>
#include <hurd-mm/sqlite.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "run.h"

#define IMPLS_MAX JOBS_MAX
#define ROUNDS_MAX 31u
#define IN_CACHE (UINT64_C(256) << 20)

enum { KEY_JSON = 0x100, KEY_ROUNDS, KEY_SEED, KEY_FILES };

struct options {
	const char *directory, *only;
	char *policies;
	unsigned rounds, files;
	uint64_t seed;
	bool quick, json;
};

static const struct argp_option argp_options[] = {
	{ "quick", 'q', NULL, 0, "A smaller database and fewer operations", 0 },
	{ "json", KEY_JSON, NULL, 0, "One JSON object a line on standard output", 0 },
	{ "policy", 'p', "LIST", 0, "Policies, with commas between (sieve,lru,2q,s3fifo,lirs,db)", 0 },
	{ "case", 'c', "PART", 0, "Only cases with this in their name", 0 },
	{ "rounds", KEY_ROUNDS, "N", 0, "Rounds of each case that is about speed (7; 5 if it is quick)", 0 },
	{ "files", KEY_FILES, "N", 0, "Rows of the database of the mixed cases, at most", 0 },
	{ "seed", KEY_SEED, "N", 0, "Of what is asked for (1)", 0 },
	{ "directory", 'd', "DIR", 0, "Where the databases are made ($TMPDIR or /var/tmp)", 0 },
	{ 0 },
};

static error_t parse(int key, char *arg, struct argp_state *state)
{
	struct options *o = state->input;

	switch (key) {
	case 'q': o->quick = true; break;
	case KEY_JSON: o->json = true; break;
	case 'p': o->policies = arg; break;
	case 'c': o->only = arg; break;
	case 'd': o->directory = arg; break;
	case KEY_ROUNDS: o->rounds = (unsigned)strtoul(arg, NULL, 10); break;
	case KEY_FILES: o->files = (unsigned)strtoul(arg, NULL, 10); break;
	case KEY_SEED: o->seed = strtoull(arg, NULL, 10); break;
	default: return ARGP_ERR_UNKNOWN;
	}
	return 0;
}

struct bench {
	const struct options *o;
	const char *impls[IMPLS_MAX]; /* policies; NULL: SQLite's own */
	unsigned nimpls;
	char loaded[PATH_MAX - 32], file[PATH_MAX - 32];
	uint64_t bytes;               /* of the database of files */
	bool failed;
};

static int copy(const char *from, const char *to)
{
	char buffer[1 << 16];
	FILE *in = fopen(from, "rb"), *out = fopen(to, "wb");
	size_t n;
	int r = in && out ? 0 : -EIO;

	while (!r && (n = fread(buffer, 1, sizeof(buffer), in)) > 0)
		r = fwrite(buffer, 1, n, out) == n ? 0 : -EIO;
	if (in)
		fclose(in);
	if (out && fclose(out))
		r = -EIO;
	return r;
}

struct line {
	struct result r;
	double seconds[ROUNDS_MAX];
	unsigned rounds, bad;
};

static int by_size(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

struct spread {
	double low, median, high;
};

static struct spread spread_of(const double *values, unsigned n)
{
	double v[ROUNDS_MAX];

	memcpy(v, values, n * sizeof(v[0]));
	qsort(v, n, sizeof(v[0]), by_size);
	return (struct spread){ v[0], n % 2 ? v[n / 2] : (v[n / 2 - 1] + v[n / 2]) / 2, v[n - 1] };
}

/* SQLite's own time to this one's, in each round: they took turns in it. */
static struct spread speed_of(const struct line *l, const struct line *own)
{
	double ratios[ROUNDS_MAX];

	for (unsigned k = 0; k < l->rounds; k++)
		ratios[k] = l->seconds[k] > 0 ? own->seconds[k] / l->seconds[k] : 0;
	return spread_of(ratios, l->rounds);
}

static double sum(const struct laps *laps)
{
	double s = 0;

	for (unsigned i = 0; i < laps->n; i++)
		s += laps->seconds[i];
	return s;
}

static void show(struct bench *b, const char *name, const struct job *job, const char *impl, struct line *l,
                 const struct line *own)
{
	double seconds = spread_of(l->seconds, l->rounds).median;
	struct spread speed = speed_of(l, own);
	double fewer = own->r.misses ? 100.0 - 100.0 * (double)l->r.misses / (double)own->r.misses : 0;
	char *text;
	cJSON *row;

	if (!b->o->json) {
		printf("%-18s %-12s %8.3f s  speed %5.3f (%5.3f to %5.3f)  %7llu misses  %5.1f%% fewer  %5.1f MiB%s\n", name,
		       impl ? impl : "(sqlite)", seconds, speed.median, speed.low, speed.high, (unsigned long long)l->r.misses,
		       fewer, (double)l->r.peak / (1 << 20), l->bad ? "  WRONG" : "");
		fflush(stdout);
		return;
	}
	row = cJSON_CreateObject();
	cJSON_AddStringToObject(row, "bench", "sqlite");
	cJSON_AddStringToObject(row, "case", name);
	cJSON_AddStringToObject(row, "impl", impl ? "hurd-mm" : "sqlite");
	cJSON_AddStringToObject(row, "policy", impl ? impl : "lru");
	cJSON_AddNumberToObject(row, "threads", job->threads);
	cJSON_AddNumberToObject(row, "memory", (double)job->memory);
	cJSON_AddNumberToObject(row, "seconds", seconds);
	cJSON_AddNumberToObject(row, "ops_per_s", (double)l->r.ops / seconds);
	cJSON_AddNumberToObject(row, "speed", speed.median);
	cJSON_AddNumberToObject(row, "speed_low", speed.low);
	cJSON_AddNumberToObject(row, "speed_high", speed.high);
	cJSON_AddNumberToObject(row, "rounds", l->rounds);
	cJSON_AddNumberToObject(row, "misses", (double)l->r.misses);
	cJSON_AddNumberToObject(row, "fewer_misses_percent", fewer);
	cJSON_AddNumberToObject(row, "peak_bytes", (double)l->r.peak);
	cJSON_AddNumberToObject(row, "refusals", (double)l->r.refusals);
	cJSON_AddNumberToObject(row, "beyond", (double)l->r.beyond);
	cJSON_AddNumberToObject(row, "bad", l->bad);
	text = cJSON_PrintUnformatted(row);
	puts(text ? text : "{}");
	fflush(stdout);
	free(text);
	cJSON_Delete(row);
}

/* The databases are as they were before each round. */
static int prepare(const struct bench *b, struct job *job, const char *impl, unsigned i, char *file, size_t size)
{
	job->policy = impl;
	job->file = job->kind == READ ? b->loaded : file;
	snprintf(file, size, "%s.%u", b->file, i);
	unlink(file);
	return job->kind == MIXED ? copy(b->loaded, file) : 0;
}

static void run_round(struct bench *b, const char *name, const struct job *what, struct line *lines, unsigned impls)
{
	struct job jobs[IMPLS_MAX] = { 0 };
	static struct result results[IMPLS_MAX];
	char files[IMPLS_MAX][PATH_MAX];
	int r = 0;

	for (unsigned i = 0; i < impls; i++) {
		int e;

		jobs[i] = *what;
		e = prepare(b, &jobs[i], b->impls[i], i, files[i], sizeof(files[i]));
		r = r ? r : e;
	}
	memset(results, 0, sizeof(results));
	if (!r)
		r = run_jobs(jobs, impls, results);
	for (unsigned i = 0; i < impls; i++) {
		int error = r ? r : results[i].error;

		unlink(files[i]);
		lines[i].r = results[i];
		lines[i].seconds[lines[i].rounds++] = sum(&results[i].laps);
		if (!error && results[i].whole)
			continue;
		fprintf(stderr, "sqlite: %s: %s: error %d%s\n", name, b->impls[i] ? b->impls[i] : "(sqlite)", error,
		        error ? "" : ", damaged");
		lines[i].bad++;
	}
}

static void run_case(struct bench *b, const char *name, struct job job, unsigned impls, unsigned rounds)
{
	static struct line lines[IMPLS_MAX];

	if (b->o->only && !strstr(name, b->o->only))
		return;
	memset(lines, 0, sizeof(lines));
	while (rounds--)
		run_round(b, name, &job, lines, impls);
	for (unsigned i = 0; i < impls; i++) {
		lines[i].bad += lines[i].r.print != lines[0].r.print || lines[i].r.rows != lines[0].r.rows;
		b->failed = b->failed || lines[i].bad;
		show(b, name, &job, b->impls[i], &lines[i], &lines[0]);
	}
}

static int load(struct bench *b)
{
	struct job job = { .kind = LOAD, .file = b->loaded, .memory = IN_CACHE, .threads = 1, .seed = b->o->seed,
		           .amount = b->o->files };
	struct result r;
	FILE *f;
	int e = run_job(&job, &r);

	if (e || r.error || !r.whole)
		return e ? e : -EIO;
	f = fopen(b->loaded, "rb");
	if (!f || fseek(f, 0, SEEK_END))
		return -EIO;
	b->bytes = (uint64_t)ftell(f);
	fclose(f);
	return 0;
}

/* Whole pages, and enough for a space. */
static uint64_t part_of(const struct bench *b, unsigned percent)
{
	uint64_t bytes = b->bytes * percent / 100 & ~UINT64_C(4095);

	return bytes < HMM_SQLITE_BYTES_MIN ? HMM_SQLITE_BYTES_MIN : bytes;
}

static void run_all(struct bench *b)
{
	const struct options *o = b->o;
	struct job job = { .memory = IN_CACHE, .threads = 1, .seed = o->seed };
	static const unsigned parts[] = { 5, 10, 20, 40 };
	unsigned few = b->nimpls < 3 ? b->nimpls : 3;

	job.kind = SPEED;
	job.lap = o->quick ? 200 : 500;
	job.amount = o->quick ? 10000 : 50000;
	run_case(b, "in-cache speed", job, few, o->rounds);
	job.kind = READ;
	job.amount = o->quick ? 20000 : 50000;
	job.warm = job.amount / 4;
	job.lap = job.amount / 200;
	run_case(b, "in-cache reads", job, few, o->rounds);
	job.threads = 2;
	run_case(b, "in-cache reads x2", job, few, o->rounds);
	job.memory = part_of(b, 20);
	job.amount /= 2;
	run_case(b, "reads 20% x2", job, b->nimpls, 1);
	job.threads = 1;
	job.kind = MIXED;
	job.lap = job.amount / 100;
	for (unsigned i = 0; i < sizeof(parts) / sizeof(parts[0]); i++) {
		char name[32];

		if (o->quick && parts[i] != 10 && parts[i] != 40)
			continue;
		snprintf(name, sizeof(name), "mixed %u%%", parts[i]);
		job.memory = part_of(b, parts[i]);
		run_case(b, name, job, b->nimpls, 1);
	}
}

int main(int argc, char **argv)
{
	static const struct argp argp = { argp_options, parse, NULL, "SQLite's page cache, and a space's in its place.", NULL,
		                          NULL, NULL };
	static char policies[] = "sieve,lru,2q,s3fifo,lirs,db";
	struct options o = { .seed = 1, .policies = policies };
	struct bench b = { .o = &o };
	char *rest = NULL;
	int r;

	if (argp_parse(&argp, argc, argv, 0, NULL, &o))
		return 1;
	if (!o.directory)
		o.directory = getenv("TMPDIR") ? getenv("TMPDIR") : "/var/tmp";
	if (!o.rounds || o.rounds > ROUNDS_MAX)
		o.rounds = o.quick ? 5 : 7;
	if (!o.files)
		o.files = o.quick ? 40000 : 200000;
	b.impls[b.nimpls++] = NULL;
	for (char *p = strtok_r(o.policies, ",", &rest); p && b.nimpls < IMPLS_MAX; p = strtok_r(NULL, ",", &rest))
		b.impls[b.nimpls++] = p;
	snprintf(b.loaded, sizeof(b.loaded), "%s/hurd-mm-bench-%d-files.db", o.directory, getpid());
	snprintf(b.file, sizeof(b.file), "%s/hurd-mm-bench-%d.db", o.directory, getpid());
	r = load(&b);
	if (r)
		fprintf(stderr, "sqlite: the database can't be made: %s\n", strerror(-r));
	else
		run_all(&b);
	unlink(b.loaded);
	return r || b.failed;
}
