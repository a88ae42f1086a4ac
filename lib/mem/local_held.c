/* SPDX-License-Identifier: MIT */
/*
 * local_held.c - copy pages out, but only those that nobody has pinned, where frames are not granted to the heart
 *
 * The kernel tells nobody which pages are pinned, but it moves none that is.  So even where the heart was told to copy
 * (HMM_ENGINE_COPY) a page that may be pinned is moved: to a lane, memory of ours that nobody else sees, from which it is
 * copied to its slot and dropped.  The frame is at its address or in the lane, and counted once.
 *
 * H1  A lane has one user at a time, and is empty whenever it has none.  All signals are blocked meanwhile, no lock is
 *     taken, and nothing is waited for but the kernel.
 */
#include <errno.h>
#include <sched.h>
#include <string.h>
#include <sys/mman.h>

#include "lib/base/util.h"
#include "lib/mem/local.h"
#include "lib/sys/sys.h"

#define DROP_TRIES 3

static bool empty(char *lane, size_t length)
{
	for (unsigned i = 0; i < DROP_TRIES; i++) {
		if (!hmm__sys_madvise_drop(lane, length))
			return true;
	}
	return false;
}

static unsigned lane_take(struct hmm__local *local)
{
	for (unsigned i = 0;; i = (i + 1) % HMM__LANES) {
		uint32_t idle = 0;

		if (atomic_compare_exchange_strong(&local->lane_used[i], &idle, 1))
			return i;
		if (i + 1 == HMM__LANES)
			sched_yield();
	}
}

/* A part of a large page came: back with it, whatever it takes.  False: the application has unmapped it. */
static bool give_back(struct hmm__local *local, char *lane, const struct hmm_unmap *u, size_t length)
{
	struct hmm_map m = { .address = u->address, .slot = lane, .length = length, .flags = HMM_MAP_GRANT | HMM_MAP_BACK };

	return hmm__local_map(local, &m, 1) != -ENOENT;
}

static void copy_one(struct hmm__local *local, char *lane, struct hmm_unmap *u)
{
	struct hmm_unmap move = { .address = u->address, .slot = lane, .length = u->length };

	hmm__local_unmap_grant(local, &move);
	u->error = move.error;
	if (!u->error)
		memcpy(u->slot, lane, u->length);
	else if (move.done && !give_back(local, lane, u, move.done))
		u->error = -ENOENT;
}

void hmm__local_copy_held(struct hmm__local *local, struct hmm_unmap *u, unsigned n)
{
	unsigned i = lane_take(local);
	char *lane = local->lanes + (size_t)i * HMM__LANE_LENGTH;
	/* what could not be dropped the last time is in the way */
	bool ready = !atomic_load_explicit(&local->lane_full[i], memory_order_relaxed) || empty(lane, HMM__LANE_LENGTH);
	size_t used = 0;

	for (unsigned k = 0; k < n; k++) {
		if (ready && used + u[k].length > HMM__LANE_LENGTH) {
			ready = empty(lane, used);
			used = 0;
		}
		u[k].error = -EAGAIN;
		if (!ready)
			continue;
		copy_one(local, lane + used, &u[k]);
		used += u[k].length;
	}
	ready = ready && (!used || empty(lane, used));
	atomic_store_explicit(&local->lane_full[i], !ready, memory_order_relaxed);
	atomic_store(&local->lane_used[i], 0);
}
