/* SPDX-License-Identifier: MIT */
/*
 * opt.c - the optimal policy: evict the page whose next use is farthest (offline only)
 *
 * L. A. Belady, "A study of replacement algorithms for a virtual-storage computer", IBM Systems Journal 5(2), 1966.
 *
 * One pass backwards gives the next use of every request; it is kept with the trace, for all sizes.  Next uses of resident
 * pages are different positions of the trace, so they are a set of bits, with a tree of 64 children a node above it: the
 * farthest is found in log64(requests) steps, and so are insertion and removal.  Pages that are never used again stand on a
 * stack of their own and go first.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "passes.h"

#define NEVER UINT32_MAX
#define LEVELS 6
#define STORED 1
#define DIRTY 2
#define RESIDENT 4

struct positions {
	uint64_t *level[LEVELS]; /* level[0]: one bit a position */
	unsigned top;            /* the level of one word */
};

struct opt {
	struct positions positions;
	uint32_t *never, nnever; /* resident pages without a next use */
	uint8_t *flags;          /* by page */
	uint32_t resident;
};

static bool positions_init(struct positions *positions, size_t n)
{
	for (unsigned i = 0; i < LEVELS; i++) {
		n = (n + 63) / 64;
		positions->level[i] = calloc(n, sizeof(uint64_t));
		if (positions->level[i] == NULL)
			return false;
		positions->top = i;
		if (n == 1)
			break;
	}
	return true;
}

static void positions_add(struct positions *positions, uint32_t at)
{
	for (unsigned i = 0; i <= positions->top; i++, at >>= 6) {
		uint64_t *word = &positions->level[i][at >> 6], before = *word;

		*word |= UINT64_C(1) << (at & 63);
		if (before != 0)
			return;
	}
}

static void positions_remove(struct positions *positions, uint32_t at)
{
	for (unsigned i = 0; i <= positions->top; i++, at >>= 6) {
		uint64_t *word = &positions->level[i][at >> 6];

		*word &= ~(UINT64_C(1) << (at & 63));
		if (*word != 0)
			return;
	}
}

/* The greatest; there is one. */
static uint32_t positions_last(const struct positions *positions)
{
	uint32_t at = 0;

	for (unsigned i = positions->top + 1; i-- > 0;)
		at = at << 6 | (63 - (uint32_t)__builtin_clzll(positions->level[i][at]));
	return at;
}

static uint32_t *find_next_uses(const struct trace *trace)
{
	uint32_t *next = malloc((trace->n + 1) * sizeof(*next)), *last = malloc((size_t)trace->unique * sizeof(*last));

	if (next == NULL || last == NULL) {
		free(next);
		free(last);
		return NULL;
	}
	memset(last, 0xff, (size_t)trace->unique * sizeof(*last));
	for (size_t i = trace->n; i-- > 0;) {
		uint32_t page = record_page(trace->records[i]);

		if (record_operation(trace->records[i]) == OP_DISCARD)
			continue;
		next[i] = last[page];
		last[page] = (uint32_t)i;
	}
	free(last);
	return next;
}

static const uint32_t *next_uses(struct trace *trace)
{
	pthread_mutex_lock(&trace->lock);
	if (trace->next_use == NULL)
		trace->next_use = find_next_uses(trace);
	pthread_mutex_unlock(&trace->lock);
	return trace->next_use;
}

static void evict(struct opt *opt, const record *records, struct counts *counts)
{
	uint32_t page;

	if (opt->nnever != 0) {
		page = opt->never[--opt->nnever];
	} else {
		uint32_t at = positions_last(&opt->positions);

		positions_remove(&opt->positions, at);
		page = record_page(records[at]);
	}
	if (opt->flags[page] & DIRTY)
		opt->flags[page] |= STORED;
	counts->page_outs += (opt->flags[page] & DIRTY) != 0;
	opt->flags[page] &= STORED;
	opt->resident--;
}

static void request(struct opt *opt, const struct trace *trace, uint32_t at, uint32_t next, uint32_t frames,
                    struct counts *counts)
{
	record r = trace->records[at];
	uint32_t page = record_page(r);
	uint8_t *flags = &opt->flags[page];

	if (*flags & RESIDENT) {
		positions_remove(&opt->positions, at);
	} else {
		counts->misses++;
		counts->page_ins += (*flags & STORED) != 0;
		counts->zero_fills += (*flags & STORED) == 0;
		if (opt->resident == frames)
			evict(opt, trace->records, counts);
		*flags |= RESIDENT;
		opt->resident++;
	}
	if (record_operation(r) == OP_WRITE)
		*flags |= DIRTY;
	if (next == NEVER)
		opt->never[opt->nnever++] = page;
	else
		positions_add(&opt->positions, next);
}

int opt_run(struct trace *trace, uint32_t frames, const struct engine_options *options, struct counts *counts)
{
	bool keeps_garbage = options->discards == DISCARDS_BY_POLICY || options->discards == DISCARDS_IGNORED;
	const uint32_t *next;
	struct opt opt = { .nnever = 0 };
	int r = -ENOMEM;

	*counts = (struct counts){ .cold = trace->unique };
	if (trace->n >= NEVER)
		return -EFBIG;
	next = next_uses(trace);
	opt.never = malloc((size_t)trace->unique * sizeof(*opt.never));
	opt.flags = malloc(trace->unique);
	if (next != NULL && opt.never != NULL && opt.flags != NULL && positions_init(&opt.positions, trace->n)) {
		memset(opt.flags, options->is_anonymous ? 0 : STORED, trace->unique);
		for (uint32_t i = 0; i < trace->n; i++) {
			if (record_operation(trace->records[i]) != OP_DISCARD) {
				counts->requests++;
				request(&opt, trace, i, next[i], frames, counts);
			} else if (!keeps_garbage) {
				opt.flags[record_page(trace->records[i])] &= RESIDENT;
			}
		}
		r = 0;
	}
	free(opt.never);
	free(opt.flags);
	for (unsigned i = 0; i < LEVELS; i++)
		free(opt.positions.level[i]);
	return r;
}
