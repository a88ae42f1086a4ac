/* SPDX-License-Identifier: MIT */
/*
 * results.h - what was measured, found again by its case, and shown
 */
#ifndef BENCH_FAULT_RESULTS_H
#define BENCH_FAULT_RESULTS_H

#include <stdio.h>

#include "bench/fault/extra.h"
#include "bench/fault/subject.h"

#define MAX_RUNS 9
#define MAX_ROWS 400

struct row {
	struct load load;
	enum kind kind;
	enum delivery delivery;
	unsigned page_shift;
	int direct; /* the swap store was asked for O_DIRECT */
	uint64_t bytes;
	const char *impl;
	struct identity identity;
	struct sample runs[MAX_RUNS];
	unsigned nruns;
	uint64_t bad; /* of all runs, and of the sweep at the end */
	int failed, skipped; /* no runs to speak of: why */
	char why[TEXT_BYTES];
};

struct results {
	struct row rows[MAX_ROWS];
	unsigned nrows;
	uint64_t stray_bad;  /* found at the end of a subject that has no row */
	int stray_failed;
	struct extra_resident resident;
	struct extra_tebibyte tebibyte;
	struct extra_metadata metadata;
	char extra_why[3][TEXT_BYTES]; /* resident, tebibyte, metadata: not measured, if set */
	int extra_done[3];
	int extra_failed[3];
	const char *extra_delivery;
	int page_cluster; /* vm.page-cluster, as found */
};

/* The run that stands for the row: the median by accesses per second; NULL if there is none. */
const struct sample *row_median(const struct row *row);
double row_faults_per_second(const struct row *row);
double row_accesses_per_second(const struct row *row);
double row_ns_per_fault(const struct row *row); /* 0: no faults */
double row_bytes_per_second(const struct row *row);

/* "file-random-read-1-inline-hurd-mm", with -1M or -direct where the case needs it. */
void row_name(const struct row *row, char name[TEXT_BYTES]);
const struct row *results_find(const struct results *results, const char *name);

uint64_t results_bad(const struct results *results);
int results_failed(const struct results *results);

extern const char *const kind_names[], *const pattern_names[], *const op_names[], *const delivery_names[];

void report_json(const struct results *results, FILE *out);
void report_table(const struct results *results, FILE *out);
void report_ratios(const struct results *results, FILE *out);

#endif
