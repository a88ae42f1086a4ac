/* SPDX-License-Identifier: MIT */
/*
 * full.c - a swap store without room: what is alive is never lost nor out of reach, and nobody is flooded with errors
 */
#include "tests/conformance/conformance.h"

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define LIMIT 128u /* system pages of the swap store */

/* A store of the caller's whose room can be changed: a disk that others fill and empty. */
struct disk {
	_Atomic uint64_t room;  /* bytes */
	_Atomic uint64_t calls; /* that wrote */
	uint8_t *data;
};

static int disk_read(void *ctx, struct hmm_store_vec *vec, unsigned n)
{
	struct disk *disk = ctx;

	for (unsigned i = 0; i < n; i++)
		memcpy(vec[i].data, disk->data + vec[i].offset, vec[i].length);
	return 0;
}

static int disk_write(void *ctx, struct hmm_store_vec *vec, unsigned n)
{
	struct disk *disk = ctx;
	int first = 0;

	atomic_fetch_add(&disk->calls, 1);
	for (unsigned i = 0; i < n; i++) {
		if (vec[i].offset + vec[i].length > atomic_load(&disk->room)) {
			vec[i].error = first = -ENOSPC;
			continue;
		}
		memcpy(disk->data + vec[i].offset, vec[i].data, vec[i].length);
	}
	return first;
}

static struct hmm_store *disk_store(struct disk *disk, uint64_t size)
{
	static const struct hmm_store_ops ops = {
		.size = sizeof(ops), .version = HMM_STORE_VERSION, .name = "disk", .read = disk_read, .write = disk_write,
	};
	struct hmm_store *store;

	*disk = (struct disk){ .room = size, .data = calloc(1, size) };
	ck_assert_ptr_nonnull(disk->data);
	ck_assert_int_eq(hmm_store_create(&ops, disk, &store), 0);
	return store;
}

/* Options of a space that swaps to this store; the world keeps it from then on. */
static struct hmm_space_options swaps_to(struct hmm_store *store)
{
	return (struct hmm_space_options){ .size = sizeof(struct hmm_space_options), .swap = store,
		                           .flags = HMM_SPACE_NO_RECLAIMER };
}

static struct hmm_store *small_memory(size_t page)
{
	struct hmm_store *store;

	ck_assert_int_eq(hmm_store_memory(LIMIT * page, &store), 0);
	return store;
}

static void open_full(struct world *w, int i, struct hmm_store *swap)
{
	struct hmm_space_options options = swaps_to(swap);

	world_open(w, backend_of(i), store_of(i), policy_of(i), FRAMES, &options);
	hmm_store_put(swap);
}

/* Write page after page until one can't be had; how many were written.  Each holds its number. */
static size_t fill(struct world *w, struct world_map *m)
{
	size_t written = 0;

	for (; written < m->npages; written++) {
		uint64_t word = written + 1;

		if (world_write(w, m->region, m->base + written * m->page, &word, sizeof(word)))
			break;
	}
	return written;
}

static void check_number(struct world *w, struct world_map *m, size_t page)
{
	uint64_t word = 0;

	ck_assert_int_eq(world_read(w, m->region, m->base + page * m->page, &word, sizeof(word)), 0);
	ck_assert_uint_eq(word, page + 1);
}

#define SKIP_WITHOUT_BACKEND() \
	do { \
		const char *missing_ = world_missing(backend_of(_i)); \
		if (missing_) \
			world_skip(missing_); \
	} while (0)

/* More is alive than the store takes alone, what is no longer needed is discarded, and much more than it takes comes by. */
static void slide(int i, unsigned shift, size_t live, size_t total, uint64_t frames)
{
	struct hmm_region_options large = { .size = sizeof(large), .page_shift = shift };
	struct hmm_store *swap = small_memory((size_t)1 << shift);
	struct hmm_space_options options = swaps_to(swap);
	struct world w;
	struct world_map m;

	world_open(&w, backend_of(i), store_of(i), policy_of(i), frames, &options);
	hmm_store_put(swap);
	world_map(&w, &m, total << shift, &large);
	for (size_t p = 0; p < total; p++) {
		if (p >= live)
			ck_assert_int_eq(hmm_region_advise(m.region, m.base + (p - live) * m.page, m.page,
			                                   HMM_ADVISE_DONTNEED), 0);
		world_put(&w, &m, p, 7);
		if (p % 16 == 0)
			world_check(&w, &m, p < live ? p / 2 : p - live / 2, 7);
	}
	for (size_t p = total - live; p < total; p++)
		world_check(&w, &m, p, 7);
	ck_assert_uint_eq(w.events[HMM_EVENT_NO_FRAME], 0);
	world_unmap(&w, &m);
	world_close(&w);
}

START_TEST(freed_swap_slots_are_used_again)
{
	SKIP_WITHOUT_BACKEND();
	slide(_i, 12, LIMIT + FRAMES / 2, 8 * LIMIT, FRAMES);
}
END_TEST

START_TEST(freed_swap_slots_of_large_pages_are_used_again)
{
	SKIP_WITHOUT_BACKEND();
	/* slot 0 is nobody's, so the first large page's worth can't be used */
	slide(_i, 14, LIMIT / 2, 2 * LIMIT, 4 * FRAMES);
}
END_TEST

START_TEST(what_is_swapped_can_be_read_while_swap_is_full)
{
	struct world w;
	struct world_map m;
	uint64_t random = 4711;
	size_t written;

	SKIP_WITHOUT_BACKEND();
	open_full(&w, _i, small_memory(hmm_page_size()));
	world_map(&w, &m, 2 * NPAGES * w.page, NULL);
	written = fill(&w, &m);
	/* all of the store but slot 0, and most of the frames */
	ck_assert_uint_ge(written, LIMIT - 1 + FRAMES / 2);
	ck_assert_uint_lt(written, LIMIT + FRAMES);
	for (unsigned i = 0; i < 8 * NPAGES; i++) {
		size_t page = world_random(&random) % written;
		uint64_t word = page + 1;

		check_number(&w, &m, page);
		if (i % 4 == 0) /* what is there can be changed, too */
			ck_assert_int_eq(world_write(&w, m.region, m.base + page * m.page, &word, sizeof(word)), 0);
	}
	ck_assert_int_eq(hmm_region_advise(m.region, m.base, 32 * m.page, HMM_ADVISE_DONTNEED), 0);
	for (size_t i = written + 1; i < written + 32; i++) /* behind the one that failed, which may be poisoned for a while */
		world_put(&w, &m, i, 3);
	for (size_t i = 32; i < written; i++)
		check_number(&w, &m, i);
	world_unmap(&w, &m);
	world_close(&w);
}
END_TEST

START_TEST(a_full_swap_is_reported_once)
{
	struct world w;
	struct world_map m;
	uint64_t tried;
	size_t written;

	SKIP_WITHOUT_BACKEND();
	open_full(&w, _i, small_memory(hmm_page_size()));
	world_map(&w, &m, 2 * NPAGES * w.page, NULL);
	written = fill(&w, &m);
	tried = world_stats(&w).write_errors;
	for (size_t i = 1; i < 16; i++) {
		uint64_t word = 0;

		ck_assert_int_eq(world_write(&w, m.region, m.base + (written + i) * m.page, &word, sizeof(word)), -EIO);
	}
	ck_assert_int_eq(hmm_space_poll(w.space), 0);
	ck_assert_uint_eq(w.events[HMM_EVENT_WRITE_ERROR], 1);
	ck_assert_uint_eq(w.events[HMM_EVENT_NO_FRAME], 1);
	ck_assert_uint_eq(world_stats(&w).write_errors, tried); /* the store says how much it takes: it is not asked in vain */
	world_unmap(&w, &m);
	world_close(&w);
}
END_TEST

START_TEST(a_disk_that_others_fill_and_empty_loses_nothing)
{
	struct world w;
	struct world_map m;
	struct disk disk;
	size_t written, more, size = 4 * NPAGES * hmm_page_size();

	SKIP_WITHOUT_BACKEND();
	open_full(&w, _i, disk_store(&disk, size));
	atomic_store(&disk.room, LIMIT * w.page);
	world_map(&w, &m, 2 * NPAGES * w.page, NULL);
	written = fill(&w, &m);
	ck_assert_uint_ge(written, LIMIT - 1 + FRAMES / 4);
	for (size_t i = 0; i < written; i++)
		check_number(&w, &m, i);
	ck_assert_int_eq(hmm_space_poll(w.space), 0);
	ck_assert_uint_eq(w.events[HMM_EVENT_WRITE_ERROR], 1);
	ck_assert_uint_eq(w.events[HMM_EVENT_NO_FRAME], 1);
	atomic_store(&disk.room, size);
	/* under thread delivery the page that failed stays poisoned for a while, unless it is asked for by a call */
	ck_assert_int_eq(hmm_region_advise(m.region, m.base + written * m.page, m.page, HMM_ADVISE_WILLNEED), 0);
	more = fill(&w, &m);
	ck_assert_uint_eq(more, m.npages);
	for (size_t i = 0; i < more; i++)
		check_number(&w, &m, i);
	world_unmap(&w, &m);
	world_close(&w);
	free(disk.data);
}
END_TEST

/* A fault that fails tries a few times at most. */
START_TEST(a_disk_that_refuses_everything_is_not_hammered)
{
	enum { FAULTS = 32, TRIES = 16 };
	struct world w;
	struct world_map m;
	struct disk disk;
	size_t written;
	uint64_t calls;

	SKIP_WITHOUT_BACKEND();
	open_full(&w, _i, disk_store(&disk, 4 * NPAGES * hmm_page_size()));
	atomic_store(&disk.room, 0);
	world_map(&w, &m, NPAGES * w.page, NULL);
	written = fill(&w, &m);
	ck_assert_uint_ge(written, FRAMES / 4);
	calls = atomic_load(&disk.calls);
	for (size_t i = 1; i <= FAULTS; i++) {
		uint64_t word = 0;

		ck_assert_int_eq(world_write(&w, m.region, m.base + (written + i) * m.page, &word, sizeof(word)), -EIO);
	}
	ck_assert_uint_le(atomic_load(&disk.calls) - calls, FAULTS * TRIES);
	ck_assert_int_eq(hmm_space_poll(w.space), 0);
	ck_assert_uint_eq(w.events[HMM_EVENT_WRITE_ERROR], 1);
	ck_assert_uint_eq(w.events[HMM_EVENT_NO_FRAME], 1);
	for (size_t i = 0; i < written; i++)
		check_number(&w, &m, i);
	world_unmap(&w, &m);
	world_close(&w);
	free(disk.data);
}
END_TEST

START_TEST(a_file_as_swap_holds_its_length_and_loses_nothing)
{
	char path[] = "/tmp/hmm-full-XXXXXX";
	struct hmm_store *file;
	struct world w;
	struct world_map m;
	size_t written;
	int fd;

	SKIP_WITHOUT_BACKEND();
	fd = mkstemp(path);
	ck_assert_int_ge(fd, 0);
	unlink(path);
	ck_assert_int_eq(ftruncate(fd, (off_t)(LIMIT * hmm_page_size())), 0);
	ck_assert_int_eq(hmm_store_file(fd, 0, &file), 0);
	open_full(&w, _i, file);
	world_map(&w, &m, 2 * NPAGES * w.page, NULL);
	written = fill(&w, &m);
	ck_assert_uint_ge(written, LIMIT - 1 + FRAMES / 2);
	ck_assert_uint_lt(written, LIMIT + FRAMES);
	for (size_t i = 0; i < written; i++)
		check_number(&w, &m, i);
	world_unmap(&w, &m);
	world_close(&w);
	close(fd);
}
END_TEST

void add_full_tests(TCase *t, int i)
{
	tcase_add_loop_test(t, freed_swap_slots_are_used_again, i, i + 1);
	tcase_add_loop_test(t, freed_swap_slots_of_large_pages_are_used_again, i, i + 1);
	tcase_add_loop_test(t, what_is_swapped_can_be_read_while_swap_is_full, i, i + 1);
	tcase_add_loop_test(t, a_full_swap_is_reported_once, i, i + 1);
	tcase_add_loop_test(t, a_disk_that_others_fill_and_empty_loses_nothing, i, i + 1);
	tcase_add_loop_test(t, a_disk_that_refuses_everything_is_not_hammered, i, i + 1);
	tcase_add_loop_test(t, a_file_as_swap_holds_its_length_and_loses_nothing, i, i + 1);
}
