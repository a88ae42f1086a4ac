/* SPDX-License-Identifier: MIT */
/*
 * test_notice.c - pages are announced in whatever thread reclaims, while others write as fast as they can: nobody writes
 * to a page that is being looked at, and nothing that was written is lost
 */
#include "tests/world.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>

#define FRAMES 64
#define NPAGES 256
#define WRITERS 2
#define ROUNDS (TEST_TSAN ? 3000 : 10000)
#define KEEP_EVERY 5

static const enum world_backend backends[] = { WORLD_MOCK, WORLD_MOCK_THREAD, WORLD_INLINE_AUTO, WORLD_INLINE_COPY,
	                                       WORLD_THREAD_AUTO, WORLD_THREAD_COPY };

/* Atomic where the callback looks: ThreadSanitizer does not see that a fault comes after what was written before it. */
static struct {
	struct world *w;
	struct world_map *m;
	_Atomic(struct hmm_region *) region;
	_Atomic size_t page;
	_Atomic bool is_mock;
	_Atomic uint64_t pages, kept, wrong, moving;
} watch;

static int look(const void *address, uint64_t *word)
{
	if (atomic_load(&watch.is_mock))
		return hmm_mock_read(atomic_load(&watch.region), address, word, sizeof(*word));
	*word = __atomic_load_n((const uint64_t *)address, __ATOMIC_RELAXED);
	return 0;
}

/* Its first and its last word. */
static void look_at(const struct hmm_notice *n, uint64_t words[2])
{
	if (look(n->address, &words[0]) || look((const char *)n->address + n->length - sizeof(words[0]), &words[1]))
		atomic_fetch_add(&watch.wrong, 1);
}

static void notice(void *arg, struct hmm_notice *pages, unsigned n)
{
	(void)arg;
	for (unsigned i = 0; i < n; i++) {
		uint64_t first[2] = { 0 }, second[2] = { 0 };

		look_at(&pages[i], first);
		for (volatile int k = 0; k < 300; k++)
			;
		look_at(&pages[i], second);
		if (first[0] != second[0] || first[1] != second[1])
			atomic_fetch_add(&watch.moving, 1);
		pages[i].keep = (uintptr_t)pages[i].address / atomic_load(&watch.page) % KEEP_EVERY == 0;
		atomic_fetch_add(&watch.kept, pages[i].keep);
	}
	atomic_fetch_add(&watch.pages, n);
}

/* Words that count up, in the first and the last word of each page; each thread has pages of its own. */
static void *write_words(void *arg)
{
	size_t mine = (size_t)(uintptr_t)arg, at[2];
	uint64_t counts[NPAGES] = { 0 }, state = mine + 1, lost = 0;
	struct world_map *m = watch.m;

	at[0] = 0;
	at[1] = m->page - 8;
	for (unsigned i = 0; i < ROUNDS; i++) {
		size_t page = (size_t)(world_random(&state) % (NPAGES / WRITERS)) * WRITERS + mine;

		for (unsigned k = 0; k < 2; k++) {
			uint8_t *word = m->base + page * m->page + at[k];
			uint64_t value = 0;

			if (counts[page]) {
				lost += world_read(watch.w, m->region, word, &value, 8) != 0;
				lost += value != counts[page];
			}
			value = counts[page] + 1;
			lost += world_write(watch.w, m->region, word, &value, 8) != 0;
		}
		counts[page]++;
	}
	return (void *)(uintptr_t)lost;
}

START_TEST(nobody_writes_while_a_page_is_looked_at)
{
	struct hmm_space_options options = { .size = sizeof(options), .notice = notice };
	struct hmm_region_options more = { .size = sizeof(more), .flags = HMM_REGION_NOTICE };
	const char *missing = world_missing(backends[_i]);
	pthread_t threads[WRITERS];
	struct world w;
	struct world_map m;

	if (missing)
		test_skip(missing);
	watch.w = &w;
	watch.m = &m;
	world_open(&w, backends[_i], WORLD_SWAP_MEMORY, 1, FRAMES, &options);
	world_map(&w, &m, NPAGES * w.page, &more);
	atomic_store(&watch.is_mock, world_is_mock(&w));
	atomic_store(&watch.region, m.region);
	atomic_store(&watch.page, m.page);
	for (size_t i = 0; i < WRITERS; i++)
		ck_assert_int_eq(pthread_create(&threads[i], NULL, write_words, (void *)(uintptr_t)i), 0);
	for (size_t i = 0; i < WRITERS; i++) {
		void *lost;

		ck_assert_int_eq(pthread_join(threads[i], &lost), 0);
		ck_assert_uint_eq((uintptr_t)lost, 0);
	}
	ck_assert_uint_gt(atomic_load(&watch.pages), ROUNDS / 4);
	ck_assert_uint_gt(atomic_load(&watch.kept), 0);
	ck_assert_uint_gt(world_stats(&w).vetoes, 0);
	ck_assert_uint_eq(atomic_load(&watch.moving), 0);
	ck_assert_uint_eq(atomic_load(&watch.wrong), 0);
	world_unmap(&w, &m);
	world_close(&w);
}
END_TEST

static Suite *suite(void)
{
	Suite *s = suite_create("notice");

	for (int i = 0; i < (int)(sizeof(backends) / sizeof(backends[0])); i++) {
		TCase *t = tcase_create(world_backend_names[backends[i]]);

		tcase_add_loop_test(t, nobody_writes_while_a_page_is_looked_at, i, i + 1);
		suite_add_tcase(s, t);
	}
	return s;
}

HMM_TEST_MAIN(suite)
