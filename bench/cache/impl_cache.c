/* SPDX-License-Identifier: MIT */
/*
 * impl_cache.c - the cache face, and a region of a space, both by the public headers
 *
 * Writes are logged: each appends a record of 64 bytes and gives its page the position.  The log goes to a file when the
 * cache wants it durable; as for the pages, that file stays in the kernel's page cache.
 */
#include <errno.h>
#include <hurd-mm/hurd-mm.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "bench/cache/loop.h"

#define LOG_RECORD 64u
#define LOG_BYTES (1u << 20)

struct hurd {
	struct hmm_space *space;
	struct hmm_store *store;
	struct hmm_cache *cache;
	struct hmm_region *region;
	uint8_t *base;
	size_t page_size;
	int log_fd;
	pthread_mutex_t flushing;
	_Atomic uint64_t appended, durable; /* bytes */
	uint8_t *log;                       /* a ring: what it is about here is the writing, nobody reads it again */
};

static uint64_t log_flushed(void *arg)
{
	return atomic_load_explicit(&((struct hurd *)arg)->durable, memory_order_acquire);
}

static int flush_log(void *arg, uint64_t position)
{
	struct hurd *h = arg;
	int r = 0;

	pthread_mutex_lock(&h->flushing);
	while (r == 0 && atomic_load(&h->durable) < position) {
		uint64_t from = atomic_load(&h->durable), to = atomic_load(&h->appended), at = from % LOG_BYTES;
		uint64_t n = to - from < LOG_BYTES - at ? to - from : LOG_BYTES - at;

		if (pwrite(h->log_fd, h->log + at, n, (off_t)at) != (ssize_t)n)
			r = -EIO;
		else
			atomic_store_explicit(&h->durable, from + n, memory_order_release);
	}
	pthread_mutex_unlock(&h->flushing);
	return r;
}

static uint64_t append(struct hurd *h, uint32_t page, uint64_t version)
{
	uint64_t at = atomic_fetch_add_explicit(&h->appended, LOG_RECORD, memory_order_relaxed);
	uint64_t *record = (uint64_t *)(h->log + at % LOG_BYTES);

	record[0] = page;
	record[1] = version;
	return at + LOG_RECORD;
}

static int open_log(struct hurd *h, const char *directory)
{
	char path[4096];

	snprintf(path, sizeof(path), "%s/hurd-mm-bench-log-XXXXXX", directory);
	h->log_fd = mkstemp(path);
	if (h->log_fd < 0)
		return -errno;
	unlink(path);
	pthread_mutex_init(&h->flushing, NULL);
	h->log = mmap(NULL, LOG_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
	return h->log == MAP_FAILED ? -ENOMEM : 0;
}

static int hurd_close(void *context)
{
	struct hurd *h = context;
	int r = hmm_cache_destroy(h->cache);

	if (r == 0)
		r = hmm_region_unmap(h->region);
	hmm_space_destroy(h->space);
	hmm_store_put(h->store);
	if (h->log) {
		munmap(h->log, LOG_BYTES);
		close(h->log_fd);
	}
	free(h);
	return r;
}

static struct hurd *open_space(const struct setup *setup, int *ret)
{
	struct hmm_space_options options = { .size = sizeof(options), .policy = setup->policy };
	struct hurd *h = calloc(1, sizeof(*h));

	*ret = h ? hmm_store_file(setup->fd, 0, &h->store) : -ENOMEM;
	if (*ret == 0) {
		h->page_size = setup->page_size;
		options.max_frames = setup->budget / hmm_page_size();
		if (setup->page_size < hmm_page_size())
			options.max_pages = setup->budget / setup->page_size;
		*ret = hmm_space_create(setup->budget / hmm_page_size(), &options, &h->space);
	}
	return h;
}

static void give_up(struct hurd *h)
{
	if (h) {
		hmm_space_destroy(h->space);
		hmm_store_put(h->store);
		free(h);
	}
}

static int cache_open(const struct setup *setup, void **ret_context, char why[TEXT_BYTES])
{
	int r;
	struct hurd *h = open_space(setup, &r);
	struct hmm_cache_options options = {
		.size = sizeof(options),
		.max_pages = setup->npages,
		.log_flushed = log_flushed,
		.flush_log = flush_log,
		.log_arg = h,
	};

	if (r == 0)
		r = open_log(h, setup->directory);
	if (r == 0)
		r = hmm_cache_create(h->space, h->store, setup->page_size, &options, &h->cache);
	if (r < 0) {
		snprintf(why, TEXT_BYTES, "hmm_cache_create");
		give_up(h);
		return r;
	}
	*ret_context = h;
	return 0;
}

static void cache_counters(void *context, struct counters *ret)
{
	struct hurd *h = context;
	struct hmm_cache_stats stats = { .size = sizeof(stats) };

	if (hmm_cache_stats(h->cache, &stats) == 0)
		*ret = (struct counters){ .misses = stats.reads, .writes = stats.writes };
}

static inline uint64_t cache_read(struct worker *worker, uint32_t key)
{
	struct hmm_cache *cache = ((struct hurd *)worker->context)->cache;
	uint32_t page = KEY_PAGE(key);
	uint64_t wrong;
	void *data;
	int r = hmm_cache_get(cache, page, HMM_CACHE_READ, &data);

	if (__builtin_expect(r < 0, 0)) {
		worker->error = r;
		return 1;
	}
	wrong = loop_look(worker, data, page);
	hmm_cache_put(cache, page, HMM_CACHE_READ, 0);
	return wrong;
}

static inline uint64_t cache_pair(struct worker *worker, uint32_t key)
{
	struct hmm_cache *cache = ((struct hurd *)worker->context)->cache;
	uint32_t page = KEY_PAGE(key);
	uint64_t wrong;
	void *data;
	int r = hmm_cache_get(cache, page, HMM_CACHE_READ, &data);

	if (__builtin_expect(r < 0, 0)) {
		worker->error = r;
		return 1;
	}
	wrong = loop_place(worker, data, page);
	hmm_cache_put(cache, page, HMM_CACHE_READ, 0);
	return wrong;
}

static inline __attribute__((always_inline)) uint64_t optimistic(struct worker *worker, uint32_t key, int look)
{
	struct hmm_cache *cache = ((struct hurd *)worker->context)->cache;
	uint32_t page = KEY_PAGE(key);
	struct hmm_cache_version version;
	const void *data;
	uint64_t wrong;

	do {
		if (__builtin_expect(hmm_cache_read_begin(cache, page, &data, &version) < 0, 0))
			return cache_read(worker, key);
		wrong = look ? stamp_wrong(data, page, loop_line(worker, page)) : loop_place(worker, data, page);
	} while (__builtin_expect(hmm_cache_read_retry(cache, &version), 0));
	return wrong;
}

static inline uint64_t cache_optimistic(struct worker *worker, uint32_t key)
{
	return optimistic(worker, key, 0);
}

static inline uint64_t cache_look(struct worker *worker, uint32_t key)
{
	return optimistic(worker, key, 1);
}

static inline uint64_t cache_mix(struct worker *worker, uint32_t key)
{
	struct hurd *h = worker->context;
	uint32_t page = KEY_PAGE(key);
	uint64_t wrong, position;
	void *data;
	int r;

	if (!(key & KEY_WRITE))
		return cache_read(worker, key);
	r = hmm_cache_get(h->cache, page, HMM_CACHE_WRITE, &data);
	if (__builtin_expect(r < 0, 0)) {
		worker->error = r;
		return 1;
	}
	wrong = loop_write(worker, data, page);
	position = append(h, page, worker->versions[page]);
	hmm_cache_put(h->cache, page, HMM_CACHE_WRITE | HMM_CACHE_DIRTY, position);
	return wrong;
}

static inline void cache_prefetch(struct worker *worker, const uint32_t *keys)
{
	struct hmm_cache *cache = ((struct hurd *)worker->context)->cache;
	uint64_t pages[LOOP_BATCH];
	int64_t r;

	for (unsigned i = 0; i < LOOP_BATCH; i++)
		pages[i] = KEY_PAGE(keys[i]);
	r = hmm_cache_prefetch(cache, pages, LOOP_BATCH, 0);
	if (r < 0)
		worker->error = (int)r;
}

static void cache_loop_read(struct worker *worker)
{
	loop_run(worker, cache_read, NULL);
}

static void cache_loop_pairs(struct worker *worker)
{
	loop_run(worker, cache_pair, NULL);
}

static void cache_loop_look(struct worker *worker)
{
	loop_run(worker, cache_look, NULL);
}

static void cache_loop_optimistic(struct worker *worker)
{
	loop_run(worker, cache_optimistic, NULL);
}

static void cache_loop_mix(struct worker *worker)
{
	loop_run(worker, cache_mix, NULL);
}

static void cache_loop_prefetch(struct worker *worker)
{
	loop_run(worker, cache_read, cache_prefetch);
}

const struct impl impl_cache = {
	.name = "hurd-mm",
	.open = cache_open,
	.loop = {
		[MODE_READ] = cache_loop_read,
		[MODE_PAIRS] = cache_loop_pairs,
		[MODE_OPTIMISTIC] = cache_loop_optimistic,
		[MODE_LOOK] = cache_loop_look,
		[MODE_MIX] = cache_loop_mix,
		[MODE_PREFETCH] = cache_loop_prefetch,
	},
	.counters = cache_counters,
	.close = hurd_close,
};

/* ---- the same file as a region: pages come by faults ---- */

static int region_open(const struct setup *setup, void **ret_context, char why[TEXT_BYTES])
{
	struct hmm_region_options options = {
		.size = sizeof(options),
		.delivery = HMM_DELIVERY_INLINE,
		.flags = HMM_REGION_SHARED,
	};
	struct hmm_probe probed = { .size = sizeof(probed) };
	struct hurd *h;
	int r = hmm_probe(&probed);

	if (r == 0 && !probed.inline_delivery) {
		snprintf(why, TEXT_BYTES, "%s", probed.inline_missing ? probed.inline_missing : "inline delivery");
		return -ENOTSUP;
	}
	h = open_space(setup, &r);
	if (r == 0)
		r = hmm_region_map(h->space, h->store, 0, (size_t)setup->npages * setup->page_size, &options, &h->region);
	if (r < 0) {
		snprintf(why, TEXT_BYTES, "hmm_region_map");
		give_up(h);
		return r;
	}
	h->base = hmm_region_base(h->region);
	*ret_context = h;
	return 0;
}

static void region_counters(void *context, struct counters *ret)
{
	struct hurd *h = context;
	struct hmm_stats stats = { .size = sizeof(stats) };

	if (hmm_space_stats(h->space, &stats) == 0)
		*ret = (struct counters){ .misses = stats.loads + stats.rescues, .writes = stats.write_outs };
}

static inline uint64_t region_read(struct worker *worker, uint32_t key)
{
	struct hurd *h = worker->context;
	uint32_t page = KEY_PAGE(key);

	return loop_look(worker, h->base + (size_t)page * h->page_size, page);
}

static inline uint64_t region_mix(struct worker *worker, uint32_t key)
{
	struct hurd *h = worker->context;
	uint32_t page = KEY_PAGE(key);
	void *data = h->base + (size_t)page * h->page_size;

	return key & KEY_WRITE ? loop_write(worker, data, page) : loop_look(worker, data, page);
}

static void region_loop_read(struct worker *worker)
{
	loop_run(worker, region_read, NULL);
}

static void region_loop_mix(struct worker *worker)
{
	loop_run(worker, region_mix, NULL);
}

const struct impl impl_region = {
	.name = "region",
	.open = region_open,
	.loop = { [MODE_READ] = region_loop_read, [MODE_MIX] = region_loop_mix },
	.counters = region_counters,
	.close = hurd_close,
};
