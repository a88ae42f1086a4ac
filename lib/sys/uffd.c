/* SPDX-License-Identifier: MIT */
/*
 * uffd.c - userfaultfd(2) and its ioctls
 *
 * The transfers report how far they got in the last field of their argument: bytes, or -errno.  The kernel answers
 * EAGAIN to a transfer that stopped half-way, and may leave the field alone where it did not even begin; so the field
 * is 0 beforehand and a negative one counts as nothing done.
 */
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "lib/sys/inject.h"

static struct uffdio_range range(void *address, size_t length)
{
	return (struct uffdio_range){ .start = (uintptr_t)address, .len = length };
}

static size_t bytes_done(int64_t field)
{
	return field > 0 ? (size_t)field : 0;
}

int hmm__sys_userfaultfd(int flags)
{
	return (int)HMM__SYS_CALL(HMM__SYS_USERFAULTFD, syscall(SYS_userfaultfd, flags));
}

int hmm__sys_userfaultfd_dev(int dev, int flags)
{
	return (int)HMM__SYS_CALL(HMM__SYS_USERFAULTFD_DEV, ioctl(dev, USERFAULTFD_IOC_NEW, flags));
}

int hmm__sys_uffd_api(int fd, uint64_t features, uint64_t *ret_features, uint64_t *ret_ioctls)
{
	struct uffdio_api api = { .api = UFFD_API, .features = features };
	int r = (int)HMM__SYS_CALL(HMM__SYS_UFFD_API, ioctl(fd, UFFDIO_API, &api));

	if (!r) {
		*ret_features = api.features;
		*ret_ioctls = api.ioctls;
	}
	return r;
}

int hmm__sys_uffd_register(int fd, void *address, size_t length, uint64_t mode, uint64_t *ret_ioctls)
{
	struct uffdio_register reg = { .range = range(address, length), .mode = mode };
	int r = (int)HMM__SYS_CALL(HMM__SYS_UFFD_REGISTER, ioctl(fd, UFFDIO_REGISTER, &reg));

	if (!r && ret_ioctls)
		*ret_ioctls = reg.ioctls;
	return r;
}

int hmm__sys_uffd_unregister(int fd, void *address, size_t length)
{
	struct uffdio_range r = range(address, length);

	return (int)HMM__SYS_CALL(HMM__SYS_UFFD_UNREGISTER, ioctl(fd, UFFDIO_UNREGISTER, &r));
}

int hmm__sys_uffd_copy(int fd, void *dst, const void *src, size_t length, uint64_t mode, size_t *ret_done)
{
	struct uffdio_copy copy = { .dst = (uintptr_t)dst, .src = (uintptr_t)src, .len = length, .mode = mode };
	int r = (int)HMM__SYS_CALL(HMM__SYS_UFFD_COPY, ioctl(fd, UFFDIO_COPY, &copy));

	*ret_done = bytes_done(copy.copy);
	return r;
}

int hmm__sys_uffd_zeropage(int fd, void *dst, size_t length, uint64_t mode, size_t *ret_done)
{
	struct uffdio_zeropage zero = { .range = range(dst, length), .mode = mode };
	int r = (int)HMM__SYS_CALL(HMM__SYS_UFFD_ZEROPAGE, ioctl(fd, UFFDIO_ZEROPAGE, &zero));

	*ret_done = bytes_done(zero.zeropage);
	return r;
}

int hmm__sys_uffd_move(int fd, void *dst, void *src, size_t length, uint64_t mode, size_t *ret_done)
{
	struct hmm__uffdio_move move = { .dst = (uintptr_t)dst, .src = (uintptr_t)src, .len = length, .mode = mode };
	int r = (int)HMM__SYS_CALL(HMM__SYS_UFFD_MOVE, ioctl(fd, UFFDIO_MOVE, &move));

	*ret_done = bytes_done(move.move);
	return r;
}

int hmm__sys_uffd_wp(int fd, void *address, size_t length, uint64_t mode)
{
	struct uffdio_writeprotect wp = { .range = range(address, length), .mode = mode };

	return (int)HMM__SYS_CALL(HMM__SYS_UFFD_WP, ioctl(fd, UFFDIO_WRITEPROTECT, &wp));
}

int hmm__sys_uffd_wake(int fd, void *address, size_t length)
{
	struct uffdio_range r = range(address, length);

	return (int)HMM__SYS_CALL(HMM__SYS_UFFD_WAKE, ioctl(fd, UFFDIO_WAKE, &r));
}

int hmm__sys_uffd_poison(int fd, void *address, size_t length, uint64_t mode)
{
	struct hmm__uffdio_poison poison = { .range = range(address, length), .mode = mode };

	return (int)HMM__SYS_CALL(HMM__SYS_UFFD_POISON, ioctl(fd, UFFDIO_POISON, &poison));
}
