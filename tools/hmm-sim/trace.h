/* SPDX-License-Identifier: MIT */
/*
 * trace.h - a trace as the simulation wants it: dense page numbers, four bytes a request
 */
#ifndef HMM_SIM_TRACE_H
#define HMM_SIM_TRACE_H

#include <pthread.h>
#include <sys/types.h>

#include "format.h"

/*
 * One request or discard: page << 2 | enum operation.  Pages are numbered from 0 in the order of their first request: a
 * page's number is new, and one more than any before, exactly where it is requested first.
 */
typedef uint32_t record;

#define RECORD_SHIFT 2
#define PAGES_MOST (UINT32_MAX >> RECORD_SHIFT)
#define RECORDS_SLACK 64 /* what stands behind the last record may be read (prefetch) */

static inline uint32_t record_page(record r)
{
	return r >> RECORD_SHIFT;
}

static inline unsigned record_operation(record r)
{
	return r & ((1u << RECORD_SHIFT) - 1);
}

struct trace_options {
	const struct format *format;  /* NULL: detected */
	struct format_options format_options;
	bool drops_repeats;           /* a request of the page requested just before counts for nothing */
	int backing;                  /* pages begin: -1 as the format says, 0 as zeros, 1 as contents of a file */
};

/* Reads a trace from its beginning to its end. */
struct trace_reader;

int trace_open(const char *path, const struct trace_options *options, struct trace_reader **ret, struct failure *failure);
void trace_close(struct trace_reader *reader);
/* Up to `most` records (at least 4096); their number, 0 at the end, -1 with *failure. */
ssize_t trace_read(struct trace_reader *reader, record *records, size_t most, struct failure *failure);
uint32_t trace_unique(const struct trace_reader *reader);  /* pages seen until now */
bool trace_has_operations(const struct trace_reader *reader); /* a write or discard was among them */
bool trace_is_anonymous(const struct trace_reader *reader);   /* pages begin as zeros */
const char *trace_name(const struct trace_reader *reader);
double trace_progress(const struct trace_reader *reader);

/* A trace, or its beginning, in memory. */
struct trace {
	record *records;
	size_t n;
	uint32_t unique;
	bool has_operations;
	bool is_anonymous;
	bool is_whole;      /* false: memory was used up before the trace was, and the reader has the rest */
	uint32_t *next_use; /* opt.c, made when first needed under the lock */
	pthread_mutex_t lock;
};

/* About most_bytes of records, 4 MiB at least; or 0: no more than the first few.  progress, if not NULL, hears of every block. */
int trace_load(struct trace_reader *reader, size_t most_bytes, struct trace *trace,
               void (*progress)(const struct trace_reader *reader), struct failure *failure);
void trace_free(struct trace *trace);

#endif
