/* SPDX-License-Identifier: MIT */
/*
 * compat.h - kernel interfaces that are newer than some systems' headers
 *
 * The library is built against whatever headers there are and finds out at run time what the kernel can do; so every
 * number that came after Linux 5.7 stands here too, with the version that brought it.  Structures have names of our
 * own, because no preprocessor can tell whether the system's exist.
 */
#ifndef HMM_SYS_COMPAT_H
#define HMM_SYS_COMPAT_H

#include <fcntl.h>
#include <linux/ioctl.h>
#include <linux/types.h>
#include <linux/userfaultfd.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/syscall.h>

/* --- userfaultfd: creation --- */

#ifndef UFFD_USER_MODE_ONLY /* 5.11 */
#define UFFD_USER_MODE_ONLY 1
#endif

#ifndef USERFAULTFD_IOC_NEW /* 6.1: ioctl of /dev/userfaultfd */
#define USERFAULTFD_IOC 0xAA
#define USERFAULTFD_IOC_NEW _IO(USERFAULTFD_IOC, 0x00)
#endif

/* --- userfaultfd: features --- */

#ifndef UFFD_FEATURE_MINOR_HUGETLBFS /* 5.13 */
#define UFFD_FEATURE_MINOR_HUGETLBFS (1 << 9)
#endif
#ifndef UFFD_FEATURE_MINOR_SHMEM /* 5.14 */
#define UFFD_FEATURE_MINOR_SHMEM (1 << 10)
#endif
#ifndef UFFD_FEATURE_EXACT_ADDRESS /* 5.18 */
#define UFFD_FEATURE_EXACT_ADDRESS (1 << 11)
#endif
#ifndef UFFD_FEATURE_WP_HUGETLBFS_SHMEM /* 5.19 */
#define UFFD_FEATURE_WP_HUGETLBFS_SHMEM (1 << 12)
#endif
#ifndef UFFD_FEATURE_WP_UNPOPULATED /* 6.4 */
#define UFFD_FEATURE_WP_UNPOPULATED (1 << 13)
#endif
#ifndef UFFD_FEATURE_POISON /* 6.6 */
#define UFFD_FEATURE_POISON (1 << 14)
#endif
#ifndef UFFD_FEATURE_WP_ASYNC /* 6.7 */
#define UFFD_FEATURE_WP_ASYNC (1 << 15)
#endif
#ifndef UFFD_FEATURE_MOVE /* 6.8 */
#define UFFD_FEATURE_MOVE (1 << 16)
#endif

/* --- UFFDIO_POISON, 6.6 --- */

struct hmm__uffdio_poison {
	struct uffdio_range range;
	__u64 mode;
	__s64 updated; /* out: bytes, or -errno */
};
#ifndef UFFDIO_POISON
#define _UFFDIO_POISON 0x08
#define UFFDIO_POISON _IOWR(UFFDIO, _UFFDIO_POISON, struct hmm__uffdio_poison)
#define UFFDIO_POISON_MODE_DONTWAKE ((__u64)1 << 0)
#endif

/* --- UFFDIO_MOVE, 6.8 --- */

struct hmm__uffdio_move {
	__u64 dst;
	__u64 src;
	__u64 len;
	__u64 mode;
	__s64 move; /* out: bytes, or -errno */
};
#ifndef UFFDIO_MOVE
#define _UFFDIO_MOVE 0x05
#define UFFDIO_MOVE _IOWR(UFFDIO, _UFFDIO_MOVE, struct hmm__uffdio_move)
#define UFFDIO_MOVE_MODE_DONTWAKE ((__u64)1 << 0)
#define UFFDIO_MOVE_MODE_ALLOW_SRC_HOLES ((__u64)1 << 1)
#endif

/*
 * --- Access tracking: read-write protection (RWP) ---
 *
 * In no released kernel yet; the patches (Kiryl Shutsemau, linux-mm, 2026) name Linux 7.2 or 7.3 and have kept these
 * numbers through every revision.  Ask the feature bits, never the version.  A range is registered with
 * UFFDIO_REGISTER_MODE_RWP or with _WP, not with both; the kernel answers -EINVAL to both.
 */
#ifndef UFFD_FEATURE_RWP
#define UFFD_FEATURE_RWP (1 << 17)
#endif
#ifndef UFFD_FEATURE_RWP_ASYNC
#define UFFD_FEATURE_RWP_ASYNC (1 << 18)
#endif
#ifndef UFFDIO_REGISTER_MODE_RWP
#define UFFDIO_REGISTER_MODE_RWP ((__u64)1 << 3)
#endif
#ifndef UFFD_PAGEFAULT_FLAG_RWP
#define UFFD_PAGEFAULT_FLAG_RWP (1 << 3)
#endif
struct hmm__uffdio_rwprotect {
	struct uffdio_range range;
	__u64 mode;
};
#ifndef UFFDIO_RWPROTECT
#define _UFFDIO_RWPROTECT 0x09
#define UFFDIO_RWPROTECT _IOWR(UFFDIO, _UFFDIO_RWPROTECT, struct hmm__uffdio_rwprotect)
#define UFFDIO_RWPROTECT_MODE_RWP ((__u64)1 << 0)
#define UFFDIO_RWPROTECT_MODE_DONTWAKE ((__u64)1 << 1)
#endif

/* --- PAGEMAP_SCAN, 6.7 --- */

struct hmm__page_region {
	__u64 start; /* addresses */
	__u64 end;
	__u64 categories;
};
struct hmm__pm_scan_arg {
	__u64 size; /* of this structure */
	__u64 flags;
	__u64 start;
	__u64 end;
	__u64 walk_end; /* out: how far it got */
	__u64 vec;      /* struct hmm__page_region *, vec_len of them */
	__u64 vec_len;
	__u64 max_pages;
	__u64 category_inverted;
	__u64 category_mask;
	__u64 category_anyof_mask;
	__u64 return_mask;
};
#ifndef PAGEMAP_SCAN
#define PAGEMAP_SCAN _IOWR('f', 16, struct hmm__pm_scan_arg)
#define PAGE_IS_WPALLOWED (1 << 0)
#define PAGE_IS_WRITTEN (1 << 1)
#define PAGE_IS_FILE (1 << 2)
#define PAGE_IS_PRESENT (1 << 3)
#define PAGE_IS_SWAPPED (1 << 4)
#define PAGE_IS_PFNZERO (1 << 5)
#define PAGE_IS_HUGE (1 << 6)
#define PM_SCAN_WP_MATCHING (1 << 0)
#define PM_SCAN_CHECK_WPASYNC (1 << 1)
#endif

/* --- madvise --- */

#ifndef MADV_COLD /* 5.4 */
#define MADV_COLD 20
#define MADV_PAGEOUT 21
#endif
#ifndef MADV_POPULATE_READ /* 5.14 */
#define MADV_POPULATE_READ 22
#define MADV_POPULATE_WRITE 23
#endif
#ifndef MLOCK_ONFAULT /* 4.4, glibc 2.27 */
#define MLOCK_ONFAULT 1
#endif
#ifndef MADV_DONTNEED_LOCKED /* 5.18 */
#define MADV_DONTNEED_LOCKED 24
#endif
#ifndef MADV_COLLAPSE /* 6.1 */
#define MADV_COLLAPSE 25
#endif

/* --- mmap --- */

#ifndef MAP_FIXED_NOREPLACE /* 4.17 */
#define MAP_FIXED_NOREPLACE 0x100000
#endif

/* --- descriptors --- */

#ifndef CLOSE_RANGE_UNSHARE /* 5.9 */
#define CLOSE_RANGE_UNSHARE (1U << 1)
#endif
#ifndef PIDFD_THREAD /* 6.9 */
#define PIDFD_THREAD O_EXCL
#endif
#ifndef F_DUPFD_QUERY /* 6.10 */
#define F_DUPFD_QUERY 1027
#endif

/* --- system calls: the same number on every architecture --- */

#ifndef SYS_pidfd_open /* 5.3 */
#define SYS_pidfd_open 434
#endif
#ifndef SYS_close_range /* 5.9 */
#define SYS_close_range 436
#endif
#ifndef SYS_pidfd_getfd /* 5.6; from a thread's table: 6.9 */
#define SYS_pidfd_getfd 438
#endif
#ifndef PR_SET_MEMORY_MERGE /* 6.4 */
#define PR_SET_MEMORY_MERGE 67
#endif
#ifndef SYS_process_madvise /* 5.10; MADV_DONTNEED on oneself: 6.13 */
#define SYS_process_madvise 440
#endif

#endif
