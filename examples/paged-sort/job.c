/* SPDX-License-Identifier: MIT */
/*
 * job.c - one run: the text into one region, a record of each line into another, qsort, and out again
 *
 * The process is fresh, does nothing else, and ends when its output is written.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "paged-sort.h"

#define OUT_BYTES (256 << 10)

static const char *text;       /* qsort() passes no argument on */
static uint64_t comparisons;
static char out[OUT_BYTES];

/* As sort(1) orders in the C locale: by bytes, and the shorter of two lines that begin alike first. */
static int compare(const void *va, const void *vb)
{
	const struct record *a = va, *b = vb;
	uint32_t shorter = a->length < b->length ? a->length : b->length;
	int order = memcmp(a->key, b->key, KEY_BYTES);

	watch_done(++comparisons);
	if (order == 0 && shorter > KEY_BYTES)
		order = memcmp(text + a->offset + KEY_BYTES, text + b->offset + KEY_BYTES, shorter - KEY_BYTES);
	if (order == 0)
		order = (a->length > b->length) - (a->length < b->length);
	return order;
}

/* What the input is in memory, while it is read. */
struct loader {
	char *text;
	uint64_t bytes;        /* read so far */
	uint64_t start;        /* of the line not yet ended */
	struct record *records;
	uint64_t n, room;
};

/* The bytes up to `end` are there: note every line that ends in them. */
static void note_lines(struct loader *loader, uint64_t end)
{
	char *newline;

	while ((newline = memchr(loader->text + loader->bytes, '\n', end - loader->bytes))) {
		struct record *record = &loader->records[loader->n++];
		uint64_t length = (uint64_t)(newline - loader->text) - loader->start;

		if (loader->n > loader->room || length > UINT32_MAX)
			die("the input changed while it was read");
		*record = (struct record){ .offset = loader->start, .length = (uint32_t)length };
		memcpy(record->key, loader->text + loader->start, length < KEY_BYTES ? length : KEY_BYTES);
		loader->bytes = loader->start = loader->start + length + 1;
	}
	loader->bytes = end;
}

/*
 * read(2) straight into the region.  Under inline delivery the kernel may only be handed memory that is resident and
 * stays so: a piece is pinned, filled, looked at, and let go.
 */
static void load(struct loader *loader, struct hmm_region *region, size_t piece, const char *name, uint64_t bytes)
{
	int fd = open(name, O_RDONLY | O_CLOEXEC);
	ssize_t got = 1;

	if (fd < 0)
		die("cannot read %s: %s", name, strerror(errno));
	watch_phase(PHASE_LOAD, bytes);
	while (loader->bytes < bytes && got > 0) {
		uint64_t at = loader->bytes;
		size_t length = bytes - at < piece ? (size_t)(bytes - at) : piece;

		memory_hold(region, loader->text + at, length);
		got = read(fd, loader->text + at, length);
		if (got > 0)
			note_lines(loader, at + (uint64_t)got);
		memory_release(region, loader->text + at, length);
		watch_done(loader->bytes);
	}
	if (got <= 0 || loader->n != loader->room)
		die("cannot read %s: %s", name, got < 0 ? strerror(errno) : "it is shorter than it was");
	close(fd);
}

static void flush(int fd, size_t length, const char *name)
{
	size_t done = 0;
	ssize_t n;

	for (; done < length; done += (size_t)n) {
		n = write(fd, out + done, length - done);
		if (n < 0 && errno != EINTR)
			die("cannot write %s: %s", name, strerror(errno));
		n = n < 0 ? 0 : n;
	}
}

/* Lines are gathered in ordinary memory, for the reason given at load(). */
static void store(const struct record *records, uint64_t n, const char *name)
{
	int fd = open(name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
	size_t filled = 0;

	if (fd < 0)
		die("cannot write %s: %s", name, strerror(errno));
	watch_phase(PHASE_WRITE, n);
	for (uint64_t i = 0; i < n; i++) {
		const char *line = text + records[i].offset;
		size_t left = (size_t)records[i].length + 1; /* with its newline */

		while (left) {
			size_t part = left < OUT_BYTES - filled ? left : OUT_BYTES - filled;

			memcpy(out + filled, line, part);
			filled += part, line += part, left -= part;
			if (filled == OUT_BYTES) {
				flush(fd, filled, name);
				filled = 0;
			}
		}
		watch_done(i + 1);
	}
	flush(fd, filled, name);
	if (close(fd))
		die("cannot write %s: %s", name, strerror(errno));
}

/* What a merge sort of n elements needs at most: n log2 n. */
static uint64_t expected_comparisons(uint64_t n)
{
	uint64_t levels = 0;

	while ((uint64_t)1 << levels < n)
		levels++;
	return n * levels - ((uint64_t)1 << levels) + 1;
}

void job_run(const struct job *job, int result_fd)
{
	char input[4096], output[4096];
	struct loader loader = { .room = job->lines };
	struct hmm_region *region;
	struct memory memory;
	struct result result = { 0 };
	double start, loaded, sorted;

	memset(out, 1, sizeof(out));
	file_name(input, sizeof(input), job->dir, "input", ".txt");
	file_name(output, sizeof(output), job->dir, job->name, ".txt");
	watch_make_resident();
	memory_open(&memory, job);
	watch_start(job, &memory);

	start = now_seconds();
	text = loader.text = memory_get(&memory, job->bytes, &region);
	loader.records = memory_get(&memory, job->lines * sizeof(struct record), NULL);
	load(&loader, region, memory.piece, input, job->bytes);
	loaded = now_seconds();
	watch_phase(PHASE_SORT, expected_comparisons(loader.n));
	memory_qsort(&memory, loader.records, loader.n, sizeof(struct record), compare);
	sorted = now_seconds();
	store(loader.records, loader.n, output);

	result.load_seconds = loaded - start;
	result.sort_seconds = sorted - loaded;
	result.write_seconds = now_seconds() - sorted;
	result.comparisons = comparisons;
	memory_stats(&memory, &result.stats);
	watch_stop(&result);
	hmm_space_destroy(memory.space);
	if (write(result_fd, &result, sizeof(result)) != sizeof(result))
		die("cannot report the result: %s", strerror(errno));
}
