/* SPDX-License-Identifier: MIT */
/*
 * run.c - one run of a program: what it prints, how long it takes, how many pages it moves
 *
 * R1  A run that does not end within PATIENCE is killed and reported.
 * R2  Transfers are the space's own count (HURD_MM_STATS), or the kernel's pswpin and pswpout of the whole machine while
 *     the program ran.
 * R3  Memory of its own is what a cgroup would charge: anonymous pages, whoever manages them, and page tables.  Pages of
 *     files are not counted: other processes share them, and a cgroup is charged only for those it was the first to use.
 *     It is looked at every GLANCE ms.
 */
#include "bench/gc/compare.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "bench/kernel/cgroup.h"

#define PATIENCE 240.0
#define SAID_BYTES 8192
#define GLANCE 4

const char *const impl_names[IMPLS] = { "plain", "hurd-mm-gc", "hurd-mm-lru", "hurd-mm-gc-thread", "swap-zram" };

struct pipe_end {
	int fd;
	char *text;
	size_t used, size;
};

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* A line "NAME value" in a file of the kernel's; 0 if there is none. */
static uint64_t kernel_count(const char *path, const char *name)
{
	FILE *file = fopen(path, "re");
	char word[64];
	unsigned long long value, found = 0;

	while (file && fscanf(file, "%63s %llu", word, &value) == 2) {
		if (strcmp(word, name) == 0)
			found = value;
	}
	if (file)
		fclose(file);
	return found;
}

static uint64_t swapped(void)
{
	return kernel_count("/proc/vmstat", "pswpin") + kernel_count("/proc/vmstat", "pswpout");
}

/* What a program says of itself: "WHO: NAME value" on standard error; 0 if it does not. */
static uint64_t said_count(const char *said, const char *who, const char *name)
{
	for (const char *line = said; line && *line; line = strchr(line, '\n') ? strchr(line, '\n') + 1 : NULL) {
		char a[32], b[32];
		unsigned long long value;

		if (sscanf(line, "%31s %31s %llu", a, b, &value) == 3 && strcmp(a, who) == 0 && strcmp(b, name) == 0)
			return value;
	}
	return 0;
}

static void set_environment(const struct job *job, enum impl impl)
{
	char bytes[32];

	if (impl == IMPL_PLAIN || impl == IMPL_ZRAM)
		return;
	snprintf(bytes, sizeof(bytes), "%lluK", (unsigned long long)job->budget >> 10);
	setenv("LD_PRELOAD", job->preload, 1);
	setenv("HURD_MM_MEMORY", bytes, 1);
	setenv("HURD_MM_STATS", "1", 1);
	setenv("HURD_MM_SWAP", "cached", 1); /* stays in memory, as zram does */
	setenv("HURD_MM_POLICY", impl == IMPL_LRU ? "lru" : "", 1);
	setenv("HURD_MM_GC", impl == IMPL_LRU ? "none" : "all", 1);
	setenv("HURD_MM_DELIVERY", impl == IMPL_THREAD ? "thread" : "inline", 1);
	if (job->directory)
		setenv("HURD_MM_SWAP_DIR", job->directory, 1);
}

/* In the child: never returns. */
static void become(const struct job *job, enum impl impl, const char *cgroup, const int out[2], const int err[2])
{
	int r = 0;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	set_environment(job, impl);
	if (impl == IMPL_ZRAM) {
		r = cgroup_enter(cgroup);
		r = r < 0 ? r : cgroup_allow(cgroup, job->limit);
	}
	if (r < 0 || dup2(out[1], STDOUT_FILENO) < 0 || dup2(err[1], STDERR_FILENO) < 0)
		_exit(126);
	execvp(job->argv[0], job->argv);
	_exit(127);
}

static uint64_t memory_of(pid_t pid)
{
	char path[32], line[128];
	unsigned long long kib, sum = 0;
	FILE *file;

	snprintf(path, sizeof(path), "/proc/%d/status", (int)pid);
	file = fopen(path, "re");
	while (file && fgets(line, sizeof(line), file)) {
		if (sscanf(line, "RssAnon: %llu", &kib) == 1 || sscanf(line, "VmPTE: %llu", &kib) == 1)
			sum += kib << 10;
	}
	if (file)
		fclose(file);
	return sum;
}

/* Until both pipes are closed at the other end; false: it took too long. */
static bool listen_to(struct pipe_end ends[2], double until, pid_t pid, uint64_t *peak)
{
	for (;;) {
		uint64_t memory = memory_of(pid);

		struct pollfd ready[2] = { { .fd = ends[0].fd, .events = POLLIN }, { .fd = ends[1].fd, .events = POLLIN } };
		double left = until - now();

		*peak = memory > *peak ? memory : *peak;
		if (ends[0].fd < 0 && ends[1].fd < 0)
			return true;
		if (left <= 0)
			return false;
		if (poll(ready, 2, GLANCE) < 0 && errno != EINTR)
			return false;
		for (int i = 0; i < 2; i++) {
			char spill[512];
			size_t room = ends[i].size - 1 - ends[i].used;
			ssize_t n;

			if (ends[i].fd < 0 || !ready[i].revents)
				continue;
			n = read(ends[i].fd, room ? ends[i].text + ends[i].used : spill, room ? room : sizeof(spill));
			if (n <= 0) {
				close(ends[i].fd);
				ends[i].fd = -1;
			} else if (room) {
				ends[i].used += (size_t)n;
			}
		}
	}
}

static void settle(struct run *run, enum impl impl, const char *said, int status, uint64_t swaps)
{
	if (WIFSIGNALED(status))
		snprintf(run->why, TEXT_BYTES, "ended by signal %d", WTERMSIG(status));
	else if (WEXITSTATUS(status))
		snprintf(run->why, TEXT_BYTES, "ended with status %d: %.100s", WEXITSTATUS(status), said);
	else if (impl != IMPL_PLAIN && impl != IMPL_ZRAM && !said_count(said, "hurd-mm:", "frames"))
		snprintf(run->why, TEXT_BYTES, "ran unpaged: %.100s", said);
	else
		run->is_done = true;
	run->heap = said_count(said, "gcbench:", "heap");
	run->collections = said_count(said, "gcbench:", "collections");
	if (impl == IMPL_ZRAM)
		run->transfers = swaps;
	else
		run->transfers = said_count(said, "hurd-mm:", "loads") + said_count(said, "hurd-mm:", "prefetches") +
		                 said_count(said, "hurd-mm:", "write_outs");
}

void run_once(const struct job *job, enum impl impl, const char *cgroup, struct run *run)
{
	static char said[SAID_BYTES];
	int out[2], err[2], status = 0;
	uint64_t swaps = swapped();
	double begin = now();
	struct pipe_end ends[2];
	bool in_time;
	pid_t pid;

	*run = (struct run){ .seconds = 0 };
	memset(said, 0, sizeof(said));
	if (pipe2(out, O_CLOEXEC) < 0 || pipe2(err, O_CLOEXEC) < 0 || (pid = fork()) < 0) {
		snprintf(run->why, TEXT_BYTES, "%s", strerror(errno));
		return;
	}
	if (pid == 0)
		become(job, impl, cgroup, out, err);
	close(out[1]);
	close(err[1]);
	ends[0] = (struct pipe_end){ out[0], run->answer, 0, sizeof(run->answer) };
	ends[1] = (struct pipe_end){ err[0], said, 0, sizeof(said) };
	in_time = listen_to(ends, begin + PATIENCE, pid, &run->peak);
	if (!in_time)
		kill(pid, SIGKILL);
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	for (int i = 0; i < 2; i++) {
		if (ends[i].fd >= 0)
			close(ends[i].fd);
	}
	run->seconds = now() - begin;
	settle(run, impl, said, status, swapped() - swaps);
	run->is_killed = in_time && WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL;
	if (!in_time)
		snprintf(run->why, TEXT_BYTES, "not ready after %.0f s: killed", PATIENCE);
}
