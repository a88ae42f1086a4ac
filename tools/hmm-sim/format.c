/* SPDX-License-Identifier: MIT */
/*
 * format.c - which formats there are, and which one a file has
 *
 * The name decides if it has a known suffix (those of compression are skipped), else the first bytes.  u64 and ops can't be
 * told apart by their bytes: without a name of the latter it is u64.
 */
#include "format.h"

#include <stdio.h>
#include <string.h>

static const struct format formats[] = {
	{ "u64", "binary, 64-bit page numbers", "|u64|", false, NULL, u64_read },
	{ "ops", "binary, page number << 2 | operation: 0 read, 1 write, 2 discard", "|ops|ops.u64|", true, NULL, ops_read },
	{ "text", "one page number a line", "|txt|text|", false, NULL, text_read },
	{ "csv", "fields; --column says which one is the page", "|csv|", false, csv_begin, csv_read },
	{ "oracleGeneral", "libCacheSim's, 24 bytes a request", "|oracleGeneral|oracleGeneral.bin|", false, NULL, oracle_read },
	{ "lcs", "libCacheSim's, with a header; versions 1 to 8", "|lcs|", false, lcs_begin, lcs_read },
	{ "vscsi", "block traces of VMware's vscsiStats, versions 1 and 2", "|vscsi|vscsitrace|vscsi1|vscsi2|", false,
	  vscsi_begin, vscsi_read },
	{ "lackey", "valgrind --tool=lackey --trace-mem=yes; addresses are folded to pages", "|lackey|", true, NULL,
	  lackey_read },
};

#define NFORMATS (sizeof(formats) / sizeof(formats[0]))

const struct format *format_by_name(const char *name)
{
	for (size_t i = 0; i < NFORMATS; i++) {
		if (strcasecmp(formats[i].name, name) == 0)
			return &formats[i];
	}
	return strcasecmp(name, "oracle") == 0 ? format_by_name("oracleGeneral") : NULL;
}

const struct format *format_by_index(unsigned index)
{
	return index < NFORMATS ? &formats[index] : NULL;
}

static bool ends_with(const char *at, size_t length, const char *suffix, size_t n)
{
	return length > n + 1 && at[length - n - 1] == '.' && strncasecmp(at + length - n, suffix, n) == 0;
}

/* The longest suffix of the list that the name has; 0: none. */
static size_t suffix_of(const char *at, size_t length, const char *suffixes)
{
	size_t longest = 0;

	for (const char *s = suffixes + 1; *s != '\0';) {
		size_t n = strcspn(s, "|");

		if (n > longest && ends_with(at, length, s, n))
			longest = n;
		s += n + 1;
	}
	return longest;
}

static size_t without_packing(const char *at, size_t length)
{
	size_t n = suffix_of(at, length, "|zst|zstd|gz|");

	return n != 0 ? length - n - 1 : length;
}

static const char *file_name(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash != NULL ? slash + 1 : path;
}

size_t format_stem(const char *path, const char **ret_begin)
{
	const char *at = file_name(path);
	size_t length = without_packing(at, strlen(at)), n = 0;

	for (size_t i = 0; i < NFORMATS && n == 0; i++)
		n = suffix_of(at, length, formats[i].suffixes);
	*ret_begin = at;
	return n != 0 ? length - n - 1 : length;
}

static const struct format *by_file_name(const char *path)
{
	const char *at = file_name(path);
	size_t length = without_packing(at, strlen(at)), longest = 0;
	const struct format *found = NULL;

	for (size_t i = 0; i < NFORMATS; i++) {
		size_t n = suffix_of(at, length, formats[i].suffixes);

		if (n > longest) {
			longest = n;
			found = &formats[i];
		}
	}
	return found;
}

const struct format *format_detect(struct source *source, struct failure *failure)
{
	const struct format *format = by_file_name(source_path(source));
	size_t got;
	const uint8_t *at;

	if (format != NULL)
		return format;
	at = source_peek(source, 4096, &got, failure);
	if (at == NULL)
		return NULL;
	if (got > 4096)
		got = 4096;
	if (lcs_matches(at, got))
		return format_by_name("lcs");
	if (lackey_matches(at, got))
		return format_by_name("lackey");
	if (text_matches(at, got))
		return format_by_name("text");
	if (csv_matches(at, got))
		return format_by_name("csv");
	if (vscsi_version(at, got) != 0)
		return format_by_name("vscsi");
	if (oracle_matches(at, got))
		return format_by_name("oracleGeneral");
	return format_by_name("u64");
}
