/* SPDX-License-Identifier: MIT */
/*
 * test_swap.c - the private swap file: sparse, limited, direct where possible, and never left behind
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/sys/sys.h"
#include "tests/harness.h"
#include "tests/unit/store_hammer.h"
#include "tests/unit/store_pages.h"

/* On a disk, usually, and in memory. */
static const char *const places[] = { "/var/tmp", "/dev/shm" };

static struct hmm_swap_options options(const char *directory)
{
	return (struct hmm_swap_options){ .size = sizeof(struct hmm_swap_options), .directory = directory };
}

static struct hmm_store *swap_store(struct hmm_swap_options opts)
{
	struct hmm_store *store = NULL;

	ck_assert_int_eq(hmm_store_swap(&opts, &store), 0);
	return store;
}

/* A directory of our own, so that what is left in it is ours. */
static char *make_directory(const char *place)
{
	static char path[64];

	snprintf(path, sizeof(path), "%s/hurd-mm-test-XXXXXX", place);
	ck_assert_ptr_nonnull(mkdtemp(path));
	return path;
}

static unsigned count_entries(const char *path)
{
	DIR *directory = opendir(path);
	struct dirent *entry;
	unsigned n = 0;

	ck_assert_ptr_nonnull(directory);
	while ((entry = readdir(directory)))
		n += strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0;
	closedir(directory);
	return n;
}

static unsigned count_descriptors(void)
{
	return count_entries("/proc/self/fd");
}

/* Does this directory take O_DIRECT?  Found out without the library. */
static bool takes_direct(const char *directory)
{
	int fd = open(directory, O_TMPFILE | O_RDWR | O_DIRECT | O_CLOEXEC, 0600);
	char *data = pages_new(1);
	bool takes = fd >= 0 && pwrite(fd, data, hmm_page_size(), 0) == (ssize_t)hmm_page_size();

	pages_free(data, 1);
	if (fd >= 0)
		close(fd);
	return takes;
}

START_TEST(what_was_never_written_reads_zeros)
{
	struct hmm_store *store = swap_store(options(places[_i]));
	size_t page = hmm_page_size();
	char *data = pages_new(6);
	struct hmm_store_vec vec[6];

	ck_assert_int_eq(put_page(store, 1000, 1), 0);
	ck_assert(has_zeros(store, 0));
	ck_assert(has_zeros(store, 999));
	ck_assert(has_page(store, 1000, 1));
	ck_assert(has_zeros(store, 1001));
	ck_assert(has_zeros(store, 1000000));
	/* one run across the end of the file */
	for (unsigned i = 0; i < 6; i++)
		vec[i] = piece(998 + i, data + i * page);
	ck_assert_int_eq(hmm_store_read(store, vec, 6), 0);
	for (unsigned i = 0; i < 6; i++)
		ck_assert(i == 2 ? page_is(vec[i].data, 1) : page_is_byte(vec[i].data, 0));
	ck_assert_uint_lt(store_stats(store).bytes_held, 100 * page);
	ck_assert_str_eq(hmm_store_name(store), "swap");
	hmm_store_put(store);
	pages_free(data, 6);
}
END_TEST

START_TEST(batches_keep_their_contents)
{
	struct hmm_store *store = swap_store(options(places[_i]));
	char *data = pages_new(64);
	struct hmm_store_vec vec[64];

	for (unsigned round = 0; round < 20; round++) {
		for (unsigned i = 0; i < 64; i++) {
			vec[i] = piece(1 + round * 64 + i, data + i * hmm_page_size());
			page_fill(vec[i].data, round * 64 + i);
		}
		ck_assert_int_eq(hmm_store_write(store, vec, 64), 0);
	}
	ck_assert_uint_eq(store_stats(store).system_calls, 20);
	ck_assert_uint_ge(store_stats(store).bytes_held, 20 * 64 * hmm_page_size());
	for (unsigned i = 0; i < 20 * 64; i += 7)
		ck_assert(has_page(store, 1 + i, i));
	hmm_store_put(store);
	pages_free(data, 64);
}
END_TEST

START_TEST(nothing_is_left_in_the_directory)
{
	const char *path = make_directory(places[_i]);
	struct hmm_store *store = swap_store(options(path));

	ck_assert_int_eq(put_page(store, 5, 5), 0);
	ck_assert_uint_eq(count_entries(path), 0);
	hmm_store_put(store);
	ck_assert_uint_eq(count_entries(path), 0);
	ck_assert_int_eq(rmdir(path), 0);
}
END_TEST

/* A child that uses a swap file, says so, and waits to be killed.  named: as on a file system without O_TMPFILE. */
static void victim(const char *path, int ready, bool named)
{
	struct hmm_swap_options opts = options(path);
	struct hmm_store *store = NULL;

	if (named)
		hmm__sys_fail(HMM__SYS_OPEN, 1, 0, EOPNOTSUPP);
	if (hmm_store_swap(&opts, &store) || put_page(store, 5, 5) || !has_page(store, 5, 5))
		_exit(1);
	if (write(ready, "x", 1) != 1)
		_exit(1);
	for (;;)
		pause();
}

START_TEST(killed_program_leaves_nothing_behind)
{
	const char *path = make_directory("/var/tmp");
	int ends[2], status;
	pid_t child;
	char byte;

	ck_assert_int_eq(pipe(ends), 0);
	child = fork();
	ck_assert_int_ge(child, 0);
	if (child == 0)
		victim(path, ends[1], _i);
	ck_assert_int_eq(read(ends[0], &byte, 1), 1);
	ck_assert_int_eq(kill(child, SIGKILL), 0);
	ck_assert_int_eq(waitpid(child, &status, 0), child);
	ck_assert(WIFSIGNALED(status));
	ck_assert_uint_eq(count_entries(path), 0);
	ck_assert_int_eq(rmdir(path), 0);
}
END_TEST

START_TEST(direct_is_used_where_the_file_system_has_it)
{
	struct hmm_swap_options opts = options(places[_i]);
	struct hmm_store *store = swap_store(opts);

	ck_assert_uint_eq(store_stats(store).direct, takes_direct(places[_i]));
	ck_assert_int_eq(put_page(store, 3, 3), 0);
	ck_assert(has_page(store, 3, 3));
	hmm_store_put(store);
	opts.direct = HMM_DIRECT_NEVER;
	store = swap_store(opts);
	ck_assert_uint_eq(store_stats(store).direct, 0);
	ck_assert_int_eq(put_page(store, 3, 3), 0);
	ck_assert(has_page(store, 3, 3));
	hmm_store_put(store);
}
END_TEST

/* A file system that refuses O_DIRECT at open (the second open), or not before the first transfer. */
START_TEST(without_direct_auto_goes_on_and_always_fails)
{
	enum hmm__sys_site site = _i ? HMM__SYS_PWRITEV : HMM__SYS_OPEN;
	uint64_t nth = _i ? 1 : 2;
	struct hmm_swap_options opts = options("/var/tmp");
	unsigned before = count_descriptors();
	struct hmm_store *store = NULL;

	if (!takes_direct("/var/tmp"))
		test_skip("O_DIRECT in /var/tmp");
	hmm__sys_fail(site, nth, 0, EINVAL);
	store = swap_store(opts);
	hmm__sys_fail_none();
	ck_assert_uint_eq(store_stats(store).direct, 0);
	ck_assert(has_zeros(store, 0));
	ck_assert_int_eq(put_page(store, 3, 3), 0);
	ck_assert(has_page(store, 3, 3));
	hmm_store_put(store);

	store = NULL;
	opts.direct = HMM_DIRECT_ALWAYS;
	hmm__sys_fail(site, nth, 0, EINVAL);
	ck_assert_int_eq(hmm_store_swap(&opts, &store), -EINVAL);
	hmm__sys_fail_none();
	ck_assert_ptr_null(store);
	ck_assert_uint_eq(count_descriptors(), before);

	store = swap_store(opts);
	ck_assert_uint_eq(store_stats(store).direct, 1);
	hmm_store_put(store);
}
END_TEST

START_TEST(transfer_that_direct_refuses_goes_through_the_cache)
{
	struct hmm_store *store = swap_store(options("/var/tmp"));

	if (store_stats(store).direct == 0) {
		hmm_store_put(store);
		test_skip("O_DIRECT in /var/tmp");
	}
	hmm__sys_fail(HMM__SYS_PWRITEV, 1, 0, EINVAL);
	ck_assert_int_eq(put_page(store, 3, 3), 0);
	hmm__sys_fail(HMM__SYS_PREADV, 1, 0, EINVAL);
	ck_assert(has_page(store, 3, 3));
	hmm__sys_fail_none();
	ck_assert(has_page(store, 3, 3));
	hmm_store_put(store);
}
END_TEST

START_TEST(limit_holds_page_by_page)
{
	struct hmm_swap_options opts = options(places[_i]);
	char *data = pages_new(6);
	struct hmm_store_vec vec[6];
	struct hmm_store *store;

	opts.limit = 4 * hmm_page_size();
	store = swap_store(opts);
	for (unsigned i = 0; i < 6; i++) {
		vec[i] = piece(i, data + i * hmm_page_size());
		page_fill(vec[i].data, i);
	}
	ck_assert_int_eq(hmm_store_write(store, vec, 6), -ENOSPC);
	for (unsigned i = 0; i < 6; i++) {
		ck_assert_int_eq(vec[i].error, i < 4 ? 0 : -ENOSPC);
		ck_assert(i < 4 ? has_page(store, i, i) : has_zeros(store, i));
	}
	ck_assert_int_eq(put_page(store, 4, 4), -ENOSPC);
	ck_assert_uint_le(store_stats(store).bytes_held, 4 * hmm_page_size());
	hmm_store_put(store);
	pages_free(data, 6);
}
END_TEST

START_TEST(limit_on_file_sizes_is_an_error_not_a_signal)
{
	struct rlimit limit;
	struct hmm_store *store;

	getrlimit(RLIMIT_FSIZE, &limit);
	limit.rlim_cur = 8 * hmm_page_size();
	ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &limit), 0);
	store = swap_store(options("/var/tmp"));
	ck_assert_int_eq(put_page(store, 7, 7), 0);
	ck_assert_int_eq(put_page(store, 8, 8), -ENOSPC);
	ck_assert(has_page(store, 7, 7));
	hmm_store_put(store);
	limit.rlim_cur = limit.rlim_max;
	ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &limit), 0);
}
END_TEST

START_TEST(full_file_system_is_told_and_the_rest_goes_on)
{
	struct hmm_store *store = swap_store(options("/var/tmp"));

	ck_assert_int_eq(put_page(store, 1, 1), 0);
	hmm__sys_fail(HMM__SYS_PWRITEV, 1, 1, ENOSPC);
	ck_assert_int_eq(put_page(store, 1, 2), -ENOSPC);
	ck_assert_int_eq(put_page(store, 2, 2), -ENOSPC);
	ck_assert(has_page(store, 1, 1));
	hmm__sys_fail_none();
	ck_assert_int_eq(put_page(store, 2, 2), 0);
	ck_assert(has_page(store, 2, 2));
	ck_assert_uint_eq(store_stats(store).write_errors, 2);
	hmm_store_put(store);
}
END_TEST

/* A descriptor of the store's file: it has no name, and this length. */
static int swap_descriptor(off_t length)
{
	struct stat st;
	int fd = 3;

	while (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode) || st.st_nlink != 0 || st.st_size != length)
		ck_assert_int_lt(fd++, 1 << 16);
	return fd;
}

/*
 * What the file system holds is not exact to the page: its records of the file count too, and a hole in a file that
 * already lies in several pieces may need a block more for them (ext4: from the fifth piece on).  So the pages are
 * counted with one block of grace, and that the hole is where it should be, and no smaller, is asked by SEEK_HOLE.
 */
START_TEST(discard_gives_the_space_back)
{
	struct hmm_store *store = swap_store(options(places[_i]));
	off_t page = (off_t)hmm_page_size();
	uint64_t held;
	int fd;

	for (uint64_t i = 0; i < 64; i++)
		ck_assert_int_eq(put_page(store, i, i), 0);
	fd = swap_descriptor(64 * page);
	held = store_stats(store).bytes_held;
	ck_assert_uint_ge(held, 64 * hmm_page_size());
	ck_assert_int_eq(hmm_store_discard(store, 16 * hmm_page_size(), 32 * hmm_page_size()), 0);
	ck_assert_uint_le(store_stats(store).bytes_held, held - 31 * hmm_page_size());
	ck_assert_int_eq(lseek(fd, 0, SEEK_HOLE), 16 * page);
	ck_assert_int_eq(lseek(fd, 16 * page, SEEK_DATA), 48 * page);
	ck_assert_int_eq(lseek(fd, 48 * page, SEEK_HOLE), 64 * page);
	ck_assert(has_page(store, 15, 15));
	ck_assert(has_zeros(store, 16));
	ck_assert(has_zeros(store, 47));
	ck_assert(has_page(store, 48, 48));
	/* a file system without holes: nothing is given back, and nothing is wrong */
	hmm__sys_fail(HMM__SYS_FALLOCATE, 1, 0, EOPNOTSUPP);
	ck_assert_int_eq(hmm_store_discard(store, 0, 8 * hmm_page_size()), 0);
	hmm__sys_fail(HMM__SYS_FALLOCATE, 1, 0, EIO);
	ck_assert_int_eq(hmm_store_discard(store, 0, 8 * hmm_page_size()), -EIO);
	hmm__sys_fail_none();
	ck_assert(has_page(store, 0, 0));
	hmm_store_put(store);
}
END_TEST

START_TEST(wrong_options_are_refused)
{
	struct hmm_swap_options opts = options("/var/tmp");
	struct hmm_store *store = NULL;
	unsigned before = count_descriptors();

	opts.flags = 1;
	ck_assert_int_eq(hmm_store_swap(&opts, &store), -EINVAL);
	opts = options("/var/tmp");
	opts.direct = HMM_DIRECT_ALWAYS + 1;
	ck_assert_int_eq(hmm_store_swap(&opts, &store), -EINVAL);
	opts = options("/var/tmp");
	opts.size = 0;
	ck_assert_int_eq(hmm_store_swap(&opts, &store), -EINVAL);
	opts = options("/nonexistent/directory");
	ck_assert_int_eq(hmm_store_swap(&opts, &store), -ENOENT);
	opts = options("/dev/null");
	ck_assert_int_eq(hmm_store_swap(&opts, &store), -ENOTDIR);
	ck_assert_ptr_null(store);
	ck_assert_uint_eq(count_descriptors(), before);
}
END_TEST

START_TEST(directory_comes_from_the_environment)
{
	struct hmm_store *store = NULL;

	setenv("TMPDIR", "/nonexistent/two", 1);
	setenv("HURD_MM_SWAP_DIR", "/nonexistent/one", 1);
	ck_assert_int_eq(hmm_store_swap(NULL, &store), -ENOENT);
	setenv("HURD_MM_SWAP_DIR", "/dev/shm", 1);
	ck_assert_int_eq(hmm_store_swap(NULL, &store), 0);
	hmm_store_put(store);
	setenv("HURD_MM_SWAP_DIR", "", 1);
	store = NULL;
	ck_assert_int_eq(hmm_store_swap(NULL, &store), -ENOENT);
	setenv("TMPDIR", "/var/tmp", 1);
	ck_assert_int_eq(hmm_store_swap(NULL, &store), 0);
	hmm_store_put(store);
	unsetenv("TMPDIR");
	unsetenv("HURD_MM_SWAP_DIR");
	ck_assert_int_eq(hmm_store_swap(NULL, &store), 0);
	hmm_store_put(store);
}
END_TEST

static unsigned remove_entries(const char *path)
{
	DIR *directory = opendir(path);
	struct dirent *entry;
	unsigned n = 0;

	ck_assert_ptr_nonnull(directory);
	while ((entry = readdir(directory)))
		n += unlinkat(dirfd(directory), entry->d_name, 0) == 0;
	closedir(directory);
	return n;
}

/*
 * Let each call of a creation fail in turn: it fails or does without, and leaves no descriptor and no file.  _i: as on a
 * file system without O_TMPFILE, where one failure is beyond help: that of taking the name away.
 */
START_TEST(creation_under_failure_leaves_nothing)
{
	const char *path = make_directory("/var/tmp");
	unsigned before = count_descriptors(), failed = 0, succeeded = 0, left = 0;

	for (uint64_t nth = 1; nth <= 14; nth++) {
		struct hmm_swap_options opts = options(path);
		struct hmm_store *store = NULL;
		int error;

		if (_i)
			hmm__sys_fail(HMM__SYS_OPEN, 1, 0, EOPNOTSUPP);
		hmm__sys_fail(HMM__SYS_SITES, nth, 0, EMFILE);
		error = hmm_store_swap(&opts, &store);
		hmm__sys_fail_none();
		if (error == 0) {
			succeeded++;
			ck_assert(has_zeros(store, 0));
			ck_assert_int_eq(put_page(store, 1, 1), 0);
			ck_assert(has_page(store, 1, 1));
			hmm_store_put(store);
		} else {
			failed++;
			ck_assert_msg(error == -EMFILE || error == -ENOMEM, "%d", error);
			ck_assert_ptr_null(store);
		}
		ck_assert_uint_eq(count_descriptors(), before);
		left += remove_entries(path);
	}
	ck_assert_uint_gt(failed, 1);
	ck_assert_uint_gt(succeeded, 1);
	ck_assert_uint_eq(left, _i ? 1 : 0);
	ck_assert_int_eq(rmdir(path), 0);
}
END_TEST

START_TEST(without_tmpfile_the_name_is_taken_away_at_once)
{
	static const int errors[] = { EOPNOTSUPP, EISDIR, EINVAL };
	const char *path = make_directory("/var/tmp");
	struct hmm_swap_options opts = options(path);
	struct hmm_store *store = NULL;

	hmm__sys_fail(HMM__SYS_OPEN, 1, 0, errors[_i]);
	ck_assert_int_eq(hmm_store_swap(&opts, &store), 0);
	ck_assert_uint_ge(hmm__sys_calls(HMM__SYS_OPEN), 2);
	hmm__sys_fail_none();
	ck_assert_uint_eq(count_entries(path), 0);
	ck_assert_uint_eq(store_stats(store).direct, takes_direct(path));
	ck_assert_int_eq(put_page(store, 9, 9), 0);
	ck_assert(has_page(store, 9, 9));
	hmm_store_put(store);
	ck_assert_int_eq(rmdir(path), 0);
}
END_TEST

START_TEST(swap_serves_four_threads)
{
	struct hmm_swap_options opts = options(places[_i % 2]);
	struct hmm_store *store;

	opts.direct = _i < 2 ? HMM_DIRECT_AUTO : HMM_DIRECT_NEVER;
	store = swap_store(opts);
	pages_hammer(store, test_seed(), 512, 100);
	hmm_store_put(store);
}
END_TEST

static Suite *suite(void)
{
	Suite *s = suite_create("swap");
	TCase *tc = tcase_create("contents");

	tcase_add_loop_test(tc, what_was_never_written_reads_zeros, 0, 2);
	tcase_add_loop_test(tc, batches_keep_their_contents, 0, 2);
	tcase_add_loop_test(tc, discard_gives_the_space_back, 0, 2);
	tcase_add_loop_test(tc, swap_serves_four_threads, 0, 4);
	suite_add_tcase(s, tc);

	tc = tcase_create("creation");
	tcase_add_loop_test(tc, nothing_is_left_in_the_directory, 0, 2);
	tcase_add_loop_test(tc, killed_program_leaves_nothing_behind, 0, 2);
	tcase_add_loop_test(tc, without_tmpfile_the_name_is_taken_away_at_once, 0, 3);
	tcase_add_loop_test(tc, creation_under_failure_leaves_nothing, 0, 2);
	tcase_add_test(tc, wrong_options_are_refused);
	tcase_add_test(tc, directory_comes_from_the_environment);
	suite_add_tcase(s, tc);

	tc = tcase_create("direct");
	tcase_add_loop_test(tc, direct_is_used_where_the_file_system_has_it, 0, 2);
	tcase_add_loop_test(tc, without_direct_auto_goes_on_and_always_fails, 0, 2);
	tcase_add_test(tc, transfer_that_direct_refuses_goes_through_the_cache);
	suite_add_tcase(s, tc);

	tc = tcase_create("limits");
	tcase_add_loop_test(tc, limit_holds_page_by_page, 0, 2);
	tcase_add_test(tc, limit_on_file_sizes_is_an_error_not_a_signal);
	tcase_add_test(tc, full_file_system_is_told_and_the_rest_goes_on);
	suite_add_tcase(s, tc);
	return s;
}

HMM_TEST_MAIN(suite)
