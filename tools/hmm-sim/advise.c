/* SPDX-License-Identifier: MIT */
/*
 * advise.c - which policy for a trace and a budget, and what more or less memory would change
 *
 * Policies are judged by what costs time: by pages moved (page-ins and page-outs) if the trace has writes, so that a
 * zero fill, which moves nothing, does not count like a page that has to be read; else by misses, which is then the same.
 * Of equals the one named first wins: lists begin with the simple ones.  OPT is told as a bound, never advised.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "curves.h"
#include "results.h"

#define WITHIN 0.01 /* so close to the best is told as an alternative */

struct advice {
	struct span trace;
	uint64_t budget;
	bool by_io;
	const struct result *best;  /* at the budget */
	const struct result *lru;   /* at the budget; NULL: not simulated */
	const struct result *bound; /* OPT at the budget; NULL: not simulated */
};

/* Keeps the list ascending and without repetition. */
static void add_size(uint64_t *sizes, size_t most, size_t *n, uint64_t frames)
{
	size_t at = *n;

	if (frames == 0 || *n == most)
		return;
	while (at > 0 && sizes[at - 1] >= frames)
		at--;
	if (at < *n && sizes[at] == frames)
		return;
	memmove(sizes + at + 1, sizes + at, (*n - at) * sizeof(*sizes));
	sizes[at] = frames;
	(*n)++;
}

size_t advise_sizes(uint64_t budget, uint64_t unique, uint64_t *sizes, size_t most)
{
	/* In eighths of the budget, the most telling first: `most` may cut the list. */
	static const unsigned eighths[] = { 4, 16, 6, 12, 2, 32, 1, 64 };
	/* Where the whole trace fits, less than the budget does it too. */
	uint64_t from = budget < unique ? budget : unique;
	size_t n = 0;

	add_size(sizes, most, &n, budget);
	add_size(sizes, most, &n, unique);
	for (size_t i = 0; i < sizeof(eighths) / sizeof(eighths[0]); i++)
		/* More than all pages would only repeat the last row. */
		if (from * eighths[i] / 8 < unique)
			add_size(sizes, most, &n, from * eighths[i] / 8);
	return n;
}

/* What a policy is judged by. */
static uint64_t cost(const struct advice *advice, const struct result *row)
{
	return advice->by_io ? row->page_ins + row->page_outs : row->misses;
}

static const char *unit(const struct advice *advice)
{
	return advice->by_io ? "pages moved" : "misses";
}

static const struct result *find(const struct advice *advice, const char *policy, uint64_t frames)
{
	for (size_t i = 0; i < advice->trace.n; i++)
		if (advice->trace.at[i].frames == frames && strcmp(advice->trace.at[i].policy, policy) == 0)
			return &advice->trace.at[i];
	return NULL;
}

/* The policy with the least cost; of equals the one advised for the budget, so that nobody changes it for nothing. */
static const struct result *best_at(const struct advice *advice, uint64_t frames)
{
	const struct result *best = advice->best ? find(advice, advice->best->policy, frames) : NULL;

	for (size_t i = 0; i < advice->trace.n; i++) {
		const struct result *row = &advice->trace.at[i];

		if (row->frames == frames && !policy_is_bound(row->policy) && (!best || cost(advice, row) < cost(advice, best)))
			best = row;
	}
	return best;
}

/* The smallest size above `than` that was simulated; 0: none. */
static uint64_t next_size(const struct advice *advice, uint64_t than)
{
	uint64_t next = 0;

	for (size_t i = 0; i < advice->trace.n; i++) {
		uint64_t frames = advice->trace.at[i].frames;

		if (frames > than && (next == 0 || frames < next))
			next = frames;
	}
	return next;
}

/* The row of a policy at the next dearer cost, `after` NULL: the cheapest; in order of the command line where equal. */
static const struct result *ranked(const struct advice *advice, const struct result *after)
{
	const struct result *next = NULL;

	for (size_t i = 0; i < advice->trace.n; i++) {
		const struct result *row = &advice->trace.at[i];

		if (row->frames != advice->budget || policy_is_bound(row->policy))
			continue;
		if (after && (cost(advice, row) < cost(advice, after) ||
		              (cost(advice, row) == cost(advice, after) && row <= after)))
			continue;
		if (!next || cost(advice, row) < cost(advice, next))
			next = row;
	}
	return next;
}

static bool has_page_outs(struct span trace)
{
	for (size_t i = 0; i < trace.n; i++)
		if (trace.at[i].has_io && trace.at[i].page_outs > 0)
			return true;
	return false;
}

static struct advice advise(struct span trace, uint64_t budget)
{
	struct advice advice = { .trace = trace, .budget = budget, .by_io = has_page_outs(trace) };

	advice.best = best_at(&advice, budget);
	advice.lru = find(&advice, "lru", budget);
	advice.bound = find(&advice, "opt", budget);
	return advice;
}

/* "12.3% more", "4.5% fewer", "as many", or, from nothing, their number. */
static const char *compared(char *text, size_t size, uint64_t now, uint64_t before)
{
	double change = before != 0 ? 100 * ((double)now - (double)before) / (double)before : 0;

	if (now == before)
		snprintf(text, size, "as many");
	else if (before == 0)
		snprintf(text, size, "%" PRIu64 " more", now);
	else
		snprintf(text, size, "%.1f%% %s", change < 0 ? -change : change, change < 0 ? "fewer" : "more");
	return text;
}

static double share(uint64_t part, uint64_t whole)
{
	return whole != 0 ? 100 * (double)part / (double)whole : 0;
}

static void tell_best(FILE *out, const struct advice *advice)
{
	const struct result *best = advice->best, *row = best;
	unsigned near = 0;

	fprintf(out, "Take %s: %" PRIu64 " %s, the fewest of %zu policies", best->policy, cost(advice, best), unit(advice),
	        span_curves(advice->trace) - (advice->bound ? 1 : 0));
	if (advice->by_io)
		fprintf(out, " (%" PRIu64 " page-ins, %" PRIu64 " page-outs; %" PRIu64 " zero fills beside)", best->page_ins,
		        best->page_outs, best->zero_fills);
	else
		fprintf(out, " (%.2f%% of the requests)", 100 * result_miss_ratio(best));
	fprintf(out, ".\n");
	while ((row = ranked(advice, row)) != NULL &&
	       (double)cost(advice, row) <= (1 + WITHIN) * (double)cost(advice, best))
		fprintf(out, "%s%s", near++ == 0 ? "As good, within 1%: " : ", ", row->policy);
	if (near > 0)
		fprintf(out, ".\n");
}

/* The smallest size at which the advised policy is no worse than LRU is at the budget. */
static uint64_t size_like_lru(const struct advice *advice)
{
	uint64_t frames = 0;

	while ((frames = next_size(advice, frames)) != 0 && frames < advice->budget) {
		const struct result *row = find(advice, advice->best->policy, frames);

		if (row && cost(advice, row) <= cost(advice, advice->lru))
			return frames;
	}
	return advice->budget;
}

static void tell_lru_and_bound(FILE *out, const struct advice *advice)
{
	const struct result *best = advice->best;
	uint64_t frames;
	char text[64];

	if (advice->lru && cost(advice, advice->lru) > cost(advice, best)) {
		fprintf(out, "lru has %s (%" PRIu64 ")", compared(text, sizeof(text), cost(advice, advice->lru), cost(advice, best)),
		        cost(advice, advice->lru));
		frames = size_like_lru(advice);
		if (frames < advice->budget)
			fprintf(out, "; %s with %" PRIu64 " frames is no worse than lru with %" PRIu64, best->policy, frames,
			        advice->budget);
		fprintf(out, ".\n");
	}
	if (advice->bound)
		fprintf(out, "No policy can have fewer misses than opt, which knows the future: %" PRIu64 "; %s has %" PRIu64 ".\n",
		        advice->bound->misses, best->policy, best->misses);
	fprintf(out, "%" PRIu64 " misses are the first request of a page; memory does not change those.\n", best->cold);
}

/* One sentence on another size; nothing if it was not simulated. */
static void tell_size(FILE *out, const struct advice *advice, const char *words, uint64_t frames)
{
	const struct result *there = best_at(advice, frames);
	char text[64];

	if (!there || frames == advice->budget)
		return;
	fprintf(out, "%s (%" PRIu64 " frames): %" PRIu64 " %s, %s", words, frames, cost(advice, there), unit(advice),
	        compared(text, sizeof(text), cost(advice, there), cost(advice, advice->best)));
	if (strcmp(there->policy, advice->best->policy) != 0)
		fprintf(out, ", with %s, which is then best", there->policy);
	fprintf(out, ".\n");
}

/* The smallest size simulated at which there is as little to do as with all pages resident; 0: not known. */
static uint64_t last_useful_size(const struct advice *advice)
{
	uint64_t useful = 0, frames = 0, largest = 0, least = UINT64_MAX;

	while ((frames = next_size(advice, frames)) != 0) {
		const struct result *there = best_at(advice, frames);

		largest = frames;
		if (there && cost(advice, there) < least) {
			least = cost(advice, there);
			useful = frames;
		}
	}
	return largest >= advice->trace.at->unique ? useful : 0;
}

static void tell_sizes(FILE *out, const struct advice *advice)
{
	uint64_t unique = advice->trace.at->unique, useful = last_useful_size(advice);

	tell_size(out, advice, "Half the memory", advice->budget / 2);
	if (advice->budget >= unique)
		fprintf(out, "All %" PRIu64 " pages fit in the budget; more than that brings nothing.\n", unique);
	else
		tell_size(out, advice, "Twice the memory", 2 * advice->budget);
	if (useful != 0 && useful < unique)
		fprintf(out, "More than %" PRIu64 " frames bring nothing.\n", useful);
}

/* How wide the column of policies has to be. */
static int policy_width(const struct advice *advice)
{
	size_t width = strlen("best");

	for (size_t i = 0; i < advice->trace.n; i++)
		if (strlen(advice->trace.at[i].policy) > width)
			width = strlen(advice->trace.at[i].policy);
	return (int)width;
}

static void tell_table(FILE *out, const struct advice *advice)
{
	const char *advised = advice->best->policy;
	int width = policy_width(advice), advised_width = (int)strlen(advised) > 11 ? (int)strlen(advised) : 11;
	uint64_t frames = 0;
	char change[64];

	fprintf(out, "\n%12s %10s  %-*s %12s %10s %12s %*s\n", "frames", "of budget", width, "best", unit(advice), "miss ratio",
	        "change", advised_width, advised);
	while ((frames = next_size(advice, frames)) != 0) {
		const struct result *there = best_at(advice, frames), *same = find(advice, advised, frames);
		uint64_t now = cost(advice, there), before = cost(advice, advice->best);

		if (now == before)
			snprintf(change, sizeof(change), "-");
		else if (before == 0)
			snprintf(change, sizeof(change), "+%" PRIu64, now);
		else
			snprintf(change, sizeof(change), "%+.1f%%", 100 * ((double)now - (double)before) / (double)before);
		fprintf(out, "%12" PRIu64 " %9.1f%%  %-*s %12" PRIu64 " %9.2f%% %12s %*" PRIu64 "%s\n", frames,
		        share(frames, advice->budget), width, there->policy, now, 100 * result_miss_ratio(there), change,
		        advised_width, same ? cost(advice, same) : now, frames == advice->budget ? "  <- budget" : "");
	}
}

static void write_text(FILE *out, const struct advice *advice)
{
	const struct result *row = advice->trace.at;

	fprintf(out, "%s: %" PRIu64 " requests of %" PRIu64 " different pages; the budget of %" PRIu64 " frames is %.1f%% of them.\n\n",
	        row->trace, row->requests, row->unique, advice->budget, share(advice->budget, row->unique));
	tell_best(out, advice);
	tell_lru_and_bound(out, advice);
	tell_sizes(out, advice);
	tell_table(out, advice);
}

/* "policy":..., and the numbers of a row. */
static void write_row(FILE *out, const struct advice *advice, const struct result *row)
{
	fprintf(out, "\"policy\":");
	write_json_string(out, row->policy);
	fprintf(out, ",\"misses\":%" PRIu64 ",\"miss_ratio\":%.6f", row->misses, result_miss_ratio(row));
	if (row->has_io)
		fprintf(out, ",\"page_ins\":%" PRIu64 ",\"page_outs\":%" PRIu64 ",\"zero_fills\":%" PRIu64, row->page_ins,
		        row->page_outs, row->zero_fills);
	fprintf(out, ",\"cost\":%" PRIu64, cost(advice, row));
}

static void write_json(FILE *out, const struct advice *advice)
{
	const struct result *row = advice->trace.at, *rank = NULL;
	uint64_t frames = 0;

	fprintf(out, "{\"trace\":");
	write_json_string(out, row->trace);
	fprintf(out, ",\"requests\":%" PRIu64 ",\"unique\":%" PRIu64 ",\"cold\":%" PRIu64 ",\"budget\":%" PRIu64 ",\"cost\":\"%s\"",
	        row->requests, row->unique, row->cold, advice->budget, advice->by_io ? "page_ins+page_outs" : "misses");
	fprintf(out, ",\"best\":");
	write_json_string(out, advice->best->policy);
	if (advice->bound)
		fprintf(out, ",\"opt_misses\":%" PRIu64, advice->bound->misses);
	fprintf(out, ",\"policies\":[");
	for (const char *comma = ""; (rank = ranked(advice, rank)) != NULL; comma = ",") {
		fprintf(out, "%s{", comma);
		write_row(out, advice, rank);
		putc('}', out);
	}
	fprintf(out, "],\"sizes\":[");
	for (const char *comma = ""; (frames = next_size(advice, frames)) != 0; comma = ",") {
		const struct result *same = find(advice, advice->best->policy, frames);

		fprintf(out, "%s{\"frames\":%" PRIu64 ",", comma, frames);
		write_row(out, advice, best_at(advice, frames));
		if (same)
			fprintf(out, ",\"cost_of_best\":%" PRIu64, cost(advice, same));
		putc('}', out);
	}
	fprintf(out, "]}\n");
}

int advise_write(FILE *out, uint64_t budget, bool json, const struct results *results)
{
	for (size_t from = 0; from < results->n;) {
		struct advice advice = advise(span_trace(results, from), budget);

		if (advice.best && json) {
			write_json(out, &advice);
		} else if (advice.best) {
			if (from > 0)
				fprintf(out, "\n\n");
			write_text(out, &advice);
		} else {
			fprintf(stderr, "hmm-sim: advise: %s: no policy but opt was simulated\n", advice.trace.at->trace);
		}
		from += advice.trace.n;
	}
	return fflush(out) != 0 || ferror(out) ? -EIO : 0;
}
