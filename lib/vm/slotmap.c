/* SPDX-License-Identifier: MIT */
/*
 * slotmap.c - bitmaps of free window slots (slotmap.h has the rules)
 */
#include "lib/vm/slotmap.h"

#include <errno.h>
#include <string.h>

#include "lib/base/arena.h"
#include "lib/base/util.h"

static size_t set_words(uint32_t ngroups)
{
	return ngroups + 2 * (size_t)((ngroups + 63) / 64);
}

static uint64_t *set_init(struct hmm__slotset *set, uint64_t *memory, uint32_t ngroups)
{
	set->bits = memory;
	set->some = set->bits + ngroups;
	set->whole = set->some + (ngroups + 63) / 64;
	set->hint = 0;
	set->recent = 0;
	set->count = 0;
	return set->whole + (ngroups + 63) / 64;
}

static void set_add(struct hmm__slotset *set, uint32_t slot)
{
	uint32_t group = slot / HMM__GROUP;
	uint64_t bit = UINT64_C(1) << (group % 64);

	assert(!(set->bits[group] & (UINT64_C(1) << (slot % HMM__GROUP))));
	set->bits[group] |= UINT64_C(1) << (slot % HMM__GROUP);
	set->some[group / 64] |= bit;
	if (set->bits[group] == UINT64_MAX) {
		set->whole[group / 64] |= bit;
		set->recent = group;
	}
	set->count++;
}

static void set_remove(struct hmm__slotset *set, uint32_t slot, uint32_t n)
{
	uint32_t group = slot / HMM__GROUP;
	uint64_t bit = UINT64_C(1) << (group % 64);
	uint64_t mask = (n == 64 ? UINT64_MAX : (UINT64_C(1) << n) - 1) << (slot % HMM__GROUP);

	assert((set->bits[group] & mask) == mask);
	set->bits[group] &= ~mask;
	set->whole[group / 64] &= ~bit;
	if (!set->bits[group])
		set->some[group / 64] &= ~bit;
	set->count -= n;
}

static void set_fill(struct hmm__slotset *set, uint32_t nslots)
{
	uint32_t whole = nslots / HMM__GROUP * HMM__GROUP;

	for (uint32_t group = 0; group < whole / HMM__GROUP; group++) {
		set->bits[group] = UINT64_MAX;
		set->some[group / 64] |= UINT64_C(1) << (group % 64);
		set->whole[group / 64] |= UINT64_C(1) << (group % 64);
	}
	set->count = whole;
	for (uint32_t slot = whole; slot < nslots; slot++)
		set_add(set, slot);
}

static void lay_out(struct hmm__slotmap *map)
{
	uint32_t ngroups = (map->nslots + HMM__GROUP - 1) / HMM__GROUP;
	uint64_t *next = map->memory;

	for (int kind = 0; kind < HMM__SLOT_KINDS; kind++)
		next = set_init(&map->set[kind], next, ngroups);
	set_fill(&map->set[HMM__EMPTY], map->nslots);
}

void hmm__slotmap_empty(struct hmm__slotmap *map)
{
	memset(map->memory, 0, map->memory_size);
	lay_out(map);
}

int hmm__slotmap_init(struct hmm__slotmap *map, uint32_t nslots)
{
	uint32_t ngroups = (nslots + HMM__GROUP - 1) / HMM__GROUP;

	map->memory_size = HMM__SLOT_KINDS * set_words(ngroups) * sizeof(uint64_t);
	map->memory = hmm__sparse_alloc(map->memory_size);
	if (!map->memory)
		return -ENOMEM;
	map->nslots = nslots;
	lay_out(map);
	return 0;
}

void hmm__slotmap_fini(struct hmm__slotmap *map)
{
	if (map->memory)
		hmm__sparse_free(map->memory, map->memory_size);
	map->memory = NULL;
}

/* A group from the summary `in`, without those in `except` (NULL: none); -1 if there is none. */
static int64_t find_group(struct hmm__slotset *set, uint32_t nwords, const uint64_t *in, const uint64_t *except)
{
	for (uint32_t i = 0; i < nwords; i++) {
		uint32_t w = set->hint + i < nwords ? set->hint + i : set->hint + i - nwords;
		uint64_t bits = in[w] & (except ? ~except[w] : UINT64_MAX);

		if (bits) {
			set->hint = w;
			return (int64_t)w * 64 + __builtin_ctzll(bits);
		}
	}
	return -1;
}

static uint32_t summary_words(const struct hmm__slotmap *map)
{
	return ((map->nslots + HMM__GROUP - 1) / HMM__GROUP + 63) / 64;
}

uint32_t hmm__slotmap_take(struct hmm__slotmap *map, int kind)
{
	struct hmm__slotset *set = &map->set[kind];
	int64_t group;
	uint32_t slot;

	if (!set->count)
		return HMM__NO_SLOT;
	group = find_group(set, summary_words(map), set->some, set->whole);
	if (group < 0)
		group = find_group(set, summary_words(map), set->some, NULL);
	assert(group >= 0);
	slot = (uint32_t)group * HMM__GROUP + (uint32_t)__builtin_ctzll(set->bits[group]);
	set_remove(set, slot, 1);
	return slot;
}

/* The first of n adjacent whole groups, of those that became whole last if they will do; -1 if there are none. */
static int64_t find_whole(struct hmm__slotset *set, uint32_t nwords, uint32_t n)
{
	uint32_t recent = set->recent / 64, at = set->recent % 64;

	for (uint32_t i = 0; i < nwords; i++) {
		uint32_t w = recent + i < nwords ? recent + i : recent + i - nwords;
		uint64_t bits = set->whole[w];

		for (uint32_t k = 1; k < n; k++)
			bits &= set->whole[w] >> k;
		if (i == 0 && at + 1 >= n && bits >> (at + 1 - n) & 1)
			return (int64_t)w * 64 + at + 1 - n;
		if (bits)
			return (int64_t)w * 64 + __builtin_ctzll(bits);
	}
	return -1;
}

uint32_t hmm__slotmap_take_run(struct hmm__slotmap *map, int kind, uint32_t n)
{
	struct hmm__slotset *set = &map->set[kind];
	uint32_t groups = (n + HMM__GROUP - 1) / HMM__GROUP;
	int64_t first;

	assert(n > 0 && n <= HMM__RUN_MAX);
	if (set->count < groups * HMM__GROUP)
		return HMM__NO_SLOT;
	first = find_whole(set, summary_words(map), groups);
	if (first < 0)
		return HMM__NO_SLOT;
	for (uint32_t i = 0; i < groups; i++)
		set_remove(set, ((uint32_t)first + i) * HMM__GROUP, HMM__MIN(n - i * HMM__GROUP, HMM__GROUP));
	return (uint32_t)first * HMM__GROUP;
}

void hmm__slotmap_put(struct hmm__slotmap *map, int kind, uint32_t slot)
{
	set_add(&map->set[kind], slot);
}
