/* SPDX-License-Identifier: MIT */
/*
 * engine.c - a policy over a trace, exact: one victim a miss
 *
 * A hit costs two loads (the record, the page's frame) and a place in a batch; a miss one call through the table where
 * the policy has the hook exchange, four where not.  The page table is fetched ahead of need, for large traces don't fit
 * in caches.  The loop is compiled several times, without what a run does not need (struct kind); none of the copies
 * knows a policy.
 * The order of hooks is that of policy.h; invariants are in engine_internal.h.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "engine_internal.h"

#define HUGE ((size_t)2 << 20)
#define LIKELY(x) __builtin_expect(!!(x), 1)
#define UNLIKELY(x) __builtin_expect(!!(x), 0)
#define FORCE_INLINE inline __attribute__((always_inline))

/* Memory that is zero, aligned to a page, and backed where it is touched. */
static void *sparse(size_t size)
{
	void *p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (p == MAP_FAILED)
		return NULL;
	if (size >= (size_t)2 << 20)
		madvise(p, size, MADV_HUGEPAGE);
	return p;
}

static int start(struct engine *e, const struct policy_spec *spec)
{
	struct hmm_policy_sizes sizes = { .size = sizeof(sizes) };
	int r;

	if (e->hooks.sizes != NULL) {
		r = e->hooks.sizes(e->frames, spec->params, &sizes);
		if (r != 0)
			return r > 0 ? -EINVAL : r;
	} else {
		sizes.state = e->hooks.state_size(e->frames);
	}
	e->state_size = sizes.state != 0 ? sizes.state : 1;
	e->state = sparse(e->state_size);
	if (e->state == NULL)
		return -ENOMEM;
	r = e->hooks.start(e->state, e->frames, e->frames, spec->params);
	if (r != 0) {
		munmap(e->state, e->state_size);
		e->state = NULL;
	}
	return r > 0 ? -EINVAL : r;
}

int engine_create(const struct policy_spec *spec, uint32_t frames, const struct engine_options *options,
                  struct engine **ret)
{
	struct engine *e = calloc(1, sizeof(*e));
	bool needs_free;
	int r;

	if (e == NULL)
		return -ENOMEM;
	e->hooks = *spec->ops;
	e->frames = frames;
	e->mode = options->mode;
	e->is_anonymous = options->is_anonymous;
	e->tells_hits = e->hooks.touched != NULL;
	e->placement = (struct hmm_placement){ .size = sizeof(e->placement) };
	e->discards = options->discards;
	if (e->discards == DISCARDS_BY_POLICY)
		e->discards = e->hooks.caps & HMM_POLICY_PRIORITY ? DISCARDS_HONOURED : DISCARDS_IGNORED;
	e->held = malloc((size_t)frames * sizeof(*e->held));
	needs_free = e->discards == DISCARDS_UNMAPPED || e->mode != SIM_EXACT;
	if (needs_free)
		e->free = malloc((size_t)frames * sizeof(*e->free));
	r = e->held != NULL && (e->free != NULL || !needs_free) ? start(e, spec) : -ENOMEM;
	if (r == 0 && e->mode != SIM_EXACT && !batched_init(e, options))
		r = -ENOMEM;
	if (r != 0) {
		engine_destroy(e);
		return r;
	}
	memset(e->held, 0xff, (size_t)frames * sizeof(*e->held));
	e->exchange = (struct hmm_exchange){ .size = sizeof(e->exchange), .pages = e->held, .frames = frames,
	                                     .access = HMM_ACCESS_READ };
	*ret = e;
	return 0;
}

void engine_destroy(struct engine *e)
{
	if (e == NULL)
		return;
	if (e->state != NULL) {
		if (e->hooks.stop != NULL)
			e->hooks.stop(e->state);
		munmap(e->state, e->state_size);
	}
	free(e->places);
	free(e->held);
	free(e->page_flags);
	free(e->frame_flags);
	free(e->free);
	free(e->links);
	free(e->victims);
	free(e);
}

static bool longer(void *array, size_t size, uint32_t from, uint32_t to, int fill)
{
	void **at = array;
	uint8_t *bytes = aligned_alloc(HUGE, (size * to + HUGE - 1) & ~(HUGE - 1));

	if (bytes == NULL)
		return false;
	madvise(bytes, (size * to + HUGE - 1) & ~(HUGE - 1), MADV_HUGEPAGE); /* in vain is no matter */
	if (from != 0)
		memcpy(bytes, *at, size * from);
	memset(bytes + size * from, fill, size * (to - from));
	free(*at);
	*at = bytes;
	return true;
}

bool engine_prepare(struct engine *e, uint32_t unique, bool has_operations)
{
	int stored = e->is_anonymous ? 0 : PAGE_STORED;
	uint32_t to = e->npages;

	if (unique > e->npages) {
		to = e->npages != 0 && e->npages < NOBODY / 2 && unique < e->npages * 2 ? e->npages * 2 : unique;
		if (!longer(&e->places, sizeof(*e->places), e->npages, to, 0) ||
		    (e->page_flags != NULL && !longer(&e->page_flags, 1, e->npages, to, stored)))
			return false;
		for (uint32_t page = e->npages; page < to; page++)
			e->places[page] = place_make(NOBODY, 0);
		e->npages = to;
	}
	if (!has_operations && e->mode == SIM_EXACT)
		return true;
	if (e->page_flags == NULL && !longer(&e->page_flags, 1, 0, e->npages, stored))
		return false;
	return e->frame_flags != NULL || longer(&e->frame_flags, 1, 0, e->frames, 0);
}

/* The policy named nothing usable: any page, in the order of frame numbers. */
uint32_t engine_fallback(struct engine *e)
{
	e->counts.mistakes++;
	for (uint32_t looked = 0; looked < e->frames; looked++) {
		uint32_t frame = e->hand;

		e->hand = e->hand + 1 < e->frames ? e->hand + 1 : 0;
		if (e->held[frame] != NO_PAGE && (e->links == NULL || !(e->frame_flags[frame] & FRAME_AVAILABLE)))
			return frame;
	}
	return NOBODY;
}

void engine_tick(struct engine *e)
{
	if (e->hooks.tick != NULL)
		e->hooks.tick(e->state);
}

static void unmap(struct engine *e, uint32_t page, uint32_t frame)
{
	e->places[page] = place_make(NOBODY, 0);
	e->held[frame] = NO_PAGE;
	e->hooks.removed(e->state, frame, page, HMM_REMOVED_DISCARDED);
	e->free[e->nfree++] = frame;
}

/* Contents became garbage.  Hits were flushed. */
void engine_discard(struct engine *e, uint32_t page)
{
	uint32_t frame = place_frame(e->places[page]);

	if (e->discards == DISCARDS_IGNORED)
		return;
	e->page_flags[page] &= (uint8_t)~PAGE_STORED;
	if (frame == NOBODY)
		return;
	e->frame_flags[frame] &= (uint8_t)~FRAME_DIRTY;
	if (e->discards == DISCARDS_UNMAPPED)
		unmap(e, page, frame);
	else if (e->hooks.hint != NULL)
		e->hooks.hint(e->state, frame, (struct hmm_page_range){ page, 1 }, HMM_HINT_DISCARD, 0);
}

void engine_count_group(struct engine *e, uint32_t page)
{
	if (page < e->seen) {
		e->groups[sample_group(page)]++;
		return;
	}
	e->counts.cold++; /* numbers are given in the order of first requests (trace.h) */
	e->seen = page + 1;
}

/* What a copy of the loop is for. */
struct kind {
	bool ops;        /* writes and discards */
	bool tells_hits; /* the policy listens */
	bool is_full;    /* every frame has a page and keeps one */
	bool exchanges;  /* only reads, is_full, and the policy has the hook; no hook tick or placed, no groups */
};

static FORCE_INLINE uint32_t choose(struct engine *e, struct kind kind)
{
	uint32_t frame;

	if (UNLIKELY(e->hooks.choose(e->state, 1, &frame, UINT32_MAX) != 1 || frame >= e->frames ||
	             (!kind.is_full && e->held[frame] == NO_PAGE)))
		frame = engine_fallback(e);
	return frame;
}

static FORCE_INLINE uint32_t take_frame(struct engine *e, struct kind kind)
{
	uint32_t frame;

	if (!kind.is_full && e->used < e->frames)
		return e->used++;
	if (!kind.is_full && e->nfree != 0)
		return e->free[--e->nfree];
	frame = choose(e, kind);
	if (kind.ops)
		engine_clean(e, frame);
	engine_evicted(e, frame, (uint32_t)e->held[frame]);
	return frame;
}

/* The hooks of a miss by one call; it is a read. */
static FORCE_INLINE void exchange(struct engine *e, uint32_t page)
{
	uint32_t frame, old;

	e->counts.misses++;
	frame = e->hooks.exchange(e->state, page, place_cookie(e->places[page]), &e->exchange);
	if (UNLIKELY(frame >= e->frames)) {
		frame = engine_fallback(e);
		engine_evicted(e, frame, (uint32_t)e->held[frame]);
		engine_insert(e, frame, page, HMM_ACCESS_READ);
		return;
	}
	old = (uint32_t)e->held[frame];
	e->held[frame] = page;
	e->places[old] = place_make(NOBODY, e->exchange.cookie);
	e->places[page] = place_make(frame, 0);
}

static FORCE_INLINE void miss(struct engine *e, record r, struct kind kind, enum hmm_access access)
{
	uint32_t page = record_page(r), frame;

	if (kind.exchanges) {
		exchange(e, page);
		return;
	}
	engine_miss(e, page, access);
	frame = take_frame(e, kind);
	if (kind.ops) {
		engine_load(e, page);
		e->frame_flags[frame] = access == HMM_ACCESS_WRITE ? FRAME_DIRTY : 0;
	}
	engine_insert(e, frame, page, access);
}

static FORCE_INLINE void flush(struct engine *e, uint32_t *nhits, enum hmm_access access)
{
	if (*nhits != 0)
		e->hooks.touched(e->state, e->hits, *nhits, access);
	*nhits = 0;
}

/* Returns how many records it took: all, or up to where memory was full if the kind is not for that. */
static FORCE_INLINE size_t run(struct engine *e, const record *records, size_t n, struct kind kind)
{
	const place *places = e->places;
	uint32_t nhits = 0;
	enum hmm_access access = HMM_ACCESS_READ, hits_access = HMM_ACCESS_READ;
	uint64_t discards = 0;
	size_t i;

	for (i = 0; i < n; i++) {
		record r = records[i];
		uint32_t page = record_page(r), frame;

		/* What lies beyond the table, in a streamed trace, is never fetched. */
		__builtin_prefetch((const void *)((uintptr_t)places + record_page(records[i + AHEAD]) * sizeof(*places)));
		if (kind.ops && UNLIKELY(record_operation(r) == OP_DISCARD)) {
			discards++;
			flush(e, &nhits, hits_access);
			engine_discard(e, page);
			continue;
		}
		if (kind.ops)
			access = record_operation(r) == OP_WRITE ? HMM_ACCESS_WRITE : HMM_ACCESS_READ;
		frame = place_frame(places[page]);
		if (frame == NOBODY) {
			if (kind.tells_hits)
				flush(e, &nhits, hits_access);
			if (!kind.ops && !kind.is_full && e->used == e->frames)
				break;
			miss(e, r, kind, access);
			continue;
		}
		if (kind.ops && access == HMM_ACCESS_WRITE)
			e->frame_flags[frame] |= FRAME_DIRTY;
		if (!kind.tells_hits)
			continue;
		if (kind.ops && access != hits_access) {
			flush(e, &nhits, hits_access);
			hits_access = access;
		}
		e->hits[nhits++] = frame;
		if (nhits == HITS_MOST)
			flush(e, &nhits, hits_access);
	}
	flush(e, &nhits, hits_access);
	e->counts.requests += i - discards;
	return i;
}

/* Nothing but reads: memory fills, and is full from then on. */
static void run_reads(struct engine *e, const record *records, size_t n)
{
	bool exchanges = e->hooks.exchange != NULL && e->hooks.tick == NULL && e->hooks.placed == NULL && e->groups == NULL;
	size_t done = 0;

	if (e->tells_hits) {
		if (e->used < e->frames)
			done = run(e, records, n, (struct kind){ .tells_hits = true });
		if (exchanges)
			run(e, records + done, n - done, (struct kind){ .tells_hits = true, .is_full = true, .exchanges = true });
		else
			run(e, records + done, n - done, (struct kind){ .tells_hits = true, .is_full = true });
	} else {
		if (e->used < e->frames)
			done = run(e, records, n, (struct kind){ .ops = false });
		if (exchanges)
			run(e, records + done, n - done, (struct kind){ .is_full = true, .exchanges = true });
		else
			run(e, records + done, n - done, (struct kind){ .is_full = true });
	}
}

bool engine_feed(struct engine *e, const record *records, size_t n, uint32_t unique, bool has_operations)
{
	uint64_t misses = e->counts.misses;
	bool ops = has_operations || e->page_flags != NULL;

	if (!engine_prepare(e, unique, ops))
		return false;
	if (e->mode != SIM_EXACT)
		batched_run(e, records, n);
	else if (ops && e->tells_hits)
		run(e, records, n, (struct kind){ .ops = true, .tells_hits = true });
	else if (ops)
		run(e, records, n, (struct kind){ .ops = true });
	else
		run_reads(e, records, n);
	if (!ops && e->mode == SIM_EXACT) /* nothing was ever written or discarded: all pages are as they began */
		*(e->is_anonymous ? &e->counts.zero_fills : &e->counts.page_ins) += e->counts.misses - misses;
	return true;
}

void engine_counts(const struct engine *engine, struct counts *counts)
{
	*counts = engine->counts;
}

void engine_count_groups(struct engine *engine, uint64_t *groups)
{
	engine->groups = groups;
}
