/* SPDX-License-Identifier: MIT */
/*
 * page.c - a node of the tree: a sorted array of entries in one page
 */
#include "page.h"

#include <string.h>

uint32_t page_find(const struct page *p, uint64_t key)
{
	uint32_t low = 0, high = p->count;

	while (low < high) {
		uint32_t middle = (low + high) / 2;

		if (page_key(p, middle) < key)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

bool page_has(const struct page *p, uint64_t key, uint32_t *ret_i)
{
	*ret_i = page_find(p, key);
	return *ret_i < p->count && page_key(p, *ret_i) == key;
}

uint32_t page_route(const struct page *p, uint64_t key)
{
	uint32_t i;

	return page_has(p, key, &i) ? i : i - 1; /* some entry's key is not above it: the first one's, if no other */
}

void page_put(struct page *p, const void *entry)
{
	uint32_t size = entry_size(p), i;

	if (!page_has(p, *(const uint64_t *)entry, &i)) {
		memmove(page_entry(p, i + 1), page_entry(p, i), (size_t)(p->count - i) * size);
		p->count++;
	}
	memcpy(page_entry(p, i), entry, size);
}

void page_remove(struct page *p, uint64_t key)
{
	uint32_t i;

	if (!page_has(p, key, &i))
		return;
	p->count--;
	memmove(page_entry(p, i), page_entry(p, i + 1), (size_t)(p->count - i) * entry_size(p));
}

void page_split(struct page *p, struct page *to)
{
	uint32_t keep = p->count / 2;

	memset(to, 0, PAGE_SIZE);
	to->level = p->level;
	to->count = p->count - keep;
	memcpy(to->entries, page_entry(p, keep), (size_t)to->count * entry_size(p));
	p->count = keep;
}
