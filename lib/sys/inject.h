/* SPDX-License-Identifier: MIT */
/*
 * inject.h - what every wrapper begins and ends with
 */
#ifndef HMM_SYS_INJECT_H
#define HMM_SYS_INJECT_H

#include <errno.h>
#include <stdatomic.h>
#include <stdbool.h>

#include "lib/base/util.h"
#include "lib/sys/fd.h"
#include "lib/sys/sys.h"

extern _Atomic bool hmm__sys_armed;

/* Counts the call; returns 0 or the -errno that was asked for. */
int hmm__sys_injected_slow(enum hmm__sys_site site);

static inline int hmm__sys_injected(enum hmm__sys_site site)
{
	if (HMM__LIKELY(!atomic_load_explicit(&hmm__sys_armed, memory_order_relaxed)))
		return 0;
	return hmm__sys_injected_slow(site);
}

/*
 * The value of a C library or system call that returns -1 and sets errno, as a value or -errno with errno as it was; or
 * the injected failure without any call.
 */
#define HMM__SYS_CALL(site, call) \
	({ \
		long r_ = hmm__sys_injected(site); \
		if (HMM__LIKELY(r_ == 0)) { \
			int errno_ = errno; \
			r_ = (long)(call); \
			if (r_ < 0) { \
				r_ = -errno; \
				errno = errno_; \
			} \
		} \
		r_; \
	})

/* The same of a call that opens a descriptor: every one of the library's goes through here (fd.h). */
#define HMM__SYS_OPENS(site, call) hmm__fd_own((int)HMM__SYS_CALL(site, call), false)

#endif
