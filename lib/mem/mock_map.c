/* SPDX-License-Identifier: MIT */
/*
 * mock_map.c - the mock's map and unmap: frames between slots and pages, one page at a time under its stripe's lock
 *
 * An injected failure strikes an entry when half of its pages are done, as a kernel's would: done says how far it got.
 */
#include <errno.h>
#include <string.h>

#include "lib/base/futex.h"
#include "lib/base/util.h"
#include "lib/mem/mock.h"

/* One entry on its way. */
struct job {
	struct hmm__mock_backend *b;
	struct hmm__mock_body *body;
	struct hmm__mock_window *window; /* NULL: no slot takes part */
	uint32_t slot;                   /* of the entry's first page */
	uint64_t page;                   /* the entry's first page */
	uint64_t npages;
	uint64_t frames; /* of a page */
};

static int job_begin(struct job *job, struct hmm__mock_backend *b, void *address, void *slot, size_t length)
{
	*job = (struct job){ .b = b };
	job->body = hmm__mock_pages_get(b, address, length);
	if (!job->body)
		return -ENOENT;
	job->page = hmm__mock_page(job->body, (uintptr_t)address);
	job->npages = length >> job->body->shift;
	job->frames = UINT64_C(1) << (job->body->shift - hmm__mock_frame_shift());
	if (!slot)
		return 0;
	job->window = hmm__mock_window_find(b, slot, length);
	if (job->window && job->window->shift == job->body->shift) {
		uintptr_t base = (uintptr_t)atomic_load_explicit(&job->window->base, memory_order_relaxed);

		job->slot = (uint32_t)(((uintptr_t)slot - base) >> job->window->shift);
		return 0;
	}
	hmm__mock_misuse(b->mock, "slots of another page size, or none");
	hmm__mock_body_put(job->body);
	return -EINVAL;
}

static uint8_t *job_slot(const struct job *job, uint64_t i)
{
	uint8_t *base = atomic_load_explicit(&job->window->base, memory_order_relaxed);

	return base + ((job->slot + i) << job->window->shift);
}

static _Atomic uint32_t *job_chunk(const struct job *job, uint64_t i)
{
	return &job->body->chunks[(job->page + i) / HMM__MOCK_CHUNK];
}

static int map_frame(const struct job *job, uint64_t i, uint32_t flags)
{
	uint8_t *contents = hmm__mock_contents(job->body, job->page + i);
	size_t size = (size_t)1 << job->body->shift;
	uint32_t slot = job->slot + (uint32_t)i;
	int r;

	if (!(flags & HMM_MAP_ZERO)) {
		r = hmm__mock_slot_check(job->b, job->window, slot);
		if (r < 0)
			return r;
	}
	if (!(flags & HMM_MAP_GRANT)) {
		r = hmm__mock_frames_add(job->b, job->frames);
		if (r < 0)
			return r;
	}
	if (flags & HMM_MAP_ZERO)
		memset(contents, 0, size);
	else
		memcpy(contents, job_slot(job, i), size);
	if (flags & HMM_MAP_GRANT)
		hmm__mock_slot_empty(job->window, slot);
	return 0;
}

static int map_page(const struct job *job, uint64_t i, uint32_t flags)
{
	struct hmm__mock_stripe *stripe = hmm__mock_stripe(job->body, job->page + i);
	uint8_t *entry = &job->body->entries[job->page + i];
	int r = -EEXIST;

	hmm__lock(&stripe->lock);
	if (!(*entry & (HMM__MOCK_PRESENT | HMM__MOCK_POISONED)))
		r = map_frame(job, i, flags);
	if (r == 0) {
		*entry &= HMM__MOCK_FLIPPED;
		*entry |= HMM__MOCK_PRESENT | ((flags & HMM_MAP_PROTECT) ? HMM__MOCK_PROTECTED : 0);
		atomic_fetch_add_explicit(job_chunk(job, i), 1, memory_order_release);
	}
	hmm__unlock(&stripe->lock);
	if (r == 0 && (flags & HMM_MAP_WAKE)) {
		hmm__mock_stripe_wake_count(stripe);
		hmm__futex_wake(&stripe->wakes, INT32_MAX);
	}
	return r;
}

static bool map_flags_valid(const struct hmm__mock_backend *b, const struct hmm_map *m)
{
	const uint32_t known = HMM_MAP_GRANT | HMM_MAP_PROTECT | HMM_MAP_WAKE | HMM_MAP_ZERO;

	if ((m->flags & ~known) != 0 || (m->flags & (HMM_MAP_GRANT | HMM_MAP_ZERO)) == (HMM_MAP_GRANT | HMM_MAP_ZERO))
		return false;
	if (!(m->flags & HMM_MAP_ZERO) && !m->slot)
		return false;
	return !(m->flags & HMM_MAP_GRANT) || (b->caps & HMM_BACKEND_GRANT);
}

static void map_entry(struct hmm__mock_backend *b, struct hmm_map *m)
{
	struct job job;
	uint64_t i, stop;
	int injected;

	m->done = 0;
	m->dirtied = 0; /* nothing happens between mapping and protecting */
	m->error = -EINVAL;
	if (!map_flags_valid(b, m)) {
		hmm__mock_misuse(b->mock, "map: wrong flags");
		return;
	}
	m->error = job_begin(&job, b, m->address, (m->flags & HMM_MAP_ZERO) ? NULL : m->slot, m->length);
	if (m->error < 0)
		return;
	injected = hmm__mock_inject(b->mock, HMM_MOCK_MAP);
	stop = injected ? job.npages / 2 : job.npages;
	for (i = 0; i < stop && m->error == 0; i++) {
		m->error = map_page(&job, i, m->flags);
		if (m->error == 0)
			m->done += (size_t)1 << job.body->shift;
	}
	if (m->error == 0)
		m->error = injected;
	hmm__mock_body_put(job.body);
}

int hmm__mock_map(void *backend, struct hmm_map *maps, unsigned n)
{
	struct hmm__mock_backend *b = backend;
	unsigned i;
	int error = 0;

	hmm__mock_enter(b);
	for (i = 0; i < n; i++) {
		map_entry(b, &maps[i]);
		if (error == 0)
			error = maps[i].error;
	}
	return error;
}

/* The page is present and its stripe locked. */
static int unmap_frame(const struct job *job, uint64_t i, uint32_t flags)
{
	const uint8_t *contents = hmm__mock_contents(job->body, job->page + i);
	size_t size = (size_t)1 << job->body->shift;
	uint32_t slot = job->slot + (uint32_t)i;
	int r = 0;

	if (flags & HMM_UNMAP_GRANT)
		r = hmm__mock_slot_populate(job->b, job->window, slot);
	else if (flags & HMM_UNMAP_COPY)
		r = hmm__mock_slot_check(job->b, job->window, slot);
	if (r < 0)
		return r;
	if (flags & (HMM_UNMAP_GRANT | HMM_UNMAP_COPY))
		memcpy(job_slot(job, i), contents, size);
	if (!(flags & (HMM_UNMAP_GRANT | HMM_UNMAP_PEEK)))
		hmm__mock_frames_sub(job->b, job->frames);
	return 0;
}

static int unmap_page(const struct job *job, uint64_t i, uint32_t flags)
{
	struct hmm__mock_stripe *stripe = hmm__mock_stripe(job->body, job->page + i);
	uint8_t *entry = &job->body->entries[job->page + i];
	int r = -ENOENT;

	hmm__lock(&stripe->lock);
	if (*entry & HMM__MOCK_PRESENT)
		r = unmap_frame(job, i, flags);
	if (r == 0 && !(flags & HMM_UNMAP_PEEK)) {
		*entry &= HMM__MOCK_FLIPPED;
		atomic_fetch_sub_explicit(job_chunk(job, i), 1, memory_order_release);
	}
	hmm__unlock(&stripe->lock);
	return r;
}

static bool unmap_flags_valid(const struct hmm__mock_backend *b, const struct hmm_unmap *u)
{
	switch (u->flags) {
	case 0:
		return true;
	case HMM_UNMAP_GRANT:
		return u->slot && (b->caps & HMM_BACKEND_GRANT);
	case HMM_UNMAP_COPY:
	case HMM_UNMAP_COPY | HMM_UNMAP_PEEK:
		return u->slot != NULL;
	default:
		return false;
	}
}

static void unmap_entry(struct hmm__mock_backend *b, struct hmm_unmap *u)
{
	struct job job;
	uint64_t i, stop;
	int injected;

	u->done = 0;
	u->error = -EINVAL;
	if (!unmap_flags_valid(b, u)) {
		hmm__mock_misuse(b->mock, "unmap: wrong flags");
		return;
	}
	u->error = job_begin(&job, b, u->address, u->flags ? u->slot : NULL, u->length);
	if (u->error < 0)
		return;
	injected = hmm__mock_inject(b->mock, HMM_MOCK_UNMAP);
	stop = injected ? job.npages / 2 : job.npages;
	for (i = 0; i < stop && u->error == 0; i++) {
		u->error = unmap_page(&job, i, u->flags);
		if (u->error == 0)
			u->done += (size_t)1 << job.body->shift;
	}
	if (u->error == 0)
		u->error = injected;
	hmm__mock_body_put(job.body);
}

int hmm__mock_unmap(void *backend, struct hmm_unmap *unmaps, unsigned n)
{
	struct hmm__mock_backend *b = backend;
	unsigned i;
	int error = 0;

	hmm__mock_enter(b);
	for (i = 0; i < n; i++) {
		unmap_entry(b, &unmaps[i]);
		if (error == 0)
			error = unmaps[i].error;
	}
	return error;
}
