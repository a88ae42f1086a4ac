/* SPDX-License-Identifier: MIT */
/*
 * recover.c - opening, redo, checkpoints
 *
 * A checkpoint takes the log's end P while nobody changes anything.  From then on pages log images (T3).  When all pages
 * whose first change is at or before P are in the store, durably, recovery may begin at P.
 */
#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "internal.h"

static uint64_t log_durable(void *arg)
{
	return atomic_load(&((struct log *)arg)->durable);
}

static int log_make_durable(void *arg, uint64_t position)
{
	return log_flush(arg, position);
}

int btree_checkpoint(struct btree *t)
{
	struct hmm_cache_flush flush = { .size = sizeof(flush), .flags = HMM_CACHE_DURABLE };
	struct control control = { .op = 0 };
	int r;

	pthread_mutex_lock(&t->checkpoint);
	pthread_rwlock_wrlock(&t->tree);
	pthread_mutex_lock(&t->log.lock);
	t->redo = control.redo = t->log.end;
	pthread_mutex_unlock(&t->log.lock);
	control.op = t->op;
	control.npages = t->npages;
	pthread_rwlock_unlock(&t->tree);
	flush.position = control.redo;
	flush.rate = t->checkpoint_rate;
	r = log_flush(&t->log, control.redo);
	if (r == 0)
		r = hmm_cache_flush(t->cache, &flush);
	if (r == 0 && hmm_cache_oldest_position(t->cache) <= control.redo)
		r = -EBUSY; /* something of before is not in the store: recovery must go on beginning where it did */
	if (r == 0)
		r = log_control(&t->log, &control);
	pthread_mutex_unlock(&t->checkpoint);
	return r;
}

static void apply(struct page *page, const struct item *item)
{
	const void *bytes = item + 1;

	if (item->kind == ITEM_IMAGE) {
		memcpy(page, bytes, item->length);
		memset((uint8_t *)page + item->length, 0, PAGE_SIZE - item->length);
	} else if (item->kind == ITEM_PUT) {
		page_put(page, bytes);
	} else {
		page_remove(page, *(const uint64_t *)bytes);
	}
}

static int redo_item(struct btree *t, const struct item *item, uint64_t position)
{
	unsigned mode = HMM_CACHE_WRITE | (item->kind == ITEM_IMAGE ? HMM_CACHE_CREATE : 0);
	void *data;
	struct page *page;
	int r = hmm_cache_get(t->cache, item->page, mode, &data);

	if (r < 0)
		return r;
	page = data;
	if (item->kind != ITEM_IMAGE && page->lsn >= position) {
		unpin(t, item->page, HMM_CACHE_WRITE);
		return 0;
	}
	apply(page, item);
	page->lsn = position;
	hmm_cache_put(t->cache, item->page, HMM_CACHE_WRITE | HMM_CACHE_DIRTY, position);
	return 0;
}

static int redo_record(struct btree *t, const struct record *record, uint64_t position)
{
	const uint8_t *at = (const uint8_t *)(record + 1), *end = (const uint8_t *)record + record->length;
	int r = 0;

	while (r == 0 && at < end) {
		const struct item *item = (const struct item *)at;

		r = redo_item(t, item, position);
		at += sizeof(*item) + (item->length + 7u) / 8 * 8;
	}
	t->op = record->op;
	t->npages = record->npages;
	return r;
}

/* The end of the log is known before anything is redone: pages must not be written before their log is durable. */
static int find_end(struct btree *t, uint64_t *ret_end)
{
	struct record *record = (struct record *)t->draft;
	uint64_t at = t->log.control.redo;
	int r;

	while ((r = log_read(&t->log, at, record)) > 0)
		at += record->length;
	*ret_end = at;
	return r;
}

int recover(struct btree *t)
{
	struct record *record = (struct record *)t->draft;
	uint64_t at = t->log.control.redo, end;
	int r = find_end(t, &end);

	t->op = t->log.control.op;
	t->npages = t->log.control.npages;
	if (r == 0)
		r = log_start(&t->log, end);
	while (r == 0 && at < end) {
		r = log_read(&t->log, at, record);
		if (r == 0)
			r = -EIO; /* it was there a moment ago */
		if (r > 0) {
			at += record->length;
			r = redo_record(t, record, at);
		}
	}
	return r < 0 ? r : btree_checkpoint(t);
}

/* A new tree: an empty leaf. */
static int format(struct btree *t)
{
	struct page *root;
	int r = log_start(&t->log, LOG_BEGIN);

	if (r == 0)
		r = change_begin(t);
	if (r == 0)
		r = pin(t, ROOT, 1, HMM_CACHE_WRITE | HMM_CACHE_CREATE, &root);
	if (r < 0)
		return r;
	memset(root, 0, PAGE_SIZE);
	t->npages = 1;
	change_all(t, ROOT, root);
	change_end(t);
	return btree_checkpoint(t);
}

/* The log is open. */
static int make_cache(struct btree *t, struct hmm_space *space, struct hmm_store *store,
                      const struct btree_options *opts)
{
	struct hmm_cache_options cache = {
		.size = sizeof(cache),
		.max_pages = opts->max_pages,
		.log_flushed = log_durable,
		.flush_log = log_make_durable,
		.log_arg = &t->log,
		.dirty_target = opts->dirty_target,
	};

	return hmm_cache_create(space, store, PAGE_SIZE, &cache, &t->cache);
}

static void finish(struct btree *t)
{
	log_close(&t->log);
	pthread_mutex_destroy(&t->checkpoint);
	pthread_rwlock_destroy(&t->tree);
	free(t);
}

int btree_open(struct hmm_space *space, struct hmm_store *store, const struct device *device,
               const struct btree_options *opts, struct btree **ret_tree)
{
	struct btree *t = calloc(1, sizeof(*t));
	pthread_rwlockattr_t fair;
	int r = t ? log_open(&t->log, device) : -ENOMEM, is_new = r;

	if (r < 0) {
		free(t);
		return r;
	}
	pthread_mutex_init(&t->checkpoint, NULL);
	pthread_rwlockattr_init(&fair);
	pthread_rwlockattr_setkind_np(&fair, PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP);
	pthread_rwlock_init(&t->tree, &fair);
	pthread_rwlockattr_destroy(&fair);
	t->max_pages = opts->max_pages;
	t->checkpoint_rate = opts->checkpoint_rate;
	r = make_cache(t, space, store, opts);
	if (r == 0) {
		r = is_new ? format(t) : recover(t);
		if (r < 0)
			hmm_cache_abandon(t->cache);
	}
	if (r < 0)
		finish(t);
	else
		*ret_tree = t;
	return r;
}

int btree_close(struct btree *t)
{
	int r = btree_checkpoint(t);

	if (r == 0)
		r = hmm_cache_destroy(t->cache);
	if (r == 0)
		finish(t);
	return r;
}

void btree_abandon(struct btree *t)
{
	hmm_cache_abandon(t->cache);
	finish(t);
}
