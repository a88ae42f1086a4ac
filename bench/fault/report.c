/* SPDX-License-Identifier: MIT */
/*
 * report.c - results as JSON lines and as a table
 */
#include <cjson/cJSON.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "bench/fault/results.h"

static void print_line(cJSON *object, FILE *out)
{
	char *text = object ? cJSON_PrintUnformatted(object) : NULL;

	fprintf(out, "%s\n", text ? text : "{}");
	cJSON_free(text);
	cJSON_Delete(object);
}

static void add_rounded(cJSON *object, const char *name, double value)
{
	cJSON_AddNumberToObject(object, name, round(value));
}

/* What every line has. */
static cJSON *line(const char *kind, const char *pattern, const char *op, unsigned threads, const char *delivery,
                   const char *impl)
{
	cJSON *object = cJSON_CreateObject();

	cJSON_AddStringToObject(object, "bench", "fault");
	cJSON_AddStringToObject(object, "kind", kind);
	cJSON_AddStringToObject(object, "pattern", pattern);
	cJSON_AddStringToObject(object, "op", op);
	cJSON_AddNumberToObject(object, "threads", threads);
	cJSON_AddStringToObject(object, "delivery", delivery);
	cJSON_AddStringToObject(object, "impl", impl);
	return object;
}

static void add_counters(cJSON *object, const struct counters *c)
{
	add_rounded(object, "loads", (double)c->loads);
	add_rounded(object, "rescues", (double)c->rescues);
	add_rounded(object, "zero_fills", (double)c->zero_fills);
	add_rounded(object, "prefetches", (double)c->prefetches);
	add_rounded(object, "protects", (double)c->protects);
	add_rounded(object, "write_outs", (double)c->write_outs);
	add_rounded(object, "majflt", (double)c->majflt);
	add_rounded(object, "minflt", (double)c->minflt);
}

static void json_row(const struct results *results, const struct row *row, FILE *out)
{
	const struct sample *sample = row_median(row);
	cJSON *object;

	if (!sample)
		return;
	object = line(kind_names[row->kind], pattern_names[row->load.pattern], op_names[row->load.op],
	              row->load.threads, delivery_names[row->delivery], row->impl);
	add_rounded(object, "faults_per_s", row_faults_per_second(row));
	add_rounded(object, "ops_per_s", row_accesses_per_second(row));
	add_rounded(object, "ns_per_fault", row_ns_per_fault(row));
	add_rounded(object, "bytes_per_s", row_bytes_per_second(row));
	add_rounded(object, "bad", (double)row->bad);
	cJSON_AddNumberToObject(object, "page_size", (double)(1u << row->page_shift));
	cJSON_AddStringToObject(object, "policy", row->identity.policy);
	cJSON_AddStringToObject(object, "store", row->identity.store);
	cJSON_AddStringToObject(object, "engine", row->identity.engine);
	cJSON_AddNumberToObject(object, "region_bytes", (double)row->bytes);
	cJSON_AddNumberToObject(object, "resident_pct",
	                        round(1000.0 * (double)sample->delta.resident / (double)row->bytes) / 10);
	cJSON_AddNumberToObject(object, "seconds", round(sample->seconds * 1000) / 1000);
	cJSON_AddNumberToObject(object, "runs", row->nruns);
	if (strncmp(row->impl, "swap-", 5) == 0)
		cJSON_AddNumberToObject(object, "page_cluster", results->page_cluster);
	add_counters(object, &sample->delta);
	print_line(object, out);
}

static void json_extras(const struct results *results, FILE *out)
{
	const char *delivery = results->extra_delivery;
	cJSON *object;

	if (results->extra_done[0]) {
		object = line("anon", "resident", "read", 1, delivery, "hurd-mm");
		cJSON_AddNumberToObject(object, "faults_per_s", 0);
		add_rounded(object, "bad", (double)results->resident.bad);
		cJSON_AddNumberToObject(object, "ns_per_access", results->resident.hurd_ns);
		cJSON_AddNumberToObject(object, "plain_ns_per_access", results->resident.plain_ns);
		add_rounded(object, "region_bytes", (double)results->resident.bytes);
		print_line(object, out);
	}
	for (int i = 0; results->extra_done[1] && i < 2; i++) {
		const struct extra_tebibyte *t = &results->tebibyte;

		object = line("anon", "tebibyte", "mix", 1, delivery, "hurd-mm");
		add_rounded(object, "faults_per_s", (double)t->touched[i] / t->touch_ms[i] * 1000);
		add_rounded(object, "bad", (double)t->bad);
		cJSON_AddNumberToObject(object, "map_ms", t->map_ms);
		add_rounded(object, "touched", (double)t->touched[i]);
		cJSON_AddNumberToObject(object, "touch_ms", t->touch_ms[i]);
		cJSON_AddNumberToObject(object, "destroy_ms", t->destroy_ms[i]);
		print_line(object, out);
	}
	if (results->extra_done[2]) {
		object = line("anon", "metadata", "write", 1, delivery, "hurd-mm");
		cJSON_AddNumberToObject(object, "faults_per_s", 0);
		add_rounded(object, "bad", (double)results->metadata.bad);
		cJSON_AddNumberToObject(object, "bytes_per_page", results->metadata.bytes_per_page);
		cJSON_AddNumberToObject(object, "bytes_per_frame", results->metadata.bytes_per_frame);
		add_rounded(object, "untouched_bytes", (double)results->metadata.untouched_bytes);
		add_rounded(object, "fixed_bytes", (double)results->metadata.fixed_bytes);
		print_line(object, out);
	}
}

void report_json(const struct results *results, FILE *out)
{
	for (unsigned i = 0; i < results->nrows; i++)
		json_row(results, &results->rows[i], out);
	json_extras(results, out);
	fflush(out);
}

/* ---- table ---- */

static void table_row(const struct row *row, FILE *out)
{
	const struct sample *sample = row_median(row);
	char cost[32] = "-";

	fprintf(out, "%-4s %-10s %-4s %u  %-8s %-9s %4s  ", kind_names[row->kind], pattern_names[row->load.pattern],
	        op_names[row->load.op], row->load.threads, delivery_names[row->delivery], row->impl,
	        row->page_shift > 12 ? "1M" : "4K");
	if (!sample) {
		fprintf(out, "%s: %s\n", row->skipped ? "skipped" : "FAILED", row->why);
		return;
	}
	/* Time per fault says nothing where there is hardly a fault. */
	if (sample->delta.misses * 1000 > sample->accesses)
		snprintf(cost, sizeof(cost), "%.0f", row_ns_per_fault(row));
	fprintf(out, "%-11s %9.0f %11.0f %9s %8.0f %5.1f %5llu%s%s\n", row->identity.store,
	        row_faults_per_second(row), row_accesses_per_second(row), cost, row_bytes_per_second(row) / 1e6,
	        100.0 * (double)sample->delta.resident / (double)row->bytes, (unsigned long long)row->bad,
	        row->failed ? "  FAILED: " : row->skipped ? "  then: " : "", row->why);
}

static void table_extras(const struct results *results, FILE *out)
{
	static const char *const names[] = { "resident", "tebibyte", "metadata" };

	for (int i = 0; i < 3; i++)
		if (results->extra_why[i][0])
			fprintf(out, "%s: %s: %s\n", names[i], results->extra_failed[i] ? "FAILED" : "skipped",
			        results->extra_why[i]);
	if (results->extra_done[0])
		fprintf(out, "resident: %.2f ns an access, plain memory %.2f ns\n", results->resident.hurd_ns,
		        results->resident.plain_ns);
	for (int i = 0; results->extra_done[1] && i < 2; i++)
		fprintf(out, "tebibyte: mapped in %.2f ms, %llu pages touched in %.1f ms, destroyed in %.2f ms\n",
		        results->tebibyte.map_ms, (unsigned long long)results->tebibyte.touched[i],
		        results->tebibyte.touch_ms[i], results->tebibyte.destroy_ms[i]);
	if (results->extra_done[2])
		fprintf(out, "metadata: %.1f bytes a page in use, %.1f a frame, %llu for 1 TiB untouched, %llu fixed\n",
		        results->metadata.bytes_per_page, results->metadata.bytes_per_frame,
		        (unsigned long long)results->metadata.untouched_bytes,
		        (unsigned long long)results->metadata.fixed_bytes);
}

void report_table(const struct results *results, FILE *out)
{
	fprintf(out, "%-4s %-10s %-4s %s %-8s %-9s %4s  %-11s %9s %11s %9s %8s %5s %5s\n", "kind", "pattern", "op",
	        "th", "delivery", "impl", "page", "store", "faults/s", "accesses/s", "ns/fault", "MB/s", "res%", "bad");
	for (unsigned i = 0; i < results->nrows; i++)
		table_row(&results->rows[i], out);
	table_extras(results, out);
}
