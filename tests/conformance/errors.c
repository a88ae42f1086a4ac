/* SPDX-License-Identifier: MIT */
/*
 * errors.c - wrong arguments: the precise -errno, and nothing changed
 */
#include "tests/conformance/conformance.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/* Nothing may change through a call that was refused. */
static void unchanged(struct world *w, const struct hmm_stats *before)
{
	struct hmm_stats after = world_stats(w);

	ck_assert_uint_eq(after.frames, before->frames);
	ck_assert_uint_eq(after.resident, before->resident);
	ck_assert_uint_eq(after.dirty, before->dirty);
	ck_assert_uint_eq(after.pinned, before->pinned);
	ck_assert_uint_eq(after.swap_bytes, before->swap_bytes);
	ck_assert_uint_eq(after.discards, before->discards);
	ck_assert_uint_eq(after.write_outs, before->write_outs);
}

static void base_options(struct world *w, struct hmm_space_options *opts)
{
	*opts = (struct hmm_space_options){ .size = sizeof(*opts) };
	if (world_is_mock(w)) {
		opts->backend = hmm_backend_mock();
		opts->backend_arg = w->mock;
	}
}

static int create(uint64_t frames, const struct hmm_space_options *opts)
{
	struct hmm_space *space = NULL;
	int r = hmm_space_create(frames, opts, &space);

	if (r == 0)
		hmm_space_destroy(space);
	else
		ck_assert_ptr_null(space);
	return r;
}

START_TEST(space_create_checks_its_arguments)
{
	struct {
		struct hmm_space_options opts;
		uint64_t tail;
	} longer;
	struct hmm_space_options opts;
	struct world w;

	OPEN(&w);
	base_options(&w, &opts);
	ck_assert_int_eq(create(64, &opts), 0);
	ck_assert_int_eq(create(0, &opts), -EINVAL);
	ck_assert_int_eq(create(HMM_FRAMES_MIN - 1, &opts), -EINVAL);
	ck_assert_int_eq(create(HMM_FRAMES_MIN, &opts), 0);
	opts.max_frames = 63;
	ck_assert_int_eq(create(64, &opts), -EINVAL);
	opts.max_frames = 64;
	ck_assert_int_eq(create(64, &opts), 0);
	base_options(&w, &opts);
	opts.low_water = 20;
	opts.high_water = 10;
	ck_assert_int_eq(create(64, &opts), -EINVAL);
	base_options(&w, &opts);
	opts.policy = "no-such-policy";
	ck_assert_int_eq(create(64, &opts), -EINVAL);
	opts.policy = "clock:no-such-parameter=1";
	ck_assert_int_eq(create(64, &opts), -EINVAL);
	base_options(&w, &opts);
	opts.flags = UINT32_C(1) << 30;
	ck_assert_int_eq(create(64, &opts), -EINVAL);
	base_options(&w, &opts);
	opts.batch = 257;
	ck_assert_int_eq(create(64, &opts), -EINVAL);
	base_options(&w, &opts);
	opts.engine = 17;
	ck_assert_int_eq(create(64, &opts), -EINVAL);
	base_options(&w, &opts);
	opts.rescue = 17;
	ck_assert_int_eq(create(64, &opts), -EINVAL);
	base_options(&w, &opts);
	opts.size = 0;
	ck_assert_int_eq(create(64, &opts), -EINVAL);
	memset(&longer, 0, sizeof(longer));
	base_options(&w, &longer.opts);
	longer.opts.size = sizeof(longer);
	ck_assert_int_eq(create(64, &longer.opts), 0);
	longer.tail = 1;
	ck_assert_int_eq(create(64, &longer.opts), -E2BIG);
	world_close(&w);
}
END_TEST

static int map(struct world *w, struct hmm_store *store, uint64_t offset, size_t length,
               const struct hmm_region_options *opts)
{
	struct hmm_region *region = NULL;
	int r = hmm_region_map(w->space, store, offset, length, opts, &region);

	if (r == 0)
		ck_assert_int_eq(hmm_region_unmap(region), 0);
	else
		ck_assert_ptr_null(region);
	return r;
}

START_TEST(region_map_checks_its_arguments)
{
	struct hmm_region_options opts = { .size = sizeof(opts) }, plain;
	struct {
		struct hmm_region_options opts;
		uint64_t tail;
	} longer;
	struct hmm_store *memory;
	struct hmm_stats before;
	struct world w;

	OPEN(&w);
	before = world_stats(&w);
	opts.delivery = world_delivery(w.backend);
	plain = opts;
	ck_assert_int_eq(hmm_store_memory(1 << 20, &memory), 0);
	ck_assert_int_eq(map(&w, NULL, 0, 4 * w.page, &opts), 0);
	ck_assert_int_eq(map(&w, NULL, 0, 0, &opts), -EINVAL);
	ck_assert_int_eq(map(&w, NULL, 0, w.page + 1, &opts), -EINVAL);
	ck_assert_int_eq(map(&w, NULL, w.page, w.page, &opts), -EINVAL);
	ck_assert_int_eq(map(&w, memory, w.page, w.page, &opts), 0);
	ck_assert_int_eq(map(&w, memory, 12, w.page, &opts), -EINVAL);
	opts.page_shift = 11;
	ck_assert_int_eq(map(&w, NULL, 0, 4 * w.page, &opts), -EINVAL);
	opts.page_shift = 22;
	ck_assert_int_eq(map(&w, NULL, 0, (size_t)1 << 22, &opts), -EINVAL);
	opts.page_shift = 16; /* 16 frames, of 64 */
	ck_assert_int_eq(map(&w, NULL, 0, (size_t)1 << 20, &opts), -EINVAL);
	opts.page_shift = 14;
	ck_assert_int_eq(map(&w, NULL, 0, (size_t)1 << 20, &opts), 0);
	ck_assert_int_eq(map(&w, NULL, 0, ((size_t)1 << 20) + 4096, &opts), -EINVAL);
	ck_assert_int_eq(map(&w, memory, 4096, (size_t)1 << 14, &opts), -EINVAL);
	opts = plain;
	opts.flags = UINT32_C(1) << 30;
	ck_assert_int_eq(map(&w, NULL, 0, w.page, &opts), -EINVAL);
	opts = plain;
	opts.flags = HMM_REGION_FIXED;
	opts.address = (void *)(uintptr_t)0x7654321;
	ck_assert_int_eq(map(&w, NULL, 0, w.page, &opts), -EINVAL);
	opts = plain;
	opts.delivery = 9;
	ck_assert_int_eq(map(&w, NULL, 0, w.page, &opts), -EINVAL);
	opts = plain;
	opts.size = 0;
	ck_assert_int_eq(map(&w, NULL, 0, w.page, &opts), -EINVAL);
	memset(&longer, 0, sizeof(longer));
	longer.opts = plain;
	longer.opts.size = sizeof(longer);
	ck_assert_int_eq(map(&w, NULL, 0, w.page, &longer.opts), 0);
	longer.tail = 1;
	ck_assert_int_eq(map(&w, NULL, 0, w.page, &longer.opts), -E2BIG);
	unchanged(&w, &before);
	hmm_store_put(memory);
	world_close(&w);
}
END_TEST

START_TEST(shared_mapping_of_a_read_only_file_is_refused)
{
	struct hmm_region_options opts = { .size = sizeof(opts), .flags = HMM_REGION_SHARED };
	struct hmm_store *store;
	struct world w;
	int fd = open("/proc/self/exe", O_RDONLY);

	OPEN(&w);
	opts.delivery = world_delivery(w.backend);
	ck_assert_int_eq(hmm_store_file(fd, 0, &store), 0);
	close(fd);
	ck_assert_int_eq(map(&w, store, 0, w.page, &opts), -EBADF);
	opts.flags = 0;
	ck_assert_int_eq(map(&w, store, 0, w.page, &opts), 0);
	hmm_store_put(store);
	world_close(&w);
}
END_TEST

START_TEST(region_calls_check_their_ranges)
{
	struct hmm_stats before;
	struct world w;
	struct world_map m;
	uint8_t vec[8], *past;
	size_t p;

	OPEN(&w);
	world_map(&w, &m, 16 * w.page, NULL);
	for (size_t i = 0; i < 16; i++)
		world_put(&w, &m, i, 4);
	p = m.page;
	past = m.base + m.length;
	before = world_stats(&w);
	ck_assert_int_eq(hmm_region_advise(m.region, m.base + 1, p, HMM_ADVISE_DONTNEED), -EINVAL);
	ck_assert_int_eq(hmm_region_advise(m.region, m.base, p + 1, HMM_ADVISE_DONTNEED), -EINVAL);
	ck_assert_int_eq(hmm_region_advise(m.region, m.base, p, (enum hmm_advice)99), -EINVAL);
	ck_assert_int_eq(hmm_region_advise(m.region, past, p, HMM_ADVISE_DONTNEED), -ENOMEM);
	ck_assert_int_eq(hmm_region_advise(m.region, past - p, 2 * p, HMM_ADVISE_DONTNEED), -ENOMEM);
	ck_assert_int_eq(hmm_region_advise(m.region, m.base - p, 2 * p, HMM_ADVISE_DONTNEED), -ENOMEM);
	ck_assert_int_eq(hmm_region_advise(m.region, m.base, SIZE_MAX - p + 1, HMM_ADVISE_DONTNEED), -ENOMEM);
	ck_assert_int_eq(hmm_region_protect(m.region, m.base, p, PROT_EXEC), -EINVAL);
	ck_assert_int_eq(hmm_region_protect(m.region, m.base, p, PROT_NONE), -EINVAL);
	ck_assert_int_eq(hmm_region_protect(m.region, m.base, p, PROT_WRITE), -EINVAL);
	ck_assert_int_eq(hmm_region_protect(m.region, m.base + 3, p, PROT_READ), -EINVAL);
	ck_assert_int_lt(hmm_region_protect(m.region, past, p, PROT_READ), 0);
	ck_assert_int_eq(hmm_region_sync(m.region, m.base, p, 1u << 20), -EINVAL);
	ck_assert_int_lt(hmm_region_sync(m.region, past, p, 0), 0);
	ck_assert_int_eq(hmm_region_lock(m.region, past, p), -ENOMEM);
	ck_assert_int_eq(hmm_region_unlock(m.region, past, p), -ENOMEM);
	ck_assert_int_eq(hmm_region_pin(m.region, past, p, 0), -ENOMEM);
	ck_assert_int_eq(hmm_region_pin(m.region, m.base + 1, p, 0), -EINVAL);
	ck_assert_int_eq(hmm_region_unpin(m.region, m.base, p), -EINVAL); /* never pinned */
	ck_assert_int_eq(hmm_region_residency(m.region, past - p, 2 * p, vec), -ENOMEM);
	ck_assert_int_eq(hmm_region_residency(m.region, m.base + 1, p, vec), -EINVAL);
	ck_assert_int_eq(hmm_region_unmap_range(m.region, m.base + 1, p), -EINVAL);
	ck_assert_int_lt(hmm_region_unmap_range(m.region, past, p), 0);
	ck_assert_int_lt(hmm_region_hint(m.region, past, p, HMM_HINT_PRIORITY, 1), 0);
	ck_assert_int_eq(hmm_region_hint(m.region, m.base, p, HMM_HINT_PRIORITY, 1), 0);
	unchanged(&w, &before);
	for (size_t i = 0; i < 16; i++)
		world_check(&w, &m, i, 4);
	world_unmap(&w, &m);
	world_close(&w);
}
END_TEST

START_TEST(stats_take_an_older_callers_size)
{
	struct hmm_stats s = { .size = 0 };
	struct world w;

	OPEN(&w);
	ck_assert_int_eq(hmm_space_stats(w.space, &s), -EINVAL);
	memset(&s, 0xff, sizeof(s));
	s.size = offsetof(struct hmm_stats, peak_held);
	ck_assert_int_eq(hmm_space_stats(w.space, &s), 0);
	ck_assert_uint_eq(s.frames, FRAMES);
	ck_assert_uint_eq(s.peak_held, UINT64_MAX);
	world_close(&w);
}
END_TEST

START_TEST(null_is_accepted_by_destructors)
{
	hmm_space_destroy(NULL);
	hmm_region_abandon(NULL);
	hmm_store_put(NULL);
	ck_assert_int_eq(hmm_region_unmap(NULL), 0);
}
END_TEST

void add_error_tests(TCase *t, int i)
{
	tcase_add_loop_test(t, space_create_checks_its_arguments, i, i + 1);
	tcase_add_loop_test(t, region_map_checks_its_arguments, i, i + 1);
	tcase_add_loop_test(t, shared_mapping_of_a_read_only_file_is_refused, i, i + 1);
	tcase_add_loop_test(t, region_calls_check_their_ranges, i, i + 1);
	tcase_add_loop_test(t, stats_take_an_older_callers_size, i, i + 1);
	tcase_add_loop_test(t, null_is_accepted_by_destructors, i, i + 1);
}
