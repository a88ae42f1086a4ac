/* SPDX-License-Identifier: MIT */
/*
 * futex.c - the two futex operations that the library needs
 */
#include "lib/base/futex.h"

#include <errno.h>
#include <linux/futex.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

/* errno belongs to the code that a signal handler interrupts. */
static int futex(_Atomic uint32_t *word, int operation, uint32_t value, const struct timespec *timeout)
{
	int saved = errno;
	long r = syscall(SYS_futex, word, operation | FUTEX_PRIVATE_FLAG, value, timeout, NULL, 0);

	if (r < 0) {
		r = -errno;
		errno = saved;
	}
	return (int)r;
}

int hmm__futex_wait(_Atomic uint32_t *word, uint32_t expected, uint64_t timeout_ns)
{
	struct timespec timeout = {
		.tv_sec = (time_t)(timeout_ns / 1000000000),
		.tv_nsec = (long)(timeout_ns % 1000000000),
	};

	return futex(word, FUTEX_WAIT, expected, timeout_ns == UINT64_MAX ? NULL : &timeout);
}

int hmm__futex_wake(_Atomic uint32_t *word, int n)
{
	return futex(word, FUTEX_WAKE, (uint32_t)n, NULL);
}
