/* SPDX-License-Identifier: MIT */
/*
 * space.c - create, destroy and resize a self-pager
 */
#include <errno.h>
#include <string.h>

#include "lib/base/arena.h"
#include "lib/store/store.h"
#include "lib/vm/cache/cache.h"
#include "lib/vm/call.h"
#include "lib/vm/lineage.h"
#include "lib/vm/record.h"

#define DEFAULT_POLICY "clock"
#define FLAGS_KNOWN (HMM_SPACE_CHECK_POLICY | HMM_SPACE_NO_RECLAIMER | HMM_SPACE_LOCK)
#define BATCH_DEFAULT 64u
#define IDLE_MOST 8u /* fruitless passes of a shrink in a row */

static _Atomic uint64_t serials;

static int check_options(uint64_t frames, struct hmm_space_options *o)
{
	if (!o->max_frames)
		o->max_frames = HMM__MIN(frames * 4, (uint64_t)INT32_MAX);
	if (!o->max_pages)
		o->max_pages = o->max_frames;
	if (!o->policy)
		o->policy = DEFAULT_POLICY;
	if (!o->backend)
		o->backend = hmm_backend_local();
	if (frames < HMM_FRAMES_MIN || frames > o->max_frames || o->max_frames > INT32_MAX ||
	    o->max_pages < o->max_frames || o->max_pages > INT32_MAX)
		return -EINVAL;
	if (o->flags & ~(uint32_t)FLAGS_KNOWN || o->rescue > HMM_RESCUE_NEVER || o->engine > HMM_ENGINE_COPY ||
	    o->batch > HMM__BATCH_MAX)
		return -EINVAL;
	if ((o->low_water && o->high_water && o->low_water >= o->high_water) || o->low_water >= frames ||
	    o->high_water >= frames || o->available > frames / 2)
		return -EINVAL;
	if (o->backend->version != HMM_BACKEND_VERSION || o->backend->size < offsetof(struct hmm_backend_ops, inherit))
		return -EINVAL;
	return 0;
}

/*
 * Frames that only loads from swap may take (swap_room.c, Z1): one for the page, one for its contents to pass through, as
 * far as the budget allows that for its largest pages.
 */
static uint64_t exchange_of(const struct hmm_space *space)
{
	uint32_t largest = HMM__MAX(space->largest, 1u);

	if (!__atomic_load_n(&space->swap_slots, __ATOMIC_RELAXED))
		return 0;
	return space->budget >= 16 * (uint64_t)largest ? 2 * largest : space->budget >= 8 * (uint64_t)largest ? largest : 0;
}

/* Under the lock, or before anybody else knows the space. */
void hmm__space_watermarks(struct hmm_space *space)
{
	const struct hmm_space_options *o = &space->given;
	uint32_t budget = (uint32_t)space->budget, batch = o->batch ? o->batch : BATCH_DEFAULT;
	uint32_t low, high;

	/*
	 * Free frames are frames that the policy can't use: few, where it is there to miss little; but not where dirty
	 * pages are copied to them.
	 */
	batch = HMM__MAX(HMM__MIN(batch, budget / (o->batch || !space->samples || space->reserve ? 8 : 64)), 1u);
	low = o->low_water ? HMM__MIN(o->low_water, budget / 4) : HMM__MAX(batch / 2, 2u);
	high = o->high_water ? HMM__MIN(o->high_water, budget / 2) : low + batch;
	if (high <= low)
		high = low + 1;
	space->batch = batch;
	space->low_water = low;
	space->high_water = high;
	space->exchange = exchange_of(space);
	space->available_target = o->available ? HMM__MIN(o->available, budget / 2) : budget / (space->samples ? 2 : 8);
}

static void policy_report(void *arg, const char *text)
{
	hmm__event(arg, HMM_EVENT_POLICY, NULL, 0, 0, 0, text);
}

static int make_policy(struct hmm_space *space)
{
	bool check = space->flags & HMM_SPACE_CHECK_POLICY;
	int r;

#ifdef HMM_DEBUG
	check = true;
#endif
	r = hmm__policy_create(space->given.policy, space->numbers, (uint32_t)space->budget, check, policy_report,
	                       space, &space->policy);
	return r == -ENOENT ? -EINVAL : r;
}

static void fill_in(struct hmm_space *space, uint64_t frames, const struct hmm_space_options *o)
{
	space->budget = frames;
	space->capacity = (uint32_t)o->max_frames;
	space->numbers = (uint32_t)o->max_pages;
	space->serial = atomic_fetch_add(&serials, 1) + 1;
	space->given = *o;
	space->rescue = o->rescue;
	space->engine_choice = o->engine;
	space->flags = o->flags;
	space->pagers = o->pagers;
	space->ops = o->backend;
	space->backend_arg = o->backend_arg;
	space->event = o->event;
	space->event_arg = o->event_arg;
	hmm__lock_init(&space->lock, HMM__RANK_SPACE);
	hmm__lock_init(&space->engine_lock, HMM__RANK_ENGINE);
	hmm__lock_init(&space->swap_lock, HMM__RANK_SWAP);
	hmm__lock_init(&space->event_lock, HMM__RANK_EVENT);
	hmm__space_watermarks(space);
}

static void link_space(struct hmm_space *space)
{
	hmm__spaces_enter();
	space->next = hmm__spaces;
	if (space->next)
		space->next->prev = space;
	hmm__spaces = space;
	hmm__spaces_leave();
}

static void unlink_space(struct hmm_space *space)
{
	hmm__spaces_enter();
	if (space->prev)
		space->prev->next = space->next;
	else
		hmm__spaces = space->next;
	if (space->next)
		space->next->prev = space->prev;
	hmm__spaces_leave();
}

static int start_threads(struct hmm_space *space)
{
	int r = hmm__reclaimer_start(space);

	if (r)
		return r;
	r = hmm__assist_start(space);
	if (r)
		hmm__reclaimer_stop(space);
	return r;
}

/* A swap store that was given has slots of one space only. */
static int claim_swap(struct hmm_space *space, struct hmm_store *swap)
{
	if (!swap)
		return 0;
	space->swap_claim = (struct hmm__claim){ .store = swap->identity, .to = UINT64_MAX, .writes = true, .swap = true };
	return hmm__claim_make(&space->swap_claim);
}

static int start(struct hmm_space *space)
{
	int r = hmm__fork_init();

	if (!r)
		r = hmm__frames_init(space);
	if (r)
		return r;
	r = hmm__record_open(space, space->given.record, &space->record);
	if (!r)
		r = make_policy(space);
	if (!r) {
		space->samples = hmm__keep_samples(space);
		hmm__space_watermarks(space);
		r = start_threads(space);
		if (r)
			hmm__policy_destroy(space->policy);
	}
	if (r) {
		hmm__record_close(space);
		hmm__frames_fini(space);
	}
	return r;
}

int hmm_space_create(uint64_t frames, const struct hmm_space_options *opts, struct hmm_space **ret_space)
{
	struct hmm_space_options o;
	struct hmm_space *space;
	sigset_t mask;
	int r;

	if (!ret_space)
		return -EINVAL;
	if (hmm__is_stray())
		return -ECHILD;
	r = hmm__options_read(&o, sizeof(o), opts);
	if (!r)
		r = check_options(frames, &o);
	if (r)
		return r;
	hmm__signals_block(&mask);
	hmm__tables_begin(o.flags);
	space = hmm__sparse_alloc(sizeof(*space));
	if (!space) {
		r = -ENOMEM;
	} else {
		fill_in(space, frames, &o);
		r = claim_swap(space, o.swap);
		if (!r)
			r = start(space);
		if (r) {
			hmm__claim_end(&space->swap_claim);
			hmm__sparse_free(space, sizeof(*space));
		}
	}
	r = hmm__tables_end(r);
	if (!r) {
		space->swap = o.swap ? hmm_store_get(o.swap) : NULL;
		space->given.policy = space->given.record = NULL; /* the caller's strings */
		link_space(space);
	}
	hmm__signals_restore(&mask);
	if (!r)
		*ret_space = space;
	return r;
}

void hmm_space_destroy(struct hmm_space *space)
{
	sigset_t mask;

	if (!space || hmm__is_stray()) /* its threads are not here, and what is in files and descriptors is the parent's */
		return;
	while (space->caches)
		hmm_cache_abandon(space->caches);
	while (space->regions)
		hmm_region_abandon(space->regions);
	hmm__signals_block(&mask);
	hmm__assist_stop(space);
	hmm__reclaimer_stop(space);
	unlink_space(space);
	/* what a pass that ended after the last region had gone has left: S3 */
	hmm__bounce_flush(space);
	hmm__slots_release(space, UINT64_MAX);
	for (unsigned i = 0; i < HMM__ENGINES; i++)
		hmm__engine_close(&space->engines[i]);
	hmm__record_close(space);
	hmm__events_deliver(space);
	hmm__policy_destroy(space->policy);
	hmm__lineage_fini(space);
	hmm__slots_destroy(space->swap_slots);
	hmm__claim_end(&space->swap_claim);
	hmm_store_put(space->swap);
	hmm_store_put(space->swap_model);
	hmm__frames_fini(space);
	hmm__sparse_free(space, sizeof(*space));
	hmm__signals_restore(&mask);
}

void hmm__space_budget(struct hmm_space *space, uint64_t frames)
{
	__atomic_store_n(&space->budget, frames, __ATOMIC_RELAXED);
	hmm__space_watermarks(space);
	hmm__space_policy_size(space);
}

/* Pages, not frames: known where all have one size. */
void hmm__space_policy_size(struct hmm_space *space)
{
	const struct hmm__cache_pool *pool = space->cache_pools;
	uint64_t pages = space->budget;

	if (pool && !pool->next && !atomic_load(&space->nregions))
		pages = space->budget / pool->weight * pool->per;
	hmm__policy_resize(space->policy, (uint32_t)HMM__MIN(pages, (uint64_t)space->numbers));
}

/*
 * Evict until no more than `frames` are held.  The budget goes down with what is held, so that what comes free is not
 * taken again meanwhile, but leaves the reserve, without which dirty pages may not be evicted.  What is pinned stays, and
 * some room beside it for faults.  Returns what was reached.
 */
static uint64_t shrink(struct hmm_space *space, uint64_t asked)
{
	for (unsigned idle = 0;;) {
		uint64_t frames, excess;
		bool last, stuck;
		int64_t r;

		hmm__bounce_flush(space);
		hmm__lock(&space->lock);
		/* another shrink may have gone further already */
		frames = HMM__MIN(HMM__MAX(asked, hmm__pin_room(space)), space->budget);
		excess = space->held + space->reserve > frames ? space->held + space->reserve - frames : 0;
		last = !excess || idle > IDLE_MOST;
		frames = HMM__MAX(HMM__MIN(space->held + (last ? 0 : space->reserve), space->budget), frames);
		hmm__space_budget(space, frames);
		hmm__unlock(&space->lock);
		if (last)
			return frames;
		if (hmm__slots_release(space, excess)) {
			idle = 0;
			continue;
		}
		if (hmm__cache_compact(space, excess)) {
			idle = 0;
			continue;
		}
		stuck = hmm__cache_stuck(space);
		if (stuck && !atomic_load(&space->nregions)) {
			idle = IDLE_MOST + 1;
			continue;
		}
		r = hmm__reclaim(space, excess);
		if (r <= 0 && hmm__cache_sweep(space, true))
			r = 1;
		if (r <= 0)
			hmm__reclaim_window(space, excess);
		idle = stuck ? idle + IDLE_MOST / 2 : r > 0 ? 0 : idle + 1;
	}
}

static uint64_t grow(struct hmm_space *space, uint64_t n)
{
	uint64_t frames;

	hmm__lock(&space->lock);
	frames = HMM__MIN(space->budget + n, (uint64_t)space->capacity);
	/* another resize may have been in between, and have given back what was taken for this one (S1) */
	if (space->supplier)
		frames = HMM__MAX(HMM__MIN(frames, space->granted), space->budget);
	hmm__space_budget(space, frames);
	hmm__unlock(&space->lock);
	return frames;
}

int hmm__space_resize(struct hmm_space *space, uint64_t frames, uint64_t *ret_frames)
{
	uint64_t old = hmm__peek(&space->budget), reached = old;

	if (frames > old)
		reached = grow(space, hmm__supply_take(space, frames - old));
	else if (frames < old)
		reached = shrink(space, frames);
	hmm__supply_return(space);
	hmm__frames_changed(space);
	*ret_frames = reached;
	return reached != frames ? -EAGAIN : 0;
}

int hmm_space_resize(struct hmm_space *space, uint64_t frames, uint64_t *ret_frames)
{
	struct hmm__call call;
	uint64_t reached;
	int r;

	if (!space || frames < HMM_FRAMES_MIN || frames > space->capacity)
		return -EINVAL;
	r = hmm__call_begin_space(&call, space);
	if (r)
		return r;
	hmm__lock(&space->lock);
	r = space->largest > 1 && frames < 4 * (uint64_t)space->largest ? -EINVAL : 0;
	hmm__unlock(&space->lock);
	if (r) {
		hmm__call_end(&call);
		return r;
	}
	r = hmm__space_resize(space, frames, &reached);
	hmm__call_end(&call);
	if (ret_frames)
		*ret_frames = reached;
	return r;
}

int64_t hmm_space_reclaim(struct hmm_space *space, uint64_t n)
{
	struct hmm__call call;
	int64_t total = 0, r = 0;

	if (!space)
		return -EINVAL;
	r = hmm__call_begin_space(&call, space);
	if (r)
		return r;
	while (total < (int64_t)n) {
		r = hmm__reclaim(space, HMM__MIN(n - (uint64_t)total, (uint64_t)space->batch));
		if (r <= 0)
			break;
		total += r;
	}
	hmm__call_end(&call);
	return total ? total : r;
}

/* It may report an event, so signals are blocked; a fork need not wait for the file. */
static void flush_record(struct hmm_space *space)
{
	sigset_t mask;

	hmm__signals_block(&mask);
	hmm__record_flush(space);
	hmm__signals_restore(&mask);
}

int hmm_space_poll(struct hmm_space *space)
{
	struct hmm__call call;
	int r;

	if (!space)
		return -EINVAL;
	r = hmm__call_begin_space(&call, space);
	if (r)
		return r;
	hmm__work(space);
	hmm__call_end(&call);
	flush_record(space);
	hmm__events_deliver(space);
	return 0;
}

const char *hmm_space_policy(const struct hmm_space *space)
{
	return hmm__policy_ops(space->policy)->name;
}
