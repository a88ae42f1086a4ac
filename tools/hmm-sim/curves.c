/* SPDX-License-Identifier: MIT */
/*
 * curves.c - results, seen as traces that have curves that have points
 */
#include <string.h>

#include "curves.h"

static bool same_curve(const struct result *a, const struct result *b)
{
	return a->mode == b->mode && strcmp(a->policy, b->policy) == 0;
}

struct span span_trace(const struct results *results, size_t from)
{
	size_t to = from;

	while (to < results->n && strcmp(results->at[to].trace, results->at[from].trace) == 0)
		to++;
	return (struct span){ results->at + from, to - from };
}

struct span span_curve(struct span trace, size_t from)
{
	size_t to = from;

	while (to < trace.n && same_curve(&trace.at[to], &trace.at[from]))
		to++;
	return (struct span){ trace.at + from, to - from };
}

size_t span_curves(struct span trace)
{
	size_t n = 0;

	for (size_t from = 0; from < trace.n; from += span_curve(trace, from).n)
		n++;
	return n;
}

bool policy_is_bound(const char *policy)
{
	return strcmp(policy, "opt") == 0;
}

void write_json_string(FILE *out, const char *text)
{
	putc('"', out);
	for (const unsigned char *c = (const unsigned char *)text; *c != '\0'; c++)
		if (*c == '"' || *c == '\\')
			fprintf(out, "\\%c", *c);
		else if (*c < 0x20 || *c == '<' || *c == 0x7f)
			fprintf(out, "\\u%04x", *c);
		else
			putc(*c, out);
	putc('"', out);
}
