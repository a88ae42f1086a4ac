/* SPDX-License-Identifier: MIT */
/*
 * test_confined.c - a process that has dropped its privileges, sees no /proc, /dev or swap directory, or may not make some
 * system calls: what hmm_probe() promises, hmm_region_map() keeps, and what is needed only later fails only then
 *
 * Each case runs in a child, which changes itself for good.
 */
#include "tests/world.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib/sys/sys.h"

#define NOBODY 65534

enum { FRAMES = 64, NPAGES = 256, FEW = 32 };

/* In a child, where Check can't report. */
#define MUST(x) \
	do { \
		if (!(x)) { \
			dprintf(2, "# %s:%d: %s\n", __FILE__, __LINE__, #x); \
			_exit(1); \
		} \
	} while (0)

static const enum world_backend backends[] = { WORLD_INLINE_MOVE, WORLD_INLINE_COPY, WORLD_THREAD_MOVE, WORLD_THREAD_COPY };
#define BACKENDS ((int)(sizeof(backends) / sizeof(backends[0])))
#define INLINES 2

static size_t page;
static struct hmm_space *space;
static struct hmm_region *region;
static uint8_t *base;
static _Atomic unsigned write_errors;

static void count(void *arg, const struct hmm_event *event)
{
	(void)arg;
	write_errors += event->kind == HMM_EVENT_WRITE_ERROR;
}

static int map(enum world_backend backend)
{
	struct hmm_space_options space_opts = {
		.size = sizeof(space_opts), .event = count,
		.engine = backend == WORLD_INLINE_COPY || backend == WORLD_THREAD_COPY ? HMM_ENGINE_COPY : HMM_ENGINE_MOVE,
	};
	struct hmm_region_options opts = {
		.size = sizeof(opts), .delivery = world_delivery(backend), .flags = HMM_REGION_COPY_ON_FORK,
	};
	int r;

	MUST(!hmm_space_create(FRAMES, &space_opts, &space));
	r = hmm_region_map(space, NULL, 0, NPAGES * page, &opts, &region);
	if (!r)
		base = hmm_region_base(region);
	return r;
}

static void put(unsigned n, unsigned tag)
{
	for (unsigned i = 0; i < n; i++)
		memset(base + i * page, (int)((i * 7 + tag) % 251), page);
}

static bool has(unsigned n, unsigned tag)
{
	for (unsigned i = 0; i < n; i++) {
		uint8_t byte = (uint8_t)((i * 7 + tag) % 251);

		if (base[i * page] != byte || base[(i + 1) * page - 1] != byte)
			return false;
	}
	return true;
}

static void become_nobody(void)
{
	MUST(!setgroups(0, NULL) && !setgid(NOBODY) && !setuid(NOBODY));
	MUST(prctl(PR_GET_DUMPABLE) == 0 || access("/proc/self/pagemap", R_OK)); /* what this is about */
}

static void in_child(void (*run)(enum world_backend backend), enum world_backend backend)
{
	pid_t pid;
	int status;

	page = hmm_page_size();
	pid = fork();
	ck_assert_int_ge(pid, 0);
	if (pid == 0) {
		alarm(test_patience(20)); /* no access goes on for ever */
		run(backend);
		_exit(0);
	}
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert_msg(!WIFSIGNALED(status), "killed by signal %d", WTERMSIG(status));
	ck_assert_int_eq(WEXITSTATUS(status), 0);
}

static void need(enum world_backend backend)
{
	const char *missing = world_missing(backend);

	if (missing)
		test_skip(missing);
	if (geteuid() != 0)
		test_skip("root, to become somebody else");
}

/* --- privileges --- */

static void probe_says(uint32_t delivery, int mapped)
{
	struct hmm_probe probe = { .size = sizeof(probe) };

	MUST(!hmm_probe(&probe));
	MUST((delivery == HMM_DELIVERY_INLINE ? probe.inline_delivery : probe.thread_delivery) == (mapped == 0));
	MUST(!(delivery == HMM_DELIVERY_INLINE ? probe.inline_missing : probe.thread_missing) == (mapped == 0));
}

static void drop_then_map(enum world_backend backend)
{
	int r;

	become_nobody();
	r = map(backend);
	probe_says(world_delivery(backend), r);
	if (r) {
		MUST(world_delivery(backend) == HMM_DELIVERY_THREAD && r == -EPERM);
		return;
	}
	put(NPAGES, 1);
	MUST(has(NPAGES, 1));
}

START_TEST(what_the_probe_promises_can_be_mapped_after_setuid)
{
	need(backends[_i]);
	in_child(drop_then_map, backends[_i]);
}
END_TEST

static void fork_and_compare(void)
{
	pid_t pid = fork();
	int status;

	MUST(pid >= 0);
	if (pid == 0) {
		alarm(test_patience(20));
		MUST(has(NPAGES, 2));
		put(NPAGES, 3);
		MUST(has(NPAGES, 3));
		MUST(!hmm_region_advise(region, base, NPAGES * page, HMM_ADVISE_PAGEOUT));
		MUST(has(NPAGES, 3));
		_exit(0);
	}
	MUST(waitpid(pid, &status, 0) == pid);
	MUST(WIFEXITED(status) && WEXITSTATUS(status) == 0);
	MUST(has(NPAGES, 2));
}

static void map_then_drop_then_fork(enum world_backend backend)
{
	MUST(!map(backend));
	put(NPAGES, 2);
	become_nobody();
	MUST(has(NPAGES, 2));
	fork_and_compare();
}

START_TEST(a_child_made_after_setuid_has_its_copy)
{
	need(backends[_i]);
	if (world_delivery(backends[_i]) == HMM_DELIVERY_THREAD && access("/dev/userfaultfd", R_OK | W_OK))
		test_skip("/dev/userfaultfd, Linux 6.1");
	in_child(map_then_drop_then_fork, backends[_i]);
}
END_TEST

/* --- without pagemap --- */

/* What the program drops itself is seen, with any page in any state: an access ends, and finds zeros. */
static void drop_behind_the_back(void)
{
	put(NPAGES, 4);
	put(NPAGES / 2, 5);
	for (unsigned i = 0; i < NPAGES; i += 2)
		MUST(!madvise(base + i * page, page, MADV_DONTNEED));
	MUST(!hmm_region_advise(region, base, NPAGES * page / 4, HMM_ADVISE_PAGEOUT));
	for (unsigned i = 0; i < NPAGES; i++) {
		uint8_t byte = (uint8_t)((i * 7 + (i < NPAGES / 2 ? 5 : 4)) % 251);

		MUST(base[i * page] == byte || (i % 2 == 0 && base[i * page] == 0));
		base[i * page] = (uint8_t)i;
		MUST(base[i * page] == (uint8_t)i);
	}
}

/* Is there swap?  "Don't know" is as if there were: then mincore(2) is not believed. */
static void drop_unseen(enum world_backend backend)
{
	become_nobody();
	MUST(!map(backend));
	drop_behind_the_back();
	hmm__sys_fail(HMM__SYS_SYSINFO, 1, 1, ENOMEM);
	drop_behind_the_back();
	hmm__sys_fail_none();
}

START_TEST(what_the_program_drops_is_seen_without_pagemap)
{
	need(backends[_i]);
	in_child(drop_unseen, backends[_i]);
}
END_TEST

static void drop_unseen_and_unmoved(enum world_backend backend)
{
	become_nobody();
	hmm__sys_fail(HMM__SYS_UFFD_COPY, 1, 0, ENOMEM); /* the empty slot's neighbour */
	MUST(!map(backend));
	hmm__sys_fail(HMM__SYS_SYSINFO, 1, 1, ENOMEM);
	drop_behind_the_back();
	hmm__sys_fail_none();
}

START_TEST(what_the_program_drops_is_seen_by_copying_where_nothing_can_be_moved)
{
	need(backends[_i]);
	in_child(drop_unseen_and_unmoved, backends[_i]);
}
END_TEST

/* --- an empty root directory: neither /proc nor /dev nor a directory for swap --- */

static char root[] = "/tmp/hurd-mm-root-XXXXXX";

static void chroot_then_map(enum world_backend backend)
{
	unsetenv("HURD_MM_SWAP_DIR");
	unsetenv("TMPDIR");
	MUST(!chroot(root) && !chdir("/"));
	MUST(!map(backend));
	MUST(!hmm_space_poll(space));
	MUST(write_errors == 1);
	/* what fits needs no swap */
	put(FEW, 6);
	MUST(has(FEW, 6));
	/* more does: with a directory it goes on */
	MUST(!mkdir("/var", 0700) && !mkdir("/var/tmp", 0700));
	put(NPAGES, 7);
	MUST(has(NPAGES, 7));
	put(NPAGES, 2);
	fork_and_compare();
	hmm_region_abandon(region);
	hmm_space_destroy(space);
	MUST(!rmdir("/var/tmp") && !rmdir("/var"));
}

START_TEST(a_program_whose_data_fits_needs_no_proc_and_no_directory)
{
	need(backends[_i]);
	strcpy(root + sizeof(root) - 7, "XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(root));
	in_child(chroot_then_map, backends[_i]);
	ck_assert_int_eq(rmdir(root), 0);
}
END_TEST

/* More than fits, and no directory: the access fails, nothing hangs, and what is there stays right. */
static void chroot_and_fail(enum world_backend backend)
{
	unsigned there = 0;

	unsetenv("HURD_MM_SWAP_DIR");
	unsetenv("TMPDIR");
	world_guard();
	MUST(!chroot(root) && !chdir("/"));
	MUST(!map(backend));
	for (; there < NPAGES; there++) {
		uint8_t byte = (uint8_t)(there + 1); /* zeros need no frame */

		if (world_guarded_write(base + there * page, &byte, 1))
			break;
	}
	MUST(there >= FEW && there < NPAGES);
	for (unsigned i = 0; i < there; i++)
		MUST(base[i * page] == (uint8_t)(i + 1));
}

START_TEST(without_a_directory_more_than_fits_fails_at_the_access)
{
	need(backends[_i]);
	strcpy(root + sizeof(root) - 7, "XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(root));
	in_child(chroot_and_fail, backends[_i]);
	ck_assert_int_eq(rmdir(root), 0);
}
END_TEST

/* --- seccomp --- */

static void forbid(unsigned nr, unsigned error)
{
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, nr, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | error),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog program = { .len = sizeof(code) / sizeof(code[0]), .filter = code };

	MUST(!prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
	MUST(!prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program));
}

static void need_seccomp(void)
{
	if (prctl(PR_GET_SECCOMP) < 0)
		test_skip("CONFIG_SECCOMP_FILTER");
}

static const unsigned refusals[] = { EPERM, ENOSYS, EACCES };
static unsigned refusal;

/* With the device all works; without, the probe and the mapping say the same. */
static void without_userfaultfd(enum world_backend backend)
{
	int r;

	forbid(SYS_userfaultfd, refusal);
	if (!access("/dev/userfaultfd", R_OK | W_OK)) {
		MUST(!map(backend));
		probe_says(world_delivery(backend), 0);
		put(NPAGES, 2);
		become_nobody();
		fork_and_compare();
		MUST(hmm_region_unmap(region) == 0);
		hmm_space_destroy(space);
	} else {
		become_nobody();
	}
	r = map(backend);
	probe_says(world_delivery(backend), r);
	MUST(r == (refusal == ENOSYS ? -ENOTSUP : -EPERM));
}

START_TEST(where_the_call_is_forbidden_the_device_does)
{
	need(backends[_i % BACKENDS]);
	need_seccomp();
	refusal = refusals[_i / BACKENDS];
	in_child(without_userfaultfd, backends[_i % BACKENDS]);
}
END_TEST

static void without_copying(enum world_backend backend)
{
	int r;

	forbid(SYS_process_vm_readv, EPERM);
	r = map(backend);
	MUST(r == -EPERM);
	probe_says(world_delivery(backend), r);
}

START_TEST(what_could_not_be_evicted_later_is_refused)
{
	need(backends[_i]);
	need_seccomp();
	in_child(without_copying, backends[_i]);
}
END_TEST

/* What only makes things faster, or keeps descriptors, can be forbidden. */
static void without_the_rest(enum world_backend backend)
{
	static const unsigned numbers[] = { SYS_process_madvise, SYS_pidfd_open, SYS_pidfd_getfd, SYS_close_range, SYS_mincore };

	for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++)
		forbid(numbers[i], ENOSYS);
	MUST(!map(backend));
	probe_says(world_delivery(backend), 0);
	put(NPAGES, 2);
	MUST(has(NPAGES, 2));
	drop_behind_the_back();
	put(NPAGES, 2);
	fork_and_compare();
}

START_TEST(what_is_not_needed_may_be_forbidden)
{
	need(backends[_i]);
	need_seccomp();
	in_child(without_the_rest, backends[_i]);
}
END_TEST

static TCase *add(Suite *s, const char *name)
{
	TCase *t = tcase_create(name);

	tcase_set_timeout(t, test_patience(60));
	suite_add_tcase(s, t);
	return t;
}

static Suite *suite(void)
{
	Suite *s = suite_create("confined");
	TCase *t = add(s, "setuid");

	tcase_add_loop_test(t, what_the_probe_promises_can_be_mapped_after_setuid, 0, BACKENDS);
	tcase_add_loop_test(t, a_child_made_after_setuid_has_its_copy, 0, BACKENDS);
	t = add(s, "pagemap");
	tcase_add_loop_test(t, what_the_program_drops_is_seen_without_pagemap, 0, INLINES);
	tcase_add_loop_test(t, what_the_program_drops_is_seen_by_copying_where_nothing_can_be_moved, 0, INLINES);
	t = add(s, "root");
	tcase_add_loop_test(t, a_program_whose_data_fits_needs_no_proc_and_no_directory, 0, BACKENDS);
#ifndef __SANITIZE_ADDRESS__ /* after a jump out of a handler it wants /proc: meson.build */
	t = add(s, "swap");
	tcase_add_loop_test(t, without_a_directory_more_than_fits_fails_at_the_access, 0, BACKENDS);
#else
	(void)without_a_directory_more_than_fits_fails_at_the_access;
#endif
	t = add(s, "seccomp");
	tcase_add_loop_test(t, where_the_call_is_forbidden_the_device_does, 0, BACKENDS * 3);
	tcase_add_loop_test(t, what_could_not_be_evicted_later_is_refused, 0, BACKENDS);
	tcase_add_loop_test(t, what_is_not_needed_may_be_forbidden, 0, BACKENDS);
	return s;
}

HMM_TEST_MAIN(suite)
