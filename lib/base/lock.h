/* SPDX-License-Identifier: MIT */
/*
 * lock.h - the only lock of the library: a futex mutex that a signal handler may take
 *
 * L1  All signals are blocked while a lock is held: a handler that finds a lock taken finds it taken by another
 *     thread, which runs on; and no stop-the-world signal stops a holder.  Entry points block
 *     (hmm__signals_block), the SIGBUS handler and library threads run with all blocked anyway.  But for some calls
 *     while nobody can fault (lib/vm/gate.c).
 * L2  Locks are taken in the order of their ranks, outer first (enum hmm__rank); debug builds check it.
 * L3  No lock is held across store I/O, an RPC, or a callback of the user's.
 */
#ifndef HMM_BASE_LOCK_H
#define HMM_BASE_LOCK_H

#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

enum hmm__rank {
	HMM__RANK_NONE = 0,
	HMM__RANK_FORK,     /* all spaces, across fork */
	HMM__RANK_REGION,   /* one region's calls: protect */
	HMM__RANK_SPACES,   /* list of spaces, table of regions */
	HMM__RANK_ENGINE,   /* making a backend instance or window */
	HMM__RANK_SPACE,    /* frames, slots, available list, policy */
	HMM__RANK_SWAP,     /* slots of the swap store */
	HMM__RANK_BACKEND,  /* a backend's own books */
	HMM__RANK_STORE,
	HMM__RANK_EVENT,    /* event queue */
	HMM__RANK_REGISTRY, /* policy registry */
	HMM__RANK_PINS,     /* debug builds: who holds which page of a cache */
	HMM__RANK_KEEPER,   /* requests to the keeper of descriptors */
	HMM__RANK_DESCRIPTOR, /* recovering one */
	HMM__RANK_ARENA,    /* innermost */
};

struct hmm__lock {
	_Atomic uint32_t word; /* 0 free, 1 held, 2 held and somebody waits */
	uint32_t rank;
};

#define HMM__LOCK_INIT(r) { .word = 0, .rank = (r) }

void hmm__lock_init(struct hmm__lock *lock, enum hmm__rank rank);
void hmm__lock(struct hmm__lock *lock);   /* spins briefly, then sleeps */
bool hmm__trylock(struct hmm__lock *lock);
void hmm__unlock(struct hmm__lock *lock);
bool hmm__lock_held(struct hmm__lock *lock); /* for assertions: by anybody */

/*
 * Block all signals that can be blocked, and put off cancellation of the thread; returns what to restore, which no other
 * function understands.  Nests.  Leaves errno alone.
 */
void hmm__signals_block(sigset_t *ret_saved);
/* The same, but SIGBUS stays as it is: for who may trap on memory of the program's, and can be served. */
void hmm__signals_block_but_bus(sigset_t *ret_saved);
void hmm__signals_restore(const sigset_t *saved);
/*
 * The same at the end of a handler that the kernel called: it restores the mask itself.  interrupted: the mask of who was
 * interrupted.  The thread may end here if its cancellation is asynchronous.
 */
void hmm__signals_return(const sigset_t *saved, const sigset_t *interrupted);
/* Block exactly what is in one of the two: interrupted has what the kernel put into a handler's context. */
void hmm__signals_set(const sigset_t *interrupted, const sigset_t *more);

#endif
