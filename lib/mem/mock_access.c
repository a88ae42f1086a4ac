/* SPDX-License-Identifier: MIT */
/*
 * mock_access.c - the mock's processor: check the entry, copy under the stripe's lock, or trap and try again
 *
 * A trap calls the heart in the accessing thread with all signals blocked, as inline delivery does, and holds no lock.
 * Under thread delivery an accessor that is told to wait (-EAGAIN) sleeps until its page is woken, as it would in the
 * kernel: a wake-up that never comes is a misuse, not a retry that happens to work.
 */
#include <errno.h>
#include <string.h>

#include "lib/base/futex.h"
#include "lib/base/util.h"
#include "lib/mem/mock.h"

#define WAKE_NS (UINT64_C(60) * 1000000000)
#define INLINE_PAUSE_NS UINT64_C(20000)
/* Traps of one access that were resolved, they say, without letting it pass. */
#define TRAPS_MAX 1000000u

/* What this access meets at this entry: 1 it may pass, 0 it traps, or -errno. */
static int check_entry(const struct hmm__mock_body *body, uint8_t entry, bool write)
{
	bool writable = body->writable != !!(entry & HMM__MOCK_FLIPPED);

	if (write && !writable)
		return -EACCES;
	if (entry & HMM__MOCK_PRESENT)
		return !(write && (entry & HMM__MOCK_PROTECTED));
	return (entry & HMM__MOCK_POISONED) ? -EIO : 0;
}

/* Within one page.  As check_entry(). */
static int try_access(struct hmm__mock_body *body, uintptr_t address, void *buffer, size_t length, bool write,
                      uint32_t *ret_wakes)
{
	uint64_t page = hmm__mock_page(body, address);
	struct hmm__mock_stripe *stripe = hmm__mock_stripe(body, page);
	uint8_t *p = body->contents + (address - body->base);
	int r;

	*ret_wakes = atomic_load_explicit(&stripe->wakes, memory_order_acquire);
	hmm__lock(&stripe->lock);
	r = check_entry(body, body->entries[page], write);
	if (r > 0) {
		body->entries[page] |= HMM__MOCK_REFERENCED;
		if (write)
			memcpy(p, buffer, length);
		else
			memcpy(buffer, p, length);
	}
	hmm__unlock(&stripe->lock);
	return r;
}

static int wait_for_wake(struct hmm__mock_body *body, uintptr_t address, uint32_t wakes)
{
	struct hmm__mock_stripe *stripe = hmm__mock_stripe(body, hmm__mock_page(body, address));
	uint64_t patience = body->backend->mock->wake_ns ? body->backend->mock->wake_ns : WAKE_NS;

	if (body->backend->config.delivery == HMM_DELIVERY_INLINE) {
		hmm__futex_wait(&stripe->wakes, wakes, INLINE_PAUSE_NS);
		return 0;
	}
	while (atomic_load_explicit(&stripe->wakes, memory_order_acquire) == wakes) {
		if (hmm__futex_wait(&stripe->wakes, wakes, patience) == -ETIMEDOUT) {
			hmm__mock_misuse(body->backend->mock, "an accessor was never woken");
			return -EDEADLK;
		}
	}
	return 0;
}

static int trap(struct hmm__mock_body *body, uintptr_t address, bool write, uint32_t wakes)
{
	const struct hmm_backend_config *config = &body->backend->config;
	enum hmm_fault_access access = write ? HMM_FAULT_WRITE : HMM_FAULT_READ;
	int r;

	if (body->backend->mock->no_access)
		access = HMM_FAULT_UNKNOWN;
	r = config->fault(config->arg, address, access);
	return r == -EAGAIN ? wait_for_wake(body, address, wakes) : r;
}

static int access_page(uintptr_t address, void *buffer, size_t length, bool write)
{
	unsigned traps;
	int r;

	for (traps = 0; traps < TRAPS_MAX; traps++) {
		struct hmm__mock_body *body = hmm__mock_body_get(address, 1);
		uint32_t wakes;

		if (!body)
			return -ENOENT;
		r = try_access(body, address, buffer, length, write, &wakes);
		if (r == 0) {
			r = trap(body, address, write, wakes);
			hmm__mock_body_put(body);
			if (r < 0)
				return r;
			continue;
		}
		hmm__mock_body_put(body);
		return HMM__MIN(r, 0);
	}
	return -EDEADLK;
}

int hmm__mock_access(uintptr_t address, void *buffer, size_t length, bool write)
{
	uint8_t *p = buffer;
	sigset_t saved;
	int r = 0;

	hmm__signals_block(&saved);
	while (length > 0 && r == 0) {
		size_t n = HMM__MIN(length, hmm_page_size() - address % hmm_page_size());

		r = access_page(address, p, n, write);
		address += n;
		p += n;
		length -= n;
	}
	hmm__signals_restore(&saved);
	return r;
}

static int access_region(struct hmm_region *region, const void *address, void *buffer, size_t length, bool write)
{
	uintptr_t base = (uintptr_t)hmm_region_base(region), at = (uintptr_t)address;
	size_t size = hmm_region_length(region);

	if (at < base || at - base > size || length > size - (at - base))
		return -ENOENT;
	return hmm__mock_access(at, buffer, length, write);
}

int hmm_mock_read(struct hmm_region *region, const void *address, void *buffer, size_t length)
{
	return access_region(region, address, buffer, length, false);
}

int hmm_mock_write(struct hmm_region *region, void *address, const void *buffer, size_t length)
{
	/* Written memory is only read from the buffer. */
	return access_region(region, address, (void *)(uintptr_t)buffer, length, true);
}
