/* SPDX-License-Identifier: MIT */
/*
 * extra.c - measurements that are no workload: resident memory, a huge region, metadata
 */
#include "bench/fault/extra.h"

#include <errno.h>
#include <hurd-mm/hurd-mm.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "bench/fault/workload.h"

#define MIB (UINT64_C(1) << 20)
#define TIB (UINT64_C(1) << 40)
#define LINE_BYTES 64u
#define ROUNDS 7

struct memory {
	struct hmm_space *space;
	struct hmm_region *region;
	uint8_t *base;
	double map_ms; /* hmm_region_map alone */
};

static double milliseconds_since(uint64_t start)
{
	return (double)(now_ns() - start) / 1e6;
}

static int memory_open(struct memory *m, const struct extra_arg *arg, uint64_t budget, uint64_t bytes)
{
	struct hmm_swap_options swap = {
		.size = sizeof(swap),
		.directory = arg->directory,
		.direct = HMM_DIRECT_NEVER,
	};
	struct hmm_space_options options = {
		.size = sizeof(options),
		.policy = arg->policy,
		.engine = arg->engine,
	};
	struct hmm_region_options region = { .size = sizeof(region), .delivery = arg->delivery };
	int r = hmm_store_swap(&swap, &options.swap);
	uint64_t start;

	if (r < 0)
		return r;
	r = hmm_space_create(budget / hmm_page_size(), &options, &m->space);
	hmm_store_put(options.swap);
	if (r < 0)
		return r;
	start = now_ns();
	r = hmm_region_map(m->space, NULL, 0, bytes, &region, &m->region);
	m->map_ms = milliseconds_since(start);
	if (r < 0)
		hmm_space_destroy(m->space);
	else
		m->base = hmm_region_base(m->region);
	return r;
}

static void memory_close(struct memory *m)
{
	hmm_region_abandon(m->region);
	hmm_space_destroy(m->space);
}

/* ---- resident ---- */

/* Link the lines of memory into one random cycle (Sattolo's shuffle). */
static void link_lines(uint8_t *memory, const uint32_t *order, uint32_t lines)
{
	for (uint32_t i = 0; i < lines; i++) {
		void *next = memory + (size_t)order[(i + 1) % lines] * LINE_BYTES;

		*(void **)(memory + (size_t)order[i] * LINE_BYTES) = next;
	}
}

static void shuffle(uint32_t *order, uint32_t n)
{
	uint64_t random = 88172645463325252u;

	for (uint32_t i = 0; i < n; i++)
		order[i] = i;
	for (uint32_t i = n - 1; i > 0; i--) {
		uint32_t j = (uint32_t)((xorshift(&random) >> 32) % i), other = order[i];

		order[i] = order[j];
		order[j] = other;
	}
}

/* Follow the cycle once; *bad counts if it does not end where it began. */
static double chase(void *start, uint32_t lines, uint64_t *bad)
{
	uint64_t begin = now_ns();
	void *at = start;

	for (uint32_t i = 0; i < lines; i++)
		at = *(void *volatile *)at;
	*bad += at != start;
	return (double)(now_ns() - begin) / lines;
}

static int compare(const void *a, const void *b)
{
	const double *x = a, *y = b;

	return (*x > *y) - (*x < *y);
}

void extra_resident(void *arg, void *answer)
{
	struct extra_resident *out = answer;
	uint64_t bytes = 32 * MIB;
	uint32_t lines = (uint32_t)(bytes / LINE_BYTES), *order = malloc(lines * sizeof(*order));
	uint8_t *plain = aligned_alloc(PAGE_BYTES, bytes);
	double hurd[ROUNDS], other[ROUNDS];
	struct memory m;

	memset(out, 0, sizeof(*out));
	if (!order || !plain) {
		out->error = -ENOMEM;
		return;
	}
	out->bytes = bytes;
	out->error = memory_open(&m, arg, 4 * bytes, bytes);
	if (out->error)
		return;
	/* Both in pages of one size: large pages for one of them would compare something else. */
	madvise(plain, bytes, MADV_NOHUGEPAGE);
	shuffle(order, lines);
	link_lines(plain, order, lines);
	link_lines(m.base, order, lines);
	for (int i = 0; i < ROUNDS; i++) {
		other[i] = chase(plain, lines, &out->bad);
		hurd[i] = chase(m.base, lines, &out->bad);
	}
	qsort(hurd, ROUNDS, sizeof(*hurd), compare);
	qsort(other, ROUNDS, sizeof(*other), compare);
	out->hurd_ns = hurd[ROUNDS / 2];
	out->plain_ns = other[ROUNDS / 2];
	memory_close(&m);
}

/* ---- tebibyte ---- */

/* The i-th of the pages touched: both ends first, then anywhere. */
static uint64_t anywhere(uint64_t i)
{
	uint64_t npages = TIB / PAGE_BYTES;

	if (i < 2)
		return i ? npages - 1 : 0;
	return content_mix(i) % npages;
}

void extra_tebibyte(void *arg, void *answer)
{
	struct extra_tebibyte *out = answer;

	memset(out, 0, sizeof(*out));
	out->touched[0] = 1000;
	out->touched[1] = 20000; /* more than the budget holds */
	for (int round = 0; round < 2 && !out->error; round++) {
		struct memory m;
		uint64_t start;

		out->error = memory_open(&m, arg, 64 * MIB, TIB);
		if (out->error)
			return;
		if (round == 0)
			out->map_ms = m.map_ms;
		start = now_ns();
		for (uint64_t i = 0; i < out->touched[round]; i++)
			*(volatile uint64_t *)(m.base + anywhere(i) * PAGE_BYTES) = content_tag(anywhere(i));
		out->touch_ms[round] = milliseconds_since(start);
		for (uint64_t i = 0; i < out->touched[round]; i++)
			out->bad += *(volatile uint64_t *)(m.base + anywhere(i) * PAGE_BYTES) !=
			            content_tag(anywhere(i));
		start = now_ns();
		memory_close(&m);
		out->destroy_ms[round] = milliseconds_since(start);
	}
}

/* ---- metadata ---- */

static int metadata_after(const struct extra_arg *arg, uint64_t budget, uint64_t bytes, uint64_t touched,
                          uint64_t *ret_bytes)
{
	struct hmm_stats stats = { .size = sizeof(stats) };
	struct memory m;
	int r = memory_open(&m, arg, budget, bytes);

	if (r < 0)
		return r;
	for (uint64_t at = 0; at < touched; at += PAGE_BYTES)
		*(volatile uint64_t *)(m.base + at) = at + 1;
	r = hmm_space_stats(m.space, &stats);
	*ret_bytes = stats.metadata_bytes;
	memory_close(&m);
	return r;
}

void extra_metadata(void *arg, void *answer)
{
	const struct extra_arg *options = arg;
	struct extra_metadata *out = answer;
	uint64_t scale = options->quick ? 1 : 4, small = 8 * MIB, large = 32 * MIB;
	uint64_t few = 64 * MIB * scale, many = 128 * MIB * scale;
	uint64_t a = 0, b = 0, c = 0, empty = 0, huge = 0;
	double fixed;

	memset(out, 0, sizeof(*out));
	/* Three measurements for three unknowns: fixed, per page in use, per frame. */
	out->error = metadata_after(options, small, many, few, &a);
	if (!out->error)
		out->error = metadata_after(options, small, many, many, &b);
	if (!out->error)
		out->error = metadata_after(options, large, many, many, &c);
	if (!out->error)
		out->error = metadata_after(options, small, PAGE_BYTES, 0, &empty);
	if (!out->error)
		out->error = metadata_after(options, small, TIB, 0, &huge);
	if (out->error)
		return;
	out->bytes_per_page = ((double)b - (double)a) * PAGE_BYTES / (double)(many - few);
	out->bytes_per_frame = ((double)c - (double)b) * PAGE_BYTES / (double)(large - small);
	out->untouched_bytes = huge > empty ? huge - empty : 0;
	fixed = (double)b - out->bytes_per_page * (double)(many / PAGE_BYTES) -
	        out->bytes_per_frame * (double)(small / PAGE_BYTES);
	out->fixed_bytes = fixed > 0 ? (uint64_t)fixed : 0;
	/* All of it can't be less than what a page and a frame are said to cost at least: a word each. */
	out->bad = a == 0 || b < a;
}
