/* SPDX-License-Identifier: MIT */
/*
 * device.c - a log in a file: it only grows, and its begin is punched out
 */
#include "device.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

static int file_of(void *ctx)
{
	return (int)(intptr_t)ctx;
}

static int file_read(void *ctx, uint64_t offset, void *data, size_t length)
{
	uint8_t *at = data;

	while (length > 0) {
		ssize_t n = pread(file_of(ctx), at, length, (off_t)offset);

		if (n < 0 && errno != EINTR)
			return -errno;
		if (n == 0) {
			memset(at, 0, length);
			return 0;
		}
		if (n > 0) {
			at += n;
			offset += (uint64_t)n;
			length -= (size_t)n;
		}
	}
	return 0;
}

static int file_write(void *ctx, uint64_t offset, const void *data, size_t length)
{
	const uint8_t *at = data;

	while (length > 0) {
		ssize_t n = pwrite(file_of(ctx), at, length, (off_t)offset);

		if (n < 0 && errno != EINTR)
			return -errno;
		if (n > 0) {
			at += n;
			offset += (uint64_t)n;
			length -= (size_t)n;
		}
	}
	return 0;
}

static int file_sync(void *ctx)
{
	return fdatasync(file_of(ctx)) < 0 ? -errno : 0;
}

/* Where the file system can't punch holes the file keeps its begin, which harms nobody. */
static void file_forget(void *ctx, uint64_t offset, uint64_t length)
{
	(void)fallocate(file_of(ctx), FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)offset, (off_t)length);
}

struct device device_file(int fd)
{
	return (struct device){
		.ctx = (void *)(intptr_t)fd,
		.read = file_read,
		.write = file_write,
		.sync = file_sync,
		.forget = file_forget,
	};
}
