/* SPDX-License-Identifier: MIT */
/*
 * gate.c - a moment when nobody is inside: for fork, and for the first region
 *
 * A thread that is in a call must not be stopped by a signal while it holds a lock that a fault may need: whoever stopped
 * it (a collector that stops the world) would wait for it for ever.  So calls block all signals, which costs two system
 * calls.  As long as a process has no region there are no faults, and a get of a cache that finds its victim clean goes
 * without (hmm__call_begin_light).
 *
 * G1  hmm__signals_matter is set before the first region is made, and never reset.  Who set it waits until all calls that
 *     may have begun without it are over; only then settled is set, and a region may come.
 * G2  A light call counts itself inside before it looks at hmm__signals_matter the last time.
 * G3  A child that was made without fork's handlers (clone(2) by itself, _Fork(3)) is a stray: its userfaultfd and swap file are
 *     its parent's, its threads are not there, and it has no addresses of ours.  The kernel empties the word by which it is
 *     known (MADV_WIPEONFORK), fork's handler fills it again.  A stray does nothing: calls say -ECHILD.
 * G4  The thread that forks passes, with the locks that closing took; so does a pager while it serves a fault of it
 *     (lib/base/forker.h).  A pager never waits at a gate, for the next message may be that one: the accessor stays in the kernel,
 *     and who opens the gates wakes all that do.  What was unmapped meanwhile is dealt with then, too.
 */
#include <sched.h>
#include <sys/mman.h>

#include "lib/base/forker.h"
#include "lib/base/futex.h"
#include "lib/sys/sys.h"
#include "lib/vm/vm.h"

_Atomic uint32_t hmm__signals_matter;

static struct hmm__lock fork_lock = HMM__LOCK_INIT(HMM__RANK_FORK);

/* Unmapped behind our back while gates were closed. */
static struct {
	struct hmm__lock lock;
	bool closed;
	unsigned n;
	struct { uintptr_t address; size_t length; } gone[64];
} later = { .lock = HMM__LOCK_INIT(HMM__RANK_EVENT) };

static _Atomic uint32_t settled; /* 1: every call that is under way has seen hmm__signals_matter (G1) */

static _Atomic uint32_t always = 1;
_Atomic uint32_t *hmm__ours = &always;

/* Before the first space is made.  Not in reach of a second thread yet. */
int hmm__stray_init(void)
{
	size_t size = hmm_page_size();
	_Atomic uint32_t *word;
	void *page;
	int r;

	if (hmm__ours != &always)
		return 0;
	r = hmm__sys_mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0, &page);

	if (r)
		return r;
	r = hmm__sys_madvise(page, size, MADV_WIPEONFORK);
	if (r) {
		hmm__sys_munmap(page, size);
		return r;
	}
	word = page;
	atomic_store(word, 1);
	hmm__ours = word;
	return 0;
}

void hmm__stray_no_more(void)
{
	atomic_store(hmm__ours, 1);
}

void hmm__spaces_enter(void)
{
	if (!hmm__for_forker())
		hmm__lock(&hmm__spaces_lock);
}

void hmm__spaces_leave(void)
{
	if (!hmm__for_forker())
		hmm__unlock(&hmm__spaces_lock);
}

bool hmm__gate_closed(struct hmm_space *space)
{
	return HMM__UNLIKELY(atomic_load(&space->gate)) && !hmm__for_forker();
}

bool hmm__gate_postpone(uintptr_t address, size_t length)
{
	bool postponed;

	hmm__lock(&later.lock);
	postponed = later.closed && later.n < HMM__ARRAY_SIZE(later.gone);
	if (postponed) {
		later.gone[later.n].address = address;
		later.gone[later.n].length = length;
		later.n++;
	}
	hmm__unlock(&later.lock);
	return postponed;
}

static void do_postponed(void)
{
	uintptr_t address;
	size_t length;
	bool more;

	do {
		hmm__lock(&later.lock);
		later.closed = false;
		more = later.n > 0;
		if (more) {
			later.n--;
			address = later.gone[later.n].address;
			length = later.gone[later.n].length;
		}
		hmm__unlock(&later.lock);
		if (more)
			hmm__gone(NULL, address, length);
	} while (more);
}

/* A thread that reads events may have had it. */
void hmm__gates_forked(void)
{
	hmm__lock_init(&later.lock, HMM__RANK_EVENT);
}

void hmm__gate_wait(struct hmm_space *space)
{
	while (hmm__gate_closed(space))
		hmm__futex_wait(&space->gate, 1, UINT64_MAX);
}

static bool quiet(struct hmm_space *space)
{
	if (atomic_load(&space->inside))
		return false;
	for (struct hmm_region *r = space->regions; r; r = r->next) {
		if (atomic_load(&r->refs))
			return false;
	}
	return true;
}

static void close_later(void)
{
	hmm__lock(&later.lock);
	later.closed = true;
	hmm__unlock(&later.lock);
}

void hmm__gates_close(void)
{
	hmm__lock(&fork_lock);
	close_later();
	for (;;) {
		bool all = true;

		hmm__lock(&hmm__spaces_lock);
		for (struct hmm_space *s = hmm__spaces; s; s = s->next) {
			atomic_store(&s->gate, 1);
			all = all && quiet(s);
		}
		if (all)
			return;
		hmm__unlock(&hmm__spaces_lock);
		sched_yield();
	}
}

static void wake_accessors(struct hmm_space *space)
{
	for (struct hmm_region *r = space->regions; r; r = r->next) {
		if (!r->cache && r->engine->delivery == HMM_DELIVERY_THREAD)
			r->engine->ops->wake(r->engine->backend, r->base, r->length);
	}
}

void hmm__gates_open(void)
{
	for (struct hmm_space *s = hmm__spaces; s; s = s->next) {
		atomic_store(&s->gate, 0);
		hmm__futex_wake(&s->gate, INT32_MAX);
		if (atomic_exchange(&s->gate_missed, 0))
			wake_accessors(s);
	}
	hmm__unlock(&hmm__spaces_lock);
	hmm__unlock(&fork_lock);
	do_postponed();
}

void hmm__faults_begin(void)
{
	sigset_t mask;

	if (HMM__LIKELY(atomic_load(&settled)))
		return;
	hmm__signals_block(&mask);
	atomic_store(&hmm__signals_matter, 1);
	if (!hmm__for_forker()) { /* else they are closed */
		hmm__gates_close();
		hmm__gates_open();
	}
	atomic_store(&settled, 1);
	hmm__signals_restore(&mask);
}
