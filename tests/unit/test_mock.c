/* SPDX-License-Identifier: MIT */
/*
 * test_mock.c - the mock backend by its table of operations, as the heart uses it
 */
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <hurd-mm/mock.h>

#include "lib/base/lock.h"
#include "lib/mem/mock.h"
#include "tests/harness.h"

#define CAPACITY 64
#define NSLOTS 16
#define NPAGES 32

static const struct hmm_backend_ops *ops;
static struct hmm_mock *mock;
static void *backend;
static uint32_t caps;
static uint8_t *window, *range;
static size_t page;

/* What the fault callback saw, and what it answers. */
static _Atomic unsigned traps;
static uintptr_t trap_address;
static enum hmm_fault_access trap_access;
static int (*on_trap)(uintptr_t address, enum hmm_fault_access access);
static int64_t pressed;

static int fault(void *arg, uintptr_t address, enum hmm_fault_access access)
{
	ck_assert_ptr_eq(arg, &traps);
	atomic_fetch_add(&traps, 1);
	trap_address = address;
	trap_access = access;
	return on_trap ? on_trap(address, access) : -ENOENT;
}

static void pressure(void *arg, int64_t frames)
{
	ck_assert_ptr_eq(arg, &traps);
	pressed += frames;
}

static void open_with(const struct hmm_mock_options *opts, uint32_t engine, uint32_t delivery)
{
	struct hmm_backend_config config = {
		.size = sizeof(config),
		.delivery = delivery,
		.engine = engine,
		.capacity = CAPACITY,
		.arg = &traps,
		.fault = fault,
		.pressure = pressure,
	};
	sigset_t saved;
	void *base;

	page = hmm_page_size();
	ops = hmm_backend_mock();
	ck_assert_int_eq(hmm_mock_create(opts, &mock), 0);
	config.backend_arg = mock;
	ck_assert_int_eq(ops->open(&config, &backend, &caps), 0);
	hmm__signals_block(&saved);
	ck_assert_int_eq(ops->frames_take(backend, CAPACITY / 2), CAPACITY / 2);
	ck_assert_int_eq(ops->window(backend, (unsigned)__builtin_ctzl(page), NSLOTS, &base), 0);
	window = base;
	ck_assert_int_eq(ops->attach(backend, NULL, NPAGES * page, (unsigned)__builtin_ctzl(page),
	                             PROT_READ | PROT_WRITE, 0, &base), 0);
	range = base;
}

static void setup(void)
{
	open_with(NULL, HMM_ENGINE_AUTO, HMM_DELIVERY_INLINE);
}

/* After a test that misused nothing. */
static void teardown(void)
{
	const char *text;

	ck_assert_uint_eq(hmm_mock_misuses(mock, &text), 0);
	ck_assert_ptr_null(text);
	ops->close(backend);
	ck_assert_uint_eq(hmm_mock_misuses(mock, &text), 0);
	ck_assert_uint_eq(hmm_mock_frames(mock, NULL), 0);
	hmm_mock_destroy(mock);
}

/* After one that did: exactly once, with this text. */
static void expect_misuse(const char *expected)
{
	const char *text;

	ck_assert_uint_eq(hmm_mock_misuses(mock, &text), 1);
	ck_assert_str_eq(text, expected);
	ops->close(backend);
	hmm_mock_destroy(mock);
}

static uint8_t *slot(unsigned i)
{
	return window + i * page;
}

static uint8_t *at(unsigned i)
{
	return range + i * page;
}

static void fill(unsigned i, unsigned n)
{
	ck_assert_int_eq(ops->fill(backend, slot(i), n * page), 0);
}

static int map(unsigned to, unsigned from, unsigned n, uint32_t flags, size_t *ret_done)
{
	struct hmm_map m = { .address = at(to), .slot = slot(from), .length = n * page, .flags = flags, .error = 1 };
	int r = ops->map(backend, &m, 1);

	ck_assert_int_eq(r, m.error);
	*ret_done = m.done / page;
	return r;
}

static int unmap(unsigned from, unsigned to, unsigned n, uint32_t flags, size_t *ret_done)
{
	struct hmm_unmap u = { .address = at(from), .slot = flags ? slot(to) : NULL, .length = n * page,
	                       .flags = flags, .error = 1 };
	int r = ops->unmap(backend, &u, 1);

	ck_assert_int_eq(r, u.error);
	*ret_done = u.done / page;
	return r;
}

static uint8_t byte_at(unsigned i)
{
	uint8_t byte;

	ck_assert_int_eq(hmm__mock_access((uintptr_t)at(i), &byte, 1, false), 0);
	return byte;
}

static int write_at(unsigned i, uint8_t byte)
{
	return hmm__mock_access((uintptr_t)at(i), &byte, 1, true);
}

START_TEST(grant_moves_frame_and_contents_out_and_back)
{
	size_t done;

	fill(3, 2);
	ck_assert_uint_eq(hmm_mock_frames(mock, NULL), 2);
	memset(slot(3), 1, page);
	memset(slot(4), 2, page);
	ck_assert_int_eq(map(7, 3, 2, HMM_MAP_GRANT, &done), 0);
	ck_assert_uint_eq(done, 2);
	ck_assert_uint_eq(hmm_mock_frames(mock, NULL), 2);
	ck_assert_uint_eq(byte_at(7), 1);
	ck_assert_uint_eq(byte_at(8), 2);
	ck_assert_int_eq(write_at(8, 9), 0);
	ck_assert_int_eq(unmap(7, 10, 2, HMM_UNMAP_GRANT, &done), 0);
	ck_assert_uint_eq(hmm_mock_frames(mock, NULL), 2);
	ck_assert_uint_eq(slot(10)[0], 1);
	ck_assert_uint_eq(slot(11)[0], 9);
	ck_assert_uint_eq(slot(11)[1], 2);
}
END_TEST

START_TEST(copy_takes_a_frame_and_leaves_the_slot_populated)
{
	size_t done;

	fill(0, 1);
	memset(slot(0), 5, page);
	ck_assert_int_eq(map(0, 0, 1, 0, &done), 0);
	ck_assert_uint_eq(hmm_mock_frames(mock, NULL), 2);
	ck_assert_uint_eq(byte_at(0), 5);
	ck_assert_int_eq(write_at(0, 6), 0);
	ck_assert_uint_eq(slot(0)[0], 5);
	ck_assert_int_eq(unmap(0, 0, 1, HMM_UNMAP_COPY | HMM_UNMAP_PEEK, &done), 0);
	ck_assert_uint_eq(slot(0)[0], 6);
	ck_assert_uint_eq(byte_at(0), 6);
	ck_assert_uint_eq(hmm_mock_frames(mock, NULL), 2);
	slot(0)[0] = 0;
	ck_assert_int_eq(unmap(0, 0, 1, HMM_UNMAP_COPY, &done), 0);
	ck_assert_uint_eq(slot(0)[0], 6);
	ck_assert_uint_eq(hmm_mock_frames(mock, NULL), 1);
}
END_TEST

START_TEST(zero_map_takes_a_frame_and_reads_zeros)
{
	size_t done;

	ck_assert_int_eq(map(0, 0, 3, HMM_MAP_ZERO, &done), 0);
	ck_assert_uint_eq(hmm_mock_frames(mock, NULL), 3);
	ck_assert_uint_eq(byte_at(2), 0);
	ck_assert_int_eq(write_at(2, 7), 0);
	ck_assert_int_eq(unmap(0, 0, 3, 0, &done), 0);
	ck_assert_uint_eq(hmm_mock_frames(mock, NULL), 0);
	ck_assert_int_eq(map(2, 0, 1, HMM_MAP_ZERO, &done), 0);
	ck_assert_uint_eq(byte_at(2), 0);
}
END_TEST

START_TEST(map_stops_at_a_mapped_page_and_says_how_far_it_got)
{
	size_t done;

	ck_assert_int_eq(map(2, 0, 1, HMM_MAP_ZERO, &done), 0);
	ck_assert_int_eq(map(0, 0, 4, HMM_MAP_ZERO, &done), -EEXIST);
	ck_assert_uint_eq(done, 2);
	fill(0, 4);
	ck_assert_int_eq(map(1, 0, 1, HMM_MAP_GRANT, &done), -EEXIST);
	ck_assert_uint_eq(done, 0);
	ck_assert_int_eq(map(3, 0, 4, HMM_MAP_GRANT, &done), 0);
	ck_assert_uint_eq(hmm_mock_frames(mock, NULL), 7);
}
END_TEST

START_TEST(map_tells_each_entry_its_own_error)
{
	struct hmm_map maps[3] = {
		{ .address = at(0), .length = page, .flags = HMM_MAP_ZERO },
		{ .address = at(0), .length = page, .flags = HMM_MAP_ZERO },
		{ .address = at(1), .length = page, .flags = HMM_MAP_ZERO },
	};

	ck_assert_int_eq(ops->map(backend, maps, 3), -EEXIST);
	ck_assert_int_eq(maps[0].error, 0);
	ck_assert_int_eq(maps[1].error, -EEXIST);
	ck_assert_int_eq(maps[2].error, 0);
	ck_assert_uint_eq(hmm_mock_frames(mock, NULL), 2);
}
END_TEST

START_TEST(unmap_of_an_absent_page_is_refused)
{
	size_t done;

	ck_assert_int_eq(map(0, 0, 1, HMM_MAP_ZERO, &done), 0);
	ck_assert_int_eq(unmap(0, 0, 2, HMM_UNMAP_GRANT, &done), -ENOENT);
	ck_assert_uint_eq(done, 1);
	ck_assert_int_eq(unmap(5, 0, 1, 0, &done), -ENOENT);
	ck_assert_uint_eq(hmm_mock_frames(mock, NULL), 1);
}
END_TEST

static int lift(uintptr_t address, enum hmm_fault_access access)
{
	struct hmm_span span = { .address = (void *)(address & ~(page - 1)), .length = page };

	ck_assert_int_eq(access, HMM_FAULT_WRITE);
	return ops->write_protect(backend, &span, 1, 0);
}

START_TEST(first_write_to_a_protected_page_traps_once)
{
	struct hmm_span span = { .address = at(0), .length = 2 * page };
	size_t done;

	ck_assert_int_eq(map(0, 0, 2, HMM_MAP_ZERO | HMM_MAP_PROTECT, &done), 0);
	on_trap = lift;
	ck_assert_uint_eq(byte_at(1), 0);
	ck_assert_uint_eq(traps, 0);
	ck_assert_int_eq(write_at(1, 4), 0);
	ck_assert_uint_eq(traps, 1);
	ck_assert_uint_eq(trap_address, (uintptr_t)at(1));
	ck_assert_int_eq(write_at(1, 5), 0);
	ck_assert_uint_eq(traps, 1);
	ck_assert_int_eq(ops->write_protect(backend, &span, 1, 1), 0);
	ck_assert_int_eq(write_at(1, 6), 0);
	ck_assert_uint_eq(traps, 2);
	ck_assert_uint_eq(byte_at(1), 6);
}
END_TEST

static int map_zero(uintptr_t address, enum hmm_fault_access access)
{
	struct hmm_map m = { .address = (void *)(address & ~(page - 1)), .length = page, .flags = HMM_MAP_ZERO };
	sigset_t now;

	(void)access;
	pthread_sigmask(SIG_BLOCK, NULL, &now);
	ck_assert_int_eq(sigismember(&now, SIGALRM), 1);
	return ops->map(backend, &m, 1);
}

START_TEST(access_across_pages_traps_for_each)
{
	uint8_t out[3 * 4096], in[3 * 4096];
	size_t i;

	on_trap = map_zero;
	for (i = 0; i < sizeof(out); i++)
		out[i] = (uint8_t)(i * 7);
	ck_assert_int_eq(hmm__mock_access((uintptr_t)at(4) + 100, out, sizeof(out), true), 0);
	ck_assert_uint_eq(traps, 1 + (sizeof(out) + 99) / page);
	ck_assert_int_eq(hmm__mock_access((uintptr_t)at(4) + 100, in, sizeof(in), false), 0);
	ck_assert_int_eq(memcmp(in, out, sizeof(in)), 0);
}
END_TEST

static int refuse(uintptr_t address, enum hmm_fault_access access)
{
	(void)address;
	(void)access;
	return -EIO;
}

START_TEST(access_gets_what_the_fault_says)
{
	uint8_t byte;

	on_trap = refuse;
	ck_assert_int_eq(write_at(3, 1), -EIO);
	ck_assert_int_eq(hmm__mock_access((uintptr_t)at(NPAGES), &byte, 1, false), -ENOENT);
	ck_assert_int_eq(hmm__mock_access((uintptr_t)at(NPAGES) - 1, &byte, 2, false), -EIO);
}
END_TEST

START_TEST(protection_allows_reads_and_refuses_writes)
{
	size_t done;

	ck_assert_int_eq(map(0, 0, 4, HMM_MAP_ZERO, &done), 0);
	ck_assert_int_eq(ops->protect(backend, at(1), 2 * page, PROT_READ), 0);
	ck_assert_int_eq(write_at(0, 1), 0);
	ck_assert_int_eq(write_at(1, 1), -EACCES);
	ck_assert_int_eq(write_at(2, 1), -EACCES);
	ck_assert_int_eq(write_at(3, 1), 0);
	ck_assert_uint_eq(byte_at(1), 0);
	ck_assert_int_eq(unmap(1, 0, 1, HMM_UNMAP_GRANT, &done), 0);
	ck_assert_int_eq(map(1, 0, 1, HMM_MAP_GRANT, &done), 0);
	ck_assert_int_eq(write_at(1, 1), -EACCES);
	ck_assert_int_eq(ops->protect(backend, at(0), NPAGES * page, PROT_READ | PROT_WRITE), 0);
	ck_assert_int_eq(write_at(1, 1), 0);
}
END_TEST

START_TEST(harvest_reports_and_clears_reference_bits)
{
	uint8_t bits[4];
	size_t done;

	ck_assert_int_eq(map(0, 0, 2, HMM_MAP_ZERO, &done), 0);
	ck_assert_int_eq(map(2, 0, 1, HMM_MAP_ZERO | HMM_MAP_PROTECT, &done), 0);
	byte_at(1);
	byte_at(2);
	ck_assert_int_eq(ops->harvest(backend, range, 4, bits), 0);
	ck_assert_uint_eq(bits[0], HMM_HARVEST_PRESENT | HMM_HARVEST_WRITABLE);
	ck_assert_uint_eq(bits[1], HMM_HARVEST_PRESENT | HMM_HARVEST_WRITABLE | HMM_HARVEST_REFERENCED);
	ck_assert_uint_eq(bits[2], HMM_HARVEST_PRESENT | HMM_HARVEST_REFERENCED);
	ck_assert_uint_eq(bits[3], 0);
	ck_assert_int_eq(ops->harvest(backend, range, 4, bits), 0);
	ck_assert_uint_eq(bits[1], HMM_HARVEST_PRESENT | HMM_HARVEST_WRITABLE);
}
END_TEST

START_TEST(poisoned_pages_fail_without_a_trap)
{
	size_t done;

	ck_assert_int_eq(ops->poison(backend, at(2), page, 1), 0);
	ck_assert_int_eq(write_at(2, 1), -EIO);
	ck_assert_uint_eq(traps, 0);
	ck_assert_int_eq(map(2, 0, 1, HMM_MAP_ZERO, &done), -EEXIST);
	ck_assert_int_eq(ops->poison(backend, at(2), page, 0), 0);
	ck_assert_int_eq(map(2, 0, 1, HMM_MAP_ZERO, &done), 0);
	ck_assert_int_eq(write_at(2, 1), 0);
}
END_TEST

START_TEST(partial_detach_frees_frames_and_leaves_both_sides)
{
	uint8_t byte;
	size_t done;

	ck_assert_int_eq(map(0, 0, 8, HMM_MAP_ZERO, &done), 0);
	ck_assert_int_eq(ops->detach(backend, at(2), 3 * page), 0);
	ck_assert_uint_eq(hmm_mock_frames(mock, NULL), 5);
	ck_assert_int_eq(write_at(1, 1), 0);
	ck_assert_int_eq(write_at(5, 1), 0);
	ck_assert_int_eq(hmm__mock_access((uintptr_t)at(2), &byte, 1, false), -ENOENT);
	ck_assert_int_eq(hmm__mock_access((uintptr_t)at(4), &byte, 1, false), -ENOENT);
	ck_assert_int_eq(ops->detach(backend, at(0), 2 * page), 0);
	ck_assert_int_eq(ops->detach(backend, at(NPAGES - 1), page), 0);
	ck_assert_int_eq(hmm__mock_access((uintptr_t)at(1), &byte, 1, false), -ENOENT);
	ck_assert_uint_eq(byte_at(6), 0);
	ck_assert_int_eq(ops->detach(backend, at(5), (NPAGES - 6) * page), 0);
	ck_assert_int_eq(hmm__mock_access((uintptr_t)at(6), &byte, 1, false), -ENOENT);
	ck_assert_uint_eq(hmm_mock_frames(mock, NULL), 0);
}
END_TEST

START_TEST(fixed_attach_refuses_taken_addresses)
{
	unsigned shift = (unsigned)__builtin_ctzl(page);
	void *base;

	ck_assert_int_eq(ops->attach(backend, at(1), page, shift, PROT_READ, HMM_ATTACH_FIXED, &base), -EEXIST);
	ck_assert_int_eq(ops->detach(backend, at(4), 4 * page), 0);
	ck_assert_int_eq(ops->attach(backend, at(5), page, shift, PROT_READ, HMM_ATTACH_FIXED, &base), 0);
	ck_assert_ptr_eq(base, at(5));
	on_trap = map_zero;
	ck_assert_uint_eq(byte_at(5), 0);
	ck_assert_int_eq(write_at(5, 1), -EACCES);
	ck_assert_int_eq(ops->detach(backend, at(5), page), 0);
}
END_TEST

START_TEST(large_pages_count_all_their_frames)
{
	struct hmm_map m;
	struct hmm_unmap u;
	void *base, *w;
	uint8_t byte = 3;

	ck_assert_int_eq(ops->window(backend, 16, 2, &w), 0);
	ck_assert_int_eq(ops->attach(backend, NULL, 4 << 16, 16, PROT_READ | PROT_WRITE, 0, &base), 0);
	ck_assert_uint_eq((uintptr_t)base % (1 << 16), 0);
	ck_assert_int_eq(ops->fill(backend, w, 1 << 16), 0);
	ck_assert_uint_eq(hmm_mock_frames(mock, NULL), (1 << 16) / page);
	memset(w, 8, 1 << 16);
	m = (struct hmm_map){ .address = (uint8_t *)base + (1 << 16), .slot = w, .length = 1 << 16,
	                      .flags = HMM_MAP_GRANT };
	ck_assert_int_eq(ops->map(backend, &m, 1), 0);
	ck_assert_int_eq(hmm__mock_access((uintptr_t)base + (2 << 16) - 1, &byte, 1, false), 0);
	ck_assert_uint_eq(byte, 8);
	ck_assert_uint_eq(hmm_mock_frames(mock, NULL), (1 << 16) / page);
	u = (struct hmm_unmap){ .address = m.address, .length = 1 << 16 };
	ck_assert_int_eq(ops->unmap(backend, &u, 1), 0);
	ck_assert_uint_eq(hmm_mock_frames(mock, NULL), 0);
}
END_TEST

#define HUGE_SHIFT (TEST_TSAN ? 38 : 40)

START_TEST(huge_range_costs_only_what_is_touched)
{
	unsigned shift = (unsigned)__builtin_ctzl(page);
	size_t length = (size_t)1 << HUGE_SHIFT;
	struct hmm_map m;
	void *base;
	uint8_t byte = 1;

	ck_assert_int_eq(ops->attach(backend, NULL, length, shift, PROT_READ | PROT_WRITE, 0, &base), 0);
	m = (struct hmm_map){ .address = (uint8_t *)base + length - page, .length = page, .flags = HMM_MAP_ZERO };
	ck_assert_int_eq(ops->map(backend, &m, 1), 0);
	ck_assert_int_eq(hmm__mock_access((uintptr_t)base + length - 1, &byte, 1, true), 0);
	ck_assert_int_eq(ops->detach(backend, base, length), 0);
	ck_assert_uint_eq(hmm_mock_frames(mock, NULL), 0);
}
END_TEST

START_TEST(injected_map_failure_strikes_the_nth_entry_halfway)
{
	size_t done;

	hmm_mock_fail(mock, HMM_MOCK_MAP, 2, 0, 0, 0, -EBUSY);
	fill(0, 4);
	ck_assert_int_eq(map(0, 0, 1, HMM_MAP_GRANT, &done), 0);
	ck_assert_int_eq(map(4, 1, 2, HMM_MAP_GRANT, &done), -EBUSY);
	ck_assert_uint_eq(done, 1);
	ck_assert_int_eq(map(5, 2, 1, HMM_MAP_GRANT, &done), 0);
	ck_assert_uint_eq(hmm_mock_calls(mock, HMM_MOCK_MAP), 3);
	hmm_mock_fail(mock, HMM_MOCK_UNMAP, 1, 1, 0, 0, -EBUSY);
	ck_assert_int_eq(unmap(0, 0, 1, HMM_UNMAP_GRANT, &done), -EBUSY);
	ck_assert_int_eq(unmap(0, 0, 1, HMM_UNMAP_GRANT, &done), -EBUSY);
	hmm_mock_fail(mock, HMM_MOCK_UNMAP, 0, 0, 0, 0, 0);
	ck_assert_int_eq(unmap(0, 0, 1, HMM_UNMAP_GRANT, &done), 0);
}
END_TEST

static unsigned random_failures(uint64_t seed, uint8_t *ret_pattern)
{
	unsigned i, n = 0;

	hmm_mock_fail(mock, HMM_MOCK_FILL, 0, 0, 300000, seed, -ENOMEM);
	for (i = 0; i < 200; i++) {
		struct hmm_span span = { .address = slot(0), .length = page };
		int r = ops->fill(backend, slot(0), page);

		ck_assert(r == 0 || r == -ENOMEM);
		ret_pattern[i] = r != 0;
		n += r != 0;
		if (r == 0)
			ck_assert_int_eq(ops->drop(backend, &span, 1), 0);
	}
	return n;
}

START_TEST(random_failures_repeat_with_their_seed)
{
	uint8_t first[200], second[200], other[200];
	unsigned n = random_failures(17, first);

	ck_assert_uint_gt(n, 20);
	ck_assert_uint_lt(n, 120);
	ck_assert_uint_eq(random_failures(17, second), n);
	ck_assert_int_eq(memcmp(first, second, sizeof(first)), 0);
	random_failures(18, other);
	ck_assert_int_ne(memcmp(first, other, sizeof(first)), 0);
}
END_TEST

START_TEST(other_sites_fail_too)
{
	unsigned shift = (unsigned)__builtin_ctzl(page);
	struct hmm_span span = { .address = range, .length = page };
	void *base;

	hmm_mock_fail(mock, HMM_MOCK_FRAMES, 1, 0, 0, 0, -ENOMEM);
	ck_assert_int_eq(ops->frames_take(backend, 5), 0);
	ck_assert_int_eq(ops->frames_take(backend, 5), 5);
	hmm_mock_fail(mock, HMM_MOCK_WINDOW, 1, 0, 0, 0, -ENOMEM);
	ck_assert_int_eq(ops->window(backend, 16, 2, &base), -ENOMEM);
	ck_assert_int_eq(ops->window(backend, 16, 2, &base), 0);
	hmm_mock_fail(mock, HMM_MOCK_ATTACH, 1, 0, 0, 0, -ENOMEM);
	ck_assert_int_eq(ops->attach(backend, NULL, page, shift, PROT_READ, 0, &base), -ENOMEM);
	hmm_mock_fail(mock, HMM_MOCK_PROTECT, 1, 0, 0, 0, -EAGAIN);
	ck_assert_int_eq(ops->write_protect(backend, &span, 1, 1), -EAGAIN);
	ck_assert_int_eq(ops->write_protect(backend, &span, 1, 1), 0);
}
END_TEST

START_TEST(peak_is_kept_and_pressure_is_passed_on)
{
	struct hmm_span span = { .address = slot(0), .length = 9 * page };
	uint64_t peak;

	fill(0, 9);
	ck_assert_int_eq(ops->drop(backend, &span, 1), 0);
	ck_assert_uint_eq(hmm_mock_frames(mock, &peak), 0);
	ck_assert_uint_eq(peak, 9);
	hmm_mock_pressure(mock, 12);
	hmm_mock_pressure(mock, -5);
	ck_assert_int_eq(pressed, 7);
}
END_TEST

START_TEST(forked_child_keeps_inherited_ranges_only)
{
	unsigned shift = (unsigned)__builtin_ctzl(page);
	uint8_t byte = 5;
	void *base;
	size_t done;
	int status;
	pid_t pid;

	ck_assert_int_eq(ops->attach(backend, NULL, 4 * page, shift, PROT_READ | PROT_WRITE, HMM_ATTACH_INHERIT, &base),
	                 0);
	on_trap = map_zero;
	ck_assert_int_eq(hmm__mock_access((uintptr_t)base, &byte, 1, true), 0);
	ck_assert_int_eq(map(0, 0, 2, HMM_MAP_ZERO, &done), 0);
	fill(0, 3);
	pid = fork();
	if (pid == 0) {
		uint8_t seen;
		int bad = ops->reopen(backend) != 0;

		bad |= hmm_mock_frames(mock, NULL) != 1;
		bad |= hmm__mock_access((uintptr_t)range, &seen, 1, false) != -ENOENT;
		bad |= hmm__mock_access((uintptr_t)base, &seen, 1, false) != 0 || seen != 5;
		bad |= ops->fill(backend, slot(0), page) != 0;
		bad |= hmm_mock_misuses(mock, NULL) != 0;
		_exit(bad);
	}
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert_int_eq(status, 0);
	ck_assert_uint_eq(hmm_mock_frames(mock, NULL), 6);
}
END_TEST

/* Thread delivery: told to wait, woken by another thread's map. */
static _Atomic bool told_to_wait;

static int wait_first(uintptr_t address, enum hmm_fault_access access)
{
	(void)address;
	(void)access;
	atomic_store(&told_to_wait, true);
	return -EAGAIN;
}

static void *accessor(void *arg)
{
	(void)arg;
	return (void *)(intptr_t)write_at(6, 1);
}

START_TEST(accessor_sleeps_until_its_page_is_woken)
{
	pthread_t thread;
	size_t done;
	void *ret;

	open_with(NULL, HMM_ENGINE_AUTO, HMM_DELIVERY_THREAD);
	on_trap = wait_first;
	ck_assert_int_eq(pthread_create(&thread, NULL, accessor, NULL), 0);
	while (!atomic_load(&told_to_wait))
		sched_yield();
	ck_assert_int_eq(map(6, 0, 1, HMM_MAP_ZERO, &done), 0);
	ck_assert_int_eq(ops->wake(backend, at(6), page), 0);
	ck_assert_int_eq(pthread_join(thread, &ret), 0);
	ck_assert_int_eq((intptr_t)ret, 0);
	ck_assert_uint_eq(traps, 1);
	teardown();
}
END_TEST

START_TEST(options_take_capabilities_away)
{
	struct hmm_mock_options opts = { .size = sizeof(opts), .no_grant = 1, .no_referenced = 1, .no_access = 1 };
	uint8_t bits;
	size_t done;

	open_with(&opts, HMM_ENGINE_AUTO, HMM_DELIVERY_INLINE);
	ck_assert_uint_eq(caps, HMM_BACKEND_POISON);
	ck_assert_int_eq(map(0, 0, 1, HMM_MAP_ZERO, &done), 0);
	byte_at(0);
	ck_assert_int_eq(ops->harvest(backend, range, 1, &bits), 0);
	ck_assert_uint_eq(bits, HMM_HARVEST_PRESENT | HMM_HARVEST_WRITABLE);
	ck_assert_int_eq(write_at(1, 1), -ENOENT);
	ck_assert_int_eq(trap_access, HMM_FAULT_UNKNOWN);
	teardown();
}
END_TEST

START_TEST(copy_engine_has_no_grant)
{
	open_with(NULL, HMM_ENGINE_COPY, HMM_DELIVERY_INLINE);
	ck_assert_uint_eq(caps & HMM_BACKEND_GRANT, 0);
	fill(0, 1);
	{
		size_t done;

		ck_assert_int_eq(map(0, 0, 1, HMM_MAP_GRANT, &done), -EINVAL);
	}
	expect_misuse("map: wrong flags");
}
END_TEST

/* Each misuse alone; what it is called. */
static const char *const misuses[] = {
	"a populated slot populated again",
	"a populated slot populated again",
	"an empty slot used as a populated one",
	"an empty slot used as a populated one",
	"an empty slot used as a populated one",
	"an empty slot used as a populated one",
	"an empty slot was written to",
	"more frames in use than were taken",
	"more frames in use than the capacity",
	"not slots of a window",
	"not whole pages of an attached range",
	"detach: not attached, or across a hole",
	"frames given back that are in use or were never taken",
	"called while signals could arrive",
	"slots of another page size, or none",
	"window made twice, or of a strange size",
};

static void misuse(int i)
{
	struct hmm_span span = { .address = slot(1), .length = page };
	sigset_t saved, none;
	size_t done;
	void *base;

	fill(0, 1);
	switch (i) {
	case 0: /* fill twice */
		ck_assert_int_eq(ops->fill(backend, slot(0), page), -EEXIST);
		break;
	case 1: /* grant into a populated slot */
		ck_assert_int_eq(map(0, 0, 1, HMM_MAP_ZERO, &done), 0);
		ck_assert_int_eq(unmap(0, 0, 1, HMM_UNMAP_GRANT, &done), -EEXIST);
		ck_assert_uint_eq(byte_at(0), 0);
		break;
	case 2: /* copy to an empty slot */
		ck_assert_int_eq(map(0, 0, 1, HMM_MAP_ZERO, &done), 0);
		ck_assert_int_eq(unmap(0, 1, 1, HMM_UNMAP_COPY, &done), -ENOENT);
		break;
	case 3: /* grant from an empty slot */
		ck_assert_int_eq(map(0, 1, 1, HMM_MAP_GRANT, &done), -ENOENT);
		break;
	case 4: /* copy from an empty slot */
		ck_assert_int_eq(map(0, 1, 1, 0, &done), -ENOENT);
		break;
	case 5: /* drop an empty slot */
		ck_assert_int_eq(ops->drop(backend, &span, 1), -ENOENT);
		break;
	case 6:
		slot(1)[5] = 1;
		fill(1, 1);
		break;
	case 7:
		ck_assert_int_eq(map(0, 0, NPAGES, HMM_MAP_ZERO, &done), -ENOMEM);
		ck_assert_uint_eq(done, CAPACITY / 2 - 1);
		break;
	case 8:
		ck_assert_int_eq(ops->frames_take(backend, 1000), 1000);
		ck_assert_int_eq(map(0, 0, NPAGES, HMM_MAP_ZERO, &done), 0);
		ck_assert_int_eq(ops->attach(backend, NULL, 64 * page, (unsigned)__builtin_ctzl(page), PROT_READ, 0, &base),
		                 0);
		ck_assert_int_eq(ops->map(backend, &(struct hmm_map){ .address = base, .length = 64 * page,
		                                                      .flags = HMM_MAP_ZERO }, 1), -ENOMEM);
		break;
	case 9:
		ck_assert_int_eq(ops->fill(backend, slot(NSLOTS - 1), 2 * page), -EINVAL);
		break;
	case 10:
		span.address = at(NPAGES);
		ck_assert_int_eq(ops->write_protect(backend, &span, 1, 1), -ENOENT);
		break;
	case 11:
		ck_assert_int_eq(ops->detach(backend, at(1), page), 0);
		ck_assert_int_eq(ops->detach(backend, at(0), 3 * page), -ENOENT);
		break;
	case 12:
		ops->frames_return(backend, CAPACITY / 2);
		break;
	case 13:
		sigemptyset(&none);
		pthread_sigmask(SIG_SETMASK, &none, &saved);
		ck_assert_int_eq(ops->wake(backend, at(0), page), 0);
		pthread_sigmask(SIG_SETMASK, &saved, NULL);
		break;
	case 14:
		ck_assert_int_eq(ops->window(backend, 16, 2, &base), 0);
		ck_assert_int_eq(ops->map(backend, &(struct hmm_map){ .address = at(0), .slot = base,
		                                                      .length = 1 << 16 }, 1), -EINVAL);
		break;
	case 15:
		ck_assert_int_eq(ops->window(backend, (unsigned)__builtin_ctzl(page), 2, &base), -EINVAL);
		break;
	default:
		ck_abort();
	}
}

START_TEST(misuse_is_noticed_and_named)
{
	setup();
	misuse(_i);
	expect_misuse(misuses[_i]);
}
END_TEST

START_TEST(empty_slots_hold_a_pattern)
{
	size_t done;

	fill(0, 1);
	memset(slot(0), 1, page);
	ck_assert_int_eq(map(0, 0, 1, HMM_MAP_GRANT, &done), 0);
	ck_assert_uint_ne(slot(0)[0], 1);
	ck_assert_uint_ne(slot(0)[page - 1], 0);
	fill(0, 1);
	ck_assert_uint_ne(slot(0)[0], 0);
}
END_TEST

static Suite *suite(void)
{
	Suite *s = suite_create("mock");
	TCase *t = tcase_create("operations");

	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_test(t, grant_moves_frame_and_contents_out_and_back);
	tcase_add_test(t, copy_takes_a_frame_and_leaves_the_slot_populated);
	tcase_add_test(t, zero_map_takes_a_frame_and_reads_zeros);
	tcase_add_test(t, map_stops_at_a_mapped_page_and_says_how_far_it_got);
	tcase_add_test(t, map_tells_each_entry_its_own_error);
	tcase_add_test(t, unmap_of_an_absent_page_is_refused);
	tcase_add_test(t, first_write_to_a_protected_page_traps_once);
	tcase_add_test(t, access_across_pages_traps_for_each);
	tcase_add_test(t, access_gets_what_the_fault_says);
	tcase_add_test(t, protection_allows_reads_and_refuses_writes);
	tcase_add_test(t, harvest_reports_and_clears_reference_bits);
	tcase_add_test(t, poisoned_pages_fail_without_a_trap);
	tcase_add_test(t, partial_detach_frees_frames_and_leaves_both_sides);
	tcase_add_test(t, fixed_attach_refuses_taken_addresses);
	tcase_add_test(t, large_pages_count_all_their_frames);
	tcase_add_test(t, huge_range_costs_only_what_is_touched);
	tcase_add_test(t, injected_map_failure_strikes_the_nth_entry_halfway);
	tcase_add_test(t, random_failures_repeat_with_their_seed);
	tcase_add_test(t, other_sites_fail_too);
	tcase_add_test(t, peak_is_kept_and_pressure_is_passed_on);
	tcase_add_test(t, forked_child_keeps_inherited_ranges_only);
	tcase_add_test(t, empty_slots_hold_a_pattern);
	suite_add_tcase(s, t);
	t = tcase_create("variants");
	tcase_add_test(t, accessor_sleeps_until_its_page_is_woken);
	tcase_add_test(t, options_take_capabilities_away);
	tcase_add_test(t, copy_engine_has_no_grant);
	tcase_add_loop_test(t, misuse_is_noticed_and_named, 0, sizeof(misuses) / sizeof(misuses[0]));
	suite_add_tcase(s, t);
	return s;
}

HMM_TEST_MAIN(suite)
