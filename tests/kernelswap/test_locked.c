/* SPDX-License-Identifier: MIT */
/*
 * test_locked.c - the kernel may swap out what it likes, but nothing of a space with HMM_SPACE_LOCK
 *
 * The work of test_swapped.c, and after each time that all was swapped out pagemap is asked where regions, windows and tables
 * are.  The same without the flag finds some of them in swap: so the look sees what there is.  Runs under squeeze.
 */
#include "tests/world.h"

#include <fcntl.h>
#include <sys/sysinfo.h>
#include <unistd.h>

#include "lib/vm/batch.h"
#include "lib/vm/vm.h"

enum { PAGES = 512, FRAMES = 128, STEPS = 900, EVERY = 60, LOOK = 512 };

static const enum world_backend backends[] = { WORLD_INLINE_AUTO, WORLD_INLINE_MOVE, WORLD_INLINE_COPY,
	                                       WORLD_THREAD_AUTO, WORLD_THREAD_MOVE, WORLD_THREAD_COPY };
#define BACKENDS (int)(sizeof(backends) / sizeof(backends[0]))

static const enum world_store stores[] = { WORLD_SWAP_FILE, WORLD_SWAP_MEMORY, WORLD_FILE_SHARED };
#define STORES (int)(sizeof(stores) / sizeof(stores[0]))

/* Pages in swap now. */
static unsigned in_swap(const void *from, size_t length)
{
	size_t page = hmm_page_size(), first = (uintptr_t)from / page, end = ((uintptr_t)from + length + page - 1) / page;
	int fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
	uint64_t entries[LOOK];
	unsigned n = 0;

	ck_assert_int_ge(fd, 0);
	while (first < end) {
		size_t k = end - first < LOOK ? end - first : LOOK;

		ck_assert_int_eq(pread(fd, entries, k * 8, (off_t)(first * 8)), (ssize_t)(k * 8));
		for (size_t i = 0; i < k; i++)
			n += (entries[i] >> 62 & 3) == 1;
		first += k;
	}
	close(fd);
	return n;
}

struct found {
	unsigned region, window, tables;
};

static void look(struct world *w, const struct world_map *m, struct found *f)
{
	struct hmm_space *space = w->space;

	f->region += in_swap(m->base, m->length);
	for (unsigned e = 0; e < HMM__ENGINES; e++)
		for (unsigned o = 0; o < HMM__ORDERS; o++) {
			const struct hmm__pool *pool = &space->engines[e].pools[o];

			if (!pool->base)
				continue;
			f->window += in_swap(pool->base, (size_t)pool->map.nslots << pool->shift);
			f->tables += in_swap(pool->map.memory, pool->map.memory_size);
		}
	f->tables += in_swap(space, sizeof(*space));
	f->tables += in_swap(space->frames, space->numbers * sizeof(space->frames[0]));
	f->tables += in_swap(m->region->words, m->region->npages * sizeof(m->region->words[0]));
	if (m->region->slots)
		f->tables += in_swap(m->region->slots, m->region->npages * sizeof(m->region->slots[0]));
	for (struct hmm__batch *b = space->free_batch; b; b = b->next)
		f->tables += in_swap(b, sizeof(*b));
}

static struct found run(struct world *w, struct world_map *m)
{
	static uint64_t tags[PAGES];
	uint64_t state = test_seed();
	struct found found = { 0 };

	for (unsigned i = 0; i < STEPS; i++) {
		size_t page = world_random(&state) % m->npages;

		if (i % EVERY == EVERY - 1) {
			world_page_out();
			look(w, m, &found);
		}
		world_check(w, m, page, tags[page]);
		if (i % 2)
			world_put(w, m, page, tags[page] = 1 + world_random(&state) % 1000);
		if (i % 300 == 299)
			ck_assert_int_ge(hmm_region_advise(m->region, m->base, m->length, HMM_ADVISE_PAGEOUT), 0);
	}
	for (size_t k = 0; k < m->npages; k++)
		world_check(w, m, k, tags[k]);
	return found;
}

static struct found work(enum world_backend backend, enum world_store store, unsigned shift, uint32_t flags)
{
	struct hmm_space_options space = { .size = sizeof(space), .flags = flags };
	struct hmm_region_options large = { .size = sizeof(large), .page_shift = shift };
	const char *missing = world_missing(backend);
	struct sysinfo info;
	struct found found;
	struct world w;
	struct world_map m;

	if (missing)
		world_skip(missing);
	if (sysinfo(&info) || !info.totalswap)
		world_skip("swap space");
	world_open(&w, backend, store, 1, FRAMES, &space);
	world_map(&w, &m, (size_t)PAGES * w.page, &large);
	found = run(&w, &m);
	ck_assert_uint_eq(world_stats(&w).faults_failed, 0);
	if (flags & HMM_SPACE_LOCK) {
		ck_assert_uint_eq(world_stats(&w).swapped, 0);
		ck_assert_uint_eq(w.events[HMM_EVENT_SWAPPED], 0);
	}
	world_check_stats(&w);
	world_unmap(&w, &m);
	world_close(&w);
	return found;
}

/* _i: backend and store */
START_TEST(nothing_of_a_locked_space_is_swapped)
{
	struct found found = work(backends[_i / STORES], stores[_i % STORES], _i % 2 ? 14 : 0, HMM_SPACE_LOCK);

	ck_assert_uint_eq(found.region, 0);
	ck_assert_uint_eq(found.window, 0);
	ck_assert_uint_eq(found.tables, 0);
}
END_TEST

START_TEST(without_the_lock_it_is)
{
	struct found found = work(backends[_i], WORLD_SWAP_MEMORY, 0, 0);

	ck_assert_uint_gt(found.region, 0);
	ck_assert_uint_gt(found.window, 0);
	ck_assert_uint_gt(found.tables, 0);
}
END_TEST

static Suite *suite(void)
{
	Suite *s = suite_create("locked");

	for (int i = 0; i < BACKENDS; i++) {
		TCase *t = tcase_create(world_backend_names[backends[i]]);

		tcase_add_loop_test(t, without_the_lock_it_is, i, i + 1);
		tcase_add_loop_test(t, nothing_of_a_locked_space_is_swapped, i * STORES, (i + 1) * STORES);
		suite_add_tcase(s, t);
	}
	return s;
}

HMM_TEST_MAIN(suite)
