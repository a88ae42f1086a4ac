/* SPDX-License-Identifier: MIT */
/*
 * test_cache_file.c - caches of files: pages made past the end are in the file after a flush, or the flush fails
 *
 * On the mock backend; the files are real.
 */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <hurd-mm/hurd-mm.h>
#include <hurd-mm/mock.h>

#include "lib/sys/sys.h"
#include "tests/harness.h"

#define PAGE 4096u
#define FRAMES 64u

static struct hmm_mock *mock;
static struct hmm_space *space;
static struct hmm_store *store;
static struct hmm_cache *cache;
static int fd;
static unsigned write_errors; /* events */

static void on_event(void *arg, const struct hmm_event *event)
{
	(void)arg;
	write_errors += event->kind == HMM_EVENT_WRITE_ERROR;
}

static void open_on(int file, size_t page_size, const struct hmm_cache_options *o)
{
	struct hmm_space_options so = { .size = sizeof(so), .backend = hmm_backend_mock(), .event = on_event,
		                        .flags = HMM_SPACE_CHECK_POLICY | HMM_SPACE_NO_RECLAIMER };

	ck_assert_int_ge(file, 0);
	fd = file;
	write_errors = 0;
	ck_assert_int_eq(hmm_mock_create(NULL, &mock), 0);
	so.backend_arg = mock;
	ck_assert_int_eq(hmm_space_create(FRAMES, &so, &space), 0);
	ck_assert_int_eq(hmm_store_file(fd, 0, &store), 0);
	ck_assert_int_eq(hmm_cache_create(space, store, page_size, o, &cache), 0);
}

static int new_file(const char *directory, uint64_t bytes)
{
	int file = open(directory, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);

	if (file >= 0)
		ck_assert_int_eq(ftruncate(file, (off_t)bytes), 0);
	return file;
}

static void begin(uint64_t bytes)
{
	open_on(new_file("/var/tmp", bytes), PAGE, NULL);
}

static void close_space(void)
{
	const char *misuse = NULL;

	hmm_store_put(store);
	hmm_space_destroy(space);
	ck_assert_msg(hmm_mock_misuses(mock, &misuse) == 0, "%s", misuse);
	hmm_mock_destroy(mock);
	close(fd);
}

static void end(void)
{
	ck_assert_int_eq(hmm_cache_destroy(cache), 0);
	close_space();
}

static struct hmm_cache_stats stats(void)
{
	struct hmm_cache_stats s = { .size = sizeof(s) };

	ck_assert_int_eq(hmm_cache_stats(cache, &s), 0);
	return s;
}

static uint64_t file_length(void)
{
	struct stat st;

	ck_assert_int_eq(fstat(fd, &st), 0);
	return (uint64_t)st.st_size;
}

static uint64_t word_in_file(uint64_t page, size_t page_size)
{
	uint64_t word = 0;

	ck_assert_int_eq(pread(fd, &word, sizeof(word), (off_t)(page * page_size)), sizeof(word));
	return word;
}

/* A page made anew: first and last word tell its number. */
static int create(uint64_t page, uint64_t value)
{
	uint64_t *data;
	int r = hmm_cache_get(cache, page, HMM_CACHE_CREATE | HMM_CACHE_WRITE, (void **)&data);

	if (r < 0)
		return r;
	data[0] = value;
	data[hmm_cache_page_size(cache) / 8 - 1] = ~value;
	return hmm_cache_put(cache, page, HMM_CACHE_WRITE | HMM_CACHE_DIRTY, 0);
}

static int value_of(uint64_t page, uint64_t *ret_value)
{
	uint64_t *data;
	int r = hmm_cache_get(cache, page, HMM_CACHE_READ, (void **)&data);

	if (r)
		return r;
	*ret_value = data[0];
	ck_assert_uint_eq(data[hmm_cache_page_size(cache) / 8 - 1], data[0] ? ~data[0] : 0);
	return hmm_cache_put(cache, page, HMM_CACHE_READ, 0);
}

static void check(uint64_t page, uint64_t value)
{
	uint64_t seen = 12345;

	ck_assert_int_eq(value_of(page, &seen), 0);
	ck_assert_uint_eq(seen, value);
}

static int flush_durable(void)
{
	return hmm_cache_flush(cache, &(struct hmm_cache_flush){ .size = sizeof(struct hmm_cache_flush),
	                                                          .flags = HMM_CACHE_DURABLE });
}

START_TEST(page_made_past_the_end_is_in_the_file)
{
	begin(0);
	ck_assert_int_eq(create(0, 77), 0);
	ck_assert_int_eq(flush_durable(), 0);
	ck_assert_uint_eq(stats().writes, 1);
	ck_assert_uint_eq(stats().dirty, 0);
	ck_assert_uint_eq(file_length(), PAGE);
	ck_assert_uint_eq(word_in_file(0, PAGE), 77);
	/* with a hole before it, which reads zeros from then on */
	ck_assert_int_eq(value_of(3, &(uint64_t){ 0 }), -ENXIO);
	ck_assert_int_eq(create(5, 55), 0);
	ck_assert_int_eq(value_of(3, &(uint64_t){ 0 }), -ENXIO); /* not yet: the page is not written */
	ck_assert_int_eq(hmm_cache_flush(cache, NULL), 0);
	ck_assert_uint_eq(file_length(), 6 * PAGE);
	check(3, 0);
	ck_assert_int_eq(value_of(6, &(uint64_t){ 0 }), -ENXIO);
	/* and by the end of the cache, without a flush */
	ck_assert_int_eq(create(9, 99), 0);
	ck_assert_int_eq(hmm_cache_destroy(cache), 0);
	ck_assert_uint_eq(file_length(), 10 * PAGE);
	ck_assert_uint_eq(word_in_file(9, PAGE), 99);
	close_space();
}
END_TEST

/* Eight times the budget, in a mixed order: evictions write them.  Page sizes below, at and above the system's. */
START_TEST(evictions_grow_the_file)
{
	static const size_t sizes[] = { 512, PAGE, 16384 };
	size_t page_size = sizes[_i];
	uint64_t n = 8 * (uint64_t)FRAMES * PAGE / page_size;

	open_on(new_file("/var/tmp", 100), page_size, NULL);
	for (uint64_t i = 0; i < n; i++)
		ck_assert_int_eq(create(i * 7919 % n, i * 7919 % n + 1), 0);
	ck_assert_uint_gt(stats().writes, 0);
	for (uint64_t i = 0; i < n; i++)
		check(i, i + 1);
	ck_assert_int_eq(hmm_cache_destroy(cache), 0);
	ck_assert_uint_eq(file_length(), n * page_size);
	for (uint64_t i = 0; i < n; i++)
		ck_assert_uint_eq(word_in_file(i, page_size), i + 1);
	close_space();
}
END_TEST

START_TEST(partial_last_page_becomes_whole)
{
	char *data, bytes[16];

	begin(PAGE + 1000);
	ck_assert_int_eq(pwrite(fd, "old", 4, PAGE), 4);
	ck_assert_int_eq(hmm_cache_get(cache, 1, HMM_CACHE_WRITE, (void **)&data), 0);
	ck_assert_str_eq(data, "old");
	for (unsigned i = 1000; i < PAGE; i++)
		ck_assert_int_eq(data[i], 0);
	strcpy(data + 2000, "past it");
	ck_assert_int_eq(hmm_cache_put(cache, 1, HMM_CACHE_WRITE | HMM_CACHE_DIRTY, 0), 0);
	ck_assert_int_eq(hmm_cache_flush(cache, NULL), 0);
	ck_assert_uint_eq(file_length(), 2 * PAGE);
	ck_assert_int_eq(pread(fd, bytes, 8, PAGE + 2000), 8);
	ck_assert_str_eq(bytes, "past it");
	end();
}
END_TEST

START_TEST(direct_file_grows_by_pages)
{
	int file = new_file("/var/tmp", 3000);
	char path[64];
	int direct;

	snprintf(path, sizeof(path), "/proc/self/fd/%d", file);
	direct = open(path, O_RDWR | O_DIRECT | O_CLOEXEC);
	close(file);
	if (direct < 0)
		test_skip("O_DIRECT in /var/tmp");
	open_on(direct, PAGE, NULL);
	for (uint64_t i = 0; i < 4 * FRAMES; i += 3)
		ck_assert_int_eq(create(i, i + 1), 0);
	ck_assert_int_eq(flush_durable(), 0);
	ck_assert_uint_eq(file_length(), (4 * FRAMES - 1) * PAGE + PAGE);
	ck_assert_int_eq(hmm_cache_shrink(cache, UINT64_MAX) > 0, 1);
	for (uint64_t i = 0; i < 4 * FRAMES; i++)
		check(i, i % 3 ? 0 : i + 1);
	end();
}
END_TEST

/* What fails to grow stays dirty, is told, and gets there when it can. */
static void check_refused(int error)
{
	uint64_t before = stats().write_errors;

	ck_assert_int_eq(hmm_cache_flush(cache, NULL), error);
	ck_assert_int_eq(flush_durable(), error);
	ck_assert_uint_gt(stats().write_errors, before);
	ck_assert_uint_gt(stats().dirty, 0);
	ck_assert_int_eq(hmm_space_poll(space), 0);
	ck_assert_uint_gt(write_errors, 0);
	ck_assert_int_eq(hmm_cache_destroy(cache), error);
}

START_TEST(file_size_limit_is_an_error_and_no_signal)
{
	struct rlimit limit;

	begin(PAGE);
	getrlimit(RLIMIT_FSIZE, &limit);
	limit.rlim_cur = 8 * PAGE + 100;
	ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &limit), 0);
	for (uint64_t i = 0; i < 12; i++)
		ck_assert_int_eq(create(i, i + 1), 0);
	check_refused(-EFBIG);
	ck_assert_uint_eq(stats().dirty, 4); /* the others were written */
	ck_assert_uint_eq(file_length(), 8 * PAGE);
	for (uint64_t i = 0; i < 12; i++)
		check(i, i + 1);
	limit.rlim_cur = limit.rlim_max;
	ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &limit), 0);
	ck_assert_int_eq(hmm_cache_flush(cache, NULL), 0);
	for (uint64_t i = 0; i < 12; i++)
		ck_assert_uint_eq(word_in_file(i, PAGE), i + 1);
	end();
}
END_TEST

START_TEST(page_past_the_largest_file_is_an_error)
{
	uint64_t far = (UINT64_C(1) << 40) - 1;
	struct hmm_cache_options o = { .size = sizeof(o), .max_pages = UINT64_C(1) << 40, .offset = (UINT64_C(1) << 62) };

	open_on(new_file("/var/tmp", 0), PAGE, &o);
	ck_assert_int_eq(create(far, 1), 0);
	ck_assert_int_lt(hmm_cache_flush(cache, NULL), 0);
	ck_assert_uint_eq(stats().dirty, 1);
	ck_assert_uint_eq(file_length(), 0);
	hmm_cache_abandon(cache);
	close_space();
}
END_TEST

/* A file system of 16 pages, in a mount namespace of this process's own. */
static bool small_file_system(char *directory)
{
	if (unshare(CLONE_NEWNS) || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) || !mkdtemp(directory))
		return false;
	return mount("none", directory, "tmpfs", 0, "size=65536") == 0;
}

START_TEST(full_file_system_is_an_error)
{
	char directory[] = "/tmp/hmm-small-XXXXXX";

	if (!small_file_system(directory)) {
		rmdir(directory);
		test_skip("mount(2) of a tmpfs (root)");
	}
	open_on(new_file(directory, 0), PAGE, NULL);
	for (uint64_t i = 0; i < 24; i++)
		ck_assert_int_eq(create(i, i + 1), 0);
	check_refused(-ENOSPC);
	for (uint64_t i = 0; i < 24; i++)
		check(i, i + 1);
	/* what it can't take is given up by the program, and then the rest is written */
	ck_assert_int_eq(hmm_cache_truncate(cache, 8, 0), 0);
	ck_assert_int_eq(ftruncate(fd, 8 * PAGE), 0);
	ck_assert_int_eq(hmm_cache_flush(cache, NULL), 0);
	ck_assert_uint_eq(file_length(), 8 * PAGE);
	for (uint64_t i = 0; i < 8; i++)
		ck_assert_uint_eq(word_in_file(i, PAGE), i + 1);
	end();
	umount2(directory, MNT_DETACH);
	rmdir(directory);
}
END_TEST

/* The nth system call that grows it fails; dirty pages are exactly those that the file lacks. */
START_TEST(every_write_may_fail_while_it_grows)
{
	static const enum hmm__sys_site sites[] = { HMM__SYS_PWRITEV, HMM__SYS_FILE_LIMIT };
	uint64_t nth = 0, calls;

	do {
		begin(0);
		for (uint64_t i = 0; i < 40; i++)
			ck_assert_int_eq(create(i / 4 * 6 + i % 4, i + 1), 0); /* ten runs */
		hmm__sys_fail(sites[_i], ++nth, 0, ENOSPC);
		(void)!hmm_cache_flush(cache, NULL);
		calls = hmm__sys_calls(sites[_i]);
		hmm__sys_fail_none();
		for (uint64_t i = 0; i < 40; i++)
			check(i / 4 * 6 + i % 4, i + 1);
		ck_assert_int_eq(hmm_cache_flush(cache, NULL), 0);
		for (uint64_t i = 0; i < 40; i++)
			ck_assert_uint_eq(word_in_file(i / 4 * 6 + i % 4, PAGE), i + 1);
		end();
	} while (nth <= calls);
	ck_assert_uint_gt(nth, 1);
}
END_TEST

/* A lasting failure: the budget fills with pages that can't be written, and gets say so; nothing is lost. */
START_TEST(gets_fail_when_nothing_can_be_written)
{
	uint64_t made = 0;
	int r = 0;

	open_on(new_file("/var/tmp", 0), PAGE, &(struct hmm_cache_options){ .size = sizeof(struct hmm_cache_options), .wait_ms = 20 });
	hmm__sys_fail(HMM__SYS_PWRITEV, 1, 1, ENOSPC);
	while (!r && made < 10 * FRAMES) {
		r = create(made, made + 1);
		made += !r;
	}
	ck_assert_int_lt(r, 0);
	ck_assert_uint_gt(made, FRAMES / 2);
	for (uint64_t i = 0; i < made; i++)
		check(i, i + 1);
	hmm__sys_fail_none();
	ck_assert_int_eq(hmm_cache_flush(cache, NULL), 0);
	ck_assert_uint_eq(file_length(), made * PAGE);
	for (uint64_t i = 0; i < made; i++)
		ck_assert_uint_eq(word_in_file(i, PAGE), i + 1);
	end();
}
END_TEST

START_TEST(truncated_pages_do_not_come_back)
{
	begin(0);
	for (uint64_t i = 0; i < 20; i++)
		ck_assert_int_eq(create(i, i + 1), 0);
	ck_assert_int_eq(hmm_cache_flush(cache, NULL), 0);
	for (uint64_t i = 0; i < 20; i++)
		ck_assert_int_eq(create(i, i + 100), 0);
	ck_assert_int_eq(hmm_cache_truncate(cache, 5, 0), 0);
	ck_assert_int_eq(ftruncate(fd, 5 * PAGE), 0);
	ck_assert_int_eq(hmm_cache_flush(cache, NULL), 0);
	ck_assert_uint_eq(file_length(), 5 * PAGE);
	check(4, 104);
	ck_assert_int_eq(value_of(5, &(uint64_t){ 0 }), -ENXIO);
	ck_assert_int_eq(create(6, 600), 0);
	ck_assert_int_eq(hmm_cache_flush(cache, NULL), 0);
	ck_assert_uint_eq(file_length(), 7 * PAGE);
	check(5, 0);
	end();
}
END_TEST

START_TEST(prefetch_leaves_pages_past_the_end_to_who_makes_them)
{
	uint64_t pages[] = { 1, 2, 3, 4, 50 };

	begin(2 * PAGE);
	ck_assert_int_eq(hmm_cache_prefetch(cache, pages, 5, 0), 1);
	ck_assert_int_eq(hmm_cache_prefetch(cache, pages + 1, 4, 0), 0);
	ck_assert_uint_eq(stats().resident, 1);
	ck_assert_int_eq(create(3, 33), 0);
	ck_assert_int_eq(hmm_cache_prefetch(cache, pages, 5, 0), 0);
	check(3, 33);
	ck_assert_int_eq(hmm_cache_flush(cache, NULL), 0);
	ck_assert_int_eq(hmm_cache_prefetch(cache, pages, 5, 0), 1); /* the hole */
	check(2, 0);
	end();
}
END_TEST

static uint64_t durable;

static uint64_t log_flushed(void *arg)
{
	(void)arg;
	return durable;
}

START_TEST(file_does_not_grow_before_the_log)
{
	struct hmm_cache_options o = { .size = sizeof(o), .log_flushed = log_flushed };
	void *data;

	durable = 10;
	open_on(new_file("/var/tmp", 0), PAGE, &o);
	ck_assert_int_eq(hmm_cache_get(cache, 4, HMM_CACHE_CREATE | HMM_CACHE_WRITE, &data), 1);
	ck_assert_int_eq(hmm_cache_put(cache, 4, HMM_CACHE_WRITE | HMM_CACHE_DIRTY, 20), 0);
	ck_assert_int_eq(hmm_cache_flush(cache, NULL), -EAGAIN);
	ck_assert_uint_eq(file_length(), 0);
	ck_assert_int_eq(hmm_cache_shrink(cache, 1), -EAGAIN);
	durable = 20;
	ck_assert_int_eq(hmm_cache_flush(cache, NULL), 0);
	ck_assert_uint_eq(file_length(), 5 * PAGE);
	end();
}
END_TEST

/* --- a store of the program's own that has an end and can't move it --- */

static char image[4 * PAGE];

static int image_read(void *ctx, struct hmm_store_vec *vec, unsigned n)
{
	(void)ctx;
	for (unsigned i = 0; i < n; i++) {
		vec[i].error = vec[i].offset + vec[i].length > sizeof(image) ? -ENXIO : 0;
		if (!vec[i].error)
			memcpy(vec[i].data, image + vec[i].offset, vec[i].length);
	}
	return vec[n - 1].error;
}

static int image_write(void *ctx, struct hmm_store_vec *vec, unsigned n)
{
	(void)ctx;
	for (unsigned i = 0; i < n; i++) {
		if (vec[i].offset + vec[i].length <= sizeof(image))
			memcpy(image + vec[i].offset, vec[i].data, vec[i].length);
	}
	return 0;
}

static int image_length(void *ctx, uint64_t *ret_length)
{
	(void)ctx;
	*ret_length = sizeof(image);
	return 0;
}

START_TEST(store_that_cannot_grow_says_so)
{
	static const struct hmm_store_ops ops = { .size = sizeof(ops), .version = HMM_STORE_VERSION, .name = "image",
		                                  .read = image_read, .write = image_write, .length = image_length };
	struct hmm_store *own = NULL;

	begin(0);
	ck_assert_int_eq(hmm_cache_destroy(cache), 0);
	ck_assert_int_eq(hmm_store_create(&ops, NULL, &own), 0);
	ck_assert_int_eq(hmm_cache_create(space, own, PAGE, NULL, &cache), 0);
	for (uint64_t i = 2; i < 6; i++)
		ck_assert_int_eq(create(i, i + 1), 0);
	check_refused(-ENOSPC);
	ck_assert_uint_eq(stats().dirty, 2);
	check(5, 6);
	ck_assert_uint_eq(*(uint64_t *)(image + 3 * PAGE), 4);
	ck_assert_int_eq(hmm_cache_truncate(cache, 4, 0), 0);
	end();
	hmm_store_put(own);
}
END_TEST

#if defined(__SANITIZE_THREAD__)
#define THREAD_SANITIZER 1
#else
#define THREAD_SANITIZER 0
#endif

static Suite *suite(void)
{
	Suite *s = suite_create("cache_file");
	TCase *t = tcase_create("grow");

	tcase_add_test(t, page_made_past_the_end_is_in_the_file);
	tcase_add_loop_test(t, evictions_grow_the_file, 0, 3);
	tcase_add_test(t, partial_last_page_becomes_whole);
	tcase_add_test(t, direct_file_grows_by_pages);
	tcase_add_test(t, truncated_pages_do_not_come_back);
	tcase_add_test(t, prefetch_leaves_pages_past_the_end_to_who_makes_them);
	tcase_add_test(t, file_does_not_grow_before_the_log);
	suite_add_tcase(s, t);
	t = tcase_create("refused");
	tcase_add_test(t, file_size_limit_is_an_error_and_no_signal);
	if (!THREAD_SANITIZER) /* page words of 2^40 pages: no address space for them */
		tcase_add_test(t, page_past_the_largest_file_is_an_error);
	tcase_add_test(t, full_file_system_is_an_error);
	tcase_add_loop_test(t, every_write_may_fail_while_it_grows, 0, 2);
	tcase_add_test(t, gets_fail_when_nothing_can_be_written);
	tcase_add_test(t, store_that_cannot_grow_says_so);
	suite_add_tcase(s, t);
	return s;
}

HMM_TEST_MAIN(suite)
