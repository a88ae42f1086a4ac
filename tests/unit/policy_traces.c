/* SPDX-License-Identifier: MIT */
/*
 * policy_traces.c - traces for tests of policies, and a driver that counts misses
 *
 * Check's assertions cost a system call each: in inner loops only failures call Check.
 */
#include "tests/unit/policy_traces.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NOWHERE UINT32_MAX
#define BATCH 256
#define AHEAD 16 /* places are fetched so many requests ahead; a trace has as many more entries */

uint64_t trace_random(uint64_t *state)
{
	uint64_t x = *state += 0x9e3779b97f4a7c15u;

	x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
	x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
	return x ^ (x >> 31);
}

static void *zeroed(size_t n, size_t size)
{
	void *p = calloc(n > 0 ? n : 1, size);

	if (p == NULL)
		ck_abort_msg("no memory");
	return p;
}

uint32_t trace_synthetic(int kind, uint32_t i, uint32_t npages, uint64_t *seed)
{
	uint64_t r = trace_random(seed);
	double u = (double)(trace_random(seed) >> 11) / 9007199254740992.0;

	switch (kind) {
	case 0:
		return i % npages;
	case 1:
		return r % 4 != 0 ? (uint32_t)(r >> 8) % (npages / 10 + 1) : i % npages;
	case 2:
		return (uint32_t)(r % npages);
	case 3: /* density 1/(3 x^(2/3)) on [0, 1) */
		return (uint32_t)(u * u * u * npages);
	case 4:
		return (uint32_t)((i / 3000 * 97 + (uint32_t)(u * u * npages)) % npages);
	case 5: /* the same page for i and i + 1, with i even */
		r = i / 2;
		u = (double)(trace_random(&r) >> 11) / 9007199254740992.0;
		return (uint32_t)(u * u * npages);
	default:
		return i / 2000 % 2 == 0 ? i % (npages / 2 + 1) : npages / 2 + i % (npages / 3 + 1);
	}
}

void trace_make(struct trace *trace, int kind, uint32_t length, uint32_t npages, uint64_t *seed)
{
	trace->pages = zeroed(length + AHEAD, sizeof(uint32_t));
	trace->length = length;
	trace->npages = npages;
	for (uint32_t i = 0; i < length; i++)
		trace->pages[i] = trace_synthetic(kind, i, npages, seed);
}

const char *trace_directory(void)
{
	static char directory[512];
	const char *shared = getenv("HMM_SHARED"), *slash = strrchr(__FILE__, '/');

	if (shared != NULL)
		snprintf(directory, sizeof(directory), "%s/data", shared);
	else
		snprintf(directory, sizeof(directory), "%.*s/../../../shared/data", slash ? (int)(slash - __FILE__) : 1,
		         slash ? __FILE__ : ".");
	return directory;
}

/* Open addressing; a place holds the index of a first request, plus one. */
static void number_densely(const uint64_t *raw, size_t n, struct trace *trace)
{
	size_t size = 1;
	uint32_t *table;

	while (size < 2 * n)
		size *= 2;
	table = zeroed(size, sizeof(*table));
	trace->pages = zeroed(n + AHEAD, sizeof(uint32_t));
	trace->length = (uint32_t)n;
	trace->npages = 0;
	for (size_t i = 0; i < n; i++) {
		size_t at = (raw[i] * 0x9e3779b97f4a7c15u) >> 20 & (size - 1);

		while (table[at] != 0 && raw[table[at] - 1] != raw[i])
			at = (at + 1) & (size - 1);
		if (table[at] == 0) {
			table[at] = (uint32_t)i + 1;
			trace->pages[i] = trace->npages++;
		} else {
			trace->pages[i] = trace->pages[table[at] - 1];
		}
	}
	free(table);
}

bool trace_load(const char *name, struct trace *trace)
{
	char command[700];
	size_t size = 1 << 16, n = 0, got;
	uint64_t *raw = zeroed(size, sizeof(*raw));
	FILE *pipe;

	snprintf(command, sizeof(command), "zstd -dcq '%s/traces/%s.u64.zst'", trace_directory(), name);
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

void trace_free(struct trace *trace)
{
	free(trace->pages);
	trace->pages = NULL;
}

/* One run of one policy: what the core would keep. */
struct place {
	uint32_t frame;  /* NOWHERE: not resident */
	uint32_t cookie; /* of a page that left */
};

struct run {
	const struct hmm_policy_ops *ops;
	void *state;
	struct place *places; /* by page */
	uint32_t *held;       /* by frame */
	uint32_t used;
};

static void *state_of(const struct hmm_policy_ops *ops, const char *params, uint32_t frames)
{
	struct hmm_policy_sizes sizes = { .size = sizeof(sizes) };
	void *state;

	if (ops->sizes == NULL)
		sizes.state = ops->state_size(frames);
	else if (ops->sizes(frames, params, &sizes) != 0)
		ck_abort_msg("%s: parameters '%s'", ops->name, params);
	sizes.state = (sizes.state + 63) & ~(size_t)63;
	state = aligned_alloc(64, sizes.state);
	if (state == NULL)
		ck_abort_msg("no memory");
	memset(state, 0, sizes.state);
	if (ops->start(state, frames, frames, params) != 0)
		ck_abort_msg("%s does not start with '%s'", ops->name, params);
	return state;
}

static void take_frame(struct run *run, uint32_t page, uint32_t frames)
{
	const struct hmm_policy_ops *ops = run->ops;
	struct hmm_placement placement = { .size = sizeof(placement) };
	uint32_t frame = run->used;

	if (ops->miss != NULL) {
		ops->miss(run->state, page, run->places[page].cookie, HMM_ACCESS_READ);
		run->places[page].cookie = 0;
	}
	if (frame < frames) {
		run->used++;
	} else {
		if (ops->choose(run->state, 1, &frame, UINT32_MAX) != 1 || frame >= frames)
			ck_abort_msg("%s: no victim", ops->name);
		run->places[run->held[frame]].cookie = ops->evicted(run->state, frame, run->held[frame]);
		run->places[run->held[frame]].frame = NOWHERE;
	}
	run->places[page].frame = frame;
	run->held[frame] = page;
	if (ops->placed != NULL)
		ops->placed(run->state, frame, page, &placement);
	else
		ops->inserted(run->state, frame, page, 0, HMM_ACCESS_READ);
}

/* Hits are told in batches, before the next miss. */
static uint64_t run_trace(struct run *run, const struct trace *trace, uint32_t frames, uint8_t *hits)
{
	const struct hmm_policy_ops *ops = run->ops;
	const struct place *places = run->places;
	const uint32_t *pages = trace->pages;
	uint32_t batch[BATCH], n = 0;
	uint64_t misses = 0;

	for (uint32_t i = 0; i < trace->length; i++) {
		uint32_t frame = places[pages[i]].frame;

		__builtin_prefetch(&places[pages[i + AHEAD]]);
		if (hits != NULL)
			hits[i] = frame != NOWHERE;
		if (frame != NOWHERE) {
			batch[n++] = frame;
			if (n < BATCH)
				continue;
		}
		if (n > 0 && ops->touched != NULL)
			ops->touched(run->state, batch, n, HMM_ACCESS_READ);
		n = 0;
		if (frame == NOWHERE) {
			take_frame(run, pages[i], frames);
			misses++;
		}
	}
	return misses;
}

uint64_t trace_misses(const struct hmm_policy_ops *ops, const char *params, const struct trace *trace, uint32_t frames,
                      uint8_t *hits)
{
	struct run run = {
		.ops = ops,
		.state = state_of(ops, params, frames),
		.places = zeroed(trace->npages, sizeof(struct place)),
		.held = zeroed(frames, sizeof(uint32_t)),
	};
	uint64_t misses;

	for (uint32_t i = 0; i < trace->npages; i++)
		run.places[i].frame = NOWHERE;
	misses = run_trace(&run, trace, frames, hits);
	if (ops->stop != NULL)
		ops->stop(run.state);
	free(run.state);
	free(run.places);
	free(run.held);
	return misses;
}
