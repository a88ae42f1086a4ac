/* SPDX-License-Identifier: MIT */
/*
 * mock_fixture.h - a mock backend with one window and one range, used by its table of operations as the heart does
 */
#ifndef HMM_TESTS_UNIT_MOCK_FIXTURE_H
#define HMM_TESTS_UNIT_MOCK_FIXTURE_H

#include <errno.h>
#include <stdatomic.h>
#include <sys/mman.h>

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

static inline int fault(void *arg, uintptr_t address, enum hmm_fault_access access)
{
	ck_assert_ptr_eq(arg, &traps);
	atomic_fetch_add(&traps, 1);
	trap_address = address;
	trap_access = access;
	return on_trap ? on_trap(address, access) : -ENOENT;
}

static inline void pressure(void *arg, int64_t frames)
{
	ck_assert_ptr_eq(arg, &traps);
	pressed += frames;
}

static inline void open_with(const struct hmm_mock_options *opts, uint32_t engine, uint32_t delivery)
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

static inline void setup(void)
{
	open_with(NULL, HMM_ENGINE_AUTO, HMM_DELIVERY_INLINE);
}

/* After a test that misused nothing. */
static inline void teardown(void)
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
static inline void expect_misuse(const char *expected)
{
	const char *text;

	ck_assert_uint_eq(hmm_mock_misuses(mock, &text), 1);
	ck_assert_str_eq(text, expected);
	ops->close(backend);
	hmm_mock_destroy(mock);
}

static inline uint8_t *slot(unsigned i)
{
	return window + i * page;
}

static inline uint8_t *at(unsigned i)
{
	return range + i * page;
}

static inline void fill(unsigned i, unsigned n)
{
	ck_assert_int_eq(ops->fill(backend, slot(i), n * page), 0);
}

static inline int map(unsigned to, unsigned from, unsigned n, uint32_t flags, size_t *ret_done)
{
	struct hmm_map m = { .address = at(to), .slot = slot(from), .length = n * page, .flags = flags, .error = 1 };
	int r = ops->map(backend, &m, 1);

	ck_assert_int_eq(r, m.error);
	*ret_done = m.done / page;
	return r;
}

static inline int unmap(unsigned from, unsigned to, unsigned n, uint32_t flags, size_t *ret_done)
{
	struct hmm_unmap u = { .address = at(from), .slot = flags ? slot(to) : NULL, .length = n * page,
	                       .flags = flags, .error = 1 };
	int r = ops->unmap(backend, &u, 1);

	ck_assert_int_eq(r, u.error);
	*ret_done = u.done / page;
	return r;
}

static inline uint8_t byte_at(unsigned i)
{
	uint8_t byte;

	ck_assert_int_eq(hmm__mock_access((uintptr_t)at(i), &byte, 1, false), 0);
	return byte;
}

static inline int write_at(unsigned i, uint8_t byte)
{
	return hmm__mock_access((uintptr_t)at(i), &byte, 1, true);
}

static inline int map_zero(uintptr_t address, enum hmm_fault_access access)
{
	struct hmm_map m = { .address = (void *)(address & ~(page - 1)), .length = page, .flags = HMM_MAP_ZERO };
	sigset_t now;

	(void)access;
	pthread_sigmask(SIG_BLOCK, NULL, &now);
	ck_assert_int_eq(sigismember(&now, SIGALRM), 1);
	return ops->map(backend, &m, 1);
}

#endif
