/* SPDX-License-Identifier: MIT */
/*
 * content.c - fill a page of the benchmark, and check all of it
 */
#include "bench/fault/content.h"

#include <string.h>

void content_fill(void *page, uint64_t number)
{
	uint64_t *words = page;

	memset(page, 0, PAGE_BYTES);
	words[0] = content_tag(number);
	for (unsigned line = 0; line < PAGE_LINES; line++)
		for (unsigned i = 0; i < 3; i++)
			words[line * LINE_WORDS + RANDOM_WORD + i] = content_word(number, line, i);
}

int content_check(const void *page, uint64_t number)
{
	const uint64_t *words = page;

	if (words[0] != content_tag(number))
		return 1;
	for (unsigned line = 0; line < PAGE_LINES; line++)
		for (unsigned i = 0; i < 3; i++)
			if (words[line * LINE_WORDS + RANDOM_WORD + i] != content_word(number, line, i))
				return 1;
	return 0;
}
