/* SPDX-License-Identifier: MIT */
/*
 * mock_pages.c - the mock's protection, reference bits, poison and wake-ups
 */
#include <errno.h>
#include <sys/mman.h>

#include "lib/base/futex.h"
#include "lib/base/util.h"
#include "lib/mem/mock.h"

struct hmm__mock_body *hmm__mock_pages_get(struct hmm__mock_backend *b, const void *base, size_t length)
{
	struct hmm__mock_body *body = length ? hmm__mock_body_get((uintptr_t)base, length) : NULL;

	if (body && body->backend == b && HMM__IS_ALIGNED((uintptr_t)base | length, (size_t)1 << body->shift))
		return body;
	if (body)
		hmm__mock_body_put(body);
	hmm__mock_misuse(b->mock, "not whole pages of an attached range");
	return NULL;
}

int hmm__mock_protect(void *backend, void *base, size_t length, int prot)
{
	struct hmm__mock_backend *b = backend;
	struct hmm__mock_body *body;
	uint64_t page, end;
	uint8_t flipped;

	hmm__mock_enter(b);
	body = hmm__mock_pages_get(b, base, length);
	if (!body)
		return -ENOENT;
	if ((prot & ~(PROT_READ | PROT_WRITE)) != 0) {
		hmm__mock_misuse(b->mock, "protect: wrong protection");
		hmm__mock_body_put(body);
		return -EINVAL;
	}
	flipped = ((prot & PROT_WRITE) != 0) != body->writable ? HMM__MOCK_FLIPPED : 0;
	page = hmm__mock_page(body, (uintptr_t)base);
	for (end = page + (length >> body->shift); page < end; page++) {
		struct hmm__mock_stripe *stripe = hmm__mock_stripe(body, page);

		hmm__lock(&stripe->lock);
		/* An entry that need not change is not written: the table is sparse. */
		if ((body->entries[page] & HMM__MOCK_FLIPPED) != flipped)
			body->entries[page] ^= HMM__MOCK_FLIPPED;
		hmm__unlock(&stripe->lock);
	}
	hmm__mock_body_put(body);
	return 0;
}

static void wake_pages(struct hmm__mock_body *body, uint64_t page, uint64_t npages)
{
	uint64_t i;

	for (i = 0; i < HMM__MIN(npages, (uint64_t)HMM__MOCK_STRIPES); i++) {
		struct hmm__mock_stripe *stripe = hmm__mock_stripe(body, page + i);

		hmm__mock_stripe_wake_count(stripe);
		hmm__futex_wake(&stripe->wakes, INT32_MAX);
	}
}

static void write_protect_pages(struct hmm__mock_body *body, uint64_t page, uint64_t npages, int on)
{
	uint64_t i;

	for (i = 0; i < npages; i++) {
		struct hmm__mock_stripe *stripe = hmm__mock_stripe(body, page + i);
		uint8_t *entry = &body->entries[page + i];

		hmm__lock(&stripe->lock);
		if ((*entry & HMM__MOCK_PRESENT) && on)
			*entry |= HMM__MOCK_PROTECTED;
		else if (*entry & HMM__MOCK_PRESENT)
			*entry &= (uint8_t)~HMM__MOCK_PROTECTED;
		hmm__unlock(&stripe->lock);
	}
	if (!on)
		wake_pages(body, page, npages);
}

/* An injected failure strikes when half of the spans are done. */
int hmm__mock_write_protect(void *backend, const struct hmm_span *spans, unsigned n, int on)
{
	struct hmm__mock_backend *b = backend;
	int injected, error = 0;
	unsigned i, stop;

	hmm__mock_enter(b);
	injected = hmm__mock_inject(b->mock, HMM_MOCK_PROTECT);
	stop = injected ? n / 2 : n;
	for (i = 0; i < stop; i++) {
		struct hmm__mock_body *body = hmm__mock_pages_get(b, spans[i].address, spans[i].length);

		if (!body) {
			error = -ENOENT;
			continue;
		}
		write_protect_pages(body, hmm__mock_page(body, (uintptr_t)spans[i].address),
		                    spans[i].length >> body->shift, on);
		hmm__mock_body_put(body);
	}
	return error ? error : injected;
}

int hmm__mock_harvest(void *backend, void *base, size_t npages, uint8_t *bits)
{
	struct hmm__mock_backend *b = backend;
	struct hmm__mock_body *body = hmm__mock_body_get((uintptr_t)base, 1), *whole;
	uint64_t page;
	size_t i;

	/* no misuse where nothing, or something else, is attached: a kernel tells about any address */
	hmm__mock_enter(b);
	if (!body)
		return -ENOENT;
	whole = hmm__mock_body_get((uintptr_t)base, npages << body->shift);
	hmm__mock_body_put(body);
	body = whole;
	if (body && (body->backend != b || (uintptr_t)base & (((uintptr_t)1 << body->shift) - 1))) {
		hmm__mock_body_put(body);
		body = NULL;
	}
	if (!body)
		return -ENOENT;
	page = hmm__mock_page(body, (uintptr_t)base);
	for (i = 0; i < npages; i++) {
		struct hmm__mock_stripe *stripe = hmm__mock_stripe(body, page + i);
		uint8_t entry;

		hmm__lock(&stripe->lock);
		entry = body->entries[page + i];
		if (entry & HMM__MOCK_REFERENCED)
			body->entries[page + i] &= (uint8_t)~HMM__MOCK_REFERENCED;
		hmm__unlock(&stripe->lock);
		bits[i] = 0;
		if (!(entry & HMM__MOCK_PRESENT))
			continue;
		bits[i] = HMM_HARVEST_PRESENT | ((entry & HMM__MOCK_PROTECTED) ? 0 : HMM_HARVEST_WRITABLE);
		if ((entry & HMM__MOCK_REFERENCED) && (b->caps & HMM_BACKEND_REFERENCED))
			bits[i] |= HMM_HARVEST_REFERENCED;
	}
	hmm__mock_body_put(body);
	return 0;
}

/* No misuse where nothing is attached: who lets go of a page wakes after it, and the range may have gone in between. */
int hmm__mock_wake(void *backend, void *base, size_t length)
{
	struct hmm__mock_backend *b = backend;
	struct hmm__mock_body *body;

	hmm__mock_enter(b);
	body = hmm__mock_body_get((uintptr_t)base, length);
	if (!body)
		return -ENOENT;
	wake_pages(body, hmm__mock_page(body, (uintptr_t)base), length >> body->shift);
	hmm__mock_body_put(body);
	return 0;
}

/* Present pages are left as they are. */
int hmm__mock_poison(void *backend, void *base, size_t length, int on)
{
	struct hmm__mock_backend *b = backend;
	struct hmm__mock_body *body;
	uint64_t page, end, first;

	hmm__mock_enter(b);
	body = hmm__mock_pages_get(b, base, length);
	if (!body)
		return -ENOENT;
	first = hmm__mock_page(body, (uintptr_t)base);
	end = first + (length >> body->shift);
	for (page = first; page < end; page++) {
		struct hmm__mock_stripe *stripe = hmm__mock_stripe(body, page);
		uint8_t *entry = &body->entries[page];

		hmm__lock(&stripe->lock);
		if (!on)
			*entry &= (uint8_t)~HMM__MOCK_POISONED;
		else if (!(*entry & HMM__MOCK_PRESENT))
			*entry |= HMM__MOCK_POISONED;
		hmm__unlock(&stripe->lock);
	}
	wake_pages(body, first, end - first);
	hmm__mock_body_put(body);
	return 0;
}
