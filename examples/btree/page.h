/* SPDX-License-Identifier: MIT */
/*
 * page.h - a node of the tree: a sorted array of entries in one page
 *
 * Leaves (level 0) hold a key and a value, inner nodes a key and a child, which holds the keys from that one on, below the
 * next one's.  The first key of the first node of each level is 0.
 */
#ifndef BTREE_PAGE_H
#define BTREE_PAGE_H

#include <stdbool.h>
#include <stdint.h>

#define PAGE_SIZE 4096u
#define VALUE_SIZE 56u
#define PAGE_HEAD 32u

struct page {
	uint64_t lsn;   /* position of the last change: the log must be durable up to it before the page is written */
	uint32_t level; /* 0: leaf */
	uint32_t count; /* entries */
	uint64_t reserved[2];
	uint8_t entries[PAGE_SIZE - PAGE_HEAD];
};

struct leaf_entry {
	uint64_t key;
	uint8_t value[VALUE_SIZE];
};

struct inner_entry {
	uint64_t key;
	uint64_t child; /* page number */
};

static inline uint32_t entry_size(const struct page *p)
{
	return p->level ? sizeof(struct inner_entry) : sizeof(struct leaf_entry);
}

static inline bool page_full(const struct page *p)
{
	return p->count >= (PAGE_SIZE - PAGE_HEAD) / entry_size(p);
}

/* Bytes of the page that mean anything. */
static inline uint32_t page_used(const struct page *p)
{
	return PAGE_HEAD + p->count * entry_size(p);
}

static inline void *page_entry(const struct page *p, uint32_t i)
{
	return (uint8_t *)p->entries + (uint64_t)i * entry_size(p);
}

static inline uint64_t page_key(const struct page *p, uint32_t i)
{
	return *(const uint64_t *)page_entry(p, i);
}

static inline uint64_t page_child(const struct page *p, uint32_t i)
{
	return ((const struct inner_entry *)page_entry(p, i))->child;
}

/* The first entry whose key is not below `key`; count if there is none. */
uint32_t page_find(const struct page *p, uint64_t key);
/* Is there an entry with this key?  *ret_i: where. */
bool page_has(const struct page *p, uint64_t key, uint32_t *ret_i);
/* Of an inner node: the entry whose child has the key. */
uint32_t page_route(const struct page *p, uint64_t key);
/* entry: entry_size() bytes.  One with the same key is replaced; else there must be room. */
void page_put(struct page *p, const void *entry);
void page_remove(struct page *p, uint64_t key);
/* Move the upper half to an empty page. */
void page_split(struct page *p, struct page *to);

#endif
