/* SPDX-License-Identifier: MIT */
/*
 * calibrate.c - measure what tests are made of: page faults, signals, copies, rounds of userfaultfd(2)
 *
 * Medians of short rounds: a round that another process interrupted does not count.
 */
#include "tests/calibrate.h"

#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <setjmp.h>
#include <signal.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define ROUNDS 25u
#define PAGES 64u

/* Nanoseconds on the reference machine. */
static const struct calibration reference = { .fault = 2000, .signal = 2800, .copy = 200 };

static uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

static int by_size(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

struct bench {
	size_t page;
	uint8_t *memory, *other; /* PAGES each; small pages only */
	int uffd;
};

/* Median of what round() takes, for one of its PAGES operations. */
static uint64_t median(struct bench *b, void (*prepare)(struct bench *b), void (*round)(struct bench *b))
{
	uint64_t took[ROUNDS];

	for (unsigned i = 0; i < ROUNDS; i++) {
		uint64_t begin;

		if (prepare)
			prepare(b);
		begin = now_ns();
		round(b);
		took[i] = now_ns() - begin;
	}
	qsort(took, ROUNDS, sizeof(took[0]), by_size);
	return took[ROUNDS / 2] / PAGES + 1;
}

static void drop(struct bench *b)
{
	madvise(b->memory, PAGES * b->page, MADV_DONTNEED);
}

static void touch(struct bench *b)
{
	for (unsigned i = 0; i < PAGES; i++)
		*(volatile uint8_t *)(b->memory + i * b->page) = 1;
}

static void nothing(int signal)
{
	(void)signal;
}

static void send_signals(struct bench *b)
{
	pid_t process = getpid(), thread = (pid_t)syscall(SYS_gettid);

	(void)b;
	for (unsigned i = 0; i < PAGES; i++)
		syscall(SYS_tgkill, process, thread, SIGUSR2);
}

static uint64_t signal_cost(struct bench *b)
{
	struct sigaction action = { .sa_handler = nothing }, old;
	sigset_t ours, mask;
	uint64_t cost;

	sigemptyset(&ours);
	sigaddset(&ours, SIGUSR2);
	sigaction(SIGUSR2, &action, &old);
	sigprocmask(SIG_UNBLOCK, &ours, &mask);
	cost = median(b, NULL, send_signals);
	sigprocmask(SIG_SETMASK, &mask, NULL);
	sigaction(SIGUSR2, &old, NULL);
	return cost;
}

static void copy_pages(struct bench *b)
{
	for (unsigned i = 0; i < PAGES; i++)
		memcpy(b->other + i * b->page, b->memory + i * b->page, b->page);
}

/* The handler's: where it fills, from what, and how much. */
static volatile int round_uffd;
static const uint8_t *volatile round_source;
static volatile size_t round_page;

static void fill(int signal, siginfo_t *info, void *context)
{
	struct uffdio_copy copy = {
		.dst = (uintptr_t)info->si_addr & ~(round_page - 1),
		.src = (uintptr_t)round_source,
		.len = round_page,
	};

	(void)signal;
	(void)context;
	if (ioctl(round_uffd, UFFDIO_COPY, &copy) < 0)
		_exit(1); /* a calibration that can't measure must not hang */
}

/* A userfaultfd that signals, or -1. */
static int open_uffd(struct bench *b)
{
	struct uffdio_api api = { .api = UFFD_API, .features = UFFD_FEATURE_SIGBUS };
	struct uffdio_register range = {
		.range = { .start = (uintptr_t)b->memory, .len = PAGES * b->page },
		.mode = UFFDIO_REGISTER_MODE_MISSING,
	};
	int fd = (int)syscall(SYS_userfaultfd, O_CLOEXEC | UFFD_USER_MODE_ONLY);

	if (fd >= 0 && (ioctl(fd, UFFDIO_API, &api) < 0 || ioctl(fd, UFFDIO_REGISTER, &range) < 0)) {
		close(fd);
		return -1;
	}
	return fd;
}

static uint64_t round_cost(struct bench *b)
{
	struct sigaction action = { .sa_sigaction = fill, .sa_flags = SA_SIGINFO }, old;
	uint64_t cost;

	drop(b);
	b->uffd = open_uffd(b);
	if (b->uffd < 0)
		return 0;
	round_uffd = b->uffd;
	round_source = b->other;
	round_page = b->page;
	sigaction(SIGBUS, &action, &old);
	cost = median(b, drop, touch);
	sigaction(SIGBUS, &old, NULL);
	close(b->uffd);
	return cost;
}

void calibrate(struct calibration *c)
{
	struct bench b = { .page = (size_t)sysconf(_SC_PAGESIZE) };
	size_t length = 2 * PAGES * b.page;

	memset(c, 0, sizeof(*c));
	b.memory = mmap(NULL, length, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (b.memory == MAP_FAILED)
		return;
	madvise(b.memory, length, MADV_NOHUGEPAGE);
	b.other = b.memory + PAGES * b.page;
	c->fault = median(&b, drop, touch);
	memset(b.other, 1, PAGES * b.page);
	c->copy = median(&b, NULL, copy_pages);
	c->signal = signal_cost(&b);
	c->round = round_cost(&b);
	munmap(b.memory, length);
}

static void raise_to(double *scale, uint64_t measured, uint64_t expected)
{
	if ((double)measured > *scale * (double)expected)
		*scale = (double)measured / (double)expected;
}

double calibration_scale(const struct calibration *c)
{
	double scale = 1;

	raise_to(&scale, c->fault, reference.fault);
	raise_to(&scale, c->signal, reference.signal);
	raise_to(&scale, c->copy, reference.copy);
	return scale < CALIBRATION_SCALE_MOST ? scale : CALIBRATION_SCALE_MOST;
}
