/* SPDX-License-Identifier: MIT */
/*
 * test_cache.c - pages asked for by calls: pins, modes, errors, what a miss does, and that the policy hears all of it
 *
 * On the mock backend, which counts frames and notices every use of a slot that has none.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <hurd-mm/hurd-mm.h>
#include <hurd-mm/mock.h>

#include "lib/base/arena.h"
#include "lib/policy/registry.h"
#include "tests/harness.h"
#include "tests/unit/policy_traces.h"

#define PAGE 4096u
#define FRAMES 64u

/* A space on the mock, a store in memory behind a filter that fails, and a cache of it. */
struct fixture {
	struct hmm_mock *mock;
	struct hmm_space *space;
	struct hmm_store *memory, *store;
	struct hmm_cache *cache;
};

static void open_space(struct fixture *f, uint64_t frames, struct hmm_space_options *o)
{
	struct hmm_space_options none = { .size = sizeof(none) };

	memset(f, 0, sizeof(*f));
	o = o ? o : &none;
	ck_assert_int_eq(hmm_mock_create(NULL, &f->mock), 0);
	o->backend = hmm_backend_mock();
	o->backend_arg = f->mock;
	o->flags |= HMM_SPACE_CHECK_POLICY | HMM_SPACE_NO_RECLAIMER;
	ck_assert_int_eq(hmm_space_create(frames, o, &f->space), 0);
	ck_assert_int_eq(hmm_store_memory(UINT64_C(1) << 32, &f->memory), 0);
	ck_assert_int_eq(hmm_store_faulty(f->memory, &f->store), 0);
}

/* Every page of the store begins with its number. */
static void number_pages(struct fixture *f, uint64_t n, size_t page_size)
{
	uint64_t *page = aligned_alloc(PAGE, page_size < PAGE ? PAGE : page_size);

	memset(page, 0, page_size);
	for (uint64_t i = 0; i < n; i++) {
		struct hmm_store_vec v = { .offset = i * page_size, .data = page, .length = page_size };

		page[0] = i + 1000;
		page[page_size / 8 - 1] = ~i;
		ck_assert_int_eq(hmm_store_write(f->memory, &v, 1), 0);
	}
	free(page);
}

static void begin(struct fixture *f, uint64_t frames, const char *policy)
{
	struct hmm_space_options o = { .size = sizeof(o), .policy = policy };

	open_space(f, frames, &o);
	number_pages(f, 1024, PAGE);
	ck_assert_int_eq(hmm_cache_create(f->space, f->store, PAGE, NULL, &f->cache), 0);
}

static void end(struct fixture *f)
{
	struct hmm_stats stats = { .size = sizeof(stats) };
	const char *misuse = NULL;
	uint64_t peak;

	ck_assert_int_eq(hmm_cache_destroy(f->cache), 0);
	ck_assert_int_eq(hmm_space_stats(f->space, &stats), 0);
	ck_assert_uint_eq(stats.policy_errors, 0);
	ck_assert_uint_eq(stats.held, 0);
	ck_assert_uint_eq(stats.resident, 0);
	ck_assert_uint_eq(stats.dirty, 0);
	ck_assert_uint_eq(hmm_mock_frames(f->mock, &peak), 0);
	ck_assert_uint_le(peak, stats.frames);
	hmm_space_destroy(f->space);
	ck_assert_msg(hmm_mock_misuses(f->mock, &misuse) == 0, "%s", misuse);
	hmm_mock_destroy(f->mock);
	hmm_store_put(f->store);
	hmm_store_put(f->memory);
}

static struct hmm_cache_stats stats_of(struct hmm_cache *cache)
{
	struct hmm_cache_stats s = { .size = sizeof(s) };

	ck_assert_int_eq(hmm_cache_stats(cache, &s), 0);
	return s;
}

/* Get a page, look at it, put it. */
static void look(struct fixture *f, uint64_t page)
{
	void *data;

	ck_assert_int_eq(hmm_cache_get(f->cache, page, HMM_CACHE_READ, &data), 0);
	ck_assert_uint_eq(*(uint64_t *)data, page + 1000);
	ck_assert_int_eq(hmm_cache_put(f->cache, page, HMM_CACHE_READ, 0), 0);
}

static void change(struct fixture *f, uint64_t page, uint64_t value)
{
	void *data;

	ck_assert_int_eq(hmm_cache_get(f->cache, page, HMM_CACHE_WRITE, &data), 0);
	((uint64_t *)data)[1] = value;
	ck_assert_int_eq(hmm_cache_put(f->cache, page, HMM_CACHE_WRITE | HMM_CACHE_DIRTY, 0), 0);
}

static uint64_t stored(struct fixture *f, uint64_t page)
{
	static uint64_t buffer[PAGE / 8] __attribute__((aligned(PAGE)));
	struct hmm_store_vec v = { .offset = page * PAGE, .data = buffer, .length = PAGE };

	ck_assert_int_eq(hmm_store_read(f->memory, &v, 1), 0);
	return buffer[1];
}

/* --- creation --- */

START_TEST(create_refuses_what_cannot_be)
{
	static const size_t sizes[] = { 0, 256, 768, 4095, 131072 };
	struct hmm_cache_options o = { .size = sizeof(o) };
	struct fixture f;
	struct hmm_cache *cache = NULL;

	begin(&f, FRAMES, "lru");
	for (unsigned i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++)
		ck_assert_int_eq(hmm_cache_create(f.space, f.store, sizes[i], NULL, &cache), -EINVAL);
	ck_assert_int_eq(hmm_cache_create(f.space, f.store, 65536, NULL, &cache), -EINVAL); /* an eighth of 64: 32 KiB */
	ck_assert_int_eq(hmm_cache_create(f.space, NULL, PAGE, NULL, &cache), -EINVAL);
	ck_assert_int_eq(hmm_cache_create(NULL, f.store, PAGE, NULL, &cache), -EINVAL);
	ck_assert_int_eq(hmm_cache_create(f.space, f.store, PAGE, NULL, NULL), -EINVAL);
	o.flags = 1 << 7;
	ck_assert_int_eq(hmm_cache_create(f.space, f.store, PAGE, &o, &cache), -EINVAL);
	o = (struct hmm_cache_options){ .size = sizeof(o), .extra = 4097 };
	ck_assert_int_eq(hmm_cache_create(f.space, f.store, PAGE, &o, &cache), -EINVAL);
	o = (struct hmm_cache_options){ .size = sizeof(o), .offset = 512 };
	ck_assert_int_eq(hmm_cache_create(f.space, f.store, PAGE, &o, &cache), -EINVAL);
	o = (struct hmm_cache_options){ .size = sizeof(o), .dirty_target = 60, .dirty_limit = 50 };
	ck_assert_int_eq(hmm_cache_create(f.space, f.store, PAGE, &o, &cache), -EINVAL);
	o = (struct hmm_cache_options){ .size = sizeof(o), .flags = HMM_CACHE_VOLATILE };
	ck_assert_int_eq(hmm_cache_create(f.space, f.store, PAGE, &o, &cache), -EINVAL);
	o = (struct hmm_cache_options){ .size = sizeof(o), .max_pages = UINT64_C(1) << 41 };
	ck_assert_int_eq(hmm_cache_create(f.space, f.store, PAGE, &o, &cache), -EINVAL);
	ck_assert_ptr_null(cache);
	end(&f);
}
END_TEST

static int transfer_nothing(void *ctx, struct hmm_store_vec *vec, unsigned n)
{
	(void)ctx, (void)vec, (void)n;
	return 0;
}

START_TEST(create_heeds_the_unit_of_the_store)
{
	struct hmm_store_ops ops = { .size = sizeof(ops), .version = HMM_STORE_VERSION, .read = transfer_nothing,
		                     .write = transfer_nothing };
	struct hmm_store *store;
	struct hmm_cache *cache;
	struct fixture f;

	begin(&f, FRAMES, "lru");
	ck_assert_int_eq(hmm_store_create(&ops, NULL, &store), 0);
	ck_assert_uint_eq(hmm_store_granule(store), hmm_page_size());
	ck_assert_int_eq(hmm_cache_create(f.space, store, 2048, NULL, &cache), -EINVAL);
	hmm_store_put(store);
	ops.granule = 1024;
	ck_assert_int_eq(hmm_store_create(&ops, NULL, &store), 0);
	ck_assert_int_eq(hmm_cache_create(f.space, store, 512, NULL, &cache), -EINVAL);
	ck_assert_int_eq(hmm_cache_create(f.space, store, 1024, NULL, &cache), 0);
	ck_assert_int_eq(hmm_cache_destroy(cache), 0);
	hmm_store_put(store);
	ops.granule = 1000;
	ck_assert_int_eq(hmm_store_create(&ops, NULL, &store), -EINVAL);
	end(&f);
}
END_TEST

START_TEST(create_without_memory_leaves_nothing)
{
	struct hmm_cache_options o = { .size = sizeof(o), .extra = 100 };
	struct fixture f;
	struct hmm_cache *cache;
	struct hmm_store *store;
	unsigned failed = 0;
	int r;

	begin(&f, FRAMES, "lru");
	ck_assert_int_eq(hmm_store_memory(1 << 20, &store), 0);
	for (uint64_t nth = 1;; nth++) {
		hmm__alloc_fail(nth, 0);
		r = hmm_cache_create(f.space, store, 2048, &o, &cache);
		hmm__alloc_fail(0, 0);
		if (!r)
			break;
		ck_assert_int_eq(r, -ENOMEM);
		failed++;
	}
	ck_assert_uint_ge(failed, 5);
	ck_assert_int_eq(hmm_cache_destroy(cache), 0);
	hmm_store_put(store);
	look(&f, 3);
	end(&f);
}
END_TEST

/* --- pins and modes --- */

START_TEST(get_reads_once_and_then_finds_it)
{
	struct hmm_cache_stats s;
	struct fixture f;
	void *data, *again;

	begin(&f, FRAMES, "lru");
	ck_assert_int_eq(hmm_cache_get(f.cache, 7, HMM_CACHE_READ, &data), 0);
	ck_assert_uint_eq(((uintptr_t)data) % 64, 0);
	ck_assert_uint_eq(*(uint64_t *)data, 1007);
	ck_assert_int_eq(hmm_cache_get(f.cache, 7, HMM_CACHE_READ, &again), 0);
	ck_assert_ptr_eq(data, again);
	s = stats_of(f.cache);
	ck_assert_uint_eq(s.resident, 1);
	ck_assert_uint_eq(s.pinned, 1);
	ck_assert_uint_eq(s.hits, 1);
	ck_assert_uint_eq(s.misses, 1);
	ck_assert_uint_eq(s.reads, 1);
	ck_assert_uint_eq(s.frame_bytes, PAGE);
	ck_assert_int_eq(hmm_cache_destroy(f.cache), -EBUSY);
	ck_assert_int_eq(hmm_cache_put(f.cache, 7, HMM_CACHE_READ, 0), 0);
	ck_assert_int_eq(hmm_cache_put(f.cache, 7, HMM_CACHE_READ, 0), 0);
	ck_assert_uint_eq(stats_of(f.cache).pinned, 0);
	end(&f);
}
END_TEST

START_TEST(modes_say_what_they_do)
{
	struct fixture f;
	void *data;

	begin(&f, FRAMES, "lru");
	ck_assert_int_eq(hmm_cache_get(f.cache, 1, HMM_CACHE_RESIDENT, &data), -ENOENT);
	ck_assert_int_eq(hmm_cache_get(f.cache, 1, HMM_CACHE_NOWAIT, &data), -EAGAIN);
	ck_assert_int_eq(hmm_cache_get(f.cache, 1, HMM_CACHE_CREATE, &data), -EINVAL); /* with a store: for writing */
	ck_assert_int_eq(hmm_cache_get(f.cache, 1, HMM_CACHE_CREATE | HMM_CACHE_WRITE | HMM_CACHE_RESIDENT, &data),
	                 -EINVAL);
	ck_assert_int_eq(hmm_cache_get(f.cache, 1, HMM_CACHE_DIRTY, &data), -EINVAL);
	ck_assert_int_eq(hmm_cache_get(f.cache, 1, 0x80, &data), -EINVAL);
	ck_assert_int_eq(hmm_cache_get(f.cache, UINT64_C(1) << 32, HMM_CACHE_READ, &data), -ERANGE);
	ck_assert_uint_eq(stats_of(f.cache).resident, 0);

	ck_assert_int_eq(hmm_cache_get(f.cache, 1, HMM_CACHE_CREATE | HMM_CACHE_WRITE | HMM_CACHE_NOWAIT, &data), 1);
	for (unsigned i = 0; i < PAGE / 8; i++)
		ck_assert_uint_eq(((uint64_t *)data)[i], 0);
	((uint64_t *)data)[1] = 5;
	ck_assert_int_eq(hmm_cache_mark(f.cache, 1, 0), 0);
	ck_assert_int_eq(hmm_cache_put(f.cache, 1, HMM_CACHE_WRITE, 0), 0);
	ck_assert_int_eq(hmm_cache_get(f.cache, 1, HMM_CACHE_CREATE | HMM_CACHE_WRITE, &data), 0);
	ck_assert_uint_eq(((uint64_t *)data)[1], 5);
	ck_assert_int_eq(hmm_cache_put(f.cache, 1, HMM_CACHE_WRITE, 0), 0);
	ck_assert_int_eq(hmm_cache_get(f.cache, 1, HMM_CACHE_RESIDENT | HMM_CACHE_NOWAIT, &data), 0);
	ck_assert_int_eq(hmm_cache_put(f.cache, 1, HMM_CACHE_READ, 0), 0);
	ck_assert_uint_eq(stats_of(f.cache).dirty, 1);
	ck_assert_uint_eq(stats_of(f.cache).reads, 0);
	end(&f);
}
END_TEST

START_TEST(pins_end_after_a_thousand)
{
	unsigned n = 1000;
	struct fixture f;
	void *data;

	begin(&f, FRAMES, "lru");
	for (unsigned i = 0; i < n; i++)
		ck_assert_int_eq(hmm_cache_get(f.cache, 9, i % 2 ? HMM_CACHE_WRITE : HMM_CACHE_READ, &data), 0);
	while (hmm_cache_get(f.cache, 9, n % 2 ? HMM_CACHE_WRITE : HMM_CACHE_READ, &data) == 0)
		ck_assert_uint_lt(++n, 1100);
	ck_assert_int_eq(hmm_cache_get(f.cache, 9, HMM_CACHE_READ, &data), -EOVERFLOW);
	ck_assert_int_eq(hmm_cache_get(f.cache, 9, HMM_CACHE_WRITE, &data), -EOVERFLOW);
	for (unsigned i = 0; i < n; i++)
		ck_assert_int_eq(hmm_cache_put(f.cache, 9, i % 2 ? HMM_CACHE_WRITE : HMM_CACHE_READ, 0), 0);
	look(&f, 9);
	end(&f);
}
END_TEST

#ifndef HMM_DEBUG /* debug builds abort */
START_TEST(put_of_what_is_not_pinned_is_refused)
{
	struct fixture f;
	void *data;

	begin(&f, FRAMES, "lru");
	ck_assert_int_eq(hmm_cache_put(f.cache, 3, HMM_CACHE_READ, 0), -EINVAL);
	look(&f, 3);
	ck_assert_int_eq(hmm_cache_put(f.cache, 3, HMM_CACHE_READ, 0), -EINVAL);
	ck_assert_int_eq(hmm_cache_mark(f.cache, 3, 1), -EINVAL);
	ck_assert_int_eq(hmm_cache_get(f.cache, 3, HMM_CACHE_READ, &data), 0);
	ck_assert_int_eq(hmm_cache_put(f.cache, 3, HMM_CACHE_WRITE, 0), -EINVAL);
	ck_assert_int_eq(hmm_cache_put(f.cache, 3, HMM_CACHE_DIRTY, 0), -EINVAL);
	ck_assert_int_eq(hmm_cache_put(f.cache, 3, 0x40, 0), -EINVAL);
	ck_assert_int_eq(hmm_cache_put(f.cache, UINT64_C(1) << 40, HMM_CACHE_READ, 0), -EINVAL);
	ck_assert_int_eq(hmm_cache_mark(f.cache, 3, 1), -EINVAL);
	ck_assert_int_eq(hmm_cache_put(f.cache, 3, HMM_CACHE_READ, 0), 0);
	end(&f);
}
END_TEST
#endif

START_TEST(discarded_page_goes_with_its_last_pin)
{
	struct fixture f;
	void *data;

	begin(&f, FRAMES, "lru");
	change(&f, 4, 77);
	ck_assert_int_eq(hmm_cache_get(f.cache, 4, HMM_CACHE_READ, &data), 0);
	ck_assert_int_eq(hmm_cache_get(f.cache, 4, HMM_CACHE_READ, &data), 0);
	ck_assert_int_eq(hmm_cache_put(f.cache, 4, HMM_CACHE_DISCARD, 0), 0);
	ck_assert_uint_eq(stats_of(f.cache).resident, 1);
	ck_assert_int_eq(hmm_cache_put(f.cache, 4, HMM_CACHE_READ, 0), 0);
	ck_assert_uint_eq(stats_of(f.cache).resident, 0);
	ck_assert_uint_eq(stats_of(f.cache).dirty, 0);
	ck_assert_uint_eq(stored(&f, 4), 0);

	/* unless it was changed again */
	ck_assert_int_eq(hmm_cache_get(f.cache, 5, HMM_CACHE_WRITE, &data), 0);
	ck_assert_int_eq(hmm_cache_get(f.cache, 5, HMM_CACHE_READ, &data), 0);
	ck_assert_int_eq(hmm_cache_put(f.cache, 5, HMM_CACHE_DISCARD, 0), 0);
	ck_assert_int_eq(hmm_cache_put(f.cache, 5, HMM_CACHE_WRITE | HMM_CACHE_DIRTY, 0), 0);
	ck_assert_uint_eq(stats_of(f.cache).resident, 1);
	end(&f);
}
END_TEST

START_TEST(volatile_pages_have_no_store)
{
	struct hmm_cache_options o = { .size = sizeof(o), .flags = HMM_CACHE_VOLATILE, .extra = 40 };
	struct hmm_cache *cache;
	struct fixture f;
	void *data;

	begin(&f, FRAMES, "lru");
	ck_assert_int_eq(hmm_cache_create(f.space, NULL, 1024, &o, &cache), 0);
	ck_assert_int_eq(hmm_cache_get(cache, 1, HMM_CACHE_READ, &data), -ENOENT);
	for (uint64_t i = 0; i < 1000; i++) {
		ck_assert_int_eq(hmm_cache_get(cache, i, HMM_CACHE_CREATE, &data), 1);
		memset(data, (int)i, 1024);
		for (unsigned k = 0; k < 40; k++)
			ck_assert_uint_eq(((uint8_t *)hmm_cache_extra(cache, data))[k], 0);
		memset(hmm_cache_extra(cache, data), 0xff, 40);
		ck_assert_int_eq(hmm_cache_put(cache, i, HMM_CACHE_DIRTY, 0), 0);
	}
	ck_assert_uint_eq(stats_of(cache).dirty, 0);
	ck_assert_uint_gt(stats_of(cache).evictions, 0);
	ck_assert_int_eq(hmm_cache_destroy(cache), 0);
	end(&f);
}
END_TEST

/* --- misses --- */

START_TEST(contents_survive_eviction)
{
	struct hmm_cache_stats s;
	struct fixture f;

	begin(&f, FRAMES, "clock");
	for (uint64_t i = 0; i < 1000; i++) {
		look(&f, i);
		if (i % 3 == 0)
			change(&f, i, i * i + 1);
	}
	s = stats_of(f.cache);
	ck_assert_uint_ge(s.resident, FRAMES - 8); /* the whole budget, but for a batch that was just written */
	ck_assert_uint_eq(s.misses, 1000);
	ck_assert_uint_eq(s.evictions, 1000 - s.resident);
	for (uint64_t i = 0; i < 1000; i++) {
		void *data;

		ck_assert_int_eq(hmm_cache_get(f.cache, i, HMM_CACHE_READ, &data), 0);
		ck_assert_uint_eq(((uint64_t *)data)[0], i + 1000);
		ck_assert_uint_eq(((uint64_t *)data)[1], i % 3 == 0 ? i * i + 1 : 0);
		ck_assert_uint_eq(((uint64_t *)data)[PAGE / 8 - 1], ~i);
		ck_assert_int_eq(hmm_cache_put(f.cache, i, HMM_CACHE_READ, 0), 0);
	}
	end(&f);
}
END_TEST

START_TEST(destroy_writes_and_abandon_does_not)
{
	struct fixture f;

	begin(&f, FRAMES, "lru");
	change(&f, 2, 22);
	ck_assert_uint_eq(stored(&f, 2), 0);
	ck_assert_int_eq(hmm_cache_destroy(f.cache), 0);
	ck_assert_uint_eq(stored(&f, 2), 22);
	ck_assert_int_eq(hmm_cache_create(f.space, f.store, PAGE, NULL, &f.cache), 0);
	change(&f, 2, 33);
	hmm_cache_abandon(f.cache);
	ck_assert_uint_eq(stored(&f, 2), 22);
	f.cache = NULL;
	end(&f);
}
END_TEST

START_TEST(read_errors_are_returned_and_leave_no_page)
{
	struct hmm_store_fault fault = { .size = sizeof(fault), .read_nth = 1, .error = -EIO };
	struct hmm_cache_stats s;
	struct fixture f;
	void *data;

	begin(&f, FRAMES, "lru");
	ck_assert_int_eq(hmm_store_set_fault(f.store, &fault), 0);
	ck_assert_int_eq(hmm_cache_get(f.cache, 1, HMM_CACHE_READ, &data), -EIO);
	s = stats_of(f.cache);
	ck_assert_uint_eq(s.resident, 0);
	ck_assert_uint_eq(s.misses, 0);
	ck_assert_uint_eq(s.reads, 0);
	ck_assert_int_eq(hmm_cache_get(f.cache, 1, HMM_CACHE_RESIDENT, &data), -ENOENT);
	look(&f, 1);
	end(&f);
}
END_TEST

START_TEST(store_that_is_read_only_gives_no_writers)
{
	char path[] = "/tmp/hmm-cache-XXXXXX";
	int fd = mkstemp(path);
	struct hmm_store *store;
	struct hmm_cache *cache;
	struct fixture f;
	void *data;

	begin(&f, FRAMES, "lru");
	ck_assert_int_eq(ftruncate(fd, 3 * 512 + 100), 0);
	close(fd);
	fd = open(path, O_RDONLY);
	unlink(path);
	ck_assert_int_eq(hmm_store_file(fd, 0, &store), 0);
	close(fd);
	ck_assert_int_eq(hmm_cache_create(f.space, store, 512, NULL, &cache), 0);
	hmm_store_put(store);
	ck_assert_int_eq(hmm_cache_get(cache, 0, HMM_CACHE_WRITE, &data), -EBADF);
	ck_assert_int_eq(hmm_cache_get(cache, 3, HMM_CACHE_READ, &data), 0); /* begins before the end */
	ck_assert_int_eq(hmm_cache_put(cache, 3, HMM_CACHE_READ, 0), 0);
	ck_assert_int_eq(hmm_cache_get(cache, 4, HMM_CACHE_READ, &data), -ENXIO);
	ck_assert_int_eq(hmm_cache_destroy(cache), 0);
	end(&f);
}
END_TEST

/* --- all pinned --- */

static void pin_all(struct fixture *f, uint64_t n, unsigned mode)
{
	void *data;

	for (uint64_t i = 0; i < n; i++)
		ck_assert_int_eq(hmm_cache_get(f->cache, i, mode, &data), 0);
}

static void unpin_all(struct fixture *f, uint64_t n, unsigned mode)
{
	for (uint64_t i = 0; i < n; i++)
		ck_assert_int_eq(hmm_cache_put(f->cache, i, mode, 0), 0);
}

START_TEST(get_says_so_when_everything_is_pinned)
{
	struct hmm_cache_options o = { .size = sizeof(o), .wait_ms = 20 };
	struct fixture f;
	void *data;

	begin(&f, FRAMES, "lru");
	ck_assert_int_eq(hmm_cache_destroy(f.cache), 0);
	ck_assert_int_eq(hmm_cache_create(f.space, f.store, PAGE, &o, &f.cache), 0);
	pin_all(&f, FRAMES, HMM_CACHE_WRITE);
	ck_assert_int_eq(hmm_cache_get(f.cache, 500, HMM_CACHE_READ, &data), -ENOBUFS);
	ck_assert_int_eq(hmm_cache_get(f.cache, 500, HMM_CACHE_CREATE | HMM_CACHE_WRITE | HMM_CACHE_NOWAIT, &data),
	                 -ENOBUFS);
	ck_assert_int_eq(hmm_cache_put(f.cache, 17, HMM_CACHE_WRITE, 0), 0);
	look(&f, 500); /* the only one that could go is found */
	ck_assert_int_eq(hmm_cache_get(f.cache, 17, HMM_CACHE_RESIDENT, &data), -ENOENT);
	ck_assert_int_eq(hmm_cache_get(f.cache, 500, HMM_CACHE_WRITE, &data), 0);
	/* dirty, and NOWAIT writes nothing: who may wait gets it */
	ck_assert_int_eq(hmm_cache_put(f.cache, 500, HMM_CACHE_WRITE | HMM_CACHE_DIRTY, 0), 0);
	ck_assert_int_eq(hmm_cache_get(f.cache, 501, HMM_CACHE_CREATE | HMM_CACHE_WRITE | HMM_CACHE_NOWAIT, &data),
	                 -EAGAIN);
	look(&f, 501);
	ck_assert_int_eq(hmm_cache_get(f.cache, 17, HMM_CACHE_WRITE, &data), 0);
	unpin_all(&f, FRAMES, HMM_CACHE_WRITE);
	end(&f);
}
END_TEST

struct putter {
	struct fixture *f;
	pthread_t thread;
};

static void *put_one(void *arg)
{
	struct putter *p = arg;
	struct hmm_stats s = { .size = sizeof(s) };

	/* until the other one waits */
	do
		ck_assert_int_eq(hmm_space_stats(p->f->space, &s), 0);
	while (!s.frame_waits);
	ck_assert_int_eq(hmm_cache_put(p->f->cache, 5, HMM_CACHE_READ, 0), 0);
	return NULL;
}

START_TEST(get_waits_for_a_put)
{
	struct hmm_cache_options o = { .size = sizeof(o), .wait_ms = 60000 };
	struct putter p;
	struct fixture f;
	void *data;

	begin(&f, FRAMES, "s3fifo");
	ck_assert_int_eq(hmm_cache_destroy(f.cache), 0);
	ck_assert_int_eq(hmm_cache_create(f.space, f.store, PAGE, &o, &f.cache), 0);
	pin_all(&f, FRAMES, HMM_CACHE_READ);
	p.f = &f;
	ck_assert_int_eq(pthread_create(&p.thread, NULL, put_one, &p), 0);
	look(&f, 600);
	pthread_join(p.thread, NULL);
	ck_assert_int_eq(hmm_cache_get(f.cache, 5, HMM_CACHE_READ, &data), 0);
	unpin_all(&f, FRAMES, HMM_CACHE_READ);
	end(&f);
}
END_TEST

START_TEST(pages_that_cannot_be_written_are_as_pinned)
{
	struct hmm_cache_options o = { .size = sizeof(o), .wait_ms = 20 };
	struct hmm_store_fault fault = { .size = sizeof(fault), .write_nth = 1, .repeat = 1 };
	struct fixture f;
	void *data;

	begin(&f, FRAMES, "lru");
	ck_assert_int_eq(hmm_cache_destroy(f.cache), 0);
	ck_assert_int_eq(hmm_cache_create(f.space, f.store, PAGE, &o, &f.cache), 0);
	for (uint64_t i = 0; i < FRAMES; i++)
		change(&f, i, i + 1);
	ck_assert_int_eq(hmm_store_set_fault(f.store, &fault), 0);
	ck_assert_int_eq(hmm_cache_get(f.cache, 500, HMM_CACHE_READ, &data), -ENOBUFS);
	ck_assert_uint_eq(stats_of(f.cache).dirty, FRAMES);
	ck_assert_uint_gt(stats_of(f.cache).write_errors, 0);
	ck_assert_int_eq(hmm_cache_destroy(f.cache), -EIO);
	ck_assert_int_eq(hmm_store_set_fault(f.store, NULL), 0);
	look(&f, 500);
	ck_assert_int_eq(hmm_cache_destroy(f.cache), 0);
	f.cache = NULL;
	for (uint64_t i = 0; i < FRAMES; i++)
		ck_assert_uint_eq(stored(&f, i), i + 1);
	end(&f);
}
END_TEST

/* --- optimistic reads --- */

START_TEST(optimistic_reader_hears_of_every_change)
{
	struct hmm_cache_version v, w;
	const void *data, *other;
	struct fixture f;
	void *mine;

	begin(&f, FRAMES, "lru");
	ck_assert_int_eq(hmm_cache_read_begin(f.cache, 1, &data, &v), -ENOENT);
	ck_assert_int_eq(hmm_cache_read_begin(f.cache, UINT64_C(1) << 50, &data, &v), -ENOENT);
	look(&f, 1);
	ck_assert_int_eq(hmm_cache_read_begin(f.cache, 1, &data, &v), 0);
	ck_assert_uint_eq(*(const uint64_t *)data, 1001);
	ck_assert_int_eq(hmm_cache_read_retry(f.cache, &v), 0);
	look(&f, 1); /* readers change nothing */
	ck_assert_int_eq(hmm_cache_read_retry(f.cache, &v), 0);

	ck_assert_int_eq(hmm_cache_get(f.cache, 1, HMM_CACHE_WRITE, &mine), 0);
	ck_assert_int_eq(hmm_cache_read_retry(f.cache, &v), 1);
	ck_assert_int_eq(hmm_cache_read_begin(f.cache, 1, &data, &v), -EAGAIN);
	ck_assert_int_eq(hmm_cache_put(f.cache, 1, HMM_CACHE_WRITE, 0), 0);
	ck_assert_int_eq(hmm_cache_read_begin(f.cache, 1, &data, &v), 0);
	ck_assert_int_eq(hmm_cache_read_begin(f.cache, 1, &other, &w), 0);
	ck_assert_ptr_eq(data, other);
	for (uint64_t i = 100; i < 100 + FRAMES; i++) /* it is evicted */
		look(&f, i);
	ck_assert_int_eq(hmm_cache_read_retry(f.cache, &v), 1);
	ck_assert_int_eq(hmm_cache_read_begin(f.cache, 1, &data, &w), -ENOENT);
	end(&f);
}
END_TEST

START_TEST(optimistic_reads_keep_a_page_in)
{
	struct hmm_cache_version v;
	const void *data;
	struct fixture f;
	void *mine;

	begin(&f, FRAMES, "lru");
	look(&f, 1);
	for (uint64_t i = 0; i < 8 * FRAMES; i++) {
		for (unsigned k = 0; k < 16; k++)
			ck_assert_int_eq(hmm_cache_read_begin(f.cache, 1, &data, &v), 0);
		look(&f, 100 + i);
	}
	ck_assert_int_eq(hmm_cache_get(f.cache, 1, HMM_CACHE_RESIDENT, &mine), 0);
	ck_assert_int_eq(hmm_cache_put(f.cache, 1, HMM_CACHE_READ, 0), 0);
	end(&f);
}
END_TEST

/* --- exactness --- */

/* One thread's misses are those of the policy alone, one victim a miss. */
static void compare_misses(const char *name, int kind, uint32_t frames, uint64_t *seed)
{
	struct hmm_space_options o = { .size = sizeof(o), .policy = name, .batch = 1, .max_pages = 4096,
		                       .max_frames = 4096 };
	const struct hmm_policy_ops *ops;
	struct trace trace;
	struct fixture f;
	uint64_t expected;

	trace_make(&trace, kind, 20000, frames * 4, seed);
	ck_assert_int_eq(hmm__policy_find(name, strlen(name), &ops, NULL), 0);
	expected = trace_misses(ops, "", &trace, frames, NULL);
	open_space(&f, frames, &o);
	number_pages(&f, trace.npages, PAGE);
	ck_assert_int_eq(hmm_cache_create(f.space, f.store, PAGE, NULL, &f.cache), 0);
	for (uint32_t i = 0; i < trace.length; i++)
		look(&f, trace.pages[i]);
	ck_assert_msg(stats_of(f.cache).misses == expected, "%s, pattern %d: %lu misses, not %lu", name, kind,
	              (unsigned long)stats_of(f.cache).misses, (unsigned long)expected);
	ck_assert_uint_eq(stats_of(f.cache).hits, trace.length - expected);
	end(&f);
	trace_free(&trace);
}

START_TEST(misses_are_those_of_the_policy)
{
	static const char *const names[] = { "lru", "s3fifo", "arc", "clock", "2q", "sieve", "lirs" };
	uint64_t seed = test_seed();

	compare_misses(names[_i], 3, 64, &seed);
	compare_misses(names[_i], (int)(trace_random(&seed) % TRACE_KINDS), 100, &seed);
}
END_TEST

/* --- fork --- */

START_TEST(cache_is_dead_in_a_child)
{
	struct fixture f;
	void *data;
	int status;
	pid_t pid;

	begin(&f, FRAMES, "lru");
	change(&f, 1, 11);
	ck_assert_int_eq(hmm_cache_get(f.cache, 2, HMM_CACHE_READ, &data), 0);
	pid = fork();
	if (!pid) {
		struct hmm_stats s = { .size = sizeof(s) };
		struct hmm_cache *fresh;
		int bad = 0;

		bad |= hmm_cache_get(f.cache, 2, HMM_CACHE_READ, &data) != -ENODEV;
		bad |= hmm_cache_get(f.cache, 2, HMM_CACHE_RESIDENT, &data) != -ENODEV;
		bad |= hmm_cache_put(f.cache, 2, HMM_CACHE_READ, 0) != -ENODEV;
		bad |= hmm_cache_mark(f.cache, 2, 0) != -ENODEV;
		bad |= hmm_cache_destroy(f.cache) != -ENODEV;
		bad |= hmm_space_stats(f.space, &s) != 0 || s.held || s.resident || s.policy_errors;
		bad |= hmm_cache_create(f.space, f.store, PAGE, NULL, &fresh) != 0;
		for (uint64_t i = 0; i < 200; i++) {
			bad |= hmm_cache_get(fresh, i, HMM_CACHE_READ, &data) != 0 || *(uint64_t *)data != i + 1000;
			bad |= hmm_cache_put(fresh, i, HMM_CACHE_READ, 0) != 0;
		}
		hmm_cache_abandon(f.cache);
		bad |= hmm_cache_destroy(fresh) != 0;
		hmm_space_destroy(f.space);
		_exit(bad);
	}
	ck_assert_int_gt(pid, 0);
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert(WIFEXITED(status));
	ck_assert_int_eq(WEXITSTATUS(status), 0);
	ck_assert_uint_eq(*(uint64_t *)data, 1002);
	ck_assert_int_eq(hmm_cache_put(f.cache, 2, HMM_CACHE_READ, 0), 0);
	end(&f);
}
END_TEST

static Suite *suite(void)
{
	Suite *s = suite_create("cache");
	TCase *c = tcase_create("cache");

	tcase_add_test(c, create_refuses_what_cannot_be);
	tcase_add_test(c, create_heeds_the_unit_of_the_store);
	tcase_add_test(c, create_without_memory_leaves_nothing);
	tcase_add_test(c, get_reads_once_and_then_finds_it);
	tcase_add_test(c, modes_say_what_they_do);
	tcase_add_test(c, pins_end_after_a_thousand);
#ifndef HMM_DEBUG
	tcase_add_test(c, put_of_what_is_not_pinned_is_refused);
#endif
	tcase_add_test(c, discarded_page_goes_with_its_last_pin);
	tcase_add_test(c, volatile_pages_have_no_store);
	tcase_add_test(c, contents_survive_eviction);
	tcase_add_test(c, destroy_writes_and_abandon_does_not);
	tcase_add_test(c, read_errors_are_returned_and_leave_no_page);
	tcase_add_test(c, store_that_is_read_only_gives_no_writers);
	tcase_add_test(c, get_says_so_when_everything_is_pinned);
	tcase_add_test(c, get_waits_for_a_put);
	tcase_add_test(c, pages_that_cannot_be_written_are_as_pinned);
	tcase_add_test(c, optimistic_reader_hears_of_every_change);
	tcase_add_test(c, optimistic_reads_keep_a_page_in);
	tcase_add_loop_test(c, misses_are_those_of_the_policy, 0, 7);
	tcase_add_test(c, cache_is_dead_in_a_child);
	suite_add_tcase(s, c);
	return s;
}

HMM_TEST_MAIN(suite)
