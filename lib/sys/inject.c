/* SPDX-License-Identifier: MIT */
/*
 * inject.c - let kernel interfaces fail on demand
 *
 * One rule a site and one for any site.  A rule counts the calls since it was set; both are asked at every call, so
 * that both count.
 */
#include "lib/sys/inject.h"

#include <assert.h>

struct rule {
	_Atomic uint64_t calls; /* since it was set */
	_Atomic uint64_t nth;   /* 0: none fails */
	_Atomic int repeat;
	_Atomic int error;
};

_Atomic bool hmm__sys_armed;

static struct rule rules[HMM__SYS_SITES + 1]; /* the last: any site */

static int rule_apply(struct rule *rule)
{
	uint64_t call = atomic_fetch_add(&rule->calls, 1) + 1;
	uint64_t nth = atomic_load(&rule->nth);

	if (nth && (call == nth || (call > nth && atomic_load(&rule->repeat))))
		return -atomic_load(&rule->error);
	return 0;
}

int hmm__sys_injected_slow(enum hmm__sys_site site)
{
	int own = rule_apply(&rules[site]), any = rule_apply(&rules[HMM__SYS_SITES]);

	return own ? own : any;
}

void hmm__sys_fail(enum hmm__sys_site site, uint64_t nth, int repeat, int error)
{
	struct rule *rule = &rules[site];

	assert(site <= HMM__SYS_SITES && (nth == 0 || error > 0));
	atomic_store(&rule->nth, 0);
	atomic_store(&rule->error, error);
	atomic_store(&rule->repeat, repeat);
	atomic_store(&rule->calls, 0);
	atomic_store(&rule->nth, nth);
	atomic_store(&hmm__sys_armed, true);
}

void hmm__sys_fail_none(void)
{
	atomic_store(&hmm__sys_armed, false);
	for (unsigned i = 0; i <= HMM__SYS_SITES; i++)
		atomic_store(&rules[i].nth, 0);
}

uint64_t hmm__sys_calls(enum hmm__sys_site site)
{
	return atomic_load(&rules[site].calls);
}

const char *hmm__sys_site_name(enum hmm__sys_site site)
{
	static const char *const names[] = {
		[HMM__SYS_MMAP] = "mmap",
		[HMM__SYS_MUNMAP] = "munmap",
		[HMM__SYS_MPROTECT] = "mprotect",
		[HMM__SYS_MADVISE] = "madvise",
		[HMM__SYS_PROCESS_MADVISE] = "process_madvise",
		[HMM__SYS_PROCESS_VM_READV] = "process_vm_readv",
		[HMM__SYS_MINCORE] = "mincore",
		[HMM__SYS_USERFAULTFD] = "userfaultfd",
		[HMM__SYS_UFFD_API] = "UFFDIO_API",
		[HMM__SYS_UFFD_REGISTER] = "UFFDIO_REGISTER",
		[HMM__SYS_UFFD_UNREGISTER] = "UFFDIO_UNREGISTER",
		[HMM__SYS_UFFD_COPY] = "UFFDIO_COPY",
		[HMM__SYS_UFFD_ZEROPAGE] = "UFFDIO_ZEROPAGE",
		[HMM__SYS_UFFD_MOVE] = "UFFDIO_MOVE",
		[HMM__SYS_UFFD_WP] = "UFFDIO_WRITEPROTECT",
		[HMM__SYS_UFFD_WAKE] = "UFFDIO_WAKE",
		[HMM__SYS_UFFD_POISON] = "UFFDIO_POISON",
		[HMM__SYS_PAGEMAP_SCAN] = "PAGEMAP_SCAN",
		[HMM__SYS_OPEN] = "open",
		[HMM__SYS_DUP] = "dup",
		[HMM__SYS_FSTAT] = "fstat",
		[HMM__SYS_PREADV] = "preadv",
		[HMM__SYS_PWRITEV] = "pwritev",
		[HMM__SYS_FALLOCATE] = "fallocate",
		[HMM__SYS_FTRUNCATE] = "ftruncate",
		[HMM__SYS_FDATASYNC] = "fdatasync",
		[HMM__SYS_READ] = "read",
		[HMM__SYS_WRITE] = "write",
		[HMM__SYS_POLL] = "poll",
		[HMM__SYS_EVENTFD] = "eventfd",
		[HMM__SYS_PIDFD_OPEN] = "pidfd_open",
		[HMM__SYS_SIGACTION] = "sigaction",
		[HMM__SYS_THREAD_CREATE] = "pthread_create",
		[HMM__SYS_SETAFFINITY] = "sched_setaffinity",
		[HMM__SYS_UNLINK] = "unlink",
		[HMM__SYS_FILE_FLAGS] = "F_GETFL",
		[HMM__SYS_BLOCK_LENGTH] = "BLKGETSIZE64",
		[HMM__SYS_USERFAULTFD_DEV] = "USERFAULTFD_IOC_NEW",
		[HMM__SYS_STAT] = "stat",
		[HMM__SYS_TGSIGQUEUE] = "rt_tgsigqueueinfo",
		[HMM__SYS_FILE_LIMIT] = "getrlimit",
		[HMM__SYS_FILE_ID] = "statx",
		[HMM__SYS_SAME_FILE] = "F_DUPFD_QUERY",
		[HMM__SYS_CLOSE_RANGE] = "close_range",
		[HMM__SYS_PIDFD_GETFD] = "pidfd_getfd",
		[HMM__SYS_SYSINFO] = "sysinfo",
		[HMM__SYS_PIPE] = "pipe2",
		[HMM__SYS_MLOCK] = "mlock2",
		[HMM__SYS_MUNLOCK] = "munlock",
		[HMM__SYS_SIGALTSTACK] = "sigaltstack",
		[HMM__SYS_SITES] = "any",
	};

	return site <= HMM__SYS_SITES ? names[site] : NULL;
}
