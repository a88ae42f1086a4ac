/* SPDX-License-Identifier: MIT */
/*
 * wrap_io.c - read, write, send, receive, poll: from and to memory of the heap
 *
 * The names with _chk are what _FORTIFY_SOURCE makes of the others; they check the size of the object and do the same.
 */

#include "wrap.h"

#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <sys/random.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

ssize_t __read_chk(int fd, void *buffer, size_t n, size_t size);
ssize_t __pread_chk(int fd, void *buffer, size_t n, off_t offset, size_t size);
ssize_t __pread64_chk(int fd, void *buffer, size_t n, off64_t offset, size_t size);
ssize_t __recv_chk(int fd, void *buffer, size_t n, size_t size, int flags);
ssize_t __recvfrom_chk(int fd, void *buffer, size_t n, size_t size, int flags, __SOCKADDR_ARG from, socklen_t *length);
size_t __fread_chk(void *buffer, size_t size, size_t item, size_t n, FILE *file);
int __poll_chk(struct pollfd *fds, nfds_t n, int timeout, size_t size);

/* One buffer, of which less may be transferred. */
#define TRANSFER(name, parameters, buffer, use, ...) \
	NEXT(name) \
	WRAPPER ssize_t name parameters \
	{ \
		HOLD(hold); \
		n = hmm__hold(&hold, (uintptr_t)(buffer), n, use); \
		return REAL(name)(__VA_ARGS__); \
	}

TRANSFER(read, (int fd, void *buffer, size_t n), buffer, HMM__IS_WRITTEN, fd, buffer, n)
TRANSFER(pread, (int fd, void *buffer, size_t n, off_t offset), buffer, HMM__IS_WRITTEN, fd, buffer, n, offset)
TRANSFER(pread64, (int fd, void *buffer, size_t n, off64_t offset), buffer, HMM__IS_WRITTEN, fd, buffer, n, offset)
TRANSFER(write, (int fd, const void *buffer, size_t n), buffer, HMM__IS_READ, fd, buffer, n)
TRANSFER(pwrite, (int fd, const void *buffer, size_t n, off_t offset), buffer, HMM__IS_READ, fd, buffer, n, offset)
TRANSFER(pwrite64, (int fd, const void *buffer, size_t n, off64_t offset), buffer, HMM__IS_READ, fd, buffer, n, offset)
TRANSFER(getrandom, (void *buffer, size_t n, unsigned flags), buffer, HMM__IS_WRITTEN, buffer, n, flags)
TRANSFER(__read_chk, (int fd, void *buffer, size_t n, size_t size), buffer, HMM__IS_WRITTEN, fd, buffer, n, size)
TRANSFER(__pread_chk, (int fd, void *buffer, size_t n, off_t offset, size_t size), buffer, HMM__IS_WRITTEN, fd, buffer,
         n, offset, size)
TRANSFER(__pread64_chk, (int fd, void *buffer, size_t n, off64_t offset, size_t size), buffer, HMM__IS_WRITTEN, fd,
         buffer, n, offset, size)

/* One buffer that is one message: all of it or as it comes. */
#define MESSAGE(name, parameters, buffer, use, ...) \
	NEXT(name) \
	WRAPPER ssize_t name parameters \
	{ \
		HOLD(hold); \
		hmm__hold(&hold, (uintptr_t)(buffer), n, use); \
		return REAL(name)(__VA_ARGS__); \
	}

MESSAGE(recv, (int fd, void *buffer, size_t n, int flags), buffer, HMM__IS_WRITTEN, fd, buffer, n, flags)
MESSAGE(__recv_chk, (int fd, void *buffer, size_t n, size_t size, int flags), buffer, HMM__IS_WRITTEN, fd, buffer, n,
        size, flags)
MESSAGE(send, (int fd, const void *buffer, size_t n, int flags), buffer, HMM__IS_READ, fd, buffer, n, flags)
MESSAGE(recvfrom, (int fd, void *buffer, size_t n, int flags, __SOCKADDR_ARG from, socklen_t *length), buffer,
        HMM__IS_WRITTEN, fd, buffer, n, flags, from, length)
MESSAGE(__recvfrom_chk, (int fd, void *buffer, size_t n, size_t size, int flags, __SOCKADDR_ARG from,
        socklen_t *length), buffer, HMM__IS_WRITTEN, fd, buffer, n, size, flags, from, length)
MESSAGE(sendto, (int fd, const void *buffer, size_t n, int flags, __CONST_SOCKADDR_ARG to, socklen_t length), buffer,
        HMM__IS_READ, fd, buffer, n, flags, to, length)

/* Several buffers: as many of them as can be held, and if not one, a part of the first. */

#define VECTOR_MOST 64

struct vector {
	struct hmm__hold holds[VECTOR_MOST];
	struct iovec part;
	const struct iovec *iov; /* what to pass on */
	int n;
};

static void end_vector(struct vector *vector)
{
	for (int i = 0; i < vector->n; i++)
		hmm__hold_end(&vector->holds[i]);
}

static bool meets_heap(const struct iovec *iov, int n)
{
	for (int i = 0; i < n; i++) {
		if (hmm__heap_meets(iov[i].iov_base, iov[i].iov_len))
			return true;
	}
	return false;
}

static void hold_vector(struct vector *vector, const struct iovec *iov, int n, enum hmm__use use)
{
	n = n < VECTOR_MOST ? n : VECTOR_MOST;
	vector->iov = iov;
	for (vector->n = 0; vector->n < n; vector->n++) {
		struct hmm__hold *hold = &vector->holds[vector->n];
		const struct iovec *io = &iov[vector->n];
		size_t some = hmm__hold(hold, (uintptr_t)io->iov_base, io->iov_len, use);

		if (some == io->iov_len)
			continue;
		if (vector->n) {
			hmm__hold_end(hold);
			return;
		}
		vector->part = (struct iovec){ io->iov_base, some };
		vector->iov = &vector->part;
		n = 1;
	}
}

#define TRANSFER_VECTOR(name, parameters, use, all, some) \
	NEXT(name) \
	WRAPPER ssize_t name parameters \
	{ \
		__attribute__((cleanup(end_vector))) struct vector v; \
		v.n = 0; \
		if (n <= 0 || n > IOV_MAX || !meets_heap(iov, n)) \
			return REAL(name) all; \
		hold_vector(&v, iov, n, use); \
		return REAL(name) some; \
	}

TRANSFER_VECTOR(readv, (int fd, const struct iovec *iov, int n), HMM__IS_WRITTEN, (fd, iov, n), (fd, v.iov, v.n))
TRANSFER_VECTOR(writev, (int fd, const struct iovec *iov, int n), HMM__IS_READ, (fd, iov, n), (fd, v.iov, v.n))
TRANSFER_VECTOR(preadv, (int fd, const struct iovec *iov, int n, off_t offset), HMM__IS_WRITTEN, (fd, iov, n, offset),
                (fd, v.iov, v.n, offset))
TRANSFER_VECTOR(pwritev, (int fd, const struct iovec *iov, int n, off_t offset), HMM__IS_READ, (fd, iov, n, offset),
                (fd, v.iov, v.n, offset))
TRANSFER_VECTOR(preadv64, (int fd, const struct iovec *iov, int n, off64_t offset), HMM__IS_WRITTEN,
                (fd, iov, n, offset), (fd, v.iov, v.n, offset))
TRANSFER_VECTOR(pwritev64, (int fd, const struct iovec *iov, int n, off64_t offset), HMM__IS_READ,
                (fd, iov, n, offset), (fd, v.iov, v.n, offset))

#define MESSAGE_VECTOR(name, message_type, use) \
	NEXT(name) \
	WRAPPER ssize_t name(int fd, message_type *message, int flags) \
	{ \
		int n = message->msg_iovlen < VECTOR_MOST ? (int)message->msg_iovlen : VECTOR_MOST; \
		__attribute__((cleanup(end_vector))) struct vector v; \
		v.n = 0; \
		if (meets_heap(message->msg_iov, n)) \
			hold_vector(&v, message->msg_iov, n, use); \
		return REAL(name)(fd, message, flags); \
	}

MESSAGE_VECTOR(recvmsg, struct msghdr, HMM__IS_WRITTEN)
MESSAGE_VECTOR(sendmsg, const struct msghdr, HMM__IS_READ)

/* Large reads and writes of a stream go around its buffer, by system calls inside the C library: in pieces, then. */

static bool fits(const void *buffer, size_t item, size_t n)
{
	return item && n && n <= SIZE_MAX / item && hmm__heap_meets(buffer, item * n);
}

NEXT(fread)

WRAPPER size_t fread(void *restrict buffer, size_t item, size_t n, FILE *restrict file)
{
	size_t bytes = item * n, done = 0;

	if (!fits(buffer, item, n))
		return REAL(fread)(buffer, item, n, file);
	while (done < bytes) {
		HOLD(hold);
		size_t some = hmm__hold(&hold, (uintptr_t)buffer + done, bytes - done, HMM__IS_WRITTEN), got;

		got = REAL(fread)((char *)buffer + done, 1, some, file);
		done += got;
		if (got < some)
			break;
	}
	return done / item;
}

NEXT(fwrite)

WRAPPER size_t fwrite(const void *restrict buffer, size_t item, size_t n, FILE *restrict file)
{
	size_t bytes = item * n, done = 0;

	if (!fits(buffer, item, n))
		return REAL(fwrite)(buffer, item, n, file);
	while (done < bytes) {
		HOLD(hold);
		size_t some = hmm__hold(&hold, (uintptr_t)buffer + done, bytes - done, HMM__IS_READ), put;

		put = REAL(fwrite)((const char *)buffer + done, 1, some, file);
		done += put;
		if (put < some)
			break;
	}
	return done / item;
}

NEXT(__fread_chk)

WRAPPER size_t __fread_chk(void *buffer, size_t size, size_t item, size_t n, FILE *file)
{

	if (!fits(buffer, item, n) || item * n > size)
		return REAL(__fread_chk)(buffer, size, item, n, file);
	return fread(buffer, item, n, file);
}

/* Arrays that a call reads and writes while it waits. */
#define WAIT(name, parameters, array, length, ...) \
	NEXT(name) \
	WRAPPER int name parameters \
	{ \
		HOLD(hold); \
		hmm__hold(&hold, (uintptr_t)(array), length, HMM__IS_WRITTEN); \
		return REAL(name)(__VA_ARGS__); \
	}

WAIT(poll, (struct pollfd *fds, nfds_t n, int timeout), fds, n * sizeof(*fds), fds, n, timeout)
WAIT(__poll_chk, (struct pollfd *fds, nfds_t n, int timeout, size_t size), fds, n * sizeof(*fds), fds, n, timeout, size)
WAIT(ppoll, (struct pollfd *fds, nfds_t n, const struct timespec *timeout, const sigset_t *mask), fds,
     n * sizeof(*fds), fds, n, timeout, mask)
WAIT(epoll_wait, (int fd, struct epoll_event *events, int n, int timeout), events,
     n > 0 ? (size_t)n * sizeof(*events) : 0, fd, events, n, timeout)
