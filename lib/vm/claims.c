/* SPDX-License-Identifier: MIT */
/*
 * claims.c - who of this process uses which bytes of which store
 *
 * One list for the process.  Claims are made and ended by calls that map and unmap, never by faults.
 */
#include "lib/vm/claims.h"

#include <errno.h>

#include "lib/vm/vm.h"

static struct hmm__claim *claims; /* spaces lock */

/* The end of the interval of a sorted set that holds `at`; `at` if none does. */
static uint64_t past(const struct hmm__interval *set, uint64_t at)
{
	while (set && set->to <= at)
		set = set->next;
	return set && set->from <= at ? set->to : at;
}

/* Do both still hold one and the same byte? */
static bool overlap(const struct hmm__claim *a, const struct hmm__claim *b)
{
	uint64_t at = HMM__MAX(a->from, b->from), end = HMM__MIN(a->to, b->to);

	while (at < end) {
		uint64_t next = HMM__MAX(past(a->released, at), past(b->released, at));

		if (next == at)
			return true;
		at = next;
	}
	return false;
}

static bool conflict(const struct hmm__claim *a, const struct hmm__claim *b)
{
	return hmm__store_same(&a->store, &b->store) && (a->writes || b->writes) && !(a->incoherent && b->incoherent) &&
	       overlap(a, b);
}

static bool conflicts_locked(const struct hmm__claim *claim)
{
	for (const struct hmm__claim *other = claims; other; other = other->next) {
		if (other != claim && conflict(claim, other))
			return true;
	}
	return false;
}

int hmm__claim_make(struct hmm__claim *claim)
{
	int r;

	hmm__spaces_enter();
	r = conflicts_locked(claim) ? -EBUSY : 0;
	if (!r) {
		claim->released = NULL;
		claim->prev = NULL;
		claim->next = claims;
		if (claims)
			claims->prev = claim;
		claims = claim;
		claim->stands = true;
	}
	hmm__spaces_leave();
	return r;
}

int hmm__claim_write(struct hmm__claim *claim)
{
	int r = 0;

	hmm__spaces_enter();
	if (!claim->writes) {
		claim->writes = true;
		r = claim->stands && conflicts_locked(claim) ? -EBUSY : 0;
		claim->writes = !r;
	}
	hmm__spaces_leave();
	return r;
}

void hmm__claim_release(struct hmm__claim *claim, uint64_t from, uint64_t to)
{
	hmm__spaces_enter();
	if (claim->stands)
		(void)!hmm__intervals_add(&claim->released, from, to); /* B2 */
	hmm__spaces_leave();
}

static void unlink_locked(struct hmm__claim *claim)
{
	if (claim->prev)
		claim->prev->next = claim->next;
	else
		claims = claim->next;
	if (claim->next)
		claim->next->prev = claim->prev;
	claim->stands = false;
	hmm__intervals_fini(&claim->released);
}

void hmm__claim_end(struct hmm__claim *claim)
{
	hmm__spaces_enter();
	if (claim->stands)
		unlink_locked(claim);
	hmm__spaces_leave();
}

void hmm__claims_forked(void)
{
	struct hmm__claim *next;

	for (struct hmm__claim *claim = claims; claim; claim = next) {
		next = claim->next;
		if (claim->swap)
			continue;
		claim->released = NULL; /* not freed: the arena's lock may have been another thread's */
		unlink_locked(claim);
	}
}
