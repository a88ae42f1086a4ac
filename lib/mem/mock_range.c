/* SPDX-License-Identifier: MIT */
/*
 * mock_range.c - ranges of the mock: addresses that nobody may touch, with contents and entries elsewhere
 *
 * Owns: the list of attached ranges of all instances, and the life of their bodies.
 * Addresses are reserved from the kernel without access, so that they are unique and a stray access is found at once.
 */
#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#include "lib/base/arena.h"
#include "lib/base/util.h"
#include "lib/mem/mock.h"
#include "lib/sys/sys.h"

static struct hmm__lock ranges_lock = HMM__LOCK_INIT(HMM__RANK_BACKEND);
static struct hmm__mock_range *ranges; /* ranges_lock */

static size_t body_chunks(const struct hmm__mock_body *body)
{
	return (size_t)((body->npages + HMM__MOCK_CHUNK - 1) / HMM__MOCK_CHUNK) * sizeof(body->chunks[0]);
}

static void body_free(struct hmm__mock_body *body)
{
	if (body->contents)
		hmm__sparse_free(body->contents, (size_t)body->npages << body->shift);
	if (body->entries)
		hmm__sparse_free(body->entries, (size_t)body->npages);
	if (body->chunks)
		hmm__sparse_free((void *)body->chunks, body_chunks(body));
	hmm__free(body, sizeof(*body));
}

void hmm__mock_body_put(struct hmm__mock_body *body)
{
	if (atomic_fetch_sub_explicit(&body->refs, 1, memory_order_acq_rel) == 1)
		body_free(body);
}

struct hmm__mock_body *hmm__mock_body_get(uintptr_t address, size_t length)
{
	struct hmm__mock_body *body = NULL;
	struct hmm__mock_range *range;

	hmm__lock(&ranges_lock);
	for (range = ranges; range; range = range->next) {
		if (address >= range->base && address < range->end && length <= range->end - address) {
			body = range->body;
			atomic_fetch_add_explicit(&body->refs, 1, memory_order_relaxed);
			break;
		}
	}
	hmm__unlock(&ranges_lock);
	return body;
}

static void stripes_init(struct hmm__mock_body *body)
{
	unsigned i;

	for (i = 0; i < HMM__MOCK_STRIPES; i++)
		hmm__lock_init(&body->stripes[i].lock, HMM__RANK_BACKEND);
}

static struct hmm__mock_body *body_new(struct hmm__mock_backend *b, size_t length, unsigned shift, int prot,
                                       unsigned flags)
{
	struct hmm__mock_body *body = hmm__alloc(sizeof(*body));

	if (!body)
		return NULL;
	body->backend = b;
	body->npages = length >> shift;
	body->shift = shift;
	body->flags = flags;
	body->writable = (prot & PROT_WRITE) != 0;
	atomic_store(&body->refs, 1);
	stripes_init(body);
	body->contents = hmm__sparse_alloc(length);
	body->entries = hmm__sparse_alloc((size_t)body->npages);
	body->chunks = hmm__sparse_alloc(body_chunks(body));
	if (!body->contents || !body->entries || !body->chunks) {
		body_free(body);
		return NULL;
	}
	return body;
}

/* Exactly length bytes at base; what the alignment cost is given back. */
static int reserve_addresses(void *hint, size_t length, unsigned shift, unsigned flags, void **ret_base)
{
	uint8_t *mapping, *base;
	size_t total, head;
	void *aligned;
	int r;

	if (flags & HMM_ATTACH_FIXED)
		return hmm__sys_mmap(hint, length, PROT_NONE,
		                     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED_NOREPLACE, -1, 0, ret_base);
	r = hmm__mock_reserve(length, shift, PROT_NONE, &aligned, &mapping, &total);
	if (r < 0)
		return r;
	base = aligned;
	head = (size_t)(base - mapping);
	if (head > 0)
		hmm__sys_munmap(mapping, head);
	if (total - head > length)
		hmm__sys_munmap(base + length, total - head - length);
	*ret_base = base;
	return 0;
}

static void range_add(struct hmm__mock_range *range)
{
	hmm__lock(&ranges_lock);
	range->next = ranges;
	ranges = range;
	hmm__unlock(&ranges_lock);
}

int hmm__mock_attach(void *backend, void *hint, size_t length, unsigned page_shift, int prot, unsigned flags,
                     void **ret_base)
{
	struct hmm__mock_backend *b = backend;
	struct hmm__mock_range *range;
	void *base;
	int r;

	hmm__mock_enter(b);
	if (page_shift < hmm__mock_frame_shift() || page_shift >= HMM__MOCK_SHIFTS || length == 0 ||
	    !HMM__IS_ALIGNED(length, (size_t)1 << page_shift) ||
	    ((flags & HMM_ATTACH_FIXED) && !HMM__IS_ALIGNED(hint, (size_t)1 << page_shift)) ||
	    (prot & ~(PROT_READ | PROT_WRITE)) != 0 || (flags & ~(HMM_ATTACH_FIXED | HMM_ATTACH_INHERIT)) != 0) {
		hmm__mock_misuse(b->mock, "attach: wrong length, alignment, protection or flags");
		return -EINVAL;
	}
	r = hmm__mock_inject(b->mock, HMM_MOCK_ATTACH);
	if (r < 0)
		return r;
	/* The addresses first: our own tables shall not take them. */
	r = reserve_addresses(hint, length, page_shift, flags, &base);
	if (r < 0)
		return r;
	range = hmm__alloc(sizeof(*range));
	if (range)
		range->body = body_new(b, length, page_shift, prot, flags);
	if (!range || !range->body) {
		if (range)
			hmm__free(range, sizeof(*range));
		hmm__sys_munmap(base, length);
		return -ENOMEM;
	}
	range->body->base = (uintptr_t)base;
	range->base = (uintptr_t)base;
	range->end = range->base + length;
	range_add(range);
	*ret_base = base;
	return 0;
}

/* The frames behind a part go back; only chunks with present pages are looked at. */
static void pages_free(struct hmm__mock_body *body, uint64_t page, uint64_t end)
{
	uint64_t frames = UINT64_C(1) << (body->shift - hmm__mock_frame_shift());

	while (page < end) {
		_Atomic uint32_t *chunk = &body->chunks[page / HMM__MOCK_CHUNK];
		struct hmm__mock_stripe *stripe;

		if (atomic_load_explicit(chunk, memory_order_acquire) == 0) {
			page = (page / HMM__MOCK_CHUNK + 1) * HMM__MOCK_CHUNK;
			continue;
		}
		stripe = hmm__mock_stripe(body, page);
		hmm__lock(&stripe->lock);
		if (body->entries[page] & HMM__MOCK_PRESENT) {
			body->entries[page] = 0;
			atomic_fetch_sub_explicit(chunk, 1, memory_order_release);
			hmm__mock_frames_sub(body->backend, frames);
		}
		hmm__unlock(&stripe->lock);
		page++;
	}
}

/*
 * Cut [base, end) out of its range, with ranges_lock held; spare becomes the second half where it was in the middle.
 * Returns the body, with a reference; NULL if the addresses are not those of one range of this instance.
 */
static struct hmm__mock_body *cut(struct hmm__mock_backend *b, uintptr_t base, uintptr_t end,
                                  struct hmm__mock_range **spare, struct hmm__mock_range **ret_unused)
{
	struct hmm__mock_range **link, *range;
	struct hmm__mock_body *body;

	for (link = &ranges; (range = *link); link = &range->next) {
		if (base >= range->base && end <= range->end)
			break;
	}
	if (!range || range->body->backend != b || !HMM__IS_ALIGNED(base | end, (uintptr_t)1 << range->body->shift))
		return NULL;
	body = range->body;
	atomic_fetch_add_explicit(&body->refs, 1, memory_order_relaxed);
	if (base > range->base && end < range->end) {
		struct hmm__mock_range *half = *spare;

		*spare = NULL;
		*half = (struct hmm__mock_range){ .next = range->next, .body = body, .base = end, .end = range->end };
		atomic_fetch_add_explicit(&body->refs, 1, memory_order_relaxed);
		range->next = half;
		range->end = base;
	} else if (base > range->base) {
		range->end = base;
	} else if (end < range->end) {
		range->base = end;
	} else {
		*link = range->next;
		*ret_unused = range;
	}
	return body;
}

int hmm__mock_detach(void *backend, void *base, size_t length)
{
	struct hmm__mock_range *spare, *unused = NULL;
	struct hmm__mock_backend *b = backend;
	struct hmm__mock_body *body;
	uintptr_t address = (uintptr_t)base;
	uint64_t first;

	hmm__mock_enter(b);
	spare = hmm__alloc(sizeof(*spare));
	if (!spare)
		return -ENOMEM;
	hmm__lock(&ranges_lock);
	body = length ? cut(b, address, address + length, &spare, &unused) : NULL;
	hmm__unlock(&ranges_lock);
	if (spare)
		hmm__free(spare, sizeof(*spare));
	if (!body) {
		hmm__mock_misuse(b->mock, "detach: not attached, or across a hole");
		return -ENOENT;
	}
	first = hmm__mock_page(body, address);
	pages_free(body, first, first + (length >> body->shift));
	/* If the kernel refuses, the addresses stay reserved, without access and in nobody's way. */
	hmm__sys_munmap(base, length);
	if (unused) {
		hmm__free(unused, sizeof(*unused));
		hmm__mock_body_put(body);
	}
	hmm__mock_body_put(body);
	return 0;
}

/* Take out of the list a range of this instance that was not attached with keep_flag. */
static struct hmm__mock_range *take_one(struct hmm__mock_backend *b, unsigned keep_flag)
{
	struct hmm__mock_range **link, *range;

	hmm__lock(&ranges_lock);
	for (link = &ranges; (range = *link); link = &range->next) {
		if (range->body->backend == b && !(range->body->flags & keep_flag)) {
			*link = range->next;
			break;
		}
	}
	hmm__unlock(&ranges_lock);
	return range;
}

static void ranges_end(struct hmm__mock_backend *b, unsigned keep_flag)
{
	struct hmm__mock_range *range;

	while ((range = take_one(b, keep_flag))) {
		pages_free(range->body, hmm__mock_page(range->body, range->base),
		           hmm__mock_page(range->body, range->end));
		hmm__sys_munmap((void *)range->base, range->end - range->base);
		hmm__mock_body_put(range->body);
		hmm__free(range, sizeof(*range));
	}
}

/* As after a fork without UFFD_FEATURE_EVENT_FORK: what is present stays, and nothing is write-protected. */
static void entries_reopen(struct hmm__mock_body *body)
{
	uint64_t page = 0;

	stripes_init(body);
	while (page < body->npages) {
		if (atomic_load_explicit(&body->chunks[page / HMM__MOCK_CHUNK], memory_order_relaxed) == 0) {
			page = (page / HMM__MOCK_CHUNK + 1) * HMM__MOCK_CHUNK;
			continue;
		}
		body->entries[page] &= (uint8_t)~HMM__MOCK_PROTECTED;
		page++;
	}
}

void hmm__mock_ranges_reopen(struct hmm__mock_backend *b)
{
	struct hmm__mock_range *range;

	hmm__lock_init(&ranges_lock, HMM__RANK_BACKEND);
	for (range = ranges; range; range = range->next) {
		if (range->body->backend == b)
			entries_reopen(range->body);
	}
	ranges_end(b, HMM_ATTACH_INHERIT);
}

void hmm__mock_ranges_free(struct hmm__mock_backend *b)
{
	ranges_end(b, 0);
}
