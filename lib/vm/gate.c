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
 */
#include <sched.h>
#include <sys/mman.h>

#include "lib/base/futex.h"
#include "lib/sys/sys.h"
#include "lib/vm/vm.h"

_Atomic uint32_t hmm__signals_matter;

static struct hmm__lock fork_lock = HMM__LOCK_INIT(HMM__RANK_FORK);
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

void hmm__gate_wait(struct hmm_space *space)
{
	while (atomic_load(&space->gate))
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

void hmm__gates_close(void)
{
	hmm__lock(&fork_lock);
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

void hmm__gates_open(void)
{
	for (struct hmm_space *s = hmm__spaces; s; s = s->next) {
		atomic_store(&s->gate, 0);
		hmm__futex_wake(&s->gate, INT32_MAX);
	}
	hmm__unlock(&hmm__spaces_lock);
	hmm__unlock(&fork_lock);
}

void hmm__faults_begin(void)
{
	sigset_t mask;

	if (HMM__LIKELY(atomic_load(&settled)))
		return;
	hmm__signals_block(&mask);
	atomic_store(&hmm__signals_matter, 1);
	hmm__gates_close();
	atomic_store(&settled, 1);
	hmm__gates_open();
	hmm__signals_restore(&mask);
}
