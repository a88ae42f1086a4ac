/* SPDX-License-Identifier: MIT */
/*
 * wrap_vectors.c - calls with lists of buffers, whose pointers lie in memory themselves
 *
 * All buffers are pinned, and the lists.  Where not all can be, a transfer is cut short: to the buffers that could be, or a
 * part of the first; a message is not cut.
 */
#include "loans.h"

#include <alloca.h>
#include <fcntl.h>
#include <limits.h>
#include <sys/socket.h>
#include <sys/uio.h>

struct pins {
	struct hmm__pin *pin;
	size_t n, most;
};

static void end_pins(struct pins *pins)
{
	while (pins->n)
		hmm__unpin(&pins->pin[--pins->n]);
}

#define PINS(name, count) \
	__attribute__((cleanup(end_pins))) struct pins name = { .most = (count) }; \
	name.pin = alloca(name.most * sizeof(*name.pin))

static size_t pin(struct pins *pins, const void *address, size_t length, bool is_written, bool may_be_less)
{
	if (pins->n == pins->most)
		return length;
	length = hmm__pin(&pins->pin[pins->n], address, length, is_written, may_be_less);
	pins->n += pins->pin[pins->n].length != 0;
	return length;
}

static bool meets_heap(const struct iovec *iov, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		if (hmm__heap_meets(iov[i].iov_base, iov[i].iov_len))
			return true;
	}
	return false;
}

/* A copy of the list, which is passed on; false: the call is none of ours, or the list can't be read. */
static bool take(struct iovec *copy, const struct iovec *iov, size_t n)
{
	return hmm__peek(copy, iov, n * sizeof(*iov)) && (hmm__heap_meets(iov, 1) || meets_heap(copy, n));
}

static bool is_list(long long n)
{
	return hmm__heap.is_inline && n > 0 && n <= IOV_MAX;
}

/* How many of the buffers may be used; the first may have become shorter. */
static size_t pin_vector(struct pins *pins, struct iovec *iov, size_t n, bool is_written)
{
	for (size_t i = 0; i < n; i++) {
		size_t some = pin(pins, iov[i].iov_base, iov[i].iov_len, is_written, true);

		if (some == iov[i].iov_len)
			continue;
		if (i)
			return i;
		iov[0].iov_len = some;
		return 1;
	}
	return n;
}

#define VECTOR(type, name, parameters, is_written, arguments) \
	NEXT(name) \
	WRAPPER type name parameters \
	{ \
		struct iovec *copy = alloca((is_list((long long)n) ? (size_t)n : 1) * sizeof(*copy)); \
		PINS(pins, is_list((long long)n) ? (size_t)n : 1); \
		if (!is_list((long long)n) || !take(copy, iov, (size_t)n)) \
			return REAL(name) arguments; \
		n = (__typeof__(n))pin_vector(&pins, copy, (size_t)n, is_written); \
		iov = copy; \
		return REAL(name) arguments; \
	}

VECTOR(ssize_t, readv, (int fd, const struct iovec *iov, int n), true, (fd, iov, n))
VECTOR(ssize_t, writev, (int fd, const struct iovec *iov, int n), false, (fd, iov, n))
VECTOR(ssize_t, preadv, (int fd, const struct iovec *iov, int n, off_t offset), true, (fd, iov, n, offset))
VECTOR(ssize_t, pwritev, (int fd, const struct iovec *iov, int n, off_t offset), false, (fd, iov, n, offset))
VECTOR(ssize_t, preadv64, (int fd, const struct iovec *iov, int n, off64_t offset), true, (fd, iov, n, offset))
VECTOR(ssize_t, pwritev64, (int fd, const struct iovec *iov, int n, off64_t offset), false, (fd, iov, n, offset))
VECTOR(ssize_t, preadv2, (int fd, const struct iovec *iov, int n, off_t offset, int flags), true,
       (fd, iov, n, offset, flags))
VECTOR(ssize_t, pwritev2, (int fd, const struct iovec *iov, int n, off_t offset, int flags), false,
       (fd, iov, n, offset, flags))
VECTOR(ssize_t, preadv64v2, (int fd, const struct iovec *iov, int n, off64_t offset, int flags), true,
       (fd, iov, n, offset, flags))
VECTOR(ssize_t, pwritev64v2, (int fd, const struct iovec *iov, int n, off64_t offset, int flags), false,
       (fd, iov, n, offset, flags))
VECTOR(ssize_t, vmsplice, (int fd, const struct iovec *iov, size_t n, unsigned flags), true, (fd, iov, n, flags))

/* Of the two lists the other process's only names addresses. */
#define BETWEEN(name, is_written) \
	NEXT(name) \
	WRAPPER ssize_t name(pid_t pid, const struct iovec *iov, unsigned long n, const struct iovec *theirs, \
	                     unsigned long ntheirs, unsigned long flags) \
	{ \
		struct iovec *copy = alloca((is_list((long long)n) ? (size_t)n : 1) * sizeof(*copy)); \
		PINS(pins, is_list((long long)n) ? n : 1); \
		LOANS(loans); \
		theirs = hmm__lend(&loans, LENT(theirs), hmm__times((long long)ntheirs, sizeof(*theirs)), HMM__READ, 0); \
		if (!is_list((long long)n) || !take(copy, iov, n)) \
			return REAL(name)(pid, iov, n, theirs, ntheirs, flags); \
		n = pin_vector(&pins, copy, n, is_written); \
		return REAL(name)(pid, copy, n, theirs, ntheirs, flags); \
	}

BETWEEN(process_vm_readv, true)
BETWEEN(process_vm_writev, false)

/* Messages: the message, its address, its control data, its list, its buffers. */
#define EACH 4u

/* Pins that it takes; 0: it can't be read. */
static size_t count(const struct msghdr *message)
{
	struct msghdr m;

	if (!hmm__peek(&m, message, sizeof(m)) || m.msg_iovlen > IOV_MAX)
		return 0;
	return EACH + m.msg_iovlen;
}

static void pin_message(struct pins *pins, const struct msghdr *message, bool is_written)
{
	struct msghdr m;

	if (!hmm__peek(&m, message, sizeof(m)) || m.msg_iovlen > IOV_MAX)
		return;
	pin(pins, message, sizeof(m), is_written, false);
	pin(pins, m.msg_name, m.msg_namelen, is_written, false);
	pin(pins, m.msg_control, m.msg_controllen, is_written, false);
	pin(pins, m.msg_iov, m.msg_iovlen * sizeof(*m.msg_iov), false, false);
	for (size_t i = 0; i < m.msg_iovlen; i++) {
		struct iovec io;

		if (hmm__peek(&io, &m.msg_iov[i], sizeof(io)))
			pin(pins, io.iov_base, io.iov_len, is_written, false);
	}
}

#define MESSAGE(name, message_type, is_written) \
	NEXT(name) \
	WRAPPER ssize_t name(int fd, message_type *message, int flags) \
	{ \
		size_t n = hmm__heap.is_inline ? count(message) : 0; \
		PINS(pins, n ? n : 1); \
		if (n) \
			pin_message(&pins, message, is_written); \
		return REAL(name)(fd, message, flags); \
	}

MESSAGE(recvmsg, struct msghdr, true)
MESSAGE(sendmsg, const struct msghdr, false)

/* Of several messages as many as come to MOST pins, and at least one: the kernel may do fewer, too. */
#define MOST 2048u

static size_t count_several(const struct mmsghdr *messages, unsigned *n)
{
	size_t sum = 0;

	for (unsigned i = 0; i < *n; i++) {
		size_t more = count(&messages[i].msg_hdr);

		if (!more || (i && sum + more + 1 > MOST)) {
			*n = more ? i : *n;
			break;
		}
		sum += more + 1;
	}
	return sum;
}

static void pin_several(struct pins *pins, struct mmsghdr *messages, unsigned n, bool is_written)
{
	for (unsigned i = 0; i < n; i++) {
		pin_message(pins, &messages[i].msg_hdr, is_written);
		pin(pins, &messages[i].msg_len, sizeof(messages[i].msg_len), true, false);
	}
}

NEXT(sendmmsg)

WRAPPER int sendmmsg(int fd, struct mmsghdr *messages, unsigned n, int flags)
{
	size_t most = hmm__heap.is_inline ? count_several(messages, &n) : 0;
	PINS(pins, most ? most : 1);

	if (most)
		pin_several(&pins, messages, n, false);
	return REAL(sendmmsg)(fd, messages, n, flags);
}

NEXT(recvmmsg)

WRAPPER int recvmmsg(int fd, struct mmsghdr *messages, unsigned n, int flags, struct timespec *timeout)
{
	size_t most = hmm__heap.is_inline ? count_several(messages, &n) : 0;
	PINS(pins, most ? most : 1);
	LOANS(loans);

	if (most)
		pin_several(&pins, messages, n, true);
	timeout = hmm__lend(&loans, LENT(timeout), sizeof(*timeout), HMM__WRITTEN, 0);
	return REAL(recvmmsg)(fd, messages, n, flags, timeout);
}
