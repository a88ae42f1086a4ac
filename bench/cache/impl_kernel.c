/* SPDX-License-Identifier: MIT */
/*
 * impl_kernel.c - what the kernel offers: mmap(2), with and without a limit, and pread(2)
 *
 * Without a limit the whole file is in memory: what accesses cost at least.  A limit holds for the pages of files that a
 * process of the cgroup read first, so the limited one has a copy of the file of its own, and what it misses comes from
 * the disk.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include "bench/cache/loop.h"
#include "bench/kernel/cgroup.h"

struct mapped {
	uint8_t *base;
	size_t bytes, page_size;
	int fd, own;
};

static int map(struct mapped *m, const struct setup *setup)
{
	m->page_size = setup->page_size;
	m->bytes = (size_t)setup->npages * setup->page_size;
	m->base = mmap(NULL, m->bytes, PROT_READ | PROT_WRITE, MAP_SHARED, m->fd, 0);
	return m->base == MAP_FAILED ? -errno : 0;
}

static int mmap_open(const struct setup *setup, void **ret_context, char why[TEXT_BYTES])
{
	struct mapped *m = calloc(1, sizeof(*m));
	int r;

	(void)why;
	if (!m)
		return -ENOMEM;
	m->fd = setup->fd;
	r = map(m, setup);
	if (r < 0)
		free(m);
	else
		*ret_context = m;
	return r;
}

static int write_copy(const struct setup *setup, int fd)
{
	uint8_t *page = malloc(setup->page_size);
	int r = page ? 0 : -ENOMEM;

	for (uint32_t i = 0; r == 0 && i < setup->npages; i++) {
		stamp_fill(page, setup->page_size, i);
		if (pwrite(fd, page, setup->page_size, (off_t)((uint64_t)i * setup->page_size)) !=
		    (ssize_t)setup->page_size)
			r = -EIO;
	}
	free(page);
	return r == 0 && fsync(fd) < 0 ? -errno : r;
}

static int limited_open(const struct setup *setup, void **ret_context, char why[TEXT_BYTES])
{
	struct mapped *m = calloc(1, sizeof(*m));
	char path[4096];
	int r = m ? cgroup_enter(setup->cgroup) : -ENOMEM;

	snprintf(why, TEXT_BYTES, "memory cgroup");
	if (r == 0)
		r = cgroup_allow(setup->cgroup, setup->budget + (uint64_t)setup->npages * setup->page_size / 512);
	if (r < 0)
		goto failed;
	snprintf(path, sizeof(path), "%s/hurd-mm-bench-copy-XXXXXX", setup->directory);
	m->fd = mkstemp(path);
	if (m->fd < 0) {
		r = -errno;
		goto failed;
	}
	unlink(path);
	m->own = 1;
	r = write_copy(setup, m->fd);
	if (r == 0)
		r = map(m, setup);
	if (r == 0) {
		madvise(m->base, m->bytes, MADV_RANDOM);
		*ret_context = m;
		return 0;
	}
	close(m->fd);
failed:
	free(m);
	return r;
}

static int mmap_close(void *context)
{
	struct mapped *m = context;

	munmap(m->base, m->bytes);
	if (m->own)
		close(m->fd);
	free(m);
	return 0;
}

static void mmap_counters(void *context, struct counters *ret)
{
	struct rusage usage;

	(void)context;
	getrusage(RUSAGE_SELF, &usage);
	*ret = (struct counters){ .misses = (uint64_t)usage.ru_majflt };
}

static inline uint64_t mmap_read(struct worker *worker, uint32_t key)
{
	struct mapped *m = worker->context;
	uint32_t page = KEY_PAGE(key);

	return loop_look(worker, m->base + (size_t)page * m->page_size, page);
}

static inline uint64_t mmap_mix(struct worker *worker, uint32_t key)
{
	struct mapped *m = worker->context;
	uint32_t page = KEY_PAGE(key);
	void *data = m->base + (size_t)page * m->page_size;

	return key & KEY_WRITE ? loop_write(worker, data, page) : loop_look(worker, data, page);
}

static void mmap_loop_read(struct worker *worker)
{
	loop_run(worker, mmap_read, NULL);
}

static void mmap_loop_mix(struct worker *worker)
{
	loop_run(worker, mmap_mix, NULL);
}

const struct impl impl_mmap = {
	.name = "mmap",
	.open = mmap_open,
	.loop = { [MODE_READ] = mmap_loop_read, [MODE_MIX] = mmap_loop_mix },
	.counters = mmap_counters,
	.close = mmap_close,
};

const struct impl impl_mmap_limited = {
	.name = "mmap-limited",
	.open = limited_open,
	.loop = { [MODE_READ] = mmap_loop_read },
	.counters = mmap_counters,
	.close = mmap_close,
};

/* ---- pread: no cache but the kernel's, and a copy each time ---- */

struct reader {
	int fd;
	_Atomic uint64_t reads;
};

static int pread_open(const struct setup *setup, void **ret_context, char why[TEXT_BYTES])
{
	struct reader *reader = calloc(1, sizeof(*reader));

	(void)why;
	if (!reader)
		return -ENOMEM;
	reader->fd = setup->fd;
	*ret_context = reader;
	return 0;
}

static void pread_counters(void *context, struct counters *ret)
{
	(void)context;
	*ret = (struct counters){ .misses = 0 };
}

static int pread_close(void *context)
{
	free(context);
	return 0;
}

static inline uint64_t pread_read(struct worker *worker, uint32_t key)
{
	struct reader *reader = worker->context;
	uint32_t page = KEY_PAGE(key);
	size_t size = worker->setup->page_size;

	if (pread(reader->fd, worker->buffer, size, (off_t)((uint64_t)page * size)) != (ssize_t)size) {
		worker->error = -EIO;
		return 1;
	}
	return loop_look(worker, worker->buffer, page);
}

static inline uint64_t pread_mix(struct worker *worker, uint32_t key)
{
	struct reader *reader = worker->context;
	uint32_t page = KEY_PAGE(key);
	size_t size = worker->setup->page_size;
	uint64_t wrong = pread_read(worker, key);
	off_t at = (off_t)((uint64_t)page * size);

	if (worker->error || !(key & KEY_WRITE))
		return wrong;
	/* only its own version: another thread may be writing the same page */
	wrong |= loop_write(worker, worker->buffer, page);
	at += (off_t)((2 + worker->thread) * sizeof(uint64_t));
	if (pwrite(reader->fd, (uint64_t *)worker->buffer + 2 + worker->thread, sizeof(uint64_t), at) != sizeof(uint64_t))
		worker->error = -EIO;
	return wrong;
}

static void pread_loop_read(struct worker *worker)
{
	loop_run(worker, pread_read, NULL);
}

static void pread_loop_mix(struct worker *worker)
{
	loop_run(worker, pread_mix, NULL);
}

const struct impl impl_pread = {
	.name = "pread",
	.open = pread_open,
	.loop = { [MODE_READ] = pread_loop_read, [MODE_MIX] = pread_loop_mix },
	.counters = pread_counters,
	.close = pread_close,
};
