/* SPDX-License-Identifier: MIT */
/*
 * squeeze.c - run a program where the kernel swaps it: a memory cgroup of its own, smaller than it needs, and zram
 *
 *	squeeze --limit MIB [--high MIB] [--edge on] [--whole NAME] PROGRAM ARGUMENT...
 *
 * The program's own TAP is passed on; with --whole its end is the test.  In the end the kernel must have swapped something,
 * or nothing was tested, and that is a failure, but where the program skipped all of its cases.  What the machine lacks is the reason of a skip.  --high: throttled from there
 * on, as memory.high does.  --edge: the program may not swap, so at the limit the kernel drops files' pages, and kills it where
 * there are none; then the limit must have been reached.
 */
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bench/kernel/swap.h"

#define SWAP_BYTES ((uint64_t)1 << 30)

static int skip(const char *why)
{
	printf("1..0 # SKIP %s\n", why);
	return 0;
}

static int usage(void)
{
	fprintf(stderr, "usage: squeeze --limit MIB [--high MIB] [--edge on] [--whole NAME] PROGRAM ARGUMENT...\n");
	return 2;
}

static int set(const struct kernel_swap *swap, const char *file, const char *older, uint64_t bytes)
{
	char path[PATH_MAX + 64], text[32];
	int r;

	snprintf(text, sizeof(text), "%llu", (unsigned long long)bytes);
	snprintf(path, sizeof(path), "%s/%s", swap->cgroup, file);
	r = write_text(path, text);
	if (r == -ENOENT && older) {
		snprintf(path, sizeof(path), "%s/%s", swap->cgroup, older);
		r = write_text(path, text);
	}
	return r;
}

static unsigned long long figure(const struct kernel_swap *swap, const char *file)
{
	char path[PATH_MAX + 64], text[64];

	snprintf(path, sizeof(path), "%s/%s", swap->cgroup, file);
	return read_text(path, text, sizeof(text)) < 0 ? 0 : strtoull(text, NULL, 10);
}

/* Bytes that were in swap at the same time, or a lower bound of it. */
static unsigned long long swapped(const struct kernel_swap *swap, uint64_t limit)
{
	unsigned long long peak = figure(swap, "memory.swap.peak"), both = figure(swap, "memory.memsw.max_usage_in_bytes");

	return peak ? peak : both > limit ? both - limit : 0;
}

/* Pages that the whole machine swapped out since it was started: for kernels that don't count it for a cgroup. */
static unsigned long long swapped_out(void)
{
	unsigned long long n = 0;
	char line[128];
	FILE *f = fopen("/proc/vmstat", "re");

	while (f && fgets(line, sizeof(line), f)) {
		if (sscanf(line, "pswpout %llu", &n) == 1)
			break;
	}
	if (f)
		fclose(f);
	return n;
}

/* Version 2 says how much may be swapped; in 1 a group with a swappiness of 0 is never swapped for its own limit. */
static int forbid_swap(const struct kernel_swap *swap)
{
	return set(swap, "memory.swap.max", "memory.swappiness", 0);
}

/* How often the group was at its limit. */
static unsigned long long limited(const struct kernel_swap *swap)
{
	unsigned long long n = figure(swap, "memory.failcnt");
	char path[PATH_MAX + 64], line[128];
	FILE *f;

	if (n)
		return n;
	snprintf(path, sizeof(path), "%s/memory.events", swap->cgroup);
	f = fopen(path, "re");
	while (f && fgets(line, sizeof(line), f)) {
		if (sscanf(line, "max %llu", &n) == 1)
			break;
	}
	if (f)
		fclose(f);
	return n;
}

/* Pass a program's lines on; is one of them a case that was not skipped? */
static bool pass_on(int from)
{
	FILE *lines = fdopen(from, "r");
	bool some = false;
	char *line = NULL;
	size_t size = 0;

	while (lines && getline(&line, &size, lines) >= 0) {
		some = some || !strncmp(line, "not ok ", 7) || (!strncmp(line, "ok ", 3) && !strstr(line, "# SKIP"));
		fputs(line, stdout);
		fflush(stdout);
	}
	free(line);
	if (lines)
		fclose(lines);
	return some;
}

static int run(const struct kernel_swap *swap, char **argv, bool *ret_some)
{
	int status, ends[2];
	pid_t pid;

	fflush(stdout);
	if (pipe(ends) < 0)
		return -errno;
	pid = fork();
	if (pid == 0) {
		dup2(ends[1], STDOUT_FILENO);
		close(ends[0]);
		close(ends[1]);
		if (cgroup_enter(swap->cgroup) == 0)
			execv(argv[0], argv);
		fprintf(stderr, "squeeze: %s: %s\n", argv[0], strerror(errno));
		_exit(127);
	}
	close(ends[1]);
	*ret_some = pass_on(ends[0]);
	if (pid < 0 || waitpid(pid, &status, 0) < 0)
		return -errno;
	if (WIFSIGNALED(status))
		printf("# killed by signal %d\n", WTERMSIG(status));
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

int main(int argc, char **argv)
{
	uint64_t limit = 0, high = 0;
	const char *whole = NULL;
	bool edge = false, some = false;
	char why[TEXT_BYTES];
	struct kernel_swap swap;
	unsigned long long before, peak, at_limit;
	int i, r;

	for (i = 1; i + 1 < argc && strncmp(argv[i], "--", 2) == 0; i += 2) {
		if (strcmp(argv[i], "--limit") == 0)
			limit = strtoull(argv[i + 1], NULL, 10) << 20;
		else if (strcmp(argv[i], "--high") == 0)
			high = strtoull(argv[i + 1], NULL, 10) << 20;
		else if (strcmp(argv[i], "--edge") == 0)
			edge = true;
		else if (strcmp(argv[i], "--whole") == 0)
			whole = argv[i + 1];
		else
			return usage();
	}
	if (i >= argc || !limit)
		return usage();
	if (kernel_swap_start(&swap, SWAP_ZRAM, SWAP_BYTES, "/var/tmp", why) < 0)
		return skip(why);
	r = set(&swap, "memory.max", "memory.limit_in_bytes", limit);
	if (!r && high && set(&swap, "memory.high", NULL, high) < 0) {
		kernel_swap_stop(&swap);
		return skip("memory.high, of a cgroup of version 2 with the memory controller");
	}
	if (!r && edge)
		r = forbid_swap(&swap);
	if (r < 0) {
		kernel_swap_stop(&swap);
		return skip("a limit of a memory cgroup");
	}
	before = swapped_out();
	r = run(&swap, argv + i, &some);
	peak = swapped(&swap, limit);
	if (!edge)
		printf("# %llu KiB and more were in swap; the machine swapped out %llu pages meanwhile\n", peak >> 10,
		       swapped_out() - before);
	at_limit = limited(&swap);
	kernel_swap_stop(&swap);
	if (edge)
		printf("# was at its limit %llu times\n", at_limit);
	if ((some || whole || r) && (edge ? !at_limit : !peak && swapped_out() == before)) {
		printf("# %s: the limit is too wide to test anything\n", edge ? "never at its limit" : "nothing was swapped");
		r = r ? r : 1;
	}
	if (whole)
		printf("%sok 1 - %s\n1..1\n", r ? "not " : "", whole);
	return r;
}
