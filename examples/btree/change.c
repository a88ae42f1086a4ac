/* SPDX-License-Identifier: MIT */
/*
 * change.c - changes of pages and their record in the log
 */
#include <string.h>

#include "internal.h"

int change_begin(struct btree *t)
{
	t->nchanged = 0;
	t->draft_length = sizeof(struct record);
	return log_reserve(&t->log);
}

static void add_item(struct btree *t, uint64_t number, enum item_kind kind, const void *bytes, uint32_t length)
{
	struct item *item = (struct item *)(t->draft + t->draft_length);

	*item = (struct item){ .page = (uint32_t)number, .kind = (uint16_t)kind, .length = (uint16_t)length };
	memcpy(item + 1, bytes, length);
	memset((uint8_t *)(item + 1) + length, 0, -length % 8);
	t->draft_length += (uint32_t)sizeof(*item) + (length + 7) / 8 * 8;
}

static void add_changed(struct btree *t, uint64_t number, struct page *page)
{
	t->changed[t->nchanged++] = (struct changed){ .number = number, .page = page };
}

void change_all(struct btree *t, uint64_t number, struct page *page)
{
	add_item(t, number, ITEM_IMAGE, page, page_used(page));
	add_changed(t, number, page);
}

void change_put(struct btree *t, uint64_t number, struct page *page, const void *entry)
{
	page_put(page, entry);
	if (page->lsn <= t->redo) {
		change_all(t, number, page);
	} else {
		add_item(t, number, ITEM_PUT, entry, entry_size(page));
		add_changed(t, number, page);
	}
}

void change_remove(struct btree *t, uint64_t number, struct page *page, uint64_t key)
{
	page_remove(page, key);
	if (page->lsn <= t->redo) {
		change_all(t, number, page);
	} else {
		add_item(t, number, ITEM_REMOVE, &key, sizeof(key));
		add_changed(t, number, page);
	}
}

/* The pages stay pinned for writing until they have their position, so none is written before its log. */
void change_end(struct btree *t)
{
	struct record *record = (struct record *)t->draft;
	uint64_t position;

	record->op = t->op;
	record->npages = t->npages;
	position = log_append(&t->log, record, t->draft_length);
	for (unsigned i = 0; i < t->nchanged; i++) {
		t->changed[i].page->lsn = position;
		hmm_cache_put(t->cache, t->changed[i].number, HMM_CACHE_WRITE | HMM_CACHE_DIRTY, position);
	}
}
