/* SPDX-License-Identifier: MIT */
/*
 * flush.c - write dirty pages on request: all, a range, or what a checkpoint needs; and how far back the log is needed
 *
 * F1  One walk in page order, so that each page is met once: what is dirtied behind it waits for the next flush.
 * F2  A page that somebody is busy with is put off until the batch is written, and waited for without claims, without a
 *     batch of the stock and outside of what a fork waits for.  So two flushes don't wait for each other.
 * F4  Where writers hand a page to each other there is always one in it.  A page that is waited for is DUE, and new writers
 *     stand back (C14): at first for 10 ms, then for twice as long, up to half of wait_ms.  A writer that another one waits
 *     for, directly or by a latch, gets in when its time is over; so the flush, not the program, pays for pins that are held
 *     for long.
 * F3  Time is hmm__now_ns(), looked at anew after short naps: tests drive it.
 */
#include <errno.h>
#include <sched.h>

#include "lib/base/clock.h"
#include "lib/base/futex.h"
#include "lib/store/store.h"
#include "lib/vm/cache/cache.h"
#include "lib/vm/call.h"

#define LATER 64u    /* pages put off */
#define LOOKS 4096u  /* frames under one hold of the lock */
#define STEPS 16u    /* batches a second, at least, under a rate limit */
#define YIELDS 16u
#define YIELD_NS UINT64_C(1000000)
#define PATIENCE 120u /* times wait_ms, for a page that others write all the time */

struct flush {
	struct hmm_cache *cache;
	struct hmm__batch *b;
	uint64_t position, page, end;
	uint32_t rate;
	unsigned batch;     /* pages */
	uint64_t due;       /* ns: no page is written before it */
	uint64_t progress;  /* ns: when a page was written last */
	int error;
	unsigned nlater;
	uint64_t later[LATER];
};

struct hmm__batch *hmm__cache_batch(struct hmm_space *space)
{
	_Atomic uint32_t never = 0;

	for (unsigned turns = 0;; turns++) {
		struct hmm__batch *b;

		hmm__lock(&space->lock);
		b = hmm__batch_get(space);
		hmm__unlock(&space->lock);
		if (b)
			return b;
		if (turns < YIELDS)
			sched_yield();
		else
			hmm__futex_wait(&never, 0, YIELD_NS); /* their stores are slow */
	}
}

void hmm__cache_batch_done(struct hmm_space *space, struct hmm__batch *b)
{
	hmm__lock(&space->lock);
	hmm__batch_put(space, b);
	hmm__unlock(&space->lock);
}

/* F2: sleep while *word is `seen`, for a nap at most. */
static void nap(struct flush *f, hmm__word *word, uint64_t seen, uint64_t ns)
{
	struct hmm_space *space = f->cache->space;
	_Atomic uint32_t never = 0;

	hmm__cache_batch_done(space, f->b);
	atomic_fetch_sub(&space->inside, 1);
	ns = HMM__MIN(ns, HMM__CACHE_NAP_NS);
	if (word)
		hmm__page_wait_for(f->cache->region, word, seen, ns);
	else
		hmm__futex_wait(&never, 0, ns);
	hmm__call_reenter(space);
	f->b = hmm__cache_batch(space);
}

/* What went wrong first; that a page had to stay counts less than an error. */
static void fail(struct flush *f, int error)
{
	if (!f->error || ((f->error == -EAGAIN || f->error == -EBUSY) && error != -EAGAIN && error != -EBUSY))
		f->error = error;
}

static void keep_rate(struct flush *f, unsigned n)
{
	uint64_t now = hmm__now_ns();

	if (!f->rate)
		return;
	f->due = HMM__MAX(f->due, now) + n * UINT64_C(1000000000) / f->rate;
}

static void wait_until_due(struct flush *f)
{
	for (uint64_t now; f->rate && (now = hmm__now_ns()) < f->due;)
		nap(f, NULL, 0, f->due - now);
}

static void write_claimed(struct flush *f)
{
	unsigned n = f->b->n;

	if (!n)
		return;
	hmm__cache_write(f->cache->space, f->b);
	for (unsigned i = 0; i < n; i++) {
		if (f->b->items[i].error)
			fail(f, f->b->items[i].error);
		else
			f->progress = UINT64_MAX;
	}
	if (f->progress == UINT64_MAX)
		f->progress = hmm__now_ns();
	f->b->n = 0;
	keep_rate(f, n);
	wait_until_due(f);
}

static void add(struct flush *f, uint64_t page, uint64_t w)
{
	f->b->items[f->b->n++] = (struct hmm__item){ .region = f->cache->region, .page = page, .word = w,
		                                     .frame = hmm__word_frame(w) };
}

/* Does the page, whose word is w, have something for this flush to write, or may it have? */
static bool wanted(const struct flush *f, uint64_t w)
{
	/* it may be dirty and on its way to another slot, or one that is may get this number */
	if (hmm__word_state(w) == HMM__LOADING)
		return !hmm__word_coming(w);
	if (hmm__word_state(w) != HMM__MAPPED || !(w & HMM__DIRTY) || w & HMM__FREE)
		return false;
	return !f->position || atomic_load_explicit(&f->cache->cached[hmm__word_frame(w)].first, memory_order_acquire) <=
	                               f->position;
}

/* How long a flush has waited for a page, and holds writers off it.  All ns. */
struct turn {
	uint64_t since; /* there was no progress; time in which another thread writes the page does not count */
	uint64_t end;   /* whatever there is */
	uint64_t round; /* when this hold began */
	uint64_t hold;
};

/* F4 */
static void hold_off(struct flush *f, struct turn *t, hmm__word *word, uint64_t w)
{
	uint64_t now = hmm__now_ns(), most = f->cache->wait_ms * UINT64_C(500000);

	if (!t->hold || now - t->round >= t->hold) {
		t->hold = HMM__MIN(t->hold ? 2 * t->hold : HMM__CACHE_NAP_NS, HMM__MAX(most, UINT64_C(1000000)));
		t->round = now;
		atomic_store(&f->cache->hold_ms, (uint32_t)(t->hold / 1000000));
	}
	if (!(w & HMM__DUE))
		(void)!hmm__word_cas(word, &w, w | HMM__DUE);
}

static void let_in(struct flush *f, uint64_t page)
{
	hmm__word *word = &f->cache->words[page];
	uint64_t w = atomic_load(word);

	while (w & HMM__DUE) {
		if (!hmm__word_cas(word, &w, w & ~(HMM__DUE | HMM__WAITERS)))
			continue;
		if (w & HMM__WAITERS)
			hmm__page_wake(f->cache->region, page);
		return;
	}
}

/* Wait for who is busy with the page, whose word is w.  False: for too long. */
static bool wait_for_turn(struct flush *f, struct turn *t, hmm__word *word, uint64_t w)
{
	uint64_t now = hmm__now_ns(), patience = f->cache->wait_ms * UINT64_C(1000000);

	if (w & HMM__WRITEBACK)
		t->since = now;
	if (now - t->since >= patience || now >= t->end)
		return false;
	if (hmm__word_state(w) == HMM__MAPPED && !(w & HMM__WRITEBACK)) {
		hold_off(f, t, word, w);
		w |= HMM__DUE;
	}
	nap(f, word, w, HMM__CACHE_NAP_NS);
	return true;
}

/* Claim a page that was put off, when whoever was busy with it is done. */
static void claim_late(struct flush *f, uint64_t page)
{
	hmm__word *word = &f->cache->words[page];
	struct turn t = { .since = HMM__MAX(f->progress, hmm__now_ns()) };

	t.end = t.since + f->cache->wait_ms * UINT64_C(1000000) * PATIENCE;
	for (;;) {
		uint64_t w = atomic_load(word);

		if (!wanted(f, w))
			break;
		if (hmm__cache_claim_dirty(f->cache, page, &w)) {
			add(f, page, w);
			return;
		}
		if (!hmm__word_busy(w) && !(w & (HMM__WRITEBACK | HMM__WRITER_MASK)))
			continue;
		if (wait_for_turn(f, &t, word, w))
			continue;
		fail(f, -EBUSY);
		break;
	}
	let_in(f, page);
}

static void write_batch(struct flush *f)
{
	write_claimed(f);
	for (unsigned i = 0; i < f->nlater; i++) {
		claim_late(f, f->later[i]);
		write_claimed(f);
	}
	f->nlater = 0;
}

static void walk(struct flush *f)
{
	struct hmm_cache *cache = f->cache;
	uint64_t page = f->page;

	for (; (page = hmm__cache_next(cache, page)) < f->end; page++) {
		uint64_t w = atomic_load(&cache->words[page]);

		if (!wanted(f, w))
			continue;
		if (hmm__cache_claim_dirty(cache, page, &w))
			add(f, page, w);
		else if (wanted(f, w))
			f->later[f->nlater++] = page;
		if (f->b->n == f->batch || f->nlater == LATER)
			write_batch(f);
	}
	write_batch(f);
}

static int flush(struct hmm_cache *cache, const struct hmm_cache_flush *what)
{
	struct hmm_store *store = cache->region->store;
	struct flush f = { .cache = cache, .position = what->position, .rate = what->rate, .batch = HMM__BATCH_MAX };
	bool to_end;

	f.page = HMM__MIN(what->page, cache->npages);
	to_end = !what->npages || what->npages >= cache->npages - f.page;
	f.end = to_end ? cache->npages : f.page + what->npages;
	if (f.rate)
		f.batch = HMM__MIN(HMM__MAX(f.rate / STEPS, 1u), HMM__BATCH_MAX);
	f.progress = hmm__now_ns();
	f.b = hmm__cache_batch(cache->space);
	walk(&f);
	hmm__cache_batch_done(cache->space, f.b);
	if (!f.error && what->flags & HMM_CACHE_DURABLE)
		f.error = hmm__store_sync(store, hmm__store_offset(cache->region, f.page),
		                          to_end ? 0 : (f.end - f.page) * cache->page_size);
	return f.error;
}

int hmm_cache_flush(struct hmm_cache *cache, const struct hmm_cache_flush *what)
{
	struct hmm_cache_flush known;
	struct hmm__call call;
	int r = cache ? hmm__options_read(&known, sizeof(known), what) : -EINVAL;

	if (r)
		return r;
	if (known.flags & ~(uint32_t)HMM_CACHE_DURABLE)
		return -EINVAL;
	if (atomic_load(&cache->dead))
		return -ENODEV;
	if (!cache->region->store || !cache->writable)
		return 0;
	r = hmm__call_begin_space(&call, cache->space);
	if (r)
		return r;
	r = flush(cache, &known);
	hmm__call_end(&call);
	return r;
}

/*
 * By frames, not by page numbers: a page that gets another number meanwhile keeps its frame.  A frame's first is UINT64_MAX
 * while its page is clean, and set before the page says that it is dirty (C4).
 */
uint64_t hmm_cache_oldest_position(struct hmm_cache *cache)
{
	struct hmm_space *space = cache->space;
	uint64_t oldest = UINT64_MAX;
	struct hmm__call call;

	if (atomic_load(&cache->dead))
		return UINT64_MAX;
	if (hmm__call_begin_space(&call, space))
		return UINT64_MAX;
	hmm__lock(&space->lock);
	for (uint32_t i = 0; i < space->fresh_frame; i++) {
		if (i && i % LOOKS == 0) {
			hmm__unlock(&space->lock);
			hmm__lock(&space->lock);
		}
		if (space->frames[i].region == cache->region)
			oldest = HMM__MIN(oldest, atomic_load(&hmm__cached(space, i)->first));
	}
	hmm__unlock(&space->lock);
	hmm__call_end(&call);
	return oldest;
}
