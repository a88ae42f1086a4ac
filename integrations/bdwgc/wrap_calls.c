/* SPDX-License-Identifier: MIT */
/*
 * wrap_calls.c - the wrappers that calls.def describes
 */
#include "loans.h"

#include <dirent.h>
#include <fcntl.h>
#include <grp.h>
#include <limits.h>
#include <mntent.h>
#include <mqueue.h>
#include <poll.h>
#include <sched.h>
#include <semaphore.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/acct.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/fanotify.h>
#include <sys/inotify.h>
#include <sys/klog.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/msg.h>
#include <sys/quota.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/select.h>
#include <sys/sem.h>
#include <sys/sendfile.h>
#include <sys/shm.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/statvfs.h>
#include <sys/swap.h>
#include <sys/sysinfo.h>
#include <sys/time.h>
#include <sys/timerfd.h>
#include <sys/times.h>
#include <sys/timex.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <threads.h>
#include <time.h>
#include <unistd.h>
#include <utime.h>

/* Declared only where a program is compiled with _FORTIFY_SOURCE. */
#include "fortified.h"

#define FDS(n) ((hmm__times(n, 1) + 63) / 64 * 8)
#define TIMES(n, size) hmm__times((long long)(n), size)

#define STR(p) p = hmm__lend_string(&loans, LENT(p), HMM__READ);
#define PINSTR(p) p = hmm__lend_string(&loans, LENT(p), HMM__SHARED);
#define IN(p, n) p = hmm__lend(&loans, LENT(p), n, HMM__READ, 0);
#define OUT(p, n) p = hmm__lend(&loans, LENT(p), n, HMM__WRITTEN, 0);
#define GET(p, n) p = hmm__lend(&loans, LENT(p), n, HMM__RETURNED, 1);
#define GETN(p, n, size) p = hmm__lend(&loans, LENT(p), n, HMM__RETURNED, size);
#define PIN(p, n) p = hmm__lend(&loans, LENT(p), n, HMM__SHARED, 0);
#define SOME(p) p = hmm__lend_some(&loans, LENT(p), &n, HMM__READ);
#define FILL(p) p = hmm__lend_some(&loans, LENT(p), &n, HMM__RETURNED);
#define MASK(p) \
	sigset_t without; \
	p = hmm__without_sigbus(p, &without);

#define CALL(type, name, parameters, arguments, ...) \
	NEXT(name) \
	WRAPPER type name parameters \
	{ \
		LOANS(loans); \
		type result; \
		__VA_ARGS__ \
		result = REAL(name) arguments; \
		hmm__loans_settle(&loans, (long)result); \
		return result; \
	}

/* The mode is there only with some flags. */
#define OPEN(name, parameters, arguments) \
	NEXT(name) \
	WRAPPER int name parameters \
	{ \
		LOANS(loans); \
		mode_t mode = 0; \
		if (flags & O_CREAT || (flags & O_TMPFILE) == O_TMPFILE) { \
			va_list rest; \
			va_start(rest, flags); \
			mode = va_arg(rest, mode_t); \
			va_end(rest); \
		} \
		STR(path) \
		return REAL(name) arguments; \
	}

#define OWN(name)

#include "calls.def"
