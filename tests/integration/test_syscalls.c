/* SPDX-License-Identifier: MIT */
/*
 * test_syscalls.c - system calls on memory that is not resident
 *
 * Under thread delivery they just work.  Under inline delivery they answer EFAULT, and work on pinned memory.
 */
#include "tests/world.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

#define FRAMES 64
#define NPAGES 256

static int scratch_file(size_t length)
{
	char path[] = "/tmp/hurd-mm-sys-XXXXXX";
	int fd = mkstemp(path);
	uint8_t *buffer = malloc(length);

	ck_assert_int_ge(fd, 0);
	unlink(path);
	for (size_t i = 0; i < length; i++)
		buffer[i] = (uint8_t)(i * 13 + i / 4096);
	ck_assert_int_eq(pwrite(fd, buffer, length, 0), (ssize_t)length);
	free(buffer);
	return fd;
}

static void page_out(struct world_map *m)
{
	ck_assert_int_eq(hmm_region_advise(m->region, m->base, m->length, HMM_ADVISE_PAGEOUT), 0);
}

/* The page has the contents of this tag; if not, say what it has instead. */
static void check_page(struct world *w, const uint8_t *seen, size_t page, uint64_t tag)
{
	uint8_t *expected = malloc(w->page);
	const char *instead = "something else";

	world_contents(w, w->page, page, tag, expected);
	if (memcmp(seen, expected, w->page) != 0) {
		size_t at = 0;

		while (seen[at] == expected[at])
			at++;
		for (size_t other = 0; other < NPAGES; other++) {
			world_contents(w, w->page, other, tag, expected);
			if (memcmp(seen + at / 8 * 8, expected + at / 8 * 8, 8) == 0)
				instead = "another page's contents";
		}
		world_contents(w, w->page, page, 0, expected);
		if (memcmp(seen + at, expected + at, w->page - at) == 0)
			instead = "what was there at first";
		ck_abort_msg("page %zu from byte %zu on: %s", page, at, instead);
	}
	free(expected);
}

/* One assertion for all of them: each costs a system call. */
static void check_bytes(const uint8_t *p, size_t length)
{
	size_t i = 0;

	while (i < length && p[i] == (uint8_t)(i * 13 + i / 4096))
		i++;
	ck_assert_msg(i == length, "byte %zu is %#x", i, p[i]);
}

START_TEST(read_fills_memory_that_is_not_resident)
{
	const char *missing = world_missing(WORLD_THREAD_AUTO);
	struct world w;
	struct world_map m;
	size_t length;
	int fd;

	if (missing)
		test_skip(missing);
	world_open(&w, WORLD_THREAD_AUTO, WORLD_SWAP_FILE, 1, FRAMES, NULL);
	world_map(&w, &m, NPAGES * w.page, NULL);
	for (size_t i = 0; i < NPAGES; i++)
		world_put(&w, &m, i, 3);
	page_out(&m);
	length = 200 * w.page + 77;
	fd = scratch_file(length);
	ck_assert_int_eq(read(fd, m.base + 5, length), (ssize_t)length);
	check_bytes(m.base + 5, length);
	for (size_t i = 202; i < NPAGES; i++)
		world_check(&w, &m, i, 3);
	close(fd);
	world_unmap(&w, &m);
	world_close(&w);
}
END_TEST

START_TEST(write_and_writev_take_memory_that_is_not_resident)
{
	const char *missing = world_missing(WORLD_THREAD_AUTO);
	struct iovec iov[3];
	struct world w;
	struct world_map m;
	uint8_t *back;
	int fd;

	if (missing)
		test_skip(missing);
	world_open(&w, WORLD_THREAD_AUTO, WORLD_FILE_SHARED, 1, FRAMES, NULL);
	world_map(&w, &m, NPAGES * w.page, NULL);
	for (size_t i = 0; i < NPAGES; i++)
		world_put(&w, &m, i, 3);
	page_out(&m);
	fd = scratch_file(1);
	back = malloc(m.length);
	ck_assert_int_eq(pwrite(fd, m.base, m.length, 0), (ssize_t)m.length);
	ck_assert_int_eq(pread(fd, back, m.length, 0), (ssize_t)m.length);
	for (size_t i = 0; i < NPAGES; i++)
		check_page(&w, back + i * w.page, i, 3);
	page_out(&m);
	for (size_t i = 0; i < 3; i++)
		iov[i] = (struct iovec){ .iov_base = m.base + (10 + 100 * i % 230) * w.page, .iov_len = 2 * w.page };
	ck_assert_int_eq(pwritev(fd, iov, 3, 0), (ssize_t)(6 * w.page));
	ck_assert_int_eq(pread(fd, back, 6 * w.page, 0), (ssize_t)(6 * w.page));
	for (size_t i = 0; i < 6; i++)
		check_page(&w, back + i * w.page, 10 + 100 * (i / 2) % 230 + i % 2, 3);
	free(back);
	close(fd);
	world_unmap(&w, &m);
	world_close(&w);
}
END_TEST

START_TEST(inline_delivery_answers_efault_unless_pinned)
{
	const char *missing = world_missing(WORLD_INLINE_AUTO);
	struct world w;
	struct world_map m;
	size_t length;
	int fd;

	if (missing)
		test_skip(missing);
	world_open(&w, WORLD_INLINE_AUTO, WORLD_SWAP_FILE, 1, FRAMES, NULL);
	world_map(&w, &m, NPAGES * w.page, NULL);
	for (size_t i = 0; i < NPAGES; i++)
		world_put(&w, &m, i, 3);
	page_out(&m);
	length = 20 * w.page;
	fd = scratch_file(length);
	ck_assert_int_eq(pread(fd, m.base, length, 0), -1);
	ck_assert_int_eq(errno, EFAULT);
	ck_assert_int_eq(pwrite(fd, m.base, length, 0), -1);
	ck_assert_int_eq(errno, EFAULT);
	ck_assert_int_eq(hmm_region_pin(m.region, m.base, length, 1), 0);
	ck_assert_int_eq(pread(fd, m.base, length, 0), (ssize_t)length);
	ck_assert_int_eq(hmm_region_unpin(m.region, m.base, length), 0);
	page_out(&m);
	check_bytes(m.base, length);
	page_out(&m);
	/* Pinned for reading: the kernel may read it. */
	ck_assert_int_eq(hmm_region_pin(m.region, m.base, length, 0), 0);
	ck_assert_int_eq(ftruncate(fd, 0), 0);
	ck_assert_int_eq(pwrite(fd, m.base, length, 0), (ssize_t)length);
	ck_assert_int_eq(hmm_region_unpin(m.region, m.base, length), 0);
	close(fd);
	world_unmap(&w, &m);
	world_close(&w);
}
END_TEST

/* A system call meets a page that can't be read: EFAULT, and the program lives on. */
START_TEST(unreadable_page_fails_the_system_call)
{
	const char *missing = world_missing(WORLD_THREAD_AUTO);
	struct hmm_store_fault fault = { .size = sizeof(fault), .read_nth = 1, .repeat = 1 };
	struct world w;
	struct world_map m;
	int fd;

	if (missing)
		test_skip(missing);
	world_open(&w, WORLD_THREAD_AUTO, WORLD_FILE_PRIVATE, 1, FRAMES, NULL);
	world_map(&w, &m, NPAGES * w.page, NULL);
	ck_assert_int_eq(hmm_store_set_fault(m.store, &fault), 0);
	fd = scratch_file(1);
	ck_assert_int_eq(pwrite(fd, m.base, w.page, 0), -1);
	ck_assert_int_eq(errno, EFAULT);
	close(fd);
	world_unmap(&w, &m);
	world_close(&w);
}
END_TEST

static Suite *suite(void)
{
	Suite *s = suite_create("syscalls");
	TCase *t = tcase_create("syscalls");

	tcase_add_test(t, read_fills_memory_that_is_not_resident);
	tcase_add_test(t, write_and_writev_take_memory_that_is_not_resident);
	tcase_add_test(t, inline_delivery_answers_efault_unless_pinned);
	tcase_add_test(t, unreadable_page_fails_the_system_call);
	suite_add_tcase(s, t);
	return s;
}

HMM_TEST_MAIN(suite)
