/* SPDX-License-Identifier: MIT */
/*
 * test_policy_books.c - every policy that is registered, as the pager uses it: batches ahead of need, late verdicts,
 * refusals, pages that come and go, hints, a budget that changes; under the check
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/util.h"
#include "lib/policy/instance.h"
#include "tests/harness.h"
#include "tests/unit/policy_traces.h"

#define FRAMES 97
#define PAGES 300
#define NOWHERE UINT32_MAX

/* Check's own assertions cost a system call each. */
#define must(condition) \
	do { \
		if (!(condition)) \
			ck_abort_msg("%s:%d: %s", __FILE__, __LINE__, #condition); \
	} while (0)

static const char *names[64];
static int nnames;

static void fail_on_report(void *arg, const char *text)
{
	(void)arg;
	ck_abort_msg("%s", text);
}

/* Everything at random: the books of policy and core agree, and every page can be had at the end. */

struct model {
	struct hmm__policy *policy;
	enum { ABSENT, RESIDENT, PROPOSED } state[FRAMES];
	uint64_t page[FRAMES];
	bool is_present[PAGES];
	uint64_t loads;
	uint64_t seed;
};

static uint32_t draw(struct model *model, uint32_t n)
{
	return (uint32_t)(trace_random(&model->seed) % n);
}

static void model_choose(struct model *model, uint32_t want)
{
	uint32_t victims[64], n, resident = 0;

	for (uint32_t i = 0; i < FRAMES; i++)
		resident += model->state[i] == RESIDENT;
	n = hmm__policy_choose(model->policy, want, victims, 1 + draw(model, 128));
	must(n <= want && n <= resident);
	must(n > 0 || resident == 0 || want == 0);
	for (uint32_t i = 0; i < n; i++) {
		must(model->state[victims[i]] == RESIDENT);
		model->state[victims[i]] = PROPOSED;
	}
}

static void model_verdict(struct model *model, uint32_t frame)
{
	if (model->state[frame] == PROPOSED && draw(model, 2) == 0) {
		hmm__policy_rejected(model->policy, frame, (enum hmm_reject)draw(model, 4));
		model->state[frame] = RESIDENT;
		return;
	}
	if (draw(model, 3) != 0)
		hmm__policy_evicted(model->policy, frame, model->page[frame]);
	else
		hmm__policy_removed(model->policy, frame, model->page[frame], (enum hmm_removed)draw(model, 3));
	model->state[frame] = ABSENT;
	model->is_present[model->page[frame]] = false;
}

static void model_load(struct model *model, uint32_t frame)
{
	enum hmm_access access = (enum hmm_access)draw(model, 4);
	uint32_t page = draw(model, PAGES);

	while (model->is_present[page])
		page = (page + 1) % PAGES;
	hmm__policy_miss(model->policy, page, access);
	if (draw(model, 16) == 0)
		return; /* it could not be loaded */
	hmm__policy_inserted(model->policy, frame, page, 0, access);
	model->page[frame] = page;
	model->is_present[page] = true;
	model->state[frame] = RESIDENT;
	model->loads++;
}

static void model_step(struct model *model)
{
	uint32_t frame = draw(model, FRAMES), what = draw(model, 16);

	if (what < 2) {
		model_choose(model, draw(model, 65) * draw(model, 2) + draw(model, 3));
	} else if (model->state[frame] == ABSENT) {
		model_load(model, frame);
	} else if (what < 8) {
		hmm__policy_touched(model->policy, &frame, 1, HMM_ACCESS_READ);
	} else if (what < 10) {
		hmm__policy_hint(model->policy, frame, (struct hmm_page_range){ model->page[frame], 1 },
		                 (enum hmm_hint)draw(model, 7), (int64_t)draw(model, 128) - 64);
	} else if (model->state[frame] == PROPOSED || what < 12) {
		model_verdict(model, frame);
	} else if (what == 12) {
		hmm__policy_tick(model->policy);
	} else if (what == 13 && draw(model, 8) == 0) {
		hmm__policy_resize(model->policy, FRAMES / 2 + draw(model, FRAMES / 2 + 1));
	}
}

START_TEST(random_calls_keep_the_books_right)
{
	struct model *model = calloc(1, sizeof(*model));

	must(model != NULL);
	model->seed = test_seed();
	must(hmm__policy_create(names[_i], FRAMES, FRAMES, true, fail_on_report, NULL, &model->policy) == 0);
	for (int i = 0; i < 100000; i++)
		model_step(model);
	must(model->loads > 1000);
	for (int i = 0; i < FRAMES; i++)
		model_choose(model, 16);
	for (uint32_t frame = 0; frame < FRAMES; frame++)
		must(model->state[frame] != RESIDENT);
	must(hmm__policy_errors(model->policy) == 0);
	hmm__policy_destroy(model->policy);
	free(model);
}
END_TEST

/* The pager's way: frames are taken in batches before they are needed; some pages refuse. */

#define PAGER_FRAMES 1000
#define PAGER_PAGES 4000
#define BATCH 64

struct pager {
	struct hmm__policy *policy;
	uint32_t where[PAGER_PAGES];
	uint32_t page[PAGER_FRAMES];
	uint32_t free[PAGER_FRAMES], nfree;
	uint64_t seed;
};

static void pager_reclaim(struct pager *pager)
{
	uint32_t victims[BATCH], n = hmm__policy_choose(pager->policy, BATCH, victims, 4 * BATCH + 64);

	must(n > 0);
	for (uint32_t i = 0; i < n; i++) {
		if (trace_random(&pager->seed) % 16 == 0) {
			hmm__policy_rejected(pager->policy, victims[i], HMM_REJECT_BUSY);
			continue;
		}
		hmm__policy_evicted(pager->policy, victims[i], pager->page[victims[i]]);
		pager->where[pager->page[victims[i]]] = NOWHERE;
		pager->free[pager->nfree++] = victims[i];
	}
}

static uint64_t pager_misses(struct pager *pager, const struct trace *trace)
{
	uint64_t misses = 0;

	memset(pager->where, 0xff, sizeof(pager->where));
	for (uint32_t i = 0; i < PAGER_FRAMES; i++)
		pager->free[pager->nfree++] = i;
	for (uint32_t i = 0; i < trace->length; i++) {
		uint32_t page = trace->pages[i], frame = pager->where[page];

		if (frame != NOWHERE) {
			hmm__policy_touched(pager->policy, &frame, 1, HMM_ACCESS_READ);
			continue;
		}
		misses++;
		while (pager->nfree < BATCH / 2)
			pager_reclaim(pager);
		frame = pager->free[--pager->nfree];
		hmm__policy_miss(pager->policy, page, HMM_ACCESS_READ);
		hmm__policy_inserted(pager->policy, frame, page, 0, HMM_ACCESS_READ);
		pager->where[page] = frame;
		pager->page[frame] = page;
	}
	return misses;
}

START_TEST(batches_ahead_of_need_miss_little_more_often)
{
	struct pager *pager = calloc(1, sizeof(*pager));
	uint64_t batched, single;
	struct trace trace;

	must(pager != NULL);
	pager->seed = test_seed();
	trace_make(&trace, 3, 100000, PAGER_PAGES, &pager->seed);
	must(hmm__policy_create(names[_i], PAGER_FRAMES, PAGER_FRAMES, true, fail_on_report, NULL, &pager->policy) == 0);
	batched = pager_misses(pager, &trace);
	single = trace_misses(hmm_policy_lookup(names[_i]), "", &trace, PAGER_FRAMES, NULL);
	printf("# %s: %lu misses in batches, %lu one by one\n", names[_i], (unsigned long)batched, (unsigned long)single);
	fflush(stdout);
	must(batched < single + single / 5);
	must(hmm__policy_errors(pager->policy) == 0);
	hmm__policy_destroy(pager->policy);
	trace_free(&trace);
	free(pager);
}
END_TEST

static Suite *suite(void)
{
	Suite *s = suite_create("policy_books");
	TCase *tc = tcase_create("books");

	while (nnames < (int)HMM__ARRAY_SIZE(names) && (names[nnames] = hmm_policy_name((unsigned)nnames)) != NULL)
		nnames++;
	tcase_add_loop_test(tc, random_calls_keep_the_books_right, 0, nnames);
	tcase_add_loop_test(tc, batches_ahead_of_need_miss_little_more_often, 0, nnames);
	suite_add_tcase(s, tc);
	return s;
}

HMM_TEST_MAIN(suite)
