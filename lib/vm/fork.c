/* SPDX-License-Identifier: MIT */
/*
 * fork.c - a child gets its own copy of the regions that ask for it, and none of the others
 *
 * K1  prepare: the gate of every space is closed and all calls, faults and passes are waited for, so that the child
 *     inherits consistent books.  What is in swap is frozen for both sides, and copied by neither (lineage.h).
 * K2  child: what is mapped in a copied region came along by the kernel's copy-on-write, but without its write
 *     protection, so it counts as dirty.  Windows did not come along: what was available is absent again (it is clean,
 *     the store has it); but those of caches that are copied, which are as they were (C13).  userfaultfd and threads are made
 *     anew.
 * K3  If the child can't be given its copy, the range is unmapped there: an access fails, it never reads zeros.
 * K4  Absent addresses are reserved before anything else is mapped in the child: else the stacks of its new threads
 *     would lie there, and a stray access would not fail.  (Those of windows are inherited, empty.)
 * K5  A range can be inherited only from the end of prepare to the return in parent and child.  At any other time a child does
 *     not have it: one that was made without these handlers would read zeros where nothing is mapped (gate.c, G3).
 * K6  The handlers are registered when the library is loaded: those of the program's that are younger, nearly all, run before
 *     our prepare and after our parent and child, so they find everything as usual.  Older ones are malloc's at least.  They run
 *     between prepare and parent, where the thread that forks may trap: its faults are served, at gates that are closed to all
 *     others (gate.c, G4).  In the child they run before ours, and find what was resident, but zeros where a page was not.
 * K7  While books and locks are ours the thread does not trap: a stack that lies in a region is left for one of our own.
 */
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stddef.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <ucontext.h>

#include "lib/base/forker.h"
#include "lib/mem/ownstack.h"
#include "lib/mem/tasks.h"
#include "lib/sys/sys.h"
#include "lib/vm/cache/cache.h"
#include "lib/vm/lineage.h"
#include "lib/vm/record.h"

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

/* Pages that only the window has: their store refused them.  The child has no window. */
static int bring_back_refused(struct hmm_space *space)
{
	if (!space->refused_swap)
		return 0;
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

/* --- the stack (K7) --- */

#define STACK_BYTES ((size_t)1 << 18)

struct stack {
	void (*run)(void);
	ucontext_t back, on;
	max_align_t room[];
};
static _Thread_local struct stack *stack; /* NULL: the thread's own is good */

static void prepare_stack(void)
{
	void *memory;

	stack = NULL;
	if (HMM__UNLIKELY(hmm__regions_contain((uintptr_t)__builtin_frame_address(0))) &&
	    !hmm__sys_mmap(NULL, STACK_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0, &memory))
		stack = memory;
}

static void drop_stack(void)
{
	if (stack)
		hmm__sys_munmap(stack, STACK_BYTES);
	stack = NULL;
}

static void run_blocked(void (*run)(void))
{
	sigset_t mask;

	hmm__signals_block(&mask);
	run();
	hmm__signals_restore(&mask);
}

static void run_there(void)
{
	run_blocked(stack->run);
}

/* What runs takes locks, and leaves books half changed: no trap is served then. */
static void without_traps(void (*run)(void))
{
	if (HMM__LIKELY(!stack) || getcontext(&stack->on)) {
		run_blocked(run);
		return;
	}
	stack->run = run;
	stack->on.uc_stack.ss_sp = stack->room;
	stack->on.uc_stack.ss_size = STACK_BYTES - sizeof(*stack);
	stack->on.uc_link = &stack->back;
	makecontext(&stack->on, run_there, 0);
	swapcontext(&stack->back, &stack->on);
}

/* --- prepare --- */

static void close_and_freeze(void)
{
	hmm__gates_close();
	hmm__forker_begin();
	for (struct hmm_space *s = hmm__spaces; s; s = s->next) {
		s->child_error = 0;
		if (!wants_copy(s))
			continue;
		s->child_error = bring_back_refused(s);
		if (!s->child_error)
			s->child_error = hmm__lineage_fork(s);
	}
	for (struct hmm_space *s = hmm__spaces; s; s = s->next) {
		if (wants_copy(s) && !s->child_error)
			s->child_error = inherit(s, 1);
	}
}

static void prepare(void)
{
	sigset_t mask;

	/* in a stray, locks and references are those of threads that are not here */
	prepared = atomic_load(&installed) == INSTALLED && !hmm__is_stray();
	if (!prepared)
		return;
	prepare_stack();
	hmm__signals_block_but_bus(&mask); /* handlers that run after this one may trap */
	without_traps(close_and_freeze);
	fork_mask = mask;
}

/* --- parent --- */

static void thaw_and_open(void)
{
	for (struct hmm_space *s = hmm__spaces; s; s = s->next) {
		if (wants_copy(s))
			(void)!inherit(s, 0);
		hmm__lineage_parent(s);
	}
	hmm__forker_end();
	hmm__gates_open();
}

static void parent(void)
{
	sigset_t mask = fork_mask;

	if (!prepared)
		return;
	without_traps(thaw_and_open);
	drop_stack();
	hmm__signals_restore(&mask);
}

/* --- child --- */

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

static int hold(void *from, size_t length, int how)
{
	void *place;

	return hmm__sys_mmap(from, length, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | how, -1, 0, &place);
}

/* What came along must go, or what was not mapped there would read zeros. */
static void take_away(void *from, size_t length)
{
	unsigned tries = 0;

	while (hold(from, length, MAP_FIXED) && hmm__sys_munmap(from, length) && ++tries < 3)
		;
}

/*
 * What is absent stays reserved (K4): before anything else is mapped, and before the backend is renewed, for until then its
 * userfaultfd is the parent's.  error: those that have a copy do not keep it.
 */
static void reserve(struct hmm_space *space, int error)
{
	for (struct hmm_region *region = space->regions; region; region = region->next) {
		bool came = region->flags & HMM_REGION_COPY_ON_FORK;
		uint8_t *from = region->base, *to = from + region->length;
		size_t length;

		if (came && !error)
			continue;
		atomic_store(&region->dying, 1);
		for (; hmm__regions_take_locked(region, &from, to, &length); from += length) {
			if (came)
				take_away(from, length);
			else
				(void)!hold(from, length, MAP_FIXED_NOREPLACE);
		}
	}
}

/*
 * With the backend renewed: it still has the ranges.  First, for where its thread did not start nobody would read the event of
 * an unmapping.
 */
static void detach_copies(struct hmm_space *space)
{
	for (struct hmm_region *region = space->regions; region; region = region->next) {
		if (!(region->flags & HMM_REGION_COPY_ON_FORK))
			continue;
		region->engine->ops->detach(region->engine->backend, region->base, region->length);
		(void)!hold(region->base, region->length, MAP_FIXED_NOREPLACE);
	}
}

static void forget_dying(struct hmm_space *space)
{
	struct hmm_region *next;

	for (struct hmm_region *region = space->regions; region; region = next) {
		next = region->next;
		if (!atomic_load(&region->dying))
			continue;
		hmm__lineage_forget(region);
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
	int error;

	/* held by a thread that was not inside: delivering events, or reading them */
	hmm__lock_init(&space->event_lock, HMM__RANK_EVENT);
	hmm__record_forked(space);
	space->flags &= ~(uint32_t)HMM_SPACE_LOCK; /* the kernel gives a child none */
	error = reopen(space);
	error = hmm__lineage_child(space, error ? error : wants_copy(space) ? 0 : -ECHILD);
	space->child_error = error;
	fix_pages(space);
	fix_pools(space);
	if (space->child_error != error)
		(void)!hmm__lineage_child(space, space->child_error);
	if (space->child_error) {
		detach_copies(space);
		reserve(space, space->child_error);
	}
	forget_dying(space);
	if (space->reclaimer_runs)
		(void)!hmm__reclaimer_start(space);
	hmm__assist_reset(space);
}

static void renew_and_open(void)
{
	hmm__stray_no_more();
	hmm__gates_forked();
	hmm__forker_begin(); /* by its new number */
	hmm__tasks_reset();
	hmm__ownstack_forked();
	hmm__claims_forked();
	for (struct hmm_space *s = hmm__spaces; s; s = s->next)
		reserve(s, s->child_error);
	for (struct hmm_space *s = hmm__spaces; s; s = s->next)
		fix_space(s);
	hmm__forker_end();
	hmm__gates_open();
}

static void child(void)
{
	sigset_t mask = fork_mask;

	if (!prepared)
		return;
	without_traps(renew_and_open);
	drop_stack();
	hmm__signals_restore(&mask);
}

/* --- the handlers --- */

static int registered = -EAGAIN; /* 0, or why not */

/*
 * At load, right after the arena's (K6).  malloc is used first, so that its handlers are older than ours, as far as it has any and
 * makes them when it begins.
 */
__attribute__((constructor(102))) static void install_fork_handlers(void)
{
	void *volatile begun = malloc(1);

	free(begun);
	if (registered) /* a space of an older constructor's may have done so */
		registered = -pthread_atfork(prepare, parent, child);
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
	if (!r && registered) /* there was no memory */
		r = registered = -pthread_atfork(prepare, parent, child);
	atomic_store(&installed, r ? NOT_INSTALLED : INSTALLED);
	return r;
}
