/* SPDX-License-Identifier: MIT */
/*
 * test_memory.c - how much memory there is: what the system says, from files made for the test, and a space's books
 */
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <hurd-mm/hurd-mm.h>
#include <hurd-mm/mock.h>

#include "lib/base/arena.h"
#include "lib/mem/room.h"
#include "lib/sys/sys.h"
#include "tests/harness.h"

#define MIB UINT64_C(1048576)

static char root[64];

/* --- a system made of files --- */

/* Every directory on the way, too. */
static void put(const char *path, const char *format, ...)
{
	char full[512];
	va_list args;
	FILE *file;

	snprintf(full, sizeof(full), "%s%s", root, path);
	for (char *slash = full + strlen(root) + 1; (slash = strchr(slash, '/')); *slash++ = '/') {
		*slash = 0;
		ck_assert(!mkdir(full, 0700) || errno == EEXIST);
	}
	file = fopen(full, "we");
	ck_assert_ptr_nonnull(file);
	va_start(args, format);
	vfprintf(file, format, args);
	va_end(args);
	ck_assert_int_eq(fclose(file), 0);
}

static void put_meminfo(uint64_t mib)
{
	put("/proc/meminfo", "MemTotal:       99999999 kB\nMemFree:  5 kB\nMemAvailable:   %llu kB\nBuffers: 7 kB\n",
	    (unsigned long long)mib * 1024);
}

static void setup(void)
{
	strcpy(root, "/tmp/hmm-room-XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(root));
	hmm__room_root = root;
	put_meminfo(500);
	put("/proc/self/cgroup", "0::/\n");
	put("/proc/self/mountinfo", "21 1 0:20 / /proc rw - proc proc rw\n");
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st, (void)type, (void)ftw;
	return remove(path);
}

static void teardown(void)
{
	hmm__sys_fail_none();
	nftw(root, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

/* The process in group `path` of a version 2 hierarchy, seen from `top`. */
static void in_v2(const char *path, const char *top)
{
	put("/proc/self/cgroup", "9:name=systemd:/x\n0::%s\n", path);
	put("/proc/self/mountinfo",
	    "21 1 0:20 / /proc rw - proc proc rw\n"
	    "29 23 0:26 %s /sys/fs/cgroup rw,nosuid shared:4 master:2 - cgroup2 cgroup2 rw,nsdelegate\n", top);
}

static void in_v1(const char *path)
{
	put("/proc/self/cgroup", "5:devices:/d\n4:cpu,memory:%s\n0::/\n", path);
	put("/proc/self/mountinfo",
	    "31 23 0:28 / /sys/fs/cgroup rw - tmpfs tmpfs rw\n"
	    "33 31 0:30 / /sys/fs/cgroup/devices rw - cgroup cgroup rw,devices\n"
	    "34 31 0:31 / /sys/fs/cgroup/cpu\\054memory rw,relatime - cgroup cgroup rw,cpu,memory\n"
	    "41 31 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n");
}

static void put_v2(const char *directory, const char *max, const char *high, uint64_t used_mib, uint64_t once_mib)
{
	char path[256];

	snprintf(path, sizeof(path), "/sys/fs/cgroup%s/memory.max", directory);
	put(path, "%s\n", max);
	snprintf(path, sizeof(path), "/sys/fs/cgroup%s/memory.high", directory);
	put(path, "%s\n", high);
	snprintf(path, sizeof(path), "/sys/fs/cgroup%s/memory.current", directory);
	put(path, "%llu\n", (unsigned long long)(used_mib * MIB));
	snprintf(path, sizeof(path), "/sys/fs/cgroup%s/memory.stat", directory);
	put(path, "anon 1\nfile 2\nactive_file 3\ninactive_file %llu\n", (unsigned long long)(once_mib * MIB));
}

static void expect_room(uint64_t system, uint64_t group)
{
	struct hmm__room room = { 1, 1 };

	ck_assert_int_eq(hmm__room_read(&room), 0);
	ck_assert_uint_eq(room.system, system);
	ck_assert_uint_eq(room.group, group);
}

static void expect_error(int error)
{
	struct hmm__room room = { 1, 2 };

	ck_assert_int_eq(hmm__room_read(&room), error);
	ck_assert(room.system == 1 && room.group == 2);
}

/* --- what the system says --- */

START_TEST(without_groups_only_the_machine_limits)
{
	expect_room(500 * MIB, UINT64_MAX);
	put("/proc/self/cgroup", "%s", "");
	expect_room(500 * MIB, UINT64_MAX);
	in_v2("/", "/"); /* the root group has no such files */
	expect_room(500 * MIB, UINT64_MAX);
}
END_TEST

START_TEST(tightest_group_on_the_way_up_counts)
{
	in_v2("/a/b", "/");
	put_v2("/a/b", "max", "max", 10, 0);
	put_v2("/a", "104857600", "max", 40, 0);
	expect_room(500 * MIB, 60 * MIB);
	put_v2("/a/b", "52428800", "max", 10, 0);
	expect_room(500 * MIB, 40 * MIB);
	put_v2("/a/b", "52428800", "31457280", 10, 0); /* beyond "high" the kernel slows down */
	expect_room(500 * MIB, 20 * MIB);
	put_v2("/a", "104857600", "max", 200, 0); /* lowered below what is used */
	expect_room(500 * MIB, 0);
}
END_TEST

START_TEST(page_cache_used_once_counts_as_room)
{
	in_v2("/a", "/");
	put_v2("/a", "104857600", "max", 90, 30);
	expect_room(500 * MIB, 40 * MIB);
	put_v2("/a", "104857600", "max", 90, 95); /* counted at different instants */
	expect_room(500 * MIB, 100 * MIB);
}
END_TEST

START_TEST(groups_that_the_mount_hides_are_left_out)
{
	in_v2("/docker/c1/in", "/docker/c1");
	put_v2("/in", "104857600", "max", 50, 0);
	put_v2("", "73400320", "max", 50, 0);
	expect_room(500 * MIB, 20 * MIB);
	in_v2("/../other", "/"); /* outside of the namespace: the mount's root is the nearest one visible */
	expect_room(500 * MIB, 20 * MIB);
	in_v2("/dockers", "/docker");
	expect_room(500 * MIB, 20 * MIB);
	in_v2("/docker", "/docker");
	expect_room(500 * MIB, 20 * MIB);
}
END_TEST

START_TEST(version_1_has_its_own_names)
{
	in_v1("/p/q");
	put("/sys/fs/cgroup/cpu,memory/memory.limit_in_bytes", "9223372036854771712\n");
	put("/sys/fs/cgroup/cpu,memory/p/memory.limit_in_bytes", "104857600\n");
	put("/sys/fs/cgroup/cpu,memory/p/memory.usage_in_bytes", "83886080\n");
	put("/sys/fs/cgroup/cpu,memory/p/memory.stat", "cache 1\ninactive_file 9\ntotal_inactive_file 10485760\n");
	put("/sys/fs/cgroup/cpu,memory/p/q/memory.limit_in_bytes", "9223372036854771712\n");
	expect_room(500 * MIB, 30 * MIB);
	put("/proc/self/cgroup", "4:cpu,memoryx:/p/q\n");
	expect_room(500 * MIB, UINT64_MAX);
}
END_TEST

START_TEST(lines_of_any_length)
{
	char *layers = malloc(20001);

	ck_assert_ptr_nonnull(layers);
	memset(layers, 'l', 20000);
	layers[20000] = 0;
	put("/proc/self/cgroup", "0::/a");
	put("/proc/self/mountinfo",
	    "20 1 0:5 / / rw - overlay overlay rw,lowerdir=%s\n29 23 0:26 / /sys/fs/cgroup rw - cgroup2 none rw", layers);
	put_v2("/a", "104857600", "max", 90, 0);
	expect_room(500 * MIB, 10 * MIB);
	put("/proc/meminfo", "X: %s\nMemAvailable: 2048", layers);
	expect_room(2 * MIB, 10 * MIB);
	free(layers);
}
END_TEST

START_TEST(what_can_not_be_read_is_an_error)
{
	char path[128];

	put("/proc/meminfo", "MemTotal: 5 kB\n");
	expect_error(-ENODATA);
	put("/proc/meminfo", "MemAvailable: much\n");
	expect_error(-EBADMSG);
	put("/proc/meminfo", "MemAvailable: 18446744073709551616 kB\n");
	expect_error(-EBADMSG);
	put("/proc/meminfo", "MemAvailable: 18446744073709551615 kB\n");
	expect_error(-EBADMSG);
	put_meminfo(500);
	in_v2("/a", "/");
	put_v2("/a", "12x", "max", 1, 0);
	expect_error(-EBADMSG);
	put_v2("/a", "1048576", "", 1, 0);
	expect_error(-EBADMSG);
	put_v2("/a", "1048576", "max", 1, 0);
	expect_room(500 * MIB, 0);
	snprintf(path, sizeof(path), "%s/proc/self/mountinfo", root);
	ck_assert_int_eq(unlink(path), 0);
	expect_error(-ENOENT);
	snprintf(path, sizeof(path), "%s/proc/meminfo", root);
	ck_assert_int_eq(unlink(path), 0);
	ck_assert_int_eq(mkdir(path, 0700), 0);
	expect_error(-EISDIR);
}
END_TEST

/* Every open and every read on the way. */
START_TEST(every_failure_is_reported)
{
	static const enum hmm__sys_site sites[] = { HMM__SYS_OPEN, HMM__SYS_READ };
	struct hmm__room room;

	in_v2("/a/b", "/");
	put_v2("/a/b", "104857600", "max", 10, 0);
	put_v2("/a", "104857600", "max", 40, 0);
	for (unsigned s = 0; s < 2; s++) {
		uint64_t calls;

		hmm__sys_fail(sites[s], 0, 0, EIO);
		ck_assert_int_eq(hmm__room_read(&room), 0);
		calls = hmm__sys_calls(sites[s]);
		ck_assert_uint_ge(calls, 8);
		for (uint64_t nth = 1; nth <= calls; nth++) {
			hmm__sys_fail(sites[s], nth, 0, EIO);
			expect_error(-EIO);
			hmm__sys_fail(sites[s], nth, 0, EINTR);
			if (sites[s] == HMM__SYS_READ)
				expect_room(500 * MIB, 60 * MIB);
		}
		hmm__sys_fail_none();
	}
	hmm__alloc_fail(1, 0);
	expect_error(-ENOMEM);
	hmm__alloc_fail(0, 0);
	expect_room(500 * MIB, 60 * MIB);
}
END_TEST

START_TEST(this_machine_answers)
{
	struct hmm__room room;

	hmm__room_root = "";
	ck_assert_int_eq(hmm__room_read(&room), 0);
	ck_assert_uint_ge(room.system, MIB);
	ck_assert_uint_ge(room.group, 1);
}
END_TEST

/* --- a space --- */

static struct hmm_space *space;
static struct hmm_region *region;
static size_t page;

static void open_space(uint64_t frames, uint64_t max_frames, uint32_t flags)
{
	struct hmm_space_options opts = { .size = sizeof(opts), .backend = hmm_backend_mock(), .policy = "gc:lru",
		                          .flags = HMM_SPACE_NO_RECLAIMER, .max_frames = max_frames };
	struct hmm_region_options more = { .size = sizeof(more), .flags = flags };

	page = hmm_page_size();
	ck_assert_int_eq(hmm_store_memory(64 * MIB, &opts.swap), 0);
	ck_assert_int_eq(hmm_space_create(frames, &opts, &space), 0);
	hmm_store_put(opts.swap);
	ck_assert_int_eq(hmm_region_map(space, NULL, 0, 1024 * page, &more, &region), 0);
}

static uint8_t *at(unsigned i)
{
	return (uint8_t *)hmm_region_base(region) + i * page;
}

static void write_pages(unsigned from, unsigned n)
{
	for (unsigned i = from; i < from + n; i++)
		ck_assert_int_eq(hmm_mock_write(region, at(i), &i, sizeof(i)), 0);
}

static struct hmm_memory memory(void)
{
	struct hmm_memory m = { .size = sizeof(m) };

	ck_assert_int_eq(hmm_space_memory(space, &m), 0);
	return m;
}

START_TEST(a_space_tells_what_it_has)
{
	struct hmm_region *other;
	struct hmm_memory m;

	open_space(128, 256, 0);
	ck_assert_int_eq(hmm_region_map(space, NULL, 0, 64 * page, NULL, &other), 0);
	write_pages(0, 40);
	ck_assert_int_eq(hmm_mock_write(other, hmm_region_base(other), "x", 1), 0);
	ck_assert_int_eq(hmm_region_lock(region, at(0), 4 * page), 0);
	ck_assert_int_eq(hmm_region_advise(region, at(10), 6 * page, HMM_ADVISE_FREE), 0);
	m = memory();
	ck_assert_uint_eq(m.budget, 128);
	ck_assert_uint_eq(m.max_frames, 256);
	ck_assert_uint_eq(m.pinned, 4);
	ck_assert_uint_eq(m.used, 35);
	ck_assert_uint_eq(m.garbage, 6);
	ck_assert_uint_eq(m.kept, 0);
	ck_assert_uint_eq(hmm_region_resident(region), 40);
	ck_assert_uint_eq(hmm_region_resident(other), 1);
	ck_assert_uint_eq(hmm_region_resident(NULL), 0);
	write_pages(12, 2); /* no garbage any more */
	m = memory();
	ck_assert_uint_eq(m.used, 37);
	ck_assert_uint_eq(m.garbage, 4);
	ck_assert_int_eq(hmm_region_advise(region, at(10), 2 * page, HMM_ADVISE_DONTNEED), 0);
	m = memory();
	ck_assert_uint_eq(m.used, 37);
	ck_assert_uint_eq(m.garbage, 2);
	ck_assert_uint_eq(hmm_region_resident(region), 38);
	for (unsigned i = 0; i < 64; i++) /* a pass may look at what was used, and take nothing */
		ck_assert_int_ge(hmm_space_reclaim(space, 16), 0);
	m = memory();
	ck_assert_uint_eq(m.garbage, 0);
	ck_assert_uint_eq(m.used, 4); /* the locked ones */
	ck_assert_uint_eq(hmm_region_resident(region), 4);
	ck_assert_int_eq(hmm_region_unmap(other), 0);
	ck_assert_uint_eq(memory().used, 4);
	hmm_space_destroy(space);
}
END_TEST

/* `usable` pages fit without any eviction, and a quarter of the budget more does not. */
START_TEST(usable_is_what_fits)
{
	static const unsigned budgets[] = { 32, 64, 128, 512 };
	struct hmm_stats s = { .size = sizeof(s) };

	for (unsigned i = 0; i < 4; i++) {
		struct hmm_memory m;

		open_space(budgets[i], 0, 0);
		m = memory();
		ck_assert_uint_ge(m.usable, budgets[i] / 2);
		for (unsigned round = 0; round < 3; round++)
			write_pages(0, (unsigned)m.usable);
		ck_assert_int_eq(hmm_space_poll(space), 0);
		ck_assert_int_eq(hmm_space_stats(space, &s), 0);
		ck_assert_uint_eq(s.evictions, 0);
		m = memory();
		ck_assert_uint_eq(m.used, m.usable);
		write_pages(0, budgets[i] + budgets[i] / 4);
		ck_assert_int_eq(hmm_space_stats(space, &s), 0);
		ck_assert_uint_gt(s.evictions, 0);
		hmm_space_destroy(space);
	}
}
END_TEST

START_TEST(growth_ends_where_the_machine_or_the_options_do)
{
	uint64_t frames_of_mib = MIB / hmm_page_size();
	struct hmm_memory m;

	open_space(256, 8 * 256, 0);
	write_pages(0, 100);
	m = memory();
	ck_assert_uint_eq(m.system, 500 * frames_of_mib);
	ck_assert_uint_eq(m.group, UINT64_MAX);
	ck_assert_uint_eq(m.growable, 7 * 256);
	ck_assert_uint_eq(m.attainable, 8 * 256);
	put_meminfo(2);
	m = memory();
	ck_assert_uint_eq(m.attainable, 100 + 2 * frames_of_mib); /* from what is held, not from the budget */
	ck_assert_uint_eq(m.growable, m.attainable - 256);
	in_v2("/a", "/");
	put_v2("/a", "2097152", "max", 2, 0);
	m = memory();
	ck_assert_uint_eq(m.group, 0);
	ck_assert_uint_eq(m.growable, 0);
	ck_assert_uint_eq(m.attainable, 100); /* less than the budget: it is not all memory */
	hmm_space_destroy(space);
}
END_TEST

START_TEST(arguments_are_checked)
{
	struct hmm_memory m = { .size = sizeof(m) };
	struct {
		struct hmm_memory m;
		uint64_t more;
	} large = { .m = { .size = sizeof(large) }, .more = 5 };
	struct hmm_memory small = { .size = offsetof(struct hmm_memory, used), .used = 77 };

	open_space(64, 0, 0);
	ck_assert_int_eq(hmm_space_memory(NULL, &m), -EINVAL);
	ck_assert_int_eq(hmm_space_memory(space, NULL), -EINVAL);
	m.size = 0;
	ck_assert_int_eq(hmm_space_memory(space, &m), -EINVAL);
	ck_assert_int_eq(hmm_space_memory(space, &small), 0);
	ck_assert_uint_eq(small.budget, 64);
	ck_assert_uint_eq(small.used, 77);
	ck_assert_int_eq(hmm_space_memory(space, &large.m), 0);
	ck_assert_uint_eq(large.more, 0);
	put("/proc/meminfo", "nothing\n");
	m.size = sizeof(m);
	ck_assert_int_eq(hmm_space_memory(space, &m), -ENODATA);
	ck_assert_uint_eq(m.budget, 0);
	hmm_space_destroy(space);
}
END_TEST

static Suite *suite(void)
{
	Suite *s = suite_create("memory");
	TCase *t = tcase_create("memory");

	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_test(t, without_groups_only_the_machine_limits);
	tcase_add_test(t, tightest_group_on_the_way_up_counts);
	tcase_add_test(t, page_cache_used_once_counts_as_room);
	tcase_add_test(t, groups_that_the_mount_hides_are_left_out);
	tcase_add_test(t, version_1_has_its_own_names);
	tcase_add_test(t, lines_of_any_length);
	tcase_add_test(t, what_can_not_be_read_is_an_error);
	tcase_add_test(t, every_failure_is_reported);
	tcase_add_test(t, this_machine_answers);
	tcase_add_test(t, a_space_tells_what_it_has);
	tcase_add_test(t, usable_is_what_fits);
	tcase_add_test(t, growth_ends_where_the_machine_or_the_options_do);
	tcase_add_test(t, arguments_are_checked);
	suite_add_tcase(s, t);
	return s;
}

HMM_TEST_MAIN(suite)
