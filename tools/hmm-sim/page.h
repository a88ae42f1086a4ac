/* SPDX-License-Identifier: MIT */
/*
 * page.h - the page that shows the curves, made when the program is built (web/build.py)
 */
#ifndef HMM_SIM_PAGE_H
#define HMM_SIM_PAGE_H

#include <stddef.h>

/* The results go between head and tail.  absent: NULL, or why this program was built without the page. */
struct page {
	const char *absent;
	const unsigned char *head, *tail;
	size_t head_size, tail_size;
};

extern const struct page hmm_sim_page;

#endif
