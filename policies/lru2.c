/* SPDX-License-Identifier: MIT */
/*
 * lru2.c - LRU-2: the page whose second last use lies farthest back goes first
 *
 * Idea: the time between a page's last two uses estimates how often it is used; one use alone says nothing.  So pages used
 * once go before all others, by LRU among themselves, and pages used twice by the time of the use before the last.
 * Uses in quick succession (a transaction that reads and then updates a record) are one use: within the correlated
 * reference period they count as one, and a page is not evicted.  A page's times outlive its eviction for a while,
 * else a page that is used again and again, but each time evicted between, would always look new.
 * Source: E. J. O'Neil, P. E. O'Neil, G. Weikum, "The LRU-K page replacement algorithm for database disk buffering", SIGMOD
 * 1993, figure 2.1, with K = 2.  Time is counted in references.
 *
 * Parameters: correlated=0, the correlated reference period in references; history=1, pages for each frame whose times are
 * retained after they left, the last ones.  (The paper retains them for a period of time; memory is bounded here instead.)
 * Cost: a hit stores two times, the heap of pages used twice is put right when victims are wanted: O(log n) a victim on
 * average; 56 bytes a frame, 24 a ghost, and what the core remembers of it.
 * Known weakness: a page that was used often once stays until its second last use is old enough.  A page read by a scan is
 * evicted at once, and so is the first page of a new working set; no correlated reference period suits all programs.
 *
 * U1  A page that awaits no verdict is in `once`, in `cold`, or in the heap: at[frame] < nheap, its links name itself.
 * U2  A key in the heap is the page's second last use at some time; it can only have grown since.  So a key at the root
 *     that is still true is the least of all.
 * U3  With times of 0 a page has not been used since it came (read ahead), or its history is to be forgotten.
 * A page touched while it was proposed (RACED) is used.  WILLNEED is no use.  DISCARD, EVICT_NEXT and WONTNEED make the
 * page the next victim, the last one named first, until it is used again, and forget its history.
 */
#include <errno.h>
#include <string.h>

#include <hurd-mm/policy.h>

#include "policies/frame-list.h"
#include "policies/ghost-list.h"
#include "policies/params.h"

#define NOT_IN_HEAP UINT32_MAX

struct times {
	uint64_t first;  /* of the last use, HIST(p, 1); without the correlated ones after it */
	uint64_t second; /* of the use before, HIST(p, 2), corrected by the length of its correlated period; 0: none */
	uint64_t last;   /* of the last use, correlated or not, LAST(p) */
};

struct lru2 {
	struct frame_list once, cold;
	struct ghost_lists ghosts; /* list 0 */
	struct times *times;       /* by frame */
	uint64_t *key;             /* the heap, least first */
	uint32_t *heap;            /* frames, as the keys */
	uint32_t *at;              /* by frame: its place in the heap */
	uint64_t *ghost_first;     /* by slot: first */
	uint64_t now, wanted, wanted_first;
	uint64_t period;
	uint32_t nheap, ghosts_most;
	double correlated, history; /* parameters */
	struct frame_link links[];
};

static int lru2_parse(const char *text, double *correlated, double *history)
{
	const struct param params[] = {
		{ .name = "correlated", .value = correlated, .least = 0, .most = 1e12, .is_whole = true },
		{ .name = "history", .value = history, .least = 0, .most = 1e6 },
	};

	*correlated = 0;
	*history = 1;
	return params_parse(text, params, sizeof(params) / sizeof(params[0]));
}

static size_t round_up(size_t size)
{
	return (size + 7) & ~(size_t)7;
}

static int lru2_sizes(uint32_t capacity, const char *text, struct hmm_policy_sizes *sizes)
{
	double correlated, history;
	int r = lru2_parse(text, &correlated, &history);
	uint32_t nslots;

	if (r != 0)
		return r;
	nslots = ghost_slots(history * capacity);
	sizes->state = sizeof(struct lru2) + ((size_t)capacity + 4) * sizeof(struct frame_link) +
	               capacity * (sizeof(struct times) + sizeof(uint64_t)) + 2 * round_up(capacity * sizeof(uint32_t)) +
	               ghost_lists_size(nslots) + nslots * sizeof(uint64_t);
	sizes->ghosts = nslots;
	return 0;
}

/* Heap: the parent of i is (i - 1) / WAYS; with four the keys of siblings share a cache line, and it is half as deep. */

#define WAYS 4u

static void heap_put(struct lru2 *l, uint32_t i, uint64_t key, uint32_t frame)
{
	l->key[i] = key;
	l->heap[i] = frame;
	l->at[frame] = i;
}

static void sift_up(struct lru2 *l, uint32_t i, uint64_t key, uint32_t frame)
{
	while (i > 0 && l->key[(i - 1) / WAYS] > key) {
		heap_put(l, i, l->key[(i - 1) / WAYS], l->heap[(i - 1) / WAYS]);
		i = (i - 1) / WAYS;
	}
	heap_put(l, i, key, frame);
}

/* Of four keys, without a jump: which of them it is can't be predicted. */
static inline uint32_t least_of_four(const uint64_t *key)
{
	uint32_t low = key[1] < key[0], high = 2 + (key[3] < key[2]);
	uint32_t is_high = key[high] < key[low];

	return low + (high - low) * is_high;
}

static void sift_down(struct lru2 *l, uint32_t i, uint64_t key, uint32_t frame)
{
	for (uint64_t first; (first = WAYS * (uint64_t)i + 1) < l->nheap;) {
		uint64_t end = first + WAYS < l->nheap ? first + WAYS : l->nheap, least = first;

		if (end - first == WAYS)
			least += least_of_four(&l->key[first]);
		for (uint64_t child = first + 1; child < end && end - first < WAYS; child++)
			least = l->key[child] < l->key[least] ? child : least;
		if (l->key[least] >= key)
			break;
		heap_put(l, i, l->key[least], l->heap[least]);
		i = (uint32_t)least;
	}
	heap_put(l, i, key, frame);
}

static void heap_push(struct lru2 *l, uint32_t frame)
{
	sift_up(l, l->nheap++, l->times[frame].second, frame);
}

static void heap_remove(struct lru2 *l, uint32_t frame)
{
	uint32_t i = l->at[frame], last = --l->nheap, moved = l->heap[last];
	uint64_t key = l->key[last];

	l->at[frame] = NOT_IN_HEAP;
	if (i == last)
		return;
	if (i > 0 && l->key[(i - 1) / WAYS] > key)
		sift_up(l, i, key, moved);
	else
		sift_down(l, i, key, moved);
}

/* Where pages are */

static bool in_heap(const struct lru2 *l, uint32_t frame)
{
	return l->at[frame] != NOT_IN_HEAP;
}

/* A page in no list and not in the heap: where its times say. */
static void place(struct lru2 *l, uint32_t frame)
{
	if (l->times[frame].second == 0)
		frame_list_push_newest(&l->once, frame);
	else
		heap_push(l, frame);
}

static void take(struct lru2 *l, uint32_t frame)
{
	if (in_heap(l, frame))
		heap_remove(l, frame);
	else
		frame_list_unlink(&l->once, frame);
}

/* A page used within the period is neither used again nor evicted. */
static bool is_correlated(const struct lru2 *l, uint32_t frame)
{
	return l->now - l->times[frame].last <= l->period;
}

static void use(struct lru2 *l, uint32_t frame)
{
	struct times *times = &l->times[frame];

	l->now++;
	if (!is_correlated(l, frame)) {
		times->second = times->last; /* HIST(p, 1) and the length of the correlated period */
		times->first = l->now;
	}
	times->last = l->now;
	if (in_heap(l, frame) || !frame_list_holds(&l->once, frame))
		return;
	frame_list_unlink(&l->once, frame);
	place(l, frame);
}

/* Victims */

/* The least key of a page that is not correlated; FRAME_NONE if *scan is used up or all are. */
static uint32_t heap_victim(struct lru2 *l, uint32_t *scan)
{
	uint32_t n = l->nheap, victim = FRAME_NONE;

	for (; l->nheap > 0 && *scan > 0; --*scan) {
		uint32_t frame = l->heap[0];
		uint64_t second = l->times[frame].second;

		if (l->key[0] != second) {
			sift_down(l, 0, second, frame);
			continue;
		}
		heap_remove(l, frame);
		if (!is_correlated(l, frame)) {
			victim = frame;
			n--;
			break;
		}
		l->heap[l->nheap] = frame; /* behind the heap for so long */
	}
	/* heap[nheap .. n) holds those passed over; with a victim found a gap stands at its place, the first one. */
	for (uint32_t i = l->nheap + (victim != FRAME_NONE), end = n + (victim != FRAME_NONE); i < end; i++)
		heap_push(l, l->heap[i]);
	return victim;
}

static bool is_ready(const struct frame_list *list)
{
	return list->link[list->order].prev != list->order;
}

static uint32_t list_victim(struct frame_list *list)
{
	uint32_t frame = frame_list_victim(list);

	if (frame != FRAME_NONE)
		frame_list_unlink(list, frame);
	return frame;
}

static uint32_t next_victim(struct lru2 *l, uint32_t *scan)
{
	uint32_t frame;

	if (is_ready(&l->cold))
		return list_victim(&l->cold);
	if (is_ready(&l->once) && !is_correlated(l, frame_list_victim(&l->once)))
		return list_victim(&l->once);
	frame = heap_victim(l, scan);
	if (frame != FRAME_NONE || *scan == 0)
		return frame;
	/* All pages are correlated, or at rest: one of them has to go. */
	if (is_ready(&l->once) || l->nheap == 0)
		return list_victim(&l->once);
	frame = l->heap[0];
	heap_remove(l, frame);
	return frame;
}

/* Hooks */

static void lru2_resize(void *state, uint32_t frames)
{
	struct lru2 *l = state;

	l->ghosts_most = ghost_slots(l->history * frames);
	while (l->ghosts.n[0] > l->ghosts_most)
		ghost_drop_oldest(&l->ghosts, 0);
}

static int lru2_start(void *state, uint32_t capacity, uint32_t frames, const char *text)
{
	struct lru2 *l = state;
	int r = lru2_parse(text, &l->correlated, &l->history);
	uint32_t nslots = ghost_slots(l->history * capacity);
	char *at = (char *)&l->links[(size_t)capacity + 4];

	if (r != 0)
		return r;
	frame_list_init_at(&l->once, l->links, capacity);
	frame_list_init_at(&l->cold, l->links, capacity + 2);
	ghost_lists_init(&l->ghosts, at, nslots);
	l->ghost_first = (uint64_t *)(void *)(at + ghost_lists_size(nslots));
	l->times = (struct times *)(void *)(l->ghost_first + nslots);
	l->key = (uint64_t *)(void *)(l->times + capacity);
	l->heap = (uint32_t *)(void *)(l->key + capacity);
	l->at = (uint32_t *)(void *)((char *)l->heap + round_up(capacity * sizeof(uint32_t)));
	l->period = (uint64_t)l->correlated;
	lru2_resize(l, frames);
	return 0;
}

static void lru2_miss(void *state, uint64_t page, uint32_t cookie, enum hmm_access access)
{
	struct lru2 *l = state;

	l->now += access != HMM_ACCESS_PREFETCH;
	l->wanted = page;
	l->wanted_first = 0;
	if (!ghost_is_known(&l->ghosts, cookie, page))
		return;
	l->wanted_first = l->ghost_first[(cookie - 1) / 2];
	ghost_take(&l->ghosts, cookie);
}

static void lru2_inserted(void *state, uint32_t frame, uint64_t page, uint32_t region, enum hmm_access access)
{
	struct lru2 *l = state;
	uint64_t before = l->wanted == page ? l->wanted_first : 0;

	(void)region;
	l->wanted_first = 0;
	l->at[frame] = NOT_IN_HEAP;
	l->links[frame].prev = l->links[frame].next = frame;
	if (access == HMM_ACCESS_PREFETCH) /* the first use of it will find its history in place */
		l->times[frame] = (struct times){ .first = before, .last = before };
	else
		l->times[frame] = (struct times){ .first = l->now, .second = before, .last = l->now };
	place(l, frame);
}

static void lru2_touched(void *state, const uint32_t *frames, uint32_t n, enum hmm_access access)
{
	struct lru2 *l = state;

	(void)access;
	for (uint32_t i = 0; i < n; i++) {
		if (i + 4 < n)
			__builtin_prefetch(&l->times[frames[i + 4]]);
		use(l, frames[i]);
	}
}

static uint32_t lru2_choose(void *state, uint32_t want, uint32_t *out, uint32_t scan)
{
	struct lru2 *l = state;
	uint32_t n, frame;

	for (n = 0; n < want && n < scan && (frame = next_victim(l, &scan)) != FRAME_NONE; n++)
		out[n] = frame;
	return n;
}

static uint32_t lru2_evicted(void *state, uint32_t frame, uint64_t page)
{
	struct lru2 *l = state;
	uint32_t cookie;

	take(l, frame);
	frame_list_count_eviction(&l->once);
	if (l->times[frame].first == 0)
		return 0;
	while (l->ghosts.n[0] >= l->ghosts_most)
		ghost_drop_oldest(&l->ghosts, 0);
	cookie = ghost_push(&l->ghosts, 0, page);
	l->ghost_first[(cookie - 1) / 2] = l->times[frame].first;
	return cookie;
}

static void lru2_rejected(void *state, uint32_t frame, enum hmm_reject why)
{
	struct lru2 *l = state;

	if (why == HMM_REJECT_RACED) {
		use(l, frame);
		place(l, frame);
	} else {
		frame_list_refuse(&l->once, frame);
	}
}

static void lru2_removed(void *state, uint32_t frame, uint64_t page, enum hmm_removed why)
{
	(void)page, (void)why;
	take(state, frame);
}

static void lru2_hint(void *state, uint32_t frame, struct hmm_page_range range, enum hmm_hint hint, int64_t value)
{
	struct lru2 *l = state;

	(void)range, (void)value;
	if (frame == FRAME_NONE || (hint != HMM_HINT_DISCARD && hint != HMM_HINT_EVICT_NEXT && hint != HMM_HINT_WONTNEED))
		return;
	if (!in_heap(l, frame) && !frame_list_holds(&l->once, frame))
		return; /* awaits its verdict */
	take(l, frame);
	l->times[frame] = (struct times){ 0 };
	frame_list_push_victim(&l->cold, frame);
}

HMM_POLICY_EXCHANGE(lru2_exchange, lru2_miss, lru2_choose, lru2_evicted, lru2_inserted)

const struct hmm_policy_ops hmm__policy_lru2 = {
	.size = sizeof(struct hmm_policy_ops),
	.version = HMM_POLICY_VERSION,
	.caps = HMM_POLICY_EXACT | HMM_POLICY_GHOSTS,
	.name = "lru2",
	.summary = "LRU-2: the page whose second last use lies farthest back",
	.params = "correlated=0,history=1",
	.sizes = lru2_sizes,
	.start = lru2_start,
	.resize = lru2_resize,
	.miss = lru2_miss,
	.inserted = lru2_inserted,
	.touched = lru2_touched,
	.choose = lru2_choose,
	.evicted = lru2_evicted,
	.exchange = lru2_exchange,
	.rejected = lru2_rejected,
	.removed = lru2_removed,
	.hint = lru2_hint,
};
