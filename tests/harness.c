/* SPDX-License-Identifier: MIT */
/*
 * harness.c - run a Check suite, print TAP
 *
 * Check writes TAP by itself but knows no skips.  So its TAP goes to a temporary file and comes out line by line, with
 * the skips filled in that the tests noted in shared memory (they run in forked children).
 */
#include "tests/harness.h"

#include <inttypes.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#define MAX_SKIPS 512

struct skip {
	char tcase[64];
	char function[96]; /* as __func__ says: the test's name and "_fn" */
	int iteration;     /* -1: any */
	char missing[160];
};

struct skips {
	atomic_uint count;
	struct skip entries[MAX_SKIPS];
};

static struct skips *skips;

void test_note_skip(const char *function, int iteration, const char *missing)
{
	unsigned i = atomic_fetch_add(&skips->count, 1);

	if (i >= MAX_SKIPS) {
		fprintf(stderr, "too many skipped tests\n");
		abort();
	}
	snprintf(skips->entries[i].tcase, sizeof(skips->entries[i].tcase), "%s", tcase_name());
	snprintf(skips->entries[i].function, sizeof(skips->entries[i].function), "%s", function);
	snprintf(skips->entries[i].missing, sizeof(skips->entries[i].missing), "%s", missing);
	skips->entries[i].iteration = iteration;
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

/* What the test `name` of a case said that it lacks at its nth run, or NULL. */
static const char *skip_lookup(const char *tcase, const char *name, int nth)
{
	unsigned count = atomic_load(&skips->count);
	size_t length = strlen(name);

	for (unsigned i = 0; i < count; i++) {
		const struct skip *skip = &skips->entries[i];

		if ((skip->iteration == nth || skip->iteration == -1) && strcmp(skip->tcase, tcase) == 0 &&
		    strncmp(skip->function, name, length) == 0 && strcmp(skip->function + length, "_fn") == 0)
			return skip->missing;
	}
	return NULL;
}

/* The result before this one, and the number of its run where a loop test runs several times. */
struct last {
	char tcase[64], name[96];
	int nth;
};

/* One result of Check's: "ok 3 - file.c:case:name: message".  Returns 0 if the line is something else. */
static int print_result(const char *line, struct last *last)
{
	char verdict[8], where[64], tcase[64], name[96];
	const char *missing;
	int number, end = 0;

	if (sscanf(line, "%7[a-z ]%d - %63[^:]:%63[^:]:%95[^:]: %n", verdict, &number, where, tcase, name, &end) != 5 ||
	    !end)
		return 0;
	verdict[strlen(verdict) - 1] = '\0'; /* the blank before the number */
	last->nth = strcmp(name, last->name) == 0 && strcmp(tcase, last->tcase) == 0 ? last->nth + 1 : 0;
	strcpy(last->name, name);
	strcpy(last->tcase, tcase);
	missing = skip_lookup(tcase, name, last->nth);
	printf("%s %d - %s: %s", verdict, number, tcase, name);
	if (last->nth > 0)
		printf(" (%d)", last->nth);
	if (strcmp(verdict, "ok") != 0)
		printf("\n# %s: %s", where, line + end);
	else if (missing)
		printf(" # SKIP %s\n", missing);
	else
		printf("\n");
	return 1;
}

static void print_tap(FILE *tap)
{
	struct last last = { .nth = 0 };
	char *line = NULL;
	size_t room = 0;

	while (getline(&line, &room, tap) > 0) {
		if (print_result(line, &last))
			continue;
		if (strncmp(line, "1..", 3) == 0)
			fputs(line, stdout);
		else
			printf("# %s", line);
	}
	free(line);
	fflush(stdout);
}

/* Tests that crash on purpose leave nothing behind. */
static void no_core_dumps(void)
{
	struct rlimit none = { 0, 0 };

	setrlimit(RLIMIT_CORE, &none);
}

int test_main(Suite *(*make)(void))
{
	char path[] = "/tmp/hurd-mm-test-XXXXXX";
	int fd = mkstemp(path), failed;
	SRunner *runner;
	FILE *tap;

	skips = mmap(NULL, sizeof(*skips), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (skips == MAP_FAILED || fd < 0) {
		perror("harness");
		return 99;
	}
	no_core_dumps();
	setenv("CK_DEFAULT_TIMEOUT", "60", 0);
	unsetenv("CK_TAP_LOG_FILE_NAME");
	runner = srunner_create(make());
	srunner_set_tap(runner, path);
	srunner_run_all(runner, CK_SILENT);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	tap = fdopen(fd, "r");
	if (!tap) {
		perror("harness");
		return 99;
	}
	print_tap(tap);
	fclose(tap);
	unlink(path);
	return failed ? 1 : 0;
}
