/* SPDX-License-Identifier: MIT */
/*
 * wrap_own.c - calls whose arguments the table can't name: streams, and those with arguments of many kinds
 */
#include "loans.h"

#include <fcntl.h>
#include <mqueue.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/sem.h>

#include "fortified.h"

/* Where headers make macros of them. */
#undef fread_unlocked
#undef fwrite_unlocked

/* Large reads and writes of a stream go around its buffer, by system calls inside the C library: in pieces, then. */

static bool fits(const void *buffer, size_t item, size_t n)
{
	return item && n && n <= SIZE_MAX / item && hmm__is_lent(buffer, item * n);
}

#define STREAM(name, qualifier, use) \
	NEXT(name) \
	WRAPPER size_t name(qualifier void *restrict buffer, size_t item, size_t n, FILE *restrict file) \
	{ \
		size_t bytes = item * n, done = 0; \
		if (!fits(buffer, item, n)) \
			return REAL(name)(buffer, item, n, file); \
		while (done < bytes) { \
			size_t some = bytes - done, moved; \
			LOANS(loans); \
			qualifier void *piece = hmm__lend_some(&loans, LENT((qualifier char *)buffer + done), &some, use); \
			moved = REAL(name)(piece, 1, some, file); \
			hmm__loans_settle(&loans, (long)moved); \
			done += moved; \
			if (moved < some) \
				break; \
		} \
		return done / item; \
	}

STREAM(fread, , HMM__RETURNED)
STREAM(fread_unlocked, , HMM__RETURNED)
STREAM(fwrite, const, HMM__READ)
STREAM(fwrite_unlocked, const, HMM__READ)

#define STREAM_CHECKED(name, plain) \
	NEXT(name) \
	WRAPPER size_t name(void *restrict buffer, size_t size, size_t item, size_t n, FILE *restrict file) \
	{ \
		if (!fits(buffer, item, n) || item * n > size) \
			return REAL(name)(buffer, size, item, n, file); \
		return plain(buffer, item, n, file); \
	}

STREAM_CHECKED(__fread_chk, fread)
STREAM_CHECKED(__fread_unlocked_chk, fread_unlocked)

/*
 * A stream's buffer in the heap would be read and written by calls inside the C library at any time.  The stream has one of
 * the C library's then: setvbuf() may, but need not, use the one that it is given.
 */

NEXT(setvbuf)

WRAPPER int setvbuf(FILE *restrict file, char *restrict buffer, int mode, size_t n)
{
	return REAL(setvbuf)(file, hmm__is_lent(buffer, n) ? NULL : buffer, mode, n);
}

NEXT(setbuf)

WRAPPER void setbuf(FILE *restrict file, char *restrict buffer)
{
	if (hmm__is_lent(buffer, BUFSIZ))
		(void)REAL(setvbuf)(file, NULL, _IOFBF, BUFSIZ);
	else
		REAL(setbuf)(file, buffer);
}

NEXT(setbuffer)

WRAPPER void setbuffer(FILE *restrict file, char *restrict buffer, size_t n)
{
	if (hmm__is_lent(buffer, n))
		(void)REAL(setvbuf)(file, NULL, _IOFBF, n);
	else
		REAL(setbuffer)(file, buffer, n);
}

/*
 * An argument that may be a number, or point to something that only the kernel knows the size of: pinned is what it points
 * to in its object, up to a page, which is more than any such structure.
 */
static void lend_argument(struct hmm__loans *loans, unsigned long argument)
{
	void *pointer = (void *)argument;
	size_t length = hmm__object_length(pointer);

	(void)hmm__lend(loans, pointer, length < hmm__heap.page ? length : hmm__heap.page, HMM__SHARED, 0);
}

#define ARGUMENT(last, name) \
	unsigned long name; \
	va_list rest; \
	va_start(rest, last); \
	name = va_arg(rest, unsigned long); \
	va_end(rest)

NEXT(ioctl)

WRAPPER int ioctl(int fd, unsigned long request, ...)
{
	LOANS(loans);
	ARGUMENT(request, argument);

	if (_IOC_SIZE(request) > hmm__heap.page)
		(void)hmm__lend(&loans, (void *)argument, _IOC_SIZE(request), HMM__SHARED, 0);
	else
		lend_argument(&loans, argument);
	return REAL(ioctl)(fd, request, argument);
}

#define FCNTL(name) \
	NEXT(name) \
	WRAPPER int name(int fd, int command, ...) \
	{ \
		LOANS(loans); \
		ARGUMENT(command, argument); \
		lend_argument(&loans, argument); \
		return REAL(name)(fd, command, argument); \
	}

FCNTL(fcntl)
FCNTL(fcntl64)

NEXT(prctl)

WRAPPER int prctl(int option, ...)
{
	unsigned long argument[4];
	LOANS(loans);
	va_list rest;

	va_start(rest, option);
	for (int i = 0; i < 4; i++) {
		argument[i] = va_arg(rest, unsigned long);
		lend_argument(&loans, argument[i]);
	}
	va_end(rest);
	return REAL(prctl)(option, argument[0], argument[1], argument[2], argument[3]);
}

NEXT(semctl)

WRAPPER int semctl(int id, int n, int command, ...)
{
	LOANS(loans);
	ARGUMENT(command, argument);

	lend_argument(&loans, argument);
	return REAL(semctl)(id, n, command, argument);
}

NEXT(mq_open)

WRAPPER mqd_t mq_open(const char *name, int flags, ...)
{
	struct mq_attr *attr = NULL;
	mode_t mode = 0;
	LOANS(loans);

	if (flags & O_CREAT) {
		va_list rest;

		va_start(rest, flags);
		mode = va_arg(rest, mode_t);
		attr = va_arg(rest, struct mq_attr *);
		va_end(rest);
	}
	name = hmm__lend_string(&loans, LENT(name), HMM__READ);
	attr = hmm__lend(&loans, LENT(attr), sizeof(*attr), HMM__READ, 0);
	return REAL(mq_open)(name, flags, mode, attr);
}
