/* SPDX-License-Identifier: MIT */
/*
 * slots.c - which pages of a swap store are taken: a bitmap with summaries
 *
 * Level 0 has one bit a slot, set where the slot is used.  A bit of level k + 1 is set where a whole word of level k is:
 * so the next free slot is found in two words a level, however full the store is.  All levels are sparse tables
 * of zeros.
 *
 * B1  A bit of level k + 1 is set if and only if its word of level k is all ones.
 * B2  Slot 0 is marked used and not counted.  No slot at or above `end` is ever marked.
 * B3  No slot at or above `top` is used; what was ever used lies below it.
 * B4  top grows by itself only while at least half of the slots below it are used (or it is small), so the file
 *     is at most about twice as long as what it holds; past B4 only where no other run of the unit is free.
 * B5  No slot at or above `ceiling` is given out.  `above` counts those that are used there, from before it was lowered.
 *
 * The search looks at NEAR_WORDS words from the cursor.  Only where nothing at all is found does it look at everything; a
 * failure is remembered until something is freed, so that a full store is not searched again and again.
 */
#include "lib/store/slots.h"

#include <errno.h>
#include <stdbool.h>

#include <hurd-mm/base.h>

#include "lib/base/arena.h"
#include "lib/base/util.h"

#define MAX_LEVELS 6     /* 64^6 > 2^32 */
#define NEAR_WORDS 256   /* looked at before the longest run so far is good enough */
#define SMALL_STORE 4096 /* slots: below this the store just grows */

struct hmm__slots {
	uint64_t *level[MAX_LEVELS];
	uint64_t words[MAX_LEVELS];
	unsigned levels;
	uint64_t end;
	uint64_t ceiling; /* <= end */
	uint64_t above;
	uint64_t top;
	uint64_t cursor;
	uint64_t used;
	uint32_t hopeless; /* bit k: no run of 1 << k slots is free */
	unsigned chunk_shift;
	uint64_t mine; /* chunks that may be taken, by their numbers modulo 64; all ones: every one */
};

/* A search: what is asked for, and the best run so far. */
struct search {
	uint64_t want;
	uint64_t unit;
	uint64_t first;
	uint64_t n;
};

static uint64_t round_up(uint64_t x, uint64_t unit)
{
	return (x + unit - 1) & ~(unit - 1);
}

/* Ones from bit `first` on, n of them, n >= 1. */
static uint64_t ones(unsigned first, uint64_t n)
{
	return (n >= 64 ? ~(uint64_t)0 : ((uint64_t)1 << n) - 1) << first;
}

/* A word of level 0 became all ones, or is so no more: carry it upwards as far as it matters (B1). */
static void summarise(struct hmm__slots *slots, uint64_t word, bool full)
{
	for (unsigned k = 1; k < slots->levels; k++) {
		uint64_t *summary = &slots->level[k][word / 64];
		uint64_t before = *summary;

		*summary = full ? before | ones(word % 64, 1) : before & ~ones(word % 64, 1);
		if ((*summary == ~(uint64_t)0) == (before == ~(uint64_t)0))
			return;
		word /= 64;
	}
}

static void mark(struct hmm__slots *slots, uint64_t first, uint64_t n, bool used)
{
	for (uint64_t at = first, stop = first + n; at < stop;) {
		uint64_t step = HMM__MIN(64 - at % 64, stop - at);
		uint64_t *word = &slots->level[0][at / 64];
		uint64_t mask = ones(at % 64, step), before = *word;

		assert((before & mask) == (used ? 0 : mask));
		*word = used ? before | mask : before & ~mask;
		if (*word == ~(uint64_t)0 || before == ~(uint64_t)0)
			summarise(slots, at / 64, used);
		at += step;
	}
}

/* The first free slot at or above `from`; some value >= end if there is none. */
static uint64_t next_free(const struct hmm__slots *slots, uint64_t from)
{
	unsigned k = 0;
	uint64_t at = from;

	for (;;) {
		uint64_t word = at / 64, free_bits;

		if (word >= slots->words[k])
			return slots->end;
		free_bits = ~slots->level[k][word] & ~(uint64_t)0 << at % 64;
		if (free_bits) {
			at = word * 64 + (unsigned)__builtin_ctzll(free_bits);
			break;
		}
		at = word + 1;
		if (++k == slots->levels)
			return slots->end;
	}
	while (k-- > 0) {
		if (at >= slots->words[k])
			return slots->end;
		at = at * 64 + (unsigned)__builtin_ctzll(~slots->level[k][at]);
	}
	return at;
}

/* How many slots from `from` on are free, at most max. */
static uint64_t free_run(const struct hmm__slots *slots, uint64_t from, uint64_t max)
{
	uint64_t stop = HMM__MIN(from + max, slots->end), at = from;

	while (at < stop) {
		uint64_t used_bits = slots->level[0][at / 64] >> at % 64;

		if (used_bits) {
			at += (unsigned)__builtin_ctzll(used_bits);
			break;
		}
		at += 64 - at % 64;
	}
	return at <= from ? 0 : HMM__MIN(at, stop) - from;
}

static bool is_mine(const struct hmm__slots *slots, uint64_t slot)
{
	return slots->mine >> (slot >> slots->chunk_shift) % 64 & 1;
}

static uint64_t next_chunk(const struct hmm__slots *slots, uint64_t slot)
{
	return ((slot >> slots->chunk_shift) + 1) << slots->chunk_shift;
}

/* The first slot at or above `slot` that may be taken, free or not. */
static uint64_t mine_from(const struct hmm__slots *slots, uint64_t slot)
{
	while (slots->mine != ~(uint64_t)0 && !is_mine(slots, slot))
		slot = next_chunk(slots, slot);
	return slot;
}

/* How many from there on may be taken, at most max. */
static uint64_t mine_run(const struct hmm__slots *slots, uint64_t slot, uint64_t max)
{
	uint64_t stop = slot;

	if (slots->mine == ~(uint64_t)0)
		return max;
	while (stop - slot < max && is_mine(slots, stop))
		stop = next_chunk(slots, stop);
	return HMM__MIN(stop - slot, max);
}

static void search_range(const struct hmm__slots *slots, struct search *s, uint64_t from, uint64_t to, uint64_t max_words)
{
	uint64_t at = from, words = 0;

	to = HMM__MIN(to, slots->ceiling);
	while (s->n < s->want && words < max_words) {
		uint64_t n;

		at = mine_from(slots, round_up(next_free(slots, at), s->unit));
		if (at >= to)
			return;
		n = free_run(slots, at, mine_run(slots, at, HMM__MIN(s->want, slots->ceiling - at)));
		words += 1 + n / 64;
		if (n - n % s->unit > s->n) {
			s->first = at;
			s->n = n - n % s->unit;
		}
		at += n;
	}
}

/* The run at the top of the store, if it is longer. */
static void search_top(const struct hmm__slots *slots, struct search *s)
{
	uint64_t first = mine_from(slots, round_up(slots->top, s->unit)), n;

	if (first >= slots->ceiling)
		return;
	n = mine_run(slots, first, HMM__MIN(s->want, slots->ceiling - first));
	n -= n % s->unit;
	if (n > s->n) {
		s->first = first;
		s->n = n;
	}
}

static void search(const struct hmm__slots *slots, struct search *s)
{
	search_range(slots, s, slots->cursor, slots->top, NEAR_WORDS);
	if (s->n < s->want && (slots->top < SMALL_STORE || slots->used >= slots->top / 2))
		search_top(slots, s);
	if (s->n == 0)
		search_range(slots, s, 0, slots->top, NEAR_WORDS);
	if (s->n == 0) {
		struct search any = { .want = s->unit, .unit = s->unit };

		/* the first will do: to look for more would mean to look at everything */
		search_range(slots, &any, 0, slots->top, UINT64_MAX);
		s->first = any.first;
		s->n = any.n;
	}
	if (s->n == 0)
		search_top(slots, s);
}

uint32_t hmm__slots_alloc(struct hmm__slots *slots, uint32_t want, uint32_t unit, uint32_t *ret_first)
{
	struct search s = { .want = want & ~(unit - 1), .unit = unit };
	unsigned order = (unsigned)__builtin_ctz(unit);

	assert(unit && !(unit & (unit - 1)) && want >= unit);
	if (slots->hopeless >> order & 1)
		return 0;
	search(slots, &s);
	if (s.n == 0) {
		slots->hopeless |= ~(uint32_t)0 << order;
		return 0;
	}
	mark(slots, s.first, s.n, true);
	slots->used += s.n;
	slots->cursor = s.first + s.n;
	slots->top = HMM__MAX(slots->top, slots->cursor);
	*ret_first = (uint32_t)s.first;
	return (uint32_t)s.n;
}

void hmm__slots_free(struct hmm__slots *slots, uint32_t first, uint32_t n)
{
	assert(first > 0 && (uint64_t)first + n <= slots->top);
	mark(slots, first, n, false);
	slots->used -= n;
	if ((uint64_t)first + n > slots->ceiling)
		slots->above -= (uint64_t)first + n - HMM__MAX((uint64_t)first, slots->ceiling);
	if (n)
		slots->hopeless = 0;
	if (slots->used == 0)
		slots->top = slots->cursor = 1;
}

void hmm__slots_restrict(struct hmm__slots *slots, uint64_t mine, unsigned chunk_shift)
{
	slots->mine = mine;
	slots->chunk_shift = chunk_shift;
	slots->hopeless = 0;
}

uint64_t hmm__slots_top(const struct hmm__slots *slots)
{
	return slots->top;
}

uint64_t hmm__slots_used(const struct hmm__slots *slots)
{
	return slots->used;
}

/* How many of [from, to) are used. */
static uint64_t count_used(const struct hmm__slots *slots, uint64_t from, uint64_t to)
{
	uint64_t n = 0;

	for (uint64_t at = from, step; at < to; at += step) {
		step = HMM__MIN(64 - at % 64, to - at);
		n += (unsigned)__builtin_popcountll(slots->level[0][at / 64] & ones(at % 64, step));
	}
	return n;
}

void hmm__slots_limit(struct hmm__slots *slots, uint64_t ceiling)
{
	ceiling = HMM__MAX(HMM__MIN(ceiling, slots->end), (uint64_t)1);
	if (ceiling > slots->ceiling)
		slots->hopeless = 0;
	slots->ceiling = ceiling;
	slots->above = count_used(slots, ceiling, slots->top);
}

uint64_t hmm__slots_ceiling(const struct hmm__slots *slots)
{
	return slots->ceiling;
}

/* Free slots that may be taken, where that is not all of them. */
static uint64_t room_of_mine(const struct hmm__slots *slots)
{
	uint64_t stop = HMM__MIN(slots->top, slots->ceiling), n = 0;

	for (uint64_t at = 1, step; at < stop; at += step) {
		step = HMM__MIN(next_chunk(slots, at), stop) - at;
		if (is_mine(slots, at))
			n += step - count_used(slots, at, at + step);
	}
	/* above top all are free, and every part of 64 chunks is divided alike; less is counted one by one */
	for (uint64_t at = stop, step; at < slots->ceiling; at += step) {
		if (at >> slots->chunk_shift > (stop >> slots->chunk_shift) + 64)
			return n + (slots->ceiling - at) / 64 * (unsigned)__builtin_popcountll(slots->mine);
		step = HMM__MIN(next_chunk(slots, at), slots->ceiling) - at;
		n += is_mine(slots, at) ? step : 0;
	}
	return n;
}

uint64_t hmm__slots_room(const struct hmm__slots *slots)
{
	if (HMM__UNLIKELY(slots->mine != ~(uint64_t)0))
		return room_of_mine(slots);
	return slots->ceiling - 1 - (slots->used - slots->above); /* slot 0 is nobody's */
}

size_t hmm__slots_bytes(const struct hmm__slots *slots)
{
	size_t bytes = sizeof(*slots), bits = slots->top;

	for (unsigned k = 0; k < slots->levels; k++) {
		bits = (bits + 63) / 64;
		bytes += HMM__ALIGN_UP(bits * sizeof(uint64_t), hmm_page_size());
	}
	return bytes;
}

int hmm__slots_next_run(const struct hmm__slots *slots, uint32_t *cursor, uint32_t *ret_first, uint32_t *ret_n)
{
	uint64_t first = HMM__MAX(*cursor, 1u);
	uint64_t stop;

	first += free_run(slots, first, slots->top > first ? slots->top - first : 0);
	if (first >= slots->top)
		return 0;
	stop = HMM__MIN(next_free(slots, first), slots->top);
	*ret_first = (uint32_t)first;
	*ret_n = (uint32_t)(stop - first);
	*cursor = (uint32_t)stop;
	return 1;
}

static int alloc_levels(struct hmm__slots *slots)
{
	uint64_t bits = slots->end;

	do {
		uint64_t words = (bits + 63) / 64;

		slots->level[slots->levels] = hmm__sparse_alloc(words * sizeof(uint64_t));
		if (!slots->level[slots->levels])
			return -ENOMEM;
		slots->words[slots->levels++] = words;
		bits = words;
	} while (bits > 1);
	return 0;
}

int hmm__slots_create(uint64_t max_slots, struct hmm__slots **ret_slots)
{
	struct hmm__slots *slots;

	if (max_slots == 0 || max_slots > UINT32_MAX)
		return -EINVAL;
	slots = hmm__alloc(sizeof(*slots));
	if (!slots)
		return -ENOMEM;
	slots->end = slots->ceiling = max_slots;
	slots->mine = ~(uint64_t)0;
	if (alloc_levels(slots)) {
		hmm__slots_destroy(slots);
		return -ENOMEM;
	}
	mark(slots, 0, 1, true);
	slots->top = slots->cursor = 1;
	*ret_slots = slots;
	return 0;
}

void hmm__slots_destroy(struct hmm__slots *slots)
{
	if (!slots)
		return;
	for (unsigned k = 0; k < slots->levels; k++)
		hmm__sparse_free(slots->level[k], slots->words[k] * sizeof(uint64_t));
	hmm__free(slots, sizeof(*slots));
}
