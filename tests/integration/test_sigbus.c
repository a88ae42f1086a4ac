/* SPDX-License-Identifier: MIT */
/*
 * test_sigbus.c - a SIGBUS that is not ours goes where it went before we came
 */
#include "tests/world.h"

#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define NPAGES 256

static sigjmp_buf out;
static volatile uint8_t *seen_address;
static volatile int seen, ours;

static void foreign(int signal, siginfo_t *info, void *context)
{
	(void)signal;
	(void)context;
	seen++;
	seen_address = info->si_addr;
	siglongjmp(out, 1);
}

/* Installed after the library's: asks it first. */
static void outer(int signal, siginfo_t *info, void *context)
{
	if (hmm_fault_signal(signal, info, context)) {
		ours++;
		return;
	}
	foreign(signal, info, context);
}

static void install(void (*handler)(int signal, siginfo_t *info, void *context))
{
	struct sigaction action = { .sa_sigaction = handler, .sa_flags = SA_SIGINFO };

	ck_assert_int_eq(sigaction(SIGBUS, &action, NULL), 0);
}

/* A page of a file that has no such page any more. */
static volatile uint8_t *beyond_a_file(void)
{
	char path[] = "/tmp/hurd-mm-bus-XXXXXX";
	int fd = mkstemp(path);
	void *p;

	unlink(path);
	if (fd < 0 || ftruncate(fd, 4096) < 0)
		abort();
	p = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (p == MAP_FAILED || ftruncate(fd, 0) < 0)
		abort();
	close(fd);
	return p;
}

struct plain {
	struct hmm_space *space;
	struct hmm_region *region;
	volatile uint8_t *base;
};

static void map_inline(struct plain *p)
{
	struct hmm_region_options opts = { .size = sizeof(opts), .delivery = HMM_DELIVERY_INLINE };

	if (hmm_space_create(64, NULL, &p->space) || hmm_region_map(p->space, NULL, 0, NPAGES * 4096, &opts, &p->region))
		abort();
	p->base = hmm_region_base(p->region);
}

static void use(struct plain *p)
{
	for (size_t i = 0; i < NPAGES; i++)
		p->base[i * 4096] = (uint8_t)(i + 1);
	for (size_t i = 0; i < NPAGES; i++)
		ck_assert_uint_eq(p->base[i * 4096], (uint8_t)(i + 1));
}

START_TEST(foreign_signal_reaches_the_handler_before_ours)
{
	const char *missing = world_missing(WORLD_INLINE_AUTO);
	volatile uint8_t *bad = beyond_a_file();
	struct plain p;

	if (missing)
		test_skip(missing);
	install(foreign);
	map_inline(&p);
	use(&p);
	ck_assert_int_eq(seen, 0);
	for (int i = 1; i <= 3; i++) {
		if (!sigsetjmp(out, 1))
			bad[5] = 1;
		ck_assert_int_eq(seen, i);
		ck_assert_ptr_eq((void *)seen_address, (void *)(bad + 5));
		use(&p);
	}
	hmm_space_destroy(p.space);
}
END_TEST

START_TEST(handler_after_ours_asks_us_first)
{
	const char *missing = world_missing(WORLD_INLINE_AUTO);
	volatile uint8_t *bad = beyond_a_file();
	struct plain p;

	if (missing)
		test_skip(missing);
	map_inline(&p);
	install(outer);
	use(&p);
	ck_assert_int_gt(ours, NPAGES / 2);
	if (!sigsetjmp(out, 1))
		bad[0] = 1;
	ck_assert_int_eq(seen, 1);
	use(&p);
	hmm_space_destroy(p.space);
}
END_TEST

/* --- a handler of the program's that calls ours as a function --- */

static struct sigaction ours_as_function;

static uint64_t blocked_signals(void)
{
	uint64_t mask = 0;

	syscall(SYS_rt_sigprocmask, SIG_BLOCK, NULL, &mask, sizeof(mask));
	return mask;
}

static volatile int mask_changed;

static void forwarding(int signal, siginfo_t *info, void *context)
{
	uint64_t before = blocked_signals();

	ours_as_function.sa_sigaction(signal, info, context);
	if (blocked_signals() != before)
		mask_changed = 1;
	ours++;
}

START_TEST(handler_that_calls_ours_keeps_its_mask)
{
	const char *missing = world_missing(WORLD_INLINE_AUTO);
	struct plain p;

	if (missing)
		test_skip(missing);
	map_inline(&p);
	ck_assert_int_eq(sigaction(SIGBUS, NULL, &ours_as_function), 0);
	install(forwarding);
	use(&p);
	ck_assert_int_gt(ours, NPAGES / 2);
	ck_assert_int_eq(mask_changed, 0);
	hmm_space_destroy(p.space);
}
END_TEST

/* --- signals that are sent --- */

enum { BY_KILL, BY_RAISE, BY_PTHREAD_KILL, BY_SIGQUEUE, BY_MEMORY_GONE_BAD, BY_ACCESS, WAYS, WAYS_SENT = BY_ACCESS };

/* What the kernel says of memory that it has found bad, and nobody has touched. */
static void memory_gone_bad(void)
{
	siginfo_t info = { .si_signo = SIGBUS, .si_code = BUS_MCEERR_AO, .si_addr = &info };

	if (syscall(SYS_rt_tgsigqueueinfo, getpid(), gettid(), SIGBUS, &info) < 0)
		abort();
}

static void make_sigbus(int way)
{
	switch (way) {
	case BY_KILL:
		kill(getpid(), SIGBUS);
		break;
	case BY_RAISE:
		raise(SIGBUS);
		break;
	case BY_PTHREAD_KILL:
		pthread_kill(pthread_self(), SIGBUS);
		break;
	case BY_SIGQUEUE:
		sigqueue(getpid(), SIGBUS, (union sigval){ .sival_int = 7 });
		break;
	case BY_MEMORY_GONE_BAD:
		memory_gone_bad();
		break;
	default:
		*beyond_a_file() = 1;
		break;
	}
}

/* What the child died of: a signal, or 0 if it ended well. */
static int death_of(pid_t pid)
{
	int status;

	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	if (WIFSIGNALED(status))
		return WTERMSIG(status);
	ck_assert_int_eq(WEXITSTATUS(status), 0);
	return 0;
}

static void act_by_default(void (*action)(int signal), struct plain *p)
{
	struct sigaction act = { .sa_handler = action };

	sigaction(SIGBUS, &act, NULL);
	map_inline(p);
	use(p);
}

/* _i: how it is made */
START_TEST(foreign_signal_without_handler_kills)
{
	const char *missing = world_missing(WORLD_INLINE_AUTO);
	pid_t pid;

	if (missing)
		test_skip(missing);
	pid = fork();
	if (pid == 0) {
		struct plain p;

		act_by_default(SIG_DFL, &p);
		make_sigbus(_i);
		_exit(0);
	}
	ck_assert_int_eq(death_of(pid), SIGBUS);
}
END_TEST

START_TEST(ignored_signal_is_ignored_when_sent)
{
	const char *missing = world_missing(WORLD_INLINE_AUTO);
	pid_t pid;

	if (missing)
		test_skip(missing);
	pid = fork();
	if (pid == 0) {
		struct plain p;

		act_by_default(SIG_IGN, &p);
		for (int i = 0; i < 3; i++) {
			make_sigbus(_i);
			use(&p);
		}
		_exit(0);
	}
	ck_assert_int_eq(death_of(pid), _i < WAYS_SENT ? 0 : SIGBUS);
}
END_TEST

static int pipe_fds[2];

static void *read_a_byte(void *arg)
{
	char byte;

	(void)arg;
	return (void *)(intptr_t)(read(pipe_fds[0], &byte, 1) == 1);
}

START_TEST(ignored_signal_ends_no_read)
{
	const char *missing = world_missing(WORLD_INLINE_AUTO);
	pthread_t thread;
	struct plain p;
	void *good;

	if (missing)
		test_skip(missing);
	act_by_default(SIG_IGN, &p);
	ck_assert_int_eq(pipe(pipe_fds), 0);
	ck_assert_int_eq(pthread_create(&thread, NULL, read_a_byte, NULL), 0);
	world_threads_rest();
	ck_assert_int_eq(pthread_kill(thread, SIGBUS), 0);
	world_threads_rest();
	ck_assert_int_eq(write(pipe_fds[1], "", 1), 1);
	pthread_join(thread, &good);
	ck_assert_ptr_nonnull(good);
	hmm_space_destroy(p.space);
}
END_TEST

/* The first process of a namespace is spared where others die, but not by its own accesses. */
static int first_of_a_namespace(int way)
{
	pid_t pid;
	int status;

	if (unshare(CLONE_NEWUSER | CLONE_NEWPID) < 0)
		return 77;
	pid = fork();
	if (pid == 0) {
		struct plain p;

		act_by_default(SIG_DFL, &p);
		make_sigbus(way);
		use(&p);
		_exit(getpid() == 1 ? 0 : 1);
	}
	if (pid < 0 || waitpid(pid, &status, 0) != pid)
		return 77;
	return (WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status)) == (way < WAYS_SENT ? 0 : SIGBUS) ? 0 : 1;
}

START_TEST(first_process_is_not_killed_by_what_is_sent)
{
	const char *missing = world_missing(WORLD_INLINE_AUTO);
	int status;
	pid_t pid;

	if (missing)
		test_skip(missing);
	pid = fork();
	if (pid == 0)
		_exit(first_of_a_namespace(_i));
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert(WIFEXITED(status));
	if (WEXITSTATUS(status) == 77)
		test_skip("user namespaces");
	ck_assert_int_eq(WEXITSTATUS(status), 0);
}
END_TEST

/* --- the handler that was there before is called as the kernel would have called it --- */

static volatile int calls, last_code;
static volatile uint64_t mask_in_handler;

static void old_fashioned(int signal)
{
	calls++;
	last_code = signal;
	mask_in_handler = blocked_signals();
}

static void modern(int signal, siginfo_t *info, void *context)
{
	(void)signal;
	(void)context;
	calls++;
	last_code = info->si_code;
	mask_in_handler = blocked_signals();
}

static bool in(uint64_t mask, int signal)
{
	return mask >> (signal - 1) & 1;
}

static void expect_mask(int flags)
{
	ck_assert(in(mask_in_handler, SIGUSR2)); /* of the action */
	ck_assert(in(mask_in_handler, SIGTERM)); /* of the program */
	ck_assert(!in(mask_in_handler, SIGUSR1));
	ck_assert(!in(mask_in_handler, 32) && !in(mask_in_handler, 33));
	ck_assert_int_eq(in(mask_in_handler, SIGBUS), !(flags & SA_NODEFER));
}

/* _i: bit 0: SA_SIGINFO, bit 1: SA_NODEFER */
START_TEST(handler_gets_its_signal_and_mask)
{
	const char *missing = world_missing(WORLD_INLINE_AUTO);
	struct sigaction act = { .sa_flags = (_i & 1 ? SA_SIGINFO : 0) | (_i & 2 ? (int)SA_NODEFER : 0) };
	const int codes[WAYS_SENT] = { SI_USER, SI_TKILL, SI_TKILL, SI_QUEUE, BUS_MCEERR_AO };
	uint64_t before;
	struct plain p;
	sigset_t term;

	if (missing)
		test_skip(missing);
	if (_i & 1)
		act.sa_sigaction = modern;
	else
		act.sa_handler = old_fashioned;
	sigemptyset(&term);
	sigaddset(&term, SIGTERM);
	sigprocmask(SIG_BLOCK, &term, NULL);
	sigaddset(&act.sa_mask, SIGUSR2);
	ck_assert_int_eq(sigaction(SIGBUS, &act, NULL), 0);
	map_inline(&p);
	before = blocked_signals();
	for (int way = 0; way < WAYS_SENT; way++) {
		make_sigbus(way);
		ck_assert_int_eq(calls, way + 1);
		ck_assert_int_eq(last_code, _i & 1 ? codes[way] : SIGBUS);
		expect_mask(act.sa_flags);
		ck_assert_uint_eq(blocked_signals(), before);
		use(&p);
	}
	hmm_space_destroy(p.space);
}
END_TEST

START_TEST(handler_that_is_reset_is_called_once)
{
	const char *missing = world_missing(WORLD_INLINE_AUTO);
	pid_t pid;

	if (missing)
		test_skip(missing);
	pid = fork();
	if (pid == 0) {
		struct sigaction act = { .sa_handler = old_fashioned, .sa_flags = (int)SA_RESETHAND };
		struct plain p;

		sigaction(SIGBUS, &act, NULL);
		map_inline(&p);
		make_sigbus(_i < WAYS_SENT ? _i : BY_KILL);
		use(&p);
		if (calls != 1)
			_exit(1);
		make_sigbus(_i);
		_exit(2);
	}
	ck_assert_int_eq(death_of(pid), SIGBUS);
}
END_TEST

static Suite *suite(void)
{
	Suite *s = suite_create("sigbus");
	TCase *t = tcase_create("sigbus");

	tcase_add_test(t, foreign_signal_reaches_the_handler_before_ours);
	tcase_add_test(t, handler_after_ours_asks_us_first);
	tcase_add_test(t, handler_that_calls_ours_keeps_its_mask);
	tcase_add_loop_test(t, foreign_signal_without_handler_kills, 0, WAYS);
	tcase_add_loop_test(t, ignored_signal_is_ignored_when_sent, 0, WAYS);
	tcase_add_test(t, ignored_signal_ends_no_read);
	tcase_add_loop_test(t, first_process_is_not_killed_by_what_is_sent, 0, WAYS);
	tcase_add_loop_test(t, handler_gets_its_signal_and_mask, 0, 4);
	tcase_add_loop_test(t, handler_that_is_reset_is_called_once, 0, WAYS);
	suite_add_tcase(s, t);
	return s;
}

HMM_TEST_MAIN(suite)
