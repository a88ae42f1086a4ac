/* SPDX-License-Identifier: MIT */
/*
 * test_mlockall.c - mlockall(MCL_FUTURE) before anything is mapped: the budget holds and no table is filled, or the mapping is
 * refused with an error
 *
 * Each case runs in a child, whose mappings are locked from then on.
 */
#include "tests/world.h"

#include <errno.h>
#include <grp.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define NOBODY 65534
#define MIB ((size_t)1 << 20)

enum { FRAMES = 256 };

#define MUST(x) \
	do { \
		if (!(x)) { \
			dprintf(2, "# %s:%d: %s\n", __FILE__, __LINE__, #x); \
			_exit(1); \
		} \
	} while (0)

static const enum world_backend backends[] = { WORLD_INLINE_MOVE, WORLD_INLINE_COPY, WORLD_THREAD_MOVE, WORLD_THREAD_COPY };
#define BACKENDS ((int)(sizeof(backends) / sizeof(backends[0])))

/* A line of /proc/self/status, in bytes. */
static size_t status(const char *name)
{
	FILE *f = fopen("/proc/self/status", "re");
	unsigned long kib = 0;
	char line[128];

	MUST(f);
	while (fgets(line, sizeof(line), f))
		if (!strncmp(line, name, strlen(name)))
			MUST(sscanf(line + strlen(name), "%lu", &kib) == 1);
	fclose(f);
	return (size_t)kib << 10;
}

static struct hmm_space *space;

static int make(enum world_backend backend, size_t length, uint32_t flags, struct hmm_region **ret_region)
{
	struct hmm_space_options space_opts = {
		.size = sizeof(space_opts), .flags = flags,
		.engine = backend == WORLD_INLINE_COPY || backend == WORLD_THREAD_COPY ? HMM_ENGINE_COPY : HMM_ENGINE_MOVE,
	};
	struct hmm_region_options opts = {
		.size = sizeof(opts), .delivery = world_delivery(backend), .flags = HMM_REGION_COPY_ON_FORK,
	};
	int r = hmm_space_create(FRAMES, &space_opts, &space);

	return r ? r : hmm_region_map(space, NULL, 0, length, &opts, ret_region);
}

static void use(struct hmm_region *region, size_t pages)
{
	size_t page = hmm_page_size(), step = hmm_region_length(region) / page / pages * page;
	uint8_t *base = hmm_region_base(region);

	for (size_t i = 0; i < pages; i++)
		memset(base + i * step, (int)(i % 251 + 1), page);
	for (size_t i = 0; i < pages; i++)
		MUST(base[i * step] == i % 251 + 1 && base[i * step + page - 1] == i % 251 + 1);
}

static void lock_then_map(enum world_backend backend)
{
	struct hmm_cache_options volatile_pages = { .size = sizeof(volatile_pages), .flags = HMM_CACHE_VOLATILE };
	struct hmm_stats stats = { .size = sizeof(stats) };
	struct hmm_region *region;
	struct hmm_cache *cache;
	size_t rss, length = 4096 * MIB;
	pid_t pid;
	int state;

	MUST(!syscall(SYS_mlockall, MCL_CURRENT | MCL_FUTURE));
	rss = status("VmRSS:");
	MUST(!make(backend, length, 0, &region));
	MUST(!hmm_cache_create(space, NULL, hmm_page_size(), &volatile_pages, &cache));
	/* thread stacks are the C library's, and are filled: 8 MiB each */
	MUST(status("VmRSS:") - rss < 128 * MIB);
	rss = status("VmRSS:");
	use(region, 2 * FRAMES);
	MUST(!hmm_space_stats(space, &stats));
	MUST(stats.faults >= 2 * FRAMES && stats.peak_held <= FRAMES);
	MUST(status("VmRSS:") - rss < 64 * MIB);
	pid = fork();
	MUST(pid >= 0);
	if (pid == 0) {
		use(region, FRAMES);
		_exit(0);
	}
	MUST(waitpid(pid, &state, 0) == pid);
	MUST(WIFEXITED(state) && WEXITSTATUS(state) == 0);
	MUST(!hmm_region_unmap(region));
	hmm_space_destroy(space);
	/* what the space itself shall lock is locked: as it is touched */
	rss = status("VmRSS:");
	MUST(!make(backend, 64 * MIB, HMM_SPACE_LOCK, &region));
	use(region, 2 * FRAMES);
	MUST(status("VmLck:") >= 64 * MIB);
	MUST(status("VmRSS:") - rss < 128 * MIB);
}

/* Locked up to a limit: what is too large is refused, and what is not works. */
static void lock_a_little_then_map(enum world_backend backend)
{
	struct hmm_region *region;
	struct rlimit limit;
	int r;

	MUST(!getrlimit(RLIMIT_MEMLOCK, &limit));
	limit.rlim_cur = limit.rlim_max < 256 * MIB ? limit.rlim_max : 256 * MIB;
	MUST(!setrlimit(RLIMIT_MEMLOCK, &limit));
	MUST(!setgroups(0, NULL) && !setgid(NOBODY) && !setuid(NOBODY));
	MUST(!syscall(SYS_mlockall, MCL_FUTURE));
	r = make(backend, 4096 * MIB, 0, &region);
	MUST(r == -EAGAIN);
}

static void in_child(void (*run)(enum world_backend backend), enum world_backend backend)
{
	const char *missing = world_missing(backend);
	pid_t pid;
	int state;

	if (missing)
		test_skip(missing);
	if (geteuid() != 0)
		test_skip("CAP_IPC_LOCK, and root to give it up");
	pid = fork();
	ck_assert_int_ge(pid, 0);
	if (pid == 0) {
		alarm(test_patience(30));
		run(backend);
		_exit(0);
	}
	ck_assert_int_eq(waitpid(pid, &state, 0), pid);
	ck_assert_msg(!WIFSIGNALED(state), "killed by signal %d", WTERMSIG(state));
	ck_assert_int_eq(WEXITSTATUS(state), 0);
}

START_TEST(what_is_mapped_under_mlockall_is_not_locked)
{
	if (madvise(NULL, 0, MADV_DONTNEED_LOCKED) < 0)
		test_skip("MADV_DONTNEED_LOCKED, Linux 5.18");
	in_child(lock_then_map, backends[_i]);
}
END_TEST

START_TEST(what_a_limit_does_not_allow_is_refused)
{
	in_child(lock_a_little_then_map, backends[_i]);
}
END_TEST

static Suite *suite(void)
{
	Suite *s = suite_create("mlockall");
	TCase *t = tcase_create("mlockall");

	tcase_set_timeout(t, test_patience(60));
	tcase_add_loop_test(t, what_is_mapped_under_mlockall_is_not_locked, 0, BACKENDS);
	tcase_add_loop_test(t, what_a_limit_does_not_allow_is_refused, 0, 1); /* nobody has no thread delivery, as a rule */
	suite_add_tcase(s, t);
	return s;
}

HMM_TEST_MAIN(suite)
