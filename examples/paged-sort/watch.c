/* SPDX-License-Identifier: MIT */
/*
 * watch.c - a thread that samples the process as the kernel sees it, and draws the bar
 *
 * VmRSS and VmHWM in /proc/self/status are the kernel's own counts of resident memory: data, window, program,
 * libraries, stacks, all of it.  VmHWM is the most there ever was, also between samples.  Nothing is subtracted.
 *
 * /proc/self/smaps_rollup, which walks the page tables, is used only before the work begins: while pages move about, a
 * walk meets some of them twice.
 */
#include <errno.h>
#include <fcntl.h>
#include <link.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "paged-sort.h"

#define SAMPLE_NS 50000000
#define BAR_SECONDS 0.1
#define BAR_WIDTH 32

static struct {
	const struct job *job;
	struct memory *memory;
	pthread_t thread;
	_Atomic bool stop;
	_Atomic int phase;
	_Atomic uint64_t done, total;
	int status_fd;
	FILE *samples;
	double began;
	uint64_t own, peak, count;
} watch;

/*
 * What the program itself needs is known only when all of it is resident: touch every page of its own segments and
 * its libraries', so that the first measurement includes what would else come later.
 */
static int touch_segments(struct dl_phdr_info *info, size_t size, void *arg)
{
	uintptr_t mask = hmm_page_size() - 1;

	(void)size, (void)arg;
	for (int i = 0; i < info->dlpi_phnum; i++) {
		const ElfW(Phdr) *segment = &info->dlpi_phdr[i];
		uintptr_t first = (info->dlpi_addr + segment->p_vaddr) & ~mask;
		uintptr_t end = (info->dlpi_addr + segment->p_vaddr + segment->p_memsz + mask) & ~mask;

		if (segment->p_type != PT_LOAD)
			continue;
#ifdef MADV_POPULATE_WRITE
		/* A segment that is read-only by now says so; then its pages are as they were. */
		if (!(segment->p_flags & PF_W) || madvise((void *)first, end - first, MADV_POPULATE_WRITE))
			madvise((void *)first, end - first, MADV_POPULATE_READ);
#endif
	}
	return 0;
}

void watch_make_resident(void)
{
	dl_iterate_phdr(touch_segments, NULL);
}

/* The figure after `key` in a file of /proc, in bytes; the file gives kilobytes. */
static uint64_t proc_value(int fd, const char *key)
{
	char text[4096];
	ssize_t n = pread(fd, text, sizeof(text) - 1, 0);
	const char *at;

	if (n <= 0)
		return 0;
	text[n] = 0;
	at = strstr(text, key);
	return at ? strtoull(at + strlen(key), NULL, 10) * 1024 : 0;
}

static int proc_open(const char *name)
{
	int fd = open(name, O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		die("cannot read %s: %s", name, strerror(errno));
	return fd;
}

static void draw(double seconds, uint64_t rss)
{
	static const char *const names[] = { "reading", "sorting", "writing" };
	uint64_t done = atomic_load_explicit(&watch.done, memory_order_relaxed);
	uint64_t total = atomic_load(&watch.total);
	int phase = atomic_load(&watch.phase);
	double part = total ? (double)done / (double)total : 0;
	char bar[BAR_WIDTH + 1];

	if (phase == PHASE_END)
		return;
	part = part > 1 ? 1 : part;
	memset(bar, '.', BAR_WIDTH);
	memset(bar, '#', (size_t)(part * BAR_WIDTH));
	bar[BAR_WIDTH] = 0;
	fprintf(stderr, "\r%-8s %s [%s] %3.0f%%  %5.1f s  RSS %6.1f MiB ", watch.job->name, names[phase], bar,
	        part * 100, seconds, (double)rss / MIB);
}

static uint64_t sample(double seconds)
{
	uint64_t rss = proc_value(watch.status_fd, "\nVmRSS:");
	struct hmm_stats stats;

	memory_stats(watch.memory, &stats);
	if (rss > watch.peak)
		watch.peak = rss;
	watch.count++;
	fprintf(watch.samples, "%.3f %.3f %llu %llu %llu %d\n", seconds, (double)rss / MIB,
	        (unsigned long long)stats.faults, (unsigned long long)(stats.loads + stats.prefetches),
	        (unsigned long long)stats.write_outs, atomic_load(&watch.phase));
	return rss;
}

static void *run(void *arg)
{
	bool bar = isatty(STDERR_FILENO);
	double drawn = 0;

	(void)arg;
	while (!atomic_load(&watch.stop)) {
		double start = now_seconds();
		uint64_t rss = sample(start - watch.began);

		if (bar && start - drawn >= BAR_SECONDS) {
			draw(start - watch.began, rss);
			drawn = start;
		}
		nanosleep(&(struct timespec){ .tv_nsec = SAMPLE_NS }, NULL);
	}
	if (bar)
		fprintf(stderr, "\r\033[K");
	return NULL;
}

void watch_start(const struct job *job, struct memory *memory)
{
	int rollup_fd = proc_open("/proc/self/smaps_rollup");
	char name[4096];

	file_name(name, sizeof(name), job->dir, job->name, ".dat");
	watch.job = job;
	watch.memory = memory;
	watch.samples = fopen(name, "we");
	if (!watch.samples)
		die("cannot write %s: %s", name, strerror(errno));
	watch.status_fd = proc_open("/proc/self/status");
	watch.began = now_seconds();
	fprintf(watch.samples, "# seconds, resident MiB, faults, pages loaded, pages written, phase\n");
	sample(0);
	watch.own = proc_value(rollup_fd, "\nRss:");
	close(rollup_fd);
	if (!watch.own)
		die("the kernel does not tell how much memory is resident");
	if (pthread_create(&watch.thread, NULL, run, NULL))
		die("no thread: %s", strerror(errno));
}

void watch_phase(enum phase phase, uint64_t total)
{
	atomic_store(&watch.phase, phase);
	atomic_store(&watch.total, total);
	atomic_store(&watch.done, 0);
}

void watch_done(uint64_t done)
{
	atomic_store_explicit(&watch.done, done, memory_order_relaxed);
}

void watch_stop(struct result *result)
{
	watch_phase(PHASE_END, 0);
	atomic_store(&watch.stop, true);
	pthread_join(watch.thread, NULL);
	sample(now_seconds() - watch.began);
	result->own = watch.own;
	result->peak_sample = watch.peak;
	result->peak = proc_value(watch.status_fd, "\nVmHWM:");
	result->samples = watch.count;
	if (fclose(watch.samples) || !result->peak)
		die("cannot record the samples: %s", strerror(errno));
	close(watch.status_fd);
}
