/* SPDX-License-Identifier: MIT */
/*
 * fortified.h - what _FORTIFY_SOURCE makes of some functions, which the headers declare only then
 */
#ifndef HMM_INTEGRATIONS_BDWGC_FORTIFIED_H
#define HMM_INTEGRATIONS_BDWGC_FORTIFIED_H

#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/types.h>
#include <time.h>

int __open_2(const char *path, int flags);
int __open64_2(const char *path, int flags);
int __openat_2(int fd, const char *path, int flags);
int __openat64_2(int fd, const char *path, int flags);
ssize_t __readlink_chk(const char *path, char *buffer, size_t n, size_t size);
ssize_t __readlinkat_chk(int fd, const char *path, char *buffer, size_t n, size_t size);
char *__getcwd_chk(char *buffer, size_t n, size_t size);
ssize_t __read_chk(int fd, void *buffer, size_t n, size_t size);
ssize_t __pread_chk(int fd, void *buffer, size_t n, off_t offset, size_t size);
ssize_t __pread64_chk(int fd, void *buffer, size_t n, off64_t offset, size_t size);
ssize_t __recv_chk(int fd, void *buffer, size_t n, size_t size, int flags);
ssize_t __recvfrom_chk(int fd, void *__restrict buffer, size_t n, size_t size, int flags, __SOCKADDR_ARG from,
                       socklen_t *__restrict length);
size_t __fread_chk(void *__restrict buffer, size_t size, size_t item, size_t n, FILE *__restrict file);
size_t __fread_unlocked_chk(void *__restrict buffer, size_t size, size_t item, size_t n, FILE *__restrict file);
int __poll_chk(struct pollfd *fds, nfds_t n, int timeout, size_t size);
int __ppoll_chk(struct pollfd *fds, nfds_t n, const struct timespec *timeout, const sigset_t *mask, size_t size);
int __getgroups_chk(int n, gid_t list[], size_t size);

#endif
