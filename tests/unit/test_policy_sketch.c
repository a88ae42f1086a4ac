/* SPDX-License-Identifier: MIT */
/*
 * test_policy_sketch.c - wtinylfu and mglru against plain implementations, and what they are known for
 *
 * The plain ones are written from the descriptions (Caffeine's classes; Linux' documentation and the heads of the two
 * files): pages in arrays searched one by one, counters one a byte, no list and no frame.  They agree with the
 * policies on every single request.
 */
#include <inttypes.h>

#include "lib/policy/instance.h"
#include "tests/unit/policy_single.h"

#define PAGES 400
#define REQUESTS 20000

/* W-TinyLFU */

enum part { OUT, WINDOW, PROBATION, PROTECTED };

struct plain_tinylfu {
	enum part part[PAGES];
	uint64_t age[PAGES]; /* time of the last move to the young end */
	uint64_t time;
	uint8_t counter[65536];
	uint64_t counters, uses, sample;
	int64_t window_most, protected_most, frames;
	uint64_t hits, misses;
	double step, last_ratio;
	bool climbs;
	uint64_t random;
};

static int64_t tinylfu_count(const struct plain_tinylfu *t, enum part part)
{
	int64_t n = 0;

	for (int i = 0; i < PAGES; i++)
		n += t->part[i] == part;
	return n;
}

/* The page at the old end, -1 if there is none. */
static int tinylfu_oldest(const struct plain_tinylfu *t, enum part part)
{
	int oldest = -1;

	for (int i = 0; i < PAGES; i++) {
		if (t->part[i] == part && (oldest < 0 || t->age[i] < t->age[oldest]))
			oldest = i;
	}
	return oldest;
}

static void tinylfu_put(struct plain_tinylfu *t, int page, enum part part)
{
	t->part[page] = part;
	t->age[page] = ++t->time;
}

/* The four counters of a page: rows of 32 counters in a block of 128. */
static void tinylfu_counters(const struct plain_tinylfu *t, uint32_t page, uint64_t at[4])
{
	uint32_t x = page, y;

	x ^= x >> 17;
	x *= 0xed5ad4bb;
	x ^= x >> 11;
	x *= 0xac4c1b51;
	x ^= x >> 15;
	y = x * 0x31848bab;
	y ^= y >> 14;
	for (int row = 0; row < 4; row++) {
		uint32_t h = y >> row * 8;

		at[row] = x % (t->counters / 128) * 128 + (uint64_t)row * 32 + (h & 1) * 16 + (h >> 1) % 16;
	}
}

static int tinylfu_frequency(const struct plain_tinylfu *t, int page)
{
	uint64_t at[4];
	int least = 15;

	tinylfu_counters(t, (uint32_t)page, at);
	for (int row = 0; row < 4; row++)
		least = t->counter[at[row]] < least ? t->counter[at[row]] : least;
	return least;
}

static void tinylfu_use(struct plain_tinylfu *t, int page)
{
	uint64_t at[4], odd = 0;
	bool is_added = false;

	tinylfu_counters(t, (uint32_t)page, at);
	for (int row = 0; row < 4; row++) {
		if (t->counter[at[row]] < 15) {
			t->counter[at[row]]++;
			is_added = true;
		}
	}
	if (!is_added || ++t->uses < t->sample)
		return;
	for (uint64_t i = 0; i < t->counters; i++) {
		odd += t->counter[i] % 2;
		t->counter[i] /= 2;
	}
	t->uses = (t->uses - odd / 4) / 2;
}

static void tinylfu_demote(struct plain_tinylfu *t)
{
	while (tinylfu_count(t, PROTECTED) > t->protected_most)
		tinylfu_put(t, tinylfu_oldest(t, PROTECTED), PROBATION);
}

static void tinylfu_move_frames(struct plain_tinylfu *t, int64_t amount)
{
	int64_t quota, page;

	if (amount > 0) {
		quota = HMM__MIN(amount, t->protected_most);
		t->protected_most -= quota;
		t->window_most += quota;
		tinylfu_demote(t);
		for (; quota > 0; quota--) {
			page = tinylfu_oldest(t, PROBATION);
			if (page < 0)
				page = tinylfu_oldest(t, PROTECTED);
			if (page < 0)
				break;
			tinylfu_put(t, (int)page, WINDOW);
		}
		t->protected_most += quota;
		t->window_most -= quota;
	} else if (amount < 0) {
		quota = HMM__MIN(-amount, t->window_most - 1);
		t->protected_most += quota;
		t->window_most -= quota;
		for (; quota > 0 && (page = tinylfu_oldest(t, WINDOW)) >= 0; quota--)
			tinylfu_put(t, (int)page, PROBATION);
		t->protected_most -= quota;
		t->window_most += quota;
	}
}

static void tinylfu_climb(struct plain_tinylfu *t)
{
	double ratio, change, amount;

	if (!t->climbs || t->hits + t->misses < t->sample)
		return;
	ratio = (double)t->hits / (double)(t->hits + t->misses);
	change = ratio - t->last_ratio;
	amount = change >= 0 ? t->step : -t->step;
	t->last_ratio = ratio;
	t->hits = t->misses = 0;
	if (change >= 0.05 || change <= -0.05)
		t->step = 0.0625 * (double)t->frames * (amount >= 0 ? 1 : -1);
	else
		t->step = 0.98 * amount;
	tinylfu_move_frames(t, (int64_t)amount);
}

static bool tinylfu_admits(struct plain_tinylfu *t, int candidate, int victim)
{
	int frequency = tinylfu_frequency(t, candidate);

	if (frequency > tinylfu_frequency(t, victim))
		return true;
	if (frequency < 6)
		return false;
	t->random = t->random * 6364136223846793005u + 1442695040888963407u;
	return (t->random >> 32) % 128 == 0;
}

static void tinylfu_miss(struct plain_tinylfu *t, int page)
{
	bool is_full = tinylfu_count(t, OUT) == PAGES - t->frames;
	int candidate, victim;

	tinylfu_put(t, page, WINDOW);
	if (tinylfu_count(t, WINDOW) <= t->window_most) {
		ck_assert(!is_full); /* a full cache has a full window */
		return;
	}
	candidate = tinylfu_oldest(t, WINDOW);
	victim = tinylfu_oldest(t, PROBATION);
	if (is_full && (victim < 0 || !tinylfu_admits(t, candidate, victim))) {
		t->part[candidate] = OUT;
		return;
	}
	if (is_full)
		t->part[victim] = OUT;
	tinylfu_put(t, candidate, PROBATION);
}

static bool tinylfu_request(struct plain_tinylfu *t, int page)
{
	enum part part = t->part[page];

	tinylfu_use(t, page);
	if (part == OUT) {
		t->misses++;
		tinylfu_miss(t, page);
	} else {
		t->hits++;
		tinylfu_put(t, page, part == WINDOW ? WINDOW : PROTECTED);
		tinylfu_demote(t);
	}
	tinylfu_climb(t);
	return part != OUT;
}

static struct plain_tinylfu *tinylfu_create(uint32_t frames, double window, bool climbs, uint64_t sample)
{
	struct plain_tinylfu *t = zeroed(1, sizeof(*t));

	t->frames = frames;
	t->window_most = frames - (int64_t)((1 - window) * frames);
	t->window_most = HMM__MAX(t->window_most, (int64_t)1);
	t->protected_most = (int64_t)(0.8 * (double)(frames - t->window_most));
	for (t->counters = 128; t->counters < frames * 16ull; t->counters *= 2)
		;
	ck_assert_uint_le(t->counters, sizeof(t->counter));
	t->sample = sample * frames;
	t->step = -0.0625 * frames;
	t->climbs = climbs;
	t->random = 0x9e3779b97f4a7c15u;
	return t;
}

static const uint32_t frame_counts[] = { 1, 2, 3, 10, 64, 100, 199, 333, 400, 500 };

static const struct {
	const char *spec;
	double window;
	bool climbs;
	uint64_t sample;
} tinylfus[] = {
	{ "wtinylfu", 0.01, true, 10 },
	{ "wtinylfu:climb=0", 0.01, false, 10 },
	{ "wtinylfu:window=0.2,sample=3", 0.2, true, 3 },
	{ "wtinylfu:sample=1,window=0.5", 0.5, true, 1 },
};

START_TEST(wtinylfu_hits_and_misses_as_caffeine_does)
{
	uint64_t seed = test_seed();

	for (int kind = 0; kind < TRACE_KINDS; kind++) {
		for (size_t f = 0; f < HMM__ARRAY_SIZE(frame_counts); f++) {
			uint32_t frames = HMM__MIN(frame_counts[f], (uint32_t)PAGES);
			struct plain_tinylfu *t = tinylfu_create(frames, tinylfus[_i].window, tinylfus[_i].climbs,
			                                         tinylfus[_i].sample);
			struct single single;

			single_init(&single, tinylfus[_i].spec, frames, PAGES);
			for (uint32_t i = 0; i < REQUESTS / 4; i++) {
				uint32_t page = trace_synthetic(kind, i, PAGES, &seed);

				if (single_request(&single, page, HMM_ACCESS_READ) != tinylfu_request(t, (int)page))
					ck_abort_msg("pattern %d, %" PRIu32 " frames, request %" PRIu32, kind, frames, i);
			}
			single_fini(&single);
			free(t);
		}
	}
}
END_TEST

/* MGLRU */

struct plain_mglru {
	bool is_in[PAGES], has_left[PAGES];
	uint64_t list[PAGES], used[PAGES]; /* generation that it stands in, and of its last use */
	uint64_t stamp[PAGES];             /* time when it was put there */
	unsigned calls[PAGES], left_tier[PAGES];
	uint64_t left_at[PAGES];
	uint64_t time, min, max, n, frames;
	double refaulted[2][4], total[2][4]; /* now, and before */
	bool by_calls, is_used;
};

static unsigned plain_tier(unsigned calls)
{
	unsigned tier = 0;

	while (1u << tier < calls)
		tier++;
	return tier;
}

static void mglru_put(struct plain_mglru *m, uint32_t page, uint64_t generation, unsigned calls)
{
	m->is_in[page] = true;
	m->list[page] = m->used[page] = generation;
	m->calls[page] = calls;
	m->stamp[page] = ++m->time;
}

static uint64_t whole(double now, double before)
{
	return (uint64_t)now + (uint64_t)before;
}

static unsigned mglru_highest(const struct plain_mglru *m)
{
	for (unsigned tier = 1; tier < 4; tier++) {
		uint64_t refaults = whole(m->refaulted[0][tier], m->refaulted[1][tier]);
		uint64_t total = whole(m->total[0][tier], m->total[1][tier]);
		uint64_t base_refaults = whole(m->refaulted[0][0], m->refaulted[1][0]) + 1;
		uint64_t base_total = whole(m->total[0][0], m->total[1][0]) + 1 + m->frames / 64;

		if (refaults >= 1 + m->frames / 64 && 2 * refaults * base_total > 3 * base_refaults * total)
			return tier - 1;
	}
	return 3;
}

static void mglru_pass_generation(struct plain_mglru *m)
{
	for (unsigned tier = 0; tier < 4; tier++) {
		m->refaulted[1][tier] = (double)(whole(m->refaulted[0][tier], m->refaulted[1][tier]) / 2);
		m->total[1][tier] = (double)(whole(m->total[0][tier], m->total[1][tier]) / 2);
		m->refaulted[0][tier] = m->total[0][tier] = 0;
	}
	m->min++;
}

static void mglru_evict(struct plain_mglru *m)
{
	unsigned highest = mglru_highest(m);

	for (;;) {
		int page = -1;

		if (m->max < m->min + 2) {
			m->max++;
			m->is_used = false;
		}
		for (int i = 0; i < PAGES; i++) {
			if (m->is_in[i] && m->list[i] == m->min && (page < 0 || m->stamp[i] < m->stamp[page]))
				page = i;
		}
		if (page < 0) {
			mglru_pass_generation(m);
		} else if (m->used[page] != m->min) {
			mglru_put(m, (uint32_t)page, m->used[page], 0);
		} else if (plain_tier(m->calls[page]) > highest) {
			m->total[0][plain_tier(m->calls[page])]++;
			mglru_put(m, (uint32_t)page, m->min + 1, 0);
		} else {
			m->is_in[page] = false;
			m->has_left[page] = true;
			m->left_at[page] = m->min;
			m->left_tier[page] = plain_tier(m->calls[page]);
			m->total[0][m->left_tier[page]]++;
			return;
		}
	}
}

static bool mglru_request(struct plain_mglru *m, uint32_t page)
{
	bool hit = m->is_in[page];

	if (hit && m->by_calls) {
		m->calls[page] += m->calls[page] < 5;
	} else if (hit) {
		m->used[page] = m->max;
	} else {
		if (m->has_left[page] && m->max - m->left_at[page] < 4)
			m->refaulted[0][m->left_tier[page]]++;
		if (m->n == m->frames)
			mglru_evict(m);
		else
			m->n++;
		mglru_put(m, page, m->by_calls ? m->min + 1 : m->max, m->by_calls);
	}
	m->is_used = true;
	return hit;
}

static void mglru_tick(struct plain_mglru *m)
{
	if (m->is_used && m->max < m->min + 3) {
		m->max++;
		m->is_used = false;
	}
}

/* _i: bit 0: by calls; bit 1: time passes, too. */
START_TEST(mglru_hits_and_misses_as_described)
{
	uint64_t seed = test_seed();

	for (int kind = 0; kind < TRACE_KINDS; kind++) {
		for (size_t f = 0; f < HMM__ARRAY_SIZE(frame_counts); f++) {
			struct plain_mglru *m = zeroed(1, sizeof(*m));
			struct single single;

			m->frames = HMM__MIN(frame_counts[f], (uint32_t)PAGES);
			m->max = 2;
			m->by_calls = _i % 2 != 0;
			single_init(&single, m->by_calls ? "mglru:calls=1" : "mglru", (uint32_t)m->frames, PAGES);
			for (uint32_t i = 0; i < REQUESTS; i++) {
				uint32_t page = trace_synthetic(kind, i, PAGES, &seed);

				if (single_request(&single, page, HMM_ACCESS_READ) != mglru_request(m, page))
					ck_abort_msg("pattern %d, %" PRIu64 " frames, request %" PRIu32, kind, m->frames, i);
				if (_i / 2 != 0 && trace_random(&seed) % 50 == 0) {
					single.ops->tick(single.state);
					mglru_tick(m);
				}
			}
			single_fini(&single);
			free(m);
		}
	}
}
END_TEST

/* What they are known for */

static uint64_t misses_of(const char *name, const char *params, uint32_t frames, const struct trace *trace)
{
	return trace_misses(hmm_policy_lookup(name), params, trace, frames, NULL);
}

/* Misses where frames are freed ahead of need, in batches, as a pager does. */
static uint64_t misses_in_batches(const char *spec, uint32_t frames, uint32_t batch, const struct trace *trace)
{
	uint32_t *where = zeroed(trace->npages, sizeof(uint32_t)), *held = zeroed(frames, sizeof(uint32_t));
	uint32_t *free_frames = zeroed(frames, sizeof(uint32_t)), nfree = frames, victims[64];
	struct hmm__policy *policy = NULL;
	uint64_t misses = 0;

	memset(where, 0xff, trace->npages * sizeof(uint32_t));
	for (uint32_t i = 0; i < frames; i++)
		free_frames[i] = frames - 1 - i;
	ck_assert_int_eq(hmm__policy_create(spec, frames, frames, false, NULL, NULL, &policy), 0);
	for (uint32_t i = 0; i < trace->length; i++) {
		uint32_t page = trace->pages[i];

		if (where[page] != NOWHERE) {
			hmm__policy_touched(policy, &where[page], 1, HMM_ACCESS_READ);
			continue;
		}
		misses++;
		hmm__policy_miss(policy, page, HMM_ACCESS_READ);
		where[page] = free_frames[--nfree];
		held[where[page]] = page;
		hmm__policy_inserted(policy, where[page], page, 0, HMM_ACCESS_READ);
		for (uint32_t n = nfree > 0 ? 0 : hmm__policy_choose(policy, batch, victims, 4 * batch); n-- > 0;) {
			hmm__policy_evicted(policy, victims[n], held[victims[n]]);
			where[held[victims[n]]] = NOWHERE;
			free_frames[nfree++] = victims[n];
		}
	}
	ck_assert_uint_eq(hmm__policy_errors(policy), 0);
	hmm__policy_destroy(policy);
	free(where);
	free(held);
	free(free_frames);
	return misses;
}

/* A quarter of all requests go to 50 hot pages, the others are a scan that never ends; 100 frames. */
START_TEST(a_scan_does_not_drive_out_what_is_frequent)
{
	enum { N = 200000, HOT = 50 };
	uint64_t seed = test_seed(), hot = 0;
	struct trace trace;

	trace_make(&trace, 0, N, HOT + N, &seed);
	for (uint32_t i = 0; i < N; i++) {
		bool is_hot = trace_random(&seed) % 4 == 0;

		trace.pages[i] = is_hot ? (uint32_t)(trace_random(&seed) % HOT) : HOT + i;
		hot += is_hot;
	}
	/* LRU keeps a hot page with probability about 0.4 */
	ck_assert_uint_ge(misses_of("lru", "", 100, &trace), N - hot + hot / 3);
	/* its window stays small on the whole, though the climber follows noise: some samples in a row may enlarge it */
	ck_assert_uint_le(misses_of("wtinylfu", "", 100, &trace), N - hot + hot / 4);
	ck_assert_uint_le(misses_of("wtinylfu", "climb=0", 100, &trace), N - hot + hot / 20);
	/* in batches six times as large as the window, too: who leaves it waits for the duel */
	ck_assert_uint_le(misses_in_batches("wtinylfu:climb=0,window=0.06", 164, 64, &trace), N - hot + hot / 20);
	/* a page that is used by calls again and again is spared: better than FIFO, which counts nothing */
	ck_assert_uint_lt(misses_of("mglru", "calls=1", 100, &trace), misses_of("fifo", "", 100, &trace) - hot / 50);
	trace_free(&trace);
}
END_TEST

/* A loop slightly larger than memory: LRU misses always. */
START_TEST(wtinylfu_keeps_part_of_a_loop)
{
	enum { N = 200000, LOOP = 1100 };
	uint64_t seed = 1;
	struct trace trace;

	trace_make(&trace, 0, N, LOOP, &seed);
	ck_assert_uint_eq(misses_of("lru", "", 1000, &trace), N);
	ck_assert_uint_le(misses_of("wtinylfu", "", 1000, &trace), N / 4);
	trace_free(&trace);
}
END_TEST

static double hit_percent(const char *name, const char *params, const struct trace *trace)
{
	return 100 - 100.0 * (double)misses_of(name, params, 1000, trace) / trace->length;
}

/* OLTP of the ARC paper with 1000 frames; hit ratios printed beside the trace: LRU 32.83, ARC 38.95, OPT 53.61. */
START_TEST(recorded_traces_come_out_as_others_measured)
{
	double lru, wtinylfu, fixed, mglru, clock;
	struct trace trace;

	if (!trace_load("arc_OLTP", &trace))
		test_skip("the trace arc_OLTP in $HMM_SHARED/data/traces, and zstd");
	lru = hit_percent("lru", "", &trace);
	clock = hit_percent("clock", "", &trace);
	wtinylfu = hit_percent("wtinylfu", "", &trace);
	fixed = hit_percent("wtinylfu", "climb=0", &trace);
	mglru = hit_percent("mglru", "", &trace);
	printf("# hit ratio: lru %.2f, clock %.2f, wtinylfu %.2f, without climbing %.2f, mglru %.2f\n", lru, clock,
	       wtinylfu, fixed, mglru);
	fflush(stdout);
	ck_assert(lru > 32.82 && lru < 32.84);
	/* with hill climbing it beats ARC on this trace, with a window of 1% it does not */
	ck_assert(wtinylfu > 38.95 && wtinylfu < 45);
	ck_assert(fixed > lru && fixed < 38.95);
	/* generations from reference bits approximate LRU, as CLOCK does */
	ck_assert(mglru > lru - 1 && mglru < lru + 2 && clock > lru - 1 && clock < lru + 2);
	trace_free(&trace);
}
END_TEST

static Suite *suite(void)
{
	Suite *s = suite_create("policy_sketch");
	TCase *exact = tcase_create("exact"), *known = tcase_create("known");

	tcase_set_timeout(exact, test_patience(120));
	tcase_add_loop_test(exact, wtinylfu_hits_and_misses_as_caffeine_does, 0, (int)HMM__ARRAY_SIZE(tinylfus));
	tcase_add_loop_test(exact, mglru_hits_and_misses_as_described, 0, 4);
	suite_add_tcase(s, exact);
	tcase_add_test(known, a_scan_does_not_drive_out_what_is_frequent);
	tcase_add_test(known, wtinylfu_keeps_part_of_a_loop);
	tcase_add_test(known, recorded_traces_come_out_as_others_measured);
	suite_add_tcase(s, known);
	return s;
}

HMM_TEST_MAIN(suite)
