/* SPDX-License-Identifier: MIT */
/*
 * trace.c - what the policies are measured on: a file, or a mixture made here
 *
 * The built-in one: draws from a Zipf distribution over 65521 pages scattered over the range, with an exponent of 0.9;
 * every 400th draw begins a scan of 200 adjacent pages, and every third request is followed by one of the eight pages
 * requested before it (uses come in clusters).  The same on every machine.
 */
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench/policy/policy.h"

#define PAGES 65521u /* a prime: ranks are scattered by a multiplication */
#define SCATTER UINT64_C(2654435761)
#define RECENT 8u

static uint64_t next_random(uint64_t *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 7;
	*state ^= *state << 17;
	return *state;
}

static double *zipf_sums(void)
{
	double *sums = malloc(PAGES * sizeof(*sums)), sum = 0;

	for (uint32_t i = 0; sums && i < PAGES; i++) {
		sum += pow(i + 1, -0.9);
		sums[i] = sum;
	}
	return sums;
}

static uint32_t zipf_draw(const double *sums, uint64_t *state)
{
	double x = (double)(next_random(state) >> 11) / 9007199254740992.0 * sums[PAGES - 1];
	uint32_t low = 0, high = PAGES - 1;

	while (low < high) {
		uint32_t mid = (low + high) / 2;

		if (sums[mid] < x)
			low = mid + 1;
		else
			high = mid;
	}
	return (uint32_t)(low * SCATTER % PAGES);
}

static int make(bool quick, struct trace *trace)
{
	size_t n = quick ? 400000 : 4000000, i = 0;
	double *sums = zipf_sums();
	uint64_t state = 88172645463325252u;

	trace->pages = malloc(n * sizeof(trace->pages[0]));
	if (!sums || !trace->pages) {
		free(sums);
		return -ENOMEM;
	}
	while (i < n) {
		uint32_t page = zipf_draw(sums, &state);
		uint32_t length = next_random(&state) % 400 ? 1 : 200;

		for (uint32_t k = 0; k < length && i < n; k++) {
			trace->pages[i++] = (page + k) % PAGES;
			if (i > RECENT && i < n && next_random(&state) % 3 == 0) {
				trace->pages[i] = trace->pages[i - 1 - next_random(&state) % RECENT];
				i++;
			}
		}
	}
	free(sums);
	trace->n = n;
	trace->unique = PAGES;
	strcpy(trace->name, "mixture");
	return 0;
}

/* Pages numbered in the order in which they come first: a table with open addressing, at most half full. */
struct table {
	uint64_t *keys; /* page + 1 */
	uint32_t *numbers;
	size_t size;
};

static uint32_t number_of(struct table *t, uint64_t page, uint32_t *unique)
{
	size_t at = (size_t)((page * UINT64_C(0x9e3779b97f4a7c15)) >> 20) & (t->size - 1);

	for (; t->keys[at]; at = (at + 1) & (t->size - 1)) {
		if (t->keys[at] == page + 1)
			return t->numbers[at];
	}
	t->keys[at] = page + 1;
	t->numbers[at] = *unique;
	return (*unique)++;
}

static int number_pages(const uint64_t *words, size_t n, bool ops, struct trace *trace)
{
	struct table t = { .size = 1024 };
	int r = -ENOMEM;

	while (t.size < 2 * n)
		t.size *= 2;
	t.keys = calloc(t.size, sizeof(t.keys[0]));
	t.numbers = malloc(t.size * sizeof(t.numbers[0]));
	trace->pages = malloc((n + 1) * sizeof(trace->pages[0]));
	if (t.keys && t.numbers && trace->pages) {
		for (size_t i = 0; i < n; i++) {
			if (!ops || (words[i] & 3) < 2)
				trace->pages[trace->n++] = number_of(&t, ops ? words[i] >> 2 : words[i], &trace->unique);
		}
		r = trace->n ? 0 : -EINVAL;
	}
	free(t.keys);
	free(t.numbers);
	return r;
}

static int load(const char *path, struct trace *trace)
{
	FILE *file = fopen(path, "rb");
	const char *name = strrchr(path, '/');
	uint64_t *words = NULL;
	long length;
	int r = -EIO;

	if (!file)
		return -errno;
	if (!fseek(file, 0, SEEK_END) && (length = ftell(file)) > 0 && !fseek(file, 0, SEEK_SET)) {
		size_t n = (size_t)length / sizeof(*words);

		words = malloc(n * sizeof(*words) + 1);
		if (!words)
			r = -ENOMEM;
		else if (length % (long)sizeof(*words))
			r = -EINVAL;
		else if (fread(words, sizeof(*words), n, file) == n)
			r = number_pages(words, n, strstr(path, ".ops") != NULL, trace);
	}
	snprintf(trace->name, sizeof(trace->name), "%s", name ? name + 1 : path);
	free(words);
	fclose(file);
	return r;
}

int trace_open(const char *path, bool quick, struct trace *trace)
{
	int r;

	memset(trace, 0, sizeof(*trace));
	r = path ? load(path, trace) : make(quick, trace);
	if (r)
		trace_close(trace);
	return r;
}

void trace_close(struct trace *trace)
{
	free(trace->pages);
	trace->pages = NULL;
}
