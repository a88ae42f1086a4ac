/* SPDX-License-Identifier: MIT */
/*
 * store_hammer.h - four threads at one store
 */
#ifndef HMM_TESTS_STORE_HAMMER_H
#define HMM_TESTS_STORE_HAMMER_H

#include <pthread.h>

#include "tests/unit/store_pages.h"

#define HAMMER_THREADS 4
#define HAMMER_BATCH 16

struct hammer {
	struct hmm_store *store;
	uint64_t random;
	unsigned thread, npages, rounds;
	unsigned wrong; /* contents or results */
	uint64_t tags[4096 / HAMMER_THREADS]; /* what was written last; 0: never */
};

static inline uint64_t hammer_random(uint64_t *state)
{
	*state = *state * 6364136223846793005u + 1442695040888963407u;
	return *state >> 33;
}

/* A batch of this thread's pages: ascending, some adjacent for the store, with gaps. */
static inline unsigned hammer_choose(struct hammer *h, unsigned *slots)
{
	unsigned mine = h->npages / HAMMER_THREADS, n = 0;
	unsigned at = (unsigned)(hammer_random(&h->random) % mine);

	for (; n < HAMMER_BATCH && at < mine; at += 1 + (unsigned)(hammer_random(&h->random) % 3))
		slots[n++] = at;
	return n;
}

static inline void hammer_write(struct hammer *h, char *data, const unsigned *slots, unsigned n)
{
	struct hmm_store_vec vec[HAMMER_BATCH];

	for (unsigned i = 0; i < n; i++) {
		h->tags[slots[i]] = hammer_random(&h->random) + 1;
		page_fill(data + i * hmm_page_size(), h->tags[slots[i]]);
		vec[i] = piece((uint64_t)slots[i] * HAMMER_THREADS + h->thread, data + i * hmm_page_size());
	}
	h->wrong += hmm_store_write(h->store, vec, n) != 0;
}

static inline void hammer_read(struct hammer *h, char *data, const unsigned *slots, unsigned n)
{
	struct hmm_store_vec vec[HAMMER_BATCH];

	for (unsigned i = 0; i < n; i++)
		vec[i] = piece((uint64_t)slots[i] * HAMMER_THREADS + h->thread, data + i * hmm_page_size());
	h->wrong += hmm_store_read(h->store, vec, n) != 0;
	for (unsigned i = 0; i < n; i++) {
		const char *page = data + i * hmm_page_size();
		uint64_t tag = h->tags[slots[i]];

		h->wrong += vec[i].error != 0;
		h->wrong += !(tag ? page_is(page, tag) : page_is_byte(page, 0));
	}
}

static inline void *hammer_run(void *arg)
{
	struct hammer *h = arg;
	char *data = pages_new(HAMMER_BATCH);

	for (unsigned i = 0; i < h->rounds; i++) {
		unsigned slots[HAMMER_BATCH], n = hammer_choose(h, slots);

		if (hammer_random(&h->random) & 1)
			hammer_write(h, data, slots, n);
		else
			hammer_read(h, data, slots, n);
	}
	pages_free(data, HAMMER_BATCH);
	return NULL;
}

/*
 * Four threads write and read batches of pages at random, each its own pages (page % 4 == thread), and check what they
 * read.  npages: 4 or more, at most 4096.
 */
static inline void pages_hammer(struct hmm_store *store, uint64_t seed, unsigned npages, unsigned rounds)
{
	pthread_t threads[HAMMER_THREADS];
	struct hammer *hammers = calloc(HAMMER_THREADS, sizeof(*hammers));

	ck_assert_ptr_nonnull(hammers);
	for (unsigned i = 0; i < HAMMER_THREADS; i++) {
		hammers[i] = (struct hammer){ store, seed + i * 77, i, npages, rounds, 0, { 0 } };
		ck_assert_int_eq(pthread_create(&threads[i], NULL, hammer_run, &hammers[i]), 0);
	}
	for (unsigned i = 0; i < HAMMER_THREADS; i++) {
		pthread_join(threads[i], NULL);
		ck_assert_msg(hammers[i].wrong == 0, "thread %u: %u wrong", i, hammers[i].wrong);
	}
	free(hammers);
}

#endif
