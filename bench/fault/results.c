/* SPDX-License-Identifier: MIT */
/*
 * results.c - rows of results: their figures and their names
 */
#include "bench/fault/results.h"

#include <stdlib.h>
#include <string.h>

const char *const kind_names[] = { [KIND_FILE] = "file", [KIND_ANON] = "anon" };
const char *const pattern_names[] = {
	[PATTERN_SEQUENTIAL] = "sequential",
	[PATTERN_RANDOM] = "random",
	[PATTERN_ZIPF] = "zipf",
};
const char *const op_names[] = { [OP_READ] = "read", [OP_MIX] = "mix" };
const char *const delivery_names[] = {
	[DELIVERY_INLINE] = "inline",
	[DELIVERY_THREAD] = "thread",
	[DELIVERY_KERNEL] = "kernel",
	[DELIVERY_NONE] = "none",
};

static int compare(const void *a, const void *b)
{
	const struct sample *const *x = a, *const *y = b;
	double left = (double)(*x)->accesses / (*x)->seconds, right = (double)(*y)->accesses / (*y)->seconds;

	return (left > right) - (left < right);
}

const struct sample *row_median(const struct row *row)
{
	const struct sample *sorted[MAX_RUNS];

	if (!row || !row->nruns)
		return NULL;
	for (unsigned i = 0; i < row->nruns; i++)
		sorted[i] = &row->runs[i];
	qsort(sorted, row->nruns, sizeof(*sorted), compare);
	return sorted[row->nruns / 2];
}

double row_faults_per_second(const struct row *row)
{
	const struct sample *sample = row_median(row);

	return sample ? (double)sample->delta.misses / sample->seconds : 0;
}

double row_accesses_per_second(const struct row *row)
{
	const struct sample *sample = row_median(row);

	return sample ? (double)sample->accesses / sample->seconds : 0;
}

double row_ns_per_fault(const struct row *row)
{
	double rate = row_faults_per_second(row);

	return rate > 0 ? 1e9 * row->load.threads / rate : 0;
}

double row_bytes_per_second(const struct row *row)
{
	return row_accesses_per_second(row) * PAGE_BYTES;
}

void row_name(const struct row *row, char name[TEXT_BYTES])
{
	snprintf(name, TEXT_BYTES, "%s-%s-%s-%u-%s-%s%s%s", kind_names[row->kind], pattern_names[row->load.pattern],
	         op_names[row->load.op], row->load.threads, delivery_names[row->delivery], row->impl,
	         row->page_shift > 12 ? "-1M" : "", row->direct ? "-direct" : "");
}

const struct row *results_find(const struct results *results, const char *name)
{
	char other[TEXT_BYTES];

	for (unsigned i = 0; i < results->nrows; i++) {
		row_name(&results->rows[i], other);
		if (results->rows[i].nruns && strcmp(name, other) == 0)
			return &results->rows[i];
	}
	return NULL;
}

uint64_t results_bad(const struct results *results)
{
	uint64_t bad = results->stray_bad + results->resident.bad + results->tebibyte.bad + results->metadata.bad;

	for (unsigned i = 0; i < results->nrows; i++)
		bad += results->rows[i].bad;
	return bad;
}

int results_failed(const struct results *results)
{
	for (unsigned i = 0; i < results->nrows; i++)
		if (results->rows[i].failed)
			return 1;
	return results->stray_failed || results->extra_failed[0] || results->extra_failed[1] ||
	       results->extra_failed[2];
}
