/* SPDX-License-Identifier: MIT */
/*
 * internal.h - what the files of the tree share
 *
 * T1  The root is page 0, always.  Pages are never given back: leaves may become empty.
 * T2  A change makes its record first in t->draft, applies it to pages that are pinned for writing, and appends and
 *     unpins last (change_end).  What can fail comes before the first byte of a page changes.
 * T3  The first change of a page after a checkpoint began logs the whole page (ITEM_IMAGE).  So recovery never needs what the
 *     store has of a page that may have been half written when the power went.
 * T4  Records apply to a page if their position is beyond the page's lsn, images always: recovery may be repeated.
 * Locks, outer first: checkpoint > tree > those of the log.
 */
#ifndef BTREE_INTERNAL_H
#define BTREE_INTERNAL_H

#include "tree.h"

#define ROOT UINT64_C(0)
#define CHANGED_MOST 3u

struct changed {
	uint64_t number;
	struct page *page;
};

struct btree {
	struct hmm_cache *cache;
	struct log log;
	pthread_mutex_t checkpoint;
	pthread_rwlock_t tree;   /* all below */
	uint64_t max_pages;
	uint32_t checkpoint_rate;
	uint32_t npages;
	uint64_t op;             /* operations done */
	uint64_t redo;           /* where the last checkpoint began: pages with an lsn up to it log images (T3) */

	struct changed changed[CHANGED_MOST];
	unsigned nchanged;
	uint32_t draft_length;
	_Alignas(8) uint8_t draft[RECORD_MOST]; /* struct record */
};

/* Pin a page.  level: what the caller knows it has, for the policy. */
int pin(struct btree *t, uint64_t number, uint32_t level, unsigned mode, struct page **ret_page);
void unpin(struct btree *t, uint64_t number, unsigned mode);

/* change.c: changes of pages and their record.  Tree lock for writing; pages are pinned for writing. */
int change_begin(struct btree *t);
void change_put(struct btree *t, uint64_t number, struct page *page, const void *entry);
void change_remove(struct btree *t, uint64_t number, struct page *page, uint64_t key);
void change_all(struct btree *t, uint64_t number, struct page *page); /* it has been changed: log it whole */
void change_end(struct btree *t);                                    /* unpins */

/* recover.c */
int recover(struct btree *t);

#endif
