/* SPDX-License-Identifier: MIT */
/*
 * reclaim.c - free frames before anyone waits for one
 *
 * A pass: trim the available list from its old end, have the policy name a batch of victims, take them (evict.c, which
 * refills the available list), trim again.  Several passes may run at once, each on its own batch.
 *
 * R1  A pinned or locked page, one in transition, or one with a write under way is refused, never taken.
 * R2  The policy hears of every proposal: evicted when the frame is given up (for a page on the available list: when it
 *     is trimmed), or rejected.
 * R3  The available list gives up only clean pages; dirty ones on it are those that a store refused: they are tried again.
 */
#include <errno.h>

#include "lib/base/clock.h"
#include "lib/base/futex.h"
#include "lib/vm/cache/cache.h"

#define PATIENCE 24000             /* fruitless waits of WAIT_NS before a fault gives up, while others are at work */
#define PATIENCE_ALONE 40        /* ... and while nobody is */
#define ERRORS_MAX 8             /* passes that failed because of a store, while nobody else is at work */
#define ERRORS_BUSY 80           /* ... and while others are, who may be held up with good victims */
#define TURNS_MAX 200000u        /* ... and fruitless tries in all, for waits that end early */
#define WAIT_NS UINT64_C(5000000)

/* Under the lock: give up an available page, if it is clean.  Returns its frames, 0 if it stays. */
static uint64_t give(struct hmm_space *space, uint32_t number)
{
	struct hmm__frame *f = &space->frames[number];
	hmm__word *word = &f->region->words[f->page];
	uint64_t w = atomic_load(word), id = hmm__page_id(f->region, f->page);
	struct hmm__pool *pool = f->region->pool;
	uint32_t weight = f->region->weight;

	if (hmm__word_state(w) != HMM__AVAILABLE || (w & HMM__DIRTY))
		return 0;
	/* nobody waits for an AVAILABLE page, so there is nobody to wake; the region may go as soon as it is absent */
	if (!hmm__word_cas(word, &w, hmm__word_with_frame(hmm__word_with_state(w & ~HMM__AHEAD, HMM__ABSENT), 0)))
		return 0;
	hmm__available_remove(space, number);
	hmm__slot_put(pool, f->slot, f->spent);
	hmm__policy_evicted(space->policy, number, id);
	hmm__frame_put(space, number);
	return weight;
}

/* Under the lock: give up the oldest available pages until `want` frames came free or none is left to give. */
static uint64_t trim(struct hmm_space *space, uint64_t want, uint64_t leave)
{
	uint32_t number = space->available_first, next;
	uint64_t freed = 0;

	for (; number != HMM__NO_FRAME && freed < want && space->available > leave; number = next) {
		next = space->frames[number].next;
		freed += give(space, number);
	}
	return freed;
}

/* Under the lock: the same, but only pages that the policy named, and down to a quarter of the list. */
static uint64_t trim_named(struct hmm_space *space, uint64_t want)
{
	uint64_t freed = 0, leave = space->available_target / 4;
	uint32_t number = space->available_first, next;

	for (; space->named > leave && freed < want && space->frames[number].named; number = next) {
		next = space->frames[number].next;
		freed += give(space, number);
		if (next == HMM__NO_FRAME)
			break;
	}
	return freed;
}

/*
 * Under the lock: dirty pages on the available list, to be written once more; only one while their store is in trouble.
 * Returns why none is to be tried now, or 0.
 */
static int collect_refused(struct hmm_space *space, struct hmm__batch *b)
{
	uint32_t number = space->available_first, next;
	int early = 0;

	for (unsigned seen = 0; number != HMM__NO_FRAME && b->n < space->batch && seen < HMM__BATCH_MAX;
	     number = next, seen++) {
		struct hmm__frame *f = &space->frames[number];
		hmm__word *word = &f->region->words[f->page];
		uint64_t w = atomic_load(word);

		next = f->next;
		if (hmm__word_state(w) != HMM__AVAILABLE || !(w & HMM__DIRTY))
			continue;
		if (hmm__trouble_waits(hmm__trouble_of(f->region))) {
			early = space->refused_error;
			continue;
		}
		if (!hmm__word_cas(word, &w, hmm__word_with_state(w, HMM__LAUNDRY) | HMM__WRITEBACK))
			continue;
		hmm__available_remove(space, number);
		f->slot_refs = 1;
		space->laundry += f->region->weight;
		b->items[b->n++] = (struct hmm__item){
			.region = f->region, .page = f->page, .word = w, .frame = number, .slot = f->slot,
			.weight = (uint16_t)f->region->weight,
		};
		if (atomic_load(&hmm__trouble_of(f->region)->told))
			break;
	}
	return b->n ? 0 : early;
}

/* Write what was refused before.  Returns the store's error, or why it was not asked. */
static int retry_refused(struct hmm_space *space, struct hmm__batch *b, int early)
{
	uint64_t need = 0;

	for (unsigned i = 0; i < b->n; i++)
		need += b->items[i].region->slots ? b->items[i].weight : 0;
	if (need)
		hmm__swap_make_room(space, need, b->items[0].weight);
	return b->n ? hmm__launder(space, b) : early;
}

/* R1 */
uint32_t hmm__take_victim(struct hmm_space *space, struct hmm__batch *b, uint32_t number)
{
	struct hmm__frame *f = &space->frames[number];
	hmm__word *word = &f->region->words[f->page];
	uint64_t w = atomic_load(word);

	if (f->region->cache)
		return hmm__cache_take_victim(space, b, number);
	f->proposed = 1;
	if (hmm__word_state(w) == HMM__AVAILABLE || hmm__word_state(w) == HMM__LAUNDRY)
		return 0; /* evicted by a call before the policy named it: the verdict comes when it is trimmed */
	if (!b || hmm__word_state(w) != HMM__MAPPED || hmm__word_held(w) || (w & HMM__WRITEBACK) ||
	    !hmm__word_cas(word, &w, hmm__word_with_state(w, HMM__EVICTING))) {
		hmm__frame_stays(space, number, hmm__word_held(w) ? HMM_REJECT_PINNED : HMM_REJECT_BUSY);
		return 0;
	}
	assert(hmm__word_frame(w) == number);
	b->items[b->n++] = (struct hmm__item){ .region = f->region, .page = f->page, .word = w, .frame = number };
	return f->region->weight;
}

/* Under the lock.  *freed: what came free at once, for a cache's page need not be unmapped. */
static uint32_t take_counted(struct hmm_space *space, struct hmm__batch *b, uint32_t number, uint64_t *freed)
{
	unsigned before = b->n;
	uint32_t taken = hmm__take_victim(space, b, number);

	if (b->n == before)
		*freed += taken;
	return taken;
}

/*
 * Under the lock: victims for about so many frames.  The policy counts pages: while there are large ones it is asked
 * for one at a time.  Returns the frames that came free at once.
 */
static uint64_t collect_victims(struct hmm_space *space, struct hmm__batch *b, uint32_t frames)
{
	bool mixed = space->largest > 1;
	uint32_t taken = 0, n;
	uint64_t freed = 0;

	for (uint32_t asked = 0; taken < frames && asked < HMM__BATCH_MAX; asked += n) {
		uint32_t want = mixed ? 1 : HMM__MIN(frames, HMM__BATCH_MAX);

		n = hmm__policy_choose(space->policy, want, b->victims, 4 * want + 64);
		for (uint32_t i = 0; i < n; i++)
			taken += take_counted(space, b, b->victims[i], &freed);
		if (!mixed || !n)
			break;
	}
	return freed;
}

/*
 * Under the lock, where uses are sampled: victims until so many frames came free or are about to.  A victim on the
 * available list goes at once.  Returns the frames that came free.
 */
static uint64_t collect_late(struct hmm_space *space, struct hmm__batch *b, uint64_t want)
{
	uint64_t freed = 0, coming = 0;
	uint32_t n;

	for (uint32_t asked = 0; freed + coming < want && asked < HMM__BATCH_MAX; asked += n) {
		uint32_t most = (uint32_t)HMM__MIN(want - freed - coming, (uint64_t)(HMM__BATCH_MAX - asked));

		most = space->largest > 1 ? 1 : most;
		n = hmm__policy_choose(space->policy, most, b->victims, 4 * most + 64);
		if (!n)
			break;
		for (uint32_t i = 0; i < n; i++) {
			uint32_t number = b->victims[i];
			uint64_t at_once = 0;
			uint32_t taken = take_counted(space, b, number, &at_once);

			freed += at_once;
			coming += taken - at_once;
			if (!taken && space->frames[number].listed)
				freed += give(space, number);
		}
	}
	return freed;
}

/* Under the lock: victims, and frames from the available list.  Returns the frames that came free at once. */
static uint64_t collect(struct hmm_space *space, struct hmm__batch *b, uint64_t want, uint64_t goal, bool keep)
{
	/* Make room for this batch at the old end; what is kept goes into the slots that this frees. */
	uint64_t freed = 0, room = keep && goal > space->batch ? goal - space->batch : keep ? 0 : goal;

	if (space->samples) {
		freed = trim_named(space, want);
		return freed + (freed < want ? collect_late(space, b, want - freed) : 0);
	}
	if (space->available > goal)
		freed = trim(space, want, goal);
	if (freed < want) {
		freed += trim(space, want, room);
		freed += collect_victims(space, b, space->batch);
	}
	return freed;
}

static int64_t pass(struct hmm_space *space, struct hmm__batch *b, uint64_t want)
{
	bool keep = !space->samples && hmm__keep_clean(space);
	uint64_t goal = hmm__keep_goal(space), freed;
	int64_t r, cached;
	int launder = 0;

	hmm__lock(&space->lock);
	freed = collect(space, b, want, goal, keep);
	hmm__unlock(&space->lock);
	cached = hmm__cache_evict_dirty(space, b);
	freed += cached > 0 ? (uint64_t)cached : 0;
	r = hmm__evict(space, b, keep);
	freed += r > 0 ? (uint64_t)r : 0;
	r = r < 0 ? r : cached;

	hmm__lock(&space->lock);
	/* what was written is not kept for longer than the goal allows */
	freed += space->samples ? trim_named(space, UINT64_MAX) : trim(space, UINT64_MAX, goal);
	/* Frames are needed more than rescues are. */
	if (hmm__frames_free(space) < want && !(space->samples && freed >= want))
		freed += trim(space, want - hmm__frames_free(space), 0);
	b->n = 0;
	if (!freed)
		launder = collect_refused(space, b);
	hmm__unlock(&space->lock);
	if (b->n || launder) {
		launder = retry_refused(space, b, launder);
		hmm__lock(&space->lock);
		freed += trim(space, want, 0);
		hmm__unlock(&space->lock);
	}
	if (space->samples)
		hmm__sample(space, b);
	if (freed)
		return (int64_t)freed;
	return r < 0 ? r : launder;
}

int64_t hmm__reclaim(struct hmm_space *space, uint64_t want)
{
	struct hmm__batch *b;
	uint64_t start = hmm__now_ns();
	int64_t freed;

	hmm__lock(&space->lock);
	b = hmm__batch_get(space);
	if (b)
		space->passes_running++;
	hmm__unlock(&space->lock);
	if (!b)
		return 0;
	freed = pass(space, b, want);
	hmm__lock(&space->lock);
	space->passes_running--;
	hmm__batch_put(space, b);
	hmm__unlock(&space->lock);
	HMM__COUNT(space, passes, 1);
	HMM__COUNT(space, reclaim_ns, hmm__now_ns() - start);
	if (freed > 0)
		hmm__frames_changed(space);
	return freed;
}

/* Under the lock: is no page on its way in or out?  Only asked when there is nothing better to do. */
static bool nobody_busy(struct hmm_space *space)
{
	unsigned batches = 0;

	for (struct hmm__batch *b = space->free_batch; b; b = b->next)
		batches++;
	if (batches < HMM__BATCHES)
		return false;
	for (uint32_t i = 0; i < space->fresh_frame; i++) {
		struct hmm__frame *f = &space->frames[i];

		if (f->region && hmm__word_busy(atomic_load_explicit(&f->region->words[f->page], memory_order_relaxed)))
			return false;
	}
	return true;
}

static bool enough(struct hmm_space *space, uint64_t n, bool *ret_alone)
{
	bool yes;

	hmm__lock(&space->lock);
	yes = hmm__may_load(space, n);
	*ret_alone = !space->passes_running && !space->laundry && !yes && nobody_busy(space);
	hmm__unlock(&space->lock);
	return yes;
}

/* One event, until faults find frames again and every store takes what it is given. */
static int give_up(struct hmm_space *space, int error)
{
	if (!atomic_exchange(&space->no_frame_told, 1))
		hmm__event(space, HMM_EVENT_NO_FRAME, NULL, 0, 0, error, NULL);
	return hmm__store_failed(error);
}

static int wait_over(struct hmm_space *space)
{
	if (HMM__UNLIKELY(atomic_load_explicit(&space->no_frame_told, memory_order_relaxed)) &&
	    !atomic_load(&space->troubles) && !atomic_load(&space->swap_full))
		atomic_store(&space->no_frame_told, 0);
	return 0;
}

int hmm__frames_wait(struct hmm_space *space, uint64_t n)
{
	unsigned errors = 0, lonely = 0, waits = 0;
	int refused = 0;
	bool alone;

	for (unsigned turns = 0; waits < PATIENCE && lonely < PATIENCE_ALONE && turns < TURNS_MAX; turns++) {
		uint32_t seq = atomic_load(&space->frame_seq);
		int64_t r;

		if (hmm__cache_compact(space, n))
			return wait_over(space);
		r = hmm__reclaim(space, HMM__MAX(n, (uint64_t)space->batch / 2));
		if (r > 0)
			return wait_over(space);
		refused = r < 0 ? (int)r : refused;
		errors += r < 0;
		hmm__bounce_flush(space);
		if (enough(space, n, &alone))
			return wait_over(space);
		/* Stores that refuse what several passes came up with will not help us now, nor will others. */
		if (errors >= ERRORS_MAX && (alone || errors >= ERRORS_BUSY))
			return give_up(space, refused);
		HMM__COUNT(space, frame_waits, 1);
		atomic_fetch_add(&space->frame_waiters, 1);
		if (hmm__futex_wait(&space->frame_seq, seq, WAIT_NS) == -ETIMEDOUT) {
			waits++;
			lonely = alone ? lonely + 1 : 0;
		}
		atomic_fetch_sub(&space->frame_waiters, 1);
	}
	return give_up(space, -ENOMEM);
}

void hmm__reclaim_poke(struct hmm_space *space)
{
	uint64_t budget, held, slots;

	/* caches alone evict when they need a frame, not before */
	if (__atomic_load_n(&space->cached, __ATOMIC_RELAXED) &&
	    !atomic_load_explicit(&space->nregions, memory_order_relaxed))
		return;
	/* Racy on purpose: a wrong look costs a pass too many or too late, and this is on every fault's path. */
	budget = hmm__peek(&space->budget);
	held = hmm__peek(&space->held);
	/* what is free in extents of caches can be had by compaction: evicting more gives no more of it */
	slots = hmm__peek(&space->free_slots) + (hmm__peek(&space->free_packed) >> HMM__PAGE_SHIFT_MIN);
	if (budget + slots >= held + atomic_load_explicit(&space->low_water, memory_order_relaxed))
		return;
	hmm__reclaim(space, space->high_water - space->low_water);
}

uint64_t hmm__reclaim_trim(struct hmm_space *space, uint64_t n)
{
	return trim(space, n, 0);
}

void hmm__reclaim_window(struct hmm_space *space, uint64_t n)
{
	hmm__lock(&space->lock);
	trim(space, n, 0);
	hmm__unlock(&space->lock);
	hmm__frames_changed(space);
}

int64_t hmm__evict_range(struct hmm_region *region, uint64_t page, uint64_t npages, bool keep)
{
	struct hmm_space *space = region->space;
	uint64_t end = page + npages, trimmed;
	int64_t total = 0;
	struct hmm__batch *b;

	hmm__lock(&space->lock);
	b = hmm__batch_get(space);
	hmm__unlock(&space->lock);
	if (!b)
		return 0;
	while (page < end) {
		int64_t r;

		b->n = 0;
		for (; page < end && b->n < HMM__BATCH_MAX; page++) {
			hmm__word *word = &region->words[page];
			uint64_t w;

			page = hmm__page_next_touched(region, page);
			if (page >= end)
				break;
			word = &region->words[page];
			w = atomic_load(word);
			if (hmm__word_state(w) != HMM__MAPPED || hmm__word_held(w) || (w & HMM__WRITEBACK) ||
			    !hmm__word_cas(word, &w, hmm__word_with_state(w, HMM__EVICTING)))
				continue;
			b->items[b->n++] = (struct hmm__item){
				.region = region, .page = page, .word = w, .frame = hmm__word_frame(w),
			};
		}
		r = hmm__evict(space, b, keep);
		if (r < 0 && total >= 0)
			total = r;
		else if (total >= 0)
			total += r;
	}
	hmm__lock(&space->lock);
	trimmed = trim(space, UINT64_MAX, hmm__keep_goal(space));
	hmm__batch_put(space, b);
	hmm__unlock(&space->lock);
	if (trimmed)
		hmm__frames_changed(space);
	return total;
}
