/* SPDX-License-Identifier: MIT */
/*
 * test_policy_exact.c - fifo, clock and lru miss exactly where their definition says
 *
 * The driver evicts one page a miss, as the definitions do: miss -> choose(1) -> evicted -> inserted.  Synthetic
 * traces are compared request by request with plain implementations written here; recorded traces by their number of
 * misses with expected-misses.csv, where $HMM_SHARED/data or ../shared/data beside the source has it.
 */
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/base/util.h"
#include "lib/policy/instance.h"
#include "tests/harness.h"

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define LONGEST 60000 /* requests of a trace under a sanitizer */
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define LONGEST 60000
#endif
#endif
#ifndef LONGEST
#define LONGEST UINT32_MAX
#endif

#define NOWHERE UINT32_MAX

struct trace {
	uint32_t *pages; /* dense numbers */
	uint32_t length;
	uint32_t npages;
};

static uint64_t random_next(uint64_t *state)
{
	uint64_t x = *state += 0x9e3779b97f4a7c15u;

	x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
	x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
	return x ^ (x >> 31);
}

static void *zeroed(size_t n, size_t size)
{
	void *p = calloc(n, size);

	ck_assert_ptr_nonnull(p);
	return p;
}

static void fail_on_report(void *arg, const char *text)
{
	(void)arg;
	ck_abort_msg("%s", text);
}

/* Check's assertions cost a system call each: in inner loops only failures call Check. */

/* Run a trace; hits, if not NULL, gets one byte a request.  Returns the number of misses. */
static uint64_t drive(const char *spec, const struct trace *trace, uint32_t frames, bool check, uint8_t *hits)
{
	uint32_t *where = zeroed(trace->npages, sizeof(*where)), *held = zeroed(frames, sizeof(*held)), used = 0;
	struct hmm__policy *policy;
	uint64_t misses = 0;

	memset(where, 0xff, trace->npages * sizeof(*where));
	ck_assert_int_eq(hmm__policy_create(spec, frames, frames, check, fail_on_report, NULL, &policy), 0);
	for (uint32_t i = 0; i < trace->length; i++) {
		uint32_t page = trace->pages[i], frame = where[page];

		if (hits != NULL)
			hits[i] = frame != NOWHERE;
		if (frame != NOWHERE) {
			hmm__policy_touched(policy, &frame, 1, HMM_ACCESS_READ);
			continue;
		}
		misses++;
		hmm__policy_miss(policy, page, HMM_ACCESS_READ);
		if (used < frames) {
			frame = used++;
		} else {
			if (hmm__policy_choose(policy, 1, &frame, UINT32_MAX) != 1)
				ck_abort_msg("no victim");
			hmm__policy_evicted(policy, frame, held[frame]);
			where[held[frame]] = NOWHERE;
		}
		where[page] = frame;
		held[frame] = page;
		hmm__policy_inserted(policy, frame, page, 0, HMM_ACCESS_READ);
	}
	ck_assert_uint_eq(hmm__policy_errors(policy), 0);
	hmm__policy_destroy(policy);
	free(where);
	free(held);
	return misses;
}

/* Plain implementations: one array of pages, oldest first, searched and shifted. */

struct plain {
	uint32_t n;
	uint32_t page[512];
	unsigned count[512];
};

static void plain_to_end(struct plain *plain, uint32_t i)
{
	uint32_t page = plain->page[i];
	unsigned count = plain->count[i];

	memmove(&plain->page[i], &plain->page[i + 1], (plain->n - i - 1) * sizeof(plain->page[0]));
	memmove(&plain->count[i], &plain->count[i + 1], (plain->n - i - 1) * sizeof(plain->count[0]));
	plain->page[plain->n - 1] = page;
	plain->count[plain->n - 1] = count;
}

/* most: of CLOCK's count; 0 is FIFO.  lru: a hit moves the page. */
static bool plain_request(struct plain *plain, uint32_t page, uint32_t frames, unsigned most, bool lru)
{
	for (uint32_t i = 0; i < plain->n; i++) {
		if (plain->page[i] != page)
			continue;
		if (plain->count[i] < most)
			plain->count[i]++;
		if (lru)
			plain_to_end(plain, i);
		return true;
	}
	if (plain->n == frames) {
		while (plain->count[0] > 0) {
			plain->count[0]--;
			plain_to_end(plain, 0);
		}
		plain_to_end(plain, 0);
		plain->n--;
	}
	plain->page[plain->n] = page;
	plain->count[plain->n++] = 0;
	return false;
}

struct algorithm {
	const char *csv_name, *spec;
	unsigned most;
	bool lru;
};

static const struct algorithm algorithms[] = {
	{ "fifo", "fifo", 0, false },
	{ "clock", "clock", 1, false },
	{ "clock", "clock:bits=1", 1, false },
	{ "clock2", "clock:bits=2", 3, false },
	{ "lru", "lru", 0, true },
};

/* A loop, a scan through hot pages, uniform, and two skewed patterns. */
static uint32_t synthetic(int kind, uint32_t i, uint32_t npages, uint64_t *seed)
{
	uint64_t r = random_next(seed);
	double u = (double)(random_next(seed) >> 11) / 9007199254740992.0;

	switch (kind) {
	case 0:
		return i % npages;
	case 1:
		return r % 4 != 0 ? (uint32_t)(r >> 8) % (npages / 10 + 1) : i % npages;
	case 2:
		return (uint32_t)(r % npages);
	case 3: /* density 1/(3 x^(2/3)) on [0, 1): skewed like Zipf's law */
		return (uint32_t)(u * u * u * npages);
	default: /* the hot set moves */
		return (uint32_t)((i / 3000 * 97 + (uint32_t)(u * u * npages)) % npages);
	}
}

#define KINDS 5

START_TEST(every_request_hits_or_misses_as_defined)
{
	static const uint32_t frame_counts[] = { 1, 2, 3, 10, 90, 199, 250, 512 };
	const struct algorithm *algorithm = &algorithms[_i];
	uint64_t seed = test_seed();
	struct trace trace = { .length = 12000, .npages = 200 };
	uint8_t *hits = zeroed(trace.length, 1);

	trace.pages = zeroed(trace.length, sizeof(uint32_t));
	for (int kind = 0; kind < KINDS; kind++) {
		for (uint32_t i = 0; i < trace.length; i++)
			trace.pages[i] = synthetic(kind, i, trace.npages, &seed);
		for (size_t f = 0; f < HMM__ARRAY_SIZE(frame_counts); f++) {
			struct plain plain = { .n = 0 };
			uint64_t misses = 0;
			uint64_t driven = drive(algorithm->spec, &trace, frame_counts[f], f % 2 == 0, hits);

			for (uint32_t i = 0; i < trace.length; i++) {
				bool hit = plain_request(&plain, trace.pages[i], frame_counts[f], algorithm->most,
				                         algorithm->lru);

				misses += !hit;
				if (hit != hits[i])
					ck_abort_msg("%s, pattern %d, %" PRIu32 " frames, request %" PRIu32,
					             algorithm->spec, kind, frame_counts[f], i);
			}
			ck_assert_uint_eq(driven, misses);
		}
	}
	free(trace.pages);
	free(hits);
}
END_TEST

/* Recorded traces */

struct row {
	char trace[64], policy[32];
	uint32_t frames;
	uint64_t misses;
};

static struct row *rows;
static size_t nrows;
static char data[512]; /* directory */
static const char *traces[64];
static int ntraces;

static void find_data(void)
{
	const char *shared = getenv("HMM_SHARED"), *slash = strrchr(__FILE__, '/');

	if (shared != NULL)
		snprintf(data, sizeof(data), "%s/data", shared);
	else
		snprintf(data, sizeof(data), "%.*s/../../../shared/data", slash ? (int)(slash - __FILE__) : 1,
		         slash ? __FILE__ : ".");
}

static void read_rows(void)
{
	char path[600], line[256];
	FILE *file;

	find_data();
	snprintf(path, sizeof(path), "%s/expected-misses.csv", data);
	file = fopen(path, "r");
	if (file == NULL)
		return;
	while (fgets(line, sizeof(line), file) != NULL) {
		struct row row;

		if (sscanf(line, "%63[^,],%31[^,],%" SCNu32 ",%" SCNu64, row.trace, row.policy, &row.frames,
		           &row.misses) != 4)
			continue; /* the heading */
		rows = realloc(rows, (nrows + 1) * sizeof(*rows));
		rows[nrows++] = row;
	}
	fclose(file);
	for (size_t i = 0; i < nrows && ntraces < (int)HMM__ARRAY_SIZE(traces); i++) {
		if (i == 0 || strcmp(rows[i].trace, rows[i - 1].trace) != 0)
			traces[ntraces++] = rows[i].trace;
	}
}

static int compare_u64(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

static void number_densely(const uint64_t *raw, size_t n, struct trace *trace)
{
	uint64_t *sorted = zeroed(n, sizeof(*sorted));
	size_t unique = 0;

	memcpy(sorted, raw, n * sizeof(*raw));
	qsort(sorted, n, sizeof(*sorted), compare_u64);
	for (size_t i = 0; i < n; i++) {
		if (i == 0 || sorted[i] != sorted[unique - 1])
			sorted[unique++] = sorted[i];
	}
	trace->pages = zeroed(n, sizeof(uint32_t));
	for (size_t i = 0; i < n; i++) {
		uint64_t *found = bsearch(&raw[i], sorted, unique, sizeof(*sorted), compare_u64);

		trace->pages[i] = (uint32_t)(found - sorted);
	}
	trace->length = (uint32_t)n;
	trace->npages = (uint32_t)unique;
	free(sorted);
}

static bool load(const char *name, struct trace *trace)
{
	char command[700];
	size_t size = 1 << 16, n = 0, got;
	uint64_t *raw = zeroed(size, sizeof(*raw));
	FILE *pipe;

	snprintf(command, sizeof(command), "zstd -dcq '%s/traces/%s.u64.zst'", data, name);
	pipe = popen(command, "r");
	if (pipe == NULL)
		return false;
	while ((got = fread(raw + n, sizeof(*raw), size - n, pipe)) > 0) {
		n += got;
		if (n == size)
			raw = realloc(raw, (size *= 2) * sizeof(*raw));
	}
	if (pclose(pipe) != 0 || n == 0) {
		free(raw);
		return false;
	}
	number_densely(raw, n, trace);
	free(raw);
	return true;
}

/* False if the row is not of a policy tested here. */
static bool compare_row(const struct row *row, const struct trace *trace)
{
	const struct algorithm *algorithm = algorithms;
	uint64_t misses;

	while (algorithm < algorithms + HMM__ARRAY_SIZE(algorithms) && strcmp(row->policy, algorithm->csv_name) != 0)
		algorithm++;
	if (algorithm == algorithms + HMM__ARRAY_SIZE(algorithms))
		return false;
	misses = drive(algorithm->spec, trace, row->frames, false, NULL);
	if (misses != row->misses)
		ck_abort_msg("%s, %s, %" PRIu32 " frames: %" PRIu64 " misses, expected %" PRIu64, row->trace, row->policy,
		             row->frames, misses, row->misses);
	return true;
}

START_TEST(recorded_traces_miss_exactly_as_often_as_expected)
{
	struct trace trace = { 0 };
	int compared = 0;

	if (ntraces == 0)
		test_skip("expected-misses.csv in $HMM_SHARED/data");
	if (system("command -v zstd >/dev/null") != 0)
		test_skip("zstd, to unpack the traces");
	ck_assert_msg(load(traces[_i], &trace), "can't unpack the trace %s", traces[_i]);
	if (trace.length > LONGEST) {
		free(trace.pages);
		test_skip("speed: a long trace under a sanitizer");
	}
	for (size_t i = 0; i < nrows; i++)
		compared += strcmp(rows[i].trace, traces[_i]) == 0 && compare_row(&rows[i], &trace);
	ck_assert_int_ge(compared, 16);
	free(trace.pages);
}
END_TEST

static Suite *suite(void)
{
	Suite *s = suite_create("policy_exact");
	TCase *tc = tcase_create("exact");

	read_rows();
	tcase_set_timeout(tc, 120);
	tcase_add_loop_test(tc, every_request_hits_or_misses_as_defined, 0, (int)HMM__ARRAY_SIZE(algorithms));
	tcase_add_loop_test(tc, recorded_traces_miss_exactly_as_often_as_expected, 0, HMM__MAX(ntraces, 1));
	suite_add_tcase(s, tc);
	return s;
}

HMM_TEST_MAIN(suite)
