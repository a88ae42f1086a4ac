/* SPDX-License-Identifier: MIT */
/*
 * test_descriptors.c - the program closes the library's descriptors, or puts its own in their place
 *
 * Each case runs in a child, for the harness has descriptors, too.  What is right: all memory as it was, or a clear end
 * where the system does not let us keep descriptors; never zeros, and never a byte in a file of the program's.
 */
#include "tests/world.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib/sys/sys.h"

#define FRAMES 64
#define NPAGES 192
#define FILES 8

#define MUST(...) \
	do { \
		if (!(__VA_ARGS__)) { \
			dprintf(report, "line %d: %s (errno %d)\n", __LINE__, #__VA_ARGS__, errno); \
			_exit(1); \
		} \
	} while (0)

static int report = STDOUT_FILENO; /* where a child says what is wrong */

/* --- a program --- */

struct program {
	size_t page;
	struct hmm_space *space;
	struct hmm_region *anonymous, *shared;
	uint8_t *memory, *file_memory;
	int file; /* behind `shared` */
	char record[64];
};

static void begin(struct program *p, enum world_backend backend, struct hmm_store *swap)
{
	static const uint32_t engines[] = { HMM_ENGINE_AUTO, HMM_ENGINE_MOVE, HMM_ENGINE_COPY };
	struct hmm_space_options o = { .size = sizeof(o), .policy = "lru", .swap = swap, .record = p->record };
	struct hmm_region_options ro = { .size = sizeof(ro), .delivery = world_delivery(backend) };
	struct hmm_store *store;

	o.engine = engines[backend >= WORLD_THREAD_AUTO ? backend - WORLD_THREAD_AUTO : backend - WORLD_INLINE_AUTO];
	p->page = hmm_page_size();
	snprintf(p->record, sizeof(p->record), "/var/tmp/hurd-mm-fd-%d", (int)getpid());
	p->file = open("/var/tmp", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
	MUST(p->file >= 0 && ftruncate(p->file, (off_t)(NPAGES * p->page)) == 0);
	MUST(hmm_space_create(FRAMES, &o, &p->space) == 0);
	unlink(p->record);
	MUST(hmm_region_map(p->space, NULL, 0, NPAGES * p->page, &ro, &p->anonymous) == 0);
	MUST(hmm_store_file(p->file, 0, &store) == 0);
	ro.flags = HMM_REGION_SHARED;
	MUST(hmm_region_map(p->space, store, 0, NPAGES * p->page, &ro, &p->shared) == 0);
	hmm_store_put(store);
	p->memory = hmm_region_base(p->anonymous);
	p->file_memory = hmm_region_base(p->shared);
}

static void put_all(struct program *p, unsigned tag)
{
	for (size_t i = 0; i < NPAGES; i++) {
		memset(p->memory + i * p->page, (int)(1 + (i + tag) % 200), p->page);
		memset(p->file_memory + i * p->page, (int)(1 + (i * 3 + tag) % 200), p->page);
	}
}

static bool is_all(const uint8_t *at, size_t page, unsigned byte)
{
	return at[0] == byte && memcmp(at, at + 1, page - 1) == 0;
}

static void check_all(struct program *p, unsigned tag)
{
	unsigned wrong = 0, zero = 0;

	for (size_t i = 0; i < NPAGES; i++) {
		const uint8_t *a = p->memory + i * p->page, *b = p->file_memory + i * p->page;

		wrong += !is_all(a, p->page, 1 + (unsigned)(i + tag) % 200);
		wrong += !is_all(b, p->page, 1 + (unsigned)(i * 3 + tag) % 200);
		zero += is_all(a, p->page, 0) + is_all(b, p->page, 0);
	}
	if (wrong)
		dprintf(report, "%u pages wrong, %u of them zeros\n", wrong, zero);
	MUST(wrong == 0);
}

/* --- what a program does to descriptors --- */

struct own_files {
	int fd[FILES]; /* low ones of its own */
	int over;      /* what it put over all others, or -1 */
};

static bool is_open(int fd)
{
	return fcntl(fd, F_GETFD) >= 0;
}

static int highest(void)
{
	struct rlimit limit;

	MUST(getrlimit(RLIMIT_NOFILE, &limit) == 0);
	return (int)(limit.rlim_max < 8192 ? limit.rlim_max : 8192);
}

static char own_place[] = "/var/tmp/hurd-mm-own-XXXXXX"; /* where the program's files are */

static void path_of(unsigned i, char *path, size_t size)
{
	snprintf(path, size, "%s/%u", own_place, i);
}

static void make_directory(void)
{
	ck_assert_ptr_nonnull(mkdtemp(own_place));
}

/* By a parent, of a program that may have ended at any time: what there is of its files is whole.  And takes them away. */
static void check_left(void)
{
	char path[64], text[8];
	bool whole = true;

	for (unsigned i = 0; i < FILES; i++) {
		struct stat st = { .st_size = 0 };
		int fd;

		path_of(i, path, sizeof(path));
		fd = open(path, O_RDONLY | O_CLOEXEC);
		if (fd < 0)
			continue; /* it had ended before */
		whole = whole && fstat(fd, &st) == 0 &&
		        (st.st_size == 0 || (st.st_size == 6 && pread(fd, text, 8, 0) == 6 && !memcmp(text, "user's", 6)));
		close(fd);
		unlink(path);
	}
	rmdir(own_place);
	ck_assert_msg(whole, "a file of the program was written to");
}

static void open_own(struct own_files *own)
{
	char path[64];

	for (unsigned i = 0; i < FILES; i++) {
		path_of(i, path, sizeof(path));
		own->fd[i] = open(path, O_CREAT | O_RDWR | O_CLOEXEC, 0600);
		MUST(own->fd[i] >= 0 && pwrite(own->fd[i], "user's", 6, 0) == 6);
	}
}

static void check_own(const struct own_files *own)
{
	char text[8];
	struct stat st;

	for (unsigned i = 0; i < FILES; i++) {
		MUST(lseek(own->fd[i], 0, SEEK_CUR) == 0); /* not read from, either */
		MUST(fstat(own->fd[i], &st) == 0 && st.st_size == 6 && pread(own->fd[i], text, 8, 0) == 6);
		MUST(memcmp(text, "user's", 6) == 0);
	}
}

static void close_in_a_loop(struct own_files *own)
{
	for (int fd = 4; fd < highest(); fd++)
		close(fd);
	open_own(own);
}

static void close_by_range(struct own_files *own)
{
	syscall(SYS_close_range, 4u, ~0u, 0u);
	open_own(own);
}

/* Also under a limit as a daemon sets it. */
static void close_and_lower_the_limit(struct own_files *own)
{
	struct rlimit limit = { 64, 64 };

	close_in_a_loop(own);
	MUST(setrlimit(RLIMIT_NOFILE, &limit) == 0);
}

static void put_over_all(struct own_files *own, int over)
{
	for (int fd = 4; fd < highest(); fd++) {
		bool mine = fd == over;

		for (unsigned i = 0; i < FILES; i++)
			mine |= fd == own->fd[i];
		if (!mine && is_open(fd))
			MUST(dup2(over, fd) == fd);
	}
	own->over = over;
}

static void put_a_file_over_all(struct own_files *own)
{
	open_own(own);
	put_over_all(own, own->fd[0]);
}

/* Never readable: a pager that waits for it would wait for ever. */
static void put_a_pipe_over_all(struct own_files *own)
{
	int ends[2];

	open_own(own);
	MUST(pipe(ends) == 0);
	put_over_all(own, ends[0]);
}

/* The same identity as a userfaultfd. */
static void put_an_eventfd_over_all(struct own_files *own)
{
	open_own(own);
	put_over_all(own, eventfd(5, EFD_NONBLOCK));
}

/* A child that closes everything and ends: its table is not ours. */
static void let_a_child_close_all(struct own_files *own)
{
	pid_t child;
	int status;

	open_own(own);
	child = (pid_t)syscall(SYS_clone, (long)SIGCHLD, 0L, 0L, 0L, 0L); /* as vfork(2) and exec do: no handlers */
	if (child == 0) {
		for (int fd = 3; fd < 8192; fd++)
			syscall(SYS_close, fd);
		syscall(SYS_exit_group, 0);
	}
	MUST(waitpid(child, &status, 0) == child && status == 0);
}

static void (*const attacks[])(struct own_files *own) = {
	close_in_a_loop, close_by_range, close_and_lower_the_limit, put_a_file_over_all, put_a_pipe_over_all,
	put_an_eventfd_over_all, let_a_child_close_all,
};
#define ATTACKS ((int)(sizeof(attacks) / sizeof(attacks[0])))
#define BACKENDS (WORLD_BACKENDS - WORLD_INLINE_AUTO)

/* --- the cases --- */

static void check_over(const struct own_files *own)
{
	uint64_t value = 5;

	if (own->over < 0)
		return;
	MUST(is_open(own->over));
	if (own->over == own->fd[0])
		return; /* check_own() looks at it */
	if (read(own->over, &value, sizeof(value)) == (ssize_t)sizeof(value))
		MUST(value == 5); /* the eventfd: nobody added to it */
}

static void live_on(enum world_backend backend, void (*attack)(struct own_files *))
{
	struct program p = { 0 };
	struct own_files own = { .over = -1 };

	begin(&p, backend, NULL);
	put_all(&p, 1);
	check_all(&p, 1);
	attack(&own);
	check_all(&p, 1);
	put_all(&p, 2);
	check_all(&p, 2);
	/* events are read all the same: munmap(2) waits for that */
	MUST(munmap(p.memory, p.page) == 0);
	MUST(hmm_region_sync(p.shared, p.file_memory, NPAGES * p.page, 0) == 0);
	check_own(&own);
	check_over(&own);
	MUST(hmm_region_unmap(p.shared) == 0);
	MUST(hmm_region_unmap(p.anonymous) == 0);
	hmm_space_destroy(p.space);
	check_own(&own);
	check_over(&own);
	_exit(0);
}

static bool can_keep(void)
{
	int pidfd = (int)syscall(SYS_pidfd_open, syscall(SYS_gettid), PIDFD_THREAD), fd;

	if (pidfd < 0)
		return false;
	fd = (int)syscall(SYS_pidfd_getfd, pidfd, STDOUT_FILENO, 0);
	close(pidfd);
	close(fd);
	return fd >= 0;
}

/* _i: backend and attack */
START_TEST(memory_lives_on)
{
	enum world_backend backend = (enum world_backend)(WORLD_INLINE_AUTO + _i / ATTACKS);
	int status;
	pid_t child;

	if (world_missing(backend))
		test_skip(world_missing(backend));
	if (!can_keep())
		test_skip("pidfd_getfd from a thread (Linux 6.9)");
	make_directory();
	child = fork();
	if (child == 0)
		live_on(backend, attacks[_i % ATTACKS]);
	ck_assert_int_eq(waitpid(child, &status, 0), child);
	check_left();
	ck_assert_int_eq(status, 0);
}
END_TEST

/* Where nothing can be kept: the memory as it was, or an end; the files of the program are whole in any case. */
static void end_or_live(enum world_backend backend, void (*attack)(struct own_files *))
{
	struct own_files own = { .over = -1 };
	struct program p = { 0 };

	signal(SIGBUS, SIG_DFL); /* where a sanitizer has a handler */
	hmm__sys_fail(HMM__SYS_CLOSE_RANGE, 1, 1, ENOSYS);
	begin(&p, backend, NULL);
	put_all(&p, 1);
	attack(&own);
	check_all(&p, 1);
	put_all(&p, 2);
	check_all(&p, 2);
	check_own(&own);
	_exit(0);
}

static bool is_eventfd(int fd)
{
	char path[64], link[64] = "";

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	return readlink(path, link, sizeof(link) - 1) > 0 && strstr(link, "[eventfd]");
}

/* What the threads are woken by in the end is gone, and nobody kept a copy. */
static void end_without_eventfds(enum world_backend backend)
{
	struct program p = { 0 };

	hmm__sys_fail(HMM__SYS_CLOSE_RANGE, 1, 1, ENOSYS);
	begin(&p, backend, NULL);
	put_all(&p, 1);
	for (int fd = 4; fd < highest(); fd++) {
		if (is_eventfd(fd))
			close(fd);
	}
	check_all(&p, 1);
	MUST(hmm_region_unmap(p.shared) == 0);
	MUST(hmm_region_unmap(p.anonymous) == 0);
	hmm_space_destroy(p.space);
	_exit(0);
}

START_TEST(space_without_its_eventfd_can_be_destroyed)
{
	enum world_backend backend = _i ? WORLD_THREAD_AUTO : WORLD_INLINE_AUTO;
	struct world_wait wait = { .seconds = 20 };
	int status = 0;
	pid_t child, ended;

	if (world_missing(backend))
		test_skip(world_missing(backend));
	child = fork();
	if (child == 0)
		end_without_eventfds(backend);
	while (!(ended = waitpid(child, &status, WNOHANG)) && world_wait(&wait))
		;
	if (!ended)
		kill(child, SIGKILL);
	ck_assert_int_eq(ended, child);
	ck_assert_int_eq(status, 0);
}
END_TEST

START_TEST(without_a_keeper_it_ends_clearly)
{
	enum world_backend backend = (enum world_backend)(WORLD_INLINE_AUTO + _i / ATTACKS);
	int status;
	pid_t child;

	if (world_missing(backend))
		test_skip(world_missing(backend));
	make_directory();
	child = fork();
	if (child == 0)
		end_or_live(backend, attacks[_i % ATTACKS]);
	ck_assert_int_eq(waitpid(child, &status, 0), child);
	check_left();
	ck_assert_msg(status == 0 || (WIFSIGNALED(status) && WTERMSIG(status) == SIGBUS), "status %#x", status);
}
END_TEST

/* The standard streams were closed by the parent, and the program writes to them. */
static void without_streams(enum world_backend backend, bool give_swap)
{
	struct hmm_swap_options so = { .size = sizeof(so), .direct = HMM_DIRECT_NEVER };
	struct hmm_store *swap = NULL;
	struct program p = { 0 };

	report = fcntl(STDOUT_FILENO, F_DUPFD, 100);
	for (int fd = 0; fd < 3; fd++)
		close(fd);
	if (give_swap)
		MUST(hmm_store_swap(&so, &swap) == 0);
	begin(&p, backend, swap);
	/* the first descriptors are free for who counts on them: but for the program's own file, which is one of them */
	MUST(p.file == 0 && !is_open(1) && !is_open(2));
	put_all(&p, 1);
	for (unsigned i = 0; i < 100; i++)
		dprintf(2, "warning: something happened, number %u\n", i);
	check_all(&p, 1);
	MUST(!is_open(1) && !is_open(2));
	hmm_space_destroy(p.space);
	hmm_store_put(swap);
	_exit(0);
}

START_TEST(closed_standard_streams_stay_free)
{
	enum world_backend backend = _i & 1 ? WORLD_THREAD_AUTO : WORLD_INLINE_AUTO;
	int status;
	pid_t child;

	if (world_missing(backend))
		test_skip(world_missing(backend));
	child = fork();
	if (child == 0)
		without_streams(backend, _i & 2);
	ck_assert_int_eq(waitpid(child, &status, 0), child);
	ck_assert_int_eq(status, 0);
}
END_TEST

/* All that the library has open while everything is in use: high, and not for exec. */
static unsigned count_low(int floor, bool *ret_leaks)
{
	DIR *directory = opendir("/proc/self/fd");
	struct dirent *entry;
	unsigned low = 0;

	*ret_leaks = false;
	while ((entry = readdir(directory))) {
		int fd = atoi(entry->d_name);

		if (entry->d_name[0] == '.' || fd == dirfd(directory))
			continue;
		if (fd < floor)
			low++;
		else
			*ret_leaks |= !(fcntl(fd, F_GETFD) & FD_CLOEXEC);
	}
	closedir(directory);
	return low;
}

static void look_at_all(enum world_backend backend)
{
	struct rlimit limit;
	struct program p = { 0 };
	unsigned before, after;
	int floor;
	bool leaks;

	for (int fd = 3; fd < highest(); fd++)
		close(fd);
	MUST(getrlimit(RLIMIT_NOFILE, &limit) == 0);
	limit.rlim_cur = 1024;
	MUST(setrlimit(RLIMIT_NOFILE, &limit) == 0);
	floor = 768;
	before = count_low(floor, &leaks);
	begin(&p, backend, NULL);
	put_all(&p, 1);
	check_all(&p, 1);
	after = count_low(floor, &leaks);
	MUST(after == before + 1); /* the program's own file */
	MUST(!leaks);
	hmm_space_destroy(p.space);
	_exit(0);
}

START_TEST(all_descriptors_lie_high)
{
	enum world_backend backend = _i ? WORLD_THREAD_AUTO : WORLD_INLINE_AUTO;
	int status;
	pid_t child;

	if (world_missing(backend))
		test_skip(world_missing(backend));
	child = fork();
	if (child == 0)
		look_at_all(backend);
	ck_assert_int_eq(waitpid(child, &status, 0), child);
	ck_assert_int_eq(status, 0);
}
END_TEST

static Suite *suite(void)
{
	Suite *s = suite_create("descriptors");
	TCase *tc = tcase_create("kept");

	tcase_add_loop_test(tc, memory_lives_on, 0, BACKENDS * ATTACKS);
	suite_add_tcase(s, tc);
	tc = tcase_create("lost");
	tcase_add_loop_test(tc, without_a_keeper_it_ends_clearly, 0, BACKENDS * ATTACKS);
	suite_add_tcase(s, tc);
	tc = tcase_create("others");
	tcase_add_loop_test(tc, space_without_its_eventfd_can_be_destroyed, 0, 2);
	tcase_add_loop_test(tc, closed_standard_streams_stay_free, 0, 4);
	tcase_add_loop_test(tc, all_descriptors_lie_high, 0, 2);
	suite_add_tcase(s, tc);
	return s;
}

HMM_TEST_MAIN(suite)
