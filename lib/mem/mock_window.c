/* SPDX-License-Identifier: MIT */
/*
 * mock_window.c - slots of the mock: real memory, with its own idea of which slot has a frame
 *
 * K1 is kept here.  Real memory is behind every slot, so a use of an empty one would go unseen; therefore an empty slot
 * holds a pattern: who reads it gets wrong contents, and who wrote to it is found when the slot is populated.  A freshly
 * populated slot holds another pattern: nobody may count on zeros there.
 */
#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#include "lib/base/arena.h"
#include "lib/base/util.h"
#include "lib/mem/mock.h"
#include "lib/sys/sys.h"

#define PATTERN_EMPTY 0xe5
#define PATTERN_FILLED 0xd7
/* Larger windows get the pattern slot by slot, when a slot is first emptied. */
#define PATTERN_AT_ONCE (UINT64_C(16) << 20)

int hmm__mock_reserve(size_t length, unsigned shift, int prot, void **ret_base, uint8_t **ret_mapping,
                      size_t *ret_mapping_length)
{
	size_t align = (size_t)1 << shift, total = length + align - hmm_page_size();
	void *mapping;
	int r;

	if (total < length)
		return -ENOMEM;
	r = hmm__sys_mmap(NULL, total, prot, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0, &mapping);
	if (r < 0)
		return r;
	*ret_base = (void *)HMM__ALIGN_UP((uintptr_t)mapping, align);
	*ret_mapping = mapping;
	*ret_mapping_length = total;
	return 0;
}

static bool all_bytes(const uint8_t *p, size_t length, uint8_t byte)
{
	return p[0] == byte && memcmp(p, p + 1, length - 1) == 0;
}

int hmm__mock_window(void *backend, unsigned page_shift, uint32_t nslots, void **ret_base)
{
	struct hmm__mock_backend *b = backend;
	struct hmm__mock_window *w;
	_Atomic uint8_t *slots;
	void *base;
	uint32_t i;
	int r;

	hmm__mock_enter(b);
	if (page_shift < hmm__mock_frame_shift() || page_shift >= HMM__MOCK_SHIFTS || nslots == 0 ||
	    b->windows[page_shift].nslots > 0) {
		hmm__mock_misuse(b->mock, "window made twice, or of a strange size");
		return -EINVAL;
	}
	r = hmm__mock_inject(b->mock, HMM_MOCK_WINDOW);
	if (r < 0)
		return r;
	slots = hmm__sparse_alloc(nslots);
	if (!slots)
		return -ENOMEM;
	w = &b->windows[page_shift];
	r = hmm__mock_reserve((size_t)nslots << page_shift, page_shift, PROT_READ | PROT_WRITE, &base, &w->mapping,
	                      &w->mapping_length);
	if (r < 0) {
		hmm__sparse_free((void *)slots, nslots);
		return r;
	}
	w->slots = slots;
	w->nslots = nslots;
	w->shift = page_shift;
	if ((uint64_t)nslots << page_shift <= PATTERN_AT_ONCE) {
		memset(base, PATTERN_EMPTY, (size_t)nslots << page_shift);
		for (i = 0; i < nslots; i++)
			atomic_store_explicit(&slots[i], HMM__MOCK_EMPTY, memory_order_relaxed);
	}
	atomic_store_explicit(&w->base, (uint8_t *)base, memory_order_release);
	*ret_base = base;
	return 0;
}

struct hmm__mock_window *hmm__mock_window_find(struct hmm__mock_backend *b, const void *slot, size_t length)
{
	uintptr_t address = (uintptr_t)slot;
	unsigned i;

	for (i = 0; i < HMM__MOCK_SHIFTS; i++) {
		struct hmm__mock_window *w = &b->windows[i];
		uintptr_t base = (uintptr_t)atomic_load_explicit(&w->base, memory_order_acquire);
		size_t size = base ? (size_t)w->nslots << w->shift : 0;

		if (!base || address < base || address - base >= size)
			continue;
		if (length == 0 || length > size - (address - base) ||
		    !HMM__IS_ALIGNED(address | length, (size_t)1 << w->shift))
			break;
		return w;
	}
	hmm__mock_misuse(b->mock, "not slots of a window");
	return NULL;
}

int hmm__mock_slot_populate(struct hmm__mock_backend *b, struct hmm__mock_window *w, uint32_t slot)
{
	size_t size = (size_t)1 << w->shift;
	const uint8_t *p = atomic_load_explicit(&w->base, memory_order_relaxed) + ((size_t)slot << w->shift);
	uint8_t old = atomic_exchange_explicit(&w->slots[slot], HMM__MOCK_POPULATED, memory_order_acq_rel);

	if (old == HMM__MOCK_POPULATED) {
		hmm__mock_misuse(b->mock, "a populated slot populated again");
		return -EEXIST;
	}
	if (!all_bytes(p, size, old == HMM__MOCK_FRESH ? 0 : PATTERN_EMPTY))
		hmm__mock_misuse(b->mock, "an empty slot was written to");
	return 0;
}

int hmm__mock_slot_check(struct hmm__mock_backend *b, struct hmm__mock_window *w, uint32_t slot)
{
	if (atomic_load_explicit(&w->slots[slot], memory_order_acquire) == HMM__MOCK_POPULATED)
		return 0;
	hmm__mock_misuse(b->mock, "an empty slot used as a populated one");
	return -ENOENT;
}

void hmm__mock_slot_empty(struct hmm__mock_window *w, uint32_t slot)
{
	uint8_t *p = atomic_load_explicit(&w->base, memory_order_relaxed) + ((size_t)slot << w->shift);

	memset(p, PATTERN_EMPTY, (size_t)1 << w->shift);
	atomic_store_explicit(&w->slots[slot], HMM__MOCK_EMPTY, memory_order_release);
}

static uint32_t slot_number(const struct hmm__mock_window *w, const void *slot)
{
	uintptr_t base = (uintptr_t)atomic_load_explicit(&w->base, memory_order_relaxed);

	return (uint32_t)(((uintptr_t)slot - base) >> w->shift);
}

/* All of them, or none. */
int hmm__mock_fill(void *backend, void *slot, size_t length)
{
	struct hmm__mock_backend *b = backend;
	struct hmm__mock_window *w;
	uint32_t first, i, n;
	uint64_t frames;
	int r;

	hmm__mock_enter(b);
	w = hmm__mock_window_find(b, slot, length);
	if (!w)
		return -EINVAL;
	r = hmm__mock_inject(b->mock, HMM_MOCK_FILL);
	if (r < 0)
		return r;
	first = slot_number(w, slot);
	n = (uint32_t)(length >> w->shift);
	frames = length >> hmm__mock_frame_shift();
	r = hmm__mock_frames_add(b, frames);
	if (r < 0)
		return r;
	for (i = 0; i < n; i++) {
		r = hmm__mock_slot_populate(b, w, first + i);
		if (r < 0)
			break;
		memset((uint8_t *)slot + ((size_t)i << w->shift), PATTERN_FILLED, (size_t)1 << w->shift);
	}
	if (i == n)
		return 0;
	while (i > 0)
		hmm__mock_slot_empty(w, first + --i);
	hmm__mock_frames_sub(b, frames);
	return r;
}

int hmm__mock_drop(void *backend, const struct hmm_span *slots, unsigned n)
{
	struct hmm__mock_backend *b = backend;
	unsigned i;
	int error = 0;

	hmm__mock_enter(b);
	for (i = 0; i < n; i++) {
		struct hmm__mock_window *w = hmm__mock_window_find(b, slots[i].address, slots[i].length);
		uint32_t first, k;

		if (!w) {
			error = -EINVAL;
			continue;
		}
		first = slot_number(w, slots[i].address);
		for (k = 0; k < slots[i].length >> w->shift; k++) {
			if (hmm__mock_slot_check(b, w, first + k) < 0) {
				error = -ENOENT;
				continue;
			}
			hmm__mock_slot_empty(w, first + k);
			hmm__mock_frames_sub(b, UINT64_C(1) << (w->shift - hmm__mock_frame_shift()));
		}
	}
	return error;
}

void hmm__mock_windows_reset(struct hmm__mock_backend *b)
{
	unsigned i;
	uint32_t k;

	for (i = 0; i < HMM__MOCK_SHIFTS; i++) {
		struct hmm__mock_window *w = &b->windows[i];

		for (k = 0; k < w->nslots; k++) {
			if (atomic_load_explicit(&w->slots[k], memory_order_relaxed) != HMM__MOCK_POPULATED)
				continue;
			hmm__mock_slot_empty(w, k);
			hmm__mock_frames_sub(b, UINT64_C(1) << (w->shift - hmm__mock_frame_shift()));
		}
	}
}

void hmm__mock_windows_free(struct hmm__mock_backend *b)
{
	unsigned i;

	hmm__mock_windows_reset(b);
	for (i = 0; i < HMM__MOCK_SHIFTS; i++) {
		struct hmm__mock_window *w = &b->windows[i];

		if (w->nslots == 0)
			continue;
		hmm__sys_munmap(w->mapping, w->mapping_length);
		hmm__sparse_free((void *)w->slots, w->nslots);
	}
}
