/* SPDX-License-Identifier: MIT */
/*
 * uffd.c - userfaultfd(2) and its ioctls
 *
 * The transfers report how far they got in the last field of their argument: bytes, or -errno.  The kernel answers
 * EAGAIN to a transfer that stopped half-way, and may leave the field alone where it did not even begin; so the field
 * is 0 beforehand and a negative one counts as nothing done.
 *
 * While a pager serves the thread that forks nobody is woken (lib/base/forker.h): the pager does that itself, last.
 */
#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "lib/base/forker.h"
#include "lib/sys/inject.h"

static struct uffdio_range range(void *address, size_t length)
{
	return (struct uffdio_range){ .start = (uintptr_t)address, .len = length };
}

static size_t bytes_done(int64_t field)
{
	return field > 0 ? (size_t)field : 0;
}

/*
 * No other file knows these requests: EBADF and ENOTTY say that the number is not ours any more, and that nothing was
 * done.
 */
static int control(int handle, unsigned long request, void *argument)
{
	int number = hmm__fd_number(handle), r = ioctl(number, request, argument);

	if (HMM__LIKELY(r >= 0) || (errno != EBADF && errno != ENOTTY))
		return r;
	number = hmm__fd_use_exact(handle);
	if (number >= 0)
		return ioctl(number, request, argument);
	errno = -number;
	return -1;
}

static uint64_t unwoken(uint64_t mode, uint64_t dont_wake)
{
	return HMM__UNLIKELY(hmm__serves_forker()) ? mode | dont_wake : mode;
}

int hmm__sys_userfaultfd(int flags)
{
	return HMM__SYS_OPENS(HMM__SYS_USERFAULTFD, syscall(SYS_userfaultfd, flags | O_CLOEXEC));
}

int hmm__sys_userfaultfd_dev(int dev, int flags)
{
	return HMM__SYS_OPENS(HMM__SYS_USERFAULTFD_DEV, ioctl(hmm__fd_number(dev), USERFAULTFD_IOC_NEW, flags | O_CLOEXEC));
}

int hmm__sys_uffd_api(int fd, uint64_t features, uint64_t *ret_features, uint64_t *ret_ioctls)
{
	struct uffdio_api api = { .api = UFFD_API, .features = features };
	int r = (int)HMM__SYS_CALL(HMM__SYS_UFFD_API, control(fd, UFFDIO_API, &api));

	if (!r) {
		*ret_features = api.features;
		*ret_ioctls = api.ioctls;
	}
	return r;
}

int hmm__sys_uffd_register(int fd, void *address, size_t length, uint64_t mode, uint64_t *ret_ioctls)
{
	struct uffdio_register reg = { .range = range(address, length), .mode = mode };
	int r = (int)HMM__SYS_CALL(HMM__SYS_UFFD_REGISTER, control(fd, UFFDIO_REGISTER, &reg));

	if (!r && ret_ioctls)
		*ret_ioctls = reg.ioctls;
	return r;
}

int hmm__sys_uffd_unregister(int fd, void *address, size_t length)
{
	struct uffdio_range r = range(address, length);

	return (int)HMM__SYS_CALL(HMM__SYS_UFFD_UNREGISTER, control(fd, UFFDIO_UNREGISTER, &r));
}

int hmm__sys_uffd_copy(int fd, void *dst, const void *src, size_t length, uint64_t mode, size_t *ret_done)
{
	struct uffdio_copy copy = { .dst = (uintptr_t)dst, .src = (uintptr_t)src, .len = length,
	                             .mode = unwoken(mode, UFFDIO_COPY_MODE_DONTWAKE) };
	int r = (int)HMM__SYS_CALL(HMM__SYS_UFFD_COPY, control(fd, UFFDIO_COPY, &copy));

	*ret_done = bytes_done(copy.copy);
	return r;
}

int hmm__sys_uffd_zeropage(int fd, void *dst, size_t length, uint64_t mode, size_t *ret_done)
{
	struct uffdio_zeropage zero = { .range = range(dst, length), .mode = unwoken(mode, UFFDIO_ZEROPAGE_MODE_DONTWAKE) };
	int r = (int)HMM__SYS_CALL(HMM__SYS_UFFD_ZEROPAGE, control(fd, UFFDIO_ZEROPAGE, &zero));

	*ret_done = bytes_done(zero.zeropage);
	return r;
}

int hmm__sys_uffd_move(int fd, void *dst, void *src, size_t length, uint64_t mode, size_t *ret_done)
{
	struct hmm__uffdio_move move = { .dst = (uintptr_t)dst, .src = (uintptr_t)src, .len = length,
	                                 .mode = unwoken(mode, UFFDIO_MOVE_MODE_DONTWAKE) };
	int r = (int)HMM__SYS_CALL(HMM__SYS_UFFD_MOVE, control(fd, UFFDIO_MOVE, &move));

	*ret_done = bytes_done(move.move);
	return r;
}

int hmm__sys_uffd_wp(int fd, void *address, size_t length, uint64_t mode)
{
	/* protecting wakes nobody, and does not take the flag */
	uint64_t how = mode & UFFDIO_WRITEPROTECT_MODE_WP ? mode : unwoken(mode, UFFDIO_WRITEPROTECT_MODE_DONTWAKE);
	struct uffdio_writeprotect wp = { .range = range(address, length), .mode = how };

	return (int)HMM__SYS_CALL(HMM__SYS_UFFD_WP, control(fd, UFFDIO_WRITEPROTECT, &wp));
}

int hmm__sys_uffd_wake(int fd, void *address, size_t length)
{
	struct uffdio_range r = range(address, length);

	if (HMM__UNLIKELY(hmm__serves_forker()))
		return 0;
	return (int)HMM__SYS_CALL(HMM__SYS_UFFD_WAKE, control(fd, UFFDIO_WAKE, &r));
}

int hmm__sys_uffd_poison(int fd, void *address, size_t length, uint64_t mode)
{
	struct hmm__uffdio_poison poison = { .range = range(address, length),
	                                     .mode = unwoken(mode, UFFDIO_POISON_MODE_DONTWAKE) };

	return (int)HMM__SYS_CALL(HMM__SYS_UFFD_POISON, control(fd, UFFDIO_POISON, &poison));
}

ssize_t hmm__sys_uffd_read(int uffd, void *buffer, size_t length)
{
	return hmm__sys_read(hmm__fd_number(uffd), buffer, length);
}
