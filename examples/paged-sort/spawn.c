/* SPDX-License-Identifier: MIT */
/*
 * spawn.c - other processes: a run, and sort(1), which says what is right
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "paged-sort.h"

extern char **environ;

static int start_and_wait(const char *program, char *const *argv, char *const *env)
{
	pid_t pid;
	int status, error = posix_spawnp(&pid, program, NULL, NULL, argv, env);

	if (error)
		die("cannot run %s: %s", program, strerror(error));
	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			die("cannot wait for %s: %s", program, strerror(errno));
	return status;
}

/* The same program again, as a run: main.c knows these arguments. */
bool spawn_run(const struct job *job, struct result *ret_result)
{
	char numbers[6][24];
	uint64_t values[6] = { job->bytes, job->lines, job->budget, job->delivery, job->direct, 0 };
	char *argv[] = { (char *)"paged-sort", (char *)"--run", (char *)job->name, (char *)job->dir, numbers[0],
		         numbers[1], numbers[2], numbers[3], numbers[4], numbers[5], NULL };
	int ends[2], status;
	ssize_t n;

	if (pipe(ends) || fcntl(ends[0], F_SETFD, FD_CLOEXEC))
		die("no pipe: %s", strerror(errno));
	values[5] = (uint64_t)ends[1];
	for (int i = 0; i < 6; i++)
		snprintf(numbers[i], sizeof(numbers[i]), "%llu", (unsigned long long)values[i]);
	status = start_and_wait("/proc/self/exe", argv, environ);
	close(ends[1]);
	n = read(ends[0], ret_result, sizeof(*ret_result));
	close(ends[0]);
	if (WIFSIGNALED(status))
		fprintf(stderr, "\npaged-sort: the run of %s ended by signal %d (%s)\n", job->name, WTERMSIG(status),
		        strsignal(WTERMSIG(status)));
	return status == 0 && n == sizeof(*ret_result);
}

double spawn_reference(const char *dir)
{
	char input[4096], output[4096];
	char *argv[] = { (char *)"sort", (char *)"-T", (char *)dir, (char *)"-o", output, input, NULL };
	double start = now_seconds();
	size_t n = 0;
	char **env;

	while (environ[n])
		n++;
	env = calloc(n + 2, sizeof(*env));
	if (!env)
		die("no memory");
	env[0] = (char *)"LC_ALL=C"; /* the first of a name counts */
	memcpy(env + 1, environ, n * sizeof(*env));
	file_name(input, sizeof(input), dir, "input", ".txt");
	file_name(output, sizeof(output), dir, "expected", ".txt");
	if (start_and_wait("sort", argv, env))
		die("sort failed on %s", input);
	free(env);
	return now_seconds() - start;
}

/* Are dir/name.txt and dir/expected.txt the same, byte by byte? */
bool spawn_compare(const char *dir, const char *name)
{
	static char a[1 << 16], b[1 << 16];
	char names[2][4096];
	FILE *files[2];
	size_t na, nb;
	bool same = true;

	file_name(names[0], sizeof(names[0]), dir, "expected", ".txt");
	file_name(names[1], sizeof(names[1]), dir, name, ".txt");
	for (int i = 0; i < 2; i++)
		if (!(files[i] = fopen(names[i], "re")))
			die("cannot read %s: %s", names[i], strerror(errno));
	do {
		na = fread(a, 1, sizeof(a), files[0]);
		nb = fread(b, 1, sizeof(b), files[1]);
		same = na == nb && memcmp(a, b, na) == 0;
	} while (same && na);
	same = same && !ferror(files[0]) && !ferror(files[1]);
	fclose(files[0]);
	fclose(files[1]);
	return same;
}
