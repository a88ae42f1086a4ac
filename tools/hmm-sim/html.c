/* SPDX-License-Identifier: MIT */
/*
 * html.c - one page with interactive curves: the page made at build time, with the results put into it
 *
 * The results are JSON in columns, which web/data.js reads.  Nothing is fetched when the page is looked at.
 */
#include <inttypes.h>
#include <stdio.h>

#include "curves.h"
#include "page.h"
#include "results.h"
#include "whole-file.h"

/* ,"NAME":[...] of one field of all points of a curve. */
#define WRITE_COLUMN(out, curve, name, format, field)                                                                  \
	do {                                                                                                           \
		fprintf(out, ",\"" name "\":");                                                                        \
		for (size_t point = 0; point < (curve).n; point++)                                                     \
			fprintf(out, "%c%" format, point == 0 ? '[' : ',', (curve).at[point].field);                   \
		putc(']', out);                                                                                        \
	} while (0)

static void write_curve(FILE *out, struct span curve)
{
	fprintf(out, "{\"policy\":");
	write_json_string(out, curve.at->policy);
	fprintf(out, ",\"mode\":\"%s\"", sim_mode_name(curve.at->mode));
	WRITE_COLUMN(out, curve, "frames", PRIu64, frames);
	WRITE_COLUMN(out, curve, "misses", PRIu64, misses);
	if (curve.at->mode == SIM_SHARDS) {
		WRITE_COLUMN(out, curve, "rate", ".6g", rate);
		WRITE_COLUMN(out, curve, "error", ".6g", error);
	}
	if (curve.at->has_io) {
		WRITE_COLUMN(out, curve, "page_ins", PRIu64, page_ins);
		WRITE_COLUMN(out, curve, "page_outs", PRIu64, page_outs);
		WRITE_COLUMN(out, curve, "zero_fills", PRIu64, zero_fills);
	}
	putc('}', out);
}

static void write_trace(FILE *out, struct span trace)
{
	fprintf(out, "{\"name\":");
	write_json_string(out, trace.at->trace);
	fprintf(out, ",\"unique\":%" PRIu64 ",\"requests\":%" PRIu64 ",\"curves\":[", trace.at->unique, trace.at->requests);
	for (size_t from = 0; from < trace.n;) {
		struct span curve = span_curve(trace, from);

		if (from > 0)
			putc(',', out);
		write_curve(out, curve);
		from += curve.n;
	}
	fprintf(out, "]}");
}

static void write_results(FILE *out, const struct results *results)
{
	fprintf(out, "{\"traces\":[");
	for (size_t from = 0; from < results->n;) {
		struct span trace = span_trace(results, from);

		if (from > 0)
			putc(',', out);
		write_trace(out, trace);
		from += trace.n;
	}
	fprintf(out, "]}");
}

int results_html(const char *path, const struct results *results)
{
	const struct page *page = &hmm_sim_page;
	struct whole_file file;

	if (page->absent) {
		fprintf(stderr, "hmm-sim: --html: this build has no page: %s\n", page->absent);
		return 1;
	}
	if (whole_file_create(&file, path))
		return 1;
	fwrite(page->head, 1, page->head_size, file.out);
	write_results(file.out, results);
	fwrite(page->tail, 1, page->tail_size, file.out);
	return whole_file_commit(&file);
}
