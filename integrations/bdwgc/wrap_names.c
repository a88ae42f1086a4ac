/* SPDX-License-Identifier: MIT */
/*
 * wrap_names.c - system calls that take a name, which may be a string in the heap
 */

#include "wrap.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#define NAMED(type, name, parameters, string, ...) \
	NEXT(name) \
	WRAPPER type name parameters \
	{ \
		HOLD(hold); \
		hmm__hold_string(&hold, string); \
		return REAL(name)(__VA_ARGS__); \
	}

NAMED(int, access, (const char *path, int mode), path, path, mode)
NAMED(int, chdir, (const char *path), path, path)
NAMED(int, mkdir, (const char *path, mode_t mode), path, path, mode)
NAMED(int, rmdir, (const char *path), path, path)
NAMED(int, unlink, (const char *path), path, path)
NAMED(int, stat, (const char *restrict path, struct stat *restrict st), path, path, st)
NAMED(int, lstat, (const char *restrict path, struct stat *restrict st), path, path, st)
NAMED(int, stat64, (const char *restrict path, struct stat64 *restrict st), path, path, st)
NAMED(int, lstat64, (const char *restrict path, struct stat64 *restrict st), path, path, st)
NAMED(DIR *, opendir, (const char *path), path, path)
NAMED(FILE *, fopen, (const char *restrict path, const char *restrict mode), path, path, mode)
NAMED(FILE *, fopen64, (const char *restrict path, const char *restrict mode), path, path, mode)

NEXT(rename)

WRAPPER int rename(const char *from, const char *to)
{
	HOLD(hold);
	HOLD(other);

	hmm__hold_string(&hold, from);
	hmm__hold_string(&other, to);
	return REAL(rename)(from, to);
}

NEXT(readlink)

WRAPPER ssize_t readlink(const char *restrict path, char *restrict buffer, size_t n)
{
	HOLD(hold);
	HOLD(other);

	hmm__hold_string(&hold, path);
	n = hmm__hold(&other, (uintptr_t)buffer, n, HMM__IS_WRITTEN);
	return REAL(readlink)(path, buffer, n);
}

/* The mode is there only with some flags. */
#define MODE(flags) \
	mode_t mode = 0; \
	if ((flags) & O_CREAT || ((flags) & O_TMPFILE) == O_TMPFILE) { \
		va_list rest; \
		va_start(rest, flags); \
		mode = va_arg(rest, mode_t); \
		va_end(rest); \
	}

#define OPEN(name, parameters, ...) \
	NEXT(name) \
	WRAPPER int name parameters \
	{ \
		HOLD(hold); \
		MODE(flags) \
		hmm__hold_string(&hold, path); \
		return REAL(name)(__VA_ARGS__, mode); \
	}

OPEN(open, (const char *path, int flags, ...), path, flags)
OPEN(open64, (const char *path, int flags, ...), path, flags)
OPEN(openat, (int fd, const char *path, int flags, ...), fd, path, flags)
OPEN(openat64, (int fd, const char *path, int flags, ...), fd, path, flags)
