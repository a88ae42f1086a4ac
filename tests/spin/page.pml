/* SPDX-License-Identifier: MIT */
/*
 * page.pml - the life of one page word, for Spin: every interleaving of faults, reclaim, sync and discard
 *
 * One page of a shared region, one frame record, two populated window slots.  The word is a byte with the bits of
 * lib/vm/page.h.  Contents are version numbers: a write to memory makes a new one, `latest`.
 *
 * Step of the model        C function
 *   resolve                fault.c   resolve(), present(), busy(), take(); hmm__page_ensure() where trap is 0
 *   first_write            fault.c   first_write()
 *   stale                  fault.c   stale(), discard.c hmm__page_lost()
 *   load                   load.c    load_one()
 *   rescue                 load.c    hmm__rescue(): rescue_begin(), hmm__install(), rescue_done(), rescue_back()
 *   page_wait, leave,      pages.c   hmm__page_wait(), leave(), hmm__page_unmark(), hmm__page_wake()
 *   unmark, wake
 *   trim, take_victim,     reclaim.c trim(), collect_victims() or hmm__evict_range(), collect_refused()
 *   take_refused
 *   evict                  evict.c   hmm__evict(): take_slots(), protect_dirty(), unmap_engine(), settle()
 *   launder                launder.c hmm__launder(): write_some(), settle()
 *   sync                   sync.c    hmm__sync_pages(): write_refused(), claim(), protect_and_copy(), write_copies()
 *   put_back               sync.c    put_back()
 *   discard                discard.c claim(), drop_available(), discard_range()
 *   dropper (DROPPERS)     the application's own madvise(MADV_DONTNEED) on the page
 *   slot_take, slot_put    frames.c  hmm__slot_take_populated(), hmm__slot_put_populated()
 *   frame_take, frame_put  frames.c  hmm__frame_take(), hmm__frame_put()
 *
 * What is done under the space's lock is one atomic step: it contains one operation on the word that can fail, and
 * the frame records and slots are touched nowhere else.  Each ioctl and each half of a copy or a store write is a step
 * of its own.
 *
 * Properties, all checked by assertions and Spin's search for invalid end states:
 *   no lost write      what an access reads is `latest`; who drops a clean page finds `latest` in the store
 *   slots              freed once, and never while somebody copies from it
 *   frames             one frame record for the page, nothing is mapped where something is mapped
 *   writes             a write to the store's place of the page begins after the last one has ended, and so does a read
 *   no deadlock        every process reaches its end, however it is woken
 *   no leak            when all have ended no slot is in use that the page does not have
 *
 * Left out: pins, swap slots (a shared region has none), grants of clean runs, thread delivery's deferred wake, fork.
 *
 * Seeded mistakes, each of which Spin must find (tests/spin/run.py):
 *   -DBREAK_REFS       the laundry frees a slot without asking who copies from it
 *   -DBREAK_WRITEBACK  victims are taken whether or not a write is under way
 *   -DBREAK_PROTECT    a dirty page is copied without being write-protected first
 *   -DBREAK_DIRTY      a first write is let through without marking the page
 *   -DBREAK_WAKE       who leaves a state forgets those who wait
 *   -DBREAK_STALE      a trap on a mapped page looks first whether it is there, and claims it afterwards
 *   -DBREAK_LOST       (with DROPPERS) a page that is gone is given up while it is being written
 */
#define ABSENT 0
#define LOADING 1
#define MAPPED 2
#define EVICTING 3
#define LAUNDRY 4
#define AVAILABLE 5
#define WAITERS 8
#define DIRTY 16
#define WRITEBACK 32

#define state_of(w) ((w) & 7)
#define with_state(w, s) (((w) & 248) | (s))
#define is_busy(w) (state_of(w) == LOADING || state_of(w) == EVICTING)

/* how many of each process, and what each does */
#ifndef READERS
#define READERS 1
#endif
#ifndef WRITERS
#define WRITERS 1
#endif
#ifndef RESCUERS
#define RESCUERS 1
#endif
#ifndef RECLAIMERS
#define RECLAIMERS 1
#endif
#ifndef SYNCERS
#define SYNCERS 1
#endif
#ifndef DISCARDERS
#define DISCARDERS 1
#endif
#ifndef DROPPERS
#define DROPPERS 0
#endif
#ifndef READS
#define READS 1
#endif
#ifndef WRITES
#define WRITES 2
#endif
#ifndef PASSES
#define PASSES 2
#endif
#ifndef SYNCS
#define SYNCS 1
#endif
#ifndef DISCARDS
#define DISCARDS 1
#endif
#ifndef WRITE_ERRORS
#define WRITE_ERRORS 1
#endif
#ifndef MAP_ERRORS
#define MAP_ERRORS 1
#endif
#define PROCESSES 8
#define SLOTS 2
#define NO_SLOT SLOTS
#define GARBAGE 0

/* the library's books */
byte word = ABSENT;
bool frame_taken;
byte frame_slot = NO_SLOT, frame_refs;
bool frame_listed;
bool slot_used[SLOTS];

/* the world */
bool there, protected;                    /* the page table's entry */
byte memory;                              /* version in the frame at the address */
byte slot_holds[SLOTS], slot_users[SLOTS];
byte stored = 1, latest = 1;
byte writes_under_way, reads_under_way;   /* of the store */
bool asleep[PROCESSES];                   /* in the futex */
byte write_errors = WRITE_ERRORS, map_errors = MAP_ERRORS;
byte alive;

/* --- pages.c --- */

inline wake_now()
{
	for (k : 0 .. PROCESSES - 1) {
		asleep[k] = 0
	}
	k = 0
}

inline wake(old)
{
#ifndef BREAK_WAKE
	if
	:: old & WAITERS -> d_step { wake_now() }
	:: else
	fi
#else
	skip
#endif
}

/* ends with the wake as a step of its own */
inline leave(to, clear, set)
{
	d_step { was = word; word = with_state(word & (255 - ((clear) | WAITERS)), to) | (set) }
	wake(was);
	was = 0
}

/* the same under the lock, inside an atomic step */
inline leave_locked(to, clear, set)
{
	was = word;
	word = with_state(word & (255 - ((clear) | WAITERS)), to) | (set);
	wake(was);
	was = 0
}

inline unmark(clear)
{
	leave(state_of(word), clear, 0)
}

inline cas(expected, desired)
{
	d_step {
		won = (word == (expected));
		if
		:: won -> word = desired
		:: else
		fi
	}
}

inline page_wait(seen)
{
	if
	:: (seen) & WAITERS -> won = 1
	:: else -> cas(seen, (seen) | WAITERS)
	fi;
	if
	:: won -> d_step {
			asleep[_pid] = (word == ((seen) | WAITERS)) /* the kernel compares and sleeps in one step */
		}
	:: else
	fi;
	!asleep[_pid];
	won = 0
}

/* --- frames.c, under the lock --- */

inline slot_take(ret)
{
	d_step {
		if
		:: !slot_used[0] -> ret = 0; slot_used[0] = 1
		:: else -> if
			:: !slot_used[1] -> ret = 1; slot_used[1] = 1
			:: else -> ret = NO_SLOT
			fi
		fi
	}
}

inline slot_put(n)
{
	assert(slot_used[n]);       /* freed once */
	assert(slot_users[n] == 0); /* nobody copies from it */
	slot_used[n] = 0;
	slot_holds[n] = GARBAGE
}

inline frame_take()
{
	d_step {
		assert(!frame_taken);
		frame_taken = 1;
		frame_slot = NO_SLOT;
		frame_refs = 0;
		frame_listed = 0
	}
}

inline frame_put()
{
	assert(frame_taken && !frame_listed);
	frame_taken = 0;
	frame_slot = NO_SLOT;
	frame_refs = 0
}

/* --- the store --- */

inline store_read(ret)
{
	d_step { assert(!writes_under_way); reads_under_way++ }
	d_step { ret = stored; reads_under_way-- }
}

/* A write that fails may have changed a part. */
inline store_write(from, ret_error)
{
	d_step {
		assert(!writes_under_way && !reads_under_way);
		writes_under_way++;
		slot_users[from]++
	}
	if
	:: atomic { ret_error = 0; assert(slot_used[from]); stored = slot_holds[from] }
	:: atomic { write_errors > 0 -> write_errors--; ret_error = 1; stored = GARBAGE }
	fi;
	d_step { slot_users[from]--; writes_under_way-- }
}

/* --- the kernel --- */

inline install(version, clean)
{
	d_step {
		assert(!there); /* one frame at the address */
		there = 1;
		memory = version;
		protected = clean
	}
}

/* --- load.c --- */

inline load(write)
{
	frame_take();
	store_read(v);
	install(v, !(write));
	v = 0;
	leave(MAPPED, 0, ((write) -> DIRTY : 0))
}

inline rescue(write)
{
	dirty = (w & DIRTY) || (write);
	atomic {
		won = (word == w);
		if
		:: won ->
			word = with_state(w, LOADING);
			s = frame_slot;
			assert(s != NO_SLOT);
			laundry = !frame_listed;
			if
			:: laundry -> frame_refs++
			:: else -> frame_listed = 0
			fi
		:: else
		fi
	}
	if
	:: won ->
		failed = 0;
		slot_users[s]++;
		if
		:: atomic { v = slot_holds[s]; slot_users[s]-- }
			install(v, !dirty);
			v = 0
		:: atomic { map_errors > 0 -> map_errors--; slot_users[s]--; failed = 1 }
		fi;
		if
		:: failed -> atomic { /* rescue_back */
				if
				:: laundry -> frame_refs--
				:: else
				fi;
				if
				:: laundry && frame_refs > 0 -> leave_locked(LAUNDRY, 0, 0)
				:: else -> frame_listed = 1; leave_locked(AVAILABLE, 0, 0)
				fi
			}
			again = 0 /* the access is told */
		:: else -> d_step { /* rescue_done */
				if
				:: laundry -> frame_refs--
				:: else
				fi;
				if
				:: !laundry || frame_refs == 0 -> slot_put(s); frame_slot = NO_SLOT
				:: else
				fi
			}
			leave(MAPPED, 0, (dirty -> DIRTY : 0));
			again = 0
		fi;
		failed = 0
	:: else
	fi;
	d_step { s = 0; laundry = 0; dirty = 0; won = 0 }
}

/* --- fault.c --- */

inline first_write()
{
	cas(w, with_state(w, LOADING));
	if
	:: won ->
		protected = 0;
#ifdef BREAK_DIRTY
		leave(MAPPED, 0, 0);
#else
		leave(MAPPED, 0, DIRTY);
#endif
		again = 0
	:: else
	fi;
	won = 0
}

inline lost()
{
	d_step {
		latest = stored; /* as the application wished */
		frame_put()
	}
	leave(ABSENT, DIRTY, 0)
}

inline stale(write)
{
	if
	:: there && (w & DIRTY) && (write) && protected -> first_write()
	:: there && !((w & DIRTY) && (write) && protected) -> again = 0
#ifdef BREAK_STALE
	:: !there ->
		cas(w, with_state(w, EVICTING));
		if
		:: won -> lost()
		:: else
		fi;
		won = 0
#else
#ifndef BREAK_LOST
	:: !there && (w & WRITEBACK) -> page_wait(w)
	:: !there && !(w & WRITEBACK) ->
#else
	:: !there ->
#endif
		cas(w, with_state(w, EVICTING));
		if
		:: won && there -> leave(MAPPED, 0, 0)
		:: won && !there -> lost()
		:: else
		fi;
		won = 0
#endif
	fi
}

/* trap: an access trapped; else a call asks */
inline resolve(write, trap)
{
	again = 1;
	do
	:: !again -> break
	:: else ->
		w = word;
		if
		:: state_of(w) == MAPPED && (write) && !(w & DIRTY) -> first_write()
		:: state_of(w) == MAPPED && !((write) && !(w & DIRTY)) ->
			if
			:: trap -> stale(write)
			:: else -> again = 0
			fi
		:: is_busy(w) -> page_wait(w)
		:: state_of(w) == ABSENT ->
			cas(w, with_state(w, LOADING));
			if
			:: won -> load(write); again = 0
			:: else
			fi;
			won = 0
		:: state_of(w) == LAUNDRY || state_of(w) == AVAILABLE -> rescue(write)
		fi
	od;
	atomic { w = 0; again = 0 }
}

#define LOCALS \
	byte w, was, v, s, k; \
	bool won, again, laundry, dirty, failed

/* an access that reads, and one that writes: tried until it passes */
#if READERS
proctype reader()
{
	LOCALS;
	byte n = READS;

	do
	:: n == 0 -> break
	:: n > 0 ->
		if
		:: atomic { there -> assert(memory == latest); n-- }
		:: !there -> resolve(0, 1)
		fi
	od;
	alive--
}
#endif

proctype writer()
{
	LOCALS;
	byte n = WRITES;

	do
	:: n == 0 -> break
	:: n > 0 ->
		if
		:: atomic { there && !protected -> latest++; memory = latest; n-- }
		:: !(there && !protected) -> resolve(1, 1)
		fi
	od;
	alive--
}

/* a call that wants the page back from the window: pin, lock, sync of a refused page */
#if RESCUERS
proctype rescuer()
{
	LOCALS;

	if
	:: state_of(word) == LAUNDRY -> resolve(0, 0)
	:: alive <= RESCUERS /* nothing will ever come there any more */
	fi;
	alive--
}
#endif

/* --- reclaim.c, evict.c, launder.c --- */

inline trim()
{
	atomic {
		if
		:: state_of(word) == AVAILABLE && !(word & DIRTY) ->
			assert(!(word & WAITERS)); /* nobody waits for an AVAILABLE page */
			assert(stored == latest);
			word = with_state(word, ABSENT);
			frame_listed = 0;
			slot_put(frame_slot);
			frame_put()
		:: else
		fi
	}
}

/* s: the slot; contents are in it, and the page is LAUNDRY */
inline launder()
{
	store_write(s, failed);
	atomic { /* settle */
		frame_refs--;
		if
		:: state_of(word) != LAUNDRY ->
			if
#ifdef BREAK_REFS
			:: slot_put(s); frame_slot = NO_SLOT
#else
			:: frame_refs == 0 -> slot_put(s); frame_slot = NO_SLOT
			:: else
#endif
			fi;
			unmark(WRITEBACK)
		:: else ->
			frame_listed = 1;
			leave_locked(AVAILABLE, WRITEBACK | (failed -> 0 : DIRTY), 0)
		fi;
		failed = 0;
		s = 0
	}
}

inline take_victim()
{
	atomic {
		w = word;
		if
#ifdef BREAK_WRITEBACK
		:: state_of(w) == MAPPED ->
#else
		:: state_of(w) == MAPPED && !(w & WRITEBACK) ->
#endif
			word = with_state(w, EVICTING);
			won = 1
		:: else
		fi
	}
}

inline take_refused()
{
	atomic {
		w = word;
		if
		:: state_of(w) == AVAILABLE && (w & DIRTY) ->
			word = with_state(w, LAUNDRY) | WRITEBACK;
			frame_listed = 0;
			frame_refs = 1;
			s = frame_slot;
			won = 1
		:: else
		fi
	}
}

/* under the lock: it was gone already */
inline evict_lost()
{
	atomic {
		if
		:: s != NO_SLOT -> slot_put(s)
		:: else
		fi;
		latest = stored;
		frame_put();
		leave_locked(ABSENT, DIRTY, 0)
	}
}

inline evict_dirty()
{
	slot_take(s);
	if
	:: s == NO_SLOT -> leave(MAPPED, 0, 0)
	:: else ->
		failed = 0;
		if
		:: skip; /* granted */
			if
			:: atomic { there -> slot_holds[s] = memory; there = 0; memory = GARBAGE }
			:: !there -> failed = 1
			fi
		:: skip; /* protected, copied, dropped */
#ifndef BREAK_PROTECT
			protected = 1;
#endif
			if
			:: atomic { there -> slot_holds[s] = memory }
				d_step { there = 0; memory = GARBAGE }
			:: !there -> failed = 1
			fi
		fi;
		if
		:: failed -> failed = 0; evict_lost()
		:: else ->
			atomic {
				frame_slot = s;
				frame_refs = 1;
				leave_locked(LAUNDRY, 0, WRITEBACK)
			}
			launder()
		fi
	fi;
	s = 0
}

inline evict_clean()
{
	if
	:: slot_take(s); /* kept */
		if
		:: s != NO_SLOT ->
			if
			:: atomic { there -> slot_holds[s] = memory }
				d_step { there = 0; memory = GARBAGE }
				atomic {
					frame_slot = s;
					frame_listed = 1;
					leave_locked(AVAILABLE, 0, 0)
				}
			:: !there -> evict_lost()
			fi
		:: else -> leave(MAPPED, 0, 0)
		fi
	:: skip; /* dropped */
		d_step { there = 0; memory = GARBAGE; assert(stored == latest) }
		atomic { frame_put(); leave_locked(ABSENT, 0, 0) }
	fi;
	s = 0
}

proctype reclaimer()
{
	LOCALS;
	byte n = PASSES;

	do
	:: n == 0 -> break
	:: n > 0 ->
		trim();
		take_victim();
		if
		:: won && (w & DIRTY) -> won = 0; evict_dirty()
		:: won && !(w & DIRTY) -> won = 0; evict_clean()
		:: else
		fi;
		take_refused();
		if
		:: won -> won = 0; launder()
		:: else
		fi;
		d_step { n--; w = 0 }
	od;
	alive--
}

/* --- sync.c --- */

inline put_back()
{
	do
	:: w = word;
		if
		:: is_busy(w) -> page_wait(w)
		:: !is_busy(w) && (w & DIRTY) -> break
		:: !is_busy(w) && !(w & DIRTY) ->
			assert(state_of(w) == MAPPED || state_of(word) != state_of(w));
			cas(w, with_state(w, LOADING));
			if
			:: won -> leave(MAPPED, 0, DIRTY); break
			:: else
			fi
		fi
	od;
	atomic { w = 0; won = 0 }
}

inline sync_copy()
{
	slot_take(s);
	if
	:: s == NO_SLOT -> leave(MAPPED, 0, 0) /* the real one waits for a frame and tries again */
	:: else ->
		protected = 1;
		if
		:: atomic { there -> slot_holds[s] = memory }
			leave(MAPPED, DIRTY, WRITEBACK);
			store_write(s, failed);
			if
			:: failed -> put_back()
			:: else
			fi;
			unmark(WRITEBACK)
		:: !there -> leave(MAPPED, 0, 0)
		fi;
		failed = 0;
		d_step { slot_put(s) }
	fi;
	s = 0
}

#if SYNCERS
proctype sync()
{
	LOCALS;
	byte n = SYNCS;

	do
	:: n == 0 -> break
	:: n > 0 ->
		if
		:: state_of(word) == AVAILABLE && (word & DIRTY) -> resolve(0, 0)
		:: else
		fi;
		do
		:: w = word;
			if
			:: is_busy(w) || state_of(w) == LAUNDRY || (w & WRITEBACK) -> page_wait(w)
			:: else ->
				if
				:: state_of(w) != MAPPED || !(w & DIRTY) -> break
				:: else ->
					cas(w, with_state(w, LOADING));
					if
					:: won -> won = 0; sync_copy(); break
					:: else
					fi
				fi
			fi
		od;
		atomic { n--; w = 0; won = 0 }
	od;
	alive--
}
#endif

/* --- discard.c --- */

inline discard()
{
	do
	:: w = word;
		if
		:: is_busy(w) || state_of(w) == LAUNDRY || (w & WRITEBACK) -> page_wait(w)
		:: else ->
			if
			:: state_of(w) == ABSENT -> break
			:: state_of(w) == AVAILABLE -> atomic {
					won = (word == w);
					if
					:: won ->
						word = with_state(w, EVICTING);
						frame_listed = 0;
						slot_put(frame_slot);
						frame_put();
						latest = stored
					:: else
					fi
				}
				if
				:: won -> leave(ABSENT, DIRTY, 0); break
				:: else
				fi
			:: state_of(w) == MAPPED ->
				cas(w, with_state(w, EVICTING));
				if
				:: won ->
					d_step { there = 0; memory = GARBAGE; latest = stored; assert(!writes_under_way) }
					d_step { frame_put() }
					leave(ABSENT, DIRTY, 0);
					break
				:: else
				fi
			fi
		fi
	od;
	atomic { w = 0; won = 0 }
}

#if DISCARDERS
proctype discarder()
{
	LOCALS;
	byte n = DISCARDS;

	do
	:: n == 0 -> break
	:: n > 0 -> discard(); n--
	od;
	alive--
}
#endif

#if DROPPERS
proctype dropper()
{
	d_step { there = 0; memory = GARBAGE; protected = 0 }
	alive--
}
#endif

#define RUN(count, process) \
	n = 0; \
	do \
	:: n < count -> run process(); n++ \
	:: else -> break \
	od

init {
	byte n;

	atomic {
		alive = READERS + WRITERS + RESCUERS + RECLAIMERS + SYNCERS + DISCARDERS + DROPPERS;
#if READERS
		RUN(READERS, reader);
#endif
		RUN(WRITERS, writer);
#if RESCUERS
		RUN(RESCUERS, rescuer);
#endif
		RUN(RECLAIMERS, reclaimer);
#if SYNCERS
		RUN(SYNCERS, sync);
#endif
#if DISCARDERS
		RUN(DISCARDERS, discarder);
#endif
#if DROPPERS
		RUN(DROPPERS, dropper);
#endif
		n = 0
	}
	alive == 0;
	/* Nobody is there any more: the books must agree with the world. */
	assert(!is_busy(word) && !(word & (WRITEBACK | WAITERS)));
	assert(frame_taken == (state_of(word) != ABSENT));
	assert((frame_listed == (state_of(word) == AVAILABLE)) && frame_refs == 0);
	assert((slot_used[0] + slot_used[1]) == (state_of(word) == AVAILABLE -> 1 : 0));
	/* what the application dropped itself may stay in the books as mapped, until it is touched */
	assert(there == (state_of(word) == MAPPED) || (DROPPERS && !there))
}
