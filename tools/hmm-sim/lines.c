/* SPDX-License-Identifier: MIT */
/*
 * lines.c - decoders of traces in text: one number a line, csv, valgrind lackey
 *
 * A line ends with LF or CR LF; the last one need not.  Numbers are decimal, or hexadecimal with 0x.  Empty lines and,
 * in `text`, those that begin with # count for nothing.
 */
#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "format.h"

#define LINE_MOST ((size_t)1 << 15)

struct line {
	const char *at;
	size_t length;   /* without its end */
	uint64_t offset;
};

/* The next line, consumed.  1, 0 at the end, or -1. */
static int next_line(struct decoder *decoder, struct line *line, struct failure *failure)
{
	struct source *source = decoder->source;
	size_t got, length;
	const uint8_t *at = source_peek(source, 1, &got, failure), *end;

	if (at == NULL)
		return -1;
	end = memchr(at, '\n', got);
	if (end == NULL) {
		at = source_peek(source, LINE_MOST, &got, failure);
		if (at == NULL)
			return -1;
		if (got == 0)
			return 0;
		end = memchr(at, '\n', got);
	}
	if (end == NULL && got >= LINE_MOST)
		return source_damaged(source, source_offset(source), failure, "a line of text",
		                      "%zu bytes without a line's end", got);
	length = end != NULL ? (size_t)(end - at) : got;
	*line = (struct line){ (const char *)at, length, source_offset(source) };
	if (line->length > 0 && line->at[line->length - 1] == '\r')
		line->length--;
	source_consume(source, length + (end != NULL));
	decoder->record++;
	return 1;
}

static unsigned digit_of(unsigned char c)
{
	if (isdigit(c))
		return c - (unsigned)'0';
	return isxdigit(c) ? (unsigned)tolower(c) - 'a' + 10 : 16;
}

/* A number that is all of the text but blanks and quotes around it. */
static bool parse_number(const char *at, size_t length, uint64_t *ret)
{
	uint64_t value = 0;
	unsigned base = 10;

	while (length > 0 && (*at == ' ' || *at == '\t' || *at == '"'))
		at++, length--;
	while (length > 0 && (at[length - 1] == ' ' || at[length - 1] == '\t' || at[length - 1] == '"'))
		length--;
	if (length > 2 && at[0] == '0' && (at[1] == 'x' || at[1] == 'X'))
		at += 2, length -= 2, base = 16;
	if (length == 0)
		return false;
	for (size_t i = 0; i < length; i++) {
		unsigned char c = (unsigned char)at[i];
		unsigned digit = digit_of(c);

		if (digit >= base || __builtin_mul_overflow(value, base, &value) ||
		    __builtin_add_overflow(value, digit, &value))
			return false;
	}
	*ret = value;
	return true;
}

static int bad_line(struct decoder *decoder, const struct line *line, const char *expected, struct failure *failure)
{
	char shown[40];
	size_t n = line->length < sizeof(shown) - 1 ? line->length : sizeof(shown) - 1;

	for (size_t i = 0; i < n; i++)
		shown[i] = isprint((unsigned char)line->at[i]) ? line->at[i] : '?';
	shown[n] = '\0';
	return source_damaged(decoder->source, line->offset, failure, expected, "'%s'%s in line %llu", shown,
	                      n < line->length ? "..." : "", (unsigned long long)(decoder->record - 1));
}

static bool is_blank(const struct line *line)
{
	for (size_t i = 0; i < line->length; i++) {
		if (line->at[i] != ' ' && line->at[i] != '\t')
			return false;
	}
	return true;
}

int text_read(struct decoder *decoder, struct request *requests, int most, struct failure *failure)
{
	struct line line;
	int n = 0, r;

	while (n < most && (r = next_line(decoder, &line, failure)) != 0) {
		if (r < 0)
			return -1;
		if (is_blank(&line) || line.at[0] == '#')
			continue;
		if (!parse_number(line.at, line.length, &requests[n].page))
			return bad_line(decoder, &line, "a page number", failure);
		requests[n++].operation = OP_READ;
	}
	return n;
}

/* csv */

/* Field `column`, from 1; false if the line has fewer. */
static bool field_of(const struct line *line, char delimiter, unsigned column, struct line *field)
{
	const char *at = line->at, *end = line->at + line->length;

	for (;;) {
		const char *stop = memchr(at, delimiter, (size_t)(end - at));

		if (stop == NULL)
			stop = end;
		if (--column == 0) {
			*field = (struct line){ at, (size_t)(stop - at), line->offset + (uint64_t)(at - line->at) };
			return true;
		}
		if (stop == end)
			return false;
		at = stop + 1;
	}
}

static bool same_word(const struct line *field, const char *word)
{
	const char *at = field->at;
	size_t length = field->length;

	while (length > 0 && (*at == ' ' || *at == '"'))
		at++, length--;
	while (length > 0 && (at[length - 1] == ' ' || at[length - 1] == '"'))
		length--;
	return length == strlen(word) && strncasecmp(at, word, length) == 0;
}

static unsigned find_column(const struct line *heading, char delimiter, const char *name)
{
	struct line field;

	for (unsigned i = 1; field_of(heading, delimiter, i, &field); i++) {
		if (same_word(&field, name))
			return i;
	}
	return 0;
}

static char find_delimiter(const struct line *line)
{
	static const char known[] = ",;\t|";

	for (const char *c = known; *c != '\0'; c++) {
		if (memchr(line->at, *c, line->length) != NULL)
			return *c;
	}
	return memchr(line->at, ' ', line->length) != NULL ? ' ' : ',';
}

/* A number names itself, anything else a field of the heading.  0: none of that name. */
static unsigned column_of(const struct line *heading, char delimiter, const char *given)
{
	char *end;
	unsigned long number = strtoul(given, &end, 10);

	if (*given != '\0' && *end == '\0')
		return number > 0 && number < LINE_MOST ? (unsigned)number : 0;
	return find_column(heading, delimiter, given);
}

int csv_begin(struct decoder *decoder, struct failure *failure)
{
	static const char *const names[] = { "page", "page_number", "obj_id", "object_id", "lbn", "lba", "block",
		                             "address", "key", "id" };
	const struct format_options *options = decoder->options;
	struct line heading, field;
	uint64_t number, offset = source_offset(decoder->source);
	size_t got, length;
	const uint8_t *at = source_peek(decoder->source, LINE_MOST, &got, failure), *end;

	if (at == NULL)
		return -1;
	/* Looked at, not consumed: it is a heading only if the page's column is no number. */
	end = memchr(at, '\n', got);
	length = end != NULL ? (size_t)(end - at) : got;
	heading = (struct line){ (const char *)at, length, offset };
	if (heading.length > 0 && heading.at[heading.length - 1] == '\r')
		heading.length--;
	decoder->delimiter = options->delimiter != '\0' ? options->delimiter : find_delimiter(&heading);
	if (options->column != NULL) {
		decoder->column = column_of(&heading, decoder->delimiter, options->column);
		if (decoder->column == 0)
			return source_damaged(decoder->source, offset, failure, "a heading with the column asked for",
			                      "none called '%s'", options->column);
	}
	for (size_t i = 0; decoder->column == 0 && i < sizeof(names) / sizeof(names[0]); i++)
		decoder->column = find_column(&heading, decoder->delimiter, names[i]);
	if (decoder->column == 0)
		decoder->column = 1;
	if (options->operation_column != NULL) {
		decoder->operation_column = column_of(&heading, decoder->delimiter, options->operation_column);
		if (decoder->operation_column == 0)
			return source_damaged(decoder->source, offset, failure, "a heading with the column asked for",
			                      "none called '%s'", options->operation_column);
	}
	if (field_of(&heading, decoder->delimiter, decoder->column, &field) &&
	    !parse_number(field.at, field.length, &number)) {
		source_consume(decoder->source, length + (end != NULL));
		decoder->record++;
	}
	return 0;
}

static bool parse_operation(const struct line *field, uint32_t *ret)
{
	static const struct {
		const char *word;
		uint32_t operation;
	} words[] = {
		{ "r", OP_READ },    { "read", OP_READ },       { "get", OP_READ },         { "0", OP_READ },
		{ "w", OP_WRITE },   { "write", OP_WRITE },     { "set", OP_WRITE },        { "1", OP_WRITE },
		{ "d", OP_DISCARD }, { "discard", OP_DISCARD }, { "delete", OP_DISCARD },   { "2", OP_DISCARD },
	};

	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
		if (same_word(field, words[i].word)) {
			*ret = words[i].operation;
			return true;
		}
	}
	return false;
}

int csv_read(struct decoder *decoder, struct request *requests, int most, struct failure *failure)
{
	struct line line, field;
	int n = 0, r;

	while (n < most && (r = next_line(decoder, &line, failure)) != 0) {
		if (r < 0)
			return -1;
		if (is_blank(&line))
			continue;
		if (!field_of(&line, decoder->delimiter, decoder->column, &field) ||
		    !parse_number(field.at, field.length, &requests[n].page))
			return bad_line(decoder, &line, "a page number in its column", failure);
		requests[n].operation = OP_READ;
		if (decoder->operation_column != 0 &&
		    (!field_of(&line, decoder->delimiter, decoder->operation_column, &field) ||
		     !parse_operation(&field, &requests[n].operation)))
			return bad_line(decoder, &line, "an operation (read, write, discard) in its column", failure);
		n++;
	}
	return n;
}

/* lackey: "I  04222c4d,3", " L 1ffeffe7e8,8", " S ...", " M ..."; valgrind's own lines begin with == or --. */

static bool is_valgrinds(const struct line *line)
{
	return line->length >= 2 && (memcmp(line->at, "==", 2) == 0 || memcmp(line->at, "--", 2) == 0);
}

static bool parse_access(const struct line *line, unsigned page_shift, struct request *request)
{
	const char *at = line->at, *end = at + line->length, *comma = memchr(at, ',', line->length);
	uint64_t address = 0, size;
	char kind;

	if (line->length < 6 || comma == NULL)
		return false;
	kind = at[0] == 'I' ? 'I' : at[0] == ' ' ? at[1] : '\0';
	if (kind == '\0' || strchr("ILSM", kind) == NULL || at[2] != ' ')
		return false;
	for (at += 3; at < comma; at++) {
		unsigned char c = (unsigned char)*at;

		if (!isxdigit(c) || address >> 60 != 0)
			return false;
		address = address << 4 | digit_of(c);
	}
	if (comma == line->at + 3 || !parse_number(comma + 1, (size_t)(end - comma - 1), &size))
		return false;
	request->page = address >> page_shift;
	request->operation = kind == 'S' || kind == 'M' ? OP_WRITE : OP_READ;
	return true;
}

int lackey_read(struct decoder *decoder, struct request *requests, int most, struct failure *failure)
{
	struct line line;
	int n = 0, r;

	while (n < most && (r = next_line(decoder, &line, failure)) != 0) {
		if (r < 0)
			return -1;
		if (is_blank(&line) || is_valgrinds(&line))
			continue;
		if (!parse_access(&line, decoder->options->page_shift, &requests[n]))
			return bad_line(decoder, &line, "an access as lackey writes it (I, L, S or M, address, size)", failure);
		n++;
	}
	return n;
}

/* Which of them is it? */

static bool first_line(const uint8_t *bytes, size_t n, size_t *skip, struct line *line)
{
	const uint8_t *at = bytes + *skip, *end;

	if (*skip >= n)
		return false;
	end = memchr(at, '\n', n - *skip);
	line->at = (const char *)at;
	line->length = end != NULL ? (size_t)(end - at) : n - *skip;
	*skip += line->length + 1;
	if (line->length > 0 && line->at[line->length - 1] == '\r')
		line->length--;
	return true;
}

bool lackey_matches(const uint8_t *bytes, size_t n)
{
	struct request request;
	struct line line;
	size_t skip = 0;

	while (first_line(bytes, n, &skip, &line)) {
		if (is_blank(&line) || is_valgrinds(&line))
			continue;
		return parse_access(&line, 0, &request);
	}
	return false;
}

static bool is_printable(const uint8_t *bytes, size_t n)
{
	for (size_t i = 0; i < n && i < 4096; i++) {
		if (!isprint(bytes[i]) && !isspace(bytes[i]))
			return false;
	}
	return n > 0;
}

bool text_matches(const uint8_t *bytes, size_t n)
{
	struct line line;
	uint64_t number;
	size_t skip = 0;

	if (!is_printable(bytes, n))
		return false;
	while (first_line(bytes, n, &skip, &line)) {
		if (!is_blank(&line) && line.at[0] != '#')
			return parse_number(line.at, line.length, &number);
	}
	return false;
}

bool csv_matches(const uint8_t *bytes, size_t n)
{
	struct line line;
	size_t skip = 0;

	return is_printable(bytes, n) && first_line(bytes, n, &skip, &line) &&
	       (memchr(line.at, ',', line.length) != NULL || memchr(line.at, ';', line.length) != NULL ||
	        memchr(line.at, '\t', line.length) != NULL);
}
