/* SPDX-License-Identifier: MIT */
/*
 * failures.c - what fails while the integration is installed or the heap grows is said, and the program runs on
 *
 * Made of the sources, so that the library's own allocations and system calls can be made to fail.  Each failure is a
 * process of its own, for libgc can be started once only: the space or the installation says -errno, or works all the same;
 * then the program works with what it has, paged or not; and where the installation failed, it succeeds at the second try.
 *
 * Usage: failures inline | default.  Prints TAP.
 */
#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <gc/gc.h>

#include <hurd-mm/bdwgc.h>
#include <hurd-mm/hurd-mm.h>

#include "lib/base/arena.h"
#include "lib/sys/sys.h"
#include "tests/scale.h"

#define FRAMES 512u          /* 2 MiB */
#define PIECE 8176u
#define PIECES_MOST 384u     /* 3 MiB */
#define PIECES_LEAST 16u     /* all resident */
#define SYSTEM_ERROR ENOMEM

enum { END_GOOD, END_BAD, END_BEYOND, END_MISSING = 77 };

static unsigned number, failed, pieces = PIECES_MOST;

static void ok(bool good, const char *name)
{
	number++;
	failed += !good;
	printf("%sok %u - %s\n", good ? "" : "not ", number, name);
	fflush(stdout);
}

static bool work(void)
{
	uint64_t **kept;

	GC_INIT();
	GC_set_warn_proc(GC_ignore_warn_proc);
	kept = GC_MALLOC(pieces * sizeof(*kept));
	for (unsigned round = 0; round < 2; round++) {
		for (size_t i = 0; i < pieces; i++) {
			kept[i] = GC_MALLOC_ATOMIC(PIECE);
			for (size_t j = 0; j < PIECE / 8; j++)
				kept[i][j] = i * 1000003 + j + round;
		}
	}
	for (size_t i = 0; i < pieces; i++) {
		for (size_t j = 0; j < PIECE / 8; j++) {
			if (kept[i][j] != i * 1000003 + j + 1)
				return false;
		}
	}
	return true;
}

static bool is_paged(void)
{
	struct hmm_bdwgc_stats stats = { .size = sizeof(stats) };

	return hmm_bdwgc_stats(&stats) == 0 && stats.heap_bytes >= (uint64_t)pieces * PIECE &&
	       (stats.collections > 0 || pieces == PIECES_LEAST);
}

static uint32_t delivery = HMM_BDWGC_INLINE_DELIVERY; /* a flag, or 0 for the default */

static int set_up(struct hmm_space **space)
{
	struct hmm_bdwgc_options gc = { .size = sizeof(gc), .flags = delivery };
	struct hmm_space_options options = { .size = sizeof(options), .policy = "gc:scan=0.5:lru",
		                             .rescue = HMM_RESCUE_NEVER };
	int r = *space ? 0 : hmm_space_create(FRAMES, &options, space);

	return r ? r : hmm_bdwgc_install(*space, &gc);
}

/* Something that fails at the nth call, in a child. */
struct failure {
	const char *name;
	void (*arm)(uint64_t nth);
	bool (*disarm)(uint64_t nth); /* true: there were less calls */
	int least, most;              /* errors that are answers to it, negative */
};

static void arm_memory(uint64_t nth)
{
	hmm__alloc_fail(nth, 0);
}

static bool disarm_memory(uint64_t nth)
{
	uint64_t calls = hmm__alloc_calls();

	hmm__alloc_fail(0, 0);
	return calls < nth;
}

static void arm_system(uint64_t nth)
{
	hmm__sys_fail(HMM__SYS_SITES, nth, 0, SYSTEM_ERROR);
}

static bool disarm_system(uint64_t nth)
{
	uint64_t calls = hmm__sys_calls(HMM__SYS_SITES);

	hmm__sys_fail_none();
	return calls < nth;
}

static int fail_once(const struct failure *failure, uint64_t nth)
{
	struct hmm_space *space = NULL;
	bool is_beyond;
	int r;

	failure->arm(nth);
	r = set_up(&space);
	is_beyond = failure->disarm(nth);
	if (is_beyond)
		return r ? END_BAD : END_BEYOND;
	if (r && (r < failure->least || r > failure->most || hmm_bdwgc_region())) {
		fprintf(stderr, "# %s %llu: %d\n", failure->name, (unsigned long long)nth, r);
		return END_BAD;
	}
	if (r && nth % 2) { /* unpaged */
		hmm_space_destroy(space);
		return work() && !hmm_bdwgc_region() ? END_GOOD : END_BAD;
	}
	if (r && set_up(&space))
		return END_BAD;
	return work() && is_paged() ? END_GOOD : END_BAD;
}

/* Its status; END_BAD if it ended by a signal. */
static int end_of(pid_t pid, const char *name)
{
	int status = 0;

	if (pid < 0 || waitpid(pid, &status, 0) != pid)
		return END_BAD;
	if (WIFSIGNALED(status))
		printf("# %s: signal %d\n", name, WTERMSIG(status));
	return WIFEXITED(status) ? WEXITSTATUS(status) : END_BAD;
}

static void sweep(const struct failure *failure)
{
	char name[96];
	uint64_t nth;
	int end = END_GOOD;

	for (nth = 1; nth < 10000 && end == END_GOOD; nth++) {
		pid_t pid = fork();

		if (pid == 0) {
			alarm(test_patience(30));
			_exit(fail_once(failure, nth));
		}
		end = end_of(pid, failure->name);
	}
	snprintf(name, sizeof(name), "%s fails, each of %llu", failure->name, (unsigned long long)nth - 2);
	ok(end == END_BEYOND && nth > 5, name);
}

static uint64_t addresses_now(void)
{
	unsigned long long pages = 0;
	FILE *file = fopen("/proc/self/statm", "re");

	if (file && fscanf(file, "%llu", &pages) != 1)
		pages = 0;
	if (file)
		fclose(file);
	return pages * (uint64_t)sysconf(_SC_PAGESIZE);
}

static int with_addresses(uint64_t more)
{
	struct hmm_space *space = NULL;
	struct rlimit limit;
	uint64_t now = addresses_now();
	int r;

	if (getrlimit(RLIMIT_AS, &limit) || !now)
		return END_MISSING;
	limit.rlim_cur = now + more;
	if (setrlimit(RLIMIT_AS, &limit))
		return END_MISSING;
	r = set_up(&space);
	limit.rlim_cur = limit.rlim_max;
	(void)!setrlimit(RLIMIT_AS, &limit);
	if (r && ((r != -ENOMEM && r != -EAGAIN) || hmm_bdwgc_region())) /* EAGAIN: a thread's stack */
		return END_BAD;
	if (r && set_up(&space))
		return END_BAD;
	return work() && is_paged() ? r ? END_BEYOND : END_GOOD : END_BAD;
}

/* From too little for anything to enough for a smaller reservation. */
static void addresses(void)
{
	unsigned refused = 0, taken = 0;
	bool good = true;

	for (uint64_t more = 1 << 20; more <= (uint64_t)1 << 34 && good; more *= 4) {
		pid_t pid = fork();
		int end;

		if (pid == 0) {
			alarm(test_patience(30));
			_exit(with_addresses(more));
		}
		end = end_of(pid, "addresses");
		refused += end == END_BEYOND;
		taken += end == END_GOOD;
		good = end == END_BEYOND || end == END_GOOD;
		if (!good)
			printf("# with %llu KiB more: %d\n", (unsigned long long)more >> 10, end);
	}
	ok(good && refused && taken, "address space is short: refused, or a smaller reservation");
}

/* Not on the stack of who lets go of it: libgc would take what is left there for a use. */
static void **all;

static __attribute__((noinline)) unsigned take_all(void)
{
	unsigned n = 0;
	void **piece;

	while (n < 4096 && (piece = GC_MALLOC(PIECE))) {
		*piece = all;
		all = piece;
		n++;
	}
	return n;
}

static __attribute__((noinline)) unsigned count_all(void)
{
	unsigned n = 0;

	for (void **piece = all; piece; piece = *piece)
		n++;
	return n;
}

/* Each piece by itself, so that one that libgc takes for used does not keep the others. */
static __attribute__((noinline)) void let_go(void)
{
	while (all) {
		void **piece = all;

		all = *piece;
		*piece = NULL;
	}
}

static int use_up(void)
{
	struct hmm_bdwgc_options options = { .size = sizeof(options), .reserve = 16u << 20, .flags = delivery };
	struct hmm_bdwgc_stats stats = { .size = sizeof(stats) };
	struct hmm_space *space = NULL;
	unsigned n;

	if (hmm_space_create(FRAMES, NULL, &space) || hmm_bdwgc_install(space, &options))
		return END_BAD;
	GC_INIT();
	GC_set_warn_proc(GC_ignore_warn_proc);
	n = take_all();
	if (n < 512 || n == 4096 || hmm_bdwgc_stats(&stats) || !stats.refused_bytes || count_all() != n) {
		fprintf(stderr, "# %u pieces\n", n);
		return END_BAD;
	}
	let_go();
	GC_gcollect();
	for (unsigned i = 0; i < 512; i++) {
		if (!GC_MALLOC(PIECE)) {
			fprintf(stderr, "# only %u again\n", i);
			return END_BAD;
		}
	}
	return END_GOOD;
}

static int with_bad_store(void)
{
	struct hmm_swap_options swap = { .size = sizeof(swap), .direct = HMM_DIRECT_NEVER };
	struct hmm_store_fault fault = { .size = sizeof(fault), .write_per_million = 300000, .seed = 7, .error = -EIO };
	struct hmm_space_options options = { .size = sizeof(options), .policy = "gc:scan=0.5:lru",
		                             .rescue = HMM_RESCUE_NEVER };
	struct hmm_stats stats = { .size = sizeof(stats) };
	struct hmm_space *space = NULL;
	struct hmm_bdwgc_options gc = { .size = sizeof(gc), .flags = delivery };
	struct hmm_store *store;

	pieces = PIECES_MOST;
	if (hmm_store_swap(&swap, &store) || hmm_store_faulty(store, &options.swap) ||
	    hmm_store_set_fault(options.swap, &fault) || hmm_space_create(FRAMES, &options, &space) ||
	    hmm_bdwgc_install(space, &gc))
		return END_BAD;
	return work() && is_paged() && !hmm_space_stats(space, &stats) && stats.write_errors ? END_GOOD : END_BAD;
}

static void in_child(int (*function)(void), const char *name)
{
	pid_t pid = fork();

	if (pid == 0) {
		alarm(test_patience(30));
		_exit(function());
	}
	ok(end_of(pid, name) == END_GOOD, name);
}

static int try_plain(void)
{
	struct hmm_space *space = NULL;

	return set_up(&space) == 0 ? END_GOOD : END_MISSING;
}

/* Where the installation fails is looked at, not the paging: by thread, beside other work, it takes ten times as long. */
static void by_default(void)
{
	delivery = 0;
	pieces = PIECES_LEAST;
}

int main(int argc, char **argv)
{
	static const struct failure failures[] = {
		{ "an allocation", arm_memory, disarm_memory, -ENOMEM, -ENOMEM },
		{ "a system call", arm_system, disarm_system, -4095, -1 },
	};
	pid_t pid;

	if (argc > 1 && strcmp(argv[1], "default") == 0)
		by_default();
	test_scale(); /* once, for all children */
	pid = fork();
	if (pid == 0)
		_exit(try_plain());
	if (end_of(pid, "plain") != END_GOOD) {
		printf("1..0 # SKIP nothing can be paged\n");
		return 0;
	}
	for (size_t i = 0; i < sizeof(failures) / sizeof(failures[0]); i++)
		sweep(&failures[i]);
	addresses();
	in_child(use_up, "the reserved addresses are used up: no memory, and garbage is reused");
	in_child(with_bad_store, "three of ten writes to the store fail: nothing is lost");
	printf("1..%u\n", number);
	return failed != 0;
}
