/* SPDX-License-Identifier: MIT */
/*
 * curves.h - results, seen as traces that have curves that have points
 *
 * Rows of one curve are neighbours in struct results, and so are the curves of one trace: a span of rows is enough.
 */
#ifndef HMM_SIM_CURVES_H
#define HMM_SIM_CURVES_H

#include <stdbool.h>
#include <stddef.h>

#include "results.h"

struct span {
	const struct result *at;
	size_t n;
};

/* The rows that begin at row `from` and are of one trace; n is 0 at the end. */
struct span span_trace(const struct results *results, size_t from);

/* The same, of one curve: trace, policy and mode. */
struct span span_curve(struct span trace, size_t from);

/* Curves that a span has. */
size_t span_curves(struct span trace);

/* OPT sees the future: it is a bound, not a choice. */
bool policy_is_bound(const char *policy);

/* A string in JSON, with its quotes.  "<" is escaped too, so that it can stand inside of an HTML element. */
void write_json_string(FILE *out, const char *text);

#endif
