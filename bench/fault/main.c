/* SPDX-License-Identifier: MIT */
/*
 * main.c - the benchmark of faults: options, and what is printed
 *
 * Exit status: 0, 1 if wrong contents were seen or something failed, 77 if nothing of the library could run here.
 */
#include <argp.h>
#include <errno.h>
#include <hurd-mm/hurd-mm.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "bench/fault/plan.h"

volatile sig_atomic_t interrupted;

enum {
	KEY_SIZE = 's',
	KEY_SECONDS = 't',
	KEY_THREADS = 'j',
	KEY_POLICY = 'p',
	KEY_CASE = 'c',
	KEY_QUICK = 'q',
	KEY_LIST = 'l',
	KEY_DIRECTORY = 'd',
	KEY_RESIDENT = 'r',
	KEY_ENGINE = 0x100,
	KEY_RESCUE,
	KEY_RECYCLE,
	KEY_JSON,
	KEY_NO_KERNEL,
};

static const struct argp_option argp_options[] = {
	{ "quick", KEY_QUICK, NULL, 0, "128 MiB, short runs: all in less than 40 seconds", 0 },
	{ "json", KEY_JSON, NULL, 0, "One JSON object a line on standard output; tables go to standard error", 0 },
	{ "size", KEY_SIZE, "BYTES", 0, "Size of a region, with K, M or G (512M; quick: 128M)", 0 },
	{ "resident", KEY_RESIDENT, "PERCENT", 0, "How much of it may be in memory (25)", 0 },
	{ "seconds", KEY_SECONDS, "SECONDS", 0, "Measured time of a run (1; quick: 0.1)", 0 },
	{ "threads", KEY_THREADS, "LIST", 0, "Numbers of threads, at most 4 (1,2)", 0 },
	{ "policy", KEY_POLICY, "NAME", 0, "Policy of the library (its default)", 0 },
	{ "engine", KEY_ENGINE, "auto|move|copy", 0, "How frames travel (auto)", 0 },
	{ "rescue", KEY_RESCUE, "auto|always|never", 0, "Whether evicted contents are kept (auto)", 0 },
	{ "recycle", KEY_RECYCLE, NULL, 0, "Regions promise that the kernel keeps none of their pages (HMM_REGION_RECYCLE)", 0 },
	{ "case", KEY_CASE, "TEXT", 0, "Only cases whose name has TEXT in it or matches it as a pattern", 0 },
	{ "list", KEY_LIST, NULL, 0, "Print the names of the cases", 0 },
	{ "no-kernel", KEY_NO_KERNEL, NULL, 0, "Leave out the kernel's swap: touches nothing outside the process", 0 },
	{ "directory", KEY_DIRECTORY, "DIR", 0, "Where files are made ($TMPDIR or /var/tmp)", 0 },
	{ 0 },
};

static uint64_t parse_bytes(struct argp_state *state, const char *text)
{
	char *end;
	unsigned long long n = strtoull(text, &end, 10);
	unsigned shift = *end == 'G' ? 30 : *end == 'M' ? 20 : *end == 'K' ? 10 : 0;

	if (end == text || (shift ? end[1] : end[0]) != '\0' || n << shift >> shift != n)
		argp_error(state, "not a size: %s", text);
	return (uint64_t)n << shift;
}

static void parse_threads(struct argp_state *state, const char *text, struct options *options)
{
	options->nthreads = 0;
	for (const char *at = text; *at;) {
		char *end;
		unsigned long n = strtoul(at, &end, 10);

		if (end == at || n < 1 || n > MAX_THREADS || options->nthreads == MAX_THREADS || (*end && *end != ','))
			argp_error(state, "not a list of one to four numbers up to 4: %s", text);
		options->threads[options->nthreads++] = (unsigned)n;
		at = *end ? end + 1 : end;
	}
}

static unsigned parse_word(struct argp_state *state, const char *text, const char *const words[3])
{
	for (unsigned i = 0; i < 3; i++)
		if (strcmp(text, words[i]) == 0)
			return i;
	argp_error(state, "not one of %s, %s, %s: %s", words[0], words[1], words[2], text);
	return 0;
}

static error_t parse_option(int key, char *arg, struct argp_state *state)
{
	static const char *const engines[] = { "auto", "move", "copy" };
	static const char *const rescues[] = { "auto", "always", "never" };
	struct options *options = state->input;

	switch (key) {
	case KEY_QUICK: options->quick = 1; break;
	case KEY_JSON: options->json = 1; break;
	case KEY_RECYCLE: options->recycle = 1; break;
	case KEY_LIST: options->list = 1; break;
	case KEY_NO_KERNEL: options->no_kernel = 1; break;
	case KEY_SIZE: options->bytes = parse_bytes(state, arg); break;
	case KEY_SECONDS: options->seconds = atof(arg); break;
	case KEY_RESIDENT: options->resident = (unsigned)atoi(arg); break;
	case KEY_THREADS: parse_threads(state, arg, options); break;
	case KEY_POLICY: options->policy = arg; break;
	case KEY_ENGINE: options->engine = parse_word(state, arg, engines); break;
	case KEY_RESCUE: options->rescue = parse_word(state, arg, rescues); break;
	case KEY_CASE: options->filter = arg; break;
	case KEY_DIRECTORY: options->directory = arg; break;
	case ARGP_KEY_ARG: argp_error(state, "not an option: %s", arg); break;
	default: return ARGP_ERR_UNKNOWN;
	}
	return 0;
}

static int options_complete(struct options *o)
{
	if (!o->bytes)
		o->bytes = o->quick ? UINT64_C(128) << 20 : UINT64_C(512) << 20;
	if (o->seconds == 0)
		o->seconds = o->quick ? 0.1 : 1;
	o->warm = o->quick ? o->seconds / 2 : 4 * o->seconds;
	if (!o->directory)
		o->directory = getenv("TMPDIR");
	if (!o->directory)
		o->directory = "/var/tmp";
	/* Batches of 128 KiB for each thread, the library's smallest budget, and page numbers in 31 bits. */
	if (o->bytes < UINT64_C(4) << 20 || o->bytes > UINT64_C(1) << 42 || o->bytes % (UINT64_C(1) << 20) ||
	    o->resident < 5 || o->resident > 100 || !(o->seconds > 0 && o->seconds < 3600) || !o->nthreads) {
		fprintf(stderr, "fault: size must be a multiple of 1M from 4M to 4096G, resident 5 to 100, "
		                "seconds above 0\n");
		return -EINVAL;
	}
	return 0;
}

static void on_signal(int signal)
{
	(void)signal;
	interrupted = 1;
}

/* The unwinding of the plan takes down what was set up, so a signal only makes it end early. */
static void catch_signals(void)
{
	struct sigaction action = { .sa_handler = on_signal };

	sigaction(SIGINT, &action, NULL);
	sigaction(SIGTERM, &action, NULL);
}

/* Everything of the library that was asked for was skipped: the kernel lacks what it takes. */
static int library_missing(const struct results *results)
{
	int asked = 0, ran = 0;

	for (unsigned i = 0; i < results->nrows; i++) {
		if (strcmp(results->rows[i].impl, "hurd-mm") != 0)
			continue;
		asked = 1;
		ran |= results->rows[i].nruns > 0;
	}
	for (int i = 0; i < 3; i++) {
		asked |= results->extra_why[i][0] != '\0';
		ran |= results->extra_done[i];
	}
	return asked && !ran;
}

static void report(const struct options *options, const struct results *results)
{
	FILE *table = options->json ? stderr : stdout;

	if (options->json)
		report_json(results, stdout);
	fprintf(table, "hurd-mm %s, region %llu MiB, %u%% resident, %g s a run, vm.page-cluster %d\n\n", hmm_version(),
	        (unsigned long long)(options->bytes >> 20), options->resident, options->seconds,
	        results->page_cluster);
	report_table(results, table);
	report_ratios(results, table);
}

int main(int argc, char **argv)
{
	static const struct argp argp = {
		.options = argp_options,
		.parser = parse_option,
		.doc = "Measure page faults: the library, the bare kernel calls, mmap, and the kernel's swap.",
	};
	static struct results results;
	struct options options = { .resident = 25, .threads = { 1, 2 }, .nthreads = 2 };
	uint64_t bad;
	int r;

	if (argp_parse(&argp, argc, argv, 0, NULL, &options) != 0 || options_complete(&options) < 0)
		return 2;
	catch_signals();
	r = plan_run(&options, &results);
	if (options.list)
		return 0;
	if (r == 0)
		report(&options, &results);
	bad = results_bad(&results);
	if (bad)
		fprintf(stderr, "fault: %llu accesses found wrong contents\n", (unsigned long long)bad);
	if (interrupted)
		return 130;
	if (r < 0 || bad || results_failed(&results))
		return 1;
	return library_missing(&results) ? 77 : 0;
}
