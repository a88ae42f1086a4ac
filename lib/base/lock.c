/* SPDX-License-Identifier: MIT */
/*
 * lock.c - a futex mutex with three states, and the order of ranks
 *
 * The algorithm is the third mutex of Ulrich Drepper, "Futexes Are Tricky" (2011), with a brief spin before the first
 * sleep: holders run a few hundred instructions and are never stopped by a signal (L1), so the lock is mostly free
 * again before a sleep would have begun.
 */
#include "lib/base/lock.h"

#include <assert.h>
#include <pthread.h>
#include <stddef.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "lib/base/futex.h"
#include "lib/base/util.h"

enum { FREE = 0, HELD = 1, CONTENDED = 2 };

#define SPINS 100

#ifdef HMM_DEBUG
/* How many locks of each rank this thread holds: L2. */
static _Thread_local uint32_t held[HMM__RANK_ARENA + 1];

/*
 * Every rank held is below that of the lock to take.  Across fork all locks of a rank are taken, one after the other;
 * nobody else holds two of one rank, so that can't deadlock.  Who forks has the list of spaces already when it brings a
 * page of a read-only part back, or takes one, and the arena when a handler older than ours traps: nobody is inside then, so
 * nobody has a lock of a region or a space and waits for these two.
 */
static bool allowed_to_forker(uint32_t rank, uint32_t held_rank)
{
	return held[HMM__RANK_FORK] > 0 &&
	       (held_rank == HMM__RANK_ARENA || (held_rank == HMM__RANK_SPACES && rank == HMM__RANK_REGION));
}

static void check_order(uint32_t rank)
{
	assert(rank > HMM__RANK_NONE && rank <= HMM__RANK_ARENA);
	for (uint32_t r = rank + 1; r <= HMM__RANK_ARENA; r++)
		assert((held[r] == 0 || allowed_to_forker(rank, r)) && "locks are taken in the order of their ranks");
	assert((held[rank] == 0 || held[HMM__RANK_FORK] > 0) && "one lock of a rank at a time");
}

static void note_taken(uint32_t rank)
{
	held[rank]++;
}

static void note_given(uint32_t rank)
{
	assert(held[rank] > 0 && "who takes a lock gives it back");
	held[rank]--;
}
#else
static void check_order(uint32_t rank)
{
	(void)rank;
}

static void note_taken(uint32_t rank)
{
	(void)rank;
}

static void note_given(uint32_t rank)
{
	(void)rank;
}
#endif

void hmm__lock_init(struct hmm__lock *lock, enum hmm__rank rank)
{
	atomic_store_explicit(&lock->word, FREE, memory_order_relaxed);
	lock->rank = rank;
}

static bool take_if_free(struct hmm__lock *lock)
{
	uint32_t expected = FREE;

	return atomic_compare_exchange_strong_explicit(&lock->word, &expected, HELD, memory_order_acquire,
	                                               memory_order_relaxed);
}

static bool spin(struct hmm__lock *lock)
{
	for (int i = 0; i < SPINS; i++) {
		uint32_t word = atomic_load_explicit(&lock->word, memory_order_relaxed);

		if (word == FREE && take_if_free(lock))
			return true;
		if (word == CONTENDED)
			return false; /* others sleep already: no use */
		hmm__cpu_relax();
	}
	return false;
}

void hmm__lock(struct hmm__lock *lock)
{
	check_order(lock->rank);
	if (HMM__UNLIKELY(!take_if_free(lock)) && !spin(lock))
		while (atomic_exchange_explicit(&lock->word, CONTENDED, memory_order_acquire) != FREE)
			hmm__futex_wait(&lock->word, CONTENDED, UINT64_MAX);
	note_taken(lock->rank);
}

bool hmm__trylock(struct hmm__lock *lock)
{
	/* Who does not wait can't deadlock: any order is right. */
	if (!take_if_free(lock))
		return false;
	note_taken(lock->rank);
	return true;
}

void hmm__unlock(struct hmm__lock *lock)
{
	/* A pointer for the wake only: the lock may be gone as soon as it is free.  A stray wake does no harm. */
	_Atomic uint32_t *word = &lock->word;
	uint32_t before;

	note_given(lock->rank);
	before = atomic_exchange_explicit(word, FREE, memory_order_release);
	assert(before != FREE);
	if (HMM__UNLIKELY(before == CONTENDED))
		hmm__futex_wake(word, 1);
}

bool hmm__lock_held(struct hmm__lock *lock)
{
	return atomic_load_explicit(&lock->word, memory_order_relaxed) != FREE;
}

/*
 * The kernel's set has 64 signals; the C library's is larger, and its sigfillset() leaves out two that it uses itself
 * (thread cancellation, and setuid() in all threads), which must wait for a lock as well.
 *
 * A thread that is asked to end by pthread_cancel(3) does so at a cancellation point, whatever signals are blocked.  The
 * library has none, but a caller's callback may (read(2) in a store), so cancellation is off as well.  What it was is kept
 * behind the kernel's part of the set, so that it goes and comes back with the mask.
 */
#define KERNEL_SET_BYTES ((size_t)8)

struct saved {
	uint64_t signals;
	int cancel_state;
};
_Static_assert(sizeof(struct saved) <= sizeof(sigset_t), "what is saved has room in a set of the C library's");

static void set_mask(int how, const void *set, void *ret_old)
{
	long r = syscall(SYS_rt_sigprocmask, how, set, ret_old, KERNEL_SET_BYTES);

	assert(r == 0);
	(void)r;
}

static void block(uint64_t signals, sigset_t *ret_saved)
{
	struct saved saved = { 0 };

	set_mask(SIG_BLOCK, &signals, &saved.signals);
	pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &saved.cancel_state);
	sigemptyset(ret_saved);
	memcpy(ret_saved, &saved, sizeof(saved));
}

void hmm__signals_block(sigset_t *ret_saved)
{
	block(UINT64_MAX, ret_saved);
}

void hmm__signals_block_but_bus(sigset_t *ret_saved)
{
	block(~(UINT64_C(1) << (SIGBUS - 1)), ret_saved);
}

/*
 * Cancellation that is asynchronous and has been asked for meanwhile ends the thread in the last line, as if it had been
 * asked a moment later: its cleanup handlers may fault, so the mask must be restored by then.  By way of the type, for some
 * versions of the C library forget the thread's result in pthread_setcancelstate().
 */
static void cancel_again(const struct saved *saved, const void *mask)
{
	int type;

	if (saved->cancel_state == PTHREAD_CANCEL_DISABLE)
		return;
	pthread_setcanceltype(PTHREAD_CANCEL_DEFERRED, &type);
	pthread_setcancelstate(PTHREAD_CANCEL_ENABLE, NULL);
	if (type == PTHREAD_CANCEL_DEFERRED)
		return;
	if (mask)
		set_mask(SIG_SETMASK, mask, NULL);
	pthread_setcanceltype(type, NULL);
}

void hmm__signals_restore(const sigset_t *saved)
{
	struct saved before;

	memcpy(&before, saved, sizeof(before));
	set_mask(SIG_SETMASK, &before.signals, NULL);
	cancel_again(&before, NULL);
}

void hmm__signals_return(const sigset_t *saved, const sigset_t *interrupted)
{
	struct saved before;

	memcpy(&before, saved, sizeof(before));
	cancel_again(&before, interrupted);
}

void hmm__signals_set(const sigset_t *interrupted, const sigset_t *more)
{
	uint64_t a, b;

	memcpy(&a, interrupted, sizeof(a)); /* the kernel's is no longer than this */
	memcpy(&b, more, sizeof(b));
	a |= b;
	set_mask(SIG_SETMASK, &a, NULL);
}
