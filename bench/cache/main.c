/* SPDX-License-Identifier: MIT */
/*
 * main.c - the benchmark of the cache face: options, and what is printed
 *
 * Exit status: 0, 1 if wrong contents were seen or something failed, 77 if nothing of the library could run here.
 */
#include <argp.h>
#include <errno.h>
#include <stdlib.h>

#include "bench/cache/report.h"

volatile sig_atomic_t interrupted;

enum {
	KEY_QUICK = 'q',
	KEY_SIZE = 's',
	KEY_SECONDS = 't',
	KEY_POLICY = 'p',
	KEY_CASE = 'c',
	KEY_DIRECTORY = 'd',
	KEY_ROUNDS = 'r',
	KEY_JSON = 0x100,
	KEY_NO_KERNEL,
};

static const struct argp_option argp_options[] = {
	{ "quick", KEY_QUICK, NULL, 0, "Smaller and shorter: all in less than 40 seconds", 0 },
	{ "json", KEY_JSON, NULL, 0, "One JSON object a line on standard output; tables go to standard error", 0 },
	{ "size", KEY_SIZE, "MIB", 0, "Size of the file of the cases with misses (256; quick: 128)", 0 },
	{ "seconds", KEY_SECONDS, "SECONDS", 0, "Measured time of a round (0.5; quick: 0.1)", 0 },
	{ "rounds", KEY_ROUNDS, "N", 0, "Rounds, of which the median is shown, at most 9 (5; quick: 3)", 0 },
	{ "policy", KEY_POLICY, "NAME", 0, "Policy of the library (its default)", 0 },
	{ "case", KEY_CASE, "TEXT", 0, "Only cases whose name has TEXT in it", 0 },
	{ "no-kernel", KEY_NO_KERNEL, NULL, 0, "Leave out what needs a memory cgroup", 0 },
	{ "directory", KEY_DIRECTORY, "DIR", 0, "Where files are made ($TMPDIR or /var/tmp)", 0 },
	{ 0 },
};

static error_t parse_option(int key, char *arg, struct argp_state *state)
{
	struct options *options = state->input;

	switch (key) {
	case KEY_QUICK: options->quick = 1; break;
	case KEY_JSON: options->json = 1; break;
	case KEY_NO_KERNEL: options->no_kernel = 1; break;
	case KEY_SIZE: options->bytes = strtoull(arg, NULL, 0) << 20; break;
	case KEY_SECONDS: options->seconds = atof(arg); break;
	case KEY_ROUNDS: options->rounds = (unsigned)atoi(arg); break;
	case KEY_POLICY: options->policy = arg; break;
	case KEY_CASE: options->filter = arg; break;
	case KEY_DIRECTORY: options->directory = arg; break;
	case ARGP_KEY_ARG: argp_error(state, "not an option: %s", arg); break;
	default: return ARGP_ERR_UNKNOWN;
	}
	return 0;
}

/* 0, or -EINVAL after saying why. */
static int complete(struct options *o)
{
	if (!o->bytes)
		o->bytes = o->quick ? UINT64_C(128) << 20 : UINT64_C(256) << 20;
	o->budget = o->bytes < UINT64_C(64) << 20 ? o->bytes : UINT64_C(64) << 20;
	if (o->seconds == 0)
		o->seconds = o->quick ? 0.1 : 0.5;
	if (!o->rounds)
		o->rounds = o->quick ? 3 : 5;
	if (!o->directory)
		o->directory = getenv("TMPDIR");
	if (!o->directory)
		o->directory = "/var/tmp";
	if (o->bytes < UINT64_C(16) << 20 || o->bytes > UINT64_C(1) << 38 || o->rounds > ROUNDS_MOST ||
	    !(o->seconds > 0 && o->seconds < 3600)) {
		fprintf(stderr, "cache: size must be 16 to 262144, rounds at most %u, seconds above 0\n", ROUNDS_MOST);
		return -EINVAL;
	}
	return 0;
}

static void on_signal(int signal)
{
	(void)signal;
	interrupted = 1;
}

static int status_of(const struct results *results)
{
	int ran = 0, failed = 0;

	for (unsigned i = 0; i < results->nrows; i++) {
		ran |= results->rows[i].nrounds > 0 && strcmp(results->rows[i].impl, "hurd-mm") == 0;
		failed |= results->rows[i].failed || results->rows[i].bad > 0;
	}
	return failed || interrupted ? 1 : ran ? 0 : 77;
}

int main(int argc, char **argv)
{
	static const struct argp argp = {
		.options = argp_options,
		.parser = parse_option,
		.doc = "Measures what it costs to get at pages through the cache face of hurd-mm, beside other ways.",
	};
	static struct results results;
	struct options options = { 0 };
	FILE *table;
	int r;

	if (argp_parse(&argp, argc, argv, 0, NULL, &options) || complete(&options) < 0)
		return 2;
	signal(SIGINT, on_signal);
	signal(SIGTERM, on_signal);
	r = plan_run(&options, &results);
	if (r < 0) {
		fprintf(stderr, "cache: %s\n", strerror(-r));
		return 1;
	}
	table = options.json ? stderr : stdout;
	if (options.json)
		report_json(&results, options.policy, stdout);
	report_table(&results, table);
	fprintf(table, "\n");
	report_ratios(&results, table);
	return status_of(&results);
}
