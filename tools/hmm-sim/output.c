/* SPDX-License-Identifier: MIT */
/*
 * output.c - results as an aligned table, as JSON lines, as CSV
 */
#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include <cjson/cJSON.h>

#include "results.h"

const char *sim_mode_name(enum sim_mode mode)
{
	static const char *const names[] = { "exact", "batched", "refbits", "mrc", "shards" };

	return names[mode];
}

static bool is_sampled(const struct result *result)
{
	return result->mode == SIM_SHARDS;
}

static int stream_error(FILE *out)
{
	return fflush(out) != 0 || ferror(out) ? -EIO : 0;
}

/* Table */

#define COLUMNS 14
#define CELL 40

struct table {
	char (*cells)[COLUMNS][CELL];
	size_t rows;
	bool is_used[COLUMNS];
	int width[COLUMNS];
};

static const char *const headings[COLUMNS] = { "policy", "mode", "frames", "requests", "misses", "ratio", "+/-", "cold",
	                                       "page-ins", "page-outs", "zero-fills", "faults", "seconds", "Mreq/s" };

/* 1234567 as 1,234,567 */
static void grouped(char *cell, uint64_t value)
{
	char digits[24];
	int n = snprintf(digits, sizeof(digits), "%" PRIu64, value), at = 0;

	for (int i = 0; i < n; i++) {
		cell[at++] = digits[i];
		if ((n - i) % 3 == 1 && i + 1 < n)
			cell[at++] = ',';
	}
	cell[at] = '\0';
}

static void fill_row(char (*row)[CELL], const struct result *result)
{
	snprintf(row[0], CELL, "%s", result->policy);
	snprintf(row[1], CELL, "%s", sim_mode_name(result->mode));
	grouped(row[2], result->frames);
	grouped(row[3], result->requests);
	grouped(row[4], result->misses);
	snprintf(row[5], CELL, "%.4f", result_miss_ratio(result));
	if (is_sampled(result))
		snprintf(row[6], CELL, "%.4f", result->error);
	grouped(row[7], result->cold);
	if (result->has_io) {
		grouped(row[8], result->page_ins);
		grouped(row[9], result->page_outs);
		grouped(row[10], result->zero_fills);
		grouped(row[11], result->faults);
	}
	snprintf(row[12], CELL, "%.4f", result->seconds);
	snprintf(row[13], CELL, "%.1f", result->mreq_per_s);
}

static void print_row(FILE *out, const struct table *table, const char *const *cells)
{
	for (int i = 0, first = 1; i < COLUMNS; i++) {
		if (!table->is_used[i])
			continue;
		fprintf(out, "%s%*s", first ? "" : "  ", i < 2 ? -table->width[i] : table->width[i], cells[i]);
		first = 0;
	}
	fputc('\n', out);
}

static void print_table(FILE *out, struct table *table, const struct result *results)
{
	for (size_t i = 0; i < table->rows; i++) {
		const char *cells[COLUMNS];

		for (int c = 0; c < COLUMNS; c++)
			cells[c] = table->cells[i][c];
		if (i == 0 || strcmp(results[i].trace, results[i - 1].trace) != 0) {
			char pages[CELL];

			grouped(pages, results[i].unique);
			fprintf(out, "%s%s: %s pages\n", i == 0 ? "" : "\n", results[i].trace, pages);
			print_row(out, table, headings);
		}
		print_row(out, table, cells);
	}
}

int results_write_table(FILE *out, const struct results *results)
{
	struct table table = { .rows = results->n };

	table.cells = calloc(results->n + 1, sizeof(*table.cells));
	if (table.cells == NULL)
		return -ENOMEM;
	for (size_t i = 0; i < results->n; i++) {
		fill_row(table.cells[i], &results->at[i]);
		for (int c = 0; c < COLUMNS; c++) {
			int width = (int)strlen(table.cells[i][c]), least = (int)strlen(headings[c]);

			table.is_used[c] |= width > 0;
			table.width[c] = width > table.width[c] ? width : table.width[c];
			table.width[c] = least > table.width[c] ? least : table.width[c];
		}
	}
	print_table(out, &table, results->at);
	free(table.cells);
	return stream_error(out);
}

/* JSON */

static double rounded(double value, double unit)
{
	return round(value * unit) / unit;
}

static void add_io(cJSON *object, const char *name, const struct result *result, uint64_t value)
{
	if (result->has_io)
		cJSON_AddNumberToObject(object, name, (double)value);
	else
		cJSON_AddNullToObject(object, name);
}

static cJSON *object_of(const struct result *result)
{
	cJSON *object = cJSON_CreateObject();

	if (object == NULL)
		return NULL;
	cJSON_AddStringToObject(object, "trace", result->trace);
	cJSON_AddStringToObject(object, "policy", result->policy);
	cJSON_AddNumberToObject(object, "frames", (double)result->frames);
	cJSON_AddNumberToObject(object, "requests", (double)result->requests);
	cJSON_AddNumberToObject(object, "misses", (double)result->misses);
	cJSON_AddNumberToObject(object, "cold", (double)result->cold);
	add_io(object, "page_ins", result, result->page_ins);
	add_io(object, "page_outs", result, result->page_outs);
	add_io(object, "zero_fills", result, result->zero_fills);
	add_io(object, "faults", result, result->faults);
	cJSON_AddNumberToObject(object, "seconds", rounded(result->seconds, 1e7));
	cJSON_AddNumberToObject(object, "mreq_per_s", rounded(result->mreq_per_s, 1e3));
	cJSON_AddStringToObject(object, "mode", sim_mode_name(result->mode));
	cJSON_AddNumberToObject(object, "unique", (double)result->unique);
	cJSON_AddNumberToObject(object, "miss_ratio", rounded(result_miss_ratio(result), 1e9));
	if (is_sampled(result)) {
		cJSON_AddNumberToObject(object, "rate", result->rate);
		cJSON_AddNumberToObject(object, "error", rounded(result->error, 1e9));
	}
	return object;
}

int results_write_json(FILE *out, const struct results *results)
{
	for (size_t i = 0; i < results->n; i++) {
		cJSON *object = object_of(&results->at[i]);
		char *text = object != NULL ? cJSON_PrintUnformatted(object) : NULL;

		cJSON_Delete(object);
		if (text == NULL)
			return -ENOMEM;
		fprintf(out, "%s\n", text);
		cJSON_free(text);
	}
	return stream_error(out);
}

/* CSV */

/* Quoted where it has to be: parameters contain commas. */
static void put_text(FILE *out, const char *text)
{
	if (strpbrk(text, ",\"\n") == NULL) {
		fputs(text, out);
		return;
	}
	fputc('"', out);
	for (; *text != '\0'; text++) {
		if (*text == '"')
			fputc('"', out);
		fputc(*text, out);
	}
	fputc('"', out);
}

int results_write_csv(FILE *out, const struct results *results)
{
	fputs("trace,policy,frames,requests,misses,cold,page_ins,page_outs,zero_fills,faults,seconds,mreq_per_s,mode,unique,"
	      "miss_ratio,rate,error\n", out);
	for (size_t i = 0; i < results->n; i++) {
		const struct result *r = &results->at[i];

		put_text(out, r->trace);
		fputc(',', out);
		put_text(out, r->policy);
		fprintf(out, ",%" PRIu64 ",%" PRIu64 ",%" PRIu64 ",%" PRIu64, r->frames, r->requests, r->misses, r->cold);
		if (r->has_io)
			fprintf(out, ",%" PRIu64 ",%" PRIu64 ",%" PRIu64 ",%" PRIu64, r->page_ins, r->page_outs,
			        r->zero_fills, r->faults);
		else
			fputs(",,,,", out);
		fprintf(out, ",%.7f,%.3f,%s,%" PRIu64 ",%.9f", r->seconds, r->mreq_per_s, sim_mode_name(r->mode), r->unique,
		        result_miss_ratio(r));
		if (is_sampled(r))
			fprintf(out, ",%.9g,%.9f\n", r->rate, r->error);
		else
			fputs(",1,0\n", out);
	}
	return stream_error(out);
}
