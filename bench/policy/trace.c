/* SPDX-License-Identifier: MIT */
/*
 * trace.c - what the policies are measured on: a file, or a mixture made here
 *
 * The built-in one: draws from a Zipf distribution over 65521 pages scattered over the range, with an exponent of 0.9;
 * every 400th draw begins a scan of 200 adjacent pages, and every third request is followed by one of the eight pages
 * requested before it (uses come in clusters).  The same on every machine.  The large one is over 1048573 pages.
 */
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench/policy/policy.h"
#include "tools/hmm-sim/trace.h"

#define PAGES 65521u /* a prime: ranks are scattered by a multiplication */
#define LARGE_PAGES 1048573u /* another */
#define SCATTER UINT64_C(2654435761)
#define RECENT 8u

static uint64_t next_random(uint64_t *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 7;
	*state ^= *state << 17;
	return *state;
}

static double *zipf_sums(uint32_t npages)
{
	double *sums = malloc(npages * sizeof(*sums)), sum = 0;

	for (uint32_t i = 0; sums && i < npages; i++) {
		sum += pow(i + 1, -0.9);
		sums[i] = sum;
	}
	return sums;
}

static uint32_t zipf_draw(const double *sums, uint32_t npages, uint64_t *state)
{
	double x = (double)(next_random(state) >> 11) / 9007199254740992.0 * sums[npages - 1];
	uint32_t low = 0, high = npages - 1;

	while (low < high) {
		uint32_t mid = (low + high) / 2;

		if (sums[mid] < x)
			low = mid + 1;
		else
			high = mid;
	}
	return (uint32_t)(low * SCATTER % npages);
}

static int make(const char *name, uint32_t npages, size_t n, struct requests *trace)
{
	size_t i = 0;
	double *sums = zipf_sums(npages);
	uint64_t state = 88172645463325252u;

	trace->pages = malloc(n * sizeof(trace->pages[0]));
	if (!sums || !trace->pages) {
		free(sums);
		return -ENOMEM;
	}
	while (i < n) {
		uint32_t page = zipf_draw(sums, npages, &state);
		uint32_t length = next_random(&state) % 400 ? 1 : 200;

		for (uint32_t k = 0; k < length && i < n; k++) {
			trace->pages[i++] = (page + k) % npages;
			if (i > RECENT && i < n && next_random(&state) % 3 == 0) {
				trace->pages[i] = trace->pages[i - 1 - next_random(&state) % RECENT];
				i++;
			}
		}
	}
	free(sums);
	trace->n = n;
	trace->unique = npages;
	snprintf(trace->name, sizeof(trace->name), "%s", name);
	return 0;
}

/* In any format that hmm-sim reads. */
static int load(const char *path, struct requests *trace)
{
	const struct trace_options options = { .backing = -1 };
	struct trace_reader *reader;
	struct trace whole = { .n = 0 };
	struct failure failure = { .status = 1 };
	int r = trace_open(path, &options, &reader, &failure);

	if (r == 0) {
		r = trace_load(reader, SIZE_MAX / 2, &whole, NULL, &failure);
		snprintf(trace->name, sizeof(trace->name), "%s", trace_name(reader));
		trace->unique = trace_unique(reader);
		trace_close(reader);
	}
	if (r != 0) {
		fprintf(stderr, "policy: %s\n", failure.text);
		trace_free(&whole);
		return -EINVAL;
	}
	trace->pages = malloc((whole.n + 1) * sizeof(trace->pages[0]));
	for (size_t i = 0; trace->pages && i < whole.n; i++) {
		if (record_operation(whole.records[i]) != OP_DISCARD)
			trace->pages[trace->n++] = record_page(whole.records[i]);
	}
	trace_free(&whole);
	return !trace->pages ? -ENOMEM : trace->n ? 0 : -EINVAL;
}

int requests_open(const char *path, bool quick, struct requests *trace)
{
	int r;

	memset(trace, 0, sizeof(*trace));
	if (path)
		r = load(path, trace);
	else
		r = make("mixture", PAGES, quick ? 400000 : 4000000, trace);
	if (r)
		requests_close(trace);
	return r;
}

int requests_make_large(struct requests *trace)
{
	int r;

	memset(trace, 0, sizeof(*trace));
	r = make("mixture-large", LARGE_PAGES, 20000000, trace);
	if (r)
		requests_close(trace);
	return r;
}

void requests_close(struct requests *trace)
{
	free(trace->pages);
	trace->pages = NULL;
}
