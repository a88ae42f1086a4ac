/* SPDX-License-Identifier: MIT */
/*
 * steps.c - the operations of the model test
 */
#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "tests/stress/model.h"

static struct model_region *any_region(struct model *model, struct model_thread *thread)
{
	return &model->regions[world_random(&thread->seed) % model->nregions];
}

static size_t below(struct model_thread *thread, size_t n)
{
	return (size_t)(world_random(&thread->seed) % n);
}

void model_file_init(struct model_region *r)
{
	for (size_t i = 0; i < r->nrecords; i++) {
		uint64_t words[MODEL_WORDS];

		for (unsigned n = 0; n < MODEL_WORDS; n++)
			words[n] = model_word(r, i, n, 0);
		if (r->map.bytes)
			memcpy(r->map.bytes->data + i * MODEL_STRIDE, words, sizeof(words));
		else
			ck_assert_int_eq(pwrite(r->map.fd, words, sizeof(words), (off_t)(i * MODEL_STRIDE)),
			                 (ssize_t)sizeof(words));
	}
}

/* A record of this thread's. */
static size_t own_record(struct model *model, struct model_thread *thread, struct model_region *r)
{
	size_t record = below(thread, r->nrecords);

	while (model_owner(model, r, record) != thread->number)
		record = (record + 1) % r->nrecords;
	return record;
}

static size_t per_page(const struct model_region *r)
{
	return r->map.page / MODEL_STRIDE;
}

/*
 * The page was freed lazily, and now one of its records was written: it is kept from here on.  Either all the others
 * were kept, or all were dropped.
 */
static void unfree(struct model *model, struct model_region *r, size_t written)
{
	size_t first = written / per_page(r) * per_page(r);
	int kept = -1;

	r->freed[written / per_page(r)] = 0;
	for (size_t i = first; i < first + per_page(r); i++) {
		uint64_t word = 0;
		int e, was;

		if (i == written || r->done[i] == 0)
			continue;
		while ((e = world_read(&model->world, r->map.region, model_record(r, i), &word, 8)) == -EIO && model->flaky)
			;
		ck_assert_int_eq(e, 0);
		was = word == model_word(r, i, 0, r->done[i]);
		ck_assert_msg(was || word == model_word(r, i, 0, 0), "%s record %zu: neither kept nor dropped", r->name, i);
		ck_assert_msg(kept == -1 || kept == was, "%s page %zu: partly dropped", r->name, i / per_page(r));
		kept = was;
		if (!was)
			atomic_store(&r->done[i], 0);
	}
}

static void step_write(struct model *model, struct model_thread *thread)
{
	struct model_region *r = any_region(model, thread);
	size_t record = own_record(model, thread, r);

	model_write(model, r, record);
	if (r->freed && r->freed[record / per_page(r)])
		unfree(model, r, record);
	model_check_own(model, r, record);
}

static void step_read(struct model *model, struct model_thread *thread)
{
	struct model_region *r = any_region(model, thread);

	model_check(model, thread, r, below(thread, r->nrecords));
}

static void step_scan(struct model *model, struct model_thread *thread)
{
	struct model_region *r = any_region(model, thread);
	size_t n = 1 + below(thread, 40 * per_page(r)), i = below(thread, r->nrecords);

	for (; n > 0 && i < r->nrecords; n--, i++)
		model_check(model, thread, r, i);
}

/* A random range of pages, at most `most` of them. */
static void range(struct model_thread *thread, const struct model_region *r, size_t most, uint8_t **ret_from,
                  size_t *ret_length)
{
	size_t n = 1 + below(thread, most), first;

	n = n < r->map.npages ? n : r->map.npages;
	first = below(thread, r->map.npages - n + 1);
	*ret_from = r->map.base + first * r->map.page;
	*ret_length = n * r->map.page;
}

/* What a call may answer: success, or an error of the stores where they fail, or one of two more. */
static void allow(const struct model *model, const char *call, int r, int error, int other)
{
	bool store = model->flaky && (r == -EIO || r == -ENOSPC || r == -EBUSY || r == -ENOMEM);

	ck_assert_msg(r >= 0 || r == error || r == other || store, "%s: %s", call, strerror(-r));
}

static void step_advise(struct model *model, struct model_thread *thread)
{
	static const enum hmm_advice harmless[] = {
		HMM_ADVISE_NORMAL, HMM_ADVISE_RANDOM, HMM_ADVISE_SEQUENTIAL, HMM_ADVISE_WILLNEED, HMM_ADVISE_COLD,
		HMM_ADVISE_PAGEOUT, HMM_ADVISE_PAGEOUT, HMM_ADVISE_WILLNEED,
	};
	struct model_region *r = any_region(model, thread);
	uint8_t *from;
	size_t length;

	range(thread, r, 40, &from, &length);
	allow(model, "advise", hmm_region_advise(r->map.region, from, length, harmless[below(thread, 8)]), 0, 0);
}

/* A page of this thread's in a region of whole pages. */
static struct model_region *own_page(struct model *model, struct model_thread *thread, size_t *ret_page)
{
	struct model_region *r;

	do
		r = any_region(model, thread);
	while (!r->own_pages);
	*ret_page = own_record(model, thread, r) / per_page(r);
	return r;
}

static void step_drop(struct model *model, struct model_thread *thread)
{
	size_t page, first;
	struct model_region *r = own_page(model, thread, &page);
	uint8_t *at = r->map.base + page * r->map.page;
	int e;

	if (below(thread, 2)) {
		ck_assert_int_eq(hmm_region_advise(r->map.region, at, r->map.page, HMM_ADVISE_FREE), 0);
		r->freed[page] = 1;
		return;
	}
	/* Another reader may be pinning nothing here: only owners pin and lock in these regions. */
	e = hmm_region_advise(r->map.region, at, r->map.page, HMM_ADVISE_DONTNEED);
	allow(model, "dontneed", e, 0, 0);
	if (e < 0)
		return; /* it is as it was */
	r->freed[page] = 0;
	first = page * per_page(r);
	for (size_t i = first; i < first + per_page(r); i++) {
		atomic_store(&r->done[i], 0);
		model_check_own(model, r, i);
	}
}

static void step_protect(struct model *model, struct model_thread *thread)
{
	size_t page;
	struct model_region *r = own_page(model, thread, &page);
	uint8_t *at = r->map.base + page * r->map.page, byte = 0;

	ck_assert_int_eq(hmm_region_protect(r->map.region, at, r->map.page, PROT_READ), 0);
	ck_assert_int_eq(world_write(&model->world, r->map.region, at + 100, &byte, 1), -EACCES);
	model_check(model, thread, r, page * per_page(r));
	ck_assert_int_eq(hmm_region_protect(r->map.region, at, r->map.page, PROT_READ | PROT_WRITE), 0);
}

static void step_lock(struct model *model, struct model_thread *thread)
{
	size_t page;
	struct model_region *r = own_page(model, thread, &page);
	uint8_t *at = r->map.base + page * r->map.page, vec = 0;
	int e = hmm_region_lock(r->map.region, at, r->map.page);

	allow(model, "lock", e, -EAGAIN, 0);
	if (e < 0)
		return;
	for (unsigned i = 0; i < 10; i++)
		step_read(model, thread);
	ck_assert_int_eq(hmm_region_residency(r->map.region, at, r->map.page, &vec), 0);
	ck_assert_uint_eq(vec & (HMM_LOCKED | HMM_RESIDENT), HMM_LOCKED | HMM_RESIDENT);
	ck_assert_int_eq(hmm_region_unlock(r->map.region, at, r->map.page), 0);
}

static void step_pin(struct model *model, struct model_thread *thread)
{
	struct model_region *r = any_region(model, thread);
	uint8_t *from, vec[2];
	size_t length;
	int e;

	if (r->own_pages)
		return;
	range(thread, r, 2, &from, &length);
	e = hmm_region_pin(r->map.region, from, length, (int)below(thread, 2));
	allow(model, "pin", e, -EAGAIN, 0);
	if (e < 0)
		return;
	for (unsigned i = 0; i < 10; i++)
		step_read(model, thread);
	ck_assert_int_eq(hmm_region_residency(r->map.region, from, length, vec), 0);
	for (size_t i = 0; i < length / r->map.page; i++)
		ck_assert_uint_eq(vec[i] & (HMM_PINNED | HMM_RESIDENT), HMM_PINNED | HMM_RESIDENT);
	step_write(model, thread);
	ck_assert_int_eq(hmm_region_unpin(r->map.region, from, length), 0);
}

static void step_sync(struct model *model, struct model_thread *thread)
{
	struct model_region *r = any_region(model, thread);
	uint8_t *from;
	size_t length;

	range(thread, r, 60, &from, &length);
	allow(model, "sync", hmm_region_sync(r->map.region, from, length, 0), 0, 0);
}

static void step_residency(struct model *model, struct model_thread *thread)
{
	struct model_region *r = any_region(model, thread);
	uint8_t *from, vec[32];
	size_t length;

	range(thread, r, 32, &from, &length);
	ck_assert_int_eq(hmm_region_residency(r->map.region, from, length, vec), 0);
	for (size_t i = 0; i < length / r->map.page; i++)
		ck_assert_uint_ne(vec[i] & (HMM_RESIDENT | HMM_AVAILABLE), HMM_RESIDENT | HMM_AVAILABLE);
}

static void step_space(struct model *model, struct model_thread *thread)
{
	struct hmm_stats s;
	uint64_t frames = MODEL_FRAMES_MIN + below(thread, MODEL_FRAMES_MAX - MODEL_FRAMES_MIN + 1);

	switch (below(thread, 8)) {
	case 0:
		if (thread->number == 0)
			allow(model, "resize", hmm_space_resize(model->world.space, frames, NULL), -EAGAIN, 0);
		break;
	case 1:
		ck_assert_int_eq(hmm_space_poll(model->world.space), 0);
		break;
	case 2:
	case 3:
		allow(model, "reclaim", (int)hmm_space_reclaim(model->world.space, 1 + below(thread, 30)), 0, 0);
		break;
	default:
		s = world_stats(&model->world);
		ck_assert_uint_le(s.peak_held, MODEL_FRAMES_MAX);
		ck_assert_uint_eq(s.policy_errors, 0);
	}
}

/* A region of this thread's own, for a short time. */
static void step_region(struct model *model, struct model_thread *thread)
{
	struct hmm_region_options opts = { .size = sizeof(opts), .page_shift = 12 + (unsigned)below(thread, 3) };
	struct hmm_region *region;
	size_t page = (size_t)1 << opts.page_shift, n = 4 + below(thread, 40);
	uint64_t word, tag = world_random(&thread->seed);
	uint8_t *base;
	int e;

	opts.delivery = world_delivery(model->world.backend);
	e = hmm_region_map(model->world.space, NULL, 0, n * page, &opts, &region);
	allow(model, "map", e, 0, 0);
	if (e < 0)
		return;
	base = hmm_region_base(region);
	for (size_t i = 0; i < n; i++) {
		word = tag + i;
		while ((e = world_write(&model->world, region, base + i * page, &word, 8)) == -EIO && model->flaky)
			;
		ck_assert_int_eq(e, 0);
	}
	if (below(thread, 2))
		ck_assert_int_eq(hmm_region_unmap_range(region, base + n / 4 * page, n / 2 * page), 0);
	else
		n /= 4;
	for (size_t i = 0; i < n / 4; i++) {
		while ((e = world_read(&model->world, region, base + i * page, &word, 8)) == -EIO && model->flaky)
			;
		ck_assert_int_eq(e, 0);
		ck_assert_uint_eq(word, tag + i);
	}
	ck_assert_int_eq(hmm_region_unmap(region), 0);
}

void model_step(struct model *model, struct model_thread *thread)
{
	static const struct {
		unsigned per_mille;
		void (*step)(struct model *model, struct model_thread *thread);
	} steps[] = {
		{ 420, step_write }, { 400, step_read }, { 20, step_scan }, { 20, step_advise }, { 30, step_drop },
		{ 10, step_protect }, { 10, step_lock }, { 30, step_pin }, { 10, step_sync }, { 20, step_residency },
		{ 20, step_space }, { 10, step_region },
	};
	size_t dice = below(thread, 1000), i = 0;

	while (dice >= steps[i].per_mille)
		dice -= steps[i++].per_mille;
	steps[i].step(model, thread);
	thread->steps++;
}

/* Pages that were freed and not written since are written, so that each record's contents are known. */
void model_settle(struct model *model, struct model_thread *thread)
{
	for (unsigned k = 0; k < model->nregions; k++) {
		struct model_region *r = &model->regions[k];

		for (size_t page = 0; r->freed && page < r->map.npages; page++) {
			size_t record = page * per_page(r);

			if (!r->freed[page] || model_owner(model, r, record) != thread->number)
				continue;
			model_write(model, r, record);
			unfree(model, r, record);
		}
	}
}
