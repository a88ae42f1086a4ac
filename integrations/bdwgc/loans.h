/* SPDX-License-Identifier: MIT */
/*
 * loans.h - memory of the heap for the time of a system call
 *
 * Under inline delivery the kernel can't wait for a page: a system call that meets one which is not resident fails with
 * EFAULT, and a futex that does ends the process.  So what lies in the heap is lent to the call: a small thing is copied to
 * the stack of the caller, and back; a large one is pinned where it is.
 *
 * B1  What does not lie in the heap costs a comparison, and under thread delivery nothing does.  It is never looked at but
 *     by hmm__peek(): a bad pointer is the kernel's to refuse.
 * B2  A thread that is cancelled in the call gives back what was lent: its stack is unwound (-fexceptions).
 * B3  Where the budget does not let a range be pinned: read and write and their kin transfer less, as they may; other
 *     calls go ahead with all of it touched, and may fail.  Both are counted.
 * B4  A child of vfork(2) has its parent's memory and never comes back from exec: it pins nothing, for nobody would
 *     unpin it.  What does not fit on the stack is touched.
 * B5  A copy goes back in whole, or as much of it as the call says that it wrote.  What others may write meanwhile, and
 *     what the call may leave unwritten without saying so, is pinned.
 * B6  A loan keeps the address in the heap: libgc, which looks at stacks, sees it.
 */
#ifndef HMM_INTEGRATIONS_BDWGC_LOANS_H
#define HMM_INTEGRATIONS_BDWGC_LOANS_H

#include "wrap.h"

enum hmm__use {
	HMM__READ,      /* by the call */
	HMM__WRITTEN,   /* all of it is the call's */
	HMM__RETURNED,  /* as much is written as the call says: hmm__loans_settle() */
	HMM__SHARED     /* at its own address */
};

#define HMM__LOANS 6
#define HMM__LOAN_ROOM 640u

struct hmm__loan {
	void *theirs; /* in the heap; of a pin: the first page */
	void *ours;   /* NULL: pinned */
	size_t length;
	size_t back;  /* bytes to copy back */
	size_t unit;  /* RETURNED: bytes for each that the call counts; else 0 */
};

struct hmm__loans {
	unsigned n;
	size_t used; /* of room */
	struct hmm__loan loan[HMM__LOANS];
	_Alignas(16) uint8_t room[HMM__LOAN_ROOM];
};

void hmm__loans_end(struct hmm__loans *loans);
/* The call returned `result`: so much of what is RETURNED goes back. */
void hmm__loans_settle(struct hmm__loans *loans, long result);

/* Loans that end with their scope. */
#define LOANS(name) \
	__attribute__((cleanup(hmm__loans_end))) struct hmm__loans name; \
	name.n = 0; \
	name.used = 0

static inline bool hmm__is_lent(const void *address, size_t length)
{
	return hmm__heap.is_inline && hmm__heap_meets(address, length);
}

/* For parameters that are const, or said to be only written, which a compiler would complain of. */
#define LENT(p) ((void *)(uintptr_t)(p))

/* What to pass to the call instead of `address`.  unit: see struct hmm__loan. */
void *hmm__lend(struct hmm__loans *loans, void *address, size_t length, enum hmm__use use, size_t unit);
/* *length may become less. */
void *hmm__lend_some(struct hmm__loans *loans, void *address, size_t *length, enum hmm__use use);
void *hmm__lend_string(struct hmm__loans *loans, char *string, enum hmm__use use);

/* Pins only: for what is a list of any length. */
struct hmm__pin {
	void *from;
	size_t length; /* 0: nothing is pinned */
};

/* Returns how many bytes from `address` on may be used: `length`, or less if `may_be_less`. */
size_t hmm__pin(struct hmm__pin *pin, const void *address, size_t length, bool is_written, bool may_be_less);
void hmm__unpin(struct hmm__pin *pin);

/* Bytes of a string in the heap, with its end; no more than the kernel takes. */
size_t hmm__string_length(const char *string);
/* From `address` to the end of its object in the heap, or of a part of it that no call writes more than. */
size_t hmm__object_length(const void *address);
/* Copies memory that may not be there: false. */
bool hmm__peek(void *to, const void *from, size_t length);

static inline size_t hmm__times(long long n, size_t size)
{
	return n <= 0 ? 0 : (size_t)(n < 1 << 30 ? n : 1 << 30) * size;
}

#endif
