/* SPDX-License-Identifier: MIT */
/*
 * ratios.c - what the library is meant to reach, and how near this run came
 *
 * For information: a run on a busy machine proves nothing either way, so the exit status does not depend on it.
 */
#include <stdlib.h>
#include <string.h>

#include "bench/fault/results.h"

enum metric { TIME_PER_FAULT, FAULTS, BANDWIDTH };

struct target {
	const char *text;
	const char *a, *b; /* names of rows: the ratio is a over b */
	enum metric metric;
	double bound;      /* at most for times, at least for rates; 0: no target, for comparison */
};

static const struct target targets[] = {
	{ "inline, random reads: time per fault / floor", "file-random-read-1-inline-hurd-mm",
	  "file-random-read-1-inline-floor", TIME_PER_FAULT, 1.25 },
	{ "inline, random mix: time per fault / floor", "file-random-mix-1-inline-hurd-mm",
	  "file-random-mix-1-inline-floor", TIME_PER_FAULT, 1.6 },
	{ "inline, random mix: time per fault / floor's reads", "file-random-mix-1-inline-hurd-mm",
	  "file-random-read-1-inline-floor", TIME_PER_FAULT, 1.6 },
	{ "inline, random reads: two threads / one", "file-random-read-2-inline-hurd-mm",
	  "file-random-read-1-inline-hurd-mm", FAULTS, 1.5 },
	{ "inline, random mix: two threads / one", "file-random-mix-2-inline-hurd-mm",
	  "file-random-mix-1-inline-hurd-mm", FAULTS, 1.5 },
	{ "the floor: two threads / one", "file-random-read-2-inline-floor", "file-random-read-1-inline-floor", FAULTS,
	  0 },
	{ "thread / inline, random reads: time per fault", "file-random-read-1-thread-hurd-mm",
	  "file-random-read-1-inline-hurd-mm", TIME_PER_FAULT, 3 },
	{ "inline / zram, one thread, random reads", "anon-random-read-1-inline-hurd-mm",
	  "anon-random-read-1-kernel-swap-zram", FAULTS, 2 },
	{ "inline / zram, two threads, random reads", "anon-random-read-2-inline-hurd-mm",
	  "anon-random-read-2-kernel-swap-zram", FAULTS, 2 },
	{ "inline / zram, one thread, random mix", "anon-random-mix-1-inline-hurd-mm",
	  "anon-random-mix-1-kernel-swap-zram", FAULTS, 2 },
	{ "inline / zram, two threads, random mix", "anon-random-mix-2-inline-hurd-mm",
	  "anon-random-mix-2-kernel-swap-zram", FAULTS, 2 },
	{ "thread / zram, one thread, random reads", "anon-random-read-1-thread-hurd-mm",
	  "anon-random-read-1-kernel-swap-zram", FAULTS, 0 },
	{ "inline / swap file, one thread, random reads", "anon-random-read-1-inline-hurd-mm",
	  "anon-random-read-1-kernel-swap-file", FAULTS, 0 },
	{ "inline O_DIRECT / swap file, one thread, random reads", "anon-random-read-1-inline-hurd-mm-direct",
	  "anon-random-read-1-kernel-swap-file", FAULTS, 0 },
	{ "sequential, default options / loop of read", "file-sequential-read-1-thread-hurd-mm",
	  "file-sequential-read-1-none-read-loop", BANDWIDTH, 0.5 },
	{ "sequential, inline / loop of read", "file-sequential-read-1-inline-hurd-mm",
	  "file-sequential-read-1-none-read-loop", BANDWIDTH, 0.5 },
	{ "sequential, 1 MiB pages, thread / loop of read", "file-sequential-read-1-thread-hurd-mm-1M",
	  "file-sequential-read-1-none-read-loop", BANDWIDTH, 0.8 },
	{ "sequential, 1 MiB pages, inline / loop of read", "file-sequential-read-1-inline-hurd-mm-1M",
	  "file-sequential-read-1-none-read-loop", BANDWIDTH, 0.8 },
};

static double value(const struct row *row, enum metric metric)
{
	if (metric == TIME_PER_FAULT)
		return row_ns_per_fault(row);
	return metric == FAULTS ? row_faults_per_second(row) : row_bytes_per_second(row);
}

static void print_bound(FILE *out, const char *text, double found, const char *relation, double bound, double other)
{
	int met = relation[0] == '<' ? found <= bound : found >= bound;

	fprintf(out, "%-56s %10.2f", text, found);
	if (bound > 0)
		fprintf(out, "   %s %-6g %-4s", relation, bound, met ? "met" : "MISS");
	else
		fprintf(out, "   %-14s", "");
	if (other > 0)
		fprintf(out, " %10.2f", other);
	fprintf(out, "\n");
}

static void extra_bounds(const struct results *r, FILE *out)
{
	if (r->extra_done[0])
		print_bound(out, "resident memory: time per access / plain memory",
		            r->resident.hurd_ns / r->resident.plain_ns, "<=", 1, 0);
	if (r->extra_done[1]) {
		print_bound(out, "1 TiB region: ms to map", r->tebibyte.map_ms, "<=", 10, 0);
		print_bound(out, "1 TiB region: us to destroy, a page touched",
		            (r->tebibyte.destroy_ms[1] - r->tebibyte.destroy_ms[0]) * 1000 /
		                    (double)(r->tebibyte.touched[1] - r->tebibyte.touched[0]),
		            "<=", 0, 0);
	}
	if (r->extra_done[2]) {
		print_bound(out, "metadata: bytes a page in use", r->metadata.bytes_per_page, "<=", 16, 0);
		print_bound(out, "metadata: bytes a frame", r->metadata.bytes_per_frame, "<=", 64, 0);
		print_bound(out, "metadata: KiB for 1 TiB never touched", (double)r->metadata.untouched_bytes / 1024,
		            "<=", 0, 0);
	}
}

void report_ratios(const struct results *results, FILE *out)
{
	fprintf(out, "\n%-56s %10s   %-14s %10s\n", "ratio", "this run", "target", "accesses/s");
	for (unsigned i = 0; i < sizeof(targets) / sizeof(targets[0]); i++) {
		const struct target *t = &targets[i];
		const struct row *a = results_find(results, t->a), *b = results_find(results, t->b);

		if (!a || !b || value(b, t->metric) <= 0)
			continue;
		print_bound(out, t->text, value(a, t->metric) / value(b, t->metric),
		            t->metric == TIME_PER_FAULT ? "<=" : ">=", t->bound,
		            row_accesses_per_second(a) / row_accesses_per_second(b));
	}
	extra_bounds(results, out);
}
