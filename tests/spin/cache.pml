/* SPDX-License-Identifier: MIT */
/*
 * cache.pml - a page of a cache, for Spin: pins, write-outs, evictions and optimistic reads in every interleaving
 *
 * One page, one page slot, which another page has between an eviction and the next load.  The fields of the word change in
 * one atomic step where the C code has a compare-and-swap.  Contents are two halves, so that half a change shows.
 *
 * Step of the model        C function
 *   get                    cache/get.c   hmm__cache_pin(), hmm__cache_enter(); cache/load.c look(), bring_in()
 *   place                  cache/place.c settle()
 *   writer                 a program: get for writing, change, put with DIRTY; cache/put.c change()
 *   pinner                 a program: get for reading, look, put; in a slot of its thread where that can be (pin_here(), put_here())
 *   claim, write, finish   cache/write.c hmm__cache_claim_dirty(), hmm__cache_write()
 *   flusher                cache/flush.c claim_late(), hold_off(), let_in()
 *   holder                 a program: gets for writing twice, the second while it has the first; changes nothing
 *   late                   cache/load.c  stand_back(): time is over, at any moment
 *   evictor                cache/evict.c hmm__cache_take_victim(), hmm__cache_close(), hmm__cache_gone()
 *   optimist               cache/get.c   hmm_cache_read_begin(), hmm_cache_read_retry()
 *   page_wait, wake        pages.c
 *
 * Properties:
 *   no write-out while a writer is in; what the store gets is whole, and its log is durable (C3, C5)
 *   nothing is evicted that is pinned, dirty or being written; what is loaded again is the latest change (C1, H1)
 *   what an optimistic reader keeps is whole and the page's own (C6)
 *   while a page is dirty its position is known (C4)
 *   every process reaches its end
 *
 * Left out: several writers that change a page (their own latches order them), discard and rekey, compaction, memory order weaker
 * than sequential consistency.
 *
 * Seeded mistakes, each of which Spin must find (tests/spin/run.py):
 *   -DBREAK_CLAIM      a write-out begins while a writer is in
 *   -DBREAK_ENTER      a writer enters during a write-out
 *   -DBREAK_PINNED     a pinned page is evicted
 *   -DBREAK_UNSAVED    a dirty page is evicted
 *   -DBREAK_WRITER     a writer does not change the version
 *   -DBREAK_EARLY      the version changes before a writer has entered, not after
 *   -DBREAK_LEFT       a page that leaves, and one that comes, do not change the version
 *   -DBREAK_LOG        the log is not asked
 *   -DBREAK_POSITION   positions are reset after the page has become clean
 *   -DBREAK_WAKE       who ends a write-out forgets those who wait
 *   -DBREAK_SLOT       who pins in a slot looks at the word before it writes the slot, not after
 *   -DBREAK_SCAN       who evicts looks at the slots before it changes the word, not after
 *   -DBREAK_HOLD       a writer stands back for a flush without a limit
 *   -DBREAK_OVERDUE    a writer whose time is over does not wait for a write-out, either
 *   -DBREAK_RESTORE    who finds a page in a slot forgets those who wait for it
 */
#define ABSENT 0
#define LOADING 1
#define MAPPED 2
#define FOREIGN 99

#ifndef ROUNDS
#define ROUNDS 2
#endif

/* the word */
byte state = ABSENT, pins = 0, writers = 0;
bool dirty = false, writeback = false, waiters = false, due = false;

bool slot[2];                /* of the pinners */

byte wakes = 0;              /* futex: who sleeps has seen another number */
bool lock = false;           /* the space's */
byte version = 0;
byte half[2], store[2];      /* contents: the number of the change */
byte latest = 0;             /* the change made last */
byte last = 0, durable = 0;  /* the page's position, the log's end on disk */

/* Sleep while c; c is looked at by the kernel again, with waiters set. */
inline page_wait(c)
{
	if
	:: atomic { (c) -> waiters = true }
	:: atomic { !(c) -> skip }
	fi;
	if
	:: atomic { (c) && waiters -> seen = wakes };
		wakes != seen
	:: atomic { !((c) && waiters) -> skip }
	fi
}

inline wake()
{
	if
	:: woken -> wakes++
	:: else
	fi
}

/* The page is LOADING and ours. */
inline load(w)
{
	atomic { !lock -> lock = true };
#ifndef BREAK_LEFT
	version++;
#endif
	lock = false;
	half[0] = store[0];
	half[1] = store[1];
	assert(half[0] == latest && half[1] == latest);
	atomic {
		state = MAPPED; pins = 1; writers = w; dirty = false;
		woken = waiters; waiters = false
	};
	wake()
}

#ifdef BREAK_ENTER
#define MAY_ENTER(w) (state == MAPPED)
#else
#ifdef BREAK_OVERDUE
#define MAY_ENTER(w) (state == MAPPED && !(w && (writeback || due) && !late))
#else
#define MAY_ENTER(w) (state == MAPPED && !(w && (writeback || (due && !late))))
#endif
#endif
#define MUST_WAIT(w) (!MAY_ENTER(w) && state != ABSENT && !STANDS_BACK(w))
#ifdef BREAK_HOLD
#define STANDS_BACK(w) (false)
#else
#define STANDS_BACK(w) (state == MAPPED && w && due && !writeback && !late)
#endif

inline get(w)
{
	in = false;
	late = false;
	do
	:: in -> break
	:: else ->
		if
		:: atomic { MAY_ENTER(w) -> pins++; writers = writers + w; in = true }
		:: atomic { state == ABSENT -> state = LOADING; in = true; mine = true }
		:: atomic { MUST_WAIT(w) -> skip };
			page_wait(MUST_WAIT(w))
		:: atomic { STANDS_BACK(w) -> late = true }
		fi
	od;
	if
	:: mine -> load(w); mine = false
	:: else
	fi
}

active proctype writer()
{
	byte i = 0, seen;
	bool in, late, mine = false, woken;

	do
	:: i == ROUNDS -> break
	:: else ->
		i++;
#ifdef BREAK_EARLY
		version++;
#endif
		get(1);
#if !defined(BREAK_WRITER) && !defined(BREAK_EARLY)
		version++;
#endif
		assert(half[0] == latest && half[1] == latest);
		half[0] = i;
		half[1] = i;
		latest = i;
		last = i;
		atomic {
			assert(state == MAPPED && pins > 0 && writers > 0);
			pins--; writers--; dirty = true;
			woken = waiters && !writers && !writeback;
			waiters = waiters && !woken
		};
		wake()
	od
}

#if PINNERS
#define ME (_pid - 1)         /* after the writer */
active [PINNERS] proctype pinner()
{
	byte i = 0, seen, a;
	bool in, late, mine = false, woken, here;

	do
	:: i == ROUNDS -> break
	:: else ->
		i++;
#ifdef BREAK_SLOT
		here = (state == MAPPED);
		slot[ME] = true;
#else
		slot[ME] = true;
		here = (state == MAPPED);
#endif
		if
		:: here ->
			a = half[0];
			assert(a != FOREIGN);
			a = half[1];
			assert(a != FOREIGN && state != ABSENT);
			slot[ME] = false
		:: else ->
			slot[ME] = false;
			get(0);
			a = half[0];
			assert(state == MAPPED && pins > 0);
			assert(a != FOREIGN);
			atomic {
				pins--; woken = waiters && !writers && !writeback;
				waiters = waiters && !woken
			};
			wake()
		fi
	od
}
#endif

/* The second get must not wait for a flush that waits for the first. */
#if HOLDERS
inline put_clean()
{
	atomic {
		assert(state == MAPPED && pins > 0 && writers > 0);
		pins--; writers--;
		woken = waiters && !writers && !writeback;
		waiters = waiters && !woken
	};
	wake()
}

active [HOLDERS] proctype holder()
{
	byte seen;
	bool in, late, mine = false, woken;

	get(1);
	assert(!writeback);
	get(1);
	assert(!writeback);
	put_clean();
	put_clean()
}
#endif

/* Writes the page if it is dirty, as a flush does: waits for writers, and for others that write it. */
#if FLUSHERS
active [FLUSHERS] proctype flusher()
{
	byte i = 0, seen;
	bool woken, claimed;

	do
	:: i == ROUNDS -> break
	:: else ->
		i++;
		claimed = false;
		do
		:: claimed -> break
		:: else ->
			if
#ifdef BREAK_CLAIM
			:: atomic { state == MAPPED && dirty && !writeback -> writeback = true; claimed = true }
			:: atomic { state == MAPPED && dirty && writeback -> skip };
				page_wait(state == MAPPED && dirty && writeback)
#else
			:: atomic { state == MAPPED && dirty && !writeback && !writers -> writeback = true; due = false; claimed = true }
			:: atomic { state == MAPPED && dirty && !writeback && writers && !due -> due = true }
			:: atomic { state == MAPPED && dirty && (writeback || writers) -> skip };
				page_wait(state == MAPPED && dirty && (writeback || writers))
#endif
			:: atomic {
				!(state == MAPPED && dirty) ->
					woken = due && waiters;
					waiters = waiters && !woken;
					due = false
				};
				wake();
				break
			fi
		od;
		if
		:: claimed ->
			assert(last > 0);
#ifndef BREAK_LOG
			if
			:: last > durable -> durable = last
			:: else
			fi;
#endif
			assert(writers == 0 && half[0] <= durable);
			store[0] = half[0];
			store[1] = half[1];
			assert(writers == 0 && store[0] == store[1]);
			assert(state == MAPPED);
#ifndef BREAK_POSITION
			last = 0;
#endif
			atomic {
				writeback = false; dirty = false;
#ifndef BREAK_WAKE
				woken = waiters;
#endif
				waiters = false
			};
#ifdef BREAK_POSITION
			last = 0;
#endif
			wake()
		:: else
		fi
	od
}
#endif

#if EVICTORS
#ifdef BREAK_PINNED
#define MAY_GO (state == MAPPED && !writeback && !dirty)
#else
#ifdef BREAK_UNSAVED
#define MAY_GO (state == MAPPED && !pins && !writeback)
#else
#define MAY_GO (state == MAPPED && !pins && !writeback && !dirty)
#endif
#endif
active [EVICTORS] proctype evictor()
{
	byte i = 0;
	bool gone, closed, woken;

	do
	:: i == ROUNDS -> break
	:: else ->
		i++;
		gone = false;
		closed = false;
		woken = false;
		atomic { !lock -> lock = true };
		if
#ifdef BREAK_SCAN
		:: atomic { !(slot[0] || slot[1]) -> skip };
			if
			:: atomic { MAY_GO -> state = LOADING; due = false; gone = true; closed = true }
			:: atomic { !MAY_GO -> skip }
			fi
		:: atomic { slot[0] || slot[1] -> skip }
#else
		:: atomic { MAY_GO -> state = LOADING; due = false; gone = true; closed = true }
		:: atomic { !MAY_GO -> skip }
#endif
		fi;
#ifndef BREAK_SCAN
		if
		:: gone && !slot[0] -> gone = !slot[1]
		:: gone && slot[0] -> gone = false
		:: else
		fi;
		if
		:: closed && !gone ->
			atomic {
				state = MAPPED;
#ifndef BREAK_RESTORE
				woken = waiters;
#endif
				waiters = false
			};
			wake()
		:: else
		fi;
#endif
		if
		:: gone ->
#ifndef BREAK_LEFT
			version++;
#endif
			half[0] = FOREIGN;     /* another page has the slot */
			half[1] = FOREIGN;
			atomic { state = ABSENT; woken = waiters; waiters = false };
			wake()
		:: else
		fi;
		lock = false
	od
}
#endif

#if OPTIMISTS
active [OPTIMISTS] proctype optimist()
{
	byte i = 0, v, a, b;

	do
	:: i == ROUNDS -> break
	:: else ->
		i++;
		if
		:: atomic { state == MAPPED && !writers -> skip };
			v = version;
			if
			:: atomic { state == MAPPED && !writers -> skip };
				a = half[0];
				b = half[1];
				if
				:: v == version -> assert(a == b && a != FOREIGN)
				:: else
				fi
			:: else
			fi
		:: else
		fi
	od
}
#endif
