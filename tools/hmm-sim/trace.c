/* SPDX-License-Identifier: MIT */
/*
 * trace.c - number pages densely while a trace is read, and keep it in memory
 *
 * N1  keys[i] is the identity of page i; slots[] is an open-addressing table (linear probing, at most 3/4 full) of i + 1,
 *     0 free.  13 to 19 bytes a page, and only while the trace is read.
 * N2  A discard of a page that was not requested before changes nothing and is left out.
 */
#include "trace.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BLOCK 4096

struct numbering {
	uint64_t *keys;
	uint32_t *slots;
	uint32_t n, most; /* pages, room in keys */
	unsigned bits;    /* 2^bits slots */
};

struct trace_reader {
	struct source *source;
	const struct format *format;
	struct format_options format_options;
	struct decoder decoder;
	struct numbering numbering;
	bool drops_repeats, has_operations, is_anonymous;
	record last;      /* request before */
	uint64_t requests;
	char *name;
	struct request block[BLOCK];
};

static int out_of_memory(const char *what, struct failure *failure)
{
	snprintf(failure->text, sizeof(failure->text), "%s: %s", what, strerror(ENOMEM));
	return -1;
}

static uint32_t slot_of(const struct numbering *numbering, uint64_t key)
{
	uint64_t x = key * 0x9e3779b97f4a7c15u;

	x ^= x >> 32;
	x *= 0xd6e8feb86659fd93u;
	return (uint32_t)(x >> (64 - numbering->bits));
}

static bool make_slots(struct numbering *numbering, unsigned bits)
{
	uint32_t *slots = calloc((size_t)1 << bits, sizeof(*slots));
	uint32_t mask = (uint32_t)(((uint64_t)1 << bits) - 1);

	if (slots == NULL)
		return false;
	free(numbering->slots);
	numbering->slots = slots;
	numbering->bits = bits;
	for (uint32_t i = 0; i < numbering->n; i++) {
		uint32_t at = slot_of(numbering, numbering->keys[i]);

		while (slots[at] != 0)
			at = (at + 1) & mask;
		slots[at] = i + 1;
	}
	return true;
}

static bool grow(struct numbering *numbering)
{
	if (numbering->n == numbering->most) {
		uint32_t most = numbering->most != 0 ? numbering->most + numbering->most / 2 : 1024;
		uint64_t *keys = realloc(numbering->keys, (size_t)most * sizeof(*keys));

		if (keys == NULL)
			return false;
		numbering->keys = keys;
		numbering->most = most;
	}
	if (numbering->slots == NULL)
		return make_slots(numbering, 12);
	if ((uint64_t)numbering->n + 1 > ((uint64_t)3 << numbering->bits) / 4)
		return make_slots(numbering, numbering->bits + 1);
	return true;
}

#define UNNUMBERED UINT32_MAX

/* The page's number; where it has none yet it gets one if `add`.  UNNUMBERED: none, or no memory. */
static uint32_t number_of(struct numbering *numbering, uint64_t key, bool add)
{
	uint32_t mask = (uint32_t)(((uint64_t)1 << numbering->bits) - 1), at = slot_of(numbering, key);

	while (numbering->slots[at] != 0) {
		uint32_t i = numbering->slots[at] - 1;

		if (numbering->keys[i] == key)
			return i;
		at = (at + 1) & mask;
	}
	if (!add || numbering->n > PAGES_MOST)
		return UNNUMBERED;
	numbering->slots[at] = numbering->n + 1;
	numbering->keys[numbering->n++] = key;
	return grow(numbering) ? numbering->n - 1 : UNNUMBERED;
}

static char *name_of(const char *path)
{
	const char *begin;
	size_t length = format_stem(path, &begin);

	return strcmp(path, "-") == 0 ? strdup("stdin") : strndup(begin, length);
}

int trace_open(const char *path, const struct trace_options *options, struct trace_reader **ret, struct failure *failure)
{
	struct trace_reader *reader = calloc(1, sizeof(*reader));

	if (reader == NULL)
		return out_of_memory(path, failure);
	reader->name = name_of(path);
	if (reader->name == NULL || !grow(&reader->numbering)) {
		trace_close(reader);
		return out_of_memory(path, failure);
	}
	if (source_open(path, &reader->source, failure) != 0) {
		trace_close(reader);
		return -1;
	}
	reader->format = options->format != NULL ? options->format : format_detect(reader->source, failure);
	if (reader->format == NULL) {
		trace_close(reader);
		return -1;
	}
	reader->format_options = options->format_options;
	reader->drops_repeats = options->drops_repeats;
	reader->is_anonymous = options->backing < 0 ? reader->format->is_anonymous : options->backing == 0;
	reader->last = UNNUMBERED;
	reader->decoder = (struct decoder){ .source = reader->source, .options = &reader->format_options, .record = 1 };
	if (reader->format->begin != NULL && reader->format->begin(&reader->decoder, failure) != 0) {
		trace_close(reader);
		return -1;
	}
	*ret = reader;
	return 0;
}

void trace_close(struct trace_reader *reader)
{
	if (reader == NULL)
		return;
	source_close(reader->source);
	free(reader->numbering.keys);
	free(reader->numbering.slots);
	free(reader->name);
	free(reader);
}

/* One request of a block to a record; false if it leaves none. */
static bool convert(struct trace_reader *reader, const struct request *request, record *ret, bool *ret_failed)
{
	bool is_discard = request->operation == OP_DISCARD;
	uint32_t page = number_of(&reader->numbering, request->page, !is_discard);
	record r;

	*ret_failed = page == UNNUMBERED && !is_discard;
	if (page == UNNUMBERED)
		return false;
	r = page << RECORD_SHIFT | request->operation;
	reader->has_operations |= request->operation != OP_READ;
	if (!is_discard) {
		bool repeats = record_page(reader->last) == page && reader->last != UNNUMBERED;

		if (reader->drops_repeats && repeats && (r == reader->last || request->operation == OP_READ))
			return false;
		reader->requests++;
	}
	reader->last = is_discard ? UNNUMBERED : r;
	*ret = r;
	return true;
}

ssize_t trace_read(struct trace_reader *reader, record *records, size_t most, struct failure *failure)
{
	size_t n = 0;

	while (most - n >= BLOCK) {
		int got = reader->format->read(&reader->decoder, reader->block, BLOCK, failure);
		bool failed;

		if (got < 0)
			return -1;
		if (got == 0 && n == 0 && reader->requests == 0)
			return source_damaged(reader->source, source_offset(reader->source), failure, "a request",
			                      "the end");
		if (got == 0)
			break;
		for (int i = 0; i < got; i++) {
			n += convert(reader, &reader->block[i], &records[n], &failed);
			if (!failed)
				continue;
			if (reader->numbering.n > PAGES_MOST)
				return source_damaged(reader->source, source_offset(reader->source), failure,
				                      "at most 2^30 different pages", "more");
			return out_of_memory(source_path(reader->source), failure);
		}
	}
	return (ssize_t)n;
}

uint32_t trace_unique(const struct trace_reader *reader)
{
	return reader->numbering.n;
}

bool trace_has_operations(const struct trace_reader *reader)
{
	return reader->has_operations;
}

bool trace_is_anonymous(const struct trace_reader *reader)
{
	return reader->is_anonymous;
}

const char *trace_name(const struct trace_reader *reader)
{
	return reader->name;
}

double trace_progress(const struct trace_reader *reader)
{
	return source_progress(reader->source);
}

int trace_load(struct trace_reader *reader, size_t most_bytes, struct trace *trace,
               void (*progress)(const struct trace_reader *reader), struct failure *failure)
{
	size_t most = most_bytes / sizeof(record), room = most == 0 ? BLOCK : (size_t)1 << 20;
	ssize_t got;

	*trace = (struct trace){ .records = malloc((room + RECORDS_SLACK) * sizeof(record)) };
	pthread_mutex_init(&trace->lock, NULL);
	do {
		if (trace->records == NULL)
			return out_of_memory(trace_name(reader), failure);
		got = trace_read(reader, trace->records + trace->n, room - trace->n, failure);
		if (got < 0)
			return -1;
		trace->n += (size_t)got;
		if (progress != NULL)
			progress(reader);
		if (got > 0 && room - trace->n < BLOCK) {
			if (room >= most)
				break;
			room += room;
			record *longer = realloc(trace->records, (room + RECORDS_SLACK) * sizeof(record));

			if (longer == NULL)
				free(trace->records);
			trace->records = longer;
		}
	} while (got > 0);
	memset(trace->records + trace->n, 0, RECORDS_SLACK * sizeof(record));
	trace->unique = trace_unique(reader);
	trace->has_operations = trace_has_operations(reader);
	trace->is_anonymous = trace_is_anonymous(reader);
	trace->is_whole = got == 0;
	return 0;
}

void trace_free(struct trace *trace)
{
	free(trace->records);
	free(trace->next_use);
	trace->records = NULL;
	trace->next_use = NULL;
}
