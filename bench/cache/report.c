/* SPDX-License-Identifier: MIT */
/*
 * report.c - results as JSON lines, as a table, and the ratios that matter
 */
#include "bench/cache/report.h"

#include <cjson/cJSON.h>
#include <math.h>
#include <stdlib.h>

static int compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static double median(const double *values, unsigned n)
{
	double sorted[ROUNDS_MOST];

	if (n == 0)
		return 0;
	memcpy(sorted, values, n * sizeof(*values));
	qsort(sorted, n, sizeof(*sorted), compare);
	return sorted[n / 2];
}

double row_ops(const struct row *row)
{
	return median(row->ops, row->nrounds);
}

double row_misses(const struct row *row)
{
	return median(row->misses, row->nrounds);
}

const struct row *results_find(const struct results *results, const char *name, const char *impl, unsigned threads)
{
	for (unsigned i = 0; i < results->nrows; i++) {
		const struct row *row = &results->rows[i];

		if (row->nrounds && row->threads == threads && strcmp(row->name, name) == 0 &&
		    strcmp(row->impl, impl) == 0)
			return row;
	}
	return NULL;
}

static void json_row(const struct row *row, const char *policy, FILE *out)
{
	cJSON *object = cJSON_CreateObject();
	char *text;

	cJSON_AddStringToObject(object, "bench", "cache");
	cJSON_AddStringToObject(object, "case", row->name);
	cJSON_AddStringToObject(object, "impl", row->impl);
	cJSON_AddNumberToObject(object, "threads", row->threads);
	cJSON_AddNumberToObject(object, "ops_per_s", round(row_ops(row)));
	cJSON_AddNumberToObject(object, "misses_per_s", round(row_misses(row)));
	cJSON_AddNumberToObject(object, "bad", (double)row->bad);
	cJSON_AddNumberToObject(object, "page_size", (double)row->page_size);
	cJSON_AddNumberToObject(object, "bytes", (double)row->bytes);
	cJSON_AddNumberToObject(object, "budget", (double)row->budget);
	cJSON_AddStringToObject(object, "policy", policy ? policy : "default");
	cJSON_AddNumberToObject(object, "rounds", row->nrounds);
	text = cJSON_PrintUnformatted(object);
	fprintf(out, "%s\n", text ? text : "{}");
	cJSON_free(text);
	cJSON_Delete(object);
}

void report_json(const struct results *results, const char *policy, FILE *out)
{
	for (unsigned i = 0; i < results->nrows; i++)
		if (results->rows[i].nrounds)
			json_row(&results->rows[i], policy, out);
	fflush(out);
}

void report_table(const struct results *results, FILE *out)
{
	fprintf(out, "%-20s %-12s %2s %6s %13s %11s %9s %4s\n", "case", "impl", "th", "page", "accesses/s", "misses/s",
	        "ns", "bad");
	for (unsigned i = 0; i < results->nrows; i++) {
		const struct row *row = &results->rows[i];

		fprintf(out, "%-20s %-12s %2u %6zu ", row->name, row->impl, row->threads, row->page_size);
		if (row->nrounds)
			fprintf(out, "%13.0f %11.0f %9.1f %4llu", row_ops(row), row_misses(row),
			        1e9 * row->threads / row_ops(row), (unsigned long long)row->bad);
		if (row->skipped || row->failed || !row->nrounds)
			fprintf(out, " %s: %s", row->failed ? "FAILED" : "skipped", row->why);
		fprintf(out, "\n");
	}
}

struct ratio {
	const char *text;
	const char *name, *impl;
	unsigned threads;
	const char *base_name, *base_impl;
	unsigned base_threads;
};

void report_ratios(const struct results *results, FILE *out)
{
	static const struct ratio ratios[] = {
		{ "pairs, two threads to one", "hits-pairs", "hurd-mm", 2, "hits-pairs", "hurd-mm", 1 },
		{ "optimistic reads, two threads to one", "hits-optimistic", "hurd-mm", 2, "hits-optimistic", "hurd-mm", 1 },
		{ "optimistic reads to pairs", "hits-optimistic", "hurd-mm", 1, "hits-pairs", "hurd-mm", 1 },
		{ "hits to plain memory (mmap)", "hits", "hurd-mm", 1, "hits", "mmap", 1 },
		{ "hits to pread", "hits", "hurd-mm", 1, "hits", "pread", 1 },
		{ "misses, two threads to one", "misses", "hurd-mm", 2, "misses", "hurd-mm", 1 },
		{ "misses to faults of a region", "misses", "hurd-mm", 1, "misses", "region", 1 },
		{ "misses to faults of a region, two threads", "misses", "hurd-mm", 2, "misses", "region", 2 },
		{ "misses to pread", "misses", "hurd-mm", 1, "misses", "pread", 1 },
		{ "misses in lists to one by one", "misses-prefetch", "hurd-mm", 1, "misses", "hurd-mm", 1 },
		{ "writes with a log to a region without", "zipf-mix", "hurd-mm", 1, "zipf-mix", "region", 1 },
	};

	for (unsigned i = 0; i < sizeof(ratios) / sizeof(ratios[0]); i++) {
		const struct ratio *r = &ratios[i];
		const struct row *row = results_find(results, r->name, r->impl, r->threads);
		const struct row *base = results_find(results, r->base_name, r->base_impl, r->base_threads);

		if (row && base)
			fprintf(out, "%-44s %6.2f\n", r->text, row_ops(row) / row_ops(base));
	}
}
