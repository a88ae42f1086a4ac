/* SPDX-License-Identifier: MIT */
/*
 * main.c - seeds, sides, and what they are compared in
 *
 *     sqlite_fuzz [--seeds N] [--seed FIRST] [--operations N] [--faults] [--verbose]
 *
 * FIRST is in the environment, too (HMM_TEST_SEED).  With --faults allocations of SQLite's and of the library's fail; then
 * there is no other side, and rows that were never written, damage and crashes are what is looked for.  --verbose tells
 * what each side does, and leaves the files of a seed that failed.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "fuzz.h"

static struct {
	uint64_t seed;
	unsigned seeds, operations;
	bool faults, verbose;
} arguments = { .seeds = 1, .operations = 120 };

static char top[64];
static uint64_t records, successes, resizes, regions, failures, deaths;

uint64_t mix(uint64_t *state)
{
	uint64_t z = *state += 0x9e3779b97f4a7c15u;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
	z = (z ^ z >> 27) * 0x94d049bb133111ebu;
	return z ^ z >> 31;
}

static struct side *new_side(uint64_t seed)
{
	struct side *s = mmap(NULL, sizeof(*s), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	if (s == MAP_FAILED)
		abort();
	s->random = seed;
	s->noperations = arguments.operations;
	s->prefer = -1;
	for (unsigned i = 0; i < PROCESSES; i++) {
		/* whoever gives a turn posts; the first has it from the start */
		sem_init(&s->turn[i], 1, i == 0);
		s->killable[i] = true;
	}
	return s;
}

static pid_t start(struct side *s, const struct options *options, unsigned number, uint64_t seed, const char *directory)
{
	pid_t pid = fork();

	if (pid)
		return pid;
	if (chdir(directory))
		abort();
	process_run(s, options, number, seed);
}

static const char *how(int status)
{
	static char text[64];

	if (WIFSIGNALED(status))
		snprintf(text, sizeof(text), "signal %d", WTERMSIG(status));
	else
		snprintf(text, sizeof(text), "exit status %d", WEXITSTATUS(status));
	return text;
}

/* To its end.  False: one of its processes did not end well, *ret_why. */
static bool run_side(struct side *s, const struct options *options, uint64_t seed, const char *directory, char *ret_why)
{
	pid_t pids[PROCESSES];
	unsigned left = PROCESSES;
	bool well = true;
	int status;

	if (mkdir(directory, 0700))
		abort();
	for (unsigned i = 0; i < PROCESSES; i++)
		pids[i] = start(s, options, i, seed, directory);
	while (left) {
		pid_t pid = wait(&status);
		unsigned i = 0;

		while (i < PROCESSES && pids[i] != pid)
			i++;
		if (i == PROCESSES)
			continue;
		if (WIFEXITED(status) && WEXITSTATUS(status) == DIED) {
			deaths++;
			s->next++;
			memset(s->locks[i], 0, sizeof(s->locks[i]));
			s->killable[i] = true;
			sem_post(&s->turn[i]); /* all but its turn is gone */
			pids[i] = start(s, options, i, seed + s->next * 1000003u, directory);
			continue;
		}
		left--;
		pids[i] = 0;
		if (!well || status == 0)
			continue;
		well = false;
		snprintf(ret_why, 512, "%s: %s in operation %u %s", options->ours ? "ours" : "stock", how(status), s->next, s->wrong);
		for (i = 0; i < PROCESSES; i++) {
			if (pids[i])
				kill(pids[i], SIGKILL);
		}
	}
	return well;
}

/* In a process of its own, with SQLite as it is. */
static bool files_well(const char *ours, const char *stock, char *ret_why)
{
	static const char *const names[] = { "0.db", "1.db", "2.db", "3.db", "copy0.db", "copy1.db", "copy2.db" };
	char *why = mmap(NULL, 512, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0), a[128], b[128];
	pid_t pid = fork();
	int status;

	if (pid == 0) {
		bool well = true;

		for (unsigned i = 0; well && i < sizeof(names) / sizeof(names[0]); i++) {
			snprintf(a, sizeof(a), "%s/%s", ours, names[i]);
			snprintf(b, sizeof(b), "%s/%s", stock ? stock : "", names[i]);
			well = sql_same(a, stock ? b : NULL, why, 512);
		}
		_exit(well ? 0 : 1);
	}
	if (waitpid(pid, &status, 0) != pid || status)
		snprintf(ret_why, 512, "%s", why[0] ? why : how(status));
	munmap(why, 512);
	return status == 0;
}

static bool same_records(const struct side *a, const struct side *b, char *ret_why)
{
	for (unsigned i = 0; i < arguments.operations; i++) {
		const struct record *x = &a->records[i], *y = &b->records[i];

		records++;
		successes += y->result == SQLITE_OK;
		if (x->result == y->result && x->hash == y->hash && x->operation == y->operation)
			continue;
		snprintf(ret_why, 512, "operation %u: result %d, hash %" PRIx64 ", and should be %d, %" PRIx64, i, x->result,
		         x->hash, y->result, y->hash);
		return false;
	}
	return true;
}

static void clean_up(const char *directory)
{
	char command[128];

	snprintf(command, sizeof(command), "rm -rf '%s'", directory);
	if (system(command))
		fprintf(stderr, "%s stays\n", directory);
}

static bool one_seed(uint64_t seed, char *ret_why)
{
	struct options ours = { .ours = true, .faults = arguments.faults, .verbose = arguments.verbose };
	struct options stock = { .verbose = arguments.verbose };
	struct side *a = new_side(seed), *b = new_side(seed);
	char mine[80], theirs[80];
	bool well;

	snprintf(mine, sizeof(mine), "%s/ours", top);
	snprintf(theirs, sizeof(theirs), "%s/stock", top);
	well = run_side(a, &ours, seed, mine, ret_why);
	if (!arguments.faults) {
		well = well && run_side(b, &stock, seed, theirs, ret_why);
		well = well && same_records(a, b, ret_why);
	}
	well = well && files_well(mine, arguments.faults ? NULL : theirs, ret_why);
	resizes += a->resizes;
	regions += a->regions;
	failures += a->failures;
	if (well || !arguments.verbose) {
		clean_up(mine);
		clean_up(theirs);
	}
	munmap(a, sizeof(*a));
	munmap(b, sizeof(*b));
	return well;
}

static void read_arguments(int argc, char **argv)
{
	const char *given = getenv("HMM_TEST_SEED");
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	arguments.seed = given ? strtoull(given, NULL, 0) : (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
	for (int i = 1; i < argc; i++) {
		if (!strcmp(argv[i], "--faults"))
			arguments.faults = true;
		else if (!strcmp(argv[i], "--verbose"))
			arguments.verbose = true;
		else if (i + 1 < argc && !strcmp(argv[i], "--seeds"))
			arguments.seeds = (unsigned)atoi(argv[++i]);
		else if (i + 1 < argc && !strcmp(argv[i], "--seed"))
			arguments.seed = strtoull(argv[++i], NULL, 0);
		else if (i + 1 < argc && !strcmp(argv[i], "--operations"))
			arguments.operations = (unsigned)atoi(argv[++i]);
	}
	if (arguments.operations > OPERATIONS_MOST)
		arguments.operations = OPERATIONS_MOST;
}

int main(int argc, char **argv)
{
	const char *base = access("/dev/shm", W_OK) ? "/var/tmp" : "/dev/shm";
	unsigned bad = 0;
	char why[512];

	read_arguments(argc, argv);
	snprintf(top, sizeof(top), "%s/hurd-mm-fuzz-XXXXXX", base);
	if (!mkdtemp(top))
		return 1;
	setenv("HURD_MM_SWAP_DIR", top, 0);
	printf("1..1\n# HMM_TEST_SEED=%" PRIu64 ", %u seeds of %u operations\n", arguments.seed, arguments.seeds,
	       arguments.operations);
	for (unsigned i = 0; i < arguments.seeds; i++) {
		fflush(stdout);
		if (one_seed(arguments.seed + i, why))
			continue;
		bad++;
		printf("# seed %" PRIu64 ": %s\n", arguments.seed + i, why);
	}
	printf("# %" PRIu64 " operations compared, %" PRIu64 " of them without error; %" PRIu64 " processes died; the budget changed %"
	       PRIu64 " times, %" PRIu64 " accesses to regions, %" PRIu64 " times no memory\n", records, successes, deaths, resizes,
	       regions, failures);
	printf("%s 1 - %s: %u of %u seeds failed\n", bad ? "not ok" : "ok", arguments.faults ?
	       "random SQL damages nothing when there is no memory" : "random SQL has the same answers", bad, arguments.seeds);
	if (!bad || !arguments.verbose)
		clean_up(top);
	return bad != 0;
}
