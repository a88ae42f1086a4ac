/* SPDX-License-Identifier: MIT */
/*
 * test_mock_failures.c - the mock backend: failures on demand, and every misuse noticed
 */
#include <string.h>

#include "tests/unit/mock_fixture.h"

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

static Suite *suite(void)
{
	Suite *s = suite_create("mock_failures");
	TCase *t = tcase_create("operations");

	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_test(t, injected_map_failure_strikes_the_nth_entry_halfway);
	tcase_add_test(t, random_failures_repeat_with_their_seed);
	tcase_add_test(t, other_sites_fail_too);
	suite_add_tcase(s, t);
	t = tcase_create("variants");
	tcase_add_test(t, copy_engine_has_no_grant);
	tcase_add_loop_test(t, misuse_is_noticed_and_named, 0, sizeof(misuses) / sizeof(misuses[0]));
	suite_add_tcase(s, t);
	return s;
}

HMM_TEST_MAIN(suite)
