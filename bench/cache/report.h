/* SPDX-License-Identifier: MIT */
/*
 * report.h - how results are shown
 */
#ifndef BENCH_CACHE_REPORT_H
#define BENCH_CACHE_REPORT_H

#include <stdio.h>

#include "bench/cache/plan.h"

void report_json(const struct results *results, const char *policy, FILE *out);
void report_table(const struct results *results, FILE *out);
void report_ratios(const struct results *results, FILE *out);

#endif
