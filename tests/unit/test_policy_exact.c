/* SPDX-License-Identifier: MIT */
/*
 * test_policy_exact.c - each policy misses exactly where its definition says
 *
 * One page is evicted a miss, as in the definitions: miss -> choose(1) -> evicted -> inserted.  Made-up traces are
 * compared request by request with the plain implementations beside this file, through the hooks alone, and by their
 * number of misses through the core and its ghosts; recorded traces by their number of misses with expected-misses.csv,
 * where the traces are at hand.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "lib/base/util.h"
#include "lib/policy/instance.h"
#include "tests/harness.h"
#include "tests/unit/plain_policies.h"
#include "tests/unit/policy_traces.h"

/* Builds that count every access or branch. */
#ifdef TEST_SLOW
#define SLOW 1
#else
#define SLOW TEST_TSAN
#endif

#define NOWHERE UINT32_MAX

/* Of the recorded rows every STEPth: ten times slower under AddressSanitizer, where each policy is seen often enough. */
#if defined(__SANITIZE_ADDRESS__)
#define STEP 9
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define STEP 9
#endif
#endif
#ifndef STEP
#define STEP 1
#endif

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

/* Run a trace through the core.  Returns the number of misses. */
static uint64_t drive(const char *spec, const struct trace *trace, uint32_t frames, bool check)
{
	uint32_t *where = zeroed(trace->npages, sizeof(*where)), *held = zeroed(frames, sizeof(*held)), used = 0;
	struct hmm__policy *policy;
	uint64_t misses = 0;

	memset(where, 0xff, trace->npages * sizeof(*where));
	ck_assert_int_eq(hmm__policy_create(spec, frames, frames, check, fail_on_report, NULL, &policy), 0);
	for (uint32_t i = 0; i < trace->length; i++) {
		uint32_t page = trace->pages[i], frame = where[page];

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

static const struct hmm_policy_ops *lookup(const char *spec, const char **ret_params)
{
	size_t length = strcspn(spec, ":");
	char name[64] = "";

	memcpy(name, spec, HMM__MIN(length, sizeof(name) - 1));
	*ret_params = spec[length] == ':' ? spec + length + 1 : "";
	return hmm_policy_lookup(name);
}

/* By the hooks alone each request; through the core, which may forget ghosts, the number of misses. */
static void compare_requests(const struct plain_algorithm *algorithm, const struct trace *trace, int kind,
                             uint32_t frames, bool check)
{
	struct plain *plain = zeroed(1, sizeof(*plain));
	uint8_t *hits = zeroed(trace->length, 1);
	const struct hmm_policy_ops *ops;
	uint64_t misses = 0, driven;
	const char *params;

	ops = lookup(algorithm->spec, &params);
	driven = trace_misses(ops, params, trace, frames, hits);
	plain->c = frames;
	for (uint32_t i = 0; i < trace->length; i++) {
		bool hit = algorithm->request(plain, trace->pages[i]);

		misses += !hit;
		if (hit != hits[i])
			ck_abort_msg("%s, pattern %d, %" PRIu32 " frames, request %" PRIu32, algorithm->spec, kind, frames, i);
	}
	ck_assert_uint_eq(driven, misses);
	driven = drive(algorithm->spec, trace, frames, check);
	if (algorithm->unordered_ghosts)
		ck_assert(driven < misses + misses / 20 + 10 && misses < driven + driven / 20 + 10);
	else
		ck_assert_uint_eq(driven, misses);
	free(plain);
	free(hits);
}

START_TEST(every_request_hits_or_misses_as_defined)
{
	static const uint32_t frame_counts[] = { 1, 2, 3, 10, 47, 90, 199, PLAIN_FRAMES };
	uint64_t seed = test_seed();

	for (int kind = 0; kind < TRACE_KINDS; kind++) {
		struct trace trace;

		trace_make(&trace, kind, 4000, 200, &seed);
		for (size_t f = 0; f < HMM__ARRAY_SIZE(frame_counts); f++)
			compare_requests(&plain_algorithms[_i], &trace, kind, frame_counts[f], f % 2 == 0);
		trace_free(&trace);
	}
}
END_TEST

/* A loop of 100 pages through 80 frames keeps a part resident, and each frame is drawn as often as the others. */
START_TEST(random_draws_all_frames_alike)
{
	uint32_t drawn[50] = { 0 }, frame;
	struct hmm__policy *policy;

	ck_assert_int_eq(hmm__policy_create("random:seed=7", 50, 50, true, fail_on_report, NULL, &policy), 0);
	for (frame = 0; frame < 50; frame++)
		hmm__policy_inserted(policy, frame, frame, 0, HMM_ACCESS_READ);
	for (int i = 0; i < 50000; i++) {
		if (hmm__policy_choose(policy, 1, &frame, 1) != 1)
			ck_abort_msg("no victim");
		drawn[frame]++;
		hmm__policy_evicted(policy, frame, frame);
		hmm__policy_inserted(policy, frame, frame, 0, HMM_ACCESS_READ);
	}
	/* 1000 each; the standard deviation is 31 */
	for (frame = 0; frame < 50; frame++)
		ck_assert(drawn[frame] > 800 && drawn[frame] < 1200);
	hmm__policy_destroy(policy);
}
END_TEST

/* Recorded traces */

struct row {
	char trace[64], policy[32];
	uint32_t frames;
	uint64_t misses;
};

/* Policies of expected-misses.csv that are compared here. */
static const char *const recorded[] = {
	"lru", "fifo", "clock", "clock2", "sieve", "s3fifo-v0", "s3fifo", "arc", "2q", "car",
};

static struct row *rows;
static size_t nrows;
static const char *traces[64];
static int ntraces;
static size_t *compared; /* rows; shared by the processes that run the tests */

static bool is_recorded(const char *policy)
{
	for (size_t i = 0; i < HMM__ARRAY_SIZE(recorded); i++) {
		if (strcmp(policy, recorded[i]) == 0)
			return true;
	}
	return false;
}

static void read_rows(void)
{
	char path[600], line[256];
	unsigned n = 0;
	FILE *file;

	snprintf(path, sizeof(path), "%s/expected-misses.csv", trace_directory());
	file = fopen(path, "r");
	if (file == NULL)
		return;
	while (fgets(line, sizeof(line), file) != NULL) {
		struct row row;

		if (sscanf(line, "%63[^,],%31[^,],%" SCNu32 ",%" SCNu64, row.trace, row.policy, &row.frames,
		           &row.misses) != 4 || !is_recorded(row.policy) || n++ % STEP != 0)
			continue;
		rows = realloc(rows, (nrows + 1) * sizeof(*rows));
		rows[nrows++] = row;
	}
	fclose(file);
	for (size_t i = 0; i < nrows && ntraces < (int)HMM__ARRAY_SIZE(traces); i++) {
		if (i == 0 || strcmp(rows[i].trace, rows[i - 1].trace) != 0)
			traces[ntraces++] = rows[i].trace;
	}
}

static void skip_without_traces(void)
{
	if (ntraces == 0)
		test_skip("rows of expected-misses.csv: no $HMM_SHARED/data");
	if (system("command -v zstd >/dev/null") != 0)
		test_skip("rows of expected-misses.csv: no zstd to unpack the traces");
}

START_TEST(recorded_traces_miss_exactly_as_often_as_expected)
{
	struct trace trace = { 0 };
	size_t n = 0;

	skip_without_traces();
	ck_assert_msg(trace_load(traces[_i], &trace), "can't unpack the trace %s", traces[_i]);
	for (size_t i = 0; i < nrows; i++) {
		uint64_t misses;

		if (strcmp(rows[i].trace, traces[_i]) != 0)
			continue;
		misses = trace_misses(hmm_policy_lookup(rows[i].policy), "", &trace, rows[i].frames, NULL);
		if (misses != rows[i].misses)
			ck_abort_msg("%s, %s, %" PRIu32 " frames: %" PRIu64 " misses, expected %" PRIu64, rows[i].trace,
			             rows[i].policy, rows[i].frames, misses, rows[i].misses);
		n++;
	}
	ck_assert_uint_ge(n, 40 / STEP);
	*compared += n;
	trace_free(&trace);
}
END_TEST

/* The last test, so that it counts for those before. */
START_TEST(no_row_was_left_out)
{
	skip_without_traces();
	printf("# %zu rows of expected-misses.csv compared, %d traces\n", *compared, ntraces);
	fflush(stdout);
	ck_assert_uint_eq(*compared, nrows);
}
END_TEST

static Suite *suite(void)
{
	Suite *s = suite_create("policy_exact");
	TCase *tc = tcase_create("exact");

	compared = mmap(NULL, sizeof(*compared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (compared == MAP_FAILED)
		abort();
	read_rows();
	tcase_set_timeout(tc, test_patience(120));
	tcase_add_loop_test(tc, every_request_hits_or_misses_as_defined, 0, plain_nalgorithms);
	tcase_add_test(tc, random_draws_all_frames_alike);
	/* Minutes where every access or branch is counted, and nothing to find there that short ones do not show. */
	if (!SLOW) {
		tcase_add_loop_test(tc, recorded_traces_miss_exactly_as_often_as_expected, 0, HMM__MAX(ntraces, 1));
		tcase_add_test(tc, no_row_was_left_out);
	}
	suite_add_tcase(s, tc);
	return s;
}

HMM_TEST_MAIN(suite)
