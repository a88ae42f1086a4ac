/* SPDX-License-Identifier: MIT */
/*
 * frequency-sketch.h - how often pages were used of late, resident or not: a count-min sketch of 4-bit counters
 *
 * A page has four counters, in one block of 64 bytes: so a use costs one cache line.  Its frequency is the least of
 * them: never too low but for the limit of 15 and the halving, too high where others share all four.  After `sample`
 * uses all counters are halved, so old uses fade.
 * Source: G. Cormode, S. Muthukrishnan, "An improved data stream summary: the count-min sketch and its applications",
 * LATIN 2004; halving: G. Einziger, R. Friedman, "TinyLFU", PDP 2014; blocks and hashes as Caffeine 3.
 * Cost: 8 to 16 bytes a frame; a pass over all of them every `sample` uses.
 */
#ifndef POLICIES_FREQUENCY_SKETCH_H
#define POLICIES_FREQUENCY_SKETCH_H

#include <stddef.h>
#include <stdint.h>

struct sketch {
	uint64_t *words; /* 8 a block, one cache line: two words for each of four counters */
	uint32_t block_mask;
	uint64_t uses, sample;
};

static inline uint32_t sketch_hash(uint64_t page)
{
	uint32_t x = (uint32_t)(page ^ page >> 32);

	x = (x ^ x >> 17) * 0xed5ad4bbu;
	x = (x ^ x >> 11) * 0xac4c1b51u;
	return x ^ x >> 15;
}

static inline uint32_t sketch_hash_again(uint32_t x)
{
	x *= 0x31848babu;
	return x ^ x >> 14;
}

static inline uint64_t *sketch_block(const struct sketch *sketch, uint32_t hash)
{
	return &sketch->words[(size_t)(hash & sketch->block_mask) * 8];
}

static inline unsigned sketch_frequency(const struct sketch *sketch, uint32_t hash)
{
	const uint64_t *block = sketch_block(sketch, hash);
	unsigned least = 15;

	hash = sketch_hash_again(hash);
	for (unsigned i = 0; i < 4; i++, hash >>= 8) {
		unsigned count = block[(hash & 1) + 2 * i] >> (hash >> 1 & 15) * 4 & 15;

		least = count < least ? count : least;
	}
	return least;
}

static inline void sketch_halve(struct sketch *sketch)
{
	uint64_t odd = 0;

	for (size_t i = 0; i < ((size_t)sketch->block_mask + 1) * 8; i++) {
		uint64_t word = sketch->words[i];

		if (word == 0)
			continue; /* memory that was never written stays unbacked */
		odd += (uint64_t)__builtin_popcountll(word & 0x1111111111111111u);
		sketch->words[i] = word >> 1 & 0x7777777777777777u;
	}
	sketch->uses = sketch->uses > odd / 4 ? (sketch->uses - odd / 4) / 2 : 0;
}

static inline void sketch_add(struct sketch *sketch, uint32_t hash)
{
	uint64_t *block = sketch_block(sketch, hash);
	unsigned added = 0;

	hash = sketch_hash_again(hash);
	for (unsigned i = 0; i < 4; i++, hash >>= 8) {
		uint64_t *word = &block[(hash & 1) + 2 * i];
		unsigned shift = (hash >> 1 & 15) * 4, below = (*word >> shift & 15) != 15;

		*word += (uint64_t)below << shift;
		added |= below;
	}
	if (added && ++sketch->uses == sketch->sample)
		sketch_halve(sketch);
}

/* Counters of 16 bytes at most and 8 at least a frame, in whole blocks: a power of two. */
static inline uint64_t sketch_words(uint32_t capacity)
{
	uint64_t n = 8;

	while (n < capacity)
		n *= 2;
	return n;
}

#endif
