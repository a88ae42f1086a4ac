/* SPDX-License-Identifier: MIT */
/*
 * test_sigbus.c - a SIGBUS that is not ours goes where it went before we came
 */
#include "tests/world.h"

#include <setjmp.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
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

/* What a child died of, without a handler of its own: _i 0 an access, 1 a signal that was sent. */
START_TEST(foreign_signal_without_handler_kills)
{
	const char *missing = world_missing(WORLD_INLINE_AUTO);
	int status;
	pid_t pid;

	if (missing)
		test_skip(missing);
	pid = fork();
	if (pid == 0) {
		struct sigaction plain = { .sa_handler = SIG_DFL };
		struct plain p;

		sigaction(SIGBUS, &plain, NULL);
		map_inline(&p);
		use(&p);
		if (_i == 0)
			*beyond_a_file() = 1;
		else
			raise(SIGBUS);
		_exit(0);
	}
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert(WIFSIGNALED(status));
	ck_assert_int_eq(WTERMSIG(status), SIGBUS);
}
END_TEST

static Suite *suite(void)
{
	Suite *s = suite_create("sigbus");
	TCase *t = tcase_create("sigbus");

	tcase_add_test(t, foreign_signal_reaches_the_handler_before_ours);
	tcase_add_test(t, handler_after_ours_asks_us_first);
	tcase_add_loop_test(t, foreign_signal_without_handler_kills, 0, 2);
	suite_add_tcase(s, t);
	return s;
}

HMM_TEST_MAIN(suite)
