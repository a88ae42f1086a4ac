/* SPDX-License-Identifier: MIT */
/*
 * source.c - the bytes of a trace: a file or a pipe, plain, zstd or gzip (told apart by their first bytes)
 *
 * B1  buffer[begin .. end) is what was decompressed and not consumed; it moves to the front only when peek needs room.
 * B2  raw is what was read and not decompressed.  Plain input is read into the buffer directly.
 * B3  Input that ends inside a compressed frame is damaged, and so is anything behind the last frame that begins none.
 */
#include "source.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>
#include <zstd.h>

#define BUFFER_SIZE ((size_t)1 << 20)
#define RAW_SIZE ((size_t)1 << 18)

enum packing { PLAIN, ZSTD, GZIP };

struct source {
	char *path;
	int fd;
	enum packing packing;
	bool is_at_end;    /* of what the descriptor gives */
	bool is_in_frame;  /* of compressed input: more must come */
	uint64_t size;     /* of the file; 0: not known */
	uint64_t raw_read; /* bytes read from the descriptor */
	uint64_t offset;   /* of buffer[begin], decompressed */
	size_t begin, end;
	size_t raw_begin, raw_end;
	ZSTD_DStream *zstd;
	z_stream zlib;
	uint8_t *buffer;   /* BUFFER_SIZE */
	uint8_t *raw;      /* RAW_SIZE */
};

static int fail(struct failure *failure, const char *path, const char *what)
{
	snprintf(failure->text, sizeof(failure->text), "%s: %s", path, what);
	failure->status = STATUS_INPUT;
	return -1;
}

int source_damaged(const struct source *source, uint64_t offset, struct failure *failure, const char *expected,
                   const char *found, ...)
{
	char text[256];
	va_list args;

	va_start(args, found);
	vsnprintf(text, sizeof(text), found, args);
	va_end(args);
	snprintf(failure->text, sizeof(failure->text), "%s: offset %llu: expected %s, found %s", source->path,
	         (unsigned long long)offset, expected, text);
	failure->status = STATUS_INPUT;
	return -1;
}

/* Read up to `size` bytes, fewer only at the end.  Returns their number or -1. */
static ssize_t read_some(struct source *source, uint8_t *to, size_t size, struct failure *failure)
{
	size_t n = 0;

	while (n < size && !source->is_at_end) {
		ssize_t r = read(source->fd, to + n, size - n);

		if (r < 0 && errno == EINTR)
			continue;
		if (r < 0)
			return fail(failure, source->path, strerror(errno));
		source->is_at_end = r == 0;
		n += (size_t)r;
	}
	source->raw_read += n;
	return (ssize_t)n;
}

static int refill_raw(struct source *source, struct failure *failure)
{
	ssize_t r;

	if (source->raw_begin < source->raw_end)
		return 0;
	source->raw_begin = source->raw_end = 0;
	r = read_some(source, source->raw, RAW_SIZE, failure);
	if (r < 0)
		return -1;
	source->raw_end = (size_t)r;
	return 0;
}

static int damaged_frame(const struct source *source, struct failure *failure, const char *found)
{
	return source_damaged(source, source->raw_read - (source->raw_end - source->raw_begin), failure,
	                      source->packing == ZSTD ? "zstd data (offset in the compressed file)"
	                                              : "gzip data (offset in the compressed file)",
	                      "%s", found);
}

/* Decompress into the buffer's free end.  Returns 0 also where nothing came out yet. */
static int unpack_zstd(struct source *source, struct failure *failure)
{
	ZSTD_outBuffer out = { source->buffer, BUFFER_SIZE, source->end };
	ZSTD_inBuffer in = { source->raw, source->raw_end, source->raw_begin };
	size_t r = ZSTD_decompressStream(source->zstd, &out, &in);

	if (ZSTD_isError(r))
		return damaged_frame(source, failure, ZSTD_getErrorName(r));
	source->raw_begin = in.pos;
	source->end = out.pos;
	source->is_in_frame = r != 0;
	return 0;
}

static int unpack_gzip(struct source *source, struct failure *failure)
{
	z_stream *z = &source->zlib;
	int r;

	z->next_in = source->raw + source->raw_begin;
	z->avail_in = (uInt)(source->raw_end - source->raw_begin);
	z->next_out = source->buffer + source->end;
	z->avail_out = (uInt)(BUFFER_SIZE - source->end);
	r = inflate(z, Z_NO_FLUSH);
	if (r != Z_OK && r != Z_STREAM_END && r != Z_BUF_ERROR)
		return damaged_frame(source, failure, z->msg != NULL ? z->msg : "something else");
	source->raw_begin = source->raw_end - z->avail_in;
	source->end = BUFFER_SIZE - z->avail_out;
	source->is_in_frame = r != Z_STREAM_END;
	if (r == Z_STREAM_END)
		inflateReset(z);
	return 0;
}

/* Make the buffer longer.  *ret_more: false at the end of input. */
static int refill(struct source *source, bool *ret_more, struct failure *failure)
{
	size_t before = source->end;

	*ret_more = true;
	if (source->packing == PLAIN) {
		ssize_t r = read_some(source, source->buffer + source->end, BUFFER_SIZE - source->end, failure);

		if (r < 0)
			return -1;
		source->end += (size_t)r;
		*ret_more = source->end > before;
		return 0;
	}
	while (source->end == before) {
		if (refill_raw(source, failure) != 0)
			return -1;
		if (source->raw_begin == source->raw_end && !source->is_in_frame) {
			*ret_more = false;
			return 0;
		}
		/* A decoder may still hold output when its input is at an end: asked once more, it must give some. */
		bool is_drained = source->raw_begin == source->raw_end;

		if ((source->packing == ZSTD ? unpack_zstd : unpack_gzip)(source, failure) != 0)
			return -1;
		if (is_drained && source->end == before && source->is_in_frame)
			return damaged_frame(source, failure, "the end of the file");
	}
	return 0;
}

const uint8_t *source_peek(struct source *source, size_t want, size_t *ret_got, struct failure *failure)
{
	bool more = true;

	if (source->end - source->begin < want && source->begin > 0) {
		memmove(source->buffer, source->buffer + source->begin, source->end - source->begin);
		source->end -= source->begin;
		source->begin = 0;
	}
	while (more && source->end - source->begin < want) {
		if (refill(source, &more, failure) != 0)
			return NULL;
	}
	*ret_got = source->end - source->begin;
	return source->buffer + source->begin;
}

void source_consume(struct source *source, size_t n)
{
	source->begin += n;
	source->offset += n;
}

const char *source_path(const struct source *source)
{
	return source->path;
}

uint64_t source_offset(const struct source *source)
{
	return source->offset;
}

double source_progress(const struct source *source)
{
	return source->size != 0 ? (double)source->raw_read / (double)source->size : 0;
}

static int find_packing(struct source *source, struct failure *failure)
{
	static const uint8_t zstd_magic[4] = { 0x28, 0xb5, 0x2f, 0xfd }, gzip_magic[2] = { 0x1f, 0x8b };
	ssize_t n = read_some(source, source->raw, RAW_SIZE, failure);

	if (n < 0)
		return -1;
	source->raw_end = (size_t)n;
	if (n >= 4 && memcmp(source->raw, zstd_magic, 4) == 0) {
		source->packing = ZSTD;
		source->zstd = ZSTD_createDStream();
		return source->zstd != NULL ? 0 : fail(failure, source->path, strerror(ENOMEM));
	}
	if (n >= 2 && memcmp(source->raw, gzip_magic, 2) == 0) {
		source->packing = GZIP;
		return inflateInit2(&source->zlib, 15 + 16) == Z_OK ? 0 : fail(failure, source->path, strerror(ENOMEM));
	}
	memcpy(source->buffer, source->raw, (size_t)n);
	source->end = (size_t)n;
	return 0;
}

int source_open(const char *path, struct source **ret_source, struct failure *failure)
{
	bool is_stdin = strcmp(path, "-") == 0;
	struct source *source = calloc(1, sizeof(*source));
	struct stat status;

	if (source == NULL)
		return fail(failure, path, strerror(ENOMEM));
	source->fd = -1;
	source->path = strdup(is_stdin ? "standard input" : path);
	source->buffer = malloc(BUFFER_SIZE);
	source->raw = malloc(RAW_SIZE);
	if (source->path == NULL || source->buffer == NULL || source->raw == NULL) {
		source_close(source);
		return fail(failure, path, strerror(ENOMEM));
	}
	source->fd = is_stdin ? dup(STDIN_FILENO) : open(path, O_RDONLY | O_CLOEXEC);
	if (source->fd < 0) {
		source_close(source);
		return fail(failure, path, strerror(errno));
	}
	if (fstat(source->fd, &status) == 0 && S_ISREG(status.st_mode))
		source->size = (uint64_t)status.st_size;
	if (find_packing(source, failure) != 0) {
		source_close(source);
		return -1;
	}
	*ret_source = source;
	return 0;
}

void source_close(struct source *source)
{
	if (source == NULL)
		return;
	if (source->packing == GZIP)
		inflateEnd(&source->zlib);
	ZSTD_freeDStream(source->zstd);
	if (source->fd >= 0)
		close(source->fd);
	free(source->buffer);
	free(source->raw);
	free(source->path);
	free(source);
}
