/* SPDX-License-Identifier: MIT */
/*
 * ring.h - as much of io_uring(7) as a test needs, by bare system calls: one request at a time
 */
#ifndef HMM_TESTS_RING_H
#define HMM_TESTS_RING_H

#include <errno.h>
#include <linux/io_uring.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

struct ring {
	int fd;
	struct io_uring_params p;
	char *queue;
	size_t queue_size;
	struct io_uring_sqe *sqes;
};

static inline uint32_t *ring_field(struct ring *r, uint32_t offset)
{
	return (uint32_t *)(void *)(r->queue + offset);
}

/* 0 or -errno: not every kernel has it or lets everybody use it. */
static inline int ring_open(struct ring *r)
{
	size_t sq, cq;

	memset(r, 0, sizeof(*r));
	r->fd = (int)syscall(SYS_io_uring_setup, 4, &r->p);
	if (r->fd < 0)
		return -errno;
	sq = r->p.sq_off.array + r->p.sq_entries * sizeof(uint32_t);
	cq = r->p.cq_off.cqes + r->p.cq_entries * sizeof(struct io_uring_cqe);
	r->queue_size = sq > cq ? sq : cq;
	if (!(r->p.features & IORING_FEAT_SINGLE_MMAP)) {
		close(r->fd);
		return -ENOSYS;
	}
	r->queue = mmap(NULL, r->queue_size, PROT_READ | PROT_WRITE, MAP_SHARED, r->fd, IORING_OFF_SQ_RING);
	r->sqes = mmap(NULL, r->p.sq_entries * sizeof(struct io_uring_sqe), PROT_READ | PROT_WRITE, MAP_SHARED, r->fd,
	               IORING_OFF_SQES);
	return r->queue == MAP_FAILED || (void *)r->sqes == MAP_FAILED ? -ENOMEM : 0;
}

static inline void ring_close(struct ring *r)
{
	munmap(r->queue, r->queue_size);
	munmap(r->sqes, r->p.sq_entries * sizeof(struct io_uring_sqe));
	close(r->fd);
}

static inline int ring_register(struct ring *r, void *base, size_t length)
{
	struct iovec iov = { base, length };

	return syscall(SYS_io_uring_register, r->fd, IORING_REGISTER_BUFFERS, &iov, 1) < 0 ? -errno : 0;
}

static inline int ring_unregister(struct ring *r)
{
	return syscall(SYS_io_uring_register, r->fd, IORING_UNREGISTER_BUFFERS, NULL, 0) < 0 ? -errno : 0;
}

/* Hand one request to the kernel; it may be under way when this returns. */
static inline int ring_submit(struct ring *r, uint8_t opcode, int fd, void *base, size_t length, uint64_t offset)
{
	uint32_t *tail = ring_field(r, r->p.sq_off.tail), mask = *ring_field(r, r->p.sq_off.ring_mask);
	uint32_t at = *tail & mask;

	memset(&r->sqes[at], 0, sizeof(r->sqes[at]));
	r->sqes[at].opcode = opcode;
	r->sqes[at].fd = fd;
	r->sqes[at].addr = (uintptr_t)base;
	r->sqes[at].len = (uint32_t)length;
	r->sqes[at].off = offset;
	ring_field(r, r->p.sq_off.array)[at] = at;
	__atomic_store_n(tail, *tail + 1, __ATOMIC_RELEASE);
	return syscall(SYS_io_uring_enter, r->fd, 1, 0, 0, NULL, 0) == 1 ? 0 : -errno;
}

/* The result of the request: a count or -errno. */
static inline int ring_wait(struct ring *r)
{
	uint32_t *head = ring_field(r, r->p.cq_off.head), *tail = ring_field(r, r->p.cq_off.tail);
	uint32_t mask = *ring_field(r, r->p.cq_off.ring_mask);
	struct io_uring_cqe *cqes = (void *)(r->queue + r->p.cq_off.cqes);
	int result;

	while (*head == __atomic_load_n(tail, __ATOMIC_ACQUIRE)) {
		if (syscall(SYS_io_uring_enter, r->fd, 0, 1, IORING_ENTER_GETEVENTS, NULL, 0) < 0 && errno != EINTR)
			return -errno;
	}
	result = cqes[*head & mask].res;
	__atomic_store_n(head, *head + 1, __ATOMIC_RELEASE);
	return result;
}

#endif
