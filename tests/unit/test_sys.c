/* SPDX-License-Identifier: MIT */
/*
 * test_sys.c - kernel wrappers: results, partial progress, errno, and injected failures
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <string.h>
#include <sys/sysinfo.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "lib/base/lock.h"
#include "lib/base/util.h"
#include "lib/sys/fd.h"
#include "lib/sys/sys.h"
#include "tests/harness.h"

static size_t page;

static void setup(void)
{
	page = (size_t)sysconf(_SC_PAGESIZE);
	hmm__sys_fail_none();
}

static char *map_pages(size_t n)
{
	void *address;

	ck_assert_int_eq(
		hmm__sys_mmap(NULL, n * page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0, &address), 0);
	return address;
}

/* --- injection --- */

START_TEST(nth_call_of_a_site_fails)
{
	hmm__sys_fail(HMM__SYS_EVENTFD, 2, 0, EMFILE);
	hmm__sys_close(hmm__sys_eventfd(0, 0));
	ck_assert_int_eq(hmm__sys_eventfd(0, 0), -EMFILE);
	for (int i = 0; i < 3; i++) {
		int fd = hmm__sys_eventfd(0, 0);

		ck_assert_int_ge(fd, 0);
		hmm__sys_close(fd);
	}
	ck_assert_uint_eq(hmm__sys_calls(HMM__SYS_EVENTFD), 5);
	hmm__sys_fail_none();
}
END_TEST

START_TEST(every_call_from_the_nth_on_fails_with_repeat)
{
	hmm__sys_fail(HMM__SYS_MADVISE, 2, 1, ENOMEM);
	ck_assert_int_eq(hmm__sys_madvise(NULL, 0, MADV_NORMAL), 0);
	for (int i = 0; i < 3; i++)
		ck_assert_int_eq(hmm__sys_madvise(NULL, 0, MADV_NORMAL), -ENOMEM);
	hmm__sys_fail_none();
	ck_assert_int_eq(hmm__sys_madvise(NULL, 0, MADV_NORMAL), 0);
}
END_TEST

START_TEST(any_site_counts_all_sites)
{
	void *address = (void *)&page;

	hmm__sys_fail(HMM__SYS_SITES, 2, 0, EIO);
	ck_assert_int_eq(hmm__sys_madvise(NULL, 0, MADV_NORMAL), 0);
	ck_assert_int_eq(hmm__sys_mmap(NULL, page, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0, &address), -EIO);
	ck_assert_ptr_eq(address, &page);
	ck_assert_int_eq(hmm__sys_madvise(NULL, 0, MADV_NORMAL), 0);
	ck_assert_uint_eq(hmm__sys_calls(HMM__SYS_SITES), 3);
	hmm__sys_fail_none();
}
END_TEST

START_TEST(counting_alone_lets_everything_pass)
{
	hmm__sys_fail(HMM__SYS_SITES, 0, 0, 0);
	ck_assert_int_eq(hmm__sys_madvise(NULL, 0, MADV_NORMAL), 0);
	ck_assert_int_eq(hmm__sys_munmap(NULL, page), 0);
	ck_assert_uint_eq(hmm__sys_calls(HMM__SYS_SITES), 2);
	hmm__sys_fail_none();
	ck_assert_int_eq(hmm__sys_madvise(NULL, 0, MADV_NORMAL), 0);
	ck_assert_uint_eq(hmm__sys_calls(HMM__SYS_SITES), 2);
}
END_TEST

START_TEST(every_site_has_its_own_name)
{
	for (unsigned i = 0; i <= HMM__SYS_SITES; i++) {
		ck_assert_ptr_nonnull(hmm__sys_site_name((enum hmm__sys_site)i));
		for (unsigned k = 0; k < i; k++)
			ck_assert_str_ne(hmm__sys_site_name((enum hmm__sys_site)i),
			                 hmm__sys_site_name((enum hmm__sys_site)k));
	}
	ck_assert_ptr_null(hmm__sys_site_name((enum hmm__sys_site)(HMM__SYS_SITES + 1)));
}
END_TEST

/* Call a wrapper with arguments that do no harm should the call reach the kernel. */
static long call_site(enum hmm__sys_site site)
{
	struct iovec iov = { NULL, 0 };
	struct hmm__pm_scan_arg scan = { .size = sizeof(scan) };
	siginfo_t info = { .si_code = SI_QUEUE };
	struct hmm__file_id id;
	struct pollfd none = { .fd = -1 };
	int fds[2];
	struct sysinfo *nowhere = NULL;
	uint64_t features, ioctls;
	pthread_t thread;
	size_t done = 99;
	struct stat st;
	char byte = 0;
	long r;

	switch (site) {
	case HMM__SYS_MMAP: return hmm__sys_mmap(NULL, 0, 0, 0, -1, 0, (void **)&thread);
	case HMM__SYS_MUNMAP: return hmm__sys_munmap(&byte, 0);
	case HMM__SYS_MPROTECT: return hmm__sys_mprotect(&byte, 1, 0);
	case HMM__SYS_MADVISE: return hmm__sys_madvise(&byte, 1, -1);
	case HMM__SYS_PROCESS_MADVISE: return hmm__sys_process_madvise(-1, &iov, 1, MADV_COLD);
	case HMM__SYS_PROCESS_VM_READV: return hmm__sys_process_vm_readv(NULL, 9999, NULL, 9999);
	case HMM__SYS_SIGALTSTACK: return hmm__sys_sigaltstack((stack_t *)(uintptr_t)1);
	case HMM__SYS_MLOCK: return hmm__sys_mlock(&byte, SIZE_MAX / 2);
	case HMM__SYS_MUNLOCK: return hmm__sys_munlock(NULL, page);
	case HMM__SYS_MINCORE: return hmm__sys_mincore(&byte, 1, NULL);
	case HMM__SYS_USERFAULTFD: return hmm__sys_userfaultfd(-1);
	case HMM__SYS_USERFAULTFD_DEV: return hmm__sys_userfaultfd_dev(-1, 0);
	case HMM__SYS_UFFD_API: return hmm__sys_uffd_api(-1, 0, &features, &ioctls);
	case HMM__SYS_UFFD_REGISTER: return hmm__sys_uffd_register(-1, NULL, page, 0, NULL);
	case HMM__SYS_UFFD_UNREGISTER: return hmm__sys_uffd_unregister(-1, NULL, page);
	case HMM__SYS_UFFD_COPY: r = hmm__sys_uffd_copy(-1, NULL, NULL, page, 0, &done); break;
	case HMM__SYS_UFFD_ZEROPAGE: r = hmm__sys_uffd_zeropage(-1, NULL, page, 0, &done); break;
	case HMM__SYS_UFFD_MOVE: r = hmm__sys_uffd_move(-1, NULL, NULL, page, 0, &done); break;
	case HMM__SYS_UFFD_WP: return hmm__sys_uffd_wp(-1, NULL, page, 0);
	case HMM__SYS_UFFD_WAKE: return hmm__sys_uffd_wake(-1, NULL, page);
	case HMM__SYS_UFFD_POISON: return hmm__sys_uffd_poison(-1, NULL, page, 0);
	case HMM__SYS_PAGEMAP_SCAN: return hmm__sys_pagemap_scan(-1, &scan);
	case HMM__SYS_OPEN: return hmm__sys_open("/nowhere/at/all", O_RDONLY, 0);
	case HMM__SYS_DUP: return hmm__sys_dup(-1);
	case HMM__SYS_FSTAT: return hmm__sys_fstat(-1, &st);
	case HMM__SYS_STAT: return hmm__sys_stat("/nowhere/at/all", &st);
	case HMM__SYS_UNLINK: return hmm__sys_unlink("/nowhere/at/all");
	case HMM__SYS_FILE_FLAGS: return hmm__sys_file_flags(-1);
	case HMM__SYS_BLOCK_LENGTH: return hmm__sys_block_length(-1, &features);
	case HMM__SYS_FILE_LIMIT:
		r = hmm__sys_file_limit(&features);
		done = 0;
		break;
	case HMM__SYS_PREADV: return hmm__sys_preadv(-1, &iov, 1, 0);
	case HMM__SYS_PWRITEV: return hmm__sys_pwritev(-1, &iov, 1, 0);
	case HMM__SYS_FALLOCATE: return hmm__sys_fallocate(-1, 0, 0, 1);
	case HMM__SYS_FTRUNCATE: return hmm__sys_ftruncate(-1, 0);
	case HMM__SYS_FDATASYNC: return hmm__sys_fdatasync(-1);
	case HMM__SYS_READ: return hmm__sys_read(-1, &byte, 1);
	case HMM__SYS_WRITE: return hmm__sys_write(-1, &byte, 1);
	case HMM__SYS_POLL: return hmm__sys_poll(&none, UINT32_MAX, 0);
	case HMM__SYS_EVENTFD: return hmm__sys_eventfd(0, -1);
	case HMM__SYS_PIDFD_OPEN:
		r = hmm__sys_pidfd_open();
		done = 0;
		break;
	case HMM__SYS_SIGACTION: return hmm__sys_sigaction(-1, NULL, NULL);
	case HMM__SYS_TGSIGQUEUE: return hmm__sys_tgsigqueue(-1, 0, &info);
	case HMM__SYS_PIPE:
		return hmm__sys_pipe(fds, -1 & ~O_CLOEXEC);
	case HMM__SYS_SYSINFO:
		r = hmm__sys_sysinfo(nowhere);
		done = 0;
		break;
	case HMM__SYS_THREAD_CREATE:
		r = hmm__sys_thread_create(&thread, "x", NULL, NULL);
		done = 0;
		break;
	case HMM__SYS_SETAFFINITY: return hmm__sys_setaffinity(-1, 0);
	case HMM__SYS_FILE_ID: return hmm__sys_file_id(-1, &id);
	default: return 0;
	}
	ck_assert_uint_eq(done, 0); /* a transfer that fails reports that nothing was done */
	return r;
}

START_TEST(every_wrapper_fails_where_told_and_spares_errno)
{
	enum hmm__sys_site site = (enum hmm__sys_site)_i;

	if (site == HMM__SYS_SAME_FILE || site == HMM__SYS_CLOSE_RANGE || site == HMM__SYS_PIDFD_GETFD)
		return; /* no wrappers, but steps of keeping descriptors: test_fd.c */
	errno = ERANGE;
	hmm__sys_fail(site, 1, 0, EOWNERDEAD);
	ck_assert_int_eq(call_site(site), -EOWNERDEAD);
	ck_assert_uint_eq(hmm__sys_calls(site), 1);
	ck_assert_int_eq(errno, ERANGE);
	hmm__sys_fail_none();
	if (site == HMM__SYS_PIDFD_OPEN || site == HMM__SYS_THREAD_CREATE || site == HMM__SYS_FILE_LIMIT)
		return; /* these have no arguments that the kernel refuses */
	ck_assert_int_lt(call_site(site), 0);
	ck_assert_int_ne(call_site(site), -EOWNERDEAD);
	ck_assert_int_eq(errno, ERANGE);
}
END_TEST

/* --- userfaultfd --- */

/* A descriptor with these features, or NULL in *ret_fd and the name of what is missing. */
static const char *open_uffd(uint64_t features, const char *name, int *ret_fd)
{
	uint64_t have, ioctls;
	int fd = hmm__sys_userfaultfd(O_CLOEXEC | O_NONBLOCK | UFFD_USER_MODE_ONLY);

	if (fd < 0)
		return "userfaultfd(2)";
	ck_assert_int_eq(hmm__sys_uffd_api(fd, 0, &have, &ioctls), 0);
	hmm__sys_close(fd);
	if ((have & features) != features)
		return name;
	fd = hmm__sys_userfaultfd(O_CLOEXEC | O_NONBLOCK | UFFD_USER_MODE_ONLY);
	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(hmm__sys_uffd_api(fd, features, &have, &ioctls), 0);
	*ret_fd = fd;
	return NULL;
}

static char *map_registered(int fd, size_t n, uint64_t mode)
{
	char *memory = map_pages(n);
	uint64_t ioctls = 0;

	ck_assert_int_eq(hmm__sys_madvise(memory, n * page, MADV_NOHUGEPAGE), 0);
	ck_assert_int_eq(hmm__sys_uffd_register(fd, memory, n * page, mode, &ioctls), 0);
	ck_assert(ioctls & ((uint64_t)1 << _UFFDIO_COPY));
	return memory;
}

START_TEST(copy_fills_pages_and_tells_how_far_it_got)
{
	const char *missing;
	char *memory, *source;
	size_t done = 99;
	int fd;

	missing = open_uffd(0, "", &fd);
	if (missing)
		test_skip(missing);
	memory = map_registered(fd, 8, UFFDIO_REGISTER_MODE_MISSING);
	source = map_pages(8);
	memset(source, 'a', 8 * page);
	ck_assert_int_eq(hmm__sys_uffd_copy(fd, memory + 5 * page, source, page, 0, &done), 0);
	ck_assert_uint_eq(done, page);

	/* The sixth is there already: five are done, then it is in the way. */
	ck_assert_int_eq(hmm__sys_uffd_copy(fd, memory, source, 8 * page, 0, &done), -EAGAIN);
	ck_assert_uint_eq(done, 5 * page);
	ck_assert_int_eq(hmm__sys_uffd_copy(fd, memory + 5 * page, source, page, 0, &done), -EEXIST);
	ck_assert_uint_eq(done, 0);
	ck_assert_int_eq(memcmp(memory, source, 6 * page), 0);

	ck_assert_int_eq(hmm__sys_uffd_zeropage(fd, memory + 6 * page, 2 * page, 0, &done), 0);
	ck_assert_uint_eq(done, 2 * page);
	ck_assert_int_eq(memory[6 * page] | memory[8 * page - 1], 0);
	ck_assert_int_eq(hmm__sys_uffd_zeropage(fd, memory, page, 0, &done), -EEXIST);
	ck_assert_uint_eq(done, 0);

	ck_assert_int_eq(hmm__sys_uffd_wake(fd, memory, page), 0);
	ck_assert_int_eq(hmm__sys_uffd_unregister(fd, memory, 8 * page), 0);
	ck_assert_int_lt(hmm__sys_uffd_copy(fd, memory, source, page, 0, &done), 0);
	hmm__sys_close(fd);
}
END_TEST

START_TEST(move_empties_its_source_and_tells_how_far_it_got)
{
	unsigned char resident[4];
	const char *missing;
	char *memory, *source;
	size_t done = 99;
	int fd;

	missing = open_uffd(UFFD_FEATURE_MOVE, "UFFDIO_MOVE, Linux 6.8", &fd);
	if (missing)
		test_skip(missing);
	memory = map_registered(fd, 4, UFFDIO_REGISTER_MODE_MISSING);
	source = map_pages(4);
	ck_assert_int_eq(hmm__sys_madvise(source, 4 * page, MADV_NOHUGEPAGE), 0);
	memset(source, 'b', 4 * page);
	ck_assert_int_eq(hmm__sys_uffd_zeropage(fd, memory + 2 * page, page, 0, &done), 0);

	ck_assert_int_eq(hmm__sys_uffd_move(fd, memory, source, 4 * page, 0, &done), -EAGAIN);
	ck_assert_uint_eq(done, 2 * page);
	ck_assert(memory[0] == 'b' && memory[2 * page - 1] == 'b');
	ck_assert_int_eq(hmm__sys_mincore(source, 4 * page, resident), 0);
	ck_assert(!(resident[0] & 1) && !(resident[1] & 1) && (resident[2] & 1) && (resident[3] & 1));
	ck_assert_int_eq(hmm__sys_uffd_move(fd, memory + 2 * page, source + 2 * page, page, 0, &done), -EEXIST);
	ck_assert_uint_eq(done, 0);
	ck_assert_int_eq(hmm__sys_uffd_move(fd, memory + 3 * page, source, page, 0, &done), -ENOENT);
	ck_assert_uint_eq(done, 0);
	hmm__sys_close(fd);
}
END_TEST

START_TEST(write_protection_shows_in_a_pagemap_scan)
{
	struct hmm__page_region regions[4];
	struct hmm__pm_scan_arg arg = { .size = sizeof(arg),
		                        .vec = (uintptr_t)regions,
		                        .vec_len = 4,
		                        .category_mask = PAGE_IS_PRESENT | PAGE_IS_WRITTEN,
		                        .return_mask = PAGE_IS_PRESENT | PAGE_IS_WRITTEN };
	const char *missing;
	size_t done;
	char *memory;
	int fd, pagemap;
	long n;

	missing = open_uffd(UFFD_FEATURE_PAGEFAULT_FLAG_WP, "write protection, Linux 5.7", &fd);
	if (missing)
		test_skip(missing);
	pagemap = hmm__sys_open("/proc/self/pagemap", O_RDONLY, 0);
	ck_assert_int_ge(pagemap, 0);
	memory = map_registered(fd, 4, UFFDIO_REGISTER_MODE_MISSING | UFFDIO_REGISTER_MODE_WP);
	for (int i = 0; i < 3; i++)
		ck_assert_int_eq(hmm__sys_uffd_zeropage(fd, memory + (size_t)i * page, page, 0, &done), 0);
	ck_assert_int_eq(hmm__sys_uffd_wp(fd, memory + page, page, UFFDIO_WRITEPROTECT_MODE_WP), 0);
	arg.start = (uintptr_t)memory;
	arg.end = arg.start + 4 * page;
	n = hmm__sys_pagemap_scan(pagemap, &arg);
	if (n == -ENOTTY || n == -EINVAL)
		test_skip("PAGEMAP_SCAN, Linux 6.7");
	ck_assert_int_eq(n, 2);
	ck_assert(regions[0].start == arg.start && regions[0].end == arg.start + page);
	ck_assert(regions[1].start == arg.start + 2 * page && regions[1].end == arg.start + 3 * page);
	ck_assert_int_eq(hmm__sys_uffd_wp(fd, memory + page, page, 0), 0);
	memory[page] = 1;
	hmm__sys_close(pagemap);
	hmm__sys_close(fd);
}
END_TEST

static sigjmp_buf bus_jump;

static void on_bus(int signal)
{
	(void)signal;
	siglongjmp(bus_jump, 1);
}

START_TEST(access_to_a_poisoned_page_is_a_sigbus)
{
	struct sigaction act = { .sa_handler = on_bus };
	const char *missing;
	char *memory;
	int fd;

	missing = open_uffd(UFFD_FEATURE_POISON, "UFFDIO_POISON, Linux 6.6", &fd);
	if (missing)
		test_skip(missing);
	memory = map_registered(fd, 2, UFFDIO_REGISTER_MODE_MISSING);
	ck_assert_int_eq(hmm__sys_uffd_poison(fd, memory, page, 0), 0);
	ck_assert_int_eq(hmm__sys_sigaction(SIGBUS, &act, NULL), 0);
	if (sigsetjmp(bus_jump, 1) == 0) {
		(void)*(volatile char *)memory;
		ck_abort_msg("the access returned");
	}
	hmm__sys_close(fd);
}
END_TEST

START_TEST(process_advice_reaches_scattered_pages)
{
	char *memory = map_pages(3);
	struct iovec iov[] = { { memory, page }, { memory + 2 * page, page } };
	int pidfd = hmm__sys_pidfd_open();
	ssize_t r;

	if (pidfd == -ENOSYS)
		test_skip("pidfd_open(2), Linux 5.3");
	ck_assert_int_ge(pidfd, 0);
	memset(memory, 'c', 3 * page);
	r = hmm__sys_process_madvise(pidfd, iov, 2, MADV_DONTNEED);
	if (r == -EINVAL || r == -ENOSYS || r == -EPERM)
		test_skip("process_madvise(MADV_DONTNEED) on oneself, Linux 6.13");
	ck_assert_int_eq(r, (ssize_t)(2 * page));
	ck_assert(memory[0] == 0 && memory[page] == 'c' && memory[2 * page] == 0);
	hmm__sys_close(pidfd);
}
END_TEST

START_TEST(reading_oneself_stops_at_what_is_not_readable)
{
	char *memory = map_pages(3), *copy = map_pages(3);
	struct iovec local = { copy, 3 * page }, remote[] = { { memory, page }, { memory + page, page } };

	memset(memory, 'd', 3 * page);
	ck_assert_int_eq(hmm__sys_process_vm_readv(&local, 1, remote, 2), (ssize_t)(2 * page));
	ck_assert_int_eq(memcmp(memory, copy, 2 * page), 0);
	ck_assert_int_eq(hmm__sys_mprotect(memory + page, page, PROT_NONE), 0);
	ck_assert_int_eq(hmm__sys_process_vm_readv(&local, 1, remote, 2), (ssize_t)page);
	ck_assert_int_eq(hmm__sys_process_vm_readv(&local, 1, remote + 1, 1), -EFAULT);
}
END_TEST

/* --- files --- */

START_TEST(vectored_transfers_reach_their_offset)
{
	char a[100], b[200], back[300];
	struct iovec out[] = { { a, sizeof(a) }, { b, sizeof(b) } }, in = { back, sizeof(back) };
	int fd = hmm__sys_open("/tmp", O_TMPFILE | O_RDWR, 0600), second;
	off_t far = ((off_t)1 << 33) + 17;
	struct stat st;

	if (fd == -EOPNOTSUPP)
		test_skip("O_TMPFILE on /tmp");
	ck_assert_int_ge(fd, 0);
	memset(a, 'a', sizeof(a));
	memset(b, 'b', sizeof(b));
	ck_assert_int_eq(hmm__sys_pwritev(fd, out, 2, far), 300);
	ck_assert_int_eq(hmm__sys_fdatasync(fd), 0);
	ck_assert_int_eq(hmm__sys_fstat(fd, &st), 0);
	ck_assert_int_eq(st.st_size, far + 300);

	second = hmm__sys_dup(fd);
	ck_assert_int_ge(second, 3);
	ck_assert_int_eq(fcntl(second, F_GETFD), FD_CLOEXEC);
	ck_assert_int_eq(fcntl(fd, F_GETFD), FD_CLOEXEC);
	ck_assert_int_eq(hmm__sys_file_flags(second) & O_ACCMODE, O_RDWR);
	ck_assert_int_eq(hmm__sys_close(fd), 0);
	ck_assert_int_eq(hmm__sys_preadv(second, &in, 1, far), 300);
	ck_assert(back[0] == 'a' && back[99] == 'a' && back[100] == 'b' && back[299] == 'b');
	ck_assert_int_eq(hmm__sys_preadv(second, &in, 1, far + 300), 0);

	ck_assert_int_eq(hmm__sys_fallocate(second, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, far, 100), 0);
	ck_assert_int_eq(hmm__sys_preadv(second, &in, 1, far), 300);
	ck_assert(back[0] == 0 && back[99] == 0 && back[100] == 'b');
	ck_assert_int_eq(hmm__sys_ftruncate(second, 5), 0);
	ck_assert_int_eq(hmm__sys_fstat(second, &st), 0);
	ck_assert_int_eq(st.st_size, 5);
	hmm__sys_close(second);
	hmm__sys_close(-1);
}
END_TEST

START_TEST(poll_sees_an_event)
{
	int fd = hmm__sys_eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	struct pollfd poll = { .fd = fd, .events = POLLIN };
	uint64_t value = 3;

	ck_assert_int_eq(hmm__sys_poll(&poll, 1, 0), 0);
	ck_assert_int_eq(hmm__sys_poll(&poll, 1, 1), 0);
	ck_assert_int_eq(hmm__sys_read(fd, &value, sizeof(value)), -EAGAIN);
	ck_assert_int_eq(hmm__sys_write(fd, &value, sizeof(value)), sizeof(value));
	ck_assert_int_eq(hmm__sys_poll(&poll, 1, -1), 1);
	ck_assert(poll.revents & POLLIN);
	value = 0;
	ck_assert_int_eq(hmm__sys_read(fd, &value, sizeof(value)), sizeof(value));
	ck_assert_uint_eq(value, 3);
	hmm__sys_close(fd);
}
END_TEST

/* --- threads --- */

static _Atomic uint32_t thread_saw;

static void *look_around(void *arg)
{
	char name[16] = "";
	sigset_t mask;

	(void)arg;
	pthread_sigmask(SIG_BLOCK, NULL, &mask);
	while (strcmp(name, "hmm-test") != 0) /* its creator names it when it may be running already */
		pthread_getname_np(pthread_self(), name, sizeof(name));
	thread_saw = 1 + (sigismember(&mask, SIGTERM) && sigismember(&mask, SIGUSR1) && sigismember(&mask, SIGSEGV));
	return arg;
}

START_TEST(threads_begin_with_all_signals_blocked)
{
	pthread_t thread;
	sigset_t mask;
	void *result;

	ck_assert_int_eq(hmm__sys_thread_create(&thread, "hmm-test", look_around, &thread_saw), 0);
	pthread_join(thread, &result);
	ck_assert_ptr_eq(result, &thread_saw);
	ck_assert_uint_eq(thread_saw, 2);
	pthread_sigmask(SIG_BLOCK, NULL, &mask);
	ck_assert(!sigismember(&mask, SIGTERM));
}
END_TEST

static void *wait_for_end(void *arg)
{
	int *fd = arg;
	uint64_t value;

	ck_assert_int_eq(hmm__sys_read(*fd, &value, sizeof(value)), sizeof(value));
	return NULL;
}

static uint64_t blocked_signals(void)
{
	uint64_t mask = 0;

	ck_assert_int_eq(syscall(SYS_rt_sigprocmask, SIG_BLOCK, NULL, &mask, sizeof(mask)), 0);
	return mask;
}

/*
 * The C library sends every thread a signal of its own for this, and waits until each has answered.  _i 1: the thread is
 * created where all signals are blocked, as under a lock, and they are after it.
 */
START_TEST(setuid_does_not_wait_for_a_thread_of_ours)
{
	int fd = hmm__sys_eventfd(0, EFD_CLOEXEC);
	uint64_t value = 1, before = blocked_signals();
	pthread_t thread;
	sigset_t saved;
	int r;

	if (_i)
		hmm__signals_block(&saved);
	r = hmm__sys_thread_create(&thread, "hmm-test", wait_for_end, &fd);
	if (_i) {
		uint64_t now = blocked_signals();

		hmm__signals_restore(&saved);
		ck_assert_uint_eq(now | UINT64_C(1) << (SIGKILL - 1) | UINT64_C(1) << (SIGSTOP - 1), UINT64_MAX);
	}
	ck_assert_uint_eq(blocked_signals(), before);
	ck_assert_int_eq(r, 0);
	ck_assert_int_eq(setuid(getuid()), 0);
	ck_assert_int_eq(hmm__sys_write(fd, &value, sizeof(value)), sizeof(value));
	pthread_join(thread, NULL);
	hmm__sys_close(fd);
}
END_TEST

START_TEST(affinity_goes_to_one_cpu_and_back)
{
	cpu_set_t before, one, after;
	int cpu = 0;

	ck_assert_int_eq(sched_getaffinity(0, sizeof(before), &before), 0);
	while (!CPU_ISSET(cpu, &before))
		cpu++;
	ck_assert_int_eq(hmm__sys_setaffinity(0, cpu), 0);
	ck_assert_int_eq(sched_getaffinity(0, sizeof(one), &one), 0);
	ck_assert_int_eq(CPU_COUNT(&one), 1);
	ck_assert(CPU_ISSET(cpu, &one));
	ck_assert_int_eq(hmm__sys_setaffinity(0, -1), 0);
	ck_assert_int_eq(sched_getaffinity(0, sizeof(after), &after), 0);
	ck_assert(CPU_EQUAL(&before, &after));
	ck_assert_int_eq(hmm__sys_setaffinity(0, 1 << 20), -EINVAL);
}
END_TEST

static siginfo_t seen;

static void on_signal(int signal, siginfo_t *info, void *context)
{
	(void)signal;
	(void)context;
	seen = *info;
}

START_TEST(queued_signal_carries_its_information)
{
	struct sigaction act = { .sa_sigaction = on_signal, .sa_flags = SA_SIGINFO }, old;
	siginfo_t info;

	memset(&info, 0, sizeof(info));
	info.si_signo = SIGUSR1;
	info.si_code = SI_QUEUE;
	info.si_value.sival_int = 4711;
	ck_assert_int_eq(hmm__sys_sigaction(SIGUSR1, &act, &old), 0);
	ck_assert(old.sa_handler == SIG_DFL);
	ck_assert_int_eq(hmm__sys_tgsigqueue(gettid(), SIGUSR1, &info), 0);
	ck_assert_int_eq(seen.si_signo, SIGUSR1);
	ck_assert_int_eq(seen.si_value.sival_int, 4711);
}
END_TEST

static TCase *injection_case(void)
{
	TCase *c = tcase_create("injection");

	tcase_add_checked_fixture(c, setup, NULL);
	tcase_add_test(c, nth_call_of_a_site_fails);
	tcase_add_test(c, every_call_from_the_nth_on_fails_with_repeat);
	tcase_add_test(c, any_site_counts_all_sites);
	tcase_add_test(c, counting_alone_lets_everything_pass);
	tcase_add_test(c, every_site_has_its_own_name);
	tcase_add_loop_test(c, every_wrapper_fails_where_told_and_spares_errno, 0, HMM__SYS_SITES);
	return c;
}

static TCase *memory_case(void)
{
	TCase *c = tcase_create("memory");

	tcase_add_checked_fixture(c, setup, NULL);
	tcase_add_test(c, copy_fills_pages_and_tells_how_far_it_got);
	tcase_add_test(c, move_empties_its_source_and_tells_how_far_it_got);
	tcase_add_test(c, write_protection_shows_in_a_pagemap_scan);
	tcase_add_test(c, access_to_a_poisoned_page_is_a_sigbus);
	tcase_add_test(c, process_advice_reaches_scattered_pages);
	tcase_add_test(c, reading_oneself_stops_at_what_is_not_readable);
	return c;
}

static TCase *other_case(void)
{
	TCase *c = tcase_create("files and threads");

	tcase_add_checked_fixture(c, setup, NULL);
	tcase_add_test(c, vectored_transfers_reach_their_offset);
	tcase_add_test(c, poll_sees_an_event);
	tcase_add_test(c, threads_begin_with_all_signals_blocked);
	tcase_add_loop_test(c, setuid_does_not_wait_for_a_thread_of_ours, 0, 2);
	tcase_add_test(c, affinity_goes_to_one_cpu_and_back);
	tcase_add_test(c, queued_signal_carries_its_information);
	return c;
}

static Suite *suite(void)
{
	Suite *s = suite_create("sys");

	suite_add_tcase(s, injection_case());
	suite_add_tcase(s, memory_case());
	suite_add_tcase(s, other_case());
	return s;
}

HMM_TEST_MAIN(suite)
