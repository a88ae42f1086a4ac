/* SPDX-License-Identifier: MIT */
/*
 * futex.h - wait for a word to change, wake who waits.  Async-signal-safe.
 */
#ifndef HMM_BASE_FUTEX_H
#define HMM_BASE_FUTEX_H

#include <stdatomic.h>
#include <stdint.h>

/* Sleep while *word == expected, at most timeout_ns (UINT64_MAX: for ever).  Returns 0, -EAGAIN, -ETIMEDOUT, -EINTR. */
int hmm__futex_wait(_Atomic uint32_t *word, uint32_t expected, uint64_t timeout_ns);
/* Wake up to n waiters; returns how many. */
int hmm__futex_wake(_Atomic uint32_t *word, int n);

static inline void hmm__cpu_relax(void)
{
#if defined(__x86_64__) || defined(__i386__)
	__builtin_ia32_pause();
#elif defined(__aarch64__)
	__asm__ volatile("yield");
#endif
}

#endif
