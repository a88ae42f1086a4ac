/* SPDX-License-Identifier: MIT */
/*
 * compose.h - a policy around another: the outer one keeps some pages in orders of its own, the inner one the rest
 *
 * Parameters of a composed policy: [name=value,...:]INNER[:its parameters], as in `gc:s3fifo:small=0.2`,
 * `db:ring=32:lru`, `gc:db:sieve`; without INNER it is lru.
 *
 * C1  The inner policy hears only of pages that are in its order: a page that leaves it without being evicted is
 *     removed(), one that joins it later is missed (without a cookie) and inserted.
 * C2  A page is in one place: its number in orders.order is that of an order, or IN_INNER, or PROPOSED_BY_INNER.
 * C3  State of the inner policy lies behind that of the outer one, aligned as the core aligns; its cookies are the
 *     composed policy's cookies.  Pages evicted from orders of the outer one leave no ghost.
 * C4  A page that awaits its verdict stays where it is, whatever is said of it meanwhile.
 */
#ifndef POLICIES_COMPOSE_H
#define POLICIES_COMPOSE_H

#include <errno.h>
#include <string.h>

#include <hurd-mm/policy.h>

#include "policies/frame-orders.h"
#include "policies/params.h"

#define COMPOSE_NAME_MOST 63  /* characters */
#define COMPOSE_OWN_MOST 255
#define PROPOSED_BY_INNER 255u
#define IN_INNER 254u
#define ORDERS_MOST 254u

/* How a page came, kept for the time when it joins the inner order. */
struct composed_page {
	uint64_t page;
	uint32_t region;
	uint32_t page_class;
};

struct composed {
	const struct hmm_policy_ops *inner;
	void *state;
	struct frame_orders orders;
	struct composed_page *pages; /* by frame */
	uint32_t capacity;
	uint32_t count;              /* pages of the inner order that it has not proposed */
	uint32_t refusals;           /* of its proposals, since one of its pages was evicted */
};

/* Parameters, sizes, start */

/* Split the parameters; own gets those of the outer policy.  Returns the inner one's spec, NULL if own is too long. */
static inline const char *composed_split(const char *params, char own[COMPOSE_OWN_MOST + 1])
{
	size_t length = strcspn(params, ":");

	own[0] = '\0';
	if (memchr(params, '=', length) == NULL)
		return params;
	if (length > COMPOSE_OWN_MOST)
		return NULL;
	memcpy(own, params, length);
	own[length] = '\0';
	return params[length] == ':' ? params + length + 1 : params + length;
}

static inline const struct hmm_policy_ops *composed_find(const char *spec, const char **ret_params)
{
	size_t length = strcspn(spec, ":");
	char name[COMPOSE_NAME_MOST + 1] = "lru";

	if (length > COMPOSE_NAME_MOST)
		return NULL;
	if (length > 0) {
		memcpy(name, spec, length);
		name[length] = '\0';
	}
	*ret_params = spec[length] == ':' ? spec + length + 1 : spec + length;
	return hmm_policy_lookup(name);
}

static inline size_t composed_align(size_t size)
{
	return (size + 63) & ~(size_t)63;
}

/* Bytes before the inner state: the outer policy's own head, orders, pages. */
static inline size_t composed_offset(size_t head, uint32_t capacity, uint32_t norders)
{
	return composed_align(composed_align(head) + capacity * sizeof(struct composed_page) +
	                      frame_orders_size(capacity, norders));
}

/* head: bytes of the outer policy's own structure.  spec: of the inner policy. */
static inline int composed_sizes(const char *spec, size_t head, uint32_t capacity, uint32_t norders,
                                 struct hmm_policy_sizes *sizes)
{
	struct hmm_policy_sizes inner_sizes = { .size = sizeof(inner_sizes) };
	const struct hmm_policy_ops *inner;
	const char *params;
	int r = 0;

	inner = spec != NULL ? composed_find(spec, &params) : NULL;
	if (inner == NULL || capacity > UINT32_MAX - 2 * ORDERS_MOST)
		return -EINVAL;
	if (inner->sizes != NULL)
		r = inner->sizes(capacity, params, &inner_sizes);
	else
		inner_sizes.state = inner->state_size(capacity);
	sizes->state = composed_offset(head, capacity, norders) + inner_sizes.state;
	sizes->ghosts = inner_sizes.ghosts;
	return r;
}

/* composed lies in the outer policy's structure, which begins at state. */
static inline int composed_start(struct composed *composed, const char *spec, void *state, size_t head,
                                 uint32_t capacity, uint32_t frames, uint32_t norders)
{
	const char *params = "";

	composed->inner = composed_find(spec, &params);
	if (composed->inner == NULL)
		return -EINVAL;
	composed->capacity = capacity;
	composed->pages = (struct composed_page *)((char *)state + composed_align(head));
	frame_orders_init(&composed->orders, composed->pages + capacity, capacity, norders);
	composed->state = (char *)state + composed_offset(head, capacity, norders);
	return composed->inner->start(composed->state, capacity, frames, params);
}

/* Where a page is */

static inline bool composed_is_inner(const struct composed *composed, uint32_t frame)
{
	return composed->orders.order[frame] >= IN_INNER;
}

/* No verdict is awaited. */
static inline bool composed_holds(const struct composed *composed, uint32_t frame)
{
	if (composed_is_inner(composed, frame))
		return composed->orders.order[frame] == IN_INNER;
	return frame_orders_holds(&composed->orders, frame);
}

static inline void composed_note_page(struct composed *composed, uint32_t frame, uint64_t page,
                                      const struct hmm_placement *placement)
{
	composed->pages[frame] = (struct composed_page){ page, placement->region, placement->page_class };
}

/* The page, in no order now, is in the inner one from here on. */
static inline void composed_insert(struct composed *composed, uint32_t frame, const struct hmm_placement *placement)
{
	uint64_t page = composed->pages[frame].page;

	composed->orders.order[frame] = IN_INNER;
	composed->count++;
	if (composed->inner->placed != NULL)
		composed->inner->placed(composed->state, frame, page, placement);
	else
		composed->inner->inserted(composed->state, frame, page, placement->region,
		                          (enum hmm_access)placement->access);
}

/* From an order of the outer policy, or from a verdict, to the inner one, as a page that was just used. */
static inline void composed_join(struct composed *composed, uint32_t frame, enum hmm_access access)
{
	const struct composed_page *page = &composed->pages[frame];
	struct hmm_placement placement = {
		.size = sizeof(placement), .region = page->region, .access = access, .page_class = page->page_class,
	};

	frame_orders_take(&composed->orders, frame);
	if (composed->inner->miss != NULL)
		composed->inner->miss(composed->state, page->page, 0, access);
	composed_insert(composed, frame, &placement);
}

/* Out of whichever order it is in, into none; no verdict is awaited. */
static inline void composed_leave(struct composed *composed, uint32_t frame, enum hmm_removed why)
{
	if (!composed_is_inner(composed, frame)) {
		frame_orders_take(&composed->orders, frame);
		return;
	}
	composed->count--;
	composed->inner->removed(composed->state, frame, composed->pages[frame].page, why);
}

/* Hooks, as far as they are the same whatever the outer policy does */

static inline void composed_miss(struct composed *composed, uint64_t page, uint32_t cookie, enum hmm_access access)
{
	if (composed->inner->miss != NULL)
		composed->inner->miss(composed->state, page, cookie, access);
}

static inline void composed_touched(struct composed *composed, const uint32_t *frames, uint32_t n,
                                    enum hmm_access access)
{
	if (n > 0 && composed->inner->touched != NULL)
		composed->inner->touched(composed->state, frames, n, access);
}

/*
 * All that the inner policy has left seems to be refused: pinned, perhaps.  Then what the outer one would rather keep
 * goes first, or nothing would be evicted at all.
 */
static inline bool composed_is_stuck(const struct composed *composed)
{
	return composed->refusals > 0 && composed->refusals >= composed->count;
}

/* Victims from an order of the outer policy. */
static inline uint32_t composed_choose_own(struct composed *composed, uint32_t order, uint32_t want, uint32_t *out)
{
	uint32_t n, frame;

	for (n = 0; n < want && (frame = frame_orders_victim(&composed->orders, order)) != FRAME_NONE; n++) {
		frame_orders_take(&composed->orders, frame);
		out[n] = frame;
	}
	return n;
}

/* Victims from the inner policy.  A bad one may name anything: the core drops what it may not propose. */
static inline uint32_t composed_choose_inner(struct composed *composed, uint32_t want, uint32_t *out, uint32_t scan)
{
	uint32_t n = 0;

	if (want > 0 && scan > 0 && composed->count > 0)
		n = composed->inner->choose(composed->state, want, out, scan);
	for (uint32_t i = 0; i < n && i < want; i++) {
		if (out[i] >= composed->capacity || composed->orders.order[out[i]] != IN_INNER)
			continue;
		composed->orders.order[out[i]] = PROPOSED_BY_INNER;
		composed->count--;
	}
	return n;
}

static inline uint32_t composed_evicted(struct composed *composed, uint32_t frame, uint64_t page)
{
	uint32_t cookie = 0;

	if (composed_is_inner(composed, frame)) {
		composed->count -= composed->orders.order[frame] == IN_INNER;
		composed->refusals = 0;
		cookie = composed->inner->evicted(composed->state, frame, page);
	} else {
		frame_orders_take(&composed->orders, frame);
	}
	frame_orders_count_eviction(&composed->orders);
	return cookie;
}

/* False: the frame is the outer policy's. */
static inline bool composed_rejected(struct composed *composed, uint32_t frame, enum hmm_reject why)
{
	if (!composed_is_inner(composed, frame))
		return false;
	if (composed->orders.order[frame] == PROPOSED_BY_INNER) {
		composed->orders.order[frame] = IN_INNER;
		composed->count++;
	}
	composed->refusals += why != HMM_REJECT_RACED;
	composed->inner->rejected(composed->state, frame, why);
	return true;
}

static inline void composed_removed(struct composed *composed, uint32_t frame, uint64_t page, enum hmm_removed why)
{
	if (composed_is_inner(composed, frame)) {
		composed->count -= composed->orders.order[frame] == IN_INNER;
		composed->inner->removed(composed->state, frame, page, why);
	} else {
		frame_orders_take(&composed->orders, frame);
	}
}

static inline void composed_hint(struct composed *composed, uint32_t frame, struct hmm_page_range range,
                                 enum hmm_hint hint, int64_t value)
{
	if (composed->inner->hint != NULL)
		composed->inner->hint(composed->state, frame, range, hint, value);
}

static inline void composed_resize(struct composed *composed, uint32_t frames)
{
	if (composed->inner->resize != NULL)
		composed->inner->resize(composed->state, frames);
}

static inline void composed_tick(struct composed *composed)
{
	if (composed->inner->tick != NULL)
		composed->inner->tick(composed->state);
}

static inline void composed_stop(struct composed *composed)
{
	if (composed->inner->stop != NULL)
		composed->inner->stop(composed->state);
}

#endif
