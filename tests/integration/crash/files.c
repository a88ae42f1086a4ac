/* SPDX-License-Identifier: MIT */
/*
 * files.c - a tree's two files, whose writes look after the log rule, and may be what a process is killed at
 *
 * What a killed process wrote stays written, as the kernel has it; so a sync needs to do nothing here.  (Power that goes is
 * disk.c's.)
 */
#include "tests/integration/crash/files.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

static void step(struct files *files)
{
	if (atomic_load(&files->until_kill) && atomic_fetch_sub(&files->until_kill, 1) == 1)
		kill(getpid(), SIGKILL);
}

static int write_in_two(struct files *files, int fd, uint64_t offset, const uint8_t *data, size_t length)
{
	size_t half = length / 2;

	step(files);
	if (pwrite(fd, data, half, (off_t)offset) != (ssize_t)half)
		return -EIO;
	step(files);
	if (pwrite(fd, data + half, length - half, (off_t)(offset + half)) != (ssize_t)(length - half))
		return -EIO;
	step(files);
	return 0;
}

static int store_read(void *ctx, struct hmm_store_vec *vec, unsigned n)
{
	struct files *files = ctx;

	for (unsigned i = 0; i < n; i++)
		if (pread(files->fd, vec[i].data, vec[i].length, (off_t)vec[i].offset) != (ssize_t)vec[i].length)
			return -EIO;
	return 0;
}

static int store_write(void *ctx, struct hmm_store_vec *vec, unsigned n)
{
	struct files *files = ctx;

	for (unsigned i = 0; i < n; i++) {
		for (size_t at = 0; at < vec[i].length; at += PAGE_SIZE) {
			const struct page *page = (const struct page *)((uint8_t *)vec[i].data + at);

			if (page->lsn > atomic_load(&files->log_durable))
				atomic_fetch_add(&files->ledger.rule_broken, 1);
			atomic_fetch_add(&files->ledger.page_writes, 1);
			if (write_in_two(files, files->fd, vec[i].offset + at, (const uint8_t *)page, PAGE_SIZE))
				return -EIO;
		}
	}
	return 0;
}

static int store_sync(void *ctx, uint64_t offset, uint64_t length)
{
	(void)offset;
	(void)length;
	step(ctx);
	return 0;
}

static int store_length(void *ctx, uint64_t *ret_length)
{
	(void)ctx;
	*ret_length = DATA_PAGES * (uint64_t)PAGE_SIZE;
	return 0;
}

int files_store(struct files *files, struct hmm_store **ret_store)
{
	static const struct hmm_store_ops ops = {
		.size = sizeof(ops),
		.version = HMM_STORE_VERSION,
		.name = "watched file",
		.read = store_read,
		.write = store_write,
		.sync = store_sync,
		.length = store_length,
	};

	return hmm_store_create(&ops, files, ret_store);
}

static int log_read_bytes(void *ctx, uint64_t offset, void *data, size_t length)
{
	struct files *files = ctx;
	ssize_t n = pread(files->log_fd, data, length, (off_t)offset);

	if (n < 0)
		return -errno;
	memset((uint8_t *)data + n, 0, length - (size_t)n);
	return 0;
}

static int log_write_bytes(void *ctx, uint64_t offset, const void *data, size_t length)
{
	struct files *files = ctx;

	atomic_fetch_add(&files->ledger.log_writes, 1);
	if (offset >= LOG_BEGIN)
		atomic_store(&files->log_written, offset + length);
	return write_in_two(files, files->log_fd, offset, data, length);
}

static int log_sync(void *ctx)
{
	struct files *files = ctx;

	uint64_t written = atomic_load(&files->log_written), durable = atomic_load(&files->log_durable);

	step(files);
	while (durable < written && !atomic_compare_exchange_weak(&files->log_durable, &durable, written))
		;
	step(files);
	return 0;
}

static void log_forget(void *ctx, uint64_t offset, uint64_t length)
{
	struct files *files = ctx;

	(void)!fallocate(files->log_fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)offset, (off_t)length);
	step(files);
}

struct device files_device(struct files *files)
{
	return (struct device){
		.ctx = files,
		.read = log_read_bytes,
		.write = log_write_bytes,
		.sync = log_sync,
		.forget = log_forget,
	};
}
