/* SPDX-License-Identifier: MIT */
/*
 * test_generations.c - what is in swap at a fork is shared by parent and child, and their children, and never mixed up
 *
 * Every process changes pages at random and keeps in ordinary memory what each must have.  Budgets are a fifth of the
 * data, so nearly everything passes through swap on both sides.
 */
#include "tests/world.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib/sys/sys.h"

#define FRAMES 32
#define NPAGES 160
#define CHANGES 48

enum kind { SWAP, MEMORY, FAULTY, BYTES, ASK_OWN, ASK_PRIVATE, KINDS };
static const char *const kinds[KINDS] = { "swap file", "memory", "filter on a swap file", "callbacks on a file",
	                                  "callbacks, a file for the child", "callbacks on private memory" };

static struct {
	size_t page;
	struct hmm_store *store;
	struct hmm_space *space;
	struct hmm_region *region;
	uint8_t *base;
	uint64_t want[NPAGES];
	uint64_t seed;
} self;

/* A store as a program may bring it: contents are turned over on their way to a file, at the same offset. */
struct turned {
	int fd;
	uint8_t *memory; /* instead of the file, if there is one */
	bool own;        /* a child makes one for itself */
};

#define TURN 0xa5

static ssize_t move(const struct turned *t, uint8_t *data, size_t length, uint64_t offset, bool write)
{
	if (!t->memory)
		return write ? pwrite(t->fd, data, length, (off_t)offset) : pread(t->fd, data, length, (off_t)offset);
	memcpy(write ? t->memory + offset : data, write ? data : t->memory + offset, length);
	return (ssize_t)length;
}

static int turned_move(const struct turned *t, struct hmm_store_vec *vec, unsigned n, bool write)
{
	uint8_t buffer[4096];
	int first = 0;

	for (unsigned i = 0; i < n; i++) {
		for (size_t at = 0; at < vec[i].length && !vec[i].error; at += sizeof(buffer)) {
			uint8_t *data = (uint8_t *)vec[i].data + at;
			ssize_t got;

			for (size_t k = 0; write && k < sizeof(buffer); k++)
				buffer[k] = data[k] ^ TURN;
			got = move(t, buffer, sizeof(buffer), vec[i].offset + at, write);
			vec[i].error = got < 0 ? -errno : 0;
			for (size_t k = 0; !write && k < sizeof(buffer); k++)
				data[k] = got == (ssize_t)sizeof(buffer) ? buffer[k] ^ TURN : 0;
		}
		first = first ? first : vec[i].error;
	}
	return first;
}

static int turned_read(void *ctx, struct hmm_store_vec *vec, unsigned n)
{
	return turned_move(ctx, vec, n, false);
}

static int turned_write(void *ctx, struct hmm_store_vec *vec, unsigned n)
{
	return turned_move(ctx, vec, n, true);
}

static void turned_destroy(void *ctx)
{
	struct turned *t = ctx;

	if (t->fd >= 0)
		close(t->fd);
	free(t->memory);
	free(t);
}

static int turned_fork(void *ctx, struct hmm_store **ret_store);

static struct hmm_store *turned(enum kind kind)
{
	struct hmm_store_ops ops = {
		.size = sizeof(ops), .version = HMM_STORE_VERSION, .name = "turned", .read = turned_read, .write = turned_write,
		.destroy = turned_destroy, .fork = kind == BYTES ? NULL : turned_fork,
	};
	struct turned *t = calloc(1, sizeof(*t));
	struct hmm_store *store;

	if (!t)
		abort();
	t->own = kind == ASK_OWN;
	t->memory = kind == ASK_PRIVATE ? calloc(16, 1u << 20) : NULL;
	t->fd = kind == ASK_PRIVATE ? -1 : open("/tmp", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
	if (hmm_store_create(&ops, t, &store))
		abort();
	return store;
}

static int turned_fork(void *ctx, struct hmm_store **ret_store)
{
	struct turned *t = ctx;

	if (t->own)
		*ret_store = turned(ASK_OWN);
	return 0;
}

static struct hmm_store *make_store(enum kind kind)
{
	struct hmm_swap_options opts = { .size = sizeof(opts), .directory = "/tmp", .direct = HMM_DIRECT_NEVER };
	struct hmm_store *store, *inner;

	if (kind == MEMORY) {
		ck_assert_int_eq(hmm_store_memory(64 << 20, &store), 0);
		return store;
	}
	if (kind != SWAP && kind != FAULTY)
		return turned(kind);
	ck_assert_int_eq(hmm_store_swap(&opts, &inner), 0);
	if (kind == SWAP)
		return inner;
	ck_assert_int_eq(hmm_store_faulty(inner, &store), 0);
	hmm_store_put(inner);
	return store;
}

static uint64_t word_of(size_t page, size_t i, uint64_t tag)
{
	return (tag << 20 | page) * UINT64_C(0x9e3779b97f4a7c15) + i;
}

static void put(size_t page, uint64_t tag)
{
	uint64_t contents[512];

	for (size_t i = 0; i < 512; i++)
		contents[i] = word_of(page, i, tag);
	for (size_t at = 0; at < self.page; at += sizeof(contents))
		memcpy(self.base + page * self.page + at, contents, sizeof(contents));
	self.want[page] = tag;
}

/* 0 if each byte is as this process left it; else one more than the first page that is not. */
static int check(void)
{
	for (size_t page = 0; page < NPAGES; page++) {
		const uint64_t *words = (const uint64_t *)(const void *)(self.base + page * self.page);

		for (size_t i = 0; i < self.page / 8; i++)
			if (words[i] != word_of(page, i % 512, self.want[page]))
				return (int)page + 1;
	}
	return 0;
}

static void change(unsigned n)
{
	while (n--) {
		uint64_t r = world_random(&self.seed);

		put(r % NPAGES, r >> 16 & 0xffffff);
	}
}

static void begin(enum world_backend backend, struct hmm_store *store, uint32_t flags)
{
	struct hmm_space_options so = { .size = sizeof(so), .swap = store };
	struct hmm_region_options ro = { .size = sizeof(ro), .flags = flags, .delivery = world_delivery(backend) };

	so.engine = backend == WORLD_INLINE_COPY || backend == WORLD_THREAD_COPY ? HMM_ENGINE_COPY : HMM_ENGINE_AUTO;
	world_guard();
	self.page = hmm_page_size();
	self.store = store;
	self.seed = test_seed();
	ck_assert_int_eq(hmm_space_create(FRAMES, &so, &self.space), 0);
	ck_assert_int_eq(hmm_region_map(self.space, NULL, 0, NPAGES * self.page, &ro, &self.region), 0);
	self.base = hmm_region_base(self.region);
	for (size_t i = 0; i < NPAGES; i++)
		put(i, i);
	world_threads_rest();
}

static void end(void)
{
	ck_assert_int_eq(hmm_region_unmap(self.region), 0);
	hmm_space_destroy(self.space);
	hmm_store_put(self.store);
}

static int ended(pid_t pid)
{
	int status = -1;

	if (waitpid(pid, &status, 0) != pid)
		return 1000;
	return WIFSIGNALED(status) ? 2000 + WTERMSIG(status) : WEXITSTATUS(status);
}

/* Two children at once, their children and grandchildren; each changes pages before, between and after. */
static int generation(int depth)
{
	int width = depth == 3 ? 2 : depth ? 1 : 0, r = 0;
	pid_t pids[2];

	for (int i = 0; i < width; i++) {
		pids[i] = fork();
		if (pids[i] == 0) {
			self.seed += (uint64_t)(depth * 2 + i + 1) << 32;
			if (check())
				_exit(100 + depth);
			change(CHANGES);
			if (check())
				_exit(110 + depth);
			r = generation(depth - 1);
			change(CHANGES);
			_exit(r ? r : check() ? 120 + depth : 0);
		}
		change(CHANGES);
		if (check())
			r = 130 + depth;
	}
	for (int i = 0; i < width; i++) {
		int status = ended(pids[i]);

		r = r ? r : status;
		change(CHANGES);
	}
	return r ? r : check() ? 140 + depth : 0;
}

/* _i: backend * KINDS + kind */
START_TEST(each_generation_has_its_own_contents)
{
	enum world_backend backend = (enum world_backend)(_i / KINDS);
	enum kind kind = (enum kind)(_i % KINDS);
	const char *missing = world_missing(backend);
	int r;

	if (missing)
		world_skip(missing);
	begin(backend, make_store(kind), HMM_REGION_COPY_ON_FORK);
	r = generation(3);
	ck_assert_msg(r == 0, "%s: %d", kinds[kind], r);
	end();
}
END_TEST

static uint64_t swap_pages(void)
{
	struct hmm_stats stats = { .size = sizeof(stats) };

	ck_assert_int_eq(hmm_space_stats(self.space, &stats), 0);
	return stats.swap_bytes / self.page;
}

/* Until it is told to go on. */
static pid_t child_that_waits(int *ret_end)
{
	int fds[2];
	pid_t pid;

	ck_assert_int_eq(pipe(fds), 0);
	pid = fork();
	ck_assert_int_ge(pid, 0);
	if (pid == 0) {
		char byte;

		_exit(read(fds[0], &byte, 1) == 1 ? check() != 0 : 2);
	}
	close(fds[0]);
	*ret_end = fds[1];
	return pid;
}

/* Frozen slots are free again as soon as the last child that needs them has ended, in whatever order they do. */
START_TEST(swap_is_given_back_when_children_end)
{
	const char *missing = world_missing((enum world_backend)_i);
	pid_t pids[3];
	int ends[3];

	if (missing)
		world_skip(missing);
	begin((enum world_backend)_i, make_store(SWAP), HMM_REGION_COPY_ON_FORK);
	for (int i = 0; i < 3; i++) {
		pids[i] = child_that_waits(&ends[i]);
		for (size_t page = 0; page < NPAGES; page++)
			put(page, 1000 + (uint64_t)i);
	}
	ck_assert_uint_gt(swap_pages(), 3 * (NPAGES - FRAMES));
	for (int i = 0; i < 3; i++) {
		int which = (i + 1) % 3;

		ck_assert_int_eq(write(ends[which], "x", 1), 1);
		ck_assert_int_eq(ended(pids[which]), 0);
		ck_assert_uint_le(swap_pages(), (uint64_t)(3 - i) * NPAGES);
	}
	ck_assert_uint_le(swap_pages(), NPAGES);
	ck_assert_int_eq(check(), 0);
	end();
}
END_TEST

/* exec, and a child that unmaps its copy, need nothing any more though they live on. */
START_TEST(swap_is_given_back_on_exec_and_unmap)
{
	const char *missing = world_missing((enum world_backend)_i);

	if (missing)
		world_skip(missing);
	begin((enum world_backend)_i, make_store(SWAP), HMM_REGION_COPY_ON_FORK);
	for (int unmap = 0; unmap < 2; unmap++) {
		int in[2], out[2];
		char byte;
		pid_t pid;

		ck_assert_int_eq(pipe(in), 0);
		ck_assert_int_eq(pipe(out), 0);
		pid = fork();
		if (pid == 0) {
			dup2(in[0], 0);
			dup2(out[1], 1);
			close(in[1]);
			close(out[0]);
			if (!unmap) {
				execl("/bin/sh", "sh", "-c", "echo; read line", NULL);
				_exit(127);
			}
			if (hmm_region_unmap(self.region) || write(1, "x", 1) != 1)
				_exit(1);
			_exit(read(0, &byte, 1) != 1);
		}
		close(out[1]);
		ck_assert_int_eq(read(out[0], &byte, 1), 1);
		for (size_t page = 0; page < NPAGES; page++)
			put(page, 2000 + (uint64_t)unmap);
		ck_assert_uint_le(swap_pages(), NPAGES);
		ck_assert_int_eq(write(in[1], "\n", 1), 1);
		ck_assert_int_eq(ended(pid), 0);
		close(in[0]);
		close(in[1]);
		close(out[0]);
		ck_assert_int_eq(check(), 0);
	}
	end();
}
END_TEST

/* The parent ends first: its file lives on in the child. */
START_TEST(child_outlives_its_parent)
{
	const char *missing = world_missing((enum world_backend)_i);
	int result[2], hold[2];
	char byte = 0;
	pid_t pid;

	if (missing)
		world_skip(missing);
	ck_assert_int_eq(pipe(result), 0);
	ck_assert_int_eq(pipe(hold), 0);
	pid = fork();
	if (pid == 0) {
		begin((enum world_backend)_i, make_store(SWAP), HMM_REGION_COPY_ON_FORK);
		if (fork() == 0) {
			close(hold[1]);
			if (read(hold[0], &byte, 1) != 0)
				_exit(1);
			byte = check() ? 'b' : 'g';
			change(NPAGES);
			byte = check() ? 'b' : byte;
			_exit(write(result[1], &byte, 1) != 1);
		}
		change(NPAGES);
		_exit(check() != 0);
	}
	close(result[1]);
	ck_assert_int_eq(ended(pid), 0);
	close(hold[1]);
	ck_assert_int_eq(read(result[0], &byte, 1), 1);
	ck_assert_int_eq(byte, 'g');
}
END_TEST

/* A fork reads and writes nothing of the swap. */
START_TEST(fork_copies_nothing)
{
	const char *missing = world_missing((enum world_backend)_i);
	struct hmm_store_stats before = { .size = sizeof(before) }, after = { .size = sizeof(after) };

	if (missing)
		world_skip(missing);
	begin((enum world_backend)_i, make_store(SWAP), HMM_REGION_COPY_ON_FORK);
	ck_assert_int_eq(hmm_store_stats(self.store, &before), 0);
	for (int i = 0; i < 8; i++) {
		pid_t pid = fork();

		if (pid == 0) {
			execl("/bin/true", "true", NULL);
			_exit(127);
		}
		ck_assert_int_eq(ended(pid), 0);
	}
	ck_assert_int_eq(hmm_store_stats(self.store, &after), 0);
	ck_assert_uint_eq(after.reads, before.reads);
	ck_assert_uint_eq(after.writes, before.writes);
	ck_assert_int_eq(check(), 0);
	end();
}
END_TEST

/* The child has its copy, or an access there fails; it never reads anything else, and the parent loses nothing. */
static int copy_or_nothing(void)
{
	unsigned absent = 0;

	for (size_t page = 0; page < NPAGES; page++) {
		uint64_t words[512];
		int r = world_guarded_read(self.base + page * self.page, (uint8_t *)words, sizeof(words));

		if (r == -EACCES)
			absent++;
		else if (r == 0 && words[7] != word_of(page, 7, self.want[page]))
			return 3;
	}
	return absent && absent != NPAGES ? 4 : 0;
}

START_TEST(what_fails_in_a_fork_harms_nobody)
{
	static const enum hmm__sys_site sites[] = { HMM__SYS_PIPE, HMM__SYS_FSTAT, HMM__SYS_MADVISE, HMM__SYS_MMAP,
		HMM__SYS_USERFAULTFD, HMM__SYS_UFFD_API, HMM__SYS_UFFD_REGISTER, HMM__SYS_OPEN, HMM__SYS_THREAD_CREATE,
		HMM__SYS_POLL, HMM__SYS_MUNMAP };
	const char *missing = world_missing((enum world_backend)_i);

	if (missing)
		world_skip(missing);
	begin((enum world_backend)_i, make_store(SWAP), HMM_REGION_COPY_ON_FORK);
	for (size_t s = 0; s < sizeof(sites) / sizeof(sites[0]); s++) {
		for (uint64_t nth = 1; nth <= 3; nth++) {
			pid_t pid;
			int r;

			hmm__sys_fail(sites[s], nth, 0, ENOMEM);
			pid = fork();
			if (pid == 0) {
				alarm(test_patience(60));
				_exit(copy_or_nothing());
			}
			hmm__sys_fail_none();
			change(40);
			r = ended(pid);
			ck_assert_msg(r == 0, "%s, call %u: %d", hmm__sys_site_name(sites[s]), (unsigned)nth, r);
			r = check();
			ck_assert_msg(r == 0, "%s, call %u: the parent's page %d", hmm__sys_site_name(sites[s]), (unsigned)nth,
			              r - 1);
		}
	}
	end();
}
END_TEST

/* As a daemon does.  The parent goes on and would take the slots back if it thought that the child needs them no more. */
START_TEST(child_that_closes_everything_has_its_copy)
{
	const char *missing = world_missing((enum world_backend)_i);
	int go[2], r, mine, byte = 0;
	pid_t pid;

	if (missing)
		world_skip(missing);
	begin((enum world_backend)_i, make_store(SWAP), HMM_REGION_COPY_ON_FORK);
	ck_assert_int_eq(pipe(go), 0);
	pid = fork();
	if (pid == 0) {
		alarm(test_patience(60));
		if (dup2(go[0], 0) != 0 || close_range(3, ~0u, 0))
			_exit(10);
		if (read(0, &byte, 1) != 1)
			_exit(11);
		r = check();
		change(CHANGES);
		_exit(r || check() ? 12 : 0);
	}
	for (unsigned i = 0; i < 8; i++)
		change(CHANGES);
	mine = check();
	ck_assert_int_eq(write(go[1], &byte, 1), 1);
	r = ended(pid);
	/* a system that does not let us recover descriptors: a clear end */
	ck_assert_msg(r == 0 || r == 2000 + SIGBUS, "the child: %d", r);
	ck_assert_msg(mine == 0, "the parent's page %d", mine - 1);
	close(go[0]);
	close(go[1]);
	end();
}
END_TEST

/* Older than the library's handlers, so it runs before them: as a thread's stack, or what a sanitizer maps in a child, does. */
static void map_much(void)
{
	for (size_t size = (size_t)64 << 20; size >= self.page; size /= 2)
		for (unsigned i = 0; i < 128; i++)
			if (mmap(NULL, size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0) == MAP_FAILED)
				_exit(30);
}

/* The windows lie where they were, whatever the child has mapped by then. */
START_TEST(child_that_maps_memory_first_has_its_copy)
{
	const char *missing = world_missing((enum world_backend)_i);
	pid_t pid;

	if (missing)
		world_skip(missing);
	ck_assert_int_eq(pthread_atfork(NULL, NULL, map_much), 0);
	begin((enum world_backend)_i, make_store(SWAP), HMM_REGION_COPY_ON_FORK);
	for (int i = 0; i < 2; i++) {
		pid = fork();
		if (pid == 0) {
			int r = check();

			change(CHANGES);
			_exit(r || check() ? 12 : 0);
		}
		ck_assert_int_eq(ended(pid), 0);
	}
	ck_assert_int_eq(check(), 0);
	end();
}
END_TEST

static Suite *suite(void)
{
	Suite *s = suite_create("generations");
	static const enum world_backend backends[] = { WORLD_INLINE_AUTO, WORLD_INLINE_COPY, WORLD_THREAD_AUTO };

	for (unsigned b = 0; b < sizeof(backends) / sizeof(backends[0]); b++) {
		int i = (int)backends[b];
		TCase *t = tcase_create(world_backend_names[i]);

		tcase_add_loop_test(t, each_generation_has_its_own_contents, i * KINDS, (i + 1) * KINDS);
		tcase_add_loop_test(t, swap_is_given_back_when_children_end, i, i + 1);
		tcase_add_loop_test(t, swap_is_given_back_on_exec_and_unmap, i, i + 1);
		tcase_add_loop_test(t, child_outlives_its_parent, i, i + 1);
		tcase_add_loop_test(t, child_that_closes_everything_has_its_copy, i, i + 1);
		tcase_add_loop_test(t, child_that_maps_memory_first_has_its_copy, i, i + 1);
		tcase_add_loop_test(t, fork_copies_nothing, i, i + 1);
		tcase_add_loop_test(t, what_fails_in_a_fork_harms_nobody, i, i + 1);
		suite_add_tcase(s, t);
	}
	return s;
}

HMM_TEST_MAIN(suite)
