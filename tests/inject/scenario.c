/* SPDX-License-Identifier: MIT */
/*
 * scenario.c - map, write four times the budget, read it back, sync, advise, hold, resize, protect, unmap
 */
#include "tests/inject/scenario.h"

#include <errno.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#define FRAMES HMM_FRAMES_MIN
#define NPAGES (4 * FRAMES)
#define HANG_SECONDS 30 /* more than a call is tried again */

static __attribute__((noreturn, format(printf, 2, 3))) void give_up(const struct scenario *s, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	fprintf(stderr, "# %s/%s, %s fails at call %llu: ", world_backend_names[s->backend], world_store_names[s->kind],
	        s->what, (unsigned long long)s->nth);
	vfprintf(stderr, format, args);
	fputc('\n', stderr);
	va_end(args);
	_exit(1);
}

/* A call is tried again until it succeeds: a page that could not be read is refused for a while. */
#define TRY(s, call) \
	do { \
		int r_ = (call); \
		struct world_wait wait_ = { 0 }; \
		while (r_ < 0 && world_wait(&wait_)) { \
			(s)->failures++; \
			r_ = (call); \
		} \
		if (r_ < 0) \
			give_up((s), "%s: %s", #call, strerror(-r_)); \
	} while (0)

static bool is_mock(const struct scenario *s)
{
	return s->backend <= WORLD_MOCK_THREAD;
}

static int get(struct scenario *s, size_t page, uint64_t *ret_word)
{
	uint8_t *at = s->base + page * hmm_page_size() + 16;

	if (is_mock(s))
		return hmm_mock_read(s->region, at, ret_word, 8);
	return world_guarded_read(at, (uint8_t *)ret_word, 8);
}

static int put(struct scenario *s, size_t page, uint64_t word)
{
	uint8_t *at = s->base + page * hmm_page_size() + 16;

	if (is_mock(s))
		return hmm_mock_write(s->region, at, &word, 8);
	return world_guarded_write(at, (const uint8_t *)&word, 8);
}

static void put_all(struct scenario *s, uint64_t tag)
{
	for (size_t i = 0; i < NPAGES; i++)
		TRY(s, put(s, i, tag + i));
}

static void check_all(struct scenario *s, uint64_t tag, const char *when)
{
	for (size_t i = 0; i < NPAGES; i++) {
		uint64_t word = 0;

		TRY(s, get(s, i, &word));
		if (word != tag + i)
			give_up(s, "page %zu holds %#llx, not %#llx, %s", i, (unsigned long long)word,
			     (unsigned long long)(tag + i), when);
	}
}

static int map(struct scenario *s)
{
	struct hmm_region_options opts = {
		.size = sizeof(opts),
		.delivery = world_delivery(s->backend),
		.flags = s->kind == WORLD_FILE_SHARED ? HMM_REGION_SHARED : 0,
	};

	return hmm_region_map(s->space, s->store, 0, NPAGES * hmm_page_size(), &opts, &s->region);
}

static int make_filter(struct hmm_store *inner, struct hmm_store **ret_store)
{
	int r = hmm_store_faulty(inner, ret_store);

	if (r == 0)
		hmm_store_put(inner);
	return r;
}

static void make_stores(struct scenario *s)
{
	struct hmm_swap_options swap = { .size = sizeof(swap), .directory = "/tmp", .direct = HMM_DIRECT_NEVER };
	char path[] = "/tmp/hurd-mm-inject-XXXXXX";
	struct hmm_store *inner;

	if (s->kind == WORLD_SWAP_MEMORY)
		TRY(s, hmm_store_memory(1 << 30, &inner));
	else
		TRY(s, hmm_store_swap(&swap, &inner));
	TRY(s, make_filter(inner, &s->swap));
	s->fd = -1;
	if (s->kind != WORLD_FILE_SHARED)
		return;
	s->fd = mkstemp(path);
	if (s->fd < 0 || unlink(path) < 0 || ftruncate(s->fd, (off_t)(NPAGES * hmm_page_size())) < 0)
		give_up(s, "no file");
	TRY(s, hmm_store_file(s->fd, 0, &inner));
	TRY(s, make_filter(inner, &s->store));
}

static void make_space(struct scenario *s)
{
	struct hmm_space_options opts = { .size = sizeof(opts), .swap = s->swap, .flags = HMM_SPACE_CHECK_POLICY };
	bool copy = s->backend == WORLD_INLINE_COPY || s->backend == WORLD_THREAD_COPY;

	opts.engine = copy ? HMM_ENGINE_COPY : HMM_ENGINE_AUTO;
	if (is_mock(s)) {
		opts.backend = hmm_backend_mock();
		opts.backend_arg = s->mock;
	}
	TRY(s, hmm_space_create(FRAMES, &opts, &s->space));
	TRY(s, map(s));
	s->base = hmm_region_base(s->region);
}

static void use_calls(struct scenario *s)
{
	size_t page = hmm_page_size();

	TRY(s, hmm_region_advise(s->region, s->base, 8 * page, HMM_ADVISE_WILLNEED));
	TRY(s, hmm_region_advise(s->region, s->base, 16 * page, HMM_ADVISE_PAGEOUT));
	TRY(s, hmm_region_lock(s->region, s->base + 4 * page, 4 * page));
	TRY(s, hmm_region_pin(s->region, s->base + 20 * page, 4 * page, 1));
	check_all(s, 1000, "while some are held");
	TRY(s, hmm_region_unpin(s->region, s->base + 20 * page, 4 * page));
	TRY(s, hmm_region_unlock(s->region, s->base + 4 * page, 4 * page));
	TRY(s, hmm_region_protect(s->region, s->base, 32 * page, PROT_READ));
	if (put(s, 3, 7) != -EACCES)
		give_up(s, "a write to a read-only page was not refused");
	TRY(s, hmm_region_protect(s->region, s->base, NPAGES * page, PROT_READ | PROT_WRITE));
	TRY(s, hmm_space_resize(s->space, 2 * FRAMES, NULL));
	check_all(s, 1000, "after growing");
	TRY(s, hmm_space_resize(s->space, FRAMES, NULL));
	check_all(s, 1000, "after shrinking");
	TRY(s, hmm_region_sync(s->region, s->base, NPAGES * page, HMM_SYNC_DURABLE));
	if (s->kind == WORLD_FILE_SHARED) {
		TRY(s, hmm_region_invalidate(s->region, s->base, NPAGES * page, 0));
		check_all(s, 1000, "read anew");
	}
}

static void check_file(struct scenario *s)
{
	for (size_t i = 0; s->fd >= 0 && i < NPAGES; i++) {
		uint64_t word = 0;

		if (pread(s->fd, &word, 8, (off_t)(i * hmm_page_size() + 16)) != 8 || word != 2000 + i)
			give_up(s, "page %zu of the file holds %#llx after unmapping", i, (unsigned long long)word);
	}
}

/* A pass of another thread's counts a moment after the page is free. */
static void wait_for_books(struct scenario *s, struct hmm_stats *stats)
{
	struct world_wait wait = { 0 };

	do
		TRY(s, hmm_space_stats(s->space, stats));
	while ((stats->dirty || stats->swap_bytes) && world_wait(&wait));
}

static void check_left(struct scenario *s)
{
	struct hmm_stats stats = { .size = sizeof(stats) };
	const char *text;

	wait_for_books(s, &stats);
	if (stats.resident || stats.dirty || stats.pinned || stats.swap_bytes || stats.policy_errors)
		give_up(s, "left: %llu resident, %llu dirty, %llu pinned, %llu bytes of swap; %llu policy errors",
		     (unsigned long long)stats.resident, (unsigned long long)stats.dirty, (unsigned long long)stats.pinned,
		     (unsigned long long)stats.swap_bytes, (unsigned long long)stats.policy_errors);
	if (stats.peak_held > 2 * FRAMES || stats.held > stats.frames)
		give_up(s, "%llu frames held, %llu at most", (unsigned long long)stats.held,
		     (unsigned long long)stats.peak_held);
	if (s->mock && hmm_mock_misuses(s->mock, &text))
		give_up(s, "misuse: %s", text);
}

static bool run(struct scenario *s)
{
	const char *text;
	bool beyond;

	world_guard();
	if (is_mock(s)) {
		struct hmm_mock_options opts = { .size = sizeof(opts), .no_grant = s->backend == WORLD_MOCK_NO_GRANT };

		TRY(s, hmm_mock_create(&opts, &s->mock));
	}
	s->arm(s);
	make_stores(s);
	if (s->armed_stores)
		s->armed_stores(s);
	make_space(s);
	put_all(s, 1000);
	check_all(s, 1000, "after writing");
	use_calls(s);
	put_all(s, 2000);
	check_all(s, 2000, "in the end");
	TRY(s, hmm_region_unmap(s->region));
	check_left(s);
	hmm_space_destroy(s->space);
	beyond = s->disarm(s);
	if (s->mock && hmm_mock_frames(s->mock, NULL) != 0)
		give_up(s, "the backend still has %llu frames in use",
		     (unsigned long long)hmm_mock_frames(s->mock, NULL));
	if (s->mock && hmm_mock_misuses(s->mock, &text))
		give_up(s, "misuse at the end: %s", text);
	check_file(s);
	hmm_store_put(s->store);
	hmm_store_put(s->swap);
	return beyond;
}

enum scenario_end scenario_fork(struct scenario *s)
{
	struct world_wait wait = { .seconds = HANG_SECONDS };
	pid_t pid = fork();
	int status;

	ck_assert_int_ge(pid, 0);
	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL); /* a hanging one goes with us */
		_exit(run(s) ? 2 : 0);
	}
	while (waitpid(pid, &status, WNOHANG) == 0) {
		if (world_wait(&wait))
			continue;
		fprintf(stderr, "# %s/%s, %s fails at call %llu: hangs\n", world_backend_names[s->backend],
		        world_store_names[s->kind], s->what, (unsigned long long)s->nth);
		kill(pid, SIGKILL);
		waitpid(pid, &status, 0);
		return SCENARIO_HUNG;
	}
	if (WIFSIGNALED(status))
		fprintf(stderr, "# %s/%s, %s fails at call %llu: killed by %s\n", world_backend_names[s->backend],
		        world_store_names[s->kind], s->what, (unsigned long long)s->nth, strsignal(WTERMSIG(status)));
	if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
		return SCENARIO_PASSED;
	return WIFEXITED(status) && WEXITSTATUS(status) == 2 ? SCENARIO_BEYOND : SCENARIO_FAILED;
}
