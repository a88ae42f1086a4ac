/* SPDX-License-Identifier: MIT */
/*
 * process.c - one open implementation in a process of its own, which runs when it is told to
 *
 * Threads are pinned, each to a processor of its own as long as there are enough.  A process dies with its parent; one
 * that does not answer in time is killed.
 */
#include "bench/cache/process.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define PATIENCE_SECONDS 60
#define FILL_SECONDS 5

struct state {
	const struct impl *impl;
	struct setup setup;
	void *context;
	struct worker workers[MAX_THREADS];
	int written;
};

uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static void sleep_ns(uint64_t ns)
{
	struct timespec t = { (time_t)(ns / 1000000000u), (long)(ns % 1000000000u) };

	while (nanosleep(&t, &t) < 0 && errno == EINTR)
		;
}

/* ---- in the child ---- */

static int init_workers(struct state *s)
{
	uint32_t lines = (uint32_t)(s->setup.page_size / LINE_BYTES);

	for (unsigned t = 0; t < MAX_THREADS; t++) {
		struct worker *w = &s->workers[t];
		size_t versions = s->setup.npages * sizeof(uint32_t);

		w->context = s->context;
		w->setup = &s->setup;
		w->keys = s->setup.keys[t];
		w->line_mask = lines - 1;
		w->thread = t;
		w->versions = mmap(NULL, versions, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE,
		                   -1, 0);
		w->buffer = aligned_alloc(4096, s->setup.page_size < 4096 ? 4096 : s->setup.page_size);
		w->places = mmap(NULL, s->setup.npages * sizeof(*w->places), PROT_READ | PROT_WRITE,
		                 MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
		if (w->versions == MAP_FAILED || w->places == MAP_FAILED || !w->buffer)
			return -ENOMEM;
	}
	return 0;
}

/* The nth processor that this process may use, round and round. */
static void pin_thread(unsigned n)
{
	cpu_set_t allowed, one;
	int count, cpu = 0;

	if (sched_getaffinity(0, sizeof(allowed), &allowed) < 0)
		return;
	count = CPU_COUNT(&allowed);
	for (int left = (int)n % count;; cpu++)
		if (CPU_ISSET(cpu, &allowed) && left-- == 0)
			break;
	CPU_ZERO(&one);
	CPU_SET(cpu, &one);
	pthread_setaffinity_np(pthread_self(), sizeof(one), &one);
}

struct job {
	struct state *state;
	enum mode mode;
	unsigned thread;
	pthread_t id;
};

static void *work(void *arg)
{
	struct job *job = arg;

	pin_thread(job->thread);
	job->state->impl->loop[job->mode](&job->state->workers[job->thread]);
	return NULL;
}

static uint64_t total(struct state *s, unsigned threads)
{
	uint64_t sum = 0;

	for (unsigned t = 0; t < threads; t++)
		sum += atomic_load_explicit(&s->workers[t].accesses, memory_order_relaxed);
	return sum;
}

static void measure(struct state *s, const struct order *order, struct sample *sample)
{
	struct counters before, after;
	uint64_t accesses, start;

	sleep_ns((uint64_t)(order->warm * 1e9));
	s->impl->counters(s->context, &before);
	accesses = total(s, order->threads);
	start = now_ns();
	sleep_ns((uint64_t)(order->seconds * 1e9));
	sample->accesses = total(s, order->threads) - accesses;
	sample->seconds = (double)(now_ns() - start) / 1e9;
	s->impl->counters(s->context, &after);
	sample->counters.misses = after.misses - before.misses;
	sample->counters.writes = after.writes - before.writes;
}

static void run(struct state *s, const struct order *order, struct sample *sample)
{
	struct job jobs[MAX_THREADS];
	_Atomic int stop = 0;
	unsigned started = 0;

	s->written |= order->mode == MODE_MIX;
	for (; started < order->threads && sample->error == 0; started++) {
		struct worker *w = &s->workers[started];

		w->stop = &stop;
		w->bad = 0;
		w->error = 0;
		atomic_store(&w->accesses, 0);
		jobs[started] = (struct job){ .state = s, .mode = order->mode, .thread = started };
		sample->error = -pthread_create(&jobs[started].id, NULL, work, &jobs[started]);
		if (sample->error)
			break;
	}
	if (sample->error == 0)
		measure(s, order, sample);
	atomic_store(&stop, 1);
	for (unsigned t = 0; t < started; t++) {
		pthread_join(jobs[t].id, NULL);
		sample->bad += s->workers[t].bad;
		if (s->workers[t].error)
			sample->error = s->workers[t].error;
	}
}

/* All pages once, in order, so that what fits is there; or for a while. */
static int fill(struct state *s)
{
	size_t bytes = STREAM_KEYS * sizeof(uint32_t);
	uint32_t *keys = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	struct job job = { .state = s, .mode = MODE_READ };
	struct worker *w = &s->workers[0];
	uint64_t start = now_ns();
	_Atomic int stop = 0;
	int r;

	if (keys == MAP_FAILED)
		return -ENOMEM;
	for (uint32_t i = 0; i < STREAM_KEYS; i++)
		keys[i] = i % s->setup.npages;
	w->stop = &stop;
	w->keys = keys;
	r = -pthread_create(&job.id, NULL, work, &job);
	while (r == 0 && !w->error && atomic_load(&w->accesses) < s->setup.npages &&
	       now_ns() - start < FILL_SECONDS * UINT64_C(1000000000))
		sleep_ns(1000000);
	atomic_store(&stop, 1);
	if (r == 0)
		pthread_join(job.id, NULL);
	w->keys = s->setup.keys[0];
	w->position = 0;
	munmap(keys, bytes);
	return r ? r : w->error ? w->error : w->bad ? -EBADMSG : 0;
}

static uint64_t wrong_in_file(struct state *s)
{
	uint8_t *page = s->workers[0].buffer;
	size_t size = s->setup.page_size;
	uint64_t wrong = 0;

	for (uint32_t i = 0; s->written && i < s->setup.npages; i++) {
		uint64_t bad = pread(s->setup.fd, page, size, (off_t)((uint64_t)i * size)) != (ssize_t)size;

		bad |= stamp_all_wrong(page, size, i);
		for (unsigned t = 0; t < MAX_THREADS; t++)
			bad |= *stamp_version(page, t) != s->workers[t].versions[i];
		wrong += bad;
	}
	return wrong;
}

static void child(const struct process *process, int socket)
{
	static struct state s;
	struct sample sample = { 0 };
	struct order order = { .threads = 1 };

	s.impl = process->impl;
	s.setup = process->setup;
	sample.error = s.impl->open(&s.setup, &s.context, sample.why);
	if (sample.error == 0)
		sample.error = init_workers(&s);
	if (sample.error == 0)
		sample.error = fill(&s);
	while (write(socket, &sample, sizeof(sample)) == sizeof(sample) && sample.error == 0 && order.threads > 0) {
		if (read(socket, &order, sizeof(order)) != sizeof(order))
			break;
		memset(&sample, 0, sizeof(sample));
		if (order.threads > 0) {
			run(&s, &order, &sample);
		} else {
			sample.error = s.impl->close(s.context);
			sample.bad = sample.error ? 0 : wrong_in_file(&s);
		}
	}
	_exit(0);
}

/* ---- in the parent ---- */

static void end(struct process *process)
{
	kill(process->pid, SIGKILL);
	while (waitpid(process->pid, NULL, 0) < 0 && errno == EINTR)
		;
	close(process->socket);
	process->pid = 0;
}

static int receive(struct process *process, struct sample *sample, double seconds)
{
	struct pollfd ready = { .fd = process->socket, .events = POLLIN };
	int n = poll(&ready, 1, (int)(seconds * 1000));

	if (n == 1 && read(process->socket, sample, sizeof(*sample)) == sizeof(*sample) && sample->error == 0)
		return 0;
	if (n == 1 && sample->error)
		snprintf(process->why, TEXT_BYTES, "%.120s%s%s", sample->why, sample->why[0] ? ": " : "",
		         strerror(-sample->error));
	else
		snprintf(process->why, TEXT_BYTES, n == 0 ? "no answer: killed" : "ended unexpectedly");
	end(process);
	process->failed = 1;
	return -EIO;
}

void process_open(struct process *process)
{
	pid_t parent = getpid();
	struct sample sample = { 0 };
	int ends[2];

	if (process->skipped || socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) < 0)
		return;
	process->pid = fork();
	if (process->pid == 0) {
		signal(SIGINT, SIG_IGN);
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (getppid() != parent)
			_exit(1);
		close(ends[0]);
		child(process, ends[1]);
	}
	close(ends[1]);
	process->socket = ends[0];
	if (process->pid < 0) {
		snprintf(process->why, TEXT_BYTES, "fork: %s", strerror(errno));
		process->pid = 0;
		process->failed = 1;
		close(ends[0]);
		return;
	}
	/* What can't be opened is missing here; what goes wrong later is a defect. */
	if (receive(process, &sample, PATIENCE_SECONDS) < 0 &&
	    (sample.error == -ENOTSUP || sample.error == -EPERM || process->setup.cgroup)) {
		process->failed = 0;
		process->skipped = 1;
	}
}

int process_run(struct process *process, const struct order *order, struct sample *ret_sample)
{
	memset(ret_sample, 0, sizeof(*ret_sample));
	(void)!send(process->socket, order, sizeof(*order), MSG_NOSIGNAL);
	return receive(process, ret_sample, order->warm + order->seconds + PATIENCE_SECONDS);
}

uint64_t process_close(struct process *process)
{
	struct order order = { .threads = 0 };
	struct sample sample;

	if (!process->pid || process_run(process, &order, &sample) < 0)
		return 0;
	end(process);
	return sample.bad;
}
