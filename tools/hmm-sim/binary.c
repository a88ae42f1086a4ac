/* SPDX-License-Identifier: MIT */
/*
 * binary.c - decoders of traces with records of fixed size, all little-endian
 *
 * u64            u64 page
 * ops            u64 page << 2 | operation; 3: a word of a hint (the pager's records, tools/README.md)
 * oracleGeneral  u32 time, u64 object, u32 size, i64 next access (libCacheSim)
 * lcs            a header of 8192 bytes (magic, version, statistics that begin with version, requests, objects; magic
 *                in the last 8), then records by version: u32 time, u64 object at offset 4, and from version 2 on the
 *                operation in the byte behind the size (libCacheSim)
 * vscsi          version 1: u32 serial, u32 length, u32 segments, u16 command, u16 version, u64 block, u64 time;
 *                version 2: u16 command, u16 version, u32 serial, u32 length, u32 segments, u64 block, u64 time, u64
 *                response time.  The version's high byte tells which.
 * Objects and blocks are taken as pages, whatever their size.
 */
#include <endian.h>
#include <string.h>

#include "format.h"

#define LCS_MAGIC UINT64_C(0x123456789abcdef0)
#define LCS_HEADER 8192u
#define ORACLE_RECORD 24u
#define OPS_HINT 3u
#define HINT_WORDS 3u

static uint64_t get64(const uint8_t *p)
{
	uint64_t value;

	memcpy(&value, p, sizeof(value));
	return le64toh(value);
}

static uint32_t get32(const uint8_t *p)
{
	uint32_t value;

	memcpy(&value, p, sizeof(value));
	return le32toh(value);
}

static uint16_t get16(const uint8_t *p)
{
	return (uint16_t)(p[0] | p[1] << 8);
}

/* Whole records, at most `most`; 0 at the end, -1 if a part of one stands there. */
static int take_records(struct decoder *decoder, size_t size, int most, const uint8_t **ret_at, struct failure *failure)
{
	size_t got;
	const uint8_t *at = source_peek(decoder->source, size, &got, failure);

	if (at == NULL)
		return -1;
	if (got != 0 && got < size)
		return source_damaged(decoder->source, source_offset(decoder->source), failure, "a whole record",
		                      "%zu of its %zu bytes, then the end", got, size);
	*ret_at = at;
	got /= size;
	return got < (size_t)most ? (int)got : most;
}

static int done(struct decoder *decoder, size_t size, int n)
{
	source_consume(decoder->source, size * (size_t)n);
	decoder->record += (uint64_t)n;
	return n;
}

int u64_read(struct decoder *decoder, struct request *requests, int most, struct failure *failure)
{
	const uint8_t *at = NULL;
	int n = take_records(decoder, 8, most, &at, failure);

	for (int i = 0; i < n; i++)
		requests[i] = (struct request){ get64(at + 8 * i), OP_READ };
	return n > 0 ? done(decoder, 8, n) : n;
}

/* A hint has HINT_WORDS words, all with operation 3.  Hints are no requests: they are checked and left out. */
static bool is_hint(struct decoder *decoder, unsigned operation)
{
	if (operation != OPS_HINT)
		return false;
	decoder->hint_words = (decoder->hint_words + 1) % HINT_WORDS;
	return true;
}

int ops_read(struct decoder *decoder, struct request *requests, int most, struct failure *failure)
{
	const uint8_t *at = NULL;
	int n, kept = 0;

	do {
		n = take_records(decoder, 8, most, &at, failure);
		for (int i = 0; i < n; i++) {
			uint64_t value = get64(at + 8 * i);

			if (is_hint(decoder, value & 3))
				continue;
			if (decoder->hint_words != 0)
				return source_damaged(decoder->source, source_offset(decoder->source) + 8 * (uint64_t)i,
				                      failure, "the rest of a hint, three words with 3 in the two low bits",
				                      "%u", (unsigned)(value & 3));
			requests[kept++] = (struct request){ value >> 2, value & 3 };
		}
		if (n > 0)
			done(decoder, 8, n);
	} while (n > 0 && kept == 0);
	if (n == 0 && decoder->hint_words != 0)
		return source_damaged(decoder->source, source_offset(decoder->source), failure,
		                      "the rest of a hint, three words with 3 in the two low bits", "the end");
	return n < 0 ? n : kept;
}

int oracle_read(struct decoder *decoder, struct request *requests, int most, struct failure *failure)
{
	const uint8_t *at = NULL;
	int n = take_records(decoder, ORACLE_RECORD, most, &at, failure);

	for (int i = 0; i < n; i++) {
		const uint8_t *record = at + ORACLE_RECORD * i;
		int64_t next = (int64_t)get64(record + 16);

		/* -1 or the largest number: not requested again */
		if (next < -1)
			return source_damaged(decoder->source,
			                      source_offset(decoder->source) + ORACLE_RECORD * (uint64_t)i + 16, failure,
			                      "the time of the next access, or -1", "%lld", (long long)next);
		requests[i] = (struct request){ get64(record + 4), OP_READ };
	}
	return n > 0 ? done(decoder, ORACLE_RECORD, n) : n;
}

bool oracle_matches(const uint8_t *bytes, size_t n)
{
	uint32_t time = 0;
	size_t records = n / ORACLE_RECORD;

	/* Time does not go back, and the next access lies ahead of this one. */
	for (size_t i = 0; i < records; i++) {
		const uint8_t *record = bytes + ORACLE_RECORD * i;
		int64_t next = (int64_t)get64(record + 16);

		if (get32(record) < time || get32(record + 12) == 0 ||
		    (next != -1 && (next <= (int64_t)i || (next != INT64_MAX && next >> 40 != 0))))
			return false;
		time = get32(record);
	}
	return records > 0;
}

bool lcs_matches(const uint8_t *bytes, size_t n)
{
	return n >= 8 && get64(bytes) == LCS_MAGIC;
}

int lcs_begin(struct decoder *decoder, struct failure *failure)
{
	static const uint32_t sizes[] = { 0, 24, 28, 36, 40, 44, 52, 68, 100 };
	struct source *source = decoder->source;
	uint64_t version;
	int64_t requests;
	size_t got;
	const uint8_t *header = source_peek(source, LCS_HEADER, &got, failure);

	if (header == NULL)
		return -1;
	if (got < LCS_HEADER)
		return source_damaged(source, 0, failure, "an lcs header of 8192 bytes", "%zu bytes", got);
	if (get64(header) != LCS_MAGIC)
		return source_damaged(source, 0, failure, "the magic number 0x123456789abcdef0", "0x%llx",
		                      (unsigned long long)get64(header));
	version = get64(header + 8);
	if (version < 1 || version >= sizeof(sizes) / sizeof(sizes[0]))
		return source_damaged(source, 8, failure, "an lcs version from 1 to 8", "%llu",
		                      (unsigned long long)version);
	requests = (int64_t)get64(header + 24);
	if (requests < 0)
		return source_damaged(source, 24, failure, "a number of requests", "%lld", (long long)requests);
	if (get64(header + LCS_HEADER - 8) != LCS_MAGIC)
		return source_damaged(source, LCS_HEADER - 8, failure, "the magic number 0x123456789abcdef0", "0x%llx",
		                      (unsigned long long)get64(header + LCS_HEADER - 8));
	decoder->version = (uint32_t)version;
	decoder->item_size = sizes[version];
	decoder->expected_records = (uint64_t)requests;
	source_consume(source, LCS_HEADER);
	return 0;
}

/* libCacheSim's numbers: 3 set ... 8 prepend, 10 incr, 11 decr, 13 write, 14 update change contents; 9 is delete. */
static uint32_t lcs_operation(uint8_t operation)
{
	switch (operation) {
	case 3 ... 8:
	case 10:
	case 11:
	case 13:
	case 14:
		return OP_WRITE;
	case 9:
		return OP_DISCARD;
	default:
		return OP_READ;
	}
}

int lcs_read(struct decoder *decoder, struct request *requests, int most, struct failure *failure)
{
	const uint8_t *at = NULL;
	size_t size = decoder->item_size, operation_at = decoder->version == 2 ? 16 : 20;
	int n = take_records(decoder, size, most, &at, failure);
	uint64_t seen = decoder->record - 1;

	if (n < 0)
		return n;
	if (decoder->expected_records != 0 && n == 0 && seen < decoder->expected_records)
		return source_damaged(decoder->source, source_offset(decoder->source), failure, "more records",
		                      "the end after %llu of %llu", (unsigned long long)seen,
		                      (unsigned long long)decoder->expected_records);
	if (decoder->expected_records != 0 && seen + (uint64_t)n > decoder->expected_records)
		return source_damaged(decoder->source,
		                      source_offset(decoder->source) + size * (decoder->expected_records - seen), failure,
		                      "the end", "more than the %llu records that the header announces",
		                      (unsigned long long)decoder->expected_records);
	for (int i = 0; i < n; i++) {
		const uint8_t *record = at + size * (size_t)i;
		uint32_t operation = decoder->version == 1 ? OP_READ : lcs_operation(record[operation_at]);

		requests[i] = (struct request){ get64(record + 4), operation };
	}
	return n > 0 ? done(decoder, size, n) : n;
}

/* All records at hand have the version's high byte where it should be. */
static bool is_version(const uint8_t *bytes, size_t n, size_t size, size_t at, uint8_t version)
{
	if (n < size)
		return false;
	for (size_t i = 0; i + size <= n; i += size) {
		if (bytes[i + at] != version)
			return false;
	}
	return true;
}

unsigned vscsi_version(const uint8_t *bytes, size_t n)
{
	if (is_version(bytes, n, 40, 3, 2))
		return 2;
	return is_version(bytes, n, 32, 15, 1) ? 1 : 0;
}

int vscsi_begin(struct decoder *decoder, struct failure *failure)
{
	size_t got;
	const uint8_t *at = source_peek(decoder->source, 80, &got, failure);

	if (at == NULL)
		return -1;
	decoder->version = vscsi_version(at, got < 80 ? got : 80);
	if (decoder->version == 0)
		return source_damaged(decoder->source, 0, failure, "vscsi records of version 1 or 2", "neither");
	decoder->item_size = decoder->version == 1 ? 32 : 40;
	return 0;
}

/* SCSI commands: WRITE(6), (10), (12), (16), WRITE AND VERIFY, WRITE SAME; UNMAP drops contents. */
static uint32_t scsi_operation(uint16_t command)
{
	switch (command & 0xff) {
	case 0x0a:
	case 0x2a:
	case 0xaa:
	case 0x8a:
	case 0x2e:
	case 0xae:
	case 0x8e:
	case 0x41:
	case 0x93:
		return OP_WRITE;
	case 0x42:
		return OP_DISCARD;
	default:
		return OP_READ;
	}
}

int vscsi_read(struct decoder *decoder, struct request *requests, int most, struct failure *failure)
{
	const uint8_t *at = NULL;
	size_t size = decoder->item_size, command_at = decoder->version == 1 ? 12 : 0;
	size_t version_at = decoder->version == 1 ? 14 : 2;
	int n = take_records(decoder, size, most, &at, failure);

	for (int i = 0; i < n; i++) {
		const uint8_t *record = at + size * (size_t)i;
		uint64_t offset = source_offset(decoder->source) + size * (size_t)i + version_at;

		if (record[version_at + 1] != decoder->version)
			return source_damaged(decoder->source, offset, failure, "the version of the first record", "0x%x",
			                      get16(record + version_at));
		requests[i] = (struct request){ get64(record + 16),
			                        scsi_operation(get16(record + command_at)) };
	}
	return n > 0 ? done(decoder, size, n) : n;
}
