/* SPDX-License-Identifier: MIT */
/*
 * report.c - table, verdict and picture
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "paged-sort.h"

static bool plain(const struct job *job)
{
	return strcmp(job->name, "plain") == 0;
}

static double seconds(const struct result *result)
{
	return result->load_seconds + result->sort_seconds + result->write_seconds;
}

void report_header(void)
{
	printf("\n%-8s %8s %8s %10s %10s %7s %7s %10s  %s\n", "policy", "faults", "loads", "read-ahead", "write-outs",
	       "rescues", "seconds", "peak RSS", "result");
	fflush(stdout);
}

void report_row(const struct job *job, const struct result *result, bool same)
{
	const struct hmm_stats *s = &result->stats;

	if (plain(job))
		printf("%-8s %8s %8s %10s %10s %7s", job->name, "-", "-", "-", "-", "-");
	else
		printf("%-8s %8llu %8llu %10llu %10llu %7llu", job->name, (unsigned long long)s->faults,
		       (unsigned long long)s->loads, (unsigned long long)s->prefetches,
		       (unsigned long long)s->write_outs, (unsigned long long)s->rescues);
	printf(" %7.1f %6.1f MiB  %s\n", seconds(result), (double)result->peak / MIB, same ? "right" : "WRONG");
	fflush(stdout);
}

/*
 * What comes after the first measurement and is no page of the space: stacks of the sampler and of the library's two or
 * three threads, and what they take from malloc().
 */
#define STACKS ((uint64_t)256 << 10)

/* The kernel adds to its counters in batches, CPU by CPU: memory and files may each be off by so many pages. */
static uint64_t counter_error(void)
{
	uint64_t cpus = (uint64_t)sysconf(_SC_NPROCESSORS_ONLN), batch = 2 * cpus > 32 ? 2 * cpus : 32;

	return 2 * batch * cpus * hmm_page_size();
}

static uint64_t allowed(const struct job *job, const struct result *result)
{
	return job->budget + result->own + result->stats.metadata_bytes + STACKS;
}

/* Did every paged run keep its budget?  Nothing is taken off what the kernel reports. */
bool report_budget(const struct job *jobs, const struct result *results, unsigned n)
{
	uint64_t samples = UINT64_MAX;
	bool held = true;

	printf("\n%-8s %7s + %s + %s + %s = %7s %7s %8s\n", "MiB", "budget", "program", "tables", "stacks", "allowed",
	       "VmHWM", "samples");
	for (unsigned i = 0; i < n; i++) {
		const struct result *r = &results[i];
		uint64_t tables = r->stats.metadata_bytes, limit = allowed(&jobs[i], r);
		bool ok = r->peak <= limit + counter_error() && r->peak_sample <= limit + counter_error();

		if (plain(&jobs[i]))
			continue;
		samples = r->samples < samples ? r->samples : samples;
		printf("%-8s %7.1f + %7.1f + %6.1f + %6.1f = %7.1f %7.1f %8.1f  %s\n", jobs[i].name,
		       (double)jobs[i].budget / MIB, (double)r->own / MIB, (double)tables / MIB, (double)STACKS / MIB,
		       (double)limit / MIB, (double)r->peak / MIB, (double)r->peak_sample / MIB, ok ? "held" : "EXCEEDED");
		held = held && ok;
	}
	if (samples == UINT64_MAX)
		return true;
	printf("VmHWM: the kernel's own high-water mark; samples: the largest VmRSS of %llu and more.\n"
	       "The kernel counts in batches: with this many CPUs its figures may be off by %.1f MiB.\n\n",
	       (unsigned long long)samples, (double)counter_error() / MIB);
	return held;
}

static void plot_resident(FILE *script, const struct job *jobs, const struct result *results, unsigned n)
{
	double data = (double)(jobs[0].bytes + jobs[0].lines * sizeof(struct record)) / MIB;
	double budget = (double)jobs[0].budget / MIB, most = budget, longest = 0, top = data;

	for (unsigned i = 0; i < n; i++) {
		longest = seconds(&results[i]) > longest ? seconds(&results[i]) : longest;
		if ((double)results[i].peak_sample / MIB > top)
			top = (double)results[i].peak_sample / MIB;
		if (!plain(&jobs[i]) && (double)allowed(&jobs[i], &results[i]) / MIB > most)
			most = (double)allowed(&jobs[i], &results[i]) / MIB;
	}
	fprintf(script,
	        "set size 1,0.58\nset origin 0,0.42\n"
	        "set title 'Sorting %.0f MiB of lines in %.0f MiB of memory' font ',15'\n"
	        "set xlabel 'seconds'\nset ylabel 'resident memory of the process, MiB'\n"
	        "set xrange [0:%.2f]\nset yrange [0:%.1f]\n"
	        "set arrow 1 from 0,%.2f to %.2f,%.2f nohead lw 2 dt 2 lc rgb '#444444'\n"
	        "set arrow 2 from 0,%.2f to %.2f,%.2f nohead lw 2 dt 2 lc rgb '#444444'\n"
	        "set label 1 'text and array: %.0f MiB' at %.2f,%.2f right offset 0,0.6 tc rgb '#444444'\n"
	        "set label 2 'budget %.0f MiB, program and tables %.1f MiB' at %.2f,%.2f right offset 0,0.7 tc rgb '#444444'\n"
	        "set key top right opaque box lc rgb '#cccccc'\nplot ",
	        data, budget, longest * 1.02, top * 1.15, data, longest * 1.02, data, most, longest * 1.02, most, data, longest,
	        data, budget, most - budget, longest, most);
	for (unsigned i = 0; i < n; i++)
		fprintf(script, "'%s.dat' using 1:2 with lines lw 2 lc %d title '%s'%s", jobs[i].name,
		        plain(&jobs[i]) ? 8 : (int)i + 1, plain(&jobs[i]) ? "plain memory" : jobs[i].name,
		        i + 1 < n ? ", " : "\n");
	fprintf(script, "unset arrow\nunset label\n");
}

static void plot_bars(FILE *script, const struct job *jobs, const struct result *results, unsigned n)
{
	fprintf(script, "$runs << EOD\n");
	for (unsigned i = 0; i < n; i++)
		if (!plain(&jobs[i]))
			fprintf(script, "%s %llu %llu %llu %llu\n", jobs[i].name,
			        (unsigned long long)results[i].stats.loads,
			        (unsigned long long)results[i].stats.prefetches,
			        (unsigned long long)results[i].stats.write_outs,
			        (unsigned long long)results[i].stats.rescues);
	fprintf(script, "EOD\n$times << EOD\n");
	for (unsigned i = 0; i < n; i++)
		fprintf(script, "%s %.2f %.2f %.2f\n", jobs[i].name, results[i].load_seconds, results[i].sort_seconds,
		        results[i].write_seconds);
	fprintf(script,
	        "EOD\nset style data histograms\nset style fill solid 0.85 border -1\nset boxwidth 0.9\n"
	        "unset xlabel\nset xrange [*:*]\nset yrange [0:*]\nset xtics scale 0\n"
	        "set size 0.55,0.42\nset origin 0,0\nset style histogram clustered gap 1\n"
	        "set title 'Pages moved' font ',13'\nset ylabel 'thousands of pages'\n"
	        "set key top left horizontal nobox\nset yrange [0:*<1e9]\nset offsets 0,0,graph 0.25,0\n"
	        "plot $runs using ($2/1e3):xtic(1) title 'loads', '' using ($3/1e3) title 'read ahead', "
	        "'' using ($4/1e3) title 'write-outs', '' using ($5/1e3) title 'rescues'\n"
	        "set size 0.45,0.42\nset origin 0.55,0\nset style histogram rowstacked\nset boxwidth 0.6\n"
	        "set title 'Time' font ',13'\nset ylabel 'seconds'\n"
	        "plot $times using 2:xtic(1) title 'read', '' using 3 title 'sort', '' using 4 title 'write'\n");
}

void report_plot(const struct job *jobs, const struct result *results, unsigned n)
{
	char name[4096], command[8192];
	FILE *script;
	int status;

	file_name(name, sizeof(name), jobs[0].dir, "plot", ".gp");
	script = fopen(name, "we");
	if (!script)
		die("cannot write %s: %s", name, strerror(errno));
	fprintf(script, "set terminal pngcairo size 1100,900 font 'sans,11'\nset output 'sort.png'\n"
	        "set multiplot\nset grid ytics lc rgb '#dddddd'\nset border 3\nset tics nomirror\n");
	plot_resident(script, jobs, results, n);
	plot_bars(script, jobs, results, n);
	fprintf(script, "unset multiplot\n");
	if (fclose(script))
		die("cannot write %s: %s", name, strerror(errno));
	snprintf(command, sizeof(command), "cd '%s' && gnuplot plot.gp", jobs[0].dir);
	status = system(command);
	if (status == 0)
		printf("picture  %s/sort.png\n", jobs[0].dir);
	else
		printf("no picture: %s; install the package gnuplot-nox, then type: %s\n",
		       WIFEXITED(status) && WEXITSTATUS(status) == 127 ? "gnuplot is not there" : "gnuplot failed", command);
}
