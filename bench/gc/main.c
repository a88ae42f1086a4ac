/* SPDX-License-Identifier: MIT */
/*
 * main.c - what the collector's integration saves: the same programs with half the memory that their heaps take
 *
 * Each program is run as it is first.  What its heap was then is twice the budget of the runs that follow, and what it
 * printed is what they must print.
 *
 * Exit status: 0, 1 if an answer was wrong or something failed, 77 if nothing could be paged.
 */
#include <argp.h>
#include <cjson/cJSON.h>
#include <stdlib.h>
#include <string.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "bench/gc/compare.h"
#include "bench/kernel/swap.h"

#define RUNS_MOST 9
#define LEAST_BUDGET (UINT64_C(4) << 20)
#define TRIES 10u /* in small cgroups the kernel ends programs for want of memory, now and then, while swap is free */
#define KERNEL_BYTES (UINT64_C(256) << 10) /* stacks and structures in the kernel, which a cgroup is charged for too */

enum { KEY_JSON = 0x100, KEY_NO_KERNEL, KEY_RUNS, KEY_PARTS };

struct options {
	const char *only, *directory;
	bool quick, json, no_kernel;
	unsigned runs;
	double parts;
};

struct row {
	struct run runs[RUNS_MOST];
	unsigned n, bad;
	unsigned killed; /* runs that the kernel ended for want of memory; they were repeated */
	bool is_skipped;
	char why[TEXT_BYTES];
};

static struct options options = { .parts = 2, .directory = "/var/tmp" };
static unsigned failures, paged;

static const struct argp_option argp_options[] = {
	{ "quick", 'q', NULL, 0, "Smaller heaps, one run of each: some 20 seconds", 0 },
	{ "json", KEY_JSON, NULL, 0, "One JSON object a line on standard output", 0 },
	{ "case", 'c', "NAME", 0, "Only cases whose name has this in it", 0 },
	{ "runs", KEY_RUNS, "N", 0, "Runs of each; the median is shown (3; --quick: 1)", 0 },
	{ "parts", KEY_PARTS, "N", 0, "The budget is the heap by this (2)", 0 },
	{ "directory", 'd', "DIR", 0, "Where swap files are made (/var/tmp)", 0 },
	{ "no-kernel", KEY_NO_KERNEL, NULL, 0, "Without the kernel's swap, which needs root", 0 },
	{ 0 },
};

static error_t parse_option(int key, char *arg, struct argp_state *state)
{
	switch (key) {
	case 'q': options.quick = true; break;
	case KEY_JSON: options.json = true; break;
	case 'c': options.only = arg; break;
	case KEY_RUNS: options.runs = (unsigned)atoi(arg); break;
	case KEY_PARTS: options.parts = atof(arg); break;
	case 'd': options.directory = arg; break;
	case KEY_NO_KERNEL: options.no_kernel = true; break;
	case ARGP_KEY_ARG: argp_error(state, "not an option: %s", arg); break;
	case ARGP_KEY_END:
		if (options.runs > RUNS_MOST || options.parts < 1)
			argp_error(state, "at most %d runs, at least 1 part", RUNS_MOST);
		break;
	default: return ARGP_ERR_UNKNOWN;
	}
	return 0;
}

static int by_seconds(const void *a, const void *b)
{
	double x = ((const struct run *)a)->seconds, y = ((const struct run *)b)->seconds;

	return (x > y) - (x < y);
}

/* The run that stands for the row, NULL if there is none. */
static const struct run *median(struct row *row)
{
	if (!row->n)
		return NULL;
	qsort(row->runs, row->n, sizeof(row->runs[0]), by_seconds);
	return &row->runs[row->n / 2];
}

static void print_row(const struct job *job, enum impl impl, struct row *row, double heap)
{
	const struct run *run = median(row);

	if (options.json) {
		cJSON *object = cJSON_CreateObject();
		char *text;

		cJSON_AddStringToObject(object, "bench", "gc");
		cJSON_AddStringToObject(object, "case", job->name);
		cJSON_AddStringToObject(object, "impl", impl_names[impl]);
		cJSON_AddNumberToObject(object, "threads", job->threads);
		cJSON_AddNumberToObject(object, "heap_bytes", heap);
		cJSON_AddNumberToObject(object, "budget_bytes", impl == IMPL_PLAIN ? 0 : (double)job->budget);
		if (run) {
			cJSON_AddNumberToObject(object, "seconds", run->seconds);
			cJSON_AddNumberToObject(object, "transfers", (double)run->transfers);
			cJSON_AddNumberToObject(object, "collections", (double)run->collections);
			cJSON_AddNumberToObject(object, "peak_bytes", (double)run->peak);
		} else {
			cJSON_AddStringToObject(object, row->is_skipped ? "skipped" : "failed", row->why);
		}
		cJSON_AddNumberToObject(object, "bad", row->bad);
		cJSON_AddNumberToObject(object, "killed", row->killed);
		text = cJSON_PrintUnformatted(object);
		puts(text ? text : "{}");
		free(text);
		cJSON_Delete(object);
	}
	if (run)
		fprintf(stderr, "%-12s %-18s %9.2f %10llu %6llu %8.1f\n", job->name, impl_names[impl], run->seconds,
		        (unsigned long long)run->transfers, (unsigned long long)run->collections, run->peak / 1048576.0);
	else
		fprintf(stderr, "%-12s %-18s %s: %s\n", job->name, impl_names[impl],
		        row->is_skipped ? "skipped" : "failed", row->why);
	if (row->killed)
		fprintf(stderr, "    repeated, for the kernel had ended them for want of memory: %u runs\n", row->killed);
}

static void note(struct row *row, const struct run *run, const char *answer)
{
	if (!run->is_done) {
		row->is_skipped = run->is_skipped;
		strcpy(row->why, run->why);
		failures += !run->is_skipped;
		return;
	}
	if (strcmp(run->answer, answer) != 0) {
		row->bad++;
		failures++;
	}
	row->runs[row->n++] = *run;
}

/* Targets; the exit status does not depend on them. */
static void print_ratios(struct row rows[IMPLS])
{
	const struct run *gc = median(&rows[IMPL_GC]), *lru = median(&rows[IMPL_LRU]), *zram = median(&rows[IMPL_ZRAM]);

	if (gc && lru)
		fprintf(stderr, "    transfers, lru / gc: %.1f (wanted: 3)   time: %.2f\n",
		        (double)lru->transfers / (gc->transfers ? gc->transfers : 1), lru->seconds / gc->seconds);
	if (gc && zram)
		fprintf(stderr, "    time, zram / gc: %.2f (wanted: 2)\n", zram->seconds / gc->seconds);
}

static void run_again(struct job *job, enum impl impl, const char *cgroup, struct row *row, const char *answer)
{
	static struct run run;

	run_once(job, impl, cgroup, &run);
	for (unsigned t = 1; impl == IMPL_ZRAM && run.is_killed && t < TRIES; t++) {
		row->killed++;
		run_once(job, impl, cgroup, &run);
	}
	if (impl == IMPL_GC && run.peak + KERNEL_BYTES > job->limit)
		job->limit = run.peak + KERNEL_BYTES;
	if (!run.is_done && impl == IMPL_THREAD && strstr(run.why, "ran unpaged"))
		run.is_skipped = true; /* it needs a permission */
	if (!run.is_done && impl == IMPL_ZRAM)
		run.is_skipped = true; /* where memory is short the kernel ends whom it likes */
	note(row, &run, answer);
	paged += impl == IMPL_GC && run.is_done;
}

/* Once each in turn, so that what else the machine does meanwhile falls on all. */
static void run_rows(struct job *job, struct row rows[IMPLS], const struct run *first)
{
	unsigned n = options.runs ? options.runs : options.quick ? 1 : 3;
	struct kernel_swap swap = { .cgroup = "" };
	bool has_swap = false;

	if (options.no_kernel)
		strcpy(rows[IMPL_ZRAM].why, "not wanted");
	else
		has_swap = kernel_swap_start(&swap, SWAP_ZRAM, first->heap * 8, options.directory, rows[IMPL_ZRAM].why) == 0;
	rows[IMPL_ZRAM].is_skipped = !has_swap;
	for (unsigned i = 0; i < n; i++) {
		for (enum impl impl = IMPL_GC; impl < IMPLS; impl++) {
			if ((impl != IMPL_ZRAM || has_swap) && !rows[impl].why[0])
				run_again(job, impl, swap.cgroup, &rows[impl], first->answer);
		}
	}
	if (has_swap)
		kernel_swap_stop(&swap);
}

static void run_case(struct job *job)
{
	static struct row rows[IMPLS];
	static struct run first;

	memset(rows, 0, sizeof(rows));
	run_once(job, IMPL_PLAIN, NULL, &first);
	note(&rows[IMPL_PLAIN], &first, first.answer);
	if (first.is_done) {
		job->budget = (uint64_t)((double)first.heap / options.parts);
		job->budget = job->budget > LEAST_BUDGET ? job->budget : LEAST_BUDGET;
		job->limit = 0;
		run_rows(job, rows, &first);
	}
	for (enum impl impl = IMPL_PLAIN; impl < IMPLS; impl++) {
		if (impl == IMPL_PLAIN || first.is_done)
			print_row(job, impl, &rows[impl], (double)first.heap);
	}
	print_ratios(rows);
	fflush(stdout);
}

int main(int argc, char **argv)
{
	static char preload[] = BENCH_GC_PRELOAD, gcbench[] = BENCH_GC_GCBENCH, churn[] = BENCH_GC_CHURN;
	static char guile[] = "guile", no_compile[] = "--no-auto-compile";
	const struct argp argp = { argp_options, parse_option, NULL, "What the collector's integration saves", NULL, NULL, NULL };
	char *depth, *rounds, *size, *turns, one[] = "1", two[] = "2";

	argp_parse(&argp, argc, argv, 0, NULL, NULL);
	depth = options.quick ? (char[]){ "17" } : (char[]){ "18" };
	rounds = options.quick ? (char[]){ "1" } : (char[]){ "2" };
	size = options.quick ? (char[]){ "60000" } : (char[]){ "150000" };
	turns = options.quick ? (char[]){ "15" } : (char[]){ "30" };
	struct job jobs[] = {
		{ .name = "gcbench", .argv = (char *[]){ gcbench, depth, one, rounds, NULL }, .threads = 1 },
		{ .name = "gcbench-2", .argv = (char *[]){ gcbench, depth, two, one, NULL }, .threads = 2 },
		{ .name = "guile", .argv = (char *[]){ guile, no_compile, churn, size, turns, NULL }, .threads = 1 },
	};

	fprintf(stderr, "%-12s %-18s %9s %10s %6s %8s\n", "case", "impl", "seconds", "transfers", "colls", "peak MiB");
	for (unsigned i = 0; i < sizeof(jobs) / sizeof(jobs[0]); i++) {
		jobs[i].preload = preload;
		jobs[i].directory = options.directory;
		if (!options.only || strstr(jobs[i].name, options.only))
			run_case(&jobs[i]);
	}
	return failures ? 1 : paged ? 0 : 77;
}
