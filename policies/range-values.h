/* SPDX-License-Identifier: MIT */
/*
 * range-values.h - a value for ranges of pages, resident or not: the last 32 that differ from the default
 *
 * What an application says of a range (a priority, a class) holds for pages of it that come later, too.  Few ranges are
 * spoken of, so they are searched one by one, latest first; while there are none this costs one branch.
 */
#ifndef POLICIES_RANGE_VALUES_H
#define POLICIES_RANGE_VALUES_H

#include <stdbool.h>

#include <hurd-mm/policy.h>

#define RANGE_VALUES_MOST 32

struct range_values {
	uint32_t n;
	struct {
		struct hmm_page_range range;
		int64_t value;
	} at[RANGE_VALUES_MOST]; /* oldest first */
};

/* 0 is the default. */
static inline int64_t range_values_get(const struct range_values *values, uint64_t page)
{
	for (uint32_t i = values->n; i > 0; i--) {
		if (page - values->at[i - 1].range.page < values->at[i - 1].range.npages)
			return values->at[i - 1].value;
	}
	return 0;
}

static inline bool range_values_overlap(struct hmm_page_range a, struct hmm_page_range b)
{
	return a.page - b.page < b.npages || b.page - a.page < a.npages;
}

static inline bool range_values_contains(struct hmm_page_range outer, struct hmm_page_range inner)
{
	return inner.page - outer.page < outer.npages && inner.npages <= outer.npages - (inner.page - outer.page);
}

/* Ranges that the new one covers are forgotten; if there is no room, so is the one set longest ago. */
static inline void range_values_set(struct range_values *values, struct hmm_page_range range, int64_t value)
{
	uint32_t n = 0;
	bool overlaps = false;

	for (uint32_t i = 0; i < values->n; i++) {
		if (range_values_contains(range, values->at[i].range))
			continue;
		overlaps |= range_values_overlap(range, values->at[i].range);
		values->at[n++] = values->at[i];
	}
	values->n = n;
	if (range.npages == 0 || (value == 0 && !overlaps))
		return;
	if (n == RANGE_VALUES_MOST) {
		for (uint32_t i = 1; i < n; i++)
			values->at[i - 1] = values->at[i];
		values->n = --n;
	}
	values->at[n].range = range;
	values->at[n].value = value;
	values->n = n + 1;
}

#endif
