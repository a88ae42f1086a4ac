/* SPDX-License-Identifier: MIT */
/*
 * test_store_file.c - the file store: ends of files, coalescing, failures piece by piece
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/loop.h>
#include <signal.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/base/lock.h"
#include "lib/store/store.h"
#include "lib/sys/sys.h"
#include "tests/harness.h"
#include "tests/unit/store_hammer.h"
#include "tests/unit/store_pages.h"

#define MANY 200 /* more pieces than one system call takes */

/* A nameless file of `bytes` bytes in which page i holds i. */
static int make_file_in(const char *directory, uint64_t bytes)
{
	int fd = open(directory, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
	char *data = pages_new(1);

	ck_assert_int_ge(fd, 0);
	for (uint64_t i = 0; i * hmm_page_size() < bytes; i++) {
		page_fill(data, i);
		ck_assert_int_eq(pwrite(fd, data, hmm_page_size(), (off_t)(i * hmm_page_size())), (ssize_t)hmm_page_size());
	}
	ck_assert_int_eq(ftruncate(fd, (off_t)bytes), 0);
	pages_free(data, 1);
	return fd;
}

static int make_file(uint64_t bytes)
{
	return make_file_in("/var/tmp", bytes);
}

static struct hmm_store *file_store(int fd)
{
	struct hmm_store *store = NULL;

	ck_assert_int_eq(hmm_store_file(fd, 0, &store), 0);
	return store;
}

static uint64_t file_length(int fd)
{
	struct stat st;

	ck_assert_int_eq(fstat(fd, &st), 0);
	return (uint64_t)st.st_size;
}

/* The same file, opened anew with other flags. */
static int reopen(int fd, int flags)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	return open(path, flags | O_CLOEXEC);
}

static int file_page_is(int fd, uint64_t page, uint64_t tag)
{
	char *data = pages_new(1);
	ssize_t n = pread(fd, data, hmm_page_size(), (off_t)(page * hmm_page_size()));
	int same = n == (ssize_t)hmm_page_size() && page_is(data, tag);

	pages_free(data, 1);
	return same;
}

START_TEST(store_outlives_the_descriptor_it_was_made_from)
{
	int fd = make_file(4 * hmm_page_size());
	struct hmm_store *store = file_store(fd);
	uint64_t length = 0;

	close(fd);
	ck_assert(has_page(store, 3, 3));
	ck_assert_int_eq(hmm_store_length(store, &length), 0);
	ck_assert_uint_eq(length, 4 * hmm_page_size());
	ck_assert_int_eq(hmm_store_sync(store, 0, 0), 0);
	ck_assert_str_eq(hmm_store_name(store), "file");
	ck_assert_uint_eq(store_stats(store).bytes_held, 0);
	hmm_store_put(store);
}
END_TEST

START_TEST(what_is_not_a_file_is_refused)
{
	struct hmm_store *store = NULL;
	int ends[2], fd = make_file(100), other;

	ck_assert_int_eq(pipe(ends), 0);
	ck_assert_int_eq(hmm_store_file(ends[0], 0, &store), -ENODEV);
	other = open("/", O_RDONLY | O_DIRECTORY);
	ck_assert_int_eq(hmm_store_file(other, 0, &store), -ENODEV);
	close(other);
	other = open("/dev/null", O_RDWR);
	ck_assert_int_eq(hmm_store_file(other, 0, &store), -ENODEV);
	close(other);
	other = reopen(fd, O_WRONLY);
	ck_assert_int_eq(hmm_store_file(other, 0, &store), -EBADF);
	close(other);
	other = reopen(fd, O_PATH);
	ck_assert_int_eq(hmm_store_file(other, 0, &store), -EBADF);
	close(other);
	ck_assert_int_eq(hmm_store_file(-1, 0, &store), -EBADF);
	ck_assert_int_eq(hmm_store_file(fd, 1, &store), -EINVAL);
	ck_assert_ptr_null(store);
	close(fd);
}
END_TEST

START_TEST(adjacent_pieces_become_one_transfer)
{
	int fd = make_file(MANY * hmm_page_size());
	struct hmm_store *store = file_store(fd);
	char *data = pages_new(MANY);
	struct hmm_store_vec vec[MANY];

	/* in memory back to front, in the file side by side */
	for (unsigned i = 0; i < MANY; i++)
		vec[i] = piece(i, data + (MANY - 1 - i) * hmm_page_size());
	ck_assert_int_eq(hmm_store_read(store, vec, 64), 0);
	ck_assert_uint_eq(store_stats(store).system_calls, 1);
	ck_assert_int_eq(hmm_store_read(store, vec, MANY), 0);
	ck_assert_uint_eq(store_stats(store).system_calls, 1 + 4);
	for (unsigned i = 0; i < MANY; i++) {
		ck_assert_int_eq(vec[i].error, 0);
		ck_assert(page_is(vec[i].data, i));
		page_fill(vec[i].data, 5000 + i);
	}
	ck_assert_int_eq(hmm_store_write(store, vec, MANY), 0);
	ck_assert_uint_eq(store_stats(store).system_calls, 1 + 4 + 4);
	for (unsigned i = 0; i < MANY; i++)
		ck_assert(file_page_is(fd, i, 5000 + i));
	ck_assert_uint_eq(file_length(fd), MANY * hmm_page_size());
	hmm_store_put(store);
	pages_free(data, MANY);
	close(fd);
}
END_TEST

START_TEST(pieces_with_gaps_touch_nothing_in_between)
{
	int fd = make_file(32 * hmm_page_size());
	struct hmm_store *store = file_store(fd);
	static const unsigned pages[] = { 1, 2, 3, 7, 9, 10, 31 };
	char *data = pages_new(8);
	struct hmm_store_vec vec[7];

	for (unsigned i = 0; i < 7; i++) {
		vec[i] = piece(pages[i], data + i * hmm_page_size());
		page_fill(vec[i].data, 100 + pages[i]);
	}
	ck_assert_int_eq(hmm_store_write(store, vec, 7), 0);
	ck_assert_uint_eq(store_stats(store).system_calls, 4);
	for (unsigned i = 0, k = 0; i < 32; i++) {
		unsigned written = k < 7 && pages[k] == i;

		ck_assert(file_page_is(fd, i, written ? 100 + i : i));
		k += written;
	}
	memset(data, 0xee, 8 * hmm_page_size());
	ck_assert_int_eq(hmm_store_read(store, vec, 7), 0);
	for (unsigned i = 0; i < 7; i++)
		ck_assert(page_is(vec[i].data, 100 + pages[i]));
	ck_assert(page_is_byte(data + 7 * hmm_page_size(), 0xee));
	hmm_store_put(store);
	pages_free(data, 8);
	close(fd);
}
END_TEST

/* Read pages first .. first + 7 of a file of 4 pages and 100 bytes. */
static void check_reads_around_the_end(struct hmm_store *store, unsigned first)
{
	char *data = pages_new(8);
	struct hmm_store_vec vec[8];
	unsigned failed = 0;

	for (unsigned i = 0; i < 8; i++)
		vec[i] = piece(first + i, data + i * hmm_page_size());
	failed = first + 7 > 4;
	ck_assert_int_eq(hmm_store_read(store, vec, 8), failed ? -ENXIO : 0);
	for (unsigned i = 0; i < 8; i++) {
		ck_assert_int_eq(vec[i].error, first + i > 4 ? -ENXIO : 0);
		if (first + i < 4)
			ck_assert(page_is(vec[i].data, first + i));
		else if (first + i == 4)
			ck_assert(page_is_part(vec[i].data, 4, 100));
	}
	pages_free(data, 8);
}

START_TEST(reads_past_the_end_are_zeros_then_errors)
{
	int fd = make_file(4 * hmm_page_size() + 100);
	struct hmm_store *store = file_store(fd);

	for (unsigned first = 0; first < 8; first++)
		check_reads_around_the_end(store, first);
	hmm_store_put(store);
	close(fd);
}
END_TEST

START_TEST(large_piece_reads_zeros_past_the_end)
{
	int fd = make_file(4 * hmm_page_size() + 100);
	struct hmm_store *store = file_store(fd);
	char *data = pages_new(16);
	struct hmm_store_vec vec = { 0, data, 16 * hmm_page_size(), 1 };

	ck_assert_int_eq(hmm_store_read(store, &vec, 1), 0);
	for (unsigned i = 0; i < 4; i++)
		ck_assert(page_is(data + i * hmm_page_size(), i));
	ck_assert(page_is_part(data + 4 * hmm_page_size(), 4, 100));
	for (unsigned i = 5; i < 16; i++)
		ck_assert(page_is_byte(data + i * hmm_page_size(), 0));
	vec.offset = 16 * hmm_page_size();
	ck_assert_int_eq(hmm_store_read(store, &vec, 1), -ENXIO);
	ck_assert_int_eq(vec.error, -ENXIO);
	hmm_store_put(store);
	pages_free(data, 16);
	close(fd);
}
END_TEST

/* As a region writes (F1). */
static int plain_write(struct hmm_store *store, struct hmm_store_vec *vec, unsigned n)
{
	sigset_t saved;
	int error;

	hmm__signals_block(&saved);
	error = hmm__store_write(store, vec, n);
	hmm__signals_restore(&saved);
	return error;
}

START_TEST(end_is_where_it_is_at_the_access)
{
	int fd = make_file(8 * hmm_page_size());
	struct hmm_store *store = file_store(fd);
	char *data = pages_new(1);
	struct hmm_store_vec vec;
	uint64_t length = 0;

	ck_assert(has_page(store, 7, 7));
	ck_assert_int_eq(ftruncate(fd, (off_t)(4 * hmm_page_size() + 100)), 0);
	for (unsigned first = 0; first < 8; first++)
		check_reads_around_the_end(store, first);
	vec = piece(6, data);
	ck_assert_int_eq(plain_write(store, &vec, 1), 0);
	ck_assert_uint_eq(file_length(fd), 4 * hmm_page_size() + 100);
	ck_assert_int_eq(ftruncate(fd, (off_t)(9 * hmm_page_size())), 0);
	ck_assert(has_zeros(store, 6));
	ck_assert_int_eq(put_page(store, 6, 66), 0);
	ck_assert(has_page(store, 6, 66));
	ck_assert_int_eq(hmm_store_length(store, &length), 0);
	ck_assert_uint_eq(length, 9 * hmm_page_size());
	hmm_store_put(store);
	pages_free(data, 1);
	close(fd);
}
END_TEST

START_TEST(write_of_a_region_never_grows_the_file)
{
	uint64_t bytes = 4 * hmm_page_size() + 100;
	int fd = make_file(bytes);
	struct hmm_store *store = file_store(fd);
	char *data = pages_new(8);
	struct hmm_store_vec vec[8];

	for (unsigned i = 0; i < 8; i++) {
		vec[i] = piece(i, data + i * hmm_page_size());
		page_fill(vec[i].data, 70 + i);
	}
	ck_assert_int_eq(plain_write(store, vec, 8), 0);
	for (unsigned i = 0; i < 8; i++)
		ck_assert_int_eq(vec[i].error, 0);
	ck_assert_uint_eq(file_length(fd), bytes);
	for (unsigned i = 0; i < 4; i++)
		ck_assert(has_page(store, i, 70 + i));
	ck_assert_int_eq(hmm_store_read(store, &vec[4], 1), 0);
	ck_assert(page_is_part(vec[4].data, 74, 100));
	/* wholly past it: one question for the length, no transfer */
	vec[0] = piece(100, data);
	ck_assert_int_eq(plain_write(store, vec, 1), 0);
	ck_assert_uint_eq(file_length(fd), bytes);
	hmm_store_put(store);
	pages_free(data, 8);
	close(fd);
}
END_TEST

START_TEST(write_past_the_end_grows_the_file)
{
	uint64_t bytes = 4 * hmm_page_size() + 100;
	int fd = make_file(bytes);
	struct hmm_store *store = file_store(fd), *filter = NULL;
	char *data = pages_new(4);
	/* inside, across the end, and past it with a hole between */
	struct hmm_store_vec vec[3] = { piece(3, data), piece(4, data + hmm_page_size()), piece(9, data + 2 * hmm_page_size()) };

	for (unsigned i = 0; i < 3; i++)
		page_fill(vec[i].data, 70 + i);
	ck_assert_int_eq(hmm_store_write(store, vec, 3), 0);
	ck_assert_uint_eq(file_length(fd), 10 * hmm_page_size());
	ck_assert(file_page_is(fd, 3, 70) && file_page_is(fd, 4, 71) && file_page_is(fd, 9, 72));
	ck_assert(has_page(store, 2, 2));
	for (unsigned i = 5; i < 9; i++)
		ck_assert(has_zeros(store, i));
	ck_assert_int_eq(hmm_store_faulty(store, &filter), 0);
	ck_assert_int_eq(put_page(filter, 20, 20), 0);
	ck_assert_uint_eq(file_length(fd), 21 * hmm_page_size());
	ck_assert(has_page(store, 20, 20));
	/* half a page: the unit is a sector */
	vec[0] = (struct hmm_store_vec){ 21 * hmm_page_size() + 512, data, 512, 1 };
	ck_assert_int_eq(hmm_store_write(store, vec, 1), 0);
	ck_assert_uint_eq(file_length(fd), 21 * hmm_page_size() + 1024);
	hmm_store_put(filter);
	hmm_store_put(store);
	pages_free(data, 4);
	close(fd);
}
END_TEST

START_TEST(write_past_the_largest_file_is_refused)
{
	int fd = make_file(hmm_page_size());
	struct hmm_store *store = file_store(fd);
	char *data = pages_new(2);
	struct hmm_store_vec vec[2] = { piece(0, data), { (INT64_MAX & ~(hmm_page_size() - 1)) - hmm_page_size(), data,
		                                          hmm_page_size(), 0 } };

	page_fill(data, 55);
	ck_assert_int_lt(hmm_store_write(store, vec, 2), 0);
	ck_assert_int_eq(vec[0].error, 0);
	ck_assert(vec[1].error == -EFBIG || vec[1].error == -EINVAL);
	ck_assert(file_page_is(fd, 0, 55));
	ck_assert_uint_eq(file_length(fd), hmm_page_size());
	hmm_store_put(store);
	pages_free(data, 2);
	close(fd);
}
END_TEST

START_TEST(write_past_the_limit_is_refused_without_a_signal)
{
	int fd = make_file(hmm_page_size());
	struct hmm_store *store = file_store(fd);
	struct rlimit limit;

	getrlimit(RLIMIT_FSIZE, &limit);
	limit.rlim_cur = 4 * hmm_page_size() - 512;
	ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &limit), 0);
	/* SIGXFSZ has its default action: to end the process */
	ck_assert_int_eq(put_page(store, 3, 33), -EFBIG);
	ck_assert_int_eq(put_page(store, 2, 22), 0);
	ck_assert_uint_eq(file_length(fd), 3 * hmm_page_size());
	limit.rlim_cur = limit.rlim_max;
	ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &limit), 0);
	ck_assert_int_eq(put_page(store, 3, 33), 0);
	ck_assert(has_page(store, 2, 22) && has_page(store, 3, 33));
	hmm_store_put(store);
	close(fd);
}
END_TEST

START_TEST(direct_file_grows)
{
	int fd = make_file(2 * hmm_page_size() + 100), other = reopen(fd, O_RDWR | O_DIRECT);
	struct hmm_store *store;

	if (other < 0) {
		close(fd);
		test_skip("O_DIRECT on /var/tmp");
	}
	store = file_store(other);
	ck_assert_int_eq(put_page(store, 2, 22), 0);
	ck_assert_uint_eq(file_length(fd), 3 * hmm_page_size());
	ck_assert_int_eq(put_page(store, 6, 66), 0);
	ck_assert_uint_eq(file_length(fd), 7 * hmm_page_size());
	ck_assert(has_page(store, 1, 1) && has_page(store, 2, 22) && has_zeros(store, 3) && has_page(store, 6, 66));
	hmm_store_put(store);
	close(other);
	close(fd);
}
END_TEST

/* A loop device over a file of 4 pages and two sectors; skips where there is none to be had. */
static int make_device(int fd, int *ret_device)
{
	int control = open("/dev/loop-control", O_RDWR | O_CLOEXEC), device = -1;
	struct loop_info64 info = { .lo_flags = LO_FLAGS_AUTOCLEAR }; /* it goes with its last descriptor */
	char path[64];
	int number = control < 0 ? -1 : ioctl(control, LOOP_CTL_GET_FREE);

	if (number >= 0) {
		snprintf(path, sizeof(path), "/dev/loop%d", number);
		device = open(path, O_RDWR | O_CLOEXEC);
	}
	close(control);
	if (device >= 0 && (ioctl(device, LOOP_SET_FD, fd) < 0 || ioctl(device, LOOP_SET_STATUS64, &info) < 0)) {
		close(device);
		device = -1;
	}
	*ret_device = device;
	return device >= 0;
}

START_TEST(block_device_does_not_grow)
{
	int fd = make_file(4 * hmm_page_size() + 1024), device;
	char *data = pages_new(2);
	struct hmm_store_vec vec[2] = { piece(4, data), piece(5, data + hmm_page_size()) };
	struct hmm_store *store;
	uint64_t length = 0;

	if (!make_device(fd, &device)) {
		close(fd);
		test_skip("a loop device (root, /dev/loop-control)");
	}
	store = file_store(device);
	ck_assert_int_eq(hmm_store_length(store, &length), 0);
	ck_assert_uint_eq(length, 4 * hmm_page_size() + 1024);
	ck_assert_int_eq(put_page(store, 3, 33), 0);
	ck_assert(has_page(store, 3, 33));
	ck_assert_int_eq(hmm_store_write(store, vec, 2), -ENOSPC);
	ck_assert_int_eq(vec[0].error, -ENOSPC); /* its tail would be lost */
	ck_assert_int_eq(vec[1].error, -ENOSPC);
	memset(data + 1024, 0, hmm_page_size() - 1024);
	ck_assert_int_eq(hmm_store_write(store, vec, 1), 0);
	ck_assert_int_eq(hmm_store_read(store, vec, 1), 0);
	ck_assert_int_eq(data[1023], (char)0xee);
	ck_assert_int_eq(data[1024], 0);
	hmm_store_put(store);
	close(device);
	close(fd);
	pages_free(data, 2);
}
END_TEST

START_TEST(file_opened_for_reading_refuses_writes)
{
	int fd = make_file(4 * hmm_page_size()), other = reopen(fd, O_RDONLY);
	struct hmm_store *store = file_store(other), *writable = file_store(fd), *filter = NULL;

	ck_assert(!hmm__store_writable(store));
	ck_assert(hmm__store_writable(writable));
	ck_assert(has_page(store, 1, 1));
	ck_assert_int_eq(put_page(store, 1, 99), -EBADF);
	ck_assert_uint_eq(store_stats(store).write_errors, 1);
	ck_assert_int_eq(hmm_store_faulty(store, &filter), 0);
	ck_assert(!hmm__store_writable(filter));
	ck_assert_int_eq(put_page(filter, 1, 99), -EBADF);
	ck_assert(has_page(store, 1, 1));
	hmm_store_put(filter);
	hmm_store_put(store);
	hmm_store_put(writable);
	close(other);
	close(fd);
}
END_TEST

START_TEST(append_flag_does_not_move_writes)
{
	int fd = make_file(4 * hmm_page_size()), other = reopen(fd, O_RDWR | O_APPEND);
	struct hmm_store *store = file_store(other);

	ck_assert_int_eq(put_page(store, 1, 99), 0);
	ck_assert_uint_eq(file_length(fd), 4 * hmm_page_size());
	ck_assert(file_page_is(fd, 1, 99));
	hmm_store_put(store);
	close(other);
	close(fd);
}
END_TEST

START_TEST(direct_file_serves_its_unaligned_tail)
{
	uint64_t bytes = 4 * hmm_page_size() + 100;
	int fd = make_file(bytes), other = reopen(fd, O_RDWR | O_DIRECT);
	struct hmm_store *store;
	char *data = pages_new(2);
	struct hmm_store_vec vec[2] = { piece(3, data), piece(4, data + hmm_page_size()) };

	if (other < 0) {
		close(fd);
		test_skip("O_DIRECT in /var/tmp");
	}
	store = file_store(other);
	ck_assert_uint_eq(store_stats(store).direct, 1);
	for (unsigned first = 0; first < 8; first++)
		check_reads_around_the_end(store, first);
	page_fill(data, 33);
	page_fill(data + hmm_page_size(), 44);
	ck_assert_int_eq(plain_write(store, vec, 2), 0);
	ck_assert_uint_eq(file_length(fd), bytes);
	memset(data, 0xee, 2 * hmm_page_size());
	ck_assert_int_eq(hmm_store_read(store, vec, 2), 0);
	ck_assert(page_is(data, 33));
	ck_assert(page_is_part(data + hmm_page_size(), 44, 100));
	hmm_store_put(store);
	pages_free(data, 2);
	close(other);
	close(fd);
}
END_TEST

START_TEST(direct_file_without_a_second_descriptor_cannot_write_its_tail)
{
	uint64_t bytes = 4 * hmm_page_size() + 100;
	int fd = make_file(bytes), other = reopen(fd, O_RDWR | O_DIRECT);
	struct hmm_store *store;
	char *data = pages_new(2);
	struct hmm_store_vec vec[2] = { piece(3, data), piece(4, data + hmm_page_size()) };

	if (other < 0) {
		close(fd);
		test_skip("O_DIRECT in /var/tmp");
	}
	hmm__sys_fail(HMM__SYS_OPEN, 1, 0, ENOENT); /* as without /proc */
	store = file_store(other);
	hmm__sys_fail_none();
	for (unsigned first = 0; first < 8; first++)
		check_reads_around_the_end(store, first);
	page_fill(data, 33);
	ck_assert_int_eq(plain_write(store, vec, 2), -EINVAL);
	ck_assert_int_eq(vec[0].error, 0);
	ck_assert_int_eq(vec[1].error, -EINVAL);
	ck_assert(has_page(store, 3, 33));
	hmm_store_put(store);
	pages_free(data, 2);
	close(other);
	close(fd);
}
END_TEST

START_TEST(only_the_piece_with_bad_memory_fails)
{
	int fd = make_file(8 * hmm_page_size());
	struct hmm_store *store = file_store(fd);
	char *data = pages_new(8);
	struct hmm_store_vec vec[8];

	for (unsigned i = 0; i < 8; i++)
		vec[i] = piece(i, data + i * hmm_page_size());
	/* the kernel transfers what comes before, then stops: a short transfer, then an error */
	ck_assert_int_eq(mprotect(vec[_i].data, hmm_page_size(), PROT_NONE), 0);
	ck_assert_int_eq(hmm_store_read(store, vec, 8), -EFAULT);
	for (int i = 0; i < 8; i++) {
		ck_assert_int_eq(vec[i].error, i == _i ? -EFAULT : 0);
		if (i != _i)
			ck_assert(page_is(vec[i].data, (uint64_t)i));
		if (i != _i)
			page_fill(vec[i].data, 50 + (uint64_t)i);
	}
	ck_assert_int_eq(hmm_store_write(store, vec, 8), -EFAULT);
	for (int i = 0; i < 8; i++) {
		ck_assert_int_eq(vec[i].error, i == _i ? -EFAULT : 0);
		ck_assert(file_page_is(fd, (uint64_t)i, (uint64_t)(i == _i ? i : 50 + i)));
	}
	ck_assert_uint_eq(store_stats(store).read_errors, 1);
	ck_assert_uint_eq(store_stats(store).write_errors, 1);
	hmm_store_put(store);
	pages_free(data, 8);
	close(fd);
}
END_TEST

START_TEST(short_write_is_continued_and_its_failure_told)
{
	int fd = make_file(8 * hmm_page_size());
	struct hmm_store *store = file_store(fd);
	char *data = pages_new(8);
	struct hmm_store_vec vec[8];
	struct rlimit limit;

	for (unsigned i = 0; i < 8; i++) {
		vec[i] = piece(i, data + i * hmm_page_size());
		page_fill(vec[i].data, 50 + i);
	}
	/* from the middle of page 3 on the kernel refuses: a write across it is short by bytes, not by pages */
	signal(SIGXFSZ, SIG_IGN);
	getrlimit(RLIMIT_FSIZE, &limit);
	limit.rlim_cur = 3 * hmm_page_size() + 512;
	ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &limit), 0);
	ck_assert_int_eq(plain_write(store, vec, 8), -EFBIG);
	limit.rlim_cur = limit.rlim_max;
	ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &limit), 0);
	for (unsigned i = 0; i < 8; i++) {
		ck_assert_int_eq(vec[i].error, i < 3 ? 0 : -EFBIG);
		if (i != 3)
			ck_assert(file_page_is(fd, i, i < 3 ? 50 + i : i));
	}
	hmm_store_put(store);
	pages_free(data, 8);
	close(fd);
}
END_TEST

/* Write 12 pieces in three runs, then read them, with the nth call of a site failing; what is reported must be true. */
static uint64_t transfer_under_failure(enum hmm__sys_site site, uint64_t nth, int repeat)
{
	static const unsigned pages[12] = { 0, 1, 2, 3, 8, 9, 10, 11, 20, 21, 22, 23 };
	int fd = make_file(24 * hmm_page_size());
	struct hmm_store *store = file_store(fd);
	char *data = pages_new(12);
	struct hmm_store_vec vec[12];
	uint64_t calls;
	int error, any = 0;

	for (unsigned i = 0; i < 12; i++) {
		vec[i] = piece(pages[i], data + i * hmm_page_size());
		page_fill(vec[i].data, 50 + pages[i]);
	}
	hmm__sys_fail(site, nth, repeat, EIO);
	error = (site == HMM__SYS_FSTAT ? plain_write : hmm_store_write)(store, vec, 12);
	calls = hmm__sys_calls(site);
	hmm__sys_fail_none();
	for (unsigned i = 0; i < 12; i++) {
		any |= vec[i].error;
		ck_assert(vec[i].error == 0 || vec[i].error == -EIO);
		ck_assert(file_page_is(fd, pages[i], vec[i].error ? pages[i] : 50 + pages[i]));
	}
	ck_assert_int_eq(error, any);
	/* the caller tries again what failed: nothing is lost */
	ck_assert_int_eq(hmm_store_write(store, vec, 12), 0);
	memset(data, 0xee, 12 * hmm_page_size());
	hmm__sys_fail(site, nth, repeat, EIO);
	error = hmm_store_read(store, vec, 12);
	hmm__sys_fail_none();
	for (unsigned i = 0; i < 12; i++)
		if (vec[i].error == 0)
			ck_assert(page_is(vec[i].data, 50 + pages[i]));
	if (error)
		ck_assert_int_eq(hmm_store_read(store, vec, 12), 0);
	for (unsigned i = 0; i < 12; i++)
		ck_assert(page_is(vec[i].data, 50 + pages[i]));
	hmm_store_put(store);
	pages_free(data, 12);
	close(fd);
	return calls;
}

START_TEST(every_call_may_fail_and_nothing_is_lost)
{
	static const enum hmm__sys_site sites[] = {
		HMM__SYS_PREADV, HMM__SYS_PWRITEV, HMM__SYS_FILE_LIMIT, HMM__SYS_SITES, HMM__SYS_FSTAT,
	};
	uint64_t calls, nth = 0;

	do {
		nth++;
		calls = transfer_under_failure(sites[_i], nth, 0);
		transfer_under_failure(sites[_i], nth, 1);
	} while (nth < calls || nth < 8);
	ck_assert_uint_gt(nth, 3);
}
END_TEST

START_TEST(lasting_failure_is_told_for_every_piece_after_it)
{
	int fd = make_file(16 * hmm_page_size());
	struct hmm_store *store = file_store(fd);
	char *data = pages_new(16);
	struct hmm_store_vec vec[16];

	for (unsigned i = 0; i < 16; i++)
		vec[i] = piece(i < 8 ? i : i + 4, data + i * hmm_page_size());
	hmm__sys_fail(HMM__SYS_PREADV, 2, 1, EIO);
	ck_assert_int_eq(hmm_store_read(store, vec, 12), -EIO);
	hmm__sys_fail_none();
	for (unsigned i = 0; i < 12; i++)
		ck_assert_int_eq(vec[i].error, i < 8 ? 0 : -EIO);
	ck_assert_uint_eq(store_stats(store).read_errors, 4);
	ck_assert_uint_eq(store_stats(store).bytes_read, 8 * hmm_page_size());
	hmm_store_put(store);
	pages_free(data, 16);
	close(fd);
}
END_TEST

START_TEST(creation_under_failure_leaves_no_descriptor)
{
	int fd = make_file(hmm_page_size()), other = reopen(fd, O_RDWR | O_APPEND), probe = dup(fd);
	struct hmm_store *store = NULL;
	uint64_t nth = 0;
	int error;

	close(probe); /* the lowest free number */
	do {
		hmm__sys_fail(HMM__SYS_SITES, ++nth, 0, EMFILE);
		error = hmm_store_file(nth % 2 ? fd : other, 0, &store);
		ck_assert(error == 0 || error == -EMFILE || error == -ENOMEM);
		if (error == 0)
			hmm_store_put(store);
		ck_assert_int_eq(dup(fd), probe);
		close(probe);
	} while (error || nth < 10);
	hmm__sys_fail_none();
	close(other);
	close(fd);
}
END_TEST

START_TEST(file_serves_four_threads)
{
	int fd = make_file_in(_i ? "/dev/shm" : "/var/tmp", 0);
	struct hmm_store *store;

	ck_assert_int_eq(ftruncate(fd, (off_t)(1024 * hmm_page_size())), 0);
	store = file_store(fd);
	pages_hammer(store, test_seed(), 1024, 300);
	ck_assert_uint_eq(file_length(fd), 1024 * hmm_page_size());
	hmm_store_put(store);
	close(fd);
}
END_TEST

static Suite *suite(void)
{
	Suite *s = suite_create("store_file");
	TCase *tc = tcase_create("file");

	tcase_add_test(tc, store_outlives_the_descriptor_it_was_made_from);
	tcase_add_test(tc, what_is_not_a_file_is_refused);
	tcase_add_test(tc, adjacent_pieces_become_one_transfer);
	tcase_add_test(tc, pieces_with_gaps_touch_nothing_in_between);
	tcase_add_test(tc, reads_past_the_end_are_zeros_then_errors);
	tcase_add_test(tc, large_piece_reads_zeros_past_the_end);
	tcase_add_test(tc, end_is_where_it_is_at_the_access);
	tcase_add_test(tc, write_of_a_region_never_grows_the_file);
	tcase_add_test(tc, write_past_the_end_grows_the_file);
	tcase_add_test(tc, write_past_the_largest_file_is_refused);
	tcase_add_test(tc, write_past_the_limit_is_refused_without_a_signal);
	tcase_add_test(tc, direct_file_grows);
	tcase_add_test(tc, block_device_does_not_grow);
	tcase_add_test(tc, file_opened_for_reading_refuses_writes);
	tcase_add_test(tc, append_flag_does_not_move_writes);
	tcase_add_test(tc, direct_file_serves_its_unaligned_tail);
	tcase_add_test(tc, direct_file_without_a_second_descriptor_cannot_write_its_tail);
	tcase_add_loop_test(tc, file_serves_four_threads, 0, 2);
	suite_add_tcase(s, tc);

	tc = tcase_create("failures");
	tcase_add_loop_test(tc, only_the_piece_with_bad_memory_fails, 0, 8);
	tcase_add_test(tc, short_write_is_continued_and_its_failure_told);
	tcase_add_loop_test(tc, every_call_may_fail_and_nothing_is_lost, 0, 5);
	tcase_add_test(tc, lasting_failure_is_told_for_every_piece_after_it);
	tcase_add_test(tc, creation_under_failure_leaves_no_descriptor);
	suite_add_tcase(s, tc);
	return s;
}

HMM_TEST_MAIN(suite)
