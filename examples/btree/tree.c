/* SPDX-License-Identifier: MIT */
/*
 * tree.c - look up, insert, remove, split
 */
#include "tree.h"

#include <errno.h>
#include <string.h>

#include "internal.h"

int pin(struct btree *t, uint64_t number, uint32_t level, unsigned mode, struct page **ret_page)
{
	unsigned class = level ? HMM_CLASS_INNER : HMM_CLASS_LEAF;
	void *data;
	int r = hmm_cache_get(t->cache, number, mode | HMM_CACHE_CLASS(class), &data);

	if (r >= 0)
		*ret_page = data;
	return r < 0 ? r : 0;
}

void unpin(struct btree *t, uint64_t number, unsigned mode)
{
	hmm_cache_put(t->cache, number, mode, 0);
}

/* Pin the leaf that a key belongs to; inner nodes are pinned for reading while they are looked at. */
static int descend(struct btree *t, uint64_t key, unsigned leaf_mode, uint64_t *ret_number, struct page **ret_leaf)
{
	uint64_t number = ROOT;
	struct page *page;
	int r = pin(t, number, 1, HMM_CACHE_READ, &page);

	while (r == 0 && page->level > 0) {
		uint64_t child = page_child(page, page_route(page, key));
		uint32_t level = page->level - 1;

		unpin(t, number, HMM_CACHE_READ);
		number = child;
		r = pin(t, number, level, level == 0 ? leaf_mode : HMM_CACHE_READ, &page);
		if (r < 0 || level == 0)
			goto done;
	}
	/* the root is a leaf */
	if (r == 0 && leaf_mode != HMM_CACHE_READ) {
		unpin(t, number, HMM_CACHE_READ);
		r = pin(t, number, 1, leaf_mode, &page);
	}
done:
	*ret_number = number;
	if (r == 0)
		*ret_leaf = page;
	return r;
}

int btree_get(struct btree *t, uint64_t key, uint8_t ret_value[VALUE_SIZE])
{
	struct page *leaf;
	uint64_t number;
	uint32_t i;
	int r;

	pthread_rwlock_rdlock(&t->tree);
	r = descend(t, key, HMM_CACHE_READ, &number, &leaf);
	if (r == 0) {
		if (page_has(leaf, key, &i))
			memcpy(ret_value, ((struct leaf_entry *)page_entry(leaf, i))->value, VALUE_SIZE);
		else
			r = -ENOENT;
		unpin(t, number, HMM_CACHE_READ);
	}
	pthread_rwlock_unlock(&t->tree);
	return r;
}

/* A new page, pinned for writing; it counts (t->npages) from the record on that the caller is going to make. */
static int pin_new(struct btree *t, uint32_t i, uint32_t level, struct page **ret_page)
{
	if (t->npages + i >= t->max_pages)
		return -ENOSPC;
	return pin(t, t->npages + i, level, HMM_CACHE_WRITE | HMM_CACHE_CREATE, ret_page);
}

/* The root is full: its entries move to two new pages, and it becomes their parent. */
static int split_root(struct btree *t, struct page *root)
{
	struct page *low = NULL, *high = NULL;
	int r = change_begin(t);

	if (r == 0)
		r = pin_new(t, 0, root->level, &low);
	if (r < 0)
		return r;
	r = pin_new(t, 1, root->level, &high);
	if (r < 0) {
		unpin(t, t->npages, HMM_CACHE_WRITE);
		return r;
	}
	memcpy(low, root, PAGE_SIZE);
	page_split(low, high);
	root->level++;
	root->count = 0;
	page_put(root, &(struct inner_entry){ 0, t->npages });
	page_put(root, &(struct inner_entry){ page_key(high, 0), t->npages + 1 });
	change_all(t, t->npages, low);
	change_all(t, t->npages + 1, high);
	change_all(t, ROOT, root);
	t->npages += 2;
	change_end(t);
	return 0;
}

/* Both are pinned for writing, and are given back, also on failure; the parent has room. */
static int split_child(struct btree *t, uint64_t parent_number, struct page *parent, uint64_t number, struct page *page)
{
	struct page *high = NULL;
	int r = change_begin(t);

	if (r == 0)
		r = pin_new(t, 0, page->level, &high);
	if (r < 0) {
		unpin(t, number, HMM_CACHE_WRITE);
		unpin(t, parent_number, HMM_CACHE_WRITE);
		return r;
	}
	page_split(page, high);
	change_all(t, number, page);
	change_all(t, t->npages, high);
	change_put(t, parent_number, parent, &(struct inner_entry){ page_key(high, 0), t->npages });
	t->npages++;
	change_end(t);
	return 0;
}

/* Split the first full page on the way to a key.  Each split is a change of its own that leaves the tree whole. */
static int split_one(struct btree *t, uint64_t key)
{
	uint64_t parent_number = ROOT, number;
	struct page *parent, *page;
	int r = pin(t, ROOT, 1, HMM_CACHE_WRITE, &parent);

	if (r == 0 && page_full(parent)) {
		r = split_root(t, parent);
		if (r < 0)
			unpin(t, ROOT, HMM_CACHE_WRITE);
		return r;
	}
	while (r == 0 && parent->level > 0) {
		number = page_child(parent, page_route(parent, key));
		r = pin(t, number, parent->level - 1, HMM_CACHE_WRITE, &page);
		if (r == 0 && page_full(page))
			return split_child(t, parent_number, parent, number, page);
		unpin(t, parent_number, HMM_CACHE_WRITE);
		parent_number = number;
		parent = page;
	}
	if (r == 0)
		unpin(t, parent_number, HMM_CACHE_WRITE);
	return r;
}

int btree_put(struct btree *t, uint64_t key, const uint8_t value[VALUE_SIZE])
{
	struct leaf_entry entry = { .key = key };
	struct page *leaf;
	uint64_t number;
	uint32_t i;
	int r;

	memcpy(entry.value, value, VALUE_SIZE);
	pthread_rwlock_wrlock(&t->tree);
	r = descend(t, key, HMM_CACHE_WRITE, &number, &leaf);
	while (r == 0 && page_full(leaf) && !page_has(leaf, key, &i)) {
		unpin(t, number, HMM_CACHE_WRITE);
		r = split_one(t, key);
		if (r == 0)
			r = descend(t, key, HMM_CACHE_WRITE, &number, &leaf);
	}
	if (r == 0) {
		r = change_begin(t);
		if (r < 0) {
			unpin(t, number, HMM_CACHE_WRITE);
		} else {
			t->op++;
			change_put(t, number, leaf, &entry);
			change_end(t);
		}
	}
	pthread_rwlock_unlock(&t->tree);
	return r;
}

/* Removing what is not there is an operation too, so that they can be counted. */
int btree_remove(struct btree *t, uint64_t key)
{
	struct page *leaf;
	uint64_t number;
	int r;

	pthread_rwlock_wrlock(&t->tree);
	r = descend(t, key, HMM_CACHE_WRITE, &number, &leaf);
	if (r == 0) {
		r = change_begin(t);
		if (r < 0) {
			unpin(t, number, HMM_CACHE_WRITE);
		} else {
			t->op++;
			change_remove(t, number, leaf, key);
			change_end(t);
		}
	}
	pthread_rwlock_unlock(&t->tree);
	return r;
}

int btree_commit(struct btree *t, uint64_t *ret_op)
{
	uint64_t op, end;
	int r;

	pthread_rwlock_rdlock(&t->tree);
	op = t->op;
	pthread_mutex_lock(&t->log.lock);
	end = t->log.end;
	pthread_mutex_unlock(&t->log.lock);
	pthread_rwlock_unlock(&t->tree);
	r = log_flush(&t->log, end);
	if (r == 0 && ret_op)
		*ret_op = op;
	return r;
}

uint64_t btree_ops(struct btree *t)
{
	uint64_t op;

	pthread_rwlock_rdlock(&t->tree);
	op = t->op;
	pthread_rwlock_unlock(&t->tree);
	return op;
}

uint64_t btree_pages(struct btree *t)
{
	uint64_t n;

	pthread_rwlock_rdlock(&t->tree);
	n = t->npages;
	pthread_rwlock_unlock(&t->tree);
	return n;
}

struct hmm_cache *btree_cache(struct btree *t)
{
	return t->cache;
}
