/* SPDX-License-Identifier: MIT */
/*
 * tree.h - a B-tree that survives crashes: pages in a cache of hurd-mm, changes in a write-ahead log
 *
 * Shows what a database does with the cache face: pins, the log rule, checkpoints, classes of pages, scans.  Keys are 64-bit
 * numbers, values have VALUE_SIZE bytes.  Any number of threads; one changes the tree at a time.  An operation that failed has
 * changed nothing.
 */
#ifndef BTREE_TREE_H
#define BTREE_TREE_H

#include <hurd-mm/hurd-mm.h>

#include "log.h"
#include "page.h"

struct btree;

struct btree_options {
	uint64_t max_pages;       /* the store has room for as many */
	uint32_t checkpoint_rate; /* pages a second that a checkpoint writes at most; 0: as fast as it goes */
	uint32_t dirty_target;    /* percent of the budget, see struct hmm_cache_options; 0: no background writer */
};

/*
 * Open a tree, or make one where there is none; after a crash, recover: afterwards all is there that btree_commit() said
 * yes to, and of what came later as much as its log has, in order.  The store's reference is the caller's.
 */
int btree_open(struct hmm_space *space, struct hmm_store *store, const struct device *device,
               const struct btree_options *opts, struct btree **ret_tree);
/* Checkpoint and end; if that fails the tree stays. */
int btree_close(struct btree *t);
/* End it as a crash would. */
void btree_abandon(struct btree *t);

int btree_put(struct btree *t, uint64_t key, const uint8_t value[VALUE_SIZE]);
int btree_remove(struct btree *t, uint64_t key);
/* Make all operations that are done durable; *ret_op: how many those are, since the tree was made. */
int btree_commit(struct btree *t, uint64_t *ret_op);
uint64_t btree_ops(struct btree *t);

/* 0; -ENOENT. */
int btree_get(struct btree *t, uint64_t key, uint8_t ret_value[VALUE_SIZE]);
/*
 * Visit all entries from a key on, in order, until visit returns nonzero; that is the result.  stream: 1 to 65535, one for
 * each scan that goes on at the same time.  Other threads may change the tree between chunks of a few leaves; visit must not
 * use it.
 */
int btree_scan(struct btree *t, uint64_t from, unsigned stream,
               int (*visit)(void *arg, uint64_t key, const uint8_t value[VALUE_SIZE]), void *arg);

/* Write what recovery would have to do again; recovery begins here from now on. */
int btree_checkpoint(struct btree *t);

uint64_t btree_pages(struct btree *t);
struct hmm_cache *btree_cache(struct btree *t);

#endif
