/* SPDX-License-Identifier: MIT */
/*
 * ghost.c - what is remembered of pages that left: identity -> cookie, bounded, O(1), 16 bytes an entry
 *
 * A hash table of buckets with eight entries of 13 bytes; a page may be in either of two buckets.  Age is kept per
 * generation (1/32 of the capacity put in a row), one byte an entry, in place of links that would cost 8 bytes more.
 *
 * G1  A page has at most one entry, in one of its two buckets.
 * G2  Generations are counted modulo 256; an entry's age is current - generation.  An entry older than span is empty:
 *     it has expired, or was cleared to AGE_EMPTY.
 * G3  living[g] is the number of entries of generation g, for current - span .. current; live is their sum.
 * G4  The oldest generation expires as a whole, once the younger ones alone hold the capacity: so the last `capacity`
 *     pages are remembered, plus at most one generation.  A page that is taken out makes room for an older one.
 * G5  No empty entry's age passes 255 and so looks young again: each put sweeps one bucket, setting what is empty to
 *     AGE_EMPTY, which comes round to every bucket within 5 generations.
 *
 * At 16 bytes an entry the table is at most 84% full.  Two choices of eight, with one displacement where both are
 * full, place every page at that load; should they ever not, the oldest of the sixteen entries gives way.
 */
#include "lib/policy/ghost.h"

#include <errno.h>
#include <string.h>

#include "lib/base/arena.h"
#include "lib/base/util.h"

#define WAYS 8u
#define AGE_EMPTY 224u
#define SPAN_MOST (AGE_EMPTY - 1)
#define ALL_WAYS UINT64_MAX
#define NOWHERE UINT32_MAX

struct bucket {
	uint64_t page[WAYS];
	uint32_t cookie[WAYS];
	uint8_t generation[WAYS];
};

struct hmm__ghosts {
	struct bucket *buckets;
	uint32_t nbuckets;
	uint32_t capacity;
	uint32_t live;
	uint32_t generation_size; /* puts until the next generation begins */
	uint32_t generation_left;
	uint32_t sweep;           /* bucket that the next put sweeps */
	uint8_t current;          /* generation */
	uint8_t span;             /* age of the oldest generation that lives */
	uint32_t living[256];
};

/* One byte a way; as a mask: 0 or 0xff. */
typedef uint8_t way_bytes __attribute__((vector_size(WAYS)));

struct place {
	uint32_t bucket, way; /* NOWHERE: none */
};

int hmm__ghosts_create(uint32_t capacity, struct hmm__ghosts **ret_ghosts)
{
	struct hmm__ghosts *ghosts;
	uint64_t nbuckets;

	if (capacity == 0)
		return -EINVAL;
	/* 2 buckets, 208 bytes, for 13 pages: 16 bytes each */
	nbuckets = HMM__MAX(((uint64_t)capacity * 2 + 12) / 13, 2u);
	ghosts = hmm__alloc(sizeof(*ghosts));
	if (ghosts == NULL)
		return -ENOMEM;
	ghosts->buckets = hmm__sparse_alloc(nbuckets * sizeof(struct bucket));
	if (ghosts->buckets == NULL) {
		hmm__free(ghosts, sizeof(*ghosts));
		return -ENOMEM;
	}
	ghosts->nbuckets = (uint32_t)nbuckets;
	ghosts->capacity = capacity;
	ghosts->generation_size = capacity / 32 + 1;
	ghosts->generation_left = ghosts->generation_size;
	ghosts->current = AGE_EMPTY; /* the table of zeros is empty */
	*ret_ghosts = ghosts;
	return 0;
}

void hmm__ghosts_destroy(struct hmm__ghosts *ghosts)
{
	if (ghosts == NULL)
		return;
	hmm__sparse_free(ghosts->buckets, ghosts->nbuckets * sizeof(struct bucket));
	hmm__free(ghosts, sizeof(*ghosts));
}

/* A bijection that spreads every bit (the finisher of SplitMix64). */
static uint64_t mix(uint64_t x)
{
	x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
	x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
	return x ^ (x >> 31);
}

static void homes(const struct hmm__ghosts *ghosts, uint64_t page, uint32_t home[2])
{
	uint64_t hash = mix(page);

	home[0] = (uint32_t)(((hash & UINT32_MAX) * ghosts->nbuckets) >> 32);
	home[1] = (uint32_t)(((hash >> 32) * ghosts->nbuckets) >> 32);
	if (home[1] == home[0])
		home[1] = home[0] + 1 < ghosts->nbuckets ? home[0] + 1 : 0;
}

/* The ways of a bucket that hold an entry: a mask of bytes. */
static uint64_t live_ways(const struct hmm__ghosts *ghosts, const struct bucket *bucket)
{
	uint8_t current = ghosts->current, span = ghosts->span;
	way_bytes generation, live;
	uint64_t mask;

	memcpy(&generation, bucket->generation, WAYS);
	live = (way_bytes)(current - generation <= span);
	memcpy(&mask, &live, WAYS);
	return mask;
}

static uint32_t count_ways(uint64_t mask)
{
	return (uint32_t)(((mask & 0x0101010101010101u) * 0x0101010101010101u) >> 56);
}

static uint32_t first_way(uint64_t mask)
{
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
	return (uint32_t)__builtin_ctzll(mask) / 8;
#else
	return (uint32_t)__builtin_clzll(mask) / 8;
#endif
}

static uint64_t ways_of_page(const struct bucket *bucket, uint64_t page)
{
	way_bytes same;
	uint64_t mask;

	for (uint32_t way = 0; way < WAYS; way++)
		same[way] = (uint8_t)-(bucket->page[way] == page);
	memcpy(&mask, &same, WAYS);
	return mask;
}

static struct place find(const struct hmm__ghosts *ghosts, const uint32_t home[2], uint64_t page)
{
	for (uint32_t i = 0; i < 2; i++) {
		const struct bucket *bucket = &ghosts->buckets[home[i]];
		uint64_t found = ways_of_page(bucket, page) & live_ways(ghosts, bucket);

		if (found != 0)
			return (struct place){ home[i], first_way(found) };
	}
	return (struct place){ NOWHERE, NOWHERE };
}

static struct place find_empty(uint32_t index, uint64_t live)
{
	if (live == ALL_WAYS)
		return (struct place){ NOWHERE, NOWHERE };
	return (struct place){ index, first_way(~live) };
}

static uint8_t generation_aged(const struct hmm__ghosts *ghosts, unsigned age)
{
	return (uint8_t)(ghosts->current - age);
}

static void clear(struct hmm__ghosts *ghosts, struct place place)
{
	uint8_t *generation = &ghosts->buckets[place.bucket].generation[place.way];

	ghosts->living[*generation]--;
	ghosts->live--;
	*generation = generation_aged(ghosts, AGE_EMPTY);
}

/* Both homes are full: move one of their entries to its other home, or give up the oldest. */
static struct place displace(struct hmm__ghosts *ghosts, const uint32_t home[2])
{
	struct place oldest = { home[0], 0 };
	uint32_t oldest_age = 0;

	for (uint32_t i = 0; i < 2 * WAYS; i++) {
		struct place from = { home[i / WAYS], i % WAYS }, to;
		struct bucket *bucket = &ghosts->buckets[from.bucket];
		uint32_t own[2], other_home, age = (uint8_t)(ghosts->current - bucket->generation[from.way]);

		homes(ghosts, bucket->page[from.way], own);
		other_home = own[0] == from.bucket ? own[1] : own[0];
		to = find_empty(other_home, live_ways(ghosts, &ghosts->buckets[other_home]));
		if (to.bucket != NOWHERE) {
			struct bucket *other = &ghosts->buckets[to.bucket];

			other->page[to.way] = bucket->page[from.way];
			other->cookie[to.way] = bucket->cookie[from.way];
			other->generation[to.way] = bucket->generation[from.way];
			bucket->generation[from.way] = generation_aged(ghosts, AGE_EMPTY);
			return from;
		}
		if (age > oldest_age) {
			oldest_age = age;
			oldest = from;
		}
	}
	clear(ghosts, oldest);
	return oldest;
}

/* Set what is empty in the next bucket to AGE_EMPTY (G5). */
static void sweep(struct hmm__ghosts *ghosts)
{
	struct bucket *bucket = &ghosts->buckets[ghosts->sweep];
	uint8_t empty = generation_aged(ghosts, AGE_EMPTY);
	uint64_t mask = live_ways(ghosts, bucket);
	way_bytes generation, live;

	memcpy(&generation, bucket->generation, WAYS);
	memcpy(&live, &mask, WAYS);
	generation = (generation & live) | (empty & ~live);
	memcpy(bucket->generation, &generation, WAYS);
	ghosts->sweep = ghosts->sweep + 1 < ghosts->nbuckets ? ghosts->sweep + 1 : 0;
}

/* Open a new generation where the current one is full, and let old ones go (G4). */
static void advance(struct hmm__ghosts *ghosts)
{
	uint8_t oldest;

	if (ghosts->generation_left-- == 0) {
		ghosts->generation_left = ghosts->generation_size - 1;
		ghosts->current++;
		ghosts->span++;
	}
	for (; ghosts->span > 0; ghosts->span--) {
		oldest = generation_aged(ghosts, ghosts->span);
		if (ghosts->live - ghosts->living[oldest] < ghosts->capacity && ghosts->span < SPAN_MOST)
			break;
		ghosts->live -= ghosts->living[oldest];
		ghosts->living[oldest] = 0;
	}
}

/* An empty place for a page, in the emptier of its buckets. */
static struct place make_place(struct hmm__ghosts *ghosts, const uint32_t home[2])
{
	uint64_t first = live_ways(ghosts, &ghosts->buckets[home[0]]);
	uint64_t second = live_ways(ghosts, &ghosts->buckets[home[1]]);

	if (first == ALL_WAYS && second == ALL_WAYS)
		return displace(ghosts, home);
	if (count_ways(first) <= count_ways(second))
		return find_empty(home[0], first);
	return find_empty(home[1], second);
}

void hmm__ghosts_put(struct hmm__ghosts *ghosts, uint64_t page, uint32_t cookie)
{
	struct place place;
	uint32_t home[2];

	advance(ghosts);
	sweep(ghosts);
	homes(ghosts, page, home);
	place = find(ghosts, home, page);
	if (place.bucket != NOWHERE)
		clear(ghosts, place);
	else
		place = make_place(ghosts, home);
	ghosts->buckets[place.bucket].page[place.way] = page;
	ghosts->buckets[place.bucket].cookie[place.way] = cookie;
	ghosts->buckets[place.bucket].generation[place.way] = ghosts->current;
	ghosts->living[ghosts->current]++;
	ghosts->live++;
}

uint32_t hmm__ghosts_take(struct hmm__ghosts *ghosts, uint64_t page)
{
	struct place place;
	uint32_t home[2];

	homes(ghosts, page, home);
	place = find(ghosts, home, page);
	if (place.bucket == NOWHERE)
		return 0;
	clear(ghosts, place);
	return ghosts->buckets[place.bucket].cookie[place.way];
}

uint32_t hmm__ghosts_count(const struct hmm__ghosts *ghosts)
{
	return ghosts->live;
}

size_t hmm__ghosts_bytes(const struct hmm__ghosts *ghosts)
{
	return sizeof(*ghosts) + ghosts->nbuckets * sizeof(struct bucket);
}
