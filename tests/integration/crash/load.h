/* SPDX-License-Identifier: MIT */
/*
 * load.h - what is done to the tree, and what must be in it afterwards
 *
 * The nth operation of a generation (a run between two crashes) follows from the seed, so the number of operations that a
 * recovered tree has says all about its contents.  A tree may have more operations than were committed, never less, and
 * never more than were begun.
 */
#ifndef HMM_TESTS_CRASH_LOAD_H
#define HMM_TESTS_CRASH_LOAD_H

#include <stdatomic.h>
#include <stdbool.h>

#include "examples/btree/tree.h"

#define KEYS 8192u

/* Shared by parent and child: survives what the child does not. */
struct ledger {
	uint64_t seed;
	struct turn {
		uint64_t generation; /* the one that runs */
		uint64_t base;       /* operations of the generations before it */
	} turns[2];
	_Atomic unsigned turn;      /* which of the two counts: a child may be killed while it makes the next */
	uint64_t last[KEYS];        /* the model after them: which operation put the key, generation << 32 | nth; 0: none */
	_Atomic uint64_t begun;     /* operations, all generations */
	_Atomic uint64_t committed;
	_Atomic uint64_t rule_broken; /* pages that were written before their log */
	_Atomic uint64_t torn_read;   /* torn pages that were read */
	_Atomic uint64_t page_writes;
	_Atomic uint64_t log_writes;
};

/*
 * The tree was just recovered: make the model what it must hold, and compare.  0, or -errno with what is wrong on standard
 * error.  Begins a new generation.
 */
int ledger_check(struct ledger *ledger, struct btree *t);

/*
 * Do so many operations and commit now and then, while one thread scans and looks up and another one makes checkpoints.
 * 0 or the first -errno.
 */
int load_run(struct ledger *ledger, struct btree *t, uint64_t most);

uint64_t load_random(uint64_t *state);

#endif
