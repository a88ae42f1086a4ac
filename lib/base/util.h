/* SPDX-License-Identifier: MIT */
/*
 * util.h - small macros that every file may use
 */
#ifndef HMM_BASE_UTIL_H
#define HMM_BASE_UTIL_H

#include <assert.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define HMM__LIKELY(x) __builtin_expect(!!(x), 1)
#define HMM__UNLIKELY(x) __builtin_expect(!!(x), 0)
#define HMM__ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))
/* Each use has its own names, so that one may stand within another. */
#define HMM__PASTE_(x, y) x##y
#define HMM__PASTE(x, y) HMM__PASTE_(x, y)
#define HMM__CHOOSE(x, op, y, nx, ny) ({ __typeof__(x) nx = (x); __typeof__(y) ny = (y); nx op ny ? nx : ny; })
#define HMM__CHOOSE_(x, op, y, n) HMM__CHOOSE(x, op, y, HMM__PASTE(x_, n), HMM__PASTE(y_, n))
#define HMM__MIN(x, y) HMM__CHOOSE_(x, <, y, __COUNTER__)
#define HMM__MAX(x, y) HMM__CHOOSE_(x, >, y, __COUNTER__)
#define HMM__ALIGN_UP(x, a) (((x) + ((__typeof__(x))(a) - 1)) & ~((__typeof__(x))(a) - 1))
#define HMM__IS_ALIGNED(x, a) ((((uintptr_t)(x)) & ((uintptr_t)(a) - 1)) == 0)
#define HMM__CONTAINER_OF(ptr, type, member) ((type *)((char *)(ptr) - offsetof(type, member)))

bool hmm__all_zero(const void *data, size_t n);
/*
 * Read a caller's options structure: copy what both sides know into known (zeroed first), -EINVAL if the caller's size
 * is 0 or too small to hold a size, -E2BIG if an unknown tail is not zero.  opts NULL: all zero.
 */
int hmm__options_read(void *known, size_t known_size, const void *opts);
/* Write a statistics structure of the caller's size: what both sides know; the rest of the caller's is zeroed. */
int hmm__stats_write(void *caller, const void *known, size_t known_size);

#endif
