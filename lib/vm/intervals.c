/* SPDX-License-Identifier: MIT */
/*
 * intervals.c - a small set of page ranges
 */
#include "lib/vm/intervals.h"

#include <errno.h>

#include "lib/base/arena.h"
#include "lib/base/util.h"

static void drop(struct hmm__interval **link)
{
	struct hmm__interval *i = *link;

	*link = i->next;
	hmm__free(i, sizeof(*i));
}

bool hmm__intervals_meet(const struct hmm__interval *set, uint64_t from, uint64_t to)
{
	for (; set; set = set->next) {
		if (set->from < to && from < set->to)
			return true;
	}
	return false;
}

/* One new entry that swallows all it touches. */
int hmm__intervals_add(struct hmm__interval **set, uint64_t from, uint64_t to)
{
	struct hmm__interval *fresh = hmm__alloc(sizeof(*fresh)), **link = set;

	if (!fresh)
		return -ENOMEM;
	while (*link && (*link)->to < from)
		link = &(*link)->next;
	while (*link && (*link)->from <= to) {
		from = HMM__MIN(from, (*link)->from);
		to = HMM__MAX(to, (*link)->to);
		drop(link);
	}
	*fresh = (struct hmm__interval){ .next = *link, .from = from, .to = to };
	*link = fresh;
	return 0;
}

int hmm__intervals_remove(struct hmm__interval **set, uint64_t from, uint64_t to)
{
	struct hmm__interval *spare = hmm__alloc(sizeof(*spare)), **link = set;

	if (!spare)
		return -ENOMEM;
	while (*link && (*link)->from < to) {
		struct hmm__interval *i = *link;

		if (i->to <= from) {
			link = &i->next;
		} else if (i->from < from && i->to > to) {
			*spare = (struct hmm__interval){ .next = i->next, .from = to, .to = i->to };
			i->next = spare;
			i->to = from;
			return 0;
		} else if (i->from < from) {
			i->to = from;
			link = &i->next;
		} else if (i->to > to) {
			i->from = to;
			link = &i->next;
		} else {
			drop(link);
		}
	}
	hmm__free(spare, sizeof(*spare));
	return 0;
}

void hmm__intervals_fini(struct hmm__interval **set)
{
	while (*set)
		drop(set);
}
