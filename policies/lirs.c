/* SPDX-License-Identifier: MIT */
/*
 * lirs.c - LIRS: pages that came back after few others were used stay, however long ago that was
 *
 *     S   f7 g3 f1 f4 g9 f2     newest -> bottom, which is a LIR page; pages below it are forgotten
 *     Q   f7 f5                 newest -> next victim: resident HIR pages, in S or not
 *
 * Idea: what counts of a page is not the time of its last use but its inter-reference recency, the number of other pages
 * used between its last two uses.  Pages for which it is low (LIR) own nearly all of memory.  The others (HIR) pass through
 * the small queue Q; a HIR page that is used again while it is in the stack S, resident or not, has a lower inter-reference
 * recency than the LIR page at the bottom of S has recency, and takes its place.
 * Source: S. Jiang, X. Zhang, "LIRS: an efficient low inter-reference recency set replacement policy to improve buffer
 * cache performance", SIGMETRICS 2002, and what the authors' simulator does where the paper is silent: the bound of S.
 *
 * Parameters: hir=0.01, Q's part of memory, two frames at least; stack=2500, length of S in frames; ghosts=0, pages
 * remembered at most that are not resident; 0 stands for four a frame, and at least 2^20; repeats=1, whether two uses in a
 * row are two uses: the authors' simulator drops the second (0).
 * Cost: a hit moves a link, of Q's pages two; O(1) a call on average; 17 bytes a frame, 16 a ghost, and what the core
 * remembers of it.
 * Known weakness: a new working set must show itself in S before the LIR pages of the last one give way, page by page: where
 * LRU would follow at once, LIRS misses for long.  Two uses within the time a page spends in Q are enough to be LIR.
 *
 * L1  A LIR page is in S and not in Q.  A HIR page is in Q, at rest beside it, or proposed; it may be in S.
 * L2  The bottom of S is a LIR page.  Without LIR pages S is empty.
 * L3  Below `low` S has only LIR pages; `low` itself may be any.  So the lowest HIR page, which goes where S is too
 *     long, is found in O(1) on average: each step upwards leaves a page behind that is above only after another use.
 * L4  Ghosts leave S from its bottom, in the order of their evictions: the core need not remember more than live here.
 * L5  The newest page of S was used last, except where a page was read ahead.  With repeats=0 its next use is the same one.
 * L6  Q never runs empty if victims are taken one a miss.  Where a batch empties it, LIR pages are demoted and Q's part
 *     grows with them, up to half of memory.
 * A page touched while it was proposed (RACED) is used as any page of Q.  WILLNEED is a hit.  DISCARD, EVICT_NEXT and
 * WONTNEED make a HIR page of it, outside of S, and the next victim, the last one named first, until it is used again; it
 * leaves no ghost.  A page read ahead has not been asked for: it enters Q only.
 */
#include <errno.h>

#include <hurd-mm/policy.h>

#include "policies/frame-list.h"
#include "policies/params.h"

#define GHOSTS_LEAST ((double)(1u << 20))
#define AHEAD 4u /* touched pages whose links are fetched before they are needed */

struct lirs_params {
	double hir, stack, ghosts, repeats;
};

struct lirs {
	struct frame_list stack;  /* links of frames, ends, ghosts */
	struct frame_list queue;
	uint64_t *ghost_page;     /* by slot */
	uint8_t *is_lir;          /* by frame */
	uint64_t wanted;          /* page of the last miss */
	uint64_t length, length_most; /* of S */
	uint32_t low;             /* L3; the end of S: all are LIR */
	uint32_t nlir, lir_most;
	uint32_t first_ghost;     /* node of slot 0 */
	uint32_t nslots, fresh;   /* slots past fresh were never used */
	uint32_t free;            /* node of a slot that is free again, FRAME_NONE */
	uint32_t frames;
	bool wanted_was_ghost;
	struct lirs_params params;
	struct frame_link links[];
};

static int lirs_parse(const char *text, struct lirs_params *p)
{
	const struct param params[] = {
		{ .name = "hir", .value = &p->hir, .least = 0, .most = 1 },
		{ .name = "stack", .value = &p->stack, .least = 1, .most = 1e6 },
		{ .name = "ghosts", .value = &p->ghosts, .least = 0, .most = 4e9, .is_whole = true },
		{ .name = "repeats", .value = &p->repeats, .least = 0, .most = 1, .is_whole = true },
	};

	*p = (struct lirs_params){ .hir = 0.01, .stack = 2500, .ghosts = 0, .repeats = 1 };
	return params_parse(text, params, sizeof(params) / sizeof(params[0]));
}

static uint32_t lirs_slots(uint32_t capacity, const struct lirs_params *p)
{
	double most = p->stack * capacity, ghosts = p->ghosts, room = UINT32_MAX - 32.0 - capacity;

	if (ghosts == 0)
		ghosts = 4.0 * capacity > GHOSTS_LEAST ? 4.0 * capacity : GHOSTS_LEAST;
	most = most < ghosts ? most : ghosts;
	most = most < room ? most : room;
	return most < 1 ? 1 : (uint32_t)most;
}

/* Offsets behind the head: links of Q, marks, links of S, pages of ghosts. */
static size_t marks_at(uint32_t capacity)
{
	return frame_list_size(capacity);
}

static size_t stack_at(uint32_t capacity)
{
	return marks_at(capacity) + (((size_t)capacity + 7) & ~(size_t)7);
}

static size_t pages_at(uint32_t capacity, uint32_t nslots)
{
	return stack_at(capacity) + frame_list_size(capacity) + (size_t)nslots * sizeof(struct frame_link);
}

static int lirs_sizes(uint32_t capacity, const char *text, struct hmm_policy_sizes *sizes)
{
	struct lirs_params p;
	int r = lirs_parse(text, &p);
	uint32_t nslots;

	if (r != 0)
		return r;
	nslots = lirs_slots(capacity, &p);
	sizes->state = sizeof(struct lirs) + pages_at(capacity, nslots) + (size_t)nslots * sizeof(uint64_t);
	sizes->ghosts = nslots;
	return 0;
}

/* The stack */

static bool in_stack(const struct lirs *l, uint32_t node)
{
	return frame_list_holds(&l->stack, node);
}

static void stack_unlink(struct lirs *l, uint32_t node)
{
	if (node == l->low)
		l->low = l->stack.link[node].prev;
	frame_list_unlink(&l->stack, node);
	l->length--;
}

static void give_back(struct lirs *l, uint32_t ghost)
{
	l->stack.link[ghost].prev = FRAME_NONE;
	l->stack.link[ghost].next = l->free;
	l->free = ghost;
}

static void release(struct lirs *l, uint32_t ghost)
{
	stack_unlink(l, ghost);
	give_back(l, ghost);
}

static void stack_drop(struct lirs *l, uint32_t node)
{
	if (node >= l->first_ghost)
		release(l, node);
	else
		stack_unlink(l, node);
}

/* Forget what is below the lowest LIR page. */
static void prune(struct lirs *l)
{
	uint32_t end = l->stack.order, node;

	while ((node = l->stack.link[end].prev) != end && (node >= l->first_ghost || !l->is_lir[node]))
		stack_drop(l, node);
}

/* S is too long, or ghosts are short: forget the lowest HIR page.  False if there is none. */
static bool drop_lowest(struct lirs *l)
{
	uint32_t end = l->stack.order;

	while (l->low != end && l->low < l->first_ghost && l->is_lir[l->low])
		l->low = l->stack.link[l->low].prev;
	if (l->low == end)
		return false;
	stack_drop(l, l->low);
	return true;
}

static void shorten(struct lirs *l)
{
	while (l->length > l->length_most && drop_lowest(l))
		continue;
}

/* The LIR page at the bottom becomes a HIR page, the newest of Q. */
static void demote(struct lirs *l)
{
	uint32_t frame = l->stack.link[l->stack.order].prev;

	l->is_lir[frame] = 0;
	l->nlir--;
	stack_unlink(l, frame);
	frame_list_push_newest(&l->queue, frame);
	prune(l);
}

/* A page in neither S nor Q is used: as one of low, or of high, inter-reference recency. */
static void push_lir(struct lirs *l, uint32_t frame)
{
	l->is_lir[frame] = 1;
	l->nlir++;
	l->length++;
	frame_list_push_newest(&l->stack, frame);
	if (l->nlir > l->lir_most)
		demote(l);
	shorten(l);
}

static void push_hir(struct lirs *l, uint32_t frame)
{
	frame_list_push_newest(&l->queue, frame);
	if (l->nlir == 0)
		return;
	l->length++;
	frame_list_push_newest(&l->stack, frame);
	if (l->low == l->stack.order)
		l->low = frame;
	shorten(l);
}

/* A resident HIR page that awaits no verdict is used. */
static void use_hir(struct lirs *l, uint32_t frame)
{
	bool was_in_stack = in_stack(l, frame);

	frame_list_unlink(&l->queue, frame);
	if (was_in_stack)
		stack_unlink(l, frame);
	if (was_in_stack || l->nlir < l->lir_most)
		push_lir(l, frame);
	else
		push_hir(l, frame);
}

static void use_lir(struct lirs *l, uint32_t frame)
{
	bool was_bottom = l->stack.link[l->stack.order].prev == frame;

	if (frame == l->low)
		l->low = l->stack.link[frame].prev;
	frame_list_unlink(&l->stack, frame);
	frame_list_push_newest(&l->stack, frame);
	if (was_bottom)
		prune(l);
}

/* Ghosts */

/* FRAME_NONE: there are frames only. */
static uint32_t ghost_node(struct lirs *l)
{
	uint32_t ghost = l->free;

	while (ghost == FRAME_NONE && l->fresh == l->nslots) {
		if (!drop_lowest(l))
			return FRAME_NONE;
		ghost = l->free;
	}
	if (ghost == FRAME_NONE)
		return l->first_ghost + l->fresh++;
	l->free = l->stack.link[ghost].next;
	return ghost;
}

/* The ghost of a page takes the place of its frame in S. */
static void stack_replace(struct lirs *l, uint32_t frame, uint32_t ghost)
{
	struct frame_link *link = l->stack.link;

	link[ghost] = link[frame];
	link[link[ghost].prev].next = ghost;
	link[link[ghost].next].prev = ghost;
	link[frame].prev = link[frame].next = frame;
	if (l->low == frame)
		l->low = ghost;
}

static bool is_ghost(const struct lirs *l, uint32_t cookie, uint64_t page)
{
	uint32_t slot = cookie - 1;

	return cookie != 0 && slot < l->fresh && l->ghost_page[slot] == page &&
	       l->stack.link[l->first_ghost + slot].prev != FRAME_NONE;
}

/* Hooks */

static void lirs_resize(void *state, uint32_t frames)
{
	struct lirs *l = state;
	double hirs = l->params.hir * frames;
	uint32_t least = hirs < 2 ? 2 : (uint32_t)hirs;

	if (least >= frames)
		least = frames > 1 ? frames - 1 : frames;
	l->frames = frames;
	l->lir_most = frames - least;
	l->length_most = (uint64_t)(l->params.stack * frames);
	while (l->nlir > l->lir_most)
		demote(l);
	shorten(l);
}

static int lirs_start(void *state, uint32_t capacity, uint32_t frames, const char *text)
{
	struct lirs *l = state;
	int r = lirs_parse(text, &l->params);
	char *at = (char *)l->links;

	if (r != 0)
		return r;
	l->nslots = lirs_slots(capacity, &l->params);
	l->first_ghost = capacity + 2;
	l->is_lir = (uint8_t *)at + marks_at(capacity);
	l->ghost_page = (uint64_t *)(void *)(at + pages_at(capacity, l->nslots));
	frame_list_init(&l->queue, l->links, capacity);
	frame_list_init(&l->stack, (struct frame_link *)(void *)(at + stack_at(capacity)), capacity);
	l->low = l->stack.order;
	l->free = FRAME_NONE;
	lirs_resize(l, frames);
	return 0;
}

static void lirs_miss(void *state, uint64_t page, uint32_t cookie, enum hmm_access access)
{
	struct lirs *l = state;
	bool was_ghost = is_ghost(l, cookie, page);

	if (was_ghost)
		release(l, l->first_ghost + cookie - 1);
	l->wanted = page;
	l->wanted_was_ghost = was_ghost && access != HMM_ACCESS_PREFETCH;
}

static void lirs_inserted(void *state, uint32_t frame, uint64_t page, uint32_t region, enum hmm_access access)
{
	struct lirs *l = state;
	bool was_ghost = l->wanted_was_ghost && l->wanted == page;

	(void)region;
	l->wanted_was_ghost = false;
	l->is_lir[frame] = 0;
	l->stack.link[frame].prev = l->stack.link[frame].next = frame;
	l->queue.link[frame].prev = l->queue.link[frame].next = frame;
	if (access == HMM_ACCESS_PREFETCH)
		frame_list_push_newest(&l->queue, frame);
	else if (l->nlir < l->lir_most || (was_ghost && l->nlir > 0))
		push_lir(l, frame);
	else
		push_hir(l, frame);
}

static void lirs_touched(void *state, const uint32_t *frames, uint32_t n, enum hmm_access access)
{
	struct lirs *l = state;
	struct frame_link *link = l->stack.link;

	(void)access;
	for (uint32_t i = 0; i < n; i++) {
		uint32_t frame = frames[i];

		if (i + AHEAD < n)
			__builtin_prefetch(&link[frames[i + AHEAD]]);
		if (link[l->stack.order].next == frame && (l->is_lir[frame] || l->params.repeats == 0))
			continue; /* a LIR page stays where it is in any case */
		if (l->is_lir[frame])
			use_lir(l, frame);
		else if (frame_list_holds(&l->queue, frame))
			use_hir(l, frame);
	}
}

static uint32_t lirs_choose(void *state, uint32_t want, uint32_t *out, uint32_t scan)
{
	struct lirs *l = state;
	uint32_t n, frame;

	for (n = 0; n < want && n < scan; n++) {
		if (l->nlir > 0 && l->queue.link[l->queue.order].prev == l->queue.order) {
			demote(l);
			if (l->lir_most > l->frames / 2)
				l->lir_most--;
		}
		frame = frame_list_victim(&l->queue);
		if (frame == FRAME_NONE)
			break;
		frame_list_unlink(&l->queue, frame);
		out[n] = frame;
	}
	return n;
}

/* The page keeps its place in S, without a frame. */
static uint32_t lirs_evicted(void *state, uint32_t frame, uint64_t page)
{
	struct lirs *l = state;
	uint32_t ghost;

	frame_list_evicted(&l->queue, frame);
	if (!in_stack(l, frame))
		return 0;
	ghost = ghost_node(l);
	if (!in_stack(l, frame)) { /* it was the lowest itself when ghosts ran short */
		if (ghost != FRAME_NONE)
			give_back(l, ghost);
		return 0;
	}
	if (ghost != FRAME_NONE) {
		l->ghost_page[ghost - l->first_ghost] = page;
		stack_replace(l, frame, ghost);
	} else {
		stack_unlink(l, frame);
	}
	if (l->is_lir[frame]) {
		l->is_lir[frame] = 0;
		l->nlir--;
		prune(l);
	}
	return ghost != FRAME_NONE && l->stack.link[ghost].prev != FRAME_NONE ? ghost - l->first_ghost + 1 : 0;
}

/* Out of S; the page is a HIR page, or none any more. */
static void forget(struct lirs *l, uint32_t frame)
{
	if (in_stack(l, frame))
		stack_unlink(l, frame);
	if (l->is_lir[frame]) {
		l->is_lir[frame] = 0;
		l->nlir--;
		prune(l);
	}
}

static void lirs_rejected(void *state, uint32_t frame, enum hmm_reject why)
{
	struct lirs *l = state;

	if (why == HMM_REJECT_RACED)
		use_hir(l, frame);
	else
		frame_list_refuse(&l->queue, frame);
}

static void lirs_removed(void *state, uint32_t frame, uint64_t page, enum hmm_removed why)
{
	struct lirs *l = state;

	(void)page, (void)why;
	frame_list_unlink(&l->queue, frame);
	forget(l, frame);
}

static void lirs_hint(void *state, uint32_t frame, struct hmm_page_range range, enum hmm_hint hint, int64_t value)
{
	struct lirs *l = state;

	(void)range, (void)value;
	if (frame == FRAME_NONE)
		return;
	if (hint == HMM_HINT_WILLNEED) {
		lirs_touched(state, &frame, 1, HMM_ACCESS_PREFETCH);
	} else if (hint == HMM_HINT_DISCARD || hint == HMM_HINT_EVICT_NEXT || hint == HMM_HINT_WONTNEED) {
		if (!l->is_lir[frame] && !frame_list_holds(&l->queue, frame))
			return; /* awaits its verdict */
		frame_list_unlink(&l->queue, frame);
		forget(l, frame);
		frame_list_push_victim(&l->queue, frame);
	}
}

HMM_POLICY_EXCHANGE(lirs_exchange, lirs_miss, lirs_choose, lirs_evicted, lirs_inserted)

const struct hmm_policy_ops hmm__policy_lirs = {
	.size = sizeof(struct hmm_policy_ops),
	.version = HMM_POLICY_VERSION,
	.caps = HMM_POLICY_EXACT | HMM_POLICY_GHOSTS,
	.name = "lirs",
	.summary = "LIRS: pages whose last two uses lay close together stay",
	.params = "hir=0.01,stack=2500,ghosts=0,repeats=1",
	.sizes = lirs_sizes,
	.start = lirs_start,
	.resize = lirs_resize,
	.miss = lirs_miss,
	.inserted = lirs_inserted,
	.touched = lirs_touched,
	.choose = lirs_choose,
	.evicted = lirs_evicted,
	.exchange = lirs_exchange,
	.rejected = lirs_rejected,
	.removed = lirs_removed,
	.hint = lirs_hint,
};
