/* SPDX-License-Identifier: MIT */
/*
 * file.c - files, and other things that have a descriptor
 *
 * Where the C library's function is a cancellation point, the system call is made directly: a thread that is cancelled
 * while it resolves a fault would leave the page in transition for good.
 */
#include <fcntl.h>
#include <linux/fs.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "lib/sys/inject.h"

int hmm__sys_open(const char *path, int flags, unsigned mode)
{
	return HMM__SYS_OPENS(HMM__SYS_OPEN, syscall(SYS_openat, AT_FDCWD, path, flags | O_CLOEXEC, mode));
}

int hmm__sys_open_callers(const char *path, int flags, unsigned mode)
{
	return hmm__fd_own((int)HMM__SYS_CALL(HMM__SYS_OPEN, syscall(SYS_openat, AT_FDCWD, path, flags | O_CLOEXEC, mode)),
	                   true);
}

int hmm__sys_dup(int fd)
{
	return hmm__fd_own_copy(fd, true);
}

int hmm__sys_close(int handle)
{
	hmm__fd_close(&handle, 1);
	return 0;
}

int hmm__sys_fstat(int fd, struct stat *ret_stat)
{
	return (int)HMM__SYS_CALL(HMM__SYS_FSTAT, fstat(fd, ret_stat));
}

int hmm__sys_stat(const char *path, struct stat *ret_stat)
{
	return (int)HMM__SYS_CALL(HMM__SYS_STAT, stat(path, ret_stat));
}

int hmm__sys_unlink(const char *path)
{
	return (int)HMM__SYS_CALL(HMM__SYS_UNLINK, unlink(path));
}

int hmm__sys_file_flags(int fd)
{
	return (int)HMM__SYS_CALL(HMM__SYS_FILE_FLAGS, fcntl(fd, F_GETFL));
}

int hmm__sys_block_length(int fd, uint64_t *ret_length)
{
	return (int)HMM__SYS_CALL(HMM__SYS_BLOCK_LENGTH, ioctl(fd, BLKGETSIZE64, ret_length));
}

int hmm__sys_file_limit(uint64_t *ret_limit)
{
	struct rlimit limit;
	int r = (int)HMM__SYS_CALL(HMM__SYS_FILE_LIMIT, getrlimit(RLIMIT_FSIZE, &limit));

	if (!r)
		*ret_limit = limit.rlim_cur == RLIM_INFINITY ? UINT64_MAX : limit.rlim_cur;
	return r;
}

/*
 * The kernel takes the offset of a vectored call in two words; on 64-bit machines the second one does not count.  One
 * piece goes by the plain call: that saves the kernel the copy of the vector, on every fault.
 */
static long transfer(long vectored, long plain, int fd, const struct iovec *iov, int n, off_t offset)
{
	if (sizeof(long) == 8 && n == 1)
		return syscall(plain, fd, iov->iov_base, iov->iov_len, offset);
	return syscall(vectored, fd, iov, (long)n, (unsigned long)offset, (unsigned long)((uint64_t)offset >> 32));
}

ssize_t hmm__sys_preadv(int fd, const struct iovec *iov, int n, off_t offset)
{
	return HMM__SYS_CALL(HMM__SYS_PREADV, TEMP_FAILURE_RETRY(transfer(SYS_preadv, SYS_pread64, fd, iov, n, offset)));
}

ssize_t hmm__sys_pwritev(int fd, const struct iovec *iov, int n, off_t offset)
{
	return HMM__SYS_CALL(HMM__SYS_PWRITEV, TEMP_FAILURE_RETRY(transfer(SYS_pwritev, SYS_pwrite64, fd, iov, n, offset)));
}

int hmm__sys_fallocate(int fd, int mode, off_t offset, off_t length)
{
	return (int)HMM__SYS_CALL(HMM__SYS_FALLOCATE, syscall(SYS_fallocate, fd, mode, offset, length));
}

int hmm__sys_ftruncate(int fd, off_t length)
{
	return (int)HMM__SYS_CALL(HMM__SYS_FTRUNCATE, ftruncate(fd, length));
}

int hmm__sys_fdatasync(int fd)
{
	return (int)HMM__SYS_CALL(HMM__SYS_FDATASYNC, syscall(SYS_fdatasync, fd));
}

ssize_t hmm__sys_read(int fd, void *buffer, size_t length)
{
	return HMM__SYS_CALL(HMM__SYS_READ, syscall(SYS_read, fd, buffer, length));
}

ssize_t hmm__sys_write(int fd, const void *buffer, size_t length)
{
	return HMM__SYS_CALL(HMM__SYS_WRITE, syscall(SYS_write, fd, buffer, length));
}

int hmm__sys_poll(struct pollfd *fds, unsigned n, int timeout_ms)
{
	struct timespec timeout = { .tv_sec = timeout_ms / 1000, .tv_nsec = timeout_ms % 1000 * 1000000L };

	return (int)HMM__SYS_CALL(HMM__SYS_POLL,
	                          syscall(SYS_ppoll, fds, n, timeout_ms < 0 ? NULL : &timeout, NULL, sizeof(uint64_t)));
}

int hmm__sys_pipe(int ret_fds[2], int flags)
{
	int fds[2], r = (int)HMM__SYS_CALL(HMM__SYS_PIPE, pipe2(fds, flags | O_CLOEXEC));

	if (r)
		return r;
	fds[0] = hmm__fd_own(fds[0], false);
	fds[1] = hmm__fd_own(fds[1], false);
	if (fds[0] < 0 || fds[1] < 0) {
		hmm__fd_close(fds, 2);
		return fds[0] < 0 ? fds[0] : fds[1];
	}
	ret_fds[0] = fds[0];
	ret_fds[1] = fds[1];
	return 0;
}

int hmm__sys_eventfd(unsigned initial, int flags)
{
	return HMM__SYS_OPENS(HMM__SYS_EVENTFD, eventfd(initial, flags | EFD_CLOEXEC));
}
