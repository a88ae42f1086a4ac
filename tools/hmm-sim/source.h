/* SPDX-License-Identifier: MIT */
/*
 * source.h - the bytes of a trace: a file or a pipe, plain or compressed
 */
#ifndef HMM_SIM_SOURCE_H
#define HMM_SIM_SOURCE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* What was wrong with an input, as the user reads it; "" if nothing. */
struct failure {
	char text[640];
	int status; /* the program's, if it ends here */
};
#define STATUS_FAILED 1
#define STATUS_INPUT 2

struct source;

/* path: "-" is standard input.  Returns 0, or -1 with *failure filled in. */
int source_open(const char *path, struct source **ret_source, struct failure *failure);
void source_close(struct source *source);

/*
 * The next bytes, without consuming them: at least `want` (at most SOURCE_PEEK) unless the input ends before.  *ret_got is
 * their number, often more than wanted.  NULL if the input can't be read or is damaged: *failure tells.
 */
#define SOURCE_PEEK ((size_t)1 << 16)
const uint8_t *source_peek(struct source *source, size_t want, size_t *ret_got, struct failure *failure);
void source_consume(struct source *source, size_t n);

const char *source_path(const struct source *source);
uint64_t source_offset(const struct source *source); /* of the next byte, after decompression */
double source_progress(const struct source *source); /* share of the file read, 0 if its size is not known */

/* "PATH: offset N: expected EXPECTED, found FOUND"; returns -1.  (In compressed input the offset counts what came out.) */
int source_damaged(const struct source *source, uint64_t offset, struct failure *failure, const char *expected,
                   const char *found, ...) __attribute__((format(printf, 5, 6)));

#endif
