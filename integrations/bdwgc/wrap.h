/* SPDX-License-Identifier: MIT */
/*
 * wrap.h - to define a function in place of the C library's
 */
#ifndef HMM_INTEGRATIONS_BDWGC_WRAP_H
#define HMM_INTEGRATIONS_BDWGC_WRAP_H

#include <dlfcn.h>
#include <pthread.h>
#include <string.h>

#include "heap.h"

/*
 * At file scope: finds the next definition after ours, which is the C library's.  When the library is loaded, because
 * hurd-mm itself reads and writes in a signal handler; but some are called before that.
 */
#define NEXT(name) \
	static __typeof__(name) *next_##name; \
	__attribute__((constructor)) static void find_##name(void) \
	{ \
		void *found = dlsym(RTLD_NEXT, #name); \
		memcpy(&next_##name, &found, sizeof(found)); \
	}

/* The function itself. */
#define REAL(name) (next_##name ? next_##name : (find_##name(), next_##name))

#endif
