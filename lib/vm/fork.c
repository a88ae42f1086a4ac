/* SPDX-License-Identifier: MIT */
/*
 * fork.c - a child gets its own copy of the regions that ask for it, and none of the others
 *
 * K1  prepare: the gate of every space is closed and all calls, faults and passes are waited for, so that the child
 *     inherits consistent books.  Swap contents are copied to a store for the child: the two sides must not
 *     share slots.
 * K2  child: what is mapped in a copied region came along by the kernel's copy-on-write, but without its write
 *     protection, so it counts as dirty.  Windows did not come along: what was available is absent again (it is clean,
 *     the store has it); but those of caches that are copied, which are as they were (C13).  userfaultfd and threads are made
 *     anew.
 * K3  If the child can't be given its copy, the range is unmapped there: an access fails, it never reads zeros.
 * K4  Absent addresses are reserved before anything else is mapped in the child: else the stacks of its new threads
 *     would lie there, and a stray access would not fail.
 * K5  A range can be inherited only from the end of prepare to the return in parent and child.  At any other time a child does
 *     not have it: one that was made without these handlers would read zeros where nothing is mapped (gate.c, G3).
 */
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <sys/mman.h>

#include "lib/base/arena.h"
#include "lib/mem/tasks.h"
#include "lib/store/store.h"
#include "lib/sys/sys.h"
#include "lib/vm/cache/cache.h"
#include "lib/vm/record.h"

#define COPY_SLOTS 64u

enum { NOT_INSTALLED, INSTALLING, INSTALLED };
static _Atomic uint32_t installed;
static sigset_t fork_mask;
static bool prepared; /* by this thread, for its fork; not so in a stray (gate.c, G3) */

static bool wants_copy(const struct hmm_space *space)
{
	for (struct hmm_region *r = space->regions; r; r = r->next) {
		if (r->flags & HMM_REGION_COPY_ON_FORK)
			return true;
	}
	return false;
}

static int copy_run(struct hmm_store *from, struct hmm_store *to, uint32_t first, uint32_t n, void *buffer)
{
	struct hmm_store_vec v = { .offset = (uint64_t)first << HMM__PAGE_SHIFT_MIN, .data = buffer,
		                   .length = (size_t)n << HMM__PAGE_SHIFT_MIN };
	int r = hmm__store_read(from, &v, 1);

	return r ? r : hmm__store_write(to, &v, 1);
}

static int clone_swap(struct hmm_space *space, struct hmm_store **ret_store)
{
	struct hmm_swap_options o = { .size = sizeof(o) };
	size_t size = (size_t)COPY_SLOTS << HMM__PAGE_SHIFT_MIN;
	void *buffer = hmm__sparse_alloc(size);
	struct hmm_store *store;
	uint32_t cursor = 0, first, n;
	int r = buffer ? hmm_store_swap(&o, &store) : -ENOMEM;

	if (r) {
		hmm__sparse_free(buffer, buffer ? size : 0);
		return r;
	}
	while (!r && hmm__slots_next_run(space->swap_slots, &cursor, &first, &n)) {
		for (; !r && n; n -= HMM__MIN(n, COPY_SLOTS), first += COPY_SLOTS)
			r = copy_run(space->swap, store, first, HMM__MIN(n, COPY_SLOTS), buffer);
	}
	hmm__sparse_free(buffer, size);
	if (r)
		hmm_store_put(store);
	else
		*ret_store = store;
	return r;
}

/* Pages that only the window has: their store refused them.  The child has no window. */
static int bring_back_refused(struct hmm_space *space)
{
	for (struct hmm_region *region = space->regions; region; region = region->next) {
		if (!(region->flags & HMM_REGION_COPY_ON_FORK))
			continue;
		for (uint64_t p = 0; (p = hmm__page_next_touched(region, p)) < region->npages; p++) {
			uint64_t w = atomic_load(&region->words[p]);
			int r;

			if (hmm__word_state(w) != HMM__AVAILABLE || !(w & HMM__DIRTY))
				continue;
			r = hmm__page_ensure(region, p, HMM_ACCESS_READ, false);
			if (r)
				return r;
		}
	}
	return 0;
}

/* Last of all: while the ranges can be inherited, a clone by another thread that we don't hear of would get them too. */
static int inherit(struct hmm_space *space, int on)
{
	int first = 0;

	for (unsigned e = 0; e < HMM__ENGINES; e++) {
		struct hmm__engine *engine = &space->engines[e];
		bool can = engine->open && engine->ops->size > offsetof(struct hmm_backend_ops, inherit) && engine->ops->inherit;
		int r = can ? engine->ops->inherit(engine->backend, on) : 0;

		first = first ? first : r;
	}
	return first;
}

static void prepare(void)
{
	sigset_t mask;

	prepared = !hmm__is_stray();
	if (!prepared)
		return; /* locks and references are those of threads that are not here */
	hmm__signals_block(&mask);
	hmm__gates_close();
	fork_mask = mask;
	for (struct hmm_space *s = hmm__spaces; s; s = s->next) {
		s->child_swap = NULL;
		s->child_error = 0;
		if (!wants_copy(s))
			continue;
		s->child_error = bring_back_refused(s);
		if (!s->child_error && s->swap_slots)
			s->child_error = clone_swap(s, &s->child_swap);
	}
	for (struct hmm_space *s = hmm__spaces; s; s = s->next) {
		if (wants_copy(s) && !s->child_error)
			s->child_error = inherit(s, 1);
	}
}

static void parent(void)
{
	sigset_t mask = fork_mask;

	if (!prepared)
		return;
	for (struct hmm_space *s = hmm__spaces; s; s = s->next) {
		if (wants_copy(s))
			(void)!inherit(s, 0);
	}
	for (struct hmm_space *s = hmm__spaces; s; s = s->next) {
		hmm_store_put(s->child_swap);
		s->child_swap = NULL;
	}
	hmm__gates_open();
	hmm__signals_restore(&mask);
}

/* Every page of a region that does not live on in the child gives up its frame; what caches have left is counted. */
static void fix_pages(struct hmm_space *space)
{
	struct hmm__cache_kept kept = hmm__cache_forked(space);
	uint64_t held = kept.resident;

	for (uint32_t i = 0; i < space->fresh_frame; i++) {
		struct hmm__frame *f = &space->frames[i];
		hmm__word *word;
		uint64_t w;

		if (!f->region || f->region->cache)
			continue;
		word = &f->region->words[f->page];
		w = atomic_load(word);
		f->listed = f->named = f->refused = 0; /* the list of mapped frames stays as it is */
		if (f->region->flags & HMM_REGION_COPY_ON_FORK && hmm__word_state(w) == HMM__MAPPED &&
		    !space->child_error) {
			held += f->region->weight;
			hmm__page_leave(f->region, f->page, HMM__MAPPED, HMM__FREE, HMM__DIRTY);
			continue;
		}
		if (f->region->flags & HMM_REGION_COPY_ON_FORK && hmm__word_state(w) == HMM__AVAILABLE && w & HMM__DIRTY)
			space->child_error = -EIO; /* only the parent's window has it */
		if (hmm__word_held(w))
			space->held_back -= f->region->weight;
		if (hmm__word_state(w) == HMM__MAPPED)
			hmm__bump(&f->region->resident, -(uint64_t)f->region->weight);
		hmm__policy_removed(space->policy, i, hmm__page_id(f->region, f->page), HMM_REMOVED_UNMAPPED);
		hmm__page_leave_absent(f->region, f->page, 0, 0);
		hmm__frame_put(space, i);
	}
	space->resident = held;
	space->held = held + kept.free;
	space->free_slots = kept.free;
	space->available = space->laundry = space->refused_swap = 0;
	space->available_first = space->available_last = space->named_last = HMM__NO_FRAME;
	space->named = 0;
}

/* Windows that did not come along. */
static void fix_pools(struct hmm_space *space)
{
	for (unsigned e = 0; e < HMM__ENGINES; e++) {
		for (unsigned o = 0; o < HMM__ORDERS; o++) {
			struct hmm__pool *pool = &space->engines[e].pools[o];

			if (!pool->base || e == HMM__CACHES_COPIED)
				continue;
			hmm__slotmap_empty(&pool->map);
			for (unsigned i = 0; i < HMM__BOUNCES; i++)
				atomic_store(&pool->bounce[i], HMM__NO_SLOT);
		}
	}
}

static int reopen(struct hmm_space *space)
{
	int r = space->child_error;

	for (unsigned e = 0; e < HMM__ENGINES; e++) {
		struct hmm__engine *engine = &space->engines[e];

		if (engine->open) {
			int re = engine->ops->reopen(engine->backend);

			r = r ? r : re;
		}
	}
	return r;
}

/* What is absent stays reserved (K4). */
static void drop_pieces(struct hmm_region *region)
{
	uint8_t *from = region->base, *to = from + region->length;
	size_t length;

	for (; hmm__regions_take_locked(region, &from, to, &length); from += length) {
		void *place;

		if (region->flags & HMM_REGION_COPY_ON_FORK)
			region->engine->ops->detach(region->engine->backend, from, length);
		(void)!hmm__sys_mmap(from, length, PROT_NONE,
		                     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED_NOREPLACE, -1, 0, &place);
	}
}

static void fix_regions(struct hmm_space *space, int error)
{
	struct hmm_region *next;

	for (struct hmm_region *region = space->regions; region; region = next) {
		next = region->next;
		if (region->flags & HMM_REGION_COPY_ON_FORK && !error)
			continue;
		atomic_store(&region->dying, 1);
		drop_pieces(region);
		atomic_fetch_sub(&space->nregions, 1);
		if (region->prev)
			region->prev->next = region->next;
		else
			space->regions = region->next;
		if (region->next)
			region->next->prev = region->prev;
	}
}

static void fix_space(struct hmm_space *space)
{
	int r;

	if (space->child_swap) {
		hmm_store_put(space->swap);
		space->swap = space->child_swap;
		space->child_swap = NULL;
	} else if (space->swap_slots) {
		/* the slots are the parent's; a new store is made when it is needed */
		hmm__slots_destroy(space->swap_slots);
		hmm_store_put(space->swap);
		space->swap_slots = NULL;
		space->swap = NULL;
	}
	/* held by a thread that was not inside: delivering events, or reading them */
	hmm__lock_init(&space->event_lock, HMM__RANK_EVENT);
	hmm__record_forked(space);
	fix_pages(space);
	fix_pools(space);
	r = reopen(space);
	if (r)
		fix_regions(space, r);
	if (space->reclaimer_runs)
		(void)!hmm__reclaimer_start(space);
	hmm__assist_reset(space);
}

static void child(void)
{
	sigset_t mask = fork_mask;

	if (!prepared)
		return;
	hmm__stray_no_more();
	hmm__tasks_reset();
	hmm__claims_forked();
	for (struct hmm_space *s = hmm__spaces; s; s = s->next)
		fix_regions(s, 0);
	for (struct hmm_space *s = hmm__spaces; s; s = s->next)
		fix_space(s);
	hmm__gates_open();
	hmm__signals_restore(&mask);
}

int hmm__fork_init(void)
{
	uint32_t none = NOT_INSTALLED;
	int r;

	while (!atomic_compare_exchange_strong(&installed, &none, INSTALLING)) {
		if (none == INSTALLED)
			return 0;
		none = NOT_INSTALLED;
		sched_yield();
	}
	r = hmm__stray_init();
	if (!r)
		r = -pthread_atfork(prepare, parent, child);
	atomic_store(&installed, r ? NOT_INSTALLED : INSTALLED);
	return r;
}
