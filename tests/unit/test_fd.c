/* SPDX-License-Identifier: MIT */
/*
 * test_fd.c - descriptors of the library: where they lie, whose they are, and how they come back
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <hurd-mm/hurd-mm.h>

#include "lib/base/util.h"
#include "lib/store/transfer.h"
#include "lib/sys/fd.h"
#include "lib/sys/sys.h"
#include "tests/harness.h"

#define KINDS 8
#define KEPT_SKIP "descriptors of a thread of its own (close_range, Linux 5.9, and pidfd_getfd, 6.9)"

static void setup(void)
{
	hmm__sys_fail_none();
}

/* One of each kind; -errno of the kind. */
static int open_kind(unsigned kind)
{
	int fd, dev;

	switch (kind) {
	case 0: return hmm__sys_open("/proc/self/pagemap", O_RDONLY, 0);
	case 1: return hmm__sys_open("/var/tmp", O_TMPFILE | O_RDWR, 0600);
	case 2: return hmm__sys_eventfd(0, EFD_NONBLOCK);
	case 3: return hmm__sys_pidfd_open();
	case 4: return hmm__sys_userfaultfd(O_NONBLOCK | UFFD_USER_MODE_ONLY);
	case 5: return hmm__sys_dup(STDOUT_FILENO);
	case 6:
		dev = hmm__sys_open("/dev/userfaultfd", O_RDWR, 0);
		fd = dev < 0 ? dev : hmm__sys_userfaultfd_dev(dev, O_NONBLOCK);
		hmm__sys_close(dev);
		return fd;
	default:
		return hmm__sys_open_callers("/dev/zero", O_RDONLY, 0);
	}
}

/* What a system may lack. */
static bool is_missing(unsigned kind, int error)
{
	return (kind == 4 || kind == 6) && (error == -ENOSYS || error == -EPERM || error == -ENOENT || error == -EACCES);
}

static bool is_open(int fd)
{
	return fcntl(fd, F_GETFD) >= 0;
}

static void limit_descriptors(unsigned n)
{
	struct rlimit limit;

	ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &limit), 0);
	limit.rlim_cur = n;
	ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
}

static void close_all(int from)
{
	struct rlimit limit;

	ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &limit), 0);
	for (int fd = from; fd < (int)HMM__MIN(limit.rlim_max, (rlim_t)65536); fd++)
		close(fd);
}

static int make_file(void)
{
	int handle = open_kind(1);

	if (handle < 0)
		abort();
	return handle;
}

static int other_file(void)
{
	int fd = open("/var/tmp", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);

	ck_assert_int_ge(fd, 0);
	return fd;
}

/*
 * A body that closes everything runs in a child: the harness has descriptors, too.  Exit status 77: skipped.
 */
#define MUST(...) \
	do { \
		if (!(__VA_ARGS__)) { \
			fprintf(stderr, "line %d: %s\n", __LINE__, #__VA_ARGS__); \
			_exit(1); \
		} \
	} while (0)

static void in_child(void (*body)(void))
{
	pid_t child = fork();
	int status;

	if (child == 0) {
		body();
		_exit(0);
	}
	ck_assert_int_eq(waitpid(child, &status, 0), child);
	if (WIFEXITED(status) && WEXITSTATUS(status) == 77)
		test_skip(KEPT_SKIP);
	ck_assert_int_eq(status, 0);
}

/* --- where they lie --- */

START_TEST(every_kind_lies_high_and_does_not_survive_exec)
{
	static const unsigned limits[] = { 1024, 256, 4096 };
	unsigned limit = limits[_i % 3], floor = HMM__MIN(limit * 3 / 4, 1024u);
	unsigned kind = (unsigned)_i / 3, before = 0, after = 0;
	int fd;

	limit_descriptors(limit);
	for (int low = 3; low < (int)floor; low++)
		before += is_open(low);
	fd = open_kind(kind);
	if (is_missing(kind, fd))
		test_skip("userfaultfd(2)");
	if (kind == 7) { /* a file of the caller's stays where it was opened */
		ck_assert_int_ge(fd, 3);
	} else {
		ck_assert_int_ge(fd, (int)floor);
	}
	ck_assert_int_lt(fd, (int)limit);
	ck_assert_int_eq(fcntl(fd, F_GETFD), FD_CLOEXEC);
	for (int low = 3; low < (int)floor; low++)
		after += is_open(low);
	ck_assert_uint_eq(after, kind == 7 ? before + 1 : before); /* nothing of ours is left below */
	hmm__sys_close(fd);
	ck_assert(!is_open(fd));
}
END_TEST

START_TEST(standard_streams_are_not_taken)
{
	int fds[KINDS], errout = dup(STDERR_FILENO);

	for (int fd = 0; fd < 3; fd++)
		close(fd);
	for (unsigned kind = 0; kind < KINDS; kind++) {
		fds[kind] = kind == 5 ? hmm__sys_dup(errout) : open_kind(kind);
		if (!is_missing(kind, fds[kind]) && (fds[kind] < 3 || is_open(0) || is_open(1) || is_open(2)))
			_exit(2);
	}
	for (unsigned kind = 0; kind < KINDS; kind++)
		hmm__sys_close(fds[kind]);
	dup2(errout, 2);
}
END_TEST

/* Few numbers: all are used, from above; then EMFILE, nothing is left open, and 0 to 2 stay free. */
static void small_limit_is_used_up_and_then_told_body(void)
{
	int fds[16], n = 0, fd, lowest = 16;

	close_all(3);
	limit_descriptors(16);
	close(0);
	while ((fd = hmm__sys_eventfd(0, 0)) >= 0) {
		MUST(fd >= 3);
		MUST(fd < 16);
		lowest = HMM__MIN(lowest, fd);
		MUST(n < 13);
		fds[n++] = fd;
	}
	MUST(fd == -EMFILE);
	MUST(n == 13);
	MUST(lowest == 3);
	MUST(!is_open(0));
	while (n)
		hmm__sys_close(fds[--n]);
	for (fd = 3; fd < 16; fd++)
		MUST(!is_open(fd));
}

START_TEST(small_limit_is_used_up_and_then_told)
{
	in_child(small_limit_is_used_up_and_then_told_body);
}
END_TEST

START_TEST(limit_lowered_later_does_not_matter)
{
	int high = make_file(), low, number;
	char byte = 'x';
	struct iovec iov = { &byte, 1 };

	limit_descriptors(64);
	low = make_file();
	ck_assert_int_lt(low, 64);
	number = hmm__fd_use(high);
	ck_assert_int_eq(number, high);
	ck_assert_int_eq((int)hmm__sys_pwritev(number, &iov, 1, 0), 1);
	hmm__sys_close(high);
	hmm__sys_close(low);
}
END_TEST

/* The number of a handle that was closed behind our back is not given to another one: they would be confused. */
static void number_that_was_closed_is_not_used_again_body(void)
{
	int lost, handles[12];

	close_all(3);
	limit_descriptors(16);
	lost = make_file();
	close(lost);
	for (int i = 0; i < 12; i++) {
		handles[i] = make_file();
		MUST(handles[i] != lost);
	}
	MUST(open_kind(1) == -EMFILE);
	hmm__sys_close(lost);
	lost = make_file();
	MUST(lost >= 3);
}

START_TEST(number_that_was_closed_is_not_used_again)
{
	in_child(number_that_was_closed_is_not_used_again_body);
}
END_TEST

/* POSIX: closing any descriptor of a file takes the process's locks on it away. */
START_TEST(record_locks_of_the_caller_outlive_our_opening)
{
	struct flock lock = { .l_type = F_WRLCK, .l_whence = SEEK_SET, .l_len = 10 };
	int fd = other_file(), copy, again, status;
	char path[64];
	pid_t child;

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	ck_assert_int_eq(fcntl(fd, F_SETLK, &lock), 0);
	copy = hmm__sys_dup(fd);
	again = hmm__sys_open_callers(path, O_RDWR, 0);
	ck_assert_int_ge(again, 3);
	ck_assert_int_ge(copy, 3);
	hmm__fd_keep((int[]){ copy, again }, 2);
	child = fork();
	if (child == 0) {
		struct flock ask = lock;

		_exit(fcntl(fd, F_GETLK, &ask) == 0 && ask.l_type == F_WRLCK && ask.l_pid == getppid() ? 0 : 1);
	}
	ck_assert_int_eq(waitpid(child, &status, 0), child);
	ck_assert_int_eq(status, 0);
	hmm__fd_close((int[]){ copy, again }, 2);
	close(fd);
}
END_TEST

/* --- whose they are --- */

START_TEST(closed_number_is_not_used)
{
	int handle = make_file();

	ck_assert_int_eq(hmm__fd_use(handle), handle);
	close(handle);
	ck_assert_int_eq(hmm__fd_use(handle), -EBADF);
	ck_assert_int_eq(hmm__fd_use_exact(handle), -EBADF);
	hmm__sys_close(handle);
}
END_TEST

START_TEST(foreign_file_is_neither_used_nor_closed)
{
	int handle = make_file(), other = other_file();

	ck_assert_int_eq(dup2(other, handle), handle);
	ck_assert_int_eq(hmm__fd_use(handle), -EBADF);
	hmm__sys_close(handle);
	ck_assert(is_open(handle));
	/* it is the program's now, and no handle any more */
	ck_assert_int_eq(hmm__fd_use(handle), handle);
}
END_TEST

START_TEST(number_that_is_no_handle_is_itself)
{
	ck_assert_int_eq(hmm__fd_use(STDOUT_FILENO), STDOUT_FILENO);
	ck_assert_int_eq(hmm__fd_use_exact(STDOUT_FILENO), STDOUT_FILENO);
	ck_assert_int_eq(hmm__fd_number(12345), 12345);
	ck_assert_int_eq(hmm__fd_number(-1), -1);
	hmm__fd_keep((int[]){ -1, STDOUT_FILENO }, 2);
	hmm__fd_close((int[]){ -1, -1 }, 2);
	ck_assert(is_open(STDOUT_FILENO));
}
END_TEST

/* --- how they come back --- */

/* A kept file with one byte in it; -1 where that can't be. */
static int try_kept_file(char byte)
{
	int handle = open_kind(1), number;

	if (handle < 0 || pwrite(handle, &byte, 1, 0) != 1)
		return -1;
	hmm__fd_keep(&handle, 1);
	close(handle);
	number = hmm__fd_use(handle);
	if (number >= 0)
		return number == handle ? handle : -1; /* it lies where it was, as that is free */
	hmm__sys_close(handle);
	return -1;
}

static int kept_file(char byte)
{
	int handle = try_kept_file(byte);

	if (handle < 0)
		test_skip(KEPT_SKIP);
	return handle;
}

static int kept_in_child(char byte)
{
	int handle = try_kept_file(byte);

	if (handle < 0)
		_exit(77);
	return handle;
}

static char child_byte(int number)
{
	char byte = 0;

	return pread(number, &byte, 1, 0) == 1 ? byte : 0;
}

static char byte_of(int number)
{
	char byte = child_byte(number);

	ck_assert_int_ne(byte, 0);
	return byte;
}

static void kept_descriptor_comes_back_after_all_were_closed_body(void)
{
	int handle = kept_in_child('k');

	for (int round = 0; round < 3; round++) {
		close_all(3);
		MUST(child_byte(hmm__fd_use(handle)) == 'k');
		MUST(fcntl(hmm__fd_number(handle), F_GETFD) == FD_CLOEXEC);
	}
	hmm__sys_close(handle);
	MUST(!is_open(handle));
	MUST(hmm__fd_threads() == 0);
}

START_TEST(kept_descriptor_comes_back_after_all_were_closed)
{
	in_child(kept_descriptor_comes_back_after_all_were_closed_body);
}
END_TEST

START_TEST(kept_descriptor_comes_back_beside_a_foreign_file)
{
	int handle = kept_file('k'), other = other_file(), number;

	ck_assert_int_eq((int)pwrite(other, "o", 1, 0), 1);
	ck_assert_int_eq(dup2(other, handle), handle);
	number = hmm__fd_use(handle);
	ck_assert_int_ge(number, 3);
	ck_assert_int_ne(number, handle);
	ck_assert_int_eq(byte_of(number), 'k');
	ck_assert_int_eq(hmm__fd_use(handle), number); /* and stays there */
	hmm__sys_close(handle);
	ck_assert(!is_open(number));
	ck_assert_int_eq(byte_of(handle), 'o');
}
END_TEST

/* Anonymous inodes have one identity; the open files differ. */
START_TEST(kept_eventfd_is_told_from_a_foreign_one)
{
	int handle = hmm__sys_eventfd(7, EFD_NONBLOCK), other = eventfd(5, EFD_NONBLOCK), number;
	uint64_t value = 0;

	hmm__fd_keep(&handle, 1);
	ck_assert_int_eq(dup2(other, handle), handle);
	ck_assert_int_eq(hmm__fd_use(handle), handle);
	number = hmm__fd_use_exact(handle);
	if (number == handle)
		test_skip(KEPT_SKIP);
	ck_assert_int_eq((int)read(number, &value, sizeof(value)), (int)sizeof(value));
	ck_assert_uint_eq(value, 7);
	ck_assert_int_eq(hmm__fd_use_exact(handle), number);
	hmm__sys_close(handle);
	ck_assert(!is_open(number));
	ck_assert_int_eq((int)read(handle, &value, sizeof(value)), (int)sizeof(value));
	ck_assert_uint_eq(value, 5);
}
END_TEST

/* Nothing of the program is held by the keeper: a pipe ends when its writers are gone. */
START_TEST(keeper_holds_no_file_of_the_program)
{
	int ends[2], handle;
	char byte;

	ck_assert_int_eq(pipe(ends), 0);
	handle = kept_file('k');
	close(ends[1]);
	ck_assert_int_eq((int)read(ends[0], &byte, 1), 0);
	hmm__sys_close(handle);
}
END_TEST

/* What was closed is closed everywhere: the last descriptor of the pipe's end went. */
START_TEST(closing_lets_the_keepers_copy_go)
{
	int ends[2], handle, stay = kept_file('k');
	char byte;

	ck_assert_int_eq(pipe(ends), 0);
	handle = hmm__sys_dup(ends[1]);
	close(ends[1]);
	hmm__fd_keep(&handle, 1);
	hmm__sys_close(handle);
	ck_assert_int_eq((int)read(ends[0], &byte, 1), 0);
	ck_assert_int_eq(hmm__fd_threads(), 1); /* for the other one */
	hmm__sys_close(stay);
	ck_assert_int_eq(hmm__fd_threads(), 0);
}
END_TEST

static void recovery_waits_for_a_free_number_body(void)
{
	int handle = kept_in_child('k'), fds[64], n = 0;

	close_all(3);
	limit_descriptors(16);
	while ((fds[n] = dup(STDOUT_FILENO)) >= 0)
		n++;
	MUST(hmm__fd_use(handle) == -EMFILE);
	close(fds[--n]);
	MUST(hmm__fd_use(handle) == -EMFILE); /* two are needed: the thread's descriptor, and what it gives */
	close(fds[--n]);
	MUST(hmm__fd_use(handle) >= 3);
	MUST(child_byte(hmm__fd_use(handle)) == 'k');
	hmm__sys_close(handle);
}

START_TEST(recovery_waits_for_a_free_number)
{
	in_child(recovery_waits_for_a_free_number_body);
}
END_TEST

/* Each step of keeping and recovering fails: the descriptor is lost or comes back, never another's. */
START_TEST(every_step_of_recovery_may_fail)
{
	static const enum hmm__sys_site sites[] = {
		HMM__SYS_PIDFD_OPEN, HMM__SYS_PIDFD_GETFD, HMM__SYS_CLOSE_RANGE, HMM__SYS_THREAD_CREATE, HMM__SYS_FILE_ID,
		HMM__SYS_SAME_FILE, HMM__SYS_DUP, HMM__SYS_SITES,
	};
	unsigned lost = 0, back = 0;

	hmm__sys_close(kept_file('k')); /* is it possible at all? */
	for (uint64_t nth = 1; nth <= 14; nth++) {
		int handle = make_file(), number, other;

		ck_assert_int_eq((int)pwrite(handle, "k", 1, 0), 1);
		hmm__sys_fail(sites[_i], nth, 0, ENOMEM);
		hmm__fd_keep(&handle, 1);
		other = other_file();
		ck_assert_int_eq((int)pwrite(other, "o", 1, 0), 1);
		ck_assert_int_eq(dup2(other, handle), handle);
		close(other);
		number = hmm__fd_use(handle);
		hmm__sys_fail_none();
		if (number >= 0) {
			back++;
			ck_assert_int_eq(byte_of(number), 'k');
		} else {
			lost++;
		}
		hmm__sys_close(handle);
		ck_assert_int_eq(byte_of(handle), 'o');
		close(handle);
		ck_assert_int_eq(hmm__fd_threads(), 0);
	}
	ck_assert_uint_gt(back, 0);
	ck_assert(lost > 0 || sites[_i] == HMM__SYS_SAME_FILE || sites[_i] == HMM__SYS_DUP);
}
END_TEST

struct hammer {
	int handle;
	_Atomic bool end;
	_Atomic unsigned wrong;
};

static void *use_it(void *arg)
{
	struct hammer *h = arg;

	while (!atomic_load(&h->end)) {
		int number = hmm__fd_use(h->handle);
		char byte = 'k';

		/* between the two it may be closed again */
		if (number < 0 || (pread(number, &byte, 1, 0) == 1 && byte != 'k'))
			atomic_fetch_add(&h->wrong, 1);
	}
	return NULL;
}

START_TEST(threads_recover_one_descriptor_at_once)
{
	struct hammer h = { .handle = kept_file('k') };
	pthread_t threads[3];
	unsigned entries = 0;
	DIR *directory;

	for (unsigned i = 0; i < 3; i++)
		ck_assert_int_eq(pthread_create(&threads[i], NULL, use_it, &h), 0);
	for (unsigned i = 0; i < 200; i++) {
		close(h.handle);
		ck_assert_int_ge(hmm__fd_use(h.handle), 3);
	}
	atomic_store(&h.end, true);
	for (unsigned i = 0; i < 3; i++)
		pthread_join(threads[i], NULL);
	ck_assert_uint_eq(atomic_load(&h.wrong), 0);
	hmm__sys_close(h.handle);
	directory = opendir("/proc/self/fd");
	while (readdir(directory))
		entries++;
	closedir(directory);
	ck_assert_uint_lt(entries, 16); /* none was left behind */
}
END_TEST

/* A forked child has no keeper of its own; it uses what it inherited, and can begin anew. */
START_TEST(forked_child_begins_anew)
{
	int handle = kept_file('k'), status;
	pid_t child = fork();

	if (child == 0) {
		int own;

		if (hmm__fd_use(handle) != handle || byte_of(handle) != 'k')
			_exit(1);
		close(handle);
		if (hmm__fd_use(handle) != -EBADF)
			_exit(2);
		hmm__sys_close(handle);
		own = kept_in_child('c');
		if (byte_of(hmm__fd_use(own)) != 'c' || hmm__fd_threads() != 1)
			_exit(3);
		hmm__sys_close(own);
		_exit(hmm__fd_threads() != 0);
	}
	ck_assert_int_eq(waitpid(child, &status, 0), child);
	ck_assert_int_eq(status, 0);
	close(handle);
	ck_assert_int_eq(byte_of(hmm__fd_use(handle)), 'k');
	hmm__sys_close(handle);
}
END_TEST

/* stderr is written only where it is what it was at the start. */
START_TEST(message_does_not_go_to_a_file_of_the_program)
{
	int other = other_file(), saved = dup(STDERR_FILENO);

	dup2(other, STDERR_FILENO);
	hmm__fd_say("not for this file\n");
	dup2(saved, STDERR_FILENO);
	ck_assert_int_eq((int)lseek(other, 0, SEEK_END), 0);
}
END_TEST

#if defined(__SANITIZE_THREAD__)
#define THREAD_SANITIZER 1
#else
#define THREAD_SANITIZER 0
#endif

/* A swap file has no name: as soon as its descriptor is closed, the file system may give its inode's number to the next file. */
START_TEST(file_with_the_number_of_one_that_has_gone_is_foreign)
{
	int handle = make_file(), number = hmm__fd_number(handle), fd;
	struct hmm__file_id ours, theirs = { 0 };

	ck_assert_int_eq(hmm__sys_file_id(number, &ours), 0);
	if (!ours.born)
		test_skip("a file system on /var/tmp that tells when a file was made");
	close(number);
	/* also until its clock, a coarse one, has gone on */
	for (unsigned i = 0; i < 20000 && (theirs.ino != ours.ino || theirs.born == ours.born); i++) {
		close(number);
		fd = other_file();
		if (fd != number) {
			ck_assert_int_eq(dup2(fd, number), number);
			close(fd);
		}
		ck_assert_int_eq(hmm__sys_file_id(number, &theirs), 0);
	}
	if (theirs.ino != ours.ino || theirs.born == ours.born)
		test_skip("a file system on /var/tmp that uses the numbers of inodes again");
	ck_assert_int_eq(hmm__fd_use(handle), -EBADF);
	hmm__sys_close(handle);
	ck_assert(is_open(number));
	close(number);
}
END_TEST

/* What the caller calls a descriptor is its number, also where one of our handles has the same name. */
START_TEST(number_of_the_caller_is_not_taken_for_a_handle)
{
	int handle = make_file(), number = hmm__fd_number(handle), theirs, again;
	struct stat want, got;

	hmm__fd_keep(&handle, 1);
	if (!hmm__fd_is_kept(handle))
		test_skip(KEPT_SKIP);
	theirs = other_file();
	ck_assert_int_eq(dup2(theirs, number), number); /* over ours, which moves */
	ck_assert_int_ge(hmm__fd_use(handle), 0);
	ck_assert_int_ne(hmm__fd_number(handle), number);
	again = hmm__transfer_reopen(number, O_RDWR, true);
	ck_assert_int_ge(again, 0);
	ck_assert_int_eq(fstat(theirs, &want), 0);
	ck_assert_int_eq(fstat(hmm__fd_number(again), &got), 0);
	ck_assert(want.st_ino == got.st_ino && want.st_dev == got.st_dev);
	hmm__sys_close(again);
	hmm__sys_close(handle);
}
END_TEST

static Suite *suite(void)
{
	Suite *s = suite_create("fd");
	TCase *tc = tcase_create("numbers");

	tcase_add_checked_fixture(tc, setup, NULL);
	tcase_add_loop_test(tc, every_kind_lies_high_and_does_not_survive_exec, 0, 3 * KINDS);
	tcase_add_test(tc, standard_streams_are_not_taken);
	tcase_add_test(tc, small_limit_is_used_up_and_then_told);
	tcase_add_test(tc, limit_lowered_later_does_not_matter);
	tcase_add_test(tc, number_that_was_closed_is_not_used_again);
	tcase_add_test(tc, record_locks_of_the_caller_outlive_our_opening);
	suite_add_tcase(s, tc);

	tc = tcase_create("identity");
	tcase_add_checked_fixture(tc, setup, NULL);
	tcase_add_test(tc, closed_number_is_not_used);
	tcase_add_test(tc, foreign_file_is_neither_used_nor_closed);
	tcase_add_test(tc, file_with_the_number_of_one_that_has_gone_is_foreign);
	tcase_add_test(tc, number_that_is_no_handle_is_itself);
	tcase_add_test(tc, message_does_not_go_to_a_file_of_the_program);
	suite_add_tcase(s, tc);

	tc = tcase_create("recovery");
	tcase_add_checked_fixture(tc, setup, NULL);
	tcase_add_test(tc, kept_descriptor_comes_back_after_all_were_closed);
	tcase_add_test(tc, kept_descriptor_comes_back_beside_a_foreign_file);
	tcase_add_test(tc, kept_eventfd_is_told_from_a_foreign_one);
	tcase_add_test(tc, number_of_the_caller_is_not_taken_for_a_handle);
	tcase_add_test(tc, keeper_holds_no_file_of_the_program);
	tcase_add_test(tc, closing_lets_the_keepers_copy_go);
	tcase_add_test(tc, recovery_waits_for_a_free_number);
	tcase_add_loop_test(tc, every_step_of_recovery_may_fail, 0, 8);
	if (!THREAD_SANITIZER) /* the program closes what others use: a race by intent */
		tcase_add_test(tc, threads_recover_one_descriptor_at_once);
	if (!TEST_TSAN) /* which has no threads after a fork */
		tcase_add_test(tc, forked_child_begins_anew);
	suite_add_tcase(s, tc);
	return s;
}

HMM_TEST_MAIN(suite)
