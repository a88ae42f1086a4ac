/* SPDX-License-Identifier: MIT */
/*
 * sys.h - one wrapper per kernel interface
 *
 * Every contact with the kernel outside lib/base goes through here, so that tests can make each of them fail.
 * All return a value >= 0 or -errno, never -1, and leave errno as it was.  All are async-signal-safe except
 * hmm__sys_thread_create, and none is a cancellation point.  EINTR is retried where that is the only sensible answer
 * (noted).
 */
#ifndef HMM_SYS_SYS_H
#define HMM_SYS_SYS_H

#include <pthread.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/uio.h>

#include "lib/sys/compat.h"

enum hmm__sys_site {
	HMM__SYS_MMAP, HMM__SYS_MUNMAP, HMM__SYS_MPROTECT, HMM__SYS_MADVISE, HMM__SYS_PROCESS_MADVISE,
	HMM__SYS_PROCESS_VM_READV, HMM__SYS_MINCORE, HMM__SYS_USERFAULTFD, HMM__SYS_UFFD_API,
	HMM__SYS_UFFD_REGISTER, HMM__SYS_UFFD_UNREGISTER, HMM__SYS_UFFD_COPY, HMM__SYS_UFFD_ZEROPAGE,
	HMM__SYS_UFFD_MOVE, HMM__SYS_UFFD_WP, HMM__SYS_UFFD_WAKE, HMM__SYS_UFFD_POISON, HMM__SYS_PAGEMAP_SCAN,
	HMM__SYS_OPEN, HMM__SYS_DUP, HMM__SYS_FSTAT, HMM__SYS_PREADV, HMM__SYS_PWRITEV, HMM__SYS_FALLOCATE,
	HMM__SYS_FTRUNCATE, HMM__SYS_FDATASYNC, HMM__SYS_READ, HMM__SYS_WRITE, HMM__SYS_POLL, HMM__SYS_EVENTFD,
	HMM__SYS_PIDFD_OPEN, HMM__SYS_SIGACTION, HMM__SYS_THREAD_CREATE, HMM__SYS_SETAFFINITY, HMM__SYS_UNLINK,
	HMM__SYS_FILE_FLAGS, HMM__SYS_BLOCK_LENGTH, HMM__SYS_USERFAULTFD_DEV, HMM__SYS_STAT,
	HMM__SYS_TGSIGQUEUE, HMM__SYS_FILE_LIMIT, HMM__SYS_FILE_ID, HMM__SYS_SAME_FILE, HMM__SYS_CLOSE_RANGE,
	HMM__SYS_PIDFD_GETFD, HMM__SYS_SYSINFO, HMM__SYS_PIPE, HMM__SYS_MLOCK, HMM__SYS_MUNLOCK, HMM__SYS_SIGALTSTACK,
	HMM__SYS_SITES
};

/* ret_address written only on success */
int hmm__sys_mmap(void *hint, size_t length, int prot, int flags, int fd, off_t offset, void **ret_address);
int hmm__sys_munmap(void *address, size_t length);
int hmm__sys_mprotect(void *address, size_t length, int prot);
int hmm__sys_madvise(void *address, size_t length, int advice);
/* the same of contents, which go, also where the memory is locked */
int hmm__sys_madvise_drop(void *address, size_t length);
/* what is there is locked, and what comes there as it comes (MLOCK_ONFAULT); a table's `fix` in lib/base/arena.h */
int hmm__sys_mlock(void *address, size_t length);
int hmm__sys_munlock(void *address, size_t length);
/* on oneself, through a pidfd; returns bytes advised, which may be short */
ssize_t hmm__sys_process_madvise(int pidfd, const struct iovec *iov, size_t n, int advice);
/* from oneself: copies what is readable, stops at the first address that is not; returns bytes */
ssize_t hmm__sys_process_vm_readv(const struct iovec *local, size_t nlocal, const struct iovec *remote, size_t nremote);
struct sysinfo;
int hmm__sys_sysinfo(struct sysinfo *ret_info);
int hmm__sys_mincore(void *address, size_t length, unsigned char *vec);

int hmm__sys_userfaultfd(int flags);                       /* returns the descriptor */
int hmm__sys_userfaultfd_dev(int dev, int flags);           /* the same through an open /dev/userfaultfd, kernel 6.1 */
int hmm__sys_uffd_api(int fd, uint64_t features, uint64_t *ret_features, uint64_t *ret_ioctls);
int hmm__sys_uffd_register(int fd, void *address, size_t length, uint64_t mode, uint64_t *ret_ioctls /* or NULL */);
int hmm__sys_uffd_unregister(int fd, void *address, size_t length);
/* *ret_done: bytes done, also on failure */
int hmm__sys_uffd_copy(int fd, void *dst, const void *src, size_t length, uint64_t mode, size_t *ret_done);
int hmm__sys_uffd_zeropage(int fd, void *dst, size_t length, uint64_t mode, size_t *ret_done);
int hmm__sys_uffd_move(int fd, void *dst, void *src, size_t length, uint64_t mode, size_t *ret_done);
int hmm__sys_uffd_wp(int fd, void *address, size_t length, uint64_t mode);
int hmm__sys_uffd_wake(int fd, void *address, size_t length);
int hmm__sys_uffd_poison(int fd, void *address, size_t length, uint64_t mode);
/* messages; EBADF where the descriptor was lost */
ssize_t hmm__sys_uffd_read(int uffd, void *buffer, size_t length);
/* PAGEMAP_SCAN on a descriptor of /proc/self/pagemap; returns the number of regions filled in */
long hmm__sys_pagemap_scan(int fd, struct hmm__pm_scan_arg *arg);

/*
 * What opens a descriptor (here, userfaultfd, eventfd, pidfd) gives a handle: fd.h.  The calls that take `fd` take a
 * number, which hmm__fd_use() makes of a handle; those of userfaultfd and hmm__sys_process_madvise() take handles.
 */
int hmm__sys_open(const char *path, int flags, unsigned mode);
int hmm__sys_open_callers(const char *path, int flags, unsigned mode); /* a file of the caller's, who may lock it */
int hmm__sys_dup(int fd);                                  /* of the caller's */
int hmm__sys_close(int handle);                            /* cannot be made to fail; -1 is accepted */
int hmm__sys_fstat(int fd, struct stat *ret_stat);
int hmm__sys_stat(const char *path, struct stat *ret_stat);
int hmm__sys_unlink(const char *path);
int hmm__sys_file_flags(int fd);                           /* F_GETFL */
int hmm__sys_block_length(int fd, uint64_t *ret_length);   /* BLKGETSIZE64: bytes of a block device */
int hmm__sys_file_limit(uint64_t *ret_limit);              /* RLIMIT_FSIZE: no file may be written past it; UINT64_MAX: none */
ssize_t hmm__sys_preadv(int fd, const struct iovec *iov, int n, off_t offset);        /* EINTR retried */
ssize_t hmm__sys_pwritev(int fd, const struct iovec *iov, int n, off_t offset);       /* EINTR retried */
int hmm__sys_fallocate(int fd, int mode, off_t offset, off_t length);
int hmm__sys_ftruncate(int fd, off_t length);
int hmm__sys_fdatasync(int fd);
ssize_t hmm__sys_read(int fd, void *buffer, size_t length);
ssize_t hmm__sys_write(int fd, const void *buffer, size_t length);
struct pollfd;
int hmm__sys_poll(struct pollfd *fds, unsigned n, int timeout_ms);
int hmm__sys_pipe(int ret_fds[2], int flags);               /* close-on-exec; read end first */
int hmm__sys_eventfd(unsigned initial, int flags);
int hmm__sys_pidfd_open(void);                             /* of this process */
int hmm__sys_sigaction(int signal, const struct sigaction *act, struct sigaction *ret_old);
int hmm__sys_sigaltstack(stack_t *ret_now);                /* the calling thread's */
int hmm__sys_tgsigqueue(pid_t tid, int signal, siginfo_t *info); /* to a thread of this process */
/* all signals blocked in the new thread but two of the C library's; named name (15 characters at most) */
int hmm__sys_thread_create(pthread_t *ret_thread, const char *name, void *(*run)(void *), void *arg);
/*
 * Bytes at the upper end of a stack for pthread_attr_setstack(3) that hold the thread itself, as far as the C library and
 * the kernel use them: descriptor, robust list, restartable sequences.  Makes a thread the first time; its site is
 * HMM__SYS_THREAD_CREATE.
 */
int hmm__sys_thread_end(size_t *ret_length);
int hmm__sys_setaffinity(pid_t tid, int cpu);              /* cpu -1: all that the process may use */

/*
 * Failure injection, for tests.  The nth call of site from now fails with -error without reaching the kernel (nth 0:
 * none), and every later one with repeat.  site HMM__SYS_SITES: any site.  Costs one predicted branch while nothing is
 * armed.
 */
void hmm__sys_fail(enum hmm__sys_site site, uint64_t nth, int repeat, int error);
void hmm__sys_fail_none(void);
uint64_t hmm__sys_calls(enum hmm__sys_site site); /* since hmm__sys_fail(site, ...), while anything is armed */
const char *hmm__sys_site_name(enum hmm__sys_site site);

#endif
