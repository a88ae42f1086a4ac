/* SPDX-License-Identifier: MIT */
/*
 * touch.c - hits reach the policy in batches
 *
 * A hit takes no lock: each thread notes the frames it used, and gives them to the policy when its buffer is full, or
 * before a miss of its own consults the policy.  So one thread's references reach the policy complete and in order.
 * (BP-Wrapper: X. Ding, S. Jiang, X. Zhang, ICDE 2009.)
 *
 * T1  A buffer names its space by pointer and serial number, so one of a space that is gone is thrown away.
 * T2  A frame that has got another page meanwhile counts as a use of that one; one that has none, or a region's, is skipped.
 * T3  With several threads, touches are dropped where the lock is not to be had soon: hints don't wait.
 */
#include "lib/vm/cache/touch.h"

#include "lib/base/futex.h"
#include "lib/vm/call.h"
#include "lib/vm/record.h"

#define SPINS 50u

_Thread_local struct hmm__touches hmm__touches[2];

/* Under the lock: as many touches as are of one kind of access, in one call. */
static void tell(struct hmm_space *space, uint32_t *frames, uint32_t n, bool write)
{
	if (n)
		hmm__policy_touched(space->policy, frames, n, write ? HMM_ACCESS_WRITE : HMM_ACCESS_READ);
}

static void count_hits(struct hmm_space *space, uint16_t owner, uint64_t hits)
{
	if (hits)
		hmm__cache_count(&space->numbered[owner]->hits, hits);
}

/* Under the lock.  Frames that count are moved to the front, in place. */
static void deliver(struct hmm_space *space, struct hmm__touches *t)
{
	const uint16_t *owners = space->owners; /* not frames[]: that is more memory than a processor has at hand */
	uint64_t hits = 0;
	uint16_t owner = 0;
	uint32_t n = 0;
	bool write = false;

	for (uint32_t i = 0; i < t->n; i++) {
		uint32_t number = t->frames[i] & ~HMM__TOUCH_WRITE;
		bool writes = t->frames[i] & HMM__TOUCH_WRITE;

		if (HMM__UNLIKELY(owners[number] != owner)) {
			count_hits(space, owner, hits);
			hits = 0;
			owner = owners[number];
		}
		if (HMM__UNLIKELY(!owner)) /* T2 */
			continue;
		if (writes != write) {
			tell(space, t->frames, n, write);
			n = 0;
			write = writes;
		}
		hits++;
		if (HMM__UNLIKELY(space->record != NULL))
			hmm__record_access(space->frames[number].region, space->frames[number].page, writes);
		t->frames[n++] = number;
	}
	tell(space, t->frames, n, write);
	count_hits(space, owner, hits);
	t->n = 0;
}

void hmm__cache_touch_flush(struct hmm_space *space)
{
	for (unsigned i = 0; i < 2; i++) {
		struct hmm__touches *t = &hmm__touches[i];

		if (t->n && t->space == space && t->serial == space->serial)
			deliver(space, t);
	}
}

static bool lock_soon(struct hmm_space *space)
{
	for (unsigned i = 0; i < SPINS; i++) {
		if (hmm__trylock(&space->lock))
			return true;
		hmm__cpu_relax();
	}
	return false;
}

/* The space is alive: the caller uses it, or holds the spaces lock and has found it. */
static void flush(struct hmm_space *space, struct hmm__touches *t)
{
	if (lock_soon(space)) {
		deliver(space, t);
		hmm__unlock(&space->lock);
	}
	t->n = 0;
}

/* The buffer of a space that this thread used before; it may be gone. */
static void flush_other(struct hmm__touches *t)
{
	struct hmm_space *s;

	hmm__spaces_enter();
	for (s = hmm__spaces; s && (s != t->space || s->serial != t->serial);)
		s = s->next;
	if (s)
		flush(s, t);
	hmm__spaces_leave();
	t->n = 0;
}

static void turn(struct hmm_space *space)
{
	struct hmm__touches *t = hmm__touches;

	if (t[0].space == space && t[0].serial == space->serial) {
		flush(space, &t[0]);
	} else {
		struct hmm__touches first = t[0];

		t[0] = t[1];
		t[1] = first;
		if (t[0].space != space || t[0].serial != space->serial) {
			if (t[0].n)
				flush_other(&t[0]);
			t[0].space = space;
			t[0].serial = space->serial;
		}
		if (t[0].n == HMM__TOUCHES)
			flush(space, &t[0]);
	}
}

/* A call like others: signals, and a fork that must not meet the lock held. */
void hmm__touches_turn(struct hmm_space *space, bool inside)
{
	struct hmm__call call;

	if (!inside && hmm__call_begin_light(&call, space))
		return;
	turn(space);
	if (!inside)
		hmm__call_end(&call);
}
