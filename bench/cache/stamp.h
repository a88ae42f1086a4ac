/* SPDX-License-Identifier: MIT */
/*
 * stamp.h - what a page holds, so that every answer can be told right from wrong
 *
 * Each line of 64 bytes begins with the page's number and a checksum of number and line.  Then come versions: word 2 + t of
 * the page's first line counts the writes of thread t.
 */
#ifndef BENCH_CACHE_STAMP_H
#define BENCH_CACHE_STAMP_H

#include <stdint.h>
#include <string.h>

#define LINE_BYTES 64u

static inline uint64_t stamp_checksum(uint64_t page, uint32_t line)
{
	return (page * 1024 + line + 1) * UINT64_C(0x9e3779b97f4a7c15);
}

static inline void stamp_fill(void *data, size_t page_size, uint64_t page)
{
	uint64_t *words = data;

	memset(data, 0, page_size);
	for (uint32_t line = 0; line < page_size / LINE_BYTES; line++) {
		words[line * 8] = page;
		words[line * 8 + 1] = stamp_checksum(page, line);
	}
}

/* One line of it: 0, or 1 if it is wrong. */
static inline uint64_t stamp_wrong(const void *data, uint64_t page, uint32_t line)
{
	const volatile uint64_t *words = (const uint64_t *)data + (size_t)line * 8;

	return words[0] != page || words[1] != stamp_checksum(page, line);
}

/* All of it but the versions. */
static inline uint64_t stamp_all_wrong(const void *data, size_t page_size, uint64_t page)
{
	uint64_t wrong = 0;

	for (uint32_t line = 0; line < page_size / LINE_BYTES; line++)
		wrong |= stamp_wrong(data, page, line);
	return wrong;
}

static inline volatile uint64_t *stamp_version(void *data, unsigned thread)
{
	return (volatile uint64_t *)data + 2 + thread;
}

#endif
