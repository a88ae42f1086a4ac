/* SPDX-License-Identifier: MIT */
/*
 * write.c - a batch of dirty pages to their stores: the log first, then sorted, in few calls
 *
 * W1  A page that is being written has WRITEBACK, so it has no writer, keeps its slot, and nobody resets its positions
 *     but the one who wrote it (C3, C4).
 * W2  No page is handed to its store before the log is durable up to its last position (C5): asked for once for each cache
 *     of a batch, for the largest position in it.
 * W3  A page whose store or log failed stays dirty, with its positions.
 * W4  A page that lies past the end of its store moves the end, or fails: it is never left out, as a region's is.
 */
#include <errno.h>

#include "lib/base/clock.h"
#include "lib/store/store.h"
#include "lib/vm/cache/cache.h"

bool hmm__cache_claim_dirty(struct hmm_cache *cache, uint64_t page, uint64_t *ret_word)
{
	hmm__word *word = &cache->words[page];
	uint64_t w = atomic_load(word);

	do {
		*ret_word = w;
		if (hmm__word_state(w) != HMM__MAPPED || !(w & HMM__DIRTY) ||
		    w & (HMM__WRITEBACK | HMM__WRITER_MASK | HMM__FREE))
			return false;
	} while (!hmm__word_cas(word, &w, (w & ~HMM__DUE) | HMM__WRITEBACK));
	return true;
}

/* By store, then cache, then page.  Insertion: those of a flush come sorted. */
static bool after(const struct hmm__item *a, const struct hmm__item *b)
{
	if (a->region->store != b->region->store)
		return a->region->store > b->region->store;
	return a->region != b->region ? a->region > b->region : a->page > b->page;
}

static void sort(struct hmm__batch *b)
{
	for (unsigned i = 0; i < b->n; i++) {
		unsigned k = i;

		for (; k > 0 && after(&b->items[b->order[k - 1]], &b->items[i]); k--)
			b->order[k] = b->order[k - 1];
		b->order[k] = (uint16_t)i;
	}
}

static struct hmm__item *item(struct hmm__batch *b, unsigned i)
{
	return &b->items[b->order[i]];
}

static uint64_t last_of(const struct hmm_cache *cache, const struct hmm__item *it)
{
	return atomic_load_explicit(&cache->cached[it->frame].last, memory_order_relaxed);
}

static void note_flushed(struct hmm_cache *cache, uint64_t position)
{
	uint64_t seen = atomic_load_explicit(&cache->flushed, memory_order_relaxed);

	while (seen < position && !atomic_compare_exchange_weak(&cache->flushed, &seen, position))
		;
}

/* How far the log is durable, as far as is known without asking, or for more than that, after asking. */
static uint64_t ask_log(struct hmm_cache *cache, uint64_t want)
{
	if (cache->log_flushed && atomic_load(&cache->flushed) < want)
		note_flushed(cache, cache->log_flushed(cache->log_arg));
	return atomic_load(&cache->flushed);
}

/* 0: the log is durable up to there. */
static int flush_log(struct hmm_cache *cache, uint64_t want)
{
	int r = cache->flush_log ? cache->flush_log(cache->log_arg, want) : -EAGAIN;

	if (!r)
		note_flushed(cache, want);
	return r > 0 ? -EIO : r;
}

/* W2: of the items from..to, of one cache, those that may not be written get an error. */
static void obey_log(struct hmm_cache *cache, struct hmm__batch *b, unsigned from, unsigned to)
{
	uint64_t want = 0, flushed;
	int error;

	if (!cache->log_flushed && !cache->flush_log)
		return;
	for (unsigned i = from; i < to; i++)
		want = HMM__MAX(want, last_of(cache, item(b, i)));
	flushed = ask_log(cache, want);
	error = flushed < want ? flush_log(cache, want) : 0;
	atomic_store_explicit(&cache->log_refuses, error != 0, memory_order_relaxed);
	if (flushed >= want)
		return;
	for (unsigned i = from; i < to; i++) {
		if (last_of(cache, item(b, i)) <= flushed)
			continue;
		item(b, i)->error = error;
		hmm__add(&cache->log_waits, 1);
	}
	if (error && cache->flush_log)
		hmm__event(cache->space, HMM_EVENT_WRITE_ERROR, cache->region, item(b, from)->page, 0, error,
		           "flush_log failed");
}

/* Those of the items from..to that have no error yet, in one call. */
static void write_some(struct hmm_cache *cache, struct hmm__batch *b, unsigned from, unsigned to)
{
	struct hmm_space *space = cache->space;
	bool refused = false;
	unsigned n = 0;
	uint64_t start;

	for (unsigned i = from; i < to; i++) {
		struct hmm__item *it = item(b, i);

		if (it->error)
			continue;
		b->vecs[n++] = (struct hmm_store_vec){
			.offset = hmm__store_offset(cache->region, it->page),
			.data = __atomic_load_n(&cache->cached[it->frame].data, __ATOMIC_RELAXED),
			.length = cache->page_size,
		};
	}
	if (!n)
		return;
	start = hmm__now_ns();
	hmm__store_extend(cache->region->store, b->vecs, n); /* nothing is left out, or it is an error (W4) */
	HMM__COUNT(space, write_ns, hmm__now_ns() - start);
	n = 0;
	for (unsigned i = from; i < to; i++) {
		struct hmm__item *it = item(b, i);

		if (it->error)
			continue;
		it->error = b->vecs[n++].error;
		if (!it->error)
			continue;
		refused = true;
		HMM__COUNT(space, write_errors, 1);
		hmm__add(&cache->write_errors, 1);
		hmm__trouble_refused(cache->region, it->page, 1, it->error);
	}
	if (!refused)
		hmm__trouble_over(space, &cache->region->trouble);
}

int hmm__cache_write_out(struct hmm_space *space, struct hmm__batch *b)
{
	int first = 0;

	(void)space;
	sort(b);
	for (unsigned i = 0, k; i < b->n; i = k) {
		struct hmm_cache *cache = item(b, i)->region->cache;

		for (k = i; k < b->n && item(b, k)->region->cache == cache; k++)
			item(b, k)->error = 0;
		obey_log(cache, b, i, k);
		write_some(cache, b, i, k);
	}
	for (unsigned i = 0; i < b->n && !first; i++)
		first = item(b, i)->error;
	return first;
}

void hmm__cache_saved(struct hmm_cache *cache, const struct hmm__item *it)
{
	struct hmm__cached *c = &cache->cached[it->frame];

	atomic_store_explicit(&c->first, UINT64_MAX, memory_order_relaxed);
	atomic_store_explicit(&c->last, 0, memory_order_relaxed);
	hmm__add(&cache->writes, 1);
	HMM__COUNT(cache->space, write_outs, 1);
	HMM__COUNT(cache->space, bytes_written, cache->page_size);
}

void hmm__cache_written(struct hmm__item *it)
{
	struct hmm_region *region = it->region;
	struct hmm_cache *cache = region->cache;
	hmm__word *word = &region->words[it->page];
	uint64_t clear = HMM__WRITEBACK | HMM__WAITERS, w;

	if (!it->error) {
		hmm__cache_saved(cache, it); /* C4: before DIRTY goes */
		clear |= HMM__DIRTY;
	}
	w = atomic_load(word);
	while (!hmm__word_cas(word, &w, w & ~clear))
		;
	if (!it->error)
		atomic_fetch_sub_explicit(&cache->dirty, 1, memory_order_relaxed);
	if (w & HMM__WAITERS)
		hmm__page_wake(region, it->page);
}

int hmm__cache_write(struct hmm_space *space, struct hmm__batch *b)
{
	int first = hmm__cache_write_out(space, b);

	for (unsigned i = 0; i < b->n; i++)
		hmm__cache_written(&b->items[i]);
	return first;
}
