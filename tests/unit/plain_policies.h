/* SPDX-License-Identifier: MIT */
/*
 * plain_policies.h - replacement algorithms as their papers write them, to compare with
 *
 * Arrays of pages, searched and shifted: slow, obvious, and sharing nothing with policies/.
 */
#ifndef HMM_TESTS_PLAIN_POLICIES_H
#define HMM_TESTS_PLAIN_POLICIES_H

#include <stdbool.h>
#include <stdint.h>

#define PLAIN_FRAMES 512 /* most */

struct plain_queue { /* oldest first */
	uint32_t n;
	uint32_t page[2 * PLAIN_FRAMES + 2];
	unsigned count[2 * PLAIN_FRAMES + 2];
};

struct plain {
	uint32_t c;   /* frames */
	struct plain_queue q[4];
	uint32_t hand;
	double p;
	bool full;    /* it evicted once */
};

struct plain_algorithm {
	const char *spec; /* as the library names it */
	/* One request; returns whether it hit. */
	bool (*request)(struct plain *plain, uint32_t page);
	/* Ghosts are dropped in another order than that in which the pages left: the core may forget some too early. */
	bool unordered_ghosts;
};

extern const struct plain_algorithm plain_algorithms[];
extern const int plain_nalgorithms;

#endif
