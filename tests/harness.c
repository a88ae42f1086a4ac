/* SPDX-License-Identifier: MIT */
/*
 * harness.c - run a Check suite, print TAP
 *
 * Check writes TAP by itself but knows no skips.  So a test skips by failing with a message that begins with a mark,
 * and Check's TAP goes to a temporary file and comes out line by line, with the marked failures turned into skips.
 */
#include "tests/harness.h"

#include <inttypes.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#define SKIP_MARK "[skip] "
#define CASE_SECONDS 60 /* on the reference machine, where most take less than one */

/* The result before this one, and the number of its run where a loop test runs several times. */
struct last {
	char tcase[64], name[96];
	int nth;
};

void test_skip(const char *missing)
{
	ck_abort_msg(SKIP_MARK "%s", missing);
}

uint64_t test_seed(void)
{
	const char *given = getenv("HMM_TEST_SEED");
	struct timespec now;
	uint64_t seed;

	clock_gettime(CLOCK_REALTIME, &now);
	seed = given ? strtoull(given, NULL, 0) : (uint64_t)now.tv_sec * 1000003 ^ (uint64_t)now.tv_nsec;
	printf("# HMM_TEST_SEED=%" PRIu64 "\n", seed);
	fflush(stdout);
	return seed;
}

/* "case: name", and the number of its run from the second on. */
static void print_name(struct last *last, const char *tcase, const char *name)
{
	last->nth = strcmp(name, last->name) == 0 && strcmp(tcase, last->tcase) == 0 ? last->nth + 1 : 0;
	strcpy(last->name, name);
	strcpy(last->tcase, tcase);
	printf("%s: %s", tcase, name);
	if (last->nth > 0)
		printf(" (%d)", last->nth);
}

/* One line of Check's TAP, most of which are "ok 3 - file.c:case:name: message".  Returns 1 if a test failed. */
static int print_line(const char *line, struct last *last)
{
	char verdict[8], where[128], tcase[64], name[96];
	const char *message;
	int fields, number, end = 0, failed, skipped;

	fields = sscanf(line, "%7[a-z ]%d - %127[^:]:%63[^:]:%95[^:]: %n", verdict, &number, where, tcase, name, &end);
	if (fields != 5 || !end) {
		printf(strncmp(line, "1..", 3) == 0 ? "%s" : "# %s", line);
		return 0;
	}
	message = line + end;
	skipped = strncmp(message, SKIP_MARK, strlen(SKIP_MARK)) == 0;
	failed = strncmp(verdict, "not", 3) == 0 && !skipped;
	printf("%s %d - ", failed ? "not ok" : "ok", number);
	print_name(last, tcase, name);
	if (failed)
		printf("\n# %s: %s", where, message);
	else if (skipped)
		printf(" # SKIP %s", message + strlen(SKIP_MARK));
	else
		printf("\n");
	return failed;
}

/* Returns the number of tests that failed. */
static int print_tap(FILE *tap)
{
	struct last last = { .nth = 0 };
	char *line = NULL;
	size_t room = 0;
	int failed = 0;

	while (getline(&line, &room, tap) > 0)
		failed += print_line(line, &last);
	free(line);
	fflush(stdout);
	return failed;
}

/* Tests that crash on purpose leave nothing behind. */
static void no_core_dumps(void)
{
	struct rlimit none = { 0, 0 };

	setrlimit(RLIMIT_CORE, &none);
}

static pid_t runner_pid;

/* Check puts each test in a process group of its own: should this program be killed, its test shall not run on. */
static void die_with_parent(void)
{
	if (getppid() == runner_pid)
		prctl(PR_SET_PDEATHSIG, SIGKILL);
}

int test_main(Suite *(*make)(void))
{
	char path[] = "/tmp/hurd-mm-test-XXXXXX", limit[16];
	int fd = mkstemp(path), failed;
	FILE *tap = fd < 0 ? NULL : fdopen(fd, "r");
	SRunner *runner;

	if (!tap) {
		perror("harness");
		return 99;
	}
	no_core_dumps();
	runner_pid = getpid();
	pthread_atfork(NULL, NULL, die_with_parent);
	snprintf(limit, sizeof(limit), "%u", test_patience(CASE_SECONDS));
	setenv("CK_DEFAULT_TIMEOUT", limit, 0);
	unsetenv("CK_TAP_LOG_FILE_NAME");
	runner = srunner_create(make());
	srunner_set_tap(runner, path);
	srunner_run_all(runner, CK_SILENT);
	srunner_free(runner);
	failed = print_tap(tap);
	fclose(tap);
	unlink(path);
	return failed ? 1 : 0;
}
