/* SPDX-License-Identifier: MIT */
/*
 * options.c - the command line, by argp
 */
#include "options.h"

#include <argp.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define CURVE_POINTS 40

enum key {
	KEY_MRC = 256, KEY_MODE, KEY_JSON, KEY_CSV, KEY_PLOT, KEY_HTML, KEY_LOG_X, KEY_COLUMN, KEY_OPERATION, KEY_DELIMITER,
	KEY_PAGE_SHIFT, KEY_DEDUP, KEY_BACKING, KEY_DISCARDS, KEY_BATCH, KEY_LOW, KEY_HIGH, KEY_AVAILABLE, KEY_SAMPLE,
	KEY_SAMPLE_SIZE, KEY_SEED, KEY_MEMORY, KEY_STREAM, KEY_BUDGET,
};

static const struct argp_option known[] = {
	{ NULL, 0, NULL, 0, "What to simulate:", 1 },
	{ "policy", 'p', "LIST", 0,
	  "policies: names with parameters (lru,s3fifo:small=0.1), modules (./mine.so), or all (default)", 0 },
	{ "frames", 'n', "LIST", 0, "numbers of frames", 0 },
	{ "ratio", 'r', "LIST", 0, "frames as parts of the trace's pages (default 0.01,0.1,0.3)", 0 },
	{ "mrc", KEY_MRC, "POINTS|all", OPTION_ARG_OPTIONAL,
	  "miss-ratio curve (40 points; default policy lru, whose curve is exact for all sizes in one pass)", 0 },
	{ "mode", KEY_MODE, "exact|batched|refbits", 0,
	  "one victim a miss (default); as the pager works; and with reference bits only", 0 },
	{ "sample", KEY_SAMPLE, "RATE", 0, "simulate this part of the pages only (SHARDS), and state the error", 0 },
	{ "sample-size", KEY_SAMPLE_SIZE, "PAGES", 0,
	  "the same, lowering the rate so that no more pages are sampled; lru only", 0 },
	{ "seed", KEY_SEED, "N", 0, "which sample (default 1)", 0 },
	{ "discards", KEY_DISCARDS, "auto|ignore|honour|unmap", 0,
	  "garbage: auto honours it for policies that rank by priority", 0 },
	{ "backing", KEY_BACKING, "auto|file|zero", 0,
	  "pages begin as contents of a file or as zeros; auto: zeros for ops and lackey", 0 },
	{ "budget", KEY_BUDGET, "FRAMES", 0, "of advise", 0 },

	{ NULL, 0, NULL, 0, "Modes batched and refbits (defaults: as the pager makes them of its budget):", 2 },
	{ "batch", KEY_BATCH, "N", 0, "victims of a pass", 0 },
	{ "low", KEY_LOW, "N", 0, "free frames that start a pass", 0 },
	{ "high", KEY_HIGH, "N", 0, "free frames that end it", 0 },
	{ "available", KEY_AVAILABLE, "N", 0, "length of the available list; 0: none", 0 },

	{ NULL, 0, NULL, 0, "The trace (- is standard input; zstd and gzip are recognised):", 3 },
	{ "format", 'f', "NAME", 0,
	  "u64, ops, text, csv, oracleGeneral, lcs, vscsi, lackey; else found by name or content", 0 },
	{ "column", KEY_COLUMN, "N|NAME", 0, "csv: the page's column", 0 },
	{ "op-column", KEY_OPERATION, "N|NAME", 0, "csv: the operation's column (read, write, discard)", 0 },
	{ "delimiter", KEY_DELIMITER, "C", 0, "csv: between columns; else found", 0 },
	{ "page-shift", KEY_PAGE_SHIFT, "BITS", 0, "lackey: bits of an address within a page (12)", 0 },
	{ "dedup", KEY_DEDUP, NULL, 0, "drop requests of the page that was requested just before", 0 },
	{ "memory", KEY_MEMORY, "BYTES", 0,
	  "for the trace (suffixes k, M, G; default half of what is free); a longer one is streamed", 0 },
	{ "stream", KEY_STREAM, NULL, 0, "stream the trace in any case", 0 },
	{ "jobs", 'j', "N", 0, "threads (default 1)", 0 },

	{ NULL, 0, NULL, 0, "Results:", 4 },
	{ "json", KEY_JSON, NULL, 0, "one object a line", 0 },
	{ "csv", KEY_CSV, NULL, 0, "comma-separated values", 0 },
	{ "plot", KEY_PLOT, "FILE.svg|FILE.png", 0, "picture of the curves", 0 },
	{ "log-x", KEY_LOG_X, NULL, 0, "frames on a logarithmic scale", 0 },
	{ "html", KEY_HTML, "FILE", 0, "page with interactive curves", 0 },
	{ "list", 'l', NULL, 0, "list policies and formats", 0 },
	{ NULL, 0, NULL, 0, NULL, 0 },
};

static uint64_t parse_count(struct argp_state *state, const char *text, const char *what, bool has_suffix)
{
	char *end;
	unsigned long long value;

	errno = 0;
	value = strtoull(text, &end, 10);
	if (end == text || errno != 0 || *text == '-')
		argp_error(state, "%s: not a number: '%s'", what, text);
	if (has_suffix && *end != '\0' && strchr("kKmMgG", *end) != NULL) {
		value <<= *end == 'k' || *end == 'K' ? 10 : *end == 'm' || *end == 'M' ? 20 : 30;
		end++;
	}
	if (*end != '\0')
		argp_error(state, "%s: not a number: '%s'", what, text);
	return value;
}

static uint32_t parse_small(struct argp_state *state, const char *text, const char *what)
{
	uint64_t value = parse_count(state, text, what, false);

	if (value > FRAMES_MOST)
		argp_error(state, "%s: too large: '%s'", what, text);
	return (uint32_t)value;
}

static double parse_share(struct argp_state *state, const char *text, const char *what)
{
	char *end;
	double value = strtod(text, &end);

	if (end == text || *end != '\0' || !(value > 0) || !(value <= 1))
		argp_error(state, "%s: not a number above 0 and at most 1: '%s'", what, text);
	return value;
}

/* The index of text in words "a|b|c". */
static int parse_word(struct argp_state *state, const char *text, const char *what, const char *words)
{
	const char *at = words;

	for (int i = 0; *at != '\0'; i++) {
		size_t n = strcspn(at, "|");

		if (strlen(text) == n && memcmp(text, at, n) == 0)
			return i;
		at += n + (at[n] == '|');
	}
	argp_error(state, "%s: '%s' is none of %s", what, text, words);
	return 0;
}

static void parse_frames(struct argp_state *state, char *list, struct sizes *sizes)
{
	sizes->choice = SIZES_FRAMES;
	sizes->n = 0;
	for (char *item = strtok(list, ","); item != NULL; item = strtok(NULL, ",")) {
		sizes->frames = realloc(sizes->frames, (sizes->n + 1) * sizeof(*sizes->frames));
		if (sizes->frames == NULL)
			argp_failure(state, 1, ENOMEM, "frames");
		sizes->frames[sizes->n] = parse_small(state, item, "frames");
		if (sizes->frames[sizes->n++] == 0)
			argp_error(state, "frames: there has to be one at least");
	}
	if (sizes->n == 0)
		argp_error(state, "frames: the list is empty");
}

static void parse_ratios(struct argp_state *state, char *list, struct sizes *sizes)
{
	sizes->choice = SIZES_RATIOS;
	sizes->n = 0;
	for (char *item = strtok(list, ","); item != NULL; item = strtok(NULL, ",")) {
		sizes->ratios = realloc(sizes->ratios, (sizes->n + 1) * sizeof(*sizes->ratios));
		if (sizes->ratios == NULL)
			argp_failure(state, 1, ENOMEM, "ratios");
		sizes->ratios[sizes->n++] = parse_share(state, item, "ratio");
	}
	if (sizes->n == 0)
		argp_error(state, "ratio: the list is empty");
}

static void parse_curve(struct argp_state *state, const char *arg, struct sizes *sizes)
{
	if (arg != NULL && strcmp(arg, "all") == 0) {
		sizes->choice = SIZES_ALL;
		return;
	}
	sizes->choice = SIZES_POINTS;
	sizes->n = arg != NULL ? parse_small(state, arg, "mrc") : CURVE_POINTS;
	if (sizes->n == 0)
		argp_error(state, "mrc: there has to be a point at least");
}

static void parse_format(struct argp_state *state, const char *arg, struct options *o)
{
	o->run.trace.format = format_by_name(arg);
	if (o->run.trace.format != NULL)
		return;
	fprintf(stderr, "hmm-sim: no format is called '%s'; there are:\n", arg);
	for (unsigned i = 0; format_by_index(i) != NULL; i++)
		fprintf(stderr, "  %-14s %s\n", format_by_index(i)->name, format_by_index(i)->summary);
	(void)state;
	exit(1);
}

static void print_lists(void)
{
	puts("Policies:");
	policies_list(stdout);
	puts("Formats:");
	for (unsigned i = 0; format_by_index(i) != NULL; i++)
		printf("  %-18s %s\n", format_by_index(i)->name, format_by_index(i)->summary);
	exit(0);
}

static void parse_policies(const char *arg, struct options *o)
{
	struct failure failure;

	if (policies_parse(arg, o, &failure) == 0)
		return;
	fprintf(stderr, "hmm-sim: %s\n", failure.text);
	exit(1);
}

/* Options of the trace; false if it is none of them. */
static bool parse_trace_option(int key, char *arg, struct argp_state *state, struct options *o)
{
	struct format_options *format = &o->run.trace.format_options;

	switch (key) {
	case 'f':
		parse_format(state, arg, o);
		break;
	case KEY_COLUMN:
		format->column = arg;
		break;
	case KEY_OPERATION:
		format->operation_column = arg;
		break;
	case KEY_DELIMITER:
		if (strcmp(arg, "\\t") == 0)
			arg = (char *)(uintptr_t)"\t";
		if (strlen(arg) != 1)
			argp_error(state, "delimiter: one character");
		format->delimiter = arg[0];
		break;
	case KEY_PAGE_SHIFT:
		format->page_shift = parse_small(state, arg, "page-shift");
		if (format->page_shift > 63)
			argp_error(state, "page-shift: at most 63");
		break;
	case KEY_DEDUP:
		o->run.trace.drops_repeats = true;
		break;
	case KEY_BACKING:
		o->run.trace.backing = (int[]){ -1, 1, 0 }[parse_word(state, arg, "backing", "auto|file|zero")];
		break;
	case KEY_MEMORY:
		o->run.memory = parse_count(state, arg, "memory", true);
		break;
	case KEY_STREAM:
		o->run.streams = true;
		break;
	default:
		return false;
	}
	return true;
}

static bool parse_engine_option(int key, char *arg, struct argp_state *state, struct options *o)
{
	struct engine_options *engine = &o->run.engine;

	switch (key) {
	case KEY_MODE:
		engine->mode = (enum sim_mode)parse_word(state, arg, "mode", "exact|batched|refbits");
		break;
	case KEY_DISCARDS:
		engine->discards = (enum discards)parse_word(state, arg, "discards", "auto|ignore|honour|unmap");
		break;
	case KEY_BATCH:
		engine->batch = parse_small(state, arg, "batch");
		break;
	case KEY_LOW:
		engine->low = parse_small(state, arg, "low");
		break;
	case KEY_HIGH:
		engine->high = parse_small(state, arg, "high");
		break;
	case KEY_AVAILABLE:
		engine->available = parse_small(state, arg, "available");
		break;
	default:
		return false;
	}
	return true;
}

static bool parse_result_option(int key, char *arg, struct options *o)
{
	switch (key) {
	case KEY_JSON:
		o->output = OUTPUT_JSON;
		break;
	case KEY_CSV:
		o->output = OUTPUT_CSV;
		break;
	case KEY_PLOT:
		o->plot = arg;
		break;
	case KEY_HTML:
		o->html = arg;
		break;
	case KEY_LOG_X:
		o->log_x = true;
		break;
	case 'l':
		print_lists();
		break;
	default:
		return false;
	}
	return true;
}

static bool parse_run_option(int key, char *arg, struct argp_state *state, struct options *o)
{
	struct sizes *sizes = &o->run.sizes;

	switch (key) {
	case 'p':
		parse_policies(arg, o);
		break;
	case 'n':
		parse_frames(state, arg, sizes);
		break;
	case 'r':
		parse_ratios(state, arg, sizes);
		break;
	case KEY_MRC:
		parse_curve(state, arg, sizes);
		break;
	case KEY_SAMPLE:
		o->run.rate = parse_share(state, arg, "sample");
		break;
	case KEY_SAMPLE_SIZE:
		o->run.most = parse_small(state, arg, "sample-size");
		if (o->run.most == 0)
			argp_error(state, "sample-size: there has to be a page at least");
		break;
	case KEY_SEED:
		o->run.seed = parse_count(state, arg, "seed", false);
		break;
	case KEY_BUDGET:
		sizes->budget = parse_small(state, arg, "budget");
		break;
	case 'j':
		o->run.threads = parse_small(state, arg, "jobs");
		if (o->run.threads == 0)
			argp_error(state, "jobs: there has to be one at least");
		break;
	default:
		return false;
	}
	return true;
}

static void set_defaults(struct options *o)
{
	static double ratios[] = { 0.01, 0.1, 0.3 };
	struct sizes *sizes = &o->run.sizes;
	bool is_curve = sizes->choice == SIZES_POINTS || sizes->choice == SIZES_ALL;

	if (o->advises) {
		sizes->choice = SIZES_ADVISE;
	} else if (sizes->choice == SIZES_FRAMES && sizes->n == 0) {
		sizes->choice = SIZES_RATIOS;
		sizes->ratios = ratios;
		sizes->n = sizeof(ratios) / sizeof(ratios[0]);
	}
	if (o->npolicies == 0)
		parse_policies(is_curve || o->run.most != 0 ? "lru" : "all", o);
	o->run.policies = o->policies;
	o->run.npolicies = o->npolicies;
}

static void check(struct argp_state *state, struct options *o)
{
	if (o->ntraces == 0)
		argp_error(state, "no trace given");
	if (o->advises && o->run.sizes.budget == 0)
		argp_error(state, "advise takes --budget FRAMES");
	if (o->run.rate != 0 && o->run.most != 0)
		argp_error(state, "either --sample or --sample-size");
	set_defaults(o);
	for (size_t i = 0; i < o->npolicies; i++) {
		bool is_lru = strcmp(o->policies[i].text, "lru") == 0;

		if (!is_lru && (o->run.most != 0 || o->run.sizes.choice == SIZES_ALL))
			argp_error(state, "--sample-size and --mrc=all are for lru only");
		if (o->policies[i].ops == NULL && o->run.rate != 0) {
			if (!o->run.skips_refused)
				argp_error(state, "opt can't be sampled");
			o->policies[i--] = o->policies[--o->npolicies];
			o->run.npolicies = o->npolicies;
		}
	}
}

static error_t parse_one(int key, char *arg, struct argp_state *state)
{
	struct options *o = state->input;

	if (parse_run_option(key, arg, state, o) || parse_engine_option(key, arg, state, o) ||
	    parse_trace_option(key, arg, state, o) || parse_result_option(key, arg, o))
		return 0;
	switch (key) {
	case ARGP_KEY_ARG:
		o->traces = realloc(o->traces, (o->ntraces + 1) * sizeof(*o->traces));
		if (o->traces == NULL)
			argp_failure(state, 1, ENOMEM, "traces");
		o->traces[o->ntraces++] = arg;
		return 0;
	case ARGP_KEY_END:
		check(state, o);
		return 0;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

/* Half of what is free and can be made so. */
static size_t memory_to_use(void)
{
	long pages = sysconf(_SC_AVPHYS_PAGES), size = sysconf(_SC_PAGESIZE);
	FILE *info = fopen("/proc/meminfo", "r");
	size_t available = pages > 0 && size > 0 ? (size_t)pages * (size_t)size : (size_t)1 << 30;
	char line[128];
	unsigned long kib;

	while (info != NULL && fgets(line, sizeof(line), info) != NULL) {
		if (sscanf(line, "MemAvailable: %lu kB", &kib) == 1)
			available = (size_t)kib * 1024;
	}
	if (info != NULL)
		fclose(info);
	return available / 2;
}

void options_parse(int argc, char **argv, struct options *options)
{
	static const struct argp argp = {
		.options = known,
		.parser = parse_one,
		.args_doc = "TRACE...\nadvise TRACE... --budget FRAMES",
		.doc = "Simulate page replacement policies on traces of references.\v"
		       "Exit status: 0, 1 for a wrong command line or failure, 2 for a trace that can't be read.",
	};

	*options = (struct options){ .output = OUTPUT_TABLE };
	options->run.trace.backing = -1;
	options->run.trace.format_options.page_shift = 12;
	options->run.engine.available = -1;
	options->run.threads = 1;
	options->run.seed = 1;
	options->run.memory = memory_to_use();
	argp_err_exit_status = 1;
	if (argc > 1 && strcmp(argv[1], "advise") == 0) {
		options->advises = true;
		argv[1] = argv[0];
		argv++;
		argc--;
	}
	argp_parse(&argp, argc, argv, 0, NULL, options);
}
