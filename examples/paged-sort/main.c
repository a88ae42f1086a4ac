/* SPDX-License-Identifier: MIT */
/*
 * main.c - the order of things: text, reference, runs, table, picture
 */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <time.h>
#include <unistd.h>

#include "paged-sort.h"

void die(const char *format, ...)
{
	va_list args;

	fprintf(stderr, "%spaged-sort: ", isatty(STDERR_FILENO) ? "\r\033[K" : "");
	va_start(args, format);
	vfprintf(stderr, format, args);
	va_end(args);
	putc('\n', stderr);
	exit(2);
}

void file_name(char *buffer, size_t size, const char *dir, const char *name, const char *suffix)
{
	int n = snprintf(buffer, size, "%s/%s%s", dir, name, suffix);

	if (n < 0 || (size_t)n >= size)
		die("the name of the directory is too long: %s", dir);
}

double now_seconds(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static void check_room(const char *dir, uint64_t needed, const char *advice)
{
	struct statvfs fs;

	if (statvfs(dir, &fs))
		die("%s: %s; %s", dir, strerror(errno), advice);
	if ((uint64_t)fs.f_bavail * fs.f_frsize < needed)
		die("%s has %.0f MiB left, %.0f are needed; %s", dir, (double)fs.f_bavail * (double)fs.f_frsize / MIB,
		    (double)needed / MIB, advice);
}

/* Where a swap file goes if nobody names a place, as hurd-mm(7) has it. */
static void check_swap_room(uint64_t needed)
{
	const char *dir = getenv("HURD_MM_SWAP_DIR");

	if (!dir)
		dir = getenv("TMPDIR");
	check_room(dir ? dir : "/var/tmp", needed, "set HURD_MM_SWAP_DIR to another directory, or say --size for less");
}

/* On a terminal: say what goes on, until the next call. */
static void busy(const char *what)
{
	fflush(stdout);
	if (isatty(STDERR_FILENO))
		fprintf(stderr, "\r\033[K%s", what ? what : "");
}

static void make_input(const struct options *o, struct corpus *corpus)
{
	if (mkdir(o->dir, 0777) && errno != EEXIST)
		die("cannot make the directory %s: %s", o->dir, strerror(errno));
	check_room(o->dir, o->size * 3, "say --dir to use another place, or --size for less");
	busy("gathering text ...");
	corpus_make(o->dir, o->inputs, o->size, corpus);
	busy(NULL);
	printf("text       %.1f MiB, %llu lines, from %llu files in", (double)corpus->bytes / MIB,
	       (unsigned long long)corpus->lines, (unsigned long long)corpus->files);
	for (unsigned i = 0; i < o->ninputs; i++)
		printf(" %s", o->inputs[i]);
	if (corpus->rounds > 1)
		printf("\n           gone through %u times, each time with the lines turned round by a word more%s",
		       corpus->rounds, corpus->repeated ? ", and then all over again" : "");
	putchar('\n');
}

static unsigned make_jobs(const struct options *o, const struct corpus *corpus, struct job *jobs)
{
	uint64_t data = corpus->bytes + corpus->lines * sizeof(struct record);
	struct job job = { .dir = o->dir, .bytes = corpus->bytes, .lines = corpus->lines,
		           .budget = (o->budget ? o->budget : data / 8) / hmm_page_size() * hmm_page_size(),
		           .delivery = o->delivery, .direct = o->direct };
	unsigned n = 0;

	if (job.budget < HMM_FRAMES_MIN * hmm_page_size())
		die("that budget is too small: at least %zu KiB; give more text, or a --budget",
		    HMM_FRAMES_MIN * hmm_page_size() / 1024);
	printf("data       %.1f MiB: the text, and %.1f MiB of records; qsort() takes as much again for itself\n"
	       "budget     %.1f MiB, 1/%.1f of the data; %s delivery, swap %s\n", (double)data / MIB,
	       (double)(data - corpus->bytes) / MIB, (double)job.budget / MIB, (double)data / (double)job.budget,
	       o->delivery == HMM_DELIVERY_INLINE ? "inline" : "thread",
	       o->direct == HMM_DIRECT_ALWAYS ? "with O_DIRECT" : "through the page cache");
	check_swap_room(data + (data - corpus->bytes));
	if (o->plain) {
		jobs[n] = job;
		jobs[n++].name = "plain";
	}
	for (unsigned i = 0; i < o->npolicies; i++) {
		jobs[n] = job;
		jobs[n++].name = o->policies[i];
	}
	return n;
}

static void remove_text(const struct options *o, const char *name)
{
	char path[4096];

	file_name(path, sizeof(path), o->dir, name, ".txt");
	if (!o->keep)
		unlink(path);
}

static bool run_and_check(const struct options *o, const struct job *jobs, struct result *results, unsigned n)
{
	bool good = true;

	for (unsigned i = 0; i < n; i++) {
		bool same;

		if (!spawn_run(&jobs[i], &results[i])) {
			remove_text(o, jobs[i].name);
			return false;
		}
		same = spawn_compare(o->dir, jobs[i].name);
		remove_text(o, jobs[i].name);
		report_row(&jobs[i], &results[i], same);
		good = good && same;
	}
	good = report_budget(jobs, results, n) && good;
	report_plot(jobs, results, n);
	return good;
}

static int run_all(const struct options *o, const struct job *jobs, unsigned n)
{
	static struct result results[MAX_RUNS];
	double took;
	bool good;

	busy("sort(1) makes the reference ...");
	took = spawn_reference(o->dir);
	busy(NULL);
	printf("reference  sort(1) took %.1f s\n", took);
	report_header();
	good = run_and_check(o, jobs, results, n);
	remove_text(o, "input");
	remove_text(o, "expected");
	return good ? 0 : 1;
}

/* As spawn.c passes it. */
static int run_one(char **argv)
{
	struct job job = { .name = argv[0], .dir = argv[1], .bytes = strtoull(argv[2], NULL, 10),
		           .lines = strtoull(argv[3], NULL, 10), .budget = strtoull(argv[4], NULL, 10),
		           .delivery = (uint32_t)atoi(argv[5]), .direct = (uint32_t)atoi(argv[6]) };

	job_run(&job, atoi(argv[7]));
	return 0;
}

int main(int argc, char **argv)
{
	struct options options;
	struct job jobs[MAX_RUNS];
	struct corpus corpus;

	if (argc == 10 && strcmp(argv[1], "--run") == 0)
		return run_one(argv + 2);
	options_parse(argc, argv, &options);
	make_input(&options, &corpus);
	return run_all(&options, jobs, make_jobs(&options, &corpus, jobs));
}
