/* SPDX-License-Identifier: MIT */
/*
 * test_policy_history.c - lirs, clockpro and lru2, which remember how pages were used before: they miss exactly where
 * their definition says
 *
 * Made-up traces are compared request by request with plain implementations written here from the papers; recorded ones
 * by their number of misses with expected-misses.csv, and with expected-misses-authors.csv, whose requests are those
 * without repeats.
 */
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/util.h"
#include "lib/policy/instance.h"
#include "tests/harness.h"
#include "tests/unit/policy_traces.h"

/* Builds that count every access or branch. */
#ifdef TEST_SLOW
#define SLOW 1
#else
#define SLOW TEST_TSAN
#endif

#define PAGES 200
#define NOWHERE UINT32_MAX

/* A sequence of pages, oldest first. */
struct sequence {
	uint32_t n;
	uint32_t page[PAGES];
};

static bool sequence_has(const struct sequence *s, uint32_t page)
{
	for (uint32_t i = 0; i < s->n; i++) {
		if (s->page[i] == page)
			return true;
	}
	return false;
}

static void sequence_remove(struct sequence *s, uint32_t page)
{
	uint32_t kept = 0;

	for (uint32_t i = 0; i < s->n; i++) {
		if (s->page[i] != page)
			s->page[kept++] = s->page[i];
	}
	s->n = kept;
}

static void sequence_append(struct sequence *s, uint32_t page)
{
	sequence_remove(s, page);
	s->page[s->n++] = page;
}

struct plain {
	uint32_t frames, resident;
	bool is_resident[PAGES];
	/* LIRS */
	struct sequence stack, queue;
	bool is_lir[PAGES];
	uint32_t nlir, stack_most;
	/* CLOCK-Pro: the clock is a sequence whose first page is the oldest; the hands are pages. */
	struct sequence clock;
	bool is_hot[PAGES], in_test[PAGES], is_referenced[PAGES], is_adaptive;
	uint32_t hot_hand, cold_hand, test_hand, nhot, nghosts, cold_least, cold_most;
	int level;
	/* LRU-2 */
	uint64_t now, first[PAGES], second[PAGES], last[PAGES], period;
	struct sequence history;
};

/* LIRS */

static void lirs_prune(struct plain *p)
{
	uint32_t i = 0;

	while (i < p->stack.n && !p->is_lir[p->stack.page[i]])
		i++;
	memmove(p->stack.page, p->stack.page + i, (p->stack.n - i) * sizeof(p->stack.page[0]));
	p->stack.n -= i;
}

static bool lirs_request(struct plain *p, uint32_t page)
{
	uint32_t hirs = HMM__MAX(p->frames / 100, 2u), most;
	bool hit = p->is_resident[page], was_in_stack = sequence_has(&p->stack, page);

	hirs = HMM__MIN(hirs, HMM__MAX(p->frames - 1, 1u));
	most = p->frames - hirs;
	if (!hit && p->resident == p->frames) {
		p->is_resident[p->queue.page[0]] = false;
		sequence_remove(&p->queue, p->queue.page[0]);
		p->resident--;
	}
	p->resident += !hit;
	p->is_resident[page] = true;
	sequence_remove(&p->queue, page);
	sequence_append(&p->stack, page);
	if (!p->is_lir[page] && (was_in_stack || p->nlir < most)) {
		p->is_lir[page] = true;
		if (++p->nlir > most) {
			uint32_t bottom = p->stack.page[0];

			p->is_lir[bottom] = false;
			p->nlir--;
			sequence_append(&p->queue, bottom);
		}
	} else if (!p->is_lir[page]) {
		sequence_append(&p->queue, page);
	}
	lirs_prune(p);
	for (uint32_t i = 0; p->stack.n > p->stack_most && i < p->stack.n; i++) {
		if (!p->is_lir[p->stack.page[i]])
			sequence_remove(&p->stack, p->stack.page[i]);
	}
	return hit;
}

/* CLOCK-Pro */

static uint32_t clock_index(const struct plain *p, uint32_t page)
{
	for (uint32_t i = 0; i < p->clock.n; i++) {
		if (p->clock.page[i] == page)
			return i;
	}
	ck_abort_msg("page %" PRIu32 " is not in the clock", page);
	return 0;
}

static uint32_t clock_next(const struct plain *p, uint32_t page)
{
	return p->clock.page[(clock_index(p, page) + 1) % p->clock.n];
}

static void clock_take(struct plain *p, uint32_t page)
{
	uint32_t next = clock_next(p, page);

	p->hot_hand = p->hot_hand == page ? next : p->hot_hand;
	p->test_hand = p->test_hand == page ? next : p->test_hand;
	sequence_remove(&p->clock, page);
	p->in_test[page] = p->is_referenced[page] = false;
}

/* The first of the sequence is what is oldest at the start; pages that the hot hand passed stay there. */
static void clock_put(struct plain *p, uint32_t page)
{
	p->clock.page[p->clock.n++] = page;
	if (p->clock.n == 1)
		p->hot_hand = p->test_hand = page;
}

static void clock_end_test(struct plain *p, uint32_t page)
{
	p->test_hand = clock_next(p, page);
	if (p->is_hot[page])
		return;
	p->in_test[page] = p->is_referenced[page] = false;
	if (p->is_resident[page])
		return;
	p->level -= p->is_adaptive;
	p->nghosts--;
	clock_take(p, page);
}

static void clock_limit(struct plain *p)
{
	while (p->nghosts > p->frames)
		clock_end_test(p, p->test_hand);
}

/* Bit 0: it met the page that it ran for; bit 1: a page became cold. */
static int clock_run_hot(struct plain *p, uint32_t for_page)
{
	int result = 0;

	while (result == 0 || !p->is_hot[p->hot_hand]) {
		uint32_t page = p->hot_hand, before;

		p->hot_hand = clock_next(p, page);
		if (p->is_hot[page]) {
			bool was_referenced = p->is_referenced[page];

			clock_take(p, page);
			clock_put(p, page);
			if (!was_referenced) {
				p->is_hot[page] = false;
				p->nhot--;
				result |= 2;
			}
		} else if (page == for_page) {
			result |= 1;
		}
		before = p->clock.page[(clock_index(p, p->hot_hand) + p->clock.n - 1) % p->clock.n];
		if (before == p->test_hand) {
			clock_end_test(p, before);
			clock_limit(p);
		}
	}
	return result;
}

static void clock_next_cold(struct plain *p)
{
	while (p->is_hot[p->cold_hand])
		p->cold_hand = clock_next(p, p->cold_hand);
}

static void clock_again(struct plain *p, uint32_t page, bool hot)
{
	p->cold_hand = clock_next(p, page);
	clock_take(p, page);
	clock_put(p, page);
	p->is_hot[page] = hot;
	p->nhot += hot;
}

/* The page under the cold hand was used in its test period; true: it is out of it now. */
static bool clock_spare(struct plain *p, uint32_t page)
{
	int cold = (int)(p->frames - p->nhot), level, result;

	if ((p->level > 0 && cold >= (int)p->cold_most) || (p->level < 0 && cold <= (int)p->cold_least))
		p->level = 0;
	level = p->level;
	if (level < 0) {
		clock_again(p, page, true);
		p->level++;
		return false;
	}
	result = clock_run_hot(p, page);
	if (level == 0) {
		if (result == 1)
			return true;
		clock_again(p, page, true);
		return false;
	}
	p->level -= result != 1;
	if (result & 1)
		return true;
	p->is_referenced[clock_next(p, page)] = true;
	clock_again(p, page, false);
	p->in_test[page] = true;
	return false;
}

static void clock_evict(struct plain *p)
{
	for (;; clock_next_cold(p)) {
		uint32_t page = p->cold_hand;

		if (p->is_referenced[page] && p->in_test[page] && !clock_spare(p, page))
			continue;
		p->is_resident[page] = false;
		p->resident--;
		p->cold_hand = clock_next(p, page);
		if (p->in_test[page])
			p->nghosts++;
		else
			clock_take(p, page);
		clock_next_cold(p);
		clock_limit(p);
		return;
	}
}

static void clock_admit(struct plain *p, uint32_t page)
{
	bool is_hot = p->resident + p->cold_least < p->frames;
	int result;

	if (p->resident == p->frames)
		clock_evict(p);
	if (sequence_has(&p->clock, page)) {
		result = clock_run_hot(p, page);
		is_hot = result != 1;
		if (is_hot)
			p->level += p->is_adaptive;
		if (sequence_has(&p->clock, page)) {
			clock_take(p, page);
			p->nghosts--;
		}
	}
	if (!is_hot && p->cold_hand == NOWHERE)
		p->cold_hand = page;
	p->is_resident[page] = true;
	p->resident++;
	clock_put(p, page);
	p->is_hot[page] = is_hot;
	p->nhot += is_hot;
	p->in_test[page] = !is_hot;
	p->is_referenced[page] = false;
}

static bool clockpro_request(struct plain *p, uint32_t page)
{
	if (p->frames != 0 && p->clock.n == 0) {
		p->cold_hand = NOWHERE;
		p->cold_least = HMM__MAX(p->is_adaptive ? p->frames / 100 : p->frames / 20, 2u);
		p->cold_most = HMM__MAX(p->is_adaptive ? p->frames * 99 / 100 : p->frames / 20, 2u);
	}
	if (p->is_resident[page]) {
		p->is_referenced[page] = true;
		return true;
	}
	clock_admit(p, page);
	return false;
}

static bool adaptive_request(struct plain *p, uint32_t page)
{
	p->is_adaptive = true;
	return clockpro_request(p, page);
}

/* LRU-2 */

static uint32_t lru2_victim(const struct plain *p)
{
	uint32_t victim = NOWHERE;

	for (int eligible = 1; eligible >= 0 && victim == NOWHERE; eligible--) {
		for (uint32_t page = 0; page < PAGES; page++) {
			if (!p->is_resident[page] || (eligible && p->now - p->last[page] <= p->period))
				continue;
			if (victim == NOWHERE || p->second[page] < p->second[victim] ||
			    (p->second[page] == p->second[victim] && p->last[page] < p->last[victim]))
				victim = page;
		}
	}
	return victim;
}

static bool lru2_request(struct plain *p, uint32_t page)
{
	p->now++;
	if (p->is_resident[page]) {
		if (p->now - p->last[page] > p->period) {
			p->second[page] = p->first[page] + (p->last[page] - p->first[page]);
			p->first[page] = p->now;
		}
		p->last[page] = p->now;
		return true;
	}
	p->second[page] = sequence_has(&p->history, page) ? p->first[page] : 0;
	sequence_remove(&p->history, page);
	if (p->resident == p->frames) {
		uint32_t victim = lru2_victim(p);

		p->is_resident[victim] = false;
		p->resident--;
		if (p->history.n == p->frames)
			sequence_remove(&p->history, p->history.page[0]);
		sequence_append(&p->history, victim);
	}
	p->is_resident[page] = true;
	p->resident++;
	p->first[page] = p->last[page] = p->now;
	return false;
}

/* Made-up traces */

struct algorithm {
	const char *name, *params;
	bool (*request)(struct plain *plain, uint32_t page);
	uint32_t stack, period;
	bool without_repeats;
};

static const struct algorithm algorithms[] = {
	{ "lirs", "", lirs_request, 2500, 0, false },
	{ "lirs", "stack=2,repeats=0", lirs_request, 2, 0, true },
	{ "lirs", "stack=1.5,ghosts=10000", lirs_request, 1, 0, false },
	{ "clockpro", "", clockpro_request, 0, 0, true },
	{ "clockpro-adaptive", "", adaptive_request, 0, 0, true },
	{ "lru2", "", lru2_request, 0, 0, false },
	{ "lru2", "correlated=1", lru2_request, 0, 1, false },
	{ "lru2", "correlated=15", lru2_request, 0, 15, false },
};

static void fail_on_report(void *arg, const char *text)
{
	(void)arg;
	ck_abort_msg("%s", text);
}

/* Through the core, whose ghosts are bounded by what the policy asks for. */
static uint64_t misses_in_core(const struct algorithm *algorithm, const struct trace *trace, uint32_t frames)
{
	uint32_t where[PAGES], held[PAGES], used = 0, frame;
	struct hmm__policy *policy;
	uint64_t misses = 0;
	char spec[64];

	snprintf(spec, sizeof(spec), "%s:%s", algorithm->name, algorithm->params);
	ck_assert_int_eq(hmm__policy_create(spec, frames, frames, true, fail_on_report, NULL, &policy), 0);
	memset(where, 0xff, sizeof(where));
	for (uint32_t i = 0; i < trace->length; i++) {
		uint32_t page = trace->pages[i];

		frame = where[page];
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
	hmm__policy_destroy(policy);
	return misses;
}

static void compare(const struct algorithm *algorithm, const struct trace *trace, int kind, uint32_t frames)
{
	struct plain *plain = calloc(1, sizeof(*plain));
	uint8_t *hits = calloc(trace->length, 1);
	uint64_t misses = 0;

	ck_assert(plain != NULL && hits != NULL);
	plain->frames = frames;
	plain->stack_most = algorithm->stack == 1 ? frames + frames / 2 : algorithm->stack * frames;
	plain->period = algorithm->period;
	trace_misses(hmm_policy_lookup(algorithm->name), algorithm->params, trace, frames, hits);
	for (uint32_t i = 0; i < trace->length; i++) {
		bool hit = algorithm->without_repeats && i > 0 && trace->pages[i] == trace->pages[i - 1] ?
		           true : algorithm->request(plain, trace->pages[i]);

		misses += !hit;
		if (hit != hits[i])
			ck_abort_msg("%s:%s, pattern %d, %" PRIu32 " frames, request %" PRIu32, algorithm->name,
			             algorithm->params, kind, frames, i);
	}
	ck_assert_uint_eq(misses_in_core(algorithm, trace, frames), misses);
	free(plain);
	free(hits);
}

START_TEST(every_request_hits_or_misses_as_defined)
{
	static const uint32_t frame_counts[] = { 1, 2, 3, 5, 10, 47, 90, 150, 199 };
	const struct algorithm *algorithm = &algorithms[_i];
	uint64_t seed = test_seed();

	for (int kind = 0; kind < TRACE_KINDS; kind++) {
		struct trace trace;

		trace_make(&trace, kind, 4000, PAGES, &seed);
		for (size_t f = 0; f < HMM__ARRAY_SIZE(frame_counts); f++) {
			if (frame_counts[f] >= 5 || strncmp(algorithm->name, "clockpro", 8) != 0)
				compare(algorithm, &trace, kind, frame_counts[f]);
		}
		trace_free(&trace);
	}
}
END_TEST

/* Recorded traces */

struct row {
	char trace[64];
	uint32_t frames;
	uint64_t misses[3];
	bool is_of_authors; /* lirs, clockpro, clockpro_adaptive; else lirs */
};

static struct row *rows;
static size_t nrows;
static const char *traces[128];
static int ntraces;

static void read_row(const char *line, bool is_of_authors)
{
	struct row row = { .is_of_authors = is_of_authors };
	char policy[32];

	if (is_of_authors) {
		if (sscanf(line, "%63[^,],%" SCNu32 ",%" SCNu64 ",%" SCNu64 ",%" SCNu64, row.trace, &row.frames, &row.misses[0],
		           &row.misses[1], &row.misses[2]) != 5)
			return;
	} else if (sscanf(line, "%63[^,],%31[^,],%" SCNu32 ",%" SCNu64, row.trace, policy, &row.frames,
	                  &row.misses[0]) != 4 || strcmp(policy, "lirs") != 0) {
		return;
	}
	rows = realloc(rows, (nrows + 1) * sizeof(*rows));
	rows[nrows++] = row;
}

static void read_rows(void)
{
	static const char *const names[] = { "expected-misses.csv", "expected-misses-authors.csv" };
	char path[600], line[256];

	for (int i = 0; i < 2; i++) {
		FILE *file;

		snprintf(path, sizeof(path), "%s/%s", trace_directory(), names[i]);
		file = fopen(path, "r");
		while (file != NULL && fgets(line, sizeof(line), file) != NULL)
			read_row(line, i == 1);
		if (file != NULL)
			fclose(file);
	}
	for (size_t i = 0; i < nrows && ntraces < (int)HMM__ARRAY_SIZE(traces); i++) {
		int t = 0;

		while (t < ntraces && strcmp(traces[t], rows[i].trace) != 0)
			t++;
		if (t == ntraces)
			traces[ntraces++] = rows[i].trace;
	}
}

/* Leave out requests for the page of the request before. */
static void drop_repeats(struct trace *trace)
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < trace->length; i++) {
		if (n == 0 || trace->pages[i] != trace->pages[n - 1])
			trace->pages[n++] = trace->pages[i];
	}
	trace->length = n;
}

static void compare_row(const struct row *row, const struct trace *trace)
{
	static const char *const names[] = { "lirs", "clockpro", "clockpro-adaptive" };

	for (int i = 0; i < (row->is_of_authors ? 3 : 1); i++) {
		uint64_t misses = trace_misses(hmm_policy_lookup(names[i]), "", trace, row->frames, NULL);

		if (misses != row->misses[i])
			ck_abort_msg("%s, %s, %" PRIu32 " frames: %" PRIu64 " misses, expected %" PRIu64, row->trace, names[i],
			             row->frames, misses, row->misses[i]);
	}
}

START_TEST(recorded_traces_miss_exactly_as_often_as_expected)
{
	struct trace trace = { 0 };
	int compared = 0;

	if (ntraces == 0)
		test_skip("rows of expected-misses.csv: no $HMM_SHARED/data");
	if (system("command -v zstd >/dev/null") != 0)
		test_skip("rows of expected-misses.csv: no zstd to unpack the traces");
	ck_assert_msg(trace_load(traces[_i], &trace), "can't unpack the trace %s", traces[_i]);
	for (int of_authors = 0; of_authors < 2; of_authors++) {
		if (of_authors)
			drop_repeats(&trace);
		for (size_t i = 0; i < nrows; i++) {
			if (strcmp(rows[i].trace, traces[_i]) != 0 || rows[i].is_of_authors != of_authors)
				continue;
			compare_row(&rows[i], &trace);
			compared += of_authors ? 3 : 1;
		}
	}
	ck_assert_int_ge(compared, 5);
	printf("# %s: %d counts of misses compared\n", traces[_i], compared);
	fflush(stdout);
	trace_free(&trace);
}
END_TEST

static Suite *suite(void)
{
	Suite *s = suite_create("policy_history");
	TCase *tc = tcase_create("exact");

	read_rows();
	tcase_set_timeout(tc, test_patience(120));
	tcase_add_loop_test(tc, every_request_hits_or_misses_as_defined, 0, (int)HMM__ARRAY_SIZE(algorithms));
	/* Minutes where every access or branch is counted, and nothing to find there that short ones do not show. */
	if (!SLOW)
		tcase_add_loop_test(tc, recorded_traces_miss_exactly_as_often_as_expected, 0, HMM__MAX(ntraces, 1));
	suite_add_tcase(s, tc);
	return s;
}

HMM_TEST_MAIN(suite)
