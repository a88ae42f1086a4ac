/* SPDX-License-Identifier: MIT */
/*
 * test_supply.c - frames of a supplier that counts them: none is given back while it is in use
 */
#include <hurd-mm/hurd-mm.h>
#include <hurd-mm/mock.h>

#include "lib/vm/vm.h"
#include "tests/harness.h"

#define FRAMES HMM_FRAMES_MIN

static struct hmm_mock *mock;
static struct hmm_space *space;

static void setup(void)
{
	struct hmm_mock_options m = { .size = sizeof(m) };
	struct hmm_space_options s = { .size = sizeof(s), .backend = hmm_backend_mock(), .flags = HMM_SPACE_NO_RECLAIMER };

	ck_assert_int_eq(hmm_mock_create(&m, &mock), 0);
	s.backend_arg = mock;
	ck_assert_int_eq(hmm_space_create(FRAMES, &s, &space), 0);
}

static void teardown(void)
{
	hmm_mock_destroy(mock);
}

static void map_and_unmap(struct hmm__pool **ret_pool)
{
	struct hmm_region_options o = { .size = sizeof(o), .delivery = HMM_DELIVERY_INLINE };
	struct hmm_region *region;

	ck_assert_int_eq(hmm_region_map(space, NULL, 0, 4 * FRAMES * hmm_page_size(), &o, &region), 0);
	*ret_pool = region->pool;
	ck_assert_int_eq(hmm_region_unmap(region), 0);
}

static uint32_t fill_slot(struct hmm__pool *pool)
{
	sigset_t saved;
	uint32_t slot;

	hmm__signals_block(&saved);
	slot = hmm__bounce_get(pool);
	hmm__signals_restore(&saved);
	ck_assert_uint_ne(slot, HMM__NO_SLOT);
	return slot;
}

static void expect_no_misuse(void)
{
	const char *text = "";

	ck_assert_msg(hmm_mock_misuses(mock, &text) == 0, "misuse: %s", text);
	ck_assert_uint_eq(hmm_mock_frames(mock, NULL), 0);
}

/* As a pass in another thread leaves it that ends after the last region has gone. */
START_TEST(slots_filled_after_the_last_region_are_emptied_first)
{
	struct hmm__pool *pool;
	uint32_t slots[3];

	map_and_unmap(&pool);
	for (unsigned i = 0; i < 3; i++)
		slots[i] = fill_slot(pool);
	hmm__bounce_put(pool, slots[0]); /* parked, if the budget allows it */
	hmm__lock(&space->lock);
	hmm__slot_put(pool, slots[1], false);
	hmm__slot_put(pool, slots[2], true);
	hmm__unlock(&space->lock);
	ck_assert_uint_eq(hmm_mock_frames(mock, NULL), 3);
	hmm_space_destroy(space);
	expect_no_misuse();
}
END_TEST

/* A slot that can't be emptied stays in use until its backend closes, and is not given back before. */
START_TEST(a_frame_that_is_stuck_goes_with_its_backend)
{
	struct hmm__pool *pool;

	map_and_unmap(&pool);
	fill_slot(pool);
	hmm_space_destroy(space);
	expect_no_misuse();
}
END_TEST

static Suite *suite(void)
{
	Suite *s = suite_create("supply");
	TCase *t = tcase_create("supply");

	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_test(t, slots_filled_after_the_last_region_are_emptied_first);
	tcase_add_test(t, a_frame_that_is_stuck_goes_with_its_backend);
	suite_add_tcase(s, t);
	return s;
}

HMM_TEST_MAIN(suite)
