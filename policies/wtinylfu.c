/* SPDX-License-Identifier: MIT */
/*
 * wtinylfu.c - W-TinyLFU as in Caffeine: a small LRU window, and behind it a main part that a page enters only if it
 * is used more often than the page it would drive out
 *
 *     inserted -> window (LRU) -> waiting -> [more frequent than the victim?] -> probation <-> protected
 *
 * Idea: how often pages were used, resident or not, is kept in a count-min sketch of 4-bit counters that are halved
 * after every 10 uses a frame.  A page that leaves the window duels with the oldest page of probation; the loser is
 * the victim.  A page used again in probation becomes protected (segmented LRU, 80% of main).  Hill climbing moves
 * frames between window and protected, in the direction in which the hit ratio last rose, by steps that decay.
 * Source: G. Einziger, R. Friedman, B. Manes, "TinyLFU: a highly efficient cache admission policy", ACM ToS 13(4),
 * 2017; G. Einziger, O. Eytan, R. Friedman, B. Manes, "Adaptive software cache management", Middleware 2018; sketch,
 * thresholds and steps as in Caffeine 3.
 *
 * Parameters: window=0.01 (part of all frames, to begin with), protected=0.8 (part of main), climb=1, sample=10 (uses
 * a frame after which counters are halved and the window moves).
 * Cost: O(1) a call and per touched page, one cache line of the sketch each; moving the window takes up to 1000 list
 * steps a call, and every 10 uses a frame there is a pass over the sketch.  13 bytes a frame and 8 to 16 of the
 * sketch; no ghosts: the sketch remembers those that left.
 * Known weakness: a new hot set must first outlive the old one's counters: slow to follow a change of phase.  One
 * that is recent, not frequent, is served by the window only, which takes many samples to grow.
 *
 * W1  A choice makes room in the window for the page that will come, as if it were there: so one victim a miss gives
 *     Caffeine's order.
 * W2  In batches more pages arrive between two choices than the window holds.  Those that leave it then wait, and
 *     duel at the next choices, oldest first.  A page that comes without a victim chosen for it (debt 0: memory was
 *     not full) sends none to a duel.
 *
 * Prefetched pages count as used when they are touched.  A page touched while it was proposed (RACED) is protected.
 * WILLNEED counts as a use; DISCARD, EVICT_NEXT and WONTNEED make the page the next victim, the last one named first,
 * until it is touched again.
 */
#include <errno.h>

#include <hurd-mm/policy.h>

#include "policies/frame-list.h"
#include "policies/frequency-sketch.h"
#include "policies/params.h"

enum where { WINDOW, WAITING, PROBATION, PROTECTED, COLD, LISTS };

#define WARM 6              /* frequency from which a candidate that loses is let in now and then */
#define WARM_ODDS 127       /* one in 128 */
#define STEP_SHARE 0.0625   /* of all frames: the first step, and the one after a change of phase */
#define STEP_DECAY 0.98
#define RESTART 0.05        /* change of the hit ratio that is a change of phase */
#define TRANSFER_MOST 1000  /* pages moved in one call */
#define AHEAD 8             /* touched pages whose sketch is prefetched */

struct wtinylfu {
	struct frame_list lists[LISTS];
	uint32_t count[LISTS]; /* with those at rest */
	struct sketch sketch;
	uint32_t *hash;        /* of the frame's page */
	uint8_t *where;        /* enum where; also while proposed */
	uint32_t frames;
	uint32_t debt;         /* victims chosen whose frames have no page yet */
	int64_t window_most, protected_most;
	int64_t adjustment;    /* frames that the window still has to gain or lose */
	uint64_t hits, misses; /* in this sample */
	double step, last_ratio;
	double window_share, protected_share, climb, sample_share;
	uint64_t random;
};

/* Lists */

static void put(struct wtinylfu *w, uint32_t frame, enum where where)
{
	w->where[frame] = (uint8_t)where;
	w->count[where]++;
	frame_list_push_newest(&w->lists[where], frame);
}

/* Nothing if it awaits its verdict. */
static void take(struct wtinylfu *w, uint32_t frame)
{
	if (!frame_list_holds(&w->lists[0], frame))
		return;
	w->count[w->where[frame]]--;
	frame_list_unlink(&w->lists[0], frame);
}

static uint32_t oldest(const struct wtinylfu *w, enum where where)
{
	uint32_t frame = w->lists[where].link[w->lists[where].order].prev;

	return frame != w->lists[where].order ? frame : FRAME_NONE;
}

static void move(struct wtinylfu *w, uint32_t frame, enum where where)
{
	take(w, frame);
	put(w, frame, where);
}

static void demote_protected(struct wtinylfu *w)
{
	for (int i = 0; i < TRANSFER_MOST && w->count[PROTECTED] > w->protected_most; i++) {
		uint32_t frame = oldest(w, PROTECTED);

		if (frame == FRAME_NONE)
			return;
		move(w, frame, PROBATION);
	}
}

/* Climbing */

static void grow_window(struct wtinylfu *w)
{
	for (int i = 0; i < TRANSFER_MOST && w->adjustment > 0 && w->protected_most > 0; i++) {
		uint32_t frame;

		w->protected_most--;
		demote_protected(w);
		frame = oldest(w, PROBATION);
		if (frame == FRAME_NONE)
			frame = oldest(w, PROTECTED);
		if (frame == FRAME_NONE) {
			w->protected_most++;
			break;
		}
		move(w, frame, WINDOW);
		w->window_most++;
		w->adjustment--;
	}
	if (w->protected_most == 0)
		w->adjustment = 0;
}

static void shrink_window(struct wtinylfu *w)
{
	for (int i = 0; i < TRANSFER_MOST && w->adjustment < 0 && w->window_most > 1; i++) {
		uint32_t frame = oldest(w, WINDOW);

		if (frame == FRAME_NONE)
			break;
		move(w, frame, PROBATION);
		w->window_most--;
		w->protected_most++;
		w->adjustment++;
	}
	if (w->window_most <= 1)
		w->adjustment = 0;
}

/* A sample is full: on in this direction if the hit ratio rose, back if it fell. */
static void decide(struct wtinylfu *w)
{
	double ratio = (double)w->hits / (double)(w->hits + w->misses), change = ratio - w->last_ratio;
	double amount = change >= 0 ? w->step : -w->step;

	if (change >= RESTART || change <= -RESTART)
		w->step = STEP_SHARE * w->frames * (amount >= 0 ? 1 : -1);
	else
		w->step = STEP_DECAY * amount;
	w->last_ratio = ratio;
	w->adjustment = (int64_t)amount;
	w->hits = w->misses = 0;
}

/* After every use. */
static inline void climb(struct wtinylfu *w)
{
	if (w->climb != 0 && w->hits + w->misses >= w->sketch.sample)
		decide(w);
	if (w->adjustment > 0)
		grow_window(w);
	else if (w->adjustment < 0)
		shrink_window(w);
}

/* Hooks */

static int parse(const char *params, struct wtinylfu *w)
{
	const struct param known[] = {
		{ "window", &w->window_share, 0, 1, false },
		{ "protected", &w->protected_share, 0, 1, false },
		{ "climb", &w->climb, 0, 1, true },
		{ "sample", &w->sample_share, 1, 1000, false },
	};

	w->window_share = 0.01;
	w->protected_share = 0.8;
	w->climb = 1;
	w->sample_share = 10;
	return params_parse(params, known, sizeof(known) / sizeof(known[0]));
}

static size_t links_size(uint32_t capacity)
{
	return ((size_t)capacity + 2 * LISTS) * sizeof(struct frame_link);
}

/* The sketch first, at a cache line. */
static size_t head_size(void)
{
	return (sizeof(struct wtinylfu) + 63) & ~(size_t)63;
}

static int wtinylfu_sizes(uint32_t capacity, const char *params, struct hmm_policy_sizes *sizes)
{
	struct wtinylfu w;

	sizes->state = head_size() + sketch_words(capacity) * sizeof(uint64_t) + links_size(capacity) +
	               (size_t)capacity * (sizeof(w.hash[0]) + sizeof(w.where[0]));
	return parse(params, &w);
}

static void set_sample(struct wtinylfu *w)
{
	w->sketch.sample = (uint64_t)(w->sample_share * w->frames);
	w->sketch.sample = w->sketch.sample > 0 ? w->sketch.sample : 1;
	if (w->sketch.uses >= w->sketch.sample)
		sketch_halve(&w->sketch);
	if (w->sketch.uses >= w->sketch.sample)
		w->sketch.uses = w->sketch.sample - 1;
}

static int wtinylfu_start(void *state, uint32_t capacity, uint32_t frames, const char *params)
{
	struct wtinylfu *w = state;
	struct frame_link *links;
	int r = parse(params, w);

	if (r != 0)
		return r;
	w->sketch.words = (uint64_t *)((char *)state + head_size());
	w->sketch.block_mask = (uint32_t)(sketch_words(capacity) / 8 - 1);
	links = (struct frame_link *)(w->sketch.words + sketch_words(capacity));
	for (uint32_t i = 0; i < LISTS; i++)
		frame_list_init_at(&w->lists[i], links, capacity + 2 * i);
	w->hash = (uint32_t *)((char *)links + links_size(capacity));
	w->where = (uint8_t *)(w->hash + capacity);
	w->frames = frames;
	w->window_most = frames - (int64_t)((1 - w->window_share) * frames);
	w->window_most = w->window_most > 0 ? w->window_most : 1;
	w->protected_most = (int64_t)(w->protected_share * (double)(frames - w->window_most));
	w->protected_most = w->protected_most > 0 ? w->protected_most : 0;
	w->step = -STEP_SHARE * frames;
	w->random = 0x9e3779b97f4a7c15u;
	set_sample(w);
	return 0;
}

/* The shares that were learned stay. */
static void wtinylfu_resize(void *state, uint32_t frames)
{
	struct wtinylfu *w = state;
	double ratio = w->frames > 0 ? (double)frames / w->frames : 0;
	int64_t window = (int64_t)((double)(w->window_most + w->adjustment) * ratio);
	int64_t protect = (int64_t)((double)(w->protected_most - w->adjustment) * ratio);

	w->step *= ratio;
	w->frames = frames;
	window = window > 0 ? window : 1;
	/* What the window has to gain comes out of protected, step by step; what it loses goes there. */
	w->adjustment = window - w->window_most;
	w->protected_most = protect + w->adjustment;
	if (w->protected_most < 0)
		w->protected_most = 0;
	set_sample(w);
}

static void wtinylfu_miss(void *state, uint64_t page, uint32_t cookie, enum hmm_access access)
{
	struct wtinylfu *w = state;

	(void)cookie;
	if (access == HMM_ACCESS_PREFETCH)
		return;
	sketch_add(&w->sketch, sketch_hash(page));
	w->misses++;
}

/* The next duel's frequencies: their cache lines come while the page is read. */
static void prefetch_duel(const struct wtinylfu *w)
{
	uint32_t candidate = oldest(w, WINDOW), eldest = oldest(w, PROBATION);

	if (candidate != FRAME_NONE)
		__builtin_prefetch(sketch_block(&w->sketch, w->hash[candidate]));
	if (eldest != FRAME_NONE)
		__builtin_prefetch(sketch_block(&w->sketch, w->hash[eldest]));
}

static void wtinylfu_inserted(void *state, uint32_t frame, uint64_t page, uint32_t region, enum hmm_access access)
{
	struct wtinylfu *w = state;
	enum where next = w->debt > 0 ? WAITING : PROBATION;

	(void)region, (void)access;
	w->debt -= w->debt > 0;
	w->hash[frame] = sketch_hash(page);
	put(w, frame, WINDOW);
	if (w->count[WINDOW] > w->window_most) {
		frame = oldest(w, WINDOW);
		if (frame != FRAME_NONE)
			move(w, frame, next);
	}
	climb(w);
	prefetch_duel(w);
}

static void touch(struct wtinylfu *w, uint32_t frame)
{
	sketch_add(&w->sketch, w->hash[frame]);
	w->hits++;
	if (w->where[frame] == WINDOW || w->where[frame] == PROTECTED) {
		frame_list_move_newest(&w->lists[w->where[frame]], frame);
	} else if (frame_list_holds(&w->lists[0], frame)) {
		move(w, frame, PROTECTED);
		demote_protected(w);
	}
	climb(w);
}

static void wtinylfu_touched(void *state, const uint32_t *frames, uint32_t n, enum hmm_access access)
{
	struct wtinylfu *w = state;

	(void)access;
	for (uint32_t i = 0; i < n; i++) {
		if (i + AHEAD < n) {
			__builtin_prefetch(sketch_block(&w->sketch, w->hash[frames[i + AHEAD]]), 1);
			__builtin_prefetch(&w->lists[0].link[frames[i + AHEAD]], 1);
		}
		touch(w, frames[i]);
	}
}

static bool admits(struct wtinylfu *w, uint32_t candidate, uint32_t victim)
{
	unsigned frequency = sketch_frequency(&w->sketch, w->hash[candidate]);

	if (frequency > sketch_frequency(&w->sketch, w->hash[victim]))
		return true;
	if (frequency < WARM)
		return false;
	w->random = w->random * 6364136223846793005u + 1442695040888963407u;
	return (w->random >> 32 & WARM_ODDS) == 0;
}

/* Of nothing that waits to enter. */
static uint32_t oldest_of_any(const struct wtinylfu *w)
{
	static const enum where order[] = { PROBATION, PROTECTED, WINDOW };

	for (unsigned i = 0; i < sizeof(order) / sizeof(order[0]); i++) {
		uint32_t frame = oldest(w, order[i]);

		if (frame != FRAME_NONE)
			return frame;
	}
	return FRAME_NONE;
}

static uint32_t victim(struct wtinylfu *w)
{
	uint32_t candidate, loser = oldest(w, COLD), eldest;

	if (loser != FRAME_NONE)
		return loser;
	if (w->count[WINDOW] >= w->window_most && (candidate = oldest(w, WINDOW)) != FRAME_NONE)
		move(w, candidate, WAITING);
	candidate = oldest(w, WAITING);
	if (candidate == FRAME_NONE)
		return oldest_of_any(w);
	eldest = oldest(w, PROBATION);
	if (eldest == FRAME_NONE || !admits(w, candidate, eldest))
		return candidate;
	move(w, candidate, PROBATION);
	return eldest;
}

/* Resident, and not proposed. */
static uint64_t pages(const struct wtinylfu *w)
{
	uint64_t n = 0;

	for (int i = 0; i < LISTS; i++)
		n += w->count[i];
	return n;
}

static uint32_t wtinylfu_choose(void *state, uint32_t want, uint32_t *out, uint32_t scan)
{
	struct wtinylfu *w = state;
	uint32_t n;

	for (n = 0; n < want && n < scan; n++) {
		uint32_t frame = victim(w);

		if (frame == FRAME_NONE && n == 0) {
			frame_list_wake(&w->lists[PROBATION]);
			frame = victim(w);
		}
		if (frame == FRAME_NONE)
			break;
		take(w, frame);
		w->debt += (uint64_t)w->debt + pages(w) < w->frames;
		out[n] = frame;
	}
	return n;
}

static uint32_t wtinylfu_evicted(void *state, uint32_t frame, uint64_t page)
{
	struct wtinylfu *w = state;

	(void)page;
	take(w, frame);
	frame_list_count_eviction(&w->lists[PROBATION]);
	return 0;
}

static void wtinylfu_rejected(void *state, uint32_t frame, enum hmm_reject why)
{
	struct wtinylfu *w = state;

	w->debt -= w->debt > 0;
	if (why == HMM_REJECT_RACED) {
		put(w, frame, PROTECTED);
		demote_protected(w);
	} else {
		w->where[frame] = PROBATION;
		w->count[PROBATION]++;
		frame_list_refuse(&w->lists[PROBATION], frame);
	}
}

static void wtinylfu_removed(void *state, uint32_t frame, uint64_t page, enum hmm_removed why)
{
	(void)page, (void)why;
	take(state, frame);
}

static void wtinylfu_hint(void *state, uint32_t frame, struct hmm_page_range range, enum hmm_hint hint, int64_t value)
{
	struct wtinylfu *w = state;

	(void)range, (void)value;
	if (frame == FRAME_NONE || !frame_list_holds(&w->lists[0], frame))
		return;
	if (hint == HMM_HINT_DISCARD || hint == HMM_HINT_EVICT_NEXT || hint == HMM_HINT_WONTNEED) {
		move(w, frame, COLD);
		frame_list_move_victim(&w->lists[COLD], frame);
	} else if (hint == HMM_HINT_WILLNEED) {
		touch(w, frame);
	}
}

HMM_POLICY_EXCHANGE(wtinylfu_exchange, wtinylfu_miss, wtinylfu_choose, wtinylfu_evicted, wtinylfu_inserted)

const struct hmm_policy_ops hmm__policy_wtinylfu = {
	.size = sizeof(struct hmm_policy_ops),
	.version = HMM_POLICY_VERSION,
	.caps = HMM_POLICY_EXACT,
	.name = "wtinylfu",
	.summary = "W-TinyLFU: LRU window, admission by frequency, segmented LRU, hill climbing",
	.params = "window=0.01,protected=0.8,climb=1,sample=10",
	.sizes = wtinylfu_sizes,
	.start = wtinylfu_start,
	.resize = wtinylfu_resize,
	.miss = wtinylfu_miss,
	.inserted = wtinylfu_inserted,
	.touched = wtinylfu_touched,
	.choose = wtinylfu_choose,
	.evicted = wtinylfu_evicted,
	.exchange = wtinylfu_exchange,
	.rejected = wtinylfu_rejected,
	.removed = wtinylfu_removed,
	.hint = wtinylfu_hint,
};
