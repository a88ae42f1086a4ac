/* SPDX-License-Identifier: MIT */
/*
 * store_pages.h - pages with contents that can be told apart, for the tests of stores
 */
#ifndef HMM_TESTS_STORE_PAGES_H
#define HMM_TESTS_STORE_PAGES_H

#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include <check.h>
#include <hurd-mm/store.h>

/* Memory for n pages, each byte 0xee, so that a read that leaves something out is seen. */
static inline char *pages_new(size_t n)
{
	char *pages = mmap(NULL, n * hmm_page_size(), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	ck_assert_ptr_ne(pages, MAP_FAILED);
	memset(pages, 0xee, n * hmm_page_size());
	return pages;
}

static inline void pages_free(char *pages, size_t n)
{
	munmap(pages, n * hmm_page_size());
}

/* The contents of a page: every 8 bytes from the tag and the position, so that parts of pages can't be confused. */
static inline void page_fill(char *page, uint64_t tag)
{
	for (size_t i = 0; i < hmm_page_size(); i += sizeof(uint64_t)) {
		uint64_t word = (tag + 1) * 0x9e3779b97f4a7c15u + i;

		memcpy(page + i, &word, sizeof(word));
	}
}

/* The first `length` bytes of the page are those of tag, and the rest is zero. */
static inline bool page_is_part(const char *page, uint64_t tag, size_t length)
{
	char *expected = calloc(1, hmm_page_size());
	bool same;

	ck_assert_ptr_nonnull(expected);
	page_fill(expected, tag);
	memset(expected + length, 0, hmm_page_size() - length);
	same = memcmp(page, expected, hmm_page_size()) == 0;
	free(expected);
	return same;
}

static inline bool page_is(const char *page, uint64_t tag)
{
	return page_is_part(page, tag, hmm_page_size());
}

static inline bool page_is_byte(const char *page, int byte)
{
	for (size_t i = 0; i < hmm_page_size(); i++)
		if (page[i] != (char)byte)
			return false;
	return true;
}

/* One piece of one page; error starts with something that no call leaves behind. */
static inline struct hmm_store_vec piece(uint64_t page, char *data)
{
	return (struct hmm_store_vec){ page * hmm_page_size(), data, hmm_page_size(), 12345 };
}

/* Write one page with contents `tag`, or read one and say whether it is that. */
static inline int put_page(struct hmm_store *store, uint64_t page, uint64_t tag)
{
	char *data = pages_new(1);
	struct hmm_store_vec vec = piece(page, data);
	int error;

	page_fill(data, tag);
	error = hmm_store_write(store, &vec, 1);
	ck_assert_int_eq(vec.error, error);
	pages_free(data, 1);
	return error;
}

static inline bool has_page(struct hmm_store *store, uint64_t page, uint64_t tag)
{
	char *data = pages_new(1);
	struct hmm_store_vec vec = piece(page, data);
	bool same = hmm_store_read(store, &vec, 1) == 0 && page_is(data, tag);

	pages_free(data, 1);
	return same;
}

static inline bool has_zeros(struct hmm_store *store, uint64_t page)
{
	char *data = pages_new(1);
	struct hmm_store_vec vec = piece(page, data);
	bool same = hmm_store_read(store, &vec, 1) == 0 && page_is_byte(data, 0);

	pages_free(data, 1);
	return same;
}

static inline struct hmm_store_stats store_stats(struct hmm_store *store)
{
	struct hmm_store_stats stats = { .size = sizeof(stats) };

	ck_assert_int_eq(hmm_store_stats(store, &stats), 0);
	return stats;
}

#endif
