/* SPDX-License-Identifier: MIT */
/*
 * workload.c - the measured loop, the same for every implementation
 *
 * W1  The first thing an access does is what it is for: a write begins with an exchange of the thread's version word,
 *     so that it traps as a write, and still sees what the page held.
 * W2  Every access checks the tag, one random word that changes from access to access, and the version that this
 *     thread wrote last: a page that is wrong, stale, or lost a write is counted in `bad`.
 * W3  The loop's own data is locked in memory and touched before: it takes no part in the paging.
 */
#include "bench/fault/workload.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#define BATCH 32u /* keys drawn at a time; sequential: 128 KiB */

struct worker {
	_Alignas(64) _Atomic uint64_t accesses;
	uint64_t bad;
	struct workload *w;
	const struct load *load;
	_Atomic int *stop;
	unsigned thread;
	int error;
	pthread_t id;
};

uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static inline unsigned access_page(struct workload *w, uint8_t *memory, uint32_t page, unsigned thread, int write,
                                   uint64_t turn)
{
	_Atomic uint64_t *version = content_version(memory, w->number, thread);
	uint32_t *expected = &w->versions[thread][page];
	const volatile uint64_t *words = (const volatile uint64_t *)memory;
	unsigned line = (unsigned)(turn % PAGE_LINES);
	uint64_t found;
	int wrong;

	if (write)
		found = atomic_exchange_explicit(version, *expected + 1, memory_order_relaxed);
	else
		found = atomic_load_explicit(version, memory_order_relaxed);
	wrong = found != *expected && !w->impl->lossy;
	if (write)
		*expected += 1;
	wrong |= words[0] != content_tag(page);
	wrong |= words[line * LINE_WORDS + RANDOM_WORD] != content_word(page, line, 0);
	return wrong != 0;
}

/* Sequential: every thread walks its own share of the pages, over and over. */
static void walk_share(struct worker *worker, uint32_t *keys, uint32_t *position, uint64_t *random)
{
	uint32_t npages = worker->w->npages, threads = worker->load->threads;
	uint32_t first = (uint32_t)((uint64_t)npages * worker->thread / threads) / BATCH * BATCH;
	uint32_t end = (uint32_t)((uint64_t)npages * (worker->thread + 1) / threads) / BATCH * BATCH;

	if (*position < first || *position >= end)
		*position = first;
	for (unsigned i = 0; i < BATCH; i++) {
		keys[i] = *position + i;
		if ((xorshift(random) >> 32) % 100 < WRITE_PERCENT)
			keys[i] |= KEY_WRITE;
	}
	*position += BATCH;
}

static void *work(void *arg)
{
	struct worker *worker = arg;
	struct workload *w = worker->w;
	const struct load *load = worker->load;
	const uint32_t *stream = w->streams->keys[load->pattern][worker->thread];
	uint32_t position = w->cursor[worker->thread], drawn[BATCH];
	uint64_t random = content_mix(worker->thread + 1) | 1, turn = 0;

	if (w->impl->thread_start)
		worker->error = w->impl->thread_start(w->context, worker->thread);
	while (!worker->error && !atomic_load_explicit(worker->stop, memory_order_relaxed)) {
		const uint32_t *keys = drawn;
		uint8_t *shown = NULL;

		if (load->pattern == PATTERN_SEQUENTIAL) {
			walk_share(worker, drawn, &position, &random);
		} else {
			position = position >= STREAM_KEYS ? 0 : position / BATCH * BATCH;
			keys = stream + position;
			position += BATCH;
		}
		if (w->impl->fetch) {
			shown = w->impl->fetch(w->context, worker->thread, KEY_PAGE(keys[0]), BATCH);
			if (!shown) {
				worker->error = -EIO;
				break;
			}
		}
		for (unsigned i = 0; i < BATCH; i++) {
			uint32_t page = KEY_PAGE(keys[i]);
			uint8_t *memory = shown ? shown + (size_t)i * PAGE_BYTES :
			                          w->base + (size_t)page * PAGE_BYTES;
			int write = load->op == OP_MIX && (keys[i] & KEY_WRITE);

			worker->bad += access_page(w, memory, page, worker->thread, write, turn);
			atomic_store_explicit(&worker->accesses, ++turn, memory_order_relaxed);
		}
	}
	w->cursor[worker->thread] = position;
	return NULL;
}

static uint64_t total_accesses(const struct worker *workers, unsigned n)
{
	uint64_t sum = 0;

	for (unsigned i = 0; i < n; i++)
		sum += atomic_load_explicit(&workers[i].accesses, memory_order_relaxed);
	return sum;
}

static void sleep_ns(uint64_t ns)
{
	struct timespec t = { (time_t)(ns / 1000000000u), (long)(ns % 1000000000u) };

	while (nanosleep(&t, &t) < 0 && errno == EINTR)
		;
}

/* Run until the resident pages have been exchanged once, or hardly any is missing any more, or the time is up. */
static void warm_up(struct workload *w, const struct load *load, const struct worker *workers)
{
	uint64_t start = now_ns(), limit = (uint64_t)(load->warm * 1e9), misses, accesses = 0;
	struct counters first, now;

	w->impl->counters(w->context, &first);
	now = first;
	do {
		uint64_t misses_before = now.misses, accesses_before = accesses;

		sleep_ns(5000000);
		w->impl->counters(w->context, &now);
		accesses = total_accesses(workers, load->threads);
		if (((now.misses - first.misses) + (now.prefetches - first.prefetches)) << w->page_shift >= w->budget)
			break;
		misses = now.misses - misses_before;
		if (accesses > 2ull * w->npages && misses * 1000 < accesses - accesses_before)
			break;
	} while (now_ns() - start < limit);
}

static void counters_subtract(struct counters *a, const struct counters *b)
{
	a->misses -= b->misses;
	a->loads -= b->loads;
	a->rescues -= b->rescues;
	a->zero_fills -= b->zero_fills;
	a->prefetches -= b->prefetches;
	a->protects -= b->protects;
	a->write_outs -= b->write_outs;
	a->majflt -= b->majflt;
	a->minflt -= b->minflt;
}

static void measure(struct workload *w, const struct load *load, const struct worker *workers, struct sample *sample)
{
	struct counters before;
	uint64_t accesses = total_accesses(workers, load->threads), start = now_ns(), end;

	w->impl->counters(w->context, &before);
	sleep_ns((uint64_t)(load->seconds * 1e9));
	w->impl->counters(w->context, &sample->delta);
	sample->accesses = total_accesses(workers, load->threads) - accesses;
	end = now_ns();
	sample->seconds = (double)(end - start) / 1e9;
	counters_subtract(&sample->delta, &before);
}

int workload_run(struct workload *w, const struct load *load, struct sample *ret_sample)
{
	static struct worker workers[MAX_THREADS];
	_Atomic int stop = 0;
	unsigned started = 0;
	int r = 0;

	memset(workers, 0, sizeof(workers));
	memset(ret_sample, 0, sizeof(*ret_sample));
	for (; started < load->threads && r == 0; started++) {
		workers[started] = (struct worker){ .w = w, .load = load, .stop = &stop, .thread = started };
		r = -pthread_create(&workers[started].id, NULL, work, &workers[started]);
		if (r < 0)
			break;
	}
	if (r == 0) {
		warm_up(w, load, workers);
		measure(w, load, workers, ret_sample);
	}
	atomic_store(&stop, 1);
	for (unsigned i = 0; i < started; i++) {
		pthread_join(workers[i].id, NULL);
		ret_sample->bad += workers[i].bad;
		if (workers[i].error)
			r = workers[i].error;
	}
	return r;
}

int workload_init(struct workload *w, const struct setup *setup, const struct impl *impl,
                  const struct streams *streams)
{
	memset(w, 0, sizeof(*w));
	w->impl = impl;
	w->streams = streams;
	w->number = setup->number;
	w->npages = (uint32_t)(setup->bytes / PAGE_BYTES);
	w->page_shift = setup->page_shift;
	w->budget = setup->budget;
	for (unsigned t = 0; t < MAX_THREADS; t++) {
		size_t bytes = w->npages * sizeof(uint32_t);
		void *table = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE,
		                   -1, 0);

		if (table == MAP_FAILED)
			return -errno;
		/* Without the right to lock it is merely touched, which does as long as nobody is short of memory. */
		(void)!mlock(table, bytes);
		w->versions[t] = table;
	}
	return 0;
}

void workload_fill(struct workload *w)
{
	for (uint32_t page = 0; page < w->npages; page++)
		content_fill(w->base + (size_t)page * PAGE_BYTES, page);
}

static int page_is_wrong(const struct workload *w, void *memory, uint32_t page)
{
	if (content_check(memory, page) != 0)
		return 1;
	for (unsigned t = 0; t < MAX_THREADS && !w->impl->lossy; t++)
		if (atomic_load(content_version(memory, w->number, t)) != w->versions[t][page])
			return 1;
	return 0;
}

uint64_t workload_sweep(struct workload *w, unsigned stride)
{
	uint64_t wrong = 0;

	for (uint32_t page = 0; w->base && page < w->npages; page += stride)
		wrong += (uint64_t)page_is_wrong(w, w->base + (size_t)page * PAGE_BYTES, page);
	return wrong;
}

uint64_t workload_sweep_file(struct workload *w, int fd)
{
	_Alignas(PAGE_BYTES) static uint8_t buffer[PAGE_BYTES];
	uint64_t wrong = 0;

	for (uint32_t page = 0; page < w->npages; page++) {
		if (pread(fd, buffer, PAGE_BYTES, (off_t)page * PAGE_BYTES) != PAGE_BYTES)
			wrong++;
		else
			wrong += (uint64_t)page_is_wrong(w, buffer, page);
	}
	return wrong;
}
