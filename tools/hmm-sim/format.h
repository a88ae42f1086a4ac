/* SPDX-License-Identifier: MIT */
/*
 * format.h - from bytes to requests, for every trace format
 */
#ifndef HMM_SIM_FORMAT_H
#define HMM_SIM_FORMAT_H

#include "source.h"

enum operation {
	OP_READ = 0,
	OP_WRITE = 1,
	OP_DISCARD = 2 /* the content became garbage */
};

struct request {
	uint64_t page;
	uint32_t operation;
};

struct format_options {
	const char *column;           /* csv: of the page, number from 1 or name; NULL: found */
	const char *operation_column; /* csv: of the operation; NULL: all are reads */
	char delimiter;               /* csv; 0: found */
	unsigned page_shift;          /* lackey: bits of an address within a page */
};

/* What a decoder keeps between blocks. */
struct decoder {
	struct source *source;
	const struct format_options *options;
	uint64_t record;              /* number of the next record or line, from 1 */
	uint64_t expected_records;    /* lcs: as the header says; 0: does not say */
	uint32_t item_size;           /* lcs, vscsi */
	uint32_t version;             /* lcs, vscsi */
	unsigned hint_words;          /* ops: seen of a hint that has not ended */
	unsigned column, operation_column; /* csv, from 1; 0: none */
	char delimiter;
};

struct format {
	const char *name;
	const char *summary;
	const char *suffixes; /* of file names, "|a|b|" */
	bool is_anonymous;    /* pages begin as zeros, not as contents of a file */
	int (*begin)(struct decoder *decoder, struct failure *failure); /* may be NULL */
	/* Up to `most` requests; returns their number, 0 at the end, -1 with *failure filled in. */
	int (*read)(struct decoder *decoder, struct request *requests, int most, struct failure *failure);
};

const struct format *format_by_name(const char *name);
const struct format *format_by_index(unsigned index); /* NULL past the end */

/* By the file's name, or else by its first bytes; NULL with *failure filled in. */
const struct format *format_detect(struct source *source, struct failure *failure);

/* Length of the file name without directory and suffixes of compression and format; *ret_begin: where it begins. */
size_t format_stem(const char *path, const char **ret_begin);

/* binary.c */
int u64_read(struct decoder *decoder, struct request *requests, int most, struct failure *failure);
int ops_read(struct decoder *decoder, struct request *requests, int most, struct failure *failure);
int oracle_read(struct decoder *decoder, struct request *requests, int most, struct failure *failure);
int lcs_begin(struct decoder *decoder, struct failure *failure);
int lcs_read(struct decoder *decoder, struct request *requests, int most, struct failure *failure);
int vscsi_begin(struct decoder *decoder, struct failure *failure);
int vscsi_read(struct decoder *decoder, struct request *requests, int most, struct failure *failure);
bool lcs_matches(const uint8_t *bytes, size_t n);
unsigned vscsi_version(const uint8_t *bytes, size_t n); /* 0: it is none */
bool oracle_matches(const uint8_t *bytes, size_t n);

/* lines.c */
int text_read(struct decoder *decoder, struct request *requests, int most, struct failure *failure);
int csv_begin(struct decoder *decoder, struct failure *failure);
int csv_read(struct decoder *decoder, struct request *requests, int most, struct failure *failure);
int lackey_read(struct decoder *decoder, struct request *requests, int most, struct failure *failure);
bool lackey_matches(const uint8_t *bytes, size_t n);
bool csv_matches(const uint8_t *bytes, size_t n);
bool text_matches(const uint8_t *bytes, size_t n);

#endif
