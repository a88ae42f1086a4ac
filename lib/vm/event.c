/* SPDX-License-Identifier: MIT */
/*
 * event.c - tell the application what went wrong, outside of the fault that saw it
 *
 * The fault path only queues; the background thread (or hmm_space_poll) delivers, without any lock.  The queue is
 * bounded and in the space; what does not fit is counted.
 */
#include <string.h>

#include "lib/base/clock.h"
#include "lib/vm/vm.h"

void hmm__event(struct hmm_space *space, enum hmm_event_kind kind, struct hmm_region *region, uint64_t page,
                uint64_t npages, int error, const char *text)
{
	struct hmm_event *e;
	uint32_t at;

	hmm__lock(&space->event_lock);
	if (space->event_count == HMM__EVENTS) {
		hmm__unlock(&space->event_lock);
		HMM__COUNT(space, events_dropped, 1);
		return;
	}
	at = (space->event_first + space->event_count++) % HMM__EVENTS;
	e = &space->events[at];
	*e = (struct hmm_event){ .size = sizeof(*e), .kind = kind, .error = error, .npages = npages };
	if (region && region->cache) {
		e->cache = region->cache;
		e->page = page;
	} else if (region) {
		e->region = region;
		e->address = hmm__page_address(region, page);
	}
	if (text) {
		strncpy(space->event_text[at], text, sizeof(space->event_text[at]) - 1);
		e->text = space->event_text[at];
	}
	hmm__unlock(&space->event_lock);
	hmm__reclaimer_wake(space);
}

void hmm__events_deliver(struct hmm_space *space)
{
	for (;;) {
		struct hmm_event e;
		char text[sizeof(space->event_text[0])];

		hmm__lock(&space->event_lock);
		if (!space->event_count) {
			hmm__unlock(&space->event_lock);
			return;
		}
		e = space->events[space->event_first];
		if (e.text) {
			memcpy(text, e.text, sizeof(text));
			e.text = text;
		}
		space->event_first = (space->event_first + 1) % HMM__EVENTS;
		space->event_count--;
		hmm__unlock(&space->event_lock);
		if (space->event)
			space->event(space->event_arg, &e);
	}
}

/* The region goes: events that wait must not name it any more. */
void hmm__events_forget(struct hmm_space *space, struct hmm_region *region)
{
	sigset_t mask;

	hmm__signals_block(&mask);
	hmm__lock(&space->event_lock);
	for (uint32_t i = 0; i < space->event_count; i++) {
		struct hmm_event *e = &space->events[(space->event_first + i) % HMM__EVENTS];

		if (e->region == region)
			e->region = NULL;
		if (region->cache && e->cache == region->cache)
			e->cache = NULL;
	}
	for (unsigned i = 0; i < HMM__POISONED_MAX; i++) {
		if (space->poisoned[i].region == region)
			space->poisoned[i].region = NULL;
	}
	hmm__unlock(&space->event_lock);
	hmm__signals_restore(&mask);
}

/* Take the poison off, so that the next access tries again. */
void hmm__poison_cure(struct hmm_region *region, uint64_t page)
{
	hmm__word *word = &region->words[page];
	uint64_t w = atomic_load(word);

	if (hmm__word_state(w) != HMM__ABSENT || !(w & HMM__POISONED) ||
	    !hmm__word_cas(word, &w, hmm__word_with_state(w, HMM__LOADING)))
		return;
	region->engine->ops->poison(region->engine->backend, hmm__page_address(region, page),
	                            (size_t)1 << region->shift, 0);
	hmm__page_leave_absent(region, page, HMM__POISONED, 0);
}

/* A place for one more: the free one, or the oldest. */
static struct hmm__poisoned *oldest(struct hmm_space *space)
{
	struct hmm__poisoned *best = &space->poisoned[0];

	for (unsigned i = 0; i < HMM__POISONED_MAX; i++) {
		if (!space->poisoned[i].region)
			return &space->poisoned[i];
		if (space->poisoned[i].since < best->since)
			best = &space->poisoned[i];
	}
	return best;
}

void hmm__poison_add(struct hmm_region *region, uint64_t page)
{
	struct hmm_space *space = region->space;
	struct hmm__poisoned *p, old;

	hmm__lock(&space->event_lock);
	p = oldest(space);
	old = *p;
	*p = (struct hmm__poisoned){ region, region->id, page, hmm__now_ns() };
	hmm__unlock(&space->event_lock);
	atomic_store(&space->npoisoned, 1);
	if (old.region && hmm__region_hold_inside(old.region)) {
		if (old.region->id == old.region_id)
			hmm__poison_cure(old.region, old.page);
		hmm__region_put(old.region);
	}
	hmm__reclaimer_wake(space);
}

void hmm__poison_expire(struct hmm_space *space, uint64_t older_than_ns)
{
	uint64_t now = hmm__now_ns();
	uint32_t left = 0;

	atomic_store(&space->npoisoned, 0); /* before the look: one that is added meanwhile sets it again */
	for (unsigned i = 0; i < HMM__POISONED_MAX; i++) {
		struct hmm__poisoned p;

		hmm__lock(&space->event_lock);
		p = space->poisoned[i];
		if (p.region && now - p.since >= older_than_ns)
			space->poisoned[i].region = NULL;
		else if (p.region)
			left++;
		hmm__unlock(&space->event_lock);
		if (!p.region || now - p.since < older_than_ns || !hmm__region_hold_inside(p.region))
			continue;
		if (p.region->id == p.region_id)
			hmm__poison_cure(p.region, p.page);
		hmm__region_put(p.region);
	}
	if (left)
		atomic_store(&space->npoisoned, 1);
}
