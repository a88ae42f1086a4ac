/* SPDX-License-Identifier: MIT */
/*
 * test_claims.c - regions, caches and swap that would use the same bytes of one store: refused, or allowed where nothing can
 * be lost
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <hurd-mm/hurd-mm.h>
#include <hurd-mm/mock.h>

#include "lib/base/arena.h"
#include "tests/harness.h"

#define PAGE 4096u
#define NPAGES 64u
#define FRAMES 64u

static struct hmm_space *space, *other_space;
static struct hmm_store *store, *again, *readable; /* of one file: twice for writing, once for reading */
static int fd;

static struct hmm_space *new_space(struct hmm_store *swap)
{
	struct hmm_space_options so = { .size = sizeof(so), .backend = hmm_backend_mock(), .swap = swap,
		                        .flags = HMM_SPACE_CHECK_POLICY | HMM_SPACE_NO_RECLAIMER };
	struct hmm_space *s = NULL;

	ck_assert_int_eq(hmm_space_create(FRAMES, &so, &s), 0);
	return s;
}

static void setup(void)
{
	char path[64];
	int reader;

	fd = open("/var/tmp", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(ftruncate(fd, NPAGES * PAGE), 0);
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	reader = open(path, O_RDONLY | O_CLOEXEC);
	space = new_space(NULL);
	other_space = new_space(NULL);
	ck_assert_int_eq(hmm_store_file(fd, 0, &store), 0);
	ck_assert_int_eq(hmm_store_file(fd, 0, &again), 0);
	ck_assert_int_eq(hmm_store_file(reader, 0, &readable), 0);
	close(reader);
}

static void teardown(void)
{
	const char *text = NULL;

	hmm_store_put(store);
	hmm_store_put(again);
	hmm_store_put(readable);
	hmm_space_destroy(space);
	hmm_space_destroy(other_space);
	ck_assert_uint_eq(hmm_mock_misuses(NULL, &text), 0);
	close(fd);
}

static int map_in(struct hmm_space *in, struct hmm_store *of, uint64_t page, uint64_t npages, uint32_t flags,
                  struct hmm_region **ret)
{
	struct hmm_region_options o = { .size = sizeof(o), .delivery = HMM_DELIVERY_INLINE, .flags = flags };

	*ret = NULL;
	return hmm_region_map(in, of, page * PAGE, npages * PAGE, &o, ret);
}

static struct hmm_region *map(struct hmm_store *of, uint64_t page, uint64_t npages, uint32_t flags)
{
	struct hmm_region *region;

	ck_assert_int_eq(map_in(space, of, page, npages, flags, &region), 0);
	return region;
}

static void refuse(struct hmm_store *of, uint64_t page, uint64_t npages, uint32_t flags)
{
	struct hmm_region *region;

	ck_assert_int_eq(map_in(other_space, of, page, npages, flags, &region), -EBUSY);
	ck_assert_ptr_null(region);
}

static void allow(struct hmm_store *of, uint64_t page, uint64_t npages, uint32_t flags)
{
	struct hmm_region *region;

	ck_assert_int_eq(map_in(other_space, of, page, npages, flags, &region), 0);
	ck_assert_int_eq(hmm_region_unmap(region), 0);
}

static int cache_on(struct hmm_store *of, uint64_t page, uint64_t npages, uint32_t flags, struct hmm_cache **ret)
{
	struct hmm_cache_options o = { .size = sizeof(o), .offset = page * PAGE, .max_pages = npages, .flags = flags };

	*ret = NULL;
	return hmm_cache_create(other_space, of, PAGE, &o, ret);
}

START_TEST(writers_of_the_same_bytes_are_refused)
{
	struct hmm_region *first = map(store, 8, 16, HMM_REGION_SHARED);

	refuse(store, 8, 16, HMM_REGION_SHARED);
	refuse(again, 0, 9, HMM_REGION_SHARED); /* another handle on the same file */
	refuse(again, 23, 4, HMM_REGION_SHARED);
	refuse(again, 0, NPAGES, HMM_REGION_SHARED);
	refuse(readable, 10, 1, HMM_REGION_SHARED | HMM_REGION_READ_ONLY);
	refuse(store, 10, 1, HMM_REGION_SHARED | HMM_REGION_READ_ONLY);
	allow(store, 0, 8, HMM_REGION_SHARED);
	allow(again, 24, 8, HMM_REGION_SHARED);
	allow(store, 0, NPAGES, 0); /* private */
	ck_assert_int_eq(hmm_region_unmap(first), 0);
	allow(again, 8, 16, HMM_REGION_SHARED);
	first = map(store, 8, 16, HMM_REGION_SHARED);
	hmm_region_abandon(first);
	allow(again, 8, 16, HMM_REGION_SHARED);
	first = map(store, 8, 16, HMM_REGION_SHARED);
	hmm_space_destroy(space); /* takes it along */
	space = new_space(NULL);
	allow(again, 8, 16, HMM_REGION_SHARED);
}
END_TEST

START_TEST(readers_share_until_one_wants_to_write)
{
	struct hmm_region *first = map(store, 0, NPAGES, HMM_REGION_SHARED | HMM_REGION_READ_ONLY), *second;

	ck_assert_int_eq(map_in(other_space, again, 8, 8, HMM_REGION_SHARED | HMM_REGION_READ_ONLY, &second), 0);
	allow(readable, 0, 16, HMM_REGION_SHARED | HMM_REGION_READ_ONLY);
	refuse(again, 0, 1, HMM_REGION_SHARED);
	ck_assert_int_eq(hmm_region_protect(first, hmm_region_base(first), PAGE, PROT_READ | PROT_WRITE), -EBUSY);
	ck_assert_int_eq(hmm_mock_write(first, hmm_region_base(first), "x", 1), -EACCES);
	ck_assert_int_eq(hmm_region_unmap(second), 0);
	ck_assert_int_eq(hmm_region_protect(first, hmm_region_base(first), PAGE, PROT_READ | PROT_WRITE), 0);
	ck_assert_int_eq(hmm_mock_write(first, hmm_region_base(first), "x", 1), 0);
	/* from now on it writes, whatever is protected: some pages may be dirty */
	ck_assert_int_eq(hmm_region_protect(first, hmm_region_base(first), PAGE, PROT_READ), 0);
	refuse(readable, 63, 1, HMM_REGION_SHARED | HMM_REGION_READ_ONLY);
	ck_assert_int_eq(hmm_region_unmap(first), 0);
	allow(readable, 0, 1, HMM_REGION_SHARED | HMM_REGION_READ_ONLY);
}
END_TEST

START_TEST(parts_that_are_unmapped_are_let_go)
{
	struct hmm_region *first = map(store, 0, NPAGES, HMM_REGION_SHARED), *second;
	char *base = hmm_region_base(first), byte = 'a', seen = 0;

	for (unsigned i = 0; i < NPAGES; i++)
		ck_assert_int_eq(hmm_mock_write(first, base + i * PAGE, &byte, 1), 0);
	ck_assert_int_eq(hmm_region_unmap_range(first, base + 8 * PAGE, 8 * PAGE), 0);
	ck_assert_int_eq(hmm_region_unmap_range(first, base + 20 * PAGE, 4 * PAGE), 0);
	ck_assert_int_eq(hmm_region_unmap_range(first, base + 16 * PAGE, 4 * PAGE), 0);
	refuse(again, 7, 17, HMM_REGION_SHARED);
	refuse(again, 8, 17, HMM_REGION_SHARED);
	ck_assert_int_eq(map_in(other_space, again, 8, 16, HMM_REGION_SHARED, &second), 0);
	ck_assert_int_eq(hmm_mock_read(second, hmm_region_base(second), &seen, 1), 0);
	ck_assert_int_eq(seen, 'a'); /* written before it was let go */
	ck_assert_int_eq(hmm_region_unmap_range(second, hmm_region_base(second), PAGE), 0);
	allow(again, 8, 1, HMM_REGION_SHARED);
	refuse(again, 9, 1, HMM_REGION_SHARED);
	ck_assert_int_eq(hmm_region_unmap_range(first, base, 8 * PAGE), 0);
	allow(store, 0, 9, HMM_REGION_SHARED);
	ck_assert_int_eq(hmm_region_unmap_range(first, base + 24 * PAGE, (NPAGES - 24) * PAGE), 0); /* the last part */
	ck_assert_int_eq(hmm_region_unmap(second), 0);
	allow(store, 0, NPAGES, HMM_REGION_SHARED);
}
END_TEST

START_TEST(caches_have_their_bytes_to_themselves)
{
	struct hmm_cache *first, *second;
	struct hmm_region *region;
	void *data;

	ck_assert_int_eq(cache_on(store, 8, 16, 0, &first), 0);
	ck_assert_int_eq(cache_on(again, 8, 16, 0, &second), -EBUSY);
	ck_assert_int_eq(cache_on(again, 0, 0, 0, &second), -EBUSY);
	ck_assert_int_eq(cache_on(readable, 23, 4, 0, &second), -EBUSY);
	ck_assert_ptr_null(second);
	refuse(again, 0, NPAGES, HMM_REGION_SHARED);
	refuse(readable, 0, NPAGES, HMM_REGION_SHARED | HMM_REGION_READ_ONLY);
	allow(again, 0, NPAGES, 0);
	allow(again, 0, 8, HMM_REGION_SHARED);
	ck_assert_int_eq(cache_on(again, 24, 0, 0, &second), 0);
	/* one that stays because it is pinned keeps what it has */
	ck_assert_int_eq(hmm_cache_get(first, 0, HMM_CACHE_READ, &data), 0);
	ck_assert_int_eq(hmm_cache_destroy(first), -EBUSY);
	refuse(again, 8, 1, HMM_REGION_SHARED);
	ck_assert_int_eq(hmm_cache_put(first, 0, HMM_CACHE_READ, 0), 0);
	ck_assert_int_eq(hmm_cache_destroy(first), 0);
	region = map(again, 8, 16, HMM_REGION_SHARED);
	ck_assert_int_eq(cache_on(store, 0, 9, 0, &first), -EBUSY);
	ck_assert_int_eq(hmm_region_unmap(region), 0);
	hmm_cache_abandon(second);
	ck_assert_int_eq(cache_on(store, 0, 0, 0, &first), 0);
	ck_assert_int_eq(hmm_cache_destroy(first), 0);
	/* of a store for reading several may be had */
	ck_assert_int_eq(cache_on(readable, 0, 0, 0, &first), 0);
	ck_assert_int_eq(cache_on(readable, 0, 0, 0, &second), 0);
	allow(readable, 0, 4, HMM_REGION_SHARED | HMM_REGION_READ_ONLY);
	refuse(store, 0, 4, HMM_REGION_SHARED);
	ck_assert_int_eq(hmm_cache_destroy(first), 0);
	ck_assert_int_eq(hmm_cache_destroy(second), 0);
}
END_TEST

/* What stores are one: by file, through filters; other stores by their handles. */
START_TEST(identity_is_the_file_or_the_handle)
{
	struct hmm_store *filter = NULL, *memory = NULL, *filter_of_memory = NULL, *other = NULL;
	struct hmm_region *first;

	ck_assert_int_eq(hmm_store_faulty(store, &filter), 0);
	first = map(filter, 0, 4, HMM_REGION_SHARED);
	refuse(again, 0, 4, HMM_REGION_SHARED);
	ck_assert_int_eq(hmm_region_unmap(first), 0);
	ck_assert_int_eq(hmm_store_memory(NPAGES * PAGE, &memory), 0);
	ck_assert_int_eq(hmm_store_memory(NPAGES * PAGE, &other), 0);
	ck_assert_int_eq(hmm_store_faulty(memory, &filter_of_memory), 0);
	first = map(memory, 0, 4, HMM_REGION_SHARED);
	refuse(filter_of_memory, 0, 4, HMM_REGION_SHARED);
	allow(other, 0, 4, HMM_REGION_SHARED);
	ck_assert_int_eq(hmm_region_unmap(first), 0);
	hmm_store_put(filter);
	hmm_store_put(filter_of_memory);
	hmm_store_put(memory);
	hmm_store_put(other);
}
END_TEST

START_TEST(those_who_know_may_share)
{
	uint32_t knowing = HMM_REGION_SHARED | HMM_REGION_INCOHERENT;
	struct hmm_region *first = map(store, 0, NPAGES, knowing), *second;
	struct hmm_cache *cache;
	char seen = 1;

	refuse(store, 0, 1, HMM_REGION_SHARED); /* both must say so */
	ck_assert_int_eq(cache_on(again, 0, 0, 0, &cache), -EBUSY);
	ck_assert_int_eq(cache_on(again, 0, 0, HMM_CACHE_INCOHERENT, &cache), 0);
	ck_assert_int_eq(map_in(other_space, again, 0, NPAGES, knowing, &second), 0);
	/* the way to work with it: one syncs, the other invalidates */
	ck_assert_int_eq(hmm_mock_read(second, hmm_region_base(second), &seen, 1), 0);
	ck_assert_int_eq(seen, 0);
	ck_assert_int_eq(hmm_mock_write(first, hmm_region_base(first), "n", 1), 0);
	ck_assert_int_eq(hmm_region_sync(first, hmm_region_base(first), PAGE, 0), 0);
	ck_assert_int_eq(hmm_mock_read(second, hmm_region_base(second), &seen, 1), 0);
	ck_assert_int_eq(seen, 0);
	ck_assert_int_eq(hmm_region_invalidate(second, hmm_region_base(second), PAGE, 0), 0);
	ck_assert_int_eq(hmm_mock_read(second, hmm_region_base(second), &seen, 1), 0);
	ck_assert_int_eq(seen, 'n');
	ck_assert_int_eq(hmm_region_unmap(second), 0);
	ck_assert_int_eq(hmm_cache_destroy(cache), 0);
	ck_assert_int_eq(hmm_region_unmap(first), 0);
	/* it means nothing where there is nothing to share */
	ck_assert_int_eq(map_in(space, store, 0, 4, HMM_REGION_INCOHERENT, &first), -EINVAL);
	ck_assert_int_eq(cache_on(NULL, 0, 0, HMM_CACHE_VOLATILE | HMM_CACHE_INCOHERENT, &cache), -EINVAL);
}
END_TEST

START_TEST(swap_store_serves_one_space)
{
	struct hmm_space_options so = { .size = sizeof(so), .backend = hmm_backend_mock(), .flags = HMM_SPACE_NO_RECLAIMER };
	struct hmm_space *first, *second = NULL;
	struct hmm_store *memory = NULL;
	struct hmm_region *region;

	ck_assert_int_eq(hmm_store_memory(1 << 24, &memory), 0);
	first = new_space(memory);
	so.swap = memory;
	ck_assert_int_eq(hmm_space_create(FRAMES, &so, &second), -EBUSY);
	ck_assert_ptr_null(second);
	refuse(memory, 100, 4, HMM_REGION_SHARED);
	hmm_space_destroy(first);
	region = map(memory, 100, 4, HMM_REGION_SHARED);
	ck_assert_int_eq(hmm_space_create(FRAMES, &so, &second), -EBUSY);
	ck_assert_int_eq(hmm_region_unmap(region), 0);
	second = new_space(memory);
	hmm_space_destroy(second);
	hmm_store_put(memory);
}
END_TEST

/* What fails to be made leaves no claim behind. */
START_TEST(failures_leave_no_claim)
{
	struct hmm_region *region;
	struct hmm_cache *cache;
	uint64_t nth = 0;
	unsigned kept = 0;
	int r;

	do {
		hmm__alloc_fail(++nth, 0);
		r = map_in(space, store, 0, NPAGES, HMM_REGION_SHARED, &region);
		hmm__alloc_fail(0, 0);
		ck_assert(r == 0 || r == -ENOMEM);
		if (!r)
			ck_assert_int_eq(hmm_region_unmap(region), 0);
		allow(again, 0, NPAGES, HMM_REGION_SHARED);
	} while (r);
	nth = 0;
	do {
		hmm__alloc_fail(++nth, 0);
		r = cache_on(store, 0, 0, 0, &cache);
		hmm__alloc_fail(0, 0);
		ck_assert(r == 0 || r == -ENOMEM);
		if (!r)
			ck_assert_int_eq(hmm_cache_destroy(cache), 0);
		allow(again, 0, NPAGES, HMM_REGION_SHARED);
	} while (r);
	/* a part whose release can't be noted stays claimed, and nothing else is wrong */
	for (nth = 1; nth < 8; nth++) {
		struct hmm_region *part;

		region = map(store, 0, 8, HMM_REGION_SHARED);
		hmm__alloc_fail(nth, 0);
		r = hmm_region_unmap_range(region, hmm_region_base(region), PAGE);
		hmm__alloc_fail(0, 0);
		ck_assert(r == 0 || r == -ENOMEM);
		r = r ? r : map_in(other_space, again, 0, 1, HMM_REGION_SHARED, &part);
		kept += r == -EBUSY;
		if (!r)
			ck_assert_int_eq(hmm_region_unmap(part), 0);
		refuse(again, 1, 7, HMM_REGION_SHARED);
		ck_assert_int_eq(hmm_region_unmap(region), 0);
		allow(again, 0, 8, HMM_REGION_SHARED);
	}
	ck_assert_uint_eq(kept, 1);
}
END_TEST

#define ROUNDS (TEST_TSAN ? 100 : 400)

static _Atomic unsigned holders, together, won;

static void *race(void *arg)
{
	struct hmm_space *in = arg;

	for (unsigned i = 0; i < ROUNDS; i++) {
		struct hmm_region *region;
		int r = map_in(in, in == space ? store : again, i % 4, 8, HMM_REGION_SHARED, &region);

		if (r) {
			together += r != -EBUSY;
			continue;
		}
		together += atomic_fetch_add(&holders, 1) != 0;
		won++;
		atomic_fetch_sub(&holders, 1);
		together += hmm_region_unmap(region) != 0;
	}
	return NULL;
}

START_TEST(of_two_at_once_one_gets_it)
{
	pthread_t thread;

	ck_assert_int_eq(pthread_create(&thread, NULL, race, other_space), 0);
	race(space);
	pthread_join(thread, NULL);
	ck_assert_uint_eq(together, 0);
	ck_assert_uint_gt(won, 0);
}
END_TEST

START_TEST(child_may_use_what_the_parent_has)
{
	struct hmm_region *first = map(store, 0, NPAGES, HMM_REGION_SHARED), *mine;
	struct hmm_cache *cache;
	int status;
	pid_t pid;

	ck_assert_int_eq(hmm_region_unmap_range(first, hmm_region_base(first), PAGE), 0);
	ck_assert_int_eq(cache_on(again, 0, 1, 0, &cache), 0);
	pid = fork();
	if (!pid) {
		/* shared regions and caches did not come along */
		struct hmm_space *own = new_space(NULL);
		int r = map_in(own, again, 0, NPAGES, HMM_REGION_SHARED, &mine);

		hmm_cache_abandon(cache);
		if (!r)
			r = map_in(own, again, 0, 1, HMM_REGION_SHARED, &first) == -EBUSY ? 0 : 1;
		_exit(r ? 1 : hmm_region_unmap(mine) != 0);
	}
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert_int_eq(status, 0);
	refuse(again, 1, 1, HMM_REGION_SHARED);
	ck_assert_int_eq(hmm_cache_destroy(cache), 0);
	ck_assert_int_eq(hmm_region_unmap(first), 0);
	allow(again, 0, NPAGES, HMM_REGION_SHARED);
}
END_TEST

/* --- invalidating pages of caches; regions: tests/conformance/invalidate.c --- */

static void others_write(uint64_t page, char byte)
{
	char bytes[PAGE];

	memset(bytes, byte, sizeof(bytes));
	ck_assert_int_eq(pwrite(fd, bytes, PAGE, (off_t)(page * PAGE)), PAGE);
}

static char byte_of(struct hmm_cache *cache, uint64_t page)
{
	char *data, byte;

	ck_assert_int_eq(hmm_cache_get(cache, page, HMM_CACHE_READ, (void **)&data), 0);
	byte = data[17];
	ck_assert_int_eq(hmm_cache_put(cache, page, HMM_CACHE_READ, 0), 0);
	return byte;
}

START_TEST(invalidated_pages_are_read_anew)
{
	struct hmm_cache *cache;
	struct hmm_cache_version version;
	const void *seen;
	char *data;

	ck_assert_int_eq(cache_on(store, 0, 0, 0, &cache), 0);
	for (uint64_t i = 0; i < 8; i++)
		ck_assert_int_eq(byte_of(cache, i), 0);
	for (uint64_t i = 0; i < 8; i++)
		others_write(i, 'n');
	ck_assert_int_eq(byte_of(cache, 3), 0);
	ck_assert_int_eq(hmm_cache_read_begin(cache, 3, &seen, &version), 0);
	ck_assert_int_eq(hmm_cache_invalidate(cache, 2, 2, 0), 0);
	ck_assert_int_ne(hmm_cache_read_retry(cache, &version), 0);
	ck_assert_int_eq(byte_of(cache, 1), 0);
	ck_assert_int_eq(byte_of(cache, 2), 'n');
	ck_assert_int_eq(byte_of(cache, 3), 'n');
	ck_assert_int_eq(byte_of(cache, 4), 0);
	/* pinned, or dirty: nothing is dropped */
	ck_assert_int_eq(hmm_cache_get(cache, 5, HMM_CACHE_WRITE, (void **)&data), 0);
	ck_assert_int_eq(hmm_cache_invalidate(cache, 0, 0, HMM_INVALIDATE_DIRTY), -EBUSY);
	data[17] = 'd';
	ck_assert_int_eq(hmm_cache_put(cache, 5, HMM_CACHE_WRITE | HMM_CACHE_DIRTY, 0), 0);
	ck_assert_int_eq(hmm_cache_invalidate(cache, 0, 0, 0), -EBUSY);
	ck_assert_int_eq(byte_of(cache, 4), 0);
	ck_assert_int_eq(byte_of(cache, 5), 'd');
	ck_assert_int_eq(hmm_cache_invalidate(cache, 0, 5, 0), 0);
	ck_assert_int_eq(byte_of(cache, 4), 'n');
	ck_assert_int_eq(hmm_cache_invalidate(cache, 0, 0, HMM_INVALIDATE_DIRTY), 0);
	ck_assert_int_eq(byte_of(cache, 5), 'n');
	/* the end moves */
	ck_assert_int_eq(hmm_cache_get(cache, NPAGES, HMM_CACHE_READ, (void **)&data), -ENXIO);
	others_write(NPAGES, 'e');
	ck_assert_int_eq(byte_of(cache, NPAGES), 'e');
	ck_assert_int_eq(ftruncate(fd, 2 * PAGE), 0);
	ck_assert_int_eq(byte_of(cache, NPAGES), 'e');
	ck_assert_int_eq(hmm_cache_invalidate(cache, 0, 0, 0), 0);
	ck_assert_int_eq(hmm_cache_get(cache, NPAGES, HMM_CACHE_READ, (void **)&data), -ENXIO);
	ck_assert_int_eq(hmm_cache_invalidate(cache, UINT64_C(1) << 32, 1, 0), -ERANGE);
	ck_assert_int_eq(hmm_cache_invalidate(cache, 0, 1, 2), -EINVAL);
	ck_assert_int_eq(hmm_cache_invalidate(NULL, 0, 1, 0), -EINVAL);
	ck_assert_int_eq(hmm_cache_destroy(cache), 0);
	ck_assert_int_eq(cache_on(NULL, 0, 0, HMM_CACHE_VOLATILE, &cache), 0);
	ck_assert_int_eq(hmm_cache_invalidate(cache, 0, 1, 0), -EINVAL);
	ck_assert_int_eq(hmm_cache_destroy(cache), 0);
}
END_TEST

static Suite *suite(void)
{
	Suite *s = suite_create("claims");
	TCase *t = tcase_create("claims");

	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_test(t, writers_of_the_same_bytes_are_refused);
	tcase_add_test(t, readers_share_until_one_wants_to_write);
	tcase_add_test(t, parts_that_are_unmapped_are_let_go);
	tcase_add_test(t, caches_have_their_bytes_to_themselves);
	tcase_add_test(t, identity_is_the_file_or_the_handle);
	tcase_add_test(t, those_who_know_may_share);
	tcase_add_test(t, swap_store_serves_one_space);
	tcase_add_test(t, failures_leave_no_claim);
	tcase_add_test(t, of_two_at_once_one_gets_it);
	tcase_add_test(t, child_may_use_what_the_parent_has);
	tcase_add_test(t, invalidated_pages_are_read_anew);
	suite_add_tcase(s, t);
	return s;
}

HMM_TEST_MAIN(suite)
