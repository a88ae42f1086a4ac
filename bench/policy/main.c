/* SPDX-License-Identifier: MIT */
/*
 * main.c - the benchmark of policies: speed in the simulator, work for a fault, what they make a pager read in
 *
 * Exit status: 0, 1 if something failed or contents were wrong, 77 if no region could be mapped.
 */
#include <argp.h>
#include <cjson/cJSON.h>
#include <errno.h>
#include <hurd-mm/hurd-mm.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench/policy/policy.h"
#include "bench/policy/speed.h"

enum { KEY_JSON = 0x100, KEY_RESCUE, KEY_RECORD, KEY_WORK, KEY_PAGE_INS, KEY_SPEED, KEY_REPEATS };

struct options {
	const char *policies, *trace, *directory, *record;
	double ratio;
	uint64_t frames;
	uint32_t rescue;
	unsigned repeats;
	bool quick, json, work_only, page_ins_only, speed_only;
};

static const struct argp_option argp_options[] = {
	{ "quick", 'q', NULL, 0, "A short trace: all in less than 20 seconds", 0 },
	{ "json", KEY_JSON, NULL, 0, "One JSON object a line on standard output", 0 },
	{ "policy", 'p', "LIST", 0, "Policies, with commas between (all; for page-ins lru,s3fifo,2q)", 0 },
	{ "trace", 't', "FILE", 0, "Trace, in any format that hmm-sim reads (one made here)", 0 },
	{ "frames", 'n', "FRAMES", 0, "Budget (see --ratio; speed: 1%, 10% and 30% of the trace's pages)", 0 },
	{ "ratio", 'r', "PART", 0, "Budget as a part of the trace's pages (0.2)", 0 },
	{ "rescue", KEY_RESCUE, "auto|always|never", 0, "Whether evicted contents are kept (auto)", 0 },
	{ "record", KEY_RECORD, "FILE", 0, "Let the pager record its trace meanwhile", 0 },
	{ "work", KEY_WORK, NULL, 0, "Only the work for a fault", 0 },
	{ "page-ins", KEY_PAGE_INS, NULL, 0, "Only page-ins", 0 },
	{ "speed", KEY_SPEED, NULL, 0, "Only speed in the simulator; without --quick also on a large trace made here", 0 },
	{ "repeats", KEY_REPEATS, "N", 0, "Of each pass whose speed is measured, up to 32 (9; 3 if it is quick, or large)", 0 },
	{ "directory", 'd', "DIR", 0, "Where the file is made ($TMPDIR or /var/tmp)", 0 },
	{ 0 },
};

static error_t parse_option(int key, char *arg, struct argp_state *state)
{
	static const char *const rescues[] = { "auto", "always", "never" };
	struct options *o = state->input;

	switch (key) {
	case 'q': o->quick = true; break;
	case KEY_JSON: o->json = true; break;
	case 'p': o->policies = arg; break;
	case 't': o->trace = arg; break;
	case 'n': o->frames = strtoull(arg, NULL, 10); break;
	case 'r': o->ratio = atof(arg); break;
	case KEY_RECORD: o->record = arg; break;
	case KEY_WORK: o->work_only = true; break;
	case KEY_PAGE_INS: o->page_ins_only = true; break;
	case KEY_SPEED: o->speed_only = true; break;
	case KEY_REPEATS: o->repeats = (unsigned)strtoul(arg, NULL, 10); break;
	case 'd': o->directory = arg; break;
	case KEY_RESCUE:
		for (o->rescue = 0; o->rescue < 3 && strcmp(arg, rescues[o->rescue]); o->rescue++)
			;
		if (o->rescue == 3)
			argp_error(state, "not one of auto, always, never: %s", arg);
		break;
	case ARGP_KEY_ARG: argp_error(state, "not an option: %s", arg); break;
	default: return ARGP_ERR_UNKNOWN;
	}
	return 0;
}

/* One line; takes the object. */
static void print_json(cJSON *row)
{
	char *text = cJSON_PrintUnformatted(row);

	if (text)
		puts(text);
	free(text);
	cJSON_Delete(row);
	fflush(stdout);
}

static cJSON *row_of(const char *kind, const char *policy, const struct requests *trace, uint32_t frames)
{
	cJSON *row = cJSON_CreateObject();

	cJSON_AddStringToObject(row, "bench", "policy");
	cJSON_AddStringToObject(row, "measure", kind);
	cJSON_AddStringToObject(row, "policy", policy);
	cJSON_AddStringToObject(row, "trace", trace->name);
	cJSON_AddNumberToObject(row, "frames", frames);
	return row;
}

static int show_work(const struct options *o, const char *policy, const struct requests *trace, uint32_t frames)
{
	struct work w;
	int r = measure_work(policy, frames, trace, &w);
	cJSON *row;

	if (r) {
		fprintf(stderr, "policy: %s: work: %s\n", policy, strerror(-r));
		return r;
	}
	if (!o->json) {
		printf("%-20s %8.1f ns a fault, median of batches of 64 (99%%: %.1f), %.2f calls a fault\n", policy,
		       w.median_ns, w.worst_ns, (double)w.calls / (double)w.faults);
		return 0;
	}
	row = row_of("work", policy, trace, frames);
	cJSON_AddNumberToObject(row, "faults", (double)w.faults);
	cJSON_AddNumberToObject(row, "ns_per_fault", w.median_ns);
	cJSON_AddNumberToObject(row, "ns_per_fault_99", w.worst_ns);
	print_json(row);
	return 0;
}

static int show_page_ins(const struct options *o, const char *policy, const struct requests *trace, uint32_t frames)
{
	struct replay p;
	uint64_t simulated;
	double difference;
	int r = simulate(policy, frames, trace, &simulated);
	cJSON *row;

	if (!r)
		r = replay(policy, frames, trace, o->rescue, o->record, o->directory, &p);
	if (r) {
		fprintf(stderr, "policy: %s: page-ins: %s\n", policy, strerror(-r));
		return r;
	}
	difference = ((double)p.page_ins / (double)simulated - 1) * 100;
	if (p.wrong)
		fprintf(stderr, "policy: %s: %llu reads found wrong contents\n", policy, (unsigned long long)p.wrong);
	if (!o->json) {
		printf("%-20s %9llu page-ins, simulated %9llu, %+.1f%%, %.2f rescues a page-in, %.2f us a page-in\n", policy,
		       (unsigned long long)p.page_ins, (unsigned long long)simulated, difference,
		       (double)p.rescues / (double)p.page_ins, p.seconds * 1e6 / (double)p.page_ins);
		if (o->record)
			printf("%-20s %9llu words recorded, %llu dropped\n", "", (unsigned long long)p.recorded,
			       (unsigned long long)p.record_drops);
	} else {
		row = row_of("page-ins", policy, trace, frames);
		cJSON_AddNumberToObject(row, "requests", (double)trace->n);
		cJSON_AddNumberToObject(row, "page_ins", (double)p.page_ins);
		cJSON_AddNumberToObject(row, "simulated", (double)simulated);
		cJSON_AddNumberToObject(row, "difference_pct", difference);
		cJSON_AddNumberToObject(row, "rescues", (double)p.rescues);
		cJSON_AddNumberToObject(row, "seconds", p.seconds);
		cJSON_AddNumberToObject(row, "recorded", (double)p.recorded);
		cJSON_AddNumberToObject(row, "record_drops", (double)p.record_drops);
		print_json(row);
	}
	return p.wrong ? -EIO : 0;
}

static int show_speed_at(const struct options *o, const char *policy, const struct requests *trace, uint32_t frames)
{
	unsigned repeats = o->repeats ? o->repeats : o->quick || trace->n > 10000000 ? 3 : 9;
	struct speed s;
	int r = measure_speed(policy, frames, trace->pages, trace->n, trace->unique, repeats, &s);
	cJSON *row;

	if (r) {
		fprintf(stderr, "policy: %s: speed: %s\n", policy, strerror(-r));
		return r;
	}
	if (!o->json) {
		printf("%-20s %9u frames, %6.1f Mreq/s, median of %u (best %.1f), %llu misses\n", policy, frames, s.median,
		       s.repeats, s.best, (unsigned long long)s.misses);
		return 0;
	}
	row = row_of("speed", policy, trace, frames);
	cJSON_AddNumberToObject(row, "requests", (double)trace->n);
	cJSON_AddNumberToObject(row, "misses", (double)s.misses);
	cJSON_AddNumberToObject(row, "mreq_per_s", s.median);
	cJSON_AddNumberToObject(row, "mreq_per_s_best", s.best);
	print_json(row);
	return 0;
}

/* frames: 0 for parts of the trace's pages. */
static int show_speed(const struct options *o, const char *policy, const struct requests *trace, uint32_t frames)
{
	static const double ratios[] = { 0.01, 0.1, 0.3 };
	int first = 0;

	(void)frames;
	if (o->frames)
		return show_speed_at(o, policy, trace, (uint32_t)o->frames);
	for (size_t i = 0; i < sizeof(ratios) / sizeof(ratios[0]); i++) {
		uint32_t part = (uint32_t)(ratios[i] * trace->unique);
		int r = show_speed_at(o, policy, trace, part ? part : 1);

		first = first ? first : r;
		if (!strcmp(policy, SPEED_CURVE))
			break; /* one pass for all sizes */
	}
	return first;
}

typedef int show(const struct options *o, const char *policy, const struct requests *trace, uint32_t frames);

/* list: with commas; NULL: every policy that is registered and starts without parameters. */
static int for_each(const char *list, show *one, const struct options *o, const struct requests *trace, uint32_t frames)
{
	char copy[1024], *rest = copy, *policy;
	const char *name;
	int first = 0;

	for (unsigned i = 0; !list && (name = hmm_policy_name(i)); i++) {
		int r = one(o, name, trace, frames);

		first = first ? first : r;
	}
	snprintf(copy, sizeof(copy), "%s", list ? list : "");
	while (list && (policy = strsep(&rest, ","))) {
		int r = one(o, policy, trace, frames);

		first = first ? first : r;
	}
	return first;
}

static int for_each_speed(const struct options *o, const struct requests *trace)
{
	int r = for_each(o->policies, show_speed, o, trace, 0);
	int curve = o->policies ? 0 : show_speed(o, SPEED_CURVE, trace, 0);

	return r ? r : curve;
}

static int show_large(const struct options *o)
{
	struct requests large;
	int r = requests_make_large(&large);

	if (r) {
		fprintf(stderr, "policy: large trace: %s\n", strerror(-r));
		return r;
	}
	if (!o->json)
		printf("%s: %zu requests, %u pages\n", large.name, large.n, large.unique);
	r = for_each_speed(o, &large);
	requests_close(&large);
	return r;
}

static int run(struct options *o)
{
	bool all = !o->work_only && !o->page_ins_only && !o->speed_only;
	struct requests trace;
	uint32_t frames;
	int r = requests_open(o->trace, o->quick, &trace), page_ins = 0, speed = 0;

	if (r) {
		fprintf(stderr, "policy: %s: %s\n", o->trace ? o->trace : "trace", strerror(-r));
		return 1;
	}
	frames = o->frames ? (uint32_t)o->frames : (uint32_t)(o->ratio * trace.unique);
	frames = frames < HMM_FRAMES_MIN ? HMM_FRAMES_MIN : frames;
	if (!o->json)
		printf("%s: %zu requests, %u pages, %u frames\n", trace.name, trace.n, trace.unique, frames);
	if (all || o->speed_only)
		speed = for_each_speed(o, &trace);
	if (all || o->work_only)
		r = for_each(o->policies, show_work, o, &trace, frames);
	if (all || o->page_ins_only)
		page_ins = for_each(o->policies ? o->policies : "lru,s3fifo,2q", show_page_ins, o, &trace, frames);
	requests_close(&trace);
	if (!speed && (all || o->speed_only) && !o->quick && !o->trace)
		speed = show_large(o);
	if (!r && !speed && (page_ins == -EPERM || page_ins == -ENOTSUP))
		return 77;
	return r || page_ins || speed;
}

int main(int argc, char **argv)
{
	static const struct argp argp = {
		.options = argp_options,
		.parser = parse_option,
		.doc = "Measure policies: requests a second in the simulator; nanoseconds in their hooks for a fault of the pager; "
		       "and the pages that it reads in, beside the simulator's count for the same policy.",
	};
	struct options o = { .ratio = 0.2, .directory = getenv("TMPDIR") };

	if (argp_parse(&argp, argc, argv, 0, NULL, &o) != 0)
		return 2;
	if (!(o.ratio > 0 && o.ratio <= 1) || o.frames > UINT32_MAX / 2) {
		fprintf(stderr, "policy: a ratio lies above 0 and up to 1\n");
		return 2;
	}
	o.directory = o.directory ? o.directory : "/var/tmp";
	return run(&o);
}
