/* SPDX-License-Identifier: MIT */
/*
 * memory.c - address space and its contents
 *
 * syscall() is variadic: what the kernel reads as a long must be passed as one.
 */
#include <errno.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/sysinfo.h>
#include <sys/uio.h>
#include <unistd.h>

#include "lib/sys/inject.h"

int hmm__sys_mmap(void *hint, size_t length, int prot, int flags, int fd, off_t offset, void **ret_address)
{
	int saved = errno, r = hmm__sys_injected(HMM__SYS_MMAP);
	void *address;

	if (r)
		return r;
	address = mmap(hint, length, prot, flags, fd, offset);
	if (address == MAP_FAILED) {
		r = -errno;
		errno = saved;
		return r;
	}
	*ret_address = address;
	return 0;
}

int hmm__sys_munmap(void *address, size_t length)
{
	return (int)HMM__SYS_CALL(HMM__SYS_MUNMAP, munmap(address, length));
}

int hmm__sys_mprotect(void *address, size_t length, int prot)
{
	return (int)HMM__SYS_CALL(HMM__SYS_MPROTECT, mprotect(address, length, prot));
}

int hmm__sys_madvise(void *address, size_t length, int advice)
{
	return (int)HMM__SYS_CALL(HMM__SYS_MADVISE, madvise(address, length, advice));
}

/* MADV_DONTNEED refuses locked memory; the other is unknown before Linux 5.18. */
int hmm__sys_madvise_drop(void *address, size_t length)
{
	int r = hmm__sys_madvise(address, length, MADV_DONTNEED);

	return r == -EINVAL ? hmm__sys_madvise(address, length, MADV_DONTNEED_LOCKED) : r;
}

/* Not the C library's: a sanitizer's run time makes nothing of that. */
int hmm__sys_mlock(void *address, size_t length)
{
	return (int)HMM__SYS_CALL(HMM__SYS_MLOCK, syscall(SYS_mlock2, address, length, (long)MLOCK_ONFAULT));
}

int hmm__sys_munlock(void *address, size_t length)
{
	return (int)HMM__SYS_CALL(HMM__SYS_MUNLOCK, syscall(SYS_munlock, address, length));
}

ssize_t hmm__sys_process_madvise(int pidfd, const struct iovec *iov, size_t n, int advice)
{
	int number = hmm__fd_number(pidfd);
	ssize_t r = HMM__SYS_CALL(HMM__SYS_PROCESS_MADVISE, syscall(SYS_process_madvise, number, iov, n, advice, 0));

	/* another process's is refused, too: this advice is for oneself only */
	if (HMM__UNLIKELY(r == -EBADF) && (number = hmm__fd_use_exact(pidfd)) >= 0)
		r = HMM__SYS_CALL(HMM__SYS_PROCESS_MADVISE, syscall(SYS_process_madvise, number, iov, n, advice, 0));
	return r;
}

ssize_t hmm__sys_process_vm_readv(const struct iovec *local, size_t nlocal, const struct iovec *remote, size_t nremote)
{
	return HMM__SYS_CALL(HMM__SYS_PROCESS_VM_READV,
	                     syscall(SYS_process_vm_readv, getpid(), local, nlocal, remote, nremote, 0ul));
}

int hmm__sys_sysinfo(struct sysinfo *ret_info)
{
	return (int)HMM__SYS_CALL(HMM__SYS_SYSINFO, sysinfo(ret_info));
}

int hmm__sys_mincore(void *address, size_t length, unsigned char *vec)
{
	return (int)HMM__SYS_CALL(HMM__SYS_MINCORE, mincore(address, length, vec));
}

long hmm__sys_pagemap_scan(int fd, struct hmm__pm_scan_arg *arg)
{
	return HMM__SYS_CALL(HMM__SYS_PAGEMAP_SCAN, ioctl(fd, PAGEMAP_SCAN, arg));
}
