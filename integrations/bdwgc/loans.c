/* SPDX-License-Identifier: MIT */
/*
 * loans.c - lend memory of the heap to a system call: copy it, or pin it
 */
#include "loans.h"

#include <errno.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#define STRING_MOST ((size_t)128 << 10) /* the kernel's MAX_ARG_STRLEN */
#define OBJECT_MOST ((size_t)64 << 10)
#define ALIGNMENT 16u

static bool is_vforked(void)
{
	return (pid_t)syscall(SYS_getpid) != hmm__heap.pid;
}

/* B4; and better than nothing where nothing can be pinned. */
static void touch(uintptr_t from, uintptr_t to, bool is_written)
{
	for (uintptr_t at = from; at < to; at += hmm__heap.page) {
		if (is_written)
			__atomic_fetch_or((uint8_t *)at, 0, __ATOMIC_RELAXED);
		else
			(void)*(volatile uint8_t *)at;
	}
}

/* The most that is tried: what can't be pinned is loaded and let go, step by step. */
static size_t limit(size_t length)
{
	struct hmm_stats stats = { .size = sizeof(stats) };
	size_t most;

	if (length <= 16 * hmm__heap.page || hmm_space_stats(hmm__heap.space, &stats))
		return length;
	most = stats.frames / 4 * 3 * hmm__heap.page;
	return length < most ? length : most;
}

/* Whole pages of the heap. */
static void clip(uintptr_t *from, uintptr_t *to)
{
	uintptr_t base = (uintptr_t)hmm__heap.base, end = base + hmm__heap.length, page = hmm__heap.page;

	*from = (*from > base ? *from : base) / page * page;
	*to = ((*to < end ? *to : end) + page - 1) / page * page;
}

static bool try_pin(struct hmm__pin *pin, uintptr_t from, uintptr_t to, bool is_written)
{
	clip(&from, &to);
	if (hmm_region_pin(hmm__heap.region, (void *)from, to - from, is_written))
		return false;
	*pin = (struct hmm__pin){ (void *)from, to - from };
	return true;
}

size_t hmm__pin(struct hmm__pin *pin, const void *address, size_t length, bool is_written, bool may_be_less)
{
	uintptr_t from = (uintptr_t)address, to = from;
	int saved = errno;
	size_t some;

	pin->length = 0;
	if (!hmm__is_lent(address, length))
		return length;
	length = length < UINTPTR_MAX - from ? length : UINTPTR_MAX - from;
	atomic_fetch_add_explicit(&hmm__counters.held, 1, memory_order_relaxed);
	some = limit(length);
	if (is_vforked()) {
		to = from + some;
		clip(&from, &to);
		touch(from, to, is_written);
		return may_be_less ? some : length;
	}
	if (some == length || may_be_less) {
		while (!try_pin(pin, from, from + some, is_written) && may_be_less && some > 1)
			some /= 2;
	}
	if (some < length || !pin->length)
		atomic_fetch_add_explicit(&hmm__counters.unheld, 1, memory_order_relaxed);
	if (!pin->length) {
		to = from + limit(length);
		clip(&from, &to);
		touch(from, to, is_written);
	}
	errno = saved;
	return may_be_less && pin->length ? some : length;
}

void hmm__unpin(struct hmm__pin *pin)
{
	int saved = errno;

	if (pin->length)
		(void)!hmm_region_unpin(hmm__heap.region, pin->from, pin->length);
	pin->length = 0;
	errno = saved;
}

static bool is_inside(const void *address, size_t length)
{
	uintptr_t offset = (uintptr_t)address - (uintptr_t)hmm__heap.base;

	return offset < hmm__heap.length && length <= hmm__heap.length - offset;
}

static void *copy_in(struct hmm__loans *loans, void *address, size_t length, enum hmm__use use, size_t unit)
{
	uint8_t *ours = loans->room + loans->used;

	memcpy(ours, address, length);
	loans->used += (length + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
	loans->loan[loans->n++] = (struct hmm__loan){
		.theirs = address,
		.ours = ours,
		.length = length,
		.back = use == HMM__WRITTEN ? length : 0,
		.unit = use == HMM__RETURNED ? unit : 0,
	};
	return ours;
}

static void *lend(struct hmm__loans *loans, void *address, size_t *length, enum hmm__use use, size_t unit, bool less)
{
	struct hmm__pin pin;

	if (loans->n == HMM__LOANS || !hmm__is_lent(address, *length))
		return address;
	if (use != HMM__SHARED && *length <= HMM__LOAN_ROOM - loans->used && is_inside(address, *length))
		return copy_in(loans, address, *length, use, unit);
	*length = hmm__pin(&pin, address, *length, use != HMM__READ, less);
	if (pin.length)
		loans->loan[loans->n++] = (struct hmm__loan){ .theirs = pin.from, .length = pin.length };
	return address;
}

void *hmm__lend(struct hmm__loans *loans, void *address, size_t length, enum hmm__use use, size_t unit)
{
	return lend(loans, address, &length, use, unit, false);
}

void *hmm__lend_some(struct hmm__loans *loans, void *address, size_t *length, enum hmm__use use)
{
	return lend(loans, address, length, use, 1, true);
}

size_t hmm__string_length(const char *string)
{
	size_t most = (uintptr_t)hmm__heap.base + hmm__heap.length - (uintptr_t)string, n;

	most = most < STRING_MOST ? most : STRING_MOST;
	n = strnlen(string, most);
	return n < most ? n + 1 : most;
}

void *hmm__lend_string(struct hmm__loans *loans, char *string, enum hmm__use use)
{
	if (!hmm__is_lent(string, 1))
		return string;
	return hmm__lend(loans, string, hmm__string_length(string), use, 0);
}

void hmm__loans_settle(struct hmm__loans *loans, long result)
{
	for (unsigned i = 0; i < loans->n; i++) {
		struct hmm__loan *loan = &loans->loan[i];

		if (!loan->unit || result <= 0)
			continue;
		loan->back = (size_t)result < loan->length / loan->unit ? (size_t)result * loan->unit : loan->length;
	}
}

void hmm__loans_end(struct hmm__loans *loans)
{
	int saved = errno;

	while (loans->n) {
		struct hmm__loan *loan = &loans->loan[--loans->n];

		if (loan->ours)
			memcpy(loan->theirs, loan->ours, loan->back);
		else
			(void)!hmm_region_unpin(hmm__heap.region, loan->theirs, loan->length);
	}
	errno = saved;
}

size_t hmm__object_length(const void *address)
{
	uint8_t *object;
	size_t length = 0;

	if (!hmm__is_lent(address, 1))
		return 0;
	object = hmm__libgc.base((void *)(uintptr_t)address);
	if (object)
		(void)hmm__libgc.get_kind_and_size(object, &length);
	length = object ? length - (size_t)((const uint8_t *)address - object) : hmm__heap.page;
	return length < OBJECT_MOST ? length : OBJECT_MOST;
}

/* A page is not asked for twice: the kernel looks whether it is there, and copies it. */
bool hmm__peek(void *to, const void *from, size_t length)
{
	struct iovec ours = { to, length }, theirs = { (void *)(uintptr_t)from, length };
	int saved = errno;
	long r;

	if (is_inside(from, length)) {
		memcpy(to, from, length);
		return true;
	}
	r = syscall(SYS_process_vm_readv, (long)syscall(SYS_getpid), &ours, 1L, &theirs, 1L, 0L);
	if (r < 0 && (errno == ENOSYS || errno == EPERM)) {
		memcpy(to, from, length); /* a filter forbids it: as if it were there */
		r = (long)length;
	}
	errno = saved;
	return r == (long)length;
}
